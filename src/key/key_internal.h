/*
 * key_internal.h - shared between the files of the client.
 */
#pragma once
#include "key.h"

/* Asked once: what is lost on the way may have been done, and is not asked for a second time. */
st key_call_once(struct scope *s, struct key_client *c, uint16_t kind, const struct wr *body, span *out_reply);
