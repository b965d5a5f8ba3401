/*
 * chancery-keyd - holds the keys of one zone in its PKCS#11 tokens. It sees what it signs, knows what each key may sign, and has
 * it on record before the module does.
 */
#include "keyd_control.h"
#include "keyd_signers.h"
#include "daemon.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STOP_GRACE_MS 10000

int keyd_main(int argc, char **argv);

static st open_audit(struct scope *s, struct keyd *d)
{
	const struct audit_settings settings = {
		.socket = d->conf->audit_socket,
		.journal = d->conf->audit_journal,
		.component = scope_printf(s, "keyd/%s", d->conf->zone),
		.anchor = scope_printf(s, "%s/anchor", d->conf->state),
	};
	return audit_open(s, &settings, &d->audit);
}

static st take_pin(struct scope *s, void *state, const char *token, span pin)
{
	return keyd_add_token(s, state, token, pin);
}

static void want_token(struct conf_list *list, const char *label)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->item[i], label) == 0)
			return;
	list->item[list->count++] = label;
}

/* Tokens of the configuration and those that known keys lie on; nobody has the PIN of a group that custodians activate. */
static struct conf_list wanted_tokens(struct scope *s, const struct keyd *d)
{
	size_t most = d->conf->tokens.count;
	for (const struct keyd_key *k = d->keys; k != NULL; k = k->next)
		most++;
	for (const struct keyd_planned *p = d->planned; p != NULL; p = p->next)
		most++;
	struct conf_list wanted = { .item = scope_alloc(s, (most + 1) * sizeof *wanted.item) };
	for (size_t i = 0; i < d->conf->tokens.count; i++)
		want_token(&wanted, d->conf->tokens.item[i]);
	for (struct keyd_key *k = d->keys; k != NULL; k = k->next)
		if (keyd_life_state(k, scope_now(s)) != KEY_DESTROYED && !keyd_has_group(s, d, k->info.token))
			want_token(&wanted, k->info.token);
	for (const struct keyd_planned *p = d->planned; p != NULL; p = p->next)
		if (!keyd_has_group(s, d, p->info.token))
			want_token(&wanted, p->info.token);
	return wanted;
}

static st open_tokens(struct scope *s, struct keyd *d)
{
	const struct conf_list wanted = wanted_tokens(s, d);
	for (size_t i = 0; i < wanted.count; i++)
		TRY(keyd_add_token(s, d, wanted.item[i], (span){ 0 }));
	const struct keyd_pin_taker taker = { take_pin, d };
	AUTO_SCOPE secret; /* wiped at once, not with the configuration */
	scope_init(&secret, NULL);
	st status = keyd_read_pins(&secret, &wanted, &taker);
	return status.code == E_OK ? OK : fail(s, status.code, "%s", secret.message);
}

/* On record as destroyed, but the end came before the token had done it. */
static void finish_destroying(struct scope *s, struct keyd *d, struct keyd_key *k)
{
	struct hsm_key *hsm;
	if (keyd_hsm_key(s, d, k, &hsm).code != E_OK)
		return;
	if (hsm_destroy(s, hsm).code == E_OK)
		log_put(LOG_LEVEL_NOTICE, "key \"%s\" was left on its token after its end; it is destroyed now", k->info.label);
	else
		log_failure(s, "a key that is on record as destroyed is still on its token");
}

static void look_for_keys(struct scope *s, struct keyd *d)
{
	for (struct keyd_key *k = d->keys; k != NULL; k = k->next) {
		struct hsm_key *hsm;
		if (keyd_life_state(k, scope_now(s)) == KEY_DESTROYED)
			finish_destroying(s, d, k);
		else if (keyd_hsm_key(s, d, k, &hsm).code != E_OK)
			log_put(LOG_LEVEL_WARNING, "key \"%s\" cannot be used now: %s", k->info.label, s->message);
		scope_clear_error(s);
	}
}

static st socket_group(struct scope *s, const struct keyd_conf *conf, gid_t *out)
{
	*out = (gid_t)-1;
	if (conf->socket_group == NULL)
		return OK;
	errno = 0;
	struct group *group = getgrnam(conf->socket_group);
	if (group == NULL)
		return fail(s, E_CONFIG, "socket-group: there is no group \"%s\"", conf->socket_group);
	*out = group->gr_gid;
	return OK;
}

static st serve(struct scope *s, struct keyd *d)
{
	gid_t group;
	TRY(socket_group(s, d->conf, &group));
	struct wire_service service = keyd_service;
	service.state = d;
	service.max_connections = (unsigned)d->conf->connections;
	struct wire_service *kept =
		scope_new(s, struct wire_service); /* the scope of the configuration lives as long as we do */
	*kept = service;
	return wire_serve(s, d->conf->socket, group, kept, &d->server);
}

