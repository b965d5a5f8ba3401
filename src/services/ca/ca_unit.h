/*
 * ca_unit.h - for the unit tests of this module: a ca over a real database in a directory of its own, and on its sockets a
 * keyd and an auditd of a few lines, which sign with software keys, keep records in memory, and refuse or die when told to.
 */
#pragma once
#include "audit_protocol.h"
#include "ca.h"
#include "key_protocol.h"
#include "unit.h"
#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_MD_CTX, EVP_MD_CTX_free)

#define UNIT_KEYS    4
#define UNIT_RECORDS 4096

struct unit {
	struct scope s;
	char directory[40];
	struct ca_conf conf;
	struct ca *ca;
	struct wire_server *keyd, *auditd;
	EVP_PKEY *key[UNIT_KEYS];
	/* what the other side does */
	_Atomic int refuse;        /* keyd: this code instead of a signature */
	_Atomic bool lose;         /* keyd: has it on record, then fails as if it had died */
	_Atomic bool audit_denies; /* auditd: refuses each record */
	_Atomic unsigned signed_certificates, signed_crls;
	/* the log */
	pthread_mutex_t lock;
	struct log_record {
		uint8_t id[16];
		uint8_t *json;
		size_t len;
	} record[UNIT_RECORDS];
	size_t record_count;
};

static const char *const unit_labels[UNIT_KEYS] = { "management", "root", "second", "issuing" };

/* ---- the log ---- */

static inline uint64_t unit_log_append(struct unit *u, const uint8_t id[16], span json)
{
	(void)pthread_mutex_lock(&u->lock);
	size_t at = 0;
	while (at < u->record_count && memcmp(u->record[at].id, id, 16) != 0)
		at++;
	if (at == u->record_count) {
		assert_true(at < UNIT_RECORDS);
		memcpy(u->record[at].id, id, 16);
		u->record[at].json = heap_alloc(json.len);
		memcpy(u->record[at].json, json.data, json.len);
		u->record[at].len = json.len;
		u->record_count++;
	}
	(void)pthread_mutex_unlock(&u->lock);
	return at;
}

/* A record as its component's client would have sent it. */
static inline void unit_log_event(struct scope *s, struct unit *u, const char *component, struct audit_event *e)
{
	assert_ok(s, audit_finish(s, e));
	span json = buf_span(&e->json);
	size_t place = audit_record_component_place(json);
	const char *whole = scope_printf(s, "%.*s,\"component\":\"%s\"%.*s", (int)place, (const char *)json.data, component,
					 (int)(json.len - place), (const char *)json.data + place);
	(void)unit_log_append(u, e->id, span_str(whole));
}

/* How many records hold all these words. */
static inline unsigned unit_log_count(struct unit *u, const char *word, const char *other)
{
	unsigned count = 0;
	(void)pthread_mutex_lock(&u->lock);
	for (size_t i = 0; i < u->record_count; i++)
		if (memmem(u->record[i].json, u->record[i].len, word, strlen(word)) != NULL &&
		    memmem(u->record[i].json, u->record[i].len, other, strlen(other)) != NULL)
			count++;
	(void)pthread_mutex_unlock(&u->lock);
	return count;
}

static inline st unit_handle_append(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct unit *u = peer->service;
	uint16_t count = rd_u16(body);
	wr_u16(reply, count);
	for (uint16_t i = 0; i < count; i++) {
		span id = rd_raw(body, 16), json = rd_bytes(body, AUDIT_RECORD_MAX);
		if (body->bad)
			break;
		bool denied = atomic_load(&u->audit_denies);
		wr_u16(reply, denied ? E_UNAVAILABLE : E_OK);
		if (denied)
			wr_str(reply, "the disk is full");
		else
			wr_u64(reply, unit_log_append(u, id.data, json));
	}
	wr_u64(reply, u->record_count);
	wr_u32(reply, 0);
	return rd_end(s, body, "records");
}

