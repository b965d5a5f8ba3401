#include "auditd_tail.h"
#include "auditd_segment.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

/* So many records may wait for integration; more are refused, since memory holds 48 octets for each. */
#define PENDING_MAX (1u << 20)
/* One group: what a reader holds at once, and what one sync makes durable. */
#define GROUP_BYTES_MAX ((size_t)4 << 20)
#define ROOM_WORTH      ((uint64_t)16 << 10)
/* What the integrator reads at once; a leaf has at most 64 KiB. */
#define PIECE_LEAVES 256u
#define PIECE_BYTES  ((size_t)1 << 20)
/* More than twice the records that a group can hold. */
#define GROUP_SLOTS (1u << 16)

struct entry {
	struct audit_hash hash;
	uint64_t offset;
	uint32_t len;
};

/* The records of the group that is being built, by their ids; a slot counts when its stamp is that of the group. */
struct group_slot {
	uint64_t stamp;
	const struct tail_record *record;
};

/* One thread that waits: for its requests to be done, or for its turn to lead. */
struct tail_turn {
	struct tail_request *last; /* of its requests, which are done in their order */
	bool done;
	sem_t changed;
};

struct tail {
	char *dir;
	pthread_mutex_t lock;
	pthread_cond_t free; /* nobody leads and somebody who is no request wants to */
	unsigned wanting;    /* how many */
	pthread_cond_t grown;
	struct tail_request *first, **last;
	bool leading;
	bool woken;
	uint64_t pending_wanted; /* the integrator is woken when so many wait for it */
	/* Changed by the leader under the lock: */
	struct segments segments;
	struct entry *entry; /* of [base, size) */
	size_t room;
	uint64_t base, size, signed_size;
	uint64_t written;      /* octets of the active segment */
	int64_t waiting_since; /* of the oldest leaf not under a checkpoint, 0: none */
	/* The same for time-stamped checkpoints; records of stamping do not count. Nothing that counts lies before `unstamped` or behind
	 * `unstamped_end`. */
	int64_t unstamped_since;
	uint64_t unstamped, unstamped_end;
	struct ids *ids;
	struct indexed *indexed;
	/* The leader's own: */
	struct audit_group group;
	struct entry *fresh;
	size_t fresh_room;
	struct group_slot *slot;
	uint64_t stamp;
	struct metric_histogram groups;
	/* The integrator's own: */
	uint64_t room_made; /* octets, for the active segment */
};

/* ---- numbering and writing one group ---- */

/* Offered twice at once, by two threads or in one frame, a record is taken once. The slot found is where it is or goes. */
static struct group_slot *slot_of(struct tail *t, const uint8_t *id)
{
	uint32_t i;
	memcpy(&i, id, sizeof i);
	for (i %= GROUP_SLOTS; t->slot[i].stamp == t->stamp; i = (i + 1) % GROUP_SLOTS)
		if (memcmp(t->slot[i].record->id, id, 16) == 0)
			break;
	return &t->slot[i];
}

static void add_fresh(struct tail *t, const struct audit_hash *hash)
{
	if (t->group.count > t->fresh_room) {
		t->fresh_room = t->fresh_room == 0 ? 256 : 2 * t->fresh_room;
		t->fresh = heap_grow(t->fresh, t->fresh_room * sizeof *t->fresh);
	}
	struct entry *e = &t->fresh[t->group.count - 1];
	e->hash = *hash;
	e->offset = t->group.begun + 5;
	e->len = (uint32_t)(t->group.bytes.len - e->offset);
}

static bool is_known(const struct tail *t, struct tail_record *r, const struct group_slot *slot)
{
	if (slot->stamp != t->stamp)
		return r->known = ids_find(t->ids, r->id, &r->index);
	r->index = slot->record->index;
	return r->known = true;
}

/* False when the group is full. */
static bool take_record(struct tail *t, struct tail_request *q, int64_t now)
{
	struct tail_record *r = &q->record[q->next_record];
	struct group_slot *slot = slot_of(t, r->id);
	if (r->code != E_OK || is_known(t, r, slot)) {
		q->next_record++;
		return true;
	}
	if (t->group.bytes.len + r->json.len > GROUP_BYTES_MAX || t->group.count >= GROUP_SLOTS / 2)
		return false;
	audit_group_open(&t->group);
	r->index = t->group.first + t->group.count;
	if (!audit_envelope_write(&t->group.bytes, r->index, now, q->by, r->json) ||
	    t->group.bytes.len - t->group.begun - 5 > AUDIT_LEAF_MAX) {
		audit_group_abandon(&t->group);
		r->code = E_LIMIT;
		r->message = "the record does not fit a leaf of 65535 bytes";
	} else {
		struct audit_hash hash = audit_group_close(&t->group);
		add_fresh(t, &hash);
		*slot = (struct group_slot){ .stamp = t->stamp, .record = r };
	}
	q->next_record++;
	return true;
}

