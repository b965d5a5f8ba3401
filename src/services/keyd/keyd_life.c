#include "keyd.h"
#include "file.h"
#include "log.h"

#define FILE_VERSION 1
#define FILE_MAX     256

/* Which log the place is in: a founding journal is not the log it is imported into. */
enum place_in { IN_JOURNAL = 1, IN_LOG = 2 };

static enum place_in place_in(const struct keyd *d)
{
	return d->conf->audit_journal != NULL ? IN_JOURNAL : IN_LOG;
}

void keyd_life_init(struct keyd_life *l)
{
	if (pthread_mutex_init(&l->file, NULL) != 0 || pthread_mutex_init(&l->lock, NULL) != 0 ||
	    pthread_cond_init(&l->idle, NULL) != 0)
		log_die("no lock for a key");
}

void keyd_life_free(struct keyd_life *l)
{
	(void)pthread_mutex_destroy(&l->file);
	(void)pthread_mutex_destroy(&l->lock);
	(void)pthread_cond_destroy(&l->idle);
}

/* ---- the file ---- */

static char *life_path(struct scope *s, const struct keyd *d, const struct keyd_key *k)
{
	return scope_printf(s, "%s/life/%s", d->conf->state, k->info.label);
}

/* With `file` held. */
static st keep(struct scope *s, const struct keyd *d, struct keyd_key *k, bool in_order)
{
	struct keyd_life *l = &k->life;
	AUTO_BUF file = { .cap = FILE_MAX };
	struct wr w = wr_into(&file);
	wr_u16(&w, FILE_VERSION);
	(void)pthread_mutex_lock(&l->lock);
	wr_u8(&w, (uint8_t)l->state);
	wr_i64(&w, l->since);
	wr_u8(&w, (uint8_t)place_in(d));
	wr_u64(&w, l->settled);
	wr_u64(&w, l->position);
	wr_u64(&w, l->recorded);
	wr_u64(&w, l->checkpoints);
	wr_u8(&w, l->at_least);
	wr_u8(&w, in_order);
	l->changed = false;
	(void)pthread_mutex_unlock(&l->lock);
	TRY(wr_end(s, &w));
	return file_replace(s, life_path(s, d, k), buf_span(&file), 0600);
}

static st keep_now(struct scope *s, const struct keyd *d, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.file);
	st status = keep(s, d, k, !k->life.marked);
	(void)pthread_mutex_unlock(&k->life.file);
	return status;
}

static st read_file(struct scope *s, const struct keyd *d, struct keyd_key *k, span bytes)
{
	struct keyd_life *l = &k->life;
	struct rd r = rd_of(bytes);
	uint16_t version = rd_u16(&r);
	uint8_t state = rd_u8(&r);
	int64_t since = rd_i64(&r);
	uint8_t in = rd_u8(&r);
	uint64_t settled = rd_u64(&r), position = rd_u64(&r), recorded = rd_u64(&r), checkpoints = rd_u64(&r);
	bool at_least = rd_bool(&r), in_order = rd_bool(&r);
	TRY(rd_end(s, &r, "the state of a key"));
	if (version != FILE_VERSION)
		return fail(s, E_STATE, "it is of version %u, this program reads version %d", version, FILE_VERSION);
	if (state <= KEY_PLANNED || state >= KEY_STATE_COUNT || in < IN_JOURNAL || in > IN_LOG)
		return fail(s, E_STATE, "it names no state or no log");
	l->state = (enum key_state)state;
	l->since = since;
	l->checkpoints = checkpoints;
	l->at_least = at_least || (!in_order && (k->info.purposes & (KEY_FOR_LOG | KEY_FOR_IDENTITY)) != 0);
	l->recorded = l->offered = recorded;
	bool same = in == place_in(d);
	l->settled = same ? settled : 0;
	l->position = same ? position : 0;
	return OK;
}

