#include "audit_retention.h"
#include "moment.h"

#define YEAR (INT64_C(31556952) * MOMENT_SECOND) /* 365.2425 days */

static const struct keep_row {
	const char *name;
	int64_t time; /* 0: for ever */
} keeps[AUDIT_KEEP_COUNT] = {
	[AUDIT_KEEP_FOREVER] = { "forever", 0 },
	//= tsps#5.4.3 system logs are kept 18 months
	[AUDIT_KEEP_SYSTEM] = { "system", YEAR * 3 / 2 },
	//= tsps#5.5.2 7 years after the certificate ceased to be valid
	[AUDIT_KEEP_CERTIFICATE] = { "certificate", 7 * YEAR },
	[AUDIT_KEEP_REVOCATION] = { "revocation", 7 * YEAR },
	[AUDIT_KEEP_CRL] = { "crl", 7 * YEAR },
	[AUDIT_KEEP_STAMP] = { "time-stamp", YEAR }, /* for each that the provider states */
};

/* What differs from its class. The beginnings and ends of the log, and what keys and counts are judged by, stay. */
static const struct event_row {
	enum audit_code code;
	enum audit_keep keep;
	bool personal;
} rows[] = {
	{ AUDIT_PROVIDER_FOUNDED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_STARTED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_STOPPED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_CHANGED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_KEY_CHANGED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_PURGED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_LOG_PURGE_REFUSED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_OCSP_SIGNED, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_OCSP_GAP, AUDIT_KEEP_FOREVER, false },
	{ AUDIT_SIGN_CERTIFICATE, AUDIT_KEEP_CERTIFICATE, true },
	{ AUDIT_SIGN_REQUEST, AUDIT_KEEP_FOREVER, true },
	{ AUDIT_CERTIFICATE_ISSUED, AUDIT_KEEP_CERTIFICATE, true },
	{ AUDIT_CERTIFICATE_REFUSED, AUDIT_KEEP_CERTIFICATE, true },
	{ AUDIT_CERTIFICATE_REVOKED, AUDIT_KEEP_REVOCATION, false },
	{ AUDIT_CERTIFICATE_ABANDONED, AUDIT_KEEP_REVOCATION, false },
	{ AUDIT_REVOCATION_REQUESTED, AUDIT_KEEP_REVOCATION, true },
	{ AUDIT_REVOCATION_REFUSED, AUDIT_KEEP_REVOCATION, true },
	{ AUDIT_SIGN_CRL, AUDIT_KEEP_CRL, false },
	{ AUDIT_CRL_ISSUED, AUDIT_KEEP_CRL, false },
	{ AUDIT_SIGN_TIME_STAMP, AUDIT_KEEP_STAMP, false },
};

static const struct event_row *row_of(enum audit_code code)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].code == code)
			return &rows[i];
	return NULL;
}

enum audit_keep audit_keep_of(enum audit_code code)
{
	const struct event_row *row = row_of(code);
	if (row != NULL)
		return row->keep;
	return audit_row(code)->class == AUDIT_SYSTEM ? AUDIT_KEEP_SYSTEM : AUDIT_KEEP_FOREVER;
}

const char *audit_keep_name(enum audit_keep keep)
{
	return keeps[keep].name;
}

int64_t audit_keep_until(const struct audit_keeping *own, enum audit_keep keep, int64_t from)
{
	int64_t time = keep == AUDIT_KEEP_STAMP ? (int64_t)own->stamps * keeps[keep].time : keeps[keep].time;
	return time == 0 || from > INT64_MAX - time ? INT64_MAX : from + time;
}

st audit_kept_until(struct scope *s, const struct audit_keeping *own, const struct audit_envelope *e, int64_t *out)
{
	int64_t from = audit_envelope_time(e), ends = 0;
	enum audit_keep keep = audit_keep_of(e->record.code);
	if (keep == AUDIT_KEEP_CERTIFICATE && audit_field_of(&e->record, "not_after") != NULL)
		TRY(audit_field_time(s, &e->record, "not_after", &ends));
	if (ends > from)
		from = ends;
	*out = audit_keep_until(own, keep, from);
	return OK;
}

//= gdpr#17 what is about a person and not about how the system is judged
bool audit_is_personal(enum audit_code code)
{
	const struct event_row *row = row_of(code);
	return (row != NULL && row->personal) || audit_row(code)->class == AUDIT_MANUAL || code == AUDIT_ACCESS_GRANTED ||
	       code == AUDIT_ACCESS_REFUSED || code == AUDIT_HOST_LOGIN || code == AUDIT_HOST_LOGOUT;
}
