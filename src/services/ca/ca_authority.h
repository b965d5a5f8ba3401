/* Between ca_authority.c, ca_found.c and ca_found_again.c. */
#pragma once
#include "ca.h"
#include <jansson.h>

#define CA_CHAIN_MAX 8

/* Certificates above a CA, as the table keeps them. */
st ca_chain_write(struct scope *s, struct buf *out, const span *chain, size_t count);

/* The row of a CA to be. */
struct ca_new_authority {
	int64_t id;
	enum ca_state state;
	const char *name, *profile, *key, *algorithm; /* "" where it is run elsewhere */
	span subject, spki, certificate, request;     /* certificate: empty while waiting; request: empty unless it waited */
	span chain[CA_CHAIN_MAX];
	size_t chain_count;
	const char *crl_url, *issuer_url, *ocsp_url, *cps_url; /* NULL or empty: none */
	int64_t crl_hours;
};
/* The row, and what the vas are told. */
st ca_authority_enter(struct scope *s, struct db_tx *tx, const struct ca_new_authority *new);
/* A CA that waited has its certificate: that in `new`. */
st ca_authority_enter_completion(struct scope *s, struct db_tx *tx, const struct ca_new_authority *new);
/* The record ca.created, which holds all that ca_found_again() needs. */
st ca_authority_record(struct scope *s, const struct ca_new_authority *new, const char *actor, struct audit_event *e);

/* What a record ca.created tells and the database lacks is entered. *out_entered is counted up when something was. E_STATE when
 * the record is of a version that does not hold enough. */
st ca_found_again(struct scope *s, struct ca *ca, struct db_tx *tx, const json_t *record, int64_t *out_entered);
