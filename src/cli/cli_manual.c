/* `chancery record`: kinds of records that persons enter, and the noun's commands. */
#include "cli_manual.h"
#include "cli_nouns.h"
#include "moment.h"

static const struct cli_kind kinds[] = {
	{ AUDIT_PHYSICAL_ENTERED,
	  "record add physical.entered --by p3 --zone hsm-room --persons 'p3 p5' --purpose 'token change, operation 17'" },
	{ AUDIT_PHYSICAL_LEFT, "record add physical.left --by p3 --zone hsm-room --persons 'p3 p5'" },
	{ AUDIT_VISIT_RECEIVED,
	  "record add visit.received --by p4 --zone data-centre --visitors 2 --company supplier-12 --escort p4 --purpose 'air conditioning'" },
	{ AUDIT_VISIT_ENDED, "record add visit.ended --by p4 --closes visit-7f3a2b10", .refers = AUDIT_VISIT_RECEIVED },
	{ AUDIT_MEDIA_HANDLED,
	  "record add media.handled --by p3 --label BACKUP-0042 --change moved --from safe-1 --to safe-2" },
	{ AUDIT_INCIDENT_OPENED,
	  "record add incident.opened --by p2 --severity high --subject availability --detected '2026-11-27 09:15' --notice yes --text 'OCSP down for "
	  "35 minutes'",
	  .field = "notice", .value = "yes", .from = "detected", .life = 24 * MOMENT_HOUR,
	  .why = "notify the supervisory body (EN 319 401 REQ-7.9.3-01)" },
	{ AUDIT_INCIDENT_UPDATED,
	  "record add incident.updated --by p2 --about incident-7f3a2b10 --text 'cause found: full disk'",
	  .refers = AUDIT_INCIDENT_OPENED },
	{ AUDIT_INCIDENT_NOTIFIED,
	  "record add incident.notified --by p1 --about incident-7f3a2b10 --recipient 'supervisory body'",
	  .refers = AUDIT_INCIDENT_OPENED },
	{ AUDIT_INCIDENT_CLOSED,
	  "record add incident.closed --by p2 --closes incident-7f3a2b10 --text 'disk replaced, alarm at 80 percent' --file report.pdf",
	  .refers = AUDIT_INCIDENT_OPENED },
	{ AUDIT_VULNERABILITY_ASSESSED,
	  "record add vulnerability.assessed --by p6 --identifier CVE-2026-12345 --severity critical --software openssl --found '2026-11-27 08:00'",
	  .field = "severity", .value = "critical", .from = "found", .life = 48 * MOMENT_HOUR,
	  .why = "handle the critical vulnerability (EN 319 401 REQ-7.9.2-09)" },
	{ AUDIT_VULNERABILITY_HANDLED,
	  "record add vulnerability.handled --by p6 --closes vulnerability-7f3a2b10 --measure patched",
	  .refers = AUDIT_VULNERABILITY_ASSESSED },
	{ AUDIT_RECOVERY_TESTED,
	  "record add recovery.tested --by p6 --scenario 'site B takes over' --outcome passed --file dr-report.pdf" },
	{ AUDIT_AUDIT_HELD,
	  "record add audit.held --by p7 --scope 'EN 319 411-2, yearly' --auditor body-3 --outcome findings --file audit.pdf" },
	{ AUDIT_FINDING_OPENED,
	  "record add finding.opened --by p7 --severity medium --due 2027-01-31 --text 'visits without an escort on record'",
	  .why = "correct what the audit found" },
	{ AUDIT_FINDING_CLOSED,
	  "record add finding.closed --by p7 --closes finding-7f3a2b10 --text 'badge readers ask for the escort'",
	  .refers = AUDIT_FINDING_OPENED },
	{ AUDIT_TRAINING_HELD, "record add training.held --by p1 --topic 'custodians: sealed shares' --persons 'p4 p5 p6'" },
	{ AUDIT_PENETRATION_TESTED,
	  "record add penetration.tested --by p6 --scope 'public services' --company tester-2 --outcome findings --file pentest.pdf" },
	{ AUDIT_SYSTEM_UPDATED,
	  "record add system.updated --by p6 --host front-1 --software 'linux-image-amd64' --from 6.1.140 --to 6.1.147" },
	{ AUDIT_NETWORK_CHANGED,
	  "record add network.changed --by p6 --device firewall-1 --change 'port 8443 from 10.0.3.0/24 only' --approval change-31" },
	{ AUDIT_MALWARE_FOUND,
	  "record add malware.found --by p6 --host desk-4 --text 'mail attachment, quarantined, no contact with the services'" },
	{ AUDIT_DOCUMENT_PUBLISHED,
	  "record add document.published --by p1 --oid 1.3.6.1.4.1.99999.1.1 --edition 2.1 --title 'Certification practice statement' --file cps.pdf",
	  .needs_file = true },
	{ AUDIT_DECISION_MADE,
	  "record add decision.made --by p1 --decision PMA-2026-14 --subject 'practice statement 2.1 approved' --file minutes.pdf" },
	{ AUDIT_ARCHIVE_READ,
	  "record add archive.read --by p7 --object 'registration files of 2021' --motive 'retrieval test'" },
	{ AUDIT_DISCLOSURE_MADE,
	  "record add disclosure.made --by p1 --recipient 'investigating judge, reference 12/26' --object 'registration file 4711' --decision PMA-2026-15" },
	{ AUDIT_PRIVACY_REQUESTED, "record add privacy.requested --by p8 --right access --due 2026-12-27",
	  .why = "answer the data subject (Regulation (EU) 2016/679, 12(3))" },
	{ AUDIT_PRIVACY_ANSWERED, "record add privacy.answered --by p8 --closes privacy-7f3a2b10 --outcome granted",
	  .refers = AUDIT_PRIVACY_REQUESTED },
	{ AUDIT_TERMINATION_STEP, "record add termination.step --by p1 --step 'subscribers told'" },
	{ AUDIT_KEY_CARRIED,
	  "record add key.carried --by p4 --device HSM-2 --from site-A --to site-B --seal 004711 --persons 'p4 p5'" },
	{ AUDIT_DEVICE_HANDLED, "record add device.handled --by p4 --device HSM-2 --change firmware --firmware 7.4.1" },
	{ AUDIT_CEREMONY_HELD,
	  "record add ceremony.held --by p1 --subject 'root key' --persons 'p1 p2 p3 p4' --witness notary-1 --file report.pdf" },
	{ AUDIT_CLOCK_RECALIBRATED,
	  "record add clock.recalibrated --by p6 --host time-1 --reference-clock gnss-1 --offset '+0.4 ms'" },
	{ AUDIT_OPERATION_DECLINED,
	  "record add operation.declined --by p5 --proposal 00ff --text 'the group is not the one agreed on'" },
};

