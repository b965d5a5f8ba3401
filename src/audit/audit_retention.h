/*
 * audit_retention.h - how long a record is kept (practice statement 5.4.3, 5.5.2; EN 319 411-1 OVR-6.4.6-01), and which of them hold what a
 * person may ask to have erased before that.
 */
#pragma once
#include "audit_record.h"

enum audit_keep {
	AUDIT_KEEP_FOREVER,     /* in this version: what later judgements rest on */
	AUDIT_KEEP_SYSTEM,      /* 18 months */
	AUDIT_KEEP_CERTIFICATE, /* 7 years after the certificate ceased to be valid */
	AUDIT_KEEP_REVOCATION,  /* 7 years after it was revoked, or that was asked for */
	AUDIT_KEEP_CRL,         /* 7 years */
	AUDIT_KEEP_STAMP,       /* as the provider states */
	AUDIT_KEEP_COUNT
};
enum audit_keep audit_keep_of(enum audit_code code);
const char *audit_keep_name(enum audit_keep keep);
/* What a provider decides itself: `stamps`, years that records of time-stamps are kept (EN 319 421 OVR-7.12); an operation says it. */
struct audit_keeping {
	uint64_t stamps;
};
#define AUDIT_STAMPS_KEPT 20 /* where none says it */
/* Until when something of this kind is kept that counts from then; INT64_MAX: for ever. */
int64_t audit_keep_until(const struct audit_keeping *own, enum audit_keep keep, int64_t from);
/* From when on a record need not be kept; INT64_MAX: never. */
st audit_kept_until(struct scope *s, const struct audit_keeping *own, const struct audit_envelope *e, int64_t *out);
/* May it be erased earlier, on the request of the person whom it is about? */
bool audit_is_personal(enum audit_code code);
