#include "audit_proof.h"
#include "text.h"
#include "unit.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

#define LEAVES_MAX 300

static struct audit_hash leaf_hash[LEAVES_MAX];

static void make_leaves(void)
{
	for (uint16_t i = 0; i < LEAVES_MAX; i++)
		leaf_hash[i] = audit_leaf_hash(span_of(&i, sizeof i));
}

/* The definition of RFC 6962, section 2.1, word by word: the reference of everything else here. */
static struct audit_hash mth(size_t from, size_t to)
{
	if (to == from)
		return audit_leaf_hash_prefixed((span){ 0 });
	if (to - from == 1)
		return leaf_hash[from];
	size_t k = 1;
	while (2 * k < to - from)
		k *= 2;
	struct audit_hash left = mth(from, from + k), right = mth(from + k, to);
	return audit_node_hash(&left, &right);
}

/* The recursion of section 2.1.1, word by word. */
static void path(size_t m, size_t from, size_t to, struct audit_proof *out)
{
	if (to - from == 1)
		return;
	size_t k = 1;
	while (2 * k < to - from)
		k *= 2;
	path(m, m - from < k ? from : from + k, m - from < k ? from + k : to, out);
	out->hash[out->count++] = m - from < k ? mth(from + k, to) : mth(from, from + k);
}

/* And of section 2.1.2. */
static void subproof(size_t m, size_t from, size_t to, bool b, struct audit_proof *out)
{
	if (m == to) {
		if (!b)
			out->hash[out->count++] = mth(from, to);
		return;
	}
	size_t k = 1;
	while (2 * k < to - from)
		k *= 2;
	bool left = m - from <= k;
	subproof(m, left ? from : from + k, left ? from + k : to, left && b, out);
	out->hash[out->count++] = left ? mth(from + k, to) : mth(from, from + k);
}

static st node(struct scope *s, void *state, unsigned height, uint64_t number, struct audit_hash *out)
{
	(void)state;
	size_t from = (size_t)number << height;
	if (from + ((size_t)1 << height) > LEAVES_MAX)
		return fail(s, E_BUG, "asked for a node that is not there");
	*out = mth(from, from + ((size_t)1 << height));
	return OK;
}

static const struct audit_source source = { .node = node };

static void roots_of_the_published_vectors(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	/* Inputs and roots of the reference implementation of RFC 6962, as published with certificate-transparency tests. */
	static const char *const inputs[] = {
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
	};
	static const char *const roots[] = { "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
					     "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
					     "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
					     "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
					     "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
					     "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
					     "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
					     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328" };
	struct audit_range r = { 0 };
	struct audit_hash empty = audit_range_root(&r);
	assert_string_equal(hex_text(&s, SPAN_ARRAY(empty.octets)),
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
		span leaf;
		assert_ok(&s, hex_parse(&s, span_str(inputs[i]), &leaf));
		struct audit_hash hash = audit_leaf_hash(leaf);
		audit_range_add(&r, &hash);
		struct audit_hash root = audit_range_root(&r);
		assert_string_equal(hex_text(&s, SPAN_ARRAY(root.octets)), roots[i]);
	}
}

static void ranges_have_the_root_of_the_definition(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_range r = { 0 };
	for (size_t n = 0; n < LEAVES_MAX; n++) {
		struct audit_hash expected = mth(0, n), got = audit_range_root(&r), other;
		assert_memory_equal(&got, &expected, sizeof got);
		assert_ok(&s, audit_source_root(&s, &source, n, &other));
		assert_memory_equal(&other, &expected, sizeof other);
		struct audit_range resumed;
		assert_ok(&s, audit_source_range(&s, &source, n, &resumed));
		assert_int_equal(resumed.count, r.count);
		assert_memory_equal(resumed.node, r.node, r.count * sizeof r.node[0]);
		audit_range_add(&r, &leaf_hash[n]);
	}
}

static void inclusion_proofs_are_those_of_the_rfc_and_verify(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t n = 1; n <= 70; n++) {
		struct audit_hash root = mth(0, n);
		for (size_t i = 0; i < n; i++) {
			struct audit_proof expected = { .count = 0 }, got;
			path(i, 0, n, &expected);
			assert_ok(&s, audit_prove_inclusion(&s, &source, i, n, &got));
			assert_true(span_equal(audit_proof_span(&got), audit_proof_span(&expected)));
			assert_ok(&s, audit_verify_inclusion(&s, audit_proof_span(&got), i, n, &leaf_hash[i], &root));
			assert_fails(&s, E_CRYPTO,
				     audit_verify_inclusion(&s, audit_proof_span(&got), i, n, &leaf_hash[i + 1], &root));
			if (got.count > 0) {
				got.hash[got.count / 2].octets[5] ^= 1;
				assert_fails(&s, E_CRYPTO,
					     audit_verify_inclusion(&s, audit_proof_span(&got), i, n, &leaf_hash[i], &root));
				got.hash[got.count / 2].octets[5] ^= 1;
				got.count--;
				assert_fails(&s, E_CRYPTO,
					     audit_verify_inclusion(&s, audit_proof_span(&got), i, n, &leaf_hash[i], &root));
				got.count += 2;
				assert_fails(&s, E_CRYPTO,
					     audit_verify_inclusion(&s, audit_proof_span(&got), i, n, &leaf_hash[i], &root));
			}
			assert_fails(&s, E_CRYPTO,
				     audit_verify_inclusion(&s, audit_proof_span(&expected), n, n, &leaf_hash[i], &root));
		}
	}
	struct audit_proof none;
	assert_fails(&s, E_INPUT, audit_prove_inclusion(&s, &source, 5, 5, &none));
}

