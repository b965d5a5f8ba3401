/*
 * The signatures of keys by the log, held against what their keyd counted. keyd is asked before and after the log is read, so that keys that sign
 * meanwhile are no contradiction: what is known to be on record before must be in the log, and what is in the log keyd must know after.
 */
#include "audit_log.h"
#include "audit_record.h"
#include "cli_key.h"
#include <stdio.h>

struct found {
	bool generated, same_key;
	uint64_t signatures; /* a record each */
	uint64_t answers;    /* by the sums: OCSP */
	uint64_t gaps;
};

struct reading {
	struct scope record; /* of one record: used again and again */
	const struct cli_keys *keys;
	struct found *found;       /* one for each key */
	uint64_t records, removed; /* of them without content */
};

static void see_generated(struct reading *r, const struct audit_record *record, const struct cli_key *key, struct found *f)
{
	span spki;
	*f = (struct found){ .generated = true };
	f->same_key =
		audit_field_base64(&r->record, record, "spki", &spki).code == E_OK && span_equal(spki, key->entry.info.spki);
}

static void see_signature(struct reading *r, const struct audit_record *record, const struct cli_key *key, struct found *f)
{
	(void)r, (void)record, (void)key;
	f->signatures++;
}

static void see_answers(struct reading *r, const struct audit_record *record, const struct cli_key *key, struct found *f)
{
	(void)key;
	int64_t total;
	if (audit_field_number(&r->record, record, "total", &total).code == E_OK)
		f->answers = (uint64_t)total;
}

static void see_gap(struct reading *r, const struct audit_record *record, const struct cli_key *key, struct found *f)
{
	(void)key;
	int64_t total;
	f->gaps++;
	if (audit_field_number(&r->record, record, "last_total", &total).code == E_OK)
		f->answers = (uint64_t)total;
}

/* What a record says of the signatures of its key. */
static const struct seen_row {
	enum audit_code code;
	void (*see)(struct reading *r, const struct audit_record *record, const struct cli_key *key, struct found *f);
} seen[] = {
	{ AUDIT_KEY_GENERATED, see_generated },
	{ AUDIT_SIGN_CERTIFICATE, see_signature },
	{ AUDIT_SIGN_CRL, see_signature },
	{ AUDIT_SIGN_TIME_STAMP, see_signature },
	{ AUDIT_SIGN_REQUEST, see_signature },
	{ AUDIT_OCSP_SIGNED, see_answers },
	{ AUDIT_OCSP_GAP, see_gap },
};

static const struct seen_row *row_of(enum audit_code code)
{
	for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
		if (seen[i].code == code)
			return &seen[i];
	return NULL;
}

static st see(struct reading *r, span leaf)
{
	struct audit_envelope e;
	span zone, label;
	struct scope *s = &r->record;
	if (leaf.len == 0) { /* removed by an operation: whose it was nobody knows any more */
		r->removed++;
		return OK;
	}
	TRY(audit_envelope_read(s, leaf, &e));
	const struct seen_row *row = row_of(e.record.code);
	if (row == NULL)
		return OK;
	TRY(audit_field_text(s, &e.record, "zone", &zone));
	TRY(audit_field_text(s, &e.record, "key", &label));
	for (size_t i = 0; i < r->keys->count; i++)
		if (span_is(zone, r->keys->row[i].zone) && span_is(label, r->keys->row[i].entry.info.label))
			row->see(r, &e.record, &r->keys->row[i], &r->found[i]);
	return OK;
}

static bool each(void *state, uint64_t index, span leaf)
{
	struct reading *r = state;
	(void)index;
	r->records++;
	st status = see(r, leaf);
	bool goes_on = status.code == E_OK;
	if (goes_on)
		scope_reset(&r->record);
	return goes_on;
}

static st read_log(struct scope *s, const char *directory, struct reading *r)
{
	struct audit_log *log;
	TRY(audit_log_open(s, directory, &log));
	st status = audit_log_each(s, log, 0, each, r);
	audit_log_close(log);
	TRY(status);
	return r->record.message[0] == 0
		       ? OK
		       : fail(s, E_INPUT, "record %llu of the log in %s: %s; `chancery audit verify` tells more",
			      (unsigned long long)(r->records - 1), directory, r->record.message);
}

