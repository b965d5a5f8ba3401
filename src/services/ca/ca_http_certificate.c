/* HTTP: certificates, revocation, identities, renewal. */
#include "ca_http.h"
#include "log.h"

#define LIST_MAX       1000
#define REQUEST_ID_MAX 64

/* ---- showing ---- */

static const char *state_text(const struct ca_certificate *c, int64_t now)
{
	return c->state == CA_REVOKED ? "revoked" : c->not_after < now ? "expired" : "good";
}

static json_t *certificate_json(struct scope *s, struct ca *ca, const struct ca_certificate *c)
{
	json_t *root = json_object();
	const struct ca_authority *a = ca_authority_numbered(ca, c->ca);
	ca_json_hex(s, root, "serial", c->serial);
	ca_json_text(root, "ca", a != NULL ? a->name : NULL);
	ca_json_text(root, "profile", c->profile);
	ca_json_text(root, "subject", c->subject);
	ca_json_time(root, "not_before", c->not_before);
	ca_json_time(root, "not_after", c->not_after);
	ca_json_text(root, "state", state_text(c, scope_now(s)));
	ca_json_text(root, "role", c->role);
	ca_json_text(root, "request_id", c->request_id);
	if (c->state == CA_REVOKED) {
		ca_json_text(root, "reason", c->reason > 0 ? pki_reason_name(c->reason) : NULL);
		ca_json_time(root, "revoked_at", c->revoked_at);
		ca_json_time(root, "invalidity_date", c->invalidity_date);
	}
	if (c->der.len > 0) {
		ca_json_text(root, "certificate", pki_pem_write(s, "CERTIFICATE", c->der));
		ca_json_text(root, "chain", a != NULL ? a->chain_pem : NULL);
	}
	return root;
}

static st reply_issued(struct scope *s, struct ca *ca, const struct ca_issued *issued, struct http_reply *reply)
{
	return ca_json_reply(s, reply, issued->repeated ? 200 : 201, certificate_json(s, ca, &issued->certificate));
}

st ca_http_show(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	span serial;
	struct ca_certificate c;
	TRY(hex_parse(s, request->part[0], &serial));
	TRY(ca_certificate_find(s, request->state, serial, &c));
	return ca_json_reply(s, reply, 200, certificate_json(s, request->state, &c));
}

struct list {
	struct ca *ca;
	json_t *certificates;
	int64_t after, authority, state, expired_at, good_at;
	span subject;
	uint64_t limit;
	int64_t last;
	size_t count;
};

static st add_certificate(struct scope *s, const struct db_row *row, void *arg)
{
	struct list *list = arg;
	struct ca_certificate c;
	ca_certificate_from_row(s, row, &c);
	(void)json_array_append_new(list->certificates, certificate_json(s, list->ca, &c));
	list->last = c.id;
	list->count++;
	return OK;
}

static st read_list(struct scope *s, struct db_tx *tx, void *arg)
{
	struct list *list = arg;
	return db_each(s, tx, &sql_certificate_list,
		       DB_VALUES(db_integer(list->after), db_integer(list->authority), db_integer(list->state),
				 db_text(list->subject), db_integer(list->expired_at), db_integer(list->good_at),
				 db_integer((int64_t)list->limit)),
		       add_certificate, list);
}

static st read_query(struct scope *s, const struct http_request *request, struct list *list)
{
	span after = http_query(s, request, "after");
	span limit = http_query(s, request, "limit");
	span state = http_query(s, request, "state");
	span ca = http_query(s, request, "ca");
	uint64_t number = 0;
	list->subject = http_query(s, request, "subject");
	if (after.len > 0)
		TRY(decimal_parse(s, after, INT64_MAX, &number));
	list->after = (int64_t)number;
	if (limit.len > 0)
		TRY(decimal_parse(s, limit, LIST_MAX, &list->limit));
	list->state = state.len == 0 ? -1 : span_is(state, "revoked") ? CA_REVOKED : CA_GOOD;
	if (span_is(state, "good"))
		list->good_at = scope_now(s);
	else if (span_is(state, "expired"))
		list->expired_at = scope_now(s);
	else if (state.len > 0 && !span_is(state, "revoked"))
		return fail(s, E_INPUT, "state is good, revoked or expired");
	if (ca.len == 0)
		return OK;
	struct ca_authority *a;
	TRY(ca_authority_named(s, list->ca, ca, &a));
	list->authority = a->id;
	return OK;
}

st ca_http_list(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct list list = { .ca = request->state, .limit = LIST_MAX };
	span serial_text = http_query(s, request, "serial");
	TRY(read_query(s, request, &list));
	list.certificates = json_array();
	if (serial_text.len > 0) {
		span serial;
		struct ca_certificate c;
		st status = hex_parse(s, serial_text, &serial);
		if (status.code == E_OK)
			status = ca_certificate_find(s, list.ca, serial, &c);
		if (status.code == E_OK)
			(void)json_array_append_new(list.certificates, certificate_json(s, list.ca, &c));
		else if (status.code != E_NOTFOUND)
			json_decref(list.certificates);
		if (status.code != E_OK && status.code != E_NOTFOUND)
			return status;
		scope_clear_error(s);
		return ca_json_reply(s, reply, 200, json_pack("{s:o}", "certificates", list.certificates));
	}
	st status = db_read(s, list.ca->db, read_list, &list);
	if (status.code != E_OK) {
		json_decref(list.certificates);
		return status;
	}
	json_t *root = json_pack("{s:o}", "certificates", list.certificates);
	if (list.count == list.limit)
		ca_json_text(root, "next", scope_printf(s, "%lld", (long long)list.last));
	return ca_json_reply(s, reply, 200, root);
}

