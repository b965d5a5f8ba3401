/*
 * What lives on by itself: certificates of daemons and OCSP signers are issued anew from their stored request when two thirds
 * of their life have passed, and brought to where they are used, without a restart.
 */
#include "ca.h"
#include "client.h"
#include "file.h"
#include "log.h"
#include <jansson.h>
#include <stdio.h>

#define RETRY_US          (10 * MOMENT_SECOND)
#define CLIENT_TIMEOUT_MS 10000
#define NAMES_MAX         32
#define PUSH_PATH         "/v1/certificate"

static int64_t renewal_time(int64_t not_before, int64_t not_after)
{
	return not_before + (not_after - not_before) / 3 * 2;
}

/* ---- an identity's row ---- */

static const char *text_of(struct scope *s, const struct db_value *v)
{
	return v->type == DB_NULL ? NULL : scope_cstr(s, v->bytes);
}

static void identity_from_row(struct scope *s, const struct db_row *row, struct ca_identity *out)
{
	const struct db_value *v = row->column;
	*out = (struct ca_identity){
		.name = text_of(s, &v[0]),
		.ca = v[1].integer,
		.profile = text_of(s, &v[2]),
		.request = scope_copy(s, v[3].bytes),
		.settings = text_of(s, &v[4]),
		.label = text_of(s, &v[5]),
		.push_url = text_of(s, &v[6]),
		.file = text_of(s, &v[7]),
		.serial = scope_copy(s, v[8].bytes),
		.not_after = v[9].integer,
		.renew_at = v[10].integer,
		.pushed = v[11].integer != 0,
		.failure = text_of(s, &v[12]),
	};
}

struct identities {
	const struct db_statement *statement;
	struct db_value value;
	size_t value_count;
	struct ca_identity *item;
	size_t count, room;
};

static st keep_identity(struct scope *s, const struct db_row *row, void *arg)
{
	struct identities *list = arg;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 16 : 2 * list->room;
		struct ca_identity *item = scope_alloc(s, room * sizeof *item);
		if (list->count > 0)
			memcpy(item, list->item, list->count * sizeof *item);
		list->item = item;
		list->room = room;
	}
	identity_from_row(s, row, &list->item[list->count++]);
	return OK;
}

static st read_identities(struct scope *s, struct db_tx *tx, void *arg)
{
	struct identities *list = arg;
	return db_each(s, tx, list->statement, &list->value, list->value_count, keep_identity, list);
}

st ca_identity_list(struct scope *s, struct ca *ca, struct ca_identity **out, size_t *out_count)
{
	struct identities list = { .statement = &sql_identity_all };
	TRY(db_read(s, ca->db, read_identities, &list));
	*out = list.item;
	*out_count = list.count;
	return OK;
}

/* ---- the order behind it, kept as JSON ---- */

static json_t *names_json(const char *const *names)
{
	json_t *list = json_array();
	for (; names != NULL && *names != NULL; names++)
		(void)json_array_append_new(list, json_string(*names));
	return list;
}

static char *settings_of(struct scope *s, const struct ca_order *order)
{
	json_t *root = json_pack("{s:s*, s:s*, s:I, s:I, s:o, s:o, s:o}", "subject", order->subject, "role", order->role,
				 "days", (json_int_t)order->validity_days, "seconds", (json_int_t)order->validity_seconds,
				 "dns", names_json(order->dns_names), "ip", names_json(order->ip_addresses), "email",
				 names_json(order->emails));
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text == NULL)
		log_die("out of memory for JSON");
	char *copy = scope_cstr(s, span_str(text));
	free(text);
	return copy;
}

static const char *const *names_of(struct scope *s, const json_t *list)
{
	size_t count = json_array_size(list);
	const char **names = scope_alloc(s, (count + 1) * sizeof *names);
	for (size_t i = 0; i < count; i++)
		names[i] = scope_cstr(s, span_str(json_string_value(json_array_get(list, i))));
	return count == 0 ? NULL : names;
}

static const char *optional(struct scope *s, const json_t *root, const char *name)
{
	const char *value = json_string_value(json_object_get(root, name));
	return value == NULL ? NULL : scope_cstr(s, span_str(value));
}

