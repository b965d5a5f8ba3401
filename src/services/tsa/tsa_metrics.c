/* What an operator of the time-stamping authority alarms on. */
#include "http_metrics.h"
#include "tsa.h"

static const struct metric granted = { "chancery_tsa_tokens_total", METRIC_COUNTER,
				       "Time-stamp tokens that keyd was asked for since the start." };
static const struct metric rejected = { "chancery_tsa_rejected_total", METRIC_COUNTER,
					"Requests answered with a rejection, by PKIFailureInfo (RFC 3161, 2.4.2)." };
static const struct metric trusted = { "chancery_tsa_clock_trusted", METRIC_GAUGE,
				       "1 when the clock is known to be within the declared accuracy." };
static const struct metric issuing = { "chancery_tsa_issuing", METRIC_GAUGE,
				       "1 when tokens are issued; /healthz says why not." };
static const struct metric key_end = { "chancery_tsa_key_end_timestamp_seconds", METRIC_GAUGE,
				       "Until when the unit's key signs, seconds since 1970." };

static void put_rejected(struct metrics_page *page, struct tsa *tsa)
{
	static const enum pki_failure failures[] = {
		PKI_BAD_ALG,           PKI_BAD_REQUEST,          PKI_BAD_DATA_FORMAT,        PKI_TIME_NOT_AVAILABLE,
		PKI_UNACCEPTED_POLICY, PKI_UNACCEPTED_EXTENSION, PKI_ADD_INFO_NOT_AVAILABLE, PKI_SYSTEM_FAILURE
	};
	metrics_family(page, &rejected);
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
		const struct metric_label label = { "failure", tsa_failure_name(failures[i]) };
		metrics_value(page, &rejected, &label, 1, (int64_t)atomic_load(&tsa->rejected[failures[i]]));
	}
}

static void fill(struct scope *s, struct metrics_page *page, void *state)
{
	struct tsa *tsa = state;
	char reason[TSA_CLOCK_REASON_MAX];
	metrics_one(page, &granted, (int64_t)__atomic_load_n(&tsa->stamped, __ATOMIC_RELAXED));
	put_rejected(page, tsa);
	metrics_one(page, &trusted, tsa_clock_trusted(tsa->clock, reason));
	metrics_one(page, &issuing, tsa_trouble(s, tsa, reason) == NULL);
	metrics_one_seconds(page, &key_end, tsa_unit_now(tsa)->key_end);
}

st tsa_metrics_serve(struct scope *s, struct tsa *tsa)
{
	tsa->metered = (struct http_metered){ .daemon = "tsa",
					      .started = scope_now(s),
					      .server = { { "public", tsa->server }, { "management", tsa->management } },
					      .fill = fill,
					      .state = tsa };
	return http_metrics_open(s, tsa->conf->metrics_listen, &tsa->metered, &tsa->metrics_server);
}
