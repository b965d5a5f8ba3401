#include "watch_probe.h"
#include "client.h"
#include "daemon_pacer.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "pki_crl.h"
#include "pki_ocsp.h"
#include "pki_pem.h"
#include "wire.h"
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 10000
#define PEM_MAX    65536
#define BODY_MAX   (64u << 20) /* a CRL */
#define LATE_PART  6           /* of a CRL's life: a CA that works has issued the next one long before */
#define CLOCK_SKEW (5 * 60 * MOMENT_SECOND)

struct probed {
	int64_t failures; /* in a row */
	bool recorded;
};
struct watch_probe {
	const struct watch_conf *conf;
	struct watch_book *book;
	struct audit *audit;
	struct pacer pacer;
	struct probed *state; /* of each probe */
};

/* ---- the kinds ---- */

static st fetch(struct scope *s, const struct watch_conf *conf, const struct watch_probe_conf *probe, const char *media_type,
		span body, struct client_answer *out)
{
	bool tls = strncmp(probe->url, "https:", 6) == 0;
	const struct client_settings settings = { .base_url = probe->url,
						  .certificate = tls ? conf->tls_certificate : NULL,
						  .key = tls ? conf->tls_key : NULL,
						  .server_ca = tls ? conf->tls_ca : NULL,
						  .timeout_ms = TIMEOUT_MS,
						  .max_body = BODY_MAX };
	struct client *client;
	TRY(client_new(s, &settings, &client));
	st got = client_call(s, client, body.len > 0 ? "POST" : "GET", "", media_type, body, out);
	client_free(client);
	TRY(got);
	return out->status == 200 ? OK
				  : fail(s, E_UNAVAILABLE, "HTTP status %ld: %.*s", out->status,
					 out->body.len > 200 ? 200 : (int)out->body.len, (const char *)out->body.data);
}

static st probe_health(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe)
{
	struct client_answer answer;
	return fetch(s, p->conf, probe, NULL, (span){ 0 }, &answer);
}

/* A CRL that ends soon is another alert than one that cannot be had. */
static st probe_crl(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe)
{
	struct client_answer answer;
	struct pki_crl crl;
	char end[MOMENT_TEXT_MAX];
	TRY(fetch(s, p->conf, probe, NULL, (span){ 0 }, &answer));
	TRY(pki_crl_read(s, answer.body, &crl));
	int64_t now = scope_now(s), left = crl.next_update - now;
	const char *text = scope_printf(s, "%s: CRL %llu %s at %s", probe->url, (unsigned long long)crl.number,
					left > 0 ? "ends" : "ended", moment_text(crl.next_update, end));
	if (left < (crl.next_update - crl.this_update) / LATE_PART)
		watch_book_raise(p->book, "crl-late", probe->label, text, now);
	else
		watch_book_clear(p->book, "crl-late", probe->label, text, now);
	return left > 0 ? OK : fail(s, E_UNAVAILABLE, "%s", text);
}

static st read_pem(struct scope *s, const char *path, struct pki_certificate *out)
{
	span text, der;
	TRY(file_read(s, path, PEM_MAX, &text));
	TRY(fail_context(s, pki_pem_or_der(s, text, "CERTIFICATE", &der), "%s", path));
	return pki_certificate_read(s, der, out);
}

/* That the answer is there, about this certificate, and of now; whose signature it bears is compared by the invariant job. */
static st probe_ocsp(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe)
{
	struct pki_certificate *cert = scope_new(s, struct pki_certificate), *issuer = scope_new(s, struct pki_certificate);
	struct pki_ocsp_response *response = scope_new(s, struct pki_ocsp_response);
	struct client_answer answer;
	span request, id;
	int64_t now = scope_now(s);
	TRY(read_pem(s, probe->certificate, cert));
	TRY(read_pem(s, probe->issuer, issuer));
	TRY(pki_ocsp_request_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, cert->serial, (span){ 0 }, &request));
	TRY(pki_ocsp_cert_id_build(s, DIGEST_SHA256, issuer->subject, issuer->spki, cert->serial, &id));
	TRY(fetch(s, p->conf, probe, "application/ocsp-request", request, &answer));
	TRY(pki_ocsp_response_read(s, answer.body, response));
	if (response->status != 0)
		return fail(s, E_UNAVAILABLE, "the responder answers with error %d (RFC 6960, 4.2.1)", response->status);
	if (response->count != 1 || !span_equal(response->single[0].cert_id, id))
		return fail(s, E_CRYPTO, "the responder answers for another certificate");
	const struct pki_ocsp_single *single = &response->single[0];
	if (single->this_update > now + CLOCK_SKEW || single->next_update < now)
		return fail(s, E_UNAVAILABLE, "the responder's answer is not of now (RFC 6960, 3.2)");
	return single->status != PKI_OCSP_UNKNOWN ? OK : fail(s, E_NOTFOUND, "the responder does not know the certificate");
}

static st probe_socket(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe)
{
	struct wire_client *client = NULL;
	(void)p;
	st connected = wire_connect(s, probe->socket, TIMEOUT_MS, &client);
	wire_close(client);
	return connected;
}

