#include "digest.h"
#include "log.h"
#include <openssl/evp.h>
#include <pthread.h>

static const struct digest_row {
	const char *name;
	const char *fetch;
	size_t len;
} digest_rows[DIGEST_COUNT] = {
	[DIGEST_NONE] = { "none", NULL, 0 },
	[DIGEST_SHA1] = { "sha1", "SHA1", 20 },
	[DIGEST_SHA256] = { "sha256", "SHA2-256", 32 },
	[DIGEST_SHA384] = { "sha384", "SHA2-384", 48 },
	[DIGEST_SHA512] = { "sha512", "SHA2-512", 64 },
};

static EVP_MD *fetched[DIGEST_COUNT];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;

static void context_free(void *context)
{
	EVP_MD_CTX_free(context);
}

static void fetch_all(void)
{
	for (int i = DIGEST_SHA1; i < DIGEST_COUNT; i++) {
		fetched[i] = EVP_MD_fetch(NULL, digest_rows[i].fetch, NULL);
		if (fetched[i] == NULL)
			log_die("libcrypto has no %s", digest_rows[i].fetch);
	}
	if (pthread_key_create(&context_key, context_free) != 0)
		log_die("no thread key for digests");
}

static const EVP_MD *fetch(enum digest_alg alg)
{
	(void)pthread_once(&fetch_once, fetch_all);
	if (alg <= DIGEST_NONE || alg >= DIGEST_COUNT)
		log_die("digest %d does not exist", (int)alg);
	return fetched[alg];
}

static EVP_MD_CTX *new_context(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (context == NULL)
		log_die("out of memory for a digest");
	return context;
}

/* One reusable context per thread: creating one costs more than hashing a short message. */
static EVP_MD_CTX *thread_context(void)
{
	EVP_MD_CTX *context = pthread_getspecific(context_key);
	if (context == NULL) {
		context = new_context();
		(void)pthread_setspecific(context_key, context);
	}
	return context;
}

size_t digest_len(enum digest_alg alg)
{
	return alg < DIGEST_COUNT ? digest_rows[alg].len : 0;
}

const char *digest_name(enum digest_alg alg)
{
	return alg < DIGEST_COUNT ? digest_rows[alg].name : "unknown";
}

span digest_of_two(enum digest_alg alg, span first, span second, uint8_t *out)
{
	unsigned len = 0;
	const EVP_MD *md = fetch(alg);
	EVP_MD_CTX *context = thread_context();
	if (EVP_DigestInit_ex(context, md, NULL) != 1 || EVP_DigestUpdate(context, first.data, first.len) != 1 ||
	    (second.len > 0 && EVP_DigestUpdate(context, second.data, second.len) != 1) ||
	    EVP_DigestFinal_ex(context, out, &len) != 1)
		log_die("libcrypto cannot compute %s", digest_name(alg));
	return span_of(out, len);
}

span digest_of(enum digest_alg alg, span bytes, uint8_t *out)
{
	return digest_of_two(alg, bytes, (span){ 0 }, out);
}

span digest_new(struct scope *s, enum digest_alg alg, span bytes)
{
	return digest_of(alg, bytes, scope_alloc(s, DIGEST_MAX));
}

void digest_start(struct digest *d, enum digest_alg alg)
{
	const EVP_MD *md = fetch(alg);
	d->context = new_context();
	d->alg = alg;
	if (EVP_DigestInit_ex(d->context, md, NULL) != 1)
		log_die("libcrypto cannot start %s", digest_name(alg));
}

void digest_add(struct digest *d, span bytes)
{
	if (EVP_DigestUpdate(d->context, bytes.data, bytes.len) != 1)
		log_die("libcrypto cannot compute %s", digest_name(d->alg));
}

span digest_finish(struct digest *d, uint8_t *out)
{
	unsigned len = 0;
	if (EVP_DigestFinal_ex(d->context, out, &len) != 1)
		log_die("libcrypto cannot finish %s", digest_name(d->alg));
	digest_drop(d);
	return span_of(out, len);
}

void digest_drop(struct digest *d)
{
	EVP_MD_CTX_free(d->context);
	d->context = NULL;
}
