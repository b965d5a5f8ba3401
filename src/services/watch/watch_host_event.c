#include "watch_host_event.h"
#include "text.h"

#define MESSAGE_MAX 4096 /* octets that patterns look at */

/* ---- texts of strangers ---- */

static uint32_t code_point(span c)
{
	if (c.len == 1)
		return c.data[0];
	uint32_t v = c.data[0] & (0x7fu >> c.len);
	for (size_t i = 1; i < c.len; i++)
		v = v << 6 | (c.data[i] & 0x3fu);
	return v;
}

static bool is_plain(uint32_t c)
{
	bool control = c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
	bool turns = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
	return !control && !turns && c != 0xfeff;
}

char *watch_host_clean(struct scope *s, span text)
{
	char *out = scope_alloc(s, WATCH_HOST_TEXT_MAX + 1);
	size_t used = 0, len;
	for (span rest = text; rest.len > 0; rest = span_from(rest, len)) {
		size_t valid = utf8_length(rest);
		len = valid > 0 ? valid : 1;
		bool kept = valid > 0 && is_plain(code_point(span_first(rest, len)));
		size_t needed = kept ? len : 1;
		if (used + needed > WATCH_HOST_TEXT_MAX)
			break;
		if (kept)
			memcpy(out + used, rest.data, len);
		else
			out[used] = '?';
		used += needed;
	}
	return out;
}

/* ---- patterns ---- */

/* Letters stand for a text in between, up to where what follows in the pattern occurs: %u user, %t target, %m method, %s source, %- what is
 * of no interest. A '+' before the letter: up to its last occurrence, where the text is a stranger's and may hold the words that follow.
 * What is behind the end of the pattern does not matter, unless it is %.: then nothing may be there, and nothing may have been cut off. */
enum taken { TAKEN_USER, TAKEN_TARGET, TAKEN_METHOD, TAKEN_SOURCE, TAKEN_ACTION, TAKEN_COUNT };
static const char taken_letters[] = "utmsa";

static bool find(span text, span part, bool last, size_t *out_at)
{
	bool found = false;
	for (size_t at = 0; at + part.len <= text.len && !(found && !last); at++)
		if (memcmp(text.data + at, part.data, part.len) == 0) {
			*out_at = at;
			found = true;
		}
	return found;
}

static bool take(span *text, const char **pattern, span taken[TAKEN_COUNT])
{
	const char *p = *pattern + 1;
	bool last = *p == '+';
	p += last;
	const char *letter = strchr(taken_letters, *p);
	p++;
	span literal = span_of(p, strcspn(p, "%"));
	size_t at = text->len;
	if (literal.len > 0 && !find(*text, literal, last, &at))
		return false;
	if (letter != NULL)
		taken[letter - taken_letters] = span_first(*text, at);
	*text = span_from(*text, at + literal.len);
	*pattern = p + literal.len;
	return true;
}

static bool match(span message, const char *pattern, span taken[TAKEN_COUNT])
{
	span text = span_first(message, MESSAGE_MAX);
	size_t head = strcspn(pattern, "%");
	if (text.len < head || memcmp(text.data, pattern, head) != 0)
		return false;
	text = span_from(text, head);
	pattern += head;
	while (*pattern != 0 && strcmp(pattern, "%.") != 0)
		if (!take(&text, &pattern, taken))
			return false;
	return *pattern == 0 || (text.len == 0 && message.len <= MESSAGE_MAX);
}

/* ---- the table ---- */