/* ---- issuing ---- */

struct order {
	const char *profile, *request, *subject, *role, *request_id, *name, *ca, *key, *push_url, *file;
	int64_t validity_days, validity_seconds;
	const char *const *dns_names, *const *ip_addresses, *const *emails;
};
#define TEXT(member, ...) CA_MEMBER(CA_MEMBER_TEXT, order, member, __VA_ARGS__)
#define TEXTS(member)     CA_MEMBER(CA_MEMBER_TEXTS, order, member)
#define NUMBER(member)    CA_MEMBER(CA_MEMBER_INTEGER, order, member)
#define ORDER_MEMBERS                                                                                                          \
	TEXT(profile, .required = true), TEXT(request, .required = true), TEXT(subject), TEXT(role), NUMBER(validity_days),    \
		NUMBER(validity_seconds), TEXTS(dns_names), TEXTS(ip_addresses), TEXTS(emails)

static const struct ca_member issue_members[] = { ORDER_MEMBERS, TEXT(request_id) };
static const struct ca_member identity_members[] = {
	ORDER_MEMBERS, TEXT(name, .required = true), TEXT(ca, .required = true), TEXT(key), TEXT(push_url), TEXT(file)
};
static const struct ca_member renewal_members[] = { TEXT(request, .required = true) };

static st check_request_id(struct scope *s, const char *id)
{
	if (id == NULL)
		return OK;
	size_t len = strlen(id);
	bool good = len > 0 && len <= REQUEST_ID_MAX;
	for (size_t i = 0; i < len && good; i++)
		good = id[i] > ' ' && id[i] < 0x7f;
	return good ? OK : fail(s, E_INPUT, "request_id is 1 to %d visible ASCII characters", REQUEST_ID_MAX);
}

static void order_from(const struct order *in, const struct ca_authority *a, const char *actor, struct ca_order *out)
{
	*out = (struct ca_order){
		.authority = a,
		.profile = in->profile,
		.request = span_str(in->request),
		.subject = in->subject,
		.validity_days = in->validity_days,
		.validity_seconds = in->validity_seconds,
		.dns_names = in->dns_names,
		.ip_addresses = in->ip_addresses,
		.emails = in->emails,
		.role = in->role,
		.request_id = in->request_id,
		.actor = actor,
	};
}

/* A refusal is on record too; that it cannot be recorded changes nothing for the caller, who is refused anyway. */
static void note_refusal(struct ca *ca, const struct ca_order *order, const char *why)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT event = { 0 };
	audit_begin(&event, &s, AUDIT_CERTIFICATE_REFUSED);
	audit_str(&event, "ca", order->authority->name);
	audit_str(&event, "profile", order->profile);
	audit_str(&event, "reason", why);
	if (order->request.len > 0)
		audit_hex(&event, "csr", digest_new(&s, DIGEST_SHA256, order->request));
	audit_str(&event, "actor", order->actor);
	if (ca_relay_note(&s, ca, &event).code != E_OK)
		log_failure(&s, "recording a refused request");
}

static bool is_refusal(st status)
{
	return status.code == E_INPUT || status.code == E_DENIED || status.code == E_CRYPTO || status.code == E_CONFLICT ||
	       status.code == E_LIMIT;
}

static st read_order(struct scope *s, const struct http_request *request, struct ca_order *out)
{
	struct order in = { 0 };
	struct ca_authority *a;
	TRY(ca_authority_named(s, request->state, request->part[0], &a));
	TRY(CA_JSON_READ(s, request->body, issue_members, &in));
	TRY(check_request_id(s, in.request_id));
	order_from(&in, a, ca_actor(s, request), out);
	return OK;
}

static st answer(struct http_exchange *e, struct ca *ca, const struct ca_issuance *done)
{
	if (is_refusal(done->outcome))
		note_refusal(ca, done->order, e->scope->message);
	TRY(done->outcome);
	return reply_issued(e->scope, ca, &done->issued, &e->reply);
}

void ca_http_issue(struct http_exchange *const *exchange, size_t count)
{
	struct ca *ca = exchange[0]->request.state;
	struct ca_order order[CA_ISSUE_MAX];
	struct ca_issuance issuance[CA_ISSUE_MAX];
	size_t read = 0, next = 0;
	for (size_t i = 0; i < count; i++) {
		exchange[i]->ended = read_order(exchange[i]->scope, &exchange[i]->request, &order[read]);
		if (exchange[i]->ended.code != E_OK)
			continue;
		issuance[read] = (struct ca_issuance){ .scope = exchange[i]->scope, .order = &order[read] };
		read++;
	}
	ca_issue_all(ca, issuance, read);
	for (size_t i = 0; i < count; i++)
		if (exchange[i]->ended.code == E_OK)
			exchange[i]->ended = answer(exchange[i], ca, &issuance[next++]);
}

