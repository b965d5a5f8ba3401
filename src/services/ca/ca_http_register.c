/* HTTP: the register of persons, and the operations that change it. */
#include "ca_http.h"
#include "ca_register.h"
#include "text.h"

#define ENTRIES_ANSWER (4u << 20)

/* ---- what it holds ---- */

static json_t *role_names(uint32_t roles)
{
	json_t *list = json_array();
	for (int role = 0; role < CONTROL_ROLE_COUNT; role++)
		if ((roles & UINT32_C(1) << role) != 0)
			(void)json_array_append_new(list, json_string(control_role_row((enum control_role)role)->name));
	return list;
}

/* Roles in force, and those that are dormant because the last training is too old. */
static json_t *person_json(struct scope *s, const struct control_person *p, int64_t now)
{
	json_t *one = json_object();
	uint32_t held = control_roles_held(p, now);
	ca_json_text(one, "person", p->id);
	(void)json_object_set_new(one, "roles", role_names(held));
	(void)json_object_set_new(one, "dormant", role_names(p->granted & ~held));
	ca_json_time(one, "screened", p->screened);
	ca_json_time(one, "trained", p->trained);
	ca_json_time(one, "lapses", control_training_ends(p));
	(void)json_object_set_new(one, "left", json_boolean(p->left));
	ca_json_hex(s, one, "identity", SPAN_ARRAY(p->identity));
	ca_json_text(one, "key", base64_text(s, p->spki));
	if (p->share_spki.len > 0)
		ca_json_text(one, "share_key", base64_text(s, p->share_spki));
	if (p->serial.len > 0)
		ca_json_hex(s, one, "serial", p->serial);
	return one;
}

static json_t *persons_json(struct scope *s, const struct control_register *r)
{
	json_t *list = json_array();
	const struct control_person *p;
	for (size_t i = 0; (p = control_person_at(r, i)) != NULL; i++)
		(void)json_array_append_new(list, person_json(s, p, scope_now(s)));
	return list;
}

static json_t *instances_json(struct scope *s, const struct control_register *r)
{
	json_t *list = json_array();
	const struct control_instance *instance;
	for (size_t i = 0; (instance = control_instance_at(r, i)) != NULL; i++) {
		json_t *one = json_object();
		ca_json_text(one, "instance", instance->name);
		ca_json_text(one, "key", base64_text(s, instance->spki));
		(void)json_object_set_new(one, "retired", json_boolean(instance->retired));
		(void)json_array_append_new(list, one);
	}
	return list;
}

static json_t *decisions_json(struct scope *s, const struct control_register *r)
{
	json_t *list = json_array();
	span decision;
	for (size_t i = 0; (decision = control_decision_at(r, i)).len > 0; i++)
		(void)json_array_append_new(list, json_string(scope_cstr(s, decision)));
	return list;
}

/* Where the management CA's key is, when the register says it. */
static void put_management(struct scope *s, json_t *object, const struct control_register *r)
{
	struct control_management m;
	bool there = control_register_management(r, &m);
	(void)json_object_set_new(object, "management", json_boolean(there));
	if (!there || m.group.len == 0)
		return;
	json_t *holders = json_array();
	for (size_t i = 0; i < m.holders; i++)
		(void)json_array_append_new(holders, json_string(scope_cstr(s, m.holder[i])));
	ca_json_text(object, "management_group", scope_cstr(s, m.group));
	(void)json_object_set_new(object, "management_holders", holders);
}

static void put_head(struct scope *s, json_t *object, const struct control_head *head)
{
	ca_json_number(object, "entries", (int64_t)head->entries);
	ca_json_hex(s, object, "head", SPAN_ARRAY(head->hash));
}

static json_t *register_json(struct scope *s, const struct ca *ca, const struct control_register *r)
{
	uint8_t hash[DIGEST_MAX];
	struct control_head head = control_register_head(r);
	json_t *root = json_object();
	ca_json_text(root, "provider", control_register_provider(r));
	put_head(s, root, &head);
	ca_json_hex(s, root, "founding", digest_of(DIGEST_SHA256, ca_register_founding(ca), hash));
	ca_json_number(root, "quorum", control_register_quorum(r));
	put_management(s, root, r);
	(void)json_object_set_new(root, "persons", persons_json(s, r));
	(void)json_object_set_new(root, "instances", instances_json(s, r));
	(void)json_object_set_new(root, "decisions", decisions_json(s, r));
	return root;
}

st ca_http_register(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct control_register *r;
	TRY(ca_register_take(s, request->state, &r));
	json_t *root = register_json(s, request->state, r);
	ca_register_give(request->state);
	return ca_json_reply(s, reply, 200, root);
}

/* ---- what it is made of ---- */

static void reply_text(struct http_reply *reply, span text)
{
	reply->content_type = "text/plain";
	reply->body = text;
}

st ca_http_founding(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct control_register *r;
	TRY(ca_register_take(s, request->state, &r));
	reply_text(reply, ca_register_founding(request->state));
	ca_register_give(request->state);
	return OK;
}

st ca_http_entries(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct control_register *r;
	AUTO_BUF text;
	uint64_t from = 1;
	span wanted = http_query(s, request, "from");
	buf_init(&text, 0);
	if (wanted.len > 0)
		TRY(fail_context(s, decimal_parse(s, wanted, INT64_MAX, &from), "'from'"));
	TRY(ca_register_take(s, request->state, &r));
	st status = ca_register_entries(s, request->state, from, ENTRIES_ANSWER, &text);
	ca_register_give(request->state);
	TRY(status);
	reply_text(reply, scope_copy(s, buf_span(&text)));
	return OK;
}

/* ---- operations ---- */

st ca_http_operation_nonce(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct control_register *r;
	uint8_t nonce[CONTROL_NONCE_LEN];
	int64_t expires;
	TRY(ca_register_take(s, request->state, &r));
	struct control_head head = control_register_head(r);
	bool management = control_has_management(r);
	ca_register_nonce(s, request->state, nonce, &expires);
	ca_register_give(request->state);
	json_t *root = json_object();
	ca_json_text(root, "instance", CA_REGISTER);
	ca_json_text(root, "ca", ((struct ca *)request->state)->conf->instance);
	ca_json_hex(s, root, "nonce", SPAN_ARRAY(nonce));
	ca_json_time(root, "expires", expires);
	put_head(s, root, &head);
	(void)json_object_set_new(root, "management", json_boolean(management));
	return ca_json_reply(s, reply, 201, root);
}

st ca_http_operation(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	const struct control_register *r;
	struct ca_register_done done;
	TRY(ca_register_take(s, request->state, &r));
	st status = ca_register_execute(s, request->state, request->body, ca_actor(s, request), &done);
	ca_register_give(request->state);
	TRY(status);
	json_t *root = json_object();
	ca_json_text(root, "operation", done.operation);
	ca_json_text(root, "words", done.words);
	put_head(s, root, &done.head);
	return ca_json_reply(s, reply, 201, root);
}
