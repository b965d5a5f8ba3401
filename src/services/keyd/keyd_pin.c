/*
 * keyd_pin.c - where PINs come from: a descriptor, a directory of credentials, or the person at the terminal. Never the
 * configuration, the arguments or the environment.
 */
#include "keyd.h"
#include "file.h"
#include "log.h"
#include "secret.h"
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PIN_FILE_MAX 65536u
#define PIN_MAX      255u

static int pin_fd = -1;
static const char *pin_directory;

st keyd_pin_fd_option(struct scope *s, const char *value)
{
	return secret_descriptor(s, "--pin-fd", value, &pin_fd);
}

st keyd_pin_directory_option(struct scope *s, const char *value)
{
	(void)s;
	pin_directory = value;
	return OK;
}

void keyd_pin_paths(void (*each)(void *state, enum conf_access access, const char *path), void *state)
{
	if (pin_directory != NULL)
		each(state, CONF_SEARCHES, pin_directory);
}

static st read_all(struct scope *s, int fd, struct buf *out)
{
	for (;;) {
		if (!buf_reserve(out, 4096))
			return fail(s, E_LIMIT, "what comes with the PINs is over %u bytes", PIN_FILE_MAX);
		ssize_t got = read(fd, out->data + out->len, 4096);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "reading PINs");
		if (got == 0)
			return OK;
		out->len += (size_t)got;
	}
}

static span take_line(span *rest)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
	span line = end == NULL ? *rest : span_of(rest->data, (size_t)(end - rest->data));
	*rest = span_from(*rest, line.len + 1);
	return line;
}

/* "TOKEN PIN"; the PIN is everything behind the first space. */
static st take_pin_line(struct scope *s, span line, const struct keyd_pin_taker *taker)
{
	const uint8_t *space = memchr(line.data, ' ', line.len);
	size_t at = space == NULL ? line.len : (size_t)(space - line.data);
	span pin = span_from(line, at + 1);
	if (at == 0 || at > KEY_LABEL_MAX || pin.len == 0 || pin.len > PIN_MAX)
		return fail(s, E_INPUT, "a line of --pin-fd is not \"TOKEN PIN\"");
	const char *token = scope_cstr(s, span_first(line, at));
	TRY(key_label_check(s, token));
	return taker->take(s, taker->state, token, pin);
}

static st from_descriptor(struct scope *s, const struct keyd_pin_taker *taker)
{
	AUTO_BUF all = { .cap = PIN_FILE_MAX };
	AUTO_FD fd = take_fd(&pin_fd);
	TRY(read_all(s, fd, &all));
	span rest = buf_span(&all);
	while (rest.len > 0) {
		span line = take_line(&rest);
		if (line.len > 0)
			TRY(take_pin_line(s, line, taker));
	}
	return OK;
}

static st from_file(struct scope *s, const char *token, const struct keyd_pin_taker *taker)
{
	const char *path = scope_printf(s, "%s/%s", pin_directory, token);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return OK;
	if (fd < 0)
		return fail_errno(s, E_IO, "the PIN file %s", path);
	AUTO_BUF all = { .cap = PIN_FILE_MAX };
	TRY(read_all(s, fd, &all));
	span rest = buf_span(&all);
	span pin = take_line(&rest);
	if (pin.len == 0 || pin.len > PIN_MAX)
		return fail(s, E_INPUT, "%s holds no PIN in its first line", path);
	return taker->take(s, taker->state, token, pin);
}

/* The answer stays on this stack and is wiped. */
static st ask(struct scope *s, const char *token, const struct keyd_pin_taker *taker)
{
	char pin[TERMINAL_ROOM];
	size_t len = 0;
	const char *prompt = scope_printf(s, "PIN of token \"%s\" (empty: leave it closed): ", token);
	TRY(terminal_ask(s, prompt, "give --pin-fd N or --pin-directory DIR", pin, &len));
	st status = len > 0 ? taker->take(s, taker->state, token, span_of(pin, len)) : OK;
	wipe(pin, sizeof pin);
	return status;
}

static st from_terminal(struct scope *s, const struct conf_list *wanted, const struct keyd_pin_taker *taker)
{
	if (wanted->count > 0 && !terminal_there()) {
		log_put(LOG_LEVEL_WARNING, "no PINs: give --pin-fd N or --pin-directory DIR, or start from a terminal");
		return OK;
	}
	for (size_t i = 0; i < wanted->count; i++)
		TRY(ask(s, wanted->item[i], taker));
	return OK;
}

st keyd_read_pins(struct scope *s, const struct conf_list *wanted, const struct keyd_pin_taker *taker)
{
	if (pin_fd >= 0)
		return from_descriptor(s, taker);
	if (pin_directory == NULL)
		return from_terminal(s, wanted, taker);
	for (size_t i = 0; i < wanted->count; i++)
		TRY(from_file(s, wanted->item[i], taker));
	return OK;
}
