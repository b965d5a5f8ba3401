#include "alg.h"
#include "control_internal.h"
#include "control_records.h"
#include "digest.h"
#include "moment.h"
#include "text.h"
#include <stdio.h>

#define KIND       "proposal"
#define NO_CRL     "none"
#define SERIAL_MAX 40

/* ---- types of parameters ---- */

const char *control_id_problem(span id)
{
	if (id.len == 0 || id.len > CONTROL_ID_MAX)
		return "has 1 to 64 characters";
	for (size_t i = 0; i < id.len; i++) {
		uint8_t c = id.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!letter && (i == 0 || i + 1 == id.len || (c != '.' && c != '-' && c != '/')))
			return "has lower-case letters and digits, with '.', '-' and '/' between them";
	}
	return NULL;
}

static st check_id(struct scope *s, span text)
{
	const char *problem = control_id_problem(text);
	return problem == NULL ? OK : fail(s, E_INPUT, "a name %s", problem);
}

static st check_role(struct scope *s, span text)
{
	enum control_role role;
	TRY(control_role_named(s, text, &role));
	if (role == CONTROL_AUTHORITY_MEMBER)
		return fail(s, E_INPUT, "membership of the authority is no role that is granted: use authority.admit");
	return OK;
}

static st check_text(struct scope *s, span text)
{
	return text.len <= 1024 ? OK : fail(s, E_LIMIT, "words are at most 1024 octets");
}

static st check_moment(struct scope *s, span text)
{
	int64_t moment;
	char again[MOMENT_TEXT_MAX];
	TRY(moment_parse(s, text, &moment));
	if (!span_is(text, moment_text(moment, again)))
		return fail(s, E_INPUT, "a time is written with six digits behind the second, in UTC");
	return OK;
}

static st check_number(struct scope *s, span text)
{
	uint64_t number;
	TRY(decimal_parse(s, text, UINT32_MAX, &number));
	if (text.len > 1 && text.data[0] == '0')
		return fail(s, E_INPUT, "a number is written without leading zeros");
	return OK;
}

static st check_hex(struct scope *s, span text)
{
	span octets;
	TRY(hex_parse(s, text, &octets));
	if (!span_is(text, hex_text(s, octets)))
		return fail(s, E_INPUT, "hexadecimal digits are in lower case");
	return OK;
}

static st check_digest(struct scope *s, span text)
{
	TRY(check_hex(s, text));
	return text.len == 2 * CONTROL_HASH_LEN ? OK : fail(s, E_INPUT, "a SHA-256 has 64 hexadecimal digits");
}

static st check_serial(struct scope *s, span text)
{
	TRY(check_hex(s, text));
	return text.len <= SERIAL_MAX && text.len > 0 ? OK : fail(s, E_INPUT, "a serial number has 1 to 20 octets");
}

static st check_octets(struct scope *s, span text)
{
	span octets;
	return base64_parse(s, text, &octets);
}

static st check_curve(struct scope *s, span text, bool share)
{
	span octets;
	const struct alg_key *key;
	TRY(base64_parse(s, text, &octets));
	TRY(alg_key_of_spki(s, octets, &key));
	if (strcmp(key->name, "ec-p256") == 0 || (!share && strcmp(key->name, "ec-p384") == 0))
		return OK;
	return fail(s, E_CRYPTO, "a person's key is on P-256%s, this is %s", share ? "" : " or P-384", key->name);
}

static st check_key(struct scope *s, span text)
{
	return check_curve(s, text, false);
}

static st check_share_key(struct scope *s, span text)
{
	return check_curve(s, text, true);
}

static st check_records(struct scope *s, span text)
{
	struct control_range *range;
	size_t count;
	return control_records_read(s, text, &range, &count);
}

