/*
 * keyd_checkpoint.c - tree heads of the audit log. keyd keeps the last head it signed and signs a next one only with the proof
 * that it continues that one: whoever has taken auditd over cannot have two histories signed. Checkpoints need no record:
 * they are one. A cosigner's key, which says of somebody's log that it only grew, is held to the same.
 */
#include "keyd.h"
#include "audit_note.h"
#include "failpoint.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "wire.h"
#include <stdio.h>

#define FILE_VERSION 1

struct head {
	uint64_t size;
	struct audit_hash root;
};

static char *head_path(struct scope *s, const struct keyd_conf *conf, const char *label)
{
	return scope_printf(s, "%s/heads/%s", conf->state, label);
}

static st read_head(struct scope *s, const struct keyd_conf *conf, const char *label, struct head *out)
{
	const char *path = head_path(s, conf, label);
	span bytes;
	st status = file_read(s, path, 256, &bytes);
	if (status.code == E_NOTFOUND) {
		scope_clear_error(s);
		*out = (struct head){ .size = 0, .root = audit_root_of(NULL, 0) };
		return OK;
	}
	TRY(status);
	struct rd r = rd_of(bytes);
	uint16_t version = rd_u16(&r);
	uint64_t size = rd_u64(&r);
	span root = rd_raw(&r, AUDIT_HASH_LEN);
	TRY(fail_context(s, rd_end(s, &r, "the last tree head"), "%s", path));
	if (version != FILE_VERSION)
		return fail(s, E_STATE, "%s is of version %u, this program reads version %d", path, version, FILE_VERSION);
	out->size = size;
	memcpy(out->root.octets, root.data, AUDIT_HASH_LEN);
	return OK;
}

static st keep_head(struct scope *s, struct keyd *d, const char *label, const struct head *head)
{
	AUTO_BUF file = { .cap = 256 };
	struct wr w = wr_into(&file);
	wr_u16(&w, FILE_VERSION);
	wr_u64(&w, head->size);
	wr_raw(&w, SPAN_ARRAY(head->root.octets));
	TRY(wr_end(s, &w));
	return file_replace(s, head_path(s, d->conf, label), buf_span(&file), 0600);
}

static st find_log_key(struct scope *s, struct keyd *d, const char *label, struct keyd_key **out)
{
	struct keyd_key *k;
	TRY(keyd_find_key(s, d, label, &k));
	if ((k->info.purposes & KEY_FOR_LOG) == 0)
		return fail(s, E_DENIED, "key \"%s\" is not for log", label);
	*out = k;
	return OK;
}

st keyd_log_head(struct scope *s, struct keyd *d, const char *label, uint64_t *out_size, uint8_t out_root[32])
{
	struct keyd_key *k;
	struct head head;
	TRY(find_log_key(s, d, label, &k));
	(void)pthread_mutex_lock(&k->ocsp.lock);
	st status = read_head(s, d->conf, label, &head);
	(void)pthread_mutex_unlock(&k->ocsp.lock);
	TRY(status);
	*out_size = head.size;
	memcpy(out_root, head.root.octets, AUDIT_HASH_LEN);
	return OK;
}

/* rfc6962#2.1.2: the new tree begins with the old one; of the same size it is the same. */
static st check_consistent(struct scope *s, const struct head *old, const struct head *new, span proof)
{
	if (new->size < old->size)
		return fail(s, E_DENIED,
			    "the log shrank: a head of %llu entries was signed, this one has %llu (RFC 6962 2.1.2)",
			    (unsigned long long)old->size, (unsigned long long)new->size);
	if (old->size == 0)
		return proof.len == 0 ? OK : fail(s, E_DENIED, "there is no earlier head, so no proof belongs to it");
	if (new->size == old->size && proof.len == 0)
		return audit_hash_equal(&old->root, &new->root)
			       ? OK
			       : fail(s, E_DENIED, "another tree of the same size was signed before");
	st status = audit_verify_consistency(s, proof, old->size, &old->root, new->size, &new->root);
	if (status.code == E_OK)
		return OK;
	return fail(s, E_DENIED, "the proof does not show that this tree continues the one signed last (RFC 6962 2.1.2)");
}

/* What is signed, and what stands before the signature in its line. */
struct signed_text {
	span text;
	uint8_t before[4 + 8];
	size_t before_len;
};

static st write_text(struct scope *s, const struct keyd_key *k, const struct audit_checkpoint *checkpoint, const char *cosigner,
		     struct signed_text *out)
{
	struct audit_key key;
	out->text = span_str(audit_checkpoint_text(s, checkpoint));
	if (cosigner == NULL)
		TRY(audit_key_of_spki(s, checkpoint->origin, k->info.spki, &key));
	else
		TRY(audit_cosigner_of_spki(s, cosigner, k->info.spki, &key));
	memcpy(out->before, key.id, sizeof key.id);
	out->before_len = sizeof key.id;
	if (cosigner == NULL)
		return OK;
	//= c2sp tlog-cosignature "Format" the time in seconds, in 8 octets, stands behind the key id
	uint64_t seconds = (uint64_t)(scope_now(s) / MOMENT_SECOND);
	out->text = span_str(audit_cosigned_text(s, seconds, out->text));
	for (int i = 0; i < 8; i++)
		out->before[out->before_len++] = (uint8_t)(seconds >> (56 - 8 * i));
	return OK;
}

