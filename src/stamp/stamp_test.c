#include "stamp.h"
#include "file.h"
#include "moment.h"
#include "pki_pem.h"
#include "pki_time_stamp.h"
#include "unit.h"
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#define NOTE  "log.test/a\n1234\nAAAA\n\nsigned\n"
#define USAGE "critical,timeStamping"
#define DAY   86400L

/* A root, a unit below it with this extended key usage, and what it stamps. */
struct world {
	struct scope s;
	char dir[40];
	EVP_PKEY *root_key, *unit_key;
	X509 *root;
	span unit; /* DER */
	int64_t now;
	struct stamp_trust *trust;
};

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* Valid for 10 days around now. */
static X509 *certificate_of(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *usage)
{
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);
	assert_int_equal(X509_set_version(certificate, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer == NULL ? 1 : 2), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -5 * DAY));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 5 * DAY));
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0), 1);
	issuer = issuer == NULL ? certificate : issuer;
	assert_int_equal(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)), 1);
	assert_int_equal(X509_set_pubkey(certificate, key), 1);
	if (usage == NULL)
		add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
	else
		add_extension(certificate, issuer, NID_ext_key_usage, usage);
	assert_true(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
	return certificate;
}

static span der_of(struct scope *s, X509 *certificate)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate, &der);
	assert_true(len > 0);
	span copy = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return copy;
}

static void set_unit(struct world *w, const char *usage)
{
	X509 *unit = certificate_of("unit", w->unit_key, w->root, w->root_key, usage);
	w->unit = der_of(&w->s, unit);
	X509_free(unit);
}

static int set_up(void **state)
{
	struct world *w = heap_alloc(sizeof *w);
	scope_init(&w->s, NULL);
	w->now = scope_now(&w->s);
	(void)snprintf(w->dir, sizeof w->dir, "/tmp/chancery-stamp-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->root_key = EVP_EC_gen("P-384");
	w->unit_key = EVP_EC_gen("P-256");
	w->root = certificate_of("root", w->root_key, NULL, w->root_key, NULL);
	set_unit(w, USAGE);
	const char *path = scope_printf(&w->s, "%s/root.pem", w->dir);
	const char *text = pki_pem_write(&w->s, "CERTIFICATE", der_of(&w->s, w->root));
	assert_ok(&w->s, file_replace(&w->s, path, span_str(text), 0644));
	assert_ok(&w->s, stamp_trust_open(&w->s, path, &w->trust));
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
	(void)about, (void)type, (void)where;
	return remove(path);
}

static int tear_down(void **state)
{
	struct world *w = *state;
	stamp_trust_close(w->trust);
	X509_free(w->root);
	EVP_PKEY_free(w->root_key);
	EVP_PKEY_free(w->unit_key);
	(void)nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	scope_done(&w->s);
	free(w);
	return 0;
}

/* ---- a TSA ---- */

static span signed_by_unit(struct world *w, span message)
{
	uint8_t signature[128];
	size_t len = sizeof signature;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, w->unit_key), 1);
	assert_int_equal(EVP_DigestSign(context, signature, &len, message.data, message.len), 1);
	EVP_MD_CTX_free(context);
	return scope_copy(&w->s, span_of(signature, len));
}

/* What the TSA answers to this query at this time. */
static span answer_to(struct world *w, span query, int64_t gen_time)
{
	struct pki_time_stamp_request request;
	enum pki_failure failure;
	span tst_info, attributes, answer;
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	assert_ok(&w->s, pki_time_stamp_request_read(&w->s, query, &request, &failure));
	assert_true(request.cert_req);
	const struct pki_tst_info info = { .policy = SPAN_LITERAL("\x2a\x03"),
					   .imprint = request.imprint,
					   .serial = SPAN_LITERAL("\x01"),
					   .gen_time = gen_time - gen_time % 1000,
					   .accuracy_ms = 500,
					   .nonce = request.nonce };
	assert_ok(&w->s, pki_tst_info_build(&w->s, &info, &tst_info));
	assert_ok(&w->s, pki_time_stamp_attributes(&w->s, DIGEST_SHA256, tst_info, w->unit, &attributes));
	assert_ok(&w->s, pki_time_stamp_assemble(&w->s, tst_info, attributes, algorithm, signed_by_unit(w, attributes), w->unit,
						 NULL, 0, true, &answer));
	return answer;
}