static st open_all(struct scope *s, struct keyd *d)
{
	TRY(keyd_conf_check(s, d->conf));
	TRY(file_make_directory(s, d->conf->state, 0700));
	TRY(keyd_prepare_module(s, d->conf));
	const struct hsm_settings settings = { .module = d->conf->module,
					       .init_args = d->conf->module_init_args,
					       .sync_directory = keyd_token_directory(s, d->conf) };
	TRY(hsm_mend_tokens(s, settings.sync_directory));
	TRY(hsm_load(s, &settings, &d->hsm));
	log_put(LOG_LEVEL_NOTICE, "zone %s: %s", d->conf->zone, hsm_description(d->hsm));
	TRY(open_audit(s, d));
	TRY(keyd_load_keys(s, d));
	TRY(open_tokens(s, d));
	TRY(keyd_control_start(s, d));
	keyd_control_look(d);
	keyd_use_begin(d);
	(void)keyd_recorder_start(d);
	TRY(signers_start(s, (unsigned)d->conf->signers, &d->signers));
	keyd_watch_tokens(d);
	look_for_keys(s, d);
	return serve(s, d);
}

static st reload(struct scope *s, void *state, const void *conf)
{
	struct keyd *d = state;
	st status = keyd_conf_check(s, conf);
	if (status.code == E_OK)
		status = keyd_conf_compare(s, d->conf, conf);
	if (status.code == E_OK)
		d->conf = conf;
	daemon_record_reload(d->audit, status.code == E_OK);
	return status;
}

static void stop(void *state)
{
	struct keyd *d = state;
	if (d->server != NULL)
		wire_server_stop(d->server, STOP_GRACE_MS);
	signers_stop(d->signers);
	if (d->recorder != NULL)
		keyd_recorder_stop(d->recorder);
	keyd_control_stop(d);
	keyd_free_keys(d);
	if (d->audit != NULL)
		audit_close(d->audit);
	hsm_unload(d->hsm);
	(void)pthread_rwlock_destroy(&d->registry);
	(void)pthread_mutex_destroy(&d->generating);
	(void)pthread_mutex_destroy(&d->watching);
	free(d);
}

static st start(struct scope *s, const void *conf, void **out_state)
{
	struct keyd *d = heap_alloc(sizeof *d);
	d->started = scope_now(s);
	d->conf = conf;
	if (pthread_rwlock_init(&d->registry, NULL) != 0 || pthread_mutex_init(&d->generating, NULL) != 0 ||
	    pthread_mutex_init(&d->watching, NULL) != 0)
		log_die("no lock for keys");
	st status = open_all(s, d);
	if (status.code != E_OK) {
		stop(d);
		return status;
	}
	*out_state = d;
	return OK;
}

/* Whoever asks a person for the PINs begins here. */
static st list_tokens(struct scope *s, struct keyd *d)
{
	TRY(keyd_load_keys(s, d));
	const struct conf_list wanted = wanted_tokens(s, d);
	for (size_t i = 0; i < wanted.count; i++)
		printf("%s\n", wanted.item[i]);
	return fflush(stdout) == 0 ? OK : fail_errno(s, E_IO, "standard output");
}

static int print_tokens(const void *conf, int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	(void)argv;
	struct keyd d = { .conf = conf };
	st listed = argc == 1 ? list_tokens(&s, &d) : fail(&s, E_INPUT, "tokens takes no argument");
	keyd_free_keys(&d);
	if (listed.code != E_OK)
		log_failure(&s, "tokens");
	return code_row(listed.code)->exit_code;
}

/* Sockets of the Internet only for a network HSM that the configuration names. */
static bool needs_internet(const void *conf)
{
	return ((const struct keyd_conf *)conf)->hsm_addresses.count > 0;
}

static const struct daemon_option options[] = {
	{ "--pin-fd", "N", "read PINs from descriptor N, lines \"TOKEN PIN\"", keyd_pin_fd_option },
	{ "--pin-directory", "DIR", "read PINs from the files of DIR (systemd credentials), one named after each token",
	  keyd_pin_directory_option },
	{ 0 },
};
static const struct daemon_command commands[] = {
	{ "probe",
	  "what the PKCS#11 module and a token can do for us: [--json] [--token LABEL] [--module PATH] [--module-init-args "
	  "TEXT]",
	  keyd_probe },
	{ "tokens", "the tokens that PINs are wanted for, one a line", print_tokens },
	{ "head", "LABEL: size of the log under the last checkpoint that this key signed", keyd_head },
	{ "rebuild-control",
	  "take the number of the last operation from the log at the next start, after the state was put back from a copy; only while "
	  "keyd is stopped",
	  keyd_rebuild_control },
	{ "forget-head",
	  "LABEL: move the last tree head aside, so that a log restored with a loss is signed again; only while keyd is stopped",
	  keyd_forget_head },
	{ 0 },
};
static const char *keeps(struct scope *s, const void *conf)
{
	(void)s;
	return ((const struct keyd_conf *)conf)->state;
}

static const struct daemon keyd_daemon = {
	.keeps = keeps,
	.name = "keyd",
	.summary = "holds the keys of one zone; signs what a key is for, and only what is on record",
	.schema = &keyd_schema,
	.start = start,
	.reload = reload,
	.stop = stop,
	.commands = commands,
	.options = options,
	.needs_internet = needs_internet,
	.loads_module = true,
	.further_paths = keyd_pin_paths,
};

int keyd_main(int argc, char **argv)
{
	/* Looking at a module needs no configuration. */
	if (argc > 1 && strcmp(argv[1], "probe") == 0)
		return keyd_probe(NULL, argc - 1, argv + 1);
	return daemon_main(&keyd_daemon, argc, argv);
}
