#include "keyd.h"
#include "keyd_signers.h"
#include "file.h"
#include "text.h"
#include <stdlib.h>
#include <unistd.h>

#define ROWS(rows_) .rows = rows_, .row_count = sizeof rows_ / sizeof rows_[0]

static const struct conf_row head_rows[] = {
	CONF_ROW(CONF_STRING, struct keyd_conf, zone, "zone",
		 .help = "Name of this zone in records: root, ca, status, time, log."),
	CONF_ROW(CONF_PATH, struct keyd_conf, module, "module", .standard = "/usr/lib/softhsm/libsofthsm2.so",
		 .help = "PKCS#11 library."),
	CONF_ROW(CONF_STRING, struct keyd_conf, module_init_args, "module_init_args", .standard = "",
		 .help = "What the module wants as CK_C_INITIALIZE_ARGS.pReserved; most want nothing."),
	CONF_ROW(CONF_LIST, struct keyd_conf, hsm_addresses, "hsm-address", .standard = "",
		 .help = "Address of a network HSM; without any, keyd can open no Internet socket at all.",
		 .clause = "EN 319 411-1 OVR-6.5.7"),
	CONF_ROW(CONF_PATH, struct keyd_conf, state, "state-directory", .access = CONF_KEEPS,
		 .help = "What keyd keeps of keys, tree heads and counts."),
	CONF_ROW(CONF_PATH, struct keyd_conf, token_directory, "token-directory", .access = CONF_KEEPS, .standard = "",
		 .help = "Directory of SoftHSM's tokens, which keyd syncs; with SoftHSM and nothing given: "
			 "STATE-DIRECTORY/tokens."),
	CONF_ROW(
		CONF_PATHS, struct keyd_conf, module_directories, "module-directory", .access = CONF_KEEPS, .standard = "",
		.help = "Directory that the PKCS#11 library writes in, repeated; it reads /usr, /etc, /opt, /dev, /proc and /sys."),
	CONF_ROW(CONF_LIST, struct keyd_conf, tokens, "token", .standard = "",
		 .help = "Label of a token (key group) of this zone; its PIN is asked for at start."),
	CONF_ROW(CONF_PATH, struct keyd_conf, socket, "socket", .access = CONF_LISTENS,
		 .help = "Local socket on which requests come in."),
	CONF_ROW(CONF_STRING, struct keyd_conf, socket_group, "socket-group", .standard = "",
		 .help = "Group that may connect; without one only this uid and root can."),
	CONF_ROW(CONF_INTEGER, struct keyd_conf, connections, "connections", .standard = "64", .min = 1, .max = 4096,
		 .help = "Most connections at once."),
	CONF_ROW(
		CONF_INTEGER, struct keyd_conf, signers, "signers", .standard = "0", .max = SIGNERS_MAX,
		.help = "Threads that make the signatures of a frame, each bound to a processor. 0: one for each processor that keyd may use. 1: none; "
			"the thread of each connection signs what it was asked for, one after the other."),
	CONF_ROW(CONF_LIST, struct keyd_conf, administrators, "administrator", .standard = "",
		 .help = "Uid, beside this one and root, that may make tokens and keys.", .clause = "EN 319 401 REQ-7.4"),
	CONF_ROW(CONF_PATH, struct keyd_conf, audit_socket, "audit-socket", .access = CONF_CONNECTS, .standard = "",
		 .help = "auditd's socket: no audit, no signature."),
	CONF_ROW(CONF_PATH, struct keyd_conf, audit_journal, "audit-journal", .access = CONF_REPLACES, .standard = "",
		 .help = "For founding and off-line work instead of audit-socket: a local file of records, imported into the "
			 "log later."),
	CONF_ROW(
		CONF_PATH, struct keyd_conf, founding, "founding", .access = CONF_OPENS, .standard = "",
		.help = "Founding document of the provider: from it on keyd verifies who may do what. Without it keyd carries out no "
			"operations with quorum, and its administrators make keys of a CA.",
		.clause = "practice statement 5.2.2, 6.2.2"),
	CONF_ROW(CONF_STRING, struct keyd_conf, founding_hash, "founding-hash", .standard = "",
		 .help = "SHA-256 of the founding document, 64 hexadecimal digits, as the founders have read it out."),
	CONF_ROW(
		CONF_STRING, struct keyd_conf, instance, "instance", .standard = "",
		.help = "Who this keyd is in operations (default keyd/ZONE): a second keyd for the same keys is an instance of its own, "
			"such as keyd/ca-2, with an identity key of its own.",
		.clause = "practice statement 6.2.4"),
	CONF_ROW(
		CONF_PATH, struct keyd_conf, persons, "register", .access = CONF_OPENS, .standard = "",
		.help = "For off-line work: the register of persons as a file (`chancery op register`), read at start before the records. "
			"Compare its head, which is logged, with the one on line."),
};