static inline st unit_handle_read(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct unit *u = peer->service;
	uint64_t from = rd_u64(body);
	uint32_t max = rd_u32(body), count = 0;
	AUTO_BUF leaves = { 0 };
	struct wr w = wr_into(&leaves);
	(void)pthread_mutex_lock(&u->lock);
	for (uint64_t i = from; i < u->record_count && count < max && leaves.len < WIRE_BODY_MAX / 2; i++, count++) {
		AUTO_BUF envelope = { 0 };
		assert_true(
			audit_envelope_write(&envelope, i, scope_now(s), "unit", span_of(u->record[i].json, u->record[i].len)));
		wr_bytes(&w, buf_span(&envelope));
	}
	wr_u64(reply, u->record_count);
	(void)pthread_mutex_unlock(&u->lock);
	wr_u32(reply, count);
	wr_raw(reply, buf_span(&leaves));
	return rd_end(s, body, "a request to read");
}

/* ---- keys ---- */

static inline span unit_spki(struct scope *s, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der);
	assert_true(len > 0);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return out;
}

static inline span unit_sign(struct scope *s, EVP_PKEY *key, span message)
{
	AUTO(EVP_MD_CTX) *c = EVP_MD_CTX_new();
	size_t len = 256;
	uint8_t *out = scope_alloc(s, len);
	assert_int_equal(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(c, out, &len, message.data, message.len), 1);
	return span_of(out, len);
}

static inline EVP_PKEY *unit_key_labelled(struct unit *u, const char *label)
{
	for (size_t i = 0; i < UNIT_KEYS; i++)
		if (strcmp(unit_labels[i], label) == 0)
			return u->key[i];
	return NULL;
}

static inline void unit_record_certificate(struct scope *s, struct unit *u, const char *label, span tbs)
{
	AUTO_EVENT e = { 0 };
	uint8_t digest[DIGEST_MAX];
	struct pki_certificate *c = scope_new(s, struct pki_certificate);
	assert_ok(s, pki_certificate_read_tbs(s, tbs, c));
	audit_begin(&e, s, AUDIT_SIGN_CERTIFICATE);
	audit_str(&e, "zone", "ca");
	audit_str(&e, "key", label);
	audit_str(&e, "algorithm", "ecdsa-sha256");
	audit_hex(&e, "digest", digest_of(DIGEST_SHA256, tbs, digest));
	audit_hex(&e, "issuer_key", SPAN_LITERAL("unit"));
	audit_hex(&e, "serial", c->serial);
	audit_time(&e, "not_after", c->not_after);
	audit_base64(&e, "tbs", tbs);
	unit_log_event(s, u, "keyd/ca", &e);
}

static inline void unit_record_crl(struct scope *s, struct unit *u, const char *label, int64_t number)
{
	AUTO_EVENT e = { 0 };
	audit_begin(&e, s, AUDIT_SIGN_CRL);
	audit_str(&e, "zone", "ca");
	audit_str(&e, "key", label);
	audit_str(&e, "algorithm", "ecdsa-sha256");
	audit_hex(&e, "digest", SPAN_LITERAL("unit"));
	audit_hex(&e, "issuer_key", SPAN_LITERAL("unit"));
	audit_number(&e, "number", number);
	audit_number(&e, "entries", 0);
	audit_time(&e, "this_update", 1);
	audit_time(&e, "next_update", 2);
	unit_log_event(s, u, "keyd/ca", &e);
}

static inline st unit_refusal(struct scope *s, struct unit *u)
{
	enum code code = (enum code)atomic_load(&u->refuse);
	return code == E_OK ? OK : fail(s, code, "the unit test says no");
}

static inline st unit_sign_item(struct scope *s, struct unit *u, const struct key_sign_item *item, span *out)
{
	TRY(unit_refusal(s, u));
	if (item->purpose == KEY_FOR_CERTIFICATE) {
		unit_record_certificate(s, u, item->label, item->content);
		atomic_fetch_add(&u->signed_certificates, 1);
	}
	if (atomic_load(&u->lose))
		return fail(s, E_UNAVAILABLE, "it is on record, and that is all");
	*out = unit_sign(s, unit_key_labelled(u, item->label), item->content);
	return OK;
}

