/*
 * `chancery audit reconcile`: the ca's database against the log, certificate by certificate. The ca is asked first and the log read when the outbox was empty,
 * so that what the ca had then must be on record; only where the outbox does not run empty may a record wait in it; what the log has and the ca had not yet is asked for one by one. A record that is
 * missing may have been let go by two persons.
 */
#include "audit_log.h"
#include "audit_record.h"
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_audit_let_go.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>
#include <unistd.h>

#define SERIAL_MAX      20 /* RFC 5280, section 4.1.2.2 */
#define CAS_MAX         256
#define PAGE            1000
#define FINDINGS_MAX    1000
#define OUTBOX_US       (5 * MOMENT_SECOND)
#define OUTBOX_PAUSE_US 20000

enum seen {
	STORED = 1,         /* in the database */
	STORED_REVOKED = 2, /* ... as revoked */
	SIGNED = 4,         /* sign.certificate */
	ISSUED = 8,         /* certificate.issued, by one of its CAs */
	REVOKED = 16,       /* certificate.revoked */
	ABANDONED = 32      /* certificate.abandoned: signed, never stored, closed as revoked */
};

struct entry {
	uint8_t serial[SERIAL_MAX];
	uint8_t len; /* 0: a free place */
	uint8_t seen;
	uint32_t ends, revoked; /* days since 1970, by the database: to judge by what may have been let go */
};

struct authority {
	const char *name;
	int64_t number; /* of its newest CRL; 0: none */
	int64_t logged; /* of the newest crl.issued */
	bool own;       /* it has a key here: what it issues is in this database */
};

struct books {
	struct scope *s;     /* of the whole run */
	struct scope record; /* of one record: used again and again */
	struct cli_api *api;
	struct entry *entry;
	size_t places, count;
	struct authority authority[CAS_MAX];
	size_t authorities;
	int64_t outbox; /* rows, asked after the certificates */
	uint64_t records, issued, revoked, waiting, missing, purged;
	struct control_range *removed; /* records without content */
	size_t removed_ranges;
	struct cli_let_go_list let_go;
	json_t *findings, *purges;
};

/* ---- serial numbers ---- */

static struct entry *place_of(const struct books *b, span serial)
{
	uint32_t i = 2166136261u;
	for (size_t k = 0; k < serial.len; k++)
		i = (i ^ serial.data[k]) * 16777619u;
	size_t at = i % b->places;
	while (b->entry[at].len != 0 && !span_equal(span_of(b->entry[at].serial, b->entry[at].len), serial))
		at = (at + 1) % b->places;
	return &b->entry[at];
}

static void grow(struct books *b)
{
	struct entry *old = b->entry;
	size_t places = b->places;
	b->places = places == 0 ? 4096 : 2 * places;
	b->entry = heap_alloc(b->places * sizeof *b->entry);
	for (size_t i = 0; i < places; i++)
		if (old[i].len != 0)
			*place_of(b, span_of(old[i].serial, old[i].len)) = old[i];
	free(old);
}

static st see(struct scope *s, struct books *b, span serial, unsigned seen, struct entry **out)
{
	if (serial.len == 0 || serial.len > SERIAL_MAX)
		return fail(s, E_INPUT, "a serial number of %zu octets", serial.len);
	if (2 * b->count >= b->places)
		grow(b);
	struct entry *e = place_of(b, serial);
	b->count += e->len == 0;
	memcpy(e->serial, serial.data, serial.len);
	e->len = (uint8_t)serial.len;
	e->seen = (uint8_t)(e->seen | seen);
	*out = e;
	return OK;
}

/* ---- the ca's side ---- */

static st read_authorities(struct scope *s, struct books *b)
{
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, b->api, "GET", "/v1/cas", NULL, &answer));
	const json_t *one, *cas = json_object_get(answer, "cas");
	size_t i;
	json_array_foreach(cas, i, one)
	{
		if (b->authorities == CAS_MAX)
			return fail(s, E_LIMIT, "the ca has more than %d CAs", CAS_MAX);
		b->authority[b->authorities++] =
			(struct authority){ .name = scope_printf(b->s, "%s", cli_member(one, "name")),
					    .own = json_is_string(json_object_get(one, "key")),
					    .number = json_integer_value(json_object_get(one, "crl_number")) };
	}
	return OK;
}

static unsigned seen_in(const json_t *row)
{
	return json_object_get(row, "revoked_at") != NULL ? STORED | STORED_REVOKED : STORED;
}

