/* What is typed without being seen. It is read from the terminal itself, so that standard input and output may go elsewhere. */
#include "terminal.h"
#include "file.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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

struct signals {
	struct sigaction action[CAUGHT];
	sigset_t mask, waiting; /* as it was, and while an entry is waited for */
};

/* A signal ends the waiting, so that the terminal shows again what is typed; at any other time it stays pending. */
static void catch_signals(struct signals *before)
{
	struct sigaction note = { .sa_handler = note_signal };
	sigset_t held;
	(void)sigemptyset(&note.sa_mask);
	(void)sigemptyset(&held);
	interrupted = 0;
	for (size_t i = 0; i < CAUGHT; i++)
		(void)sigaddset(&held, caught[i]);
	(void)pthread_sigmask(SIG_BLOCK, &held, &before->mask);
	before->waiting = before->mask;
	for (size_t i = 0; i < CAUGHT; i++) {
		(void)sigdelset(&before->waiting, caught[i]);
		(void)sigaction(caught[i], &note, &before->action[i]);
	}
}

static void let_signals(const struct signals *before)
{
	for (size_t i = 0; i < CAUGHT; i++)
		(void)sigaction(caught[i], &before->action[i], NULL);
	(void)pthread_sigmask(SIG_SETMASK, &before->mask, NULL);
}

static ssize_t read_unseen(int terminal, char entry[TERMINAL_ROOM])
{
	struct signals before;
	struct pollfd line = { .fd = terminal, .events = POLLIN };
	struct termios shown;
	ssize_t got = -1;
	if (tcgetattr(terminal, &shown) != 0)
		return -1;
	struct termios hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	catch_signals(&before);
	if (tcsetattr(terminal, TCSAFLUSH, &hidden) == 0 && ppoll(&line, 1, NULL, &before.waiting) == 1)
		got = read(terminal, entry, TERMINAL_ROOM);
	(void)tcsetattr(terminal, TCSAFLUSH, &shown);
	let_signals(&before);
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
