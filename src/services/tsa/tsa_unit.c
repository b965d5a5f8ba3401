#include "alg_oid.h"
#include "file.h"
#include "log.h"
#include "pki_ext.h"
#include "pki_pem.h"
#include "tsa.h"
#include <stdlib.h>

#define PEM_MAX (256u << 10)
#define BTSP    "0.4.0.2023.1.1" /* best practices time-stamp policy, EN 319 421 5.2 */

static const span oid_extended_key_usage = OCTETS("\x55\x1d\x25");
static const span oid_key_usage = OCTETS("\x55\x1d\x0f");
static const span only_time_stamping = OCTETS("\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08");
#define KU_DIGITAL_SIGNATURE  1u
#define KU_CONTENT_COMMITMENT 2u

void tsa_unit_free(struct tsa_unit *unit)
{
	while (unit != NULL) {
		struct tsa_unit *earlier = unit->earlier;
		pki_key_free(unit->public);
		scope_done(&unit->memory);
		free(unit);
		unit = earlier;
	}
}

static void unit_auto(struct tsa_unit **unit)
{
	tsa_unit_free(*unit);
}
#define AUTO_UNIT __attribute__((cleanup(unit_auto))) struct tsa_unit

/* ---- the certificate ---- */

//= rfc3161#2.3 extendedKeyUsage is critical and holds timeStamping only
//= en319422#6 keyUsage is digitalSignature, nonRepudiation or both
static st check_usage(struct scope *s, const struct pki_certificate *c)
{
	const struct pki_extension *purpose = pki_certificate_extension(c, oid_extended_key_usage);
	if (purpose == NULL || !purpose->critical || !span_equal(purpose->value, only_time_stamping))
		return fail(s, E_CONFIG,
			    "the unit's certificate is not for time-stamps: extendedKeyUsage must be critical and hold "
			    "timeStamping only (RFC 3161, 2.3); have it issued with profile tsu");
	const struct pki_extension *usage = pki_certificate_extension(c, oid_key_usage);
	if (usage == NULL)
		return OK;
	struct der_rd d = der_read(usage->value);
	unsigned bits = der_get_named_bits(&d);
	TRY(der_done(s, &d, "keyUsage of the unit's certificate"));
	if (bits == 0 || (bits & ~(KU_DIGITAL_SIGNATURE | KU_CONTENT_COMMITMENT)) != 0)
		return fail(s, E_CONFIG, "the unit's certificate has a keyUsage that time-stamps may not have (EN 319 422, 6)");
	return OK;
}

//= en319421#TIS-7.6.7-01 the private key stops before its certificate does
static st check_period(struct scope *s, const struct tsa_conf *conf, const struct pki_certificate *c, struct tsa_unit *unit)
{
	int64_t end, now = scope_now(s);
	TRY(pki_ext_private_key_end_get(s, c, &end));
	if (end == INT64_MAX && conf->qualified)
		return fail(s, E_CONFIG,
			    "a qualified unit's certificate needs privateKeyUsagePeriod (EN 319 421, TIS-7.6.7); "
			    "have it issued with profile tsu");
	if (end == INT64_MAX)
		log_put(LOG_LEVEL_WARNING, "the unit's certificate has no privateKeyUsagePeriod: the key is used until the "
					   "certificate ends (EN 319 421, TIS-7.6.7)");
	unit->key_end = end < c->not_after ? end : c->not_after;
	unit->not_before = c->not_before;
	if (now < c->not_before || now >= unit->key_end)
		return fail(s, E_CONFIG,
			    "the unit's key may not be used now: its period is not begun or over (EN 319 421, TIS-7.6.7); "
			    "generate a new key and have it certified");
	return OK;
}

/* ---- the chain ---- */

struct chain {
	struct pki_certificate certificate[TSA_CHAIN_MAX];
	size_t count;
};

static st add_to_chain(struct scope *s, span der, void *arg)
{
	struct chain *chain = arg;
	if (chain->count == TSA_CHAIN_MAX)
		return fail(s, E_CONFIG, "there are more than %d certificates", TSA_CHAIN_MAX);
	TRY(pki_certificate_read(s, der, &chain->certificate[chain->count]));
	chain->count++;
	return OK;
}

static st check_signed_by(struct scope *s, const struct pki_certificate *c, const struct pki_certificate *issuer)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(c->signature_identifier);
	bool ca = false;
	TRY(pki_ext_ca_get(s, issuer, &ca));
	int64_t now = scope_now(s);
	if (!ca || now < issuer->not_before || now > issuer->not_after)
		return fail(s, E_CONFIG, "an issuer in it is no CA, or not valid now");
	if (algorithm == NULL)
		return fail(s, E_CONFIG, "a certificate in it is signed with an algorithm not known here");
	struct pki_key *key = NULL;
	TRY(pki_key_new(s, issuer->spki, &key));
	st verified = pki_key_verify(s, key, algorithm, c->tbs, c->signature);
	pki_key_free(key);
	return verified;
}