static span stamped(struct world *w, const char *note, const char *nonce)
{
	span query;
	assert_ok(&w->s, stamp_request(&w->s, span_str(note), span_str(nonce), &query));
	return answer_to(w, query, w->now);
}

static span token_over(struct world *w, const char *note, int64_t gen_time)
{
	span query;
	struct pki_time_stamp_response r;
	assert_ok(&w->s, stamp_request(&w->s, span_str(note), SPAN_LITERAL("\x01"), &query));
	assert_ok(&w->s, pki_time_stamp_response_read(&w->s, answer_to(w, query, gen_time), &r));
	return r.token;
}

/* ---- tokens ---- */

static void a_good_answer_becomes_a_token_that_verifies_on_its_own(void **state)
{
	struct world *w = *state;
	span token;
	int64_t at, again;
	assert_ok(&w->s, stamp_answer(&w->s, w->trust, span_str(NOTE), span_str("\x01nonce"), stamped(w, NOTE, "\x01nonce"),
				      &token, &at));
	assert_int_equal(at, w->now - w->now % 1000);
	assert_ok(&w->s, stamp_verify(&w->s, w->trust, span_str(NOTE), token, &again));
	assert_int_equal(at, again);
}

static void an_answer_to_something_else_is_refused(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *note, *nonce, *word;
	} others[] = { { "another note", "\x01nonce", "other data" }, { NOTE, "\x01other", "nonce" } };
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		span token = { 0 };
		int64_t at;
		st refused = stamp_answer(&w->s, w->trust, span_str(NOTE), span_str("\x01nonce"),
					  stamped(w, others[i].note, others[i].nonce), &token, &at);
		assert_int_equal(refused.code, E_CRYPTO);
		assert_non_null(strstr(w->s.message, others[i].word));
		assert_int_equal(token.len, 0);
		scope_clear_error(&w->s);
	}
}

static void a_refusal_is_told_in_the_authoritys_words(void **state)
{
	struct world *w = *state;
	span rejection, token;
	int64_t at;
	assert_ok(&w->s, pki_time_stamp_rejection(&w->s, PKI_TIME_NOT_AVAILABLE, "the clock is lost", &rejection));
	st refused = stamp_answer(&w->s, w->trust, span_str(NOTE), span_str("\x01"), rejection, &token, &at);
	assert_int_equal(refused.code, E_UNAVAILABLE);
	assert_non_null(strstr(w->s.message, "the clock is lost"));
	assert_non_null(strstr(w->s.message, "failure 14"));
	scope_clear_error(&w->s);
}

static void assert_refused(struct world *w, span note, span token, const char *word)
{
	int64_t at;
	st refused = stamp_verify(&w->s, w->trust, note, token, &at);
	assert_true(refused.code == E_CRYPTO || refused.code == E_INPUT || refused.code == E_LIMIT);
	if (strstr(w->s.message, word) == NULL)
		print_error("'%s' does not say '%s'\n", w->s.message, word);
	assert_non_null(strstr(w->s.message, word));
	scope_clear_error(&w->s);
}

static void a_changed_octet_is_refused_or_changes_nothing(void **state)
{
	struct world *w = *state;
	span good = token_over(w, NOTE, w->now);
	uint8_t *changed = scope_alloc(&w->s, good.len);
	for (size_t i = 0; i < good.len; i++) {
		int64_t at;
		memcpy(changed, good.data, good.len);
		changed[i] ^= 1;
		struct stamp_trust *fresh = NULL;
		assert_ok(&w->s, stamp_trust_open(&w->s, scope_printf(&w->s, "%s/root.pem", w->dir), &fresh));
		st status = stamp_verify(&w->s, fresh, span_str(NOTE), span_of(changed, good.len), &at);
		stamp_trust_close(fresh);
		/* What is not signed: the SignerInfo's issuer and serial beside the ESSCertIDv2, and the list of digests. */
		if (status.code == E_OK)
			assert_int_equal(at, w->now - w->now % 1000);
		scope_clear_error(&w->s);
	}
	assert_refused(w, span_str(NOTE), span_first(good, good.len - 1), "token");
	assert_refused(w, span_str("another"), good, "other data");
}

