/*
 * audit_client.h - further requests to auditd: its condition, and the import of off-line journals.
 */
#pragma once
#include "audit_protocol.h"

/* What a client was opened with; the other one is NULL. */
struct audit_local;
const char *audit_socket(const struct audit *a);
struct audit_local *audit_journal(const struct audit *a);

struct audit_status {
	uint64_t size;           /* leaves acknowledged */
	uint64_t signed_size;    /* leaves under the newest checkpoint */
	int64_t checkpoint_time; /* 0: none yet */
	int64_t waiting;         /* microseconds that the oldest leaf not under a checkpoint has waited; 0: there is none */
	span checkpoint;         /* the signed note */
};
st audit_status_get(struct scope *s, const char *socket, struct audit_status *out);
enum audit_stamp_condition {
	AUDIT_STAMPS_NONE, /* no authority is configured */
	AUDIT_STAMPS_WELL,
	AUDIT_STAMPS_LATE,    /* alarmed */
	AUDIT_STAMPS_OVERDUE, /* nothing is issued */
	AUDIT_STAMPS_CONDITIONS
};
struct audit_stamps {
	enum audit_stamp_condition condition;
	uint64_t size;       /* leaves under the newest time-stamped checkpoint */
	int64_t gen_time;    /* in its token; 0: none yet */
	int64_t waiting;     /* microseconds that the oldest leaf not under one has waited; records of stamping do not count */
	int64_t limit;       /* at which issuance stops */
	const char *failure; /* of the last attempt; empty */
};
st audit_stamps_get(struct scope *s, const char *socket, struct audit_stamps *out);
#define AUDIT_COPIES_MAX 16
struct audit_copy {
	const char *name;
	uint64_t size;  /* leaves that it has cosigned */
	int64_t behind; /* microseconds since it lacks what is under a checkpoint; 0: it has all */
	bool late;      /* alarmed */
	const char *failure;
};
st audit_copies_get(struct scope *s, const char *socket, struct audit_copy out[AUDIT_COPIES_MAX], size_t *out_count);
/* auditd's page of metrics, in the Prometheus text exposition format; for whoever may connect. */
st audit_metrics(struct scope *s, const char *socket, span *out_text);
/* Brings the records of an off-line journal into the log; those that are there already (by id) are counted, not repeated. */
st audit_import(struct scope *s, const char *socket, const char *journal, uint64_t *out_new, uint64_t *out_known);
