/*
 * keyd_life.h - what becomes of a key: its state, and how often it signed. Kept in STATE/life/LABEL beside the description, which is written
 * once. Part of keyd.h.
 *
 * A signature is on record before it is made, so the log knows the number; keyd counts along and keeps with its count the place in the log up to
 * which it is right. At a start it reads on from there; moves that it finds and does not know of are made, so that a file of yesterday brings no
 * suspended or destroyed key back. What is no record of its own (OCSP answers, checkpoints) is counted here alone.
 */
#pragma once
#include "key.h"
#include <pthread.h>

struct keyd;
struct keyd_key;

struct keyd_life {
	pthread_mutex_t file; /* one writer of the file at a time; taken before `lock` */
	pthread_mutex_t lock; /* of all that follows, held for lines */
	pthread_cond_t idle;  /* nothing in flight any more */
	enum key_state state;
	int64_t since;
	enum key_state by_log; /* as the moves in the log leave it that were read since the start */
	int64_t by_log_since;
	bool moved;         /* in this run, or the log's word was taken: no more of it */
	unsigned in_flight; /* items between their record and their signature */
	uint64_t begun;     /* items ever: tells that nothing happened in between */
	uint64_t offered, recorded;
	uint64_t checkpoints;
	uint64_t settled, position; /* before this place in the log stand so many records of signatures of this key */
	bool behind;                /* the log may know more than `recorded` */
	bool trailing;              /* never idle for long: `settled` follows by reading the log */
	bool at_least; /* what was counted here alone may have been lost in a kill, or a record of it was removed from the log */
	bool marked;   /* the file says that this run was not ended in order */
	bool changed;  /* since the file was written */
	bool quiet;    /* as the two were when looked at last: in_flight == 0, begun */
	uint64_t seen;
	int64_t settled_at; /* monotonic */
};

/* Who has a key changed and why, for the record. `actor` NULL: nobody, it is the date. */
struct keyd_why {
	const char *actor;
	const char *reason;
};

void keyd_life_init(struct keyd_life *l);
void keyd_life_free(struct keyd_life *l);
/* From the file; without one (a key of an earlier version) it is active, and the whole log is read for its count. */
st keyd_life_load(struct scope *s, struct keyd *d, struct keyd_key *k);
/* A new key: its record of generation stands at `index`. */
st keyd_life_generated(struct scope *s, struct keyd *d, struct keyd_key *k, uint64_t index);
/* Its state now, by date too. */
enum key_state keyd_life_state(struct keyd_key *k, int64_t now);
/* E_STATE when the key signs nothing now: suspended, past its usage period, destroyed. */
st keyd_life_check(struct scope *s, struct keyd_key *k);
/* The same, and then one item is in flight until keyd_life_end. The first use but for a proof of possession makes the key active. */
st keyd_life_begin(struct scope *s, struct keyd *d, struct keyd_key *k, enum key_purpose purpose);
void keyd_life_end(struct keyd_key *k);
/* A record of a signature: on its way, then on record or not known to be. */
void keyd_life_offer(struct keyd_key *k);
void keyd_life_recorded(struct keyd_key *k, bool on_record);
/* A checkpoint, which is counted here alone: before it is signed. */
st keyd_life_checkpoint(struct scope *s, struct keyd *d, struct keyd_key *k);
/* OCSP answers of the last run were signed and not counted. */
st keyd_life_lost(struct scope *s, struct keyd *d, struct keyd_key *k);
/* The row of the inventory. */
void keyd_life_describe(struct scope *s, struct keyd *d, struct keyd_key *k, struct key_entry *out);

/* Moves of the table in key_state.c: on record first, then nothing new begins, then what is under way ends, and only then these return. */
st keyd_key_suspend(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why);
st keyd_key_resume(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why);
/* Its token must be there. The description stays; what is left of the key when this is interrupted goes at the next start. */
st keyd_key_destroy(struct scope *s, struct keyd *d, const char *label, const struct keyd_why *why);
/* One of the three, by where to. */
st keyd_key_change(struct scope *s, struct keyd *d, const char *label, enum key_state to, const struct keyd_why *why);
/* Every second: keys whose period has ended, and counts that changed go to their files. */
void keyd_life_tick(struct scope *s, struct keyd *d);
/* Everything has ended: the last word in the file. */
void keyd_life_close(struct scope *s, struct keyd *d, struct keyd_key *k);

/* ---- keyd_use.c ---- */
/* Before anything is signed, for some seconds at most: reads on in the log. Not there (the log's own keyd starts first): later. */
void keyd_use_begin(struct keyd *d);
/* Reads on in the log for keys that are behind, for a part of a second; `out_more`: there is more to read. Empties the scope each time. */
st keyd_use_catch_up(struct scope *s, struct keyd *d, bool *out_more);
/* For keys that are idle: so many records stand before the end of the log. */
st keyd_use_settle(struct scope *s, struct keyd *d);
