/* Each test runs the daemon in a child process, as hardening and the sandbox cannot be taken back. */
#include "daemon.h"
#include "daemon_process.h"
#include "file.h"
#include "sandbox.h"
#include "secret.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct settings {
	const char *greeting;
	const char *file; /* what happened is written here */
};
static const struct conf_row rows[] = {
	CONF_ROW(CONF_STRING, struct settings, greeting, "greeting", .standard = "hello"),
	CONF_ROW(CONF_PATH, struct settings, file, "file", .access = CONF_REPLACES),
};
static const struct conf_section sections[] = { { .name = "", .size = sizeof(struct settings), .rows = rows, .row_count = 2 } };
static const struct conf_schema schema = {
	.service = "test", .sections = sections, .section_count = 1, .size = sizeof(struct settings)
};

static const char *option_seen = "-";

static st append(struct scope *s, const struct settings *conf, const char *what)
{
	AUTO_FD fd = -1;
	TRY(file_open_append(s, conf->file, 0600, &fd));
	return file_write_all(s, fd, span_str(scope_printf(s, "%s %s %s\n", what, conf->greeting, option_seen)));
}

static bool can(int result)
{
	if (result >= 0)
		(void)close(result);
	return result >= 0;
}

/* What goes through of what is done to files: a letter for each. `in` and `out` are directories with a file "there". */
static const char *what_goes_through(struct scope *s, const char *in, const char *out)
{
	const char *const places[] = { in, out };
	const char *text = "";
	for (size_t i = 0; i < 2; i++) {
		const char *there = scope_printf(s, "%s/there", places[i]), *new = scope_printf(s, "%s/new", places[i]);
		bool reads = can(open(there, O_RDONLY)), writes = can(open(there, O_WRONLY)),
		     truncates = truncate(there, 1) == 0;
		bool lists = can(open(places[i], O_RDONLY | O_DIRECTORY)), makes = can(open(new, O_WRONLY | O_CREAT, 0600));
		bool moves = rename(there, scope_printf(s, "%s/moved", places[i])) == 0;
		bool removes = unlink(new) == 0 || unlink(scope_printf(s, "%s/moved", places[i])) == 0;
		text = scope_printf(s, "%s%s:%s%s%s%s%s%s%s ", text, i == 0 ? "in" : "out", reads ? "r" : "", writes ? "w" : "",
				    truncates ? "t" : "", lists ? "l" : "", makes ? "m" : "", moves ? "v" : "",
				    removes ? "d" : "");
	}
	bool system_reads = can(open("/etc/passwd", O_RDONLY)), system_writes = can(open("/etc/passwd", O_WRONLY));
	return scope_printf(s, "%ssystem:%s%s fenced:%s", text, system_reads ? "r" : "", system_writes ? "w" : "",
			    daemon_is_fenced() ? "yes" : "no");
}

/* The outside comes with the option, the inside is where the configuration's file lies. */
static st pry(struct scope *s, const struct settings *settings)
{
	char *in = scope_printf(s, "%s", settings->file);
	*strrchr(in, '/') = 0;
	const char *seen = what_goes_through(s, in, option_seen);
	AUTO_FD fd = -1;
	TRY(file_open_append(s, settings->file, 0600, &fd));
	return file_write_all(s, fd, span_str(seen));
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	const struct settings *settings = conf;
	if (strcmp(settings->greeting, "pry") == 0) {
		TRY(pry(s, settings));
		return fail(s, E_NOTFOUND, "seen enough");
	}
	if (strcmp(settings->greeting, "fail") == 0)
		return fail(s, E_UNAVAILABLE, "told to fail");
	TRY(append(s, settings, "start"));
	*out_state = (void *)(uintptr_t)conf;
	return OK;
}

static st on_reload(struct scope *s, void *state, const void *conf)
{
	(void)state;
	return append(s, conf, "reload");
}

static void stop(void *state)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (append(&s, state, "stop").code != E_OK)
		abort();
}

static int refused(long result)
{
	return result == -1 && errno == EPERM;
}

