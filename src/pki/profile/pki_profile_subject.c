#include "pki_name.h"
#include "pki_profile_internal.h"

/* The values of a Name in the places of a profile's attributes. */
struct places {
	const struct pki_profile *profile;
	span oid[PKI_PROFILE_ATTRIBUTES_MAX];
	span value[PKI_PROFILE_ATTRIBUTES_MAX]; /* empty: absent */
	size_t last;                            /* place of the attribute before */
	bool in_order;
};

static st place_each(struct scope *s, span oid, int tag, span value, void *arg)
{
	(void)tag;
	struct places *p = arg;
	const char *name = pki_name_attribute(oid);
	char *dotted = NULL;
	if (name == NULL)
		TRY(der_oid_text(s, oid, &dotted));
	for (size_t i = 0; name != NULL && i < PKI_PROFILE_ATTRIBUTES_MAX && p->profile->subject[i].name != NULL; i++) {
		if (strcmp(p->profile->subject[i].name, name) != 0)
			continue;
		if (p->value[i].len > 0)
			return fail(s, E_INPUT, "the subject has %s twice; profile %s takes one of each attribute (%s)", name,
				    p->profile->name, p->profile->clause);
		p->oid[i] = oid;
		p->value[i] = value;
		p->in_order = p->in_order && i >= p->last;
		p->last = i;
		return OK;
	}
	return fail(s, E_INPUT,
		    "the subject has %s, which profile %s does not carry (%s); leave it out or give another subject",
		    name != NULL ? name : dotted, p->profile->name, p->profile->clause);
}

static span value_of(const struct places *p, const char *name)
{
	for (size_t i = 0; i < PKI_PROFILE_ATTRIBUTES_MAX && p->profile->subject[i].name != NULL; i++)
		if (strcmp(p->profile->subject[i].name, name) == 0)
			return p->value[i];
	return (span){ 0 };
}