st keyd_life_load(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	span bytes;
	const char *path = life_path(s, d, k);
	k->life.behind = k->info.purposes != KEY_FOR_LOG; /* checkpoints are no records */
	st status = file_read(s, path, FILE_MAX, &bytes);
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		k->life.state = k->life.by_log = KEY_ACTIVE;
		k->life.since = k->life.by_log_since = k->info.created;
		k->life.at_least = (k->info.purposes & (KEY_FOR_LOG | KEY_FOR_IDENTITY)) != 0;
		return OK;
	}
	TRY(status);
	TRY(fail_context(s, read_file(s, d, k, bytes), "%s cannot be used", path));
	k->life.by_log = k->life.state;
	k->life.by_log_since = k->life.since;
	return OK;
}

st keyd_life_generated(struct scope *s, struct keyd *d, struct keyd_key *k, uint64_t index)
{
	k->life.state = KEY_GENERATED;
	k->life.since = k->info.created;
	k->life.position = index + 1;
	k->life.settled_at = moment_monotonic();
	return keep_now(s, d, k);
}

/* ---- may it sign ---- */

static bool has_ended(const struct keyd_key *k, int64_t now)
{
	return k->info.usage_ends != 0 && now >= k->info.usage_ends;
}

/* With the lock held. */
static enum key_state state_now(const struct keyd_key *k, int64_t now)
{
	enum key_state state = k->life.state;
	return state != KEY_DESTROYED && has_ended(k, now) ? KEY_EXPIRED : state;
}

enum key_state keyd_life_state(struct keyd_key *k, int64_t now)
{
	(void)pthread_mutex_lock(&k->life.lock);
	enum key_state state = state_now(k, now);
	(void)pthread_mutex_unlock(&k->life.lock);
	return state;
}

/* With the lock held. */
static st refuse_state(struct scope *s, const struct keyd_key *k, enum key_state state)
{
	char since[MOMENT_TEXT_MAX];
	if (state == KEY_SUSPENDED)
		return fail(s, E_STATE, "key \"%s\" is suspended since %s and signs nothing until an administrator resumes it",
			    k->info.label, moment_text(k->life.since, since));
	if (state == KEY_EXPIRED)
		return fail(s, E_STATE, "the usage period of key \"%s\" ended at %s; make a new key and certify it",
			    k->info.label, moment_text(k->info.usage_ends, since));
	return state == KEY_DESTROYED ? fail(s, E_STATE, "key \"%s\" was destroyed", k->info.label) : OK;
}

//= requirements#HSM-02 nothing is signed outside the usage period
st keyd_life_check(struct scope *s, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	st status = refuse_state(s, k, state_now(k, scope_now(s)));
	(void)pthread_mutex_unlock(&k->life.lock);
	return status;
}

static void event_of(struct scope *s, struct audit_event *e, const struct keyd *d, const struct keyd_key *k,
		     enum key_state from, enum key_state to, const struct keyd_why *why)
{
	audit_begin(e, s, AUDIT_KEY_CHANGED);
	audit_str(e, "zone", d->conf->zone);
	audit_str(e, "key", k->info.label);
	audit_str(e, "from", key_state_name(from));
	audit_str(e, "to", key_state_name(to));
	audit_text(e, "reason", span_str(why->reason));
	if (why->actor != NULL)
		audit_str(e, "actor", why->actor);
}

static st set_state(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_state to)
{
	(void)pthread_mutex_lock(&k->life.lock);
	k->life.state = to;
	k->life.since = scope_now(s);
	k->life.moved = true;
	(void)pthread_mutex_unlock(&k->life.lock);
	return keep(s, d, k, !k->life.marked);
}

/* Moves that nobody asked for: the record is made by the threads for that. */
static st move_by_itself(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_state from, enum key_state to,
			 const char *reason)
{
	const struct keyd_why why = { .reason = reason };
	st status = OK;
	AUTO_EVENT e = { 0 };
	(void)pthread_mutex_lock(&k->life.file);
	(void)pthread_mutex_lock(&k->life.lock);
	bool still = k->life.state == from;
	(void)pthread_mutex_unlock(&k->life.lock);
	if (still) {
		event_of(s, &e, d, k, from, to, &why);
		status = audit_finish(s, &e);
		if (status.code == E_OK)
			status = set_state(s, d, k, to);
		if (status.code == E_OK)
			keyd_recorder_put(d->recorder, &e);
	}
	(void)pthread_mutex_unlock(&k->life.file);
	return status;
}

