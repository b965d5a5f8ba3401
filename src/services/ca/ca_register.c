#include "ca_register.h"
#include "audit_record.h"
#include "control_entries.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define FOUNDING_MAX CONTROL_TEXT_MAX
#define PAGE         64 /* records read at once */
/* A nonce is the minute it was given in, random octets, and the first octets of SHA-256 over a key of this installation and these. So no
 * given one need be kept, proposals outlive a restart, and cas with one state directory know each other's. Who has the key can propose
 * without asking; approvals are no less needed. */
#define NONCE_KEY   32
#define NONCE_CHECK 8                              /* octets of the digest */
#define NONCE_LIFE  (7 * MOMENT_DAY + MOMENT_HOUR) /* as long as a proposal of the register may live, and then some */

/* The last that operations say of each CA. */
struct crl_hours {
	char ca[CONTROL_ID_MAX + 1];
	int64_t hours;
	bool owed; /* to the database */
};

struct ca_register {
	pthread_mutex_t mutex;
	pthread_cond_t given;
	bool taken;
	bool has_management;
	uint8_t management[DIGEST_MAX]; /* SHA-256 of the management CA's public key */
	/* Of who has taken it: */
	struct buf founding;
	struct control_register *now;
	uint64_t next;                      /* so many records of class control were read */
	uint64_t *recorded;                 /* which of them has entry 1, 2, ... */
	uint8_t (*used)[CONTROL_NONCE_LEN]; /* nonces of these entries, and of the operations of this ca */
	size_t used_count;
	const char *instance;
	uint64_t executed; /* operations of this ca */
	struct control_seen seen;
	struct crl_hours *hours;
	size_t hours_count;
	uint8_t nonce_key[NONCE_KEY];
};

/* ---- one at a time ---- */

static void take_turn(struct ca_register *r)
{
	(void)pthread_mutex_lock(&r->mutex);
	while (r->taken)
		(void)pthread_cond_wait(&r->given, &r->mutex);
	r->taken = true;
	(void)pthread_mutex_unlock(&r->mutex);
}

static void give_turn(struct ca_register *r)
{
	(void)pthread_mutex_lock(&r->mutex);
	r->taken = false;
	(void)pthread_cond_signal(&r->given);
	(void)pthread_mutex_unlock(&r->mutex);
}

/* ---- nonces that were used ---- */

static void note_used(struct ca_register *r, const struct control_signed *o)
{
	r->used = heap_grow(r->used, (r->used_count + 1) * sizeof *r->used);
	memcpy(r->used[r->used_count++], o->proposal.nonce, CONTROL_NONCE_LEN);
}

static bool is_used(const struct ca_register *r, span nonce)
{
	for (size_t i = 0; i < r->used_count; i++)
		if (span_equal(nonce, SPAN_ARRAY(r->used[i])))
			return true;
	return false;
}

/* ---- operations of this ca ---- */

static const struct ca_effect *effect_of(const struct control_proposal *p)
{
	for (size_t i = 0; i < ca_effect_count; i++)
		if (strcmp(ca_effects[i].operation, p->operation->name) == 0)
			return &ca_effects[i];
	return NULL;
}

/* At this time, by this register, and not before: whether it is brought or read from the log. */
static st check_own(struct scope *s, const struct ca_register *r, const struct control_signed *o, int64_t at)
{
	const struct control_proposal *p = &o->proposal;
	span decision = control_parameter(p, "decision", 0);
	if (effect_of(p) == NULL)
		return fail(s, E_DENIED, "%s is not carried out by a ca", p->operation->name);
	TRY(control_check(s, r->now, o, r->instance, at));
	TRY(control_seen_check(s, r->now, p, &r->seen));
	if (!control_decision_taken(r->now, decision))
		return fail(s, E_NOTFOUND, "there is no decision %.*s of the authority: decision.take comes first",
			    (int)decision.len, (const char *)decision.data);
	//= control#nonce a proposal is carried out once
	if (is_used(r, SPAN_ARRAY(p->nonce)))
		return fail(s, E_STATE, "the proposal's nonce was used by one that was carried out already: propose anew");
	return OK;
}

