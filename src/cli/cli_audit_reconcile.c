/*
 * `chancery audit reconcile`: the ca's database against the log, certificate by certificate and CRL by CRL. The ca is asked first, and the log read when what waited in the
 * outbox then was delivered, so that what the ca had must be on record, or be one of the rows that are still there; what the log has and the ca had not yet is asked for one by one.
 * A record that is missing may have been let go by two persons.
 */
#include "audit_log.h"
#include "audit_record.h"
#include "cli_api.h"
#include "cli_audit.h"
#include "cli_audit_let_go.h"
#include "cli_audit_source.h"
#include "cli_crl_books.h"
#include "moment.h"
#include "text.h"
#include <stdlib.h>

#define SERIAL_MAX     20 /* RFC 5280, section 4.1.2.2 */
#define CAS_MAX        256
#define PAGE           1000
#define FINDINGS_MAX   1000
#define PATIENCE_S     30
#define PATIENCE_MAX_S 3600
#define EXIT_WAITING   2

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
	bool own; /* it has a key here: what it issues is in this database */
};

struct books {
	struct scope *s;     /* of the whole run */
	struct scope record; /* of one record: used again and again */
	struct cli_api *api;
	struct entry *entry;
	size_t places, count;
	struct authority authority[CAS_MAX];
	size_t authorities;
	struct cli_outbox outbox; /* what is left of the rows that were there after the certificates were read */
	struct cli_crl_books *crls;
	struct cli_crl_answer crl;
	uint64_t records, issued, revoked, missing, purged;
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
		b->authority[b->authorities++] = (struct authority){ .name = scope_printf(b->s, "%s", cli_member(one, "name")),
								     .own = json_is_string(json_object_get(one, "key")) };
	}
	return OK;
}

static st read_crls(struct scope *s, struct books *b)
{
	for (size_t i = 0; i < b->authorities; i++)
		if (b->authority[i].own)
			TRY(cli_crl_books_add(s, b->api, b->crls, b->authority[i].name));
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

static void find(void *state, const char *about, const char *text)
{
	struct books *b = state;
	b->missing++;
	if (json_array_size(b->findings) < FINDINGS_MAX)
		(void)json_array_append_new(b->findings, json_pack("{s:s, s:s}", "about", about, "finding", text));
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
	TRY(cli_crl_books_see(s, b->crls, &e));
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
	const char *serial, *record, *finding;
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
			b->purges, json_pack("{s:s, s:s, s:s}", "about", l->serial, "record", l->record, "let go by", by->by));
	return true;
}

/* Unless this very record waits in the outbox. */
static void lacks_record(struct books *b, const struct lacking *l)
{
	bool waits = l->delivered && cli_outbox_has_serial(&b->outbox, l->record, l->serial);
	if (!waits && !was_let_go(b, l))
		find(b, l->serial, l->finding);
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
	cli_crl_books_removed(b->crls, cli_let_go_left(&b->let_go));
	return cli_crl_books_compare(s, b->api, b->crls, &b->outbox, find, b, &b->crl);
}

static st read_let_go(struct scope *s, struct books *b, const struct cli_audit_source *source)
{
	TRY(cli_let_go_read(s, source, b->removed, b->removed_ranges, &b->let_go));
	if (b->let_go.stray)
		find(b, scope_printf(s, "record %llu", (unsigned long long)b->let_go.first_stray),
		     "has no content, and no operation of two persons let it go; `chancery audit verify` tells more");
	return OK;
}

static st reconcile(struct scope *s, struct books *b, const struct cli_audit_source *source, int64_t patience)
{
	TRY(read_authorities(s, b));
	TRY(read_certificates(s, b));
	TRY(read_crls(s, b));
	TRY(cli_outbox_settle(s, b->api, patience, &b->outbox));
	TRY(read_log(s, b, source->log));
	TRY(read_let_go(s, b, source));
	return compare_all(s, b);
}

static const char *verdict_of(struct scope *s, const struct books *b)
{
	if (b->missing > 0)
		return "DO NOT AGREE";
	return b->outbox.count == 0 ? "agree"
				    : scope_printf(s, "agree, but for %zu records that wait in the outbox", b->outbox.count);
}

static json_t *answer_of(struct scope *s, const struct books *b)
{
	json_t *out = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "verdict", verdict_of(s, b),
				"certificates in the database", (json_int_t)b->issued, "of them revoked",
				(json_int_t)b->revoked, "CAs", (json_int_t)b->authorities, "CRLs in the database",
				(json_int_t)b->crl.stored, "records read", (json_int_t)b->records, "rows in the outbox",
				(json_int_t)b->outbox.count, "contradictions", (json_int_t)b->missing);
	if (b->crl.restored > 0)
		(void)json_object_set_new(out, "CRLs that only the log has, from before the database was put back",
					  json_integer((json_int_t)b->crl.restored));
	if (b->crl.let_go > 0)
		(void)json_object_set_new(out, "CRLs whose records were let go", json_integer((json_int_t)b->crl.let_go));
	if (b->removed_ranges > 0) {
		uint64_t removed = control_records_count(b->removed, b->removed_ranges);
		(void)json_object_set_new(out, "records removed", json_integer((json_int_t)removed));
		(void)json_object_set_new(out, "of them missed here", json_integer((json_int_t)b->purged));
		(void)json_object_set(out, "purged", b->purges);
	}
	if (b->missing > 0)
		(void)json_object_set(out, "findings", b->findings);
	if (b->outbox.count == 0)
		return out;
	(void)json_object_set_new(out, "waiting", cli_outbox_rows(s, &b->outbox));
	(void)json_object_set_new(
		out, "next",
		json_string(
			"the ca delivers them by itself within seconds of auditd taking records again: `chancery status` says whether "
			"auditd answers, the log file of the ca why it was refused. Then reconcile again"));
	return out;
}

st cli_audit_reconcile(struct scope *s, struct cli *c)
{
	uint64_t patience;
	struct cli_audit_source source;
	TRY(cli_get_number(s, c, "wait", PATIENCE_S, PATIENCE_MAX_S, &patience));
	TRY(cli_audit_find(s, c, NULL, &source));
	AUTO(cli_api) *api = NULL;
	TRY(cli_api_open(s, c, &api));
	AUTO(json_t) *findings = json_array(), *purges = json_array();
	AUTO(cli_crl_books) *crls = cli_crl_books_new();
	struct books *b = scope_new(s, struct books);
	*b = (struct books){ .s = s, .api = api, .crls = crls, .findings = findings, .purges = purges };
	scope_init(&b->record, s->source);
	grow(b);
	st status = reconcile(s, b, &source, (int64_t)patience * MOMENT_SECOND);
	json_t *answer = status.code == E_OK ? answer_of(s, b) : NULL;
	scope_done(&b->record);
	free(b->entry);
	free(b->removed);
	TRY(status);
	c->exit_code = b->missing > 0 ? 1 : b->outbox.count > 0 ? EXIT_WAITING : 0;
	return cli_print(s, c, answer);
}
