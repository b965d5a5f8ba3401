#include "cli_ceremony.h"
#include "cli_key.h"
#include "cli_rehearsal.h"
#include "control_activation.h"
#include "control_entries.h"
#include "file.h"
#include "moment.h"
#include "pki_crl.h"
#include "text.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

bool cli_ceremony_here(const struct cli *c)
{
	return c->conf.founding_hash != NULL;
}

static st lock_directory(struct scope *s, struct cli_ceremony *m)
{
	const char *path = scope_printf(s, "%s/.lock", m->directory);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return fail(s, E_STATE, "another command leads a ceremony in %s: finish that one first", m->directory);
	m->lock = take_fd(&fd);
	return OK;
}

/* So that `*.op` are those that wait now. */
static st sweep(struct scope *s, struct cli_ceremony *m)
{
	char **name;
	size_t count;
	const char *left = scope_printf(s, "%s/left", m->directory);
	TRY(file_make_directory(s, left, 0755));
	TRY(file_list(s, m->directory, &name, &count));
	for (size_t i = 0; i < count; i++) {
		const char *from = scope_printf(s, "%s/%s", m->directory, name[i]),
			   *to = scope_printf(s, "%s/%s", left, name[i]);
		bool of_operation = strstr(name[i], ".op") != NULL;
		if (of_operation && rename(from, to) != 0)
			return fail_errno(s, E_IO, "moving %s to %s", from, to);
	}
	return OK;
}

st cli_ceremony_open(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_ceremony **out)
{
	bool scripted = cli_rehearsal_here(s, c);
	struct cli_ceremony *m = heap_alloc(sizeof *m);
	*m = (struct cli_ceremony){
		.scope = s,
		.c = c,
		.api = api,
		.by = scripted ? CLI_REHEARSAL_LEADER : cli_get(c, "by"),
		.decision = scripted ? CLI_FOUNDING_DECISION : cli_get(c, "decision"),
		.threshold = 2,
		.scripted = scripted,
		.directory = cli_path(s, c, scripted ? "test-secrets/rehearsal" : "ceremony"),
		.lock = -1,
		.number = 1,
	};
	*out = m;
	TRY(file_make_directory(s, scope_printf(s, "%s/done", m->directory), 0755));
	TRY(lock_directory(s, m));
	return sweep(s, m);
}

void cli_ceremony_close(struct cli_ceremony *m)
{
	if (m == NULL)
		return;
	control_register_free(m->r);
	fd_auto(&m->lock);
	free(m);
}

static st read_register(struct scope *s, struct cli_ceremony *m)
{
	control_register_free(m->r);
	m->r = NULL;
	return cli_register_open(s, m->c, m->api, NULL, &m->r);
}

st cli_ceremony_export(struct scope *s, struct cli_ceremony *m)
{
	AUTO(control_register) *r = NULL;
	AUTO_BUF file;
	buf_init(&file, CONTROL_ENTRIES_MAX);
	TRY(cli_register_open(s, m->c, m->api, &file, &r));
	return file_replace(s, cli_path(s, m->c, CLI_CEREMONY_REGISTER), buf_span(&file), 0644);
}

/* ---- proposing ---- */

static const char *parameters_text(struct scope *s, const char *const *parameters)
{
	const char *text = "";
	for (; *parameters != NULL; parameters += 2)
		text = scope_printf(s, "%s%s: %s\n", text, parameters[0], parameters[1]);
	return text;
}

static struct cli_ceremony_row *find(struct cli_ceremony *m, const char *instance, const char *operation,
				     const char *parameters)
{
	for (size_t i = 0; i < m->count; i++)
		if (strcmp(m->row[i].operation->name, operation) == 0 && strcmp(m->row[i].instance, instance) == 0 &&
		    strcmp(m->row[i].parameters, parameters) == 0)
			return &m->row[i];
	return NULL;
}

static st fill(struct scope *s, struct cli_ceremony *m, struct control_signed *o)
{
	struct control_proposal *p = &o->proposal;
	AUTO(json_t) *given = NULL;
	struct control_head head = control_register_head(m->r);
	p->entries = head.entries;
	memcpy(p->head, head.hash, sizeof p->head);
	p->proposed_by = span_str(m->by);
	p->proposed = scope_now(s);
	p->expires = p->proposed + p->operation->life;
	TRY(cli_op_take_crl(s, m->api, m->r, o));
	if (p->operation->executor == CONTROL_BY_KEYD)
		return cli_op_keyd_nonce(s, m->c, p);
	TRY(cli_api_call(s, m->api, "POST", "/v1/operations/nonce", NULL, &given));
	return cli_op_take_nonce(s, cli_member(given, "nonce"), p);
}