static const struct conf_row peer_rows[] = {
	CONF_ROW(CONF_INTEGER, struct keyd_peer, uid, "uid", .min = 0, .max = 4294967294,
		 .help = "Who asks, as the kernel says."),
	CONF_ROW(CONF_STRING, struct keyd_peer, purposes, "purposes",
		 .help = "What for: certificate crl ocsp time-stamp log request, or *."),
	CONF_ROW(CONF_STRING, struct keyd_peer, keys, "keys", .standard = "*", .help = "With which keys: labels, or *."),
};

static const struct conf_row device_rows[] = {
	CONF_ROW(CONF_STRING, struct keyd_device, token, "token", .standard = "*", .help = "Label of the token, or * for all."),
	CONF_ROW(CONF_STRING, struct keyd_device, scheme, "scheme",
		 .help = "Under which scheme the device is certified: Common Criteria, EUCC, FIPS 140-3.",
		 .clause = "EN 319 411-1 GEN-6.5.2-02"),
	CONF_ROW(CONF_STRING, struct keyd_device, level, "level", .standard = "", .help = "At which level."),
	CONF_ROW(CONF_STRING, struct keyd_device, certificate, "certificate", .standard = "",
		 .help = "Number of its certificate."),
	CONF_ROW(CONF_STRING, struct keyd_device, expires, "expires", .standard = "",
		 .help = "Last day of the certification, YYYY-MM-DD; chancery status warns 90 days before."),
	CONF_ROW(CONF_LIST, struct keyd_device, copies, "copy", .standard = "",
		 .help = "Where a copy of the token is, repeated.", .clause = "EN 319 411-1 GEN-6.5.2-05"),
};

static const struct conf_section sections[] = {
	{ .name = "",
	  .size = sizeof(struct keyd_conf),
	  .offset = 0,
	  ROWS(head_rows),
	  .help = "One keyd is one zone: the keys one security context may use." },
	{ .name = "peer",
	  .many = true,
	  .size = sizeof(struct keyd_peer),
	  .offset = offsetof(struct keyd_conf, peers),
	  ROWS(peer_rows),
	  .help = "Who may ask for signatures, beside this uid and root." },
	{ .name = "device",
	  .many = true,
	  .size = sizeof(struct keyd_device),
	  .offset = offsetof(struct keyd_conf, devices),
	  ROWS(device_rows),
	  .help = "What is known of the device that a token is: shown with each key." },
};
const struct conf_schema keyd_schema = { .service = "keyd",
					 .sections = sections,
					 .section_count = sizeof sections / sizeof sections[0],
					 .size = sizeof(struct keyd_conf) };

/* The next word of a space separated list; empty at the end. */
static span next_word(span *rest)
{
	while (rest->len > 0 && rest->data[0] == ' ')
		*rest = span_from(*rest, 1);
	size_t len = 0;
	while (len < rest->len && rest->data[len] != ' ')
		len++;
	span word = span_first(*rest, len);
	*rest = span_from(*rest, len);
	return word;
}

static bool lists(const char *text, span wanted)
{
	span rest = span_str(text);
	for (span word = next_word(&rest); word.len > 0; word = next_word(&rest))
		if (span_is(word, "*") || span_equal(word, wanted))
			return true;
	return false;
}

static st check_peer(struct scope *s, const struct keyd_peer *peer)
{
	span rest = span_str(peer->purposes);
	for (span word = next_word(&rest); word.len > 0; word = next_word(&rest))
		if (!span_is(word, "*") && key_purpose_named(word) == 0)
			return fail(s, E_CONFIG,
				    "peer %s: \"%.*s\" is no purpose; there are certificate, crl, ocsp, time-stamp, log and "
				    "request",
				    peer->label, (int)word.len, (const char *)word.data);
	return OK;
}

