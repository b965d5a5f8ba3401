#include "cli_process.h"
#include "cli_sealed.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIN_MAX       256u
#define PINS_MAX      32768u /* fits a pipe, so that writing before the daemon reads cannot block */
#define ARGUMENTS_MAX 96u

st cli_pins_add(struct scope *s, struct buf *out, const char *token, span pin)
{
	while (pin.len > 0 && (pin.data[pin.len - 1] == '\n' || pin.data[pin.len - 1] == '\r'))
		pin.len--;
	if (pin.len == 0 || memchr(pin.data, '\n', pin.len) != NULL)
		return fail(s, E_INPUT, "the PIN of token %s is empty or has more than one line", token);
	bool fits = buf_append(out, span_str(token)) && buf_append(out, SPAN_LITERAL(" ")) && buf_append(out, pin) &&
		    buf_append(out, SPAN_LITERAL("\n"));
	return fits ? OK : fail(s, E_LIMIT, "more PINs than %u bytes", PINS_MAX);
}

static st pin_of_file(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, const char *token, struct buf *out)
{
	span pin;
	if (daemon->pin_sealed != NULL) {
		AUTO_BUF opened;
		buf_init(&opened, CLI_SEALED_ROOM);
		TRY(cli_sealed_read(s, c, daemon->pin_sealed, token, &opened));
		return cli_pins_add(s, out, token, buf_span(&opened));
	}
	TRY(file_read(s, scope_printf(s, "%s/%s", daemon->pin_directory, token), PIN_MAX, &pin));
	return cli_pins_add(s, out, token, pin);
}

static st pins_of_files(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, struct buf *out)
{
	char **name;
	size_t count;
	st listed = file_list(s, daemon->pin_sealed != NULL ? daemon->pin_sealed : daemon->pin_directory, &name, &count);
	if (listed.code != E_OK)
		return fail_context(s, (st){ E_CONFIG }, "directory of PINs");
	for (size_t i = 0; i < count; i++)
		if (strchr(name[i], '.') == NULL)
			TRY(pin_of_file(s, c, daemon, name[i], out));
	return OK;
}

/* The tokens that a keyd wants PINs for, one a line: it knows its configuration and its keys. */
static st tokens_of(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, struct buf *out)
{
	const char *const arguments[] = { "--config", daemon->config, "tokens", NULL };
	int exit_code;
	TRY(cli_run_program(s, cli_program(s, c, daemon->program), arguments, &daemon->environment, -1, out, &exit_code));
	return exit_code == 0 ? OK
			      : fail(s, E_CONFIG, "%s cannot name its tokens (exit code %d); its message says why",
				     daemon->label, exit_code);
}

st cli_pin_ask(struct scope *s, const struct cli_daemon *daemon, const char *token, struct buf *out)
{
	size_t len = 0;
	AUTO_SCOPE secret; /* wiped at once */
	scope_init(&secret, NULL);
	char *prompt = scope_printf(s, "PIN of token %s, zone %s (empty: leave it closed): ", token, daemon->zone);
	char *pin = scope_alloc(&secret, TERMINAL_ROOM);
	st asked = terminal_ask(&secret, prompt, CLI_PINS_OTHERWISE, pin, &len);
	if (asked.code == E_OK && len > 0)
		asked = cli_pins_add(&secret, out, token, span_of(pin, len));
	return asked.code == E_OK ? OK : fail(s, asked.code, "%s", secret.message);
}

static st pins_of_prompt(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, struct buf *out)
{
	AUTO_BUF tokens;
	buf_init(&tokens, 65536);
	TRY(tokens_of(s, c, daemon, &tokens));
	span rest = buf_span(&tokens);
	while (rest.len > 0) {
		const uint8_t *end = memchr(rest.data, '\n', rest.len);
		size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
		TRY(cli_pin_ask(s, daemon, scope_cstr(s, span_first(rest, len)), out));
		rest = span_from(rest, len + 1 < rest.len ? len + 1 : rest.len);
	}
	return OK;
}

st cli_pins(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, struct buf *out)
{
	if (daemon->pin_prompt)
		return pins_of_prompt(s, c, daemon, out);
	bool files = daemon->pin_directory != NULL || daemon->pin_sealed != NULL;
	return files ? pins_of_files(s, c, daemon, out) : OK;
}

