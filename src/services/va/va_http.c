#include "va_http.h"
#include <stdio.h>

static const char days[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }; /* the first day of 1970 was a Thursday */
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

//= rfc9110#5.6.7 dates are sent as IMF-fixdate
char *va_http_date(int64_t moment, char out[32])
{
	struct calendar c = moment_calendar(moment);
	int64_t day = moment >= 0 ? moment / MOMENT_DAY : 0;
	char text[64];
	(void)snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days[day % 7], c.day % 100,
		       months[(c.month - 1) % 12], c.year % 10000, c.hour % 100, c.minute % 100, c.second % 100);
	memcpy(out, text, 30);
	return out;
}

static bool digits(span text, size_t at, size_t count, int *out)
{
	int v = 0;
	for (size_t i = at; i < at + count; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		v = v * 10 + (text.data[i] - '0');
	}
	*out = v;
	return true;
}

bool va_http_date_read(span text, int64_t *out)
{
	if (text.len != 29)
		return false;
	struct calendar c = { 0 };
	for (size_t i = 0; i < 12; i++)
		if (memcmp(text.data + 8, months[i], 3) == 0)
			c.month = (int)i + 1;
	int64_t moment;
	if (!digits(text, 5, 2, &c.day) || !digits(text, 12, 4, &c.year) || !digits(text, 17, 2, &c.hour) ||
	    !digits(text, 20, 2, &c.minute) || !digits(text, 23, 2, &c.second) || !moment_from_calendar(&c, &moment) ||
	    moment < 0)
		return false;
	/* Everything around the numbers is fixed, so writing the moment again must give the text. */
	char again[32];
	if (!span_is(text, va_http_date(moment, again)))
		return false;
	*out = moment;
	return true;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* One of a list of entity-tags, weak comparison; "*" is all of them. */
//= rfc9110#13.1.2 If-None-Match compares weakly
static bool tag_listed(span list, const char *etag)
{
	while (list.len > 0) {
		const uint8_t *comma = memchr(list.data, ',', list.len);
		span one = span_first(list, comma != NULL ? (size_t)(comma - list.data) : list.len);
		list = span_from(list, one.len + 1);
		while (one.len > 0 && is_space(one.data[0]))
			one = span_from(one, 1);
		while (one.len > 0 && is_space(one.data[one.len - 1]))
			one.len--;
		if (one.len > 2 && memcmp(one.data, "W/", 2) == 0)
			one = span_from(one, 2);
		if (span_is(one, "*") || span_is(one, etag))
			return true;
	}
	return false;
}

//= rfc9110#13.2.2 If-Modified-Since counts only when there is no If-None-Match
bool va_http_unchanged(const struct http_request *request, const char *etag, int64_t last_modified)
{
	span tags = http_header(request, "If-None-Match");
	if (tags.len > 0)
		return tag_listed(tags, etag);
	int64_t since;
	return va_http_date_read(http_header(request, "If-Modified-Since"), &since) &&
	       last_modified - last_modified % MOMENT_SECOND <= since;
}