/* Number the records of these requests until the group is full; returns the first request that is not finished. */
static struct tail_request *build_group(struct tail *t, struct tail_request *batch, int64_t now)
{
	audit_group_begin(&t->group, t->size);
	t->stamp++;
	struct tail_request *q = batch;
	for (; q != NULL; q = q->next)
		while (q->next_record < q->count)
			if (!take_record(t, q, now))
				return q;
	return q;
}

static void refuse_group(struct tail *t, struct tail_request *batch, const char *why)
{
	uint64_t first = t->group.first;
	for (struct tail_request *q = batch; q != NULL; q = q->next)
		for (size_t i = 0; i < q->next_record; i++) {
			struct tail_record *r = &q->record[i];
			if (r->code != E_OK || r->index < first)
				continue;
			r->code = E_UNAVAILABLE;
			r->message = scope_printf(q->scope, "%s", why);
		}
}

static void know_fresh(struct tail *t, const struct tail_record *r)
{
	ids_add(t->ids, r->id, r->index);
	if (r->class == AUDIT_CONTROL)
		indexed_add(t->indexed, r->index);
	if (r->of_stamp)
		return;
	t->unstamped_end = r->index + 1;
	if (t->unstamped_since != 0)
		return;
	t->unstamped_since = moment_monotonic();
	t->unstamped = r->index;
}

/* Under the lock, after the sync: the group is part of the log. */
static void accept_group(struct tail *t, struct tail_request *batch, uint64_t offset)
{
	size_t have = (size_t)(t->size - t->base), count = t->group.count;
	if (have + count > t->room) {
		t->room = t->room == 0 ? 1024 : t->room;
		while (t->room < have + count)
			t->room *= 2;
		t->entry = heap_grow(t->entry, t->room * sizeof *t->entry);
	}
	for (size_t i = 0; i < count; i++) {
		t->entry[have + i] = t->fresh[i];
		t->entry[have + i].offset += offset;
	}
	if (t->size == t->signed_size && count > 0)
		t->waiting_since = moment_monotonic();
	t->size += count;
	if (count > 0)
		t->written = offset + t->group.bytes.len;
	for (struct tail_request *q = batch; q != NULL; q = q->next)
		for (size_t i = 0; i < q->next_record; i++)
			if (q->record[i].code == E_OK && q->record[i].index >= t->group.first)
				know_fresh(t, &q->record[i]);
}

static st write_group(struct scope *s, struct tail *t, uint64_t *out_offset)
{
	*out_offset = t->segments.end;
	if (t->group.count == 0)
		return OK;
	if (t->size - tail_base(t) > PENDING_MAX)
		return fail(s, E_UNAVAILABLE, "%u records wait to be written into bundles: look for the reason in auditd's log",
			    PENDING_MAX);
	audit_group_end(&t->group);
	FAILPOINT("auditd.before-sync");
	int64_t begun = moment_monotonic();
	TRY(segments_write(s, &t->segments, buf_span(&t->group.bytes)));
	metrics_observe(&t->groups, moment_monotonic() - begun);
	FAILPOINT("auditd.synced");
	return OK;
}

/* Each thread is woken once, by its own semaphore: a common condition would wake all of them for every group. */
static void finish(struct tail_request *batch, const struct tail_request *end)
{
	for (struct tail_request *q = batch, *next; q != end; q = next) {
		next = q->next; /* a done one belongs to its thread again */
		if (q != q->turn->last)
			continue;
		q->turn->done = true;
		(void)sem_post(&q->turn->changed);
	}
}

/* With the lock: take all that wait, write them without the lock, tell them. */
static void lead(struct tail *t)
{
	struct tail_request *batch = t->first;
	t->first = NULL;
	t->last = &t->first;
	(void)pthread_mutex_unlock(&t->lock);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	while (batch != NULL) {
		uint64_t offset;
		struct tail_request *unfinished = build_group(t, batch, scope_now(&s));
		st status = write_group(&s, t, &offset);
		if (status.code != E_OK) {
			log_failure(&s, "a group of records is refused");
			refuse_group(t, batch, s.message);
		}
		(void)pthread_mutex_lock(&t->lock);
		if (status.code == E_OK)
			accept_group(t, batch, offset);
		(void)pthread_mutex_unlock(&t->lock);
		finish(batch, unfinished);
		batch = unfinished;
		scope_reset(&s);
	}
	(void)pthread_mutex_lock(&t->lock);
}

