/*
 * auditd_unit.h - a log for tests: in a directory of its own, with a software key in the place of keyd.
 */
#pragma once
#include "auditd_tail.h"
#include "auditd_tree.h"
#include "file.h"
#include "unit.h"
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct made {
	struct scope s;
	char dir[40];
	struct audit_log *log;
	struct indexed *indexed;
	struct tail *tail;
	struct tree *tree;
	EVP_PKEY *pkey;
	struct audit_key key;
};

static inline void open_made(struct made *m, uint64_t base)
{
	assert_ok(&m->s, audit_log_open(&m->s, m->dir, &m->log));
	assert_ok(&m->s, tree_open(&m->s, m->dir, m->log, base, &m->tree));
	assert_ok(&m->s, indexed_open(&m->s, m->dir, m->log, base, &m->indexed));
	assert_ok(&m->s, tail_open(&m->s, m->dir, base, m->log, m->indexed, &m->tail));
}

static inline void close_made(struct made *m)
{
	tail_close(m->tail);
	indexed_close(m->indexed);
	m->indexed = NULL;
	tree_close(m->tree);
	audit_log_close(m->log);
	m->tail = NULL;
	m->tree = NULL;
	m->log = NULL;
}

static inline int set_up(void **state)
{
	struct made *m = heap_alloc(sizeof *m);
	scope_init(&m->s, NULL);
	if (getenv("CHANCERY_TEST_LOG") == NULL && freopen("/dev/null", "w", stderr) == NULL)
		return -1;
	(void)snprintf(m->dir, sizeof m->dir, "/tmp/chancery-auditd-XXXXXX");
	if (mkdtemp(m->dir) == NULL || mkdir(scope_printf(&m->s, "%s/tail", m->dir), 0700) != 0)
		return -1;
	m->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(m->pkey, &der);
	assert_ok(&m->s, audit_key_of_spki(&m->s, "log.test/a", span_of(der, (size_t)len), &m->key));
	OPENSSL_free(der);
	open_made(m, 0);
	*state = m;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
	(void)about, (void)type, (void)where;
	return remove(path);
}

static inline int tear_down(void **state)
{
	struct made *m = *state;
	close_made(m);
	EVP_PKEY_free(m->pkey);
	(void)nftw(m->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	scope_done(&m->s);
	free(m);
	return 0;
}

static inline span make_record(struct scope *s, const uint8_t id[16], uint64_t n, bool control)
{
	char hex[33];
	for (size_t i = 0; i < 16; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", id[i]);
	char *about = control ? scope_printf(s, "\"instance\":\"register\",\"reason\":\"%llu\"", (unsigned long long)n)
			      : scope_printf(s, "\"size\":%llu", (unsigned long long)n);
	return span_str(
		scope_printf(s,
			     "{\"v\":1,\"id\":\"%s\",\"time\":\"2026-01-02T03:04:05.000006Z\",\"event\":\"%s\",\"component\":"
			     "\"test\",\"tx\":\"%s\",%s}",
			     hex, control ? "operation.refused" : "log.stopped", hex, about));
}

static inline void number_id(uint64_t n, uint8_t id[16])
{
	uint64_t mixed = n * 0x9e3779b97f4a7c15u;
	memset(id, 0, 16);
	memcpy(id, &mixed, 8);
	memcpy(id + 8, &n, 8);
}

/* Appends records whose ids are numbered from `from` on; all must get the indices from `expected` on. */
static inline void append_of_class(struct made *m, uint64_t from, size_t count, uint64_t expected, enum audit_class class)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct tail_record *record = scope_alloc(&s, count * sizeof *record);
	for (size_t i = 0; i < count; i++) {
		uint8_t *id = scope_alloc(&s, 16);
		number_id(from + i, id);
		record[i] = (struct tail_record){ .id = id,
						  .json = make_record(&s, id, from + i, class == AUDIT_CONTROL),
						  .class = class };
	}
	tail_append(&s, m->tail, "tester", record, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(record[i].code, E_OK);
		assert_int_equal(record[i].index, expected + i);
	}
}

static inline void append(struct made *m, uint64_t from, size_t count, uint64_t expected)
{
	append_of_class(m, from, count, expected, AUDIT_SYSTEM);
}

static inline st add_leaf(struct scope *s, void *tree, span leaf, const struct audit_hash *hash)
{
	return tree_add(s, tree, leaf, hash);
}

static inline void integrate(struct made *m)
{
	uint64_t size;
	assert_ok(&m->s, tail_rotate(&m->s, m->tail, &size));
	assert_ok(&m->s, tail_each(&m->s, m->tail, tree_size(m->tree), size, add_leaf, m->tree));
	assert_ok(&m->s, tree_flush(&m->s, m->tree));
	tail_trim(m->tail, size);
	indexed_keep(m->indexed, m->log, size);
}

static inline char *sign_checkpoint(struct made *m)
{
	struct audit_checkpoint c = { .origin = "log.test/a", .size = tree_size(m->tree), .root = tree_root(m->tree) };
	char *text = audit_checkpoint_text(&m->s, &c);
	uint8_t payload[68];
	size_t len = 64;
	memcpy(payload, m->key.id, 4);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestSignInit(context, NULL, NULL, NULL, m->pkey), 1);
	assert_int_equal(EVP_DigestSign(context, payload + 4, &len, (const uint8_t *)text, strlen(text)), 1);
	EVP_MD_CTX_free(context);
	char *note = scope_printf(&m->s, "%s\n%s", text, audit_note_signature_line(&m->s, "log.test/a", SPAN_ARRAY(payload)));
	assert_ok(&m->s, file_replace(&m->s, scope_printf(&m->s, "%s/checkpoint", m->dir), span_str(note), 0644));
	return note;
}
