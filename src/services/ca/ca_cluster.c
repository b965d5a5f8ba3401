/*
 * Several cas on one database (docs/decisions/0024). All of them issue, revoke and write CRLs; one leads, which hands owed records
 * to auditd, pushes to the vas, keeps the schedule of CRLs and renewals, and settles what a ca was signing when it ended. Each is told by
 * its row in `process`: the position in the log before which nothing of it is open any more.
 */
#include "ca.h"
#include "ca_push.h"
#include "log.h"
#include <stdlib.h>
#include <unistd.h>

#define LOOK_US   (50 * INT64_C(1000)) /* at what others wrote */
#define TICK_US   MOMENT_SECOND
#define GRACE_US  (5 * MOMENT_SECOND) /* a ca whose session is lost comes back after a restart of the server */
#define START_US  (120 * MOMENT_SECOND)
#define BEHIND_US (60 * MOMENT_SECOND) /* longer than anything is being signed */
#define RETRY_US  (10 * MOMENT_SECOND)
#define PAUSE_US  100000

struct ca_cluster {
	pthread_t thread;
	bool started;
	bool away;          /* the database, as the last look said */
	bool settle;        /* what ended cas left open is still to be looked for */
	int64_t settle_at;  /* monotonic: not before */
	int64_t gone_since; /* monotonic: since when a ca is missing; 0: none is */
	int64_t feed;       /* last number seen */
};

/* ---- who is there ---- */

static st add_process(struct scope *s, const struct db_row *row, void *arg)
{
	struct ca_processes *p = arg;
	if (p->count == CA_PROCESSES_MAX)
		return fail(s, E_LIMIT, "more than %d cas have worked on this database", CA_PROCESSES_MAX);
	p->process[p->count++] = (struct ca_process){ .id = row->column[0].integer, .position = row->column[1].integer };
	return OK;
}

static st read_processes(struct scope *s, struct db_tx *tx, void *arg)
{
	struct ca_processes *p = arg;
	p->count = 0;
	TRY(db_each(s, tx, &sql_process_all, NULL, 0, add_process, p));
	for (size_t i = 0; i < p->count; i++)
		TRY(db_process_alive(s, tx, p->process[i].id, &p->process[i].alive));
	return OK;
}

st ca_cluster_processes(struct scope *s, struct ca *ca, struct ca_processes *out)
{
	return db_read(s, ca->db, read_processes, out);
}

static bool some_work_before(struct ca *ca, const struct ca_processes *p, uint64_t position)
{
	int64_t own = db_process(ca->db);
	for (size_t i = 0; i < p->count; i++)
		if (p->process[i].alive && p->process[i].id != own && (uint64_t)p->process[i].position < position)
			return true;
	return ca_flight_position(ca) < position;
}

st ca_cluster_await(struct scope *s, struct ca *ca, uint64_t position)
{
	int64_t until = moment_monotonic() + BEHIND_US;
	while (!atomic_load(&ca->stopping)) {
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		struct ca_processes *p = scope_new(&own, struct ca_processes);
		st read = ca_cluster_processes(&own, ca, p);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", own.message);
		if (!some_work_before(ca, p, position))
			return OK;
		if (moment_monotonic() > until)
			break;
		(void)usleep(PAUSE_US);
	}
	return fail(s, E_BUSY, "another ca still works on what began before position %llu of the log",
		    (unsigned long long)position);
}

/* ---- one's own row ---- */

st ca_cluster_enter_position(struct scope *s, struct db_tx *tx, struct ca *ca, int64_t position)
{
	TRY(db_exec(s, tx, &sql_process_set, DB_VALUES(db_integer(db_process(ca->db)), db_integer(position)), NULL));
	return db_exec(s, tx, &sql_process_least, NULL, 0, NULL);
}

struct entry {
	struct ca *ca;
	int64_t position;
};

static st enter_process(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct entry *e = arg;
	return ca_cluster_enter_position(s, tx, e->ca, e->position);
}

st ca_cluster_save_position(struct scope *s, struct ca *ca, int64_t position)
{
	struct entry e = { ca, position };
	return db_tx(s, ca->db, enter_process, &e);
}

/* Nothing of ours lies before the end that the log has now. */
static st enter_behind_others(struct scope *s, struct ca *ca)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t size = 0;
	TRY(audit_read(s, ca->audit, 0, 1, &leaf, &count, &size));
	ca_flight_reached(ca, size);
	return ca_cluster_save_position(s, ca, ca_log_position(ca, size));
}

/* ---- the same files ---- */

//= rfc5280#5.2.3 CRL numbers and contents grow together: those who write CRLs of one CA take turns by a lock in their common directory
static st check_directory(struct scope *s, struct ca *ca)
{
	const struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++) {
		struct ca_crl last;
		st found = ca_crl_last(s, ca, a->id, &last);
		if (found.code == E_NOTFOUND) {
			scope_clear_error(s);
			continue;
		}
		TRY(found);
		const char *path = ca_crl_path(s, ca, a->name, last.number);
		if (access(path, R_OK) != 0)
			return fail(s, E_CONFIG,
				    "%s is not here: cas that share a database share their state-directory too, give all of "
				    "them the same",
				    path);
	}
	return OK;
}

/* ---- joining ---- */

static bool another_serves(const struct ca_processes *p, int64_t own)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->process[i].alive && p->process[i].id != own)
			return true;
	return false;
}