/* A program that anybody starts, and that runs as root then, writes with the uid of who started it: its path tells. */
enum writer { BY_ROOT, BY_UNIT, BY_PROGRAM, BY_KERNEL };
struct rule {
	const char *identifier; /* NULL: any */
	enum writer writer;
	const char *place; /* BY_UNIT: whose process it must be; BY_PROGRAM: its path */
	const char *pattern;
	enum audit_code code;
	const char *user;    /* where the pattern takes none */
	const char *method;  /* the same */
	const char *outcome; /* of a login */
	const char *change;  /* of a clock */
};
/* The command line of whoever asks stands in the middle: who owns the process is what stands last. */
#define OWNER    " for %+- (owned by unix-user:%u)%."
#define ACCEPTED .code = AUDIT_HOST_LOGIN, .outcome = "accepted"
#define REFUSED  .code = AUDIT_HOST_LOGIN, .outcome = "refused"
/* People type passwords where a user name is asked for: a name that is no account's is not kept. */
#define NO_ACCOUNT  .user = "(no account)"
#define CHRONY      BY_UNIT, "chrony.service"
#define TIMESYNCD   BY_UNIT, "systemd-timesyncd.service"
#define TIMEDATED   BY_UNIT, "systemd-timedated.service"
#define POLKIT      BY_UNIT, "polkit.service"
#define SUDO        BY_PROGRAM, "/usr/bin/sudo"
#define SU          BY_PROGRAM, "/usr/bin/su"
#define PKEXEC      BY_PROGRAM, "/usr/bin/pkexec"
#define GAINED      "Operator of %- successfully authenticated as unix-user:%t to gain %- authorization for action %a"
#define NOT_GAINED  "Operator of %- FAILED to authenticate to gain authorization for action %a"
#define CLOCK(what) .code = AUDIT_HOST_TIME, .change = what
#define KERNEL      NULL, BY_KERNEL, NULL
//= en319401#REQ-7.9.1-04 logins and what was refused, privileges taken, start and end, time
static const struct rule rules[] = {
	{ "sshd", BY_ROOT, NULL, "Accepted %m for %+u from %s port ", ACCEPTED },
	{ "sshd", BY_ROOT, NULL, "Failed %m for invalid user %+- from %s port ", REFUSED, NO_ACCOUNT },
	{ "sshd", BY_ROOT, NULL, "Failed %m for %+u from %s port ", REFUSED },
	{ "sshd", BY_ROOT, NULL, "Invalid user %+- from %s port ", REFUSED, NO_ACCOUNT, .method = "ssh" },
	{ "sshd", BY_ROOT, NULL, "pam_unix(sshd:session): session closed for user %u", .code = AUDIT_HOST_LOGOUT },
	{ "login", BY_ROOT, NULL, "pam_unix(login:session): session opened for user %u(uid=", ACCEPTED, .method = "console" },
	{ "login", BY_ROOT, NULL, "pam_unix(login:session): session closed for user %u", .code = AUDIT_HOST_LOGOUT },
	{ "login", BY_ROOT, NULL, "FAILED LOGIN (%-) on '%s' FOR '%+u'", REFUSED, .method = "console" },
	{ "sudo", SUDO, "pam_unix(%-:session): session opened for user %t(uid=%-) by %u(uid=", .code = AUDIT_HOST_PRIVILEGE },
	{ "su", SU, "pam_unix(%-:session): session opened for user %t(uid=%-) by %u(uid=", .code = AUDIT_HOST_PRIVILEGE },
	{ "sudo", SUDO, "pam_unix(sudo:auth): authentication failure; logname=%u uid=", REFUSED, .method = "sudo" },
	{ "su", SU, "FAILED SU (to %t) %u on ", REFUSED, .method = "su" },
	{ "pkexec", PKEXEC,
	  "pam_unix(%-:session): session opened for user %t(uid=%-) by %u(uid=", .code = AUDIT_HOST_PRIVILEGE },
	{ "polkitd", POLKIT, GAINED OWNER, .code = AUDIT_HOST_PRIVILEGE },
	{ "polkitd", POLKIT, GAINED " for ", .code = AUDIT_HOST_PRIVILEGE },
	{ "polkitd", POLKIT, NOT_GAINED OWNER, REFUSED, .method = "polkit" },
	{ "polkitd", POLKIT, NOT_GAINED " for ", REFUSED, .method = "polkit" },
	{ "systemd-timedated", TIMEDATED, "Set NTP to enabled", CLOCK("synchronisation switched on") },
	{ "systemd-timedated", TIMEDATED, "Set NTP to disabled", CLOCK("synchronisation switched off") },
	{ "systemd-timedated", TIMEDATED, "RTC configured to ", CLOCK("hardware clock") },
	{ "chronyd", CHRONY, "System clock wrong by ", CLOCK("wrong") },
	{ "chronyd", CHRONY, "System clock was stepped by ", CLOCK("stepped") },
	{ "chronyd", CHRONY, "Could not step system clock", CLOCK("not stepped") },
	{ "chronyd", CHRONY, "Forward time jump detected", CLOCK("jumped") },
	{ "chronyd", CHRONY, "Backward time jump detected", CLOCK("jumped") },
	{ "chronyd", CHRONY, "System clock status %-leap second", CLOCK("leap second") },
	{ "chronyd", CHRONY, "System clock was stepped for leap second", CLOCK("leap second") },
	{ "chronyd", CHRONY, "Adjusting system clock for leap second", CLOCK("leap second") },
	{ "chronyd", CHRONY, "Can't synchronise", CLOCK("source lost") },
	{ "chronyd", CHRONY, "No suitable source for synchronisation", CLOCK("source lost") },
	{ "chronyd", CHRONY, "Source %- offline", CLOCK("source offline") },
	{ "chronyd", CHRONY, "Selected source ", CLOCK("source selected") },
	{ "chronyd", CHRONY, "Disabled control of system clock", CLOCK("not kept") },
	{ "systemd-timesyncd", TIMESYNCD, "Contacted time server ", CLOCK("source selected") },
	{ "systemd-timesyncd", TIMESYNCD, "Initial clock synchronization", CLOCK("synchronised") },
	{ "systemd-timesyncd", TIMESYNCD, "No network connectivity", CLOCK("source lost") },
	{ "systemd-timesyncd", TIMESYNCD, "System time changed. Resyncing.", CLOCK("jumped") },
	{ "systemd-timesyncd", TIMESYNCD, "System clock time unset or jumped backwards", CLOCK("jumped") },
	{ KERNEL, "Clock: inserting leap second", CLOCK("leap second") },
	{ KERNEL, "Clock: deleting leap second", CLOCK("leap second") },
	{ KERNEL, "clocksource: timekeeping watchdog", CLOCK("unstable") },
	{ KERNEL, "%-[Hardware Error]", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "EDAC ", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "%-I/O error", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "EXT4-fs error", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "XFS (%-): %-orruption", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "%-Out of memory: Killed process ", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "Kernel panic", .code = AUDIT_HOST_KERNEL },
	{ KERNEL, "BUG: ", .code = AUDIT_HOST_KERNEL },
};

