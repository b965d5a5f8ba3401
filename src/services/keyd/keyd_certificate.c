/*
 * keyd_certificate.c - TBSCertificate (rfc5280#4.1) and CertificationRequestInfo (rfc2986#4.1).
 */
#include "keyd_content.h"

#define SERIAL_MIN 8 /* 64 bits */
#define SERIAL_MAX 20

static const uint8_t oid_basic_constraints[] = { 0x55, 0x1d, 0x13 };
static const uint8_t oid_key_usage[] = { 0x55, 0x1d, 0x0f };
static const uint8_t oid_certificate_policies[] = { 0x55, 0x1d, 0x20 };
#define USAGE_KEY_CERT_SIGN (1u << 5)
#define USAGE_CRL_SIGN      (1u << 6)

static st check_version(struct scope *s, struct der_rd *d)
{
	struct der_rd version = der_enter(d, DER_CONTEXT_CONSTRUCTED(0));
	int64_t v = der_get_small(&version, DER_INTEGER);
	der_leave(d, &version);
	//= rfc5280#4.1.2.1 with extensions the version is 3
	if (d->bad || v != 2)
		return fail(s, E_INPUT, "a TBSCertificate of version 3 begins with [0] (RFC 5280 4.1.2.1)");
	return OK;
}

//= rfc5280#4.1.2.2 serial numbers are positive and of at most 20 octets
//= req2.1 and carry at least 64 bits
static st check_serial(struct scope *s, span serial)
{
	if (serial.len == 0 || serial.data[0] >= 0x80 || serial.len > SERIAL_MAX)
		return fail(s, E_INPUT, "a serial number is positive and has at most 20 octets (RFC 5280 4.1.2.2)");
	if (serial.len < SERIAL_MIN)
		return fail(s, E_DENIED, "a serial number has at least 64 bits here; this one has %zu octets", serial.len);
	return OK;
}

static st read_basic_constraints(struct scope *s, const struct keyd_extension *e, bool *out_ca)
{
	*out_ca = false;
	if (e == NULL)
		return OK;
	struct der_rd d = der_read(e->value);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	bool ca = false;
	if (der_next(&inner) == DER_BOOLEAN) {
		ca = der_get_boolean(&inner);
		inner.bad = inner.bad || !ca; /* DEFAULT FALSE is left out */
	}
	if (der_next(&inner) == DER_INTEGER)
		(void)der_get_small(&inner, DER_INTEGER);
	der_leave(&d, &inner);
	TRY(der_done(s, &d, "basicConstraints"));
	*out_ca = ca;
	return OK;
}

static st check_ca(struct scope *s, const struct keyd_rules *rules, const struct keyd_extension *extensions, size_t count,
		   bool *out_ca)
{
	bool ca;
	TRY(read_basic_constraints(s, keyd_extension_of(extensions, count, SPAN_ARRAY(oid_basic_constraints)), &ca));
	unsigned usage = 0;
	const struct keyd_extension *e = keyd_extension_of(extensions, count, SPAN_ARRAY(oid_key_usage));
	if (e != NULL) {
		struct der_rd d = der_read(e->value);
		usage = der_get_named_bits(&d);
		TRY(der_done(s, &d, "keyUsage"));
	}
	//= rfc5280#4.2.1.3 keyCertSign goes with cA only
	if (!ca && (usage & USAGE_KEY_CERT_SIGN) != 0)
		return fail(s, E_DENIED, "keyCertSign without cA (RFC 5280 4.2.1.3)");
	if (!rules->key->limits.ca && (ca || (usage & USAGE_CRL_SIGN) != 0))
		return fail(s, E_DENIED, "key \"%s\" may not sign certificates of certificate authorities", rules->key->label);
	*out_ca = ca || (usage & USAGE_CRL_SIGN) != 0;
	return OK;
}

static st check_policies(struct scope *s, const struct keyd_rules *rules, const struct keyd_extension *e)
{
	if (e == NULL)
		return OK;
	struct der_rd d = der_read(e->value);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	while (!der_at_end(&list)) {
		struct der_rd one = der_enter(&list, DER_SEQUENCE);
		span policy = der_get(&one, DER_OID);
		(void)der_skip(&one, DER_SEQUENCE); /* qualifiers */
		der_leave(&list, &one);
		if (!list.bad)
			TRY(keyd_check_policy(s, rules, policy));
	}
	der_leave(&d, &list);
	return der_done(s, &d, "certificatePolicies");
}

static st check_extensions(struct scope *s, const struct keyd_rules *rules, struct der_rd *d, bool *out_ca)
{
	struct der_rd wrapper = der_enter(d, DER_CONTEXT_CONSTRUCTED(3));
	struct der_rd list = der_enter(&wrapper, DER_SEQUENCE);
	struct keyd_extension extensions[KEYD_EXTENSIONS_MAX];
	size_t count;
	TRY(keyd_read_extensions(s, &list, "a TBSCertificate", extensions, &count));
	der_leave(&wrapper, &list);
	der_leave(d, &wrapper);
	TRY(check_ca(s, rules, extensions, count, out_ca));
	return check_policies(s, rules, keyd_extension_of(extensions, count, SPAN_ARRAY(oid_certificate_policies)));
}

st keyd_check_certificate(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out)
{
	struct der_rd outer = der_read(tbs);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	TRY(check_version(s, &d));
	span serial = der_get_integer(&d);
	span algorithm = der_get_whole(&d, DER_SEQUENCE);
	span issuer = der_get_whole(&d, DER_SEQUENCE);
	struct der_rd validity = der_enter(&d, DER_SEQUENCE);
	int64_t not_before = der_get_time(&validity);
	int64_t not_after = der_get_time(&validity);
	der_leave(&d, &validity);
	span subject = der_get_whole(&d, DER_SEQUENCE);
	span spki = der_get_whole(&d, DER_SEQUENCE);
	if (d.bad)
		return fail(s, E_INPUT, "this is no TBSCertificate (RFC 5280 4.1)");
	TRY(check_serial(s, serial));
	TRY(keyd_check_algorithm(s, rules, algorithm, "the TBSCertificate"));
	TRY(keyd_check_issuer(s, rules, issuer, "the TBSCertificate"));
	TRY(keyd_check_life(s, rules, not_before, not_after, "the certificate"));
	TRY(check_extensions(s, rules, &d, &out->ca));
	der_leave(&outer, &d);
	TRY(der_done(s, &outer, "the TBSCertificate"));
	out->serial = serial;
	out->not_after = not_after;
	out->subject = subject;
	out->spki = spki;
	return OK;
}

st keyd_check_request(struct scope *s, const struct keyd_rules *rules, span tbs, struct keyd_found *out)
{
	struct der_rd outer = der_read(tbs);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	int64_t version = der_get_small(&d, DER_INTEGER);
	(void)der_get_whole(&d, DER_SEQUENCE); /* subject */
	span spki = der_get_whole(&d, DER_SEQUENCE);
	(void)der_get_whole(&d, DER_CONTEXT_CONSTRUCTED(0)); /* attributes: required, may be empty (rfc2986#4.1) */
	der_leave(&outer, &d);
	TRY(der_done(s, &outer, "the CertificationRequestInfo"));
	//= rfc2986#4.1 version is 0
	if (version != 0)
		return fail(s, E_INPUT, "a CertificationRequestInfo has version 0 (RFC 2986 4.1)");
	if (!span_equal(spki, rules->key->spki))
		return fail(s, E_DENIED, "a key signs certification requests for itself only; this one holds another key");
	*out = (struct keyd_found){ 0 };
	return OK;
}