//= rfc3161#2.3 the signer's extendedKeyUsage is critical and holds timeStamping alone
static void a_signer_that_is_not_for_time_stamping_alone_is_refused(void **state)
{
	struct world *w = *state;
	static const char *const usages[] = { "timeStamping", "critical,timeStamping,codeSigning", "critical,OCSPSigning" };
	for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++) {
		set_unit(w, usages[i]);
		assert_refused(w, span_str(NOTE), token_over(w, NOTE, w->now), "for time-stamping");
	}
}

static void a_signer_is_verified_as_of_the_time_in_the_token(void **state)
{
	struct world *w = *state;
	int64_t at;
	assert_ok(&w->s, stamp_verify(&w->s, w->trust, span_str(NOTE), token_over(w, NOTE, w->now - 4 * MOMENT_DAY), &at));
	/* The signer that was verified is not taken for one of all times. */
	assert_refused(w, span_str(NOTE), token_over(w, NOTE, w->now - 6 * MOMENT_DAY), "not yet valid");
	assert_refused(w, span_str(NOTE), token_over(w, NOTE, w->now + 6 * MOMENT_DAY), "expired");
}

static void a_chain_to_no_anchor_is_refused(void **state)
{
	struct world *w = *state;
	EVP_PKEY *stranger = EVP_EC_gen("P-256");
	X509 *root = w->root;
	w->root = certificate_of("stranger", stranger, NULL, stranger, NULL);
	X509 *unit = certificate_of("unit", w->unit_key, w->root, stranger, USAGE);
	w->unit = der_of(&w->s, unit);
	assert_refused(w, span_str(NOTE), token_over(w, NOTE, w->now), "does not lead to an anchor");
	X509_free(unit);
	X509_free(w->root);
	EVP_PKEY_free(stranger);
	w->root = root;
}

static void what_is_no_anchor_file_is_refused(void **state)
{
	struct world *w = *state;
	static const char *const texts[] = { "", "not PEM\n",
					     "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" };
	const char *path = scope_printf(&w->s, "%s/anchors", w->dir);
	struct stamp_trust *none = NULL;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		assert_ok(&w->s, file_replace(&w->s, path, span_str(texts[i]), 0644));
		assert_int_not_equal(stamp_trust_open(&w->s, path, &none).code, E_OK);
		scope_clear_error(&w->s);
	}
	assert_ok(&w->s, file_replace(&w->s, path, der_of(&w->s, w->root), 0644));
	assert_ok(&w->s, stamp_trust_open(&w->s, path, &none));
	stamp_trust_close(none);
}

static void it_is_known_what_a_tst_info_is_about(void **state)
{
	struct world *w = *state;
	struct pki_time_stamp_response r;
	assert_ok(&w->s, pki_time_stamp_token_read(&w->s, token_over(w, NOTE, w->now), &r));
	assert_true(stamp_is_about(&w->s, r.tst_info, span_str(NOTE)));
	assert_false(stamp_is_about(&w->s, r.tst_info, span_str("another")));
	assert_false(stamp_is_about(&w->s, SPAN_LITERAL("no TSTInfo"), span_str(NOTE)));
	assert_int_equal(w->s.message[0], 0);
}

/* ---- files ---- */

static const uint64_t sizes[] = { 1, 999, 1000, 1001, 999999, 1000000, 12345678901, UINT64_MAX };
#define SIZES (sizeof sizes / sizeof sizes[0])

struct seen {
	uint64_t size[SIZES];
	size_t count;
};

static st see(struct scope *s, void *state, uint64_t size)
{
	struct seen *seen = state;
	(void)s;
	seen->size[seen->count++] = size;
	return OK;
}

