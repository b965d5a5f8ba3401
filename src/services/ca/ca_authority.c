/* Logical CAs in memory: loaded at start, replaced whole when something about one changes. */
#include "ca_authority.h"
#include "log.h"
#include <stdlib.h>

#define CHAIN_MAX 8

static const char *const state_names[] = { [CA_WAITING] = "waiting", [CA_ACTIVE] = "active", [CA_EXTERNAL] = "external" };

const char *ca_state_name(enum ca_state state)
{
	return state_names[state];
}

static struct ca_crl_turn *turn_new(uint64_t number)
{
	struct ca_crl_turn *turn = heap_alloc(sizeof *turn);
	if (pthread_mutex_init(&turn->mutex, NULL) != 0 || pthread_cond_init(&turn->changed, NULL) != 0)
		log_die("no locks for a CA's CRLs");
	turn->number = number;
	turn->result = heap_alloc(sizeof *turn->result);
	return turn;
}

static void turn_free(struct ca_crl_turn *turn)
{
	(void)pthread_cond_destroy(&turn->changed);
	(void)pthread_mutex_destroy(&turn->mutex);
	free(turn->result);
	free(turn);
}

/* ---- from a row ---- */

static const char *text_of(struct ca_authority *a, const struct db_value *v)
{
	return v->type == DB_NULL ? NULL : scope_cstr(&a->memory, v->bytes);
}

static st read_chain(struct scope *s, struct ca_authority *a, span stored)
{
	struct rd r = rd_of(scope_copy(&a->memory, stored));
	a->chain = scope_alloc(&a->memory, CHAIN_MAX * sizeof *a->chain);
	while (r.rest.len > 0 && !r.bad && a->chain_count < CHAIN_MAX)
		a->chain[a->chain_count++] = rd_bytes(&r, PKI_CERTIFICATE_MAX);
	return rd_end(s, &r, "a stored chain");
}

st ca_chain_write(struct scope *s, struct buf *out, const span *chain, size_t count)
{
	if (count > CHAIN_MAX)
		return fail(s, E_LIMIT, "a chain has more than %d certificates", CHAIN_MAX);
	struct wr w = wr_into(out);
	for (size_t i = 0; i < count; i++)
		wr_bytes(&w, chain[i]);
	return wr_end(s, &w);
}

/* AKI of what it issues must equal its certificate's subjectKeyIdentifier, which our own profiles derive from the key. */
static st fill_from_certificate(struct scope *s, struct ca_authority *a)
{
	if (a->certificate.len == 0)
		return OK;
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	TRY(pki_certificate_read(s, a->certificate, c));
	a->not_before = c->not_before;
	a->not_after = c->not_after;
	return OK;
}

static char *chain_pem(struct scope *s, const struct ca_authority *a)
{
	char *text = a->certificate.len == 0 ? scope_cstr(s, (span){ 0 }) : pki_pem_write(s, "CERTIFICATE", a->certificate);
	for (size_t i = 0; i < a->chain_count; i++)
		text = scope_printf(s, "%s%s", text, pki_pem_write(s, "CERTIFICATE", a->chain[i]));
	return text;
}

static st fill(struct scope *s, struct ca_authority *a, const struct db_row *row)
{
	const struct db_value *v = row->column;
	a->id = v[0].integer;
	a->name = text_of(a, &v[1]);
	a->profile = pki_profile_named(v[2].bytes);
	a->state = (enum ca_state)v[3].integer;
	a->subject = scope_copy(&a->memory, v[4].bytes);
	a->key = text_of(a, &v[5]);
	a->algorithm = alg_signature_named(v[6].bytes);
	a->spki = scope_copy(&a->memory, v[7].bytes);
	a->certificate = scope_copy(&a->memory, v[8].bytes);
	a->crl_url = text_of(a, &v[10]);
	a->issuer_url = text_of(a, &v[11]);
	a->ocsp_url = text_of(a, &v[12]);
	a->cps_url = text_of(a, &v[13]);
	a->crl_hours = v[14].integer;
	a->request = scope_copy(&a->memory, v[16].bytes);
	if (a->state > CA_EXTERNAL || (a->state != CA_EXTERNAL && (a->profile == NULL || a->algorithm == NULL)))
		return fail(s, E_STATE, "CA '%s' has a state, profile or algorithm this program does not know", a->name);
	TRY(read_chain(s, a, v[9].bytes));
	a->chain_pem = chain_pem(&a->memory, a);
	TRY(fill_from_certificate(s, a));
	TRY(pki_key_identifier(s, a->spki, a->key_identifier));
	return pki_key_new(s, a->spki, &a->public_key);
}

/* ---- the table ---- */

static void publish(struct ca *ca, struct ca_authority *a, int64_t crl_number)
{
	(void)pthread_rwlock_wrlock(&ca->lock);
	size_t at = 0;
	while (at < ca->authority_count && ca->authority[at]->id != a->id)
		at++;
	a->crl = at < ca->authority_count ? ca->authority[at]->crl : turn_new((uint64_t)crl_number);
	a->next = ca->all;
	ca->all = a;
	if (at == ca->authority_count)
		ca->authority_count++;
	ca->authority[at] = a;
	(void)pthread_rwlock_unlock(&ca->lock);
}

static void authority_free(struct ca_authority *a)
{
	pki_key_free(a->public_key);
	scope_done(&a->memory);
	free(a);
}

static void know_number(const struct ca_authority *a, int64_t number)
{
	(void)pthread_mutex_lock(&a->crl->mutex);
	if (number > (int64_t)a->crl->number)
		a->crl->number = (uint64_t)number;
	(void)pthread_mutex_unlock(&a->crl->mutex);
}

