#include "pki_ocsp.h"
#include "alg_oid.h"
#include "pki_extension.h"

static const span oid_nonce = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x02");     /* id-pkix-ocsp-nonce */
static const span oid_preferred = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x08"); /* id-pkix-ocsp-pref-sig-algs */

/* ---- requests ---- */

static void read_cert_id(struct der_rd *d, struct pki_ocsp_cert_id *out)
{
	struct der_rd whole = *d;
	struct der_rd id = der_enter(d, DER_SEQUENCE);
	out->whole = der_get_whole(&whole, DER_SEQUENCE);
	out->digest = alg_digest_of_identifier(der_get_whole(&id, DER_SEQUENCE));
	out->issuer_name_hash = der_get(&id, DER_OCTET_STRING);
	out->issuer_key_hash = der_get(&id, DER_OCTET_STRING);
	out->serial = der_get_integer(&id);
	size_t len = digest_len(out->digest);
	if (len != 0 && (out->issuer_name_hash.len != len || out->issuer_key_hash.len != len))
		id.bad = true;
	der_leave(d, &id);
}

//= rfc9654#2.1 a nonce has 1 to 128 octets; any other length gives malformedRequest
static span read_nonce(struct der_rd *list, span value)
{
	struct der_rd d = der_read(value);
	span nonce = der_get(&d, DER_OCTET_STRING);
	if (d.bad || d.rest.len > 0 || nonce.len < 1 || nonce.len > PKI_OCSP_NONCE_MAX)
		list->bad = true;
	return nonce;
}

/* Extensions of one request or of the whole; what is not known and not critical is passed over (rfc6960#4.4). */
static void read_request_extensions(struct der_rd *outer, int tag, struct pki_ocsp_request *out)
{
	struct der_rd wrapped = der_enter(outer, tag);
	struct der_rd list = der_enter(&wrapped, DER_SEQUENCE);
	if (list.rest.len == 0)
		list.bad = true;
	while (!der_at_end(&list)) {
		struct pki_extension extension;
		if (!pki_extension_next(&list, &extension))
			break;
		bool nonce = out != NULL && span_equal(extension.oid, oid_nonce);
		bool preferred = out != NULL && span_equal(extension.oid, oid_preferred);
		if ((nonce && out->has_nonce) || (preferred && out->preferred.len > 0) ||
		    (extension.critical && !nonce && !preferred))
			list.bad = true;
		else if (nonce) {
			out->has_nonce = true;
			out->nonce = read_nonce(&list, extension.value);
		} else if (preferred)
			out->preferred = extension.value;
	}
	der_leave(&wrapped, &list);
	der_leave(outer, &wrapped);
}

static st read_single_requests(struct scope *s, struct der_rd *list, struct pki_ocsp_request *out)
{
	while (!der_at_end(list)) {
		if (out->count == PKI_OCSP_SINGLES_MAX)
			return fail(s, E_LIMIT, "an OCSP request asks for more than %d certificates", PKI_OCSP_SINGLES_MAX);
		struct der_rd request = der_enter(list, DER_SEQUENCE);
		read_cert_id(&request, &out->id[out->count++]);
		if (der_next(&request) == DER_CONTEXT_CONSTRUCTED(0))
			read_request_extensions(&request, DER_CONTEXT_CONSTRUCTED(0), NULL);
		der_leave(list, &request);
	}
	return OK;
}

