#include "stamp_internal.h"
#include "file.h"
#include "moment.h"
#include "pki_pem.h"
#include "pki_time_stamp.h"
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#define ANCHOR_FILE_MAX  65536
#define CERTIFICATES_MAX STAMP_CHAIN_MAX
#define AUTH_LEVEL       2 /* of libcrypto: 112 bits, no SHA-1 */

DEFINE_AUTO(X509, X509_free)
DEFINE_AUTO(X509_STORE_CTX, X509_STORE_CTX_free)
static void certificates_free(certificates *c)
{
	sk_X509_pop_free(c, X509_free);
}
DEFINE_AUTO(certificates, certificates_free)

/* ---- anchors ---- */

static st read_certificate(struct scope *s, span der, X509 **out)
{
	const uint8_t *at = der.data;
	AUTO(X509) *certificate = der.len > PKI_CERTIFICATE_MAX ? NULL : d2i_X509(NULL, &at, (long)der.len);
	if (certificate == NULL || at != der.data + der.len)
		return fail(s, E_INPUT, "a certificate cannot be read");
	*out = TAKE(certificate);
	return OK;
}

static st add_anchor(struct scope *s, span der, void *trust)
{
	struct stamp_trust *t = trust;
	AUTO(X509) *certificate = NULL;
	TRY(read_certificate(s, der, &certificate));
	if (++t->anchors > CERTIFICATES_MAX)
		return fail(s, E_LIMIT, "at most %d anchors", CERTIFICATES_MAX);
	if (X509_STORE_add_cert(t->store, certificate) != 1)
		return fail(s, E_BUG, "libcrypto takes no anchor");
	return OK;
}

static st add_anchors(struct scope *s, span file, struct stamp_trust *t)
{
	span first;
	TRY(pki_pem_or_der(s, file, "CERTIFICATE", &first));
	if (first.data == file.data)
		return add_anchor(s, first, t);
	return pki_pem_each(s, file, "CERTIFICATE", add_anchor, t);
}

st stamp_trust_open(struct scope *s, const char *path, struct stamp_trust **out)
{
	span file;
	TRY(file_read(s, path, ANCHOR_FILE_MAX, &file));
	struct stamp_trust *t = heap_alloc(sizeof *t);
	t->store = X509_STORE_new();
	st added = t->store == NULL ? fail(s, E_BUG, "libcrypto gives no certificate store") : add_anchors(s, file, t);
	if (added.code != E_OK) {
		stamp_trust_close(t);
		return fail_context(s, added, "%s", path);
	}
	*out = t;
	return OK;
}

void stamp_trust_close(struct stamp_trust *t)
{
	if (t == NULL)
		return;
	X509_STORE_free(t->store);
	pki_key_free(t->key);
	stamp_crls_free(t);
	free(t);
}

/* ---- the chain ---- */

static st read_certificates(struct scope *s, span content, certificates **out)
{
	AUTO(certificates) *all = sk_X509_new_null();
	struct der_rd d = der_read(content);
	for (int count = 0; all != NULL && !der_at_end(&d); count++) {
		AUTO(X509) *one = NULL;
		if (count == CERTIFICATES_MAX)
			return fail(s, E_LIMIT, "a token has at most %d certificates", CERTIFICATES_MAX);
		TRY(read_certificate(s, der_get_whole(&d, DER_SEQUENCE), &one));
		if (sk_X509_push(all, one) <= 0)
			return fail(s, E_BUG, "libcrypto takes no certificate");
		one = NULL;
	}
	*out = TAKE(all);
	return OK;
}

static bool moment_of(const ASN1_TIME *time, int64_t *out)
{
	struct tm tm;
	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	const struct calendar c = { .year = tm.tm_year + 1900,
				    .month = tm.tm_mon + 1,
				    .day = tm.tm_mday,
				    .hour = tm.tm_hour,
				    .minute = tm.tm_min,
				    .second = tm.tm_sec };
	return moment_from_calendar(&c, out);
}

/* While all its certificates are valid the chain need not be verified again. */
static st keep_validity(struct scope *s, struct stamp_trust *t, certificates *chain)
{
	t->from = INT64_MIN;
	t->to = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t from, to;
		const X509 *one = sk_X509_value(chain, i);
		if (!moment_of(X509_get0_notBefore(one), &from) || !moment_of(X509_get0_notAfter(one), &to))
			return fail(s, E_INPUT, "the validity of a certificate cannot be read");
		t->from = from > t->from ? from : t->from;
		t->to = to < t->to ? to : t->to;
	}
	return OK;
}