/* ---- from the log ---- */

static void note_entry(struct ca_register *r, uint64_t entries, const struct control_signed *o)
{
	r->recorded = heap_grow(r->recorded, (size_t)(entries + 1) * sizeof *r->recorded);
	r->recorded[entries] = r->next;
	note_used(r, o);
}

static st apply_record(struct scope *s, struct ca_register *r, const struct audit_envelope *e)
{
	span file;
	struct control_signed *o = scope_new(s, struct control_signed);
	TRY(audit_field_base64(s, &e->record, "file", &file));
	TRY(control_signed_read(s, file, o));
	TRY(control_register_apply(s, r->now, file, audit_envelope_time(e)));
	note_entry(r, control_register_head(r->now).entries, o);
	return OK;
}

static void note_hours(struct ca_register *r, const struct control_proposal *p)
{
	size_t i = 0;
	span ca = control_parameter(p, "ca", 0);
	while (i < r->hours_count && !span_is(ca, r->hours[i].ca))
		i++;
	if (i == r->hours_count)
		r->hours = heap_grow(r->hours, ++r->hours_count * sizeof *r->hours);
	r->hours[i] = (struct crl_hours){ .hours = (int64_t)control_parameter_number(p, "crl-hours", 0), .owed = true };
	memcpy(r->hours[i].ca, ca.data, ca.len);
}

/* One of this ca's own, as the one that put it on record verified it. */
static st take_executed(struct scope *s, struct ca_register *r, const struct audit_envelope *e)
{
	span file, instance;
	struct control_signed *o = scope_new(s, struct control_signed);
	TRY(audit_field_text(s, &e->record, "instance", &instance));
	if (!span_is(instance, r->instance))
		return OK;
	TRY(audit_field_base64(s, &e->record, "file", &file));
	TRY(control_signed_read(s, file, o));
	TRY(check_own(s, r, o, audit_envelope_time(e)));
	note_used(r, o);
	r->executed++;
	control_seen_note(r->now, &o->proposal, &r->seen);
	if (strcmp(o->proposal.operation->name, "crl.parameters") == 0)
		note_hours(r, &o->proposal);
	return OK;
}

static st take_crl(struct scope *s, struct ca_register *r, const struct audit_envelope *e)
{
	span crl;
	TRY(audit_field_base64(s, &e->record, "file", &crl));
	return control_register_crl_on_record(s, r->now, crl);
}

/* One that does not verify changes nothing, whoever wrote it: every reader of the log passes it over. */
static st take_record(struct scope *s, struct ca_register *r, const struct audit_leaf *leaf)
{
	struct audit_envelope e;
	TRY(audit_envelope_read(s, leaf->bytes, &e));
	if (e.record.code == AUDIT_REGISTER_CHANGED && apply_record(s, r, &e).code != E_OK)
		log_put(LOG_LEVEL_WARNING,
			"record %llu of the log is no entry of the register of persons and is passed over: %s",
			(unsigned long long)leaf->index, s->message);
	scope_clear_error(s);
	if (e.record.code == AUDIT_OPERATION_EXECUTED && take_executed(s, r, &e).code != E_OK)
		log_put(LOG_LEVEL_WARNING, "record %llu of the log is no operation of this ca and is passed over: %s",
			(unsigned long long)leaf->index, s->message);
	scope_clear_error(s);
	if (e.record.code == AUDIT_CRL_RECORDED && take_crl(s, r, &e).code != E_OK)
		log_put(LOG_LEVEL_WARNING, "record %llu of the log is no CRL of the management CA and is passed over: %s",
			(unsigned long long)leaf->index, s->message);
	scope_clear_error(s);
	r->next++;
	return OK;
}