/* With the lock: who leads next. Those who are no request (tail_rotate) come first; they hand on in their turn. */
static void hand_on(struct tail *t)
{
	t->leading = t->wanting == 0 && t->first != NULL;
	if (t->wanting > 0)
		(void)pthread_cond_signal(&t->free);
	else if (t->first != NULL)
		(void)sem_post(&t->first->turn->changed);
	if (t->size - t->base >= t->pending_wanted)
		(void)pthread_cond_signal(&t->grown);
}

/* True when the caller must lead; else its requests are done. */
static bool wait_for_turn(struct tail *t, struct tail_request *first, struct tail_turn *turn)
{
	(void)pthread_mutex_lock(&t->lock);
	*t->last = first;
	t->last = &turn->last->next;
	if (!t->leading && t->wanting == 0) {
		t->leading = true;
		return true;
	}
	(void)pthread_mutex_unlock(&t->lock);
	while (sem_wait(&turn->changed) != 0)
		; /* interrupted */
	if (turn->done)
		return false;
	(void)pthread_mutex_lock(&t->lock);
	return true;
}

void tail_append_all(struct tail *t, struct tail_request *request, size_t count)
{
	if (count == 0)
		return;
	struct tail_turn turn = { .last = &request[count - 1] };
	(void)sem_init(&turn.changed, 0, 0);
	for (size_t i = 0; i < count; i++) {
		request[i].turn = &turn;
		request[i].next_record = 0;
		request[i].next = i + 1 < count ? &request[i + 1] : NULL;
	}
	if (wait_for_turn(t, request, &turn)) {
		lead(t);
		hand_on(t);
		(void)pthread_mutex_unlock(&t->lock);
	}
	(void)sem_destroy(&turn.changed);
	for (size_t i = 0; i < count; i++)
		request[i].turn = NULL;
}

void tail_append(struct scope *s, struct tail *t, const char *by, struct tail_record *record, size_t count)
{
	struct tail_request request = { .scope = s, .by = by, .record = record, .count = count };
	tail_append_all(t, &request, 1);
}

/* ---- what others ask ---- */

uint64_t tail_size(struct tail *t)
{
	(void)pthread_mutex_lock(&t->lock);
	uint64_t size = t->size;
	(void)pthread_mutex_unlock(&t->lock);
	return size;
}

struct metric_histogram *tail_groups(struct tail *t)
{
	return &t->groups;
}

uint64_t tail_base(struct tail *t)
{
	(void)pthread_mutex_lock(&t->lock);
	uint64_t base = t->base;
	(void)pthread_mutex_unlock(&t->lock);
	return base;
}

void tail_know(struct tail *t, const uint8_t id[16], uint64_t index)
{
	ids_add(t->ids, id, index);
}

bool tail_has(struct tail *t, const uint8_t id[16], uint64_t *out_index)
{
	(void)pthread_mutex_lock(&t->lock);
	bool has = ids_find(t->ids, id, out_index);
	(void)pthread_mutex_unlock(&t->lock);
	return has;
}

void tail_wake(struct tail *t)
{
	(void)pthread_mutex_lock(&t->lock);
	t->woken = true;
	(void)pthread_cond_signal(&t->grown);
	(void)pthread_mutex_unlock(&t->lock);
}

void tail_wait(struct tail *t, uint64_t pending, int64_t us)
{
	int64_t until = moment_monotonic() + us;
	(void)pthread_mutex_lock(&t->lock);
	t->pending_wanted = pending;
	while (!t->woken && t->size - t->base < pending)
		if (!moment_wait(&t->grown, &t->lock, until))
			break;
	t->woken = false;
	(void)pthread_mutex_unlock(&t->lock);
}

int64_t tail_waiting(struct tail *t)
{
	(void)pthread_mutex_lock(&t->lock);
	int64_t waiting = t->waiting_since == 0 ? 0 : moment_monotonic() - t->waiting_since;
	(void)pthread_mutex_unlock(&t->lock);
	return waiting;
}

void tail_signed(struct tail *t, uint64_t signed_size, int64_t taken)
{
	(void)pthread_mutex_lock(&t->lock);
	t->signed_size = signed_size;
	t->waiting_since = t->size > signed_size ? taken : 0;
	(void)pthread_mutex_unlock(&t->lock);
}