static void consistency_proofs_are_those_of_the_rfc_and_verify(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t n = 1; n <= 70; n++) {
		struct audit_hash newer = mth(0, n);
		for (size_t m = 1; m <= n; m++) {
			struct audit_hash older = mth(0, m), wrong = mth(1, m + 1);
			struct audit_proof expected = { .count = 0 }, got;
			subproof(m, 0, n, true, &expected);
			assert_ok(&s, audit_prove_consistency(&s, &source, m, n, &got));
			assert_true(span_equal(audit_proof_span(&got), audit_proof_span(&expected)));
			assert_ok(&s, audit_verify_consistency(&s, audit_proof_span(&got), m, &older, n, &newer));
			assert_fails(&s, E_CRYPTO, audit_verify_consistency(&s, audit_proof_span(&got), m, &wrong, n, &newer));
			assert_fails(&s, E_CRYPTO, audit_verify_consistency(&s, audit_proof_span(&got), m, &older, n, &wrong));
			got.count++;
			assert_fails(&s, E_CRYPTO, audit_verify_consistency(&s, audit_proof_span(&got), m, &older, n, &newer));
			got.count--;
			for (size_t i = 0; i < got.count; i++) {
				got.hash[i].octets[31] ^= 0x80;
				assert_fails(&s, E_CRYPTO,
					     audit_verify_consistency(&s, audit_proof_span(&got), m, &older, n, &newer));
				got.hash[i].octets[31] ^= 0x80;
			}
		}
	}
	struct audit_proof none;
	struct audit_hash root = mth(0, 7), empty = mth(0, 0);
	assert_fails(&s, E_INPUT, audit_prove_consistency(&s, &source, 8, 7, &none));
	assert_ok(&s, audit_prove_consistency(&s, &source, 0, 7, &none));
	assert_int_equal(none.count, 0);
	assert_ok(&s, audit_verify_consistency(&s, (span){ 0 }, 0, &empty, 7, &root));
	assert_fails(&s, E_CRYPTO, audit_verify_consistency(&s, (span){ 0 }, 7, &root, 6, &root));
}

/* ---- notes ---- */

/* The example of c2sp.org/signed-note and the checkpoint of c2sp.org/tlog-checkpoint: both are read; nobody here has their keys. */
static const char checkpoint_example[] =
	"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
	"\xe2\x80\x94 example.com/behind-the-sofa "
	"Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

static void the_example_of_the_specification_is_read(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_note note;
	struct audit_checkpoint c;
	assert_ok(&s, audit_note_read(&s, SPAN_LITERAL(checkpoint_example), &note));
	assert_ok(&s, audit_checkpoint_read(&s, note.text, &c));
	assert_string_equal(c.origin, "example.com/behind-the-sofa");
	assert_int_equal(c.size, 20852163);
	assert_string_equal(audit_checkpoint_text(&s, &c), scope_cstr(&s, note.text));
	assert_fails(&s, E_CRYPTO, audit_note_verify(&s, &note, NULL, 0));
}

