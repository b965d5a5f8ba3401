#include "alg_oid.h"
#include "pki_time_stamp.h"

#define OID_PKCS9 "\x2a\x86\x48\x86\xf7\x0d\x01\x09"
static const span oid_signed_data = OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02");
static const span oid_tst_info = OCTETS(OID_PKCS9 "\x10\x01\x04");
static const span oid_content_type = OCTETS(OID_PKCS9 "\x03");
static const span oid_message_digest = OCTETS(OID_PKCS9 "\x04");
static const span oid_signing_certificate = OCTETS(OID_PKCS9 "\x10\x02\x2f"); /* signing-certificate-v2 */

/* ---- writing ---- */

#define SET_MAX 8

/* DER: the elements of a SET OF stand in ascending order of their encodings. */
static void put_set(struct der_wr *d, int tag, span *element, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && span_compare(element[j], element[j - 1]) < 0; j--) {
			span swap = element[j];
			element[j] = element[j - 1];
			element[j - 1] = swap;
		}
	der_begin(d, tag);
	for (size_t i = 0; i < count; i++)
		der_put_raw(d, element[i]);
	der_end(d);
}

static void begin_attribute(struct der_wr *d, span oid)
{
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid);
	der_begin(d, DER_SET);
}

static span end_attribute(struct der_wr *d, size_t start)
{
	der_end(d);
	der_end(d);
	return span_from(buf_span(d->out), start);
}

//= rfc5816#2.2.1 ESSCertIDv2 with SHA-256, which is its default and so left out
static void put_signing_certificate(struct der_wr *d, span signer_certificate)
{
	uint8_t hash[DIGEST_MAX];
	begin_attribute(d, oid_signing_certificate);
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_put(d, DER_OCTET_STRING, digest_of(DIGEST_SHA256, signer_certificate, hash));
	der_end(d);
	der_end(d);
	der_end(d);
}

//= rfc5652#11 content-type and message-digest are signed attributes, as one DER SET OF
st pki_time_stamp_attributes(struct scope *s, enum digest_alg digest, span tst_info, span signer_certificate, span *out_set)
{
	if (digest == DIGEST_NONE || digest == DIGEST_SHA1)
		return fail(s, E_CRYPTO, "time-stamps are signed with SHA-2 digests only (ETSI TS 119 312)");
	uint8_t hash[DIGEST_MAX];
	span element[3];
	AUTO_BUF parts = { 0 };
	(void)buf_reserve(&parts, 512); /* so that spans into it stay */
	struct der_wr d = der_write(&parts);
	size_t start = 0;
	begin_attribute(&d, oid_content_type);
	der_put_oid(&d, oid_tst_info);
	element[0] = end_attribute(&d, start);
	start = parts.len;
	begin_attribute(&d, oid_message_digest);
	der_put(&d, DER_OCTET_STRING, digest_of(digest, tst_info, hash));
	element[1] = end_attribute(&d, start);
	start = parts.len;
	put_signing_certificate(&d, signer_certificate);
	element[2] = end_attribute(&d, start);
	TRY(der_finish(s, &d));
	AUTO_BUF set = { 0 };
	d = der_write(&set);
	put_set(&d, DER_SET, element, 3);
	TRY(der_finish(s, &d));
	*out_set = scope_copy(s, buf_span(&set));
	return OK;
}

/* issuer and serialNumber of a certificate, as SignerIdentifier wants them. */
static st read_signer_identity(struct scope *s, span certificate, span *out_issuer, span *out_serial)
{
	struct der_rd d = der_read(certificate);
	struct der_rd whole = der_enter(&d, DER_SEQUENCE);
	struct der_rd tbs = der_enter(&whole, DER_SEQUENCE);
	(void)der_skip(&tbs, DER_CONTEXT_CONSTRUCTED(0));
	span serial = der_get_whole(&tbs, DER_INTEGER);
	(void)der_get(&tbs, DER_SEQUENCE);
	span issuer = der_get_whole(&tbs, DER_SEQUENCE);
	if (tbs.bad)
		return fail(s, E_INPUT, "the time-stamp unit's certificate is not one (rfc5280#4.1)");
	*out_issuer = issuer;
	*out_serial = serial;
	return OK;
}

