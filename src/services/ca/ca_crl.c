/*
 * CRLs: full, numbered. One pass over the revoked certificates, in order of serial, encodes them into the file behind a place for what
 * stands before them; from there keyd gets the TBSCertList as a stream. Memory does not grow with their number.
 */
#include "ca_register.h"
#include <stdio.h>
#include "file.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_LEN       (256u << 10)
#define WRITE_BACK_LEN (4u << 20)
#define CRLS_KEPT      8

struct crl_work {
	struct ca *ca;
	const struct ca_authority *a;
	int64_t next_update; /* 0: after the CA's own interval */
	struct pki_crl_head head;
	struct pki_crl_writer *writer;
	struct pki_crl_ends ends;
	int file;
	uint64_t entries_at, entries_len; /* in the file */
	uint64_t tbs_at;
	uint64_t written_back; /* end of what the disk has got or is getting */
	struct key_stream *stream;
	struct digest digest;
	span signature;
	struct ca_crl out;
	uint8_t *part;
};

char *ca_crl_path(struct scope *s, const struct ca *ca, const char *authority, uint64_t number)
{
	return scope_printf(s, "%s/crls/%s-%llu.crl", ca->conf->state_directory, authority, (unsigned long long)number);
}

static st find_last(struct scope *s, struct db_tx *tx, int64_t ca, struct ca_crl *out, bool *out_found)
{
	struct db_row row;
	TRY(db_find(s, tx, &sql_crl_last, DB_VALUES(db_integer(ca)), &row, out_found));
	if (!*out_found)
		return OK;
	const struct db_value *v = row.column;
	*out = (struct ca_crl){ .number = (uint64_t)v[0].integer,
				.size = (uint64_t)v[2].integer,
				.entries = (uint64_t)v[3].integer,
				.this_update = v[4].integer,
				.next_update = v[5].integer };
	memcpy(out->digest, v[1].bytes.data, v[1].bytes.len < 32 ? v[1].bytes.len : 32);
	return OK;
}

/* ---- one CRL ---- */

static void entry_of(const struct db_row *row, struct pki_crl_entry *out)
{
	const struct db_value *v = row->column;
	*out = (struct pki_crl_entry){
		.serial = v[0].bytes, .revoked_at = v[1].integer, .reason = (int)v[2].integer, .invalidity_date = v[3].integer
	};
}

static st write_entry(struct scope *s, const struct db_row *row, void *arg)
{
	struct crl_work *w = arg;
	struct pki_crl_entry entry;
	entry_of(row, &entry);
	return pki_crl_entry(s, w->writer, &entry);
}

/* The disk works while the rest is read, so that the sync in the end is short. */
static void write_back(struct crl_work *w)
{
	uint64_t end = w->entries_at + w->entries_len;
	if (end - w->written_back < WRITE_BACK_LEN)
		return;
	(void)sync_file_range(w->file, (off_t)w->written_back, (off_t)(end - w->written_back), SYNC_FILE_RANGE_WRITE);
	w->written_back = end;
}

static st take_part(struct scope *s, span part, void *arg)
{
	struct crl_work *w = arg;
	TRY(file_write_all(s, w->file, part));
	w->entries_len += part.len;
	write_back(w);
	return OK;
}

int64_t ca_crl_life(const struct ca *ca, const struct ca_authority *a)
{
	return a->crl_hours > 0 ? a->crl_hours * MOMENT_HOUR : atomic_load(&ca->crl_life);
}

static void set_head(struct scope *s, struct crl_work *w)
{
	int64_t now = scope_now(s);
	w->out.this_update = now - now % MOMENT_SECOND;
	w->out.next_update = w->next_update > 0 ? w->next_update : w->out.this_update + ca_crl_life(w->ca, w->a);
	w->head = (struct pki_crl_head){
		.issuer = w->a->subject,
		.issuer_key_identifier = SPAN_ARRAY(w->a->key_identifier),
		.number = w->out.number,
		.this_update = w->out.this_update,
		.next_update = w->out.next_update,
		.expired_certs_from = w->a->not_before,
		.algorithm = w->a->algorithm,
	};
}

static st write_at(struct scope *s, int fd, span bytes, uint64_t at)
{
	if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return fail_errno(s, E_IO, "a CRL file");
	return file_write_all(s, fd, bytes);
}

