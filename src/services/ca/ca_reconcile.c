/*
 * Comparing the database with the log (docs/decisions/0001): keyd's sign.certificate is the intent, certificate.issued the
 * effect. An intent without an effect is closed as revoked; an effect the database lacks (a restored backup) is entered again
 * from TBS and signature, byte for byte; so are revocations, and before all of them whole CAs (ca_found_again.c); CRL numbers go
 * on above every number in the log.
 */
#include "ca_authority.h"
#include "log.h"
#include <stdlib.h>

#define LEAVES_AT_ONCE 512
#define LEAVES_BACK    16 /* always within one frame */
#define BUCKETS        65536u

/* An intent whose effect has not been seen yet. */
struct intent {
	struct intent *next;
	const struct ca_authority *authority;
	uint8_t *tbs;
	size_t tbs_len;
	uint8_t serial[PKI_SERIAL_MAX];
	size_t serial_len;
	int64_t not_after;
};

struct reconcile {
	struct ca *ca;
	struct intent *bucket[BUCKETS];
	const struct ca_doubt *doubts; /* only these are closed; NULL: all */
	struct ca_processes ended;     /* cas whose positions need not be kept after this */
	uint64_t from, to, position;   /* the last: of this ca, once done */
	int64_t entered, revoked, abandoned, authorities;
	uint64_t removed;           /* records without content: operations let them go */
	bool again;                 /* while serving: on record only when something came of it */
	const struct see_row *rows; /* what is looked for */
	size_t row_count;
	struct audit_leaf *leaf;
	size_t leaf_count;
};

/* ---- intents ---- */

static struct intent **place(struct reconcile *r, span serial)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < serial.len; i++)
		hash = (hash ^ serial.data[i]) * 16777619u;
	struct intent **at = &r->bucket[hash % BUCKETS];
	while (*at != NULL && !span_equal(span_of((*at)->serial, (*at)->serial_len), serial))
		at = &(*at)->next;
	return at;
}

static void forget(struct intent **at)
{
	struct intent *old = *at;
	*at = old->next;
	free(old->tbs);
	free(old);
}

static void forget_all(struct reconcile *r)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (r->bucket[i] != NULL)
			forget(&r->bucket[i]);
}

static void remember(struct reconcile *r, const struct ca_authority *a, const struct pki_certificate *c)
{
	span serial = ca_magnitude(c->serial);
	struct intent **at = place(r, serial);
	if (*at != NULL || serial.len > PKI_SERIAL_MAX)
		return;
	struct intent *new = heap_alloc(sizeof *new);
	*new = (struct intent){ .authority = a,
				.tbs = heap_alloc(c->tbs.len),
				.tbs_len = c->tbs.len,
				.serial_len = serial.len,
				.not_after = c->not_after };
	memcpy(new->tbs, c->tbs.data, c->tbs.len);
	memcpy(new->serial, serial.data, serial.len);
	*at = new;
}

/* ---- reading records ---- */

static const char *text(const json_t *record, const char *name)
{
	const char *value = json_string_value(json_object_get(record, name));
	return value != NULL ? value : "";
}

static st serial_of(struct scope *s, const json_t *record, span *out)
{
	TRY(hex_parse(s, span_str(text(record, "serial")), out));
	*out = ca_magnitude(*out);
	return OK;
}

static st status_known(struct scope *s, struct db_tx *tx, span serial, bool *out_known, struct db_row *out)
{
	return db_find(s, tx, &sql_status_of, DB_VALUES(db_blob(serial)), out, out_known);
}

/* Only a CA that works here: what the off-line root issues is in its own database. */
static struct ca_authority *authority_of(struct scope *s, struct ca *ca, const json_t *record)
{
	struct ca_authority *a = NULL;
	if (ca_authority_named(s, ca, span_str(text(record, "ca")), &a).code != E_OK)
		scope_clear_error(s);
	return a != NULL && a->state != CA_EXTERNAL ? a : NULL;
}

