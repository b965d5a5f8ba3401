#include "audit_verify.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* A log that is being written loses tail segments when bundles take their place: look again. */
#define TRIES 5

struct check {
	const struct audit_verify *request;
	struct audit_report *report;
	struct audit_log *log;
	uint64_t size; /* leaves that were read */
	/* The tiles of the right edge as the leaves give them: all that is kept of the tree. */
	struct audit_hash edge[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
	unsigned width[AUDIT_TILE_LEVELS];
	struct audit_checkpoint *anchor; /* same order as request->anchor */
	uint64_t agreed;                 /* so far the log agrees with a signed tree */
	struct audit_writers *writers;
	uint64_t visited; /* the tail may be read again, but nothing is shown twice */
};

/* The finding that ends the verification: in the report; E_CRYPTO only unwinds. */
__attribute__((format(printf, 3, 4))) static st unsound(struct check *c, const uint64_t *index, const char *format, ...)
{
	struct audit_report *r = c->report;
	va_list args;
	va_start(args, format);
	r->verdict = AUDIT_UNSOUND;
	r->has_index = index != NULL;
	r->index = index == NULL ? 0 : *index;
	(void)vsnprintf(r->problem, sizeof r->problem, format, args);
	va_end(args);
	return (st){ E_CRYPTO };
}

/* A failure that the log's content is to blame for is a finding; trouble of the machine stays a failure. */
static st finding(struct scope *s, struct check *c, st status, const uint64_t *index)
{
	if (status.code == E_OK || status.code == E_IO || c->report->verdict == AUDIT_UNSOUND)
		return status;
	st found = unsound(c, index, "%s", s->message);
	scope_clear_error(s);
	return found;
}

/* ---- signed trees: the checkpoint, the anchors, --since ---- */

static st open_signed(struct scope *s, struct check *c, const char *what, span note, struct audit_checkpoint *out)
{
	const struct audit_verify *q = c->request;
	st status = audit_checkpoint_open(s, note, q->key, q->key_count, out);
	if (status.code == E_OK) {
		for (size_t i = 0; i < q->key_count; i++)
			if (span_is(q->key[i].name, out->origin))
				return OK;
		return unsound(c, NULL, "%s is a checkpoint of the log %s, which has another name than the key", what,
			       out->origin);
	}
	st found = unsound(c, NULL, "%s: %s", what, s->message);
	scope_clear_error(s);
	return found;
}

static st open_checkpoint(struct scope *s, struct check *c)
{
	span note;
	if (c->request->checkpoint.len > 0)
		return open_signed(s, c, "checkpoint", c->request->checkpoint, &c->report->checkpoint);
	st status = audit_log_checkpoint(s, c->log, &note);
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		return unsound(c, NULL, "the log has no signed checkpoint");
	}
	TRY(status);
	return open_signed(s, c, "checkpoint", note, &c->report->checkpoint);
}

static st open_anchors(struct scope *s, struct check *c)
{
	const struct audit_verify *q = c->request;
	uint64_t size = c->report->checkpoint.size;
	c->anchor = scope_alloc(s, (q->anchor_count + 1) * sizeof *c->anchor);
	for (size_t i = 0; i < q->anchor_count; i++) {
		TRY(open_signed(s, c, q->anchor[i].name, q->anchor[i].note, &c->anchor[i]));
		if (c->anchor[i].size > size)
			return unsound(c, &size,
				       "%s was kept when the log had %llu signed leaves, now it has %llu: the log was cut or "
				       "rolled back",
				       q->anchor[i].name, (unsigned long long)c->anchor[i].size, (unsigned long long)size);
	}
	return OK;
}

/* Root of the leaves that were read. Every hash of an edge is a perfect subtree; the higher ones lie to the left. */
static struct audit_hash edge_root(const struct check *c)
{
	struct audit_range all = { 0 };
	for (unsigned level = AUDIT_TILE_LEVELS; level-- > 0;) {
		struct audit_range tile = { 0 };
		for (unsigned i = 0; i < c->width[level]; i++)
			audit_range_add(&tile, &c->edge[level][i]);
		memcpy(all.node + all.count, tile.node, tile.count * sizeof tile.node[0]);
		all.count += tile.count;
	}
	return audit_range_root(&all);
}

