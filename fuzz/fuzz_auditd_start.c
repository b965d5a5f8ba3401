/*
 * What auditd finds when it starts: the first octet chooses the last segment of the tail, the list of what was imported, a journal
 * left in incoming, or the index of records of class control; the rest is the file. A tail that is taken has its leaves, each with the
 * hash it is known by.
 */
#include "auditd.h"
#include "fuzz_directory.h"
#include "log.h"

#define SEGMENT "tail/00000000000000000000"

static struct indexed *indexed;

static struct tail *open_tail(struct scope *s, struct audit_log **out_log)
{
	struct tail *tail;
	check(audit_log_open(s, fuzz_directory(), out_log).code == E_OK);
	check(indexed_open(s, fuzz_directory(), *out_log, 0, &indexed).code == E_OK);
	return tail_open(s, fuzz_directory(), 0, *out_log, indexed, &tail).code == E_OK ? tail : NULL;
}

static void close_tail(struct tail *tail, struct audit_log *log)
{
	tail_close(tail);
	indexed_close(indexed);
	audit_log_close(log);
}

struct looking {
	struct tail *tail;
	uint64_t next;
};

static st look_at(struct scope *s, void *state, span leaf, const struct audit_hash *kept)
{
	struct looking *l = state;
	struct audit_envelope envelope;
	uint64_t index;
	struct audit_hash hash = audit_leaf_hash(leaf);
	check(audit_hash_equal(&hash, kept) && audit_envelope_read(s, leaf, &envelope).code == E_OK);
	check(envelope.seq == l->next++ && tail_has(l->tail, envelope.record.id, &index));
	return OK;
}

static void segment(struct scope *s, span file)
{
	struct audit_log *log;
	AUTO_BUF leaf = { .cap = AUDIT_LEAF_MAX };
	fuzz_file(SEGMENT, file);
	struct looking l = { .tail = open_tail(s, &log) };
	if (l.tail == NULL)
		check(s->message[0] != 0);
	else
		check(tail_each(s, l.tail, 0, tail_size(l.tail), look_at, &l).code == E_OK);
	for (uint64_t i = 0; l.tail != NULL && i < tail_size(l.tail); i++) {
		buf_clear(&leaf);
		check(tail_leaf(s, l.tail, i, &leaf).code == E_OK);
	}
	close_tail(l.tail, log);
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
	close_tail(tail, log);
}

/* 300 leaves in bundles, of which 3, 103 and 299 are of class control; the same bytes every time. */
static void make_small_log(void)
{
	static const char record[] = "{\"v\":1,\"id\":\"%032x\",\"time\":\"2026-01-02T03:04:05.000006Z\",\"event\":\"%s\","
				     "\"component\":\"fuzz\",\"tx\":\"%032x\",%s}";
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct audit_log *log;
	struct tree *tree;
	fuzz_make_directory("small");
	char *dir = scope_printf(&s, "%s", fuzz_path("small"));
	check(audit_log_open(&s, dir, &log).code == E_OK && tree_open(&s, dir, log, 0, &tree).code == E_OK);
	for (unsigned i = 0; i < 300; i++) {
		bool control = i == 3 || i == 103 || i == 299;
		AUTO_BUF leaf = { .cap = AUDIT_LEAF_MAX };
		char *json = scope_printf(&s, record, i, control ? "operation.refused" : "log.stopped", i,
					  control ? "\"instance\":\"x\",\"reason\":\"y\"" : "\"size\":1");
		check(audit_envelope_write(&leaf, i, 0, "fuzz", span_str(json)));
		struct audit_hash hash = audit_leaf_hash(buf_span(&leaf));
		check(tree_add(&s, tree, buf_span(&leaf), &hash).code == E_OK);
	}
	check(tree_flush(&s, tree).code == E_OK);
	tree_close(tree);
	audit_log_close(log);
}

/* Whatever the file says: what comes of it are leaves of this log, in order; from a file without good rows, those that there are. */
static void control_index(struct scope *s, span file)
{
	struct audit_log *log;
	uint64_t *leaf, total;
	size_t count;
	fuzz_file("small/control-index", file);
	char *dir = scope_printf(s, "%s", fuzz_path("small"));
	check(audit_log_open(s, dir, &log).code == E_OK);
	check(indexed_open(s, dir, log, 300, &indexed).code == E_OK);
	indexed_read(s, indexed, 0, SIZE_MAX, &leaf, &count, &total);
	check(count == total);
	for (size_t i = 0; i < count; i++)
		check(leaf[i] < 300 && (i == 0 || leaf[i - 1] < leaf[i]));
	if (file.len < 10 + 25)
		check(count == 3 && leaf[0] == 3 && leaf[1] == 103 && leaf[2] == 299);
	indexed_close(indexed);
	audit_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const files[])(struct scope *, span) = { segment, imported, incoming, control_index };
	static bool made;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (!made) {
		log_init("fuzz", LOG_LEVEL_ERROR);
		fuzz_make_directory("tail");
		fuzz_make_directory("incoming");
		make_small_log();
		made = true;
	}
	if (size >= 1 && data[0] < sizeof files / sizeof files[0])
		files[data[0]](&s, span_of(data + 1, size - 1));
	return 0;
}
