/* What the fields of manual records mean, and what may stand in them. */
#include "cli_manual.h"
#include "control_operation.h"
#include "control_text.h"
#include "log.h"
#include "moment.h"
#include "text.h"

#define TEXT_MAX     1000 /* octets */
#define PERSONS_MAX  50
#define YEAR         (366 * MOMENT_DAY)
#define CLOCKS_APART (2 * MOMENT_MINUTE)
#define NO_NAMES     "; no names, ids of persons (p3) only: what is on record cannot be erased"

static const struct cli_manual_field fields[] = {
	{ "about", "REF", "reference of the record that this one continues, as `chancery record list` shows it" },
	{ "approval", "REF", "the approval that allows it" },
	{ "auditor", "REF", "who audited: a reference, as body-3" },
	{ "change", "TEXT", "what was done: received, installed, moved, firmware, zeroised, destroyed, or in words" },
	{ "closes", "REF", "reference of the record that this one closes, as `chancery record list --open` shows it" },
	{ "company", "REF", "of which company, by reference" },
	{ "decision", "REF", "of the policy management authority" },
	{ "detected", "TIME", "when it was detected: the deadline runs from then" },
	{ "device", "NAME", "which device" },
	{ "due", "TIME", "by when it has to be done", .may_be_later = true },
	{ "edition", "TEXT", "version of the document, as 2.1" },
	{ "escort", "PERSON", "who goes with them, as on the register: p4", .persons = true },
	{ "firmware", "VERSION", "its version of the firmware" },
	{ "found", "TIME", "when it became known: the deadline runs from then" },
	{ "from", "TEXT", "from where, or from which version" },
	{ "host", "NAME", "which host" },
	{ "identifier", "ID", "as CVE-2026-12345" },
	{ "label", "LABEL", "what stands on the medium" },
	{ "measure", "WORD", "patched, mitigated, accepted or not-affected", "patched mitigated accepted not-affected" },
	{ "motive", "TEXT", "why" NO_NAMES },
	{ "notice", "YES",
	  "yes: a breach of security or loss of integrity, or the service was fully down over 20 minutes, over 1 hour in a week, for over 1 % of the "
	  "users, or integrity of over 0.1 % or 100 users (EN 319 401 REQ-7.9.3-07); else no",
	  "yes no" },
	{ "object", "TEXT", "what, by its reference" NO_NAMES },
	{ "offset", "TEXT", "how far it was off" },
	{ "oid", "OID", "object identifier of the document" },
	{ "outcome", "WORD", "passed, findings, failed, granted or refused", "passed findings failed granted refused" },
	{ "persons", "IDS", "ids of persons on the register, with spaces between: 'p3 p5'", .persons = true },
	{ "place", "TEXT", "where it is now" },
	{ "proposal", "HEX", "SHA-256 of the proposal, as `chancery op show` prints it" },
	{ "purpose", "TEXT", "what for" NO_NAMES },
	{ "recipient", "TEXT", "who got it: an authority or a reference" NO_NAMES },
	{ "reference_clock", "NAME", "against which clock" },
	{ "right", "WORD", "access, rectification, erasure, restriction, portability or objection",
	  "access rectification erasure restriction portability objection" },
	{ "scenario", "TEXT", "what was tried" },
	{ "scope", "TEXT", "what was looked at" },
	{ "seal", "TEXT", "number of its seal" },
	{ "severity", "WORD", "low, medium, high or critical", "low medium high critical" },
	{ "software", "NAME", "which software" },
	{ "step", "TEXT", "which step of the plan" },
	{ "subject", "TEXT", "about what, in a few words" NO_NAMES },
	{ "text", "TEXT", "what is to be said of it" NO_NAMES },
	{ "title", "TEXT", "of the document" },
	{ "to", "TEXT", "to where, or to which version" },
	{ "topic", "TEXT", "what was taught" },
	{ "visitors", "N", "how many" },
	{ "witness", "REF", "an independent witness, by reference" },
	{ "zone", "NAME", "of the building" },
};

const struct cli_manual_field *cli_manual_field_named(span name)
{
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (span_is(name, fields[i].name))
			return &fields[i];
	log_die("field %.*s of a manual record has no row in cli_manual_fields.c", (int)name.len, (const char *)name.data);
}

char *cli_manual_option_name(struct scope *s, span field)
{
	char *name = scope_cstr(s, field);
	for (char *at = name; *at != 0; at++)
		*at = *at == '_' ? '-' : *at;
	return name;
}