/* The child's side; only calls that are allowed between fork and exec. */
_Noreturn static void become(const char *path, char **arguments, char **environment, int log_fd, pid_t parent)
{
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setpgid(0, 0);
	/* A supervisor that dies takes its daemons along: nobody else would restart or stop them. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
		_exit(1);
	if (log_fd >= 0 && dup2(log_fd, STDERR_FILENO) < 0)
		_exit(1);
	int nothing = open("/dev/null", O_RDWR);
	if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || (log_fd >= 0 && dup2(nothing, STDOUT_FILENO) < 0))
		_exit(1);
	(void)execve(path, arguments, environment);
	_exit(127);
}

static st inheritable(struct scope *s, int fd)
{
	return fcntl(fd, F_SETFD, 0) == 0 ? OK : fail_errno(s, E_IO, "descriptor %d", fd);
}

/* Our environment plus the daemon's own lines. */
static char **environment_of(struct scope *s, const struct conf_list *own)
{
	size_t count = 0;
	while (environ[count] != NULL)
		count++;
	char **all = scope_alloc(s, (count + own->count + 1) * sizeof *all);
	for (size_t i = 0; i < own->count; i++)
		all[i] = scope_printf(s, "%s", own->item[i]);
	memcpy(all + own->count, environ, count * sizeof *all);
	return all;
}

static st pin_pipe(struct scope *s, span pins, int *out_fd)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail_errno(s, E_IO, "pipe for PINs");
	AUTO_FD out = ends[0];
	AUTO_FD in = ends[1];
	TRY(file_write_all(s, in, pins));
	*out_fd = take_fd(&out);
	return OK;
}

st cli_spawn(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, span pins, int log_fd,
	     struct cli_child *out)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail_errno(s, E_IO, "pipe for readiness");
	AUTO_FD ready = ends[0];
	AUTO_FD told = ends[1];
	AUTO_FD pin_fd = -1;
	/* Also without PINs: keyd is not to ask on our terminal for what we did not. */
	if (daemon->zone != NULL)
		TRY(pin_pipe(s, pins, &pin_fd));
	char *arguments[16];
	size_t n = 0;
	arguments[n++] = cli_program(s, c, daemon->program);
	arguments[n++] = scope_printf(s, "--config");
	arguments[n++] = scope_printf(s, "%s", daemon->config);
	arguments[n++] = scope_printf(s, "--pid-file");
	arguments[n++] = scope_printf(s, "%s/%s.pid", c->conf.run_directory, daemon->label);
	arguments[n++] = scope_printf(s, "--ready-fd");
	arguments[n++] = scope_printf(s, "%d", told);
	if (pin_fd >= 0) {
		arguments[n++] = scope_printf(s, "--pin-fd");
		arguments[n++] = scope_printf(s, "%d", pin_fd);
	}
	arguments[n] = NULL;
	if (access(arguments[0], X_OK) != 0)
		return fail_errno(s, E_CONFIG, "program of %s, %s", daemon->label, arguments[0]);
	char **environment = environment_of(s, &daemon->environment);
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid < 0)
		return fail_errno(s, E_IO, "starting %s", daemon->label);
	if (pid == 0) {
		if (inheritable(s, told).code != E_OK || (pin_fd >= 0 && inheritable(s, pin_fd).code != E_OK))
			_exit(1);
		become(arguments[0], arguments, environment, log_fd, parent);
	}
	*out = (struct cli_child){ .daemon = daemon, .pid = pid, .ready_fd = take_fd(&ready) };
	return OK;
}

st cli_wait_ready(struct scope *s, struct cli_child *child, int timeout_ms)
{
	struct pollfd wait = { .fd = child->ready_fd, .events = POLLIN };
	int got;
	do
		got = poll(&wait, 1, timeout_ms);
	while (got < 0 && errno == EINTR);
	char byte;
	bool ready = got > 0 && read(child->ready_fd, &byte, 1) == 1;
	(void)close(child->ready_fd);
	child->ready_fd = -1;
	if (ready)
		return OK;
	if (got == 0)
		return fail(s, E_UNAVAILABLE, "%s is not ready after %d s; its log says why", child->daemon->label,
			    timeout_ms / 1000);
	return fail(s, E_UNAVAILABLE, "%s ended before it was ready; its log says why", child->daemon->label);
}

