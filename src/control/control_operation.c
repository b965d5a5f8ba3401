#include "control_operation.h"
#include "log.h"
#include "moment.h"
#include <stdio.h>

#define GOVERNORS (CONTROL_IS(AUTHORITY_MEMBER) | CONTROL_IS(SECURITY_MANAGER) | CONTROL_IS(HR_MANAGER))
#define KEEPERS   (CONTROL_IS(PKI_MANAGER) | CONTROL_IS(PKI_ADMINISTRATOR))
#define OPENERS   (KEEPERS | CONTROL_IS(PKI_OPERATOR))
#define AUTHORITY                                                                                                              \
	{                                                                                                                      \
		{                                                                                                              \
			0, CONTROL_IS(AUTHORITY_MEMBER)                                                                        \
		}                                                                                                              \
	}
#define TWO(mask)                                                                                                              \
	{                                                                                                                      \
		{                                                                                                              \
			2, (mask)                                                                                              \
		}                                                                                                              \
	}

/* The register of persons: whoever holds a copy of it carries these out for himself; the ca puts them on record. */
#define REGISTER .executor = CONTROL_BY_REGISTER, .life = 7 * MOMENT_DAY
#define KEYD     .executor = CONTROL_BY_KEYD, .life = MOMENT_DAY
#define CA       .executor = CONTROL_BY_CA, .life = MOMENT_DAY