static st start_anew(struct scope *s, struct ca_register *r)
{
	struct control_register *fresh;
	TRY(fail_context(s, control_register_new(s, buf_span(&r->founding), &fresh), "the founding document"));
	control_register_free(r->now);
	r->now = fresh;
	r->next = 0;
	r->used_count = r->hours_count = 0;
	r->executed = 0;
	r->seen = (struct control_seen){ .number = 0 };
	return OK;
}

static st read_page(struct scope *s, struct ca *ca, struct ca_register *r, bool *out_more)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t total;
	TRY(audit_control_read(s, ca->audit, r->next, PAGE, &leaf, &count, &total));
	if (total < r->next) {
		log_put(LOG_LEVEL_WARNING, "the log has fewer records of the register of persons than before: it is read anew");
		*out_more = true;
		return start_anew(s, r);
	}
	for (size_t i = 0; i < count; i++) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		if (take_record(&aside, r, &leaf[i]).code != E_OK)
			return fail(s, E_IO, "record %llu of the log: %s", (unsigned long long)leaf[i].index, aside.message);
	}
	*out_more = count > 0 && r->next < total;
	return OK;
}

static void note_management(struct ca_register *r)
{
	struct control_management m;
	uint8_t hash[DIGEST_MAX] = { 0 };
	bool there = control_register_management(r->now, &m);
	if (there)
		(void)digest_of(DIGEST_SHA256, m.spki, hash);
	(void)pthread_mutex_lock(&r->mutex);
	r->has_management = there;
	memcpy(r->management, hash, sizeof hash);
	(void)pthread_mutex_unlock(&r->mutex);
}

bool ca_register_is_management(const struct ca *ca, span spki)
{
	struct ca_register *r = ca->reg;
	uint8_t hash[DIGEST_MAX] = { 0 };
	if (r == NULL)
		return false;
	(void)digest_of(DIGEST_SHA256, spki, hash);
	(void)pthread_mutex_lock(&r->mutex);
	bool is = r->has_management && memcmp(hash, r->management, sizeof hash) == 0;
	(void)pthread_mutex_unlock(&r->mutex);
	return is;
}

/* Also what was put on record through another ca. */
static st catch_up(struct scope *s, struct ca *ca)
{
	bool more = true;
	while (more) {
		AUTO_SCOPE page;
		scope_init(&page, s->source);
		st status = read_page(&page, ca, ca->reg, &more);
		if (status.code != E_OK)
			return fail(s, status.code, "reading the register of persons from the log: %s", page.message);
	}
	note_management(ca->reg);
	return OK;
}

/* ---- open and close ---- */

static st check_hash(struct scope *s, const struct ca_conf *c, span document)
{
	uint8_t hash[DIGEST_MAX];
	span wanted;
	if (c->founding_hash == NULL)
		return OK;
	TRY(fail_context(s, hex_parse(s, span_str(c->founding_hash), &wanted), "founding-hash"));
	if (!span_equal(digest_of(DIGEST_SHA256, document, hash), wanted))
		return fail(s, E_CRYPTO,
			    "%s has the SHA-256 %s, and founding-hash says another: one of them is not of this provider",
			    c->founding, hex_text(s, span_of(hash, CONTROL_HASH_LEN)));
	return OK;
}

static st read_founding(struct scope *s, const struct ca_conf *c, struct ca_register *r)
{
	span document;
	TRY(fail_context(s, file_read(s, c->founding, FOUNDING_MAX, &document), "the founding document"));
	TRY(check_hash(s, c, document));
	if (!buf_append(&r->founding, document))
		return fail(s, E_LIMIT, "the founding document is too large");
	return start_anew(s, r);
}