static bool within(uint64_t least, uint64_t value, uint64_t most)
{
	return least <= value && value <= most;
}

/* Records of signatures that the log lacks, as far as they may be among those that were removed. */
static bool may_be_removed(struct reading *r, const struct key_entry *before, const struct found *f)
{
	uint64_t lacking = before->recorded - f->signatures;
	if (f->signatures >= before->recorded || lacking > r->removed)
		return false;
	r->removed -= lacking; /* each can have been the record of one signature */
	return true;
}

static const char *verdict(struct scope *s, const struct key_entry *before, const struct key_entry *after, struct reading *r,
			   const struct found *f, bool *agrees)
{
	*agrees = false;
	bool log_key = (before->info.purposes & (KEY_FOR_LOG | KEY_FOR_IDENTITY)) != 0;
	if (!f->generated)
		return "DOES NOT AGREE: this log does not say that the key was generated";
	if (!f->same_key)
		return "DOES NOT AGREE: the log says that another public key was generated under this name";
	bool fits =
		within(before->recorded, f->signatures, after->offered) || (before->at_least && f->signatures > after->offered);
	bool removed = !fits && may_be_removed(r, before, f);
	if (!fits && !removed)
		return scope_printf(s, "DOES NOT AGREE: keyd counts %llu signatures, the log has records of %llu",
				    (unsigned long long)after->recorded, (unsigned long long)f->signatures);
	if (!log_key && !within(before->counted_recorded, f->answers, after->counted))
		return scope_printf(s, "DOES NOT AGREE: keyd counts %llu OCSP answers, the log %llu",
				    (unsigned long long)after->counted, (unsigned long long)f->answers);
	*agrees = true;
	if (log_key)
		return "nothing to compare: what it signs is no record";
	if (removed)
		return scope_printf(
			s,
			"agrees, but for %llu signatures whose records may be among those that operations removed from "
			"the log",
			(unsigned long long)(before->recorded - f->signatures));
	if (f->gaps > 0)
		return "agrees, but for OCSP answers of the last second before each kill, which nobody counted";
	return before->at_least ? "agrees, as far as keyd has read the log: ask again" : "agrees";
}

static st ask_again(struct scope *s, const struct cli_key *key, struct key_entry *out)
{
	AUTO(key_client) *client = key_client_new(key->socket);
	return key_entry(s, client, key->entry.info.label, out);
}

static st judge(struct scope *s, struct reading *r, json_t *out, bool *agree)
{
	for (size_t i = 0; i < r->keys->count; i++) {
		const struct cli_key *key = &r->keys->row[i];
		const struct found *f = &r->found[i];
		struct key_entry *after = scope_new(s, struct key_entry);
		bool agrees = true;
		TRY(ask_again(s, key, after));
		const char *text = key->entry.state == KEY_PLANNED ? "nothing to compare: it is not generated"
								   : verdict(s, &key->entry, after, r, f, &agrees);
		*agree = *agree && agrees;
		(void)json_array_append_new(
			out, json_pack("{s:s, s:I, s:I, s:I, s:I}", "verdict", text, "signatures with a record",
				       (json_int_t)f->signatures, "OCSP answers counted", (json_int_t)f->answers,
				       "kills that lost count", (json_int_t)f->gaps, "records read", (json_int_t)r->records));
	}
	return OK;
}

st cli_key_reconcile(struct scope *s, const struct cli_keys *keys, const char *log, json_t **out, bool *out_agree)
{
	struct reading r = { .keys = keys, .found = scope_alloc(s, (keys->count + 1) * sizeof *r.found) };
	AUTO(json_t) *verdicts = json_array();
	*out_agree = true;
	scope_init(&r.record, s->source);
	st status = read_log(s, log, &r);
	if (status.code == E_OK)
		status = judge(s, &r, verdicts, out_agree);
	scope_done(&r.record);
	TRY(status);
	*out = TAKE(verdicts);
	return OK;
}
