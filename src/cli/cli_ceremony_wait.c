/* What people do in a ceremony: they are told what is waited for and how, and whatever they bring is judged as it comes. */
#include "cli_ceremony.h"
#include "cli_inbox.h"
#include "control_activation.h"
#include "digest.h"
#include "file.h"
#include "moment.h"
#include "text.h"

static const char *inbox_of(struct scope *s, const char *directory)
{
	return scope_printf(s, "%s/in", directory);
}

static const char *called(struct scope *s, const struct cli *c, const struct control_register *r, span person)
{
	const struct control_person *p = control_person_named(r, person);
	return scope_printf(s, "%.*s %s", (int)person.len, (const char *)person.data,
			    p == NULL ? "" : cli_person_name(s, c, p));
}

/* "p1 Greet Maes (authority-member), p2 Hugo Claes (authority-member)": who can take the seat today. */
static const char *who_can(struct scope *s, const struct cli_ceremony *m, const struct control_seat *seat)
{
	const char *text = "";
	const struct control_person *p;
	for (size_t i = 0; (p = control_person_at(m->r, i)) != NULL; i++) {
		uint32_t roles = control_roles_held(p, scope_now(s)) & seat->roles;
		if (roles != 0)
			text = scope_printf(s, "%s%s%s (%s)", text, text[0] == 0 ? "" : ", ",
					    called(s, m->c, m->r, span_str(p->id)), control_roles_text(s, roles));
	}
	return text[0] == 0 ? "NOBODY on the register" : text;
}

/* ---- approvals ---- */

static bool opens_only(const struct cli_ceremony_row *row)
{
	return strcmp(row->operation->name, "group.activate") == 0;
}

static void tell_seat(struct scope *s, const struct cli_ceremony *m, const char *operation, const struct control_seat *seat)
{
	cli_progress(m->c, "    %s: %u of %s", operation, seat->count == 0 ? control_register_quorum(m->r) : seat->count,
		     who_can(s, m, seat));
}

static void tell_seats(struct scope *s, const struct cli_ceremony *m, const struct cli_ceremony_row *row)
{
	size_t seats = opens_only(row) ? 1 : CONTROL_SEATS_MAX; /* the others come with their shares */
	for (size_t i = 0; i < seats && row->operation->seat[i].roles != 0; i++)
		tell_seat(s, m, row->operation->name, &row->operation->seat[i]);
	if (row->late != NULL)
		tell_seat(s, m, row->operation->name, row->late);
}

static bool is_first_of_its_kind(const struct cli_ceremony *m, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (m->row[k].operation == m->row[i].operation)
			return false;
	return true;
}

static void tell_approvals(struct scope *s, const struct cli_ceremony *m)
{
	struct control_signed *o;
	cli_progress(m->c, "Approvals are needed for %zu operation%s, files in %s:", m->count, m->count == 1 ? "" : "s",
		     m->directory);
	for (size_t i = 0; i < m->count; i++)
		if (cli_op_read(s, m->row[i].path, &o).code == E_OK)
			cli_progress(m->c, "  %s\n      %s", strrchr(m->row[i].path, '/') + 1,
				     control_proposal_words(s, &o->proposal));
	cli_progress(m->c, "  by");
	for (size_t i = 0; i < m->count; i++)
		if (is_first_of_its_kind(m, i))
			tell_seats(s, m, &m->row[i]);
	cli_progress(
		m->c,
		"  on this machine: chancery --home %s op approve %s/*.op --token LABEL --person ID --role ROLE\n"
		"  on another:      copy the .op files; chancery-token approve --token LABEL --person ID --role ROLE --operation "
		"FILE (repeated); put the signed files into %s\n"
		"Waiting. Ctrl-C ends the ceremony; what was carried out stays.",
		m->c->home, m->directory, inbox_of(s, m->directory));
}

static bool has(const struct control_signed *o, span person)
{
	for (size_t i = 0; i < o->count; i++)
		if (span_equal(o->approval[i].person, person))
			return true;
	return false;
}

/* The approvals that count come to the operation's file; one that does not is the whole file's refusal. */
static st merge(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row, const struct control_signed *from)
{
	struct control_signed *o;
	TRY(cli_op_read(s, row->path, &o));
	for (size_t i = 0; i < from->count; i++) {
		if (has(o, from->approval[i].person))
			continue;
		TRY(control_approval_check(s, m->r, from, &from->approval[i], scope_now(s)));
		if (o->count == CONTROL_APPROVALS_MAX)
			return fail(s, E_LIMIT, "an operation has at most %d approvals", CONTROL_APPROVALS_MAX);
		o->approval[o->count++] = from->approval[i];
	}
	return cli_op_write(s, row->path, o);
}

