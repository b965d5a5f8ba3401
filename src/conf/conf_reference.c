#include "conf_value.h"
#include "man.h"

static void put(struct buf *out, const char *text)
{
	(void)buf_append(out, span_str(text));
}

/* A cell of a Markdown table: no bar may end it early. */
static void put_cell(struct buf *out, const char *text)
{
	put(out, "| ");
	for (; *text != 0; text++) {
		if (*text == '|')
			put(out, "\\");
		(void)buf_append(out, span_of(text, 1));
	}
	put(out, " ");
}

static const char *values_text(struct scope *s, const struct conf_row *row)
{
	if (row->type == CONF_CHOICE)
		return row->choices;
	if (row->min == 0 && row->max == 0)
		return conf_type_row(row->type)->name;
	if (row->type == CONF_DURATION)
		return scope_printf(s, "duration, %s to %s", conf_duration_text(s, row->min), conf_duration_text(s, row->max));
	return scope_printf(s, "%lld to %lld", (long long)row->min, (long long)row->max);
}

static const char *default_text(struct scope *s, const struct conf_row *row)
{
	if (row->standard == NULL)
		return "required";
	return row->standard[0] == 0 ? "none" : scope_printf(s, "`%s`", row->standard);
}

static void put_row(struct buf *out, struct scope *s, const struct conf_row *row)
{
	put_cell(out, scope_printf(s, "`%s`", row->name));
	put_cell(out, values_text(s, row));
	put_cell(out, default_text(s, row));
	put_cell(out, row->help != NULL ? row->help : "");
	put_cell(out, row->clause != NULL ? row->clause : "");
	put(out, "|\n");
}

static void put_section(struct buf *out, struct scope *s, const struct conf_section *section)
{
	if (section->name[0] != 0)
		put(out, scope_printf(s, "\n## [%s%s]\n", section->name, section->many ? " LABEL" : ""));
	if (section->help != NULL)
		put(out, scope_printf(s, "\n%s%s\n", section->help, section->many ? " May occur any number of times." : ""));
	put(out, "\n| name | value | default | meaning | clause |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < section->row_count; i++)
		put_row(out, s, &section->rows[i]);
}

void conf_reference(struct buf *out, const struct conf_schema *schema)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	put(out, scope_printf(&s, "# Configuration of %s\n", schema->service));
	for (size_t i = 0; i < schema->section_count; i++)
		put_section(out, &s, &schema->sections[i]);
}

static void put_man_row(struct buf *out, struct scope *s, const struct conf_row *row)
{
	const char *standard = row->standard == NULL   ? "required"
			       : row->standard[0] == 0 ? "optional"
						       : scope_printf(s, "default %s", row->standard);
	const char *clause = row->clause != NULL ? scope_printf(s, "; %s", row->clause) : "";
	man_item(out, row->name, row->help != NULL ? row->help : "",
		 scope_printf(s, "(%s; %s%s)", values_text(s, row), standard, clause));
}

void conf_man(struct buf *out, const struct conf_schema *schema)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	man_heading(out, "CONFIGURATION");
	man_text(
		out,
		"Lines of NAME = VALUE; # begins a comment. Relative paths are relative to the file. Names marked as lists may be "
		"repeated.");
	for (size_t i = 0; i < schema->section_count; i++) {
		const struct conf_section *section = &schema->sections[i];
		if (section->name[0] != 0)
			man_subheading(out, scope_printf(&s, "[%s%s]", section->name, section->many ? " LABEL" : ""));
		if (section->help != NULL)
			man_text(out, section->help);
		for (size_t k = 0; k < section->row_count; k++)
			put_man_row(out, &s, &section->rows[k]);
	}
}
