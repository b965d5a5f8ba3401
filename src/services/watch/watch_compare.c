/*
 * One round, for each CA that works: its CRL from the public address, then all serials in order, page by page from the ca, each asked of the
 * public responder at a bounded rate, if the CA has one; then serials that nobody issued. What differs is looked at again after `settle`, from
 * scratch, since a revocation takes a moment to arrive; what differs still is on record.
 */
#include "client.h"
#include "log.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_ocsp.h"
#include "pki_pem.h"
#include "text.h"
#include "watch_compare_internal.h"
#include <stdlib.h>

#define TIMEOUT_MS    10000
#define PAGE_MAX      (1u << 20)
#define CRL_MAX       (64u << 20)
#define OCSP_MAX      65536
#define PAGE_SERIALS  200
#define RECORDED_MAX  100 /* of a round: more say no more, and are counted only */
#define LOGGED_MAX    10
#define NEVER_ISSUED  3
#define FIRST_PART    24 /* of an interval, before the first round */
#define RESUME_PAUSE  (2 * MOMENT_SECOND)
#define MISSING_LIMIT 10 /* answers in a row that do not come: the round is broken off */

typedef struct client client;
DEFINE_AUTO(client, client_free)

static int compare_serials(const void *a, const void *b)
{
	const struct serial *x = a, *y = b;
	int by_octets = memcmp(x->octets, y->octets, SERIAL_MAX);
	return by_octets != 0 ? by_octets : (int)x->len - (int)y->len;
}

/* ---- the CRL, as relying parties have it ---- */

static st take_entry(struct scope *s, const struct pki_crl_entry *entry, void *arg)
{
	struct crl *crl = arg;
	if (crl->count == crl->room) {
		crl->room = crl->room == 0 ? 1024 : 2 * crl->room;
		crl->entry = heap_grow(crl->entry, crl->room * sizeof *crl->entry);
	}
	if (!compare_take_serial(entry->serial, &crl->entry[crl->count]))
		return fail(s, E_INPUT, "the CRL has a serial number of %zu octets", entry->serial.len);
	crl->count++;
	return OK;
}

static st fetch_crl(struct scope *s, struct round *r)
{
	const char *pattern = r->c->conf->compare.crl_url, *mark = strstr(pattern, "{ca}");
	const char *url = scope_printf(s, "%.*s%s%s", (int)(mark - pattern), pattern, r->ca, mark + strlen("{ca}"));
	const struct client_settings settings = { .base_url = url, .timeout_ms = TIMEOUT_MS, .max_body = CRL_MAX };
	AUTO(client) *http = NULL;
	struct client_answer answer;
	struct pki_crl crl;
	TRY(client_new(s, &settings, &http));
	TRY(client_call(s, http, "GET", "", NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	TRY(pki_crl_read(s, answer.body, &crl));
	TRY(pki_crl_verify(s, &crl, &r->issuer));
	r->crl.count = 0;
	r->crl.this_update = crl.this_update;
	r->crl.expired_from = crl.expired_certs_from;
	TRY(pki_crl_each(s, answer.body, take_entry, &r->crl));
	qsort(r->crl.entry, r->crl.count, sizeof *r->crl.entry, compare_serials);
	return OK;
}

/* The file is given back at once: a round may take hours. */
static st load_crl(struct scope *s, struct round *r)
{
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	st fetched = fetch_crl(&own, r);
	return fetched.code == E_OK ? OK : fail(s, fetched.code, "%s", own.message);
}

static const char *crl_says(const struct round *r, const struct serial *serial)
{
	bool listed =
		r->crl.count > 0 && bsearch(serial, r->crl.entry, r->crl.count, sizeof *r->crl.entry, compare_serials) != NULL;
	return listed ? "revoked" : "good";
}

/* Revoked since the ca's last CRL was made, or expired and no more on it. An older one that was put back excuses nothing. */
static bool crl_may_lack(const struct round *r, const struct said *said, int64_t now)
{
	bool expired = said->not_after < now && (r->crl.expired_from == 0 || said->not_after < r->crl.expired_from);
	int64_t made = r->crl.this_update > r->crl_due ? r->crl.this_update : r->crl_due;
	return said->revoked && (expired || said->revoked_at > made - r->c->conf->compare.settle);
}

/* ---- OCSP, as relying parties ask ---- */

static st ask_ocsp(struct scope *s, struct round *r, const struct serial *serial, const char **out)
{
	static const char *const words[] = {
		[PKI_OCSP_GOOD] = "good", [PKI_OCSP_REVOKED] = "revoked", [PKI_OCSP_UNKNOWN] = "unknown"
	};
	struct pki_ocsp_response *response = scope_new(s, struct pki_ocsp_response);
	struct client_answer answer;
	span request, id;
	const struct pki_certificate *issuer = &r->issuer;
	TRY(pki_ocsp_request_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, compare_serial_span(serial), (span){ 0 },
				   &request));
	TRY(pki_ocsp_cert_id_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, compare_serial_span(serial), &id));
	TRY(client_call(s, r->c->public_client, "POST", "", "application/ocsp-request", request, &answer));
	TRY(client_expect(s, &answer));
	TRY(pki_ocsp_response_read(s, answer.body, response));
	if (response->status != 0)
		return fail(s, E_UNAVAILABLE, "the responder answers with error %d", response->status);
	TRY(pki_ocsp_response_verify(s, response, issuer));
	if (response->count != 1 || !span_equal(response->single[0].cert_id, id))
		return fail(s, E_CRYPTO, "the responder answers for another certificate");
	int64_t now = scope_now(s);
	if (response->single[0].next_update < now)
		return fail(s, E_CRYPTO, "the responder's answer is over (RFC 6960, 3.2)");
	*out = words[response->single[0].status];
	return OK;
}