static bool is_upper(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

/* Three letters, or two and a colon; a country; a hyphen; a reference (en319412-1#5.1). */
static bool has_semantics(span value)
{
	if (value.len < 7 || value.data[5] != '-')
		return false;
	const uint8_t *c = value.data;
	return is_upper(c[0]) && is_upper(c[1]) && (is_upper(c[2]) || c[2] == ':') && is_upper(c[3]) && is_upper(c[4]);
}

/* The type of identity is in the list of its kind, or a local scheme: two letters and a colon. */
static bool known_type(span value, const char *types)
{
	char type[5] = { ' ', (char)value.data[0], (char)value.data[1], (char)value.data[2], 0 };
	return value.data[2] == ':' || strstr(types, type) != NULL;
}

static st check_organization(struct scope *s, span organization, span identifier)
{
	if (identifier.len == 0)
		return OK;
	//= en319412-1#5.1.4 VAT, NTR, PSD, LEI, EOR, EXC or a local scheme
	if (!has_semantics(identifier) || !known_type(identifier, " VAT NTR PSD LEI EOR EXC"))
		return fail(s, E_INPUT,
			    "organizationIdentifier is not of the form NTRBE-0123456789: VAT, NTR, PSD, LEI, EOR, EXC or "
			    "two letters and a colon, then country, hyphen, reference (EN 319 412-1, 5.1.4)");
	//= en319412-2#4.2.3 the identifier differs from the name
	if (span_equal(identifier, organization))
		return fail(s, E_INPUT, "organizationIdentifier repeats O; it must be an identifier (EN 319 412-2, 4.2.3)");
	return OK;
}

//= en319412-1#5.1.3 a serialNumber of that form is a passport, identity card, personal, tax or local number; TAX is deprecated
static st check_person_number(struct scope *s, span number)
{
	if (number.len == 0 || !has_semantics(number) || known_type(number, " PAS IDC PNO TIN"))
		return OK;
	return fail(s, E_INPUT,
		    "serialNumber has the form of EN 319 412-1, 5.1.3, but its type is none of PAS, IDC, PNO, TIN or two "
		    "letters and a colon");
}

enum script { SCRIPT_NONE, SCRIPT_LATIN, SCRIPT_GREEK, SCRIPT_CYRILLIC };

static enum script script_of(uint32_t point)
{
	static const struct {
		uint32_t from, to;
		enum script script;
	} ranges[] = {
		{ 'A', 'Z', SCRIPT_LATIN },        { 'a', 'z', SCRIPT_LATIN },     { 0xc0, 0x24f, SCRIPT_LATIN },
		{ 0x1e00, 0x1eff, SCRIPT_LATIN },  { 0x370, 0x3ff, SCRIPT_GREEK }, { 0x1f00, 0x1fff, SCRIPT_GREEK },
		{ 0x400, 0x52f, SCRIPT_CYRILLIC },
	};
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
		if (point >= ranges[i].from && point <= ranges[i].to)
			return ranges[i].script;
	return SCRIPT_NONE;
}

//= en319412-2#NAT-4.2.4-19 one commonName does not mix scripts
static st check_scripts(struct scope *s, span name)
{
	enum script seen = SCRIPT_NONE;
	for (size_t i = 0; i < name.len;) {
		uint8_t first = name.data[i];
		size_t len = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2; /* checked UTF-8 */
		uint32_t point = len == 1 ? first : first & (0x7fu >> len);
		for (size_t k = 1; k < len && i + k < name.len; k++)
			point = point << 6 | (name.data[i + k] & 0x3f);
		enum script script = script_of(point);
		if (script != SCRIPT_NONE && seen != SCRIPT_NONE && script != seen)
			return fail(s, E_INPUT,
				    "CN mixes letters of several scripts (EN 319 412-2 NAT-4.2.4-19); write it in one");
		seen = script != SCRIPT_NONE ? script : seen;
		i += len;
	}
	return OK;
}

//= en319412-2#4.2.4 given name and/or surname, or a pseudonym, never both
static st check_person(struct scope *s, const struct places *p)
{
	bool named = value_of(p, "givenName").len > 0 || value_of(p, "surname").len > 0;
	bool pseudonym = value_of(p, "pseudonym").len > 0;
	if (named == pseudonym)
		return fail(s, E_INPUT,
			    "the subject of a natural person has givenName and/or surname, or else a pseudonym, not %s "
			    "(EN 319 412-2, 4.2.4)",
			    named ? "both" : "none of them");
	TRY(check_person_number(s, value_of(p, "serialNumber")));
	return check_scripts(s, value_of(p, "CN"));
}

static st check_places(struct scope *s, const struct places *p)
{
	for (size_t i = 0; i < PKI_PROFILE_ATTRIBUTES_MAX && p->profile->subject[i].name != NULL; i++)
		if (p->profile->subject[i].presence == PKI_REQUIRED && p->value[i].len == 0)
			return fail(s, E_INPUT, "the subject lacks %s, which profile %s requires (%s)",
				    p->profile->subject[i].name, p->profile->name, p->profile->clause);
	TRY(check_organization(s, value_of(p, "O"), value_of(p, "organizationIdentifier")));
	return p->profile->natural_person ? check_person(s, p) : OK;
}

st pki_profile_check_subject(struct scope *s, const struct pki_profile *profile, span subject)
{
	struct places p = { .profile = profile, .in_order = true };
	TRY(pki_name_each(s, subject, place_each, &p));
	if (!p.in_order)
		return fail(s, E_INPUT, "the subject's attributes do not stand in the order of profile %s", profile->name);
	return check_places(s, &p);
}

//= en319412-2#4.2.3 the issuer's name
st pki_profile_check_authority(struct scope *s, span name)
{
	st status = pki_profile_check_subject(s, pki_profile_named(SPAN_LITERAL("issuing-ca")), name);
	return fail_context(s, status, "the issuer's name (EN 319 412-2, 4.2.3: C, O, organizationIdentifier, CN)");
}

st pki_profile_subject(struct scope *s, const struct pki_profile *profile, span requested, span *out)
{
	struct places p = { .profile = profile, .in_order = true };
	TRY(pki_name_each(s, requested, place_each, &p));
	TRY(check_places(s, &p));
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	for (size_t i = 0; i < PKI_PROFILE_ATTRIBUTES_MAX; i++)
		if (p.value[i].len > 0)
			pki_name_put(&w, p.oid[i], 0, p.value[i]);
	der_end(&w);
	TRY(der_finish(s, &w));
	*out = scope_copy(s, buf_span(&b));
	return OK;
}
