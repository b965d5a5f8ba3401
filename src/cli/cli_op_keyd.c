/* `chancery op` with a keyd of this installation: nonces, opening, carrying out. The messages are files before and after. */
#include "cli_key.h"
#include "cli_nearest.h"
#include "cli_op.h"
#include "control_activation.h"
#include "file.h"

#define KEYD "keyd/"

st cli_op_keyd_open(struct scope *s, const struct cli *c, span instance, struct key_client **out)
{
	span prefix = SPAN_LITERAL(KEYD);
	if (!span_equal(span_first(instance, prefix.len), prefix) || instance.len == prefix.len)
		return fail(s, E_INPUT, "--instance is keyd/ZONE, such as keyd/ca: the keyd that holds the keys");
	return cli_key_open(s, c, scope_cstr(s, span_from(instance, prefix.len)), out);
}

/* ---- names that mean something to this keyd ---- */

struct names {
	const char **name;
	size_t count;
};

static st groups_of(struct scope *s, struct key_client *client, struct names *out)
{
	struct key_status status;
	TRY(key_status(s, client, &status));
	out->name = scope_alloc(s, (status.token_count + 1) * sizeof *out->name);
	for (size_t i = 0; i < status.token_count; i++)
		out->name[out->count++] = status.tokens[i].label;
	return OK;
}

/* One that is planned is none yet. */
static st keys_of(struct scope *s, struct key_client *client, struct names *out)
{
	struct key_info *list;
	size_t count;
	TRY(key_list(s, client, &list, &count));
	out->name = scope_alloc(s, (count + 1) * sizeof *out->name);
	for (size_t i = 0; i < count; i++)
		if (list[i].spki.len > 0)
			out->name[out->count++] = list[i].label;
	return OK;
}

static const struct named {
	const char *parameter, *what;
	const char *makes; /* the operation that makes one, so that it must not be there */
	st (*names)(struct scope *s, struct key_client *client, struct names *out);
} named[] = {
	{ "group", "key group", "group.create", groups_of },
	{ "key", "key", "key.generate", keys_of },
};

static st check_name(struct scope *s, struct key_client *client, const struct control_proposal *p, const struct named *row)
{
	struct names names = { .count = 0 };
	const char *value = scope_cstr(s, control_parameter(p, row->parameter, 0)), *instance = scope_cstr(s, p->instance);
	struct cli_nearest near = { .word = span_str(value) };
	bool makes = strcmp(p->operation->name, row->makes) == 0, there = false;
	if (value[0] == 0)
		return OK;
	TRY(row->names(s, client, &names));
	for (size_t i = 0; i < names.count; i++) {
		there = there || strcmp(names.name[i], value) == 0;
		cli_nearest_try(&near, names.name[i]);
	}
	if (makes && there)
		return fail(s, E_CONFLICT, "%s has a %s %s already: choose another name", instance, row->what, value);
	if (!makes && !there)
		return fail(s, E_NOTFOUND, "%s has no %s %s%s; `chancery key list` shows keys and their groups", instance,
			    row->what, value, cli_nearest_question(s, &near, ""));
	return OK;
}

/* Before anybody approves: keyd itself says so when the operation is brought. */
static st check_names(struct scope *s, struct key_client *client, const struct control_proposal *p)
{
	for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
		TRY(check_name(s, client, p, &named[i]));
	return OK;
}

st cli_op_keyd_nonce(struct scope *s, const struct cli *c, struct control_proposal *p)
{
	AUTO(key_client) *client = NULL;
	struct key_challenge given;
	TRY(cli_op_keyd_open(s, c, p->instance, &client));
	TRY(check_names(s, client, p));
	TRY(key_challenge(s, client, &given));
	if (!span_is(p->instance, given.instance))
		return fail(s, E_STATE, "this keyd is the instance %s", given.instance);
	memcpy(p->nonce, given.nonce, sizeof p->nonce);
	return OK;
}

/* ---- opening ---- */

static st write_share(struct scope *s, const char *prefix, span file, json_t *written)
{
	struct control_sealed_share h;
	TRY(control_sealed_share_read(s, file, &h));
	const char *path = scope_printf(s, "%s.%.*s.share", prefix, (int)h.person.len, (const char *)h.person.data);
	TRY(fail_context(s, file_replace(s, path, file, 0644), "writing %s", path));
	(void)json_array_append_new(written, json_string(path));
	return OK;
}

st cli_op_open(struct scope *s, struct cli *c)
{
	AUTO(key_client) *client = NULL;
	struct control_signed *o;
	struct key_opening *opening = scope_new(s, struct key_opening);
	span file;
	const char *prefix = cli_get_or(c, "out", c->argument[0]);
	TRY(cli_op_read(s, c->argument[0], &o));
	TRY(file_read(s, c->argument[0], CONTROL_SIGNED_MAX, &file));
	TRY(cli_op_keyd_open(s, c, o->proposal.instance, &client));
	TRY(key_open_operation(s, client, file, opening));
	const char *statement = scope_printf(s, "%s.statement", prefix);
	TRY(fail_context(s, file_replace(s, statement, opening->statement, 0644), "writing %s", statement));
	AUTO(json_t) *written = json_array();
	for (size_t i = 0; i < opening->count; i++)
		TRY(write_share(s, prefix, opening->share[i], written));
	return cli_print(
		s, c,
		json_pack("{s:s, s:s, s:O, s:s}", "operation", o->proposal.operation->name, "statement", statement, "shares",
			  written, "next",
			  "each custodian: chancery-token share --help; then chancery op execute with --share for each file"));
}

/* ---- carrying out ---- */

/* A custodian's file is a share for keyd and an approval for the operation. */
st cli_op_take_custodian(struct scope *s, const char *path, struct control_signed *o, span *out_text)
{
	span file;
	struct control_opened_share share;
	struct control_approval approval;
	TRY(fail_context(s, file_read(s, path, CONTROL_SHARE_FILE_MAX, &file), "%s", path));
	TRY(fail_context(s, control_custodian_file_read(s, file, &share, &approval, out_text), "%s", path));
	for (size_t i = 0; i < o->count; i++)
		if (span_equal(o->approval[i].person, approval.person))
			return OK; /* it is with the operation already */
	if (o->count == CONTROL_APPROVALS_MAX)
		return fail(s, E_LIMIT, "an operation has at most %d approvals", CONTROL_APPROVALS_MAX);
	o->approval[o->count++] = approval;
	return OK;
}

st cli_op_keyd_execute(struct scope *s, struct cli *c, struct control_signed *o)
{
	AUTO(key_client) *client = NULL;
	AUTO_BUF file;
	buf_init(&file, 0);
	span share[KEY_SHARES_MAX];
	size_t count = 0;
	const char *path, *words;
	for (; (path = cli_get_at(c, "share", count)) != NULL; count++) {
		if (count == KEY_SHARES_MAX)
			return fail(s, E_LIMIT, "there are at most %d shares", KEY_SHARES_MAX);
		TRY(cli_op_take_custodian(s, path, o, &share[count]));
	}
	TRY(control_signed_write(s, o, &file));
	TRY(cli_op_keyd_open(s, c, o->proposal.instance, &client));
	TRY(key_execute(s, client, buf_span(&file), share, count, &words));
	return cli_print(s, c,
			 json_pack("{s:s, s:s#, s:s}", "operation", o->proposal.operation->name, "carried out by",
				   (const char *)o->proposal.instance.data, (int)o->proposal.instance.len, "done", words));
}