/* What stands in the signature's place until there is one; that it is shorter in the end hardly ever changes the length of a length. */
static span longest_signature(struct scope *s, const struct crl_work *w)
{
	size_t len = w->a->algorithm->max_signature;
	return span_of(scope_alloc(s, len), len);
}

/* How much stands before the entries depends on how long they are, but only when a length gets one more octet or one less: as if they
 * were as long as the last CRL. */
static st leave_place(struct scope *s, struct crl_work *w, uint64_t last_size)
{
	span before, after;
	TRY(pki_crl_frame(s, last_size, w->a->algorithm, longest_signature(s, w), &before, &after));
	w->entries_at = before.len + pki_crl_head_len(w->writer, last_size);
	return write_at(s, w->file, (span){ 0 }, w->entries_at);
}

//= rfc5280#5.1.2.6 the time of the CRL is taken inside the snapshot, so no revocationDate in it is later than thisUpdate
static st write_entries(struct scope *s, struct db_tx *tx, void *arg)
{
	struct crl_work *w = arg;
	struct ca_crl last = { 0 };
	bool found;
	TRY(find_last(s, tx, w->a->id, &last, &found)); /* fixes the snapshot */
	set_head(s, w);
	TRY(pki_crl_open(s, &w->head, take_part, w, &w->writer));
	TRY(leave_place(s, w, last.size));
	TRY(db_each(s, tx, &sql_status_revoked, DB_VALUES(db_integer(w->a->id)), write_entry, w));
	TRY(pki_crl_close(s, w->writer, &w->ends));
	w->out.entries = w->ends.entries;
	return OK;
}

/* From the side that does not overwrite what is still needed. */
static st move_entries(struct scope *s, struct crl_work *w, uint64_t to)
{
	for (uint64_t done = 0, len; done < w->entries_len; done += len) {
		len = w->entries_len - done < PART_LEN ? w->entries_len - done : PART_LEN;
		uint64_t from = to < w->entries_at ? done : w->entries_len - done - len;
		TRY(file_read_at(s, w->file, w->part, len, w->entries_at + from));
		TRY(write_at(s, w->file, span_of(w->part, len), to + from));
	}
	w->entries_at = to;
	return OK;
}

/* Writes what stands around the entries, and moves them when the place left for it is not as long. */
static st enclose(struct scope *s, struct crl_work *w, span signature)
{
	span before, after;
	TRY(pki_crl_frame(s, w->ends.tbs_length, w->a->algorithm, signature, &before, &after));
	uint64_t entries_at = before.len + w->ends.head.len;
	if (entries_at != w->entries_at)
		TRY(move_entries(s, w, entries_at));
	TRY(write_at(s, w->file, before, 0));
	TRY(file_write_all(s, w->file, w->ends.head));
	TRY(write_at(s, w->file, w->ends.tail, entries_at + w->entries_len));
	TRY(file_write_all(s, w->file, after));
	w->tbs_at = before.len;
	w->out.size = before.len + w->ends.tbs_length + after.len;
	return ftruncate(w->file, (off_t)w->out.size) == 0 ? OK : fail_errno(s, E_IO, "a CRL file");
}

static st each_part(struct scope *s, struct crl_work *w, uint64_t at, uint64_t end,
		    st (*take)(struct scope *s, struct crl_work *w, span part))
{
	for (uint64_t len; at < end; at += len) {
		len = end - at < PART_LEN ? end - at : PART_LEN;
		TRY(file_read_at(s, w->file, w->part, len, at));
		TRY(take(s, w, span_of(w->part, len)));
	}
	return OK;
}

static st hash_part(struct scope *s, struct crl_work *w, span part)
{
	(void)s;
	digest_add(&w->digest, part);
	return OK;
}

/* keyd hashes one part while the next is hashed here. */
static st stream_part(struct scope *s, struct crl_work *w, span part)
{
	TRY(key_stream_data(s, w->stream, part));
	return hash_part(s, w, part);
}