//= rfc5652#5.3 version 1 goes with issuerAndSerialNumber
static void put_signer_info(struct der_wr *d, span issuer, span serial, span attributes_set,
			    const struct alg_signature *algorithm, span signature)
{
	der_begin(d, DER_SET);
	der_begin(d, DER_SEQUENCE);
	der_put_small(d, DER_INTEGER, 1);
	der_begin(d, DER_SEQUENCE);
	der_put_raw(d, issuer);
	der_put_raw(d, serial);
	der_end(d);
	der_put_raw(d, alg_digest_identifier(algorithm->digest));
	uint8_t tag = DER_CONTEXT_CONSTRUCTED(0); /* the SET under its implicit tag */
	der_put_raw(d, span_of(&tag, 1));
	der_put_raw(d, span_from(attributes_set, 1));
	der_put_raw(d, algorithm->identifier);
	der_put(d, DER_OCTET_STRING, signature);
	der_end(d);
	der_end(d);
}

static void put_encapsulated(struct der_wr *d, span tst_info)
{
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_tst_info);
	der_begin(d, DER_CONTEXT_CONSTRUCTED(0));
	der_put(d, DER_OCTET_STRING, tst_info);
	der_end(d);
	der_end(d);
}

//= rfc3161#2.4.1 certificates are in the token when certReq asked for them, and not otherwise
static void put_certificates(struct der_wr *d, span signer_certificate, const span *chain, size_t chain_count)
{
	span certificate[SET_MAX] = { signer_certificate };
	for (size_t i = 0; i < chain_count; i++)
		certificate[1 + i] = chain[i];
	put_set(d, DER_CONTEXT_CONSTRUCTED(0), certificate, 1 + chain_count);
}

//= rfc3161#2.4.2 SignedData of version 3 over id-ct-TSTInfo with one SignerInfo, status granted
st pki_time_stamp_assemble(struct scope *s, span tst_info, span attributes_set, const struct alg_signature *algorithm,
			   span signature, span signer_certificate, const span *chain, size_t chain_count, bool cert_req,
			   span *out_der)
{
	span issuer, serial;
	TRY(read_signer_identity(s, signer_certificate, &issuer, &serial));
	if (chain_count >= SET_MAX || attributes_set.len < 2 || signature.len == 0)
		return fail(s, E_INPUT, "a token takes signed attributes, a signature and at most %d chain certificates",
			    SET_MAX - 1);
	AUTO_BUF b = { 0 };
	(void)buf_reserve(&b, 4096);
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_SEQUENCE); /* PKIStatusInfo */
	der_put_small(&d, DER_INTEGER, 0);
	der_end(&d);
	der_begin(&d, DER_SEQUENCE); /* ContentInfo */
	der_put_oid(&d, oid_signed_data);
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(0));
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_INTEGER, 3);
	der_put(&d, DER_SET, alg_digest_identifier(algorithm->digest));
	put_encapsulated(&d, tst_info);
	if (cert_req)
		put_certificates(&d, signer_certificate, chain, chain_count);
	put_signer_info(&d, issuer, serial, attributes_set, algorithm, signature);
	for (int i = 0; i < 4; i++)
		der_end(&d);
	TRY(der_finish(s, &d));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}

/* ---- reading ---- */

/* SigningCertificateV2: hash and its algorithm of the first ESSCertIDv2, which is the signer's (rfc5035#3). */
static void read_signing_certificate(struct der_rd *values, struct pki_time_stamp_response *out)
{
	struct der_rd attribute = der_enter(values, DER_SEQUENCE);
	struct der_rd list = der_enter(&attribute, DER_SEQUENCE);
	struct der_rd first = der_enter(&list, DER_SEQUENCE);
	out->certificate_digest = DIGEST_SHA256;
	if (der_next(&first) == DER_SEQUENCE)
		out->certificate_digest = alg_digest_of_identifier(der_get_whole(&first, DER_SEQUENCE));
	out->certificate_hash = der_get(&first, DER_OCTET_STRING);
	if (first.bad)
		values->bad = true;
}