static st days_of(struct scope *s, const json_t *row, const char *name, uint32_t *out)
{
	int64_t at = 0;
	const char *text = cli_member(row, name);
	if (text[0] != 0)
		TRY(moment_parse(s, span_str(text), &at));
	int64_t days = at / (24 * MOMENT_HOUR);
	*out = at < 0 ? 0 : days > UINT32_MAX ? UINT32_MAX : (uint32_t)days;
	return OK;
}

static st read_row(struct scope *s, struct books *b, const json_t *row)
{
	span serial;
	struct entry *e;
	TRY(hex_parse(s, span_str(cli_member(row, "serial")), &serial));
	TRY(see(s, b, serial, seen_in(row), &e));
	TRY(days_of(s, row, "not_after", &e->ends));
	return days_of(s, row, "revoked_at", &e->revoked);
}

static st read_page(struct scope *s, struct books *b, uint64_t after, uint64_t *out_next)
{
	AUTO(json_t) *answer = NULL;
	const char *path = scope_printf(s, "/v1/certificates?limit=%d", PAGE);
	if (after > 0)
		path = scope_printf(s, "%s&after=%llu", path, (unsigned long long)after);
	TRY(cli_api_call(s, b->api, "GET", path, NULL, &answer));
	const json_t *row, *rows = json_object_get(answer, "certificates"), *next = json_object_get(answer, "next");
	size_t i;
	json_array_foreach(rows, i, row) TRY(read_row(s, b, row));
	*out_next = 0;
	return json_is_string(next) ? decimal_parse(s, span_str(json_string_value(next)), INT64_MAX, out_next) : OK;
}

static st read_certificates(struct scope *s, struct books *b)
{
	uint64_t next = 0;
	do {
		AUTO_SCOPE page;
		scope_init(&page, s->source);
		st status = read_page(&page, b, next, &next);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", page.message);
	} while (next != 0);
	return OK;
}

static st read_outbox(struct scope *s, struct books *b)
{
	AUTO(json_t) *answer = NULL;
	TRY(cli_api_call(s, b->api, "GET", "/v1/status", NULL, &answer));
	b->outbox = json_integer_value(json_object_get(answer, "outbox"));
	return OK;
}

/* Once it was empty after the certificates were read, their records are all in the log. Under load it may never be. */
static st wait_for_outbox(struct scope *s, struct books *b)
{
	int64_t until = moment_monotonic() + OUTBOX_US;
	do {
		TRY(read_outbox(s, b));
		if (b->outbox > 0)
			(void)usleep(OUTBOX_PAUSE_US);
	} while (b->outbox > 0 && moment_monotonic() < until);
	return OK;
}

/* ---- the log's side ---- */

static struct authority *authority_of(struct books *b, const struct audit_record *r)
{
	span name;
	if (audit_field_text(&b->record, r, "ca", &name).code != E_OK)
		return NULL;
	for (size_t i = 0; i < b->authorities; i++)
		if (b->authority[i].own && span_is(name, b->authority[i].name))
			return &b->authority[i];
	return NULL;
}

static void find(struct books *b, const char *about, const char *text)
{
	b->missing++;
	if (json_array_size(b->findings) < FINDINGS_MAX)
		(void)json_array_append_new(b->findings, json_pack("{s:s, s:s}", "about", about, "finding", text));
}

static st see_crl(struct books *b, const struct audit_record *r)
{
	struct scope *s = &b->record;
	struct authority *a = authority_of(b, r);
	int64_t number;
	if (a == NULL)
		return OK;
	TRY(audit_field_number(s, r, "number", &number));
	if (number <= a->logged)
		find(b, scope_printf(s, "CRL %lld of %s", (long long)number, a->name),
		     "its number was given out twice, or comes late");
	a->logged = number > a->logged ? number : a->logged;
	return OK;
}

static const struct {
	enum audit_code code;
	enum seen seen;
} certificate_events[] = {
	{ AUDIT_SIGN_CERTIFICATE, SIGNED },
	{ AUDIT_CERTIFICATE_ISSUED, ISSUED },
	{ AUDIT_CERTIFICATE_REVOKED, REVOKED },
	{ AUDIT_CERTIFICATE_ABANDONED, ABANDONED },
};

