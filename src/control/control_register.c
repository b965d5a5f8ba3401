#include "control_internal.h"
#include "digest.h"
#include "moment.h"
#include "pki_key.h"
#include <stdlib.h>

/* ---- persons, instances, decisions ---- */

struct control_person *control_find_person(const struct control_register *r, span id)
{
	for (size_t i = 0; i < r->persons; i++)
		if (span_is(id, r->person[i].id))
			return &r->person[i];
	return NULL;
}

const struct control_person *control_person_named(const struct control_register *r, span id)
{
	return control_find_person(r, id);
}

const struct control_person *control_person_at(const struct control_register *r, size_t i)
{
	return i < r->persons ? &r->person[i] : NULL;
}

const struct control_instance *control_instance_named(const struct control_register *r, span name)
{
	for (size_t i = 0; i < r->instances; i++)
		if (span_is(name, r->instance[i].name))
			return &r->instance[i];
	return NULL;
}

const struct control_instance *control_instance_at(const struct control_register *r, size_t i)
{
	return i < r->instances ? &r->instance[i] : NULL;
}

bool control_decision_taken(const struct control_register *r, span decision)
{
	for (size_t i = 0; i < r->decisions; i++)
		if (span_equal(r->decision[i], decision))
			return true;
	return false;
}

span control_decision_at(const struct control_register *r, size_t i)
{
	return i < r->decisions ? r->decision[i] : (span){ 0 };
}

bool control_has_management(const struct control_register *r)
{
	return r->management_key != NULL;
}

bool control_register_management(const struct control_register *r, struct control_management *out)
{
	*out = (struct control_management){ .spki = r->management_spki,
					    .group = r->management_group,
					    .holder = r->holder,
					    .holders = r->holders,
					    .newest = r->crl_newest };
	return r->management_key != NULL;
}

const char *control_register_provider(const struct control_register *r)
{
	return r->provider;
}

unsigned control_register_quorum(const struct control_register *r)
{
	return r->quorum;
}

/* Two persons with one key would be one person who approves twice. */
static st check_key_is_free(struct scope *s, const struct control_register *r, const struct control_person *p, span spki)
{
	for (size_t i = 0; i < r->persons; i++)
		if (&r->person[i] != p && (span_equal(r->person[i].spki, spki) || span_equal(r->person[i].share_spki, spki)))
			return fail(s, E_CONFLICT, "this key is %s's already: each person has a token of their own",
				    r->person[i].id);
	for (size_t i = 0; i < r->instances; i++)
		if (span_equal(r->instance[i].spki, spki))
			return fail(s, E_CONFLICT, "this key is that of the instance %s", r->instance[i].name);
	return OK;
}

st control_set_keys(struct scope *s, struct control_register *r, struct control_person *p, span spki, span share_spki)
{
	struct pki_key *key;
	TRY(check_key_is_free(s, r, p, spki));
	if (span_equal(spki, share_spki))
		return fail(s, E_INPUT, "a key signs or opens shares, not both: a person has one of each");
	if (share_spki.len > 0) {
		TRY(check_key_is_free(s, r, p, share_spki));
		TRY(pki_key_check(s, share_spki));
	}
	TRY(pki_key_new_checked(s, spki, &key));
	pki_key_free(p->key);
	p->key = key;
	p->spki = scope_copy(&r->memory, spki);
	p->share_spki = scope_copy(&r->memory, share_spki);
	return OK;
}

st control_add_person(struct scope *s, struct control_register *r, span id, span spki, span share_spki)
{
	if (control_find_person(r, id) != NULL)
		return fail(s, E_CONFLICT, "%.*s is enrolled already", (int)id.len, (const char *)id.data);
	if (r->persons == CONTROL_PERSONS_MAX)
		return fail(s, E_LIMIT, "the register holds %d persons, no more fit", CONTROL_PERSONS_MAX);
	struct control_person fresh = { .id = NULL };
	TRY(control_set_keys(s, r, &fresh, spki, share_spki));
	fresh.id = scope_cstr(&r->memory, id);
	r->person = heap_grow(r->person, (r->persons + 1) * sizeof *r->person);
	r->person[r->persons++] = fresh;
	return OK;
}