static st sign(struct scope *s, struct crl_work *w)
{
	const struct alg_signature *algorithm = w->a->algorithm;
	uint8_t room[DIGEST_MAX];
	TRY(key_stream_begin(s, w->ca->keyd, w->a->key, KEY_FOR_CRL, algorithm, w->ends.tbs_length, &w->stream));
	digest_start(&w->digest, algorithm->digest);
	TRY(each_part(s, w, w->tbs_at, w->tbs_at + w->ends.tbs_length, stream_part));
	span digest = digest_finish(&w->digest, room);
	struct key_stream *stream = TAKE(w->stream);
	TRY(key_stream_end(s, stream, &w->signature));
	return fail_context(s, pki_key_verify_digest(s, w->a->public_key, algorithm, digest, w->signature),
			    "keyd's signature of the CRL does not verify");
}

static st finish_file(struct scope *s, struct crl_work *w)
{
	TRY(enclose(s, w, longest_signature(s, w)));
	TRY(sign(s, w));
	TRY(enclose(s, w, w->signature));
	digest_start(&w->digest, DIGEST_SHA256);
	TRY(each_part(s, w, 0, w->out.size, hash_part));
	(void)digest_finish(&w->digest, w->out.digest);
	return fsync(w->file) == 0 ? OK : fail_errno(s, E_IO, "a CRL file");
}

/* ---- storing ---- */

struct crl_entry_work {
	int64_t ca;
	const struct ca_crl *crl;
	struct ca_record record;
	struct ca_record whole; /* of the management CA: the CRL itself */
};

static st enter_crl(struct scope *s, struct db_tx *tx, void *arg)
{
	struct crl_entry_work *e = arg;
	const struct ca_crl *c = e->crl;
	TRY(db_exec(s, tx, &sql_crl_insert,
		    DB_VALUES(db_integer(e->ca), db_integer((int64_t)c->number), db_blob(SPAN_ARRAY(c->digest)),
			      db_integer((int64_t)c->size), db_integer((int64_t)c->entries), db_integer(c->this_update),
			      db_integer(c->next_update)),
		    NULL));
	TRY(db_exec(s, tx, &sql_authority_number, DB_VALUES(db_integer(e->ca), db_integer((int64_t)c->number)), NULL));
	TRY(ca_feed_crl(s, tx, e->ca, c));
	if (e->whole.event != NULL)
		TRY(ca_entry_record(s, tx, &e->whole));
	return ca_entry_record(s, tx, &e->record);
}

static st build_record(struct scope *s, struct audit_event *e, const struct ca_authority *a, const struct ca_crl *c)
{
	audit_begin(e, s, AUDIT_CRL_ISSUED);
	audit_str(e, "ca", a->name);
	audit_number(e, "number", (int64_t)c->number);
	audit_number(e, "entries", (int64_t)c->entries);
	audit_number(e, "size", (int64_t)c->size);
	audit_hex(e, "digest", SPAN_ARRAY(c->digest));
	audit_time(e, "this_update", c->this_update);
	audit_time(e, "next_update", c->next_update);
	return audit_finish(s, e);
}

/* Where an operation may come with an old CRL, everybody judges by the log whether it is the newest. */
static st build_whole(struct scope *s, struct audit_event *e, const struct ca_authority *a, const char *path,
		      const struct ca_crl *c)
{
	span der;
	TRY(file_read(s, path, CONTROL_CRL_MAX, &der));
	audit_begin(e, s, AUDIT_CRL_RECORDED);
	audit_str(e, "ca", a->name);
	audit_number(e, "number", (int64_t)c->number);
	audit_time(e, "this_update", c->this_update);
	audit_base64(e, "file", der);
	return audit_finish(s, e);
}

static bool goes_on_record(const struct ca *ca, const struct ca_authority *a, const struct ca_crl *crl)
{
	if (!ca_register_is_management(ca, a->spki))
		return false;
	if (crl->size > CONTROL_CRL_MAX)
		log_put(LOG_LEVEL_WARNING, "CRL %llu of %s has %llu octets: no operation can come with one over %u",
			(unsigned long long)crl->number, a->name, (unsigned long long)crl->size, CONTROL_CRL_MAX);
	return crl->size <= CONTROL_CRL_MAX;
}