static st propose(struct scope *s, struct cli_ceremony *m, const char *instance, const char *const *parameters,
		  struct control_signed *o)
{
	AUTO_BUF text;
	buf_init(&text, 0);
	if (m->by == NULL)
		return fail(s, E_INPUT,
			    "people do this together: --by PERSON says who leads it, p1 and so on, as the register "
			    "names you (`chancery role list`)");
	o->proposal.instance = span_str(instance);
	for (; *parameters != NULL; parameters += 2) {
		if (parameters[1] == NULL)
			return fail(s, E_INPUT, "--%s is needed", parameters[0]);
		TRY(control_proposal_add(s, &o->proposal, parameters[0], span_str(parameters[1])));
	}
	TRY(fill(s, m, o));
	TRY(control_proposal_write(s, &o->proposal, &text));
	return control_proposal_read(s, scope_copy(s, buf_span(&text)), &o->proposal);
}

/* "03-person.enrol-p4.op" */
static const char *name_of(struct cli_ceremony *m, const struct control_operation *operation, const char *about)
{
	char *name = scope_printf(m->scope, "%02u-%s-%.40s.op", m->number++, operation->name, about);
	for (char *at = name; *at != 0; at++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", *at) == NULL)
			*at = '-';
	return name;
}

/* Files of an earlier run stay what they are. */
static st free_path(struct scope *s, struct cli_ceremony *m, const struct control_operation *operation, const char *about,
		    const char **out)
{
	const char *name;
	do {
		if (m->number > 10000)
			return fail(s, E_LIMIT, "%s is full", m->directory);
		name = name_of(m, operation, about);
		*out = scope_printf(m->scope, "%s/%s", m->directory, name);
	} while (file_exists(*out) || file_exists(scope_printf(s, "%s/done/%s", m->directory, name)) ||
		 file_exists(scope_printf(s, "%s/left/%s", m->directory, name)));
	return OK;
}

static st plan(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
	       const char *const *parameters)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	const char *text = parameters_text(m->scope, parameters);
	if (find(m, instance, operation, text) != NULL)
		return OK;
	if (m->count == CLI_CEREMONY_ROWS_MAX)
		return fail(s, E_LIMIT, "more than %d operations at once", CLI_CEREMONY_ROWS_MAX);
	if (m->r == NULL)
		TRY(read_register(s, m));
	struct cli_ceremony_row row = { .instance = scope_printf(m->scope, "%s", instance), .parameters = text };
	TRY(cli_op_named(s, operation, &o->proposal.operation));
	row.operation = o->proposal.operation;
	TRY(propose(s, m, instance, parameters, o));
	memcpy(row.hash, o->proposal.hash, sizeof row.hash);
	row.late = control_late_seat(&o->proposal);
	TRY(free_path(s, m, row.operation, parameters[0] == NULL ? "" : parameters[1], &row.path));
	TRY(cli_op_write(s, row.path, o));
	m->row[m->count++] = row;
	return OK;
}

/* What is made for one step is given back; its message stays. */
static st explained(struct scope *s, struct scope *aside, st status, const struct cli_ceremony *m, const char *what)
{
	if (status.code == E_OK)
		return OK;
	return fail(s, status.code, "%s%s: %s", what, m->scripted ? " by the scripted persons" : "", aside->message);
}

st cli_ceremony_plan(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
		     const char *const *parameters)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	return explained(s, &aside, plan(&aside, m, instance, operation, parameters), m, operation);
}

/* ---- approving ---- */

static st approve_scripted(struct scope *s, struct cli_ceremony *m)
{
	TRY(cli_rehearsal_approve(s, m->c, m->row, m->count));
	for (size_t i = 0; i < m->count; i++)
		m->row[i].ready = true;
	return OK;
}

st cli_ceremony_approve(struct scope *s, struct cli_ceremony *m)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	st approved = m->scripted ? approve_scripted(&aside, m) : cli_ceremony_wait_approvals(&aside, m);
	return explained(s, &aside, approved, m, "approvals");
}

/* ---- carrying out ---- */