static void read_attributes(struct der_rd *set, struct pki_time_stamp_response *out)
{
	bool content_type = false;
	while (!der_at_end(set)) {
		struct der_rd attribute = der_enter(set, DER_SEQUENCE);
		span oid = der_get(&attribute, DER_OID);
		struct der_rd values = der_enter(&attribute, DER_SET);
		if (span_equal(oid, oid_content_type)) {
			content_type = span_equal(der_get(&values, DER_OID), oid_tst_info);
			der_leave(&attribute, &values);
		} else if (span_equal(oid, oid_message_digest)) {
			out->message_digest = der_get(&values, DER_OCTET_STRING);
			der_leave(&attribute, &values);
		} else if (span_equal(oid, oid_signing_certificate)) {
			read_signing_certificate(&values, out);
			if (values.bad)
				attribute.bad = true;
		}
		der_leave(set, &attribute);
	}
	if (!content_type || out->message_digest.len == 0 || out->certificate_hash.len == 0)
		set->bad = true;
}

/* The attributes are signed under the tag of a SET, not under the implicit one they are sent with (rfc5652#5.4). */
static span retagged(struct scope *s, span whole)
{
	if (whole.len == 0)
		return whole;
	uint8_t *bytes = memcpy(scope_alloc(s, whole.len), whole.data, whole.len);
	bytes[0] = DER_SET;
	return span_of(bytes, whole.len);
}

static void read_signer_info(struct scope *s, struct der_rd *signed_data, struct pki_time_stamp_response *out)
{
	struct der_rd set = der_enter(signed_data, DER_SET);
	struct der_rd info = der_enter(&set, DER_SEQUENCE);
	int64_t version = der_get_small(&info, DER_INTEGER);
	if (version != 1 && version != 3)
		info.bad = true;
	(void)der_get(&info, version == 1 ? DER_SEQUENCE : DER_CONTEXT(0));
	out->digest = alg_digest_of_identifier(der_get_whole(&info, DER_SEQUENCE));
	struct der_rd before = info;
	out->signed_attributes = retagged(s, der_get_whole(&before, DER_CONTEXT_CONSTRUCTED(0)));
	struct der_rd attributes = der_enter(&info, DER_CONTEXT_CONSTRUCTED(0));
	read_attributes(&attributes, out);
	if (attributes.bad)
		info.bad = true;
	out->signature_identifier = der_get_whole(&info, DER_SEQUENCE);
	out->signature = der_get(&info, DER_OCTET_STRING);
	(void)der_skip(&info, DER_CONTEXT_CONSTRUCTED(1)); /* unsigned attributes */
	der_leave(&set, &info);
	der_leave(signed_data, &set);
}

static void read_encapsulated(struct der_rd *signed_data, struct pki_time_stamp_response *out)
{
	struct der_rd content = der_enter(signed_data, DER_SEQUENCE);
	if (!span_equal(der_get(&content, DER_OID), oid_tst_info))
		content.bad = true;
	struct der_rd wrapped = der_enter(&content, DER_CONTEXT_CONSTRUCTED(0));
	out->tst_info = der_get(&wrapped, DER_OCTET_STRING);
	der_leave(&content, &wrapped);
	der_leave(signed_data, &content);
}

