/* Bars over time: what went well in one colour, exceptions in another and at the foot, where a few among many are still seen. */
#include "cli_report.h"

#define WIDTH  760
#define HEIGHT 170
#define LEFT   60
#define FOOT   30 /* for the names of buckets */
#define LEAST  3  /* an exception is at least so high */

static bool put(struct buf *out, const char *text)
{
	return buf_append(out, span_str(text));
}

static uint64_t highest(const struct report *r)
{
	uint64_t most = 1;
	for (size_t i = 0; i < r->buckets; i++)
		most = r->all[i] > most ? r->all[i] : most;
	return most;
}

static unsigned height_of(uint64_t count, uint64_t most)
{
	return (unsigned)(count * HEIGHT / most);
}

static bool put_bar(struct scope *s, const struct report *r, size_t i, uint64_t most, struct buf *out)
{
	double step = (double)(WIDTH - LEFT) / (double)r->buckets, x = LEFT + step * (double)i;
	unsigned all = height_of(r->all[i], most), bad = height_of(r->bad[i], most);
	if (r->bad[i] > 0 && bad < LEAST)
		bad = LEAST;
	if (r->all[i] > 0 && all < LEAST)
		all = LEAST;
	bool good = put(
		out, scope_printf(s,
				  "<g><title>%s: %llu records, %llu exceptions</title><rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" "
				  "height=\"%u\" fill=\"#2a5d84\"/>",
				  report_bucket_name(s, r, i), (unsigned long long)r->all[i], (unsigned long long)r->bad[i], x,
				  HEIGHT - all, step > 3 ? step - 1 : step, all));
	if (bad > 0)
		good = good &&
		       put(out, scope_printf(s, "<rect x=\"%.1f\" y=\"%u\" width=\"%.1f\" height=\"%u\" fill=\"#b3261e\"/>", x,
					     HEIGHT - bad, step > 3 ? step - 1 : step, bad));
	return good && put(out, "</g>\n");
}

static bool put_axes(struct scope *s, const struct report *r, uint64_t most, struct buf *out)
{
	return put(out, scope_printf(s,
				     "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#333\"/>\n"
				     "<text x=\"%d\" y=\"12\" text-anchor=\"end\">%llu</text><text x=\"%d\" y=\"%d\" "
				     "text-anchor=\"end\">0</text>\n"
				     "<text x=\"%d\" y=\"%d\">%s</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
				     LEFT, HEIGHT, WIDTH, HEIGHT, LEFT - 6, (unsigned long long)most, LEFT - 6, HEIGHT, LEFT,
				     HEIGHT + 18, report_bucket_name(s, r, 0), WIDTH, HEIGHT + 18,
				     report_bucket_name(s, r, r->buckets - 1)));
}

bool report_chart(struct scope *s, const struct report *r, struct buf *out)
{
	uint64_t most = highest(r);
	bool good = put(
		out, scope_printf(s,
				  "<svg role=\"img\" aria-labelledby=\"chart-title chart-description\" viewBox=\"0 0 %d %d\" "
				  "xmlns=\"http://www.w3.org/2000/svg\" font-size=\"12\">\n"
				  "<title id=\"chart-title\">Records over time</title>\n<desc id=\"chart-description\">"
				  "%llu records in %zu parts of the period, at most %llu in one; %llu of them are exceptions, "
				  "drawn in red at the foot. The table behind the chart has the figures.</desc>\n",
				  WIDTH, HEIGHT + FOOT, (unsigned long long)r->records, r->buckets, (unsigned long long)most,
				  (unsigned long long)r->exceptions));
	for (size_t i = 0; good && i < r->buckets; i++)
		good = put_bar(s, r, i, most, out);
	return good && put_axes(s, r, most, out) && put(out, "</svg>\n");
}
