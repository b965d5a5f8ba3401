/*
 * Public keys that are not certified: listed in the files of `key-blocklist`, or lost, which is what a revocation for
 * keyCompromise says. The latter stand in the database by the digest of their SubjectPublicKeyInfo and are asked for by the
 * transaction that stores a certificate, so that no revocation is overtaken.
 */
#include "ca.h"
#include "log.h"
#include <stdlib.h>

struct ca_blocklists {
	struct pki_blocklist **list;
	size_t count;
};

/* ---- lists ---- */

static void free_lists(struct ca_blocklists *lists)
{
	if (lists == NULL)
		return;
	for (size_t i = 0; i < lists->count; i++)
		pki_blocklist_free(lists->list[i]);
	free(lists->list);
	free(lists);
}

static st read_lists(struct scope *s, const struct conf_list *paths, struct ca_blocklists *out)
{
	out->list = heap_alloc((paths->count + 1) * sizeof(struct pki_blocklist *));
	for (; out->count < paths->count; out->count++) {
		const char *path = paths->item[out->count];
		TRY(pki_blocklist_read(s, path, &out->list[out->count]));
		log_put(LOG_LEVEL_NOTICE, "%zu keys that are not certified are listed in %s",
			pki_blocklist_count(out->list[out->count]), path);
	}
	return OK;
}

st ca_key_lists_load(struct scope *s, struct ca *ca, const struct conf_list *paths)
{
	struct ca_blocklists *new = heap_alloc(sizeof *new);
	st status = read_lists(s, paths, new);
	if (status.code == E_OK) {
		(void)pthread_rwlock_wrlock(&ca->lock);
		struct ca_blocklists *old = ca->blocklists;
		ca->blocklists = new;
		(void)pthread_rwlock_unlock(&ca->lock);
		new = old;
	}
	free_lists(new);
	return status;
}

void ca_key_lists_free(struct ca *ca)
{
	free_lists(ca->blocklists);
	ca->blocklists = NULL;
}

static st check_lists(struct scope *s, const struct ca_blocklists *lists, span spki)
{
	for (size_t i = 0; lists != NULL && i < lists->count; i++)
		TRY(pki_blocklist_check(s, lists->list[i], spki));
	return OK;
}

//= cabf-br#6.1.1.3
st ca_key_check_lists(struct scope *s, struct ca *ca, span spki)
{
	(void)pthread_rwlock_rdlock(&ca->lock);
	st status = check_lists(s, ca->blocklists, spki);
	(void)pthread_rwlock_unlock(&ca->lock);
	return status;
}

/* ---- lost keys ---- */

//= cabf-br#6.1.1.3 the key of a certificate that was revoked for its compromise is not certified again
st ca_key_check_lost(struct scope *s, struct db_tx *tx, span digest)
{
	struct db_row row;
	bool found;
	TRY(db_find(s, tx, &sql_key_lost_of, DB_VALUES(db_blob(digest)), &row, &found));
	if (!found)
		return OK;
	return fail(
		s, E_CRYPTO,
		"this public key was revoked for the compromise of its private key with certificate %s: it is not certified "
		"again (CA/Browser Forum BR 6.1.1.3, 4.9.1.1); make a new key",
		hex_text(s, row.column[0].bytes));
}

static st check_lost(struct scope *s, struct db_tx *tx, void *arg)
{
	return ca_key_check_lost(s, tx, *(const span *)arg);
}

st ca_key_check(struct scope *s, struct ca *ca, span spki)
{
	uint8_t octets[DIGEST_MAX];
	span digest = digest_of(DIGEST_SHA256, spki, octets);
	TRY(ca_key_check_lists(s, ca, spki));
	return db_read(s, ca->db, check_lost, &digest);
}

//= rfc5280#5.3.1 these three say that the private key is known or suspected to be compromised
static bool tells_of_compromise(int reason)
{
	static const char *const names[] = { "keyCompromise", "cACompromise", "aACompromise" };
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (reason == pki_reason_named(span_str(names[i])))
			return true;
	return false;
}

st ca_key_enter_revocation(struct scope *s, struct db_tx *tx, span serial, int reason)
{
	if (!tells_of_compromise(reason))
		return OK;
	struct db_row row;
	bool found;
	TRY(db_find(s, tx, &sql_certificate_of, DB_VALUES(db_blob(serial)), &row, &found));
	if (!found) /* abandoned: there is no certificate */
		return OK;
	uint8_t digest[DIGEST_MAX];
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	TRY(pki_certificate_read(s, row.column[12].bytes, c));
	return db_exec(s, tx, &sql_key_lost_insert,
		       DB_VALUES(db_blob(digest_of(DIGEST_SHA256, c->spki, digest)), db_blob(serial)), NULL);
}

/* ---- once, for a database from before lost keys were kept ---- */

#define AT_ONCE 256

struct catching_up {
	span serial[AT_ONCE];
	int reason[AT_ONCE];
	size_t count;
	span after;
};

static st keep_revoked(struct scope *s, const struct db_row *row, void *arg)
{
	struct catching_up *c = arg;
	c->serial[c->count] = scope_copy(s, row->column[0].bytes);
	c->reason[c->count++] = (int)row->column[1].integer;
	return OK;
}

static st enter_some(struct scope *s, struct db_tx *tx, void *arg)
{
	struct catching_up *c = arg;
	c->count = 0;
	TRY(db_each(s, tx, &sql_status_lost, DB_VALUES(db_blob(c->after), db_integer(AT_ONCE)), keep_revoked, c));
	for (size_t i = 0; i < c->count; i++)
		TRY(ca_key_enter_revocation(s, tx, c->serial[i], c->reason[i]));
	return c->count > 0 ? OK : ca_meta_set(s, tx, "lost_keys_entered", 1);
}

static st is_entered(struct scope *s, struct db_tx *tx, void *arg)
{
	return ca_meta_get(s, tx, "lost_keys_entered", arg);
}

st ca_key_catch_up(struct scope *s, struct ca *ca)
{
	int64_t entered = 0;
	TRY(db_read(s, ca->db, is_entered, &entered));
	uint8_t last[PKI_SERIAL_MAX];
	struct catching_up c = { 0 };
	for (size_t count = 1; entered == 0 && count > 0; count = c.count) {
		AUTO_SCOPE own;
		scope_init(&own, NULL);
		st status = db_tx(&own, ca->db, enter_some, &c);
		if (status.code != E_OK)
			return fail(s, status.code, "entering the keys of revoked certificates: %s", own.message);
		if (c.count > 0) {
			span serial = c.serial[c.count - 1];
			memcpy(last, serial.data, serial.len);
			c.after = span_of(last, serial.len);
		}
	}
	return OK;
}
