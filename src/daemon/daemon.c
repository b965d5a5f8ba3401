#include "daemon.h"
#include "daemon_process.h"
#include "file.h"
#include "log.h"
#include "man.h"
#include "moment.h"
#include "sandbox.h"
#include "text.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STOP_SECONDS_MAX 30

/* What the command line says. */
struct invocation {
	const struct daemon *daemon;
	const char *config;
	const char *pid_file;
	int ready_fd; /* -1: none */
	enum log_level level;
	bool check;
	const struct daemon_command *command;
	int argc; /* of the command, its name first */
	char **argv;
	int pid_fd;
};

static void print_options(const struct daemon_option *options)
{
	for (const struct daemon_option *o = options; o != NULL && o->name != NULL; o++) {
		char left[64];
		(void)snprintf(left, sizeof left, "%s %s", o->name, o->value != NULL ? o->value : "");
		printf("  %-22s %s\n", left, o->help);
	}
}

static st show_help(struct scope *s, struct invocation *call, const char *value);
static st show_version(struct scope *s, struct invocation *call, const char *value);
static st show_reference(struct scope *s, struct invocation *call, const char *value);
static st show_man(struct scope *s, struct invocation *call, const char *value);

static st take_config(struct scope *s, struct invocation *call, const char *value)
{
	(void)s;
	call->config = value;
	return OK;
}

static st take_check(struct scope *s, struct invocation *call, const char *value)
{
	(void)s;
	(void)value;
	call->check = true;
	return OK;
}

static st take_pid_file(struct scope *s, struct invocation *call, const char *value)
{
	(void)s;
	call->pid_file = value;
	return OK;
}

static st take_ready_fd(struct scope *s, struct invocation *call, const char *value)
{
	uint64_t fd;
	if (decimal_parse(s, span_str(value), 65535, &fd).code != E_OK || fcntl((int)fd, F_GETFD) < 0) {
		scope_clear_error(s);
		return fail(s, E_INPUT, "--ready-fd %s: give the number of an open descriptor", value);
	}
	call->ready_fd = (int)fd;
	(void)fcntl(call->ready_fd, F_SETFD, FD_CLOEXEC);
	return OK;
}

static st take_log_level(struct scope *s, struct invocation *call, const char *value)
{
	static const char *const words[] = { [LOG_LEVEL_ERROR] = "error",
					     [LOG_LEVEL_WARNING] = "warning",
					     [LOG_LEVEL_NOTICE] = "notice",
					     [LOG_LEVEL_INFO] = "info",
					     [LOG_LEVEL_DEBUG] = "debug" };
	for (size_t i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(value, words[i]) == 0) {
			call->level = (enum log_level)i;
			return OK;
		}
	}
	return fail(s, E_INPUT, "--log-level %s: write error, warning, notice, info or debug", value);
}

static const struct option_row {
	const char *name;
	const char *value;
	const char *help;
	st (*take)(struct scope *s, struct invocation *call, const char *value);
} own_options[] = {
	{ "--config", "FILE", "the configuration; needed for everything but the printing options", take_config },
	{ "--check", NULL, "read the configuration, say what is wrong with it, and end", take_check },
	{ "--pid-file", "FILE", "write the process id there and hold a lock on it", take_pid_file },
	{ "--ready-fd", "N", "write \"ready\" and a newline to descriptor N when requests are served", take_ready_fd },
	{ "--log-level", "LEVEL", "error, warning, notice, info (standard) or debug", take_log_level },
	{ "--reference", NULL, "print every configuration name with its meaning, as Markdown", show_reference },
	{ "--man", NULL, "print the manual page", show_man },
	{ "--version", NULL, "print the version", show_version },
	{ "--help", NULL, "print this", show_help },
};
#define OWN_OPTIONS (sizeof own_options / sizeof own_options[0])

