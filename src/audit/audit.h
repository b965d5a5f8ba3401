/*
 * audit.h - evidence: typed records from one catalogue (audit_events.def), and the client of auditd that makes them durable.
 *
 * A record is one JSON object, UTF-8, at most AUDIT_RECORD_MAX bytes: {"v":1,"id":...,"time":...,"event":"certificate.issued",
 * "component":...,"tx":..., fields}. auditd puts it into an envelope {"v":1,"seq":n,"at":...,"by":...,"record":{...}}; the
 * envelope's bytes are the leaf. Acknowledged means fsynced and sequenced.
 */
#pragma once
#include "buf.h"

#define AUDIT_RECORD_MAX 60000
#define AUDIT_BATCH_MAX  256

enum audit_code {
#define EVENT(symbol, name, class, severity, fields, clause, text) AUDIT_##symbol,
#include "audit_events.def"
#undef EVENT
	AUDIT_CODE_COUNT
};
/* `class` of an event: what auditd refuses when checkpoints are overdue (AUDIT_ISSUANCE and AUDIT_SIGNATURE) or their time-stamps are
 * (AUDIT_ISSUANCE), what it keeps an index of (AUDIT_CONTROL), what persons enter (AUDIT_MANUAL). */
enum audit_class { AUDIT_ISSUANCE, AUDIT_SIGNATURE, AUDIT_OPERATION, AUDIT_SYSTEM, AUDIT_CONTROL, AUDIT_MANUAL };
/* rfc5424#6.2.1 its words; of rising urgency here. `notice`: normal, and worth a look; `warning`: to be looked at; `alert`: to be acted on at once. */
enum audit_severity { AUDIT_INFO, AUDIT_NOTICE, AUDIT_WARNING, AUDIT_ALERT };
struct audit_row {
	const char *name;
	enum audit_class class;
	enum audit_severity severity;
	const char *
		fields; /* name:form, space separated; a '?' behind one that may be absent. Forms: text, number, hex, base64, time */
	const char *clause; /* that asks for this record */
	const char *text;   /* for the catalogue page */
};
const struct audit_row *audit_row(enum audit_code code);

/* ---- building a record ---- */
struct audit_event {
	enum audit_code code;
	uint8_t id[16]; /* random; auditd drops a second event with the same id */
	struct buf json;
	unsigned long long given; /* bit per field of the catalogue row, checked by audit_finish */
};
/* Starts with v, id, time, event, tx (the scope's id). Free with audit_event_free in any case. */
void audit_begin(struct audit_event *e, struct scope *s, enum audit_code code);
/* The same under an id that is derived from what happened: whoever tells it again after a kill tells it once, for auditd drops the second.
 * The id must not be guessable from what the log's readers may not know: it salts the hash of the leaf. */
void audit_begin_as(struct audit_event *e, struct scope *s, enum audit_code code, const uint8_t id[16]);
void audit_event_free(struct audit_event *e);
#define AUTO_EVENT __attribute__((cleanup(audit_event_free))) struct audit_event
/* Field names and forms are those of the catalogue: any other, or one left out, is a bug and ends the process. */
void audit_str(struct audit_event *e, const char *field, const char *text);
void audit_text(struct audit_event *e, const char *field, span utf8);
void audit_hex(struct audit_event *e, const char *field, span bytes);
void audit_base64(struct audit_event *e, const char *field, span bytes);
void audit_number(struct audit_event *e, const char *field, int64_t v);
void audit_time(struct audit_event *e, const char *field, int64_t moment);
st audit_finish(struct scope *s, struct audit_event *e);

/* ---- the client ---- */
struct audit_settings {
	const char *socket;    /* auditd, or NULL */
	const char *journal;   /* founding and off-line work: a local file of records instead of auditd, or NULL */
	const char *component; /* "ca", "keyd/status", ... */
	const char *anchor;    /* file that keeps the last checkpoint acknowledged under, or NULL */
};
struct audit;
st audit_open(struct scope *s, const struct audit_settings *settings, struct audit **out);
void audit_close(struct audit *a);
/* Returns when the event is durable and sequenced, with its index (of the last of them). Many threads may call at once: those
 * that wait together travel in one frame. E_UNAVAILABLE: it is not known to be on record, so the operation must not be done
 * (the same event, with its id, may be offered again). */
st audit_commit(struct scope *s, struct audit *a, const struct audit_event *e, uint64_t *out_index);
/* The same for several events of one thread: OK when every one of them is on record; otherwise some may be. */
st audit_commit_all(struct scope *s, struct audit *a, const struct audit_event *const *event, size_t count);
/* The same for a record kept elsewhere in the meantime (outbox). */
st audit_commit_stored(struct scope *s, struct audit *a, const uint8_t id[16], span json, uint64_t *out_index);
/* Leaves [from, ...) as auditd has them, at most `max` and at most one frame's worth: for reconciliation. `out_size` is the
 * number of leaves in the log. */
struct audit_leaf {
	uint64_t index;
	span bytes; /* the envelope */
};
st audit_read(struct scope *s, struct audit *a, uint64_t from, size_t max, struct audit_leaf **out, size_t *out_count,
	      uint64_t *out_size);
/* The records of class control (register of persons, operations with quorum), in the order of the log, from the `from`-th of them on,
 * counted from 0; at most `max` and at most one frame's worth. `out_total` is how many there are. auditd keeps an index of them, so
 * that nobody reads the whole log. With a journal instead of auditd: those of the journal, `at` the time that their records have. */
st audit_control_read(struct scope *s, struct audit *a, uint64_t from, size_t max, struct audit_leaf **out, size_t *out_count,
		      uint64_t *out_total);
/* Does the log that auditd has now contain the tree of `size` leaves with this root (RFC 6962 consistency proof to the newest checkpoint,
 * verified here)? E_CRYPTO when it does not: the log was cut, forked or put back from a copy. Size and root of the newest checkpoint come
 * out, to be kept for the next time: 0 leaves before there is any checkpoint. A journal has no checkpoints: 0 leaves, and E_STATE when
 * `size` is another. Size 0 is contained in every log. */
st audit_consistent(struct scope *s, struct audit *a, uint64_t size, const uint8_t root[32], uint64_t *out_size,
		    uint8_t out_root[32]);
