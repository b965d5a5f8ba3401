/*
 * log_make.c - a log of any size at once, for the benchmark of `audit verify` and for tests on big logs: tiles, entry bundles and a
 * checkpoint as auditd leaves them when it was stopped.
 *
 * log_make DIR RECORDS KEY ORIGIN: KEY is an Ed25519 private key, PEM; the log's public key is written to standard output as NAME+id+base64.
 * Records are those of a provider at work, by the writer that daemons use; the same arguments give the same log.
 */
#include "audit_log.h"
#include "audit_record.h"
#include "digest.h"
#include "file.h"
#include "log.h"
#include "moment.h"
#include "text.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DER_BYTES  600 /* of a TBSCertificate of our profiles */
#define STAMP_DER  110 /* of a TSTInfo */
#define RECORDS_US 700 /* from one record to the next */

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)

struct maker {
	const char *dir;
	uint64_t state; /* of the random source: splitmix64 */
	int64_t now;
	struct audit_range range;
	struct audit_hash edge[AUDIT_TILE_LEVELS][AUDIT_TILE_WIDTH];
	unsigned width[AUDIT_TILE_LEVELS];
	struct buf bundle, leaf;
	uint8_t der[DER_BYTES];
};

static void must(struct scope *s, st status)
{
	if (status.code != E_OK)
		log_die("%s", s->message);
}

/* ---- the same randomness each time ---- */

static int64_t now_of(void *state)
{
	return ((struct maker *)state)->now;
}

static void random_of(void *state, void *out, size_t len)
{
	struct maker *m = state;
	for (uint8_t *at = out; len > 0;) {
		m->state += 0x9e3779b97f4a7c15ull;
		uint64_t z = m->state;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		z ^= z >> 31;
		size_t take = len < sizeof z ? len : sizeof z;
		memcpy(at, &z, take);
		at += take;
		len -= take;
	}
}

/* ---- records ---- */

static span bytes(struct scope *s, struct maker *m, size_t len)
{
	random_of(m, m->der, len < 64 ? len : 64);
	(void)s;
	return span_of(m->der, len);
}

static void sign_head(struct scope *s, struct maker *m, struct audit_event *e, const char *zone, const char *key)
{
	audit_str(e, "zone", zone);
	audit_str(e, "key", key);
	audit_str(e, "algorithm", "ecdsa-with-SHA256");
	audit_hex(e, "digest", bytes(s, m, 32));
}

static void sign_time_stamp(struct scope *s, struct maker *m, struct audit_event *e)
{
	sign_head(s, m, e, "time", "tsu-1");
	audit_hex(e, "serial", bytes(s, m, 16));
	audit_time(e, "gen_time", m->now);
	audit_base64(e, "tst_info", bytes(s, m, STAMP_DER));
}

static void sign_certificate(struct scope *s, struct maker *m, struct audit_event *e)
{
	sign_head(s, m, e, "ca", "issuing");
	audit_hex(e, "issuer_key", bytes(s, m, 20));
	audit_hex(e, "serial", bytes(s, m, 16));
	audit_time(e, "not_after", m->now + 3 * 365 * 86400 * MOMENT_SECOND);
	audit_base64(e, "tbs", bytes(s, m, DER_BYTES));
}

static void certificate_issued(struct scope *s, struct maker *m, struct audit_event *e)
{
	audit_str(e, "ca", "issuing");
	audit_hex(e, "serial", bytes(s, m, 16));
	audit_str(e, "profile", "ncp-plus-n");
	audit_hex(e, "subject_hash", bytes(s, m, 32));
	audit_time(e, "not_before", m->now);
	audit_time(e, "not_after", m->now + 3 * 365 * 86400 * MOMENT_SECOND);
	audit_str(e, "request", hex_text(s, bytes(s, m, 16)));
	audit_base64(e, "signature", bytes(s, m, 71));
	audit_str(e, "actor", "operator 1");
}

