/*
 * audit_protocol.h - what goes over auditd's socket (bodies of wire frames). Both ends read and write it by hand; this is the map.
 *
 * append   request: u16 count, then per record: 16 octets id, u32 length, record.
 *          reply: u16 count, then per record u16 code: 0 with u64 index (AUDIT_INDEX_KNOWN in it: it was there already, as it was
 *          offered then), or another with u32 length, message.
 *          then u64 leaves in the log; u32 length, the newest checkpoint when it is not the one this connection was told last, else 0.
 * read     request: u64 from, u32 max. Reply: u64 leaves in the log, u32 count, then per leaf u32 length, leaf.
 * status   reply: u64 leaves in the log, u64 leaves under the newest checkpoint, i64 time of that checkpoint (0: none yet), i64
 *          microseconds that the oldest leaf not under it has waited, u32 length, the newest checkpoint.
 * control  the records of class control: request u64 how many of them to pass over, u32 max. Reply: u64 how many there are, u32 count,
 *          then per leaf u64 index, u32 length, leaf.
 * consistency  request: u64 size of an older tree. Reply: u32 length, the newest checkpoint (empty: there is none yet); u32 length, the
 *          proof that its tree extends the older one, hashes one after the other (empty also when the older one is larger).
 * stamps   reply: u8 condition (audit_stamp_condition); u64 leaves under the newest time-stamped checkpoint, i64 the time in its token (0:
 *          none yet), i64 microseconds that the oldest leaf not under one has waited, i64 microseconds at which issuance stops, u32 length,
 *          why the last attempt failed (empty: it did not).
 * copies   reply: u16 count, then per copy: u32 length, its name; u64 leaves under the checkpoint it has cosigned, i64 microseconds that it
 *          has been behind (0: it is not), u8 1 when that is alarmed, u32 length, why the last attempt failed (empty: it did not).
 * metrics  reply: text, metrics in the Prometheus format; for whoever may connect.
 * import   as append, for records of an off-line journal; only for administrators.
 */
#pragma once
#include "audit_record.h"
#include "wire.h"

enum audit_kind {
	AUDIT_KIND_APPEND = 1,
	AUDIT_KIND_READ = 2,
	AUDIT_KIND_STATUS = 3,
	AUDIT_KIND_IMPORT = 4,
	AUDIT_KIND_CONTROL = 5,
	AUDIT_KIND_CONSISTENCY = 6,
	AUDIT_KIND_STAMPS = 7,
	AUDIT_KIND_COPIES = 8,
	AUDIT_KIND_METRICS = 9
};
#define AUDIT_ID_LEN      16
#define AUDIT_INDEX_KNOWN (UINT64_C(1) << 63)
/* What one leaf, its length and the numbers around it may take of a reply. */
#define AUDIT_READ_ROOM (WIRE_BODY_MAX - 64)
