#include "watch_runner.h"
#include "file.h"
#include "moment.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_MS 60000
#define TOLD   1000 /* how it ended: an exit code, or a signal behind this number, or ... */
#define LATE   (-1)
#define FAILED (-2)

static struct {
	const struct watch_conf *conf; /* that of the split */
	int socket;                    /* of the daemon's end; -1: no command is configured */
	pid_t pid;
	pthread_mutex_t lock;
} runner = { .socket = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

struct order {
	uint32_t outlet;
	uint32_t len;
	uint8_t input[WATCH_RUNNER_INPUT_MAX];
};

/* ---- in the process of its own ---- */

static _Noreturn void become(const char *command, int input)
{
	char *const argv[] = { (char *)(uintptr_t)command, NULL };
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(input, STDIN_FILENO);
	for (int fd = 3; fd < 256; fd++)
		(void)close(fd);
	(void)execv(command, argv);
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int64_t until = moment_monotonic() + RUN_MS * INT64_C(1000);
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (moment_monotonic() > until) {
			(void)kill(-pid, SIGKILL);
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			return LATE;
		}
		(void)poll(NULL, 0, 20);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : TOLD + WTERMSIG(status);
}

static int carry_out(const char *command, span input)
{
	int ends[2];
	/* The whole input fits the pipe, so that a program that does not read it holds up nobody. */
	if (pipe2(ends, O_CLOEXEC) != 0)
		return FAILED;
	AUTO_FD out = ends[0];
	AUTO_FD in = ends[1];
	pid_t pid = fork();
	if (pid == 0)
		become(command, out);
	ssize_t written = pid > 0 ? write(in, input.data, input.len) : -1;
	(void)close(take_fd(&in));
	if (pid < 0)
		return FAILED;
	int ended = wait_for(pid);
	return written == (ssize_t)input.len ? ended : FAILED;
}

static _Noreturn void serve(const struct watch_conf *conf, int socket)
{
	const struct watch_outlet_conf *outlet = conf->outlets.item;
	static struct order order;
	for (int fd = 3; fd < 1024; fd++) /* what the daemon has open is nobody else's */
		if (fd != socket)
			(void)close(fd);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "watch-runner");
	for (;;) {
		ssize_t got = recv(socket, &order, sizeof order, 0);
		if (got <= 0)
			_exit(0);
		int32_t ended = FAILED;
		if ((size_t)got >= offsetof(struct order, input) && order.outlet < conf->outlets.count &&
		    order.len == (size_t)got - offsetof(struct order, input) && outlet[order.outlet].command != NULL)
			ended = carry_out(outlet[order.outlet].command, span_of(order.input, order.len));
		if (send(socket, &ended, sizeof ended, MSG_NOSIGNAL) != sizeof ended)
			_exit(0);
	}
}

/* ---- in the daemon ---- */

static st check_commands(struct scope *s, const struct watch_conf *conf, size_t *out_commands)
{
	const struct watch_outlet_conf *outlet = conf->outlets.item;
	*out_commands = 0;
	for (size_t i = 0; i < conf->outlets.count; i++) {
		if (outlet[i].command == NULL)
			continue;
		if (access(outlet[i].command, X_OK) != 0)
			return fail_errno(s, E_CONFIG, "[outlet %s] command = %s", outlet[i].label, outlet[i].command);
		(*out_commands)++;
	}
	return OK;
}

st watch_runner_split(struct scope *s, const struct watch_conf *conf)
{
	size_t commands;
	int ends[2];
	TRY(check_commands(s, conf, &commands));
	if (commands == 0)
		return OK;
	runner.conf = conf;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return fail_errno(s, E_IO, "a socket for the commands of outlets");
	runner.pid = fork();
	if (runner.pid == 0) {
		(void)close(ends[0]);
		serve(conf, ends[1]);
	}
	(void)close(ends[1]);
	runner.socket = ends[0];
	return runner.pid > 0 ? OK : fail_errno(s, E_IO, "a process for the commands of outlets");
}

static st explain(struct scope *s, int32_t ended)
{
	if (ended == 0)
		return OK;
	if (ended == LATE)
		return fail(s, E_BUSY, "it took longer than %d s and was killed", RUN_MS / 1000);
	if (ended == 127)
		return fail(s, E_IO, "it cannot be started (exit code 127)");
	if (ended >= TOLD)
		return fail(s, E_IO, "it was ended by signal %d", ended - TOLD);
	return ended > 0 ? fail(s, E_IO, "it ended with exit code %d", ended) : fail(s, E_IO, "it could not be started");
}

/* The number of the outlet that had this command at the split; the number of outlets when none had. */
static size_t find_command(const char *command)
{
	const struct watch_outlet_conf *outlet = runner.conf->outlets.item;
	size_t i = 0;
	while (i < runner.conf->outlets.count && (outlet[i].command == NULL || strcmp(outlet[i].command, command) != 0))
		i++;
	return i;
}

st watch_runner_check(struct scope *s, const struct watch_conf *conf)
{
	const struct watch_outlet_conf *outlet = conf->outlets.item;
	for (size_t i = 0; i < conf->outlets.count; i++)
		if (outlet[i].command != NULL &&
		    (runner.conf == NULL || find_command(outlet[i].command) == runner.conf->outlets.count))
			return fail(s, E_STATE,
				    "[outlet %s] command = %s: which programs may be started is settled when chancery-watch "
				    "starts: restart it",
				    outlet[i].label, outlet[i].command);
	return OK;
}

st watch_runner_run(struct scope *s, const char *command, span input)
{
	if (runner.socket < 0 || input.len > WATCH_RUNNER_INPUT_MAX)
		return fail(s, E_BUG, "no command can be started for this");
	size_t outlet = find_command(command);
	struct order *order = scope_new(s, struct order);
	size_t len = offsetof(struct order, input) + input.len;
	int32_t ended;
	*order = (struct order){ .outlet = (uint32_t)outlet, .len = (uint32_t)input.len };
	memcpy(order->input, input.data, input.len);
	(void)pthread_mutex_lock(&runner.lock);
	bool told = send(runner.socket, order, len, MSG_NOSIGNAL) == (ssize_t)len &&
		    recv(runner.socket, &ended, sizeof ended, 0) == sizeof ended;
	(void)pthread_mutex_unlock(&runner.lock);
	return told ? explain(s, ended) : fail(s, E_IO, "the process that starts commands is gone: restart chancery-watch");
}

void watch_runner_end(void)
{
	if (runner.socket >= 0)
		(void)close(take_fd(&runner.socket));
	if (runner.pid > 0)
		(void)waitpid(runner.pid, NULL, 0);
	runner.pid = 0;
}
