#include "daemon_parameters.h"
#include "file.h"

#define FILE_MAX ((size_t)1 << 20)
#define VERSION  "chancery-parameters/v1\n"

struct change {
	daemon_parameter *record;
	void *state;
	const char *from, *to;
};

/* All lines of a name, joined. NULL: there is none. */
static const char *value_of(struct scope *s, const char *text, span name)
{
	const char *value = NULL;
	for (const char *line = text; *line != 0; line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line, "\n");
		if (len <= name.len || line[name.len] != '=' || memcmp(line, name.data, name.len) != 0)
			continue;
		span one = span_of(line + name.len + 1, len - name.len - 1);
		value = scope_printf(s, "%s%s%.*s", value == NULL ? "" : value, value == NULL ? "" : ", ", (int)one.len,
				     (const char *)one.data);
	}
	return value;
}

/* Each name in `names` whose value differs; with `gone` only those that are there no more. */
static st record_changes(struct scope *s, const struct change *c, const char *names, bool gone)
{
	span before = { 0 };
	for (const char *line = names; *line != 0; line += strcspn(line, "\n") + 1) {
		span name = span_of(line, strcspn(line, "=\n"));
		bool again = span_equal(name, before);
		before = name;
		const char *was = value_of(s, c->from, name), *is = value_of(s, c->to, name);
		if (again || (gone && is != NULL) || (was != NULL && is != NULL && strcmp(was, is) == 0))
			continue;
		TRY(c->record(s, c->state, name, was, is));
	}
	return OK;
}

st daemon_parameters_record(struct scope *s, const char *path, const char *text, daemon_parameter *record, void *state)
{
	span file, fresh = span_str(scope_printf(s, VERSION "%s", text));
	st known = file_read(s, path, FILE_MAX, &file);
	if (known.code == E_NOTFOUND) {
		scope_clear_error(s);
		return file_replace(s, path, fresh, 0600);
	}
	TRY(known);
	if (span_equal(file, fresh))
		return OK;
	if (!span_equal(span_first(file, strlen(VERSION)), SPAN_LITERAL(VERSION)))
		return fail(s, E_STATE, "%s is not of the version that this program reads", path);
	const struct change c = { record, state, scope_cstr(s, span_from(file, strlen(VERSION))), text };
	TRY(record_changes(s, &c, text, false));
	TRY(record_changes(s, &c, c.from, true));
	return file_replace(s, path, fresh, 0600);
}
