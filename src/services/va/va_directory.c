#include "va_directory.h"
#include "log.h"
#include "pki_ext.h"
#include <stdlib.h>

#define OCSP_SIGNING "1.3.6.1.5.5.7.3.9"

static const enum digest_alg issuer_digests[VA_ISSUER_HASHES] = { DIGEST_SHA1, DIGEST_SHA256 };

/* ---- reading certificates ---- */

/* Content of the BIT STRING of a SubjectPublicKeyInfo: what the issuerKeyHash is over. */
static st key_bits(struct scope *s, span spki, span *out)
{
	struct der_rd whole = der_read(spki);
	struct der_rd inside = der_enter(&whole, DER_SEQUENCE);
	(void)der_get_whole(&inside, DER_SEQUENCE);
	span bits = der_get_bits(&inside);
	der_leave(&whole, &inside);
	TRY(der_done(s, &whole, "a SubjectPublicKeyInfo"));
	*out = bits;
	return OK;
}

st va_signed_by_ca(struct scope *s, span ca_certificate, span signature_identifier, span tbs, span signature)
{
	struct pki_certificate ca;
	TRY(pki_certificate_read(s, ca_certificate, &ca));
	const struct alg_signature *algorithm = alg_signature_of_identifier(signature_identifier);
	if (algorithm == NULL)
		return fail(s, E_CRYPTO, "it is signed with an algorithm outside the table");
	struct pki_key *key;
	TRY(pki_key_new(s, ca.spki, &key));
	st verified = pki_key_verify(s, key, algorithm, tbs, signature);
	pki_key_free(key);
	return verified;
}

//= rfc6960#4.2.2.2 a delegated signer's certificate carries id-kp-OCSPSigning and is issued by the CA itself
st va_signer_check(struct scope *s, const struct va_signer_item *item, const struct va_ca_item *ca)
{
	struct pki_certificate issuer, signer;
	TRY(pki_certificate_read(s, ca->certificate, &issuer));
	TRY(pki_certificate_read(s, item->certificate, &signer));
	if (!span_equal(signer.issuer, issuer.subject))
		return fail(s, E_CRYPTO, "the OCSP signer's certificate was not issued by CA %.*s (RFC 6960 4.2.2.2)",
			    (int)ca->name.len, (const char *)ca->name.data);
	bool for_ocsp;
	TRY(pki_ext_purpose_get(s, &signer, OCSP_SIGNING, &for_ocsp));
	if (!for_ocsp)
		return fail(s, E_CRYPTO,
			    "the certificate is not for OCSP signing: issue it from profile ocsp-signer (RFC 6960 4.2.2.2)");
	const struct alg_key *type;
	TRY(alg_key_of_spki(s, signer.spki, &type));
	return fail_context(s, va_signed_by_ca(s, ca->certificate, signer.signature_identifier, signer.tbs, signer.signature),
			    "certificate of an OCSP signer");
}

/* ---- loading ---- */

static st hash_issuer(struct scope *s, struct va_ca *ca)
{
	span bits;
	TRY(key_bits(s, ca->read.spki, &bits));
	for (size_t i = 0; i < VA_ISSUER_HASHES; i++) {
		struct va_issuer_hashes *hashes = &ca->hashes[i];
		hashes->digest = issuer_digests[i];
		(void)digest_of(hashes->digest, ca->read.subject, hashes->name);
		(void)digest_of(hashes->digest, bits, hashes->key);
	}
	return OK;
}

static st count_ca(struct scope *s, const struct va_item *item, void *arg)
{
	(void)s;
	(void)item;
	((struct va_directory *)arg)->room++;
	return OK;
}

static st load_ca(struct scope *s, const struct va_item *item, void *arg)
{
	struct va_directory *d = arg;
	if (d->count == d->room)
		return fail(s, E_BUSY, "a CA was added while the CAs were read");
	struct va_ca *ca = &d->ca[d->count];
	ca->id = item->ca;
	ca->name = scope_cstr(s, item->ca_item.name);
	ca->certificate = item->ca_item.certificate;
	span *chain = scope_alloc(s, item->ca_item.chain_count * sizeof *chain);
	memcpy(chain, item->ca_item.chain, item->ca_item.chain_count * sizeof *chain);
	ca->chain = chain;
	ca->chain_count = item->ca_item.chain_count;
	TRY(pki_certificate_read(s, ca->certificate, &ca->read));
	TRY(hash_issuer(s, ca));
	d->count++;
	return OK;
}