/* What OCSP says; "no answer" counts against the round, an answer that does not stand the check is a difference. */
static const char *ocsp_says(struct round *r, const struct serial *serial)
{
	const char *word = "none";
	if (!r->has_ocsp)
		return word;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st asked = ask_ocsp(&s, r, serial, &word);
	bool is_missing = asked.code == E_UNAVAILABLE;
	r->missing = is_missing ? r->missing + 1 : 0;
	if (asked.code == E_OK)
		return word;
	if (r->logged++ < LOGGED_MAX)
		log_failure(&s, "comparing: asking the responder");
	return is_missing ? "no answer" : "not valid";
}

/* ---- one certificate ---- */

struct verdict {
	const char *database, *ocsp, *crl;
	bool agree, unreachable;
};

static struct verdict judge(struct round *r, const struct said *said)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct verdict v = { .database = said->revoked ? "revoked" : "good",
			     .ocsp = ocsp_says(r, &said->serial),
			     .crl = crl_says(r, &said->serial) };
	v.unreachable = strcmp(v.ocsp, "no answer") == 0;
	bool crl_agrees = strcmp(v.crl, v.database) == 0 || crl_may_lack(r, said, scope_now(&s));
	v.agree = crl_agrees && (!r->has_ocsp || v.unreachable || strcmp(v.ocsp, v.database) == 0);
	return v;
}

/* What a round finds, it finds once, also when it is at the same place again behind a kill: auditd drops a record that it has. */
static void begin_record(struct scope *s, struct audit_event *e, enum audit_code code, const struct round *r, const char *what)
{
	uint8_t digest[DIGEST_MAX];
	const char *text = scope_printf(s, "%s %lld %s %s", audit_row(code)->name, (long long)r->c->began, r->ca, what);
	audit_begin_as(e, s, code, digest_of(DIGEST_SHA256, span_str(text), digest).data);
}

static void put_mismatch(struct round *r, const struct serial *serial, const struct verdict *v)
{
	uint64_t index;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	begin_record(&s, &e, AUDIT_STATUS_MISMATCH, r, hex_text(&s, compare_serial_span(serial)));
	audit_str(&e, "ca", r->ca);
	audit_hex(&e, "serial", compare_serial_span(serial));
	audit_str(&e, "database", v->database);
	audit_str(&e, "ocsp", v->ocsp);
	audit_str(&e, "crl", v->crl);
	st recorded = audit_finish(&s, &e);
	if (recorded.code == E_OK)
		recorded = audit_commit(&s, r->c->audit, &e, &index);
	if (recorded.code != E_OK)
		log_failure(&s, "recording a difference");
}

static void differs(struct round *r, const struct serial *serial, const struct verdict *v)
{
	if (r->differ++ < RECORDED_MAX)
		put_mismatch(r, serial, v);
}

/* ---- the database, by the ca ---- */

static st get(struct scope *s, struct watch_compare *c, const char *path, json_t **out)
{
	struct client_answer answer;
	TRY(client_call(s, c->api, "GET", path, NULL, (span){ 0 }, &answer));
	TRY(client_expect(s, &answer));
	*out = json_loadb((const char *)answer.body.data, answer.body.len, JSON_REJECT_DUPLICATES, NULL);
	return *out != NULL ? OK : fail(s, E_INPUT, "the ca's answer to %s is no JSON", path);
}

static int64_t moment_of(const json_t *row, const char *name)
{
	int64_t moment = 0;
	const char *text = json_string_value(json_object_get(row, name));
	return text != NULL && moment_read(span_str(text), &moment) ? moment : 0;
}

