/*
 * keyd_left.c - records that auditd was not there to take before the end. keyd of the log zone ends after auditd, which needs it
 * for the last checkpoint, so its own stop is always one of them. They are kept in STATE/left, each as its id and its JSON, and
 * offered at the next start; the time in a record is when it happened.
 */
#include "audit_local.h"
#include "audit_protocol.h"
#include "file.h"
#include "keyd.h"
#include "log.h"
#include <unistd.h>

static char *left_path(struct scope *s, const struct keyd *d)
{
	return scope_printf(s, "%s/left", d->conf->state);
}

static span kept_form(struct scope *s, const struct audit_event *e)
{
	span json = buf_span(&e->json);
	uint8_t *both = scope_alloc(s, AUDIT_ID_LEN + json.len);
	memcpy(both, e->id, AUDIT_ID_LEN);
	memcpy(both + AUDIT_ID_LEN, json.data, json.len);
	return span_of(both, AUDIT_ID_LEN + json.len);
}

st keyd_left_keep(struct scope *s, struct keyd *d, const struct audit_event *event, size_t count)
{
	struct audit_local *left;
	uint64_t first;
	span *form = scope_alloc(s, (count + 1) * sizeof *form);
	for (size_t i = 0; i < count; i++)
		form[i] = kept_form(s, &event[i]);
	TRY(audit_local_open(s, left_path(s, d), &left));
	st kept = audit_local_append(s, left, form, count, &first);
	audit_local_close(left);
	return kept;
}

struct offering {
	struct scope *s;
	struct keyd *d;
	st outcome;
};

static bool offer(void *state, uint64_t index, span form)
{
	struct offering *o = state;
	uint64_t place;
	(void)index;
	if (form.len <= AUDIT_ID_LEN)
		o->outcome = fail(o->s, E_STATE, "a record that was left behind is cut");
	else
		o->outcome = audit_commit_stored(o->s, o->d->audit, form.data, span_from(form, AUDIT_ID_LEN), &place);
	return o->outcome.code == E_OK;
}

st keyd_left_offer(struct scope *s, struct keyd *d)
{
	char *path = left_path(s, d);
	struct audit_local *left;
	uint64_t size;
	struct offering o = { .s = s, .d = d };
	if (!file_exists(path))
		return OK;
	TRY(audit_local_open(s, path, &left));
	st read = audit_local_read(s, left, 0, offer, &o, &size);
	audit_local_close(left);
	TRY(read);
	TRY(o.outcome);
	return unlink(path) == 0 ? OK : fail_errno(s, E_IO, "%s", path);
}