static st store_crl(struct scope *s, struct ca *ca, const struct ca_authority *a, const char *temporary,
		    const struct ca_crl *crl)
{
	char *path = ca_crl_path(s, ca, a->name, crl->number);
	if (rename(temporary, path) != 0)
		return fail_errno(s, E_IO, "%s", path);
	TRY(file_sync_directory_of(s, path));
	AUTO_EVENT event = { 0 }, whole = { 0 };
	TRY(build_record(s, &event, a, crl));
	struct crl_entry_work e = { .ca = a->id, .crl = crl, .record = { .event = &event } };
	if (goes_on_record(ca, a, crl)) {
		TRY(build_whole(s, &whole, a, path, crl));
		e.whole.event = &whole;
	}
	TRY(db_tx(s, ca->db, enter_crl, &e));
	ca_push_wake(ca);
	if (crl->number > CRLS_KEPT)
		(void)unlink(ca_crl_path(s, ca, a->name, crl->number - CRLS_KEPT));
	if (e.whole.event != NULL)
		TRY(ca_relay_deliver(s, ca, &e.whole));
	return ca_relay_deliver(s, ca, &e.record);
}

static st open_temporary(struct scope *s, struct ca *ca, const struct ca_authority *a, char **out_path, int *out_fd)
{
	char *path = scope_printf(s, "%s/crls/%s.new", ca->conf->state_directory, a->name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	*out_path = path;
	*out_fd = fd;
	return OK;
}

static st make(struct scope *s, struct crl_work *w)
{
	char *temporary = NULL;
	TRY(open_temporary(s, w->ca, w->a, &temporary, &w->file));
	TRY(db_read(s, w->ca->db, write_entries, w));
	TRY(finish_file(s, w));
	return store_crl(s, w->ca, w->a, temporary, &w->out);
}

struct number {
	int64_t ca, number;
};

static st take_number(struct scope *s, struct db_tx *tx, void *arg)
{
	struct number *n = arg;
	struct db_row row;
	TRY(db_exec(s, tx, &sql_authority_take_number, DB_VALUES(db_integer(n->ca)), NULL));
	TRY(db_one(s, tx, &sql_authority_number_of, DB_VALUES(db_integer(n->ca)), &row));
	n->number = row.column[0].integer;
	return OK;
}

/* A number once taken is not given back: its CRL may have been signed whatever became of it. */
static st make_numbered(struct scope *s, struct ca *ca, const struct ca_authority *a, int64_t next_update, struct ca_crl *out)
{
	struct number n = { .ca = a->id };
	TRY(db_tx(s, ca->db, take_number, &n));
	(void)pthread_mutex_lock(&a->crl->mutex);
	a->crl->number = (uint64_t)n.number;
	(void)pthread_mutex_unlock(&a->crl->mutex);
	struct crl_work w = {
		.ca = ca, .a = a, .next_update = next_update, .file = -1, .out = { .number = (uint64_t)n.number }
	};
	struct ca_flight_slot slot = { 0 };
	TRY(ca_flight_begin(s, ca, &slot));
	w.part = heap_alloc(PART_LEN);
	st status = make(s, &w);
	if (w.stream != NULL)
		key_stream_drop(w.stream);
	pki_crl_free(w.writer);
	digest_drop(&w.digest);
	free(w.part);
	fd_auto(&w.file);
	ca_flight_end(ca, &slot);
	if (status.code == E_OK)
		*out = w.out;
	return status;
}

/* ---- taking turns ---- */

/* With other cas on the same database, whose directory is the same: from the number to the stored CRL, so that a higher number never has
 * less in it. */
static st lock_others_out(struct scope *s, const struct ca *ca, const struct ca_authority *a, int *out_fd)
{
	if (!ca->shared)
		return OK;
	const char *path = scope_printf(s, "%s/crls/%s.lock", ca->conf->state_directory, a->name);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	while (flock(fd, LOCK_EX) != 0)
		if (errno != EINTR)
			return fail_errno(s, E_IO, "%s", path);
	*out_fd = take_fd(&fd);
	return OK;
}

static st make_alone(struct scope *s, struct ca *ca, const struct ca_authority *a, int64_t next_update, struct ca_crl *out)
{
	AUTO_FD lock = -1;
	TRY(lock_others_out(s, ca, a, &lock));
	return make_numbered(s, ca, a, next_update, out);
}

#define SPACING_US MOMENT_SECOND

static void hold_spacing(struct ca_crl_turn *turn)
{
	int64_t wait = turn->last + SPACING_US - moment_monotonic();
	if (turn->last == 0 || wait <= 0)
		return;
	(void)pthread_mutex_unlock(&turn->mutex);
	(void)usleep((useconds_t)wait);
	(void)pthread_mutex_lock(&turn->mutex);
}

static int64_t half_life(const struct ca_crl *crl)
{
	return crl->this_update + (crl->next_update - crl->this_update) / 2;
}

/* With the mutex held, which is let go while the work is done. */
static void take_turn(struct scope *s, struct ca *ca, const struct ca_authority *a, int64_t next_update)
{
	struct ca_crl_turn *turn = a->crl;
	turn->running = true;
	hold_spacing(turn);
	turn->begun++;
	turn->wanted = false;
	turn->last = moment_monotonic();
	(void)pthread_mutex_unlock(&turn->mutex);
	struct ca_crl made;
	st status = make_alone(s, ca, a, next_update, &made);
	(void)pthread_mutex_lock(&turn->mutex);
	turn->outcome = status.code;
	if (status.code == E_OK) {
		*turn->result = made;
		turn->next_due = half_life(&made);
	} else {
		(void)snprintf(turn->message, sizeof turn->message, "%s", s->message);
	}
	turn->finished = turn->begun;
	turn->running = false;
	(void)pthread_cond_broadcast(&turn->changed);
}

/* At most one a second for each CA; requests that come before the next begins share it. */
st ca_crl_issue(struct scope *s, struct ca *ca, const struct ca_authority *a, int64_t next_update, struct ca_crl *out)
{
	TRY(ca_authority_must_issue(s, a));
	int64_t now = scope_now(s);
	if (next_update != 0 && next_update <= now)
		return fail(s, E_INPUT, "next_update lies in the past");
	struct ca_crl_turn *turn = a->crl;
	(void)pthread_mutex_lock(&turn->mutex);
	uint64_t mine = turn->begun + 1;
	while (turn->finished < mine) {
		if (turn->running)
			(void)pthread_cond_wait(&turn->changed, &turn->mutex);
		else
			take_turn(s, ca, a, next_update - next_update % MOMENT_SECOND);
	}
	enum code outcome = turn->outcome;
	*out = *turn->result;
	st status = outcome == E_OK || s->code != E_OK ? (st){ outcome } : fail(s, outcome, "%s", turn->message);
	(void)pthread_mutex_unlock(&turn->mutex);
	return status;
}

/* ---- the schedule ---- */

void ca_crl_want(struct ca *ca, const struct ca_authority *a)
{
	(void)pthread_mutex_lock(&a->crl->mutex);
	a->crl->wanted = true;
	(void)pthread_mutex_unlock(&a->crl->mutex);
	ca_wake(ca);
}

struct last {
	int64_t ca;
	struct ca_crl *out;
};

static st read_last(struct scope *s, struct db_tx *tx, void *arg)
{
	struct last *l = arg;
	bool found;
	TRY(find_last(s, tx, l->ca, l->out, &found));
	return found ? OK : fail(s, E_NOTFOUND, "there is no CRL yet; 'chancery crl issue' makes one");
}

st ca_crl_last(struct scope *s, struct ca *ca, int64_t authority, struct ca_crl *out)
{
	struct last l = { authority, out };
	return db_read(s, ca->db, read_last, &l);
}

static void set_due(const struct ca_authority *a, const struct ca_crl *last)
{
	(void)pthread_mutex_lock(&a->crl->mutex);
	a->crl->next_due = half_life(last);
	(void)pthread_mutex_unlock(&a->crl->mutex);
}

/* By the clock, unless another ca was first; by a revocation of our own in any case. */
static bool still_due(struct scope *s, struct ca *ca, struct ca_authority *a)
{
	struct ca_crl last;
	(void)pthread_mutex_lock(&a->crl->mutex);
	bool wanted = a->crl->wanted;
	(void)pthread_mutex_unlock(&a->crl->mutex);
	if (wanted || !ca->shared)
		return true;
	if (!atomic_load(&ca->leads))
		return false;
	if (ca_crl_last(s, ca, a->id, &last).code != E_OK) {
		scope_clear_error(s);
		return true;
	}
	set_due(a, &last);
	return scope_now(s) >= half_life(&last);
}

//= en319411-1#CSS-6.3.9-05 a new CRL when half of the last one's life has passed; retried every second until it succeeds
static bool due(struct ca_authority *a, int64_t now)
{
	(void)pthread_mutex_lock(&a->crl->mutex);
	bool is_due = a->state == CA_ACTIVE && !a->crl->running && (a->crl->wanted || now >= a->crl->next_due) &&
		      moment_monotonic() >= a->crl->last + SPACING_US;
	(void)pthread_mutex_unlock(&a->crl->mutex);
	return is_due;
}

static void look_at_all(struct ca *ca)
{
	struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL && !atomic_load(&ca->stopping); i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		struct ca_crl made;
		if (!due(a, scope_now(&s)) || !still_due(&s, ca, a))
			continue;
		if (ca_crl_issue(&s, ca, a, 0, &made).code == E_OK)
			continue;
		log_failure(&s, "issuing a CRL on schedule");
		(void)pthread_mutex_lock(&a->crl->mutex);
		a->crl->wanted = true;
		(void)pthread_mutex_unlock(&a->crl->mutex);
	}
}