static st show_help(struct scope *s, struct invocation *call, const char *value)
{
	(void)s;
	(void)value;
	const struct daemon *d = call->daemon;
	printf("chancery-%s - %s\n\nusage: chancery-%s --config FILE [OPTION...] [COMMAND [ARGUMENT...]]\n\n"
	       "Without a command it serves until SIGTERM or SIGINT; SIGHUP reads the configuration again.\n\noptions:\n",
	       d->name, d->summary, d->name);
	for (size_t i = 0; i < OWN_OPTIONS; i++) {
		struct daemon_option shown[] = { { own_options[i].name, own_options[i].value, own_options[i].help, NULL },
						 { 0 } };
		print_options(shown);
	}
	print_options(d->options);
	if (d->commands != NULL)
		printf("\ncommands:\n");
	for (const struct daemon_command *c = d->commands; c != NULL && c->name != NULL; c++)
		printf("  %-22s %s\n", c->name, c->help);
	printf("\nExit codes:");
	for (enum code code = E_OK; code < CODE_COUNT; code++)
		printf("%s %d %s", code == E_OK ? "" : ",", code_row(code)->exit_code, code_row(code)->name);
	printf(".\n");
	exit(0);
}

static st show_version(struct scope *s, struct invocation *call, const char *value)
{
	(void)s;
	(void)value;
	printf("chancery-%s %s\n", call->daemon->name, CHANCERY_VERSION);
	exit(0);
}

static st show_reference(struct scope *s, struct invocation *call, const char *value)
{
	(void)value;
	AUTO_BUF page;
	buf_init(&page, 0);
	conf_reference(&page, call->daemon->schema);
	TRY(file_write_all(s, STDOUT_FILENO, buf_span(&page)));
	exit(0);
}

static void put_man_options(struct buf *out, struct scope *s, const struct daemon *d)
{
	man_heading(out, "OPTIONS");
	for (size_t i = 0; i < OWN_OPTIONS; i++)
		man_item(
			out,
			scope_printf(s, "%s %s", own_options[i].name, own_options[i].value == NULL ? "" : own_options[i].value),
			own_options[i].help, NULL);
	for (const struct daemon_option *o = d->options; o != NULL && o->name != NULL; o++)
		man_item(out, scope_printf(s, "%s %s", o->name, o->value == NULL ? "" : o->value), o->help, NULL);
	if (d->commands == NULL)
		return;
	man_heading(out, "COMMANDS");
	for (const struct daemon_command *c = d->commands; c->name != NULL; c++)
		man_item(out, c->name, c->help, NULL);
}

static void put_man_codes(struct buf *out, struct scope *s)
{
	man_heading(out, "EXIT STATUS");
	for (enum code code = E_OK; code < CODE_COUNT; code++)
		man_item(out, scope_printf(s, "%d", code_row(code)->exit_code), code_row(code)->meaning, NULL);
}

static st show_man(struct scope *s, struct invocation *call, const char *value)
{
	(void)value;
	const struct daemon *d = call->daemon;
	AUTO_BUF page;
	buf_init(&page, 0);
	man_begin(&page, scope_printf(s, "chancery-%s", d->name), "8", d->summary);
	man_heading(&page, "SYNOPSIS");
	man_usage(&page, scope_printf(s, "chancery-%s --config FILE [OPTION...] [COMMAND [ARGUMENT...]]", d->name));
	man_heading(&page, "DESCRIPTION");
	man_text(
		&page,
		"Without a command it serves until SIGTERM or SIGINT. SIGHUP reads the configuration again: what may change while it "
		"runs is taken over, for anything else a restart is asked for in the log.");
	put_man_options(&page, s, d);
	conf_man(&page, d->schema);
	put_man_codes(&page, s);
	man_heading(&page, "SEE ALSO");
	man_text(&page, "chancery(1)");
	TRY(file_write_all(s, STDOUT_FILENO, buf_span(&page)));
	exit(0);
}