static bool wrote(const struct rule *r, const struct watch_host_entry *e)
{
	if (r->identifier != NULL && !span_is(e->identifier, r->identifier))
		return false;
	if (r->writer == BY_KERNEL)
		return e->is_kernel;
	if (r->writer == BY_PROGRAM)
		return e->is_root || span_is(e->program, r->place);
	return r->writer == BY_ROOT ? e->is_root : span_is(e->unit, r->place);
}

static const char *or_else(struct scope *s, span taken, const char *standard)
{
	return taken.len > 0 ? watch_host_clean(s, taken) : standard;
}

static void fill(struct scope *s, const struct rule *r, const struct watch_host_entry *e, const span taken[TAKEN_COUNT],
		 struct watch_host_event *out)
{
	*out = (struct watch_host_event){
		.code = r->code,
		.user = or_else(s, taken[TAKEN_USER], r->user != NULL ? r->user : "(unnamed)"),
		.target = or_else(s, taken[TAKEN_TARGET], "(unnamed)"),
		.method = or_else(s, taken[TAKEN_METHOD], r->method != NULL ? r->method : "(unnamed)"),
		.source = or_else(s, taken[TAKEN_SOURCE], NULL),
		.outcome = r->outcome,
		.change = r->change,
		.action = or_else(s, taken[TAKEN_ACTION], NULL),
		.text = watch_host_clean(s, e->message),
	};
}

/* ---- what systemd tells by identifier ---- */