static void *crl_main(void *arg)
{
	struct ca *ca = arg;
	while (!atomic_load(&ca->stopping)) {
		look_at_all(ca);
		(void)pthread_mutex_lock(&ca->mutex);
		ca_wait(ca, &ca->work, 200 * INT64_C(1000));
		(void)pthread_mutex_unlock(&ca->mutex);
	}
	return NULL;
}

/* When the last CRL's half-life passes, for each CA. */
st ca_crl_start(struct scope *s, struct ca *ca)
{
	TRY(file_make_directory(s, scope_printf(s, "%s/crls", ca->conf->state_directory), 0755));
	struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++) {
		struct ca_crl last;
		st found = ca_crl_last(s, ca, a->id, &last);
		if (found.code == E_OK)
			set_due(a, &last);
		else
			scope_clear_error(s);
	}
	return ca_thread(s, &ca->crl_thread, crl_main, ca);
}

/* ---- of a CA that is run elsewhere ---- */

static st check_external(struct scope *s, struct ca *ca, const struct ca_authority *a, const struct pki_crl *crl)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(crl->signature_identifier);
	struct ca_crl last;
	if (a->state != CA_EXTERNAL)
		return fail(s, E_STATE, "CA '%s' is run here and issues its CRLs itself", a->name);
	if (!span_equal(crl->issuer, a->subject) || algorithm == NULL)
		return fail(s, E_CRYPTO, "that CRL is not of CA '%s'", a->name);
	TRY(pki_key_verify(s, a->public_key, algorithm, crl->tbs, crl->signature));
	st found = ca_crl_last(s, ca, a->id, &last);
	if (found.code == E_OK && crl->number <= last.number)
		return fail(s, E_CONFLICT, "CRL number %llu is not above number %llu, which is published",
			    (unsigned long long)crl->number, (unsigned long long)last.number);
	if (found.code == E_NOTFOUND)
		scope_clear_error(s);
	return found.code == E_NOTFOUND ? OK : found;
}

st ca_crl_take_in(struct scope *s, struct ca *ca, const struct ca_authority *a, span der, const char *actor, struct ca_crl *out)
{
	(void)actor;
	struct pki_crl crl;
	TRY(pki_crl_read(s, der, &crl));
	TRY(check_external(s, ca, a, &crl));
	struct ca_crl made = { .number = crl.number,
			       .entries = crl.entries,
			       .size = der.len,
			       .this_update = crl.this_update,
			       .next_update = crl.next_update };
	(void)digest_of(DIGEST_SHA256, der, made.digest);
	AUTO_FD lock = -1;
	TRY(lock_others_out(s, ca, a, &lock));
	char *temporary = scope_printf(s, "%s/crls/%s.new", ca->conf->state_directory, a->name);
	TRY(file_replace(s, temporary, der, 0644));
	TRY(store_crl(s, ca, a, temporary, &made));
	*out = made;
	return OK;
}
