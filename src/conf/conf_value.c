#include "conf_value.h"
#include "text.h"
#include <arpa/inet.h>

#define PATH_MAX_BYTES 4096
/* sockaddr_un holds 108 bytes with its final zero. */
#define UNIX_PATH_MAX_BYTES 107

static const struct conf_type_row types[CONF_TYPE_COUNT] = {
	[CONF_STRING] = { "text", "any text" },
	[CONF_PATH] = { "path", "a path; a relative one starts at the directory of this file" },
	[CONF_INTEGER] = { "number", "a whole number such as 8" },
	[CONF_BOOLEAN] = { "yes or no", "yes or no" },
	[CONF_DURATION] = { "duration", "a number with a unit: 500ms, 30s, 5m, 12h or 7d" },
	[CONF_ADDRESS] = { "address", "127.0.0.1:8080, [::1]:8080 or unix:/path" },
	[CONF_CHOICE] = { "choice", "one of the words" },
	[CONF_OID] = { "object identifier", "dotted numbers such as 1.3.6.1.4.1.99999.1" },
	[CONF_LIST] = { "text, repeated", "any text; repeat the line for more" },
	[CONF_PATHS] = { "path, repeated", "a path; repeat the line for more" },
};

const struct conf_type_row *conf_type_row(enum conf_type type)
{
	return &types[type];
}

static st set_path(struct scope *s, span text, const char *directory, const char **out)
{
	if (text.len > PATH_MAX_BYTES)
		return fail(s, E_CONFIG, "the path is longer than %d bytes", PATH_MAX_BYTES);
	bool absolute = text.data[0] == '/' || directory[0] == 0;
	char *path = scope_cstr(s, text);
	*out = absolute ? path : scope_printf(s, "%s/%s", directory, path);
	return OK;
}

