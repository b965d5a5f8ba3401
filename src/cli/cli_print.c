/* Results as JSON or as text for people. */
#include "cli.h"
#include "file.h"
#include "moment.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COLUMNS_MAX      16
#define COLUMN_WIDTH_MAX 60

static void put(struct buf *out, const char *text)
{
	(void)buf_append(out, span_str(text));
}

/* A cell of a table, two spaces behind it; one that is too wide pushes the others on. Width 0: the last of its line. */
static void put_padded(struct buf *out, const char *text, size_t width)
{
	put(out, text);
	for (size_t len = strlen(text); len < width; len++)
		put(out, " ");
	if (width > 0)
		put(out, "  ");
}

/* A scalar in few words; the caller frees. */
static char *scalar(const json_t *value)
{
	char number[32];
	switch (json_typeof(value)) {
	case JSON_STRING:
		return heap_copy_str(json_string_value(value));
	case JSON_INTEGER:
		(void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
		return heap_copy_str(number);
	case JSON_TRUE:
		return heap_copy_str("yes");
	case JSON_FALSE:
		return heap_copy_str("no");
	case JSON_NULL:
		return heap_copy_str("-");
	default: {
		char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		char *copy = heap_copy_str(text == NULL ? "" : text);
		free(text);
		return copy;
	}
	}
}

static bool is_table(const json_t *value)
{
	return json_is_array(value) && json_array_size(value) > 0 && json_is_object(json_array_get(value, 0));
}

/* "to do": sentences, a line each. */
static bool is_list(const json_t *value)
{
	return json_is_array(value) && json_array_size(value) > 0 && json_is_string(json_array_get(value, 0));
}

static size_t table_columns(const json_t *rows, const char *names[COLUMNS_MAX], size_t widths[COLUMNS_MAX])
{
	size_t count = 0;
	const char *name;
	json_t *member;
	json_object_foreach(json_array_get(rows, 0), name, member)
	{
		if (count < COLUMNS_MAX && !json_is_object(member) && !json_is_array(member)) {
			names[count] = name;
			widths[count++] = strlen(name);
		}
	}
	for (size_t i = 0; i < json_array_size(rows); i++)
		for (size_t k = 0; k < count; k++) {
			const json_t *cell = json_object_get(json_array_get(rows, i), names[k]);
			char *text = cell == NULL ? heap_copy_str("-") : scalar(cell);
			size_t len = strlen(text) < COLUMN_WIDTH_MAX ? strlen(text) : COLUMN_WIDTH_MAX;
			widths[k] = len > widths[k] ? len : widths[k];
			free(text);
		}
	return count;
}

static void text_table(struct buf *out, const json_t *rows)
{
	const char *names[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX];
	size_t count = table_columns(rows, names, widths);
	for (size_t k = 0; k < count; k++)
		put_padded(out, names[k], k + 1 < count ? widths[k] : 0);
	put(out, "\n");
	for (size_t i = 0; i < json_array_size(rows); i++) {
		for (size_t k = 0; k < count; k++) {
			const json_t *cell = json_object_get(json_array_get(rows, i), names[k]);
			char *text = cell == NULL ? heap_copy_str("-") : scalar(cell);
			put_padded(out, text, k + 1 < count ? widths[k] : 0);
			free(text);
		}
		put(out, "\n");
	}
}

static void text_object(struct buf *out, const json_t *object)
{
	size_t width = 0;
	const char *name;
	json_t *member;
	json_object_foreach((json_t *)(uintptr_t)object, name, member) width = strlen(name) > width ? strlen(name) : width;
	json_object_foreach((json_t *)(uintptr_t)object, name, member)
	{
		bool long_text = json_is_string(member) && strchr(json_string_value(member), '\n') != NULL;
		if (is_table(member) || is_list(member) || json_is_object(member) || long_text) {
			put(out, "\n");
			put(out, name);
			put(out, ":\n");
			cli_text(out, member);
			continue;
		}
		char *text = scalar(member);
		put_padded(out, name, width);
		put(out, text);
		put(out, "\n");
		free(text);
	}
}

void cli_text(struct buf *out, const json_t *value)
{
	if (is_table(value)) {
		text_table(out, value);
		return;
	}
	if (json_is_object(value)) {
		text_object(out, value);
		return;
	}
	if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			char *text = scalar(json_array_get(value, i));
			put(out, text);
			put(out, "\n");
			free(text);
		}
		if (json_array_size(value) == 0)
			put(out, "none\n");
		return;
	}
	char *text = scalar(value);
	put(out, text);
	if (text[0] == 0 || text[strlen(text) - 1] != '\n')
		put(out, "\n");
	free(text);
}

st cli_print(struct scope *s, const struct cli *c, json_t *result)
{
	AUTO(json_t) *value = result;
	if (value == NULL)
		return fail(s, E_BUG, "a result could not be written as JSON");
	AUTO_BUF out;
	buf_init(&out, 0);
	if (c->json) {
		char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
		put(&out, text == NULL ? "null" : text);
		put(&out, "\n");
		free(text);
	} else
		cli_text(&out, value);
	return file_write_all(s, STDOUT_FILENO, buf_span(&out));
}

void cli_progress(const struct cli *c, const char *format, ...)
{
	if (c->json)
		return;
	char line[1024];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (len < 0)
		return;
	size_t end = (size_t)len < sizeof line - 2 ? (size_t)len : sizeof line - 2;
	line[end] = '\n';
	ssize_t written = write(STDERR_FILENO, line, end + 1);
	(void)written;
}

char *cli_age(struct scope *s, int64_t moment)
{
	int64_t apart = moment - scope_now(s);
	int64_t size = apart < 0 ? -apart : apart;
	static const struct {
		int64_t unit;
		const char *name;
	} units[] = {
		{ MOMENT_DAY, "days" }, { MOMENT_HOUR, "hours" }, { MOMENT_MINUTE, "minutes" }, { MOMENT_SECOND, "seconds" }
	};
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (size >= 2 * units[i].unit || i == 3)
			return scope_printf(s, apart < 0 ? "%lld %s ago" : "in %lld %s", (long long)(size / units[i].unit),
					    units[i].name);
	return scope_printf(s, "now");
}

st cli_check_out(struct scope *s, const char *path)
{
	const char *slash = path == NULL ? NULL : strrchr(path, '/');
	const char *directory = slash == NULL   ? "."
				: slash == path ? "/"
						: scope_cstr(s, span_of(path, (size_t)(slash - path)));
	if (path == NULL || strcmp(path, "-") == 0 || access(directory, W_OK | X_OK) == 0)
		return OK;
	return fail_errno(s, E_IO, "--out %s: nothing was done, since nothing can be written in %s", path, directory);
}

st cli_write_out(struct scope *s, const struct cli *c, const char *path, span bytes)
{
	(void)c;
	if (path == NULL || strcmp(path, "-") == 0)
		return file_write_all(s, STDOUT_FILENO, bytes);
	return fail_context(s, file_replace(s, path, bytes, 0644), "writing %s", path);
}

const char *cli_member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text == NULL ? "" : text;
}

int64_t cli_member_number(const json_t *object, const char *name)
{
	return (int64_t)json_integer_value(json_object_get(object, name));
}
