/*
 * One round, for each CA that works: its CRL from the public address, then all serials in order, page by page from the ca, each asked of the
 * public responder at a bounded rate; then serials that nobody issued. What differs is looked at again after `settle`, from scratch, since a
 * revocation takes a moment to arrive; what differs still is on record.
 */
#include "watch_compare.h"
#include "client.h"
#include "daemon_pacer.h"
#include "log.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_ocsp.h"
#include "pki_pem.h"
#include "text.h"
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TIMEOUT_MS    10000
#define PAGE_MAX      (1u << 20)
#define CRL_MAX       (64u << 20)
#define OCSP_MAX      65536
#define PAGE_SERIALS  200
#define DOUBTS_MAX    100 /* of a round: more say no more */
#define NEVER_ISSUED  3
#define SERIAL_MAX    20 /* rfc5280#4.1.2.2 */
#define FIRST_PART    24 /* of an interval, before the first round */
#define MISSING_LIMIT 10 /* answers in a row that do not come: the round is broken off */

struct serial {
	uint8_t len, octets[SERIAL_MAX];
};
/* What is said of one certificate. */
struct said {
	struct serial serial, before; /* before: the one in front of it, "" for the first: where its page begins */
	bool revoked;
	int64_t revoked_at, not_after;
};
struct crl {
	struct serial *entry; /* in order */
	size_t count, room;
	int64_t this_update, expired_from;
};
struct watch_compare {
	const struct watch_conf *conf;
	struct audit *audit;
	struct pacer pacer;
	struct client *api, *public_client;
	_Atomic bool asked;
};
struct round {
	struct watch_compare *c;
	const char *ca;
	struct scope memory; /* of the CA's certificate */
	struct pki_certificate issuer;
	struct crl crl;
	struct said doubt[DOUBTS_MAX];
	size_t doubts;
	uint64_t serials, differ, unreachable;
	unsigned missing; /* in a row */
};
typedef struct client client;
DEFINE_AUTO(client, client_free)
DEFINE_AUTO(json_t, json_decref)

static span serial_span(const struct serial *serial)
{
	return span_of(serial->octets, serial->len);
}

static bool take_serial(span bytes, struct serial *out)
{
	while (bytes.len > 0 && bytes.data[0] == 0)
		bytes = span_from(bytes, 1);
	*out = (struct serial){ .len = (uint8_t)bytes.len };
	if (bytes.len == 0 || bytes.len > SERIAL_MAX)
		return false;
	memcpy(out->octets, bytes.data, bytes.len);
	return true;
}

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
	if (!take_serial(entry->serial, &crl->entry[crl->count]))
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

static const char *crl_says(const struct round *r, const struct serial *serial)
{
	bool listed =
		r->crl.count > 0 && bsearch(serial, r->crl.entry, r->crl.count, sizeof *r->crl.entry, compare_serials) != NULL;
	return listed ? "revoked" : "good";
}

/* Revoked since the CRL was made, or expired and no more on it. */
static bool crl_may_lack(const struct round *r, const struct said *said, int64_t now)
{
	bool expired = said->not_after < now && (r->crl.expired_from == 0 || said->not_after < r->crl.expired_from);
	return said->revoked && (expired || said->revoked_at > r->crl.this_update - r->c->conf->compare.settle);
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
	TRY(pki_ocsp_request_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, serial_span(serial), (span){ 0 },
				   &request));
	TRY(pki_ocsp_cert_id_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, serial_span(serial), &id));
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

/* What OCSP says; "no answer" counts against the round, a false signature is a difference. */
static const char *ocsp_says(struct round *r, const struct serial *serial)
{
	const char *word = "no answer";
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st asked = ask_ocsp(&s, r, serial, &word);
	r->missing = asked.code == E_OK ? 0 : r->missing + 1;
	if (asked.code == E_OK)
		return word;
	log_failure(&s, "comparing: asking the responder");
	return asked.code == E_UNAVAILABLE ? "no answer" : "not valid";
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
	v.agree = crl_agrees && (v.unreachable || strcmp(v.ocsp, v.database) == 0);
	return v;
}

static void put_mismatch(struct round *r, const struct serial *serial, const struct verdict *v)
{
	uint64_t index;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT e;
	audit_begin(&e, &s, AUDIT_STATUS_MISMATCH);
	audit_str(&e, "ca", r->ca);
	audit_hex(&e, "serial", serial_span(serial));
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
	if (r->differ++ < DOUBTS_MAX)
		put_mismatch(r, serial, v);
}