/* sign.certificate: ours when a CA of ours bears the issuer's name. */
static st see_intent(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	span tbs;
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	struct db_row row;
	bool known;
	TRY(base64_parse(s, span_str(text(record, "tbs")), &tbs));
	TRY(pki_certificate_read_tbs(s, tbs, c));
	const struct ca_authority *a = ca_authority_of_subject(r->ca, c->issuer);
	if (a == NULL)
		return OK;
	TRY(status_known(s, tx, ca_magnitude(c->serial), &known, &row));
	if (!known)
		remember(r, a, c);
	return OK;
}

/* "ID DIGEST", as ca_issue.c writes it, so that a repeat is answered with the same certificate also after a restore. */
static void read_request(struct scope *s, const char *request, struct ca_new_certificate *new)
{
	const char *space = strrchr(request, ' ');
	if (space == NULL || hex_parse(s, span_str(space + 1), &new->input).code != E_OK) {
		scope_clear_error(s);
		return;
	}
	new->request_id = scope_cstr(s, span_of(request, (size_t)(space - request)));
}

static st enter_again(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record, const struct intent *intent)
{
	span signature, der;
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	const struct ca_authority *a = intent->authority;
	char *role = NULL;
	TRY(base64_parse(s, span_str(text(record, "signature")), &signature));
	span tbs = span_of(intent->tbs, intent->tbs_len);
	TRY(pki_certificate_read_tbs(s, tbs, c));
	const struct alg_signature *algorithm = alg_signature_of_identifier(c->signature_identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO, "a certificate in the log is signed with an unknown algorithm");
	TRY(pki_key_verify(s, a->public_key, algorithm, tbs, signature));
	TRY(pki_certificate_assemble(s, tbs, algorithm, signature, &der));
	TRY(pki_certificate_read(s, der, c));
	TRY(pki_ext_role_get(s, c, &role));
	struct ca_new_certificate new = { .authority = a,
					  .profile = text(record, "profile"),
					  .certificate = c,
					  .role = role,
					  .actor = text(record, "actor") };
	read_request(s, text(record, "request"), &new);
	TRY(ca_entry_certificate(s, tx, &new));
	r->entered++;
	return OK;
}

/* It cannot be entered again. */
static void say_without_tbs(struct scope *s, const struct reconcile *r, span serial)
{
	const char *removed = r->removed == 0
				      ? ""
				      : scope_printf(s, ", or is among %llu records that operations removed from the log",
						     (unsigned long long)r->removed);
	log_put(LOG_LEVEL_ERROR, "the log has certificate %s, the database has not, and its TBS lies before position %llu%s",
		hex_text(s, serial), (unsigned long long)r->from, removed);
}

/* certificate.issued */
static st see_effect(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	span serial;
	struct db_row row;
	bool known;
	TRY(serial_of(s, record, &serial));
	struct intent **at = place(r, serial);
	TRY(status_known(s, tx, serial, &known, &row));
	if (!known && *at == NULL) {
		if (authority_of(s, r->ca, record) != NULL)
			say_without_tbs(s, r, serial);
		return OK;
	}
	if (!known)
		TRY(enter_again(s, r, tx, record, *at));
	if (*at != NULL)
		forget(at);
	return OK;
}

/* certificate.abandoned: closed before by us, lost with the database. */
static st see_abandoned(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	span serial;
	struct db_row row;
	bool known;
	int64_t revoked_at;
	TRY(serial_of(s, record, &serial));
	TRY(moment_parse(s, span_str(text(record, "revoked_at")), &revoked_at));
	struct intent **at = place(r, serial);
	const struct ca_authority *a = authority_of(s, r->ca, record);
	TRY(status_known(s, tx, serial, &known, &row));
	if (!known && a != NULL) {
		TRY(ca_entry_abandoned(s, tx, a->id, serial, revoked_at, *at != NULL ? (*at)->not_after : a->not_after));
		r->revoked++;
	}
	if (*at != NULL)
		forget(at);
	return OK;
}

