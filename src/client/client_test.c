/* Client and server against each other, in the clear, over a Unix socket and with mutual TLS. */
#include "client.h"
#include "file.h"
#include "http.h"
#include "unit.h"
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char directory[] = "/tmp/chancery-client-XXXXXX";

static char *in_directory(struct scope *s, const char *name)
{
	return scope_printf(s, "%s/%s", directory, name);
}

/* ---- certificates, in files NAME.pem and NAME.key ---- */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static struct identity make_identity(const char *name, const struct identity *issuer, bool is_ca, long serial)
{
	struct identity new = { .key = EVP_EC_gen("P-256"), .certificate = X509_new() };
	X509 *x = new.certificate;
	X509_NAME *subject = X509_get_subject_name(x);
	assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), serial), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(x, issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	assert_int_equal(X509_set_pubkey(x, new.key), 1);
	if (is_ca)
		add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
	else
		add_extension(x, NID_subject_alt_name, "IP:127.0.0.1");
	assert_true(X509_sign(x, issuer != NULL ? issuer->key : new.key, EVP_sha256()) > 0);
	return new;
}

static void write_identity(const char *name, const struct identity *identity)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	FILE *certificate = fopen(in_directory(&s, scope_printf(&s, "%s.pem", name)), "w");
	FILE *key = fopen(in_directory(&s, scope_printf(&s, "%s.key", name)), "w");
	assert_int_equal(PEM_write_X509(certificate, identity->certificate), 1);
	assert_int_equal(PEM_write_PrivateKey(key, identity->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(certificate), 0);
	assert_int_equal(fclose(key), 0);
}

static void drop_identity(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
}

/* ---- the server ---- */

static st about(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const unsigned char *der = request->peer_certificate.data;
	const char *peer = "nobody";
	if (request->peer_certificate.len > 0) {
		X509 *x = d2i_X509(NULL, &der, (long)request->peer_certificate.len);
		char name[64] = "";
		(void)X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name, sizeof name);
		X509_free(x);
		peer = scope_printf(s, "%s", name);
	}
	reply->content_type = "text/plain";
	reply->body =
		span_str(scope_printf(s, "%d %s %llu %.*s", (int)request->method, peer, (unsigned long long)request->body_len,
				      request->body.len > 0 ? (int)request->body.len : 0, (const char *)request->body.data));
	return OK;
}

static st denies(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)request;
	(void)reply;
	return fail(s, E_CLOCK, "the clock is \"wrong\"");
}

static st big(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)request;
	reply->body = span_of(scope_alloc(s, 200000), 200000);
	return OK;
}

static const struct http_route routes[] = {
	{ .method = HTTP_GET, .path = "/about", .handle = about },
	{ .method = HTTP_DELETE, .path = "/about", .handle = about },
	{ .method = HTTP_POST, .path = "/about", .media_type = "text/plain", .max_body = 100, .handle = about },
	{ .method = HTTP_PUT,
	  .path = "/file",
	  .media_type = "application/pkix-crl",
	  .max_body = 5000000,
	  .spool = true,
	  .handle = about },
	{ .method = HTTP_PUT, .path = "/small", .media_type = "text/plain", .max_body = 10, .handle = about },
	{ .method = HTTP_GET, .path = "/denies", .handle = denies },
	{ .method = HTTP_GET, .path = "/big", .handle = big },
};
static const struct http_settings settings = { .loops = 1,
					       .workers = 2,
					       .max_connections = 20,
					       .max_header = 4000,
					       .idle_seconds = 5,
					       .spool_directory = "/tmp",
					       .routes = routes,
					       .route_count = sizeof routes / sizeof routes[0] };
static struct http_server *server;
static const char *urls[3]; /* plain, mutual TLS, TLS */
static struct scope standing;

static int set_up(void **state)
{
	(void)state;
	struct scope *s = &standing;
	scope_init(s, NULL);
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* as in every daemon */
	assert_non_null(mkdtemp(directory));
	struct identity ca = make_identity("test CA", NULL, true, 1);
	struct identity other_ca = make_identity("other CA", NULL, true, 1);
	struct identity serving = make_identity("server", &ca, false, 2);
	struct identity operator= make_identity("operator", &ca, false, 3);
	struct identity stranger = make_identity("stranger", &other_ca, false, 4);
	write_identity("ca", &ca);
	write_identity("other", &other_ca);
	write_identity("server", &serving);
	write_identity("operator", &operator);
	write_identity("stranger", &stranger);
	struct http_tls_settings tls = { in_directory(s, "server.pem"), in_directory(s, "server.key"),
					 in_directory(s, "ca.pem") };
	struct http_tls_settings open_tls = { tls.certificate, tls.key, NULL };
	assert_ok(s, http_server_new(s, &settings, &server));
	assert_ok(s, http_listen(s, server, "127.0.0.1:0", NULL));
	assert_ok(s, http_listen(s, server, "127.0.0.1:0", &tls));
	assert_ok(s, http_listen(s, server, "127.0.0.1:0", &open_tls));
	assert_ok(s, http_listen(s, server, scope_printf(s, "unix:%s/socket", directory), NULL));
	assert_ok(s, http_server_start(s, server));
	for (size_t i = 0; i < 3; i++)
		urls[i] = scope_printf(s, "%s://%s", i == 0 ? "http" : "https", http_server_address(server, i));
	struct identity *all[] = { &ca, &other_ca, &serving, &operator, & stranger };
	for (size_t i = 0; i < 5; i++)
		drop_identity(all[i]);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	http_server_stop(server, 1000);
	static const char *const names[] = { "ca", "other", "server", "operator", "stranger" };
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(unlink(in_directory(&standing, scope_printf(&standing, "%s.pem", names[i]))), 0);
		assert_int_equal(unlink(in_directory(&standing, scope_printf(&standing, "%s.key", names[i]))), 0);
	}
	assert_int_equal(rmdir(directory), 0);
	scope_done(&standing);
	return 0;
}