struct told {
	const char *message_id; /* sd-messages(3) */
	enum audit_code code;
	bool every_unit; /* otherwise those that matter here */
	const char *change;
};
static const struct told told[] = {
	{ "b07a249cd024414a82dd00cd181378ff", AUDIT_HOST_BOOT, true, NULL },
	{ "98268866d1d54a499c4e98921d93bc40", AUDIT_HOST_SHUTDOWN, true, NULL },
	{ "c7a787079b354eaaa9e77b371893cd27", AUDIT_HOST_TIME, true, "set" },
	{ "45f82f4aef7a4bbf942ce861d1f20990", AUDIT_HOST_TIME, true, "time zone set" },
	{ "39f53479d3a045ac8e11786248231fbf", AUDIT_HOST_SERVICE, false, "started" },
	{ "9d1aaa27d60140bd96365438aad20286", AUDIT_HOST_SERVICE, false, "stopped" },
	{ "d9b373ed55a64feb8242e02dbe79a49c", AUDIT_HOST_SERVICE, true, "failed" },
	{ "fe6faa94e7774663a0da52717891d8ef", AUDIT_HOST_SERVICE, true, "out of memory" },
	{ "fc2e22bc6ee647b6b90729ab34a250b1", AUDIT_HOST_SERVICE, true, "core dumped" },
};
/* Whose start and stop go on record: the provider's own, firewall, software, time. */
static const char *const units[] = { "chancery-",    "nftables.",          "ufw.",   "netfilter-persistent.", "firewalld.",
				     "apt-daily-up", "unattended-upgrade", "chrony", "systemd-timesyncd.",    "ntp",
				     "packagekit." };

static bool matters(span unit)
{
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (span_equal(span_first(unit, strlen(units[i])), span_str(units[i])))
			return true;
	return false;
}

static bool tell(struct scope *s, const struct watch_host_entry *e, struct watch_host_event *out)
{
	for (size_t i = 0; e->is_root && i < sizeof told / sizeof told[0]; i++) {
		const struct told *t = &told[i];
		if (!span_is(e->message_id, t->message_id))
			continue;
		if (!t->every_unit && !matters(e->subject))
			return false;
		*out = (struct watch_host_event){ .code = t->code,
						  .unit = or_else(s, e->subject, "(unnamed)"),
						  .change = t->change,
						  .text = watch_host_clean(s, e->message) };
		return true;
	}
	return false;
}

bool watch_host_event_of(struct scope *s, const struct watch_host_entry *entry, struct watch_host_event *out)
{
	if (tell(s, entry, out))
		return true;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		span taken[TAKEN_COUNT] = { 0 };
		if (!wrote(&rules[i], entry) || !match(entry->message, rules[i].pattern, taken))
			continue;
		fill(s, &rules[i], entry, taken, out);
		return true;
	}
	return false;
}

/* ---- its record ---- */

static void put(struct audit_event *e, const char *field, const char *text)
{
	if (text != NULL)
		audit_str(e, field, text);
}

static void put_fields(struct audit_event *e, const struct watch_host_event *v)
{
	bool login = v->code == AUDIT_HOST_LOGIN, privilege = v->code == AUDIT_HOST_PRIVILEGE;
	if (login || privilege || v->code == AUDIT_HOST_LOGOUT)
		put(e, "user", v->user);
	put(e, "method", login ? v->method : NULL);
	put(e, "source", login ? v->source : NULL);
	put(e, "outcome", login ? v->outcome : NULL);
	put(e, "target", privilege ? v->target : NULL);
	put(e, "command", privilege ? v->action : NULL);
	put(e, "unit", v->code == AUDIT_HOST_SERVICE ? v->unit : NULL);
	put(e, "change", v->change);
	put(e, "detail", v->code == AUDIT_HOST_TIME ? v->text : NULL);
	put(e, "text", v->code == AUDIT_HOST_KERNEL ? v->text : NULL);
}

void watch_host_begin(struct audit_event *e, struct scope *s, const struct watch_host_event *v, const uint8_t id[16],
		      const char *host, int64_t at)
{
	audit_begin_as(e, s, v->code, id);
	audit_str(e, "host", host);
	audit_time(e, "at", at);
	put_fields(e, v);
}