/* Exit code: a bit for each call that was not refused. */
static int try_forbidden_calls(const void *conf, int argc, char **argv)
{
	(void)conf;
	char *const arguments[] = { (char[]){ "true" }, NULL };
	int got_through = 0;
	got_through |= refused(socket(AF_INET, SOCK_STREAM, 0)) ? 0 : 1;
	got_through |= refused(socket(AF_INET6, SOCK_DGRAM, 0)) ? 0 : 2;
	got_through |= refused(socket(AF_NETLINK, SOCK_RAW, 0)) ? 0 : 4;
	got_through |= refused(execv("/bin/true", arguments)) ? 0 : 8;
	got_through |= SECRET_UNDER_SANITIZER || refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) ? 0 : 16;
	got_through |= refused(chroot("/")) ? 0 : 32;
	AUTO_FD local = socket(AF_UNIX, SOCK_STREAM, 0);
	got_through |= local >= 0 ? 0 : 64;
	return argc == 2 && strcmp(argv[1], "word") == 0 ? got_through : 99;
}

static int try_privileges(const void *conf, int argc, char **argv)
{
	(void)conf;
	(void)argc;
	(void)argv;
	struct rlimit core;
	if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
		return 1;
	if (umask(0) != 077)
		return 2;
	AUTO_FD net = socket(AF_INET, SOCK_STREAM, 0);
	return net >= 0 ? 0 : 3;
}

static st set_option(struct scope *s, const char *value)
{
	if (strcmp(value, "bad") == 0)
		return fail(s, E_INPUT, "bad");
	option_seen = value;
	return OK;
}

static const struct daemon_command commands[] = { { "forbidden", "tries what is forbidden", try_forbidden_calls },
						  { "privileges", "looks at itself", try_privileges },
						  { 0 } };
static const struct daemon_option options[] = { { "--word", "WORD", "a word", set_option }, { 0 } };
static const struct daemon shut = { .name = "shut",
				    .summary = "test",
				    .schema = &schema,
				    .start = start,
				    .reload = on_reload,
				    .stop = stop,
				    .commands = commands,
				    .options = options };
static const struct daemon open_to_net = { .name = "open",
					   .summary = "test",
					   .schema = &schema,
					   .start = start,
					   .stop = stop,
					   .commands = commands,
					   .may_connect_internet = true };

struct place {
	struct scope scope;
	char directory[64];
	const char *conf;
	const char *file;
	const char *pid_file;
};