void tail_was_waiting(struct tail *t, int64_t us)
{
	(void)pthread_mutex_lock(&t->lock);
	t->waiting_since = moment_monotonic() - us;
	(void)pthread_mutex_unlock(&t->lock);
}

int64_t tail_unstamped(struct tail *t, uint64_t *out_from)
{
	(void)pthread_mutex_lock(&t->lock);
	*out_from = t->unstamped;
	int64_t waiting = t->unstamped_since == 0 ? 0 : moment_monotonic() - t->unstamped_since;
	(void)pthread_mutex_unlock(&t->lock);
	return waiting;
}

void tail_stamped(struct tail *t, uint64_t size, int64_t taken)
{
	(void)pthread_mutex_lock(&t->lock);
	t->unstamped_since = t->unstamped_end > size ? taken : 0;
	t->unstamped = size;
	(void)pthread_mutex_unlock(&t->lock);
}

void tail_was_unstamped(struct tail *t, int64_t us)
{
	(void)pthread_mutex_lock(&t->lock);
	t->unstamped_since = moment_monotonic() - us;
	t->unstamped_end = t->size;
	(void)pthread_mutex_unlock(&t->lock);
}

/* ---- the integrator ---- */

/* The next segment gets room for a quarter more than what this one has, and half of what this one got at least, since load that ended comes
 * back; where little is written, it is not worth a file. */
static uint64_t room_wanted(struct tail *t)
{
	(void)pthread_mutex_lock(&t->lock);
	uint64_t written = t->written;
	(void)pthread_mutex_unlock(&t->lock);
	if (written == 0)
		return 0;
	uint64_t more = written + written / 4, half = t->room_made / 2;
	t->room_made = more > half ? more : half;
	return t->room_made < ROOM_WORTH ? 0 : t->room_made;
}

st tail_rotate(struct scope *s, struct tail *t, uint64_t *out_size)
{
	segments_prepare(&t->segments, room_wanted(t));
	(void)pthread_mutex_lock(&t->lock);
	t->wanting++;
	while (t->leading)
		(void)pthread_cond_wait(&t->free, &t->lock);
	t->wanting--;
	t->leading = true;
	(void)pthread_mutex_unlock(&t->lock);
	st status = segments_rotate(s, &t->segments, t->size);
	(void)pthread_mutex_lock(&t->lock);
	t->written = status.code == E_OK ? 0 : t->written;
	*out_size = t->size;
	hand_on(t);
	(void)pthread_mutex_unlock(&t->lock);
	return status;
}

/* Neighbours in one file, read at once. */
struct piece {
	struct entry entry[PIECE_LEAVES];
	size_t count;
	int fd;
};

