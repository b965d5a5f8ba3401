#include "pki_key.h"
#include "pki_profile_internal.h"

#define SERIAL_OCTETS_MIN 8

/* A finished TBSCertificate under inspection. Everything in `c` was read from the bytes. */
struct inspection {
	const struct pki_issue *issue;
	const struct pki_profile *profile;
	struct pki_ext_context context; /* the issuance's, filled up from the bytes for lint */
	struct pki_certificate c;
	bool any; /* no issuance behind it: compare with the profile only */
	/* Where findings go; NULL: the first one is the result. */
	st (*finding)(struct scope *s, const char *rule, const char *text, void *arg);
	void *arg;
};

/* The result of one rule: passed on, or told as a finding. */
static st told(struct scope *s, const struct inspection *i, const char *rule, st status)
{
	if (status.code == E_OK || i->finding == NULL)
		return status;
	char *text = scope_cstr(s, span_str(s->message));
	scope_clear_error(s);
	return i->finding(s, rule, text, i->arg);
}

static bool is_magnitude(span integer, span magnitude)
{
	while (magnitude.len > 1 && magnitude.data[0] == 0)
		magnitude = span_from(magnitude, 1);
	if (integer.len > 1 && integer.data[0] == 0)
		integer = span_from(integer, 1);
	return span_equal(integer, magnitude);
}

//= en319411-1#GEN-6.3.3-02A at least 64 random bits
static st check_serial(struct scope *s, const struct inspection *i)
{
	if (i->c.serial.len < SERIAL_OCTETS_MIN)
		return fail(s, E_CRYPTO,
			    "the serial number has %zu octets, too few for 64 random bits (EN 319 411-1 GEN-6.3.3-02A)",
			    i->c.serial.len);
	if (!i->any && !is_magnitude(i->c.serial, i->issue->serial))
		return fail(s, E_CRYPTO, "the serial number is not the one on record (RFC 5280, 4.1.2.2)");
	return OK;
}

/* Rules of a date are those of now when issuing, and those of its beginning when a certificate is looked at later. */
static int64_t policy_moment(const struct scope *s, const struct inspection *i)
{
	int64_t now = scope_now(s);
	return i->any || now < i->c.not_before ? i->c.not_before : now;
}

static enum alg_use issuer_use(const struct pki_profile *profile)
{
	if (profile->issuer == PKI_SELF_SIGNED)
		return profile->use;
	return profile->issuer == PKI_BY_MANAGEMENT ? ALG_USE_INTERNAL : ALG_USE_CA;
}

//= ts119312#tables signature algorithm and issuer's key by the dated policy
static st check_algorithm(struct scope *s, const struct inspection *i)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(i->c.signature_identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO, "the signature algorithm is not in the table (TS 119 312)");
	if (!i->any && algorithm != i->issue->algorithm)
		return fail(s, E_CRYPTO, "the TBSCertificate names %s, it is to be signed with %s (RFC 5280, 4.1.2.3)",
			    algorithm->name, i->issue->algorithm->name);
	if (i->context.issuer_spki.len == 0)
		return OK;
	const struct alg_key *key;
	TRY(alg_key_of_spki(s, i->context.issuer_spki, &key));
	return alg_policy_check(s, key, algorithm, issuer_use(i->profile), true, policy_moment(s, i));
}

static st check_issuer(struct scope *s, const struct inspection *i)
{
	if (!i->any && !span_equal(i->c.issuer, i->issue->issuer))
		return fail(s, E_CRYPTO, "the issuer is not the authority's name, byte for byte (RFC 5280, 4.1.2.4)");
	bool same = span_equal(i->c.issuer, i->c.subject);
	if (i->profile->issuer == PKI_SELF_SIGNED && !same)
		return fail(s, E_CRYPTO, "profile %s is self-signed, but issuer and subject differ", i->profile->name);
	if (i->profile->issuer != PKI_SELF_SIGNED && same)
		return fail(s, E_CRYPTO, "profile %s is not self-signed, but issuer and subject are the same",
			    i->profile->name);
	bool public = i->profile->issuer == PKI_BY_ROOT || i->profile->issuer == PKI_BY_ISSUING;
	return public ? pki_profile_check_authority(s, i->c.issuer) : OK;
}

