#include "metrics.h"
#include "moment.h"
#include <inttypes.h>
#include <stdio.h>

#define LAST_LINE_ROOM 256u /* for how many lines were left out */

static void add(struct buf *line, const char *text)
{
	(void)buf_append(line, span_str(text));
}

/* Line feed and backslash, in label values the quotation mark as well: what is written stays on its line and in its quotes. */
static void add_escaped(struct buf *line, const char *text, bool quoted)
{
	for (; *text != 0; text++) {
		if (*text == '\n')
			add(line, "\\n");
		else if (*text == '\\' || (quoted && *text == '"')) {
			const char escaped[] = { '\\', *text, 0 };
			add(line, escaped);
		} else
			(void)buf_append(line, span_of(text, 1));
	}
}

static void add_line(struct metrics_page *page, const struct buf *line)
{
	if (page->text.len + line->len + LAST_LINE_ROOM > METRICS_PAGE_MAX || !buf_append(&page->text, buf_span(line)))
		page->left_out++;
}

void metrics_family(struct metrics_page *page, const struct metric *m)
{
	AUTO_BUF line;
	buf_init(&line, METRICS_PAGE_MAX);
	add(&line, "# HELP ");
	add(&line, m->name);
	add(&line, " ");
	add_escaped(&line, m->help, false);
	add(&line, "\n# TYPE ");
	add(&line, m->name);
	add(&line, m->type == METRIC_COUNTER ? " counter\n" : " gauge\n");
	add_line(page, &line);
}

static void add_labels(struct buf *line, const struct metric_label *label, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add(line, i == 0 ? "{" : ",");
		add(line, label[i].name);
		add(line, "=\"");
		add_escaped(line, label[i].value, true);
		add(line, "\"");
	}
	add(line, count == 0 ? " " : "} ");
}

static void add_sample(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		       const char *number)
{
	AUTO_BUF line;
	buf_init(&line, METRICS_PAGE_MAX);
	add(&line, m->name);
	add_labels(&line, label, count);
	add(&line, number);
	add(&line, "\n");
	add_line(page, &line);
}

void metrics_value(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		   int64_t value)
{
	char number[32];
	(void)snprintf(number, sizeof number, "%" PRId64, value);
	add_sample(page, m, label, count, number);
}

void metrics_seconds(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		     int64_t microseconds)
{
	char number[40];
	uint64_t size = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;
	(void)snprintf(number, sizeof number, "%s%" PRIu64 ".%06" PRIu64, microseconds < 0 ? "-" : "",
		       size / (uint64_t)MOMENT_SECOND, size % (uint64_t)MOMENT_SECOND);
	add_sample(page, m, label, count, number);
}

void metrics_one(struct metrics_page *page, const struct metric *m, int64_t value)
{
	metrics_family(page, m);
	metrics_value(page, m, NULL, 0, value);
}

void metrics_one_seconds(struct metrics_page *page, const struct metric *m, int64_t microseconds)
{
	metrics_family(page, m);
	metrics_seconds(page, m, NULL, 0, microseconds);
}

void metrics_page_begin(struct metrics_page *page, const char *daemon, int64_t start)
{
	static const struct metric build = { "chancery_build_info", METRIC_GAUGE, "Which program answers; always 1." };
	static const struct metric begun = { "chancery_process_start_time_seconds", METRIC_GAUGE,
					     "When the process began, in seconds since 1970." };
	const struct metric_label label[] = { { "daemon", daemon }, { "version", CHANCERY_VERSION } };
	*page = (struct metrics_page){ 0 };
	buf_init(&page->text, METRICS_PAGE_MAX);
	metrics_family(page, &build);
	metrics_value(page, &build, label, sizeof label / sizeof label[0], 1);
	metrics_one_seconds(page, &begun, start);
}

span metrics_page_end(struct metrics_page *page)
{
	char last[LAST_LINE_ROOM];
	int len = snprintf(last, sizeof last,
			   "# HELP chancery_metrics_left_out Lines that had no room on this page.\n"
			   "# TYPE chancery_metrics_left_out gauge\nchancery_metrics_left_out %" PRIu64 "\n",
			   page->left_out);
	(void)buf_append(&page->text, span_of(last, (size_t)len));
	return buf_span(&page->text);
}

void metrics_page_free(struct metrics_page *page)
{
	buf_free(&page->text);
}