static void stamps_are_kept_once_and_walked_in_order(void **state)
{
	struct world *w = *state;
	struct seen seen = { .count = 0 };
	uint64_t newest;
	span note, token;
	assert_int_equal(stamp_newest(&w->s, w->dir, &newest).code, E_NOTFOUND);
	scope_clear_error(&w->s);
	for (size_t i = 0; i < SIZES; i++) { /* in no order */
		size_t one = (i * 5 + 3) % SIZES;
		const char *text = scope_printf(&w->s, "note %zu", one);
		assert_ok(&w->s, stamp_put(&w->s, w->dir, sizes[one], span_str(text), SPAN_LITERAL("token")));
	}
	assert_ok(&w->s, stamp_walk(&w->s, w->dir, 0, see, &seen));
	assert_int_equal(seen.count, SIZES);
	assert_memory_equal(seen.size, sizes, sizeof sizes);
	for (size_t i = 0; i < SIZES; i++) { /* and behind each of them only those that are larger */
		seen.count = 0;
		assert_ok(&w->s, stamp_walk(&w->s, w->dir, sizes[i], see, &seen));
		assert_int_equal(seen.count, SIZES - 1 - i);
		assert_memory_equal(seen.size, sizes + i + 1, seen.count * sizeof sizes[0]);
	}
	assert_ok(&w->s, stamp_read(&w->s, w->dir, 1000, &note, &token));
	assert_true(span_is(note, "note 2") && span_is(token, "token"));
	assert_int_equal(stamp_put(&w->s, w->dir, 1000, SPAN_LITERAL("x"), SPAN_LITERAL("x")).code, E_CONFLICT);
	scope_clear_error(&w->s);
	assert_ok(&w->s, stamp_newest(&w->s, w->dir, &newest));
	assert_true(newest == UINT64_MAX);
	assert_ok(&w->s, stamp_remove_above(&w->s, w->dir, 1000));
	assert_ok(&w->s, stamp_newest(&w->s, w->dir, &newest));
	assert_int_equal(newest, 1000);
}

static void what_a_crash_left_and_foreign_names_are_no_stamps(void **state)
{
	struct world *w = *state;
	uint64_t newest;
	const char *folder = scope_printf(&w->s, "%s/stamp/000/000/000/000/000/001", w->dir);
	assert_ok(&w->s, stamp_put(&w->s, w->dir, 7, SPAN_LITERAL("note"), SPAN_LITERAL("token")));
	assert_ok(&w->s, file_make_directory(&w->s, folder, 0755));
	assert_ok(&w->s, file_make_directory(&w->s, scope_printf(&w->s, "%s/stamp/999", w->dir), 0755));
	static const char *const names[] = { "234.token", "99.checkpoint", "1234.checkpoint", "12x.checkpoint",
					     "123.checkpoint.new" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_ok(&w->s, file_replace(&w->s, scope_printf(&w->s, "%s/%s", folder, names[i]), SPAN_LITERAL("x"), 0644));
	assert_ok(&w->s, stamp_newest(&w->s, w->dir, &newest));
	assert_int_equal(newest, 7);
	/* The same size is stamped again, over the token without a checkpoint. */
	assert_ok(&w->s, stamp_put(&w->s, w->dir, 1234, SPAN_LITERAL("note"), SPAN_LITERAL("token")));
	assert_ok(&w->s, stamp_newest(&w->s, w->dir, &newest));
	assert_int_equal(newest, 1234);
}

/* ---- revocation ---- */

static void set_time(ASN1_TIME *time, int64_t at)
{
	assert_non_null(ASN1_TIME_set(time, (time_t)(at / MOMENT_SECOND)));
}

/* What a CRL says; times from now, reason -1: none is given. */
struct says {
	int64_t from, to;
	bool listed;
	int64_t revoked;
	int reason;
	bool keeps_expired;
};

static void add_entry(struct world *w, X509_CRL *crl, const struct says *says)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_TIME *at = ASN1_TIME_new();
	set_time(at, w->now + says->revoked);
	assert_int_equal(ASN1_INTEGER_set(serial, 2), 1);
	assert_int_equal(X509_REVOKED_set_serialNumber(entry, serial), 1);
	assert_int_equal(X509_REVOKED_set_revocationDate(entry, at), 1);
	if (says->reason >= 0) {
		ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
		assert_int_equal(ASN1_ENUMERATED_set(reason, says->reason), 1);
		assert_int_equal(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0), 1);
		ASN1_ENUMERATED_free(reason);
	}
	assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(at);
}

