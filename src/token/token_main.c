#include "file.h"
#include "log.h"
#include "sandbox.h"
#include "secret.h"
#include "token.h"
#include <stdio.h>
#include <unistd.h>

int token_main(int argc, char **argv);

/* ---- the commands ---- */

static const struct token_command create = {
	.name = "create",
	.summary = "Make a token of your own: a PIN and two keys",
	.teaches =
		"Initialises a free token of the module, with a PIN that you choose and type twice, and makes two keys on it: one signs "
		"approvals, one opens shares. Neither can leave the token. What it prints are the public halves, for who enrols you. The "
		"officer's PIN is random and thrown away, so that nobody else can set a PIN.",
	.example = "create --module /usr/lib/softhsm/libsofthsm2.so --token alice",
	.run = token_run_create,
};

static const struct token_command show = {
	.name = "show",
	.summary = "Print the token's public keys and their SHA-256",
	.teaches = "The same as create printed: for enrolment, and to compare with what the register says of you.",
	.example = "show --token alice",
	.run = token_run_show,
};

static const struct token_option approve_options[] = {
	{ "proposal", "FILE", false, "the proposal (chancery op propose), when nobody has approved it yet" },
	{ "operation", "FILE", false,
	  "the proposal with the approvals so far, to which yours is added; made when it is not there (default: the proposal's name "
	  "with .operation behind it). Repeated: all of them are shown, and approved with one PIN",
	  true },
	{ "person", "ID", true, "who you are in the register" },
	{ "role", "ROLE", true, "the role in which you approve" },
};
static const struct token_command approve = {
	.name = "approve",
	.summary = "Read a proposal and approve it",
	.teaches =
		"Shows in words what is proposed, by whom and until when, and then the whole text that your token signs. Giving the PIN is "
		"your consent. Whoever carries the operation out verifies your signature, your role and its training against the register, "
		"so approving in a role that you do not hold is for nothing.",
	.example = "approve --token alice --proposal activate.proposal --person p4 --role pki-operator",
	TOKEN_OPTIONS(approve_options),
	.run = token_run_approve,
};

static const struct token_option found_options[] = {
	{ "text", "FILE", true, "the text of the founding document" },
	{ "person", "ID", true, "which founder you are in that text" },
};
static const struct token_command found = {
	.name = "found",
	.summary = "Sign the text of a founding document",
	.teaches =
		"Shows the text from which the register of persons begins, and signs it when it names you as a founder with the keys of "
		"this token. The line that it prints is put behind the text, after a blank line, in the order of the founders.",
	.example = "found --token alice --text founding.txt --person p1",
	TOKEN_OPTIONS(found_options),
	.run = token_run_found,
};

static const struct token_option share_options[] = {
	{ "operation", "FILE", true, "the operation group.activate with the approvals of those who open it" },
	{ "statement", "FILE", true, "the activation statement (chancery op open)" },
	{ "share", "FILE", true, "your share, as it was made with the group and came with the statement" },
	{ "founding", "FILE", true, "the founding document; compare its SHA-256 with your printed one" },
	{ "register", "FILE", false, "the entries of the register since then" },
	{ "person", "ID", true, "who you are in the register" },
	{ "out", "FILE", true, "where your approval and the share go, sealed to the key of the statement" },
};
static const struct token_command share = {
	.name = "share",
	.summary = "Give your share of a key group's activation data, as its custodian",
	.teaches =
		"Verifies by itself, from the founding document on, that the activation statement is signed by the instance that the "
		"proposal names; shows what is to be activated; opens your share on the token, seals it to the key that this instance made "
		"for this one activation, and approves as key-custodian. Who carries the file that it writes learns nothing from it.",
	.example =
		"share --token alice --operation activate.operation --statement activate.statement --share issuing.p4.share --founding "
		"founding --register register --person p4 --out p4.opened",
	TOKEN_OPTIONS(share_options),
	.run = token_run_share,
};

static const struct token_option review_options[] = {
	{ "review", "FILE", true, "the review (chancery audit review), to which your signature is added" },
	{ "report", "FILE", true, "the report that you read: its SHA-256 must be the one in the review" },
	{ "person", "ID", true, "who you are in the register" },
};
static const struct token_command review = {
	.name = "review",
	.summary = "Sign that you reviewed a report of the audit log",
	.teaches =
		"Shows what you conclude, of which log and period, and the whole text that your token signs; the report must be the very file that "
		"the text names. Giving the PIN is your consent. `chancery audit review --signed FILE` has it on record, when the register says that "
		"you are an auditor.",
	.example = "review --token dirk --review october.html.review --report october.html --person p7",
	TOKEN_OPTIONS(review_options),
	.run = token_run_review,
};

const struct token_command *const token_commands[] = { &create, &show, &approve, &found, &share, &review, NULL };

/* ---- main ---- */

static st run(struct scope *s, struct token *t)
{
	void *secret = NULL;
	TRY(sandbox_harden(s));
	TRY(sandbox_enter(s, false));
	TRY(secret_new(s, sizeof *t->secret, &secret));
	t->secret = secret;
	st status = t->command->run(s, t);
	token_close(t);
	return status;
}

static int failed(struct scope *s, const struct token *t, enum code code)
{
	const struct token_member members[] = { { "error", code_row(code)->name }, { "message", s->message } };
	if (!t->json)
		token_show("chancery-token: %s\n", s->message);
	else
		token_show_members(members, 2);
	return code_row(code)->exit_code;
}

static int show_page(struct scope *s, const struct token *t)
{
	AUTO_BUF out;
	buf_init(&out, 0);
	if (t->man)
		token_man(s, &out);
	else
		token_help(t, &out);
	return file_write_all(s, STDOUT_FILENO, buf_span(&out)).code == E_OK ? 0 : code_row(E_IO)->exit_code;
}

int token_main(int argc, char **argv)
{
	AUTO_SCOPE s;
	struct token t = { .command = NULL };
	scope_init(&s, NULL);
	log_init("chancery-token", LOG_LEVEL_NOTICE);
	st status = token_parse(&s, &t, argc, argv);
	if (status.code == E_OK && t.version)
		return printf("chancery-token %s\n", CHANCERY_VERSION) > 0 ? 0 : code_row(E_IO)->exit_code;
	if (status.code == E_OK && (t.help || t.man))
		return show_page(&s, &t);
	if (status.code == E_OK)
		status = run(&s, &t);
	return status.code == E_OK ? 0 : failed(&s, &t, status.code);
}
