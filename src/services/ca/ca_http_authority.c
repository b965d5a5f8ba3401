/* HTTP: logical CAs and their CRLs. */
#include "ca_http.h"
#include "ca_register.h"
#include "file.h"
#include <fcntl.h>

json_t *ca_http_authority_json(struct scope *s, const struct ca_authority *a)
{
	json_t *root = json_object();
	char *subject = NULL;
	if (pki_name_text(s, a->subject, &subject).code != E_OK)
		scope_clear_error(s);
	ca_json_text(root, "name", a->name);
	ca_json_text(root, "profile", a->profile != NULL ? a->profile->name : NULL);
	ca_json_text(root, "subject", subject);
	ca_json_text(root, "key", a->key[0] != 0 ? a->key : NULL);
	ca_json_text(root, "algorithm", a->algorithm != NULL ? a->algorithm->name : NULL);
	ca_json_text(root, "state", ca_state_name(a->state));
	ca_json_text(root, "crl_url", a->crl_url);
	ca_json_text(root, "issuer_url", a->issuer_url);
	ca_json_text(root, "ocsp_url", a->ocsp_url);
	ca_json_text(root, "cps_url", a->cps_url);
	if (a->crl_hours > 0)
		ca_json_number(root, "crl_hours", a->crl_hours);
	ca_json_number(root, "crl_number", (int64_t)a->crl->number);
	ca_json_time(root, "not_before", a->not_before);
	ca_json_time(root, "not_after", a->not_after);
	if (a->certificate.len > 0) {
		ca_json_text(root, "certificate", pki_pem_write(s, "CERTIFICATE", a->certificate));
		ca_json_text(root, "chain", a->chain_pem);
	} else {
		ca_json_text(root, "request", pki_pem_write(s, "CERTIFICATE REQUEST", a->request));
	}
	return root;
}

st ca_http_list_cas(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	json_t *list = json_array();
	const struct ca_authority *a;
	for (size_t i = 0; (a = ca_authority_at(request->state, i)) != NULL; i++)
		(void)json_array_append_new(list, ca_http_authority_json(s, a));
	return ca_json_reply(s, reply, 200, json_pack("{s:o}", "cas", list));
}

st ca_http_show_ca(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca_authority *a;
	TRY(ca_authority_named(s, request->state, request->part[0], &a));
	return ca_json_reply(s, reply, 200, ca_http_authority_json(s, a));
}

struct create {
	const char *name, *profile, *subject, *key, *algorithm, *crl_url, *issuer_url, *ocsp_url, *cps_url, *certificate,
		*chain;
	int64_t crl_hours, validity_days;
	bool request_only;
};
#define TEXT(member, ...) CA_MEMBER(CA_MEMBER_TEXT, create, member, __VA_ARGS__)
static const struct ca_member create_members[] = {
	TEXT(name, .required = true),
	TEXT(profile),
	TEXT(subject),
	TEXT(key),
	TEXT(algorithm),
	TEXT(crl_url),
	TEXT(issuer_url),
	TEXT(ocsp_url),
	TEXT(cps_url),
	TEXT(certificate),
	TEXT(chain),
	CA_MEMBER(CA_MEMBER_INTEGER, create, crl_hours),
	CA_MEMBER(CA_MEMBER_INTEGER, create, validity_days),
	CA_MEMBER(CA_MEMBER_BOOLEAN, create, request_only),
};
static const struct ca_member complete_members[] = { TEXT(certificate, .required = true), TEXT(chain) };

