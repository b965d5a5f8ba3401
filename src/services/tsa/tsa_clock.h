/*
 * tsa_clock.h - may the time be trusted? A monitor looks at the kernel's clock several times a second; every token asks what it
 * found and when, and looks for a jump itself. Whatever is not known is a reason to refuse (EN 319 421, TIS-7.7.2).
 */
#pragma once
#include "scope.h"
#include <sys/timex.h>

#define TSA_CLOCK_REASON_MAX 160
/* How often the monitor looks, and how old its last look may be: a dead monitor stops the tokens. */
#define TSA_CLOCK_INTERVAL (INT64_C(200000))
#define TSA_CLOCK_STALE    (INT64_C(1000000))
/* So many looks in a row must find nothing before a clock that was lost is trusted again. */
#define TSA_CLOCK_STEADY 3
/* Around a leap second nothing is stamped, from so long before midnight to so long after. */
#define TSA_CLOCK_LEAP_PAUSE (INT64_C(2000000))

/* The kernel; unit tests give their own. */
struct tsa_clock_source {
	int (*adjtimex)(void *state, struct timex *out); /* -1: not to be had */
	int64_t (*realtime)(void *state);                /* microseconds */
	int64_t (*monotonic)(void *state);
	void *state;
};
extern const struct tsa_clock_source tsa_clock_kernel;

#define TSA_CLOCK_SAMPLE_PERIOD (INT64_C(3600000000))
struct tsa_clock_sample {
	int64_t looks, trusted; /* and how many of them found nothing wrong */
	int64_t offset, error;  /* of trusted looks, microseconds: the worst offset, with its sign, and the worst error */
	int64_t since, until;
};

enum tsa_clock_kind { TSA_CLOCK_KERNEL, TSA_CLOCK_TEST };
struct tsa_clock_settings {
	enum tsa_clock_kind kind;
	int64_t accuracy; /* declared, microseconds */
	const struct tsa_clock_source *source;
	/* Puts clock.lost and clock.regained on record. Until the second one is, the clock stays lost. NULL in tests. */
	//= en319421#OVR-7.12-05 loss of synchronisation and recalibration are on record
	st (*lost)(struct scope *s, const char *reason, void *arg);
	st (*regained)(struct scope *s, int64_t offset, int64_t error, void *arg);
	/* clock.sampled, each hour and at the end; clock.leap, when one is announced. NULL in tests. */
	//= en319421#OVR-7.12-06 leap seconds are on record
	st (*sampled)(struct scope *s, const struct tsa_clock_sample *sample, void *arg);
	st (*leap)(struct scope *s, bool inserted, int64_t day, void *arg);
	void *arg;
};
struct tsa_clock;
struct tsa_clock *tsa_clock_new(const struct tsa_clock_settings *settings);
/* Ends the monitor as well. */
void tsa_clock_free(struct tsa_clock *c);
/* One look: what the monitor does at every interval. */
void tsa_clock_look(struct tsa_clock *c);
/* Start the monitor, after a first look. */
st tsa_clock_watch(struct scope *s, struct tsa_clock *c);

/* The time, when it is known to be within the declared accuracy at this instant; E_CLOCK with the reason otherwise. */
//= en319421#TIS-7.7.2-06 no token when the clock may be outside the declared accuracy
st tsa_clock_now(struct scope *s, struct tsa_clock *c, int64_t *out_now);
/* Whether tsa_clock_now would give one; the reason if not. */
bool tsa_clock_trusted(struct tsa_clock *c, char out_reason[TSA_CLOCK_REASON_MAX]);
