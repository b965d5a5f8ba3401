#include "auditd.h"
#include "audit_protocol.h"
#include "auditd_frame.h"
#include "log.h"
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTROLS_MAX 4096u /* of one answer */

/* ---- who may write, and under which name ---- */

struct writer {
	uid_t uid;
	char *name;
};
struct writers {
	struct writers *earlier; /* somebody may still be reading it */
	struct writer *row;
	size_t count;
};

static st uid_of(struct scope *s, span user, uid_t *out)
{
	uint64_t number;
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	if (decimal_parse(&aside, user, UINT32_MAX - 1, &number).code == E_OK) {
		*out = (uid_t)number;
		return OK;
	}
	char room[4096];
	struct passwd entry, *found = NULL;
	if (getpwnam_r(scope_cstr(s, user), &entry, room, sizeof room, &found) != 0 || found == NULL)
		return fail(s, E_CONFIG, "writer: there is no user '%.*s'", (int)user.len, (const char *)user.data);
	*out = found->pw_uid;
	return OK;
}

static struct writer *find_writer(struct writers *w, uid_t uid)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->row[i].uid == uid)
			return &w->row[i];
	return NULL;
}

/* Daemons that share a uid cannot be told apart by the kernel; then all their names are what is known: "ca+va". */
static st add_writer(struct scope *s, struct writers *w, uid_t uid, span name)
{
	struct writer *known = find_writer(w, uid);
	char *text = known == NULL ? scope_cstr(s, name)
				   : scope_printf(s, "%s+%.*s", known->name, (int)name.len, (const char *)name.data);
	if (name.len == 0 || strlen(text) > AUDIT_NAME_MAX)
		return fail(s, E_CONFIG, "writer: a name has 1 to %d characters", AUDIT_NAME_MAX);
	if (known != NULL) {
		free(known->name);
		known->name = heap_copy_str(text);
		return OK;
	}
	w->row = heap_grow(w->row, (w->count + 1) * sizeof *w->row);
	w->row[w->count++] = (struct writer){ .uid = uid, .name = heap_copy_str(text) };
	return OK;
}

static st add_row(struct scope *s, struct writers *w, const char *row)
{
	uid_t uid;
	span text = span_str(row), name = span_first(text, strcspn(row, " "));
	span user = span_from(text, name.len + 1);
	if (user.len == 0)
		return fail(s, E_CONFIG, "writer = %s: write NAME USER, the user by name or number", row);
	/* Whoever judges removals believes log.purged of auditd alone. */
	if (span_is(name, AUDITD_OWN_NAME))
		return fail(s, E_CONFIG, "writer = %s: records that auditd writes itself have this name; take another", row);
	TRY(uid_of(s, user, &uid));
	return add_writer(s, w, uid, name);
}

st writers_new(struct scope *s, const struct conf_list *rows, struct writers **out)
{
	struct writers *w = heap_alloc(sizeof *w);
	st status = OK;
	for (size_t i = 0; i < rows->count && status.code == E_OK; i++)
		status = add_row(s, w, rows->item[i]);
	if (status.code != E_OK) {
		writers_free(w);
		return status;
	}
	*out = w;
	return OK;
}

void writers_free(struct writers *w)
{
	while (w != NULL) {
		struct writers *earlier = w->earlier;
		for (size_t i = 0; i < w->count; i++)
			free(w->row[i].name);
		free(w->row);
		free(w);
		w = earlier;
	}
}

void writers_replace(struct auditd *a, struct writers *fresh)
{
	fresh->earlier = a->writers;
	__atomic_store_n(&a->writers, fresh, __ATOMIC_RELEASE);
}

static struct writers *writers_now(const struct auditd *a)
{
	return __atomic_load_n(&a->writers, __ATOMIC_ACQUIRE);
}

static bool may_write(const struct wire_peer *peer)
{
	const struct auditd *a = peer->service;
	struct writers *writers = writers_now(a);
	return writers->count == 0 || find_writer(writers, peer->uid) != NULL;
}