/* certificate.revoked */
static st see_revoked(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	span serial;
	struct db_row row;
	bool known;
	int64_t revoked_at, invalidity_date = 0;
	TRY(serial_of(s, record, &serial));
	TRY(moment_parse(s, span_str(text(record, "revoked_at")), &revoked_at));
	if (json_object_get(record, "invalidity_date") != NULL)
		TRY(moment_parse(s, span_str(text(record, "invalidity_date")), &invalidity_date));
	TRY(status_known(s, tx, serial, &known, &row));
	if (!known || row.column[1].integer == CA_REVOKED)
		return OK;
	int reason = pki_reason_named(span_str(text(record, "reason")));
	struct ca_certificate c = { .ca = row.column[0].integer,
				    .serial = serial,
				    .state = CA_REVOKED,
				    .reason = reason > 0 ? reason : 0,
				    .revoked_at = revoked_at,
				    .invalidity_date = invalidity_date,
				    .not_after = row.column[5].integer };
	TRY(db_exec(s, tx, &sql_status_revoke,
		    DB_VALUES(db_blob(serial), db_integer(c.reason), db_integer(revoked_at), db_integer(invalidity_date)),
		    NULL));
	TRY(ca_key_enter_revocation(s, tx, serial, c.reason));
	r->revoked++;
	return ca_feed_status(s, tx, &c);
}

static void take_number(struct ca_authority *a, const json_t *record)
{
	json_int_t number = json_integer_value(json_object_get(record, "number"));
	(void)pthread_mutex_lock(&a->crl->mutex);
	if (number > 0 && (uint64_t)number > a->crl->number)
		a->crl->number = (uint64_t)number;
	(void)pthread_mutex_unlock(&a->crl->mutex);
}

//= rfc5280#5.2.3 a CRL number is never used twice, also not after a restore: the next is above every one in the log
static st see_crl_intent(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	(void)s;
	(void)tx;
	struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(r->ca, i)) != NULL; i++)
		if (strcmp(a->key, text(record, "key")) == 0 && a->state != CA_EXTERNAL)
			take_number(a, record);
	return OK;
}

static st see_crl(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	(void)tx;
	struct ca_authority *a = authority_of(s, r->ca, record);
	if (a != NULL)
		take_number(a, record);
	return OK;
}

/* ca.created: before everything else, since what those CAs did comes before and after it. */
static st see_created(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record)
{
	return ca_found_again(s, r->ca, tx, record, &r->authorities);
}

struct see_row {
	enum audit_code event;
	st (*see)(struct scope *s, struct reconcile *r, struct db_tx *tx, const json_t *record);
};
static const struct see_row founding_rows[] = { { AUDIT_CA_CREATED, see_created } };
static const struct see_row see_rows[] = {
	{ AUDIT_SIGN_CERTIFICATE, see_intent },
	{ AUDIT_CERTIFICATE_ISSUED, see_effect },
	{ AUDIT_CERTIFICATE_ABANDONED, see_abandoned },
	{ AUDIT_CERTIFICATE_REVOKED, see_revoked },
	{ AUDIT_SIGN_CRL, see_crl_intent },
	{ AUDIT_CRL_ISSUED, see_crl },
};

/* What is already in the log need not be delivered again. */
static st settle_outbox(struct scope *s, struct db_tx *tx, const json_t *record)
{
	span id;
	const char *hex = text(record, "id");
	if (strcmp(text(record, "component"), "ca") != 0 || hex_parse(s, span_str(hex), &id).code != E_OK) {
		scope_clear_error(s);
		return OK;
	}
	return db_exec(s, tx, &sql_outbox_settle, DB_VALUES(db_blob(id)), NULL);
}

static st see_leaf(struct scope *s, struct reconcile *r, struct db_tx *tx, const struct audit_leaf *leaf, bool settle)
{
	if (leaf->bytes.len == 0) { /* the database had it long before, unless it was put back from a copy */
		r->removed += r->rows == see_rows;
		return OK;
	}
	json_t *envelope = json_loadb((const char *)leaf->bytes.data, leaf->bytes.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *record = json_object_get(envelope, "record");
	st status = record == NULL ? fail(s, E_INPUT, "there is no record in it") : OK;
	const char *event = text(record, "event");
	for (size_t i = 0; i < r->row_count && status.code == E_OK; i++)
		if (strcmp(audit_row(r->rows[i].event)->name, event) == 0)
			status = r->rows[i].see(s, r, tx, record);
	if (status.code == E_OK && settle)
		status = settle_outbox(s, tx, record);
	json_decref(envelope);
	return fail_context(s, status, "leaf %llu of the audit log", (unsigned long long)leaf->index);
}

static st see_leaves(struct scope *s, struct db_tx *tx, void *arg)
{
	struct reconcile *r = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_outbox_count, NULL, 0, &row));
	bool settle = row.column[0].integer > 0 && r->doubts == NULL && r->rows == see_rows;
	for (size_t i = 0; i < r->leaf_count; i++)
		TRY(see_leaf(s, r, tx, &r->leaf[i], settle));
	return OK;
}