/* Signature { algorithm, value, [0] certificates }: looked at for its shape only, as nobody has to sign a request. */
static void skip_signature(struct der_rd *outer)
{
	struct der_rd wrapped = der_enter(outer, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd signature = der_enter(&wrapped, DER_SEQUENCE);
	(void)der_get(&signature, DER_SEQUENCE);
	(void)der_get_bits(&signature);
	(void)der_skip(&signature, DER_CONTEXT_CONSTRUCTED(0));
	der_leave(&wrapped, &signature);
	der_leave(outer, &wrapped);
}

//= rfc6960#4.1.1 OCSPRequest; the version is v1, which DER leaves out; the list of requests is not empty
static st read_tbs_request(struct scope *s, struct der_rd *whole, struct pki_ocsp_request *out)
{
	struct der_rd tbs = der_enter(whole, DER_SEQUENCE);
	(void)der_skip(&tbs, DER_CONTEXT_CONSTRUCTED(1)); /* requestorName: means nothing without a signature */
	struct der_rd list = der_enter(&tbs, DER_SEQUENCE);
	if (list.rest.len == 0)
		list.bad = true;
	TRY(read_single_requests(s, &list, out));
	der_leave(&tbs, &list);
	if (der_next(&tbs) == DER_CONTEXT_CONSTRUCTED(2))
		read_request_extensions(&tbs, DER_CONTEXT_CONSTRUCTED(2), out);
	der_leave(whole, &tbs);
	return OK;
}

st pki_ocsp_request_read(struct scope *s, span der, struct pki_ocsp_request *out)
{
	if (der.len > PKI_OCSP_REQUEST_MAX)
		return fail(s, E_LIMIT, "an OCSP request is larger than %d octets", PKI_OCSP_REQUEST_MAX);
	struct pki_ocsp_request request = { 0 };
	struct der_rd d = der_read(der);
	struct der_rd whole = der_enter(&d, DER_SEQUENCE);
	TRY(read_tbs_request(s, &whole, &request));
	if (der_next(&whole) == DER_CONTEXT_CONSTRUCTED(0))
		skip_signature(&whole);
	der_leave(&d, &whole);
	TRY(der_done(s, &d, "the OCSP request (rfc6960#4.1.1)"));
	*out = request;
	return OK;
}

size_t pki_ocsp_preferred(const struct pki_ocsp_request *request, const struct alg_signature *out[PKI_OCSP_PREFERRED_MAX])
{
	struct der_rd whole = der_read(request->preferred);
	struct der_rd list = der_enter(&whole, DER_SEQUENCE);
	size_t count = 0;
	for (size_t i = 0; i < PKI_OCSP_PREFERRED_MAX && !list.bad && !der_at_end(&list); i++) {
		struct der_rd row = der_enter(&list, DER_SEQUENCE);
		const struct alg_signature *wanted = alg_signature_of_identifier(der_get_whole(&row, DER_SEQUENCE));
		(void)der_skip(&row, DER_SEQUENCE);
		der_leave(&list, &row);
		if (!list.bad && wanted != NULL)
			out[count++] = wanted;
	}
	return count;
}

static st spki_bits(struct scope *s, span spki, span *out)
{
	struct der_rd d = der_read(spki);
	struct der_rd fields = der_enter(&d, DER_SEQUENCE);
	(void)der_get(&fields, DER_SEQUENCE);
	span bits = der_get_bits(&fields);
	der_leave(&d, &fields);
	TRY(der_done(s, &d, "the issuer's public key"));
	*out = bits;
	return OK;
}

st pki_ocsp_cert_id_build(struct scope *s, enum digest_alg digest, span issuer_name, span issuer_spki, span serial, span *out)
{
	span bits;
	TRY(spki_bits(s, issuer_spki, &bits));
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_put_raw(&d, alg_digest_identifier(digest));
	der_put(&d, DER_OCTET_STRING, digest_new(s, digest, issuer_name));
	der_put(&d, DER_OCTET_STRING, digest_new(s, digest, bits));
	der_put_unsigned(&d, serial);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out = scope_copy(s, buf_span(&b));
	return OK;
}

static void put_nonce(struct der_wr *d, int tag, span nonce)
{
	der_begin(d, tag);
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_nonce);
	der_begin(d, DER_OCTET_STRING);
	der_put(d, DER_OCTET_STRING, nonce);
	for (int i = 0; i < 4; i++)
		der_end(d);
}

st pki_ocsp_request_build(struct scope *s, enum digest_alg digest, span issuer_name, span issuer_spki, span serial, span nonce,
			  span *out)
{
	if (nonce.len > PKI_OCSP_NONCE_MAX)
		return fail(s, E_INPUT, "a nonce has at most %d octets (rfc9654#2.1)", PKI_OCSP_NONCE_MAX);
	span cert_id;
	TRY(pki_ocsp_cert_id_build(s, digest, issuer_name, issuer_spki, serial, &cert_id));
	AUTO_BUF b = { 0 };
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_SEQUENCE);
	der_put(&d, DER_SEQUENCE, cert_id);
	der_end(&d);
	if (nonce.len > 0)
		put_nonce(&d, DER_CONTEXT_CONSTRUCTED(2), nonce);
	der_end(&d);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out = scope_copy(s, buf_span(&b));
	return OK;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

//= rfc6960#A.1 GET {url}/{url-encoding of base-64 encoding of the DER encoding of the OCSPRequest}
st pki_ocsp_request_from_url(struct scope *s, span url_part, span *out_der)
{
	while (url_part.len > 0 && url_part.data[0] == '/')
		url_part = span_from(url_part, 1); /* base64 of a SEQUENCE begins with 'M', so this is the path's */
	if (url_part.len == 0 || url_part.len > 3 * BASE64_LEN((size_t)PKI_OCSP_REQUEST_MAX))
		return fail(s, E_INPUT, "the path of an OCSP GET request holds no request, or too much (rfc6960#A.1)");
	uint8_t *text = scope_alloc(s, url_part.len);
	size_t len = 0;
	for (size_t i = 0; i < url_part.len; i++) {
		uint8_t c = url_part.data[i];
		if (c == '%') {
			int high = i + 2 < url_part.len ? hex_digit(url_part.data[i + 1]) : -1;
			int low = i + 2 < url_part.len ? hex_digit(url_part.data[i + 2]) : -1;
			if (high < 0 || low < 0)
				return fail(s, E_INPUT, "the path of an OCSP GET request is not URL-encoded (rfc6960#A.1)");
			c = (uint8_t)(high << 4 | low);
			i += 2;
		}
		text[len++] = c;
	}
	return base64_parse(s, span_of(text, len), out_der);
}