static st load_row(struct scope *s, const struct db_row *row, void *arg)
{
	struct ca *ca = arg;
	int64_t id = row->column[0].integer;
	const struct ca_authority *old = ca_authority_numbered(ca, id);
	if (old == NULL && (ca->authority_count == CA_AUTHORITIES_MAX || id <= 0 || id > UINT16_MAX))
		return fail(s, E_LIMIT, "more than %d logical CAs", CA_AUTHORITIES_MAX);
	if (old != NULL)
		know_number(old, row->column[15].integer);
	if (old != NULL && old->state == (enum ca_state)row->column[3].integer && old->crl_hours == row->column[14].integer)
		return OK;
	struct ca_authority *a = heap_alloc(sizeof *a);
	scope_init(&a->memory, NULL);
	st status = fill(s, a, row);
	if (status.code != E_OK) {
		authority_free(a);
		return status;
	}
	publish(ca, a, row->column[15].integer);
	return OK;
}

static st load_all(struct scope *s, struct db_tx *tx, void *arg)
{
	return db_each(s, tx, &sql_authority_all, NULL, 0, load_row, arg);
}

/* One at a time from the reading on, so that what was read earlier is never published over what was read later. */
static pthread_mutex_t load_mutex = PTHREAD_MUTEX_INITIALIZER;

st ca_authority_load(struct scope *s, struct ca *ca)
{
	(void)pthread_mutex_lock(&load_mutex);
	st status = db_read(s, ca->db, load_all, ca);
	(void)pthread_mutex_unlock(&load_mutex);
	return status;
}

void ca_authority_free_all(struct ca *ca)
{
	for (size_t i = 0; i < ca->authority_count; i++)
		turn_free(ca->authority[i]->crl);
	while (ca->all != NULL) {
		struct ca_authority *a = ca->all;
		ca->all = a->next;
		authority_free(a);
	}
	ca->authority_count = 0;
}

struct ca_authority *ca_authority_at(struct ca *ca, size_t i)
{
	(void)pthread_rwlock_rdlock(&ca->lock);
	struct ca_authority *a = i < ca->authority_count ? ca->authority[i] : NULL;
	(void)pthread_rwlock_unlock(&ca->lock);
	return a;
}

struct ca_authority *ca_authority_numbered(struct ca *ca, int64_t id)
{
	struct ca_authority *a = NULL;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL && a->id != id;)
		i++;
	return a;
}

struct ca_authority *ca_authority_of_subject(struct ca *ca, span name)
{
	struct ca_authority *a = NULL;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++)
		if (a->state != CA_EXTERNAL && span_equal(a->subject, name))
			return a;
	return NULL;
}

static struct ca_authority *find(struct ca *ca, span name)
{
	struct ca_authority *a = NULL;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL && !span_is(name, a->name);)
		i++;
	return a;
}

st ca_authority_named(struct scope *s, struct ca *ca, span name, struct ca_authority **out)
{
	struct ca_authority *a = find(ca, name);
	if (a == NULL && ca->shared) { /* made a moment ago by another ca? */
		TRY(ca_authority_load(s, ca));
		a = find(ca, name);
	}
	*out = a;
	if (a != NULL)
		return OK;
	return fail(s, E_NOTFOUND, "there is no CA '%.*s'; 'chancery ca list' shows them", (int)(name.len < 64 ? name.len : 64),
		    (const char *)name.data);
}

/* ---- its parameters ---- */

struct crl_hours {
	const char *name;
	int64_t hours, changed;
};

static st enter_crl_hours(struct scope *s, struct db_tx *tx, void *arg)
{
	struct crl_hours *w = arg;
	return db_exec(s, tx, &sql_authority_crl_hours, DB_VALUES(db_text(span_str(w->name)), db_integer(w->hours)),
		       &w->changed);
}

st ca_authority_set_crl_hours(struct scope *s, struct ca *ca, const char *name, int64_t hours)
{
	struct crl_hours w = { .name = name, .hours = hours };
	struct ca_authority *a;
	TRY(ca_authority_named(s, ca, span_str(name), &a));
	TRY(db_tx(s, ca->db, enter_crl_hours, &w));
	if (w.changed == 0)
		return OK; /* they were set before */
	TRY(ca_authority_load(s, ca));
	if (a->state == CA_ACTIVE)
		ca_crl_want(ca, a);
	return OK;
}

st ca_authority_must_issue(struct scope *s, const struct ca_authority *a)
{
	if (a->state == CA_WAITING)
		return fail(s, E_STATE,
			    "CA '%s' waits for its certificate: have its request signed and bring the certificate in", a->name);
	if (a->state == CA_EXTERNAL)
		return fail(s, E_STATE, "CA '%s' is run elsewhere: its key is not here", a->name);
	return OK;
}

static bool listed(const struct conf_list *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->item[i], name) == 0)
			return true;
	return false;
}

//= ts119312#6.2.2.3 brainpoolP512r1 is recommended; fips186-5#6.1.1 it is no curve of FIPS 186-5
st ca_check_curve(struct scope *s, const struct ca *ca, const char *name, const struct alg_key *type)
{
	if (!type->etsi_only || listed(&ca->conf->etsi_curves, name))
		return OK;
	return fail(
		s, E_CRYPTO,
		"CA '%s' has the curve set fips (FIPS 186-5), and %s is not in it: use ec-p256, ec-p384 or ec-p521, or give the CA "
		"the set of TS 119 312 by `etsi-curves = %s` in ca.conf",
		name, type->name, name);
}
