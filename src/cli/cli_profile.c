/* `chancery profile`: the certificate profiles this version knows, from their tables. */
#include "cli_nouns.h"
#include "moment.h"
#include "pki_profile.h"

static const char *const issuer_words[] = {
	[PKI_SELF_SIGNED] = "itself",
	[PKI_BY_ROOT] = "root",
	[PKI_BY_ISSUING] = "issuing CA",
	[PKI_BY_MANAGEMENT] = "management CA",
};
static const char *const presence_words[] = {
	[PKI_FORBIDDEN] = "forbidden", [PKI_OPTIONAL] = "optional", [PKI_REQUIRED] = "required"
};
static const char *const usage_words[] = { "digitalSignature", "nonRepudiation", "keyEncipherment",
					   "dataEncipherment", "keyAgreement",   "keyCertSign",
					   "cRLSign",          "encipherOnly",   "decipherOnly" };

static json_t *strings(const char *const *list)
{
	json_t *out = json_array();
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		(void)json_array_append_new(out, json_string(list[i]));
	return out;
}

static st list(struct scope *s, struct cli *c)
{
	json_t *rows = json_array();
	const struct pki_profile *p;
	for (size_t i = 0; (p = pki_profile_at(i)) != NULL; i++)
		(void)json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:I}", "profile", p->name, "title", p->title,
							    "issued by", issuer_words[p->issuer], "days",
							    (json_int_t)(p->standard_validity / MOMENT_DAY)));
	return cli_print(s, c, rows);
}

static json_t *usage_bits(unsigned bits)
{
	json_t *out = json_array();
	for (unsigned bit = 0; bit < sizeof usage_words / sizeof usage_words[0]; bit++)
		if (bits & (1u << bit))
			(void)json_array_append_new(out, json_string(usage_words[bit]));
	return out;
}

static json_t *subject_rows(const struct pki_profile *p)
{
	json_t *out = json_array();
	for (size_t i = 0; i < PKI_PROFILE_ATTRIBUTES_MAX && p->subject[i].name != NULL; i++)
		(void)json_array_append_new(out, json_pack("{s:s, s:s}", "attribute", p->subject[i].name, "presence",
							   presence_words[p->subject[i].presence]));
	return out;
}

static json_t *extension_rows(const struct pki_profile *p)
{
	json_t *out = json_array();
	for (size_t i = 0; i < PKI_PROFILE_EXTENSIONS_MAX && p->extension[i].ops != NULL; i++)
		(void)json_array_append_new(out, json_pack("{s:s, s:s, s:b}", "extension", p->extension[i].ops->name,
							   "presence", presence_words[p->extension[i].presence], "critical",
							   p->extension[i].ops->critical));
	return out;
}

static st show(struct scope *s, struct cli *c)
{
	const struct pki_profile *p = pki_profile_named(span_str(c->argument[0]));
	if (p == NULL)
		return fail(s, E_NOTFOUND, "there is no profile %s; `chancery profile list` names them", c->argument[0]);
	json_t *out =
		json_pack("{s:s, s:s, s:s, s:b, s:i, s:o, s:o, s:o, s:I, s:I, s:s, s:o, s:o}", "profile", p->name, "title",
			  p->title, "issued by", issuer_words[p->issuer], "ca", p->ca, "path length", p->path_length,
			  "key usage", usage_bits(p->key_usage), "extended key usage", strings(p->extended_key_usage),
			  "policies", strings(p->policies), "days", (json_int_t)(p->standard_validity / MOMENT_DAY),
			  "days at most", (json_int_t)(p->max_validity / MOMENT_DAY), "clause",
			  p->clause == NULL ? "" : p->clause, "subject", subject_rows(p), "extensions", extension_rows(p));
	return cli_print(s, c, out);
}

static const struct cli_command commands[] = {
	{ .verb = "list",
	  .summary = "List the certificate profiles",
	  .example = "profile list",
	  .without_configuration = true,
	  .run = list },
	{ .verb = "show",
	  .arguments = "PROFILE",
	  .summary = "Show one profile: subject, extensions, validity and the clause behind it",
	  .example = "profile show ncp-plus-n",
	  .without_configuration = true,
	  .run = show },
};
const struct cli_noun cli_noun_profile = { "profile", "what kinds of certificates there are", CLI_COMMANDS(commands) };
