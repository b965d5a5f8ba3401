/*
 * daemon_life.c - what is known of the run before this one: whether it was stopped in order, which program it was, and with which configuration. A file in
 * a directory of the daemon says so; what differs goes on record with the start. A configuration has no secrets, so it is kept there whole.
 */
#include "daemon.h"
#include "daemon_process.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSION           "chancery-life/v1\n"
#define CONFIGURATION_MAX (1u << 20)
#define FILE_MAX          (CONFIGURATION_MAX + 1024)
#define SETTINGS_MAX      2000 /* octets of names in a record */

static struct {
	char *path; /* NULL: nothing is kept */
	uint8_t program[32];
	uint8_t configuration[32];
	char *read;  /* the configuration as it was read last */
	char *force; /* and as it is in force */
	int64_t since;
} life;

/* A keyd may be told to read its configuration again before its start is on record. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(char **place, const char *text)
{
	free(*place);
	*place = heap_copy_str(text);
}

span daemon_configuration_digest(void)
{
	return SPAN_ARRAY(life.configuration);
}

span daemon_program_digest(void)
{
	return SPAN_ARRAY(life.program);
}

st daemon_remember_configuration(struct scope *s, const char *path)
{
	span text;
	TRY(file_read(s, path, CONFIGURATION_MAX, &text));
	(void)pthread_mutex_lock(&lock);
	(void)digest_of(DIGEST_SHA256, text, life.configuration);
	keep(&life.read, scope_cstr(s, text));
	(void)pthread_mutex_unlock(&lock);
	return OK;
}

/* What ran is what the record says, whatever lies at its path later. */
static st remember_program(struct scope *s)
{
	uint8_t part[65536], sum[DIGEST_MAX];
	ssize_t got;
	struct digest d;
	AUTO_FD fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "reading this program");
	digest_start(&d, DIGEST_SHA256);
	while ((got = read(fd, part, sizeof part)) > 0)
		digest_add(&d, span_of(part, (size_t)got));
	(void)digest_finish(&d, sum);
	memcpy(life.program, sum, sizeof life.program);
	return got == 0 ? OK : fail_errno(s, E_IO, "reading this program");
}

/* Several cas may share a directory: the name of the file hangs on that of the configuration. */
st daemon_life_prepare(struct scope *s, const struct daemon *d, const void *conf, const char *config)
{
	char whole[PATH_MAX];
	TRY(remember_program(s));
	life.since = scope_now(s);
	const char *directory = d->keeps == NULL ? NULL : d->keeps(s, conf);
	if (directory == NULL || realpath(config, whole) == NULL)
		return OK;
	span name = digest_new(s, DIGEST_SHA256, span_str(whole));
	keep(&life.path, scope_printf(s, "%s/run-%s", directory, hex_text(s, span_first(name, 4))));
	return OK;
}

/* ---- the run before ---- */

struct former {
	bool running;
	int64_t since;
	span version, program;
	const char *configuration;
};

static span take(span *rest, char end)
{
	const uint8_t *at = memchr(rest->data, end, rest->len);
	span word = at == NULL ? *rest : span_of(rest->data, (size_t)(at - rest->data));
	*rest = span_from(*rest, word.len + (at != NULL));
	return word;
}

/* `chancery-life/v1`, then `running|stopped SINCE VERSION PROGRAM`, then the configuration. */
static st read_former(struct scope *s, span file, struct former *out)
{
	if (!span_equal(span_first(file, strlen(VERSION)), SPAN_LITERAL(VERSION)))
		return fail(s, E_STATE, "it is not of the version that this program reads");
	span rest = span_from(file, strlen(VERSION));
	span line = take(&rest, '\n');
	out->running = span_is(take(&line, ' '), "running");
	TRY(moment_parse(s, take(&line, ' '), &out->since));
	out->version = take(&line, ' ');
	TRY(hex_parse(s, line, &out->program));
	out->configuration = scope_cstr(s, rest);
	return OK;
}

/* ---- what differs ---- */

struct wanted {
	span title;
	struct buf values;
};

static const char *title_of(struct scope *s, const struct conf_line *line)
{
	return line->section.len == 0 ? scope_cstr(s, line->name)
				      : scope_printf(s, "%.*s %.*s", (int)line->section.len, (const char *)line->section.data,
						     (int)line->name.len, (const char *)line->name.data);
}

static void add_value(void *state, const struct conf_line *line)
{
	struct wanted *w = state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (!span_is(w->title, title_of(&s, line)))
		return;
	(void)buf_append(&w->values, line->value);
	(void)buf_append(&w->values, SPAN_LITERAL("\n"));
}

static span values_of(struct scope *s, const char *title, span configuration)
{
	struct wanted w = { .title = span_str(title) };
	buf_init(&w.values, CONFIGURATION_MAX * 2);
	conf_lines(configuration, add_value, &w);
	span values = scope_copy(s, buf_span(&w.values));
	buf_free(&w.values);
	return values;
}