static const struct option_row *find_own_option(const char *name)
{
	for (size_t i = 0; i < OWN_OPTIONS; i++)
		if (strcmp(own_options[i].name, name) == 0)
			return &own_options[i];
	return NULL;
}

static const struct daemon_option *find_service_option(const struct daemon *d, const char *name)
{
	for (const struct daemon_option *o = d->options; o != NULL && o->name != NULL; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

static st take_command(struct scope *s, struct invocation *call, int argc, char **argv)
{
	for (const struct daemon_command *c = call->daemon->commands; c != NULL && c->name != NULL; c++)
		if (strcmp(c->name, argv[0]) == 0)
			call->command = c;
	if (call->command == NULL)
		return fail(s, E_INPUT, "there is no command '%s'; see chancery-%s --help", argv[0], call->daemon->name);
	call->argc = argc;
	call->argv = argv;
	return OK;
}

/* One option at argv[*at], with its value as the next argument. */
static st take_option(struct scope *s, struct invocation *call, int argc, char **argv, int *at)
{
	const char *name = argv[*at];
	const struct option_row *own = find_own_option(name);
	const struct daemon_option *service = own == NULL ? find_service_option(call->daemon, name) : NULL;
	if (own == NULL && service == NULL)
		return fail(s, E_INPUT, "there is no option '%s'; see chancery-%s --help", name, call->daemon->name);
	const char *value_name = own != NULL ? own->value : service->value;
	if (value_name != NULL && *at + 1 >= argc)
		return fail(s, E_INPUT, "%s needs a value: %s %s", name, name, value_name);
	const char *value = value_name != NULL ? argv[++*at] : NULL;
	return own != NULL ? own->take(s, call, value) : service->set(s, value);
}

static st take_arguments(struct scope *s, struct invocation *call, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return take_command(s, call, argc - i, argv + i);
		TRY(take_option(s, call, argc, argv, &i));
	}
	return OK;
}

/* A configuration that was handed to the service, with the scope it lives in. */
struct handed {
	struct handed *earlier;
	struct scope scope;
	void *conf;
};

static struct handed *handed_new(const struct daemon *d, struct handed *earlier)
{
	struct handed *h = heap_alloc(sizeof *h);
	h->earlier = earlier;
	scope_init(&h->scope, NULL);
	h->conf = scope_alloc(&h->scope, d->schema->size);
	return h;
}

static void handed_free(struct handed *h)
{
	while (h != NULL) {
		struct handed *earlier = h->earlier;
		scope_done(&h->scope);
		free(h);
		h = earlier;
	}
}

static st reload(struct scope *s, const struct invocation *call, void *state, struct handed **latest)
{
	const struct daemon *d = call->daemon;
	if (d->reload == NULL)
		return fail(s, E_STATE, "this daemon reads its configuration at start only");
	struct handed *new = handed_new(d, *latest);
	st read = conf_read(&new->scope, d->schema, call->config, new->conf);
	if (read.code != E_OK) {
		st failed = fail(s, read.code, "%s", new->scope.message);
		new->earlier = NULL;
		handed_free(new);
		return failed;
	}
	*latest = new;
	TRY(daemon_remember_configuration(s, call->config));
	return d->reload(s, state, new->conf);
}

static void on_hangup(const struct invocation *call, void *state, struct handed **latest)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (reload(&s, call, state, latest).code != E_OK)
		log_failure(&s, "reload: the former configuration stays");
	else
		log_put(LOG_LEVEL_NOTICE, "configuration read again");
}

static sigset_t signals_waited_for(void)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	return set;
}

static void wait_for_the_end(const struct invocation *call, void *state, struct handed **latest)
{
	sigset_t set = signals_waited_for();
	for (;;) {
		int signal_number = sigwaitinfo(&set, NULL);
		if (signal_number == SIGHUP)
			on_hangup(call, state, latest);
		else if (signal_number == SIGTERM || signal_number == SIGINT)
			return;
	}
}