static st read_said(struct scope *s, const json_t *row, struct said *out)
{
	span bytes;
	const char *serial = json_string_value(json_object_get(row, "serial")),
		   *state = json_string_value(json_object_get(row, "state"));
	if (serial == NULL || state == NULL)
		return fail(s, E_INPUT, "the ca's list of serials is not as it should be");
	TRY(hex_parse(s, span_str(serial), &bytes));
	*out = (struct said){ .revoked = strcmp(state, "revoked") == 0,
			      .revoked_at = moment_of(row, "revoked_at"),
			      .not_after = moment_of(row, "not_after") };
	return compare_take_serial(bytes, &out->serial)
		       ? OK
		       : fail(s, E_INPUT, "the ca has a serial number of %zu octets", bytes.len);
}

static st get_page(struct scope *s, struct round *r, const struct serial *after, json_t **out)
{
	TRY(get(s, r->c,
		scope_printf(s, "/v1/cas/%s/status?limit=%d%s%s", r->ca, PAGE_SERIALS, after->len > 0 ? "&after=" : "",
			     hex_text(s, compare_serial_span(after))),
		out));
	r->crl_due = moment_of(*out, "crl_this_update");
	return OK;
}

/* ---- doubts ---- */

/* The same certificate, as the ca has it now; E_NOTFOUND when it has it no more. */
static st read_again(struct scope *s, struct round *r, struct said *said)
{
	AUTO(json_t) *page = NULL;
	const json_t *row;
	size_t i;
	TRY(get_page(s, r, &said->before, &page));
	json_array_foreach(json_object_get(page, "statuses"), i, row)
	{
		struct said now;
		TRY(read_said(s, row, &now));
		if (compare_serials(&now.serial, &said->serial) == 0) {
			now.before = said->before;
			*said = now;
			return OK;
		}
	}
	return fail(s, E_NOTFOUND, "the ca does not list it any more");
}

static st settle_doubt(struct scope *s, struct round *r, struct said *said)
{
	st read = read_again(s, r, said);
	if (read.code != E_OK && read.code != E_NOTFOUND)
		return read;
	struct verdict v = judge(r, said);
	if (read.code == E_NOTFOUND) {
		scope_clear_error(s);
		v.database = "unknown";
		v.agree = false;
	}
	if (!v.agree)
		differs(r, &said->serial, &v);
	else
		r->unreachable += v.unreachable;
	return OK;
}

/* All that are there; a service that went away in the meantime breaks off the round, and accuses nobody. */
static st settle_doubts(struct scope *s, struct round *r)
{
	if (r->doubts == 0 || !pacer_pause(&r->c->pacer, r->c->conf->compare.settle))
		return OK;
	TRY(load_crl(s, r));
	for (size_t i = 0; i < r->doubts && !pacer_is_stopping(&r->c->pacer); i++)
		TRY(settle_doubt(s, r, &r->doubt[i]));
	r->doubts = 0;
	return OK;
}

/* ---- all certificates ---- */

static st look_at(struct scope *s, struct round *r, const struct said *said)
{
	struct verdict v = judge(r, said);
	r->serials++;
	r->after = said->serial;
	if (v.agree)
		r->unreachable += v.unreachable;
	else if (r->differ < RECORDED_MAX)
		r->doubt[r->doubts++] = *said;
	else
		differs(r, &said->serial, &v);
	if (r->missing >= MISSING_LIMIT)
		return fail(s, E_UNAVAILABLE, "the responder does not answer");
	if (r->doubts == DOUBTS_MAX)
		TRY(settle_doubts(s, r));
	compare_place_keep(r, false);
	(void)pacer_pause(&r->c->pacer, r->has_ocsp ? MOMENT_SECOND / r->c->conf->compare.ocsp_rate : 0);
	return OK;
}

/* False in `out_more` behind the last page, and when the daemon is to end. */
static st compare_page(struct scope *s, struct round *r, struct serial *after, bool *out_more)
{
	AUTO(json_t) *page = NULL;
	const json_t *row;
	size_t i;
	struct serial before = *after;
	TRY(get_page(s, r, after, &page));
	const char *next = json_string_value(json_object_get(page, "next"));
	*out_more = next != NULL;
	json_array_foreach(json_object_get(page, "statuses"), i, row)
	{
		struct said said;
		TRY(read_said(s, row, &said));
		said.before = before;
		before = said.serial;
		TRY(look_at(s, r, &said));
		if (pacer_is_stopping(&r->c->pacer)) {
			*out_more = false;
			return OK;
		}
	}
	span bytes = { 0 };
	if (next != NULL)
		TRY(hex_parse(s, span_str(next), &bytes));
	return next == NULL || compare_take_serial(bytes, after)
		       ? OK
		       : fail(s, E_INPUT, "the ca's list of serials is not as it should be");
}