/* ---- closing ---- */

/* What became of it may have been removed, which is done when its time is over: then nobody needs its revocation any more either. */
static bool is_over(struct scope *s, const struct reconcile *r, const struct intent *intent)
{
	return r->removed > 0 && intent->not_after < scope_now(s);
}

static bool wanted(struct scope *s, const struct reconcile *r, const struct intent *intent)
{
	if (r->doubts == NULL)
		return !is_over(s, r, intent);
	for (const struct ca_doubt *d = r->doubts; d != NULL; d = d->next)
		if (span_equal(span_of(d->serial, d->serial_len), span_of(intent->serial, intent->serial_len)))
			return true;
	return false;
}

struct closing {
	const struct intent *intent;
	int64_t at;
	struct ca_record record;
};

static st enter_closing(struct scope *s, struct db_tx *tx, void *arg)
{
	struct closing *c = arg;
	const struct intent *i = c->intent;
	TRY(ca_entry_abandoned(s, tx, i->authority->id, span_of(i->serial, i->serial_len), c->at, i->not_after));
	return ca_entry_record(s, tx, &c->record);
}

static st close_intent(struct scope *s, struct reconcile *r, const struct intent *intent)
{
	AUTO_EVENT event = { 0 };
	int64_t now = scope_now(s);
	span serial = span_of(intent->serial, intent->serial_len);
	struct closing c = { .intent = intent,
			     .at = now - now % MOMENT_SECOND,
			     .record = { .event = &event, .object = serial } };
	audit_begin(&event, s, AUDIT_CERTIFICATE_ABANDONED);
	audit_str(&event, "ca", intent->authority->name);
	audit_hex(&event, "serial", serial);
	audit_time(&event, "revoked_at", c.at);
	TRY(audit_finish(s, &event));
	st status = db_tx(s, r->ca->db, enter_closing, &c);
	if (status.code == E_CONFLICT) { /* stored after all */
		scope_clear_error(s);
		return OK;
	}
	TRY(status);
	r->abandoned++;
	ca_push_wake(r->ca);
	ca_crl_want(r->ca, intent->authority);
	return ca_relay_deliver(s, r->ca, &c.record);
}

/* What another ca is still signing is not abandoned: when all have gone past what was read, it is stored, or its ca has ended or knows. */
static st close_all(struct scope *s, struct reconcile *r)
{
	if (r->doubts == NULL)
		TRY(ca_cluster_await(s, r->ca, r->to));
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct intent *intent = r->bucket[i]; intent != NULL; intent = intent->next)
			if (wanted(s, r, intent))
				TRY(close_intent(s, r, intent));
	return OK;
}

/* ---- reading the log through ---- */

/* Where the newest of these leaves says that a log with a loss was put back, and up to where that log went. */
static bool restored_position(const struct audit_leaf *leaf, size_t count, uint64_t *out)
{
	for (size_t i = count; i-- > 0;) {
		json_t *envelope = json_loadb((const char *)leaf[i].bytes.data, leaf[i].bytes.len, 0, NULL);
		const json_t *record = json_object_get(envelope, "record");
		bool restored = strcmp(text(record, "event"), audit_row(AUDIT_BACKUP_RESTORED)->name) == 0 &&
				json_integer_value(json_object_get(record, "lost")) > 0;
		*out = (uint64_t)json_integer_value(json_object_get(record, "records"));
		json_decref(envelope);
		if (restored)
			return true;
	}
	return false;
}

