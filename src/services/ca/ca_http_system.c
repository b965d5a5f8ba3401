/* HTTP: health, status, profiles, backup. */
#include "ca_http.h"
#include "daemon.h"
#include "file.h"
#include "log.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct counts {
	int64_t issued, revoked, outbox, position;
};

static st read_counts(struct scope *s, struct db_tx *tx, void *arg)
{
	struct counts *c = arg;
	struct db_row row;
	TRY(db_one(s, tx, &sql_certificate_count, NULL, 0, &row));
	c->issued = row.column[0].integer;
	TRY(db_one(s, tx, &sql_status_count, NULL, 0, &row));
	c->revoked = row.column[0].integer;
	TRY(db_one(s, tx, &sql_outbox_count, NULL, 0, &row));
	c->outbox = row.column[0].integer;
	return ca_meta_get(s, tx, "log_position", &c->position);
}

static st read_something(struct scope *s, struct db_tx *tx, void *arg)
{
	int64_t ignored;
	(void)arg;
	return ca_meta_get(s, tx, "log_position", &ignored);
}

st ca_http_health(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	TRY(db_read(s, ca->db, read_something, NULL));
	TRY(db_durable(s, ca->db));
	return ca_json_reply(s, reply, 200,
			     json_pack("{s:s, s:s, s:b, s:b}", "status", "ok", "service", "ca", "files_fenced",
				       (int)daemon_is_fenced(), "leads", (int)atomic_load(&ca->leads)));
}

static json_t *authorities_json(struct scope *s, struct ca *ca)
{
	json_t *list = json_array();
	const struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(ca, i)) != NULL; i++) {
		json_t *one = ca_http_authority_json(s, a);
		struct ca_crl last;
		if (ca_crl_last(s, ca, a->id, &last).code == E_OK)
			(void)json_object_set_new(one, "last_crl", ca_http_crl_json(&last));
		else
			scope_clear_error(s);
		(void)json_array_append_new(list, one);
	}
	return list;
}

static json_t *vas_json(struct scope *s, struct ca *ca)
{
	struct ca_va_state *va;
	size_t count = ca_push_states(s, ca, &va);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *one = json_object();
		ca_json_text(one, "name", va[i].name);
		ca_json_text(one, "url", va[i].url);
		ca_json_number(one, "number", va[i].number);
		ca_json_number(one, "lag", va[i].lag);
		(void)json_object_set_new(one, "connected", json_boolean(va[i].connected));
		ca_json_time(one, "confirmed_at", va[i].confirmed_at);
		ca_json_text(one, "failure", va[i].failure[0] != 0 ? va[i].failure : NULL);
		(void)json_array_append_new(list, one);
	}
	return list;
}

static json_t *identities_json(struct scope *s, const struct ca_identity *identity, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *one = json_object();
		ca_json_text(one, "name", identity[i].name);
		ca_json_text(one, "profile", identity[i].profile);
		ca_json_hex(s, one, "serial", identity[i].serial);
		ca_json_time(one, "not_after", identity[i].not_after);
		ca_json_time(one, "renew_at", identity[i].renew_at);
		ca_json_text(one, "failure", identity[i].failure);
		(void)json_array_append_new(list, one);
	}
	return list;
}

st ca_http_status(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct counts c = { 0 };
	struct ca_identity *identity;
	size_t count;
	TRY(db_read(s, ca->db, read_counts, &c));
	TRY(ca_identity_list(s, ca, &identity, &count));
	json_t *certificates = json_object();
	ca_json_number(certificates, "issued", c.issued);
	ca_json_number(certificates, "revoked", c.revoked);
	json_t *root = json_object();
	(void)json_object_set_new(root, "cas", authorities_json(s, ca));
	(void)json_object_set_new(root, "vas", vas_json(s, ca));
	(void)json_object_set_new(root, "certificates", certificates);
	(void)json_object_set_new(root, "identities", identities_json(s, identity, count));
	ca_json_number(root, "outbox", c.outbox);
	ca_json_number(root, "log_position", c.position);
	(void)json_object_set_new(root, "leads", json_boolean(atomic_load(&ca->leads)));
	return ca_json_reply(s, reply, 200, root);
}