st ca_http_enrol(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct order in = { 0 };
	struct ca_authority *a;
	struct ca_order order;
	struct ca_issued issued;
	TRY(CA_JSON_READ(s, request->body, identity_members, &in));
	TRY(ca_authority_named(s, ca, span_str(in.ca), &a));
	if (in.name[0] == 0 || strlen(in.name) > REQUEST_ID_MAX)
		return fail(s, E_INPUT, "an identity's name is 1 to %d characters", REQUEST_ID_MAX);
	if (in.file != NULL && (!request->local || in.file[0] != '/'))
		return fail(s, E_DENIED, "'file' is an absolute path and is taken over the local socket only");
	order_from(&in, a, ca_actor(s, request), &order);
	struct ca_identity identity = { .name = in.name,
					.profile = in.profile,
					.label = in.key != NULL ? in.key : in.name,
					.push_url = in.push_url,
					.file = in.file };
	st status = ca_identity_enrol(s, ca, &order, &identity, &issued);
	if (is_refusal(status))
		note_refusal(ca, &order, s->message);
	TRY(status);
	return reply_issued(s, ca, &issued, reply);
}

st ca_http_identities(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct ca_identity *identity;
	size_t count;
	TRY(ca_identity_list(s, ca, &identity, &count));
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct ca_authority *a = ca_authority_numbered(ca, identity[i].ca);
		json_t *one = json_object();
		ca_json_text(one, "name", identity[i].name);
		ca_json_text(one, "ca", a != NULL ? a->name : NULL);
		ca_json_text(one, "profile", identity[i].profile);
		ca_json_text(one, "key", identity[i].label);
		ca_json_text(one, "push_url", identity[i].push_url);
		ca_json_text(one, "file", identity[i].file);
		ca_json_hex(s, one, "serial", identity[i].serial);
		ca_json_time(one, "not_after", identity[i].not_after);
		ca_json_time(one, "renew_at", identity[i].renew_at);
		ca_json_text(one, "failure", identity[i].failure);
		(void)json_array_append_new(list, one);
	}
	return ca_json_reply(s, reply, 200, json_pack("{s:o}", "identities", list));
}

st ca_http_renew(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct order in = { 0 };
	struct ca_issued issued;
	TRY(CA_JSON_READ(s, request->body, renewal_members, &in));
	if (request->local)
		return fail(s, E_DENIED, "a renewal is asked for with the old certificate, over TLS");
	TRY(ca_renew_certificate(s, request->state, request->peer_certificate, span_str(in.request), ca_actor(s, request),
				 &issued));
	return reply_issued(s, request->state, &issued, reply);
}

/* ---- revoking ---- */

struct revocation {
	const char *reason;
	int64_t invalidity_date;
};
static const struct ca_member revocation_members[] = { CA_MEMBER(CA_MEMBER_TEXT, revocation, reason),
						       CA_MEMBER(CA_MEMBER_TIME, revocation, invalidity_date) };

/* That it cannot be recorded changes nothing for the caller, as with a refused request. */
static void note_refused_revocation(struct ca *ca, const struct ca_revocation *want, const char *why)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_EVENT event = { 0 };
	audit_begin(&event, &s, AUDIT_REVOCATION_REFUSED);
	audit_hex(&event, "serial", ca_magnitude(want->serial));
	audit_str(&event, "reason", why);
	audit_str(&event, "channel", want->channel);
	audit_str(&event, "actor", want->actor);
	if (ca_relay_note(&s, ca, &event).code != E_OK)
		log_failure(&s, "recording a refused revocation");
}

st ca_http_revoke(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct revocation in = { 0 };
	span serial;
	struct ca_revoked revoked;
	TRY(hex_parse(s, request->part[0], &serial));
	TRY(CA_JSON_READ(s, request->body, revocation_members, &in));
	struct ca_revocation want = { .serial = serial,
				      .reason = in.reason,
				      .invalidity_date = in.invalidity_date,
				      .channel = request->local ? "local socket" : "API",
				      .actor = ca_actor(s, request) };
	st done = ca_revoke(s, request->state, &want, &revoked);
	if (is_refusal(done) || done.code == E_NOTFOUND)
		note_refused_revocation(request->state, &want, s->message);
	TRY(done);
	json_t *root = json_object();
	ca_json_hex(s, root, "serial", ca_magnitude(serial));
	ca_json_text(root, "state", "revoked");
	ca_json_text(root, "reason", revoked.reason > 0 ? pki_reason_name(revoked.reason) : NULL);
	ca_json_time(root, "revoked_at", revoked.revoked_at);
	ca_json_time(root, "invalidity_date", revoked.invalidity_date);
	return ca_json_reply(s, reply, 200, root);
}