static const struct pki_certificate *issuer_of(const struct chain *chain, const struct pki_certificate *c)
{
	for (size_t i = 0; i < chain->count; i++)
		if (span_equal(chain->certificate[i].subject, c->issuer))
			return &chain->certificate[i];
	return NULL;
}

/* From the unit's certificate up to the self-signed one; what is below that goes into tokens. */
static st climb(struct scope *s, const struct chain *chain, const struct pki_certificate *c, struct tsa_unit *unit)
{
	for (size_t depth = 0; depth < TSA_CHAIN_MAX; depth++) {
		const struct pki_certificate *issuer = issuer_of(chain, c);
		if (issuer == NULL)
			return fail(s, E_CONFIG, "an issuer is missing from it: it must reach up to the root");
		TRY(check_signed_by(s, c, issuer));
		if (issuer == c)
			return OK;
		if (!span_equal(issuer->subject, issuer->issuer))
			unit->chain[unit->chain_count++] = scope_copy(&unit->memory, issuer->der);
		c = issuer;
	}
	return fail(s, E_CONFIG, "it does not end");
}

static st load_chain(struct scope *s, const struct tsa_conf *conf, const struct pki_certificate *certificate,
		     struct tsa_unit *unit)
{
	span pem;
	struct chain chain = { .count = 0 };
	TRY(file_read(s, conf->chain, PEM_MAX, &pem));
	TRY(pki_pem_each(s, pem, "CERTIFICATE", add_to_chain, &chain));
	return climb(s, &chain, certificate, unit);
}

/* ---- the key ---- */

static st check_key(struct scope *s, const struct tsa_conf *conf, struct key_client *keyd, const struct pki_certificate *c,
		    struct tsa_unit *unit)
{
	struct key_info info = { 0 };
	TRY(fail_context(s, key_find(s, keyd, conf->key, &info), "asking keyd for key '%s'", conf->key));
	if (!span_equal(info.spki, c->spki))
		return fail(s, E_CONFIG, "the unit's certificate is not for keyd's key '%s'; have that key certified",
			    conf->key);
	if ((info.purposes & KEY_FOR_TIME_STAMP) == 0)
		return fail(s, E_CONFIG, "keyd's key '%s' is not for time-stamps", conf->key);
	unit->key = info.type;
	unit->algorithm = alg_signature_default(info.type);
	if (unit->algorithm == NULL || unit->algorithm->digest == DIGEST_NONE)
		return fail(s, E_CONFIG, "keys of type %s do not sign time-stamps", info.type->name);
	return alg_policy_check(s, unit->key, unit->algorithm, ALG_USE_TIME_STAMP, false, scope_now(s));
}

/* ---- policies ---- */

static st add_policy(struct scope *s, const char *text, struct tsa_unit *unit)
{
	if (unit->policy_count == TSA_POLICIES_MAX)
		return fail(s, E_CONFIG, "there are more than %d policies", TSA_POLICIES_MAX);
	span oid;
	TRY(fail_context(s, der_oid_parse(s, span_str(text), &oid), "policy '%s'", text));
	unit->policy[unit->policy_count++] = scope_copy(&unit->memory, oid);
	return OK;
}

static st load_policies(struct scope *s, const struct tsa_conf *conf, struct tsa_unit *unit)
{
	bool only_test = strcmp(conf->clock, "test") == 0 || (conf->policies.count == 0 && conf->test_policy != NULL);
	if (only_test)
		return add_policy(s, conf->test_policy, unit);
	for (size_t i = 0; i < conf->policies.count; i++)
		TRY(add_policy(s, conf->policies.item[i], unit));
	return conf->policies.count > 0 ? OK : add_policy(s, BTSP, unit);
}

st tsa_unit_load(struct scope *s, const struct tsa_conf *conf, struct key_client *keyd, struct tsa_unit **out)
{
	AUTO_UNIT *unit = heap_alloc(sizeof *unit);
	scope_init(&unit->memory, NULL);
	span pem, der;
	struct pki_certificate certificate;
	TRY(file_read(s, conf->certificate, PEM_MAX, &pem));
	TRY(fail_context(s, pki_pem_or_der(s, pem, "CERTIFICATE", &der), "%s", conf->certificate));
	TRY(fail_context(s, pki_certificate_read(s, der, &certificate), "%s", conf->certificate));
	TRY(check_usage(s, &certificate));
	TRY(check_period(s, conf, &certificate, unit));
	TRY(fail_context(s, load_chain(s, conf, &certificate, unit), "the chain of the unit's certificate, %s", conf->chain));
	TRY(check_key(s, conf, keyd, &certificate, unit));
	TRY(load_policies(s, conf, unit));
	TRY(pki_key_new(s, certificate.spki, &unit->public));
	unit->certificate = scope_copy(&unit->memory, der);
	*out = TAKE(unit);
	return OK;
}