static st check_validity(struct scope *s, const struct inspection *i)
{
	int64_t from = i->c.not_before, to = i->c.not_after;
	if (to <= from)
		return fail(s, E_CRYPTO, "notAfter does not lie after notBefore (RFC 5280, 4.1.2.5)");
	if (to - from > i->profile->max_validity)
		return fail(s, E_LIMIT, "the certificate is valid for %lld days, profile %s allows %lld",
			    (long long)((to - from) / MOMENT_DAY), i->profile->name,
			    (long long)(i->profile->max_validity / MOMENT_DAY));
	//= practice-statement#6.3.2 a certificate does not outlive its issuer's
	if (i->issue->issuer_not_after != 0 && to > i->issue->issuer_not_after)
		return fail(s, E_LIMIT,
			    "the certificate outlives its issuer's (practice statement 6.3.2); shorten it or renew the issuer");
	bool differs = from != i->context.not_before || to != i->context.not_after;
	if (!i->any && differs)
		return fail(s, E_CRYPTO, "the validity is not the one decided on (RFC 5280, 4.1.2.5)");
	return OK;
}

static st check_subject(struct scope *s, const struct inspection *i)
{
	if (!i->any && !span_equal(i->c.subject, i->issue->subject))
		return fail(s, E_CRYPTO, "the subject is not the one decided on (RFC 5280, 4.1.2.6)");
	return pki_profile_check_subject(s, i->profile, i->c.subject);
}

//= ts119312#tables the subject's key by the dated policy: fit for new certificates, and to the end of this one
static st check_key(struct scope *s, const struct inspection *i)
{
	if (!i->any && !span_equal(i->c.spki, i->issue->ext.subject_spki))
		return fail(s, E_CRYPTO, "the public key is not the subject's (RFC 5280, 4.1.2.7)");
	if (i->profile->issuer == PKI_SELF_SIGNED && i->context.issuer_spki.len > 0 &&
	    !span_equal(i->c.spki, i->context.issuer_spki))
		return fail(s, E_CRYPTO, "profile %s is self-signed, but the issuer's key is another", i->profile->name);
	const struct alg_key *key;
	TRY(alg_key_of_spki(s, i->c.spki, &key));
	const struct alg_signature *fitting = alg_signature_default(key);
	TRY(alg_policy_check(s, key, fitting, i->profile->use, true, policy_moment(s, i)));
	const struct alg_policy *row = alg_policy_of(key, fitting, i->profile->use);
	char day[MOMENT_TEXT_MAX];
	if (i->c.not_after > row->no_use_after)
		return fail(s, E_CRYPTO, "the certificate would end after %s may no longer be used (%s, %s); shorten it",
			    key->name, moment_text(row->no_use_after, day), row->source);
	return i->any ? pki_key_check(s, i->c.spki) : OK;
}

/* ---- extensions ---- */

/* Place in the profile's list; -1 when it is not there. */
static int place_of(const struct pki_profile *profile, span oid)
{
	for (int at = 0; at < PKI_PROFILE_EXTENSIONS_MAX && profile->extension[at].ops != NULL; at++)
		if (span_equal(profile->extension[at].ops->oid, oid) && profile->extension[at].presence != PKI_FORBIDDEN)
			return at;
	return -1;
}

//= en319412-2#4.3 what the profile does not name, is not in the certificate
static st refuse_extension(struct scope *s, const struct inspection *i, const struct pki_extension *e)
{
	const struct pki_ext_ops *known = pki_ext_of(e->oid);
	char *dotted;
	TRY(der_oid_text(s, e->oid, &dotted));
	return fail(s, E_CRYPTO, "profile %s carries no %s (%s)", i->profile->name, known != NULL ? known->name : dotted,
		    i->profile->clause);
}

