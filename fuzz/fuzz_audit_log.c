/*
 * A log as static files, which anybody may hand to `chancery audit verify`: the first octet chooses which file of a sound log is replaced
 * by the rest. Whatever it is, the log is called sound only while what was signed is still there, octet for octet.
 */
#include "audit_verify.h"
#include "fuzz_directory.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

#define LEAVES 259u /* a full bundle, and a partial one with its tiles */
#define ORIGIN "log.test/fuzz"

enum file { CHECKPOINT, HASHES, ENTRIES, FULL_HASHES, FULL_ENTRIES, UPPER, TAIL, ANCHOR, SINCE, FILES };
static const char *const names[FILES] = {
	[CHECKPOINT] = "checkpoint",         [HASHES] = "tile/0/001.p/3",         [ENTRIES] = "tile/entries/001.p/3",
	[FULL_HASHES] = "tile/0/000",        [FULL_ENTRIES] = "tile/entries/000", [UPPER] = "tile/1/000.p/1",
	[TAIL] = "tail/00000000000000000259"
};
static struct scope kept;
static span original[FILES];
static struct audit_key key;
static struct audit_hash hash[LEAVES];

static span leaf_of(uint64_t index)
{
	static const char record[] =
		"{\"v\":1,\"id\":\"%032llx\",\"time\":\"2026-01-02T03:04:05.000006Z\",\"event\":\"log.stopped\","
		"\"component\":\"fuzz\",\"tx\":\"%032llx\",\"size\":%llu}";
	unsigned long long n = index;
	AUTO_BUF out = { .cap = AUDIT_LEAF_MAX };
	check(audit_envelope_write(&out, index, 0, "fuzz", span_str(scope_printf(&kept, record, n, n, n))));
	return scope_copy(&kept, buf_span(&out));
}

static void put(enum file file, span content)
{
	original[file] = scope_copy(&kept, content);
	fuzz_file(names[file], content);
}

static span signed_note(EVP_PKEY *pkey, const struct audit_checkpoint *checkpoint)
{
	uint8_t payload[4 + 64];
	size_t len = 64;
	const char *text = audit_checkpoint_text(&kept, checkpoint);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	check(EVP_DigestSignInit(context, NULL, NULL, NULL, pkey) == 1);
	check(EVP_DigestSign(context, payload + 4, &len, (const uint8_t *)text, strlen(text)) == 1);
	EVP_MD_CTX_free(context);
	memcpy(payload, key.id, 4);
	return span_str(scope_printf(&kept, "%s\n%s", text, audit_note_signature_line(&kept, ORIGIN, SPAN_ARRAY(payload))));
}

static void sign(const struct audit_range *range)
{
	static const uint8_t secret[32] = { 1 };
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	uint8_t *spki = NULL;
	int len = i2d_PUBKEY(pkey, &spki);
	struct audit_checkpoint checkpoint = { .origin = ORIGIN, .size = LEAVES, .root = audit_range_root(range) };
	check(audit_key_of_spki(&kept, ORIGIN, scope_copy(&kept, span_of(spki, (size_t)len)), &key).code == E_OK);
	OPENSSL_free(spki);
	put(CHECKPOINT, signed_note(pkey, &checkpoint));
	original[ANCHOR] = original[SINCE] = original[CHECKPOINT];
	EVP_PKEY_free(pkey);
}

static void make_tail(void)
{
	uint8_t head[AUDIT_FILE_HEAD];
	AUTO_GROUP group = { 0 };
	AUTO_BUF file = { 0 };
	audit_file_head(AUDIT_FILE_TAIL, LEAVES, head);
	check(buf_append(&file, SPAN_ARRAY(head)));
	for (uint64_t i = LEAVES; i < LEAVES + 3; i++) {
		audit_group_begin(&group, i);
		audit_group_open(&group);
		check(buf_append(&group.bytes, leaf_of(i)));
		(void)audit_group_close(&group);
		audit_group_end(&group);
		check(buf_append(&file, buf_span(&group.bytes)));
	}
	put(TAIL, buf_span(&file));
}

