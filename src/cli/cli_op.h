/* cli_op.h - the parts of `chancery op`. */
#pragma once
#include "cli_register.h"

struct key_client;

/* A signed operation, or a proposal alone; what it points to is in the scope. */
st cli_op_read(struct scope *s, const char *path, struct control_signed **out);
st cli_op_write(struct scope *s, const char *path, const struct control_signed *o);
/* cli_op_propose.c */
#define CLI_OP_PROPOSE_OPTIONS 56
extern const struct cli_option cli_op_propose_options[CLI_OP_PROPOSE_OPTIONS];
st cli_op_propose(struct scope *s, struct cli *c);
/* A proposal whose operation and parameters are there, with everything else: options --by, --hours, --instance and --nonce. */
st cli_op_complete(struct scope *s, const struct cli *c, struct cli_api *api, const struct control_register *r,
		   struct control_signed *o);
st cli_op_take_nonce(struct scope *s, const char *hex, struct control_proposal *p);
/* The management CA's CRL, when the register names that CA. With one older than 24 hours: said in the proposal where that may be, else
 * E_STATE with what comes first. Instance and parameters are there. */
st cli_op_take_crl(struct scope *s, struct cli_api *api, const struct control_register *r, struct control_signed *o);
/* E_NOTFOUND with the nearest name. */
st cli_op_named(struct scope *s, const char *name, const struct control_operation **out);
/* cli_op_keyd.c: what a keyd of this installation carries out */
/* The keyd that is this instance. */
st cli_op_keyd_open(struct scope *s, const struct cli *c, span instance, struct key_client **out);
/* The approval of a custodian's file goes to the operation; `out_text` is the share in it. */
st cli_op_take_custodian(struct scope *s, const char *path, struct control_signed *o, span *out_text);
/* A nonce of the instance of the proposal. E_NOTFOUND: it has no such group or key, with the nearest name; E_CONFLICT: it has what is to be made. */
st cli_op_keyd_nonce(struct scope *s, const struct cli *c, struct control_proposal *p);
st cli_op_open(struct scope *s, struct cli *c);
/* With the files that custodians have written. */
st cli_op_keyd_execute(struct scope *s, struct cli *c, struct control_signed *o);
/* cli_op_show.c */
st cli_op_show(struct scope *s, struct cli *c);
st cli_op_table(struct scope *s, struct cli *c);
st cli_op_list(struct scope *s, struct cli *c);
/* cli_op_verify.c */
st cli_op_verify(struct scope *s, struct cli *c);
/* "2 of: PKI Manager or PKI Administrator" */
const char *cli_op_seat_text(struct scope *s, const struct control_seat *seat, unsigned quorum);
