/*
 * va_directory.h - the CAs in memory: certificates, hashes by which OCSP requests name them, the CRL and signer of each.
 *
 * Read from the store whenever an item about a CA arrives, then never changed: requests hold the one they began with.
 */
#pragma once
#include "pki_certificate.h"
#include "pki_key.h"
#include "pki_ocsp.h"
#include "va_store.h"

struct va_crl {
	uint64_t number; /* 0: none was published yet */
	uint8_t digest[32];
	int64_t this_update, next_update;
};

struct va_signer {
	const char *key; /* label at keyd; NULL: this CA's certificates are not answered for here */
	span certificate;
	int64_t not_before, not_after;
	uint8_t key_hash[20]; /* ResponderID byKey */
	const struct alg_key *type;
	const struct alg_signature *algorithm;
	struct pki_key *public_key;
	unsigned signatures; /* how many were made: each so-many-th is verified */
};

struct va_issuer_hashes {
	enum digest_alg digest;
	uint8_t name[DIGEST_MAX], key[DIGEST_MAX];
};
#define VA_ISSUER_HASHES 2

struct va_ca {
	uint16_t id;
	const char *name;
	span certificate;
	const span *chain;
	size_t chain_count;
	struct pki_certificate read;
	struct va_issuer_hashes hashes[VA_ISSUER_HASHES];
	struct va_crl crl;
	struct va_signer signer;
};

struct va_directory {
	int references;
	struct scope memory;
	uint64_t number; /* of the feed when it was read */
	int64_t loaded;
	struct va_ca *ca;
	size_t count, room;
};

st va_directory_load(struct scope *s, struct va_store *store, struct va_directory **out);
struct va_directory *va_directory_hold(struct va_directory *d);
void va_directory_release(struct va_directory *d);
static inline void va_directory_auto(struct va_directory **d)
{
	va_directory_release(*d);
}
#define AUTO_DIRECTORY __attribute__((cleanup(va_directory_auto))) struct va_directory

/* NULL when there is none. */
struct va_ca *va_directory_named(const struct va_directory *d, span name);
/* The CA whose certificates a CertID means; NULL when it is none of ours. */
struct va_ca *va_directory_issuer(const struct va_directory *d, const struct pki_ocsp_cert_id *id);

/* A signer's certificate fits its CA: issued and signed by it, and for OCSP signing. */
st va_signer_check(struct scope *s, const struct va_signer_item *item, const struct va_ca_item *ca);
/* That a signature over `tbs` in a certificate, CRL or request is the CA's. */
st va_signed_by_ca(struct scope *s, span ca_certificate, span signature_identifier, span tbs, span signature);
