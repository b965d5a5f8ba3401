#include "alg_oid.h"
#include "pki_profile.h"

static const struct {
	const char *oid, *name;
} names[] = {
	{ "1.3.6.1.5.5.7.3.1", "serverAuth" },      { "1.3.6.1.5.5.7.3.2", "clientAuth" },
	{ "1.3.6.1.5.5.7.3.4", "emailProtection" }, { "1.3.6.1.5.5.7.3.8", "timeStamping" },
	{ "1.3.6.1.5.5.7.3.9", "OCSPSigning" },
};

static const char *name_of(const char *oid)
{
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i].oid, oid) == 0)
			return names[i].name;
	return oid;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	*out_present = context->profile->extended_key_usage != NULL;
	if (!*out_present)
		return OK;
	der_begin(out, DER_SEQUENCE);
	for (const char *const *oid = context->profile->extended_key_usage; *oid != NULL; oid++) {
		span content;
		TRY(der_oid_parse(s, span_str(*oid), &content));
		der_put_oid(out, content);
	}
	der_end(out);
	return OK;
}

/* Calls for each purpose as dotted text. */
static st each_purpose(struct scope *s, span value, st (*each)(struct scope *s, const char *oid, void *arg), void *arg)
{
	struct der_rd d = der_read(value);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	if (!list.bad && list.rest.len == 0)
		list.bad = true; /* SIZE (1..MAX) */
	while (!der_at_end(&list)) {
		span content = der_get(&list, DER_OID);
		char *oid;
		if (list.bad)
			break;
		TRY(der_oid_text(s, content, &oid));
		TRY(each(s, oid, arg));
	}
	der_leave(&d, &list);
	return der_done(s, &d, "extendedKeyUsage");
}

struct progress {
	const struct pki_profile *profile;
	size_t at;
};

static st compare(struct scope *s, const char *oid, void *arg)
{
	struct progress *p = arg;
	const char *wanted = p->profile->extended_key_usage[p->at];
	if (wanted == NULL || strcmp(wanted, oid) != 0)
		return fail(s, E_CRYPTO, "extendedKeyUsage holds %s, which is not in its place in profile %s (%s)",
			    name_of(oid), p->profile->name, p->profile->clause);
	p->at++;
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	struct progress p = { .profile = context->profile };
	if (p.profile->extended_key_usage == NULL)
		return fail(s, E_CRYPTO, "profile %s has no extendedKeyUsage (%s)", p.profile->name, p.profile->clause);
	TRY(each_purpose(s, value, compare, &p));
	const char *missing = p.profile->extended_key_usage[p.at];
	if (missing != NULL)
		return fail(s, E_CRYPTO, "extendedKeyUsage lacks %s of profile %s (%s)", name_of(missing), p.profile->name,
			    p.profile->clause);
	return OK;
}

static st append_name(struct scope *s, const char *oid, void *arg)
{
	char **text = arg;
	*text = scope_printf(s, "%s%s%s", *text, (*text)[0] == 0 ? "" : ", ", name_of(oid));
	return OK;
}

static st print(struct scope *s, span value, char **out)
{
	char *text = scope_printf(s, "%s", "");
	TRY(each_purpose(s, value, append_name, &text));
	*out = text;
	return OK;
}

//= en319412-2#4.3.10 not critical, but in a TSU's certificate (rfc3161#2.3), where the profile says so
const struct pki_ext_ops pki_ext_extended_key_usage = {
	.name = "extendedKeyUsage",
	.oid = OCTETS("\x55\x1d\x25"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};

struct wanted {
	const char *oid;
	bool found;
};

static st find_purpose(struct scope *s, const char *oid, void *arg)
{
	(void)s;
	struct wanted *w = arg;
	w->found = w->found || strcmp(w->oid, oid) == 0;
	return OK;
}

st pki_ext_purpose_get(struct scope *s, const struct pki_certificate *c, const char *purpose, bool *out_present)
{
	const struct pki_extension *e = pki_certificate_extension(c, pki_ext_extended_key_usage.oid);
	struct wanted wanted = { .oid = purpose };
	if (e != NULL)
		TRY(each_purpose(s, e->value, find_purpose, &wanted));
	*out_present = wanted.found;
	return OK;
}