static st create_or_take_in(struct scope *s, const struct http_request *request, const struct create *c,
			    struct ca_authority **out)
{
	const char *actor = ca_actor(s, request);
	if (c->certificate != NULL) {
		const char *pem = scope_printf(s, "%s\n%s", c->certificate, c->chain != NULL ? c->chain : "");
		return ca_authority_take_in(s, request->state, c->name, pem, false, actor, out);
	}
	if (c->profile == NULL || c->subject == NULL || c->key == NULL)
		return fail(s, E_INPUT,
			    "a new CA needs 'profile', 'subject' and 'key'; one that is run elsewhere 'certificate'");
	struct ca_founding want = {
		.name = c->name,
		.profile = c->profile,
		.subject = c->subject,
		.key = c->key,
		.algorithm = c->algorithm,
		.crl_url = c->crl_url,
		.issuer_url = c->issuer_url,
		.ocsp_url = c->ocsp_url,
		.cps_url = c->cps_url,
		.crl_hours = c->crl_hours,
		.validity_days = c->validity_days,
		.request_only = c->request_only,
		.actor = actor,
	};
	return ca_authority_found(s, request->state, &want, out);
}

st ca_http_create_ca(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct create c = { 0 };
	struct ca_authority *a;
	TRY(CA_JSON_READ(s, request->body, create_members, &c));
	TRY(create_or_take_in(s, request, &c, &a));
	return ca_json_reply(s, reply, 201, ca_http_authority_json(s, a));
}

st ca_http_complete_ca(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct create c = { 0 };
	struct ca_authority *a;
	TRY(CA_JSON_READ(s, request->body, complete_members, &c));
	span pem = span_str(scope_printf(s, "%s\n%s", c.certificate, c.chain != NULL ? c.chain : ""));
	TRY(ca_authority_complete(s, request->state, request->part[0], pem, ca_actor(s, request), &a));
	return ca_json_reply(s, reply, 200, ca_http_authority_json(s, a));
}

/* ---- CRLs ---- */

json_t *ca_http_crl_json(const struct ca_crl *crl)
{
	json_t *root = json_object();
	ca_json_number(root, "number", (int64_t)crl->number);
	ca_json_time(root, "this_update", crl->this_update);
	ca_json_time(root, "next_update", crl->next_update);
	ca_json_number(root, "entries", (int64_t)crl->entries);
	ca_json_number(root, "size", (int64_t)crl->size);
	return root;
}

struct crl_order {
	int64_t next_update;
};
static const struct ca_member crl_members[] = { CA_MEMBER(CA_MEMBER_TIME, crl_order, next_update) };

/* Sooner is anybody's, later would be another parameter. */
static st check_next_update(struct scope *s, const struct http_request *request, const struct ca_authority *a,
			    int64_t next_update)
{
	struct ca *ca = request->state;
	if (ca->reg == NULL || next_update <= scope_now(s) + ca_crl_life(ca, a))
		return OK;
	return ca_register_refuse(s, ca, "crl.parameters", ca_actor(s, request),
				  "A CRL gets a longer life than its CA's parameters say");
}

st ca_http_issue_crl(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct crl_order order = { 0 };
	struct ca_authority *a;
	struct ca_crl crl;
	TRY(CA_JSON_READ(s, request->body, crl_members, &order));
	TRY(ca_authority_named(s, request->state, request->part[0], &a));
	TRY(check_next_update(s, request, a, order.next_update));
	TRY(ca_crl_issue(s, request->state, a, order.next_update, &crl));
	return ca_json_reply(s, reply, 201, ca_http_crl_json(&crl));
}

st ca_http_get_crl(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca *ca = request->state;
	struct ca_authority *a;
	struct ca_crl crl;
	TRY(ca_authority_named(s, ca, request->part[0], &a));
	TRY(ca_crl_last(s, ca, a->id, &crl));
	char *path = ca_crl_path(s, ca, a->name, crl.number);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	reply->content_type = "application/pkix-crl";
	reply->file = fd;
	reply->file_len = crl.size;
	return OK;
}

st ca_http_put_crl(struct scope *s, const struct http_request *request, struct http_reply *reply)
{
	struct ca_authority *a;
	struct ca_crl crl;
	TRY(ca_authority_named(s, request->state, request->part[0], &a));
	TRY(ca_crl_take_in(s, request->state, a, request->body, ca_actor(s, request), &crl));
	return ca_json_reply(s, reply, 201, ca_http_crl_json(&crl));
}
