#include "unit.h"
#include "watch_host_event.h"

static struct watch_host_entry by_root(const char *identifier, const char *message)
{
	return (struct watch_host_entry){ .identifier = span_str(identifier), .message = span_str(message), .is_root = true };
}

static const struct {
	const char *identifier, *message;
	enum audit_code code;
	const char *user, *source, *outcome;
} known[] = {
	{ "sshd", "Accepted publickey for an from 192.0.2.7 port 4022 ssh2: ED25519 SHA256:x", AUDIT_HOST_LOGIN, "an",
	  "192.0.2.7", "accepted" },
	{ "sshd", "Failed password for an from 2001:db8::1 port 4022 ssh2", AUDIT_HOST_LOGIN, "an", "2001:db8::1", "refused" },
	{ "sshd", "Failed password for invalid user S3cret! from 192.0.2.7 port 1 ssh2", AUDIT_HOST_LOGIN, "(no account)",
	  "192.0.2.7", "refused" },
	{ "sshd", "Failed password for invalid user x from 10.0.0.1 port 2 from 192.0.2.7 port 1 ssh2", AUDIT_HOST_LOGIN,
	  "(no account)", "192.0.2.7", "refused" },
	{ "sshd", "pam_unix(sshd:session): session closed for user an", AUDIT_HOST_LOGOUT, "an", NULL, NULL },
	{ "login", "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure", AUDIT_HOST_LOGIN, "root", "/dev/tty1",
	  "refused" },
	{ "sudo", "pam_unix(sudo:session): session opened for user root(uid=0) by an(uid=1000)", AUDIT_HOST_PRIVILEGE, "an",
	  NULL, NULL },
	{ "su", "FAILED SU (to root) an on pts/1", AUDIT_HOST_LOGIN, "an", NULL, "refused" },
};

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

//= en319401#REQ-7.9.1-04 logins and refusals of a host
static void what_programs_of_debian_write_is_understood(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		struct watch_host_event e;
		struct watch_host_entry entry = by_root(known[i].identifier, known[i].message);
		assert_true(watch_host_event_of(&s, &entry, &e));
		assert_int_equal(e.code, known[i].code);
		assert_string_equal(e.user, known[i].user);
		assert_true(same(e.source, known[i].source) && same(e.outcome, known[i].outcome));
		entry.is_root = false; /* anybody can claim an identifier */
		entry.program = SPAN_LITERAL("/home/mallory/su");
		assert_false(watch_host_event_of(&s, &entry, &e));
	}
}

static void a_program_that_anybody_starts_is_known_by_its_path(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct watch_host_event e;
	struct watch_host_entry entry = by_root("su", "FAILED SU (to root) an on pts/1");
	entry.is_root = false; /* as su writes it for uid 1000 */
	entry.program = SPAN_LITERAL("/usr/bin/su");
	assert_true(watch_host_event_of(&s, &entry, &e) && e.code == AUDIT_HOST_LOGIN);
	assert_string_equal(e.user, "an");
	entry.identifier = SPAN_LITERAL("sshd");
	entry.message = SPAN_LITERAL("Accepted publickey for an from 192.0.2.7 port 1 ssh2");
	assert_false(watch_host_event_of(&s, &entry, &e));
}

static void only_the_kernel_speaks_for_the_kernel(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct watch_host_event e;
	struct watch_host_entry entry = { .message = SPAN_LITERAL("EXT4-fs error (device sda1): bad block"), .is_root = true };
	assert_false(watch_host_event_of(&s, &entry, &e));
	entry.is_kernel = true;
	assert_true(watch_host_event_of(&s, &entry, &e) && e.code == AUDIT_HOST_KERNEL);
	assert_string_equal(e.text, "EXT4-fs error (device sda1): bad block");
}