static st check_extension(struct scope *s, const struct inspection *i, const struct pki_extension *e, int place, int previous)
{
	if (place < 0)
		return refuse_extension(s, i, e);
	const struct pki_ext_ops *ops = i->profile->extension[place].ops;
	if (place < previous)
		return fail(s, E_CRYPTO, "%s does not stand in the order of profile %s", ops->name, i->profile->name);
	if (e->critical != pki_ext_critical(ops, i->profile))
		return fail(s, E_CRYPTO, "%s must %sbe critical in profile %s (%s)", ops->name, e->critical ? "not " : "",
			    i->profile->name, i->profile->clause);
	return ops->check(s, &i->context, e->value);
}

/* Required ones are there; optional ones exactly when the issuance gives reason for them. */
static st check_presence(struct scope *s, const struct inspection *i, int at)
{
	const struct pki_ext_ops *ops = i->profile->extension[at].ops;
	bool present = pki_certificate_extension(&i->c, ops->oid) != NULL;
	bool wanted = i->profile->extension[at].presence == PKI_REQUIRED;
	if (!i->any && !wanted) {
		AUTO_BUF ignored = { 0 };
		struct der_wr w = der_write(&ignored);
		TRY(ops->build(s, &i->context, &w, &wanted));
	}
	if (wanted && !present)
		return fail(s, E_CRYPTO, "%s is missing from profile %s (%s)", ops->name, i->profile->name, i->profile->clause);
	if (!i->any && present && !wanted)
		return fail(s, E_CRYPTO, "%s is there without reason", ops->name);
	return OK;
}

static st check_extensions(struct scope *s, const struct inspection *i)
{
	int previous = -1;
	for (size_t at = 0; at < i->c.extension_count; at++) {
		const struct pki_extension *e = &i->c.extension[at];
		int place = place_of(i->profile, e->oid);
		TRY(told(s, i, "extension", check_extension(s, i, e, place, previous)));
		previous = place > previous ? place : previous;
	}
	for (int at = 0; at < PKI_PROFILE_EXTENSIONS_MAX && i->profile->extension[at].ops != NULL; at++)
		TRY(told(s, i, "extension", check_presence(s, i, at)));
	return OK;
}

static const struct {
	const char *rule;
	st (*check)(struct scope *s, const struct inspection *i);
} rules[] = {
	{ "serial", check_serial },     { "algorithm", check_algorithm }, { "issuer", check_issuer },
	{ "validity", check_validity }, { "subject", check_subject },     { "key", check_key },
};

static st inspect(struct scope *s, struct inspection *i, span tbs)
{
	i->profile = i->issue->profile;
	i->any = i->issue->serial.len == 0;
	st status = pki_certificate_read_tbs(s, tbs, &i->c);
	if (status.code != E_OK)
		return told(s, i, "encoding", status);
	i->context = i->issue->ext;
	i->context.profile = i->profile;
	i->context.any = i->any;
	i->context.not_before = pki_profile_whole_seconds(i->context.not_before);
	i->context.not_after = pki_profile_whole_seconds(i->context.not_after);
	if (i->any) {
		i->context.subject_spki = i->c.spki;
		i->context.not_before = i->c.not_before;
		i->context.not_after = i->c.not_after;
		if (i->profile->issuer == PKI_SELF_SIGNED)
			i->context.issuer_spki = i->c.spki;
	}
	for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
		TRY(told(s, i, rules[r].rule, rules[r].check(s, i)));
	return check_extensions(s, i);
}

st pki_profile_check(struct scope *s, const struct pki_issue *issue, span tbs)
{
	struct inspection i = { .issue = issue };
	return inspect(s, &i, tbs);
}

st pki_profile_lint(struct scope *s, const struct pki_issue *issue, span tbs,
		    st (*finding)(struct scope *s, const char *rule, const char *text, void *arg), void *arg)
{
	struct inspection i = { .issue = issue, .finding = finding, .arg = arg };
	return inspect(s, &i, tbs);
}
