#include "http_internal.h"
#include "log.h"
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/stat.h>

DEFINE_AUTO(SSL_CTX, SSL_CTX_free)

struct http_tls {
	struct http_tls_settings settings;
	pthread_mutex_t lock; /* of `context` */
	SSL_CTX *context;
	struct timespec seen[3]; /* modification times of the files as loaded */
};

static st fail_tls(struct scope *s, const char *doing, const char *path)
{
	char why[256] = "no reason given";
	unsigned long error = ERR_peek_last_error();
	if (error != 0)
		ERR_error_string_n(error, why, sizeof why);
	ERR_clear_error();
	return fail(s, E_CONFIG, "%s%s%s: %s", doing, path != NULL ? " " : "", path != NULL ? path : "", why);
}

static void modification_times(const struct http_tls_settings *settings, struct timespec out[3])
{
	const char *const paths[3] = { settings->certificate, settings->key, settings->client_ca };
	for (size_t i = 0; i < 3; i++) {
		struct stat about;
		bool there = paths[i] != NULL && stat(paths[i], &about) == 0;
		out[i] = there ? about.st_mtim : (struct timespec){ 0 };
	}
}

//= rfc7301#3.2 the server picks a protocol the client offered, or ends with no_application_protocol
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
			   unsigned int offered_len, void *unused)
{
	static const unsigned char ours[] = "\x08http/1.1";
	(void)ssl;
	(void)unused;
	unsigned char *selected;
	if (SSL_select_next_proto(&selected, out_len, ours, sizeof ours - 1, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = selected;
	return SSL_TLSEXT_ERR_OK;
}

/* Client certificates: TLS 1.3 alone, and no session that could be taken up again after the certificate was revoked. */
static st demand_client_certificate(struct scope *s, SSL_CTX *context, const char *client_ca)
{
	if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 || SSL_CTX_set_num_tickets(context, 0) != 1)
		return fail_tls(s, "setting TLS 1.3", NULL);
	if (SSL_CTX_load_verify_file(context, client_ca) != 1)
		return fail_tls(s, "reading the CA of client certificates from", client_ca);
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca);
	if (names == NULL)
		return fail_tls(s, "reading the CA of client certificates from", client_ca);
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	(void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	return OK;
}

static st load(struct scope *s, const struct http_tls_settings *settings, SSL_CTX **out)
{
	char groups[] = "X25519:P-256:P-384";
	ERR_clear_error();
	AUTO(SSL_CTX) *context = SSL_CTX_new(TLS_server_method());
	if (context == NULL)
		return fail_tls(s, "starting TLS", NULL);
	(void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
	    SSL_CTX_set1_groups_list(context, groups) != 1)
		return fail_tls(s, "setting the protocol's parameters", NULL);
	if (SSL_CTX_use_certificate_chain_file(context, settings->certificate) != 1)
		return fail_tls(s, "reading the TLS certificate", settings->certificate);
	if (SSL_CTX_use_PrivateKey_file(context, settings->key, SSL_FILETYPE_PEM) != 1)
		return fail_tls(s, "reading the TLS key (it must be that of the certificate)", settings->key);
	if (settings->client_ca != NULL)
		TRY(demand_client_certificate(s, context, settings->client_ca));
	*out = TAKE(context);
	return OK;
}

static char *copy_path(const char *path)
{
	return path == NULL ? NULL : heap_copy_str(path);
}

st http_tls_new(struct scope *s, const struct http_tls_settings *settings, struct http_tls **out)
{
	struct timespec seen[3];
	SSL_CTX *context;
	modification_times(settings, seen);
	TRY(load(s, settings, &context));
	struct http_tls *tls = heap_alloc(sizeof *tls);
	*tls = (struct http_tls){ .context = context };
	tls->settings = (struct http_tls_settings){ copy_path(settings->certificate), copy_path(settings->key),
						    copy_path(settings->client_ca) };
	memcpy(tls->seen, seen, sizeof seen);
	(void)pthread_mutex_init(&tls->lock, NULL);
	*out = tls;
	return OK;
}

void http_tls_free(struct http_tls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->context);
	(void)pthread_mutex_destroy(&tls->lock);
	free((void *)(uintptr_t)tls->settings.certificate);
	free((void *)(uintptr_t)tls->settings.key);
	free((void *)(uintptr_t)tls->settings.client_ca);
	free(tls);
}

SSL *http_tls_accept(struct http_tls *tls)
{
	(void)pthread_mutex_lock(&tls->lock);
	SSL *ssl = SSL_new(tls->context);
	(void)pthread_mutex_unlock(&tls->lock);
	return ssl;
}

/* Certificate and key are two files: one of them may be new and the other not yet. Then loading fails, the former stay, and the
 * next look finds both. */
void http_tls_refresh(struct http_tls *tls, bool always)
{
	struct timespec now[3];
	modification_times(&tls->settings, now);
	if (!always && memcmp(now, tls->seen, sizeof now) == 0)
		return;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	SSL_CTX *fresh = NULL;
	if (load(&s, &tls->settings, &fresh).code != E_OK) {
		log_failure(&s, "the former TLS certificate stays");
		return;
	}
	(void)pthread_mutex_lock(&tls->lock);
	SSL_CTX *former = tls->context;
	tls->context = fresh;
	memcpy(tls->seen, now, sizeof now);
	(void)pthread_mutex_unlock(&tls->lock);
	SSL_CTX_free(former);
	log_put(LOG_LEVEL_NOTICE, "TLS certificate %s loaded", tls->settings.certificate);
}
