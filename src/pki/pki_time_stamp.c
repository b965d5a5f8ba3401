#include "pki_time_stamp.h"
#include "alg_oid.h"
#include "pki_extension.h"

#define NONCE_MAX 128

static const span oid_qc_statements = OCTETS("\x2b\x06\x01\x05\x05\x07\x01\x03"); /* id-pe-qcStatements */
static const span oid_eu_qualified = OCTETS("\x04\x00\x81\x97\x5e\x01\x01");      /* id-etsi-tsts-EuQCompliance */

/* ---- requests ---- */

static st refuse(struct scope *s, enum pki_failure failure, enum pki_failure *out_failure, const char *message)
{
	*out_failure = failure;
	return fail(s, E_INPUT, "%s", message);
}

static bool oid_well_formed(span oid)
{
	for (size_t i = 0; i < oid.len; i++)
		if (oid.data[i] == 0x80 && (i == 0 || oid.data[i - 1] < 0x80))
			return false;
	return oid.len > 0 && oid.len <= 64 && oid.data[oid.len - 1] < 0x80;
}

static void read_imprint(struct der_rd *d, span *out_whole, span *out_identifier, span *out_hash)
{
	struct der_rd before = *d;
	*out_whole = der_get_whole(&before, DER_SEQUENCE);
	struct der_rd imprint = der_enter(d, DER_SEQUENCE);
	*out_identifier = der_get_whole(&imprint, DER_SEQUENCE);
	*out_hash = der_get(&imprint, DER_OCTET_STRING);
	der_leave(d, &imprint);
}

struct request_parts {
	struct pki_time_stamp_request request;
	span hash_identifier;
	int64_t version;
	bool has_extensions;
};

//= rfc3161#2.4.1 TimeStampReq; certReq FALSE is the default, which DER leaves out
static bool read_request_parts(span der, struct request_parts *out)
{
	struct pki_time_stamp_request *request = &out->request;
	struct der_rd d = der_read(der);
	struct der_rd fields = der_enter(&d, DER_SEQUENCE);
	out->version = der_get_small(&fields, DER_INTEGER);
	if (!fields.bad && out->version != 1)
		return true; /* what follows belongs to a version not known here */
	read_imprint(&fields, &request->imprint, &out->hash_identifier, &request->hash);
	if (der_next(&fields) == DER_OID) {
		request->policy = der_get(&fields, DER_OID);
		if (!oid_well_formed(request->policy))
			fields.bad = true;
	}
	if (der_next(&fields) == DER_INTEGER) {
		request->nonce = der_get_integer(&fields);
		if (request->nonce.len > NONCE_MAX)
			fields.bad = true;
	}
	if (der_next(&fields) == DER_BOOLEAN) {
		request->cert_req = der_get_boolean(&fields);
		if (!request->cert_req)
			fields.bad = true;
	}
	if (!der_at_end(&fields)) {
		(void)der_get(&fields, DER_CONTEXT_CONSTRUCTED(0));
		out->has_extensions = true;
	}
	der_leave(&d, &fields);
	return !d.bad && d.rest.len == 0;
}

//= rfc3161#2.4.2 badDataFormat for what is no request, badRequest for another version, badAlg for a hash not accepted,
//= rfc3161#2.4.2 unacceptedExtension for any extension, critical or not: none is known here
//= ts119312#hash-functions SHA-1, MD5 and SHA-224 are refused
st pki_time_stamp_request_read(struct scope *s, span der, struct pki_time_stamp_request *out, enum pki_failure *out_failure)
{
	struct request_parts parts = { 0 };
	if (der.len > PKI_TIME_STAMP_REQUEST_MAX || !read_request_parts(der, &parts))
		return refuse(s, PKI_BAD_DATA_FORMAT, out_failure, "this is not a time-stamp request in DER (rfc3161#2.4.1)");
	if (parts.version != 1)
		return refuse(s, PKI_BAD_REQUEST, out_failure,
			      "only version 1 of time-stamp requests is known (rfc3161#2.4.1)");
	parts.request.digest = alg_digest_of_identifier(parts.hash_identifier);
	if (parts.request.digest == DIGEST_NONE || parts.request.digest == DIGEST_SHA1)
		return refuse(s, PKI_BAD_ALG, out_failure,
			      "this hash algorithm is not accepted; use SHA-256, SHA-384 or SHA-512 (ETSI TS 119 312)");
	if (parts.request.hash.len != digest_len(parts.request.digest))
		return refuse(s, PKI_BAD_DATA_FORMAT, out_failure,
			      "the hash is not as long as its algorithm makes it (rfc3161#2.4.1)");
	if (parts.has_extensions)
		return refuse(s, PKI_UNACCEPTED_EXTENSION, out_failure, "no request extension is accepted (rfc3161#2.4.1)");
	*out = parts.request;
	return OK;
}

