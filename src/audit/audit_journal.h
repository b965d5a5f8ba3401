/*
 * audit_journal.h - files of groups: auditd's tail segments and the off-line journals. One group is what one sync made durable:
 * it is there whole or not at all, and the next one is only written after it was synced.
 *
 * File: "chanaudi", u16 version, u16 type, u64 index of the first record. Group: "CGRP", u32 count, u64 index of its first record,
 * u32 length of its body, 32 octets check, body. The check is SHA-256 over the 20 octets before it and the RFC 6962 leaf hash of
 * each record. Body: per record u32 length, a zero octet (the prefix under which a leaf is hashed), the record. Behind the last group
 * there may be zeroes, to the end of the file: room that the writer has ready, so that a sync changes no metadata.
 */
#pragma once
#include "audit_tree.h"
#include "buf.h"

enum audit_file_type { AUDIT_FILE_TAIL = 1, AUDIT_FILE_JOURNAL = 2 };
#define AUDIT_FILE_HEAD      20
#define AUDIT_GROUP_HEAD     52
#define AUDIT_GROUP_BODY_MAX (8u << 20)

/* ---- building a group: start from zeroes; begin again as often as wanted ---- */
struct audit_group {
	struct buf bytes;  /* the group, head included */
	struct buf hashes; /* its leaf hashes */
	uint64_t first;
	uint32_t count;
	size_t begun; /* where the record that is being written begins */
};
void audit_group_begin(struct audit_group *g, uint64_t first);
/* Room left for one more record of `len` bytes? */
bool audit_group_fits(const struct audit_group *g, size_t len);
/* A record is what is appended to g->bytes between these two; the hash of its leaf is returned. */
void audit_group_open(struct audit_group *g);
struct audit_hash audit_group_close(struct audit_group *g);
/* Forget the record that was opened. */
void audit_group_abandon(struct audit_group *g);
/* Fills in the head: g->bytes is what goes to the file. */
void audit_group_end(struct audit_group *g);
void audit_group_free(struct audit_group *g);
#define AUTO_GROUP __attribute__((cleanup(audit_group_free))) struct audit_group

void audit_file_head(enum audit_file_type type, uint64_t first, uint8_t out[AUDIT_FILE_HEAD]);

/* ---- reading ---- */
struct audit_reader {
	int fd;           /* borrowed */
	uint64_t first;   /* index of the first record of the file */
	uint64_t offset;  /* behind the last good group */
	uint64_t next;    /* index of the next record */
	struct buf group; /* the body of the group that was read last */
	uint32_t count;   /* its records */
	uint64_t group_first;
};
enum audit_read_outcome {
	AUDIT_READ_GROUP, /* one more group, whole and checked */
	AUDIT_READ_END,   /* the file ends behind the last group, or has zeroes only */
	AUDIT_READ_TORN,  /* what follows is not a group: the writer died before its sync, or the file was damaged */
};
/* E_INPUT when the head is not that of such a file. */
st audit_reader_open(struct scope *s, int fd, enum audit_file_type type, struct audit_reader *out);
void audit_reader_free(struct audit_reader *r);
#define AUTO_READER __attribute__((cleanup(audit_reader_free))) struct audit_reader
st audit_reader_next(struct scope *s, struct audit_reader *r, enum audit_read_outcome *out);
/* Walks the records of the group read last: `at` starts as 0; false at the end. `out_offset`: where the record lies in the file. */
bool audit_reader_record(const struct audit_reader *r, size_t *at, span *out_record, uint64_t *out_offset);
/* After AUDIT_READ_TORN: E_STATE when a good later group lies behind the damage. Then what is damaged was acknowledged, and must
 * not be dropped: a group is only written after the one before it was synced. */
st audit_reader_check_torn(struct scope *s, const struct audit_reader *r);