static st take_operation(struct scope *s, void *state, span file)
{
	struct cli_ceremony *m = state;
	struct control_signed *o = scope_new(s, struct control_signed);
	TRY(control_signed_read(s, file, o));
	for (size_t i = 0; i < m->count; i++)
		if (memcmp(m->row[i].hash, o->proposal.hash, sizeof o->proposal.hash) == 0)
			return merge(s, m, &m->row[i], o);
	return fail(s, E_NOTFOUND, "it is none of the operations that wait now");
}

static unsigned counting(struct scope *s, const struct cli_ceremony *m, const struct control_signed *o)
{
	unsigned count = 0;
	for (size_t i = 0; i < o->count; i++)
		count += control_approval_check(s, m->r, o, &o->approval[i], scope_now(s)).code == E_OK;
	scope_clear_error(s);
	return count;
}

static void tell_row(struct scope *s, const struct cli_ceremony *m, struct cli_ceremony_row *row,
		     const struct control_signed *o, unsigned count)
{
	const char *who = "";
	for (size_t i = 0; i < o->count; i++)
		who = scope_printf(s, "%s%s%s", who, i == 0 ? "" : ", ", called(s, m->c, m->r, o->approval[i].person));
	if (count != row->approvals)
		cli_progress(m->c, "  %s: %s%s", strrchr(row->path, '/') + 1, who, row->ready ? ". Complete" : "");
	row->approvals = count;
}

/* Judged as who carries it out will judge it, whenever it has changed. */
static st look_row(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row)
{
	struct control_signed *o;
	TRY(cli_op_read(s, row->path, &o));
	if (scope_now(s) >= o->proposal.expires)
		return fail(s, E_STATE, "%s has expired: begin this again, it is then proposed anew", row->path);
	unsigned count = counting(s, m, o);
	st judged = opens_only(row) ? control_check_opening(s, m->r, o, row->instance, scope_now(s))
				    : control_check(s, m->r, o, row->instance, scope_now(s));
	scope_clear_error(s);
	row->ready = judged.code == E_OK;
	tell_row(s, m, row, o, count);
	return OK;
}

static st look_approvals(struct scope *s, void *state, bool *out_done)
{
	struct cli_ceremony *m = state;
	*out_done = true;
	for (size_t i = 0; i < m->count; i++) {
		if (!m->row[i].ready)
			TRY(look_row(s, m, &m->row[i]));
		*out_done = *out_done && m->row[i].ready;
	}
	return OK;
}

st cli_ceremony_wait_approvals(struct scope *s, struct cli_ceremony *m)
{
	const struct cli_inbox box = {
		.directory = inbox_of(s, m->directory), .state = m, .take = take_operation, .look = look_approvals
	};
	if (m->count == 0)
		return OK;
	if (m->r == NULL)
		TRY(cli_register_open(s, m->c, m->api, NULL, &m->r));
	tell_approvals(s, m);
	return cli_inbox_wait(s, m->c, &box);
}

/* ---- shares ---- */

static void tell_shares_of(struct scope *s, const struct cli_ceremony *m, const struct cli_ceremony_row *row, size_t number)
{
	const char *who = "", *file = row->path;
	for (size_t i = 0; i < row->shares; i++)
		who = scope_printf(s, "%s%s%s", who, i == 0 ? "" : ", ", called(s, m->c, m->r, row->person[i]));
	cli_progress(
		m->c,
		"  %u of %s, each with their own ID:\n    chancery-token share --token LABEL --person ID --operation %s --statement %s "
		"--share %s.ID.share --founding %s --register %s --out %s/ID-%zu.opened",
		row->wanted, who, file, row->statement, file, m->c->conf.founding, cli_path(s, m->c, CLI_CEREMONY_REGISTER),
		inbox_of(s, m->directory), number);
}

static void tell_shares(struct scope *s, const struct cli_ceremony *m)
{
	cli_progress(
		m->c,
		"Shares are needed. A custodian takes these files along, and compares the SHA-256 of the founding document with the "
		"one on paper:");
	for (size_t i = 0; i < m->count; i++)
		if (m->row[i].statement != NULL)
			tell_shares_of(s, m, &m->row[i], i + 1);
	cli_progress(m->c, "Waiting. The opened files may be brought by any medium into %s; nobody but keyd can open them.",
		     inbox_of(s, m->directory));
}

static struct cli_ceremony_row *row_of_share(struct cli_ceremony *m, const struct control_opened_share *share)
{
	for (size_t i = 0; i < m->count; i++)
		if (memcmp(m->row[i].hash, share->proposal, sizeof m->row[i].hash) == 0)
			return &m->row[i];
	return NULL;
}

