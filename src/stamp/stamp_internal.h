/*
 * stamp_internal.h - what stamp_token.c and stamp_revoked.c share: anchors, CRLs, and the signer that was verified last.
 */
#pragma once
#include "pki_crl.h"
#include "stamp.h"
#include <openssl/x509.h>

#define STAMP_CHAIN_MAX 16
#define STAMP_CRLS_MAX  64

typedef STACK_OF(X509) certificates;

struct stamp_crl {
	uint8_t *der; /* what `read` points into */
	size_t len;
	struct pki_crl read;
};

/* What the CRLs say of one certificate of the chain. */
struct stamp_link {
	bool known, listed; /* known: a CRL that is here speaks of it */
	int64_t from, to;   /* thisUpdate and nextUpdate of that CRL */
	int64_t revoked_at;
	int reason;
	char name[120]; /* of the certificate */
	char why[260];  /* why none speaks of it */
};

struct stamp_trust {
	X509_STORE *store;
	size_t anchors;
	struct stamp_crl crl[STAMP_CRLS_MAX];
	size_t crls;
	/* The signer verified last: one unit stamps for years. */
	struct pki_key *key;
	uint8_t signer[DIGEST_MAX];
	int64_t from, to; /* its chain holds between these times */
	/* Its chain without the anchor, as the CRLs have it. */
	struct stamp_link link[STAMP_CHAIN_MAX];
	size_t links;
};

/* For a chain that was verified, from the signer to the anchor. */
st stamp_look_up(struct scope *s, struct stamp_trust *t, certificates *chain);
void stamp_crls_free(struct stamp_trust *t);
