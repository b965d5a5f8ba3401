/*
 * keyd_pin.c - where PINs come from: a descriptor, a directory of credentials, or the person at the terminal. Never the
 * configuration, the arguments or the environment.
 */
#include "keyd.h"
#include "file.h"
#include "log.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#define PIN_FILE_MAX 65536u
#define PIN_MAX      255u

static int pin_fd = -1;
static const char *pin_directory;

st keyd_pin_fd_option(struct scope *s, const char *value)
{
	uint64_t fd;
	if (decimal_parse(s, span_str(value), 65535, &fd).code != E_OK || fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0)
		return fail(s, E_INPUT, "--pin-fd %s: give the number of an open descriptor", value);
	pin_fd = (int)fd;
	return OK;
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
static st ask(struct scope *s, int terminal, const char *token, const struct keyd_pin_taker *taker)
{
	uint8_t pin[PIN_MAX + 1];
	const char *prompt = scope_printf(s, "PIN of token \"%s\" (empty: leave it closed): ", token);
	TRY(file_write_all(s, terminal, span_str(prompt)));
	ssize_t got = read(terminal, pin, sizeof pin);
	TRY(file_write_all(s, terminal, SPAN_LITERAL("\n")));
	if (got < 0)
		return fail_errno(s, E_IO, "reading a PIN from the terminal");
	size_t len = (size_t)got;
	while (len > 0 && (pin[len - 1] == '\n' || pin[len - 1] == '\r'))
		len--;
	st status = len > 0 ? taker->take(s, taker->state, token, span_of(pin, len)) : OK;
	wipe(pin, sizeof pin);
	return status;
}

static st from_terminal(struct scope *s, const struct conf_list *wanted, const struct keyd_pin_taker *taker)
{
	AUTO_FD terminal = wanted->count > 0 ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
	struct termios before;
	if (terminal < 0 || tcgetattr(terminal, &before) != 0) {
		if (wanted->count > 0)
			log_put(LOG_LEVEL_WARNING, "no PINs: give --pin-fd N or --pin-directory DIR, or start from a terminal");
		return OK;
	}
	struct termios quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(terminal, TCSAFLUSH, &quiet) != 0)
		return fail_errno(s, E_IO, "switching off the echo for a PIN");
	st status = OK;
	for (size_t i = 0; i < wanted->count && status.code == E_OK; i++)
		status = ask(s, terminal, wanted->item[i], taker);
	(void)tcsetattr(terminal, TCSAFLUSH, &before);
	return status;
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
