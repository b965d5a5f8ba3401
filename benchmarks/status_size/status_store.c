/* The va's status store: filled by the feed's batches, and how long it looks for a status. */
#include "log.h"
#include "status_rows.h"
#include "va_store.h"
#include <stdio.h>
#include <stdlib.h>

#define CA 1

struct fill {
	struct va_store *store;
	uint64_t next; /* number of the feed */
	int64_t now;
};

static st apply(struct scope *s, struct fill *f, const uint64_t *number, size_t count)
{
	struct va_item *item = scope_alloc(s, count * sizeof *item);
	uint8_t *serial = scope_alloc(s, count * ROWS_LEN);
	for (size_t i = 0; i < count; i++) {
		bool revoked = rows_revoked(number[i]);
		rows_value(ROWS_SERIAL, number[i], serial + i * ROWS_LEN);
		item[i] = (struct va_item){ .type = VA_ITEM_STATUS,
					    .ca = CA,
					    .status = { .serial = span_of(serial + i * ROWS_LEN, ROWS_LEN),
							.revoked = revoked,
							.reason = revoked ? 4 : 0,
							.revoked_at = revoked ? f->now : 0,
							.not_after = f->now } };
	}
	struct va_batch batch = { .kind = VA_BATCH_CONTINUATION, .first = f->next, .item = item, .count = count };
	struct va_applied applied;
	TRY(va_store_apply(s, f->store, &batch, NULL, NULL, &applied));
	f->next += count;
	return applied.number == f->next - 1 ? OK : fail(s, E_CONFLICT, "the store is not empty");
}

static st take_numbers(struct scope *s, const uint64_t *number, size_t count, void *arg)
{
	for (size_t done = 0; done < count;) {
		size_t now = count - done < VA_FEED_ITEMS_MAX ? count - done : VA_FEED_ITEMS_MAX;
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		st status = apply(&own, arg, number + done, now);
		if (status.code != E_OK)
			return fail(s, status.code, "%s", own.message);
		done += now;
	}
	return OK;
}

static st look(struct scope *s, uint64_t number, void *arg)
{
	uint8_t serial[ROWS_LEN];
	struct va_status_item status;
	bool found;
	rows_value(ROWS_SERIAL, number, serial);
	TRY(va_store_status(s, arg, CA, SPAN_ARRAY(serial), &found, &status));
	return found && status.revoked == rows_revoked(number) ? OK
							       : fail(s, E_BUG, "a serial has not the status it was given");
}

static st run(struct scope *s, int argc, char **argv)
{
	struct fill f = { .next = 1, .now = scope_now(s) };
	struct rows_times times;
	if (argc != 3 && argc != 5)
		return fail(s, E_INPUT, "usage: status_store DIRECTORY COUNT [UNTIMED LOOKUPS]; without LOOKUPS it is filled");
	uint64_t count = strtoull(argv[2], NULL, 10);
	TRY(va_store_open(s, argv[1], &f.store));
	if (argc == 3)
		TRY(rows_each(s, ROWS_SERIAL, count, take_numbers, &f));
	else
		TRY(rows_time(s, count, (size_t)strtoull(argv[3], NULL, 10), (size_t)strtoull(argv[4], NULL, 10), look, f.store,
			      &times));
	va_store_close(f.store);
	if (argc == 5)
		(void)printf("{\"store_p50_us\": %.2f, \"store_p99_us\": %.2f}\n", times.p50, times.p99);
	return OK;
}

int main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (run(&s, argc, argv).code != E_OK)
		log_die("%s", s.message);
	return EXIT_SUCCESS;
}
