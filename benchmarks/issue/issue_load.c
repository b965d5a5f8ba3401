/*
 * Load for the ca and for cfssl: CONNECTIONS threads, each with one kept connection (mutual TLS when there are credentials), asking
 * for certificates for keys made before the clock starts. Prints certificates a second, latencies and the generator's own processor time as one line of JSON.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A connection, over TLS or plain. */
struct peer {
	int fd;
	SSL *ssl;
};

/* What is asked and how: the request up to the number that makes it one of its own, and the sign that it was granted. */
struct target {
	const char *name, *path, *before_request, *after_request, *granted;
	int has_number;
};
static const struct target targets[] = {
	{ "chancery", "/v1/cas/issuing/certificates",
	  "{\"profile\":\"ncp-plus-n\",\"request_id\":\"%08x-load-%d-%d\",\"request\":\"", "\"}", "HTTP/1.1 201", 1 },
	{ "cfssl", "/api/v1/cfssl/sign", "{\"certificate_request\":\"", "\"}", "HTTP/1.1 200", 0 },
};

static const struct target *target;
static int port, connections, per_connection;
static SSL_CTX *context; /* NULL: plain */
static char **bodies;
static double *latencies;
static atomic_int refused, next_body;
static pthread_barrier_t go;

static void die(const char *what)
{
	fprintf(stderr, "issue_load: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One request for a person with a number of their own, as JSON. */
static char *make_body(int number)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *request = X509_REQ_new();
	X509_NAME *name = X509_NAME_new();
	char cn[64], pem[4096], *body = malloc(6000), *to = body;
	snprintf(cn, sizeof cn, "An Peeters %d", number);
	const char *pairs[][2] = { { "C", "BE" }, { "SN", "Peeters" }, { "GN", "An" }, { "CN", cn } };
	for (int i = 0; i < 4; i++)
		if (X509_NAME_add_entry_by_txt(name, pairs[i][0], MBSTRING_UTF8, (const unsigned char *)pairs[i][1], -1, -1,
					       0) != 1)
			die("name");
	BIO *out = BIO_new(BIO_s_mem());
	if (X509_REQ_set_version(request, 0) != 1 || X509_REQ_set_subject_name(request, name) != 1 ||
	    X509_REQ_set_pubkey(request, key) != 1 || X509_REQ_sign(request, key, EVP_sha256()) <= 0 ||
	    PEM_write_bio_X509_REQ(out, request) != 1)
		die("request");
	int len = BIO_read(out, pem, sizeof pem - 1);
	/* Request ids lie anywhere among all, as those of many clients do. */
	unsigned anywhere = ((unsigned)getpid() * 65536u + (unsigned)number) * 2654435769u;
	to += target->has_number ? sprintf(to, target->before_request, anywhere, (int)getpid(), number)
				 : sprintf(to, "%s", target->before_request);
	for (int i = 0; i < len; i++)
		to += pem[i] == '\n' ? sprintf(to, "\\n") : sprintf(to, "%c", pem[i]);
	sprintf(to, "%s", target->after_request);
	BIO_free(out);
	X509_NAME_free(name);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	return body;
}

static struct peer dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer p = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	int one = 1;
	if (p.fd < 0 || connect(p.fd, (struct sockaddr *)&to, sizeof to) != 0)
		die("connect");
	setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (context == NULL)
		return p;
	p.ssl = SSL_new(context);
	if (p.ssl == NULL || SSL_set_fd(p.ssl, p.fd) != 1 || SSL_connect(p.ssl) != 1)
		die("handshake");
	return p;
}

static void send_all(struct peer *p, const char *bytes, int len)
{
	int done = p->ssl != NULL ? SSL_write(p->ssl, bytes, len) : (int)send(p->fd, bytes, (size_t)len, 0);
	if (done != len)
		die("write");
}

static int take(struct peer *p, char *bytes, int room)
{
	int got = p->ssl != NULL ? SSL_read(p->ssl, bytes, room) : (int)recv(p->fd, bytes, (size_t)room, 0);
	if (got <= 0)
		die("read");
	return got;
}

static void ask(struct peer *p, const char *body)
{
	char message[8192], answer[32768];
	int len = snprintf(message, sizeof message,
			   "POST %s HTTP/1.1\r\nHost: localhost\r\n"
			   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			   target->path, strlen(body), body);
	send_all(p, message, len);
	int have = 0, want = -1;
	while (want < 0 || have < want) {
		have += take(p, answer + have, (int)sizeof answer - 1 - have);
		answer[have] = 0;
		const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "content-length:");
		if (want < 0 && end != NULL && length != NULL)
			want = (int)(end + 4 - answer) + atoi(length + 15);
	}
	if (strncmp(answer, target->granted, strlen(target->granted)) == 0 &&
	    strstr(answer, "-----BEGIN CERTIFICATE-----") != NULL)
		return;
	if (atomic_fetch_add(&refused, 1) == 0)
		fprintf(stderr, "refused: %.600s\n", answer);
}

static void *client(void *arg)
{
	(void)arg;
	struct peer p = dial();
	pthread_barrier_wait(&go);
	for (int i; (i = atomic_fetch_add(&next_body, 1)) < connections * per_connection;) {
		double start = now();
		ask(&p, bodies[i]);
		latencies[i] = now() - start;
	}
	SSL_free(p.ssl);
	close(p.fd);
	return NULL;
}

static void *maker(void *arg)
{
	for (int i = *(int *)arg; i < connections * per_connection; i += 2)
		bodies[i] = make_body(i);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void read_credentials(char **files)
{
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || SSL_CTX_use_certificate_chain_file(context, files[0]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, files[1], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(context, files[2], NULL) != 1)
		die("credentials");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof targets / sizeof targets[0]; i++)
		if (strcmp(argv[1], targets[i].name) == 0)
			target = &targets[i];
	if (target == NULL || (argc != 5 && argc != 8))
		die("usage: issue_load chancery|cfssl PORT CONNECTIONS CERTIFICATES [CERTIFICATE KEY CA]");
	port = atoi(argv[2]);
	connections = atoi(argv[3]);
	per_connection = atoi(argv[4]) / connections;
	int total = connections * per_connection, half[2] = { 0, 1 };
	if (argc == 8)
		read_credentials(argv + 5);
	bodies = calloc((size_t)total, sizeof *bodies);
	latencies = calloc((size_t)total, sizeof *latencies);
	pthread_t *thread = calloc((size_t)connections + 2, sizeof *thread);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, maker, &half[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_init(&go, NULL, (unsigned)connections + 1);
	for (int i = 0; i < connections; i++)
		pthread_create(&thread[i], NULL, client, NULL);
	pthread_barrier_wait(&go);
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	double start = now();
	for (int i = 0; i < connections; i++)
		pthread_join(thread[i], NULL);
	double took = now() - start;
	getrusage(RUSAGE_SELF, &after);
	double cpu =
		(double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
		(double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
			1e6;
	qsort(latencies, (size_t)total, sizeof *latencies, by_size);
	printf("{\"certificates_per_second\": %.0f, \"p50_ms\": %.1f, \"p99_ms\": %.1f, \"generator_cpu_us\": %.0f, \"refused\": %d, "
	       "\"seconds\": %.2f}\n",
	       total / took, latencies[total / 2] * 1e3, latencies[total * 99 / 100] * 1e3, cpu * 1e6 / total,
	       atomic_load(&refused), took);
	return atomic_load(&refused) != 0;
}
