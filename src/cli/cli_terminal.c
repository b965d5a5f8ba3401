/* What is typed without being seen. It is read from the terminal itself, so that standard input and output may go elsewhere. */
#include "cli_terminal.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#define ENTRY_MAX 256u

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

static ssize_t read_unseen(int terminal, uint8_t entry[ENTRY_MAX])
{
	struct sigaction before[CAUGHT];
	struct termios shown;
	if (tcgetattr(terminal, &shown) != 0)
		return -1;
	struct termios hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	catch_signals(before);
	ssize_t got = tcsetattr(terminal, TCSAFLUSH, &hidden) == 0 ? read(terminal, entry, ENTRY_MAX) : -1;
	(void)tcsetattr(terminal, TCSAFLUSH, &shown);
	let_signals(before);
	return got;
}

st cli_ask(struct scope *s, const char *prompt, span *out)
{
	uint8_t entry[ENTRY_MAX];
	AUTO_FD terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (terminal < 0)
		return fail(
			s, E_INPUT,
			"%sthere is no terminal to type it at; start this from one, or set pin-directory in chancery.conf, or "
			"let systemd hand PINs over as credentials",
			prompt);
	TRY(file_write_all(s, terminal, span_str(prompt)));
	ssize_t got = read_unseen(terminal, entry);
	TRY(file_write_all(s, terminal, SPAN_LITERAL("\n")));
	if (got <= 0)
		return fail(s, E_STATE, "%s", interrupted != 0 || got == 0 ? "ended by you" : "the terminal does not answer");
	size_t len = (size_t)got;
	bool whole = entry[len - 1] == '\n' || entry[len - 1] == '\r';
	*out = scope_copy(s, span_of(entry, whole ? len - 1 : len));
	wipe(entry, sizeof entry);
	return whole ? OK : fail(s, E_INPUT, "that is longer than %u characters", ENTRY_MAX - 1);
}

bool cli_terminal_there(void)
{
	AUTO_FD terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	return terminal >= 0;
}

st cli_say(struct scope *s, const char *line)
{
	AUTO_FD terminal = open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return terminal < 0 ? OK : file_write_all(s, terminal, span_str(line));
}
