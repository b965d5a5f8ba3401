/*
 * cli_outbox.h - the ca's outbox, for `audit reconcile`: which records wait in it, and that they come to be in the log. A record is committed
 * with its effect; so what the ca said of its database, and is not on record, waits here when the outbox is read behind it, or nowhere.
 */
#pragma once
#include "cli_api.h"

#define CLI_OUTBOX_MAX 10000

struct cli_waiting {
	int64_t seq, entered_at;
	const char *event, *serial, *ca; /* "" when the record has none */
	int64_t number;
};
struct cli_outbox {
	struct cli_waiting *row; /* by seq */
	size_t count;
};
/* The rows that there are now. E_LIMIT: more than one can look through. */
st cli_outbox_read(struct scope *s, struct cli_api *api, struct cli_outbox *out);
/* Reads them, and waits until all of these are delivered, whatever comes behind them. What is left when the time is over is in `out`: nothing,
 * when the log now has all that was there when this began. */
st cli_outbox_settle(struct scope *s, struct cli_api *api, int64_t patience, struct cli_outbox *out);
bool cli_outbox_has_serial(const struct cli_outbox *o, const char *event, const char *serial);
bool cli_outbox_has_crl(const struct cli_outbox *o, const char *ca, int64_t number);
/* One by one: what it is, since when, for how long. */
json_t *cli_outbox_rows(struct scope *s, const struct cli_outbox *o);
