/*
 * control_execution.h - what a keyd signs with its identity key before an operation that it carries out goes on record: that this is its
 * operation of this number. Whoever may write records can write any number; only this says whose number it is (docs/decisions/0049).
 *
 *   chancery execution 1
 *   instance: keyd/ca
 *   sequence: 5
 *   proposal: SHA-256 of the proposal, hexadecimal
 */
#pragma once
#include "control_register.h"

struct control_execution {
	span instance;
	uint64_t sequence;
	uint8_t proposal[CONTROL_HASH_LEN];
	span signature;
};
/* The text that is signed. */
st control_execution_text(struct scope *s, const struct control_execution *e, struct buf *out);
/* E_DENIED: the register has no such instance, or it is retired; E_CRYPTO: it is not signed with that instance's key. */
st control_execution_check(struct scope *s, const struct control_register *r, const struct control_execution *e);
