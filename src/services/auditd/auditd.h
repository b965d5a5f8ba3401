/*
 * auditd.h - the parts of auditd put together: configuration, what they share, and who does what.
 *
 * One thread reads the records of all connections (auditd_socket) and hands them to the tail (auditd_tail), which makes them durable and
 * numbers them. Another (auditd_sign) turns the tail into bundles and tiles (auditd_tree) and has the log-zone keyd sign checkpoints. Another
 * (auditd_stamp) has them time-stamped; nobody waits for it.
 */
#pragma once
#include "auditd_tail.h"
#include "auditd_tree.h"
#include "conf.h"
#include "key.h"
#include "metrics.h"

/* A second place of the log. */
struct auditd_copy_conf {
	const char *label;
	const char *url, *tls_certificate, *tls_key, *tls_ca, *cosigner;
	int64_t interval, alarm_age;
};

struct auditd_conf {
	const char *log, *socket, *group, *keyd, *key, *outgoing_key, *origin;
	int64_t checkpoint_interval, checkpoint_max_age, max_connections;
	const char *stamp_url, *stamp_tls_ca, *stamp_anchor;
	int64_t stamp_interval, stamp_alarm_age, stamp_age_limit;
	struct conf_list founding_journal, writer;
	const char *publish;
	bool publish_entries;
	const char *founding, *founding_hash;
	struct conf_group copies; /* of struct auditd_copy_conf */
};

struct writers;
struct imported;
struct signer;
struct stamper;
struct copiers;
struct publisher;
struct purger;

struct auditd {
	const struct auditd_conf *conf;
	int directory_lock;
	struct audit_log *log; /* the signer's, once it runs */
	struct indexed *indexed;
	struct tail *tail;
	struct writers *writers; /* read by connections while a reload puts a newer list there */
	struct imported *imported;
	struct signer *signer;
	struct stamper *stamper; /* NULL: no authority is configured */
	struct copiers *copiers;
	struct publisher *publisher; /* NULL: nowhere */
	struct purger *purger;       /* NULL: there is no founding document, and nothing is ever removed */
	struct wire_server *server;
	int64_t started; /* the process */
	_Atomic uint64_t appended;
	_Atomic uint64_t refused[CODE_COUNT];
};

/* ---- auditd_sign ---- */
/* The newest checkpoint there is, verified against the tiles (not its signature: the key is keyd's). Size 0 when there is none. */
st signer_new(struct scope *s, const struct auditd_conf *conf, struct audit_log *log, struct signer **out);
uint64_t signer_size(struct signer *g);
/* Interval and age of checkpoints as this configuration has them, from the next round on. */
void signer_reload(struct signer *g, const struct auditd_conf *conf);
/* Go on from the tail that was opened. */
void signer_start(struct signer *g, struct auditd *a, struct tail *tail, struct tree *tree, struct indexed *indexed);
/* A last round, then ends its thread. */
void signer_stop(struct signer *g);
void signer_free(struct signer *g);
/* The newest checkpoint into `out`, when it covers another size than `known`; returns its size. */
uint64_t signer_checkpoint(struct signer *g, uint64_t known, struct buf *out, int64_t *out_time);
/* E_UNAVAILABLE when checkpoints are overdue: nothing is issued then. */
st signer_check(struct scope *s, struct signer *g);

/* ---- auditd_stamp ---- */
/* Nothing (NULL) where no authority is configured. */
st stamper_new(struct scope *s, struct auditd *a, struct stamper **out);
/* What the log and its stamps say of records that wait already. Before serving. */
st stamper_resume(struct scope *s, struct stamper *g);
/* Interval and ages as this configuration has them. */
void stamper_reload(struct stamper *g, const struct auditd_conf *conf);
void stamper_start(struct stamper *g);
/* One more attempt for what is not stamped, then ends its thread. While records are still taken: an authority of ours needs its own. */
void stamper_stop(struct stamper *g);
void stamper_free(struct stamper *g);
/* Is this the record of the token that is being asked for now? It calls for no other. */
bool stamper_asked_for(struct stamper *g, const struct tail_record *record);
/* E_UNAVAILABLE when time-stamps are overdue: nothing is issued then. Nothing else asks. */
st stamper_check(struct scope *s, struct stamper *g);
/* The reply to AUDIT_KIND_STAMPS. */
void stamper_write(struct stamper *g, struct wr *reply);

/* Nothing where no authority is configured. */
void stamper_metrics(struct stamper *g, struct metrics_page *page);

/* ---- auditd_copy ---- */
/* One for each [copy]; also after a failure to be freed. */
st copiers_new(struct scope *s, struct auditd *a, struct copiers **out);
void copiers_start(struct copiers *all);
/* What is not copied is when auditd runs again. */
void copiers_stop(struct copiers *all);
void copiers_free(struct copiers *all);
/* The reply to AUDIT_KIND_COPIES. */
void copiers_write(struct copiers *all, struct wr *reply);

void copiers_metrics(struct copiers *all, struct metrics_page *page);

/* ---- auditd_metrics ---- */
/* The page, to be ended and freed by who asked. */
void auditd_metrics(struct auditd *a, struct metrics_page *page);

/* ---- auditd_publish ---- */
/* Nothing (NULL) where no folder is configured; also after a failure to be freed. */
st publisher_new(struct scope *s, struct auditd *a, struct publisher **out);
void publisher_start(struct publisher *g);
void publisher_stop(struct publisher *g);
void publisher_free(struct publisher *g);

/* ---- auditd_purge ---- */
/* Nothing (NULL) where no founding document is configured; also after a failure to be freed. */
st purger_new(struct scope *s, struct auditd *a, struct purger **out);
void purger_start(struct purger *g);
void purger_stop(struct purger *g);
void purger_free(struct purger *g);

/* ---- auditd_parameters ---- */
/* Lines NAME=VALUE, for the record of the start. */
st parameters_text(struct scope *s, const struct auditd_conf *conf, const char **out);
/* What differs from what was recorded last goes on record. */
st parameters_record(struct scope *s, struct auditd *a, const struct auditd_conf *conf);

/* ---- auditd ---- */
/* Who wrote, in envelopes of auditd's own records; no writer has it. */
#define AUDITD_OWN_NAME "auditd"
/* A record of auditd's own. */
st auditd_record(struct scope *s, struct auditd *a, struct audit_event *e);

/* ---- auditd_import ---- */
st imported_open(struct scope *s, const char *dir, struct imported **out);
void imported_close(struct imported *i);
/* Appends records of a journal, each once for ever. */
void imported_append(struct scope *s, struct imported *i, struct tail *tail, const char *by, struct tail_record *record,
		     size_t count);
/* The founding journals become the first leaves. */
st imported_found(struct scope *s, struct imported *i, struct tail *tail, const char *journal);
/* Journals in DIR/incoming, left there by `chancery restore` while auditd was stopped, are taken into the log and removed. */
st imported_incoming(struct scope *s, struct imported *i, struct tail *tail, const char *dir);

/* ---- auditd_socket ---- */
st writers_new(struct scope *s, const struct conf_list *rows, struct writers **out);
/* With the lists it took the place of. */
void writers_free(struct writers *w);
/* From now on this list holds; connections that are open follow it. */
void writers_replace(struct auditd *a, struct writers *fresh);
st socket_serve(struct scope *s, struct auditd *a);
