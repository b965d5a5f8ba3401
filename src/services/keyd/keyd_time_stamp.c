/*
 * keyd_time_stamp.c - TSTInfo (rfc3161#2.4.2) together with the CMS signed attributes over it (rfc5652#5.3), which are what
 * gets signed.
 */
#include "keyd_content.h"

#define SERIAL_MAX 20
/* What a request may have waited on its way here, beyond the accuracy. */
#define WAIT_TOLERANCE MOMENT_SECOND
/* Without a limit of the key: nothing that claims a time further off than this. */
#define ACCURACY_DEFAULT MOMENT_MINUTE

static const uint8_t oid_content_type[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03 };
static const uint8_t oid_message_digest[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04 };
static const uint8_t oid_signing_certificate_v2[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f };
static const uint8_t oid_tst_info[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04 };

/* Seconds, [0] millis, [1] micros; each 1 to 999 for the two parts (rfc3161#2.4.2). */
static int64_t read_accuracy(struct der_rd *d)
{
	struct der_rd inner = der_enter(d, DER_SEQUENCE);
	int64_t accuracy = 0;
	if (der_next(&inner) == DER_INTEGER) {
		int64_t seconds = der_get_small(&inner, DER_INTEGER);
		inner.bad = inner.bad || seconds > 86400;
		accuracy += inner.bad ? 0 : seconds * MOMENT_SECOND;
	}
	static const int64_t scale[] = { 1000, 1 };
	for (int part = 0; part < 2; part++) {
		if (der_next(&inner) != DER_CONTEXT(part))
			continue;
		int64_t v = der_get_small(&inner, DER_CONTEXT(part));
		inner.bad = inner.bad || v < 1 || v > 999;
		accuracy += inner.bad ? 0 : v * scale[part];
	}
	der_leave(d, &inner);
	return accuracy;
}

static st check_time(struct scope *s, const struct keyd_rules *rules, int64_t gen_time, int64_t accuracy)
{
	int64_t limit = (int64_t)rules->key->limits.accuracy_ms * 1000;
	//= en319422#5.2.2 accuracy is present and not worse than promised
	if (limit > 0 && (accuracy < 0 || accuracy > limit))
		return fail(s, E_DENIED,
			    "a token of key \"%s\" claims an accuracy of at most %u ms (EN 319 422 5.2.2); this one does not",
			    rules->key->label, rules->key->limits.accuracy_ms);
	int64_t off = gen_time - rules->now;
	int64_t most = (limit > 0 ? limit : ACCURACY_DEFAULT) + WAIT_TOLERANCE;
	if (off > most || off < -most)
		return fail(s, E_DENIED, "genTime is %lld ms off keyd's clock; compare the clocks", (long long)(off / 1000));
	return OK;
}

static st check_extensions(struct scope *s, struct der_rd *d)
{
	if (der_next(d) != DER_CONTEXT_CONSTRUCTED(1))
		return OK;
	struct der_rd list = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	struct keyd_extension extensions[KEYD_EXTENSIONS_MAX];
	size_t count;
	TRY(keyd_read_extensions(s, &list, "a TSTInfo", extensions, &count));
	der_leave(d, &list);
	for (size_t i = 0; i < count; i++)
		if (extensions[i].critical)
			return fail(s, E_DENIED, "a TSTInfo has no critical extension here (EN 319 422 5.2)");
	return OK;
}

static void skip_imprint(struct der_rd *d)
{
	struct der_rd imprint = der_enter(d, DER_SEQUENCE);
	enum digest_alg digest = alg_digest_of_identifier(der_get_whole(&imprint, DER_SEQUENCE));
	span value = der_get(&imprint, DER_OCTET_STRING);
	der_leave(d, &imprint);
	d->bad = d->bad || digest == DIGEST_NONE || value.len != digest_len(digest);
}

static st check_tst_info(struct scope *s, const struct keyd_rules *rules, span tst_info, struct keyd_found *out)
{
	struct der_rd outer = der_read(tst_info);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	int64_t version = der_get_small(&d, DER_INTEGER);
	span policy = der_get(&d, DER_OID);
	skip_imprint(&d);
	span serial = der_get_integer(&d);
	int64_t gen_time = der_get_generalized(&d, true);
	int64_t accuracy = der_next(&d) == DER_SEQUENCE ? read_accuracy(&d) : -1;
	if (der_next(&d) == DER_BOOLEAN && !der_get_boolean(&d))
		d.bad = true; /* ordering is DEFAULT FALSE */
	if (der_next(&d) == DER_INTEGER)
		(void)der_get_integer(&d);              /* nonce */
	(void)der_skip(&d, DER_CONTEXT_CONSTRUCTED(0)); /* tsa */
	if (d.bad || version != 1 || policy.len == 0)
		return fail(s, E_INPUT, "this is no TSTInfo of version 1 (RFC 3161 2.4.2)");
	//= rfc3161#2.4.2 serial numbers of up to 160 bits
	if (serial.len > SERIAL_MAX || serial.data[0] >= 0x80)
		return fail(s, E_INPUT, "a token's serial number is positive and has at most 160 bits (RFC 3161 2.4.2)");
	TRY(check_extensions(s, &d));
	der_leave(&outer, &d);
	TRY(der_done(s, &outer, "the TSTInfo"));
	TRY(keyd_check_policy(s, rules, policy));
	TRY(check_time(s, rules, gen_time, accuracy));
	out->serial = serial;
	out->gen_time = gen_time;
	return OK;
}

