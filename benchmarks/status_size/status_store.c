/* The va's status store: filled by the feed's batches, and how long it looks for a status. */
#include "log.h"
#include "status_rows.h"
#include "va_store.h"
#include <stdio.h>
#include <stdlib.h>

struct filling {
	struct va_store *store;
	uint16_t ca;
	uint64_t next; /* number of the feed */
	int64_t now;
};

static st apply(struct scope *s, struct filling *f, const uint64_t *number, size_t count)
{
	struct va_item *item = scope_alloc(s, count * sizeof *item);
	uint8_t *serial = scope_alloc(s, count * ROWS_LEN);
	for (size_t i = 0; i < count; i++) {
		bool revoked = rows_revoked(number[i]);
		rows_value(ROWS_SERIAL, number[i], serial + i * ROWS_LEN);
		item[i] = (struct va_item){ .type = VA_ITEM_STATUS,
					    .ca = f->ca,
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
	const struct filling *f = arg;
	uint8_t serial[ROWS_LEN];
	struct va_status_item status;
	bool found;
	rows_value(ROWS_SERIAL, number, serial);
	TRY(va_store_status(s, f->store, f->ca, SPAN_ARRAY(serial), &found, &status));
	return found && status.revoked == rows_revoked(number) ? OK
							       : fail(s, E_BUG, "a serial has not the status it was given");
}

static st fill(struct scope *s, struct filling *f, uint64_t count)
{
	TRY(va_store_number(s, f->store, &f->next));
	f->next++;
	return rows_each(s, ROWS_SERIAL, count, take_numbers, f);
}

static st find(struct scope *s, struct filling *f, uint64_t count, char **numbers)
{
	struct rows_times times;
	TRY(rows_time(s, count, (size_t)strtoull(numbers[0], NULL, 10), (size_t)strtoull(numbers[1], NULL, 10), look, f,
		      &times));
	(void)printf("{\"store_p50_us\": %.2f, \"store_p99_us\": %.2f}\n", times.p50, times.p99);
	return OK;
}

static st run(struct scope *s, int argc, char **argv)
{
	if (argc != 4 && argc != 6)
		return fail(s, E_INPUT,
			    "usage: status_store DIRECTORY CA COUNT [UNTIMED LOOKUPS]; without LOOKUPS it is filled");
	struct filling f = { .ca = (uint16_t)strtoul(argv[2], NULL, 10), .now = scope_now(s) };
	uint64_t count = strtoull(argv[3], NULL, 10);
	TRY(va_store_open(s, argv[1], &f.store));
	TRY(argc == 4 ? fill(s, &f, count) : find(s, &f, count, argv + 4));
	va_store_close(f.store);
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