//= sp800-57pt1#7.1 before its activation a key protects nothing; it proves possession
st keyd_life_begin(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_purpose purpose)
{
	struct keyd_life *l = &k->life;
	if (purpose != KEY_FOR_REQUEST && keyd_life_state(k, scope_now(s)) == KEY_GENERATED)
		TRY(move_by_itself(s, d, k, KEY_GENERATED, KEY_ACTIVE,
				   scope_printf(s, "first use: %s", key_purpose_name(purpose))));
	(void)pthread_mutex_lock(&l->lock);
	st status = refuse_state(s, k, state_now(k, scope_now(s)));
	if (status.code == E_OK) {
		l->in_flight++;
		l->begun++;
	}
	(void)pthread_mutex_unlock(&l->lock);
	return status;
}

void keyd_life_end(struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	if (--k->life.in_flight == 0)
		(void)pthread_cond_broadcast(&k->life.idle);
	(void)pthread_mutex_unlock(&k->life.lock);
}

/* ---- counts ---- */

void keyd_life_offer(struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	k->life.offered++;
	(void)pthread_mutex_unlock(&k->life.lock);
}

void keyd_life_recorded(struct keyd_key *k, bool on_record)
{
	(void)pthread_mutex_lock(&k->life.lock);
	k->life.recorded += on_record;
	k->life.behind = k->life.behind || !on_record; /* it may be there all the same */
	k->life.changed = true;
	(void)pthread_mutex_unlock(&k->life.lock);
}

st keyd_life_checkpoint(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	st status = OK;
	(void)pthread_mutex_lock(&k->life.file);
	if (!k->life.marked)
		status = keep(s, d, k, false);
	k->life.marked = k->life.marked || status.code == E_OK;
	(void)pthread_mutex_unlock(&k->life.file);
	TRY(status);
	(void)pthread_mutex_lock(&k->life.lock);
	k->life.checkpoints++;
	k->life.changed = true;
	(void)pthread_mutex_unlock(&k->life.lock);
	return OK;
}

st keyd_life_lost(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	k->life.at_least = true;
	(void)pthread_mutex_unlock(&k->life.lock);
	return keep_now(s, d, k);
}

void keyd_life_describe(struct scope *s, struct keyd *d, struct keyd_key *k, struct key_entry *out)
{
	struct keyd_life *l = &k->life;
	*out = (struct key_entry){ .checks = k->checks, .attributes = k->attributes, .operation = k->operation };
	keyd_describe(d, k, &out->info);
	out->device = keyd_conf_device(s, d->conf, k->info.token);
	(void)pthread_mutex_lock(&k->ocsp.lock);
	out->counted = k->ocsp.total;
	out->counted_recorded = k->ocsp.acknowledged;
	bool gap = k->ocsp.gap;
	(void)pthread_mutex_unlock(&k->ocsp.lock);
	(void)pthread_mutex_lock(&l->lock);
	out->state = state_now(k, scope_now(s));
	out->since = out->state == l->state ? l->since : k->info.usage_ends;
	out->recorded = l->recorded;
	out->offered = l->offered;
	out->counted += l->checkpoints;
	out->at_least = l->behind || l->at_least || gap;
	(void)pthread_mutex_unlock(&l->lock);
}

/* ---- moves that somebody asks for ---- */

static void wait_until_idle(struct keyd_life *l)
{
	(void)pthread_mutex_lock(&l->lock);
	while (l->in_flight > 0)
		(void)pthread_cond_wait(&l->idle, &l->lock);
	(void)pthread_mutex_unlock(&l->lock);
}

