#include "conf.h"

struct walk {
	void (*each)(void *state, enum conf_access access, const char *path);
	void *state;
};

static void take(const struct walk *w, const struct conf_row *row, const char *value)
{
	bool is_path = row->type == CONF_PATH || row->type == CONF_PATHS;
	bool is_local = value != NULL && strncmp(value, "unix:", 5) == 0;
	if (value == NULL || (!is_path && !is_local))
		return;
	w->each(w->state, is_local ? CONF_LISTENS : row->access, is_local ? value + 5 : value);
}

static void take_row(const struct walk *w, const struct conf_row *row, const uint8_t *conf)
{
	const void *at = conf + row->offset;
	if (row->type == CONF_PATH || row->type == CONF_ADDRESS)
		take(w, row, *(const char *const *)at);
	if (row->type != CONF_PATHS && (row->type != CONF_LIST || row->access != CONF_LISTENS))
		return;
	const struct conf_list *list = at;
	for (size_t i = 0; i < list->count; i++)
		take(w, row, list->item[i]);
}

static void take_rows(const struct walk *w, const struct conf_section *section, const uint8_t *conf)
{
	for (size_t i = 0; i < section->row_count; i++)
		take_row(w, &section->rows[i], conf);
}

void conf_paths(const struct conf_schema *schema, const void *conf,
		void (*each)(void *state, enum conf_access access, const char *path), void *state)
{
	const struct walk w = { each, state };
	for (size_t i = 0; i < schema->section_count; i++) {
		const struct conf_section *section = &schema->sections[i];
		const uint8_t *at = (const uint8_t *)conf + section->offset;
		if (!section->many) {
			take_rows(&w, section, at);
			continue;
		}
		const struct conf_group *group = (const void *)at;
		for (size_t k = 0; k < group->count; k++)
			take_rows(&w, section, (const uint8_t *)group->item + k * section->size);
	}
}