static st keep_share(struct scope *s, struct cli_ceremony *m, struct cli_ceremony_row *row,
		     const struct control_approval *approval, span file)
{
	const char *path = scope_printf(m->scope, "%s.%.*s.opened", row->path, (int)approval->person.len,
					(const char *)approval->person.data);
	for (size_t i = 0; i < row->opened_count; i++)
		if (strcmp(row->opened[i], path) == 0)
			return OK;
	if (row->opened_count == row->wanted)
		return OK; /* enough */
	TRY(file_replace(s, path, file, 0644));
	row->opened[row->opened_count++] = path;
	cli_progress(m->c, "  %s: share of %s, %zu of %u", strrchr(row->path, '/') + 1, called(s, m->c, m->r, approval->person),
		     row->opened_count, row->wanted);
	return OK;
}

static st take_share(struct scope *s, void *state, span file)
{
	struct cli_ceremony *m = state;
	struct control_opened_share share;
	struct control_approval approval;
	struct control_signed *o;
	span text;
	TRY(control_custodian_file_read(s, file, &share, &approval, &text));
	struct cli_ceremony_row *row = row_of_share(m, &share);
	if (row == NULL)
		return fail(s, E_NOTFOUND, "it is a share for none of the activations that wait now");
	TRY(cli_op_read(s, row->path, &o));
	TRY(control_approval_check(s, m->r, o, &approval, scope_now(s)));
	return keep_share(s, m, row, &approval, file);
}

static st look_shares(struct scope *s, void *state, bool *out_done)
{
	struct cli_ceremony *m = state;
	(void)s;
	*out_done = true;
	for (size_t i = 0; i < m->count; i++)
		*out_done = *out_done && m->row[i].opened_count >= m->row[i].wanted;
	return OK;
}

st cli_ceremony_wait_shares(struct scope *s, struct cli_ceremony *m)
{
	const struct cli_inbox box = {
		.directory = inbox_of(s, m->directory), .state = m, .take = take_share, .look = look_shares
	};
	tell_shares(s, m);
	return cli_inbox_wait(s, m->c, &box);
}

/* ---- founders ---- */

struct founders {
	struct scope *scope; /* what is kept until all have signed */
	const struct cli *c;
	span text;
	struct control_founding *f;
};

static void tell_founders(struct scope *s, const struct founders *w, const char *path)
{
	uint8_t room[DIGEST_MAX];
	const char *directory = scope_printf(s, "%.*s/in", (int)(strrchr(path, '/') - path), path);
	cli_progress(
		w->c,
		"Every founder reads %s and signs it; all of them compare its SHA-256 aloud before they give their PIN:\n  %s",
		path, hex_text(s, digest_of(DIGEST_SHA256, w->text, room)));
	for (size_t i = 0; i < w->f->founders; i++)
		cli_progress(w->c, "  chancery-token found --token LABEL --text %s --person %s > %s/%s.signature", path,
			     w->f->founder[i].id, directory, w->f->founder[i].id);
	cli_progress(w->c,
		     "Waiting for the signatures in %s. Ctrl-C ends this; `chancery --home %s init --continue` goes on here.",
		     directory, w->c->home);
}

static st take_signature(struct scope *s, void *state, span file)
{
	struct founders *w = state;
	span line = cli_line_value(file, "signature");
	for (size_t i = 0; i < w->f->founders; i++) {
		struct control_founder founder = w->f->founder[i];
		span start = span_str(scope_printf(s, "%s ", founder.id));
		if (line.len <= start.len || !span_equal(span_first(line, start.len), start))
			continue;
		TRY(base64_parse(s, span_from(line, start.len), &founder.signature));
		TRY(control_founder_verify(s, w->text, &founder));
		w->f->founder[i].signature = scope_copy(w->scope, founder.signature);
		cli_progress(w->c, "  %s has signed", founder.id);
		return OK;
	}
	return fail(s, E_INPUT,
		    "it is no founder's signature: a line \"signature: ID BASE64\", as chancery-token found prints it");
}

static st look_founders(struct scope *s, void *state, bool *out_done)
{
	struct founders *w = state;
	(void)s;
	*out_done = true;
	for (size_t i = 0; i < w->f->founders; i++)
		*out_done = *out_done && w->f->founder[i].signature.len > 0;
	return OK;
}

st cli_ceremony_wait_founders(struct scope *s, const struct cli *c, const char *text_path, struct control_founding *f)
{
	struct founders w = { .scope = s, .c = c, .f = f };
	TRY(file_read(s, text_path, CONTROL_TEXT_MAX, &w.text));
	const struct cli_inbox box = { .directory = scope_printf(s, "%.*s/in", (int)(strrchr(text_path, '/') - text_path),
								 text_path),
				       .state = &w,
				       .take = take_signature,
				       .look = look_founders };
	tell_founders(s, &w, text_path);
	return cli_inbox_wait(s, c, &box);
}
