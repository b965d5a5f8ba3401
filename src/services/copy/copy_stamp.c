/* Time-stamps over checkpoints: with them who has nothing but this place knows when its records were there at the latest. */
#include "copy.h"

static st check_note(struct scope *s, const struct copy *c, const struct audit_checkpoint *stamped, span note)
{
	struct audit_log *log;
	TRY(audit_log_open(s, c->conf->log, &log));
	st checked = stamp_note_check(s, log, c->log_key, c->log_keys, stamped->size, note);
	audit_log_close(log);
	return checked;
}

st copy_keep_stamp(struct scope *s, struct copy *c, const struct copy_stamped *stamped)
{
	struct audit_checkpoint checkpoint;
	int64_t ignored_time;
	TRY(audit_checkpoint_open(s, stamped->note, c->log_key, c->log_keys, &checkpoint));
	if (checkpoint.size > c->head.size)
		return fail(s, E_STATE,
			    "the stamped checkpoint is of %llu records, and %llu are cosigned here: it comes after them",
			    (unsigned long long)checkpoint.size, (unsigned long long)c->head.size);
	TRY(check_note(s, c, &checkpoint, stamped->note));
	//= rfc3161#2.2 a token is verified before anybody relies on it
	if (c->trust != NULL)
		TRY(fail_context(s, stamp_verify(s, c->trust, stamped->note, stamped->token, &ignored_time),
				 "the time-stamp of %llu records", (unsigned long long)checkpoint.size));
	st put = stamp_put(s, c->conf->log, checkpoint.size, stamped->note, stamped->token);
	if (put.code != E_CONFLICT)
		return put;
	scope_clear_error(s);
	return OK;
}