/* The log is shorter than the database knows it. That is refused, unless an operator put an older copy back and accepted, on
 * record, that records are lost: then the comparison begins where the copy ends. */
static st begin_after_loss(struct scope *s, struct reconcile *r, uint64_t size)
{
	struct audit_leaf *leaf;
	size_t count;
	uint64_t position = UINT64_MAX, ignored;
	bool restored = false;
	for (uint64_t end = size; end > 0 && !restored;) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		uint64_t from = end > LEAVES_BACK ? end - LEAVES_BACK : 0;
		st read = audit_read(&page, r->ca->audit, from, (size_t)(end - from), &leaf, &count, &ignored);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
		restored = restored_position(leaf, count, &position);
		end = from;
	}
	if (!restored || position > r->from)
		return fail(
			s, E_STATE,
			"the audit log has %llu records, but this database was reconciled up to %llu: the log was cut or is "
			"another one; restore both from the same backup",
			(unsigned long long)size, (unsigned long long)r->from);
	log_put(LOG_LEVEL_WARNING, "the audit log was restored with a loss: records %llu to %llu are in this database only",
		(unsigned long long)position, (unsigned long long)r->from);
	r->from = position;
	return OK;
}

static st read_through(struct scope *s, struct reconcile *r, const struct see_row *rows, size_t row_count)
{
	uint64_t size = 0;
	r->rows = rows;
	r->row_count = row_count;
	TRY(audit_read(s, r->ca->audit, 0, 1, &r->leaf, &r->leaf_count, &size));
	if (size < r->from)
		TRY(begin_after_loss(s, r, size));
	r->to = r->from;
	do {
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		st status = audit_read(&own, r->ca->audit, r->to, LEAVES_AT_ONCE, &r->leaf, &r->leaf_count, &size);
		if (status.code == E_OK && r->leaf_count > 0)
			status = db_tx(&own, r->ca->db, see_leaves, r);
		if (status.code != E_OK)
			return fail(s, status.code, "comparing with the audit log: %s", own.message);
		r->to += r->leaf_count;
	} while (r->leaf_count > 0 && r->to < size);
	return OK;
}

struct finish {
	struct reconcile *r;
	struct ca_record *record; /* NULL: none */
};

static st finish_all(struct scope *s, struct db_tx *tx, void *arg)
{
	struct finish *f = arg;
	const struct reconcile *r = f->r;
	struct ca_authority *a;
	for (size_t i = 0; i < r->ended.count; i++)
		TRY(db_exec(s, tx, &sql_process_delete, DB_VALUES(db_integer(r->ended.process[i].id)), NULL));
	TRY(ca_cluster_enter_position(s, tx, r->ca, ca_log_position(r->ca, r->position)));
	for (size_t i = 0; (a = ca_authority_at(r->ca, i)) != NULL; i++)
		TRY(db_exec(s, tx, &sql_authority_number, DB_VALUES(db_integer(a->id), db_integer((int64_t)a->crl->number)),
			    NULL));
	/* What was entered again may have other numbers in the feed than the vas know. */
	if (r->entered > 0 || r->revoked > 0 || r->authorities > 0)
		TRY(db_exec(s, tx, &sql_va_forget, NULL, 0, NULL));
	return f->record != NULL ? ca_entry_record(s, tx, f->record) : OK;
}

static st report(struct scope *s, struct reconcile *r)
{
	AUTO_EVENT event = { 0 };
	struct ca_record record = { .event = &event };
	struct finish f = { .r = r, .record = &record };
	if (r->again && r->entered + r->revoked + r->abandoned + r->authorities == 0) {
		f.record = NULL;
		return db_tx(s, r->ca->db, finish_all, &f);
	}
	audit_begin(&event, s, AUDIT_STORE_RECONCILED);
	audit_number(&event, "from", (int64_t)r->from);
	audit_number(&event, "to", (int64_t)r->to);
	audit_number(&event, "serials_entered", r->entered);
	audit_number(&event, "revocations_entered", r->revoked);
	audit_number(&event, "abandoned", r->abandoned);
	if (r->authorities > 0)
		audit_number(&event, "cas_entered", r->authorities);
	TRY(audit_finish(s, &event));
	TRY(db_tx(s, r->ca->db, finish_all, &f));
	log_put(LOG_LEVEL_NOTICE,
		"reconciled with the log from %llu to %llu: %lld certificates and %lld revocations entered, %lld closed",
		(unsigned long long)r->from, (unsigned long long)r->to, (long long)r->entered, (long long)r->revoked,
		(long long)r->abandoned);
	if (r->removed > 0)
		log_put(LOG_LEVEL_NOTICE,
			"%llu records among them were removed by operations: what they told is taken from the database alone",
			(unsigned long long)r->removed);
	return ca_relay_deliver(s, r->ca, &record);
}