/* What CAs of other cas issued (the off-line root's) is no part of this database. */
static st see_record(struct books *b, span leaf)
{
	struct scope *s = &b->record;
	struct audit_envelope e;
	span serial;
	TRY(audit_envelope_read(s, leaf, &e));
	b->records++;
	if (e.record.code == AUDIT_CRL_ISSUED)
		return see_crl(b, &e.record);
	for (size_t i = 0; i < sizeof certificate_events / sizeof certificate_events[0]; i++) {
		if (certificate_events[i].code != e.record.code)
			continue;
		TRY(audit_field_hex(s, &e.record, "serial", &serial));
		bool foreign = certificate_events[i].seen != SIGNED && authority_of(b, &e.record) == NULL;
		scope_clear_error(s);
		struct entry *ignored_entry;
		return foreign ? OK : see(s, b, serial, certificate_events[i].seen, &ignored_entry);
	}
	return OK;
}

static bool each_leaf(void *state, uint64_t index, span leaf)
{
	struct books *b = state;
	if (leaf.len == 0)
		control_records_add(&b->removed, &b->removed_ranges, index);
	else if (see_record(b, leaf).code != E_OK)
		return false;
	scope_reset(&b->record);
	return true;
}

static st read_log(struct scope *s, struct books *b, const char *directory)
{
	struct audit_log *log;
	TRY(audit_log_open(s, directory, &log));
	st status = audit_log_each(s, log, 0, each_leaf, b);
	audit_log_close(log);
	TRY(status);
	if (b->record.message[0] != 0)
		return fail(s, E_INPUT, "record %llu of the log in %s: %s; `chancery audit verify` tells more",
			    (unsigned long long)b->records, directory, b->record.message);
	return OK;
}

/* ---- one against the other ---- */

