/* What auditd answers to a request for metrics; nothing of the log is read for it. */
#include "auditd.h"
#include <sys/statvfs.h>

static void log_size(struct metrics_page *page, struct auditd *a)
{
	static const struct metric leaves = { "chancery_auditd_leaves", METRIC_GAUGE, "Records acknowledged." };
	static const struct metric covered = { "chancery_auditd_checkpoint_leaves", METRIC_GAUGE,
					       "Records under the newest checkpoint." };
	static const struct metric at = { "chancery_auditd_checkpoint_timestamp_seconds", METRIC_GAUGE,
					  "Time of the newest checkpoint, in seconds since 1970; 0: there is none yet." };
	static const struct metric waiting = { "chancery_auditd_checkpoint_waiting_seconds", METRIC_GAUGE,
					       "How long the oldest record has waited that is under no checkpoint." };
	AUTO_BUF note;
	int64_t time;
	buf_init(&note, AUDIT_NOTE_MAX);
	uint64_t size = signer_checkpoint(a->signer, UINT64_MAX, &note, &time);
	metrics_one(page, &leaves, (int64_t)tail_size(a->tail));
	metrics_one(page, &covered, (int64_t)size);
	metrics_one_seconds(page, &at, time);
	metrics_one_seconds(page, &waiting, tail_waiting(a->tail));
}

static void appends(struct metrics_page *page, struct auditd *a)
{
	static const struct metric taken = { "chancery_auditd_appended_total", METRIC_COUNTER,
					     "Records taken from writers, those among them that were there already." };
	static const struct metric refused = { "chancery_auditd_refused_total", METRIC_COUNTER, "Records refused, by why." };
	static const struct metric groups = { "chancery_auditd_group_duration_seconds", METRIC_HISTOGRAM,
					      "What the disk takes for a group of records, its sync included." };
	metrics_one(page, &taken, (int64_t)atomic_load(&a->appended));
	metrics_family(page, &refused);
	for (enum code code = E_OK + 1; code < CODE_COUNT; code++) {
		const struct metric_label label = { "code", code_row(code)->name };
		metrics_value(page, &refused, &label, 1, (int64_t)atomic_load(&a->refused[code]));
	}
	metrics_family(page, &groups);
	metrics_histogram(page, &groups, NULL, 0, tail_groups(a->tail));
}

static void disk(struct metrics_page *page, const struct auditd *a)
{
	static const struct metric free_bytes = { "chancery_auditd_disk_free_bytes", METRIC_GAUGE,
						  "Room on the file system of the log." };
	struct statvfs room;
	if (statvfs(a->conf->log, &room) == 0)
		metrics_one(page, &free_bytes, (int64_t)(room.f_bavail * room.f_frsize));
}

void auditd_metrics(struct auditd *a, struct metrics_page *page)
{
	metrics_page_begin(page, "auditd", a->started);
	log_size(page, a);
	appends(page, a);
	disk(page, a);
	stamper_metrics(a->stamper, page);
	copiers_metrics(a->copiers, page);
}