static void count_anchor(struct check *c, size_t i)
{
	struct audit_report *r = c->report;
	r->anchors++;
	if (c->request->anchor[i].came_along)
		r->came_along++;
	else if (c->anchor[i].size > r->anchored)
		r->anchored = c->anchor[i].size;
}

/* All anchors of the size that was reached. */
static st check_anchors(struct check *c)
{
	for (size_t i = 0; i < c->request->anchor_count; i++) {
		if (c->anchor[i].size != c->size)
			continue;
		struct audit_hash root = edge_root(c);
		if (!audit_hash_equal(&root, &c->anchor[i].root))
			return unsound(c, &c->agreed,
				       "%s does not agree with the log: one of the leaves %llu to %llu is not what was there "
				       "when it was kept (a fork)",
				       c->request->anchor[i].name, (unsigned long long)c->agreed,
				       (unsigned long long)c->size - 1);
		count_anchor(c, i);
		c->agreed = c->size;
	}
	return OK;
}

/* Anchors below --since are checked against the tiles: their leaves are not read again. */
static st check_older_anchors(struct scope *s, struct check *c)
{
	struct audit_source source = { .node = audit_log_node, .state = c->log };
	for (size_t i = 0; i < c->request->anchor_count; i++) {
		struct audit_hash root;
		if (c->anchor[i].size >= c->size)
			continue;
		TRY(finding(s, c, audit_source_root(s, &source, c->anchor[i].size, &root), NULL));
		if (!audit_hash_equal(&root, &c->anchor[i].root))
			return unsound(c, NULL, "%s does not agree with the log (a fork)", c->request->anchor[i].name);
		count_anchor(c, i);
	}
	return OK;
}

/* Begin behind a tree that was verified before: its root must follow from the tiles, whose right edge is then trusted. */
static st begin_since(struct scope *s, struct check *c)
{
	struct audit_checkpoint since;
	TRY(open_signed(s, c, "--since", c->request->since, &since));
	uint64_t size = c->report->checkpoint.size;
	if (since.size > size)
		return unsound(c, &size, "--since covers %llu leaves, now the log has %llu: it was cut or rolled back",
			       (unsigned long long)since.size, (unsigned long long)size);
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++) {
		const struct audit_hash *hash;
		c->width[level] = (unsigned)((since.size >> (8 * level)) % AUDIT_TILE_WIDTH);
		if (c->width[level] == 0)
			continue;
		TRY(finding(s, c, audit_log_tile(s, c->log, (int)level, since.size >> (8 * level) >> 8, c->width[level], &hash),
			    NULL));
		memcpy(c->edge[level], hash, c->width[level] * sizeof *hash);
	}
	struct audit_hash root = edge_root(c);
	if (!audit_hash_equal(&root, &since.root))
		return unsound(c, NULL, "the log does not continue the tree of %llu leaves that --since has (a fork)",
			       (unsigned long long)since.size);
	c->size = since.size;
	c->report->from = since.size;
	c->report->anchored = since.size;
	c->agreed = since.size;
	return check_older_anchors(s, c);
}

/* ---- leaves and tiles ---- */

static st check_envelope(struct scope *s, struct check *c, uint64_t index, span leaf)
{
	struct audit_envelope envelope;
	struct audit_report *r = c->report;
	TRY(finding(s, c, audit_envelope_read(s, leaf, &envelope), &index));
	if (envelope.seq != index)
		return unsound(c, &index, "it says that it is record %llu", (unsigned long long)envelope.seq);
	r->begin = r->begin == 0 ? envelope.at : r->begin;
	r->end = envelope.at;
	if (index < c->visited)
		return OK;
	c->visited = index + 1;
	TRY(finding(s, c, audit_writers_add(s, c->writers, &envelope.record), &index));
	if (c->request->visit != NULL)
		c->request->visit(c->request->state, &envelope, leaf);
	return OK;
}