const struct cli_kind *cli_kind_of(enum audit_code code)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (kinds[i].code == code)
			return &kinds[i];
	return NULL;
}

bool cli_manual_opens(enum audit_code code)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (kinds[i].refers == code && strstr(audit_row(kinds[i].code)->fields, "closes:") != NULL)
			return true;
	return false;
}

static st list_kinds(struct scope *s, struct cli *c)
{
	json_t *rows = json_array();
	for (int code = 0; code < AUDIT_CODE_COUNT; code++) {
		const struct audit_row *row = audit_row((enum audit_code)code);
		const struct cli_kind *kind = cli_kind_of((enum audit_code)code);
		if (row->class != AUDIT_MANUAL || kind == NULL)
			continue;
		json_t *entry = json_pack("{s:s, s:s}", "kind", row->name, "what it says", row->text);
		if (c->json)
			(void)json_object_set_new(entry, "example", json_string(kind->example));
		(void)json_array_append_new(rows, entry);
	}
	return cli_print(s, c, rows);
}

static const struct cli_option list_options[] = {
	{ .name = "kind", .value = "KIND", .help = "only records of this kind" },
	{ .name = "open", .help = "only what is not closed, with the deadline that runs, the nearest first" },
};
static const struct cli_command commands[] = {
	{ .verb = "add",
	  .arguments = "KIND --FIELD VALUE ...",
	  .summary =
		  "Put on record what a person saw or did; each kind has options of its own: chancery record add KIND --help",
	  .example = "record add incident.opened --help",
	  .without_configuration = true,
	  .of = cli_manual_command },
	{ .verb = "list",
	  .summary = "List the records that persons entered; with --open, what has still to be done and by when",
	  .example = "record list --open",
	  CLI_OPTIONS(list_options),
	  .run = cli_manual_list },
	{ .verb = "kinds",
	  .summary = "List the kinds of records that can be entered",
	  .example = "record kinds",
	  .without_configuration = true,
	  .run = list_kinds },
};
const struct cli_noun cli_noun_record = { "record", "records that persons enter: access, visits, incidents, audits",
					  CLI_COMMANDS(commands) };
