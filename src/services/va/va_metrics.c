/* What an operator of the va alarms on: ages and ends of what it publishes, and what the responder says. */
#include "http_metrics.h"
#include "moment.h"
#include "va.h"

static const struct metric produced = {
	"chancery_va_ocsp_produced_total", METRIC_COUNTER,
	"OCSP answers looked up and signed, by what they say; those kept in memory are given again without."
};
static const struct metric again = { "chancery_va_ocsp_given_again_total", METRIC_COUNTER,
				     "OCSP answers given from memory at once." };
static const struct metric errors = { "chancery_va_ocsp_errors_total", METRIC_COUNTER,
				      "OCSP requests answered with an error (RFC 6960, 2.3), which HTTP counts as 200." };
static const struct metric kept = { "chancery_va_ocsp_kept", METRIC_GAUGE, "Signed OCSP answers kept in memory." };
static const struct metric feed = { "chancery_va_feed_number", METRIC_GAUGE,
				    "Number of the status feed that is answered from." };
static const struct metric silence = { "chancery_va_feed_silence_seconds", METRIC_GAUGE, "Since the ca was last heard." };
static const struct metric crl_number = { "chancery_va_crl_number", METRIC_GAUGE,
					  "Number of the published CRL; 0: there is none." };
static const struct metric crl_end = { "chancery_va_crl_next_update_timestamp_seconds", METRIC_GAUGE,
				       "nextUpdate of the published CRL, seconds since 1970." };
static const struct metric signer_end = { "chancery_va_ocsp_signer_end_timestamp_seconds", METRIC_GAUGE,
					  "Until when the certificate of the CA's OCSP signer is good, seconds since 1970." };

static void put_produced(struct metrics_page *page, struct va *va)
{
	static const char *const words[] = {
		[PKI_OCSP_GOOD] = "good", [PKI_OCSP_REVOKED] = "revoked", [PKI_OCSP_UNKNOWN] = "unknown"
	};
	metrics_family(page, &produced);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		const struct metric_label label = { "status", words[i] };
		metrics_value(page, &produced, &label, 1, (int64_t)atomic_load(&va->produced[i]));
	}
}

/* Codes of ours that are one error to the protocol are one here. */
static void put_errors(struct metrics_page *page, struct va *va)
{
	static const struct {
		int status;
		const char *name;
	} rows[] = { { 1, "malformedRequest" }, { 2, "internalError" }, { 3, "tryLater" }, { 6, "unauthorized" } };
	metrics_family(page, &errors);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct metric_label label = { "status", rows[i].name };
		uint64_t count = 0;
		for (enum code code = E_OK + 1; code < CODE_COUNT; code++)
			count += code_row(code)->ocsp_status == rows[i].status ? atomic_load(&va->failed[code]) : 0;
		metrics_value(page, &errors, &label, 1, (int64_t)count);
	}
}

static void put_cas(struct metrics_page *page, const struct va_directory *directory)
{
	const struct metric *const metric[] = { &crl_number, &crl_end, &signer_end };
	for (size_t what = 0; what < 3; what++) {
		metrics_family(page, metric[what]);
		for (size_t i = 0; i < directory->count; i++) {
			const struct va_ca *ca = &directory->ca[i];
			const struct metric_label label = { "ca", ca->name };
			if (what == 0)
				metrics_value(page, metric[what], &label, 1, (int64_t)ca->crl.number);
			else if (what == 1 && ca->crl.number != 0)
				metrics_seconds(page, metric[what], &label, 1, ca->crl.next_update);
			else if (what == 2 && ca->signer.key != NULL)
				metrics_seconds(page, metric[what], &label, 1, ca->signer.not_after);
		}
	}
}

static void fill(struct scope *s, struct metrics_page *page, void *state)
{
	struct va *va = state;
	(void)s;
	AUTO_DIRECTORY *directory = va_directory_take(va);
	put_produced(page, va);
	put_errors(page, va);
	metrics_one(page, &again, (int64_t)atomic_load(&va->given_again));
	metrics_one(page, &kept, (int64_t)va_cache_count(va->cache));
	metrics_one(page, &feed, (int64_t)directory->number);
	metrics_one_seconds(page, &silence, moment_monotonic() - __atomic_load_n(&va->contact, __ATOMIC_RELAXED));
	put_cas(page, directory);
}

st va_metrics_serve(struct scope *s, struct va *va)
{
	va->metered = (struct http_metered){ .daemon = "va",
					     .started = scope_now(s),
					     .server = { { "public", va->public_server }, { "push", va->push_server } },
					     .fill = fill,
					     .state = va };
	return http_metrics_open(s, va->conf->metrics_listen, &va->metered, &va->metrics_server);
}