static void make_log(void)
{
	static const char *const folders[] = { "tile",   "tile/0",       "tile/0/001.p", "tile/entries", "tile/entries/001.p",
					       "tile/1", "tile/1/000.p", "tail" };
	scope_init(&kept, NULL);
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		fuzz_make_directory(folders[i]);
	AUTO_BUF full_bundle = { 0 }, partial_bundle = { 0 };
	struct audit_range range = { 0 };
	for (uint64_t i = 0; i < LEAVES; i++) {
		span leaf = leaf_of(i);
		struct wr w = wr_into(i < AUDIT_TILE_WIDTH ? &full_bundle : &partial_bundle);
		wr_u16(&w, (uint16_t)leaf.len);
		wr_raw(&w, leaf);
		hash[i] = audit_leaf_hash(leaf);
		audit_range_add(&range, &hash[i]);
	}
	struct audit_hash full = audit_root_of(hash, AUDIT_TILE_WIDTH);
	put(FULL_ENTRIES, buf_span(&full_bundle));
	put(ENTRIES, buf_span(&partial_bundle));
	put(FULL_HASHES, span_of(hash, AUDIT_TILE_WIDTH * sizeof *hash));
	put(HASHES, span_of(hash + AUDIT_TILE_WIDTH, 3 * sizeof *hash));
	put(UPPER, SPAN_ARRAY(full.octets));
	sign(&range);
	make_tail();
}

static bool count_leaf(void *state, uint64_t index, span leaf)
{
	uint64_t *next = state;
	check(index == (*next)++ && leaf.len <= UINT16_MAX);
	return true;
}

static bool count_shown(void *state, const struct audit_envelope *envelope, span leaf)
{
	check(lies_inside(envelope->json, leaf));
	++*(uint64_t *)state;
	return true;
}

static void walk(struct scope *s, uint64_t at_least)
{
	struct audit_log *log;
	uint64_t next = 0, shown = 0;
	const struct audit_filter filter = { .event = "log.stopped" };
	check(audit_log_open(s, fuzz_directory(), &log).code == E_OK);
	bool walked = audit_log_each(s, log, 0, count_leaf, &next).code == E_OK;
	check(!walked || next >= at_least);
	scope_clear_error(s);
	(void)audit_log_select(s, log, &filter, count_shown, &shown).code;
	scope_clear_error(s);
	audit_log_close(log);
}

/* A checkpoint that agreed with the log is signed, and of a tree that the log is or was. */
static void check_tree(struct scope *s, span note)
{
	struct audit_checkpoint c;
	if (note.len == 0) /* no --since */
		return;
	check(audit_checkpoint_open(s, note, &key, 1, &c).code == E_OK && c.size <= LEAVES);
	struct audit_hash root = audit_root_of(hash, (size_t)c.size);
	check(audit_hash_equal(&root, &c.root));
}

/* Each record once, in order, whole. */
static void visit(void *state, const struct audit_envelope *envelope, span leaf)
{
	uint64_t *next = state;
	check(envelope->seq >= *next && lies_inside(envelope->json, leaf));
	*next = envelope->seq + 1;
}

static void verify(struct scope *s, enum file file, span content)
{
	uint64_t next = 0;
	const struct audit_anchor anchor = { "anchor", file == ANCHOR ? content : original[ANCHOR], false };
	const struct audit_verify request = { .dir = fuzz_directory(),
					      .key = &key,
					      .key_count = 1,
					      .anchor = &anchor,
					      .anchor_count = 1,
					      .since = file == SINCE ? content : (span){ 0 },
					      .visit = visit,
					      .state = &next };
	struct audit_report report;
	if (audit_verify(s, &request, &report).code != E_OK || report.verdict == AUDIT_UNSOUND) {
		check(!span_equal(content, original[file]));
		return;
	}
	/* A tile that is wider than needed is used as far as needed. */
	check(report.checkpoint.size == LEAVES && report.problem[0] == 0);
	check(next == LEAVES + report.tail || (next == 0 && report.from == LEAVES && report.tail == 0));
	if (file == CHECKPOINT || file == ANCHOR || file == SINCE)
		check_tree(s, content);
	else if (file != TAIL)
		check(content.len >= original[file].len && memcmp(content.data, original[file].data, original[file].len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (original[CHECKPOINT].len == 0)
		make_log();
	if (size < 1 || data[0] >= FILES)
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	enum file file = (enum file)data[0];
	span content = span_of(data + 1, size - 1);
	if (names[file] != NULL && content.len > 0)
		fuzz_file(names[file], content);
	else if (names[file] != NULL)
		fuzz_forget(names[file]);
	verify(&s, file, content);
	scope_clear_error(&s);
	walk(&s, file == ENTRIES || file == FULL_ENTRIES ? 0 : LEAVES);
	if (names[file] != NULL)
		fuzz_file(names[file], original[file]);
	return 0;
}