/* Whoever leads at start compares database and log before anybody serves; a row of a process that is alive says that it is done. */
static st await_comparison(struct scope *s, struct ca *ca, bool *out_leads)
{
	struct ca_processes *p = scope_new(s, struct ca_processes);
	for (int64_t until = moment_monotonic() + START_US; moment_monotonic() < until; (void)usleep(PAUSE_US)) {
		TRY(db_lead(s, ca->db, out_leads));
		if (*out_leads)
			return OK;
		TRY(ca_cluster_processes(s, ca, p));
		if (another_serves(p, db_process(ca->db)))
			return OK;
	}
	return fail(s, E_UNAVAILABLE,
		    "another ca has been comparing this database with the audit log for two minutes; see its log");
}

st ca_cluster_join(struct scope *s, struct ca *ca)
{
	bool leads = true;
	if (ca->shared)
		TRY(await_comparison(s, ca, &leads));
	atomic_store(&ca->leads, leads);
	if (leads)
		return ca_reconcile(s, ca);
	TRY(check_directory(s, ca));
	TRY(enter_behind_others(s, ca));
	log_put(LOG_LEVEL_NOTICE,
		"another ca leads on this database: it pushes, keeps the schedule and hands over owed records");
	return OK;
}

/* ---- while running ---- */

static void look_who_leads(struct scope *s, struct ca *ca)
{
	bool leads = false, led = atomic_load(&ca->leads);
	bool away = db_lead(s, ca->db, &leads).code != E_OK;
	if (away && !ca->cluster->away)
		log_failure(s, "asking which ca leads");
	ca->cluster->away = away;
	scope_clear_error(s);
	atomic_store(&ca->leads, leads);
	if (leads == led)
		return;
	log_put(LOG_LEVEL_NOTICE, leads ? "this ca leads now" : "this ca does not lead any more");
	ca->cluster->settle = leads;
	ca->cluster->settle_at = moment_monotonic() + GRACE_US;
	ca_wake(ca);
}

/* Those that are gone for longer than a restart of the database takes have ended. */
static void look_who_ended(struct scope *s, struct ca *ca)
{
	struct ca_cluster *c = ca->cluster;
	struct ca_processes *p = scope_new(s, struct ca_processes);
	bool missing = false;
	if (ca_cluster_processes(s, ca, p).code != E_OK) {
		log_failure(s, "looking for the cas on this database");
		scope_clear_error(s);
		return;
	}
	for (size_t i = 0; i < p->count; i++)
		missing = missing || !p->process[i].alive;
	int64_t now = moment_monotonic();
	if (!missing)
		c->gone_since = 0;
	else if (c->gone_since == 0)
		c->gone_since = now;
	c->settle = c->settle || (missing && now > c->gone_since + GRACE_US);
}

static void settle(struct scope *s, struct ca *ca)
{
	struct ca_cluster *c = ca->cluster;
	if (!c->settle || moment_monotonic() < c->settle_at)
		return;
	if (ca_reconcile_ended(s, ca).code == E_OK) {
		c->settle = false;
		c->gone_since = 0;
		return;
	}
	log_failure(s, "settling what a ca that ended was signing");
	c->settle_at = moment_monotonic() + RETRY_US;
}

static void tick(struct ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (!ca->shared) {
		settle(&s, ca);
		return;
	}
	look_who_leads(&s, ca);
	if (ca->cluster->away)
		return;
	if (ca_authority_load(&s, ca).code != E_OK) {
		log_failure(&s, "looking for CAs that another ca made");
		scope_clear_error(&s);
	}
	if (!atomic_load(&ca->leads))
		return;
	look_who_ended(&s, ca);
	settle(&s, ca);
}

static st read_feed_end(struct scope *s, struct db_tx *tx, void *arg)
{
	struct db_row row;
	TRY(db_one(s, tx, &sql_feed_bounds, NULL, 0, &row));
	*(int64_t *)arg = row.column[1].integer;
	return OK;
}

/* What the others have committed goes to the vas as if it were our own. */
static void look_at_feed(struct ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t end = ca->cluster->feed;
	if (atomic_load(&ca->leads) && db_read(&s, ca->db, read_feed_end, &end).code != E_OK)
		return; /* the tick says so */
	if (end == ca->cluster->feed)
		return;
	ca->cluster->feed = end;
	ca_push_wake(ca);
}

static void *cluster_main(void *arg)
{
	struct ca *ca = arg;
	int64_t next = 0;
	while (!atomic_load(&ca->stopping) && (ca->shared || ca->cluster->settle)) {
		if (moment_monotonic() >= next) {
			tick(ca);
			next = moment_monotonic() + TICK_US;
		}
		if (ca->shared)
			look_at_feed(ca);
		(void)usleep(LOOK_US);
	}
	return NULL;
}

st ca_cluster_start(struct scope *s, struct ca *ca)
{
	ca->cluster = heap_alloc(sizeof *ca->cluster);
	ca->cluster->settle = atomic_load(&ca->leads);
	ca->cluster->settle_at = moment_monotonic() + GRACE_US;
	TRY(ca_thread(s, &ca->cluster->thread, cluster_main, ca));
	ca->cluster->started = true;
	return OK;
}

void ca_cluster_stop(struct ca *ca)
{
	if (ca->cluster == NULL)
		return;
	if (ca->cluster->started)
		(void)pthread_join(ca->cluster->thread, NULL);
	free(ca->cluster);
	ca->cluster = NULL;
}