st pki_time_stamp_token_read(struct scope *s, span der, struct pki_time_stamp_response *out)
{
	struct pki_time_stamp_response token = { .failure = -1, .token = der };
	struct der_rd d = der_read(der);
	struct der_rd content_info = der_enter(&d, DER_SEQUENCE);
	if (!span_equal(der_get(&content_info, DER_OID), oid_signed_data))
		content_info.bad = true;
	struct der_rd wrapped = der_enter(&content_info, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd signed_data = der_enter(&wrapped, DER_SEQUENCE);
	if (der_get_small(&signed_data, DER_INTEGER) != 3)
		signed_data.bad = true;
	(void)der_get(&signed_data, DER_SET);
	read_encapsulated(&signed_data, &token);
	if (der_next(&signed_data) == DER_CONTEXT_CONSTRUCTED(0))
		token.certificates = der_get(&signed_data, DER_CONTEXT_CONSTRUCTED(0));
	(void)der_skip(&signed_data, DER_CONTEXT_CONSTRUCTED(1)); /* CRLs */
	read_signer_info(s, &signed_data, &token);
	der_leave(&wrapped, &signed_data);
	der_leave(&content_info, &wrapped);
	der_leave(&d, &content_info);
	TRY(der_done(s, &d, "the time-stamp token (rfc3161#2.4.2, rfc5816#2.2.1)"));
	TRY(pki_tst_info_read(s, token.tst_info, &token.info));
	*out = token;
	return OK;
}

/* Number of the first bit set in a named-bit BIT STRING of any length; -1 when none is. */
static int first_bit(span content)
{
	for (size_t i = 0; i + 1 < content.len; i++)
		for (int bit = 0; bit < 8; bit++)
			if ((content.data[1 + i] & (0x80 >> bit)) != 0)
				return (int)(8 * i) + bit;
	return -1;
}

static void read_status_info(struct der_rd *whole, struct pki_time_stamp_response *out)
{
	struct der_rd info = der_enter(whole, DER_SEQUENCE);
	int64_t status = der_get_small(&info, DER_INTEGER);
	out->status = (int)(status & 7);
	if (status > 5)
		info.bad = true;
	if (der_next(&info) == DER_SEQUENCE) {
		struct der_rd text = der_enter(&info, DER_SEQUENCE);
		out->text = der_get(&text, DER_UTF8_STRING);
		if (text.bad)
			info.bad = true;
	}
	if (der_next(&info) == DER_BIT_STRING)
		out->failure = first_bit(der_get(&info, DER_BIT_STRING));
	der_leave(whole, &info);
}

st pki_time_stamp_response_read(struct scope *s, span der, struct pki_time_stamp_response *out)
{
	struct pki_time_stamp_response answer = { .failure = -1 };
	struct der_rd d = der_read(der);
	struct der_rd whole = der_enter(&d, DER_SEQUENCE);
	read_status_info(&whole, &answer);
	span token = der_at_end(&whole) ? (span){ 0 } : der_get_whole(&whole, DER_SEQUENCE);
	der_leave(&d, &whole);
	TRY(der_done(s, &d, "the time-stamp answer (rfc3161#2.4.2)"));
	bool granted = answer.status <= 1;
	if (granted != (token.len > 0))
		return fail(s, E_INPUT, "the time-stamp answer's status and its content do not fit together (rfc3161#2.4.2)");
	if (granted) {
		int status = answer.status;
		TRY(pki_time_stamp_token_read(s, token, &answer));
		answer.status = status;
	}
	*out = answer;
	return OK;
}

st pki_time_stamp_signer(struct scope *s, const struct pki_time_stamp_response *response, span *out_certificate)
{
	struct der_rd d = der_read(response->certificates);
	uint8_t hash[DIGEST_MAX];
	while (!der_at_end(&d) && response->certificate_digest != DIGEST_NONE) {
		span certificate = der_get_whole(&d, DER_SEQUENCE);
		if (!d.bad &&
		    span_equal(digest_of(response->certificate_digest, certificate, hash), response->certificate_hash)) {
			*out_certificate = certificate;
			return OK;
		}
	}
	return fail(s, E_NOTFOUND, "the token does not hold its signer's certificate; give it as a file (rfc3161#2.4.1)");
}
