/*
 * What auditd finds when it starts: the first octet chooses the last segment of the tail, the list of what was imported, or a journal
 * left in incoming; the rest is the file. A tail that is taken has its leaves, each with the hash it is known by.
 */
#include "auditd.h"
#include "fuzz_directory.h"
#include "log.h"

#define SEGMENT "tail/00000000000000000000"

static struct tail *open_tail(struct scope *s, struct audit_log **out_log)
{
	struct tail *tail;
	check(audit_log_open(s, fuzz_directory(), out_log).code == E_OK);
	return tail_open(s, fuzz_directory(), 0, *out_log, &tail).code == E_OK ? tail : NULL;
}

static void segment(struct scope *s, span file)
{
	struct audit_log *log;
	AUTO_BUF leaf = { .cap = AUDIT_LEAF_MAX };
	fuzz_file(SEGMENT, file);
	struct tail *tail = open_tail(s, &log);
	if (tail == NULL)
		check(s->message[0] != 0);
	for (uint64_t i = 0; tail != NULL && i < tail_size(tail); i++) {
		struct audit_envelope envelope;
		uint64_t index;
		buf_clear(&leaf);
		check(tail_leaf(s, tail, i, &leaf).code == E_OK);
		struct audit_hash hash = audit_leaf_hash(buf_span(&leaf)), kept = tail_hash(tail, i);
		check(audit_hash_equal(&hash, &kept) && audit_envelope_read(s, buf_span(&leaf), &envelope).code == E_OK);
		check(envelope.seq == i && tail_has(tail, envelope.record.id, &index));
	}
	tail_close(tail);
	audit_log_close(log);
}

static void imported(struct scope *s, span file)
{
	struct imported *rows;
	fuzz_file("imported", file);
	check(imported_open(s, fuzz_directory(), &rows).code == E_OK);
	imported_close(rows);
}

static void incoming(struct scope *s, span file)
{
	struct audit_log *log;
	struct imported *rows = NULL;
	fuzz_forget(SEGMENT);
	fuzz_forget("imported");
	fuzz_file("incoming/journal", file);
	struct tail *tail = open_tail(s, &log);
	check(tail != NULL);
	check(imported_open(s, fuzz_directory(), &rows).code == E_OK);
	st status = imported_incoming(s, rows, tail, fuzz_directory());
	if (status.code != E_OK)
		check(s->message[0] != 0);
	imported_close(rows);
	tail_close(tail);
	audit_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const files[])(struct scope *, span) = { segment, imported, incoming };
	static bool made;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (!made) {
		log_init("fuzz", LOG_LEVEL_ERROR);
		fuzz_make_directory("tail");
		fuzz_make_directory("incoming");
		made = true;
	}
	if (size >= 1 && data[0] < sizeof files / sizeof files[0])
		files[data[0]](&s, span_of(data + 1, size - 1));
	return 0;
}