static void place_make(struct place *p, const char *greeting)
{
	scope_init(&p->scope, NULL);
	(void)snprintf(p->directory, sizeof p->directory, "/tmp/chancery-daemon-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	p->conf = scope_printf(&p->scope, "%s/conf", p->directory);
	p->file = scope_printf(&p->scope, "%s/file", p->directory);
	p->pid_file = scope_printf(&p->scope, "%s/pid", p->directory);
	assert_ok(&p->scope, file_create(&p->scope, p->conf,
					 span_str(scope_printf(&p->scope, "greeting = %s\nfile = file\n", greeting)), 0600));
}

static void place_remove(struct place *p)
{
	(void)unlink(p->conf);
	(void)unlink(p->file);
	assert_int_equal(rmdir(p->directory), 0); /* the pid file must be gone */
	scope_done(&p->scope);
}

static pid_t spawn(const struct daemon *d, int argc, const char *const *argv)
{
	(void)fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		(void)dup2(null, STDERR_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		_exit(daemon_main(d, argc, (char **)(uintptr_t)argv));
	}
	return pid;
}

static int ending_of(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define RUN(daemon_, ...)                                                                                                      \
	({                                                                                                                     \
		const char *const arguments_[] = { "chancery-test", __VA_ARGS__, NULL };                                       \
		ending_of(spawn(daemon_, (int)(sizeof arguments_ / sizeof arguments_[0]) - 1, arguments_));                    \
	})

static void wait_for_text(struct place *p, const char *text)
{
	for (int i = 0; i < 500; i++) {
		span all;
		if (file_read(&p->scope, p->file, 10000, &all).code == E_OK && strstr(scope_cstr(&p->scope, all), text) != NULL)
			return;
		scope_clear_error(&p->scope);
		(void)usleep(10000);
	}
	print_error("'%s' did not happen\n", text);
	assert_true(false);
}

static void it_serves_reloads_and_stops_in_order(void **state)
{
	(void)state;
	struct place p;
	place_make(&p, "one");
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	const char *fd = scope_printf(&p.scope, "%d", ready[1]);
	const char *const argv[] = { "t", "--config", p.conf, "--pid-file", p.pid_file, "--ready-fd", fd, "--word", "w" };
	pid_t pid = spawn(&shut, 9, argv);
	assert_int_equal(close(ready[1]), 0);
	char said[16] = { 0 };
	assert_int_equal(read(ready[0], said, sizeof said), 6);
	assert_string_equal(said, "ready\n");
	assert_int_equal(read(ready[0], said, sizeof said), 0);
	assert_int_equal(close(ready[0]), 0);
	span in_file;
	assert_ok(&p.scope, file_read(&p.scope, p.pid_file, 100, &in_file));
	assert_true(span_is(in_file, scope_printf(&p.scope, "%d\n", (int)pid)));
	assert_int_equal(RUN(&shut, "--config", p.conf, "--pid-file", p.pid_file), code_row(E_STATE)->exit_code);
	assert_ok(&p.scope, file_replace(&p.scope, p.conf, SPAN_LITERAL("greeting = two\nfile = file\n"), 0600));
	assert_int_equal(kill(pid, SIGHUP), 0);
	wait_for_text(&p, "reload two w\n");
	assert_ok(&p.scope, file_replace(&p.scope, p.conf, SPAN_LITERAL("nonsense = two\n"), 0600));
	assert_int_equal(kill(pid, SIGHUP), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(ending_of(pid), 0);
	span all;
	assert_ok(&p.scope, file_read(&p.scope, p.file, 1000, &all));
	assert_true(span_is(all, "start one w\nreload two w\nstop one w\n"));
	place_remove(&p);
}

static void it_tells_the_service_manager(void **state)
{
	(void)state;
	struct place p;
	place_make(&p, "one");
	AUTO_FD manager = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", p.directory);
	assert_int_equal(bind(manager, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", at.sun_path, 1), 0);
	const char *const argv[] = { "t", "--config", p.conf };
	pid_t pid = spawn(&shut, 3, argv);
	char said[32] = { 0 };
	assert_true(recv(manager, said, sizeof said - 1, 0) > 0);
	assert_string_equal(said, "READY=1");
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(kill(pid, SIGINT), 0);
	assert_int_equal(ending_of(pid), 0);
	assert_int_equal(unlink(at.sun_path), 0);
	place_remove(&p);
}

static void what_is_wrong_ends_with_its_exit_code(void **state)
{
	(void)state;
	struct place p;
	place_make(&p, "fail");
	assert_int_equal(RUN(&shut, "--help"), 0);
	assert_int_equal(RUN(&shut, "--version"), 0);
	assert_int_equal(RUN(&shut, "--reference"), 0);
	assert_int_equal(RUN(&shut, "--config", p.conf, "--check"), 0);
	assert_int_equal(RUN(&shut, "--config", p.conf), code_row(E_UNAVAILABLE)->exit_code);
	assert_int_equal(RUN(&shut, "--config", "/nonexistent"), code_row(E_CONFIG)->exit_code);
	static const int input = 3;
	assert_int_equal(code_row(E_INPUT)->exit_code, input);
	assert_int_equal(RUN(&shut, "--check"), input);
	assert_int_equal(RUN(&shut, "--config"), input);
	assert_int_equal(RUN(&shut, "--nonsense"), input);
	assert_int_equal(RUN(&shut, "--config", p.conf, "nonsense"), input);
	assert_int_equal(RUN(&shut, "--config", p.conf, "--word", "bad"), input);
	assert_int_equal(RUN(&shut, "--config", p.conf, "--ready-fd", "999"), input);
	assert_int_equal(RUN(&shut, "--config", p.conf, "--log-level", "loud"), input);
	place_remove(&p);
}

static void the_sandbox_refuses_what_no_daemon_needs(void **state)
{
	(void)state;
	struct place p;
	place_make(&p, "one");
	assert_int_equal(RUN(&shut, "--config", p.conf, "forbidden", "word"), 0);
	assert_int_equal(RUN(&shut, "--config", p.conf, "privileges"), 3);
	assert_int_equal(RUN(&open_to_net, "--config", p.conf, "privileges"), 0);
	assert_int_equal(RUN(&open_to_net, "--config", p.conf, "forbidden", "word"), 1 | 2);
	place_remove(&p);
}

/* ---- files ---- */

static const char *pried(struct place *p, const char *outside)
{
	const char *const directories[] = { p->directory, outside };
	for (size_t i = 0; i < 2; i++)
		assert_ok(&p->scope, file_create(&p->scope, scope_printf(&p->scope, "%s/there", directories[i]),
						 SPAN_LITERAL("something"), 0600));
	assert_int_equal(RUN(&shut, "--config", p->conf, "--pid-file", p->pid_file, "--word", outside),
			 code_row(E_NOTFOUND)->exit_code);
	span seen;
	assert_ok(&p->scope, file_read(&p->scope, p->file, 1000, &seen));
	for (size_t i = 0; i < 2; i++) {
		(void)unlink(scope_printf(&p->scope, "%s/there", directories[i]));
		(void)unlink(scope_printf(&p->scope, "%s/moved", directories[i]));
	}
	return scope_cstr(&p->scope, seen);
}

static char *make_outside(struct place *p)
{
	char *outside = scope_printf(&p->scope, "/tmp/chancery-outside-XXXXXX");
	assert_non_null(mkdtemp(outside));
	return outside;
}

static void a_daemon_opens_nothing_outside_the_directories_of_its_configuration(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 3) {
		print_message("the kernel's Landlock is older than version 3, or there is none: nothing to test\n");
		skip();
	}
	struct place p;
	place_make(&p, "pry");
	const char *outside = make_outside(&p);
	assert_string_equal(pried(&p, outside), "in:rwtlmvd out: system:r fenced:yes");
	assert_int_equal(rmdir(outside), 0);
	place_remove(&p);
}

/* The kernel says ENOSYS, as one without Landlock does. */
static void where_the_kernel_has_no_landlock_the_daemon_runs_and_says_so(void **state)
{
	(void)state;
	struct place p;
	place_make(&p, "pry");
	const char *outside = make_outside(&p);
	const char *const places[] = { p.directory, outside };
	for (size_t i = 0; i < 2; i++)
		assert_ok(&p.scope,
			  file_create(&p.scope, scope_printf(&p.scope, "%s/there", places[i]), SPAN_LITERAL("x"), 0600));
	const char *log = scope_printf(&p.scope, "%s/log", outside);
	(void)fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT, 0600);
		(void)dup2(fd, STDERR_FILENO);
		scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
		(void)seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0);
		const char *const argv[] = { "t", "--config", p.conf, "--word", outside };
		_exit(seccomp_load(filter) == 0 ? daemon_main(&shut, 5, (char **)(uintptr_t)argv) : 77);
	}
	assert_int_equal(ending_of(pid), code_row(E_NOTFOUND)->exit_code);
	span seen, said;
	assert_ok(&p.scope, file_read(&p.scope, p.file, 1000, &seen));
	assert_non_null(strstr(scope_cstr(&p.scope, seen), "in:rwtlmvd out:rwtlmvd system:r"));
	assert_non_null(strstr(scope_cstr(&p.scope, seen), "fenced:no"));
	assert_ok(&p.scope, file_read(&p.scope, log, 10000, &said));
	assert_non_null(strstr(scope_cstr(&p.scope, said), "this kernel has no Landlock"));
	for (size_t i = 0; i < 2; i++)
		(void)unlink(scope_printf(&p.scope, "%s/moved", places[i]));
	assert_int_equal(unlink(log), 0);
	assert_int_equal(rmdir(outside), 0);
	place_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_serves_reloads_and_stops_in_order),
		cmocka_unit_test(it_tells_the_service_manager),
		cmocka_unit_test(what_is_wrong_ends_with_its_exit_code),
		cmocka_unit_test(the_sandbox_refuses_what_no_daemon_needs),
		cmocka_unit_test(a_daemon_opens_nothing_outside_the_directories_of_its_configuration),
		cmocka_unit_test(where_the_kernel_has_no_landlock_the_daemon_runs_and_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