static st compare_all(struct scope *s, struct round *r)
{
	struct serial after = r->after;
	if (r->doubts == DOUBTS_MAX) /* a former run was ended before it had settled them */
		TRY(settle_doubts(s, r));
	bool more = r->doubts < DOUBTS_MAX;
	while (more) {
		AUTO_SCOPE page;
		scope_init(&page, NULL);
		st compared = compare_page(&page, r, &after, &more);
		if (compared.code != E_OK)
			return fail(s, compared.code, "%s", page.message);
	}
	return settle_doubts(s, r);
}

/* ---- what was never issued ---- */

static void compare_never_issued(struct round *r)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int i = 0; i < NEVER_ISSUED; i++) {
		uint8_t octets[16];
		struct serial serial;
		pki_serial_new(&s, octets);
		if (!compare_take_serial(SPAN_ARRAY(octets), &serial))
			continue;
		struct verdict v = { .database = "unknown", .ocsp = ocsp_says(r, &serial), .crl = crl_says(r, &serial) };
		//= en319411-2#OVR-6.6.3-02 a certificate that was not issued is not "good"
		if (strcmp(v.ocsp, "good") == 0 || strcmp(v.ocsp, "not valid") == 0 || strcmp(v.crl, "revoked") == 0)
			differs(r, &serial, &v);
		else
			r->unreachable += strcmp(v.ocsp, "no answer") == 0;
	}
}

/* ---- a round ---- */

static void put_compared(struct scope *s, const struct round *r)
{
	uint64_t index;
	AUTO_EVENT e;
	begin_record(s, &e, AUDIT_STATUS_COMPARED, r, "");
	audit_str(&e, "ca", r->ca);
	audit_number(&e, "serials", (int64_t)r->serials);
	audit_number(&e, "agree", (int64_t)(r->serials + NEVER_ISSUED - r->differ - r->unreachable));
	audit_number(&e, "differ", (int64_t)r->differ);
	audit_number(&e, "unreachable", (int64_t)r->unreachable);
	st recorded = audit_finish(s, &e);
	if (recorded.code == E_OK)
		recorded = audit_commit(s, r->c->audit, &e, &index);
	if (recorded.code != E_OK)
		log_failure(s, "recording the comparison");
}

static st read_issuer(struct round *r, const char *pem)
{
	struct scope *s = &r->memory;
	span der;
	TRY(pki_pem_or_der(s, scope_copy(s, span_str(pem)), "CERTIFICATE", &der));
	return pki_certificate_read(s, der, &r->issuer);
}

static st compare_round(struct scope *s, struct round *r, const char *certificate)
{
	st read = read_issuer(r, certificate);
	if (read.code != E_OK)
		return fail(s, read.code, "its certificate: %s", r->memory.message);
	TRY(load_crl(s, r));
	compare_place_resume(r);
	TRY(compare_all(s, r));
	if (pacer_is_stopping(&r->c->pacer)) {
		compare_place_keep(r, true);
		return OK;
	}
	compare_never_issued(r);
	put_compared(s, r);
	return OK;
}

/* What is published and does not verify is no outage: somebody changed it. */
static void put_false(const struct round *r, const char *why)
{
	uint64_t index;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	audit_begin(&e, &s, AUDIT_PROBE_FAILED);
	audit_str(&e, "target", scope_printf(&s, "status of %s", r->ca));
	audit_str(&e, "reason", why);
	st recorded = audit_finish(&s, &e);
	if (recorded.code == E_OK)
		recorded = audit_commit(&s, r->c->audit, &e, &index);
	if (recorded.code != E_OK)
		log_failure(&s, "recording what does not verify");
}

/* One that was broken off, by the end of the daemon or by a service that is away, is no comparison: the probes tell of those. */
static void compare_ca(struct watch_compare *c, const char *name, const char *certificate, bool has_ocsp)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct round *r = heap_alloc(sizeof *r);
	*r = (struct round){ .c = c, .ca = name, .has_ocsp = has_ocsp };
	scope_init(&r->memory, NULL);
	st compared = compare_round(&s, r, certificate);
	if (compared.code != E_OK)
		log_put(LOG_LEVEL_WARNING, "comparing %s: %s", name, s.message);
	if (compared.code == E_CRYPTO || compared.code == E_INPUT)
		put_false(r, scope_printf(&s, "%s", s.message));
	if (!pacer_is_stopping(&c->pacer))
		compare_place_done(c, name);
	scope_done(&r->memory);
	free(r->crl.entry);
	free(r);
}

