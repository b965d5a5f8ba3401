/* A configuration file with every type of value. What is accepted must keep to the rows. */
#include "conf.h"
#include "fuzz.h"

struct entry {
	const char *label;
	const char *path;
	int64_t number;
};
struct whole {
	const char *name;
	const char *choice;
	const char *oid;
	const char *address;
	int64_t duration;
	bool flag;
	struct conf_list list;
	struct conf_list paths;
	struct conf_group entries;
};
static const struct conf_row head_rows[] = {
	CONF_ROW(CONF_STRING, struct whole, name, "name", .standard = ""),
	CONF_ROW(CONF_CHOICE, struct whole, choice, "choice", .standard = "a", .choices = "a bb"),
	CONF_ROW(CONF_OID, struct whole, oid, "oid", .standard = "1.2"),
	CONF_ROW(CONF_ADDRESS, struct whole, address, "address", .standard = ""),
	CONF_ROW(CONF_DURATION, struct whole, duration, "duration", .standard = "1s", .min = 1000, .max = 1000000000),
	CONF_ROW(CONF_BOOLEAN, struct whole, flag, "flag", .standard = "no"),
	CONF_ROW(CONF_LIST, struct whole, list, "list", .standard = ""),
	CONF_ROW(CONF_PATHS, struct whole, paths, "paths", .standard = ""),
};
static const struct conf_row entry_rows[] = {
	CONF_ROW(CONF_PATH, struct entry, path, "path"),
	CONF_ROW(CONF_INTEGER, struct entry, number, "number", .standard = "1", .min = -5, .max = 5),
};
static const struct conf_section sections[] = {
	{ .name = "", .size = sizeof(struct whole), .rows = head_rows, .row_count = sizeof head_rows / sizeof head_rows[0] },
	{ .name = "entry",
	  .many = true,
	  .size = sizeof(struct entry),
	  .offset = offsetof(struct whole, entries),
	  .rows = entry_rows,
	  .row_count = sizeof entry_rows / sizeof entry_rows[0] },
};
static const struct conf_schema schema = {
	.service = "fuzz", .sections = sections, .section_count = 2, .size = sizeof(struct whole)
};

/* A line that was taken has a name of letters, digits and '-', and a value. */
static void see_line(void *state, const struct conf_line *line)
{
	check(line->name.len > 0 && line->value.len > 0 && line->name.data[0] != '[');
	++*(size_t *)state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct whole w;
	if (conf_parse(&s, &schema, "etc/fuzz.conf", span_of(data, size), &w).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	size_t lines = 0;
	conf_lines(span_of(data, size), see_line, &lines);
	check(lines >= w.list.count + w.paths.count + w.entries.count);
	check(w.duration >= 1000 && w.duration <= 1000000000);
	check(strcmp(w.choice, "a") == 0 || strcmp(w.choice, "bb") == 0);
	const struct entry *entries = w.entries.item;
	for (size_t i = 0; i < w.entries.count; i++)
		check(entries[i].label[0] != 0 && entries[i].path[0] != 0 && entries[i].number >= -5 && entries[i].number <= 5);
	return 0;
}