static bool ended_within(pid_t pid, int ms)
{
	int64_t until = moment_monotonic() + ms * INT64_C(1000);
	for (;;) {
		pid_t got = waitpid(pid, NULL, WNOHANG);
		if (got == pid || (got < 0 && errno == ECHILD))
			return true;
		if (moment_monotonic() > until)
			return false;
		(void)usleep(5000);
	}
}

void cli_stop(struct cli_child *child, int grace_ms)
{
	if (child->ready_fd >= 0)
		(void)close(child->ready_fd);
	child->ready_fd = -1;
	if (child->pid <= 0)
		return;
	(void)kill(child->pid, SIGTERM);
	if (!ended_within(child->pid, grace_ms)) {
		(void)kill(child->pid, SIGKILL);
		(void)ended_within(child->pid, grace_ms);
	}
	child->pid = 0;
}

static st read_all(struct scope *s, int fd, struct buf *out)
{
	for (;;) {
		if (!buf_reserve(out, 4096))
			return fail(s, E_LIMIT, "the program prints too much");
		ssize_t got = read(fd, out->data + out->len, 4096);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "reading what the program prints");
		if (got == 0)
			return OK;
		out->len += (size_t)got;
	}
}

st cli_run_program(struct scope *s, const char *path, const char *const *arguments, const struct conf_list *environment,
		   int log_fd, struct buf *out, int *out_exit)
{
	static const struct conf_list nothing = { 0 };
	char *words[ARGUMENTS_MAX];
	size_t count = 0;
	words[count++] = scope_printf(s, "%s", path);
	for (; *arguments != NULL && count + 1 < ARGUMENTS_MAX; arguments++)
		words[count++] = scope_printf(s, "%s", *arguments);
	words[count] = NULL;
	char **full = environment_of(s, environment == NULL ? &nothing : environment);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail_errno(s, E_IO, "pipe");
	AUTO_FD from = ends[0];
	AUTO_FD to = ends[1];
	(void)fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return fail_errno(s, E_IO, "starting %s", path);
	if (pid == 0) {
		if ((out != NULL && dup2(to, STDOUT_FILENO) < 0) || (log_fd >= 0 && dup2(log_fd, STDERR_FILENO) < 0))
			_exit(1);
		(void)execve(path, words, full);
		_exit(127);
	}
	(void)close(take_fd(&to));
	st printed = out == NULL ? OK : read_all(s, from, out);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail_errno(s, E_IO, "waiting for %s", path);
	TRY(printed);
	*out_exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return OK;
}

st cli_run_command(struct scope *s, const struct cli *c, const struct cli_daemon *daemon, const char *const *arguments,
		   struct buf *out, int *out_exit)
{
	AUTO_BUF pins;
	buf_init(&pins, PINS_MAX);
	if (daemon->pin_directory != NULL || daemon->pin_sealed != NULL)
		TRY(cli_pins(s, c, daemon, &pins));
	AUTO_FD pin_fd = -1;
	const char *words[ARGUMENTS_MAX] = { "--config", daemon->config };
	size_t n = 2;
	if (pins.len > 0) {
		TRY(pin_pipe(s, buf_span(&pins), &pin_fd));
		TRY(inheritable(s, pin_fd));
		words[n++] = "--pin-fd";
		words[n++] = scope_printf(s, "%d", pin_fd);
	}
	while (*arguments != NULL && n + 1 < ARGUMENTS_MAX)
		words[n++] = *arguments++;
	return cli_run_program(s, cli_program(s, c, daemon->program), words, &daemon->environment, -1, out, out_exit);
}

st cli_open_log(struct scope *s, const struct cli *c, const char *name, int *out_fd)
{
	*out_fd = -1;
	if (c->conf.log_directory == NULL)
		return OK;
	TRY(file_make_directory(s, c->conf.log_directory, 0750));
	return file_open_append(s, scope_printf(s, "%s/%s.log", c->conf.log_directory, name), 0640, out_fd);
}
