/*
 * token.h - chancery-token: what a person does with a token of their own. It shows what is asked for, asks for the PIN, and signs or
 * opens; it reads and writes files and knows no network.
 *
 * What a person must read before giving the PIN goes to standard error, results go to standard output.
 */
#pragma once
#include "buf.h"
#include "hsm.h"
#include "terminal.h"

#define TOKEN_SIGN  "sign"  /* label of the key that approves */
#define TOKEN_SHARE "share" /* label of the key that shares are sealed to */

struct token_option {
	const char *name;  /* without the dashes */
	const char *value; /* what the help calls its value; NULL: a flag */
	bool needed;
	const char *help;
	bool repeated; /* may be given more than once */
};
struct token;
struct token_command {
	const char *name;
	const char *summary;
	const char *teaches; /* paragraphs of the help */
	const char *example;
	const struct token_option *options; /* beside those of every command */
	size_t option_count;
	st (*run)(struct scope *s, struct token *t);
};
#define TOKEN_OPTIONS(table) .options = (table), .option_count = sizeof(table) / sizeof((table)[0])
extern const struct token_command *const token_commands[]; /* NULL-terminated */
extern const struct token_option token_common[];           /* the options of every command */
extern const size_t token_common_count;

/* What must not leave locked memory. */
struct token_secret {
	char pin[TERMINAL_ROOM];
	size_t pin_len;
};

/* One run. */
#define TOKEN_OPERATIONS_MAX 32 /* approved with one PIN */
#define TOKEN_VALUES_MAX     (TOKEN_OPERATIONS_MAX + 8)
struct token {
	const struct token_command *command;
	bool json, help, version, man;
	struct {
		const struct token_option *option;
		const char *value;
	} given[TOKEN_VALUES_MAX];
	size_t given_count;
	struct token_secret *secret;
	struct hsm *module;
	struct hsm_token *token;
	struct hsm_key *sign, *share;
};

/* ---- the command line ---- */
st token_parse(struct scope *s, struct token *t, int argc, char **argv);
const char *token_get(const struct token *t, const char *name);              /* NULL: not given */
const char *token_get_at(const struct token *t, const char *name, size_t i); /* NULL: not given so often */
void token_help(const struct token *t, struct buf *out);
void token_man(struct scope *s, struct buf *out);

/* ---- the token ---- */
/* Load the module and see that the token is there, before anybody is asked for a PIN. */
st token_load(struct scope *s, struct token *t);
/* Ask for the PIN, or take it from --pin-fd: giving it is the consent to what was shown. Then open the token and find both keys. */
st token_open(struct scope *s, struct token *t, const char *consent);
/* Close and wipe everything. */
void token_close(struct token *t);
/* With the key that approves; verified with its public half before it is handed out. */
st token_sign(struct scope *s, struct token *t, span text, span *out_signature);

/* ---- showing ---- */
/* On standard error. */
void token_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A text as it is signed, between two lines that are no part of it. */
void token_show_text(span text);
/* The result: lines "name: value", or a JSON object with --json. */
struct token_member {
	const char *name, *value;
};
/* A JSON object on standard error: a failure, for scripts. */
void token_show_members(const struct token_member *members, size_t count);
st token_print(struct scope *s, const struct token *t, const struct token_member *members, size_t count);

/* ---- shared by the commands ---- */
#define TOKEN_FILE_MAX 65536
/* A file that the person named with this option. */
st token_read(struct scope *s, const struct token *t, const char *option, size_t max, span *out);
/* The person of --person. */
st token_person(struct scope *s, const struct token *t, span *out);
struct control_proposal;
struct control_signed;
struct control_approval;
/* Words, terms and whole text of what is about to be approved. */
st token_show_approval(struct scope *s, const struct control_proposal *p, const struct control_approval *a);
/* Is it a time to approve this? E_STATE when it has expired or is of the future. */
st token_check_time(struct scope *s, const struct control_proposal *p, int64_t now);
/* Does this approval count: its role takes a seat of the operation, and its person has not approved it yet? E_DENIED, E_CONFLICT. */
st token_check_seat(struct scope *s, const struct control_signed *o, const struct control_approval *a);
/* Signs the approval into `a`. */
st token_approve(struct scope *s, struct token *t, const struct control_proposal *p, struct control_approval *a);

st token_run_create(struct scope *s, struct token *t);
st token_run_show(struct scope *s, struct token *t);
st token_run_approve(struct scope *s, struct token *t);
st token_run_found(struct scope *s, struct token *t);
st token_run_review(struct scope *s, struct token *t);
st token_run_share(struct scope *s, struct token *t);