/* SigningCertificateV2 with at least one ESSCertIDv2 whose hash has the right length (rfc5816#2.2.1, rfc5035#3). */
static bool signing_certificate_good(span value)
{
	struct der_rd d = der_read(value);
	struct der_rd signing = der_enter(&d, DER_SEQUENCE);
	struct der_rd certificates = der_enter(&signing, DER_SEQUENCE);
	struct der_rd first = der_enter(&certificates, DER_SEQUENCE);
	enum digest_alg digest = DIGEST_SHA256;
	if (der_next(&first) == DER_SEQUENCE)
		digest = alg_digest_of_identifier(der_get_whole(&first, DER_SEQUENCE));
	span hash = der_get(&first, DER_OCTET_STRING);
	(void)der_skip(&first, DER_SEQUENCE); /* issuerSerial */
	der_leave(&certificates, &first);
	while (!der_at_end(&certificates))
		(void)der_get(&certificates, DER_SEQUENCE);
	der_leave(&signing, &certificates);
	(void)der_skip(&signing, DER_SEQUENCE); /* policies */
	der_leave(&d, &signing);
	return !d.bad && d.rest.len == 0 && digest != DIGEST_NONE && hash.len == digest_len(digest);
}

static bool content_type_good(span value)
{
	struct der_rd d = der_read(value);
	span type = der_get(&d, DER_OID);
	return !d.bad && d.rest.len == 0 && span_equal(type, SPAN_ARRAY(oid_tst_info));
}

static bool message_digest_good(span value, span digest)
{
	struct der_rd d = der_read(value);
	span got = der_get(&d, DER_OCTET_STRING);
	return !d.bad && d.rest.len == 0 && span_equal(got, digest);
}

static st check_attribute(struct scope *s, span type, span value, span digest, unsigned *seen)
{
	unsigned bit;
	bool good;
	if (span_equal(type, SPAN_ARRAY(oid_content_type))) {
		bit = 1;
		good = content_type_good(value);
	} else if (span_equal(type, SPAN_ARRAY(oid_message_digest))) {
		bit = 2;
		good = message_digest_good(value, digest);
	} else if (span_equal(type, SPAN_ARRAY(oid_signing_certificate_v2))) {
		bit = 4;
		good = signing_certificate_good(value);
	} else
		return fail(s, E_DENIED,
			    "a token has content-type, message-digest and signing-certificate-v2 as signed attributes, and no "
			    "others");
	if (!good || (*seen & bit) != 0)
		return fail(
			s, E_DENIED,
			"a signed attribute does not belong to this TSTInfo, or occurs twice (RFC 3161 2.4.2, RFC 5652 11)");
	*seen |= bit;
	return OK;
}

static st check_attributes(struct scope *s, span signed_attributes, span digest)
{
	struct der_rd outer = der_read(signed_attributes);
	struct der_rd set = der_enter(&outer, DER_SET);
	unsigned seen = 0;
	span before = { 0 };
	while (!der_at_end(&set)) {
		span whole = der_get_whole(&set, DER_SEQUENCE);
		struct der_rd d = der_read(whole);
		struct der_rd attribute = der_enter(&d, DER_SEQUENCE);
		span type = der_get(&attribute, DER_OID);
		span value = der_get(&attribute, DER_SET);
		der_leave(&d, &attribute);
		//= x690#11.6 the elements of a SET OF are in ascending order
		if (d.bad || set.bad || span_compare(before, whole) >= 0)
			return fail(s, E_INPUT, "the signed attributes are not a DER SET OF Attribute (RFC 5652 5.3)");
		TRY(check_attribute(s, type, value, digest, &seen));
		before = whole;
	}
	der_leave(&outer, &set);
	TRY(der_done(s, &outer, "the signed attributes"));
	//= rfc3161#2.4.2 and rfc5816#2.2.1 the certificate is bound by signing-certificate-v2
	if (seen != 7)
		return fail(s, E_DENIED,
			    "content-type, message-digest and signing-certificate-v2 must all be signed attributes (RFC 3161 "
			    "2.4.2)");
	return OK;
}

st keyd_check_time_stamp(struct scope *s, const struct keyd_rules *rules, span tst_info, span signed_attributes,
			 struct keyd_found *out)
{
	struct keyd_found found = { 0 };
	TRY(check_tst_info(s, rules, tst_info, &found));
	uint8_t digest[DIGEST_MAX];
	TRY(check_attributes(s, signed_attributes, digest_of(rules->algorithm->digest, tst_info, digest)));
	*out = found;
	return OK;
}