/* Of that day; 0 without one. */
static st last_moment(struct scope *s, const char *day, int64_t *out)
{
	*out = 0;
	if (day == NULL)
		return OK;
	st parsed = moment_parse(s, span_str(scope_printf(s, "%sT23:59:59Z", day)), out);
	if (parsed.code == E_OK)
		return OK;
	scope_clear_error(s);
	return fail(s, E_CONFIG, "expires = %s is no date; write YYYY-MM-DD", day);
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

struct key_device keyd_conf_device(struct scope *s, const struct keyd_conf *conf, const char *token)
{
	const struct keyd_device *devices = conf->devices.item;
	const struct keyd_device *found = NULL;
	for (size_t i = 0; i < conf->devices.count; i++)
		if (strcmp(devices[i].token, token) == 0 || (found == NULL && strcmp(devices[i].token, "*") == 0))
			found = &devices[i];
	struct key_device out = { "", "", "", "", 0 };
	if (found == NULL)
		return out;
	out = (struct key_device){ or_empty(found->scheme), or_empty(found->level), or_empty(found->certificate), "", 0 };
	(void)last_moment(s, found->expires, &out.expires).code; /* checked when it was read */
	for (size_t i = 0; i < found->copies.count; i++)
		out.copies = scope_printf(s, "%s%s%s", out.copies, i > 0 ? "; " : "", found->copies.item[i]);
	return out;
}

st keyd_conf_check(struct scope *s, const struct keyd_conf *conf)
{
	if ((conf->audit_socket == NULL) == (conf->audit_journal == NULL))
		return fail(s, E_CONFIG,
			    "keyd records every signature: name audit-socket, or audit-journal for founding and off-line work, "
			    "not both");
	if (conf->persons != NULL && conf->founding == NULL)
		return fail(s, E_CONFIG,
			    "register is verified from the founding document on: name founding and founding-hash as well");
	if ((conf->founding == NULL) != (conf->founding_hash == NULL))
		return fail(s, E_CONFIG, "founding and founding-hash go together: the hash is what the founders have read out");
	TRY(fail_context(s, key_label_check(s, conf->zone), "zone"));
	for (size_t i = 0; i < conf->tokens.count; i++)
		TRY(fail_context(s, key_label_check(s, conf->tokens.item[i]), "token %s", conf->tokens.item[i]));
	uint64_t uid;
	for (size_t i = 0; i < conf->administrators.count; i++)
		TRY(fail_context(s, decimal_parse(s, span_str(conf->administrators.item[i]), UINT32_MAX - 1, &uid),
				 "administrator"));
	const struct keyd_peer *peers = conf->peers.item;
	for (size_t i = 0; i < conf->peers.count; i++)
		TRY(check_peer(s, &peers[i]));
	const struct keyd_device *devices = conf->devices.item;
	int64_t expires;
	for (size_t i = 0; i < conf->devices.count; i++)
		TRY(fail_context(s, last_moment(s, devices[i].expires, &expires), "device %s", devices[i].label));
	return OK;
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_list(const struct conf_list *a, const struct conf_list *b)
{
	bool same = a->count == b->count;
	for (size_t i = 0; same && i < a->count; i++)
		same = same_text(a->item[i], b->item[i]);
	return same;
}

st keyd_conf_compare(struct scope *s, const struct keyd_conf *now, const struct keyd_conf *next)
{
	const struct {
		const char *name;
		bool same;
	} rows[] = {
		{ "zone", same_text(now->zone, next->zone) },
		{ "module", same_text(now->module, next->module) },
		{ "module_init_args", same_text(now->module_init_args, next->module_init_args) },
		{ "hsm-address", same_list(&now->hsm_addresses, &next->hsm_addresses) },
		{ "state-directory", same_text(now->state, next->state) },
		{ "token-directory", same_text(now->token_directory, next->token_directory) },
		{ "module-directory", same_list(&now->module_directories, &next->module_directories) },
		{ "token", same_list(&now->tokens, &next->tokens) },
		{ "socket", same_text(now->socket, next->socket) },
		{ "socket-group", same_text(now->socket_group, next->socket_group) },
		{ "connections", now->connections == next->connections },
		{ "signers", now->signers == next->signers },
		{ "audit-socket", same_text(now->audit_socket, next->audit_socket) },
		{ "audit-journal", same_text(now->audit_journal, next->audit_journal) },
		{ "founding", same_text(now->founding, next->founding) },
		{ "founding-hash", same_text(now->founding_hash, next->founding_hash) },
		{ "instance", same_text(now->instance, next->instance) },
		{ "register", same_text(now->persons, next->persons) },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!rows[i].same)
			return fail(s, E_STATE,
				    "%s cannot change while keyd runs: restart it; peers, administrators and devices can",
				    rows[i].name);
	return OK;
}

const char *keyd_token_directory(struct scope *s, const struct keyd_conf *conf)
{
	if (conf->token_directory != NULL)
		return conf->token_directory;
	return strstr(conf->module, "softhsm") != NULL ? scope_printf(s, "%s/tokens", conf->state) : NULL;
}

st keyd_prepare_module(struct scope *s, const struct keyd_conf *conf)
{
	const char *directory = keyd_token_directory(s, conf);
	if (directory == NULL)
		return OK;
	const char *path = scope_printf(s, "%s/softhsm2.conf", conf->state);
	const char *text = scope_printf(
		s, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
		directory);
	TRY(file_make_directory(s, directory, 0700));
	TRY(file_replace(s, path, span_str(text), 0600));
	if (setenv("SOFTHSM2_CONF", path, 1) != 0)
		return fail_errno(s, E_IO, "naming %s to SoftHSM", path);
	return OK;
}

static bool is_self(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

bool keyd_may_administer(const struct keyd_conf *conf, uid_t uid)
{
	for (size_t i = 0; i < conf->administrators.count; i++)
		if (strtoul(conf->administrators.item[i], NULL, 10) == uid)
			return true;
	return is_self(uid);
}

bool keyd_may_sign(const struct keyd_conf *conf, uid_t uid, enum key_purpose purpose, const char *label)
{
	const struct keyd_peer *peers = conf->peers.item;
	for (size_t i = 0; i < conf->peers.count; i++)
		if (peers[i].uid == (int64_t)uid && lists(peers[i].purposes, span_str(key_purpose_name(purpose))) &&
		    lists(peers[i].keys, span_str(label)))
			return true;
	return is_self(uid);
}
