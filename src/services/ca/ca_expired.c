/* What came to its end by time alone, on record: certificates, for each CA, and roles of persons. At start and then each hour, since the time up to which it
 * was done before. */
#include "ca_register.h"
#include "log.h"
#include "text.h"

#define PERIOD      MOMENT_HOUR
#define SERIALS_MAX 50 /* more are counted only */
#define META        "expired_until"

struct of_ca {
	int64_t ca, count;
	const char *serials;
	struct audit_event event;
	struct ca_record record;
};

struct lapse {
	struct audit_event event;
	struct ca_record record;
};

struct expired {
	struct scope *s;
	int64_t from, to;
	struct of_ca *ca; /* those that had any */
	size_t cas;
	struct lapse *lapse;
	size_t lapses;
};

static st add_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct expired *x = arg;
	(void)s;
	int64_t number = row->column[0].integer;
	if (x->cas == 0 || x->ca[x->cas - 1].ca != number) {
		if (x->cas == CA_AUTHORITIES_MAX)
			return OK;
		x->ca[x->cas++] = (struct of_ca){ .ca = number, .serials = "" };
	}
	struct of_ca *of = &x->ca[x->cas - 1];
	if (of->count++ < SERIALS_MAX)
		of->serials = scope_printf(x->s, "%s%s%s", of->serials, of->serials[0] == 0 ? "" : " ",
					   hex_text(x->s, row->column[1].bytes));
	return OK;
}

static st read_expired(struct scope *s, struct db_tx *tx, void *arg)
{
	struct expired *x = arg;
	TRY(ca_meta_get(s, tx, META, &x->from));
	if (x->from == 0 || x->from >= x->to)
		return OK;
	x->ca = scope_alloc(x->s, CA_AUTHORITIES_MAX * sizeof *x->ca);
	return db_each(s, tx, &sql_status_expired, DB_VALUES(db_integer(x->from), db_integer(x->to)), add_row, x);
}

static st build_record(struct scope *s, struct ca *ca, const struct expired *x, struct of_ca *of)
{
	const struct ca_authority *a = ca_authority_numbered(ca, of->ca);
	audit_begin(&of->event, s, AUDIT_CERTIFICATE_EXPIRED);
	audit_str(&of->event, "ca", a == NULL ? "" : a->name);
	audit_number(&of->event, "count", of->count);
	if (of->count <= SERIALS_MAX)
		audit_str(&of->event, "serials", of->serials);
	audit_time(&of->event, "from", x->from);
	audit_time(&of->event, "to", x->to);
	of->record = (struct ca_record){ .event = &of->event };
	return audit_finish(s, &of->event);
}

/* ---- roles ---- */

static st add_lapse(struct scope *s, struct expired *x, const struct control_person *p)
{
	struct lapse *l = &x->lapse[x->lapses++];
	audit_begin(&l->event, s, AUDIT_ROLE_LAPSED);
	audit_str(&l->event, "person", p->id);
	audit_str(&l->event, "roles", control_roles_text(s, p->granted));
	audit_time(&l->event, "at", control_training_ends(p));
	l->record = (struct ca_record){ .event = &l->event };
	return audit_finish(s, &l->event);
}

//= tsps#5.3.4 a role lapses when the last training is older than 12 months
static st add_lapses(struct scope *s, struct expired *x, const struct control_register *r)
{
	const struct control_person *p;
	x->lapse = scope_alloc(s, CONTROL_PERSONS_MAX * sizeof *x->lapse);
	for (size_t i = 0; (p = control_person_at(r, i)) != NULL; i++) {
		int64_t end = control_training_ends(p);
		if (p->granted != 0 && !p->left && end >= x->from && end < x->to)
			TRY(add_lapse(s, x, p));
	}
	return OK;
}

static st find_lapses(struct scope *s, struct ca *ca, struct expired *x)
{
	const struct control_register *r;
	if (ca->reg == NULL || x->from == 0)
		return OK;
	TRY(ca_register_take(s, ca, &r));
	st found = add_lapses(s, x, r);
	ca_register_give(ca);
	return found;
}

/* ---- on record ---- */

/* With the time in one transaction: each certificate and each lapse is in one record. */
static st enter(struct scope *s, struct db_tx *tx, void *arg)
{
	struct expired *x = arg;
	for (size_t i = 0; i < x->cas; i++)
		TRY(ca_entry_record(s, tx, &x->ca[i].record));
	for (size_t i = 0; i < x->lapses; i++)
		TRY(ca_entry_record(s, tx, &x->lapse[i].record));
	return ca_meta_set(s, tx, META, x->to);
}

static st put_on_record(struct scope *s, struct ca *ca, struct expired *x)
{
	for (size_t i = 0; i < x->cas; i++)
		TRY(build_record(s, ca, x, &x->ca[i]));
	TRY(db_tx(s, ca->db, enter, x));
	for (size_t i = 0; i < x->cas; i++)
		TRY(ca_relay_deliver(s, ca, &x->ca[i].record));
	for (size_t i = 0; i < x->lapses; i++)
		TRY(ca_relay_deliver(s, ca, &x->lapse[i].record));
	return OK;
}

st ca_expired_look(struct scope *s, struct ca *ca)
{
	struct expired x = { .s = s, .to = scope_now(s) };
	TRY(db_read(s, ca->db, read_expired, &x));
	st status = find_lapses(s, ca, &x);
	if (status.code == E_OK)
		status = put_on_record(s, ca, &x);
	for (size_t i = 0; i < x.cas; i++)
		audit_event_free(&x.ca[i].event);
	for (size_t i = 0; i < x.lapses; i++)
		audit_event_free(&x.lapse[i].event);
	return status;
}

void ca_expired_tend(struct ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (ca->expired_looked != 0 && moment_monotonic() - ca->expired_looked < PERIOD)
		return;
	ca->expired_looked = moment_monotonic();
	if (ca_expired_look(&s, ca).code != E_OK)
		log_failure(&s, "recording what has expired");
}