/* A tile as the tiles (or leaves) below it give it, against its file. */
static st check_tile(struct scope *s, struct check *c, unsigned level, uint64_t n)
{
	const struct audit_hash *hash;
	uint64_t first = n << 8 << (8 * level);
	TRY(finding(s, c, audit_log_tile(s, c->log, (int)level, n, c->width[level], &hash), &first));
	for (unsigned i = 0; i < c->width[level]; i++) {
		uint64_t index = first + ((uint64_t)i << (8 * level));
		if (!audit_hash_equal(&hash[i], &c->edge[level][i]))
			return unsound(c, &index, "hash %u of tile %u/%llu is not the one of the leaves from here on", i, level,
				       (unsigned long long)n);
	}
	return OK;
}

/* The full tiles of the right edge are checked and become one hash of the level above. */
static st close_tiles(struct scope *s, struct check *c)
{
	for (unsigned level = 0; level + 1 < AUDIT_TILE_LEVELS && c->width[level] == AUDIT_TILE_WIDTH; level++) {
		if (level > 0)
			TRY(check_tile(s, c, level, (c->size >> (8 * level) >> 8) - 1));
		c->edge[level + 1][c->width[level + 1]++] = audit_root_of(c->edge[level], AUDIT_TILE_WIDTH);
		c->width[level] = 0;
	}
	return OK;
}

/* A record of another place tells more than that its hash is not the one of this place. */
static st wrong_hash(struct scope *s, struct check *c, uint64_t index, span leaf)
{
	struct audit_envelope envelope;
	st read = audit_envelope_read(s, leaf, &envelope);
	scope_clear_error(s);
	if (read.code == E_OK && envelope.seq != index)
		return unsound(
			c, &index,
			"here lies record %llu, and not the one whose hash the tile has: records were taken out, put in or "
			"moved",
			(unsigned long long)envelope.seq);
	return unsound(c, &index, "the record does not have the hash that its tile has: record or tile was changed");
}

/* Its hash is the tile's, which the root is made from as it was made from the record. */
static st check_removed(struct check *c, uint64_t index)
{
	if (c->request->removed == NULL)
		return unsound(c, &index, "the content of this record was removed, and no operation says so here");
	c->report->removed++;
	audit_writers_removed(c->writers);
	c->request->removed(c->request->removed_state, index);
	return OK;
}

static st check_leaf(struct scope *s, struct check *c, uint64_t index, span leaf, const struct audit_hash *expected)
{
	struct audit_hash hash = leaf.len == 0 ? *expected : audit_leaf_hash(leaf);
	if (!audit_hash_equal(&hash, expected))
		return wrong_hash(s, c, index, leaf);
	TRY(leaf.len == 0 ? check_removed(c, index) : check_envelope(s, c, index, leaf));
	c->size++;
	c->edge[0][c->width[0]++] = hash;
	TRY(close_tiles(s, c));
	return check_anchors(c);
}

static st check_bundle(struct scope *s, struct check *c, struct buf *bundle)
{
	uint64_t size = c->report->checkpoint.size, n = c->size / AUDIT_TILE_WIDTH, first = n * AUDIT_TILE_WIDTH;
	unsigned width = size - first < AUDIT_TILE_WIDTH ? (unsigned)(size - first) : AUDIT_TILE_WIDTH;
	const struct audit_hash *tile;
	uint64_t next = c->size;
	TRY(finding(s, c, audit_log_bundle(s, c->log, n, width, bundle), &next));
	TRY(finding(s, c, audit_log_tile(s, c->log, 0, n, width, &tile), &next));
	struct audit_hash expected[AUDIT_TILE_WIDTH];
	memcpy(expected, tile, width * sizeof *tile);
	struct rd r = rd_of(buf_span(bundle));
	unsigned within = 0;
	for (span leaf; within < width && audit_bundle_next(&r, &leaf); within++)
		if (first + within >= next)
			TRY(check_leaf(s, c, first + within, leaf, &expected[within]));
	next = first + within;
	if (within < width || r.bad || (width == AUDIT_TILE_WIDTH && r.rest.len > 0))
		return unsound(c, &next, "entry bundle %llu does not hold %u whole records", (unsigned long long)n, width);
	return OK;
}