/* With `file` held, so that no other move comes between check, record and state. */
//= promise1 what must be on record goes there before the effect
static st record_and_set(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_state to, const struct keyd_why *why)
{
	enum key_state from = keyd_life_state(k, scope_now(s));
	uint64_t index;
	TRY(key_state_check(s, k->info.label, from, to));
	AUTO_EVENT e = { 0 };
	event_of(s, &e, d, k, from, to, why);
	TRY(audit_finish(s, &e));
	TRY(audit_commit(s, d->audit, &e, &index));
	return set_state(s, d, k, to);
}

static st move(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_state to, const struct keyd_why *why)
{
	(void)pthread_mutex_lock(&k->life.file);
	st status = record_and_set(s, d, k, to, why);
	(void)pthread_mutex_unlock(&k->life.file);
	TRY(status);
	wait_until_idle(&k->life);
	log_put(LOG_LEVEL_NOTICE, "key \"%s\" is %s: %s", k->info.label, key_state_name(to), why->reason);
	return OK;
}

st keyd_key_suspend(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, label, &k));
	return move(s, d, k, KEY_SUSPENDED, why);
}

/* Only a suspended key: what makes a generated one active is its use. */
st keyd_key_resume(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, label, &k));
	enum key_state state = keyd_life_state(k, scope_now(s));
	if (state != KEY_SUSPENDED)
		return fail(s, E_STATE, "key \"%s\" is %s, not suspended: there is nothing to resume", label,
			    key_state_name(state));
	return move(s, d, k, KEY_ACTIVE, why);
}

//= requirements#HSM-12 end of life: destroyed on its token, on record
st keyd_key_destroy(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why)
{
	struct keyd_key *k;
	struct hsm_key *hsm;
	TRY(keyd_find_key(s, d, label, &k));
	TRY(key_state_check(s, label, keyd_life_state(k, scope_now(s)), KEY_DESTROYED));
	TRY(fail_context(s, keyd_hsm_key(s, d, k, &hsm), "key \"%s\" can be destroyed only while its token is there", label));
	TRY(move(s, d, k, KEY_DESTROYED, why));
	return fail_context(s, hsm_destroy(s, hsm),
			    "the record says destroyed, but the token did not do it; keyd tries again at its next start");
}

st keyd_key_change(struct scope *s, struct keyd *d, const char *label, enum key_state to, const struct keyd_why *why)
{
	static const struct {
		enum key_state to;
		st (*run)(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why);
	} rows[] = { { KEY_SUSPENDED, keyd_key_suspend },
		     { KEY_ACTIVE, keyd_key_resume },
		     { KEY_DESTROYED, keyd_key_destroy } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].to == to)
			return rows[i].run(s, d, label, why);
	return fail(s, E_INPUT, "nobody makes a key %s by asking; it can be changed to active, suspended or destroyed",
		    key_state_name(to));
}

/* ---- over time ---- */

static st expire(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	enum key_state state = k->life.state;
	(void)pthread_mutex_unlock(&k->life.lock);
	if (state >= KEY_EXPIRED || !has_ended(k, scope_now(s)))
		return OK;
	return move_by_itself(s, d, k, state, KEY_EXPIRED, "its usage period ended");
}

static st keep_changed(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.lock);
	bool changed = k->life.changed;
	(void)pthread_mutex_unlock(&k->life.lock);
	return changed ? keep_now(s, d, k) : OK;
}

void keyd_life_tick(struct scope *s, struct keyd *d)
{
	st settled = keyd_use_settle(s, d); /* not when auditd is away; the files then say less, and the log the rest */
	(void)settled.code;
	scope_reset(s);
	for (struct keyd_key *k = keyd_first_key(d); k != NULL; k = k->next) {
		st status = expire(s, d, k);
		if (status.code == E_OK)
			status = keep_changed(s, d, k);
		if (status.code != E_OK)
			log_failure(s, "what became of a key could not be kept");
		scope_reset(s);
	}
}

void keyd_life_close(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	(void)pthread_mutex_lock(&k->life.file);
	st status = k->life.marked || k->life.changed ? keep(s, d, k, true) : OK;
	(void)pthread_mutex_unlock(&k->life.file);
	if (status.code != E_OK)
		log_failure(s, "the count of a key's signatures could not be kept; the next start reads it from the log");
}
