/* What an operator of the ca alarms on. Small look-ups in the database, when somebody asks. */
#include "ca_http.h"
#include "ca_push.h"
#include "http_metrics.h"

static const struct metric issued = { "chancery_ca_certificates_total", METRIC_COUNTER, "Certificates in the database." };
static const struct metric outbox = { "chancery_ca_outbox", METRIC_GAUGE,
				      "Records that are committed and not yet in the audit log." };
static const struct metric outbox_age = { "chancery_ca_outbox_waiting_seconds", METRIC_GAUGE,
					  "How long the oldest of them has waited." };
static const struct metric unissued = { "chancery_ca_unissued_total", METRIC_COUNTER,
					"Certificates asked for and not issued, by why." };
static const struct metric revoked = { "chancery_ca_revocations_total", METRIC_COUNTER, "Certificates revoked." };
static const struct metric identity_end = {
	"chancery_ca_identity_end_timestamp_seconds", METRIC_GAUGE,
	"Until when a certificate that the ca renews by itself is good, seconds since 1970."
};
static const struct metric identity_failing = { "chancery_ca_identity_failing", METRIC_GAUGE,
						"1 when renewing it failed the last time." };
static const struct metric leads = { "chancery_ca_leads", METRIC_GAUGE, "1 when this ca pushes and keeps the schedule." };
static const struct metric answers = { "chancery_ca_database_answers", METRIC_GAUGE, "1 when the database answers." };
static const struct metric crl_number = { "chancery_ca_crl_number", METRIC_GAUGE, "Number of the newest CRL of the CA." };
static const struct metric crl_end = { "chancery_ca_crl_next_update_timestamp_seconds", METRIC_GAUGE,
				       "nextUpdate of the newest CRL of the CA, seconds since 1970." };
static const struct metric lag = { "chancery_ca_va_lag", METRIC_GAUGE,
				   "Items of the status feed that the va has not confirmed." };
static const struct metric connected = { "chancery_ca_va_connected", METRIC_GAUGE,
					 "1 when the last push to the va was answered." };

struct numbers {
	int64_t issued, outbox, outbox_since;
};

static st read_numbers(struct scope *s, struct db_tx *tx, void *arg)
{
	struct numbers *n = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_certificate_count, NULL, 0, &row));
	n->issued = row.column[0].integer;
	TRY(db_one(s, tx, &sql_outbox_count, NULL, 0, &row));
	n->outbox = row.column[0].integer;
	n->outbox_since = row.column[1].integer;
	return OK;
}

static void put_database(struct scope *s, struct metrics_page *page, struct ca *ca)
{
	struct numbers n;
	bool read = db_read(s, ca->db, read_numbers, &n).code == E_OK;
	scope_clear_error(s);
	metrics_one(page, &answers, read);
	if (read) {
		metrics_one(page, &issued, n.issued);
		metrics_one(page, &outbox, n.outbox);
		metrics_one_seconds(page, &outbox_age, n.outbox_since == 0 ? 0 : scope_now(s) - n.outbox_since);
	}
}

static void put_crls(struct scope *s, struct metrics_page *page, struct ca *ca)
{
	const struct metric *const metric[] = { &crl_number, &crl_end };
	for (size_t what = 0; what < 2; what++) {
		const struct ca_authority *a;
		metrics_family(page, metric[what]);
		for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++) {
			struct ca_crl last;
			const struct metric_label label = { "ca", a->name };
			bool there = ca_crl_last(s, ca, a->id, &last).code == E_OK;
			scope_clear_error(s);
			if (there && what == 0)
				metrics_value(page, metric[what], &label, 1, (int64_t)last.number);
			else if (there)
				metrics_seconds(page, metric[what], &label, 1, last.next_update);
		}
	}
}

static void put_vas(struct scope *s, struct metrics_page *page, struct ca *ca)
{
	struct ca_va_state *va;
	size_t count = ca_push_states(s, ca, &va);
	const struct metric *const metric[] = { &lag, &connected };
	for (size_t what = 0; what < 2; what++) {
		metrics_family(page, metric[what]);
		for (size_t i = 0; i < count; i++) {
			const struct metric_label label = { "va", va[i].name };
			metrics_value(page, metric[what], &label, 1, what == 0 ? (int64_t)va[i].lag : va[i].connected);
		}
	}
}

/* Since the start. */
static void put_counts(struct metrics_page *page, struct ca *ca)
{
	metrics_one(page, &revoked, (int64_t)atomic_load(&ca->revocations));
	metrics_family(page, &unissued);
	for (enum code code = E_OK + 1; code < CODE_COUNT; code++) {
		const struct metric_label label = { "code", code_row(code)->name };
		metrics_value(page, &unissued, &label, 1, (int64_t)atomic_load(&ca->unissued[code]));
	}
}

static void put_identities(struct scope *s, struct metrics_page *page, struct ca *ca)
{
	struct ca_identity *identity;
	size_t count;
	if (ca_identity_list(s, ca, &identity, &count).code != E_OK) {
		scope_clear_error(s);
		return;
	}
	const struct metric *const metric[] = { &identity_end, &identity_failing };
	for (size_t what = 0; what < 2; what++) {
		metrics_family(page, metric[what]);
		for (size_t i = 0; i < count; i++) {
			const struct metric_label label = { "name", identity[i].name };
			if (what == 0)
				metrics_seconds(page, metric[what], &label, 1, identity[i].not_after);
			else
				metrics_value(page, metric[what], &label, 1,
					      identity[i].failure != NULL && identity[i].failure[0] != 0);
		}
	}
}

static void fill(struct scope *s, struct metrics_page *page, void *state)
{
	struct ca *ca = state;
	metrics_one(page, &leads, atomic_load(&ca->leads));
	put_counts(page, ca);
	put_database(s, page, ca);
	put_crls(s, page, ca);
	put_vas(s, page, ca);
	put_identities(s, page, ca);
}

st ca_metrics_serve(struct scope *s, struct ca *ca)
{
	ca->metered = (struct http_metered){
		.daemon = "ca", .started = scope_now(s), .server = { { "api", ca->http } }, .fill = fill, .state = ca
	};
	return http_metrics_open(s, ca->conf->metrics_listen, &ca->metered, &ca->metrics_server);
}
