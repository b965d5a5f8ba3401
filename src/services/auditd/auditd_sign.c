#include "auditd.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <sys/stat.h>

/* Sooner than the interval when so many records wait: what is in memory stays small. */
#define PENDING_SOON      16384
#define COMPLAIN_EVERY_US MOMENT_MINUTE

struct signer {
	const struct auditd_conf *conf; /* a reload puts a newer one there */
	char *path;                     /* of the checkpoint */
	pthread_t thread;
	bool running;
	atomic_bool stopping;
	struct tail *tail;
	struct tree *tree;
	struct indexed *indexed;
	struct audit_log *log;
	struct auditd *a;
	/* This thread's own: */
	struct key_client *keyd;
	bool key_known; /* that it is the one that signed before, or the change is on record */
	bool head_known;
	uint64_t head_size; /* what keyd signed last */
	int64_t complained;
	bool warned;
	/* Under the lock: */
	pthread_mutex_t lock;
	struct buf note;
	uint64_t size;
	int64_t time;
};

static const struct auditd_conf *conf_of(const struct signer *g)
{
	return __atomic_load_n(&g->conf, __ATOMIC_ACQUIRE);
}

void signer_reload(struct signer *g, const struct auditd_conf *conf)
{
	__atomic_store_n(&g->conf, conf, __ATOMIC_RELEASE);
	tail_wake(g->tail);
}

/* ---- the checkpoint that is there ---- */

static st check_root(struct scope *s, const struct signer *g, const struct audit_checkpoint *c)
{
	struct audit_source source = { .node = audit_log_node, .state = g->log };
	struct audit_hash root;
	if (strcmp(c->origin, conf_of(g)->origin) != 0)
		return fail(s, E_STATE, "the checkpoint in %s is of %s, and this log is configured as %s", conf_of(g)->log,
			    c->origin, conf_of(g)->origin);
	TRY(audit_source_root(s, &source, c->size, &root));
	if (!audit_hash_equal(&root, &c->root))
		return fail(s, E_STATE,
			    "the tiles do not have the root of the checkpoint of %llu leaves: the log in %s was changed; run "
			    "'chancery audit verify' on a copy and restore it",
			    (unsigned long long)c->size, conf_of(g)->log);
	return OK;
}

static st load_checkpoint(struct scope *s, struct signer *g)
{
	span note;
	struct audit_note parts;
	struct audit_checkpoint c;
	struct stat about;
	st status = audit_log_checkpoint(s, g->log, &note);
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(status);
	TRY(audit_note_read(s, note, &parts));
	TRY(audit_checkpoint_read(s, parts.text, &c));
	TRY(check_root(s, g, &c));
	if (stat(g->path, &about) != 0 || !buf_append(&g->note, note))
		return fail_errno(s, E_IO, "%s", g->path);
	g->size = c.size;
	g->time = (int64_t)about.st_mtim.tv_sec * MOMENT_SECOND + about.st_mtim.tv_nsec / 1000;
	return OK;
}

st signer_new(struct scope *s, const struct auditd_conf *conf, struct audit_log *log, struct signer **out)
{
	struct signer *g = heap_alloc(sizeof *g);
	g->conf = conf;
	g->log = log;
	g->path = heap_copy_str(scope_printf(s, "%s/checkpoint", conf->log));
	(void)pthread_mutex_init(&g->lock, NULL);
	buf_init(&g->note, AUDIT_NOTE_MAX);
	st status = fail_context(s, load_checkpoint(s, g), "%s", g->path);
	if (status.code != E_OK) {
		signer_free(g);
		return status;
	}
	g->keyd = key_client_new(conf->keyd);
	*out = g;
	return OK;
}

uint64_t signer_size(struct signer *g)
{
	(void)pthread_mutex_lock(&g->lock);
	uint64_t size = g->size;
	(void)pthread_mutex_unlock(&g->lock);
	return size;
}

/* ---- from the tail into files ---- */

static st add_leaf(struct scope *s, void *tree, span leaf, const struct audit_hash *hash)
{
	return tree_add(s, tree, leaf, hash);
}

static st integrate(struct scope *s, struct signer *g, uint64_t *out_size, int64_t *out_taken)
{
	*out_taken = moment_monotonic();
	TRY(tail_rotate(s, g->tail, out_size));
	TRY(tail_each(s, g->tail, tree_size(g->tree), *out_size, add_leaf, g->tree));
	TRY(tree_flush(s, g->tree));
	FAILPOINT("auditd.integrated");
	tail_trim(g->tail, *out_size);
	indexed_keep(g->indexed, g->log, *out_size);
	return OK;
}

/* What is in memory of a tree that could not be written is not to be trusted: the files and the tail are. */
static void reopen_tree(struct signer *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct tree *fresh;
	if (tree_open(&s, conf_of(g)->log, g->log, tail_base(g->tail), &fresh).code != E_OK) {
		log_failure(&s, "reading the tree anew");
		return;
	}
	tree_close(g->tree);
	g->tree = fresh;
}