static const struct control_operation rows[] = {
	{ .name = "person.enrol",
	  REGISTER,
	  .seat = TWO(GOVERNORS),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "key", CONTROL_TYPE_KEY, CONTROL_ONCE },
			 { "share-key", CONTROL_TYPE_SHARE_KEY, CONTROL_OPTIONAL },
			 { "certificate-serial", CONTROL_TYPE_SERIAL, CONTROL_OPTIONAL },
			 { "identity", CONTROL_TYPE_DIGEST, CONTROL_ONCE },
			 { "screened", CONTROL_TYPE_MOMENT, CONTROL_ONCE },
			 { "trained", CONTROL_TYPE_MOMENT, CONTROL_OPTIONAL } },
	  .words =
		  "Enrol {person} (identity {identity}) as a person who may be given roles: screened {screened}, trained "
		  "{trained}. Approvals are verified with the key {key}, shares are sealed to the key {share-key}; certificate "
		  "{certificate-serial}.",
	  .clause = "practice statement 5.2.1, 5.3.2" },
	{ .name = "person.key",
	  REGISTER,
	  .seat = TWO(GOVERNORS),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "key", CONTROL_TYPE_KEY, CONTROL_ONCE },
			 { "share-key", CONTROL_TYPE_SHARE_KEY, CONTROL_OPTIONAL },
			 { "certificate-serial", CONTROL_TYPE_SERIAL, CONTROL_OPTIONAL },
			 { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words =
		  "Give {person} another token: {reason}. From now on approvals are verified with the key {key} only, shares are sealed to "
		  "the key {share-key}; certificate {certificate-serial}.",
	  .not_by_subject = true,
	  .clause = "practice statement 5.2.3" },
	{ .name = "person.training",
	  REGISTER,
	  .seat = TWO(GOVERNORS),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE }, { "trained", CONTROL_TYPE_MOMENT, CONTROL_ONCE } },
	  .words = "Note that {person} was trained at {trained}. Roles lapse 12 months later.",
	  .not_by_subject = true,
	  .clause = "practice statement 5.3.4" },
	{ .name = "person.leave",
	  REGISTER,
	  .seat = TWO(GOVERNORS | CONTROL_IS(PKI_MANAGER)),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE }, { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words = "End all roles of {person}, and what that person may sign, at once and for good: {reason}.",
	  .clause = "practice statement 5.3.6" },
	{ .name = "decision.take",
	  REGISTER,
	  .seat = AUTHORITY,
	  .parameter = { { "decision", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "title", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "document", CONTROL_TYPE_DIGEST, CONTROL_OPTIONAL } },
	  .words =
		  "Take decision {decision} of the Policy Management Authority: {title}. Its document has the SHA-256 {document}.",
	  .clause = "practice statement 1.5" },
	{ .name = "role.grant",
	  REGISTER,
	  .seat = TWO(GOVERNORS),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "role", CONTROL_TYPE_ROLE, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words = "Grant {person} the role {role}, by decision {decision}.",
	  .not_by_subject = true,
	  .clause = "practice statement 5.2.1, 5.2.4" },
	{ .name = "role.revoke",
	  REGISTER,
	  .seat = TWO(GOVERNORS | CONTROL_IS(PKI_MANAGER)),
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "role", CONTROL_TYPE_ROLE, CONTROL_ONCE },
			 { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words = "Take the role {role} from {person}, at once: {reason}.",
	  .clause = "practice statement 5.2.1, 5.3.6" },
	{ .name = "authority.admit",
	  REGISTER,
	  .seat = AUTHORITY,
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE }, { "quorum", CONTROL_TYPE_NUMBER, CONTROL_ONCE } },
	  .words = "Admit {person} to the Policy Management Authority; {quorum} of its members decide from then on.",
	  .not_by_subject = true,
	  .clause = "practice statement 1.5" },
	{ .name = "authority.dismiss",
	  REGISTER,
	  .seat = AUTHORITY,
	  .parameter = { { "person", CONTROL_TYPE_ID, CONTROL_ONCE }, { "quorum", CONTROL_TYPE_NUMBER, CONTROL_ONCE } },
	  .words = "Dismiss {person} from the Policy Management Authority; {quorum} of its members decide from then on.",
	  .not_by_subject = true,
	  .clause = "practice statement 1.5" },
	{ .name = "management.certificate",
	  REGISTER,
	  .seat = TWO(CONTROL_IS(AUTHORITY_MEMBER) | CONTROL_IS(SECURITY_MANAGER)),
	  .parameter = { { "certificate", CONTROL_TYPE_OCTETS, CONTROL_ONCE },
			 { "crl", CONTROL_TYPE_CRL, CONTROL_ONCE },
			 { "group", CONTROL_TYPE_ID, CONTROL_OPTIONAL },
			 { "holder", CONTROL_TYPE_ID, CONTROL_REPEATED } },
	  .words =
		  "Take this management CA's word on whose certificate is revoked; from then on every proposal needs its CRL: "
		  "{certificate}. Its newest CRL is the one {crl}.[ Its key is in the key group {group} of {holder}: that group "
		  "alone may be activated with a CRL older than 24 hours, by five persons.]",
	  .clause = "practice statement 6.7" },
	{ .name = "instance.enrol",
	  REGISTER,
	  .seat = TWO(CONTROL_IS(AUTHORITY_MEMBER) | CONTROL_IS(SECURITY_MANAGER)),
	  .parameter = { { "name", CONTROL_TYPE_ID, CONTROL_ONCE }, { "key", CONTROL_TYPE_KEY, CONTROL_ONCE } },
	  .words = "Let {name}, which proves itself with the key {key}, carry out operations and receive shares.",
	  .clause = "practice statement 6.2.2" },
	{ .name = "instance.retire",
	  REGISTER,
	  .seat = TWO(CONTROL_IS(AUTHORITY_MEMBER) | CONTROL_IS(SECURITY_MANAGER)),
	  .parameter = { { "name", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words = "Let {name} carry out nothing any more.",
	  .clause = "practice statement 6.2.2" },
	{ .name = "log.purge",
	  REGISTER,
	  .seat = { { 1, CONTROL_IS(SYSTEM_AUDITOR) | CONTROL_IS(COMPLIANCE_OFFICER) | CONTROL_IS(SECURITY_MANAGER) },
		    { 1, CONTROL_IS(AUTHORITY_MEMBER) } },
	  .parameter = { { "log", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "size", CONTROL_TYPE_NUMBER, CONTROL_ONCE },
			 { "root", CONTROL_TYPE_DIGEST, CONTROL_ONCE },
			 { "records", CONTROL_TYPE_RECORDS, CONTROL_ONCE },
			 { "count", CONTROL_TYPE_NUMBER, CONTROL_ONCE },
			 { "kept-until", CONTROL_TYPE_MOMENT, CONTROL_OPTIONAL },
			 { "stamps-kept", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Remove the content of {count} records from the log {log} for good, by decision {decision}: {reason}. Their hashes stay, so "
		  "that the log verifies as before. They are the records {records} of the log that had {size} records and the root {root}.[ "
		  "The time for which such records are kept was over for each of them on {kept-until}.][ Records of time-stamps are kept {stamps-kept} years here.]",
	  .clause = "practice statement 5.4.3, 5.5.2" },

	{ .name = "group.create",
	  KEYD,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "threshold", CONTROL_TYPE_NUMBER, CONTROL_ONCE },
			 { "custodian", CONTROL_TYPE_ID, CONTROL_REPEATED },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Initialise a token for the key group {group}, by decision {decision}. Its PIN is random and known to nobody; "
		  "{threshold} of these custodians together can activate the group: {custodian}.",
	  .clause = "practice statement 6.1.1, 6.2.8" },
	{ .name = "group.reshare",
	  KEYD,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) }, { 1, CONTROL_IS(AUTHORITY_MEMBER) } },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "threshold", CONTROL_TYPE_NUMBER, CONTROL_ONCE },
			 { "custodian", CONTROL_TYPE_ID, CONTROL_REPEATED },
			 { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Exchange the custodians of the key group {group}, by decision {decision}: {reason}. Its token gets a new PIN, random and "
		  "known to nobody; from then on {threshold} of these custodians together can activate the group, and nobody else: "
		  "{custodian}.",
	  .clause = "practice statement 6.2.2, 6.2.8" },
	{ .name = "key.generate",
	  KEYD,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "key", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "type", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "purpose", CONTROL_TYPE_ID, CONTROL_REPEATED },
			 { "backup", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "issuer", CONTROL_TYPE_OCTETS, CONTROL_OPTIONAL },
			 { "issues-to-cas", CONTROL_TYPE_ID, CONTROL_OPTIONAL },
			 { "policy", CONTROL_TYPE_ID, CONTROL_REPEATED },
			 { "validity-days", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "rate", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "accuracy-ms", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "usage-ends", CONTROL_TYPE_MOMENT, CONTROL_OPTIONAL },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Generate the key {key} ({type}) in the key group {group}, for {purpose}, backup {backup}, by decision {decision}. "
		  "Limits: issues to CAs {issues-to-cas}, issuer {issuer}, policies {policy}, at most {validity-days} days, "
		  "{rate} signatures a second, accuracy {accuracy-ms} ms; nothing from {usage-ends} on.",
	  .clause = "practice statement 6.1.1" },
	{ .name = "group.activate",
	  KEYD,
	  .seat = { { 2, OPENERS }, { 2, CONTROL_IS(KEY_CUSTODIAN) } },
	  .late = { 1, CONTROL_IS(AUTHORITY_MEMBER) | CONTROL_IS(SECURITY_MANAGER) },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE }, { "old-crl", CONTROL_TYPE_MOMENT, CONTROL_OPTIONAL } },
	  .words =
		  "Activate the key group {group}: from then on its keys sign, until it is deactivated or this keyd stops.[ The "
		  "management CA's CRL is of {old-crl}, {hours} hours before this was proposed: whose certificate was revoked "
		  "since is not known, so make sure that none of the five who approve has lost a token.]",
	  .clause = "practice statement 6.2.8" },
	{ .name = "group.deactivate",
	  KEYD,
	  .seat = { { 2, OPENERS | CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE }, { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words = "Deactivate the key group {group}: {reason}. Nothing is signed with its keys until it is activated again.",
	  .clause = "practice statement 6.2.8, 6.2.9" },
	{ .name = "group.reactivate",
	  KEYD,
	  .seat = { { 2, OPENERS | CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "group", CONTROL_TYPE_ID, CONTROL_ONCE }, { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words =
		  "Let the key group {group}, which comes up by itself and was deactivated, come up again, now and at each start: {reason}.",
	  .clause = "practice statement 6.2.8" },
	{ .name = "ca.certify",
	  KEYD,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "key", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "subject", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "subject-key", CONTROL_TYPE_DIGEST, CONTROL_ONCE },
			 { "not-after", CONTROL_TYPE_MOMENT, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Let the key {key} sign one certificate of a certificate authority, within a quarter of an hour, by decision {decision}: for "
		  "{subject}, whose public key has the SHA-256 {subject-key}, valid until {not-after} at most.",
	  .clause = "practice statement 6.1.1, 5.2.2" },
	{ .name = "key.suspend",
	  KEYD,
	  .seat = { { 2, OPENERS | CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "key", CONTROL_TYPE_ID, CONTROL_ONCE }, { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words = "Suspend the key {key}: {reason}. It signs nothing until it is resumed.",
	  .clause = "practice statement 6.2.9" },
	{ .name = "key.resume",
	  KEYD,
	  .seat = { { 2, OPENERS | CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "key", CONTROL_TYPE_ID, CONTROL_ONCE }, { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE } },
	  .words = "Let the suspended key {key} sign again: {reason}.",
	  .clause = "practice statement 6.2.8" },
	{ .name = "key.destroy",
	  KEYD,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "key", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "fingerprint", CONTROL_TYPE_DIGEST, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Destroy the private key {key}, whose public key has the SHA-256 {fingerprint}, for good, by decision {decision}.",
	  .clause = "practice statement 6.2.10" },

	{ .name = "ca.create",
	  CA,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "name", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "profile", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "subject", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "key", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "algorithm", CONTROL_TYPE_ID, CONTROL_OPTIONAL },
			 { "validity-days", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "crl-hours", CONTROL_TYPE_NUMBER, CONTROL_OPTIONAL },
			 { "crl-url", CONTROL_TYPE_TEXT, CONTROL_OPTIONAL },
			 { "issuer-url", CONTROL_TYPE_TEXT, CONTROL_OPTIONAL },
			 { "ocsp-url", CONTROL_TYPE_TEXT, CONTROL_OPTIONAL },
			 { "cps-url", CONTROL_TYPE_TEXT, CONTROL_OPTIONAL },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Set up the certificate authority {name} for {subject}, with the profile {profile} and the key {key}, by decision {decision}. "
		  "It signs with {algorithm}; its own certificate, when it signs that itself, is valid {validity-days} days; its CRLs "
		  "are valid {crl-hours} hours. Addresses in what it issues: CRL {crl-url}, its certificate {issuer-url}, OCSP {ocsp-url}, "
		  "practice statement {cps-url}.",
	  .clause = "practice statement 5.2.2, 6.1.1" },
	{ .name = "ca.take-in",
	  CA,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "name", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "subject", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "certificate", CONTROL_TYPE_OCTETS, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Take in the certificate authority {name}, {subject}, which is run elsewhere: its certificate and its CRLs are published "
		  "here as ours, by decision {decision}. The certificate: {certificate}.",
	  .clause = "practice statement 2.2, 5.2.2" },
	{ .name = "ca.revoke",
	  CA,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "ca", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "serial", CONTROL_TYPE_SERIAL, CONTROL_ONCE },
			 { "reason", CONTROL_TYPE_TEXT, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Revoke, for good, the certificate of a certificate authority that {ca} has signed, with the serial number {serial}, for the "
		  "reason {reason}, by decision {decision}.",
	  .clause = "practice statement 4.9, 5.2.2" },
	{ .name = "crl.parameters",
	  CA,
	  .seat = { { 1, KEEPERS }, { 1, CONTROL_IS(SECURITY_MANAGER) } },
	  .parameter = { { "ca", CONTROL_TYPE_ID, CONTROL_ONCE },
			 { "crl-hours", CONTROL_TYPE_NUMBER, CONTROL_ONCE },
			 { "decision", CONTROL_TYPE_ID, CONTROL_ONCE } },
	  .words =
		  "Let the CRLs of the certificate authority {ca} be valid for {crl-hours} hours from now on, by decision {decision}; a new one "
		  "comes at half of that.",
	  .clause = "practice statement 4.9.7, 5.2.2" },
};

const struct control_operation *control_operation_at(size_t i)
{
	return i < sizeof rows / sizeof rows[0] ? &rows[i] : NULL;
}

const struct control_operation *control_operation_named(span name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (span_is(name, rows[i].name))
			return &rows[i];
	return NULL;
}

const struct control_seat *control_late_seat(const struct control_proposal *p)
{
	return p->operation->late.count > 0 && control_proposal_old_crl(p) != 0 ? &p->operation->late : NULL;
}

const struct control_seat *control_seat_of(const struct control_proposal *p, enum control_role role)
{
	const struct control_seat *late = control_late_seat(p);
	for (size_t i = 0; i < CONTROL_SEATS_MAX; i++)
		if ((p->operation->seat[i].roles & UINT32_C(1) << role) != 0)
			return &p->operation->seat[i];
	return late != NULL && (late->roles & UINT32_C(1) << role) != 0 ? late : NULL;
}

/* ---- the page ---- */

static const char *const executors[CONTROL_EXECUTOR_COUNT] = {
	[CONTROL_BY_REGISTER] = "register", [CONTROL_BY_KEYD] = "keyd", [CONTROL_BY_CA] = "ca"
};

const char *control_executor_text(enum control_executor executor)
{
	return executors[executor];
}

__attribute__((format(printf, 2, 3))) static void put(struct buf *out, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof text || !buf_append(out, span_str(text)))
		log_die("the page of operations does not fit its buffer");
}

static void put_row(struct scope *s, struct buf *out, const struct control_operation *row)
{
	put(out, "| `%s` | %s | ", row->name, control_executor_text(row->executor));
	for (size_t i = 0; i < CONTROL_SEATS_MAX && row->seat[i].roles != 0; i++) {
		char count[16];
		(void)snprintf(count, sizeof count, "%u", row->seat[i].count);
		put(out, "%s%s of: %s", i == 0 ? "" : "; and ", row->seat[i].count == 0 ? "the authority's quorum" : count,
		    control_roles_text(s, row->seat[i].roles));
	}
	if (row->late.count > 0)
		put(out, "; and, with a management CRL older than 24 hours, %u of: %s", row->late.count,
		    control_roles_text(s, row->late.roles));
	put(out, " | %lld h | ", (long long)(row->life / MOMENT_HOUR));
	for (size_t i = 0; i < CONTROL_PARAMETERS && row->parameter[i].name != NULL; i++)
		put(out, "%s`%s`%s", i == 0 ? "" : ", ", row->parameter[i].name,
		    row->parameter[i].presence == CONTROL_ONCE       ? ""
		    : row->parameter[i].presence == CONTROL_OPTIONAL ? "?"
								     : "*");
	put(out, " | %s |\n", row->clause);
}

void control_operation_reference(struct buf *out)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	put(out,
	    "# Operations with quorum\n\n"
	    "Printed from the rows of `src/control/control_operation.c` by `chancery reference operations`; do not edit.\n\n"
	    "Approvals are given by distinct persons, each in a role held at that moment; whoever carries the operation out "
	    "verifies them itself.\n`?` marks parameters that may be left out, `*` those that may be repeated or left out.\n\n"
	    "| operation | carried out by | approved by | proposal lives | parameters | clause |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		put_row(&s, out, &rows[i]);
}