static st read_position(struct scope *s, struct db_tx *tx, void *arg)
{
	return ca_meta_get(s, tx, "log_position", arg);
}

/* Those that had ended before the log was read through; alone, whoever was here before. */
static st find_ended(struct scope *s, struct reconcile *r)
{
	TRY(ca_cluster_processes(s, r->ca, &r->ended));
	size_t count = 0;
	for (size_t i = 0; i < r->ended.count; i++)
		if (!r->ended.process[i].alive)
			r->ended.process[count++] = r->ended.process[i];
	r->ended.count = count;
	return OK;
}

static st reconcile_from(struct scope *s, struct reconcile *r)
{
	TRY(read_through(s, r, see_rows, sizeof see_rows / sizeof see_rows[0]));
	ca_flight_reached(r->ca, r->to);
	r->position = ca_flight_position(r->ca);
	TRY(close_all(s, r));
	return r->doubts == NULL ? report(s, r) : OK;
}

/* The vas may have a CRL that this database lacks, and refuse an older one; what was revoked again is in none of its. */
static void want_crls(struct scope *s, const struct reconcile *r)
{
	struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(r->ca, i)) != NULL; i++) {
		struct ca_crl last = { 0 };
		if (a->state != CA_ACTIVE)
			continue;
		if (ca_crl_last(s, r->ca, a->id, &last).code != E_OK)
			scope_clear_error(s);
		if (r->revoked > 0 || last.number < a->crl->number)
			ca_crl_want(r->ca, a);
	}
}

/* From where all is settled; *out_to is where the log ended. */
static st reconcile_all(struct scope *s, struct ca *ca, bool again, uint64_t *out_to)
{
	int64_t position = 0;
	uint64_t late = atomic_load(&ca->late_from);
	TRY(db_read(s, ca->db, read_position, &position));
	struct reconcile *r = heap_alloc(sizeof *r);
	r->ca = ca;
	r->again = again;
	r->from = late > 0 && late < (uint64_t)position ? late : (uint64_t)position;
	st status = find_ended(s, r);
	if (status.code == E_OK)
		status = read_through(s, r, founding_rows, sizeof founding_rows / sizeof founding_rows[0]);
	if (status.code == E_OK && r->authorities > 0)
		status = ca_authority_load(s, ca);
	if (status.code == E_OK)
		status = reconcile_from(s, r);
	if (status.code == E_OK)
		want_crls(s, r);
	*out_to = r->to;
	forget_all(r);
	free(r);
	TRY(status);
	return ca_relay_drain(s, ca);
}

st ca_reconcile(struct scope *s, struct ca *ca)
{
	uint64_t to;
	TRY(reconcile_all(s, ca, false, &to));
	atomic_store(&ca->late_from, to);
	return OK;
}

st ca_reconcile_ended(struct scope *s, struct ca *ca)
{
	uint64_t to;
	TRY(reconcile_all(s, ca, true, &to));
	atomic_store(&ca->late_from, 0);
	return OK;
}

st ca_reconcile_doubts(struct scope *s, struct ca *ca, const struct ca_doubt *doubts)
{
	struct reconcile *r = heap_alloc(sizeof *r);
	r->ca = ca;
	r->doubts = doubts;
	r->from = UINT64_MAX;
	for (const struct ca_doubt *d = doubts; d != NULL; d = d->next)
		r->from = d->position < r->from ? d->position : r->from;
	st status = reconcile_from(s, r);
	forget_all(r);
	free(r);
	return status;
}
