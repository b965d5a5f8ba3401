/*
 * Off-line journals: any bytes as such a file. One that is opened gives its records in order, and takes one more, which is then its
 * last.
 */
#include "audit_local.h"
#include "fuzz_directory.h"
#include "log.h"

struct walk {
	uint64_t next;
	span last;
	struct scope *s;
};

static bool see(void *state, uint64_t index, span record)
{
	struct walk *walk = state;
	check(index == walk->next++);
	walk->last = scope_copy(walk->s, record);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	log_init("fuzz", LOG_LEVEL_ERROR);
	struct audit_local *journal;
	struct walk before = { .s = &s }, after = { .s = &s };
	uint64_t count, first;
	const span record = SPAN_LITERAL("one more");
	fuzz_file("journal", span_of(data, size));
	if (audit_local_open(&s, fuzz_path("journal"), &journal).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	if (audit_local_read(&s, journal, 0, see, &before, &count).code == E_OK) {
		check(before.next == count);
		check(audit_local_append(&s, journal, &record, 1, &first).code == E_OK && first == count);
		check(audit_local_read(&s, journal, 0, see, &after, &count).code == E_OK && after.next == before.next + 1 &&
		      span_equal(after.last, record));
	}
	audit_local_close(journal);
	return 0;
}