static void take_piece(struct tail *t, uint64_t from, uint64_t to, struct piece *out)
{
	uint64_t next;
	(void)pthread_mutex_lock(&t->lock);
	out->fd = segments_file(&t->segments, from, &next);
	uint64_t end = to < next ? to : next;
	const struct entry *first = &t->entry[from - t->base];
	out->count = 0;
	while (out->count < end - from && out->count < PIECE_LEAVES) {
		const struct entry *e = &first[out->count];
		if (e->offset + e->len - first->offset > PIECE_BYTES)
			break;
		out->entry[out->count++] = *e;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

static st read_piece(struct scope *s, const struct piece *p, uint64_t from, struct buf *out)
{
	const struct entry *first = &p->entry[0], *last = &p->entry[p->count - 1];
	size_t len = (size_t)(last->offset + last->len - first->offset);
	out->len = 0;
	if (!buf_reserve(out, len))
		return fail(s, E_LIMIT, "no room for leaves from %llu on", (unsigned long long)from);
	if (pread(p->fd, out->data, len, (off_t)first->offset) != (ssize_t)len)
		return fail(s, E_IO, "leaves from %llu on cannot be read from the tail", (unsigned long long)from);
	out->len = len;
	return OK;
}

st tail_each(struct scope *s, struct tail *t, uint64_t from, uint64_t to,
	     st (*each)(struct scope *s, void *state, span leaf, const struct audit_hash *hash), void *state)
{
	struct piece piece = { .count = 0 };
	AUTO_BUF bytes;
	buf_init(&bytes, PIECE_BYTES);
	for (; from < to; from += piece.count) {
		take_piece(t, from, to, &piece);
		TRY(read_piece(s, &piece, from, &bytes));
		for (size_t i = 0; i < piece.count; i++) {
			const struct entry *e = &piece.entry[i];
			span leaf = span_of(bytes.data + (e->offset - piece.entry[0].offset), e->len);
			TRY(each(s, state, leaf, &e->hash));
		}
	}
	return OK;
}

st tail_leaf(struct scope *s, struct tail *t, uint64_t index, struct buf *out)
{
	(void)pthread_mutex_lock(&t->lock);
	st status;
	if (index < t->base || index >= t->size) {
		status = fail(s, E_NOTFOUND, "leaf %llu is not in the tail", (unsigned long long)index);
	} else {
		const struct entry *e = &t->entry[index - t->base];
		status = segments_read(s, &t->segments, index, e->offset, e->len, out);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return status;
}

void tail_trim(struct tail *t, uint64_t below)
{
	(void)pthread_mutex_lock(&t->lock);
	size_t gone = (size_t)(below - t->base), left = (size_t)(t->size - below);
	if (left > 0)
		memmove(t->entry, t->entry + gone, left * sizeof *t->entry);
	t->base = below;
	segments_trim(&t->segments, below);
	(void)pthread_mutex_unlock(&t->lock);
}

/* ---- start ---- */

struct loading {
	struct tail *tail;
	struct audit_log *log;
	uint64_t base;
};

/* A leaf that is also under the tiles must be the same there. */
static st check_known_leaf(struct scope *s, struct loading *l, uint64_t index, const struct audit_hash *hash)
{
	const struct audit_hash *tile;
	unsigned within = (unsigned)(index % AUDIT_TILE_WIDTH);
	TRY(audit_log_tile(s, l->log, 0, index / AUDIT_TILE_WIDTH, within + 1, &tile));
	if (!audit_hash_equal(&tile[within], hash))
		return fail(s, E_STATE,
			    "leaf %llu of the tail is not the one that the tiles have: the log directory was put together from "
			    "two logs",
			    (unsigned long long)index);
	return OK;
}

static st load_leaf(struct scope *s, void *state, uint64_t index, span leaf, uint64_t offset)
{
	struct loading *l = state;
	struct tail *t = l->tail;
	struct audit_envelope envelope;
	TRY(fail_context(s, audit_envelope_read(s, leaf, &envelope), "leaf %llu of the tail", (unsigned long long)index));
	if (envelope.seq != index)
		return fail(s, E_STATE, "leaf %llu of the tail says that it is leaf %llu", (unsigned long long)index,
			    (unsigned long long)envelope.seq);
	struct audit_hash hash = audit_leaf_hash(leaf);
	ids_add(t->ids, envelope.record.id, index);
	if (index < l->base)
		return check_known_leaf(s, l, index, &hash);
	if (envelope.record.row->class == AUDIT_CONTROL)
		indexed_add(t->indexed, index);
	size_t have = (size_t)(t->size - t->base);
	if (have == t->room) {
		t->room = t->room == 0 ? 1024 : 2 * t->room;
		t->entry = heap_grow(t->entry, t->room * sizeof *t->entry);
	}
	t->entry[have] = (struct entry){ .hash = hash, .offset = offset, .len = (uint32_t)leaf.len };
	t->size++;
	return OK;
}

st tail_first(struct scope *s, const char *dir, uint64_t *out)
{
	return segments_first(s, dir, out);
}

st tail_open(struct scope *s, const char *dir, uint64_t base, struct audit_log *log, struct indexed *indexed, struct tail **out)
{
	struct tail *t = heap_alloc(sizeof *t);
	t->dir = heap_copy_str(dir);
	t->last = &t->first;
	t->base = t->size = base;
	t->indexed = indexed;
	t->segments.spare = -1;
	t->ids = ids_new();
	t->slot = heap_alloc(GROUP_SLOTS * sizeof *t->slot);
	t->pending_wanted = UINT64_MAX;
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->free, NULL);
	(void)pthread_cond_init(&t->grown, NULL);
	struct loading l = { .tail = t, .log = log, .base = base };
	st status = segments_open(s, &t->segments, dir, load_leaf, &l);
	if (status.code != E_OK) {
		tail_close(t);
		return status;
	}
	*out = t;
	return OK;
}

void tail_close(struct tail *t)
{
	if (t == NULL)
		return;
	segments_close(&t->segments);
	ids_free(t->ids);
	audit_group_free(&t->group);
	free(t->entry);
	free(t->fresh);
	free(t->slot);
	(void)pthread_cond_destroy(&t->grown);
	(void)pthread_cond_destroy(&t->free);
	(void)pthread_mutex_destroy(&t->lock);
	free(t->dir);
	free(t);
}
