/* JSON in by member tables, out by jansson: what the files of the HTTP API share. */
#pragma once
#include "ca.h"
#include <jansson.h>

enum ca_member_type { CA_MEMBER_TEXT, CA_MEMBER_INTEGER, CA_MEMBER_BOOLEAN, CA_MEMBER_TEXTS, CA_MEMBER_TIME };
struct ca_member {
	const char *name;
	enum ca_member_type type; /* const char *, int64_t, bool, const char *const * (NULL-terminated), int64_t moment */
	size_t offset;
	bool required;
};
#define CA_MEMBER(type_, struct_, member_, ...)                                                                                \
	{                                                                                                                      \
		.name = #member_, .type = type_, .offset = offsetof(struct struct_, member_), __VA_ARGS__                      \
	}
/* The object in `body` into the struct; E_INPUT naming the member: unknown, twice, of another type, missing. */
st ca_json_read(struct scope *s, span body, const struct ca_member *members, size_t count, void *out);
#define CA_JSON_READ(s, body, members, out) ca_json_read((s), (body), (members), sizeof(members) / sizeof((members)[0]), (out))

/* Takes `root`, which must not be NULL. */
st ca_json_reply(struct scope *s, struct http_reply *reply, int status, json_t *root);
void ca_json_text(json_t *object, const char *name, const char *value); /* not at all when NULL */
void ca_json_hex(struct scope *s, json_t *object, const char *name, span value);
void ca_json_time(json_t *object, const char *name, int64_t moment); /* not at all when 0 */
void ca_json_number(json_t *object, const char *name, int64_t value);