static st (*const checks[CONTROL_TYPE_COUNT])(struct scope *s, span text) = {
	[CONTROL_TYPE_ID] = check_id,         [CONTROL_TYPE_ROLE] = check_role,     [CONTROL_TYPE_TEXT] = check_text,
	[CONTROL_TYPE_MOMENT] = check_moment, [CONTROL_TYPE_NUMBER] = check_number, [CONTROL_TYPE_DIGEST] = check_digest,
	[CONTROL_TYPE_SERIAL] = check_serial, [CONTROL_TYPE_KEY] = check_key,       [CONTROL_TYPE_SHARE_KEY] = check_share_key,
	[CONTROL_TYPE_OCTETS] = check_octets, [CONTROL_TYPE_CRL] = check_octets,    [CONTROL_TYPE_RECORDS] = check_records,
};

/* ---- reading ---- */

/* "17 64-hexadecimal-digits" */
static void read_numbered_hash(struct control_rd *r, const char *name, span value, uint64_t *out_number,
			       uint8_t out_hash[CONTROL_HASH_LEN])
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	const uint8_t *space = value.len == 0 ? NULL : memchr(value.data, ' ', value.len);
	span number = space == NULL ? value : span_of(value.data, (size_t)(space - value.data)), octets;
	span hex = span_from(value, number.len + 1);
	if (r->problem[0] != 0)
		return;
	if (decimal_parse(&aside, number, INT64_MAX, out_number).code != E_OK || (number.len > 1 && number.data[0] == '0') ||
	    check_digest(&aside, hex).code != E_OK || hex_parse(&aside, hex, &octets).code != E_OK) {
		control_refuse(r, "(%s) is not a number and 64 hexadecimal digits", name);
		return;
	}
	memcpy(out_hash, octets.data, CONTROL_HASH_LEN);
}

static void read_operation(struct control_rd *r, struct control_proposal *p)
{
	span name = control_get(r, "operation");
	p->operation = control_operation_named(name);
	if (r->problem[0] == 0 && p->operation == NULL)
		control_refuse(r, "names no operation of the table: %.*s", (int)(name.len < 64 ? name.len : 64),
			       (const char *)name.data);
}

span control_get_id(struct control_rd *r, const char *name)
{
	span id = control_get(r, name);
	if (r->problem[0] == 0 && control_id_problem(id) != NULL)
		control_refuse(r, "(%s): a name %s", name, control_id_problem(id));
	return id;
}

static void read_crl(struct control_rd *r, struct control_proposal *p)
{
	span value = control_get(r, "management-crl");
	p->has_crl = !span_is(value, NO_CRL);
	if (p->has_crl)
		read_numbered_hash(r, "management-crl", value, &p->crl_number, p->crl_hash);
}

static void read_times(struct control_rd *r, struct control_proposal *p)
{
	p->proposed_by = control_get_id(r, "proposed-by");
	p->proposed = control_get_moment(r, "proposed");
	p->expires = control_get_moment(r, "expires");
	if (r->problem[0] == 0 && (p->expires <= p->proposed || p->expires - p->proposed > p->operation->life))
		control_refuse(r, "(expires): a proposal of %s lives %lld hours at most", p->operation->name,
			       (long long)(p->operation->life / MOMENT_HOUR));
}

static void read_value(struct control_rd *r, struct control_proposal *p, const struct control_parameter *parameter)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	span text = control_get(r, parameter->name);
	if (r->problem[0] != 0)
		return;
	if (p->count == CONTROL_VALUES_MAX)
		control_refuse(r, "is more than the %d parameters that a proposal may have", CONTROL_VALUES_MAX);
	else if (checks[parameter->type](&aside, text).code != E_OK)
		control_refuse(r, "(%s): %s", parameter->name, aside.message);
	else
		p->value[p->count++] = (struct control_value){ parameter, text };
}