//= rfc3161#2.3 the signer's extendedKeyUsage is critical and holds timeStamping alone
//= rfc3161#4 its certificate is verified as of genTime: what was stamped stays stamped when the certificate ends
static st verify_chain(struct scope *s, struct stamp_trust *t, X509 *signer, certificates *others, int64_t gen_time)
{
	AUTO(X509_STORE_CTX) *context = X509_STORE_CTX_new();
	if (context == NULL || X509_STORE_CTX_init(context, t->store, signer, others) != 1 ||
	    X509_STORE_CTX_set_purpose(context, X509_PURPOSE_TIMESTAMP_SIGN) != 1)
		return fail(s, E_BUG, "libcrypto does not begin to verify a chain");
	X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
	X509_VERIFY_PARAM_set_time(parameters, (time_t)(gen_time / MOMENT_SECOND));
	X509_VERIFY_PARAM_set_auth_level(parameters, AUTH_LEVEL);
	if (X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN) != 1)
		return fail(s, E_BUG, "libcrypto does not take the rules of a chain");
	if (X509_verify_cert(context) != 1)
		return fail(s, E_CRYPTO,
			    "the certificate of the token's signer does not lead to an anchor as one for time-stamping "
			    "(rfc3161#2.3): %s",
			    X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	TRY(keep_validity(s, t, X509_STORE_CTX_get0_chain(context)));
	return stamp_look_up(s, t, X509_STORE_CTX_get0_chain(context));
}

static st verify_signer(struct scope *s, struct stamp_trust *t, const struct pki_time_stamp_response *r, span der)
{
	struct pki_certificate read;
	AUTO(certificates) *others = NULL;
	AUTO(X509) *signer = NULL;
	TRY(read_certificate(s, der, &signer));
	TRY(read_certificates(s, r->certificates, &others));
	TRY(verify_chain(s, t, signer, others, r->info.gen_time));
	TRY(pki_certificate_read(s, der, &read));
	return pki_key_new(s, read.spki, &t->key);
}

static st know_signer(struct scope *s, struct stamp_trust *t, const struct pki_time_stamp_response *r, span der)
{
	uint8_t hash[DIGEST_MAX];
	span name = digest_of(DIGEST_SHA256, der, hash);
	bool known = t->key != NULL && memcmp(t->signer, name.data, name.len) == 0 && r->info.gen_time >= t->from &&
		     r->info.gen_time <= t->to;
	if (known)
		return OK;
	pki_key_free(TAKE(t->key));
	memcpy(t->signer, name.data, name.len);
	return verify_signer(s, t, r, der);
}

/* ---- tokens ---- */

static st verify_read(struct scope *s, struct stamp_trust *t, span note, span nonce, const struct pki_time_stamp_response *r)
{
	span signer;
	TRY(pki_time_stamp_answers(s, r, DIGEST_SHA256, digest_new(s, DIGEST_SHA256, note), nonce));
	TRY(pki_time_stamp_signer(s, r, &signer));
	TRY(know_signer(s, t, r, signer));
	return pki_time_stamp_verify(s, r, signer, t->key);
}

static st check_len(struct scope *s, span token)
{
	if (token.len > STAMP_TOKEN_MAX)
		return fail(s, E_LIMIT, "a token of %zu bytes is over the limit of %zu", token.len, STAMP_TOKEN_MAX);
	return OK;
}

st stamp_verify(struct scope *s, struct stamp_trust *t, span note, span token, int64_t *out_gen_time)
{
	struct pki_time_stamp_response r;
	TRY(check_len(s, token));
	TRY(pki_time_stamp_token_read(s, token, &r));
	TRY(verify_read(s, t, note, (span){ 0 }, &r));
	*out_gen_time = r.info.gen_time;
	return OK;
}

st stamp_request(struct scope *s, span note, span nonce, span *out_query)
{
	return pki_time_stamp_request_build(s, DIGEST_SHA256, digest_new(s, DIGEST_SHA256, note), (span){ 0 }, nonce, true,
					    out_query);
}

st stamp_answer(struct scope *s, struct stamp_trust *t, span note, span nonce, span answer, span *out_token,
		int64_t *out_gen_time)
{
	struct pki_time_stamp_response r;
	TRY(check_len(s, answer));
	TRY(pki_time_stamp_response_read(s, answer, &r));
	if (r.token.len == 0)
		return fail(s, E_UNAVAILABLE,
			    "the time-stamping authority refuses (rfc3161#2.4.2): status %d, failure %d: %.*s", r.status,
			    r.failure, (int)span_first(r.text, SCOPE_MESSAGE_MAX / 2).len, (const char *)r.text.data);
	TRY(verify_read(s, t, note, nonce, &r));
	*out_token = r.token;
	*out_gen_time = r.info.gen_time;
	return OK;
}

bool stamp_is_about(struct scope *s, span tst_info, span note)
{
	struct pki_time_stamp_response r = { .failure = -1 };
	st about = pki_tst_info_read(s, tst_info, &r.info);
	if (about.code == E_OK)
		about = pki_time_stamp_answers(s, &r, DIGEST_SHA256, digest_new(s, DIGEST_SHA256, note), (span){ 0 });
	scope_clear_error(s);
	return about.code == E_OK;
}
