#include "audit_writers.h"
#include "audit.h"
#include <stdlib.h>

/* Twice the runs, so that a free place is near. */
#define PLACES (2 * AUDIT_RUNS_MAX)

struct run {
	uint64_t id;
	uint64_t next;    /* number that comes next */
	uint64_t missing; /* first number that did not come; 0: none */
	uint64_t gaps;    /* numbers that did not come */
	uint64_t seen;    /* when, in records of the log; 0: a free place */
	bool ended;
	uint8_t writer;
};

struct audit_writers {
	struct run run[PLACES];
	size_t runs;
	uint64_t now;
	uint64_t removed, explained; /* records without content, and numbers that these stand for */
	bool whole, forgot;
	struct audit_writer writer[AUDIT_WRITERS_MAX];
	size_t writers, last;
};

struct audit_writers *audit_writers_new(bool whole)
{
	struct audit_writers *w = heap_alloc(sizeof *w);
	w->whole = whole;
	return w;
}

void audit_writers_free(struct audit_writers *w)
{
	free(w);
}

/* ---- writers ---- */

static size_t find_writer(const struct audit_writers *w, span component)
{
	if (w->writers > 0 && span_is(component, w->writer[w->last].component))
		return w->last;
	size_t i = 0;
	while (i < w->writers && !span_is(component, w->writer[i].component))
		i++;
	return i;
}

static size_t writer_of(struct audit_writers *w, span component)
{
	size_t i = find_writer(w, component);
	if (i >= AUDIT_WRITERS_MAX - 1) {
		i = AUDIT_WRITERS_MAX - 1;
		component = SPAN_LITERAL("others");
	}
	if (i >= w->writers) {
		if (component.len > 0)
			memcpy(w->writer[i].component, component.data, component.len);
		w->writers = i + 1;
	}
	return w->last = i;
}

/* ---- runs ---- */

static struct run *place_of(struct audit_writers *w, uint64_t id)
{
	size_t i = (size_t)(id % PLACES);
	while (w->run[i].seen != 0 && w->run[i].id != id)
		i = (i + 1) % PLACES;
	return &w->run[i];
}

static void count_unclear(struct audit_writers *w, const struct run *r)
{
	w->writer[r->writer].unclear += r->gaps;
}

/* Those behind it that would not be found across the hole are put in anew. */
static void take_out(struct audit_writers *w, struct run *r)
{
	size_t i = (size_t)(r - w->run);
	*r = (struct run){ 0 };
	w->runs--;
	for (i = (i + 1) % PLACES; w->run[i].seen != 0; i = (i + 1) % PLACES) {
		struct run moved = w->run[i];
		w->run[i] = (struct run){ 0 };
		*place_of(w, moved.id) = moved;
	}
}

static bool sooner(const struct run *a, const struct run *b)
{
	return a->ended != b->ended ? a->ended : a->seen < b->seen;
}

static void forget_one(struct audit_writers *w)
{
	struct run *oldest = NULL;
	for (size_t i = 0; i < PLACES; i++)
		if (w->run[i].seen != 0 && (oldest == NULL || sooner(&w->run[i], oldest)))
			oldest = &w->run[i];
	w->forgot = true;
	count_unclear(w, oldest);
	take_out(w, oldest);
}

static struct run *begin(struct audit_writers *w, const struct audit_record *r, size_t writer)
{
	if (w->runs == AUDIT_RUNS_MAX)
		forget_one(w);
	struct run *run = place_of(w, r->run);
	*run = (struct run){ .id = r->run, .next = w->whole && !w->forgot ? 1 : r->n, .writer = (uint8_t)writer };
	w->runs++;
	w->writer[writer].runs++;
	return run;
}

//= tsps#5.4 the records of every component are kept, and what is missing among them is found
static st missing(struct scope *s, const struct audit_writers *w, const struct run *run)
{
	return fail(
		s, E_CRYPTO,
		"record %llu of run %016llx of %s is not in the log, though it was acknowledged: it never arrived, or the log "
		"dropped it; look for it at its writer",
		(unsigned long long)run->missing, (unsigned long long)run->id, w->writer[run->writer].component);
}

void audit_writers_removed(struct audit_writers *w)
{
	w->removed++;
}

/* No more numbers than there are records without content. */
static bool was_removed(struct audit_writers *w, struct run *run, uint64_t gaps)
{
	if (gaps > w->removed - w->explained)
		return false;
	w->explained += gaps;
	run->gaps = run->missing = 0;
	return true;
}

/* The writer says that it had numbers up to this acknowledged. */
static st end_run(struct scope *s, struct audit_writers *w, struct run *run, uint64_t last)
{
	if (run->missing == 0 && run->next <= last)
		run->missing = run->next;
	uint64_t behind = run->next <= last ? last - run->next + 1 : 0;
	if (run->missing != 0 && run->missing <= last && !was_removed(w, run, run->gaps + behind))
		return missing(s, w, run);
	w->writer[run->writer].ended += !run->ended;
	run->ended = true;
	return OK;
}

static st end_before(struct scope *s, struct audit_writers *w, const struct audit_record *r)
{
	struct run *before = place_of(w, r->after);
	return before->seen == 0 ? OK : end_run(s, w, before, r->last);
}

static st count(struct scope *s, struct audit_writers *w, struct run *run, const struct audit_record *r)
{
	run->seen = w->now;
	if (r->n < run->next)
		return fail(s, E_CRYPTO, "run %016llx of %s has a record %llu twice, or behind a later one",
			    (unsigned long long)r->run, w->writer[run->writer].component, (unsigned long long)r->n);
	if (r->n > run->next) {
		run->missing = run->missing == 0 ? run->next : run->missing;
		run->gaps += r->n - run->next;
	}
	run->next = r->n + 1;
	/* A run is given up with the frame that has the gap: what lies a frame behind it was sent by who knew nothing of one. */
	bool sure = run->missing != 0 && !run->ended && r->n - run->missing > AUDIT_BATCH_MAX;
	return sure && !was_removed(w, run, run->gaps) ? missing(s, w, run) : OK;
}

st audit_writers_add(struct scope *s, struct audit_writers *w, const struct audit_record *r)
{
	size_t writer = writer_of(w, r->component);
	w->now++;
	w->writer[writer].records++;
	if (r->n == 0) {
		w->writer[writer].unnumbered++;
		return OK;
	}
	struct run *run = place_of(w, r->run);
	if (run->seen == 0)
		run = begin(w, r, writer);
	TRY(count(s, w, run, r));
	if (r->after != 0)
		TRY(end_before(s, w, r));
	return r->code == AUDIT_SERVICE_STOPPED ? end_run(s, w, run, r->n) : OK;
}

const struct audit_writer *audit_writers_end(struct audit_writers *w, size_t *out_count)
{
	for (size_t i = 0; i < PLACES; i++)
		if (w->run[i].seen != 0) {
			count_unclear(w, &w->run[i]);
			w->run[i].gaps = 0;
		}
	*out_count = w->writers;
	return w->writer;
}
