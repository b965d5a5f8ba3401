/* Certificates: read, printed extension by extension, and linted against every profile. */
#include "fuzz.h"
#include "pki_name.h"
#include "pki_profile.h"

static st ignore(struct scope *s, const char *rule, const char *text, void *arg)
{
	(void)s;
	(void)arg;
	if (rule[0] == 0 || text[0] == 0)
		__builtin_trap(); /* a finding without words helps nobody */
	return OK;
}

static void print_extensions(struct scope *s, const struct pki_certificate *c)
{
	for (size_t i = 0; i < c->extension_count; i++) {
		const struct pki_ext_ops *ops = pki_ext_of(c->extension[i].oid);
		char *line;
		if (ops != NULL && ops->print(s, c->extension[i].value, &line).code == E_OK && line == NULL)
			__builtin_trap();
		scope_clear_error(s);
	}
}

/* Against an issuance that wants something of every kind. */
static void compare_extensions(struct scope *s, const struct pki_certificate *c, const struct pki_profile *profile)
{
	static const char *const dns[] = { "a.test", NULL }, *const ip[] = { "127.0.0.1", "::1", NULL },
				 *const email[] = { "a@a.test", NULL };
	const struct pki_ext_context context = { .profile = profile,
						 .subject_spki = c->spki,
						 .issuer_spki = c->spki,
						 .crl_url = "http://a.test/crl",
						 .issuer_url = "http://a.test/ca",
						 .ocsp_url = "http://a.test/ocsp",
						 .cps_url = "http://a.test/cps",
						 .dns_names = dns,
						 .ip_addresses = ip,
						 .emails = email,
						 .role = "operator",
						 .not_before = c->not_before,
						 .not_after = c->not_after };
	for (size_t i = 0; i < c->extension_count; i++) {
		const struct pki_ext_ops *ops = pki_ext_of(c->extension[i].oid);
		if (ops != NULL && ops->check(s, &context, c->extension[i].value).code != E_OK)
			check(s->message[0] != 0);
		scope_clear_error(s);
	}
}

static void ask_extensions(struct scope *s, const struct pki_certificate *c)
{
	char *role;
	span identifier;
	int64_t end;
	bool has;
	(void)pki_ext_role_get(s, c, &role).code;
	if (pki_ext_key_identifier_get(s, c, &identifier).code == E_OK)
		check(lies_inside(identifier, c->tbs));
	(void)pki_ext_private_key_end_get(s, c, &end).code;
	(void)pki_ext_purpose_get(s, c, "1.3.6.1.5.5.7.3.8", &has).code;
	(void)pki_ext_ca_get(s, c, &has).code;
	scope_clear_error(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_certificate c;
	if (pki_certificate_read(&s, span_of(data, size), &c).code != E_OK)
		return 0;
	if (c.serial.len == 0 || c.serial.len > PKI_SERIAL_MAX || c.extension_count > PKI_EXTENSIONS_MAX)
		__builtin_trap();
	print_extensions(&s, &c);
	ask_extensions(&s, &c);
	for (size_t i = 0; pki_profile_at(i) != NULL; i++) {
		const struct pki_issue issue = { .profile = pki_profile_at(i) };
		compare_extensions(&s, &c, issue.profile);
		if (pki_profile_lint(&s, &issue, c.tbs, ignore, NULL).code != E_OK)
			__builtin_trap();
	}
	return 0;
}
