/*
 * Replies of auditd: a peer on a socket answers whatever is asked with these bytes. The first octet chooses what is asked: a commit, the
 * condition, leaves, the import of a journal, the records of class control, a proof of consistency, the condition of time-stamps and of
 * copies.
 */
#include "audit_client.h"
#include "audit_local.h"
#include "fuzz_directory.h"
#include "fuzz_peer.h"
#include "log.h"

static const uint16_t kinds[] = { AUDIT_KIND_APPEND,  AUDIT_KIND_READ,        AUDIT_KIND_STATUS, AUDIT_KIND_IMPORT,
				  AUDIT_KIND_CONTROL, AUDIT_KIND_CONSISTENCY, AUDIT_KIND_STAMPS, AUDIT_KIND_COPIES };
static const char *peer;
static struct audit *audit;

static void event_of(struct scope *s, struct audit_event *e)
{
	audit_begin(e, s, AUDIT_LOG_STOPPED);
	audit_number(e, "size", 1);
	check(audit_finish(s, e).code == E_OK);
}

static void commit(struct scope *s, span reply)
{
	AUTO_EVENT one = { 0 };
	AUTO_EVENT other = { 0 };
	const struct audit_event *both[] = { &one, &other };
	event_of(s, &one);
	event_of(s, &other);
	/* It is on record only when the reply says so of each. */
	if (audit_commit_all(s, audit, both, 2).code == E_OK)
		check(reply.len >= 34 && memcmp(reply.data + 2, "\0\0", 2) == 0 && memcmp(reply.data + 12, "\0\0", 2) == 0);
	else
		check(s->message[0] != 0);
}

static void status(struct scope *s, span reply)
{
	struct audit_status got;
	if (audit_status_get(s, peer, &got).code == E_OK)
		check(got.checkpoint.len + 36 == reply.len);
}

static void leaves(struct scope *s, span reply)
{
	struct audit_leaf *leaf;
	size_t count, total = 12;
	uint64_t size;
	if (audit_read(s, audit, 7, 100, &leaf, &count, &size).code != E_OK)
		return;
	for (size_t i = 0; i < count; i++) {
		check(leaf[i].index == 7 + i);
		total += 4 + leaf[i].bytes.len;
	}
	check(total == reply.len);
}

static void import(struct scope *s, span reply)
{
	uint64_t fresh, known;
	(void)reply;
	if (audit_import(s, peer, fuzz_path("journal"), &fresh, &known).code == E_OK)
		check(fresh + known == 2);
}

static void controls(struct scope *s, span reply)
{
	struct audit_leaf *leaf;
	size_t count, total = 12;
	uint64_t there;
	if (audit_control_read(s, audit, 7, 100, &leaf, &count, &there).code != E_OK)
		return;
	check(count <= 100);
	for (size_t i = 0; i < count; i++) {
		check(i == 0 || leaf[i - 1].index < leaf[i].index);
		total += 12 + leaf[i].bytes.len;
	}
	check(total == reply.len);
}

/* Of one leaf, whose root is its hash, to whatever the checkpoint says: only a proof shows it. */
static void consistency(struct scope *s, span reply)
{
	struct audit_hash one = audit_leaf_hash(SPAN_LITERAL("one"));
	uint64_t size;
	uint8_t root[32];
	(void)reply;
	if (audit_consistent(s, audit, 1, one.octets, &size, root).code == E_OK)
		check(size > 1 || memcmp(root, one.octets, sizeof root) == 0);
	else
		check(s->message[0] != 0);
}

static void stamps(struct scope *s, span reply)
{
	struct audit_stamps got;
	if (audit_stamps_get(s, peer, &got).code == E_OK)
		check(got.condition < AUDIT_STAMPS_CONDITIONS && strlen(got.failure) + 37 == reply.len);
	else
		check(s->message[0] != 0);
}

static void copies(struct scope *s, span reply)
{
	struct audit_copy copy[AUDIT_COPIES_MAX];
	size_t count, total = 2;
	if (audit_copies_get(s, peer, copy, &count).code != E_OK) {
		check(s->message[0] != 0);
		return;
	}
	check(count <= AUDIT_COPIES_MAX);
	for (size_t i = 0; i < count; i++)
		total += 25 + strlen(copy[i].name) + strlen(copy[i].failure);
	check(total == reply.len);
}

static void set_up(struct scope *s)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	peer = fuzz_peer_socket(kinds, sizeof kinds / sizeof kinds[0]);
	const struct audit_settings settings = { .socket = peer, .component = "fuzz" };
	check(audit_open(s, &settings, &audit).code == E_OK);
	char *journal = scope_printf(s, "%s", fuzz_path("journal"));
	const struct audit_settings local = { .journal = journal, .component = "fuzz" };
	struct audit *founding;
	check(audit_open(s, &local, &founding).code == E_OK);
	for (int i = 0; i < 2; i++) {
		AUTO_EVENT e = { 0 };
		uint64_t index;
		event_of(s, &e);
		check(audit_commit(s, founding, &e, &index).code == E_OK);
	}
	audit_close(founding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const asks[])(struct scope *, span) = { commit,   status,      leaves, import,
							      controls, consistency, stamps, copies };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (peer == NULL)
		set_up(&s);
	if (size < 1 || data[0] >= sizeof asks / sizeof asks[0])
		return 0;
	span reply = span_of(data + 1, size - 1);
	fuzz_peer_answers(reply);
	asks[data[0]](&s, reply);
	return 0;
}