static struct client *client_of(struct scope *s, size_t url, const char *identity, const char *server_ca)
{
	struct client *c;
	struct client_settings client_settings = { .base_url = urls[url], .timeout_ms = 5000, .max_body = 100000 };
	client_settings.server_ca = in_directory(s, server_ca);
	if (identity != NULL) {
		client_settings.certificate = in_directory(s, scope_printf(s, "%s.pem", identity));
		client_settings.key = in_directory(s, scope_printf(s, "%s.key", identity));
	}
	assert_ok(s, client_new(s, &client_settings, &c));
	return c;
}

static void assert_body(const struct client_answer *answer, long status, const char *body)
{
	if (answer->status != status || !span_is(answer->body, body))
		print_error("%ld '%.*s'\n", answer->status, (int)answer->body.len, (const char *)answer->body.data);
	assert_int_equal(answer->status, status);
	assert_true(span_is(answer->body, body));
}

/* ---- tests ---- */

static void calls_go_out_and_answers_come_back(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct client *c = client_of(&s, 0, NULL, "ca.pem");
	struct client_answer answer;
	assert_ok(&s, client_call(&s, c, "POST", "/about", "text/plain", span_str("abc"), &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d nobody 3 abc", HTTP_POST));
	assert_true(span_is(answer.content_type, "text/plain"));
	assert_ok(&s, client_call(&s, c, "GET", "/about", NULL, (span){ 0 }, &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d nobody 0 ", HTTP_GET));
	assert_ok(&s, client_call(&s, c, "HEAD", "/about", NULL, (span){ 0 }, &answer));
	assert_body(&answer, 200, "");
	assert_ok(&s, client_call(&s, c, "DELETE", "/about", NULL, (span){ 0 }, &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d nobody 0 ", HTTP_DELETE));
	assert_ok(&s, client_call(&s, c, "POST", "/about", "text/plain", (span){ 0 }, &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d nobody 0 ", HTTP_POST));
	assert_fails(&s, E_LIMIT, client_call(&s, c, "GET", "/big", NULL, (span){ 0 }, &answer));
	client_free(c);
}

static void local_calls_use_the_socket(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct client *c;
	struct client_settings local = { .unix_socket = in_directory(&s, "socket"), .timeout_ms = 5000, .max_body = 1000 };
	assert_ok(&s, client_new(&s, &local, &c));
	struct client_answer answer;
	assert_ok(&s, client_call(&s, c, "GET", "/about", NULL, (span){ 0 }, &answer));
	assert_int_equal(answer.status, 200);
	client_free(c);
}

static void files_are_uploaded(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct client *c = client_of(&s, 1, "operator", "ca.pem");
	char path[] = "/tmp/chancery-upload-XXXXXX";
	AUTO_FD fd = mkstemp(path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(fd, 4000000), 0);
	struct client_answer answer;
	assert_ok(&s, client_send_file(&s, c, "PUT", "/file", "application/pkix-crl", fd, 4000000, &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d operator 4000000 ", HTTP_PUT));
	assert_ok(&s, client_send_file(&s, c, "PUT", "/small", "text/plain", fd, 4000000, &answer));
	assert_int_equal(answer.status, 413);
	assert_ok(&s, client_call(&s, c, "GET", "/about", NULL, (span){ 0 }, &answer));
	assert_body(&answer, 200, scope_printf(&s, "%d operator 0 ", HTTP_GET));
	client_free(c);
}

static void failures_keep_their_code_and_message(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct client *c = client_of(&s, 0, NULL, "ca.pem");
	struct client_answer answer;
	assert_ok(&s, client_call(&s, c, "GET", "/denies", NULL, (span){ 0 }, &answer));
	assert_int_equal(answer.status, 503);
	assert_int_equal(client_expect(&s, &answer).code, E_CLOCK);
	assert_memory_equal(s.message, "the clock is \"wrong\" (tx ", 25);
	scope_clear_error(&s);
	assert_ok(&s, client_call(&s, c, "GET", "/nothing", NULL, (span){ 0 }, &answer));
	assert_fails(&s, E_NOTFOUND, client_expect(&s, &answer));
	struct client_answer foreign = { .status = 403, .body = span_str("<html>") };
	assert_fails(&s, E_DENIED, client_expect(&s, &foreign));
	foreign.status = 502;
	assert_fails(&s, E_UNAVAILABLE, client_expect(&s, &foreign));
	foreign.status = 204;
	assert_ok(&s, client_expect(&s, &foreign));
	client_free(c);
}

static void only_certificates_of_the_right_ca_open_the_door(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		size_t url;
		const char *identity;
		const char *server_ca;
		enum code code;
	} cases[] = {
		{ 1, "operator", "ca.pem", E_OK },
		{ 1, NULL, "ca.pem", E_UNAVAILABLE },       /* no client certificate */
		{ 1, "stranger", "ca.pem", E_UNAVAILABLE }, /* of another CA */
		{ 1, "operator", "other.pem", E_UNAVAILABLE },
		{ 2, NULL, "ca.pem", E_OK },
		{ 2, NULL, "other.pem", E_UNAVAILABLE },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client *c = client_of(&s, cases[i].url, cases[i].identity, cases[i].server_ca);
		struct client_answer answer;
		st got = client_call(&s, c, "GET", "/about", NULL, (span){ 0 }, &answer);
		assert_int_equal(got.code, cases[i].code);
		client_free(c);
		scope_reset(&s);
	}
}

static int tcp_port(const char *url)
{
	return atoi(strrchr(url, ':') + 1);
}

/* A TLS client of its own: the version it got, or 0 without a connection. */
static int handshake(const char *url, int highest, const char *protocol, X509 **out_peer)
{
	int version = 0;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	assert_int_equal(SSL_CTX_set_max_proto_version(context, highest), 1);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_int_equal(SSL_CTX_use_certificate_file(context, in_directory(&s, "operator.pem"), SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(context, in_directory(&s, "operator.key"), SSL_FILETYPE_PEM), 1);
	SSL *ssl = SSL_new(context);
	assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)protocol, (unsigned)strlen(protocol)), 0);
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)tcp_port(url)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	if (SSL_connect(ssl) == 1)
		version = SSL_version(ssl);
	if (out_peer != NULL)
		*out_peer = SSL_get1_peer_certificate(ssl);
	SSL_free(ssl);
	SSL_CTX_free(context);
	return version;
}

static void old_protocols_are_refused(void **state)
{
	(void)state;
	assert_int_equal(handshake(urls[1], TLS1_3_VERSION, "\x08http/1.1", NULL), TLS1_3_VERSION);
	assert_int_equal(handshake(urls[1], TLS1_2_VERSION, "\x08http/1.1", NULL), 0);
	assert_int_equal(handshake(urls[2], TLS1_2_VERSION, "\x08http/1.1", NULL), TLS1_2_VERSION);
	assert_int_equal(handshake(urls[2], TLS1_1_VERSION, "\x08http/1.1", NULL), 0);
	assert_int_equal(handshake(urls[2], TLS1_3_VERSION, "\x02h2\x08http/1.1", NULL), TLS1_3_VERSION);
	assert_int_equal(handshake(urls[2], TLS1_3_VERSION, "\x02h2", NULL), 0);
}

static long served_serial(void)
{
	X509 *peer = NULL;
	assert_int_equal(handshake(urls[2], TLS1_3_VERSION, "\x08http/1.1", &peer), TLS1_3_VERSION);
	long serial = ASN1_INTEGER_get(X509_get0_serialNumber(peer));
	X509_free(peer);
	return serial;
}

static void a_renewed_certificate_is_served_without_restart(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_int_equal(served_serial(), 2);
	struct identity renewed = make_identity("renewed", NULL, false, 77);
	write_identity("server", &renewed);
	assert_int_equal(served_serial(), 2);
	http_server_reload(server);
	assert_int_equal(served_serial(), 77);
	/* a certificate without its key is not taken */
	struct identity half = make_identity("half", NULL, false, 78);
	FILE *certificate = fopen(in_directory(&s, "server.pem"), "w");
	assert_int_equal(PEM_write_X509(certificate, half.certificate), 1);
	assert_int_equal(fclose(certificate), 0);
	http_server_reload(server);
	assert_int_equal(served_serial(), 77);
	drop_identity(&renewed);
	drop_identity(&half);
}

static void a_server_that_is_not_there_is_unavailable(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct client *c;
	struct client_settings nowhere = { .unix_socket = "/nonexistent/socket", .timeout_ms = 500, .max_body = 1000 };
	assert_ok(&s, client_new(&s, &nowhere, &c));
	struct client_answer answer;
	assert_fails(&s, E_UNAVAILABLE, client_call(&s, c, "GET", "/about", NULL, (span){ 0 }, &answer));
	client_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_go_out_and_answers_come_back),
		cmocka_unit_test(local_calls_use_the_socket),
		cmocka_unit_test(files_are_uploaded),
		cmocka_unit_test(failures_keep_their_code_and_message),
		cmocka_unit_test(only_certificates_of_the_right_ca_open_the_door),
		cmocka_unit_test(old_protocols_are_refused),
		cmocka_unit_test(a_renewed_certificate_is_served_without_restart),
		cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