static void certificate_revoked(struct scope *s, struct maker *m, struct audit_event *e)
{
	audit_str(e, "ca", "issuing");
	audit_hex(e, "serial", bytes(s, m, 16));
	audit_str(e, "reason", "keyCompromise");
	audit_time(e, "revoked_at", m->now);
	audit_str(e, "actor", "operator 1");
}

static void certificate_refused(struct scope *s, struct maker *m, struct audit_event *e)
{
	(void)s;
	(void)m;
	audit_str(e, "ca", "issuing");
	audit_str(e, "profile", "ncp-plus-n");
	audit_str(e, "reason", "the request's signature is wrong: it does not prove possession of the key (rfc2986#4.2)");
	audit_str(e, "actor", "operator 1");
}

static void ocsp_signed(struct scope *s, struct maker *m, struct audit_event *e)
{
	audit_str(e, "zone", "status");
	audit_str(e, "key", "ocsp-issuing");
	audit_number(e, "count", 1000);
	audit_number(e, "total", (int64_t)m->range.size * 100);
	audit_hex(e, "chain", bytes(s, m, 32));
	audit_time(e, "from", m->now - MOMENT_SECOND);
	audit_time(e, "to", m->now);
}

/* What share of a hundred each event has. */
static const struct kind {
	unsigned share;
	enum audit_code code;
	const char *component;
	void (*fill)(struct scope *s, struct maker *m, struct audit_event *e);
} kinds[] = {
	{ 54, AUDIT_SIGN_TIME_STAMP, "keyd/time", sign_time_stamp },
	{ 20, AUDIT_SIGN_CERTIFICATE, "keyd/ca", sign_certificate },
	{ 19, AUDIT_CERTIFICATE_ISSUED, "ca", certificate_issued },
	{ 2, AUDIT_CERTIFICATE_REVOKED, "ca", certificate_revoked },
	{ 1, AUDIT_CERTIFICATE_REFUSED, "ca", certificate_refused },
	{ 4, AUDIT_OCSP_SIGNED, "keyd/status", ocsp_signed },
};

static const struct kind *kind_of(uint64_t index)
{
	uint64_t at = index * 37 % 100; /* all of them in each hundred, none in a row */
	size_t i = 0;
	for (; at >= kinds[i].share; i++)
		at -= kinds[i].share;
	return &kinds[i];
}

/* As the client sends it: with its component. */
static span record(struct scope *s, struct maker *m)
{
	const struct kind *kind = kind_of(m->range.size);
	AUTO_EVENT e;
	audit_begin(&e, s, kind->code);
	kind->fill(s, m, &e);
	must(s, audit_finish(s, &e));
	span json = buf_span(&e.json);
	size_t place = audit_record_component_place(json);
	return span_str(scope_printf(s, "%.*s,\"component\":\"%s\"%.*s", (int)place, (const char *)json.data, kind->component,
				     (int)(json.len - place), (const char *)json.data + place));
}

/* ---- the tree ---- */

static void write_file(struct scope *s, const char *path, span content)
{
	must(s, file_make_directory(s, scope_cstr(s, span_of(path, (size_t)(strrchr(path, '/') - path))), 0755));
	FILE *f = fopen(path, "wb");
	if (f == NULL || fwrite(content.data, 1, content.len, f) != content.len || fclose(f) != 0)
		log_die("%s cannot be written", path);
}

static void write_tile(struct scope *s, struct maker *m, unsigned level, uint64_t n)
{
	span hashes = span_of(m->edge[level], m->width[level] * sizeof m->edge[level][0]);
	write_file(s, audit_tile_path(s, m->dir, (int)level, n, m->width[level]), hashes);
	if (level == 0)
		write_file(s, audit_tile_path(s, m->dir, AUDIT_ENTRIES, n, m->width[0]), buf_span(&m->bundle));
}

static void close_tiles(struct scope *s, struct maker *m)
{
	for (unsigned level = 0; m->width[level] == AUDIT_TILE_WIDTH; level++) {
		write_tile(s, m, level, (m->range.size >> (8 * level) >> 8) - 1);
		if (level == 0)
			m->bundle.len = 0;
		m->edge[level + 1][m->width[level + 1]++] = audit_root_of(m->edge[level], AUDIT_TILE_WIDTH);
		m->width[level] = 0;
	}
}

