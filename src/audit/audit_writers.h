/*
 * audit_writers.h - the records of each writer without gap: what a verifier that reads a log in its order keeps of the writers' own numbers.
 *
 * A client of auditd numbers its records from 1 on within a run, whose id is random: `"run":"0123456789abcdef","n":17` behind the component. It
 * begins a run when it is opened, and another one when it does not know of every record of a frame that it is in the log under the number that it
 * had; the first record of that one says how far the run before it came for certain: `"after":RUN,"last":N`. A record service.stopped ends its run.
 * So a number that is missing below a later one of its run was acknowledged and is not there, unless the run was given up: then those
 * behind "last" may be there or not.
 */
#pragma once
#include "audit_record.h"

/* Runs that are known at once; the one not seen for longest is forgotten, one that has ended before any other. */
#define AUDIT_RUNS_MAX    4096
#define AUDIT_WRITERS_MAX 64

struct audit_writer {
	char component[AUDIT_NAME_MAX + 1]; /* the last one may stand for all others */
	uint64_t records;
	uint64_t unnumbered; /* of auditd itself, or by a version that did not number */
	uint64_t runs;
	uint64_t ended;   /* runs whose end is stated; the others are at it, were killed, or are of commands */
	uint64_t unclear; /* numbers missing where the writer itself did not know, or its run had been forgotten here */
};

struct audit_writers;
/* `whole`: the log is read from its beginning, so that every run begins with 1. */
struct audit_writers *audit_writers_new(bool whole);
void audit_writers_free(struct audit_writers *w);
/* E_CRYPTO says which records of which writer are missing, or there twice. */
st audit_writers_add(struct scope *s, struct audit_writers *w, const struct audit_record *r);
/* A record whose content was removed: it was somebody's, so it may be the one that is missing of a run. Whether it might be removed is judged
 * elsewhere. */
void audit_writers_removed(struct audit_writers *w);
/* After the last record; the rows belong to `w`. */
const struct audit_writer *audit_writers_end(struct audit_writers *w, size_t *out_count);