static struct va_ca *find_id(const struct va_directory *d, uint16_t id)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->ca[i].id == id)
			return &d->ca[i];
	return NULL;
}

static st load_crl(struct scope *s, const struct va_item *item, void *arg)
{
	(void)s;
	struct va_ca *ca = find_id(arg, item->ca);
	if (ca == NULL)
		return OK;
	ca->crl = (struct va_crl){ .number = item->crl.number,
				   .this_update = item->crl.this_update,
				   .next_update = item->crl.next_update };
	memcpy(ca->crl.digest, item->crl.digest, sizeof ca->crl.digest);
	return OK;
}

static st load_signer(struct scope *s, const struct va_item *item, void *arg)
{
	struct va_ca *ca = find_id(arg, item->ca);
	if (ca == NULL)
		return OK;
	struct pki_certificate read;
	TRY(pki_certificate_read(s, item->signer.certificate, &read));
	struct va_signer signer = { .certificate = item->signer.certificate,
				    .not_before = read.not_before,
				    .not_after = read.not_after };
	signer.key = scope_cstr(s, item->signer.key);
	TRY(alg_key_of_spki(s, read.spki, &signer.type));
	signer.algorithm = alg_signature_default(signer.type);
	TRY(pki_key_identifier(s, read.spki, signer.key_hash));
	TRY(pki_key_new(s, read.spki, &signer.public_key));
	ca->signer = signer;
	return OK;
}

static st load(struct scope *s, struct va_store *store, struct va_directory *d)
{
	TRY(va_store_number(s, store, &d->number));
	TRY(va_store_each(s, store, VA_ITEM_CA, count_ca, d));
	d->ca = scope_alloc(s, d->room * sizeof *d->ca);
	TRY(va_store_each(s, store, VA_ITEM_CA, load_ca, d));
	TRY(va_store_each(s, store, VA_ITEM_CRL, load_crl, d));
	return va_store_each(s, store, VA_ITEM_SIGNER, load_signer, d);
}

st va_directory_load(struct scope *s, struct va_store *store, struct va_directory **out)
{
	struct va_directory *d = heap_alloc(sizeof *d);
	d->references = 1;
	d->loaded = scope_now(s);
	scope_init(&d->memory, s->source);
	st loaded = load(&d->memory, store, d);
	if (loaded.code != E_OK) {
		st failed = fail(s, loaded.code, "reading the CAs from the status store: %s", d->memory.message);
		va_directory_release(d);
		return failed;
	}
	*out = d;
	return OK;
}

struct va_directory *va_directory_hold(struct va_directory *d)
{
	(void)__atomic_add_fetch(&d->references, 1, __ATOMIC_RELAXED);
	return d;
}

void va_directory_release(struct va_directory *d)
{
	if (d == NULL || __atomic_sub_fetch(&d->references, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; d->ca != NULL && i < d->count; i++)
		pki_key_free(d->ca[i].signer.public_key);
	scope_done(&d->memory);
	free(d);
}

/* ---- looking up ---- */

struct va_ca *va_directory_named(const struct va_directory *d, span name)
{
	for (size_t i = 0; i < d->count; i++)
		if (span_is(name, d->ca[i].name))
			return &d->ca[i];
	return NULL;
}

static bool is_issuer(const struct va_ca *ca, const struct pki_ocsp_cert_id *id)
{
	for (size_t i = 0; i < VA_ISSUER_HASHES; i++) {
		const struct va_issuer_hashes *hashes = &ca->hashes[i];
		size_t len = digest_len(hashes->digest);
		if (hashes->digest == id->digest && span_equal(id->issuer_name_hash, span_of(hashes->name, len)) &&
		    span_equal(id->issuer_key_hash, span_of(hashes->key, len)))
			return true;
	}
	return false;
}

struct va_ca *va_directory_issuer(const struct va_directory *d, const struct pki_ocsp_cert_id *id)
{
	for (size_t i = 0; i < d->count; i++)
		if (is_issuer(&d->ca[i], id))
			return &d->ca[i];
	return NULL;
}