/* The log is ahead of what the ca said before: what does it say now? */
static st ask_again(struct scope *s, struct books *b, struct entry *e, const char *serial)
{
	AUTO(json_t) *answer = NULL;
	st asked = cli_api_call(s, b->api, "GET", scope_printf(s, "/v1/certificates/%s", serial), NULL, &answer);
	if (asked.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(asked);
	e->seen = (uint8_t)(e->seen | seen_in(answer));
	return OK;
}

static bool has(const struct entry *e, unsigned seen)
{
	return (e->seen & seen) != 0;
}

/* A record that the database has reason for, and the log has not. */
struct lacking {
	const char *about, *record, *finding;
	enum audit_keep keep;
	bool personal, delivered; /* by the outbox */
	int64_t from;             /* that it is kept from; 0: not known, it may not have been let go */
};

static bool was_let_go(struct books *b, const struct lacking *l)
{
	const struct cli_let_go *by = l->from == 0 ? NULL : cli_let_go_take(&b->let_go, l->keep, l->personal, l->from);
	if (by == NULL)
		return false;
	b->purged++;
	if (json_array_size(b->purges) < FINDINGS_MAX)
		(void)json_array_append_new(
			b->purges, json_pack("{s:s, s:s, s:s}", "about", l->about, "record", l->record, "let go by", by->by));
	return true;
}

/* It may wait in the outbox, as long as there are rows. */
static void lacks_record(struct books *b, const struct lacking *l)
{
	if (was_let_go(b, l))
		return;
	if (l->delivered && (int64_t)b->waiting < b->outbox)
		b->waiting++;
	else
		find(b, l->about, l->finding);
}

static int64_t time_of(uint32_t days)
{
	return (int64_t)days * 24 * MOMENT_HOUR;
}

static void compare_stored(struct books *b, const struct entry *e, const char *serial)
{
	const struct lacking signed_ = { serial,
					 "sign.certificate",
					 "is in the database, and no keyd had it on record before it signed",
					 AUDIT_KEEP_CERTIFICATE,
					 .personal = true,
					 .from = time_of(e->ends) };
	const struct lacking issued = { serial,
					"certificate.issued",
					"is in the database, and the log does not say that it was issued",
					AUDIT_KEEP_CERTIFICATE,
					.personal = true,
					.delivered = true,
					.from = time_of(e->ends) };
	const struct lacking revoked = { serial,
					 "certificate.revoked",
					 "is revoked in the database, and the log does not say so",
					 AUDIT_KEEP_REVOCATION,
					 .delivered = true,
					 .from = time_of(e->revoked) };
	if (has(e, STORED) && !has(e, SIGNED))
		lacks_record(b, &signed_);
	if (has(e, STORED) && !has(e, ISSUED))
		lacks_record(b, &issued);
	if (has(e, STORED_REVOKED) && !has(e, REVOKED | ABANDONED))
		lacks_record(b, &revoked);
}

//= tsps#5.4 what was done and what is on record are the same
static st compare(struct scope *s, struct books *b, struct entry *e)
{
	const char *serial = hex_text(s, span_of(e->serial, e->len));
	bool ahead = (has(e, ISSUED) && !has(e, STORED)) || (has(e, REVOKED) && !has(e, STORED_REVOKED));
	if (ahead)
		TRY(ask_again(s, b, e, serial));
	b->issued += has(e, STORED);
	b->revoked += has(e, STORED_REVOKED);
	compare_stored(b, e, serial);
	if (has(e, ISSUED) && !has(e, STORED))
		find(b, serial, "the log says that it was issued, and the database does not have it");
	if (has(e, REVOKED) && has(e, STORED) && !has(e, STORED_REVOKED))
		find(b, serial, "the log says that it was revoked, and the database does not");
	return OK;
}

static st compare_all(struct scope *s, struct books *b)
{
	for (size_t i = 0; i < b->places; i++) {
		AUTO_SCOPE one;
		scope_init(&one, s->source);
		st status = b->entry[i].len == 0 ? OK : compare(&one, b, &b->entry[i]);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", one.message);
	}
	for (size_t i = 0; i < b->authorities; i++) {
		const struct authority *a = &b->authority[i];
		if (a->own && a->number > a->logged)
			lacks_record(b, &(struct lacking){ scope_printf(s, "CRL %lld of %s", (long long)a->number, a->name),
							   "crl.issued",
							   "is in the database, and the log does not say that it was issued",
							   AUDIT_KEEP_CRL, .delivered = true });
	}
	return OK;
}

static st read_let_go(struct scope *s, struct books *b, const struct cli_audit_source *source)
{
	TRY(cli_let_go_read(s, source, b->removed, b->removed_ranges, &b->let_go));
	if (b->let_go.stray)
		find(b, scope_printf(s, "record %llu", (unsigned long long)b->let_go.first_stray),
		     "has no content, and no operation of two persons let it go; `chancery audit verify` tells more");
	return OK;
}

static st reconcile(struct scope *s, struct books *b, const struct cli_audit_source *source)
{
	TRY(read_authorities(s, b));
	TRY(read_certificates(s, b));
	TRY(wait_for_outbox(s, b));
	TRY(read_log(s, b, source->log));
	TRY(read_let_go(s, b, source));
	return compare_all(s, b);
}

static json_t *answer_of(const struct books *b)
{
	const char *verdict = b->missing > 0   ? "DO NOT AGREE"
			      : b->waiting > 0 ? "agree, but for what waits in the outbox"
					       : "agree";
	json_t *out =
		json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "verdict", verdict, "certificates in the database",
			  (json_int_t)b->issued, "of them revoked", (json_int_t)b->revoked, "CAs", (json_int_t)b->authorities,
			  "records read", (json_int_t)b->records, "rows in the outbox", (json_int_t)b->outbox,
			  "waiting for their record", (json_int_t)b->waiting, "contradictions", (json_int_t)b->missing);
	if (b->removed_ranges > 0) {
		uint64_t removed = control_records_count(b->removed, b->removed_ranges);
		(void)json_object_set_new(out, "records removed", json_integer((json_int_t)removed));
		(void)json_object_set_new(out, "of them missed here", json_integer((json_int_t)b->purged));
		(void)json_object_set(out, "purged", b->purges);
	}
	if (b->missing > 0)
		(void)json_object_set(out, "findings", b->findings);
	return out;
}

st cli_audit_reconcile(struct scope *s, struct cli *c)
{
	struct cli_audit_source source;
	TRY(cli_audit_find(s, c, NULL, &source));
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *findings = json_array(), *purges = json_array();
	struct books *b = scope_new(s, struct books);
	*b = (struct books){ .s = s, .api = api, .findings = findings, .purges = purges };
	scope_init(&b->record, s->source);
	grow(b);
	st status = reconcile(s, b, &source);
	json_t *answer = status.code == E_OK ? answer_of(b) : NULL;
	scope_done(&b->record);
	free(b->entry);
	free(b->removed);
	TRY(status);
	c->exit_code = b->missing > 0 ? 1 : 0;
	return cli_print(s, c, answer);
}