static st read_nonce_key(struct scope *s, const char *path, struct ca_register *r)
{
	span key;
	TRY(file_read(s, path, NONCE_KEY, &key));
	if (key.len != NONCE_KEY)
		return fail(s, E_INPUT, "%s has %zu octets instead of %d: remove it, and have open proposals made anew", path,
			    key.len, NONCE_KEY);
	memcpy(r->nonce_key, key.data, NONCE_KEY);
	return OK;
}

/* Another ca in this directory may make it at the same moment: one of them is kept. */
static st load_nonce_key(struct scope *s, const struct ca_conf *c, struct ca_register *r)
{
	uint8_t fresh[NONCE_KEY];
	const char *path = scope_printf(s, "%s/register.nonce-key", c->state_directory);
	if (!file_exists(path)) {
		scope_random(s, fresh, sizeof fresh);
		st made = file_create(s, path, SPAN_ARRAY(fresh), 0600);
		wipe(fresh, sizeof fresh);
		if (made.code != E_OK && made.code != E_CONFLICT)
			return made;
		scope_clear_error(s);
	}
	return read_nonce_key(s, path, r);
}

static st check_instance(struct scope *s, const struct ca_conf *c)
{
	const char *problem = control_id_problem(span_str(c->instance));
	if (problem != NULL)
		return fail(s, E_INPUT, "instance = %s: a name %s", c->instance, problem);
	if (strcmp(c->instance, CA_REGISTER) == 0)
		return fail(s, E_INPUT, "instance = %s: that is the register of persons", c->instance);
	return OK;
}

st ca_register_open(struct scope *s, struct ca *ca)
{
	if (ca->conf->founding == NULL)
		return OK;
	TRY(check_instance(s, ca->conf));
	struct ca_register *r = heap_alloc(sizeof *r);
	if (pthread_mutex_init(&r->mutex, NULL) != 0 || pthread_cond_init(&r->given, NULL) != 0)
		log_die("no locks for the register of persons");
	buf_init(&r->founding, FOUNDING_MAX);
	r->instance = ca->conf->instance;
	ca->reg = r; /* from here on it is closed with the ca */
	TRY(load_nonce_key(s, ca->conf, r));
	TRY(read_founding(s, ca->conf, r));
	TRY(catch_up(s, ca));
	log_put(LOG_LEVEL_NOTICE, "the register of persons has %llu entries",
		(unsigned long long)control_register_head(r->now).entries);
	return OK;
}

void ca_register_close(struct ca *ca)
{
	struct ca_register *r = ca->reg;
	if (r == NULL)
		return;
	control_register_free(r->now);
	buf_free(&r->founding);
	free(r->recorded);
	free(r->used);
	free(r->hours);
	wipe(r->nonce_key, sizeof r->nonce_key);
	(void)pthread_cond_destroy(&r->given);
	(void)pthread_mutex_destroy(&r->mutex);
	free(r);
	ca->reg = NULL;
}

st ca_register_take(struct scope *s, struct ca *ca, const struct control_register **out)
{
	if (ca->reg == NULL)
		return fail(
			s, E_NOTFOUND,
			"this ca keeps no register of persons: its configuration names no founding document (founding = FILE)");
	take_turn(ca->reg);
	st status = catch_up(s, ca);
	if (status.code != E_OK) {
		give_turn(ca->reg);
		return status;
	}
	*out = ca->reg->now;
	return OK;
}

void ca_register_give(struct ca *ca)
{
	give_turn(ca->reg);
}

span ca_register_founding(const struct ca *ca)
{
	return buf_span(&ca->reg->founding);
}

/* ---- entries ---- */

static st read_entry(struct scope *s, struct ca *ca, uint64_t number, struct audit_envelope *out_envelope, span *out_file)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t total;
	TRY(audit_control_read(s, ca->audit, ca->reg->recorded[number], 1, &leaf, &count, &total));
	if (count != 1)
		return fail(s, E_IO, "entry %llu of the register is not in the log any more", (unsigned long long)number);
	TRY(audit_envelope_read(s, leaf[0].bytes, out_envelope));
	return audit_field_base64(s, &out_envelope->record, "file", out_file);
}

