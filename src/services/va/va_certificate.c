/*
 * Renewal of this daemon's own TLS certificate: the ca pushes a new one before the old one ends.
 */
#include "file.h"
#include "log.h"
#include "pki_pem.h"
#include "va.h"

#define CHAIN_FILE_MAX 65536

struct chain {
	span certificate[VA_CHAIN_MAX];
	size_t count;
};

static st add(struct scope *s, span der, void *arg)
{
	struct chain *chain = arg;
	if (chain->count == VA_CHAIN_MAX)
		return fail(s, E_LIMIT, "more than %d certificates in one chain", VA_CHAIN_MAX);
	chain->certificate[chain->count++] = der;
	return OK;
}

static st read_chain(struct scope *s, span pem, struct chain *out)
{
	struct chain chain = { 0 };
	TRY(pki_pem_each(s, pem, "CERTIFICATE", add, &chain));
	if (chain.count == 0)
		return fail(s, E_INPUT, "no CERTIFICATE block in PEM");
	*out = chain;
	return OK;
}

/* For the key we have, which is the one the present certificate is for; by the same CA as our peers; valid now; ends later. */
static st check(struct scope *s, const struct va_conf *conf, const struct chain *new)
{
	span present_pem, ca_pem;
	TRY(file_read(s, conf->tls_certificate, CHAIN_FILE_MAX, &present_pem));
	TRY(file_read(s, conf->tls_ca, CHAIN_FILE_MAX, &ca_pem));
	struct chain present_chain, ca_chain;
	TRY(read_chain(s, present_pem, &present_chain));
	TRY(read_chain(s, ca_pem, &ca_chain));
	struct pki_certificate present, renewed;
	TRY(pki_certificate_read(s, present_chain.certificate[0], &present));
	TRY(pki_certificate_read(s, new->certificate[0], &renewed));
	if (!span_equal(present.spki, renewed.spki))
		return fail(s, E_CRYPTO, "the certificate is not for the key of this daemon");
	if (!span_equal(present.subject, renewed.subject))
		return fail(s, E_DENIED, "the certificate is for another subject than the present one");
	int64_t now = scope_now(s);
	if (renewed.not_after <= present.not_after || renewed.not_before > now || renewed.not_after <= now)
		return fail(s, E_CONFLICT, "the certificate does not outlast the present one, or is not valid now");
	return va_signed_by_ca(s, ca_chain.certificate[0], renewed.signature_identifier, renewed.tbs, renewed.signature);
}

st va_certificate_put(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	const struct va_conf *conf = va_conf_now(va);
	struct chain new;
	TRY(read_chain(s, request->body, &new));
	TRY(check(s, conf, &new));
	TRY(file_replace(s, conf->tls_certificate, request->body, 0644));
	http_server_reload(va->push_server);
	log_put(LOG_LEVEL_NOTICE, "TLS certificate renewed");
	reply->status = 204;
	return OK;
}