static void read_parameters(struct control_rd *r, struct control_proposal *p)
{
	for (size_t i = 0; i < CONTROL_PARAMETERS && p->operation->parameter[i].name != NULL && r->problem[0] == 0; i++) {
		const struct control_parameter *parameter = &p->operation->parameter[i];
		if (parameter->presence == CONTROL_ONCE)
			read_value(r, p, parameter);
		else if (parameter->presence == CONTROL_OPTIONAL && control_next_is(r, parameter->name))
			read_value(r, p, parameter);
		while (parameter->presence == CONTROL_REPEATED && r->problem[0] == 0 && control_next_is(r, parameter->name))
			read_value(r, p, parameter);
	}
}

st control_proposal_read(struct scope *s, span text, struct control_proposal *out)
{
	struct control_proposal p = { .text = text };
	struct control_rd r = control_read(text, KIND, "proposal");
	read_operation(&r, &p);
	p.instance = control_get_id(&r, "instance");
	control_get_hex(&r, "nonce", p.nonce, sizeof p.nonce);
	read_numbered_hash(&r, "register", control_get(&r, "register"), &p.entries, p.head);
	read_crl(&r, &p);
	if (p.operation != NULL) {
		read_times(&r, &p);
		read_parameters(&r, &p);
	}
	TRY(control_end(s, &r));
	(void)digest_of(DIGEST_SHA256, text, p.hash);
	*out = p;
	return OK;
}

/* ---- writing ---- */

st control_proposal_add(struct scope *s, struct control_proposal *p, const char *name, span value)
{
	const struct control_parameter *parameter = p->operation->parameter;
	size_t i = 0, place = 0;
	while (i < CONTROL_PARAMETERS && parameter[i].name != NULL && strcmp(parameter[i].name, name) != 0)
		i++;
	if (i == CONTROL_PARAMETERS || parameter[i].name == NULL)
		return fail(s, E_INPUT, "%s has no parameter %s", p->operation->name, name);
	if (p->count == CONTROL_VALUES_MAX)
		return fail(s, E_LIMIT, "a proposal has at most %d parameters", CONTROL_VALUES_MAX);
	while (place < p->count && p->value[place].parameter <= &parameter[i])
		place++;
	memmove(&p->value[place + 1], &p->value[place], (p->count - place) * sizeof p->value[0]);
	p->value[place] = (struct control_value){ &parameter[i], value };
	p->count++;
	return OK;
}

static const char *numbered_hash(struct scope *s, uint64_t number, const uint8_t hash[CONTROL_HASH_LEN])
{
	return scope_printf(s, "%llu %s", (unsigned long long)number, hex_text(s, span_of(hash, CONTROL_HASH_LEN)));
}

st control_proposal_write(struct scope *s, const struct control_proposal *p, struct buf *out)
{
	struct control_wr w = control_write(out, KIND);
	control_put_str(&w, "operation", p->operation->name);
	control_put(&w, "instance", p->instance);
	control_put_hex(&w, "nonce", SPAN_ARRAY(p->nonce));
	control_put_str(&w, "register", numbered_hash(s, p->entries, p->head));
	control_put_str(&w, "management-crl", p->has_crl ? numbered_hash(s, p->crl_number, p->crl_hash) : NO_CRL);
	control_put(&w, "proposed-by", p->proposed_by);
	control_put_moment(&w, "proposed", p->proposed);
	control_put_moment(&w, "expires", p->expires);
	for (size_t i = 0; i < p->count; i++)
		control_put(&w, p->value[i].parameter->name, p->value[i].text);
	TRY(control_written(s, &w));
	struct control_proposal again;
	return control_proposal_read(s, buf_span(out), &again);
}

/* ---- what it says ---- */

span control_parameter(const struct control_proposal *p, const char *name, size_t nth)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->value[i].parameter->name, name) == 0 && nth-- == 0)
			return p->value[i].text;
	return (span){ 0 };
}

