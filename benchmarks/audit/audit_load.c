/*
 * audit_load.c - writer threads that put records into a running auditd, for the benchmark and for the kill tests.
 *
 * audit_load SOCKET WRITERS COUNT [BYTES [PRINT [ANCHOR]]]: each writer has a client and a connection of its own and commits COUNT records,
 * whose largest field has BYTES bytes. "4x8" as WRITERS: four clients (daemons) with eight writer threads each. With PRINT each acknowledged record is written to standard output as "ID INDEX" at once.
 * ANCHOR is the file that the clients keep the last checkpoint in. Without PRINT, one line: records, seconds, records a second, and the mean and the worst time of a commit in microseconds.
 */
#include "audit.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct writer {
	pthread_t thread;
	struct audit *audit;
	unsigned long count, failed;
	span filler;
	bool print;
	int64_t worst, total;
};

static st commit_one(struct scope *s, struct audit *a, struct writer *w)
{
	AUTO_EVENT e;
	uint64_t index;
	audit_begin(&e, s, AUDIT_CERTIFICATE_REFUSED);
	audit_str(&e, "ca", "issuing");
	audit_str(&e, "profile", "load");
	audit_text(&e, "reason", w->filler);
	audit_str(&e, "actor", "load");
	TRY(audit_finish(s, &e));
	int64_t begun = moment_monotonic();
	TRY(audit_commit(s, a, &e, &index));
	int64_t took = moment_monotonic() - begun;
	w->total += took;
	w->worst = took > w->worst ? took : w->worst;
	if (w->print) {
		char line[80];
		char id[33];
		int len = snprintf(line, sizeof line, "%s %llu\n", hex_write(SPAN_ARRAY(e.id), id), (unsigned long long)index);
		if (write(STDOUT_FILENO, line, (size_t)len) != len)
			log_die("standard output is closed");
	}
	return OK;
}

static void *writer_main(void *argument)
{
	struct writer *w = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (unsigned long i = 0; i < w->count; i++) {
		scope_reset(&s);
		if (commit_one(&s, w->audit, w).code == E_OK)
			continue;
		w->failed++;
		if (w->failed == 1)
			log_put(LOG_LEVEL_WARNING, "%s", s.message);
		(void)usleep(20000);
	}
	return NULL;
}

static struct audit *open_client(const char *socket, const char *anchor)
{
	struct audit_settings settings = { .socket = socket, .component = "load", .anchor = anchor };
	struct audit *a;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (audit_open(&s, &settings, &a).code != E_OK)
		log_die("%s", s.message);
	return a;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "audit_load SOCKET WRITERS COUNT [BYTES [PRINT [ANCHOR]]]\n");
		return 2;
	}
	char *rest;
	unsigned long clients = strtoul(argv[2], &rest, 10), each = *rest == 'x' ? strtoul(rest + 1, NULL, 10) : 1;
	unsigned long writers = clients * each, count = strtoul(argv[3], NULL, 10);
	size_t bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 200;
	char *filler = heap_alloc(bytes);
	memset(filler, 'x', bytes);
	struct writer *w = heap_alloc(writers * sizeof *w);
	int64_t begun = moment_monotonic();
	for (unsigned long i = 0; i < writers; i++) {
		w[i] = (struct writer){ .audit = i % each == 0 ? open_client(argv[1], argc > 6 ? argv[6] : NULL)
							       : w[i - 1].audit,
					.count = count,
					.filler = span_of(filler, bytes),
					.print = argc > 5 };
		if (pthread_create(&w[i].thread, NULL, writer_main, &w[i]) != 0)
			log_die("no thread");
	}
	unsigned long done = 0, failed = 0;
	int64_t worst = 0, total = 0;
	for (unsigned long i = 0; i < writers; i++) {
		(void)pthread_join(w[i].thread, NULL);
		done += w[i].count - w[i].failed;
		failed += w[i].failed;
		total += w[i].total;
		worst = w[i].worst > worst ? w[i].worst : worst;
	}
	for (unsigned long i = 0; i < writers; i += each)
		audit_close(w[i].audit);
	double seconds = (double)(moment_monotonic() - begun) / 1e6;
	if (argc <= 5)
		printf("%lu records %.2f s %.0f/s mean %.0f us worst %lld us failed %lu\n", done, seconds,
		       (double)done / seconds, done == 0 ? 0.0 : (double)total / (double)done, (long long)worst, failed);
	free(w);
	free(filler);
	return failed == 0 ? 0 : 1;
}