static bool is_named(const struct buf *found, const char *title)
{
	span names = buf_span(found);
	while (names.len > 0)
		if (span_is(take(&names, '\n'), title))
			return true;
	return false;
}

struct comparison {
	struct scope *s;
	span one, other;
	struct buf names; /* a line each */
};

static void compare(void *state, const struct conf_line *line)
{
	struct comparison *c = state;
	const char *title = title_of(c->s, line);
	if (is_named(&c->names, title) || span_equal(values_of(c->s, title, c->one), values_of(c->s, title, c->other)))
		return;
	(void)(buf_append(&c->names, span_str(title)) && buf_append(&c->names, SPAN_LITERAL("\n")));
}

/* The names of settings that are there in one only, or differ; values stay where they are. */
static const char *settings_changed(struct scope *s, const char *from, const char *to)
{
	struct comparison c = { .s = s, .one = span_str(from), .other = span_str(to) };
	buf_init(&c.names, SETTINGS_MAX);
	conf_lines(c.one, compare, &c);
	conf_lines(c.other, compare, &c);
	char *names = scope_cstr(s, buf_span(&c.names));
	buf_free(&c.names);
	size_t len = strlen(names);
	if (len == 0)
		return scope_printf(s, "none: comments or layout");
	names[len - 1] = 0;
	for (char *at = names; *at != 0; at++)
		*at = *at == '\n' ? ',' : *at;
	return names;
}

static void put_changed(struct scope *s, struct audit_event *e, const char *from, const char *to)
{
	audit_begin(e, s, AUDIT_CONFIGURATION_CHANGED);
	audit_hex(e, "from", digest_new(s, DIGEST_SHA256, span_str(from)));
	audit_hex(e, "to", digest_new(s, DIGEST_SHA256, span_str(to)));
	audit_str(e, "settings", settings_changed(s, from, to));
}

static void put_crashed(struct scope *s, struct audit_event *e, const struct former *f)
{
	audit_begin(e, s, AUDIT_SERVICE_CRASHED);
	audit_text(e, "version", f->version);
	audit_time(e, "started", f->since);
}

static void put_updated(struct scope *s, struct audit_event *e, const struct former *f)
{
	audit_begin(e, s, AUDIT_SOFTWARE_UPDATED);
	audit_text(e, "from", f->version);
	audit_str(e, "to", CHANCERY_VERSION);
	audit_hex(e, "before", f->program);
	audit_hex(e, "program", daemon_program_digest());
}

static size_t put_differences(struct scope *s, const struct former *f, struct audit_event out[DAEMON_LIFE_EVENTS])
{
	size_t count = 0;
	if (f->running)
		put_crashed(s, &out[count++], f);
	if (!span_equal(f->program, daemon_program_digest()))
		put_updated(s, &out[count++], f);
	(void)pthread_mutex_lock(&lock);
	if (strcmp(f->configuration, life.read) != 0)
		put_changed(s, &out[count++], f->configuration, life.read);
	(void)pthread_mutex_unlock(&lock);
	return count;
}

size_t daemon_life_events(struct scope *s, struct audit_event out[DAEMON_LIFE_EVENTS])
{
	span file;
	struct former f;
	if (life.path == NULL || !file_exists(life.path))
		return 0;
	st known = file_read(s, life.path, FILE_MAX, &file);
	if (known.code == E_OK)
		known = read_former(s, file, &f);
	if (known.code != E_OK) {
		log_failure(s, "how the run before ended is not known");
		scope_clear_error(s);
		return 0;
	}
	return put_differences(s, &f, out);
}

bool daemon_event_changed(struct scope *s, struct audit_event *out)
{
	(void)pthread_mutex_lock(&lock);
	bool changed = life.force != NULL && strcmp(life.force, life.read) != 0;
	if (changed)
		put_changed(s, out, life.force, life.read);
	(void)pthread_mutex_unlock(&lock);
	return changed;
}

static void write_life(const char *how)
{
	AUTO_SCOPE s;
	char since[MOMENT_TEXT_MAX];
	scope_init(&s, NULL);
	if (life.path == NULL)
		return;
	const char *text = scope_printf(&s, VERSION "%s %s %s %s\n%s", how, moment_text(life.since, since), CHANCERY_VERSION,
					hex_text(&s, daemon_program_digest()), life.force);
	if (file_replace(&s, life.path, span_str(text), 0600).code != E_OK)
		log_failure(&s, "the next start will not know how this run ended");
}

void daemon_life_begun(void)
{
	(void)pthread_mutex_lock(&lock);
	keep(&life.force, life.read);
	write_life("running");
	(void)pthread_mutex_unlock(&lock);
}

void daemon_life_ended(void)
{
	(void)pthread_mutex_lock(&lock);
	if (life.force != NULL)
		write_life("stopped");
	(void)pthread_mutex_unlock(&lock);
}
