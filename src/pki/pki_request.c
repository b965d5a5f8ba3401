#include "pki_request.h"
#include "alg_oid.h"
#include "pki_extension.h"
#include "pki_key.h"
#include "pki_pem.h"

#define ATTRIBUTES_MAX 16

static const span oid_extension_request = OCTETS("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"); /* 1.2.840.113549.1.9.14 */

/* Requested extensions are read, never copied into a certificate; here only their shape is checked. */
static void check_extensions(struct der_rd *values, span *out_whole)
{
	*out_whole = der_get_whole(values, DER_SEQUENCE);
	struct der_rd whole = der_read(*out_whole);
	struct der_rd list = der_enter(&whole, DER_SEQUENCE);
	size_t count = 0;
	for (; !der_at_end(&list); count++) {
		struct pki_extension ignored;
		(void)pki_extension_next(&list, &ignored);
	}
	if (list.bad || count > PKI_EXTENSIONS_MAX)
		values->bad = true;
}

static st read_attribute(struct scope *s, struct der_rd *attributes, span *seen, size_t count, struct pki_request *r)
{
	struct der_rd one = der_enter(attributes, DER_SEQUENCE);
	span oid = der_get(&one, DER_OID);
	struct der_rd values = der_enter(&one, DER_SET);
	if (!values.bad && values.rest.len == 0)
		values.bad = true; /* SIZE (1..MAX) */
	if (span_equal(oid, oid_extension_request))
		check_extensions(&values, &r->extensions);
	else
		while (!der_at_end(&values))
			(void)der_get_whole(&values, 0);
	der_leave(&one, &values);
	der_leave(attributes, &one);
	for (size_t i = 0; i < count && !attributes->bad; i++)
		if (span_equal(seen[i], oid))
			return fail(s, E_INPUT, "the request repeats an attribute (RFC 2986, 4.1); make it again");
	seen[count] = oid;
	return OK;
}

static st read_attributes(struct scope *s, struct der_rd *info, struct pki_request *r)
{
	struct der_rd attributes = der_enter(info, DER_CONTEXT_CONSTRUCTED(0));
	span seen[ATTRIBUTES_MAX];
	for (size_t count = 0; !der_at_end(&attributes); count++) {
		if (count == ATTRIBUTES_MAX)
			return fail(s, E_LIMIT, "the request has more than %d attributes", ATTRIBUTES_MAX);
		TRY(read_attribute(s, &attributes, seen, count, r));
	}
	der_leave(info, &attributes);
	return OK;
}

static st read_info(struct scope *s, span whole, struct pki_request *r)
{
	struct der_rd d = der_read(whole);
	struct der_rd info = der_enter(&d, DER_SEQUENCE);
	//= rfc2986#4.1 version 0 is the only one
	if (der_get_small(&info, DER_INTEGER) != 0)
		return fail(s, E_INPUT, "the request is not of version 1 (0) of PKCS #10 (RFC 2986, 4.1)");
	r->subject = der_get_whole(&info, DER_SEQUENCE);
	r->spki = der_get_whole(&info, DER_SEQUENCE);
	TRY(read_attributes(s, &info, r));
	der_leave(&d, &info);
	return der_done(s, &d, "a CertificationRequestInfo (RFC 2986, 4.1)");
}

static st prove_possession(struct scope *s, struct pki_request *r, span info, span identifier, span signature)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO,
			    "the request is signed with an algorithm outside the table; use ECDSA, RSA-PSS (salt as long as "
			    "the digest) or RSA PKCS#1 v1.5 with SHA-256 or SHA-384");
	struct pki_key *key;
	TRY(pki_key_new_checked(s, r->spki, &key));
	r->key = pki_key_type(key);
	st status = pki_key_verify(s, key, algorithm, info, signature);
	pki_key_free(key);
	return fail_context(s, status, "the request does not prove possession of its key (EN 319 411-1 REG-6.3.1-01)");
}

static st find_der(struct scope *s, span bytes, span *out_der)
{
	st status = pki_pem_or_der(s, bytes, "CERTIFICATE REQUEST", out_der);
	if (status.code == E_OK)
		return OK;
	char message[SCOPE_MESSAGE_MAX];
	memcpy(message, s->message, sizeof message);
	scope_clear_error(s);
	if (pki_pem_or_der(s, bytes, "NEW CERTIFICATE REQUEST", out_der).code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(s, status.code, "%s", message);
}

st pki_request_read(struct scope *s, span bytes, struct pki_request *out)
{
	if (bytes.len > 2 * PKI_REQUEST_MAX)
		return fail(s, E_LIMIT, "a request of more than %d octets is not read", PKI_REQUEST_MAX);
	struct pki_request r = { 0 };
	TRY(find_der(s, bytes, &r.der));
	if (r.der.len > PKI_REQUEST_MAX)
		return fail(s, E_LIMIT, "a request of more than %d octets is not read", PKI_REQUEST_MAX);
	struct der_rd d = der_read(r.der);
	struct der_rd request = der_enter(&d, DER_SEQUENCE);
	span info = der_get_whole(&request, DER_SEQUENCE);
	span identifier = der_get_whole(&request, DER_SEQUENCE);
	span signature = der_get_bits(&request);
	der_leave(&d, &request);
	TRY(der_done(s, &d, "a CertificationRequest (RFC 2986, 4.2)"));
	TRY(read_info(s, info, &r));
	TRY(prove_possession(s, &r, info, identifier, signature));
	*out = r;
	return OK;
}

st pki_request_build_info(struct scope *s, span subject, span spki, span *out_info)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_put_small(&w, DER_INTEGER, 0);
	der_put_raw(&w, subject);
	der_put_raw(&w, spki);
	der_put(&w, DER_CONTEXT_CONSTRUCTED(0), (span){ 0 });
	der_end(&w);
	TRY(der_finish(s, &w));
	*out_info = scope_copy(s, buf_span(&b));
	return OK;
}

st pki_request_assemble(struct scope *s, span info, const struct alg_signature *algorithm, span signature, span *out_der)
{
	return pki_signed_assemble(s, info, algorithm, signature, out_der);
}
