/*
 * keyd_probe.c - "chancery-keyd --config F probe": what can this module and token do for us, what is missing, what does that cost?
 */
#include "keyd.h"
#include "log.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct probe_call {
	const char *module;
	const char *init_args;
	const char *token;
	bool json;
};

static st read_arguments(struct scope *s, int argc, char **argv, struct probe_call *call)
{
	for (int i = 1; i < argc; i++) {
		const char **value = strcmp(argv[i], "--module") == 0             ? &call->module
				     : strcmp(argv[i], "--module-init-args") == 0 ? &call->init_args
				     : strcmp(argv[i], "--token") == 0            ? &call->token
										  : NULL;
		if (strcmp(argv[i], "--json") == 0)
			call->json = true;
		else if (value != NULL && i + 1 < argc)
			*value = argv[++i];
		else
			return fail(s, E_INPUT,
				    "probe takes --json, --module PATH, --module-init-args TEXT and --token LABEL; \"%s\" is "
				    "none of them",
				    argv[i]);
	}
	return OK;
}

struct opening {
	struct hsm *hsm;
	const char *label;
	struct hsm_token *token;
};

static st take_pin(struct scope *s, void *state, const char *token, span pin)
{
	struct opening *o = state;
	if (o->token != NULL || strcmp(o->label, token) != 0)
		return OK;
	return hsm_token_new(s, o->hsm, token, pin, &o->token);
}

static const char *const finding_names[] = {
	[HSM_PROVIDED] = "provided", [HSM_MISSING] = "missing", [HSM_UNKNOWN] = "unknown"
};

static void print_json(const struct hsm *h, const char *token, const struct hsm_probe_row *rows, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "kind", rows[i].kind, "name", rows[i].name,
							    "finding", finding_names[rows[i].finding], "note", rows[i].note));
	json_t *all = json_pack("{s:s, s:s?, s:o}", "module", hsm_description(h), "token", token, "findings", list);
	(void)json_dumpf(all, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(all);
}

static void print_text(const struct hsm *h, const char *token, const struct hsm_probe_row *rows, size_t count)
{
	printf("%s\ntoken: %s\n\n", hsm_description(h), token != NULL ? token : "(the first one that is there)");
	for (size_t i = 0; i < count; i++)
		printf("%-10s %-28s %-9s %s\n", rows[i].kind, rows[i].name, finding_names[rows[i].finding], rows[i].note);
}

static st probe(struct scope *s, const struct probe_call *call, struct hsm *h)
{
	struct opening o = { .hsm = h, .label = call->token };
	const struct conf_list wanted = { .item = &o.label, .count = call->token != NULL };
	const struct keyd_pin_taker taker = { take_pin, &o };
	if (call->token != NULL)
		TRY(keyd_read_pins(s, &wanted, &taker));
	struct hsm_probe_row *rows;
	size_t count;
	st status = hsm_probe(s, h, call->token, o.token, &rows, &count);
	hsm_token_free(o.token);
	TRY(status);
	(call->json ? print_json : print_text)(h, call->token, rows, count);
	return OK;
}

static st run(struct scope *s, const struct keyd_conf *conf, int argc, char **argv)
{
	struct probe_call call = { 0 };
	if (conf != NULL)
		call = (struct probe_call){ .module = conf->module,
					    .init_args = conf->module_init_args,
					    .token = conf->tokens.count > 0 ? conf->tokens.item[0] : NULL };
	const char *configured = call.module;
	TRY(read_arguments(s, argc, argv, &call));
	if (call.module == NULL)
		return fail(s, E_INPUT, "say which module: --config FILE, or probe --module PATH");
	if (configured == call.module)
		TRY(keyd_prepare_module(s, conf));
	struct hsm *h;
	const struct hsm_settings settings = { .module = call.module, .init_args = call.init_args };
	TRY(hsm_load(s, &settings, &h));
	st status = probe(s, &call, h);
	hsm_unload(h);
	return status;
}

int keyd_probe(const void *conf, int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st status = run(&s, conf, argc, argv);
	if (status.code != E_OK)
		log_failure(&s, "probe");
	return code_row(status.code)->exit_code;
}