static st order_of(struct scope *s, struct ca *ca, const struct ca_identity *identity, struct ca_order *out)
{
	json_t *root = json_loads(identity->settings, 0, NULL);
	if (root == NULL)
		return fail(s, E_STATE, "the settings of identity '%s' cannot be read", identity->name);
	*out = (struct ca_order){
		.authority = ca_authority_numbered(ca, identity->ca),
		.profile = identity->profile,
		.request = identity->request,
		.subject = optional(s, root, "subject"),
		.role = optional(s, root, "role"),
		.validity_days = json_integer_value(json_object_get(root, "days")),
		.validity_seconds = json_integer_value(json_object_get(root, "seconds")),
		.dns_names = names_of(s, json_object_get(root, "dns")),
		.ip_addresses = names_of(s, json_object_get(root, "ip")),
		.emails = names_of(s, json_object_get(root, "email")),
		.actor = "renewal",
	};
	json_decref(root);
	return out->authority != NULL ? OK : fail(s, E_STATE, "identity '%s' belongs to an unknown CA", identity->name);
}

/* ---- rows that go with the certificate ---- */

struct enrolment {
	const struct ca_order *order;
	const struct ca_identity *identity;
	const char *settings;
	bool renewal;
};

static st enter_renewal(struct scope *s, struct db_tx *tx, const struct ca_order *order, span serial, span previous,
			const char *identity)
{
	AUTO_EVENT event = { 0 };
	audit_begin(&event, s, AUDIT_CERTIFICATE_RENEWED);
	audit_str(&event, "ca", order->authority->name);
	audit_hex(&event, "serial", serial);
	audit_hex(&event, "previous", previous);
	audit_str(&event, "identity", identity);
	TRY(audit_finish(s, &event));
	struct ca_record record = { .event = &event, .object = serial };
	return ca_entry_record(s, tx, &record);
}

static bool is_signer(const struct ca_identity *identity)
{
	return strcmp(identity->profile, "ocsp-signer") == 0;
}

static st enter_identity(struct scope *s, struct db_tx *tx, const struct pki_certificate *c, void *arg)
{
	const struct enrolment *e = arg;
	const struct ca_identity *i = e->identity;
	span serial = ca_magnitude(c->serial);
	int64_t renew_at = renewal_time(c->not_before, c->not_after);
	/* The first certificate is in the answer to the enrolment; later ones are brought. */
	bool pushed = i->file == NULL && (i->push_url == NULL || !e->renewal);
	if (is_signer(i))
		TRY(ca_feed_signer(s, tx, e->order->authority->id, c->der, i->label));
	if (e->renewal)
		TRY(enter_renewal(s, tx, e->order, serial, i->serial, i->name));
	if (e->renewal)
		return db_exec(s, tx, &sql_identity_renewed,
			       DB_VALUES(db_text(span_str(i->name)), db_blob(serial), db_integer(c->not_after),
					 db_integer(renew_at), db_integer(pushed)),
			       NULL);
	return db_exec(s, tx, &sql_identity_set,
		       DB_VALUES(db_text(span_str(i->name)), db_integer(e->order->authority->id), db_text(span_str(i->profile)),
				 db_blob(e->order->request), db_text(span_str(e->settings)), db_text(span_str(i->label)),
				 i->push_url == NULL ? db_null() : db_text(span_str(i->push_url)),
				 i->file == NULL ? db_null() : db_text(span_str(i->file)), db_blob(serial),
				 db_integer(c->not_after), db_integer(renew_at), db_integer(pushed)),
		       NULL);
}

/* ---- bringing it there ---- */

static st pem_chain(struct scope *s, struct ca *ca, const struct ca_identity *identity, span *out)
{
	struct ca_certificate c;
	TRY(ca_certificate_find(s, ca, identity->serial, &c));
	const struct ca_authority *a = ca_authority_numbered(ca, identity->ca);
	if (a == NULL)
		return fail(s, E_STATE, "identity '%s' belongs to an unknown CA", identity->name);
	*out = span_str(scope_printf(s, "%s%s", pki_pem_write(s, "CERTIFICATE", c.der), a->chain_pem));
	return OK;
}

/* push_url is the address, or the address with the path. */
static const char *base_of(struct scope *s, const char *url)
{
	size_t len = strlen(url), path = strlen(PUSH_PATH);
	bool has_path = len > path && strcmp(url + len - path, PUSH_PATH) == 0;
	return has_path ? scope_cstr(s, span_of(url, len - path)) : url;
}

static st put_certificate(struct scope *s, struct ca *ca, const struct ca_identity *identity, span pem)
{
	struct client_settings settings = {
		.base_url = base_of(s, identity->push_url),
		.certificate = ca->tls.certificate,
		.key = ca->tls.key,
		.server_ca = ca->tls.client_ca,
		.timeout_ms = CLIENT_TIMEOUT_MS,
		.max_body = 65536,
	};
	struct client *client;
	struct client_answer answer;
	TRY(client_new(s, &settings, &client));
	st status = client_call(s, client, "PUT", PUSH_PATH, "application/x-pem-file", pem, &answer);
	if (status.code == E_OK)
		status = client_expect(s, &answer);
	client_free(client);
	return status;
}