/* ---- the key ---- */

static st find_key(struct scope *s, struct signer *g, const char *label, struct audit_key *out)
{
	struct key_info info;
	TRY(key_find(s, g->keyd, label, &info));
	return audit_key_of_spki(s, conf_of(g)->origin, info.spki, out);
}

static st record_key_change(struct scope *s, struct signer *g, span from, const char *to)
{
	AUTO_EVENT e;
	audit_begin(&e, s, AUDIT_LOG_KEY_CHANGED);
	audit_text(&e, "from", from);
	audit_str(&e, "to", to);
	audit_number(&e, "size", (int64_t)signer_size(g));
	return auditd_record(s, g->a, &e);
}

/* On record before the new key signs its first checkpoint, which so covers the record. The file has the key that signs. */
static st know_key(struct scope *s, struct signer *g)
{
	struct audit_key key;
	span file;
	const char *path = scope_printf(s, "%s/key", conf_of(g)->log);
	TRY(find_key(s, g, conf_of(g)->key, &key));
	const char *line = scope_printf(s, "%s\n", audit_key_text(s, &key));
	st known = file_read(s, path, 4096, &file);
	if (known.code != E_OK && known.code != E_NOTFOUND)
		return known;
	scope_clear_error(s);
	if (known.code == E_OK && !span_is(file, line))
		TRY(record_key_change(s, g, span_first(file, file.len > 0 ? file.len - 1 : 0), audit_key_text(s, &key)));
	if (known.code != E_OK || !span_is(file, line))
		TRY(file_replace(s, path, span_str(line), 0644));
	g->key_known = true;
	return OK;
}

/* ---- signing ---- */

/* The signature is checked before anybody sees it: a checkpoint that does not verify would make the whole log doubtful. */
static st check_note(struct scope *s, struct signer *g, const char *label, span note)
{
	struct audit_key key;
	struct audit_checkpoint c;
	TRY(find_key(s, g, label, &key));
	return audit_checkpoint_open(s, note, &key, 1, &c);
}

static st prove_from_head(struct scope *s, struct signer *g, uint64_t size, span *out_proof)
{
	uint8_t root[AUDIT_HASH_LEN];
	if (!g->head_known) {
		TRY(key_log_head(s, g->keyd, conf_of(g)->key, &g->head_size, root));
		g->head_known = true;
	}
	if (g->head_size > size)
		return fail(s, E_STATE,
			    "keyd has signed a checkpoint of %llu leaves and this log has %llu: leaves were lost; restore the "
			    "log from a "
			    "newer copy",
			    (unsigned long long)g->head_size, (unsigned long long)size);
	struct audit_source source = { .node = audit_log_node, .state = g->log };
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	TRY(audit_prove_consistency(s, &source, g->head_size, size, proof));
	*out_proof = audit_proof_span(proof);
	return OK;
}

/* The key of before is held to the heads that it signed, like the other. */
static st sign_outgoing(struct scope *s, struct signer *g, const struct audit_checkpoint *c, char **note)
{
	const char *label = conf_of(g)->outgoing_key;
	struct audit_source source = { .node = audit_log_node, .state = g->log };
	struct audit_proof *proof = scope_new(s, struct audit_proof);
	uint8_t root[AUDIT_HASH_LEN];
	uint64_t head;
	span payload;
	TRY(key_log_head(s, g->keyd, label, &head, root));
	TRY(audit_prove_consistency(s, &source, head, c->size, proof));
	TRY(key_sign_checkpoint(s, g->keyd, label, c->origin, c->size, c->root.octets, audit_proof_span(proof), &payload));
	*note = scope_printf(s, "%s%s", *note, audit_note_signature_line(s, c->origin, payload));
	return check_note(s, g, label, span_str(*note));
}

static st sign(struct scope *s, struct signer *g, uint64_t size)
{
	struct audit_checkpoint c = { .size = size, .root = tree_root(g->tree) };
	span proof, payload;
	(void)strncpy(c.origin, conf_of(g)->origin, sizeof c.origin - 1);
	TRY(prove_from_head(s, g, size, &proof));
	TRY(key_sign_checkpoint(s, g->keyd, conf_of(g)->key, c.origin, size, c.root.octets, proof, &payload));
	g->head_size = size;
	FAILPOINT("auditd.signed");
	char *note = scope_printf(s, "%s\n%s", audit_checkpoint_text(s, &c), audit_note_signature_line(s, c.origin, payload));
	TRY(check_note(s, g, conf_of(g)->key, span_str(note)));
	if (conf_of(g)->outgoing_key != NULL)
		TRY(fail_context(s, sign_outgoing(s, g, &c, &note), "outgoing-key"));
	TRY(file_replace(s, g->path, span_str(note), 0644));
	FAILPOINT("auditd.checkpoint-written");
	(void)pthread_mutex_lock(&g->lock);
	buf_clear(&g->note);
	bool kept = buf_append(&g->note, span_str(note));
	g->size = size;
	g->time = scope_now(s);
	(void)pthread_mutex_unlock(&g->lock);
	return kept ? OK : fail(s, E_LIMIT, "the checkpoint is over the limit of a note");
}

