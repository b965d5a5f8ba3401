#include "alg_oid.h"
#include "pki_ext_names.h"

#define NAMES_MAX 100

/* The context's names become GeneralNames in one order: DNS, IP, e-mail. */
static st put_names(struct scope *s, const struct pki_ext_context *c, struct der_wr *out, size_t *out_count)
{
	size_t count = 0;
	for (const char *const *name = c->dns_names; name != NULL && *name != NULL; name++, count++) {
		TRY(pki_ext_check_dns(s, span_str(*name)));
		der_put(out, NAME_DNS, span_str(*name));
	}
	for (const char *const *address = c->ip_addresses; address != NULL && *address != NULL; address++, count++) {
		span octets;
		TRY(pki_ext_ip_parse(s, *address, &octets));
		der_put(out, NAME_IP, octets);
	}
	for (const char *const *email = c->emails; email != NULL && *email != NULL; email++, count++) {
		TRY(pki_ext_check_email(s, span_str(*email)));
		der_put(out, NAME_EMAIL, span_str(*email));
	}
	if (count > NAMES_MAX)
		return fail(s, E_LIMIT, "a certificate carries at most %d subject alternative names", NAMES_MAX);
	*out_count = count;
	return OK;
}

static st build(struct scope *s, const struct pki_ext_context *context, struct der_wr *out, bool *out_present)
{
	AUTO_BUF names = { 0 };
	struct der_wr list = der_write(&names);
	size_t count = 0;
	TRY(put_names(s, context, &list, &count));
	TRY(der_finish(s, &list));
	*out_present = count > 0;
	if (count > 0)
		der_put(out, DER_SEQUENCE, buf_span(&names));
	return OK;
}

static st name_text(struct scope *s, int tag, span name, char **out)
{
	if (tag == NAME_IP) {
		TRY(pki_ext_ip_text(s, name, out));
		return OK;
	}
	if (tag == NAME_DNS)
		TRY(pki_ext_check_dns(s, name));
	else if (tag == NAME_EMAIL)
		TRY(pki_ext_check_email(s, name));
	else
		return fail(s, E_INPUT,
			    "subjectAltName holds a name that is neither DNS, IP address nor e-mail (RFC 5280, 4.2.1.6)");
	*out = scope_cstr(s, name);
	return OK;
}

struct name {
	int tag;
	char *text;
};

static st read_names(struct scope *s, span value, struct name *out, size_t *out_count)
{
	struct der_rd d = der_read(value);
	struct der_rd list = der_enter(&d, DER_SEQUENCE);
	size_t count = 0;
	while (!der_at_end(&list)) {
		if (count == NAMES_MAX)
			return fail(s, E_LIMIT, "a certificate carries at most %d subject alternative names", NAMES_MAX);
		int tag = der_next(&list);
		span name = der_get(&list, tag);
		if (list.bad)
			break;
		TRY(name_text(s, tag, name, &out[count].text));
		out[count++].tag = tag;
	}
	der_leave(&d, &list);
	TRY(der_done(s, &d, "subjectAltName"));
	//= rfc5280#4.2.1.6 when present, it holds at least one name
	if (count == 0)
		return fail(s, E_INPUT, "subjectAltName is empty (RFC 5280, 4.2.1.6)");
	*out_count = count;
	return OK;
}

/* The canonical text of a name as the caller gave it: addresses have several spellings. */
static st wanted_text(struct scope *s, int tag, const char *given, const char **out)
{
	*out = given;
	if (tag != NAME_IP)
		return OK;
	span octets;
	char *canonical;
	TRY(pki_ext_ip_parse(s, given, &octets));
	TRY(pki_ext_ip_text(s, octets, &canonical));
	*out = canonical;
	return OK;
}

static st compare(struct scope *s, const struct pki_ext_context *c, const struct name *names, size_t count)
{
	const struct {
		int tag;
		const char *const *list;
	} groups[] = { { NAME_DNS, c->dns_names }, { NAME_IP, c->ip_addresses }, { NAME_EMAIL, c->emails } };
	size_t at = 0;
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
		for (const char *const *given = groups[i].list; given != NULL && *given != NULL; given++, at++) {
			const char *wanted;
			TRY(wanted_text(s, groups[i].tag, *given, &wanted));
			if (at == count || names[at].tag != groups[i].tag || strcmp(names[at].text, wanted) != 0)
				return fail(s, E_CRYPTO, "subjectAltName lacks %s in its place", wanted);
		}
	}
	if (at != count)
		return fail(s, E_CRYPTO, "subjectAltName holds %s, which was not asked for", names[at].text);
	return OK;
}

static st check(struct scope *s, const struct pki_ext_context *context, span value)
{
	struct name *names = scope_alloc(s, NAMES_MAX * sizeof *names);
	size_t count;
	TRY(read_names(s, value, names, &count));
	return context->any ? OK : compare(s, context, names, count);
}

static st print(struct scope *s, span value, char **out)
{
	struct name *names = scope_alloc(s, NAMES_MAX * sizeof *names);
	size_t count;
	TRY(read_names(s, value, names, &count));
	char *text = scope_printf(s, "%s", "");
	for (size_t i = 0; i < count; i++)
		text = scope_printf(s, "%s%s%s:%s", text, i == 0 ? "" : ", ",
				    names[i].tag == NAME_DNS  ? "DNS"
				    : names[i].tag == NAME_IP ? "IP"
							      : "email",
				    names[i].text);
	*out = text;
	return OK;
}

//= en319412-2#4.3.5 not critical
const struct pki_ext_ops pki_ext_subject_alt_name = {
	.name = "subjectAltName",
	.oid = OCTETS("\x55\x1d\x11"),
	.critical = false,
	.build = build,
	.check = check,
	.print = print,
};