static void units_of_the_provider_start_on_record_and_others_only_when_they_fail(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct watch_host_event e;
	struct watch_host_entry entry = { .message_id = SPAN_LITERAL("39f53479d3a045ac8e11786248231fbf"),
					  .subject = SPAN_LITERAL("chancery-ca.service"),
					  .is_root = true };
	assert_true(watch_host_event_of(&s, &entry, &e) && e.code == AUDIT_HOST_SERVICE);
	assert_string_equal(e.change, "started");
	entry.subject = SPAN_LITERAL("cups.service");
	assert_false(watch_host_event_of(&s, &entry, &e));
	entry.message_id = SPAN_LITERAL("d9b373ed55a64feb8242e02dbe79a49c");
	assert_true(watch_host_event_of(&s, &entry, &e));
	assert_string_equal(e.unit, "cups.service");
}

static struct watch_host_entry by_unit(const char *identifier, const char *unit, span message)
{
	return (struct watch_host_entry){ .identifier = span_str(identifier), .unit = span_str(unit), .message = message };
}

#define GAINED                                                                                                                 \
	"Operator of unix-session:2 successfully authenticated as unix-user:root to gain ONE-SHOT authorization for action "   \
	"org.freedesktop.systemd1.manage-units for "
#define FAILED                                                                                                                 \
	"Operator of unix-session:2 FAILED to authenticate to gain authorization for action org.freedesktop.policykit.exec for "
static const struct {
	const char *message;
	enum audit_code code;
	const char *user, *action;
} by_polkit[] = {
	{ GAINED "unix-process:812:9 [systemctl stop x] (owned by unix-user:an)", AUDIT_HOST_PRIVILEGE, "an",
	  "org.freedesktop.systemd1.manage-units" },
	{ FAILED "unix-process:812:9 [pkexec id] (owned by unix-user:an)", AUDIT_HOST_LOGIN, "an",
	  "org.freedesktop.policykit.exec" },
	/* A command line says what its user likes. */
	{ GAINED "unix-process:812:9 [x (owned by unix-user:bea)] (owned by unix-user:an)", AUDIT_HOST_PRIVILEGE, "an",
	  "org.freedesktop.systemd1.manage-units" },
	{ FAILED "unix-process:812:9 [x] (owned by unix-user:bea) for me (owned by 17)", AUDIT_HOST_LOGIN, "(unnamed)",
	  "org.freedesktop.policykit.exec" },
};

//= en319401#REQ-7.9.1-04 privileges by polkit, and what was refused
static void polkit_is_believed_of_who_owns_the_process_and_not_its_command_line(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t i = 0; i < sizeof by_polkit / sizeof by_polkit[0]; i++) {
		struct watch_host_event e;
		struct watch_host_entry entry = by_unit("polkitd", "polkit.service", span_str(by_polkit[i].message));
		assert_true(watch_host_event_of(&s, &entry, &e));
		assert_int_equal(e.code, by_polkit[i].code);
		assert_string_equal(e.user, by_polkit[i].user);
		assert_string_equal(e.action, by_polkit[i].action);
		if (e.code == AUDIT_HOST_LOGIN)
			assert_true(same(e.outcome, "refused") && same(e.method, "polkit"));
		else
			assert_string_equal(e.target, "root");
		entry.unit = SPAN_LITERAL("user@1000.service"); /* anybody can call itself polkitd */
		assert_false(watch_host_event_of(&s, &entry, &e));
	}
}

/* So long that the owner is cut off: what then stands last is the command line's. */
static void a_command_line_too_long_to_be_read_names_no_owner(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (size_t padding = 3800; padding < 4400; padding++) {
		AUTO_BUF text;
		buf_init(&text, 0);
		(void)buf_append(&text, SPAN_LITERAL(FAILED "unix-process:812:9 ["));
		for (size_t i = 0; i < padding; i++)
			(void)buf_append(&text, SPAN_LITERAL("x"));
		(void)buf_append(&text, SPAN_LITERAL(" (owned by unix-user:bea)"));
		for (size_t i = 0; i < 600; i++)
			(void)buf_append(&text, SPAN_LITERAL("x"));
		(void)buf_append(&text, SPAN_LITERAL("] (owned by unix-user:an)"));
		struct watch_host_event e;
		struct watch_host_entry entry = by_unit("polkitd", "polkit.service", buf_span(&text));
		assert_true(watch_host_event_of(&s, &entry, &e) && e.code == AUDIT_HOST_LOGIN);
		assert_string_equal(e.user, "(unnamed)");
	}
}