static st note_pushed(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct ca_identity *i = arg;
	return db_exec(s, tx, &sql_identity_pushed, DB_VALUES(db_text(span_str(i->name))), NULL);
}

static st bring(struct scope *s, struct ca *ca, struct ca_identity *identity)
{
	span pem;
	TRY(pem_chain(s, ca, identity, &pem));
	if (identity->file != NULL) {
		TRY(file_replace(s, identity->file, pem, 0644));
		if (ca->http != NULL)
			http_server_reload(ca->http);
	}
	if (identity->push_url != NULL)
		TRY(put_certificate(s, ca, identity, pem));
	return db_tx(s, ca->db, note_pushed, identity);
}

st ca_identity_enrol(struct scope *s, struct ca *ca, const struct ca_order *order, const struct ca_identity *identity,
		     struct ca_issued *out)
{
	struct enrolment e = { .order = order, .identity = identity, .settings = settings_of(s, order) };
	struct ca_order with = *order;
	with.also = enter_identity;
	with.arg = &e;
	TRY(ca_issue(s, ca, &with, out));
	ca_wake(ca);
	return OK;
}

/* ---- renewing ---- */

static st renew(struct scope *s, struct ca *ca, struct ca_identity *identity)
{
	struct ca_order order;
	struct ca_issued issued;
	TRY(order_of(s, ca, identity, &order));
	struct enrolment e = { .order = &order, .identity = identity, .renewal = true };
	order.also = enter_identity;
	order.arg = &e;
	TRY(ca_issue(s, ca, &order, &issued));
	identity->serial = issued.certificate.serial;
	identity->pushed = identity->push_url == NULL && identity->file == NULL;
	log_put(LOG_LEVEL_NOTICE, "renewed the certificate of '%s' as %s", identity->name,
		hex_text(s, issued.certificate.serial));
	return ca_relay_settle(s, ca, issued.certificate.serial);
}

struct failure_note {
	const char *name, *text;
};

static st note_failure(struct scope *s, struct db_tx *tx, void *arg)
{
	const struct failure_note *f = arg;
	return db_exec(s, tx, &sql_identity_failed, DB_VALUES(db_text(span_str(f->name)), db_text(span_str(f->text))), NULL);
}

/* Identities that failed a moment ago; only the renewing thread looks here. */
#define PAUSED_MAX 256
static struct pause {
	char name[72];
	int64_t until;
} paused[PAUSED_MAX];

static bool is_paused(const struct ca_identity *identity)
{
	for (size_t i = 0; i < PAUSED_MAX; i++)
		if (strcmp(paused[i].name, identity->name) == 0)
			return paused[i].until > moment_monotonic();
	return false;
}

static void pause_identity(const struct ca_identity *identity)
{
	int64_t now = moment_monotonic();
	for (size_t i = 0; i < PAUSED_MAX; i++) {
		if (strcmp(paused[i].name, identity->name) != 0 && paused[i].until > now)
			continue;
		(void)snprintf(paused[i].name, sizeof paused[i].name, "%s", identity->name);
		paused[i].until = now + RETRY_US;
		return;
	}
}

/* A failure of one identity is kept with it and does not hold up the others. */
static void tend(struct ca *ca, struct ca_identity *identity)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st status = OK;
	if (is_paused(identity))
		return;
	if (identity->renew_at <= scope_now(&s))
		status = renew(&s, ca, identity);
	if (status.code == E_OK && !identity->pushed)
		status = bring(&s, ca, identity);
	if (status.code == E_OK)
		return;
	pause_identity(identity);
	log_failure(&s, scope_printf(&s, "renewing '%s'", identity->name));
	AUTO_SCOPE own;
	scope_init(&own, NULL);
	struct failure_note note = { identity->name, s.message };
	if (db_tx(&own, ca->db, note_failure, &note).code != E_OK)
		log_failure(&own, "noting a failed renewal");
}

static void tend_all(struct ca *ca)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct identities list = { .statement = &sql_identity_due, .value = db_integer(scope_now(&s)), .value_count = 1 };
	if (db_read(&s, ca->db, read_identities, &list).code != E_OK) {
		log_failure(&s, "looking for certificates to renew");
		return;
	}
	for (size_t i = 0; i < list.count && !atomic_load(&ca->stopping); i++)
		tend(ca, &list.item[i]);
}