/* ---- profiles ---- */

static const char *const presence_names[] = {
	[PKI_FORBIDDEN] = "forbidden", [PKI_OPTIONAL] = "optional", [PKI_REQUIRED] = "required"
};

static json_t *profile_json(const struct pki_profile *p)
{
	json_t *root = json_object();
	json_t *subject = json_object();
	json_t *extensions = json_object();
	ca_json_text(root, "name", p->name);
	ca_json_text(root, "title", p->title);
	ca_json_text(root, "clause", p->clause);
	ca_json_number(root, "standard_validity_days", p->standard_validity / MOMENT_DAY);
	ca_json_number(root, "max_validity_days", p->max_validity / MOMENT_DAY);
	for (size_t i = 0; i < PKI_PROFILE_ATTRIBUTES_MAX && p->subject[i].name != NULL; i++)
		ca_json_text(subject, p->subject[i].name, presence_names[p->subject[i].presence]);
	for (size_t i = 0; i < PKI_PROFILE_EXTENSIONS_MAX && p->extension[i].ops != NULL; i++)
		ca_json_text(extensions, p->extension[i].ops->name, presence_names[p->extension[i].presence]);
	(void)json_object_set_new(root, "subject", subject);
	(void)json_object_set_new(root, "extensions", extensions);
	return root;
}

st ca_http_profiles(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	(void)request;
	json_t *list = json_array();
	const struct pki_profile *p;
	for (size_t i = 0; (p = pki_profile_at(i)) != NULL; i++)
		(void)json_array_append_new(list, profile_json(p));
	return ca_json_reply(s, reply, 200, json_pack("{s:o}", "profiles", list));
}

/* ---- backup ---- */

struct backup {
	const char *path;
	const char *destination; /* where the caller brings it: what goes on record */
};
static const struct ca_member backup_members[] = { CA_MEMBER(CA_MEMBER_TEXT, backup, path, .required = true),
						   CA_MEMBER(CA_MEMBER_TEXT, backup, destination) };

static st digest_file(struct scope *s, const char *path, uint8_t out[DIGEST_MAX], uint64_t *out_size)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat about;
	if (fd < 0 || fstat(fd, &about) != 0 || about.st_size == 0)
		return fail_errno(s, E_IO, "%s", path);
	size_t size = (size_t)about.st_size;
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return fail_errno(s, E_IO, "%s", path);
	(void)digest_of(DIGEST_SHA256, span_of(map, size), out);
	(void)munmap(map, size);
	*out_size = size;
	return OK;
}

st ca_http_backup(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct backup in = { 0 };
	uint8_t digest[DIGEST_MAX];
	uint64_t size = 0;
	TRY(CA_JSON_READ(s, request->body, backup_members, &in));
	if (in.path[0] != '/')
		return fail(s, E_INPUT, "'path' is absolute, since the ca's working directory is not the caller's");
	TRY(fail_context(s, db_backup(s, ca->db, in.path),
			 "a backup is made in a directory of the ca's configuration, such as the "
			 "database's; %s",
			 in.path));
	TRY(digest_file(s, in.path, digest, &size));
	AUTO_EVENT event = { 0 };
	audit_begin(&event, s, AUDIT_BACKUP_MADE);
	audit_str(&event, "path", in.destination != NULL ? in.destination : in.path);
	audit_hex(&event, "digest", span_of(digest, 32));
	audit_number(&event, "size", (int64_t)size);
	TRY(ca_relay_note(s, ca, &event));
	json_t *root = json_object();
	ca_json_text(root, "path", in.path);
	ca_json_number(root, "size", (int64_t)size);
	ca_json_hex(s, root, "digest", span_of(digest, 32));
	return ca_json_reply(s, reply, 201, root);
}
