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
	for (size_t i = 0; pki_profile_at(i) != NULL; i++) {
		const struct pki_issue issue = { .profile = pki_profile_at(i) };
		if (pki_profile_lint(&s, &issue, c.tbs, ignore, NULL).code != E_OK)
			__builtin_trap();
	}
	return 0;
}
