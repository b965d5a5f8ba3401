#include "audit_catalogue.h"
#include "log.h"
#include <pthread.h>

static const struct audit_row rows[AUDIT_CODE_COUNT] = {
#define EVENT(symbol, name_, class_, severity_, fields_, clause_, text_)                                                       \
	[AUDIT_##symbol] = { .name = name_,                                                                                    \
			     .class = AUDIT_##class_,                                                                          \
			     .severity = AUDIT_##severity_,                                                                    \
			     .fields = fields_,                                                                                \
			     .clause = clause_,                                                                                \
			     .text = text_ },
#include "audit_events.def"
#undef EVENT
};

static const struct class_row {
	const char *name;
	const char *text;
} classes[] = {
	[AUDIT_ISSUANCE] = { "issuance", "Refused when the newest checkpoint, or its time-stamp where one is asked for, is "
					 "overdue: nothing is issued under a log that nobody signs and stamps." },
	[AUDIT_SIGNATURE] = { "signature",
			      "Refused when the newest checkpoint is overdue, and never for want of a time-stamp: a "
			      "time-stamp needs its own record, and status goes on." },
	[AUDIT_OPERATION] = { "operation", "What people and services did." },
	[AUDIT_SYSTEM] = { "system", "Start, stop and condition of the system itself." },
	[AUDIT_MANUAL] = { "manual",
			   "What persons saw and did, entered with `chancery record add`. `reference` is how later records name this one, `person` who "
			   "says so, `at` when it happened, `file` the SHA-256 of an attached file, `operator` the account that entered it. Persons are "
			   "named by their ids on the register only." },
	[AUDIT_CONTROL] = { "control",
			    "The register of persons and operations with quorum. auditd keeps an index of them: whoever has the "
			    "founding document and these can verify every critical operation." },
};

const struct audit_row *audit_row(enum audit_code code)
{
	if (code >= AUDIT_CODE_COUNT)
		log_die("event %d is not in the catalogue", (int)code);
	return &rows[code];
}

const char *audit_class_name(enum audit_class class)
{
	return classes[class].name;
}

static const char *const severities[] = {
	[AUDIT_INFO] = "info", [AUDIT_NOTICE] = "notice", [AUDIT_WARNING] = "warning", [AUDIT_ALERT] = "alert"
};

const char *audit_severity_name(enum audit_severity severity)
{
	return severities[severity];
}

st audit_severity_named(struct scope *s, const char *name, enum audit_severity *out)
{
	for (enum audit_severity i = AUDIT_INFO; i <= AUDIT_ALERT; i++)
		if (strcmp(name, severities[i]) == 0) {
			*out = i;
			return OK;
		}
	return fail(s, E_INPUT, "'%s' is no severity; there are info, notice, warning and alert (RFC 5424)", name);
}

/* The rows taken apart once: readers of logs ask for names and fields millions of times. */
static struct parsed {
	span name;
	struct audit_row_field field[AUDIT_FIELDS_MAX];
	unsigned count;
	unsigned long long required;
} parsed[AUDIT_CODE_COUNT];

/* Names by a hash, open addressing: 0 is free, else the code plus one. */
#define PLACES 512
static uint16_t by_name[PLACES];
_Static_assert(AUDIT_CODE_COUNT < PLACES / 2, "names are found in few steps");

static unsigned place_of(span name)
{
	unsigned hash = (unsigned)name.len;
	for (size_t i = 0; i < name.len; i++)
		hash = hash * 31 + name.data[i];
	return hash % PLACES;
}

static pthread_once_t parse_once = PTHREAD_ONCE_INIT;

static void parse_rows(void)
{
	for (int i = 0; i < AUDIT_CODE_COUNT; i++) {
		struct parsed *p = &parsed[i];
		const char *at = rows[i].fields;
		p->name = span_str(rows[i].name);
		for (; p->count < AUDIT_FIELDS_MAX && audit_row_next_field(&at, &p->field[p->count]); p->count++)
			p->required |= p->field[p->count].optional ? 0 : 1ull << p->count;
		unsigned place = place_of(p->name);
		while (by_name[place] != 0)
			place = (place + 1) % PLACES;
		by_name[place] = (uint16_t)(i + 1);
		if (*at != 0)
			log_die("event %s has more than %d fields", rows[i].name, AUDIT_FIELDS_MAX);
	}
}

static const struct parsed *parsed_row(const struct audit_row *row)
{
	(void)pthread_once(&parse_once, parse_rows);
	return &parsed[row - rows];
}

const struct audit_row *audit_row_named(span name, enum audit_code *out_code)
{
	(void)pthread_once(&parse_once, parse_rows);
	for (unsigned place = place_of(name); by_name[place] != 0; place = (place + 1) % PLACES) {
		unsigned code = by_name[place] - 1u;
		if (!span_equal(name, parsed[code].name))
			continue;
		*out_code = (enum audit_code)code;
		return &rows[code];
	}
	return NULL;
}