st control_add_instance(struct scope *s, struct control_register *r, span name, span spki)
{
	if (control_instance_named(r, name) != NULL)
		return fail(s, E_CONFLICT, "%.*s is enrolled already", (int)name.len, (const char *)name.data);
	if (r->instances == CONTROL_INSTANCES_MAX)
		return fail(s, E_LIMIT, "the register holds %d instances, no more fit", CONTROL_INSTANCES_MAX);
	TRY(check_key_is_free(s, r, NULL, spki));
	TRY(pki_key_check(s, spki));
	r->instance = heap_grow(r->instance, (r->instances + 1) * sizeof *r->instance);
	r->instance[r->instances++] =
		(struct control_instance){ .name = scope_cstr(&r->memory, name), .spki = scope_copy(&r->memory, spki) };
	return OK;
}

/* ---- roles in time ---- */

int64_t control_training_ends(const struct control_person *p)
{
	if (p->trained == 0)
		return 0;
	struct calendar c = moment_calendar(p->trained);
	int64_t ends;
	c.year++;
	if (moment_from_calendar(&c, &ends))
		return ends;
	c.day--; /* February 29 */
	return moment_from_calendar(&c, &ends) ? ends : 0;
}

uint32_t control_roles_held(const struct control_person *p, int64_t at)
{
	if (p->left)
		return 0;
	uint32_t authority = p->granted & CONTROL_IS(AUTHORITY_MEMBER);
	return p->trained <= at && at < control_training_ends(p) ? p->granted : authority;
}

/* ---- the head ---- */

struct control_head control_register_head(const struct control_register *r)
{
	return r->head[r->entries];
}

bool control_register_was(const struct control_register *r, uint64_t entries, const uint8_t hash[CONTROL_HASH_LEN])
{
	return entries <= r->entries && memcmp(r->head[entries].hash, hash, CONTROL_HASH_LEN) == 0;
}

static void add_entry(struct control_register *r, const struct control_signed *o, span file)
{
	static const char domain[] = "chancery register 1\n";
	uint8_t hash[DIGEST_MAX], room[DIGEST_MAX];
	struct digest d;
	(void)digest_of(DIGEST_SHA256, file, hash);
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, SPAN_LITERAL(domain));
	digest_add(&d, SPAN_ARRAY(r->head[r->entries].hash));
	digest_add(&d, span_of(hash, CONTROL_HASH_LEN));
	span head = digest_finish(&d, room);
	r->used = heap_grow(r->used, (r->entries + 1) * sizeof *r->used);
	memcpy(r->used[r->entries], o->proposal.hash, CONTROL_HASH_LEN);
	r->entries++;
	r->head = heap_grow(r->head, (r->entries + 1) * sizeof *r->head);
	r->head[r->entries].entries = r->entries;
	memcpy(r->head[r->entries].hash, head.data, CONTROL_HASH_LEN);
}

st control_register_apply(struct scope *s, struct control_register *r, span file, int64_t at)
{
	struct control_signed *o = scope_new(s, struct control_signed);
	TRY(control_signed_read(s, file, o));
	if (o->proposal.operation->executor != CONTROL_BY_REGISTER)
		return fail(s, E_INPUT, "%s is no operation of the register", o->proposal.operation->name);
	for (uint64_t i = 0; i < r->entries; i++)
		if (memcmp(r->used[i], o->proposal.hash, CONTROL_HASH_LEN) == 0)
			return fail(s, E_CONFLICT, "this proposal was carried out already, as entry %llu: propose anew",
				    (unsigned long long)i + 1);
	const struct pki_key *management = r->management_key;
	TRY(control_check(s, r, o, "register", at));
	TRY(control_effect(s, r, &o->proposal, at));
	if (o->proposal.has_crl && r->management_key == management)
		control_crl_came(r, o->proposal.crl_number, at);
	add_entry(r, o, file);
	return OK;
}

