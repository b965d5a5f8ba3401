/* cli_key.h - reaching the keyd of a zone. */
#pragma once
#include "cli.h"
#include "key.h"

typedef struct key_client key_client;
DEFINE_AUTO(key_client, key_client_free)

/* The keyd of a zone of this host; E_NOTFOUND naming what there is. Does not connect yet. */
st cli_key_open(struct scope *s, const struct cli *c, const char *zone, key_client **out);
/* A row per key of every zone that answers, or of `zone` alone (which must answer). */
st cli_key_rows(struct scope *s, const struct cli *c, const char *zone, json_t *rows);
/* What is to be done about the keys among `rows` that cannot be used, a sentence each. */
void cli_key_duties(struct scope *s, const json_t *rows, json_t *duties);
