/* cli_key.h - reaching the keyd of a zone, and the inventory of keys. */
#pragma once
#include "cli.h"
#include "key.h"

typedef struct key_client key_client;
DEFINE_AUTO(key_client, key_client_free)

/* The keyd of a zone of this host; E_NOTFOUND naming what there is. Does not connect yet. */
st cli_key_open(struct scope *s, const struct cli *c, const char *zone, key_client **out);
/* E_NOTFOUND naming the zones of this host. */
st cli_key_no_zone(struct scope *s, const struct cli *c, const char *zone);

/* A key of the inventory, where it was found. */
struct cli_key {
	const char *zone;
	const char *socket;
	struct key_entry entry;
};
/* A key group that waits for its quorum, or has too few custodians left. */
struct cli_locked {
	const char *zone, *group;
	const char *reason; /* as keyd says it: "locked: ..." */
	bool active;        /* the reason is about its custodians */
};
/* A private key on a token that keyd has no description of. */
struct cli_stray {
	const char *zone, *token, *label;
};
struct cli_keys {
	struct cli_key *row;
	size_t count;
	struct cli_locked *locked;
	size_t locked_count;
	struct cli_stray *stray;
	size_t stray_count;
};
/* Every key of every zone that answers, or of `zone` alone (which must answer). Zones that are not running (the off-line root) are left out. */
st cli_key_inventory(struct scope *s, const struct cli *c, const char *zone, struct cli_keys *out);
/* The one of this label. E_NOTFOUND; E_CONFLICT when several zones have one and `zone` is NULL. */
st cli_key_named(struct scope *s, const struct cli *c, const char *zone, const char *label, struct cli_key *out);

/* As JSON: in a table, or with everything about it. */
json_t *cli_key_stray_json(const struct cli_stray *stray);
json_t *cli_key_row_json(struct scope *s, const struct cli_key *key);
json_t *cli_key_json(struct scope *s, const struct cli_key *key);
/* What is to be done about keys that cannot be used and groups that are locked, a sentence each. Returns how many of them are amiss: key groups
 * that wait for their custodians, as after each start, are not. */
size_t cli_key_duties(struct scope *s, const struct cli_keys *keys, json_t *duties);
/* The same about certifications of devices and usage periods that end within 90 days, or have ended. */
void cli_key_warnings(struct scope *s, const struct cli_keys *keys, json_t *duties);

/* Certificates that are known here: of the installation's directory, of the ca's CAs and of its OCSP signers. The ca's silence is no failure:
 * `out_silent` says why, or is NULL. */
struct cli_key_certificate {
	span spki;
	json_t *shown; /* belongs to the list it came in */
};
struct cli_key_certificates {
	struct cli_key_certificate *row;
	size_t count;
	json_t *owner;
	const char *silent;
};
st cli_key_certificates(struct scope *s, const struct cli *c, struct cli_key_certificates *out);
void cli_key_certificates_free(struct cli_key_certificates *certificates);
/* Those of this key. */
json_t *cli_key_certificates_of(const struct cli_key_certificates *certificates, const struct cli_key *key);

/* Counts the signatures of these keys in a log directory, in one pass and constant memory, and asks keyd again: a verdict for each, in the order of
 * the keys. `*out_agree`: none of them disagrees. */
st cli_key_reconcile(struct scope *s, const struct cli_keys *keys, const char *log, json_t **out, bool *out_agree);