static void forget(struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	size_t at = (size_t)(row - m->row);
	memmove(row, row + 1, (m->count - at - 1) * sizeof *row);
	m->count--;
}

static st put_away(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	const char *to = scope_printf(s, "%s/done%s", m->directory, strrchr(row->path, '/'));
	if (rename(row->path, to) != 0)
		return fail_errno(s, E_IO, "moving %s to %s", row->path, to);
	forget(m, row);
	return OK;
}

static st deliver(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	struct control_signed *o;
	AUTO(json_t) *done = NULL;
	AUTO(key_client) *client = NULL;
	AUTO_BUF file;
	buf_init(&file, 0);
	span share[KEY_SHARES_MAX];
	const char *words;
	TRY(cli_op_read(s, row->path, &o));
	for (size_t i = 0; i < row->opened_count; i++)
		TRY(cli_op_take_custodian(s, row->opened[i], o, &share[i]));
	TRY(control_signed_write(s, o, &file));
	TRY(file_replace(s, row->path, buf_span(&file), 0644));
	if (row->operation->executor != CONTROL_BY_KEYD)
		return cli_api_send(s, m->api, "POST", "/v1/operations", "text/plain", buf_span(&file), &done);
	TRY(cli_op_keyd_open(s, m->c, o->proposal.instance, &client));
	return key_execute(s, client, buf_span(&file), share, row->opened_count, &words);
}

static st carry_out(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	TRY(deliver(s, m, row));
	if (!m->scripted)
		cli_progress(m->c, "  done: %s", strrchr(row->path, '/') + 1);
	if (row->operation->executor == CONTROL_BY_REGISTER) {
		control_register_free(m->r); /* the next proposal sees the register as it is then */
		m->r = NULL;
	}
	return put_away(s, m, row);
}

static st do_it(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
		const char *const *parameters)
{
	TRY(plan(s, m, instance, operation, parameters));
	struct cli_ceremony_row *row = find(m, instance, operation, parameters_text(s, parameters));
	if (!row->ready)
		TRY(cli_ceremony_approve(s, m));
	return carry_out(s, m, find(m, instance, operation, parameters_text(s, parameters)));
}

st cli_ceremony_do(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
		   const char *const *parameters)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	return explained(s, &aside, do_it(&aside, m, instance, operation, parameters), m, operation);
}

st cli_ceremony_carry_out_all(struct scope *s, struct cli_ceremony *m)
{
	while (m->count > 0) {
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		const char *what = m->row[0].operation->name;
		TRY(explained(s, &aside, carry_out(&aside, m, &m->row[0]), m, what));
	}
	return OK;
}

/* ---- activation ---- */

static st is_locked(struct scope *s, const struct cli *c, const char *zone, const char *group, bool *out)
{
	AUTO(key_client) *client = NULL;
	struct key_status status;
	TRY(cli_key_open(s, c, zone, &client));
	TRY(key_status(s, client, &status));
	for (size_t i = 0; i < status.token_count; i++)
		if (strcmp(status.tokens[i].label, group) == 0) {
			*out = !status.tokens[i].ready;
			return OK;
		}
	return fail(s, E_NOTFOUND, "zone %s has no key group %s", zone, group);
}

static st plan_activations(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *group, size_t *out)
{
	*out = 0;
	for (; group->name != NULL; group++) {
		bool locked = true;
		TRY(is_locked(s, m->c, group->zone, group->name, &locked));
		if (!locked)
			continue;
		TRY(plan(s, m, scope_printf(s, "keyd/%s", group->zone), "group.activate",
			 (const char *const[]){ "group", group->name, NULL }));
		(*out)++;
	}
	return OK;
}

static bool is_activation(const struct cli_ceremony_row *row)
{
	return strcmp(row->operation->name, "group.activate") == 0;
}

/* keyd's statement and the custodians' shares, as files beside the operation. */
static st open_row(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	AUTO(key_client) *client = NULL;
	struct key_opening *opening = scope_new(s, struct key_opening);
	struct control_sealed_share h;
	span file;
	TRY(file_read(s, row->path, CONTROL_SIGNED_MAX, &file));
	TRY(cli_op_keyd_open(s, m->c, span_str(row->instance), &client));
	TRY(key_open_operation(s, client, file, opening));
	row->statement = scope_printf(m->scope, "%s.statement", row->path);
	TRY(file_replace(s, row->statement, opening->statement, 0644));
	for (size_t i = 0; i < opening->count; i++) {
		TRY(control_sealed_share_read(s, opening->share[i], &h));
		row->person[i] = scope_copy(m->scope, h.person);
		row->share[i] =
			scope_printf(m->scope, "%s.%.*s.share", row->path, (int)h.person.len, (const char *)h.person.data);
		row->wanted = h.threshold;
		TRY(file_replace(s, row->share[i], opening->share[i], 0644));
	}
	row->shares = opening->count;
	return row->shares >= row->wanted ? OK : fail(s, E_STATE, "keyd has fewer shares than are needed");
}