st pki_time_stamp_request_build(struct scope *s, enum digest_alg digest, span hash, span policy, span nonce, bool cert_req,
				span *out)
{
	if (hash.len == 0 || hash.len != digest_len(digest))
		return fail(s, E_INPUT, "the hash is not as long as its algorithm makes it (rfc3161#2.4.1)");
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_INTEGER, 1);
	der_begin(&d, DER_SEQUENCE);
	der_put_raw(&d, alg_digest_identifier(digest));
	der_put(&d, DER_OCTET_STRING, hash);
	der_end(&d);
	if (policy.len > 0)
		der_put_oid(&d, policy);
	if (nonce.len > 0)
		der_put_unsigned(&d, nonce);
	if (cert_req)
		der_put_boolean(&d, true);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out = scope_copy(s, buf_span(&b));
	return OK;
}

/* PKIStatusInfo and nothing else. */
st pki_time_stamp_rejection(struct scope *s, enum pki_failure failure, const char *text, span *out_der)
{
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_INTEGER, 2);
	if (text != NULL && text[0] != 0) {
		der_begin(&d, DER_SEQUENCE);
		der_put(&d, DER_UTF8_STRING, span_str(text));
		der_end(&d);
	}
	der_put_named_bits(&d, 1u << failure);
	der_end(&d);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}

/* ---- TSTInfo ---- */

//= en319422#5.2.2 accuracy is present and at most one second
static void put_accuracy(struct der_wr *d, uint32_t ms)
{
	der_begin(d, DER_SEQUENCE);
	if (ms >= 1000)
		der_put_small(d, DER_INTEGER, ms / 1000);
	if (ms % 1000 != 0) {
		uint8_t value[3] = { 0, (uint8_t)(ms % 1000 >> 8), (uint8_t)(ms % 1000) };
		size_t skip = value[1] == 0 ? (value[2] < 0x80 ? 2 : 1) : 1;
		der_put(d, DER_CONTEXT(0), span_from(SPAN_ARRAY(value), skip));
	}
	der_end(d);
}

//= en319422#B exactly one qcStatements, not critical, with esi4-qtstStatement-1, in every token of a qualified unit
static void put_qualified(struct der_wr *d)
{
	der_begin(d, DER_CONTEXT_CONSTRUCTED(1));
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_qc_statements);
	der_begin(d, DER_OCTET_STRING);
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_eu_qualified);
	for (int i = 0; i < 5; i++)
		der_end(d);
}

static st check_info(struct scope *s, const struct pki_tst_info *info)
{
	if (info->policy.len == 0 || info->imprint.len == 0)
		return fail(s, E_INPUT, "a TSTInfo needs a policy and an imprint (rfc3161#2.4.2)");
	if (info->accuracy_ms < 1 || info->accuracy_ms > 1000)
		return fail(s, E_INPUT, "a TSTInfo states an accuracy of 1 ms to 1 s (en319422#5.2.2)");
	if (info->serial.len == 0 || info->serial.len > PKI_SERIAL_MAX ||
	    (info->serial.len == PKI_SERIAL_MAX && info->serial.data[0] >= 0x80))
		return fail(s, E_INPUT, "a token's serial number has at most 160 bits (rfc3161#2.4.2)");
	return OK;
}

