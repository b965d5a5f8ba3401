/*
 * digest.h - SHA-1 (only for identifiers that a standard fixes to it) and SHA-2, over libcrypto, fetched once.
 */
#pragma once
#include "scope.h"

enum digest_alg { DIGEST_NONE, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_COUNT };
#define DIGEST_MAX 64

/* Length in bytes; 0 for DIGEST_NONE. */
size_t digest_len(enum digest_alg alg);
/* "sha256" and so on. */
const char *digest_name(enum digest_alg alg);

/* In one call; the result lies in `out` (DIGEST_MAX bytes are always enough). A failing libcrypto ends the process. */
span digest_of(enum digest_alg alg, span bytes, uint8_t *out);
/* The same over two pieces, one behind the other: for a prefix that need not be copied before what it goes with. */
span digest_of_two(enum digest_alg alg, span first, span second, uint8_t *out);
span digest_new(struct scope *s, enum digest_alg alg, span bytes);

/* In parts: digest_start, any number of digest_add, digest_finish. A started digest must be finished or dropped. */
struct digest {
	void *context;
	enum digest_alg alg;
};
void digest_start(struct digest *d, enum digest_alg alg);
void digest_add(struct digest *d, span bytes);
span digest_finish(struct digest *d, uint8_t *out);
void digest_drop(struct digest *d);