static inline st unit_handle_sign(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct key_sign_request *request = scope_new(s, struct key_sign_request);
	TRY(key_sign_request_read(s, body, request));
	for (size_t i = 0; i < request->count; i++) {
		struct key_sign_outcome outcome = { 0 };
		outcome.code = unit_sign_item(s, peer->service, &request->item[i], &outcome.value).code;
		if (outcome.code != E_OK)
			outcome.value = scope_copy(s, span_str(s->message));
		scope_clear_error(s);
		key_sign_outcome_write(reply, &outcome);
	}
	return OK;
}

static inline void unit_write_info(struct scope *s, struct unit *u, const char *label, struct wr *out)
{
	struct key_info info = { .type = alg_key_named(SPAN_LITERAL("ec-p256")),
				 .purposes = KEY_FOR_CERTIFICATE | KEY_FOR_CRL | KEY_FOR_REQUEST,
				 .spki = unit_spki(s, unit_key_labelled(u, label)),
				 .usable = true,
				 .missing = "" };
	(void)snprintf(info.label, sizeof info.label, "%s", label);
	(void)snprintf(info.token, sizeof info.token, "%s", label);
	key_info_write(out, &info);
}

static inline st unit_handle_find(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	const char *label;
	TRY(key_label_read(s, body, &label));
	if (unit_key_labelled(peer->service, label) == NULL)
		return fail(s, E_NOTFOUND, "there is no key '%s'", label);
	unit_write_info(s, peer->service, label, reply);
	return OK;
}

static inline st unit_handle_list(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	TRY(rd_end(s, body, "a request for the list of keys"));
	wr_u32(reply, UNIT_KEYS);
	for (size_t i = 0; i < UNIT_KEYS; i++)
		unit_write_info(s, peer->service, unit_labels[i], reply);
	return OK;
}

struct unit_stream {
	char label[KEY_LABEL_MAX + 1];
	struct buf bytes;
};

static inline void unit_close_stream(struct wire_peer *peer)
{
	struct unit_stream *stream = peer->session;
	if (stream == NULL)
		return;
	buf_free(&stream->bytes);
	free(stream);
	peer->session = NULL;
}

static inline st unit_handle_stream_begin(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)reply;
	struct key_stream_request request;
	unit_close_stream(peer);
	TRY(key_stream_request_read(s, body, &request));
	TRY(unit_refusal(s, peer->service));
	struct unit_stream *stream = heap_alloc(sizeof *stream);
	(void)snprintf(stream->label, sizeof stream->label, "%s", request.label);
	peer->session = stream;
	return OK;
}

static inline st unit_handle_stream_data(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)s, (void)reply;
	struct unit_stream *stream = peer->session;
	assert_true(stream != NULL && buf_append(&stream->bytes, rd_raw(body, body->rest.len)));
	return OK;
}

static inline st unit_handle_stream_end(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	struct unit *u = peer->service;
	struct unit_stream *stream = peer->session;
	TRY(rd_end(s, body, "the end of a stream"));
	assert_non_null(stream);
	atomic_fetch_add(&u->signed_crls, 1);
	wr_raw(reply, unit_sign(s, unit_key_labelled(u, stream->label), buf_span(&stream->bytes)));
	unit_close_stream(peer);
	return OK;
}

/* ---- from start to end ---- */

static inline void unit_auditd_start(struct unit *u)
{
	static const struct wire_route routes[] = {
		{ .kind = AUDIT_KIND_APPEND, .name = "append", .max_body = WIRE_BODY_MAX, .handle = unit_handle_append },
		{ .kind = AUDIT_KIND_READ, .name = "read", .max_body = 64, .handle = unit_handle_read },
	};
	const struct wire_service service = { .routes = routes, .route_count = 2, .state = u, .max_connections = 64 };
	assert_ok(&u->s, wire_serve(&u->s, u->conf.audit_socket, (gid_t)-1, &service, &u->auditd));
}

static inline void unit_auditd_stop(struct unit *u)
{
	wire_server_stop(u->auditd, 1000);
	u->auditd = NULL;
}

