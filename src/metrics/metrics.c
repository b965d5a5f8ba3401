#include "metrics_internal.h"
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

static const char *const type_word[] = {
	[METRIC_COUNTER] = " counter\n", [METRIC_GAUGE] = " gauge\n", [METRIC_HISTOGRAM] = " histogram\n"
};

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
	add(&line, type_word[m->type]);
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

static void put_sample(struct buf *line, const struct metric *m, const char *ending, const struct metric_label *label,
		       size_t count, const char *number)
{
	add(line, m->name);
	add(line, ending);
	add_labels(line, label, count);
	add(line, number);
	add(line, "\n");
}

static void add_sample(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		       const char *number)
{
	AUTO_BUF line;
	buf_init(&line, METRICS_PAGE_MAX);
	put_sample(&line, m, "", label, count, number);
	add_line(page, &line);
}

static const char *seconds_text(int64_t microseconds, char out[40])
{
	uint64_t size = microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds;
	(void)snprintf(out, 40, "%s%" PRIu64 ".%06" PRIu64, microseconds < 0 ? "-" : "", size / (uint64_t)MOMENT_SECOND,
		       size % (uint64_t)MOMENT_SECOND);
	return out;
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
	add_sample(page, m, label, count, seconds_text(microseconds, number));
}

/* ---- histograms ---- */

static const struct {
	int64_t us;
	const char *le; /* the same, as the page has it */
} bounds[METRIC_BUCKETS] = { { 250, "0.00025" }, { 1000, "0.001" },  { 2500, "0.0025" }, { 5000, "0.005" },
			     { 10000, "0.01" },  { 25000, "0.025" }, { 50000, "0.05" },  { 100000, "0.1" },
			     { 500000, "0.5" },  { 1000000, "1" },   { 2500000, "2.5" }, { 10000000, "10" } };

void metrics_observe(struct metric_histogram *histogram, int64_t microseconds)
{
	int64_t us = microseconds < 0 ? 0 : microseconds;
	size_t i = 0;
	while (i < METRIC_BUCKETS && us > bounds[i].us)
		i++;
	metrics_count(&histogram->bucket[i]);
	(void)atomic_fetch_add_explicit(&histogram->sum, (uint64_t)us, memory_order_relaxed);
}

#define LABELS_MAX 6

/* Each bucket holds the ones below it, and +Inf is the count, also while others add. */
void metrics_histogram(struct metrics_page *page, const struct metric *m, const struct metric_label *label, size_t count,
		       struct metric_histogram *histogram)
{
	AUTO_BUF lines;
	buf_init(&lines, METRICS_PAGE_MAX);
	struct metric_label with[LABELS_MAX + 1] = { 0 };
	char number[40];
	uint64_t so_far = 0;
	count = count < LABELS_MAX ? count : LABELS_MAX;
	for (size_t i = 0; i < count; i++)
		with[i] = label[i];
	for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
		so_far += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
		with[count] = (struct metric_label){ "le", i < METRIC_BUCKETS ? bounds[i].le : "+Inf" };
		(void)snprintf(number, sizeof number, "%" PRIu64, so_far);
		put_sample(&lines, m, "_bucket", with, count + 1, number);
	}
	put_sample(&lines, m, "_count", label, count, number);
	int64_t sum = (int64_t)atomic_load_explicit(&histogram->sum, memory_order_relaxed);
	put_sample(&lines, m, "_sum", label, count, seconds_text(sum, number));
	add_line(page, &lines);
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
	metrics_process(page);
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
