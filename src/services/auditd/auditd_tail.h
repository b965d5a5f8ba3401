/*
 * auditd_tail.h - the writing end of the log: records of all connections, gathered into groups, made durable by one fdatasync a
 * group, numbered, and kept until they are in bundles.
 */
#pragma once
#include "audit_log.h"
#include "audit_record.h"
#include "auditd_ids.h"
#include "auditd_indexed.h"
#include "metrics.h"

/* One record on its way in. `code` other than E_OK on entry: refused already, passed over. */
struct tail_record {
	const uint8_t *id;
	span json;
	enum audit_class class;
	bool of_stamp; /* made by the time-stamping of a checkpoint: it calls for no time-stamp */
	enum code code;
	const char *message; /* in the request's scope */
	uint64_t index;
	bool known; /* it was there already */
};

/* The records of one writer, who waits for all of them. */
struct tail_request {
	struct scope *scope; /* for messages */
	const char *by;
	struct tail_record *record;
	size_t count;
	/* The tail's own: */
	size_t next_record;
	struct tail_turn *turn;
	struct tail_request *next;
};

struct tail;
/* Reads the tail that is there. `base`: so many leaves are in bundles and tiles (auditd_tree); what the tail has of them must be the
 * same leaves. Leaves of class control behind them go to `indexed`, now and as they come. */
st tail_open(struct scope *s, const char *dir, uint64_t base, struct audit_log *log, struct indexed *indexed,
	     struct tail **out);
void tail_close(struct tail *t);
/* First index the tail on disk begins with: everything before it is in bundles. E_STATE when a log without any tail has leaves. */
st tail_first(struct scope *s, const char *dir, uint64_t *out);
/* Remember an id of a record that is in bundles. Before serving. */
void tail_know(struct tail *t, const uint8_t id[16], uint64_t index);
bool tail_has(struct tail *t, const uint8_t id[16], uint64_t *out_index);

/* Returns when all records of these requests are durable and numbered, or refused one by one. Those of one call get into one group
 * if it holds them. */
void tail_append_all(struct tail *t, struct tail_request *request, size_t count);
/* One request. */
void tail_append(struct scope *s, struct tail *t, const char *by, struct tail_record *record, size_t count);
/* Leaves acknowledged. */
uint64_t tail_size(struct tail *t);
/* What the disk took for each group of records, its sync included. */
struct metric_histogram *tail_groups(struct tail *t);
/* First index that is only in the tail. */
uint64_t tail_base(struct tail *t);
/* Sleep until so many records wait for integration, or until `us` are over, or tail_wake(). */
void tail_wait(struct tail *t, uint64_t pending, int64_t us);
void tail_wake(struct tail *t);
/* Microseconds (monotonic) since the oldest leaf at or behind `signed_size` was written; 0: there is none. */
int64_t tail_waiting(struct tail *t);
/* Leaves below this are under a checkpoint; `taken` is when it was asked for. */
void tail_signed(struct tail *t, uint64_t signed_size, int64_t taken);
/* At start: the oldest unsigned leaf has waited so long already. */
void tail_was_waiting(struct tail *t, int64_t us);

/* Microseconds (monotonic) since the oldest leaf that is under no time-stamped checkpoint was written, records of stamping left out; 0:
 * there is none. It lies at *out_from or behind. */
int64_t tail_unstamped(struct tail *t, uint64_t *out_from);
/* Leaves below this are under a time-stamped checkpoint; `taken` is when that was signed. */
void tail_stamped(struct tail *t, uint64_t size, int64_t taken);
/* At start: the oldest leaf under none has waited so long already. */
void tail_was_unstamped(struct tail *t, int64_t us);

/* ---- for the integrator, one thread ---- */
/* Begin a new segment: all leaves below *out_size are in closed ones, which nobody writes to any more. */
st tail_rotate(struct scope *s, struct tail *t, uint64_t *out_size);
/* Each leaf in [from, to), of closed segments while others append: it is read without the lock, so that nobody waits for it. */
st tail_each(struct scope *s, struct tail *t, uint64_t from, uint64_t to,
	     st (*each)(struct scope *s, void *state, span leaf, const struct audit_hash *hash), void *state);
/* Any leaf of the tail into `out`. */
st tail_leaf(struct scope *s, struct tail *t, uint64_t index, struct buf *out);
/* These are durable elsewhere now: forget them and their segments. */
void tail_trim(struct tail *t, uint64_t below);