static const struct kind {
	const char *name;
	st (*ask)(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe);
	bool by_url, of_certificate;
} kinds[] = {
	{ "health", probe_health, true, false },
	{ "crl", probe_crl, true, false },
	{ "ocsp", probe_ocsp, true, true },
	{ "socket", probe_socket, false, false },
};

static const struct kind *kind_of(const struct watch_probe_conf *probe)
{
	size_t i = 0;
	while (strcmp(kinds[i].name, probe->kind) != 0)
		i++; /* the configuration takes no other words */
	return &kinds[i];
}

/* ---- rounds ---- */

static void put_failed(struct scope *s, struct watch_probe *p, const struct watch_probe_conf *probe, const char *why)
{
	uint64_t index;
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_PROBE_FAILED);
	audit_str(&e, "target", probe->label);
	audit_str(&e, "reason", why);
	st recorded = audit_finish(s, &e);
	if (recorded.code == E_OK)
		recorded = audit_commit(s, p->audit, &e, &index);
	if (recorded.code != E_OK)
		log_failure(s, "recording a probe");
}

/* One that fails once is asked again before anybody is woken; the record is of the outage, not of each question. */
static void judge(struct watch_probe *p, const struct watch_probe_conf *probe, struct probed *state, bool answered,
		  const char *why, int64_t now)
{
	const char *text = answered ? "it answers again" : why;
	state->failures = answered ? 0 : state->failures + 1;
	if (probe->service != NULL && (answered || state->failures >= p->conf->probe_failures))
		watch_book_seen(p->book, probe->service, answered, now);
	if (answered) {
		state->recorded = false;
		watch_book_clear(p->book, "probe-failed", probe->label, text, now);
	} else if (state->failures >= p->conf->probe_failures) {
		watch_book_raise(p->book, "probe-failed", probe->label, text, now);
	}
}

static void ask(struct watch_probe *p, const struct watch_probe_conf *probe, struct probed *state)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st asked = kind_of(probe)->ask(&s, p, probe);
	const char *why = scope_printf(&s, "%s: %s", probe->label, s.message);
	scope_clear_error(&s);
	judge(p, probe, state, asked.code == E_OK, why, scope_now(&s));
	if (asked.code != E_OK && state->failures >= p->conf->probe_failures && !state->recorded) {
		state->recorded = true;
		put_failed(&s, p, probe, why);
	}
}

static void *run(void *argument)
{
	struct watch_probe *p = argument;
	const struct watch_probe_conf *item = p->conf->probes.item;
	do
		for (size_t i = 0; i < p->conf->probes.count && !pacer_is_stopping(&p->pacer); i++)
			ask(p, &item[i], &p->state[i]);
	while (pacer_pause(&p->pacer, p->conf->probe_interval));
	return NULL;
}

static st check(struct scope *s, const struct watch_probe_conf *probe)
{
	const struct kind *kind = kind_of(probe);
	if (kind->by_url && probe->url == NULL)
		return fail(s, E_CONFIG, "[probe %s] of kind %s needs a url", probe->label, probe->kind);
	if (!kind->by_url && probe->socket == NULL)
		return fail(s, E_CONFIG, "[probe %s] of kind %s needs a socket", probe->label, probe->kind);
	if (kind->of_certificate && (probe->certificate == NULL || probe->issuer == NULL))
		return fail(s, E_CONFIG, "[probe %s] of kind %s needs certificate and issuer", probe->label, probe->kind);
	return OK;
}

st watch_probe_check(struct scope *s, const struct watch_conf *conf)
{
	const struct watch_probe_conf *item = conf->probes.item;
	for (size_t i = 0; i < conf->probes.count; i++)
		TRY(check(s, &item[i]));
	return OK;
}

static void take_over(struct watch_probe *p, const struct watch_probe *before)
{
	const struct watch_probe_conf *now = p->conf->probes.item, *then = before->conf->probes.item;
	for (size_t i = 0; i < p->conf->probes.count; i++)
		for (size_t k = 0; k < before->conf->probes.count; k++)
			if (strcmp(now[i].label, then[k].label) == 0)
				p->state[i] = before->state[k];
}

void watch_probe_halt(struct watch_probe *p)
{
	pacer_stop(&p->pacer);
}

struct watch_probe *watch_probe_start(const struct watch_conf *conf, struct watch_book *book, struct audit *audit,
				      struct watch_probe *before)
{
	struct watch_probe *p = heap_alloc(sizeof *p);
	*p = (struct watch_probe){ .conf = conf, .book = book, .audit = audit };
	p->state = heap_alloc((conf->probes.count + 1) * sizeof *p->state);
	if (before != NULL) {
		watch_probe_halt(before);
		take_over(p, before);
		watch_probe_stop(before);
	}
	pacer_init(&p->pacer);
	pacer_start(&p->pacer, "probe", run, p);
	return p;
}

void watch_probe_stop(struct watch_probe *p)
{
	if (p == NULL)
		return;
	pacer_stop(&p->pacer);
	pacer_free(&p->pacer);
	free(p->state);
	free(p);
}