/* ---- what would be ---- */

static void *copy_of(const void *array, size_t len)
{
	void *copy = heap_alloc(len + 1);
	return len == 0 ? copy : memcpy(copy, array, len);
}

static st keys_of_its_own(struct scope *s, const struct control_register *r, struct control_register *b)
{
	if (!buf_append(&b->newest, buf_span(&r->newest)))
		return fail(s, E_BUG, "a management CRL does not fit its buffer");
	for (; b->persons < r->persons; b->persons++) {
		struct pki_key *key;
		TRY(pki_key_new(s, r->person[b->persons].spki, &key));
		b->person[b->persons].key = key;
	}
	return r->management_key == NULL ? OK : pki_key_new(s, r->management_spki, &b->management_key);
}

/* The same register with memory of its own; texts are borrowed, so it goes before the other. */
static st branch(struct scope *s, const struct control_register *r, struct control_register **out)
{
	struct control_register *b = heap_alloc(sizeof *b);
	*b = *r;
	scope_init(&b->memory, s->source);
	b->person = copy_of(r->person, r->persons * sizeof *r->person);
	b->instance = copy_of(r->instance, r->instances * sizeof *r->instance);
	b->decision = copy_of(r->decision, r->decisions * sizeof *r->decision);
	b->head = copy_of(r->head, (r->entries + 1) * sizeof *r->head);
	b->used = copy_of(r->used, r->entries * sizeof *r->used);
	b->persons = 0;
	b->management_key = NULL;
	buf_init(&b->newest, CONTROL_CRL_MAX);
	st status = keys_of_its_own(s, r, b);
	if (status.code != E_OK) {
		control_register_free(b);
		return status;
	}
	*out = b;
	return OK;
}

st control_register_would(struct scope *s, const struct control_register *r, span file, int64_t at, struct control_head *out)
{
	struct control_register *b;
	TRY(branch(s, r, &b));
	st status = control_register_apply(s, b, file, at);
	if (status.code == E_OK)
		*out = control_register_head(b);
	control_register_free(b);
	return status;
}

/* ---- from the founding document ---- */

static st found(struct scope *s, struct control_register *r, span document)
{
	uint8_t hash[DIGEST_MAX];
	struct control_founding *f = scope_new(s, struct control_founding);
	TRY(control_founding_read(s, document, f));
	r->provider = scope_cstr(&r->memory, span_str(f->provider));
	r->quorum = f->quorum;
	for (size_t i = 0; i < f->founders; i++) {
		const struct control_founder *founder = &f->founder[i];
		TRY(control_add_person(s, r, span_str(founder->id), founder->spki, founder->share_spki));
		struct control_person *p = &r->person[r->persons - 1];
		memcpy(p->identity, founder->identity, sizeof p->identity);
		p->granted = CONTROL_IS(AUTHORITY_MEMBER);
		p->screened = f->founded;
	}
	for (size_t i = 0; i < f->instances; i++)
		TRY(control_add_instance(s, r, span_str(f->instance[i].name), f->instance[i].spki));
	(void)digest_of(DIGEST_SHA256, document, hash);
	r->head = heap_alloc(sizeof *r->head);
	memcpy(r->head[0].hash, hash, CONTROL_HASH_LEN);
	return OK;
}

st control_register_new(struct scope *s, span founding, struct control_register **out)
{
	struct control_register *r = heap_alloc(sizeof *r);
	scope_init(&r->memory, NULL);
	buf_init(&r->newest, CONTROL_CRL_MAX);
	st status = found(s, r, founding);
	if (status.code != E_OK) {
		control_register_free(r);
		return status;
	}
	*out = r;
	return OK;
}

void control_register_free(struct control_register *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->persons; i++)
		pki_key_free(r->person[i].key);
	pki_key_free(r->management_key);
	free(r->person);
	free(r->instance);
	free(r->decision);
	free(r->head);
	free(r->used);
	buf_free(&r->newest);
	scope_done(&r->memory);
	free(r);
}
