/*
 * pki_crl.h - certificate revocation lists (RFC 5280 section 5), written as a stream: one pass over the entries in order of
 * serial, constant memory for any number of them.
 */
#pragma once
#include "pki_certificate.h"

/* Reasons by their CRLReason number (rfc5280#5.3.1); -1 unknown. unspecified (0) is never encoded. */
int pki_reason_named(span name);
const char *pki_reason_name(int reason);

struct pki_crl_entry {
	span serial; /* magnitude */
	int64_t revoked_at;
	int reason;
	int64_t invalidity_date; /* 0: none */
};
struct pki_crl_head {
	span issuer;
	span issuer_key_identifier;
	uint64_t number;
	int64_t this_update, next_update;
	int64_t expired_certs_from; /* expiredCertsOnCRL; 0: not included (EN 319 411-2 CSS-6.3.10-03) */
	const struct alg_signature *algorithm;
};
/* pki_crl_entry for each entry, in ascending order of the serials' octets (what ORDER BY on a blob gives); they come out through
 * `sink` in parts of at most 64 KiB. DER puts lengths first, so what stands before the entries in the TBSCertList is known when they
 * are all there: pki_crl_close gives it, and what stands behind them. E_INPUT for an entry or a head that a CRL may not have. */
struct pki_crl_writer;
struct pki_crl_ends {
	span head, tail;
	uint64_t entries;
	uint64_t tbs_length; /* of all three */
};
st pki_crl_open(struct scope *s, const struct pki_crl_head *head, st (*sink)(struct scope *s, span part, void *arg), void *arg,
		struct pki_crl_writer **out);
/* How long the head is when the entries have that many octets, for the place to leave before them. */
size_t pki_crl_head_len(const struct pki_crl_writer *w, uint64_t octets);
st pki_crl_entry(struct scope *s, struct pki_crl_writer *w, const struct pki_crl_entry *entry);
st pki_crl_close(struct scope *s, struct pki_crl_writer *w, struct pki_crl_ends *out);
void pki_crl_free(struct pki_crl_writer *w);
/* Octets that stand before and after the TBS in the finished CRL. */
st pki_crl_frame(struct scope *s, uint64_t tbs_length, const struct alg_signature *algorithm, span signature, span *out_before,
		 span *out_after);

/* Head of a CRL without its entries, for `crl show` and the va. */
struct pki_crl {
	span issuer;
	span issuer_key_identifier;
	uint64_t number;
	int64_t this_update, next_update;
	int64_t expired_certs_from; /* 0: absent */
	uint64_t entries;
	span tbs, signature_identifier, signature;
};
/* Complete CRLs only: every entry is checked for shape, and an extension that is critical and not known is refused. */
st pki_crl_read(struct scope *s, span der, struct pki_crl *out);
/* Calls for each entry in turn. */
st pki_crl_each(struct scope *s, span der, st (*each)(struct scope *s, const struct pki_crl_entry *entry, void *arg),
		void *arg);
/* `serial` as magnitude; *out is filled when *out_found. */
st pki_crl_find(struct scope *s, span der, span serial, bool *out_found, struct pki_crl_entry *out);
/* That a CRL is of this CA and bears its signature; E_CRYPTO otherwise. */
st pki_crl_verify(struct scope *s, const struct pki_crl *crl, const struct pki_certificate *issuer);