//= rfc3161#2.4.2 TSTInfo: imprint and nonce are the request's, byte for byte; ordering is absent, which is FALSE
st pki_tst_info_build(struct scope *s, const struct pki_tst_info *info, span *out_der)
{
	TRY(check_info(s, info));
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_INTEGER, 1);
	der_put_oid(&d, info->policy);
	der_put_raw(&d, info->imprint);
	der_put_unsigned(&d, info->serial);
	der_put_generalized_fraction(&d, info->gen_time);
	put_accuracy(&d, info->accuracy_ms);
	if (info->nonce.len > 0)
		der_put(&d, DER_INTEGER, info->nonce);
	if (info->qualified)
		put_qualified(&d);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}

/* INTEGER 1..999 under an implicit tag. */
static int64_t get_thousandth(struct der_rd *d, int tag)
{
	if (der_next(d) != tag)
		return 0;
	int64_t v = der_get_small(d, tag);
	if (v < 1 || v > 999)
		d->bad = true;
	return v;
}

static uint32_t read_accuracy(struct der_rd *d)
{
	struct der_rd accuracy = der_enter(d, DER_SEQUENCE);
	int64_t seconds = der_next(&accuracy) == DER_INTEGER ? der_get_small(&accuracy, DER_INTEGER) : 0;
	int64_t milli = get_thousandth(&accuracy, DER_CONTEXT(0));
	int64_t micro = get_thousandth(&accuracy, DER_CONTEXT(1));
	if (seconds > 1000000)
		accuracy.bad = true;
	der_leave(d, &accuracy);
	return d->bad ? 0 : (uint32_t)(seconds * 1000 + milli + (micro > 0));
}

static bool says_qualified(span value)
{
	struct der_rd d = der_read(value);
	struct der_rd statements = der_enter(&d, DER_SEQUENCE);
	while (!der_at_end(&statements)) {
		struct der_rd statement = der_enter(&statements, DER_SEQUENCE);
		if (span_equal(der_get(&statement, DER_OID), oid_eu_qualified) && !statement.bad)
			return true;
	}
	return false;
}

static void read_info_extensions(struct der_rd *d, struct pki_tst_info *out)
{
	struct der_rd list = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	struct pki_extension extension;
	while (!der_at_end(&list) && pki_extension_next(&list, &extension)) {
		if (span_equal(extension.oid, oid_qc_statements))
			out->qualified = says_qualified(extension.value);
		else if (extension.critical)
			list.bad = true;
	}
	der_leave(d, &list);
}

static span magnitude_of(span integer)
{
	return integer.len > 1 && integer.data[0] == 0 ? span_from(integer, 1) : integer;
}

st pki_tst_info_read(struct scope *s, span der, struct pki_tst_info *out)
{
	struct pki_tst_info info = { 0 };
	span ignored_identifier, ignored_hash;
	struct der_rd d = der_read(der);
	struct der_rd fields = der_enter(&d, DER_SEQUENCE);
	if (der_get_small(&fields, DER_INTEGER) != 1)
		fields.bad = true;
	info.policy = der_get(&fields, DER_OID);
	read_imprint(&fields, &info.imprint, &ignored_identifier, &ignored_hash);
	info.serial = magnitude_of(der_get_integer(&fields));
	info.gen_time = der_get_generalized(&fields, true);
	if (der_next(&fields) == DER_SEQUENCE)
		info.accuracy_ms = read_accuracy(&fields);
	if (der_next(&fields) == DER_BOOLEAN)
		(void)der_get_boolean(&fields); /* ordering */
	if (der_next(&fields) == DER_INTEGER)
		info.nonce = der_get_integer(&fields);
	(void)der_skip(&fields, DER_CONTEXT_CONSTRUCTED(0)); /* tsa */
	if (!der_at_end(&fields))
		read_info_extensions(&fields, &info);
	der_leave(&d, &fields);
	TRY(der_done(s, &d, "the TSTInfo (rfc3161#2.4.2)"));
	*out = info;
	return OK;
}
