/*
 * auditd_frame.h - the bodies of append and import (audit_protocol.h), apart from the socket they come over: records read, checked
 * and answered.
 */
#pragma once
#include "audit.h"
#include "auditd_tail.h"

/* The records of a frame; their spans point into the body. E_INPUT unless it has 1 to AUDIT_BATCH_MAX of them, and nothing else. */
st frame_records_read(struct scope *s, struct rd *body, struct tail_record **out, size_t *out_count);
/* E_INPUT unless this is a record of the catalogue that carries the id of its frame and says which component wrote it. */
st frame_record_check(struct scope *s, struct tail_record *r);
/* The reply's head: what became of each record. */
void frame_outcomes_write(struct wr *reply, const struct tail_record *record, size_t count);