static void a_published_key_is_read_and_its_id_checked(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	/* The Go checksum database, sum.golang.org, has the best known key of this form. */
	static const char text[] = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
	struct audit_key key;
	assert_ok(&s, audit_key_parse(&s, SPAN_LITERAL(text), &key));
	assert_int_equal(key.type, AUDIT_KEY_ED25519);
	assert_string_equal(audit_key_text(&s, &key), text);
	static const char *const bad[] = { "",
					   "sum.golang.org",
					   "sum.golang.org+033de0ae",
					   "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
					   "sum.golang.com+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
					   "sum.golang.org+033de0ae+As4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
					   "a b+033de0ae+AQ==",
					   "+00000000+AQ==" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_true(audit_key_parse(&s, span_str(bad[i]), &key).code != E_OK);
		scope_clear_error(&s);
	}
}

static char *sign_note(struct scope *s, EVP_PKEY *pkey, const struct audit_key *key, const char *text)
{
	uint8_t signature[200];
	size_t len = sizeof signature;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const EVP_MD *md = key->type == AUDIT_KEY_ECDSA ? EVP_sha256() : NULL;
	assert_int_equal(EVP_DigestSignInit(context, NULL, md, NULL, pkey), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &len, (const uint8_t *)text, strlen(text)), 1);
	EVP_MD_CTX_free(context);
	uint8_t *payload = scope_alloc(s, len + 4);
	memcpy(payload, key->id, 4);
	memcpy(payload + 4, signature, len);
	return scope_printf(s, "%s\n%s", text,
			    audit_note_signature_line(s, (const char *)key->name.data, span_of(payload, len + 4)));
}

static void check_key_type(EVP_PKEY *pkey, enum audit_key_type type)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(pkey, &der);
	struct audit_key key, again;
	assert_ok(&s, audit_key_of_spki(&s, "log.test/a", span_of(der, (size_t)len), &key));
	OPENSSL_free(der);
	key.name = span_str(scope_cstr(&s, key.name));
	assert_int_equal(key.type, type);
	assert_ok(&s, audit_key_parse(&s, span_str(audit_key_text(&s, &key)), &again));
	assert_memory_equal(again.id, key.id, 4);
	struct audit_checkpoint c = { .origin = "log.test/a", .size = 7, .root = mth(0, 7) }, got;
	char *note = sign_note(&s, pkey, &key, audit_checkpoint_text(&s, &c));
	assert_ok(&s, audit_checkpoint_open(&s, span_str(note), &again, 1, &got));
	assert_memory_equal(&got, &c, sizeof c);
	char *forged = scope_printf(&s, "%s", note);
	forged[strlen("log.test/a\n")] = '8';
	assert_fails(&s, E_CRYPTO, audit_checkpoint_open(&s, span_str(forged), &key, 1, &got));
	struct audit_key other = key;
	other.id[0] ^= 1; /* unknown key: passed over, so nobody signed */
	assert_fails(&s, E_CRYPTO, audit_checkpoint_open(&s, span_str(note), &other, 1, &got));
	char *two = scope_printf(&s, "%s%s", note, "\xe2\x80\x94 somebody.else AAAAAAAA\n");
	assert_ok(&s, audit_checkpoint_open(&s, span_str(two), &key, 1, &got));
}

static void notes_of_both_kinds_of_key_verify_and_forged_ones_do_not(void **state)
{
	(void)state;
	EVP_PKEY *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	EVP_PKEY *ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	EVP_PKEY *odd = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1");
	assert_non_null(ed);
	assert_non_null(ec);
	assert_non_null(odd);
	check_key_type(ed, AUDIT_KEY_ED25519);
	check_key_type(ec, AUDIT_KEY_ECDSA);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(odd, &der);
	struct audit_key key;
	assert_fails(&s, E_CRYPTO, audit_key_of_spki(&s, "log.test/a", span_of(der, (size_t)len), &key));
	OPENSSL_free(der);
	EVP_PKEY_free(ed);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(odd);
}

static void malformed_notes_and_checkpoints_are_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const notes[] = { "", "\n", "a\n", "a\n\n", "a\n\nb", "a\r\n\nb\n", "a\n\t\n\nb\n" };
	struct audit_note note;
	for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
		assert_fails(&s, E_INPUT, audit_note_read(&s, span_str(notes[i]), &note));
	static const char *const signatures[] = { "a\n\nb\n", "a\n\n\xe2\x80\x94 b\n", "a\n\n\xe2\x80\x94 b AAAA\n",
						  "a\n\n\xe2\x80\x94 b AAAAAAA\n" };
	for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
		assert_ok(&s, audit_note_read(&s, span_str(signatures[i]), &note));
		assert_fails(&s, E_INPUT, audit_note_verify(&s, &note, NULL, 0));
	}
	static const char *const texts[] = { "",
					     "a\n1\n",
					     "a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
					     "a\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
					     "a\n1\nAAAA\n",
					     "a b\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n" };
	struct audit_checkpoint c;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_fails(&s, E_INPUT, audit_checkpoint_read(&s, span_str(texts[i]), &c));
}

