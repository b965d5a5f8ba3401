/* `chancery op` with a keyd of this installation: nonces, opening, carrying out. The messages are files before and after. */
#include "cli_key.h"
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

st cli_op_keyd_nonce(struct scope *s, const struct cli *c, struct control_proposal *p)
{
	AUTO(key_client) *client = NULL;
	struct key_challenge given;
	TRY(cli_op_keyd_open(s, c, p->instance, &client));
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