/* The value was checked when the proposal was read: it is of its type. */
span control_parameter_octets(struct scope *s, const struct control_proposal *p, const char *name)
{
	span octets = { 0 };
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	for (size_t i = 0; i < p->count; i++) {
		const struct control_value *v = &p->value[i];
		if (strcmp(v->parameter->name, name) != 0)
			continue;
		bool hex = v->parameter->type == CONTROL_TYPE_DIGEST || v->parameter->type == CONTROL_TYPE_SERIAL;
		st parsed = hex ? hex_parse(&aside, v->text, &octets) : base64_parse(&aside, v->text, &octets);
		return parsed.code == E_OK ? scope_copy(s, octets) : (span){ 0 };
	}
	return octets;
}

int64_t control_parameter_moment(const struct control_proposal *p, const char *name)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	int64_t moment = 0;
	span text = control_parameter(p, name, 0);
	return text.len > 0 && moment_parse(&aside, text, &moment).code == E_OK ? moment : 0;
}

int64_t control_proposal_old_crl(const struct control_proposal *p)
{
	return control_parameter_moment(p, "old-crl");
}

uint64_t control_parameter_number(const struct control_proposal *p, const char *name, uint64_t left_out)
{
	AUTO_SCOPE aside;
	scope_init(&aside, NULL);
	uint64_t number = left_out;
	span text = control_parameter(p, name, 0);
	return text.len > 0 && decimal_parse(&aside, text, UINT32_MAX, &number).code == E_OK ? number : left_out;
}

/* ---- words ---- */

/* Keys and certificates are shown by their SHA-256: what people compare aloud. */
static char *value_words(struct scope *s, const struct control_value *v)
{
	span octets;
	uint8_t hash[DIGEST_MAX];
	enum control_type type = v->parameter->type;
	if (type == CONTROL_TYPE_ROLE) {
		enum control_role role = CONTROL_ROLE_COUNT;
		return control_role_named(s, v->text, &role).code == E_OK ? scope_printf(s, "%s", control_role_row(role)->text)
									  : scope_cstr(s, v->text);
	}
	if (type != CONTROL_TYPE_KEY && type != CONTROL_TYPE_SHARE_KEY && type != CONTROL_TYPE_OCTETS &&
	    type != CONTROL_TYPE_CRL)
		return scope_cstr(s, v->text);
	if (base64_parse(s, v->text, &octets).code != E_OK)
		return scope_cstr(s, v->text);
	return scope_printf(s, "with SHA-256 %s", hex_text(s, digest_of(DIGEST_SHA256, octets, hash)));
}

static const char *parameter_words(struct scope *s, const struct control_proposal *p, span name)
{
	char *text = NULL;
	if (span_is(name, "hours"))
		return scope_printf(s, "%lld", (long long)((p->proposed - control_proposal_old_crl(p)) / MOMENT_HOUR));
	for (size_t i = 0; i < p->count; i++) {
		if (!span_is(name, p->value[i].parameter->name))
			continue;
		char *one = value_words(s, &p->value[i]);
		text = text == NULL ? one : scope_printf(s, "%s, %s", text, one);
	}
	return text == NULL ? "(not said)" : text;
}

/* What stands in brackets is about a parameter that may be left out: the first one named there. */
static bool is_left_out(const struct control_proposal *p, const char *bracket)
{
	const char *name = bracket + strcspn(bracket, "{");
	size_t len = *name == 0 ? 0 : strcspn(++name, "}");
	for (size_t i = 0; i < p->count; i++)
		if (span_is(span_of(name, len), p->value[i].parameter->name))
			return false;
	return true;
}

const char *control_proposal_words(struct scope *s, const struct control_proposal *p)
{
	const char *at = p->operation->words;
	const char *words = "";
	while (*at != 0) {
		size_t plain = strcspn(at, "{[]");
		words = scope_printf(s, "%s%.*s", words, (int)plain, at);
		at += plain;
		if (*at == '[' && is_left_out(p, at))
			at += strcspn(at, "]");
		if (*at == '[' || *at == ']')
			at++;
		if (*at != '{')
			continue;
		size_t len = strcspn(at + 1, "}");
		words = scope_printf(s, "%s%s", words, parameter_words(s, p, span_of(at + 1, len)));
		at += len + 2;
	}
	return words;
}
