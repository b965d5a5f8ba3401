/*
 * `chancery run`: the supervisor of a host's daemons, in the foreground (demo, containers). Daemons start in the order of
 * chancery.conf, each when the one before is ready; whichever ends is started again, later each time it fails.
 */
#include "cli_key.h"
#include "cli_nouns.h"
#include "cli_process.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS_MAX      32
#define BACK_OFF_FIRST (200 * INT64_C(1000))
#define BACK_OFF_MOST  (30 * MOMENT_SECOND)
#define STABLE_AFTER   (30 * MOMENT_SECOND)
#define READY_WITHIN   (120 * MOMENT_SECOND)
#define STOP_GRACE_MS  15000
#define DETACH_WAIT_MS 90000

enum unit_state { UNIT_DOWN, UNIT_STARTING, UNIT_READY };
static const char *const unit_state_names[] = { "down", "starting", "ready" };

struct unit {
	struct cli_child child;
	enum unit_state state;
	bool was_ready; /* once: the order only matters for the first start */
	int64_t started;
	int64_t due;
	unsigned failures;
	struct buf pins; /* of prompts: asked once, kept in locked memory for restarts */
	int log_fd;
};

struct supervisor {
	const struct cli *cli;
	struct unit unit[UNITS_MAX];
	size_t count;
	int signals;
	int lock;
	int told; /* descriptor on which a detaching parent waits; -1 */
	bool stopping;
	bool announced;
	st outcome;
};

static int64_t back_off(unsigned failures)
{
	int64_t wait = BACK_OFF_FIRST;
	while (failures-- > 1 && wait < BACK_OFF_MOST)
		wait *= 2;
	return wait < BACK_OFF_MOST ? wait : BACK_OFF_MOST;
}

/* PINs from a directory are read at each start, so that a changed PIN needs no restart of the supervisor; those typed in are
 * kept. */
static st unit_pins(struct scope *s, const struct cli *c, const struct unit *u, struct buf *fresh, span *out)
{
	if (u->pins.len > 0) {
		*out = buf_span(&u->pins);
		return OK;
	}
	TRY(cli_pins(s, c, u->child.daemon, fresh));
	*out = buf_span(fresh);
	return OK;
}

static st unit_start(struct scope *s, struct supervisor *v, struct unit *u)
{
	AUTO_BUF fresh;
	buf_init(&fresh, 32768);
	span pins;
	TRY(unit_pins(s, v->cli, u, &fresh, &pins));
	u->started = moment_monotonic();
	TRY(cli_spawn(s, v->cli, u->child.daemon, pins, u->log_fd, &u->child));
	u->state = UNIT_STARTING;
	return OK;
}

static void unit_failed(struct unit *u)
{
	int64_t now = moment_monotonic();
	u->failures = now - u->started > STABLE_AFTER ? 1 : u->failures + 1;
	u->state = UNIT_DOWN;
	u->due = now + back_off(u->failures);
}

static void start_what_is_due(struct supervisor *v)
{
	int64_t now = moment_monotonic();
	for (size_t i = 0; i < v->count && !v->stopping; i++) {
		struct unit *u = &v->unit[i];
		if (u->state == UNIT_DOWN && u->due <= now) {
			AUTO_SCOPE s;
			scope_init(&s, NULL);
			if (unit_start(&s, v, u).code != E_OK) {
				log_failure(&s, "starting a daemon");
				unit_failed(u);
			}
		}
		if (!u->was_ready)
			return; /* the next one's first start waits for this one */
	}
}

static void unit_ended(struct supervisor *v, pid_t pid, int status)
{
	for (size_t i = 0; i < v->count; i++) {
		struct unit *u = &v->unit[i];
		if (u->child.pid != pid)
			continue;
		u->child.pid = 0;
		if (u->child.ready_fd >= 0)
			(void)close(u->child.ready_fd);
		u->child.ready_fd = -1;
		unit_failed(u);
		if (v->stopping)
			return;
		log_put(LOG_LEVEL_WARNING, "%s ended with %s %d; starting it again in %lld ms", u->child.daemon->label,
			WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			(long long)((u->due - moment_monotonic()) / 1000));
		/* A configuration that does not stand will not get better by trying again. */
		if (!u->was_ready && WIFEXITED(status) && WEXITSTATUS(status) == code_row(E_CONFIG)->exit_code) {
			log_put(LOG_LEVEL_ERROR, "%s refuses its configuration %s: giving up", u->child.daemon->label,
				u->child.daemon->config);
			v->outcome = (st){ E_CONFIG };
			v->stopping = true;
		}
	}
}