static st check_leaves(struct scope *s, struct check *c)
{
	AUTO_BUF bundle;
	buf_init(&bundle, AUDIT_BUNDLE_MAX);
	if (c->size == 0 || c->request->since.len > 0)
		TRY(check_anchors(c));
	while (c->size < c->report->checkpoint.size) {
		AUTO_SCOPE aside; /* memory of one bundle is given back before the next */
		scope_init(&aside, s->source);
		st status = check_bundle(&aside, c, &bundle);
		if (status.code != E_OK)
			return c->report->verdict == AUDIT_UNSOUND ? status : fail(s, status.code, "%s", aside.message);
	}
	for (unsigned level = 1; level < AUDIT_TILE_LEVELS; level++)
		if (c->width[level] > 0)
			TRY(check_tile(s, c, level, c->size >> (8 * level) >> 8));
	struct audit_hash root = edge_root(c);
	if (!audit_hash_equal(&root, &c->report->checkpoint.root))
		return unsound(c, &c->agreed,
			       "the root of the leaves is not the signed one: one of the leaves %llu to %llu was changed, with "
			       "its tiles",
			       (unsigned long long)c->agreed, (unsigned long long)c->size - 1);
	return OK;
}

/* ---- the tail ---- */

struct tail_check {
	struct check *check;
	struct scope *s;
	uint64_t next; /* index expected next, behind the checkpoint */
	st status;
};

static bool check_tail_leaf(void *state, uint64_t index, span leaf)
{
	struct tail_check *t = state;
	t->status = check_envelope(t->s, t->check, index, leaf);
	t->next++;
	return t->status.code == E_OK;
}

/* What the tail has of leaves that are under the checkpoint must be the same leaves. */
static st check_twin(struct scope *s, struct check *c, uint64_t index, span leaf)
{
	const struct audit_hash *tile;
	unsigned within = (unsigned)(index % AUDIT_TILE_WIDTH);
	struct audit_hash hash = audit_leaf_hash(leaf);
	TRY(finding(s, c, audit_log_tile(s, c->log, 0, index / AUDIT_TILE_WIDTH, within + 1, &tile), &index));
	if (!audit_hash_equal(&hash, &tile[within]))
		return unsound(c, &index, "the tail has another record here than the tiles");
	return OK;
}

static st check_group(struct scope *s, struct tail_check *t, const struct audit_reader *r)
{
	span leaf;
	uint64_t offset, index = r->group_first;
	for (size_t at = 0; audit_reader_record(r, &at, &leaf, &offset); index++) {
		if (index < t->check->report->checkpoint.size)
			TRY(check_twin(s, t->check, index, leaf));
		else if (index == t->next && !check_tail_leaf(t, index, leaf))
			return t->status;
	}
	return OK;
}

static st check_segment(struct scope *s, struct tail_check *t, const struct audit_segment *segment, bool last)
{
	AUTO_READER r = { .fd = -1 };
	AUTO_FD fd = open(segment->path, O_RDONLY | O_CLOEXEC);
	enum audit_read_outcome outcome;
	if (fd < 0)
		return fail_errno(s, errno == ENOENT ? E_NOTFOUND : E_IO, "%s", segment->path);
	TRY(finding(s, t->check, audit_reader_open(s, fd, AUDIT_FILE_TAIL, &r), &t->next));
	if (r.first > t->next)
		return unsound(t->check, &t->next, "records %llu to %llu are neither in bundles nor in the tail",
			       (unsigned long long)t->next, (unsigned long long)r.first - 1);
	for (;;) {
		TRY(audit_reader_next(s, &r, &outcome));
		if (outcome != AUDIT_READ_GROUP)
			break;
		TRY(check_group(s, t, &r));
	}
	if (outcome == AUDIT_READ_TORN) {
		TRY(finding(s, t->check, audit_reader_check_torn(s, &r), &r.next));
		if (!last)
			return unsound(t->check, &r.next, "%s is damaged here", segment->path);
		t->check->report->tail_unfinished = true;
	}
	return OK;
}

