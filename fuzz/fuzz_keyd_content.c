/*
 * What keyd is asked to sign: the first octet chooses the parser, the second how a CRL is cut into parts. Nothing may be accepted
 * that is not DER to its last octet, and a list must be judged alike however it is cut.
 */
#include "fuzz.h"
#include "keyd_content.h"

static const uint8_t policy[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x86, 0x8d, 0x1f, 0x01 }; /* 1.3.6.1.4.1.99999.1 */
static const uint8_t key_hash[20] = { 0 };
#define SEEDS_MADE_AT (INT64_C(1795374000) * MOMENT_SECOND)

static struct key_info key(bool limited)
{
	struct key_info info = { .label = "fuzz", .token = "fuzz", .spki = SPAN_LITERAL("\x30\x00") };
	info.type = alg_key_named(span_str("ec-p256"));
	if (limited)
		info.limits = (struct key_limits){
			.policies = { SPAN_ARRAY(policy) }, .policy_count = 1, .validity_days = 90, .accuracy_ms = 1000
		};
	info.limits.ca = !limited;
	return info;
}

static bool is_whole_der(span bytes)
{
	struct der_rd d = der_read(bytes);
	(void)der_get_whole(&d, 0);
	return !d.bad && d.rest.len == 0;
}

static bool list_accepted(struct scope *s, const struct keyd_rules *rules, span tbs, size_t part, struct keyd_found *out)
{
	struct keyd_crl *crl = keyd_crl_new(rules, tbs.len);
	uint8_t digest[DIGEST_MAX], whole[DIGEST_MAX];
	span value;
	st status = OK;
	for (size_t at = 0; at < tbs.len && status.code == E_OK; at += part)
		status = keyd_crl_add(s, crl, span_first(span_from(tbs, at), part));
	if (status.code == E_OK)
		status = keyd_crl_finish(s, crl, out, digest, &value);
	if (status.code == E_OK)
		check(span_equal(value, digest_of(rules->algorithm->digest, tbs, whole)));
	keyd_crl_free(crl);
	scope_clear_error(s);
	return status.code == E_OK;
}

static void try_list(struct scope *s, const struct keyd_rules *rules, span tbs, size_t part)
{
	struct keyd_found cut = { 0 }, whole = { 0 };
	bool accepted = list_accepted(s, rules, tbs, part, &cut);
	check(accepted == list_accepted(s, rules, tbs, tbs.len + 1, &whole));
	if (!accepted)
		return;
	check(is_whole_der(tbs));
	check(cut.entries == whole.entries && cut.number == whole.number && cut.next_update == whole.next_update);
}

static void try_time_stamp(struct scope *s, const struct keyd_rules *rules, span bytes)
{
	if (bytes.len < 2)
		return;
	size_t first = (size_t)bytes.data[0] << 8 | bytes.data[1];
	span tst_info = span_first(span_from(bytes, 2), first), attributes = span_from(bytes, 2 + first);
	struct keyd_found found;
	if (keyd_check_time_stamp(s, rules, tst_info, attributes, &found).code == E_OK)
		check(is_whole_der(tst_info) && is_whole_der(attributes) && found.serial.len <= 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static st (*const checks[])(struct scope *, const struct keyd_rules *, span,
				    struct keyd_found *) = { keyd_check_certificate, keyd_check_ocsp, keyd_check_request };
	if (size < 2)
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const struct key_info info = key((data[0] & 0x80) != 0);
	const struct keyd_rules rules = { .key = &info,
					  .algorithm = alg_signature_named(span_str("ecdsa-sha256")),
					  .key_hash = SPAN_ARRAY(key_hash),
					  .now = SEEDS_MADE_AT };
	span content = span_of(data + 2, size - 2);
	unsigned which = data[0] & 0x7f;
	struct keyd_found found;
	if (which < 3) {
		if (checks[which](&s, &rules, content, &found).code == E_OK)
			check(is_whole_der(content));
		else
			check(s.message[0] != 0);
	} else if (which == 3)
		try_list(&s, &rules, content, (size_t)data[1] + 1);
	else if (which == 4)
		try_time_stamp(&s, &rules, content);
	return 0;
}