static void reap(struct supervisor *v)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		unit_ended(v, pid, status);
}

static void announce_when_all_ready(struct supervisor *v)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->unit[i].state != UNIT_READY)
			return;
	if (!v->announced)
		log_put(LOG_LEVEL_NOTICE, "all %zu daemons are ready", v->count);
	v->announced = true;
	if (v->told >= 0) {
		ssize_t written = write(v->told, "+", 1);
		(void)written;
		(void)close(take_fd(&v->told));
	}
}

static void unit_says_ready(struct unit *u)
{
	char byte;
	ssize_t got = read(u->child.ready_fd, &byte, 1);
	(void)close(u->child.ready_fd);
	u->child.ready_fd = -1;
	if (got != 1)
		return; /* it is ending: SIGCHLD follows */
	u->state = UNIT_READY;
	u->was_ready = true;
	log_put(LOG_LEVEL_INFO, "%s is ready after %lld ms (pid %d)", u->child.daemon->label,
		(long long)((moment_monotonic() - u->started) / 1000), (int)u->child.pid);
}

static void kill_what_hangs(struct supervisor *v)
{
	for (size_t i = 0; i < v->count; i++) {
		struct unit *u = &v->unit[i];
		if (u->state == UNIT_STARTING && u->child.pid > 0 && moment_monotonic() - u->started > READY_WITHIN) {
			log_put(LOG_LEVEL_ERROR, "%s is not ready after two minutes: ending it", u->child.daemon->label);
			(void)kill(u->child.pid, SIGKILL);
			u->started = moment_monotonic();
		}
	}
}

static void forward(struct supervisor *v, int signal_number)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->unit[i].child.pid > 0)
			(void)kill(v->unit[i].child.pid, signal_number);
}