st ca_register_entries(struct scope *s, struct ca *ca, uint64_t from, size_t max, struct buf *out)
{
	uint64_t entries = control_register_head(ca->reg->now).entries;
	for (uint64_t number = from == 0 ? 1 : from; number <= entries && out->len < max; number++) {
		AUTO_SCOPE aside;
		struct audit_envelope e;
		span file;
		scope_init(&aside, s->source);
		st status = read_entry(&aside, ca, number, &e, &file);
		if (status.code == E_OK)
			status = control_entries_write(&aside, number, audit_envelope_time(&e), file, out);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", aside.message);
	}
	return OK;
}

/* ---- nonces that are given ---- */

static void nonce_check(const struct ca_register *r, span begins, uint8_t out[NONCE_CHECK])
{
	uint8_t hash[DIGEST_MAX];
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, SPAN_ARRAY(r->nonce_key));
	digest_add(&d, begins);
	(void)digest_finish(&d, hash);
	memcpy(out, hash, NONCE_CHECK);
}

void ca_register_nonce(struct scope *s, struct ca *ca, uint8_t out[CONTROL_NONCE_LEN], int64_t *out_expires)
{
	int64_t minute = scope_now(s) / MOMENT_MINUTE;
	for (size_t i = 0; i < 4; i++)
		out[i] = (uint8_t)(minute >> (24 - 8 * i));
	scope_random(s, out + 4, CONTROL_NONCE_LEN - NONCE_CHECK - 4);
	nonce_check(ca->reg, span_of(out, CONTROL_NONCE_LEN - NONCE_CHECK), out + CONTROL_NONCE_LEN - NONCE_CHECK);
	*out_expires = minute * MOMENT_MINUTE + NONCE_LIFE;
}

//= control#nonce a nonce of the instance that carries it out, good once
static st check_nonce(struct scope *s, const struct ca_register *r, span nonce)
{
	uint8_t check[NONCE_CHECK];
	struct rd read = rd_of(nonce);
	int64_t given = (int64_t)rd_u32(&read) * MOMENT_MINUTE;
	nonce_check(r, span_first(nonce, CONTROL_NONCE_LEN - NONCE_CHECK), check);
	if (!span_equal(span_from(nonce, CONTROL_NONCE_LEN - NONCE_CHECK), SPAN_ARRAY(check)))
		return fail(s, E_STATE, "the proposal's nonce is none that this ca has given: propose anew, here");
	if (scope_now(s) >= given + NONCE_LIFE)
		return fail(s, E_STATE, "the proposal's nonce is more than a week old: propose anew");
	if (is_used(r, nonce))
		return fail(s, E_STATE, "the proposal's nonce was used by one that was carried out already: propose anew");
	return OK;
}

/* ---- operations ---- */

static st check(struct scope *s, struct ca_register *r, span file, struct control_signed *o, struct control_head *out_head)
{
	TRY(control_signed_read(s, file, o));
	TRY(control_register_would(s, r->now, file, scope_now(s), out_head));
	return check_nonce(s, r, SPAN_ARRAY(o->proposal.nonce));
}

static st write_record(struct scope *s, struct audit_event *e, const struct control_signed *o, const struct control_head *head,
		       span file, const char *actor)
{
	span person = control_parameter(&o->proposal, "person", 0);
	audit_begin(e, s, AUDIT_REGISTER_CHANGED);
	audit_number(e, "entry", (int64_t)head->entries);
	audit_hex(e, "head", SPAN_ARRAY(head->hash));
	audit_str(e, "operation", o->proposal.operation->name);
	audit_hex(e, "proposal", SPAN_ARRAY(o->proposal.hash));
	if (person.len > 0)
		audit_text(e, "person", person);
	audit_str(e, "words", control_proposal_words(s, &o->proposal));
	audit_base64(e, "file", file);
	audit_str(e, "actor", actor);
	return audit_finish(s, e);
}

