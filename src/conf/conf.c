#include "conf.h"
#include "conf_value.h"
#include "file.h"

#define FILE_MAX_BYTES (1u << 20)

/* What the file says, before it is checked against the rows. */
struct entry {
	const struct conf_row *row;
	size_t line;
	span value;
};
struct occurrence {
	const struct conf_section *section;
	const char *label;
	size_t line;
	struct entry *entries;
	size_t count;
};
struct reading {
	const struct conf_schema *schema;
	const char *name; /* of the file, for messages */
	const char *directory;
	struct occurrence *occurrences; /* [0] is the head */
	size_t count;
	struct entry *next_entry;
	size_t line;
};

static span trim(span text)
{
	while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
		text = span_from(text, 1);
	while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static span take_line(span *rest)
{
	const uint8_t *end = memchr(rest->data, '\n', rest->len);
	span line = end == NULL ? *rest : span_of(rest->data, (size_t)(end - rest->data));
	*rest = span_from(*rest, line.len + 1);
	return line;
}

static size_t count_lines(span text)
{
	size_t lines = 0;
	for (; text.len > 0; lines++)
		(void)take_line(&text);
	return lines;
}

static bool has_control_byte(span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((text.data[i] < 0x20 && text.data[i] != '\t') || text.data[i] == 0x7f)
			return true;
	return false;
}

static const char *section_names(struct scope *s, const struct conf_schema *schema)
{
	const char *names = "";
	for (size_t i = 0; i < schema->section_count; i++)
		if (schema->sections[i].name[0] != 0)
			names = scope_printf(s, "%s%s[%s%s]", names, names[0] == 0 ? "" : ", ", schema->sections[i].name,
					     schema->sections[i].many ? " LABEL" : "");
	return names[0] == 0 ? "none" : names;
}

static const char *row_names(struct scope *s, const struct conf_section *section)
{
	const char *names = "";
	for (size_t i = 0; i < section->row_count; i++)
		names = scope_printf(s, "%s%s%s", names, i == 0 ? "" : ", ", section->rows[i].name);
	return names;
}

static const char *section_title(struct scope *s, const struct occurrence *o)
{
	if (o->section->name[0] == 0)
		return "the head of the file";
	return scope_printf(s, "[%s%s%s]", o->section->name, o->label != NULL ? " " : "", o->label != NULL ? o->label : "");
}

static const struct conf_section *find_section(const struct conf_schema *schema, span name)
{
	for (size_t i = 0; i < schema->section_count; i++)
		if (span_is(name, schema->sections[i].name))
			return &schema->sections[i];
	return NULL;
}

static bool is_label(span text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	for (size_t i = 0; i < text.len; i++)
		if (memchr(allowed, text.data[i], sizeof allowed - 1) == NULL)
			return false;
	return text.len > 0 && text.len <= 64;
}

static st check_section_is_new(struct scope *s, const struct reading *r, const struct occurrence *new)
{
	for (size_t i = 1; i < r->count; i++) {
		const struct occurrence *old = &r->occurrences[i];
		if (old->section == new->section && (new->label == NULL || strcmp(old->label, new->label) == 0))
			return fail(s, E_CONFIG, "%s is there already, from line %zu", section_title(s, new), old->line);
	}
	return OK;
}

static st read_section_line(struct scope *s, struct reading *r, span line)
{
	if (line.data[line.len - 1] != ']')
		return fail(s, E_CONFIG, "a section line ends with ']'");
	span inside = trim(span_of(line.data + 1, line.len - 2));
	size_t name_len = 0;
	while (name_len < inside.len && inside.data[name_len] != ' ')
		name_len++;
	span label = trim(span_from(inside, name_len));
	const struct conf_section *section = find_section(r->schema, span_first(inside, name_len));
	if (section == NULL || section->name[0] == 0)
		return fail(s, E_CONFIG, "there is no section [%s]; sections are: %s", scope_cstr(s, inside),
			    section_names(s, r->schema));
	if (section->many && !is_label(label))
		return fail(s, E_CONFIG, "write [%s LABEL], the label of letters, digits, '-', '_' and '.', at most 64",
			    section->name);
	if (!section->many && label.len > 0)
		return fail(s, E_CONFIG, "section [%s] has no label", section->name);
	struct occurrence new = { .section = section,
				  .label = section->many ? scope_cstr(s, label) : NULL,
				  .line = r->line,
				  .entries = r->next_entry };
	TRY(check_section_is_new(s, r, &new));
	r->occurrences[r->count++] = new;
	return OK;
}

static const struct conf_row *find_row(const struct conf_section *section, span name)
{
	for (size_t i = 0; i < section->row_count; i++)
		if (span_is(name, section->rows[i].name))
			return &section->rows[i];
	return NULL;
}

static st check_name_is_new(struct scope *s, const struct occurrence *in, const struct conf_row *row)
{
	for (size_t i = 0; i < in->count; i++)
		if (in->entries[i].row == row && !conf_type_repeats(row->type))
			return fail(s, E_CONFIG, "'%s' is set already, in line %zu; keep one of them", row->name,
				    in->entries[i].line);
	return OK;
}

static st unknown_name(struct scope *s, const struct reading *r, const struct occurrence *in, span name)
{
	const struct occurrence *head = &r->occurrences[0];
	bool of_head = in != head && find_row(head->section, name) != NULL;
	return fail(s, E_CONFIG, "unknown name '%s' in %s; known are: %s%s", scope_cstr(s, name), section_title(s, in),
		    row_names(s, in->section),
		    of_head ? "; this one stands in the head of the file, above the first [section]" : "");
}

static st read_value_line(struct scope *s, struct reading *r, span line)
{
	const uint8_t *equals = memchr(line.data, '=', line.len);
	if (equals == NULL)
		return fail(s, E_CONFIG, "write \"name = value\", \"[section]\" or \"# comment\"");
	struct occurrence *in = &r->occurrences[r->count - 1];
	span name = trim(span_of(line.data, (size_t)(equals - line.data)));
	span value = trim(span_from(line, name.len == 0 ? 1 : (size_t)(equals - line.data) + 1));
	const struct conf_row *row = find_row(in->section, name);
	if (row == NULL)
		return unknown_name(s, r, in, name);
	if (value.len == 0)
		return fail(s, E_CONFIG, "'%s' has no value; write one, or leave the line out", row->name);
	TRY(check_name_is_new(s, in, row));
	*r->next_entry++ = (struct entry){ .row = row, .line = r->line, .value = value };
	in->count++;
	return OK;
}

static st read_line(struct scope *s, struct reading *r, span line)
{
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	if (has_control_byte(line))
		return fail(s, E_CONFIG, "the line has a control character");
	line = trim(line);
	if (line.len == 0 || line.data[0] == '#')
		return OK;
	if (line.data[0] == '[')
		return read_section_line(s, r, line);
	return read_value_line(s, r, line);
}

static st fill_value(struct scope *s, const struct reading *r, const struct conf_row *row, size_t line, span value,
		     void *target)
{
	st set = conf_value_set(s, row, value, r->directory, target);
	if (set.code == E_OK)
		return OK;
	return fail_context(s, set, "%s:%zu: %s = %s", r->name, line, row->name, scope_cstr(s, span_first(value, 80)));
}

static st fill_default(struct scope *s, const struct reading *r, const struct occurrence *o, const struct conf_row *row,
		       void *target)
{
	if (row->standard == NULL)
		return fail(s, E_CONFIG, "%s:%zu: '%s' is missing in %s: %s. Write %s = %s", r->name, o->line, row->name,
			    section_title(s, o), row->help != NULL ? row->help : "", row->name,
			    row->type == CONF_CHOICE ? row->choices : conf_type_row(row->type)->like);
	if (row->standard[0] == 0)
		return OK;
	st set = conf_value_set(s, row, span_str(row->standard), r->directory, target);
	return fail_context(s, set, "default of '%s'", row->name);
}

static st fill_row(struct scope *s, const struct reading *r, const struct occurrence *o, const struct conf_row *row,
		   void *target)
{
	if (conf_type_repeats(row->type))
		*(struct conf_list *)target = (struct conf_list){ .item = scope_alloc(s, (o->count + 1) * sizeof(char *)) };
	size_t found = 0;
	for (size_t i = 0; i < o->count; i++) {
		if (o->entries[i].row != row)
			continue;
		TRY(fill_value(s, r, row, o->entries[i].line, o->entries[i].value, target));
		found++;
	}
	return found > 0 ? OK : fill_default(s, r, o, row, target);
}

static st fill_struct(struct scope *s, const struct reading *r, const struct occurrence *o, void *out)
{
	if (o->label != NULL)
		*(const char **)out = o->label;
	for (size_t i = 0; i < o->section->row_count; i++)
		TRY(fill_row(s, r, o, &o->section->rows[i], (uint8_t *)out + o->section->rows[i].offset));
	return OK;
}

static st fill_group(struct scope *s, const struct reading *r, const struct conf_section *section, struct conf_group *out)
{
	uint8_t *items = scope_alloc(s, r->count * section->size);
	size_t count = 0;
	for (size_t i = 1; i < r->count; i++) {
		if (r->occurrences[i].section == section)
			TRY(fill_struct(s, r, &r->occurrences[i], items + section->size * count++));
	}
	*out = (struct conf_group){ .item = items, .count = count };
	return OK;
}

static st fill_section(struct scope *s, const struct reading *r, const struct conf_section *section, void *out)
{
	if (section->many)
		return fill_group(s, r, section, out);
	struct occurrence absent = { .section = section, .line = r->line };
	const struct occurrence *o = &absent;
	for (size_t i = 0; i < r->count; i++)
		if (r->occurrences[i].section == section)
			o = &r->occurrences[i];
	return fill_struct(s, r, o, out);
}

static const char *directory_of(struct scope *s, const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash == NULL ? "" : slash == name ? "/" : scope_cstr(s, span_of(name, (size_t)(slash - name)));
}

st conf_parse(struct scope *s, const struct conf_schema *schema, const char *name, span text, void *out)
{
	static const struct conf_section no_head = { .name = "" };
	size_t lines = count_lines(text);
	struct reading r = { .schema = schema, .name = name, .directory = directory_of(s, name), .count = 1 };
	r.occurrences = scope_alloc(s, (lines + 1) * sizeof *r.occurrences);
	r.next_entry = scope_alloc(s, (lines + 1) * sizeof *r.next_entry);
	const struct conf_section *head = find_section(schema, (span){ 0 });
	r.occurrences[0] = (struct occurrence){ .section = head != NULL ? head : &no_head, .line = 1, .entries = r.next_entry };
	while (text.len > 0) {
		r.line++;
		TRY(fail_context(s, read_line(s, &r, take_line(&text)), "%s:%zu", name, r.line));
	}
	memset(out, 0, schema->size);
	for (size_t i = 0; i < schema->section_count; i++)
		TRY(fill_section(s, &r, &schema->sections[i], (uint8_t *)out + schema->sections[i].offset));
	return OK;
}

void conf_lines(span text, void (*each)(void *state, const struct conf_line *line), void *state)
{
	span section = { 0 };
	while (text.len > 0) {
		span line = take_line(&text);
		if (line.len > 0 && line.data[line.len - 1] == '\r')
			line.len--;
		line = trim(line);
		const uint8_t *equals = memchr(line.data, '=', line.len);
		if (line.len > 1 && line.data[0] == '[')
			section = trim(span_of(line.data + 1, line.len - 2));
		else if (line.len > 0 && line.data[0] != '#' && equals != NULL)
			each(state, &(struct conf_line){ section, trim(span_of(line.data, (size_t)(equals - line.data))),
							 trim(span_from(line, (size_t)(equals - line.data) + 1)) });
	}
}

st conf_read(struct scope *s, const struct conf_schema *schema, const char *path, void *out)
{
	span text;
	if (file_read(s, path, FILE_MAX_BYTES, &text).code != E_OK)
		return fail_context(s, fail(s, E_CONFIG, "%s", path), "reading the configuration");
	return conf_parse(s, schema, path, text, out);
}