/* ---- the thread ---- */

static void complain(struct signer *g, const struct scope *s, const char *doing)
{
	int64_t now = moment_monotonic();
	if (g->complained != 0 && now - g->complained < COMPLAIN_EVERY_US)
		return;
	g->complained = now;
	log_failure(s, doing);
}

static void watch_age(struct signer *g)
{
	int64_t waiting = tail_waiting(g->tail);
	bool late = waiting > conf_of(g)->checkpoint_max_age / 2;
	if (late && !g->warned)
		log_put(LOG_LEVEL_ERROR,
			"ALARM: no checkpoint of the audit log for %lld s; issuance stops at %lld s: is the keyd of the log "
			"zone (%s) well?",
			(long long)(waiting / MOMENT_SECOND), (long long)(conf_of(g)->checkpoint_max_age / MOMENT_SECOND),
			conf_of(g)->keyd);
	if (!late && g->warned)
		log_put(LOG_LEVEL_NOTICE, "checkpoints of the audit log are signed again");
	g->warned = late;
}

static void one_round(struct signer *g)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	bool may_sign = g->key_known || know_key(&s, g).code == E_OK;
	if (!may_sign)
		complain(g, &s, "finding the key of the audit log");
	scope_clear_error(&s);
	uint64_t size = tree_size(g->tree);
	int64_t taken = moment_monotonic();
	if (tail_size(g->tail) > size && integrate(&s, g, &size, &taken).code != E_OK) {
		complain(g, &s, "writing bundles and tiles of the audit log");
		reopen_tree(g);
		return;
	}
	if (size == signer_size(g) || !may_sign)
		return;
	if (sign(&s, g, size).code != E_OK) {
		g->head_known = false;
		complain(g, &s, "signing a checkpoint of the audit log");
		return;
	}
	tail_signed(g->tail, size, taken);
	g->complained = 0;
}

static void *signer_main(void *argument)
{
	struct signer *g = argument;
	int64_t next = moment_monotonic();
	while (!atomic_load(&g->stopping)) {
		one_round(g);
		watch_age(g);
		next += conf_of(g)->checkpoint_interval;
		int64_t now = moment_monotonic();
		if (next < now)
			next = now;
		tail_wait(g->tail, PENDING_SOON, next - now);
	}
	one_round(g);
	return NULL;
}

void signer_start(struct signer *g, struct auditd *a, struct tail *tail, struct tree *tree, struct indexed *indexed)
{
	g->a = a;
	g->indexed = indexed;
	g->tail = tail;
	g->tree = tree;
	if (pthread_create(&g->thread, NULL, signer_main, g) != 0)
		log_die("no thread to sign checkpoints");
	g->running = true;
}

void signer_stop(struct signer *g)
{
	if (g == NULL || !g->running)
		return;
	atomic_store(&g->stopping, true);
	tail_wake(g->tail);
	(void)pthread_join(g->thread, NULL);
	g->running = false;
}

void signer_free(struct signer *g)
{
	if (g == NULL)
		return;
	if (g->keyd != NULL)
		key_client_free(g->keyd);
	tree_close(g->tree);
	buf_free(&g->note);
	(void)pthread_mutex_destroy(&g->lock);
	free(g->path);
	free(g);
}

uint64_t signer_checkpoint(struct signer *g, uint64_t known, struct buf *out, int64_t *out_time)
{
	(void)pthread_mutex_lock(&g->lock);
	uint64_t size = g->size;
	*out_time = g->time;
	if (size != known && !buf_append(out, buf_span(&g->note)))
		log_die("the checkpoint does not fit its buffer");
	(void)pthread_mutex_unlock(&g->lock);
	return size;
}

st signer_check(struct scope *s, struct signer *g)
{
	int64_t waiting = tail_waiting(g->tail);
	if (waiting <= conf_of(g)->checkpoint_max_age)
		return OK;
	//= EN 319 401 REQ-7.9.1-14 the integrity of the records is protected: nothing is issued under records that nobody seals
	return fail(s, E_UNAVAILABLE,
		    "records wait for a signed checkpoint since %lld s, the limit is %lld s: issuance stops (EN 319 401 "
		    "REQ-7.9.1); start the "
		    "keyd of the log zone or see why it refuses",
		    (long long)(waiting / MOMENT_SECOND), (long long)(conf_of(g)->checkpoint_max_age / MOMENT_SECOND));
}