static inline void unit_keyd_start(struct unit *u)
{
	static const struct wire_route routes[] = {
		{ .kind = KEY_KIND_FIND, .name = "find", .max_body = 256, .handle = unit_handle_find },
		{ .kind = KEY_KIND_LIST, .name = "list", .max_body = 0, .handle = unit_handle_list },
		{ .kind = KEY_KIND_SIGN, .name = "sign", .max_body = WIRE_BODY_MAX, .handle = unit_handle_sign },
		{ .kind = KEY_KIND_STREAM_BEGIN, .name = "begin", .max_body = 1024, .handle = unit_handle_stream_begin },
		{ .kind = KEY_KIND_STREAM_DATA,
		  .name = "part",
		  .max_body = WIRE_BODY_MAX,
		  .silent = true,
		  .handle = unit_handle_stream_data },
		{ .kind = KEY_KIND_STREAM_END, .name = "end", .max_body = 0, .handle = unit_handle_stream_end },
	};
	const struct wire_service service = { .routes = routes,
					      .route_count = sizeof routes / sizeof routes[0],
					      .state = u,
					      .max_connections = 64,
					      .close_session = unit_close_stream };
	assert_ok(&u->s, wire_serve(&u->s, u->conf.keyd_socket, (gid_t)-1, &service, &u->keyd));
}

/* The ca anew, on the database it left. */
static inline void unit_open(struct unit *u)
{
	u->ca = ca_new(&u->conf);
	assert_ok(&u->s, ca_open(&u->s, u->ca));
	assert_int_equal(mkdir(scope_printf(&u->s, "%s/crls", u->conf.state_directory), 0755) == 0 || errno == EEXIST, true);
}

static inline void unit_reopen(struct unit *u)
{
	ca_stop(u->ca);
	unit_open(u);
}

/* A copy of the database as it is. */
static inline const char *unit_keep(struct unit *u)
{
	static int number;
	const char *path = scope_printf(&u->s, "%s/kept-%d.db", u->directory, number++);
	assert_ok(&u->s, db_backup(&u->s, u->ca->db, path));
	return path;
}

/* The ca stopped, and that copy in the place of its database. */
static inline void unit_restore(struct unit *u, const char *kept)
{
	ca_stop(u->ca);
	u->ca = NULL;
	assert_int_equal(rename(kept, u->conf.database), 0);
	(void)unlink(scope_printf(&u->s, "%s-wal", u->conf.database));
	(void)unlink(scope_printf(&u->s, "%s-shm", u->conf.database));
}

static inline void unit_go_back(struct unit *u, const char *kept)
{
	unit_restore(u, kept);
	unit_open(u);
}

static inline struct ca_authority *unit_found(struct unit *u, const char *name)
{
	struct ca_authority *a = NULL;
	const struct ca_founding want = { .name = name,
					  .profile = "management-ca",
					  .subject = scope_printf(&u->s, "O=Unit, CN=Unit %s", name),
					  .key = name,
					  .actor = "unit" };
	assert_ok(&u->s, ca_authority_found(&u->s, u->ca, &want, &a));
	return a;
}

static inline struct ca_authority *unit_authority(struct unit *u, const char *name)
{
	struct ca_authority *a = NULL;
	assert_ok(&u->s, ca_authority_named(&u->s, u->ca, span_str(name), &a));
	return a;
}

static inline int unit_set_up(void **state)
{
	struct unit *u = heap_alloc(sizeof *u);
	scope_init(&u->s, NULL);
	if (getenv("CHANCERY_TEST_LOG") == NULL && freopen("/dev/null", "w", stderr) == NULL)
		return -1;
	(void)snprintf(u->directory, sizeof u->directory, "/tmp/chancery-ca-unit-XXXXXX");
	if (mkdtemp(u->directory) == NULL || pthread_mutex_init(&u->lock, NULL) != 0)
		return -1;
	u->conf = (struct ca_conf){ .database = scope_printf(&u->s, "%s/ca.db", u->directory),
				    .state_directory = scope_printf(&u->s, "%s/state", u->directory),
				    .keyd_socket = scope_printf(&u->s, "%s/keyd.sock", u->directory),
				    .audit_socket = scope_printf(&u->s, "%s/auditd.sock", u->directory),
				    .crl_life = MOMENT_DAY,
				    .feed_window = 100 };
	for (size_t i = 0; i < UNIT_KEYS; i++)
		u->key[i] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	unit_auditd_start(u);
	unit_keyd_start(u);
	unit_open(u);
	(void)unit_found(u, "management");
	*state = u;
	return 0;
}

