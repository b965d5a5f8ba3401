#include "log.h"
#include "text.h"
#include "moment.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *log_name = "chancery";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_to_journal;

void log_init(const char *name, enum log_level max)
{
	log_name = name;
	log_max = max;
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

static const char *level_word(enum log_level level)
{
	static const char *const words[] = { [3] = "error", [4] = "warning", [5] = "notice", [6] = "info", [7] = "debug" };
	return words[level];
}

/* One write per line, so that lines of several processes on one terminal do not mix. Control bytes become '?': a peer's
 * text must not forge a line. */
__attribute__((format(printf, 2, 0))) static void put_line(enum log_level level, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];
	char when[MOMENT_TEXT_MAX];
	int len;
	if (log_to_journal)
		len = snprintf(line, sizeof line, "<%d>", (int)level);
	else
		len = snprintf(line, sizeof line, "%s %s %s: ", moment_text(source_kernel.now(NULL), when), log_name,
			       level_word(level));
	size_t start = (size_t)len;
	len = vsnprintf(line + start, sizeof line - start - 1, format, args);
	size_t end = start + (len < 0 ? 0 : (size_t)len);
	if (end > sizeof line - 2)
		end = sizeof line - 2;
	for (size_t i = start; i < end; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[end] = '\n';
	ssize_t written = write(STDERR_FILENO, line, end + 1);
	(void)written;
}

void log_put(enum log_level level, const char *format, ...)
{
	if (level > log_max)
		return;
	va_list args;
	va_start(args, format);
	put_line(level, format, args);
	va_end(args);
}

void log_failure(const struct scope *s, const char *doing)
{
	const struct code_row *row = code_row(s->code);
	char id[2 * sizeof s->id + 1];
	hex_write(SPAN_ARRAY(s->id), id);
	log_put((enum log_level)row->log_level, "%s: %s (%s, tx %s)", doing, s->message, row->name, id);
}

void log_die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	put_line(LOG_LEVEL_ERROR, format, args);
	va_end(args);
	_exit(code_row(E_BUG)->exit_code);
}