static st bring_scripted(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	for (size_t i = 0; i < row->wanted; i++) {
		row->opened[i] = scope_printf(m->scope, "%s.opened", row->share[i]);
		TRY(cli_rehearsal_share(s, m->c, scope_cstr(s, row->person[i]), row->path, row->statement, row->share[i],
					row->opened[i]));
		row->opened_count++;
	}
	return OK;
}

/* A keyd has one activation open at a time: the first of each instance. */
static bool is_next(const struct cli_ceremony *m, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (is_activation(&m->row[k]) && strcmp(m->row[k].instance, m->row[i].instance) == 0)
			return false;
	return is_activation(&m->row[i]);
}

static st bring_shares(struct scope *s, struct cli_ceremony *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (is_next(m, i)) {
			TRY(open_row(s, m, &m->row[i]));
			if (m->scripted)
				TRY(bring_scripted(s, m, &m->row[i]));
		}
	return m->scripted ? OK : cli_ceremony_wait_shares(s, m);
}

static void remove_files(const struct cli_ceremony_row *row)
{
	(void)unlink(row->statement);
	for (size_t i = 0; i < row->shares; i++)
		(void)unlink(row->share[i]);
	for (size_t i = 0; i < row->opened_count; i++)
		(void)unlink(row->opened[i]);
}

static st carry_out_open(struct scope *s, struct cli_ceremony *m, size_t *left)
{
	for (size_t i = 0; i < m->count;) {
		struct cli_ceremony_row row = m->row[i];
		if (row.statement == NULL) {
			i++;
			continue;
		}
		TRY(carry_out(s, m, &m->row[i]));
		remove_files(&row);
		(*left)--;
	}
	return OK;
}

static st activate_them(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *groups)
{
	size_t left;
	TRY(plan_activations(s, m, groups, &left));
	if (left == 0)
		return OK;
	TRY(cli_ceremony_export(s, m));
	TRY(cli_ceremony_approve(s, m));
	while (left > 0) {
		TRY(bring_shares(s, m));
		TRY(carry_out_open(s, m, &left));
	}
	return OK;
}

static st crl_is_old(struct scope *s, struct cli_ceremony *m, bool *out)
{
	span der;
	struct pki_crl crl;
	*out = false;
	if (!control_has_management(m->r))
		return OK;
	TRY(cli_api_fetch(s, m->api, CLI_MANAGEMENT_CRL, &der));
	TRY(pki_crl_read(s, der, &crl));
	*out = scope_now(s) - crl.this_update > CONTROL_CRL_AGE;
	return OK;
}

/* After an outage: only the group of the management CA's key is activated with the CRL of before; the next CRL is for all others. */
static st bring_fresh_crl(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *group)
{
	struct control_management management = { .holders = 0 };
	AUTO(json_t) *made = NULL;
	(void)control_register_management(m->r, &management);
	while (group->name != NULL && !span_is(management.group, group->name))
		group++;
	if (group->name != NULL) {
		const struct cli_ceremony_group first[] = { *group, { NULL, NULL } };
		cli_progress(
			m->c,
			"The management CA's CRL is older than 24 hours: first its own key group, approved by one person more.");
		TRY(activate_them(s, m, first));
	}
	return cli_api_call(s, m->api, "POST", "/v1/cas/management/crls", json_object(), &made);
}

static st activate(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *groups)
{
	bool old;
	if (m->r == NULL)
		TRY(read_register(s, m));
	TRY(crl_is_old(s, m, &old));
	if (old)
		TRY(bring_fresh_crl(s, m, groups));
	return activate_them(s, m, groups);
}

st cli_ceremony_activate(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *groups)
{
	AUTO_SCOPE aside;
	scope_init(&aside, s->source);
	return explained(s, &aside, activate(&aside, m, groups), m, "activation");
}