static bool may_administer(const struct wire_peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

static bool may_read(const struct wire_peer *peer)
{
	return may_write(peer) || may_administer(peer);
}

/* ---- append and import ---- */

/* What is kept of a connection: the name of its user by a list of writers, and the checkpoint it was told last. */
struct session {
	char *by;
	const struct writers *named_by;
	uint64_t told;
};

static char *name_of(const struct wire_peer *peer, struct writers *writers)
{
	const struct writer *w = find_writer(writers, peer->uid);
	char room[4096];
	struct passwd entry, *found = NULL;
	if (w != NULL)
		return heap_copy_str(w->name);
	if (getpwuid_r(peer->uid, &entry, room, sizeof room, &found) == 0 && found != NULL &&
	    strlen(found->pw_name) <= AUDIT_NAME_MAX && strcmp(found->pw_name, AUDITD_OWN_NAME) != 0)
		return heap_copy_str(found->pw_name);
	(void)snprintf(room, sizeof room, "uid %u", (unsigned)peer->uid);
	return heap_copy_str(room);
}

static struct session *session_of(struct wire_peer *peer)
{
	struct writers *writers = writers_now(peer->service);
	if (peer->session == NULL)
		peer->session = heap_alloc(sizeof(struct session));
	struct session *session = peer->session;
	if (session->named_by != writers) {
		free(session->by);
		session->by = name_of(peer, writers);
		session->named_by = writers;
	}
	return session;
}

static void close_session(struct wire_peer *peer)
{
	struct session *session = peer->session;
	if (session == NULL)
		return;
	free(session->by);
	free(session);
}

/* Every record is read before it becomes a leaf: what is not a record of the catalogue never gets into the log. */
static void check_record(struct scope *s, const struct auditd *a, struct tail_record *r, bool may_be_refused)
{
	st status = frame_record_check(s, r);
	if (status.code == E_OK && may_be_refused && (r->class == AUDIT_ISSUANCE || r->class == AUDIT_SIGNATURE))
		status = signer_check(s, a->signer);
	if (status.code == E_OK && may_be_refused && r->class == AUDIT_ISSUANCE)
		status = stamper_check(s, a->stamper);
	r->of_stamp = status.code == E_OK && r->class == AUDIT_SIGNATURE && stamper_asked_for(a->stamper, r);
	r->code = status.code;
	if (status.code == E_OK)
		return;
	r->message = scope_printf(s, "%s", s->message);
	scope_clear_error(s); /* one record's refusal is not the frame's */
}

static st write_checkpoint(struct scope *s, struct auditd *a, struct wire_peer *peer, struct wr *reply)
{
	struct session *session = session_of(peer);
	AUTO_BUF note;
	int64_t time;
	buf_init(&note, AUDIT_NOTE_MAX);
	session->told = signer_checkpoint(a->signer, session->told, &note, &time);
	wr_u64(reply, tail_size(a->tail));
	wr_bytes(reply, buf_span(&note));
	return wr_end(s, reply);
}

static st read_append(struct wire_exchange *e, struct tail_request *q)
{
	const struct auditd *a = e->peer->service;
	*q = (struct tail_request){ .scope = e->scope, .by = session_of(e->peer)->by };
	TRY(frame_records_read(e->scope, &e->body, &q->record, &q->count));
	for (size_t i = 0; i < q->count; i++)
		check_record(e->scope, a, &q->record[i], true);
	return OK;
}

static st answer_append(struct wire_exchange *e, const struct tail_request *q)
{
	struct auditd *a = e->peer->service;
	for (size_t i = 0; i < q->count; i++)
		metrics_count(q->record[i].code == E_OK ? &a->appended : &a->refused[q->record[i].code]);
	frame_outcomes_write(&e->reply, q->record, q->count);
	return write_checkpoint(e->scope, a, e->peer, &e->reply);
}

static void handle_appends(struct wire_exchange *e, size_t count)
{
	const struct auditd *a = e->peer->service;
	struct tail_request request[WIRE_TOGETHER_MAX];
	size_t good = 0, next = 0;
	for (size_t i = 0; i < count; i++) {
		e[i].ended = read_append(&e[i], &request[good]);
		good += e[i].ended.code == E_OK;
	}
	tail_append_all(a->tail, request, good);
	for (size_t i = 0; i < count; i++)
		if (e[i].ended.code == E_OK)
			e[i].ended = answer_append(&e[i], &request[next++]);
}

static st handle_import(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct auditd *a = peer->service;
	struct tail_record *record;
	size_t count;
	TRY(frame_records_read(s, body, &record, &count));
	for (size_t i = 0; i < count; i++)
		check_record(s, a, &record[i], false);
	imported_append(s, a->imported, a->tail, scope_printf(s, "import by %s", session_of(peer)->by), record, count);
	frame_outcomes_write(reply, record, count);
	return write_checkpoint(s, a, peer, reply);
}

/* ---- read and status ---- */

struct reading {
	struct wr *reply;
	uint64_t size;
	uint32_t count, max;
};

static bool read_leaf(void *state, uint64_t index, span leaf)
{
	struct reading *r = state;
	if (r->count == r->max || index >= r->size || r->reply->out->len + leaf.len + 4 > AUDIT_READ_ROOM)
		return false;
	wr_bytes(r->reply, leaf);
	r->count++;
	return true;
}

/* Bundles first; what is only in the tail comes from there. A leaf moves from tail to bundle while this reads, never back. */
static st read_leaves(struct scope *s, struct auditd *a, uint64_t from, struct reading *r)
{
	struct audit_log *log;
	TRY(audit_log_open(s, a->conf->log, &log));
	st status = audit_log_each_bundled(s, log, from, read_leaf, r);
	audit_log_close(log);
	TRY(status);
	AUTO_BUF leaf;
	buf_init(&leaf, AUDIT_LEAF_MAX);
	bool more = true;
	for (uint64_t index = from + r->count; more && index < r->size; index++) {
		leaf.len = 0;
		st got = tail_leaf(s, a->tail, index, &leaf);
		if (got.code == E_NOTFOUND) {
			scope_clear_error(s); /* integrated meanwhile: the next request finds it in its bundle */
			return OK;
		}
		TRY(got);
		more = read_leaf(r, index, buf_span(&leaf));
	}
	return OK;
}

/* The count that stands before what was written since. */
static void put_count(struct wr *reply, size_t at, uint32_t count)
{
	for (size_t i = 0; i < 4; i++)
		reply->out->data[at + i] = (uint8_t)(count >> (24 - 8 * i));
}

static st handle_read(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct auditd *a = peer->service;
	uint64_t from = rd_u64(body);
	uint32_t max = rd_u32(body);
	TRY(rd_end(s, body, "a request for leaves"));
	struct reading r = { .reply = reply, .size = tail_size(a->tail), .max = max };
	wr_u64(reply, r.size);
	size_t count_at = reply->out->len;
	wr_u32(reply, 0);
	if (from < r.size)
		TRY(read_leaves(s, a, from, &r));
	put_count(reply, count_at, r.count);
	return OK;
}

/* ---- records of class control ---- */

struct controls {
	struct auditd *a;
	struct audit_log *log;
	struct buf bundle; /* the one that was read last; neighbours lie in it too */
	uint64_t number;
	unsigned width;
};

static st bundled_leaf(struct scope *s, struct controls *c, uint64_t index, span *out)
{
	unsigned within = (unsigned)(index % AUDIT_TILE_WIDTH);
	if (c->width <= within || c->number != index / AUDIT_TILE_WIDTH) {
		c->number = index / AUDIT_TILE_WIDTH;
		c->width = 0;
		TRY(audit_log_bundle(s, c->log, c->number, within + 1, &c->bundle));
		c->width = within + 1;
	}
	struct rd r = rd_of(buf_span(&c->bundle));
	for (unsigned i = 0; i <= within; i++)
		if (!audit_bundle_next(&r, out))
			return fail(s, E_IO, "leaf %llu is not in its bundle", (unsigned long long)index);
	return OK;
}

/* A leaf moves from tail to bundle, never back: who does not find it in the tail finds it in its bundle. */
static st control_leaf(struct scope *s, struct controls *c, uint64_t index, struct buf *room, span *out)
{
	room->len = 0;
	st status = tail_leaf(s, c->a->tail, index, room);
	*out = buf_span(room);
	if (status.code != E_NOTFOUND)
		return status;
	scope_clear_error(s);
	return bundled_leaf(s, c, index, out);
}

static st write_controls(struct scope *s, struct controls *c, const uint64_t *index, size_t count, struct wr *reply)
{
	AUTO_BUF room;
	buf_init(&room, AUDIT_LEAF_MAX);
	size_t written = 0, count_at = reply->out->len;
	wr_u32(reply, 0);
	for (; written < count; written++) {
		span leaf;
		TRY(control_leaf(s, c, index[written], &room, &leaf));
		if (reply->out->len + leaf.len + 12 > AUDIT_READ_ROOM)
			break;
		wr_u64(reply, index[written]);
		wr_bytes(reply, leaf);
	}
	put_count(reply, count_at, (uint32_t)written);
	return wr_end(s, reply);
}

static st handle_control(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct controls c = { .a = peer->service };
	uint64_t from = rd_u64(body), total, *index;
	uint32_t max = rd_u32(body);
	size_t count;
	TRY(rd_end(s, body, "a request for records of class control"));
	indexed_read(s, c.a->indexed, from, max < CONTROLS_MAX ? max : CONTROLS_MAX, &index, &count, &total);
	wr_u64(reply, total);
	TRY(audit_log_open(s, c.a->conf->log, &c.log));
	buf_init(&c.bundle, AUDIT_BUNDLE_MAX);
	st status = write_controls(s, &c, index, count, reply);
	buf_free(&c.bundle);
	audit_log_close(c.log);
	return status;
}

/* ---- consistency ---- */

static st prove(struct scope *s, const struct auditd *a, uint64_t older, uint64_t newer, struct audit_proof *out)
{
	struct audit_log *log;
	TRY(audit_log_open(s, a->conf->log, &log));
	struct audit_source source = { .node = audit_log_node, .state = log };
	st status = audit_prove_consistency(s, &source, older, newer, out);
	audit_log_close(log);
	return status;
}

/* A proof that cannot be is empty: who asked sees from the checkpoint that its tree is the smaller one. */
static st handle_consistency(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct auditd *a = peer->service;
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	AUTO_BUF note;
	int64_t time;
	buf_init(&note, AUDIT_NOTE_MAX);
	uint64_t older = rd_u64(body);
	TRY(rd_end(s, body, "a request for a consistency proof"));
	uint64_t newer = signer_checkpoint(a->signer, UINT64_MAX, &note, &time);
	if (older <= newer)
		TRY(prove(s, a, older, newer, proof));
	wr_bytes(reply, buf_span(&note));
	wr_bytes(reply, audit_proof_span(proof));
	return wr_end(s, reply);
}

static st handle_status(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct auditd *a = peer->service;
	AUTO_BUF note;
	int64_t time;
	buf_init(&note, AUDIT_NOTE_MAX);
	TRY(rd_end(s, body, "a request for status"));
	uint64_t size = signer_checkpoint(a->signer, UINT64_MAX, &note, &time);
	wr_u64(reply, tail_size(a->tail));
	wr_u64(reply, size);
	wr_i64(reply, time);
	wr_i64(reply, tail_waiting(a->tail));
	wr_bytes(reply, buf_span(&note));
	return OK;
}

static st handle_stamps(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	const struct auditd *a = peer->service;
	TRY(rd_end(s, body, "a request for the condition of time-stamps"));
	stamper_write(a->stamper, reply);
	return wr_end(s, reply);
}

static st handle_copies(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	const struct auditd *a = peer->service;
	TRY(rd_end(s, body, "a request for the condition of copies"));
	copiers_write(a->copiers, reply);
	return wr_end(s, reply);
}

static st handle_metrics(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	AUTO_METRICS_PAGE page = { 0 };
	TRY(rd_end(s, body, "a request for metrics"));
	auditd_metrics(peer->service, &page);
	wr_raw(reply, metrics_page_end(&page));
	return wr_end(s, reply);
}

static const struct wire_route routes[] = {
	{ .kind = AUDIT_KIND_APPEND,
	  .name = "append",
	  .max_body = WIRE_BODY_MAX,
	  .permit = may_write,
	  .handle_all = handle_appends },
	{ .kind = AUDIT_KIND_READ, .name = "read", .max_body = 12, .permit = may_read, .handle = handle_read },
	{ .kind = AUDIT_KIND_CONTROL, .name = "control", .max_body = 12, .permit = may_read, .handle = handle_control },
	{ .kind = AUDIT_KIND_CONSISTENCY,
	  .name = "consistency",
	  .max_body = 8,
	  .permit = may_read,
	  .handle = handle_consistency },
	{ .kind = AUDIT_KIND_STATUS, .name = "status", .max_body = 0, .permit = may_read, .handle = handle_status },
	{ .kind = AUDIT_KIND_METRICS, .name = "metrics", .max_body = 0, .handle = handle_metrics },
	{ .kind = AUDIT_KIND_STAMPS, .name = "stamps", .max_body = 0, .permit = may_read, .handle = handle_stamps },
	{ .kind = AUDIT_KIND_COPIES, .name = "copies", .max_body = 0, .permit = may_read, .handle = handle_copies },
	{ .kind = AUDIT_KIND_IMPORT,
	  .name = "import",
	  .max_body = WIRE_BODY_MAX,
	  .permit = may_administer,
	  .handle = handle_import },
};

static st gid_of(struct scope *s, const char *name, gid_t *out)
{
	char room[4096];
	struct group entry, *found = NULL;
	*out = (gid_t)-1;
	if (name == NULL)
		return OK;
	if (getgrnam_r(name, &entry, room, sizeof room, &found) != 0 || found == NULL)
		return fail(s, E_CONFIG, "group: there is no group '%s'", name);
	*out = found->gr_gid;
	return OK;
}

st socket_serve(struct scope *s, struct auditd *a)
{
	gid_t group;
	TRY(gid_of(s, a->conf->group, &group));
	struct wire_service service = { .routes = routes,
					.route_count = sizeof routes / sizeof routes[0],
					.state = a,
					.max_connections = (unsigned)a->conf->max_connections,
					.close_session = close_session };
	return wire_serve(s, a->conf->socket, group, &service, &a->server);
}