/* A day, or day and time with a 'T' or a space, seconds and Z left out at will. */
static bool read_time(struct scope *s, const char *value, int64_t *out)
{
	char *text = scope_printf(s, "%s", value);
	size_t len = strlen(text);
	if (len == 10)
		text = scope_printf(s, "%sT00:00:00Z", text);
	else if (len > 10 && text[10] == ' ')
		text[10] = 'T';
	len = strlen(text);
	if (len == 16)
		text = scope_printf(s, "%s:00Z", text);
	else if (len == 17 && text[16] == 'Z')
		text = scope_printf(s, "%.16s:00Z", text);
	else if (len == 19)
		text = scope_printf(s, "%sZ", text);
	return moment_read(span_str(text), out);
}

st cli_manual_time(struct scope *s, const char *option, const char *value, bool later, int64_t *out)
{
	int64_t now = scope_now(s);
	if (!read_time(s, value, out))
		return fail(s, E_INPUT, "--%s %s is no time; write it in UTC, as in '2026-11-27 10:00' or 2026-11-27", option,
			    value);
	if (!later && *out > now + CLOCKS_APART)
		return fail(s, E_INPUT, "--%s %s lies in the future (now it is %s); times are in UTC", option, value,
			    moment_text(now, scope_alloc(s, MOMENT_TEXT_MAX)));
	if (*out < now - YEAR || *out > now + 10 * YEAR)
		return fail(s, E_INPUT, "--%s %s lies more than a year back or ten years ahead: is the year right?", option,
			    value);
	return OK;
}

static st check_choice(struct scope *s, const char *option, const char *choices, const char *value)
{
	size_t len = strlen(value);
	for (const char *at = choices; *at != 0;) {
		size_t word = strcspn(at, " ");
		if (word == len && memcmp(at, value, len) == 0)
			return OK;
		at += word + (at[word] == ' ');
	}
	return fail(s, E_INPUT, "--%s is one of: %s", option, choices);
}

static st check_persons(struct scope *s, const char *option, const char *value)
{
	size_t count = 0;
	for (const char *at = value; *at != 0; count++) {
		size_t len = strcspn(at, " ");
		const char *problem = control_id_problem(span_of(at, len));
		if (problem != NULL)
			return fail(
				s, E_INPUT,
				"--%s: '%.*s' is no person's id on the register, it %s; write ids with a space between, as 'p3 p5'",
				option, (int)len, at, problem);
		at += len;
		at += strspn(at, " ");
	}
	return count <= PERSONS_MAX ? OK : fail(s, E_LIMIT, "--%s has at most %d persons", option, PERSONS_MAX);
}

static st check_text(struct scope *s, const char *option, const char *value)
{
	const char *problem = control_value_problem(span_str(value));
	if (problem != NULL)
		return fail(s, E_INPUT, "--%s: the text %s", option, problem);
	if (strlen(value) > TEXT_MAX)
		return fail(s, E_LIMIT, "--%s has at most %d octets; put more into a file and attach it with --file", option,
			    TEXT_MAX);
	return OK;
}

static st put_text(struct scope *s, struct audit_event *e, const char *name, const char *option, const char *value)
{
	const struct cli_manual_field *known = strcmp(name, "remarks") == 0 ? NULL : cli_manual_field_named(span_str(name));
	TRY(check_text(s, option, value));
	if (known != NULL && known->choices != NULL)
		TRY(check_choice(s, option, known->choices, value));
	if (known != NULL && known->persons)
		TRY(check_persons(s, option, value));
	audit_str(e, name, value);
	return OK;
}

st cli_manual_put(struct scope *s, struct audit_event *e, const struct audit_row_field *field, const char *value)
{
	const char *name = scope_cstr(s, field->name), *option = cli_manual_option_name(s, field->name);
	uint64_t number;
	int64_t moment;
	span bytes;
	if (field->form == AUDIT_NUMBER) {
		TRY(fail_context(s, decimal_parse(s, span_str(value), 1000000000, &number), "--%s", option));
		audit_number(e, name, (int64_t)number);
	} else if (field->form == AUDIT_TIME) {
		TRY(cli_manual_time(s, option, value, cli_manual_field_named(field->name)->may_be_later, &moment));
		audit_time(e, name, moment);
	} else if (field->form == AUDIT_HEX) {
		TRY(fail_context(s, hex_parse(s, span_str(value), &bytes), "--%s", option));
		audit_hex(e, name, bytes);
	} else
		return put_text(s, e, name, option, value);
	return OK;
}
