/* What is typed without being seen. It is read from the terminal itself, so that standard input and output may go elsewhere. */
#include "terminal.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
	interrupted = number;
}

static const int caught[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP };
#define CAUGHT (sizeof caught / sizeof caught[0])

/* A signal ends the reading, so that the terminal shows again what is typed. */
static void catch_signals(struct sigaction before[CAUGHT])
{
	struct sigaction note = { .sa_handler = note_signal }; /* without SA_RESTART */
	(void)sigemptyset(&note.sa_mask);
	interrupted = 0;
	for (size_t i = 0; i < CAUGHT; i++)
		(void)sigaction(caught[i], &note, &before[i]);
}

static void let_signals(const struct sigaction before[CAUGHT])
{
	for (size_t i = 0; i < CAUGHT; i++)
		(void)sigaction(caught[i], &before[i], NULL);
}

static ssize_t read_unseen(int terminal, char entry[TERMINAL_ROOM])
{
	struct sigaction before[CAUGHT];
	struct termios shown;
	if (tcgetattr(terminal, &shown) != 0)
		return -1;
	struct termios hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	catch_signals(before);
	ssize_t got = tcsetattr(terminal, TCSAFLUSH, &hidden) == 0 ? read(terminal, entry, TERMINAL_ROOM) : -1;
	(void)tcsetattr(terminal, TCSAFLUSH, &shown);
	let_signals(before);
	return got;
}

st terminal_ask(struct scope *s, const char *prompt, const char *otherwise, char out[TERMINAL_ROOM], size_t *out_len)
{
	AUTO_FD terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (terminal < 0)
		return fail(s, E_INPUT, "%sthere is no terminal to type it at; %s", prompt, otherwise);
	TRY(file_write_all(s, terminal, span_str(prompt)));
	ssize_t got = read_unseen(terminal, out);
	TRY(file_write_all(s, terminal, SPAN_LITERAL("\n")));
	if (got <= 0)
		return fail(s, E_STATE, "%s", interrupted != 0 || got == 0 ? "ended by you" : "the terminal does not answer");
	size_t len = (size_t)got;
	if (out[len - 1] != '\n' && out[len - 1] != '\r') {
		wipe(out, TERMINAL_ROOM);
		return fail(s, E_INPUT, "that is longer than %d characters", TERMINAL_ROOM - 1);
	}
	*out_len = len - 1;
	return OK;
}

/* A slip of the fingers is no reason to begin anew. */
st terminal_ask_new(struct scope *s, const char *what, const char *prompt, const char *otherwise, char out[TERMINAL_ROOM],
		    size_t *out_len)
{
	char again[TERMINAL_ROOM];
	const char *second = scope_printf(s, "The same %s again: ", what);
	for (;;) {
		size_t len, again_len;
		TRY(terminal_ask(s, prompt, otherwise, out, &len));
		if (len < TERMINAL_PIN_MIN || len > TERMINAL_PIN_MAX) {
			TRY(terminal_say(s, scope_printf(s, "It has %d to %d characters; this one has %zu.\n", TERMINAL_PIN_MIN,
							 TERMINAL_PIN_MAX, len)));
			continue;
		}
		TRY(terminal_ask(s, second, otherwise, again, &again_len));
		bool same = again_len == len && memcmp(again, out, len) == 0;
		wipe(again, sizeof again);
		if (same) {
			*out_len = len;
			return OK;
		}
		TRY(terminal_say(s, "The two entries differ; once more.\n"));
	}
}

bool terminal_there(void)
{
	AUTO_FD terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	return terminal >= 0;
}

st terminal_say(struct scope *s, const char *line)
{
	AUTO_FD terminal = open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return terminal < 0 ? OK : file_write_all(s, terminal, span_str(line));
}