/* expiredCertsOnCRL has no name in libcrypto 3.0. */
static void keep_expired(struct world *w, X509_CRL *crl)
{
	ASN1_OBJECT *oid = OBJ_txt2obj("2.5.29.60", 1);
	ASN1_GENERALIZEDTIME *since = ASN1_GENERALIZEDTIME_set(NULL, (time_t)((w->now - 3650 * MOMENT_DAY) / MOMENT_SECOND));
	uint8_t *der = NULL;
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	int len = i2d_ASN1_GENERALIZEDTIME(since, &der);
	assert_int_equal(ASN1_OCTET_STRING_set(value, der, len), 1);
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
	assert_int_equal(X509_CRL_add_ext(crl, extension, -1), 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	ASN1_GENERALIZEDTIME_free(since);
	ASN1_OBJECT_free(oid);
	OPENSSL_free(der);
}

static void add_crl_by(struct world *w, const struct says *says, const X509_NAME *issuer, EVP_PKEY *key)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_new();
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	uint8_t *der = NULL;
	assert_int_equal(X509_CRL_set_version(crl, X509_CRL_VERSION_2), 1);
	assert_int_equal(X509_CRL_set_issuer_name(crl, issuer), 1);
	set_time(time, w->now + says->from);
	assert_int_equal(X509_CRL_set1_lastUpdate(crl, time), 1);
	set_time(time, w->now + says->to);
	assert_int_equal(X509_CRL_set1_nextUpdate(crl, time), 1);
	assert_int_equal(ASN1_INTEGER_set(number, 7), 1);
	assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0), 1);
	if (says->keeps_expired)
		keep_expired(w, crl);
	if (says->listed)
		add_entry(w, crl, says);
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	int len = i2d_X509_CRL(crl, &der);
	const char *path = scope_printf(&w->s, "%s/crl", w->dir);
	assert_ok(&w->s, file_replace(&w->s, path, span_of(der, (size_t)len), 0644));
	assert_ok(&w->s, stamp_trust_add_crls(&w->s, w->trust, path));
	OPENSSL_free(der);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
}

static struct stamp_standing standing_at(struct world *w, int64_t gen_time)
{
	int64_t at;
	struct stamp_standing standing;
	assert_ok(&w->s, stamp_verify(&w->s, w->trust, span_str(NOTE), token_over(w, NOTE, gen_time), &at));
	stamp_standing(w->trust, at, &standing);
	return standing;
}

#define H MOMENT_HOUR
#define D (24 * MOMENT_HOUR)