/* Best effort: a refusal has no effect that would have to wait for its record. */
static void record_refusal(struct ca *ca, const struct scope *refused, const struct control_signed *o, const char *actor)
{
	AUTO_SCOPE s;
	AUTO_EVENT e = { 0 };
	uint64_t index;
	scope_init(&s, refused->source);
	memcpy(s.id, refused->id, sizeof s.id);
	audit_begin(&e, &s, AUDIT_OPERATION_REFUSED);
	const struct control_operation *operation = o->proposal.operation;
	audit_str(&e, "instance", operation != NULL && operation->executor == CONTROL_BY_CA ? ca->reg->instance : CA_REGISTER);
	if (operation != NULL)
		audit_str(&e, "operation", operation->name);
	if (o->proposal.text.len > 0)
		audit_hex(&e, "proposal", SPAN_ARRAY(o->proposal.hash));
	audit_str(&e, "reason", refused->message);
	audit_str(&e, "actor", actor);
	if (audit_finish(&s, &e).code != E_OK || audit_commit(&s, ca->audit, &e, &index).code != E_OK)
		log_failure(&s, "putting on record that an operation was refused");
}

/* The register is what the log makes of it: time of the record, and order. */
static st put_on_record(struct scope *s, struct ca *ca, const struct audit_event *e, const struct control_head *head)
{
	uint64_t index;
	TRY(audit_commit(s, ca->audit, e, &index));
	FAILPOINT("ca.register-recorded");
	TRY(catch_up(s, ca));
	/* Nobody else puts entries on record meanwhile: see lock_others_out. */
	if (!control_register_was(ca->reg->now, head->entries, head->hash))
		return fail(
			s, E_STATE,
			"record %llu came too late for this operation, or another one before it: it has no effect, propose anew",
			(unsigned long long)index);
	return OK;
}

static st execute_entry(struct scope *s, struct ca *ca, span file, const char *actor, struct control_signed *o,
			struct ca_register_done *out)
{
	AUTO_EVENT e = { 0 };
	st status = check(s, ca->reg, file, o, &out->head);
	if (status.code == E_OK)
		status = write_record(s, &e, o, &out->head, file, actor);
	if (status.code != E_OK) {
		record_refusal(ca, s, o, actor);
		return status;
	}
	TRY(put_on_record(s, ca, &e, &out->head));
	out->operation = o->proposal.operation->name;
	out->words = control_proposal_words(s, &o->proposal);
	return OK;
}

/* ---- those of this ca ---- */

static st write_executed(struct scope *s, const struct ca_register *r, struct audit_event *e, const struct control_signed *o,
			 span file, const char *actor)
{
	audit_begin(e, s, AUDIT_OPERATION_EXECUTED);
	audit_str(e, "instance", r->instance);
	audit_number(e, "sequence", (int64_t)r->executed + 1);
	audit_str(e, "operation", o->proposal.operation->name);
	audit_hex(e, "proposal", SPAN_ARRAY(o->proposal.hash));
	audit_str(e, "words", control_proposal_words(s, &o->proposal));
	audit_base64(e, "file", file);
	audit_str(e, "actor", actor);
	return audit_finish(s, e);
}

/* What the record is worth is what everybody who reads it makes of it: only then there is an effect. */
static st record_executed(struct scope *s, struct ca *ca, const struct control_signed *o, span file, const char *actor)
{
	AUTO_EVENT e = { 0 };
	uint64_t index;
	TRY(write_executed(s, ca->reg, &e, o, file, actor));
	TRY(audit_commit(s, ca->audit, &e, &index));
	FAILPOINT("ca.operation-recorded");
	TRY(catch_up(s, ca));
	if (!is_used(ca->reg, SPAN_ARRAY(o->proposal.nonce)))
		return fail(s, E_STATE, "record %llu came too late for this operation: it has no effect, propose anew",
			    (unsigned long long)index);
	return OK;
}

