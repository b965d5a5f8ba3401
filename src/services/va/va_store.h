/*
 * va_store.h - the status store: every certificate ever issued, the CAs, their CRLs and OCSP signers, in LMDB.
 *
 * Two generations of everything stand side by side: one answers, the other takes a snapshot while it arrives. The number of the last
 * feed item is written in the transaction that writes the item, and a transaction is synced before it returns, so the
 * number that is answered is the number that is durable.
 */
#pragma once
#include "va_feed.h"

struct va_store;
st va_store_open(struct scope *s, const char *directory, struct va_store **out);
void va_store_close(struct va_store *store);

/* Number of the last item that is durable here; 0 in an empty store. */
st va_store_number(struct scope *s, struct va_store *store, uint64_t *out);

/* Asked for each CA, CRL or signer item before it is stored, with its CA: a refusal undoes the whole batch. */
typedef st va_store_check(struct scope *s, void *arg, const struct va_item *item, const struct va_ca_item *ca);
struct va_applied {
	bool changed;    /* false: the number did not fit, nothing was done */
	bool switched;   /* a snapshot became the content */
	uint64_t number; /* durable now */
};
/* All of a batch or nothing. E_CONFLICT: a snapshot part without its start. */
st va_store_apply(struct scope *s, struct va_store *store, const struct va_batch *batch, va_store_check *check, void *arg,
		  struct va_applied *out);

/* Status of one serial (magnitude); *out_found false when this CA never issued it. `out->serial` is left empty. */
st va_store_status(struct scope *s, struct va_store *store, uint16_t ca, span serial, bool *out_found,
		   struct va_status_item *out);
/* Calls for every stored item of a type but status, in order of ca id; its spans live in the scope. */
st va_store_each(struct scope *s, struct va_store *store, enum va_item_type type,
		 st (*each)(struct scope *s, const struct va_item *item, void *arg), void *arg);