static void compare_cas(struct watch_compare *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(json_t) *all = NULL;
	compare_place_begin(c, scope_now(&s));
	const json_t *ca;
	size_t i;
	if (get(&s, c, "/v1/cas", &all).code != E_OK) {
		log_failure(&s, "comparing: asking the ca for its CAs");
		return;
	}
	json_array_foreach(json_object_get(all, "cas"), i, ca)
	{
		const char *name = json_string_value(json_object_get(ca, "name")),
			   *state = json_string_value(json_object_get(ca, "state")),
			   *certificate = json_string_value(json_object_get(ca, "certificate")),
			   *ocsp_url = json_string_value(json_object_get(ca, "ocsp_url"));
		if (name != NULL && certificate != NULL && state != NULL && strcmp(state, "active") == 0 &&
		    !compare_place_is_done(c, name) && !pacer_is_stopping(&c->pacer))
			compare_ca(c, name, certificate, ocsp_url != NULL && ocsp_url[0] != 0);
	}
	if (!pacer_is_stopping(&c->pacer))
		compare_place_end(c);
}

/* Until then, or until somebody asks. */
static bool wait_for_round(struct watch_compare *c, int64_t us)
{
	int64_t until = moment_monotonic() + us;
	while (moment_monotonic() < until && !atomic_load(&c->asked))
		if (!pacer_pause(&c->pacer, until - moment_monotonic()))
			return false;
	atomic_store(&c->asked, false);
	return !pacer_is_stopping(&c->pacer);
}

/* What a former run had begun goes on as soon as the others are up. */
static int64_t first_pause(struct watch_compare *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	int64_t pause = c->conf->compare.interval / FIRST_PART;
	return compare_place_is_kept(c, scope_now(&s)) && pause > RESUME_PAUSE ? RESUME_PAUSE : pause;
}

static void *run(void *argument)
{
	struct watch_compare *c = argument;
	bool go_on = wait_for_round(c, first_pause(c));
	while (go_on) {
		compare_cas(c);
		go_on = wait_for_round(c, c->conf->compare.interval);
	}
	return NULL;
}

/* ---- start and stop ---- */

static st open_clients(struct scope *s, struct watch_compare *c)
{
	const struct watch_compare_conf *conf = &c->conf->compare;
	const struct client_settings api = { .base_url = conf->api_url,
					     .certificate = c->conf->tls_certificate,
					     .key = c->conf->tls_key,
					     .server_ca = c->conf->tls_ca,
					     .timeout_ms = TIMEOUT_MS,
					     .max_body = PAGE_MAX };
	const struct client_settings responder = { .base_url = conf->ocsp_url, .timeout_ms = TIMEOUT_MS, .max_body = OCSP_MAX };
	TRY(client_new(s, &api, &c->api));
	return client_new(s, &responder, &c->public_client);
}

static st check(struct scope *s, const struct watch_conf *conf)
{
	const struct watch_compare_conf *compare = &conf->compare;
	if (compare->ocsp_url == NULL || compare->crl_url == NULL || strstr(compare->crl_url, "{ca}") == NULL)
		return fail(s, E_CONFIG,
			    "[compare] needs ocsp-url, and a crl-url with {ca} in it, as http://HOST/crl/{ca}.crl");
	if (conf->tls_certificate == NULL || conf->tls_key == NULL || conf->tls_ca == NULL)
		return fail(s, E_CONFIG, "[compare] needs tls-certificate, tls-key and tls-ca, to ask the ca");
	return OK;
}

st watch_compare_start(struct scope *s, const struct watch_conf *conf, struct audit *audit, struct watch_compare **out)
{
	if (conf->compare.api_url == NULL)
		return OK;
	TRY(check(s, conf));
	struct watch_compare *c = heap_alloc(sizeof *c);
	*c = (struct watch_compare){ .conf = conf, .audit = audit };
	pacer_init(&c->pacer);
	*out = c;
	TRY(open_clients(s, c));
	pacer_start(&c->pacer, "compare", run, c);
	return OK;
}

bool watch_compare_now(struct watch_compare *c)
{
	if (c == NULL)
		return false;
	atomic_store(&c->asked, true);
	pacer_wake(&c->pacer);
	return true;
}

void watch_compare_stop(struct watch_compare *c)
{
	if (c == NULL)
		return;
	pacer_stop(&c->pacer);
	pacer_free(&c->pacer);
	client_free(c->api);
	client_free(c->public_client);
	compare_place_free(c);
	free(c);
}