static const struct {
	const char *identifier, *unit, *message, *change;
} clocks[] = {
	{ "systemd-timedated", "systemd-timedated.service", "Set NTP to enabled (systemd-timesyncd.service).",
	  "synchronisation switched on" },
	{ "systemd-timedated", "systemd-timedated.service", "Set NTP to disabled.", "synchronisation switched off" },
	{ "systemd-timedated", "systemd-timedated.service", "RTC configured to local time.", "hardware clock" },
	{ "chronyd", "chrony.service", "System clock wrong by 1.204012 seconds", "wrong" },
	{ "chronyd", "chrony.service", "System clock was stepped by -3.100000 seconds", "stepped" },
	{ "chronyd", "chrony.service", "Forward time jump detected!", "jumped" },
	{ "chronyd", "chrony.service", "System clock status set to insert leap second", "leap second" },
	{ "chronyd", "chrony.service", "System clock was stepped for leap second", "leap second" },
	{ "chronyd", "chrony.service", "Can't synchronise: no selectable sources", "source lost" },
	{ "chronyd", "chrony.service", "Source 192.0.2.1 offline", "source offline" },
	{ "chronyd", "chrony.service", "Selected source 192.0.2.1 (ntp.example.org)", "source selected" },
	{ "chronyd", "chrony.service", "Disabled control of system clock", "not kept" },
	{ "systemd-timesyncd", "systemd-timesyncd.service", "System time changed. Resyncing.", "jumped" },
};

//= en319401#REQ-7.9.1-15 the clock of a host: set, switched, lost
static void what_keeps_the_clock_is_understood(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct watch_host_event e;
	for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
		struct watch_host_entry entry = by_unit(clocks[i].identifier, clocks[i].unit, span_str(clocks[i].message));
		assert_true(watch_host_event_of(&s, &entry, &e) && e.code == AUDIT_HOST_TIME);
		assert_string_equal(e.change, clocks[i].change);
		assert_string_equal(e.text, clocks[i].message);
		entry.unit = SPAN_LITERAL("cron.service");
		assert_false(watch_host_event_of(&s, &entry, &e));
	}
	struct watch_host_entry zone = by_root("systemd-timedated", "Changed time zone to 'Europe/Brussels' (CET).");
	zone.message_id = SPAN_LITERAL("45f82f4aef7a4bbf942ce861d1f20990");
	assert_true(watch_host_event_of(&s, &zone, &e) && e.code == AUDIT_HOST_TIME);
	assert_string_equal(e.change, "time zone set");
	zone.is_root = false;
	assert_false(watch_host_event_of(&s, &zone, &e));
}

static void texts_of_strangers_are_cut_and_cleaned(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_string_equal(watch_host_clean(&s, SPAN_LITERAL("a\n\x1b[31m\xff\xe2\x80\xae\xc2\x9b\xc3\xa9")),
			    "a??[31m???\xc3\xa9");
	char text[1000];
	memset(text, 'x', sizeof text);
	assert_int_equal(strlen(watch_host_clean(&s, SPAN_ARRAY(text))), WATCH_HOST_TEXT_MAX);
	memcpy(text + WATCH_HOST_TEXT_MAX - 1, "\xc3\xa9", 2); /* not cut in the middle of a character */
	assert_int_equal(strlen(watch_host_clean(&s, SPAN_ARRAY(text))), WATCH_HOST_TEXT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(what_programs_of_debian_write_is_understood),
		cmocka_unit_test(a_program_that_anybody_starts_is_known_by_its_path),
		cmocka_unit_test(only_the_kernel_speaks_for_the_kernel),
		cmocka_unit_test(units_of_the_provider_start_on_record_and_others_only_when_they_fail),
		cmocka_unit_test(polkit_is_believed_of_who_owns_the_process_and_not_its_command_line),
		cmocka_unit_test(a_command_line_too_long_to_be_read_names_no_owner),
		cmocka_unit_test(what_keeps_the_clock_is_understood),
		cmocka_unit_test(texts_of_strangers_are_cut_and_cleaned),
	};
	return cmocka_run_group_tests(all, NULL, NULL);
}