static st check_tail_once(struct scope *s, struct check *c)
{
	struct audit_segment *segment;
	size_t count;
	struct tail_check t = { .check = c, .s = s, .next = c->report->checkpoint.size };
	/* Leaves that are in bundles and not yet under a checkpoint. */
	TRY(finding(s, c, audit_log_each_bundled(s, c->log, t.next, check_tail_leaf, &t), &t.next));
	TRY(t.status);
	TRY(audit_log_segments(s, c->request->dir, &segment, &count));
	for (size_t i = 0; i < count; i++)
		TRY(check_segment(s, &t, &segment[i], i + 1 == count));
	c->report->tail = t.next - c->report->checkpoint.size;
	return OK;
}

static st check_tail(struct scope *s, struct check *c)
{
	st status = OK;
	for (int i = 0; i < TRIES; i++) {
		scope_clear_error(s);
		status = check_tail_once(s, c);
		if (status.code != E_NOTFOUND)
			break;
	}
	return status;
}

/* ---- all of it ---- */

static st check_all(struct scope *s, struct check *c)
{
	TRY(open_checkpoint(s, c));
	TRY(open_anchors(s, c));
	if (c->request->since.len > 0)
		TRY(begin_since(s, c));
	TRY(check_leaves(s, c));
	return check_tail(s, c);
}

st audit_verify(struct scope *s, const struct audit_verify *request, struct audit_report *out)
{
	if (request->key_count == 0)
		return fail(s, E_INPUT, "a log is verified with its public key: NAME+id+base64");
	*out = (struct audit_report){ .verdict = AUDIT_SOUND };
	struct check *c = heap_alloc(sizeof *c);
	c->request = request;
	c->report = out;
	c->writers = audit_writers_new(request->since.len == 0);
	st status = audit_log_open(s, request->dir, &c->log);
	if (status.code == E_OK)
		status = check_all(s, c);
	audit_log_close(c->log);
	const struct audit_writer *writer = audit_writers_end(c->writers, &out->writers);
	struct audit_writer *kept = scope_alloc(s, (out->writers + 1) * sizeof *kept);
	memcpy(kept, writer, out->writers * sizeof *kept);
	out->writer = kept;
	audit_writers_free(c->writers);
	free(c);
	if (out->verdict == AUDIT_UNSOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(status);
	if (out->anchors == out->came_along && request->since.len == 0)
		out->verdict = AUDIT_NOT_ANCHORED;
	return OK;
}

/* ---- audit show ---- */

struct selection {
	const struct audit_filter *filter;
	audit_show show;
	void *state;
	struct scope *s;
	st status;
};

static bool fits(const struct audit_filter *f, const struct audit_envelope *e)
{
	if (f->event != NULL && strcmp(e->record.row->name, f->event) != 0)
		return false;
	const struct audit_field *serial = f->serial == NULL ? NULL : audit_field_of(&e->record, "serial");
	return f->serial == NULL || (serial != NULL && span_is(serial->text, f->serial));
}

static bool select_leaf(void *state, uint64_t index, span leaf)
{
	struct selection *q = state;
	struct audit_envelope envelope;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (q->filter->to != 0 && index >= q->filter->to)
		return false;
	if (leaf.len == 0)
		return true; /* removed by an operation */
	if (audit_envelope_read(&s, leaf, &envelope).code != E_OK) {
		q->status = fail(q->s, E_INPUT, "leaf %llu: %s", (unsigned long long)index, s.message);
		return false;
	}
	return !fits(q->filter, &envelope) || q->show(q->state, &envelope, leaf);
}

st audit_log_select(struct scope *s, struct audit_log *log, const struct audit_filter *filter, audit_show show, void *state)
{
	struct selection q = { .filter = filter, .show = show, .state = state, .s = s };
	TRY(audit_log_each(s, log, filter->from, select_leaf, &q));
	return q.status;
}