static bool look_at(struct round *r, const struct said *said)
{
	struct verdict v = judge(r, said);
	r->serials++;
	r->unreachable += v.unreachable;
	if (!v.agree && r->doubts < DOUBTS_MAX)
		r->doubt[r->doubts++] = *said;
	else if (!v.agree)
		differs(r, &said->serial, &v);
	return pacer_pause(&r->c->pacer, MOMENT_SECOND / r->c->conf->compare.ocsp_rate) && r->missing < MISSING_LIMIT;
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
	return take_serial(bytes, &out->serial) ? OK : fail(s, E_INPUT, "the ca has a serial number of %zu octets", bytes.len);
}

static st get_page(struct scope *s, struct round *r, const struct serial *after, json_t **out)
{
	return get(s, r->c,
		   scope_printf(s, "/v1/cas/%s/status?limit=%d%s%s", r->ca, PAGE_SERIALS, after->len > 0 ? "&after=" : "",
				hex_text(s, serial_span(after))),
		   out);
}

/* False in `out_more` behind the last page, and when the round is to end. */
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
		if (!look_at(r, &said)) {
			*out_more = false;
			return r->missing < MISSING_LIMIT ? OK : fail(s, E_UNAVAILABLE, "the responder does not answer");
		}
	}
	span bytes = { 0 };
	if (next != NULL)
		TRY(hex_parse(s, span_str(next), &bytes));
	return next == NULL || take_serial(bytes, after) ? OK
							 : fail(s, E_INPUT, "the ca's list of serials is not as it should be");
}

static st compare_all(struct round *r)
{
	struct serial after = { 0 };
	bool more = true;
	while (more) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		st compared = compare_page(&s, r, &after, &more);
		if (compared.code != E_OK) {
			log_failure(&s, "comparing");
			return compared;
		}
	}
	return OK;
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
		if (!take_serial(SPAN_ARRAY(octets), &serial))
			continue;
		struct verdict v = { .database = "unknown", .ocsp = ocsp_says(r, &serial), .crl = crl_says(r, &serial) };
		//= en319411-2#OVR-6.6.3-02 a certificate that was not issued is not "good"
		if (strcmp(v.ocsp, "good") == 0 || strcmp(v.crl, "revoked") == 0)
			differs(r, &serial, &v);
	}
}

/* ---- doubts ---- */

/* The same certificate, as the ca has it now. */
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

static void settle_doubts(struct round *r)
{
	if (r->doubts == 0 || !pacer_pause(&r->c->pacer, r->c->conf->compare.settle))
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (fetch_crl(&s, r).code != E_OK)
		log_failure(&s, "comparing: the CRL again");
	for (size_t i = 0; i < r->doubts && !pacer_is_stopping(&r->c->pacer); i++) {
		scope_clear_error(&s);
		st read = read_again(&s, r, &r->doubt[i]);
		struct verdict v = judge(r, &r->doubt[i]);
		if (read.code != E_OK)
			v.database = "unknown";
		if (read.code != E_OK || !v.agree)
			differs(r, &r->doubt[i].serial, &v);
	}
}

/* ---- a round ---- */

static void put_compared(struct scope *s, const struct round *r)
{
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_STATUS_COMPARED);
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

/* One that was broken off, by the end of the daemon or by a service that is away, is no comparison: the probes tell of those. */
static void compare_ca(struct watch_compare *c, const char *name, const char *certificate)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct round *r = heap_alloc(sizeof *r);
	*r = (struct round){ .c = c, .ca = name };
	scope_init(&r->memory, NULL);
	st begun = read_issuer(r, certificate);
	if (begun.code == E_OK)
		begun = fetch_crl(&s, r);
	if (begun.code != E_OK)
		log_put(LOG_LEVEL_WARNING, "comparing %s: %s%s", name, r->memory.message, s.message);
	if (begun.code == E_OK && compare_all(r).code == E_OK && !pacer_is_stopping(&c->pacer)) {
		compare_never_issued(r);
		settle_doubts(r);
		if (!pacer_is_stopping(&c->pacer))
			put_compared(&s, r);
	}
	scope_done(&r->memory);
	free(r->crl.entry);
	free(r);
}

static void compare_cas(struct watch_compare *c)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(json_t) *all = NULL;
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
			   *certificate = json_string_value(json_object_get(ca, "certificate"));
		if (name != NULL && certificate != NULL && state != NULL && strcmp(state, "active") == 0 &&
		    !pacer_is_stopping(&c->pacer))
			compare_ca(c, name, certificate);
	}
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

static void *run(void *argument)
{
	struct watch_compare *c = argument;
	bool go_on = wait_for_round(c, c->conf->compare.interval / FIRST_PART);
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
	free(c);
}
