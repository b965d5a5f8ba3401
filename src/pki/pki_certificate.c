#include "pki_extension.h"

#define SERIAL_OCTETS 16

/* The serial's content octets; marks the reader bad unless positive and of at most 20 octets. */
static span get_serial(struct der_rd *d)
{
	span serial = der_get_integer(d);
	//= rfc5280#4.1.2.2 a positive integer of at most 20 octets
	bool zero = serial.len == 1 && serial.data[0] == 0;
	if (serial.len == 0 || serial.len > PKI_SERIAL_MAX || serial.data[0] >= 0x80 || zero)
		d->bad = true;
	return serial;
}

static st read_extension(struct scope *s, struct der_rd *list, struct pki_certificate *c)
{
	struct pki_extension e;
	if (!pki_extension_next(list, &e))
		return OK; /* told once, at the end */
	//= rfc5280#4.2 a certificate has no two instances of an extension
	if (pki_certificate_extension(c, e.oid) != NULL)
		return fail(s, E_INPUT, "an extension appears twice in the certificate (RFC 5280, 4.2)");
	if (c->extension_count == PKI_EXTENSIONS_MAX)
		return fail(s, E_LIMIT, "the certificate has more than %d extensions", PKI_EXTENSIONS_MAX);
	c->extension[c->extension_count++] = e;
	return OK;
}

static st read_extensions(struct scope *s, struct der_rd *tbs, struct pki_certificate *c)
{
	if (der_next(tbs) != DER_CONTEXT_CONSTRUCTED(3))
		return OK;
	struct der_rd explicit = der_enter(tbs, DER_CONTEXT_CONSTRUCTED(3));
	struct der_rd list = der_enter(&explicit, DER_SEQUENCE);
	if (!list.bad && list.rest.len == 0)
		list.bad = true; /* SIZE (1..MAX) */
	while (!der_at_end(&list))
		TRY(read_extension(s, &list, c));
	der_leave(&explicit, &list);
	der_leave(tbs, &explicit);
	return OK;
}

st pki_certificate_read_tbs(struct scope *s, span tbs, struct pki_certificate *out)
{
	if (tbs.len > PKI_CERTIFICATE_MAX)
		return fail(s, E_LIMIT, "a certificate of more than %d octets is not read", PKI_CERTIFICATE_MAX);
	struct pki_certificate c = { .tbs = tbs };
	struct der_rd d = der_read(tbs);
	struct der_rd t = der_enter(&d, DER_SEQUENCE);
	struct der_rd version = der_enter(&t, DER_CONTEXT_CONSTRUCTED(0));
	//= rfc5280#4.1.2.1 version 3, since extensions are used
	if (der_get_small(&version, DER_INTEGER) != 2)
		version.bad = true;
	der_leave(&t, &version);
	c.serial = get_serial(&t);
	c.signature_identifier = der_get_whole(&t, DER_SEQUENCE);
	c.issuer = der_get_whole(&t, DER_SEQUENCE);
	struct der_rd validity = der_enter(&t, DER_SEQUENCE);
	c.not_before = der_get_time(&validity);
	c.not_after = der_get_time(&validity);
	der_leave(&t, &validity);
	c.subject = der_get_whole(&t, DER_SEQUENCE);
	c.spki = der_get_whole(&t, DER_SEQUENCE);
	TRY(read_extensions(s, &t, &c)); /* unique identifiers (rfc5280#4.1.2.8) are left over and refused */
	der_leave(&d, &t);
	TRY(der_done(s, &d, "a version 3 TBSCertificate (RFC 5280, 4.1)"));
	*out = c;
	return OK;
}

st pki_certificate_read(struct scope *s, span der, struct pki_certificate *out)
{
	if (der.len > PKI_CERTIFICATE_MAX)
		return fail(s, E_LIMIT, "a certificate of more than %d octets is not read", PKI_CERTIFICATE_MAX);
	struct der_rd d = der_read(der);
	struct der_rd c = der_enter(&d, DER_SEQUENCE);
	span tbs = der_get_whole(&c, DER_SEQUENCE);
	span identifier = der_get_whole(&c, DER_SEQUENCE);
	span signature = der_get_bits(&c);
	der_leave(&d, &c);
	TRY(der_done(s, &d, "a Certificate (RFC 5280, 4.1)"));
	struct pki_certificate read;
	TRY(pki_certificate_read_tbs(s, tbs, &read));
	//= rfc5280#4.1.1.2 both signature algorithm fields are the same
	if (!span_equal(identifier, read.signature_identifier))
		return fail(s, E_INPUT, "the two signature algorithms of the certificate differ (RFC 5280, 4.1.1.2)");
	read.der = der;
	read.signature = signature;
	*out = read;
	return OK;
}

const struct pki_extension *pki_certificate_extension(const struct pki_certificate *c, span oid)
{
	for (size_t i = 0; i < c->extension_count; i++)
		if (span_equal(c->extension[i].oid, oid))
			return &c->extension[i];
	return NULL;
}

st pki_signed_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span *out_der)
{
	if (signature.len == 0 || signature.len > algorithm->max_signature)
		return fail(s, E_CRYPTO, "a signature of %zu octets cannot be %s", signature.len, algorithm->name);
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_put_raw(&w, tbs);
	der_put_raw(&w, algorithm->identifier);
	der_put_bits(&w, signature);
	der_end(&w);
	TRY(der_finish(s, &w));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}

st pki_certificate_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span *out_der)
{
	struct pki_certificate c;
	TRY(pki_certificate_read_tbs(s, tbs, &c));
	if (!span_equal(c.signature_identifier, algorithm->identifier))
		return fail(s, E_CRYPTO, "the TBSCertificate names another algorithm than %s (RFC 5280, 4.1.1.2)",
			    algorithm->name);
	return pki_signed_assemble(s, tbs, algorithm, signature, out_der);
}

span pki_certificate_serial(struct scope *s, span der)
{
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	if (der.len == 0 || pki_certificate_read(s, der, c).code != E_OK) {
		scope_clear_error(s);
		return (span){ 0 };
	}
	span serial = c->serial;
	while (serial.len > 1 && serial.data[0] == 0)
		serial = span_from(serial, 1);
	return serial;
}

//= en319411-1#GEN-6.3.3-02A at least 64 random bits: here 120 and more
void pki_serial_new(struct scope *s, uint8_t out[16])
{
	do {
		scope_random(s, out, SERIAL_OCTETS);
		out[0] &= 0x7f;
	} while (out[0] == 0);
}