static st execute_own(struct scope *s, struct ca *ca, span file, const char *actor, const struct control_signed *o)
{
	const struct ca_effect *effect = effect_of(&o->proposal);
	TRY(check_own(s, ca->reg, o, scope_now(s)));
	TRY(check_nonce(s, ca->reg, SPAN_ARRAY(o->proposal.nonce)));
	TRY(effect->prepare(s, ca, o));
	TRY(record_executed(s, ca, o, file, actor));
	return fail_context(s, effect->carry_out(s, ca, o), "it is on record, and could not be done");
}

st ca_register_settle(struct scope *s, struct ca *ca)
{
	struct ca_register *r = ca->reg;
	for (size_t i = 0; i < r->hours_count; i++) {
		if (!r->hours[i].owed)
			continue;
		st status = ca_authority_set_crl_hours(s, ca, r->hours[i].ca, r->hours[i].hours);
		if (status.code != E_OK && status.code != E_NOTFOUND) /* of a database that was lost, or another's */
			return status;
		scope_clear_error(s);
		r->hours[i].owed = status.code == E_NOTFOUND;
	}
	return OK;
}

st ca_register_refuse(struct scope *s, struct ca *ca, const char *operation, const char *actor, const char *what)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	o->proposal.operation = control_operation_named(span_str(operation));
	st refused = fail(s, E_DENIED, "%s by an operation that several persons approve (%s): chancery op propose %s", what,
			  o->proposal.operation->clause, operation);
	record_refusal(ca, s, o, actor);
	return refused;
}

static st execute(struct scope *s, struct ca *ca, span file, const char *actor, struct ca_register_done *out)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	if (control_signed_read(s, file, o).code != E_OK || o->proposal.operation->executor != CONTROL_BY_CA) {
		scope_clear_error(s);
		return execute_entry(s, ca, file, actor, scope_new(s, struct control_signed), out);
	}
	st status = execute_own(s, ca, file, actor, o);
	if (status.code != E_OK) {
		record_refusal(ca, s, o, actor);
		return status;
	}
	out->head = control_register_head(ca->reg->now);
	out->operation = o->proposal.operation->name;
	out->words = control_proposal_words(s, &o->proposal);
	return OK;
}

/* Cas on the same database have the same directory: from the register that an operation is checked against to its record they take turns,
 * so that the number and the head that the record tells are those that everybody comes to. */
static st lock_others_out(struct scope *s, const struct ca *ca, int *out_fd)
{
	const char *path = scope_printf(s, "%s/register.lock", ca->conf->state_directory);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return fail_errno(s, E_IO, "%s", path);
	*out_fd = take_fd(&fd);
	return OK;
}

/* With a lock of the directory, where it is shared: until *out_lock is closed. */
static st begin_alone(struct scope *s, struct ca *ca, int *out_lock)
{
	if (!ca->shared)
		return OK;
	TRY(lock_others_out(s, ca, out_lock));
	return catch_up(s, ca);
}

st ca_register_execute(struct scope *s, struct ca *ca, span file, const char *actor, struct ca_register_done *out)
{
	AUTO_FD lock = -1;
	TRY(begin_alone(s, ca, &lock));
	return execute(s, ca, file, actor, out);
}

static st settle_alone(struct scope *s, struct ca *ca)
{
	AUTO_FD lock = -1;
	TRY(begin_alone(s, ca, &lock));
	return ca_register_settle(s, ca);
}

st ca_register_settle_start(struct scope *s, struct ca *ca)
{
	const struct control_register *r;
	if (ca->reg == NULL)
		return OK;
	TRY(ca_register_take(s, ca, &r));
	st status = settle_alone(s, ca);
	ca_register_give(ca);
	return status;
}