static void add(struct maker *m)
{
	const struct source source = { now_of, random_of, m };
	AUTO_SCOPE s;
	scope_init(&s, &source);
	const char *by = kind_of(m->range.size)->component;
	m->leaf.len = 0;
	if (!audit_envelope_write(&m->leaf, m->range.size, m->now + 200, by, record(&s, m)))
		log_die("a record is too long");
	span leaf = buf_span(&m->leaf);
	uint8_t length[2] = { (uint8_t)(leaf.len >> 8), (uint8_t)leaf.len };
	if (!buf_append(&m->bundle, SPAN_ARRAY(length)) || !buf_append(&m->bundle, leaf))
		log_die("a bundle is too long");
	struct audit_hash hash = audit_leaf_hash(leaf);
	m->edge[0][m->width[0]++] = hash;
	audit_range_add(&m->range, &hash);
	close_tiles(&s, m);
	m->now += RECORDS_US;
}

/* ---- the checkpoint ---- */

static EVP_PKEY *read_private_key(const char *path)
{
	FILE *f = fopen(path, "rb");
	EVP_PKEY *key = f == NULL ? NULL : PEM_read_PrivateKey(f, NULL, NULL, NULL);
	if (f != NULL)
		(void)fclose(f);
	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519)
		log_die("%s is not an Ed25519 private key", path);
	return key;
}

static void public_key(struct scope *s, const EVP_PKEY *key, const char *origin, struct audit_key *out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	if (len <= 0)
		log_die("the public key cannot be written");
	must(s, audit_key_of_spki(s, origin, span_of(der, (size_t)len), out));
	OPENSSL_free(der);
}

static void write_checkpoint(struct scope *s, struct maker *m, EVP_PKEY *key, const struct audit_key *public,
			     const char *origin)
{
	struct audit_checkpoint c = { .size = m->range.size, .root = audit_range_root(&m->range) };
	(void)snprintf(c.origin, sizeof c.origin, "%s", origin);
	const char *text = audit_checkpoint_text(s, &c);
	uint8_t payload[4 + 64];
	size_t len = 64;
	AUTO(EVP_MD_CTX) *context = EVP_MD_CTX_new();
	memcpy(payload, public->id, 4);
	if (context == NULL || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(context, payload + 4, &len, (const uint8_t *)text, strlen(text)) != 1)
		log_die("the checkpoint cannot be signed");
	const char *note = scope_printf(s, "%s\n%s", text, audit_note_signature_line(s, origin, SPAN_ARRAY(payload)));
	write_file(s, scope_printf(s, "%s/checkpoint", m->dir), span_str(note));
}

int main(int argc, char **argv)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (argc != 5)
		log_die("log_make DIR RECORDS KEY ORIGIN");
	uint64_t count;
	must(&s, decimal_parse(&s, span_str(argv[2]), 1ull << 40, &count));
	AUTO(EVP_PKEY) *key = read_private_key(argv[3]);
	struct audit_key public;
	public_key(&s, key, argv[4], &public);
	struct maker *m = heap_alloc(sizeof *m);
	m->dir = argv[1];
	m->now = 1767225600 * MOMENT_SECOND; /* 2026-01-01 */
	buf_init(&m->bundle, AUDIT_BUNDLE_MAX);
	buf_init(&m->leaf, AUDIT_LEAF_MAX);
	while (m->range.size < count)
		add(m);
	for (unsigned level = 0; level < AUDIT_TILE_LEVELS; level++)
		if (m->width[level] > 0)
			write_tile(&s, m, level, m->range.size >> (8 * level) >> 8);
	write_checkpoint(&s, m, key, &public, argv[4]);
	printf("%s\n", audit_key_text(&s, &public));
	buf_free(&m->bundle);
	buf_free(&m->leaf);
	free(m);
	return 0;
}