static st sign_text(struct scope *s, struct keyd *d, struct keyd_key *k, const struct audit_checkpoint *checkpoint,
		    const char *cosigner, span *out_payload)
{
	const struct alg_signature *algorithm = alg_signature_default(k->info.type);
	TRY(alg_policy_check(s, k->info.type, algorithm, ALG_USE_LOG, false, scope_now(s)));
	struct signed_text what;
	TRY(write_text(s, k, checkpoint, cosigner, &what));
	span text = what.text;
	uint8_t digest[DIGEST_MAX];
	span input = algorithm->digest == DIGEST_NONE ? text : digest_of(algorithm->digest, text, digest);
	struct hsm_key *hsm;
	span signature;
	TRY(keyd_hsm_key(s, d, k, &hsm));
	TRY(keyd_token_sign(s, d, k, KEY_FOR_LOG, hsm, algorithm, input, &signature));
	uint8_t *payload = scope_alloc(s, what.before_len + signature.len);
	memcpy(payload, what.before, what.before_len);
	memcpy(payload + what.before_len, signature.data, signature.len);
	*out_payload = span_of(payload, what.before_len + signature.len);
	return OK;
}

/* One at a time for each key: the head that is kept is the one that was signed last, or about to be. */
static st sign_next(struct scope *s, struct keyd *d, struct keyd_key *k, const struct audit_checkpoint *checkpoint,
		    const struct key_checkpoint_request *request, span *out_payload)
{
	struct head old, new = { .size = checkpoint->size, .root = checkpoint->root };
	TRY(read_head(s, d->conf, k->info.label, &old));
	TRY(check_consistent(s, &old, &new, request->proof));
	TRY(keyd_check_rate(s, k));
	TRY(keyd_life_checkpoint(s, d, k));
	if (new.size != old.size)
		TRY(keep_head(s, d, k->info.label, &new));
	FAILPOINT("keyd.recorded");
	TRY(sign_text(s, d, k, checkpoint, request->cosigner, out_payload));
	FAILPOINT("keyd.signed");
	return OK;
}

st keyd_sign_checkpoint(struct scope *s, struct keyd *d, uid_t uid, const struct key_checkpoint_request *request,
			span *out_payload)
{
	struct keyd_key *k;
	TRY(find_log_key(s, d, request->label, &k));
	if (!keyd_may_sign(d->conf, uid, KEY_FOR_LOG, request->label))
		return fail(s, E_DENIED, "uid %u may not use key \"%s\" for log", (unsigned)uid, request->label);
	const char *origin = k->info.limits.origin;
	if (origin[0] != 0 && strcmp(origin, request->origin) != 0)
		return fail(s, E_DENIED, "key \"%s\" signs checkpoints of %s only", request->label, origin);
	struct audit_checkpoint checkpoint = { .size = request->size };
	memcpy(checkpoint.origin, request->origin, strlen(request->origin) + 1);
	memcpy(checkpoint.root.octets, request->root.data, AUDIT_HASH_LEN);
	TRY(keyd_life_begin(s, d, k, KEY_FOR_LOG));
	(void)pthread_mutex_lock(&k->ocsp.lock);
	st status = sign_next(s, d, k, &checkpoint, request, out_payload);
	(void)pthread_mutex_unlock(&k->ocsp.lock);
	keyd_life_end(k);
	return status;
}

/* ---- commands for a restore ---- */

static st print_head(struct scope *s, const struct keyd_conf *conf, const char *label)
{
	struct head head;
	TRY(read_head(s, conf, label, &head));
	return printf("%llu\n", (unsigned long long)head.size) > 0 ? OK : fail(s, E_IO, "standard output");
}

/* The head stays beside, as evidence of what was signed. */
static st forget_head(struct scope *s, const struct keyd_conf *conf, const char *label)
{
	struct head head;
	char *path = head_path(s, conf, label);
	struct wire_client *running = NULL;
	if (wire_connect(s, conf->socket, 1000, &running).code == E_OK) {
		wire_close(running);
		return fail(s, E_STATE, "keyd of this zone runs at %s: stop it first", conf->socket);
	}
	scope_clear_error(s);
	TRY(read_head(s, conf, label, &head));
	char *aside = scope_printf(s, "%s.of-%llu-forgotten-%lld", path, (unsigned long long)head.size,
				   (long long)(scope_now(s) / MOMENT_SECOND));
	if (head.size > 0 && rename(path, aside) != 0)
		return fail_errno(s, E_IO, "moving %s to %s", path, aside);
	TRY(file_sync_directory_of(s, path));
	log_put(LOG_LEVEL_WARNING,
		"the head of %llu records that key \"%s\" signed last is forgotten: the next log is signed as new",
		(unsigned long long)head.size, label);
	return print_head(s, conf, label);
}

static int command(const void *conf, int argc, char **argv, st (*run)(struct scope *, const struct keyd_conf *, const char *))
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	bool plain = argc == 2 && argv[1][0] != 0 && argv[1][0] != '.' && strchr(argv[1], '/') == NULL;
	st status = plain ? run(&s, conf, argv[1]) : fail(&s, E_INPUT, "give the label of the log key: %s LABEL", argv[0]);
	if (status.code != E_OK)
		log_failure(&s, argv[0]);
	return code_row(status.code)->exit_code;
}

int keyd_head(const void *conf, int argc, char **argv)
{
	return command(conf, argc, argv, print_head);
}

int keyd_forget_head(const void *conf, int argc, char **argv)
{
	return command(conf, argc, argv, forget_head);
}
