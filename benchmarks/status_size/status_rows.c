#include "status_rows.h"
#include "moment.h"
#include <endian.h>
#include <stdlib.h>

#define SLICE 8000000u /* sorted at once: 128 MB */

/* The finalizer of splitmix64: a bijection, and its values pass for random. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t high_half(enum rows_value kind, uint64_t number)
{
	uint64_t value = mix(number * 8 + kind);
	if (kind != ROWS_SERIAL)
		return value;
	value &= UINT64_MAX >> 1;
	return value >> 56 == 0 ? value | (uint64_t)1 << 56 : value;
}

void rows_value(enum rows_value kind, uint64_t number, uint8_t out[ROWS_LEN])
{
	uint64_t half[2] = { htobe64(high_half(kind, number)), htobe64(mix(~(number * 8 + kind))) };
	memcpy(out, half, ROWS_LEN);
}

bool rows_revoked(uint64_t number)
{
	return mix(number * 8 + ROWS_OTHER) % 50 == 0;
}

/* ---- in order ---- */

struct place {
	uint64_t high, number;
};

static int by_value(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	return (x->high > y->high) - (x->high < y->high);
}

static st take_places(struct scope *s, const struct place *place, size_t count, rows_take *take, void *arg)
{
	uint64_t number[ROWS_TOGETHER];
	for (size_t done = 0; done < count;) {
		size_t now = count - done < ROWS_TOGETHER ? count - done : ROWS_TOGETHER;
		for (size_t i = 0; i < now; i++)
			number[i] = place[done + i].number;
		TRY(take(s, number, now, arg));
		done += now;
	}
	return OK;
}

/* Those whose value lies in one slice of all values. */
static size_t gather(enum rows_value kind, uint64_t from, uint64_t to, uint64_t slice, uint64_t width, struct place *out,
		     size_t room)
{
	size_t found = 0;
	for (uint64_t number = from; number < to && found < room; number++) {
		uint64_t high = high_half(kind, number);
		if (high / width == slice)
			out[found++] = (struct place){ high, number };
	}
	return found;
}

static st each_sorted(struct scope *s, enum rows_value kind, uint64_t from, uint64_t to, rows_take *take, void *arg)
{
	uint64_t slices = (to - from) / SLICE + 1, width = UINT64_MAX / slices;
	if (kind == ROWS_SERIAL)
		width = (UINT64_MAX >> 1) / slices;
	size_t room = (size_t)((to - from) / slices) + SLICE / 8;
	struct place *place = heap_alloc(room * sizeof *place);
	st status = OK;
	for (uint64_t slice = 0; slice <= slices && status.code == E_OK; slice++) {
		size_t count = gather(kind, from, to, slice, width, place, room);
		qsort(place, count, sizeof *place, by_value);
		status = count < room ? take_places(s, place, count, take, arg) : fail(s, E_BUG, "a slice is too small");
	}
	free(place);
	return status;
}

st rows_each(struct scope *s, enum rows_value kind, uint64_t count, rows_take *take, void *arg)
{
	uint64_t number[ROWS_TOGETHER], at_random = count / 100 > 10000 ? count / 100 : 10000;
	if (at_random > count)
		at_random = count;
	for (uint64_t done = 0; done < at_random;) {
		size_t now = at_random - done < ROWS_TOGETHER ? (size_t)(at_random - done) : ROWS_TOGETHER;
		for (size_t i = 0; i < now; i++)
			number[i] = done + i;
		TRY(take(s, number, now, arg));
		done += now;
	}
	return at_random < count ? each_sorted(s, kind, at_random, count, take, arg) : OK;
}

/* ---- how long ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double nanoseconds(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static st look_once(struct scope *s, uint64_t number, rows_look *look, void *arg, double *out_took)
{
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	double start = nanoseconds();
	st status = look(&own, number, arg);
	*out_took = (nanoseconds() - start) / 1000;
	return status.code == E_OK ? OK : fail(s, status.code, "%s", own.message);
}

st rows_time(struct scope *s, uint64_t count, size_t untimed, size_t lookups, rows_look *look, void *arg,
	     struct rows_times *out)
{
	double ignored, *took = heap_alloc(lookups * sizeof *took);
	uint64_t random = (uint64_t)moment_monotonic();
	st status = OK;
	for (size_t i = 0; i < untimed && status.code == E_OK; i++)
		status = look_once(s, mix(random - i) % count, look, arg, &ignored);
	for (size_t i = 0; i < lookups && status.code == E_OK; i++)
		status = look_once(s, mix(random + 1 + i) % count, look, arg, &took[i]);
	qsort(took, lookups, sizeof *took, by_size);
	*out = (struct rows_times){ took[lookups / 2], took[lookups * 99 / 100] };
	free(took);
	return status;
}