static enum audit_form form_named(span name)
{
	for (enum audit_form form = AUDIT_TEXT; form <= AUDIT_TIME; form++)
		if (span_is(name, audit_form_name(form)))
			return form;
	log_die("the catalogue of events has a field of no form: %.*s", (int)name.len, (const char *)name.data);
}

bool audit_row_next_field(const char **at, struct audit_row_field *out)
{
	*at += strspn(*at, " ");
	size_t name = strcspn(*at, ":");
	if (**at == 0)
		return false;
	out->name = span_of(*at, name);
	*at += name + ((*at)[name] == ':');
	size_t form = strcspn(*at, " ?");
	out->form = form_named(span_of(*at, form));
	*at += form;
	out->optional = **at == '?';
	*at += out->optional;
	return true;
}

/* Fields come in the order of the row: the one behind the last is tried first. */
int audit_row_field(const struct audit_row *row, span name, unsigned long long given, enum audit_form *out_form)
{
	const struct parsed *p = parsed_row(row);
	unsigned behind = given == 0 ? 0 : 64 - (unsigned)__builtin_clzll(given);
	for (unsigned tried = 0, i = behind; tried < p->count; tried++, i++) {
		i = i < p->count ? i : 0;
		span own = p->field[i].name;
		if (own.len != name.len || own.data[0] != name.data[0] || !span_equal(own, name))
			continue;
		*out_form = p->field[i].form;
		return (int)i;
	}
	return -1;
}

unsigned long long audit_row_required(const struct audit_row *row)
{
	return parsed_row(row)->required;
}

static void put(struct buf *out, const char *text)
{
	if (!buf_append(out, span_str(text)))
		log_die("the event catalogue does not fit its buffer");
}

static void put_fields(struct buf *out, const struct audit_row *row)
{
	const char *at = row->fields;
	struct audit_row_field field;
	for (const char *between = ""; audit_row_next_field(&at, &field); between = ", ") {
		put(out, between);
		put(out, "`");
		if (!buf_append(out, field.name))
			log_die("the event catalogue does not fit its buffer");
		put(out, "` ");
		put(out, audit_form_name(field.form));
		put(out, field.optional ? "?" : "");
	}
}

static void put_row(struct buf *out, const struct audit_row *row)
{
	put(out, "| `");
	put(out, row->name);
	put(out, "` | ");
	put(out, severities[row->severity]);
	put(out, " | ");
	put_fields(out, row);
	put(out, " | ");
	put(out, row->text);
	put(out, " | ");
	put(out, row->clause);
	put(out, " |\n");
}

static const char head[] =
	"# Events of the audit log\n\n"
	"Printed from the rows of `src/audit/audit_events.def` by `chancery reference events`; do not edit.\n\n"
	"Each leaf of the log is one line of JSON that auditd wrote, the envelope, around the record of a daemon:\n\n"
	"    "
	"{\"v\":1,\"seq\":12,\"at\":\"2026-01-02T03:04:05.000006Z\",\"by\":\"ca\",\"record\":{\"v\":1,\"id\":\"...\",\"time\":"
	"\"...\",\n"
	"     \"event\":\"certificate.issued\",\"component\":\"ca\",\"run\":\"...\",\"n\":17,\"tx\":\"...\", fields}}\n\n"
	"`seq` is the index of the leaf, `at` the time of receipt, `by` who the kernel says sent it; `id` makes a record "
	"unique, `tx` is shared by\n"
	"all records of one piece of work in all processes. The bytes of a leaf are hashed as they are (RFC 6962, section 2.1).\n\n"
	"Behind each field stands its form, with `?` when the field may be absent: `text`; `number`, a whole number without quotes; "
	"`hex`, octets in\n"
	"lower-case hexadecimal; `base64`, octets with padding (RFC 4648, section 4); `time`, RFC 3339 in UTC. A record whose values have "
	"another form\n"
	"is refused by auditd and by every reader. Severities are those of RFC 5424: `info`; `notice`, normal and worth a look; `warning`, to be "
	"looked at;\n"
	"`alert`, to be acted on at once. The clause is the one that asks for the record.\n";

void audit_catalogue(struct buf *out)
{
	put(out, head);
	for (size_t class = 0; class < sizeof classes / sizeof classes[0]; class ++) {
		put(out, "\n## Class ");
		put(out, classes[class].name);
		put(out, "\n\n");
		put(out, classes[class].text);
		put(out, "\n\n| event | severity | fields | meaning | clause |\n|---|---|---|---|---|\n");
		for (int i = 0; i < AUDIT_CODE_COUNT; i++)
			if (rows[i].class == (enum audit_class) class)
				put_row(out, &rows[i]);
	}
}
