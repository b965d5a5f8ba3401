#include "moment.h"
#include <stdio.h>
#include <errno.h>
#include <time.h>

/* Days since 1970-01-01 of a civil date; March-based years make the leap day the last of its year. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct calendar *out)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted = (5 * day_of_year + 2) / 153;
	out->day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
	out->month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
	out->year = (int)(year_of_era + era * 400 + (out->month <= 2));
}

struct calendar moment_calendar(int64_t moment)
{
	int64_t seconds = moment / MOMENT_SECOND - (moment % MOMENT_SECOND < 0);
	int64_t days = seconds / 86400 - (seconds % 86400 < 0);
	int64_t rest = seconds - days * 86400;
	struct calendar c = { .hour = (int)(rest / 3600), .minute = (int)(rest / 60 % 60), .second = (int)(rest % 60) };
	civil_from_days(days, &c);
	return c;
}

bool moment_from_calendar(const struct calendar *c, int64_t *out)
{
	static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	if (c->year < 1 || c->year > 9999 || c->month < 1 || c->month > 12)
		return false;
	bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
	int last = month_days[c->month - 1] + (c->month == 2 && leap);
	if (c->day < 1 || c->day > last || c->hour < 0 || c->hour > 23 || c->minute < 0 || c->minute > 59 || c->second < 0 ||
	    c->second > 59)
		return false;
	int64_t seconds = days_from_civil(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->minute * 60 + c->second;
	*out = seconds * MOMENT_SECOND;
	return true;
}

static char *put(char *at, int value, size_t places, char after)
{
	for (size_t i = places; i > 0; i--, value /= 10)
		at[i - 1] = (char)('0' + value % 10);
	at[places] = after;
	return at + places + 1;
}

/* Every record has several of these: without printf. */
char *moment_text(int64_t moment, char out[MOMENT_TEXT_MAX])
{
	struct calendar c = moment_calendar(moment);
	int fraction = (int)(((moment % MOMENT_SECOND) + MOMENT_SECOND) % MOMENT_SECOND);
	if (c.year < 0 || c.year > 9999) {
		(void)snprintf(out, MOMENT_TEXT_MAX, "%d-%02d-%02dT%02d:%02d:%02d.%06dZ", c.year, c.month, c.day, c.hour,
			       c.minute, c.second, fraction);
		return out;
	}
	char *at = put(put(put(out, c.year, 4, '-'), c.month, 2, '-'), c.day, 2, 'T');
	at = put(put(put(at, c.hour, 2, ':'), c.minute, 2, ':'), c.second, 2, '.');
	*put(at, fraction, 6, 'Z') = 0;
	return out;
}

static bool digits(span text, size_t at, size_t n, int *out)
{
	int value = 0;
	for (size_t i = at; i < at + n; i++) {
		if (i >= text.len || text.data[i] < '0' || text.data[i] > '9')
			return false;
		value = value * 10 + (text.data[i] - '0');
	}
	*out = value;
	return true;
}

static bool fraction(span text, size_t at, size_t end, int64_t *out)
{
	if (at == end) {
		*out = 0;
		return true;
	}
	size_t n = end - at - 1;
	int value = 0;
	if (text.data[at] != '.' || n < 1 || n > 6 || !digits(text, at + 1, n, &value))
		return false;
	*out = value;
	for (size_t i = n; i < 6; i++)
		*out *= 10;
	return true;
}

bool moment_read(span text, int64_t *out)
{
	struct calendar c = { 0 };
	int64_t micro = 0;
	bool shape = text.len >= 20 && digits(text, 0, 4, &c.year) && text.data[4] == '-' && digits(text, 5, 2, &c.month) &&
		     text.data[7] == '-' && digits(text, 8, 2, &c.day) && text.data[10] == 'T' &&
		     digits(text, 11, 2, &c.hour) && text.data[13] == ':' && digits(text, 14, 2, &c.minute) &&
		     text.data[16] == ':' && digits(text, 17, 2, &c.second) && text.data[text.len - 1] == 'Z' &&
		     fraction(text, 19, text.len - 1, &micro);
	if (!shape || !moment_from_calendar(&c, out))
		return false;
	*out += micro;
	return true;
}

st moment_parse(struct scope *s, span text, int64_t *out)
{
	if (!moment_read(text, out))
		return fail(s, E_INPUT, "'%.*s' is not a UTC time as in 2026-11-22T17:46:00Z",
			    (int)(text.len < 40 ? text.len : 40), (const char *)text.data);
	return OK;
}

int64_t moment_monotonic(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

bool moment_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
	const struct timespec until = { deadline / MOMENT_SECOND, deadline % MOMENT_SECOND * 1000 };
	return pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}