static void a_proof_is_read_back_and_shows_its_leaf_and_no_other(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(pkey, &der);
	struct audit_key key;
	assert_ok(&s, audit_key_of_spki(&s, "log.test/a", span_of(der, (size_t)len), &key));
	OPENSSL_free(der);
	key.name = span_str(scope_cstr(&s, key.name));
	struct audit_checkpoint c = { .origin = "log.test/a", .size = 77, .root = mth(0, 77) }, got;
	uint16_t leaf = 33, other = 34;
	struct audit_inclusion p = { .index = 33, .leaf = span_of(&leaf, sizeof leaf) }, again;
	p.note = span_str(sign_note(&s, pkey, &key, audit_checkpoint_text(&s, &c)));
	assert_ok(&s, audit_prove_inclusion(&s, &source, 33, 77, &p.path));
	AUTO_BUF file;
	buf_init(&file, AUDIT_PROOF_TEXT_MAX);
	assert_true(audit_inclusion_write(&s, &p, &file));
	assert_ok(&s, audit_inclusion_read(&s, buf_span(&file), &again));
	assert_ok(&s, audit_inclusion_verify(&s, &again, again.leaf, &key, 1, &got));
	assert_true(again.index == 33 && got.size == 77 && span_equal(again.leaf, p.leaf));
	assert_fails(&s, E_CRYPTO, audit_inclusion_verify(&s, &again, span_of(&other, sizeof other), &key, 1, &got));
	again.index = 34;
	assert_fails(&s, E_CRYPTO, audit_inclusion_verify(&s, &again, again.leaf, &key, 1, &got));
	again.index = 33;
	(void)snprintf(c.origin, sizeof c.origin, "log.test/b"); /* this key's, for the log of another */
	again.note = span_str(sign_note(&s, pkey, &key, audit_checkpoint_text(&s, &c)));
	assert_fails(&s, E_CRYPTO, audit_inclusion_verify(&s, &again, again.leaf, &key, 1, &got));
	EVP_PKEY_free(pkey);
}

static void what_is_no_proof_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char head[] = "c2sp.org/tlog-proof@v1\n", hash[] = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
	static const char *const bodies[] = { "",
					      "index 1\n",
					      "index 01\n\nx\n",
					      "index -1\n\nx\n",
					      "indexx 1\n\nx\n",
					      "extra AAAA\n",
					      "extra A\nindex 1\n\nx\n",
					      "index 1\nAAAA\n\nx\n",
					      "index 1\n\n",
					      "index 1\nno end of this line" };
	struct audit_inclusion p;
	assert_ok(&s, audit_inclusion_read(&s, span_str(scope_printf(&s, "%sindex 1\n%s\nx\n", head, hash)), &p));
	assert_int_equal(p.path.count, 1);
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_fails(&s, E_INPUT, audit_inclusion_read(&s, span_str(scope_printf(&s, "%s%s", head, bodies[i])), &p));
	assert_fails(&s, E_INPUT, audit_inclusion_read(&s, SPAN_LITERAL("c2sp.org/tlog-proof@v2\nindex 1\n\nx\n"), &p));
	char *many = scope_printf(&s, "%sindex 1\n", head);
	for (int i = 0; i <= AUDIT_PATH_MAX; i++)
		many = scope_printf(&s, "%s%s", many, hash);
	assert_fails(&s, E_LIMIT, audit_inclusion_read(&s, span_str(scope_printf(&s, "%s\nx\n", many)), &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roots_of_the_published_vectors),
		cmocka_unit_test(ranges_have_the_root_of_the_definition),
		cmocka_unit_test(inclusion_proofs_are_those_of_the_rfc_and_verify),
		cmocka_unit_test(consistency_proofs_are_those_of_the_rfc_and_verify),
		cmocka_unit_test(the_example_of_the_specification_is_read),
		cmocka_unit_test(a_published_key_is_read_and_its_id_checked),
		cmocka_unit_test(notes_of_both_kinds_of_key_verify_and_forged_ones_do_not),
		cmocka_unit_test(malformed_notes_and_checkpoints_are_refused),
		cmocka_unit_test(a_proof_is_read_back_and_shows_its_leaf_and_no_other),
		cmocka_unit_test(what_is_no_proof_is_refused),
	};
	make_leaves();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