static inline int unit_remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
	(void)about, (void)type, (void)where;
	return remove(path);
}

static inline int unit_tear_down(void **state)
{
	struct unit *u = *state;
	if (u->ca != NULL)
		ca_stop(u->ca);
	wire_server_stop(u->keyd, 1000);
	if (u->auditd != NULL)
		unit_auditd_stop(u);
	for (size_t i = 0; i < UNIT_KEYS; i++)
		EVP_PKEY_free(u->key[i]);
	for (size_t i = 0; i < u->record_count; i++)
		free(u->record[i].json);
	(void)nftw(u->directory, unit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)pthread_mutex_destroy(&u->lock);
	scope_done(&u->s);
	free(u);
	return 0;
}

/* ---- orders and questions ---- */

/* A PKCS#10 request over `key` for this common name, made without our writer of signatures. */
static inline span unit_request(struct scope *s, EVP_PKEY *key, const char *name)
{
	X509_REQ *request = X509_REQ_new();
	X509_NAME *subject = X509_REQ_get_subject_name(request);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Unit", -1, -1, 0), 1);
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0), 1);
	assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
	assert_true(X509_REQ_sign(request, key, EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int len = i2d_X509_REQ(request, &der);
	span out = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	X509_REQ_free(request);
	return out;
}

static inline span unit_new_request(struct scope *s, const char *name)
{
	AUTO(EVP_PKEY) *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	return unit_request(s, key, name);
}

static inline struct ca_order unit_order(struct unit *u, struct scope *s, const char *name)
{
	return (struct ca_order){ .authority = unit_authority(u, "management"),
				  .profile = "tls-client",
				  .role = "va",
				  .request = unit_new_request(s, name),
				  .actor = "unit" };
}

static inline struct ca_certificate unit_issue(struct unit *u, const char *name)
{
	struct ca_issued issued;
	const struct ca_order order = unit_order(u, &u->s, name);
	assert_ok(&u->s, ca_issue(&u->s, u->ca, &order, &issued));
	return issued.certificate;
}

struct unit_question {
	const struct db_statement *statement;
	struct db_value value[2];
	size_t count;
	struct db_row *out;
};

static inline st unit_answer(struct scope *s, struct db_tx *tx, void *arg)
{
	struct unit_question *q = arg;
	return db_one(s, tx, q->statement, q->value, q->count, q->out);
}

/* The first number of what a statement without parameters answers. */
static inline int64_t unit_number(struct unit *u, const struct db_statement *statement, size_t column)
{
	struct db_row row;
	struct unit_question q = { .statement = statement, .out = &row };
	assert_ok(&u->s, db_read(&u->s, u->ca->db, unit_answer, &q));
	return row.column[column].integer;
}

static inline int64_t unit_feed_end(struct unit *u)
{
	return unit_number(u, &sql_feed_bounds, 1);
}

static inline int64_t unit_outbox(struct unit *u)
{
	return unit_number(u, &sql_outbox_count, 0);
}

/* What the status table says about a serial. */
static inline st unit_status(struct unit *u, span serial, struct db_row *out)
{
	struct unit_question q = { .statement = &sql_status_of, .value = { db_blob(serial) }, .count = 1, .out = out };
	return db_read(&u->s, u->ca->db, unit_answer, &q);
}

#define unit_until(condition)                                                                                                  \
	do {                                                                                                                   \
		for (int wait_ = 0; !(condition) && wait_ < 500; wait_++)                                                      \
			(void)usleep(10000);                                                                                   \
		assert_true(condition);                                                                                        \
	} while (0)