//= rfc3161#4 whether the signer's certificate was revoked is part of verifying a token
static void a_token_is_worth_what_the_newest_crl_leaves_of_it(void **state)
{
	(void)state;
	static const struct {
		struct says says[2];
		enum stamp_state state;
		const char *word;
	} rows[] = {
		/* none that speaks of now */
		{ { { 0 } }, STAMP_UNKNOWN, "no CRL" },
		{ { { -3 * D, -1 * D } }, STAMP_UNKNOWN, "ended on" },
		{ { { 6 * D, 9 * D } }, STAMP_UNKNOWN, "no CRL" }, /* the certificate has expired by then */
		/* not on it */
		{ { { -1 * H, 1 * D } }, STAMP_GOOD, "" },
		{ { { 2 * D, 3 * D } }, STAMP_GOOD, "" }, /* newer than the token */
		{ { { 6 * D, 9 * D, .keeps_expired = true } }, STAMP_GOOD, "" },
		/* revoked before it was made */
		{ { { -1 * H, 1 * D, true, -1 * D, 1 } }, STAMP_REVOKED, "keyCompromise" },
		{ { { -1 * H, 1 * D, true, -1 * D, 4 } }, STAMP_REVOKED, "superseded" },
		{ { { -3 * D, -1 * D, true, -4 * D, 5 } }, STAMP_REVOKED, "cessationOfOperation" },
		/* revoked behind it */
		{ { { 2 * D, 3 * D, true, 1 * D, 1 } }, STAMP_VOID, "keyCompromise" },
		{ { { 2 * D, 3 * D, true, 1 * D, -1 } }, STAMP_VOID, "without a reason" },
		{ { { 2 * D, 3 * D, true, 1 * D, 3 } }, STAMP_GOOD, "" },
		{ { { 2 * D, 3 * D, true, 1 * D, 4 } }, STAMP_GOOD, "" },
		{ { { 2 * D, 3 * D, true, 1 * D, 5 } }, STAMP_GOOD, "" },
		/* the newest that speaks of it */
		{ { { -1 * H, 1 * D }, { 2 * D, 3 * D, true, 1 * D, 1 } }, STAMP_VOID, "keyCompromise" },
		{ { { 2 * D, 3 * D, true, 1 * D, 1 }, { -1 * H, 1 * D } }, STAMP_VOID, "keyCompromise" },
		{ { { -1 * H, 1 * D, true, -1 * D, 1 }, { 6 * D, 9 * D } }, STAMP_REVOKED, "keyCompromise" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		void *made = NULL;
		assert_int_equal(set_up(&made), 0);
		struct world *w = made;
		for (size_t k = 0; k < 2 && rows[i].says[k].to != 0; k++)
			add_crl_by(w, &rows[i].says[k], X509_get_subject_name(w->root), w->root_key);
		struct stamp_standing got = standing_at(w, w->now);
		assert_int_equal(got.state, rows[i].state);
		assert_non_null(strstr(got.words, rows[i].word));
		assert_int_equal(tear_down(&made), 0);
	}
}

static void a_crl_that_is_not_the_issuers_says_nothing(void **state)
{
	struct world *w = *state;
	static const struct says says = { -1 * H, 1 * D, true, -1 * D, 1, false };
	X509_NAME *other = X509_NAME_new();
	assert_int_equal(X509_NAME_add_entry_by_txt(other, "CN", MBSTRING_ASC, (const uint8_t *)"x", -1, -1, 0), 1);
	add_crl_by(w, &says, other, w->root_key);
	add_crl_by(w, &says, X509_get_subject_name(w->root), w->unit_key);
	assert_int_equal(standing_at(w, w->now).state, STAMP_UNKNOWN);
	X509_NAME_free(other);
}

static void an_export_takes_the_crls_of_the_tokens_issuers(void **state)
{
	struct world *w = *state;
	static const struct says says = { -1 * H, 1 * D, false, 0, 0, false };
	span token = token_over(w, NOTE, w->now), crl;
	X509_NAME *other = X509_NAME_new();
	const char *path = scope_printf(&w->s, "%s/crl", w->dir);
	assert_int_equal(X509_NAME_add_entry_by_txt(other, "CN", MBSTRING_ASC, (const uint8_t *)"x", -1, -1, 0), 1);
	add_crl_by(w, &says, X509_get_subject_name(w->root), w->root_key);
	assert_ok(&w->s, file_read(&w->s, path, 65536, &crl));
	assert_true(stamp_crl_concerns(&w->s, token, crl));
	assert_false(stamp_crl_concerns(&w->s, SPAN_LITERAL("x"), crl));
	assert_false(stamp_crl_concerns(&w->s, token, SPAN_LITERAL("x")));
	add_crl_by(w, &says, other, w->root_key);
	assert_ok(&w->s, file_read(&w->s, path, 65536, &crl));
	assert_false(stamp_crl_concerns(&w->s, token, crl));
	X509_NAME_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_good_answer_becomes_a_token_that_verifies_on_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_answer_to_something_else_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refusal_is_told_in_the_authoritys_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_changed_octet_is_refused_or_changes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signer_that_is_not_for_time_stamping_alone_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signer_is_verified_as_of_the_time_in_the_token, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_chain_to_no_anchor_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_anchor_file_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_known_what_a_tst_info_is_about, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stamps_are_kept_once_and_walked_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_crash_left_and_foreign_names_are_no_stamps, set_up, tear_down),
		cmocka_unit_test(a_token_is_worth_what_the_newest_crl_leaves_of_it),
		cmocka_unit_test_setup_teardown(a_crl_that_is_not_the_issuers_says_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_export_takes_the_crls_of_the_tokens_issuers, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