static st say_ready(struct scope *s, struct invocation *call)
{
	TRY(daemon_notify(s, "READY=1"));
	if (call->ready_fd < 0)
		return OK;
	AUTO_FD fd = take_fd(&call->ready_fd);
	return fail_context(s, file_write_all(s, fd, SPAN_LITERAL("ready\n")), "--ready-fd");
}

static st serve(struct scope *s, struct invocation *call, struct handed **latest)
{
	const struct daemon *d = call->daemon;
	int64_t began = moment_monotonic();
	void *state = NULL;
	TRY(d->start(&(*latest)->scope, (*latest)->conf, &state));
	st ready = say_ready(s, call);
	if (ready.code == E_OK) {
		log_put(LOG_LEVEL_NOTICE, "ready after %lld ms", (long long)(moment_monotonic() - began) / 1000);
		wait_for_the_end(call, state, latest);
		log_put(LOG_LEVEL_NOTICE, "stopping");
	}
	(void)alarm(STOP_SECONDS_MAX);
	d->stop(state);
	(void)alarm(0);
	return ready;
}

/* Before any thread exists: signals are taken by the main thread alone, and the sandbox holds for every thread. */
static st prepare(struct scope *s, struct invocation *call, const void *conf)
{
	sigset_t set = signals_waited_for();
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return fail_errno(s, E_IO, "ignoring SIGPIPE");
	TRY(sandbox_harden(s));
	if (call->command == NULL && pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return fail(s, E_IO, "blocking signals");
	const struct daemon *d = call->daemon;
	if (call->command == NULL && d->before_fence != NULL)
		TRY(d->before_fence(s, conf));
	if (call->command == NULL && call->pid_file != NULL)
		TRY(daemon_pid_file(s, call->pid_file, &call->pid_fd));
	if (call->command == NULL) /* a command may be told of files anywhere */
		TRY(daemon_fence(s, d, conf, call->config, call->pid_file));
	return sandbox_enter(s, d->may_connect_internet || (d->needs_internet != NULL && d->needs_internet(conf)));
}

static st run(struct scope *s, struct invocation *call, struct handed **latest, int *out_exit)
{
	const struct daemon *d = call->daemon;
	if (call->config == NULL)
		return fail(s, E_INPUT, "say which configuration: chancery-%s --config FILE; see --help", d->name);
	*latest = handed_new(d, NULL);
	TRY(conf_read(&(*latest)->scope, d->schema, call->config, (*latest)->conf));
	TRY(daemon_remember_configuration(s, call->config));
	if (call->check) {
		printf("%s: complete and valid\n", call->config);
		return OK;
	}
	if (call->command == NULL)
		TRY(daemon_life_prepare(s, d, (*latest)->conf, call->config));
	TRY(prepare(s, call, (*latest)->conf));
	if (call->command != NULL) {
		*out_exit = call->command->run((*latest)->conf, call->argc, call->argv);
		return OK;
	}
	return serve(s, call, latest);
}

int daemon_main(const struct daemon *daemon, int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct invocation call = { .daemon = daemon, .ready_fd = -1, .pid_fd = -1, .level = LOG_LEVEL_INFO };
	log_init(daemon->name, LOG_LEVEL_INFO);
	struct handed *latest = NULL;
	int exit_code = 0;
	st ended = take_arguments(&s, &call, argc, argv);
	log_init(daemon->name, call.level);
	if (ended.code == E_OK)
		ended = run(&s, &call, &latest, &exit_code);
	if (ended.code != E_OK) {
		/* A start that fails leaves its message in the scope of the configuration. */
		log_failure(s.code != E_OK || latest == NULL ? &s : &latest->scope, "not running");
		exit_code = code_row(ended.code)->exit_code;
	}
	if (call.pid_fd >= 0) {
		(void)unlink(call.pid_file);
		(void)close(call.pid_fd);
	}
	handed_free(latest);
	return exit_code;
}