static void *renew_main(void *arg)
{
	struct ca *ca = arg;
	while (!atomic_load(&ca->stopping)) {
		if (atomic_load(&ca->leads)) {
			tend_all(ca);
			ca_expired_tend(ca);
		}
		int64_t next = moment_monotonic() + MOMENT_SECOND;
		(void)pthread_mutex_lock(&ca->mutex);
		while (!atomic_load(&ca->stopping) && moment_monotonic() < next)
			ca_wait(ca, &ca->work, next - moment_monotonic());
		(void)pthread_mutex_unlock(&ca->mutex);
	}
	return NULL;
}

st ca_renew_start(struct scope *s, struct ca *ca)
{
	return ca_thread(s, &ca->renew_thread, renew_main, ca);
}

/* ---- by the holder, who is authenticated by the old certificate ---- */

struct alternative_names {
	const char *dns[NAMES_MAX + 1], *ip[NAMES_MAX + 1];
	size_t dns_count, ip_count;
};

static st add_name(struct scope *s, int tag, span value, struct alternative_names *out)
{
	if (out->dns_count == NAMES_MAX || out->ip_count == NAMES_MAX)
		return fail(s, E_LIMIT, "a certificate has more than %d names", NAMES_MAX);
	if (tag == DER_CONTEXT(2))
		out->dns[out->dns_count++] = scope_cstr(s, value);
	else if (tag == DER_CONTEXT(7) && value.len == 4)
		out->ip[out->ip_count++] =
			scope_printf(s, "%u.%u.%u.%u", value.data[0], value.data[1], value.data[2], value.data[3]);
	else if (tag == DER_CONTEXT(7) && value.len == 16)
		out->ip[out->ip_count++] = scope_printf(
			s, "%x:%x:%x:%x:%x:%x:%x:%x", value.data[0] << 8 | value.data[1], value.data[2] << 8 | value.data[3],
			value.data[4] << 8 | value.data[5], value.data[6] << 8 | value.data[7],
			value.data[8] << 8 | value.data[9], value.data[10] << 8 | value.data[11],
			value.data[12] << 8 | value.data[13], value.data[14] << 8 | value.data[15]);
	return OK;
}

static st names_in(struct scope *s, const struct pki_certificate *c, struct alternative_names *out)
{
	static const uint8_t subject_alt_name[] = { 0x55, 0x1d, 0x11 };
	const struct pki_extension *extension = pki_certificate_extension(c, SPAN_ARRAY(subject_alt_name));
	if (extension == NULL)
		return OK;
	struct der_rd outer = der_read(extension->value);
	struct der_rd names = der_enter(&outer, DER_SEQUENCE);
	while (!der_at_end(&names) && !names.bad) {
		int tag = der_next(&names);
		span value = der_get(&names, tag);
		TRY(add_name(s, tag, value, out));
	}
	der_leave(&outer, &names);
	return der_done(s, &outer, "subjectAltName");
}

static bool renews_itself(const char *profile)
{
	return strcmp(profile, "operator") == 0 || strcmp(profile, "tls-client") == 0 || strcmp(profile, "tls-server") == 0;
}

struct holder_renewal {
	const struct ca_order *order;
	const struct ca_certificate *old;
};

static st enter_holder_renewal(struct scope *s, struct db_tx *tx, const struct pki_certificate *c, void *arg)
{
	const struct holder_renewal *h = arg;
	return enter_renewal(s, tx, h->order, ca_magnitude(c->serial), h->old->serial, h->old->subject);
}

st ca_renew_certificate(struct scope *s, struct ca *ca, span old_der, span request, const char *actor, struct ca_issued *out)
{
	struct pki_certificate *old = scope_new(s, struct pki_certificate);
	struct alternative_names names = { 0 };
	struct ca_certificate row;
	TRY(pki_certificate_read(s, old_der, old));
	TRY(ca_certificate_find(s, ca, old->serial, &row));
	if (!renews_itself(row.profile))
		return fail(s, E_DENIED, "a certificate of profile %s is not renewed by its holder", row.profile);
	TRY(names_in(s, old, &names));
	struct ca_order order = { .authority = ca_authority_numbered(ca, row.ca),
				  .profile = row.profile,
				  .request = request,
				  .subject_der = old->subject,
				  .role = row.role,
				  .actor = actor,
				  .dns_names = names.dns_count > 0 ? names.dns : NULL,
				  .ip_addresses = names.ip_count > 0 ? names.ip : NULL };
	if (order.authority == NULL)
		return fail(s, E_BUG, "certificate of an unknown CA");
	struct holder_renewal holder = { &order, &row };
	order.also = enter_holder_renewal;
	order.arg = &holder;
	TRY(ca_issue(s, ca, &order, out));
	return ca_relay_settle(s, ca, out->certificate.serial);
}