static void take_signal(struct supervisor *v)
{
	struct signalfd_siginfo info;
	while (read(v->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			reap(v);
		else if (info.ssi_signo == SIGHUP)
			forward(v, SIGHUP);
		else
			v->stopping = true;
	}
}

static int poll_timeout(const struct supervisor *v)
{
	int64_t now = moment_monotonic();
	int64_t wait = MOMENT_SECOND;
	for (size_t i = 0; i < v->count; i++)
		if (v->unit[i].state == UNIT_DOWN && v->unit[i].due - now < wait)
			wait = v->unit[i].due - now;
	return wait <= 0 ? 10 : (int)(wait / 1000) + 1;
}

static void supervise(struct supervisor *v)
{
	while (!v->stopping) {
		start_what_is_due(v);
		struct pollfd wait[UNITS_MAX + 1] = { { .fd = v->signals, .events = POLLIN } };
		for (size_t i = 0; i < v->count; i++)
			wait[i + 1] = (struct pollfd){ .fd = v->unit[i].child.ready_fd, .events = POLLIN };
		if (poll(wait, (nfds_t)(v->count + 1), poll_timeout(v)) < 0 && errno != EINTR)
			log_die("poll: %s", strerror(errno));
		for (size_t i = 0; i < v->count; i++)
			if (wait[i + 1].revents != 0 && v->unit[i].child.ready_fd == wait[i + 1].fd)
				unit_says_ready(&v->unit[i]);
		if (wait[0].revents != 0)
			take_signal(v);
		kill_what_hangs(v);
		announce_when_all_ready(v);
	}
	/* In reverse order: who asks others ends before those who answer. */
	for (size_t i = v->count; i-- > 0;)
		cli_stop(&v->unit[i].child, STOP_GRACE_MS);
}

/* One supervisor per installation: the pid file is locked as long as it lives. */
static st lock_installation(struct scope *s, struct supervisor *v)
{
	TRY(file_make_directory(s, v->cli->conf.run_directory, 0755));
	char *path = scope_printf(s, "%s/supervisor.pid", v->cli->conf.run_directory);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return fail(s, E_STATE,
			    "a supervisor of this installation is running already (%s); end it with `chancery run --stop`",
			    path);
	char *text = scope_printf(s, "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0)
		return fail_errno(s, E_IO, "%s", path);
	TRY(file_write_all(s, fd, span_str(text)));
	v->lock = take_fd(&fd);
	return OK;
}

static st take_units(struct scope *s, struct supervisor *v)
{
	const struct cli_daemon *all = cli_conf_daemons(&v->cli->conf);
	for (size_t i = 0; i < v->cli->conf.daemons.count; i++) {
		if (!all[i].supervised)
			continue;
		if (v->count == UNITS_MAX)
			return fail(s, E_LIMIT, "at most %d daemons under one supervisor", UNITS_MAX);
		struct unit *u = &v->unit[v->count++];
		*u = (struct unit){ .child = { .daemon = &all[i], .ready_fd = -1 } };
		buf_init(&u->pins, 32768);
		if (all[i].pin_prompt) {
			TRY(cli_pins(s, v->cli, &all[i], &u->pins));
			if (u->pins.len > 0 && mlock(u->pins.data, u->pins.room) != 0)
				return fail_errno(s, E_IO, "locking PINs into memory");
		}
		TRY(cli_open_log(s, v->cli, all[i].label, &u->log_fd));
	}
	return v->count > 0 ? OK : fail(s, E_CONFIG, "chancery.conf names no daemon to run");
}

static st catch_signals(struct scope *s, struct supervisor *v)
{
	sigset_t set;
	(void)sigemptyset(&set);
	static const int caught[] = { SIGCHLD, SIGHUP, SIGTERM, SIGINT };
	for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
		(void)sigaddset(&set, caught[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return fail_errno(s, E_IO, "signals");
	(void)signal(SIGPIPE, SIG_IGN);
	v->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return v->signals >= 0 ? OK : fail_errno(s, E_IO, "signals");
}

static void supervisor_done(struct supervisor *v)
{
	for (size_t i = 0; i < v->count; i++) {
		buf_free(&v->unit[i].pins);
		if (v->unit[i].log_fd >= 0)
			(void)close(v->unit[i].log_fd);
	}
	fd_auto(&v->signals);
	fd_auto(&v->lock);
	fd_auto(&v->told);
}

/* The supervisor goes on in a session of its own; the caller returns when all daemons are ready. */
static st detach(struct scope *s, struct supervisor *v, bool *out_parent)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail_errno(s, E_IO, "pipe");
	AUTO_FD from = ends[0];
	v->told = ends[1];
	pid_t pid = fork();
	if (pid < 0)
		return fail_errno(s, E_IO, "detaching");
	*out_parent = pid > 0;
	if (pid == 0) {
		AUTO_FD log = -1;
		TRY(cli_open_log(s, v->cli, "supervisor", &log));
		AUTO_FD nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (setsid() < 0 || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
		    dup2(log >= 0 ? log : nothing, STDERR_FILENO) < 0)
			return fail_errno(s, E_IO, "detaching");
		return OK;
	}
	(void)close(take_fd(&v->told));
	struct pollfd wait = { .fd = from, .events = POLLIN };
	char byte;
	if (poll(&wait, 1, DETACH_WAIT_MS) > 0 && read(from, &byte, 1) == 1)
		return OK;
	return fail(s, E_UNAVAILABLE, "not all daemons became ready; see the logs in %s",
		    v->cli->conf.log_directory == NULL ? "the supervisor's output" : v->cli->conf.log_directory);
}

/* The pid of a supervisor that holds its lock, and the locked file; 0 when none does. */
static st running_supervisor(struct scope *s, const struct cli *c, int *out_fd, int *out_pid)
{
	*out_pid = 0;
	char *path = scope_printf(s, "%s/supervisor.pid", c->conf.run_directory);
	AUTO_FD fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return OK;
	span text;
	TRY(file_read(s, path, 64, &text));
	*out_pid = (int)strtol(scope_cstr(s, text), NULL, 10);
	*out_fd = take_fd(&fd);
	return *out_pid > 1 ? OK : fail(s, E_STATE, "%s holds no process id", path);
}

static st say_running(struct scope *s, struct cli *c)
{
	AUTO_FD fd = -1;
	int pid;
	TRY(running_supervisor(s, c, &fd, &pid));
	c->exit_code = pid > 0 ? 0 : 1;
	return cli_print(s, c,
			 pid > 0 ? json_pack("{s:s, s:i}", "supervisor", "running", "pid", pid)
				 : json_pack("{s:s}", "supervisor", "not running"));
}

static st stop_running(struct scope *s, struct cli *c)
{
	AUTO_FD fd = -1;
	int pid;
	TRY(running_supervisor(s, c, &fd, &pid));
	if (pid == 0)
		return cli_print(s, c, json_pack("{s:s}", "supervisor", "was not running"));
	if (kill(pid, SIGTERM) != 0)
		return fail_errno(s, E_IO, "ending the supervisor with pid %d", pid);
	int64_t until = moment_monotonic() + 60 * MOMENT_SECOND;
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (moment_monotonic() > until)
			return fail(s, E_UNAVAILABLE, "the supervisor (pid %d) does not end", pid);
		(void)usleep(20000);
	}
	return cli_print(s, c, json_pack("{s:s, s:i}", "supervisor", "stopped", "pid", pid));
}

/* Daemons are ready also with a token closed; whoever typed a wrong PIN is told now. */
static st say_ready(struct scope *s, struct cli *c)
{
	struct cli_keys keys;
	AUTO(json_t) *duties = json_array();
	TRY(cli_key_inventory(s, c, NULL, &keys));
	c->exit_code = cli_key_duties(s, &keys, duties) > 0;
	if (json_array_size(duties) == 0)
		return cli_print(s, c, json_pack("{s:s}", "daemons", "ready"));
	return cli_print(s, c, json_pack("{s:s, s:O}", "daemons", "ready", "to do", duties));
}

static st check_not_running(struct scope *s, const struct cli *c)
{
	AUTO_FD fd = -1;
	int pid;
	TRY(running_supervisor(s, c, &fd, &pid));
	return pid == 0
		       ? OK
		       : fail(s, E_STATE,
			      "the daemons of this installation are running already (supervisor with pid %d); `chancery status` "
			      "shows how they are, `chancery run --stop` ends them",
			      pid);
}

static st run(struct scope *s, struct cli *c)
{
	if (cli_get(c, "stop") != NULL)
		return stop_running(s, c);
	if (cli_get(c, "running") != NULL)
		return say_running(s, c);
	TRY(check_not_running(s, c)); /* before anybody types a PIN */
	struct supervisor v = { .cli = c, .signals = -1, .lock = -1, .told = -1 };
	bool parent = false;
	st result = take_units(s, &v);
	if (result.code == E_OK && cli_get(c, "detach") != NULL)
		result = detach(s, &v, &parent);
	if (result.code == E_OK && !parent)
		result = lock_installation(s, &v);
	if (result.code == E_OK && !parent)
		result = catch_signals(s, &v);
	if (result.code == E_OK && !parent) {
		log_init("supervisor", LOG_LEVEL_INFO);
		supervise(&v);
		log_put(LOG_LEVEL_NOTICE, "stopped; last state of %s: %s", v.unit[0].child.daemon->label,
			unit_state_names[v.unit[0].state]);
		result = v.outcome.code == E_OK
				 ? OK
				 : fail(s, v.outcome.code, "a daemon refused its configuration; its log says why");
	}
	supervisor_done(&v);
	return result.code == E_OK && parent ? say_ready(s, c) : result;
}

static const struct cli_option run_options[] = {
	{ .name = "detach", .help = "return when all daemons are ready and supervise in the background" },
	{ .name = "stop", .help = "end the supervisor of this installation and its daemons" },
	{ .name = "running", .help = "say whether a supervisor runs; exit 1 when none does" },
};
static const struct cli_command commands[] = {
	{ .summary = "Start the daemons of this installation in order and keep them running",
	  .example = "--home var/first run",
	  CLI_OPTIONS(run_options),
	  .run = run },
};
const struct cli_noun cli_noun_run = { "run", "run the daemons of this host under a supervisor", CLI_COMMANDS(commands) };