/* Signed decimal that fits int64_t; false otherwise. */
static bool parse_integer(struct scope *s, span text, int64_t *out)
{
	bool negative = text.len > 0 && text.data[0] == '-';
	uint64_t value;
	if (decimal_parse(s, span_from(text, negative), INT64_MAX, &value).code != E_OK) {
		scope_clear_error(s);
		return false;
	}
	*out = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

static st set_integer(struct scope *s, const struct conf_row *row, span text, int64_t *out)
{
	int64_t value;
	if (!parse_integer(s, text, &value))
		return fail(s, E_CONFIG, "write %s", types[CONF_INTEGER].like);
	if ((row->min != 0 || row->max != 0) && (value < row->min || value > row->max))
		return fail(s, E_CONFIG, "write a number from %lld to %lld", (long long)row->min, (long long)row->max);
	*out = value;
	return OK;
}

static const struct {
	const char *unit;
	int64_t microseconds;
} units[] = {
	{ "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", INT64_C(3600000000) }, { "d", INT64_C(86400000000) }
};

const char *conf_duration_text(struct scope *s, int64_t value)
{
	for (size_t i = sizeof units / sizeof units[0]; i-- > 0;)
		if (value != 0 && value % units[i].microseconds == 0)
			return scope_printf(s, "%lld%s", (long long)(value / units[i].microseconds), units[i].unit);
	return value == 0 ? "0s" : scope_printf(s, "%lldus", (long long)value);
}

static bool parse_duration(struct scope *s, span text, int64_t *out)
{
	size_t digits = 0;
	while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
		digits++;
	int64_t number;
	if (!parse_integer(s, span_first(text, digits), &number))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (span_is(span_from(text, digits), units[i].unit))
			return !__builtin_mul_overflow(number, units[i].microseconds, out);
	return false;
}

static st set_duration(struct scope *s, const struct conf_row *row, span text, int64_t *out)
{
	int64_t value;
	if (!parse_duration(s, text, &value))
		return fail(s, E_CONFIG, "write %s", types[CONF_DURATION].like);
	if ((row->min != 0 || row->max != 0) && (value < row->min || value > row->max))
		return fail(s, E_CONFIG, "write a duration from %s to %s", conf_duration_text(s, row->min),
			    conf_duration_text(s, row->max));
	*out = value;
	return OK;
}

static st set_boolean(struct scope *s, span text, bool *out)
{
	if (!span_is(text, "yes") && !span_is(text, "no"))
		return fail(s, E_CONFIG, "write yes or no");
	*out = span_is(text, "yes");
	return OK;
}

static bool is_port(struct scope *s, span text)
{
	uint64_t port;
	bool good = decimal_parse(s, text, 65535, &port).code == E_OK;
	scope_clear_error(s);
	return good;
}

static bool is_host(struct scope *s, span text)
{
	uint8_t address[sizeof(struct in6_addr)];
	if (text.len >= 2 && text.data[0] == '[' && text.data[text.len - 1] == ']')
		return inet_pton(AF_INET6, scope_cstr(s, span_of(text.data + 1, text.len - 2)), address) == 1;
	return inet_pton(AF_INET, scope_cstr(s, text), address) == 1;
}

static st set_address(struct scope *s, span text, const char *directory, const char **out)
{
	if (text.len > 5 && memcmp(text.data, "unix:", 5) == 0) {
		const char *path;
		TRY(set_path(s, span_from(text, 5), directory, &path));
		if (strlen(path) > UNIX_PATH_MAX_BYTES)
			return fail(s, E_CONFIG, "the path of a socket may have %d bytes, %s has more", UNIX_PATH_MAX_BYTES,
				    path);
		*out = scope_printf(s, "unix:%s", path);
		return OK;
	}
	size_t colon = text.len;
	while (colon > 0 && text.data[colon - 1] != ':')
		colon--;
	if (colon == 0 || !is_port(s, span_from(text, colon)) || !is_host(s, span_first(text, colon - 1)))
		return fail(s, E_CONFIG, "write %s", types[CONF_ADDRESS].like);
	*out = scope_cstr(s, text);
	return OK;
}

static st set_choice(struct scope *s, const struct conf_row *row, span text, const char **out)
{
	for (const char *word = row->choices; *word != 0; word += strspn(word, " ")) {
		size_t len = strcspn(word, " ");
		if (span_equal(text, span_of(word, len))) {
			*out = scope_cstr(s, text);
			return OK;
		}
		word += len;
	}
	return fail(s, E_CONFIG, "write one of: %s", row->choices);
}

static bool is_oid(span text)
{
	size_t arcs = 0;
	while (text.len > 0) {
		size_t digits = 0;
		while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
			digits++;
		bool leading_zero = digits > 1 && text.data[0] == '0';
		bool root_too_large = arcs == 0 && (digits != 1 || text.data[0] > '2');
		bool dot = digits < text.len && text.data[digits] == '.';
		if (digits == 0 || leading_zero || root_too_large || (digits < text.len && !dot) ||
		    (dot && digits + 1 == text.len))
			return false;
		arcs++;
		text = span_from(text, digits + dot);
	}
	return arcs >= 2;
}

static st set_oid(struct scope *s, span text, const char **out)
{
	if (!is_oid(text))
		return fail(s, E_CONFIG, "write %s", types[CONF_OID].like);
	*out = scope_cstr(s, text);
	return OK;
}

st conf_value_set(struct scope *s, const struct conf_row *row, span text, const char *directory, void *target)
{
	struct conf_list *list = target;
	const char **words = target;
	switch (row->type) {
	case CONF_STRING:
		*words = scope_cstr(s, text);
		return OK;
	case CONF_PATH:
		return set_path(s, text, directory, words);
	case CONF_INTEGER:
		return set_integer(s, row, text, target);
	case CONF_BOOLEAN:
		return set_boolean(s, text, target);
	case CONF_DURATION:
		return set_duration(s, row, text, target);
	case CONF_ADDRESS:
		return set_address(s, text, directory, words);
	case CONF_CHOICE:
		return set_choice(s, row, text, words);
	case CONF_OID:
		return set_oid(s, text, words);
	case CONF_LIST:
		list->item[list->count++] = scope_cstr(s, text);
		return OK;
	case CONF_PATHS:
		return set_path(s, text, directory, &list->item[list->count++]);
	case CONF_TYPE_COUNT:
		break;
	}
	return fail(s, E_BUG, "'%s' has no type", row->name);
}
