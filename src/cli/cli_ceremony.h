/*
 * cli_ceremony.h - a key ceremony as the tool leads it: it proposes the operations, as files; people approve them with their own tokens, here or
 * elsewhere, and bring the files back; what is complete goes to who carries it out. In a test installation scripted persons do their part by
 * themselves (cli_rehearsal.h). Nothing here has any right: who carries an operation out verifies all of it.
 *
 *   ceremony/NN-operation-about.op   what waits for approvals
 *   ceremony/in/                     whatever people bring: signed operations, signatures, opened shares
 *   ceremony/done/                   what was carried out
 *   ceremony/left/                   what an earlier ceremony left: proposed, not carried out, and worth nothing by now
 */
#pragma once
#include "cli_cast.h"
#include "cli_op.h"
#include "key.h"

#define CLI_CEREMONY_ROWS_MAX 128
#define CLI_FOUNDING_DECISION "d-founding"

/* An operation that is proposed and not carried out. */
struct cli_ceremony_row {
	const char *path;
	const struct control_operation *operation;
	const struct control_seat *late;   /* one person more, where the management CA's CRL is old; NULL */
	const char *instance, *parameters; /* as proposed, to find it again */
	uint8_t hash[CONTROL_HASH_LEN];
	bool ready;         /* its quorum is there; of an activation, of those who open */
	unsigned approvals; /* as last told */
	/* an activation that is open */
	const char *statement;
	unsigned wanted;                   /* shares */
	const char *share[KEY_SHARES_MAX]; /* files for the custodians */
	size_t shares;
	const char *opened[KEY_SHARES_MAX]; /* files of theirs */
	span person[KEY_SHARES_MAX];        /* whose */
	size_t opened_count;
};
struct cli_ceremony {
	struct scope *scope; /* what is kept until the end */
	const struct cli *c;
	struct cli_api *api; /* the ca that has the register */
	const char *by;      /* who leads it: proposes */
	const char *decision;
	unsigned threshold; /* custodians of the groups that are created in it */
	bool scripted;
	const char *directory;
	int lock; /* one ceremony at a time in a directory */
	struct control_register *r;
	struct cli_ceremony_row row[CLI_CEREMONY_ROWS_MAX];
	size_t count;
	unsigned number; /* of the next file */
};

/* Of this installation, one at a time (E_STATE). Without scripted persons --by says who leads it: E_INPUT when a proposal is to be made and nobody
 * does. */
st cli_ceremony_open(struct scope *s, const struct cli *c, struct cli_api *api, struct cli_ceremony **out);
void cli_ceremony_close(struct cli_ceremony *m);
typedef struct cli_ceremony cli_ceremony;
DEFINE_AUTO(cli_ceremony, cli_ceremony_close)
/* For commands that have people do something together. */
#define CLI_CEREMONY_BY                                                                                                        \
	{                                                                                                                      \
		.name = "by", .value = "PERSON", .help = "where people approve: who leads it, p1, as the register names you"   \
	}
#define CLI_CEREMONY_OPTIONS                                                                                                   \
	CLI_CEREMONY_BY,                                                                                                       \
	{                                                                                                                      \
		.name = "decision", .value = "ID",                                                                             \
		.help = "where people approve: the decision of the Policy Management Authority that this carries out"          \
	}
/* Does this installation have critical operations done by people? */
bool cli_ceremony_here(const struct cli *c);

/* Proposes an operation, to be approved together with others. Parameters are name and value in turn, NULL at the end. One that was proposed so
 * before is not proposed again. */
st cli_ceremony_plan(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
		     const char *const *parameters);
/* Waits until all that is proposed has its approvals. */
st cli_ceremony_approve(struct scope *s, struct cli_ceremony *m);
/* Carries it out: proposed and approved now unless it was before. */
st cli_ceremony_do(struct scope *s, struct cli_ceremony *m, const char *instance, const char *operation,
		   const char *const *parameters);
/* All that is proposed and approved, in the order in which it was proposed. */
st cli_ceremony_carry_out_all(struct scope *s, struct cli_ceremony *m);
struct cli_ceremony_group {
	const char *zone, *name;
};
/* The locked ones among these key groups of keyds that run: opened, shares brought, activated. The last has no name. */
st cli_ceremony_activate(struct scope *s, struct cli_ceremony *m, const struct cli_ceremony_group *groups);
/* The register as it is, into the file that off-line keyds read, and for custodians. */
st cli_ceremony_export(struct scope *s, struct cli_ceremony *m);
#define CLI_CEREMONY_REGISTER "state/register"

/* The founding document: text, signatures of the founders of the cast, SHA-256 in hexadecimal. What is there already is used. */
struct cli_ceremony_instance {
	const char *name;
	span spki;
};
st cli_ceremony_found(struct scope *s, const struct cli *c, const struct cli_cast *cast, const char *provider,
		      const struct cli_ceremony_instance *instance, size_t count, const char **out_hash);
/* Persons of the cast that are not on the register are enrolled and given their roles. */
st cli_ceremony_staff(struct scope *s, struct cli_ceremony *m, const struct cli_cast *cast);

/* cli_ceremony_wait.c: people do their part. */
st cli_ceremony_wait_approvals(struct scope *s, struct cli_ceremony *m);
st cli_ceremony_wait_shares(struct scope *s, struct cli_ceremony *m);
/* The files ID.signature of all founders over the text, in the ceremony's directory. */
st cli_ceremony_wait_founders(struct scope *s, const struct cli *c, const char *text_path, struct control_founding *f);
