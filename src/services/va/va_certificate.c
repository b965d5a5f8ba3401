/*
 * Renewal of this daemon's own TLS certificate: the ca pushes a new one before the old one ends.
 */
#include "file.h"
#include "log.h"
#include "pki_renewal.h"
#include "va.h"

#define CHAIN_FILE_MAX 65536

st va_certificate_put(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct va *va = request->state;
	const struct va_conf *conf = va_conf_now(va);
	span present, ca;
	TRY(file_read(s, conf->tls_certificate, CHAIN_FILE_MAX, &present));
	TRY(file_read(s, conf->tls_ca, CHAIN_FILE_MAX, &ca));
	TRY(pki_renewal_check(s, present, request->body, ca));
	TRY(file_replace(s, conf->tls_certificate, request->body, 0644));
	http_server_reload(va->push_server);
	log_put(LOG_LEVEL_NOTICE, "TLS certificate renewed");
	reply->status = 204;
	return OK;
}
