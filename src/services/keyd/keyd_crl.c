/*
 * keyd_crl.c - TBSCertList (rfc5280#5.1) as it passes. A list of a million entries is 49 MB: what is held is one element.
 *
 * The list is taken in units: the head of the whole and of revokedCertificates, every other element whole. A unit that
 * lies inside one part is read where it is; one that is cut by the end of a part is gathered in `pending`.
 */
#include "keyd_content.h"
#include <stdlib.h>

#define ELEMENT_MAX     16384u
#define SERIAL_MAX      20
#define CLOCK_TOLERANCE (5 * MOMENT_MINUTE)

enum state {
	WHOLE_HEAD,
	VERSION,
	ALGORITHM,
	ISSUER,
	THIS_UPDATE,
	NEXT_UPDATE,
	LIST_HEAD_OR_EXTENSIONS,
	ENTRY,
	EXTENSIONS,
	COMPLETE
};

struct keyd_crl {
	struct keyd_rules rules;
	enum state state;
	uint64_t total;     /* bytes announced */
	uint64_t seen;      /* bytes taken */
	uint64_t list_left; /* content bytes of revokedCertificates still to come */
	struct buf pending;
	struct digest digest;
	struct keyd_found found;
};

static const uint8_t oid_crl_number[] = { 0x55, 0x1d, 0x14 };
static const uint8_t oid_reason[] = { 0x55, 0x1d, 0x15 };
static const uint8_t oid_invalidity_date[] = { 0x55, 0x1d, 0x18 };
static const uint8_t oid_distribution_point[] = { 0x55, 0x1d, 0x1c };

struct keyd_crl *keyd_crl_new(const struct keyd_rules *rules, uint64_t total)
{
	struct keyd_crl *c = heap_alloc(sizeof *c);
	*c = (struct keyd_crl){ .rules = *rules, .total = total };
	buf_init(&c->pending, ELEMENT_MAX);
	digest_start(&c->digest, rules->algorithm->digest);
	return c;
}

void keyd_crl_free(struct keyd_crl *c)
{
	if (c == NULL)
		return;
	digest_drop(&c->digest);
	buf_free(&c->pending);
	free(c);
}

static st malformed(struct scope *s)
{
	return fail(s, E_INPUT, "this is no TBSCertList of version 2 (RFC 5280 5.1)");
}

/* Octets of tag and length, and the content's length, when that many are there; 0 when more are needed. */
static st read_head(struct scope *s, span bytes, size_t *out_head, uint64_t *out_content)
{
	*out_head = 0;
	if (bytes.len < 2)
		return OK;
	uint8_t first = bytes.data[1];
	size_t count = first & 0x7f;
	if (first < 0x80) {
		*out_head = 2;
		*out_content = first;
		return OK;
	}
	if (count < 1 || count > 4)
		return malformed(s);
	if (bytes.len < 2 + count)
		return OK;
	uint64_t content = 0;
	for (size_t i = 0; i < count; i++)
		content = content << 8 | bytes.data[2 + i];
	//= x690#10.1 the shortest form of a length
	if (bytes.data[2] == 0 || content < 0x80)
		return malformed(s);
	*out_head = 2 + count;
	*out_content = content;
	return OK;
}

/* Is the unit that begins here only a head, its content to follow in units of its own? */
static bool head_only(const struct keyd_crl *c, uint8_t tag)
{
	return c->state == WHOLE_HEAD || (c->state == LIST_HEAD_OR_EXTENSIONS && tag == DER_SEQUENCE);
}

static st take_whole_head(struct scope *s, struct keyd_crl *c, span unit, uint64_t content)
{
	if (unit.data[0] != DER_SEQUENCE)
		return malformed(s);
	if (unit.len + content != c->total)
		return fail(s, E_INPUT, "the TBSCertList has %llu bytes, %llu were announced",
			    (unsigned long long)(unit.len + content), (unsigned long long)c->total);
	c->state = VERSION;
	return OK;
}

static st take_list_head(struct scope *s, struct keyd_crl *c, span unit, uint64_t content)
{
	//= rfc5280#5.1.2.6 with no revoked certificates the list is absent
	if (content == 0 || content > c->total - c->seen - unit.len)
		return malformed(s);
	c->list_left = content;
	c->state = ENTRY;
	return OK;
}

static st take_version(struct scope *s, struct keyd_crl *c, span unit)
{
	struct der_rd d = der_read(unit);
	//= rfc5280#5.1.2.1 with extensions the version is 2
	if (der_get_small(&d, DER_INTEGER) != 1 || d.bad)
		return malformed(s);
	c->state = ALGORITHM;
	return OK;
}

static st take_algorithm(struct scope *s, struct keyd_crl *c, span unit)
{
	TRY(keyd_check_algorithm(s, &c->rules, unit, "the TBSCertList"));
	c->state = ISSUER;
	return OK;
}

static st take_issuer(struct scope *s, struct keyd_crl *c, span unit)
{
	if (unit.data[0] != DER_SEQUENCE)
		return malformed(s);
	TRY(keyd_check_issuer(s, &c->rules, unit, "the TBSCertList"));
	c->state = THIS_UPDATE;
	return OK;
}

static st take_date(struct scope *s, span unit, int64_t *out)
{
	struct der_rd d = der_read(unit);
	*out = der_get_time(&d);
	return d.bad ? malformed(s) : OK;
}

static st take_this_update(struct scope *s, struct keyd_crl *c, span unit)
{
	TRY(take_date(s, unit, &c->found.this_update));
	if (c->found.this_update > c->rules.now + CLOCK_TOLERANCE)
		return fail(s, E_DENIED, "thisUpdate of the CRL lies in the future; compare the clocks");
	c->state = NEXT_UPDATE;
	return OK;
}

static st take_next_update(struct scope *s, struct keyd_crl *c, span unit)
{
	//= rfc5280#5.1.2.5 nextUpdate is present
	TRY(take_date(s, unit, &c->found.next_update));
	TRY(keyd_check_life(s, &c->rules, c->found.this_update, c->found.next_update, "the CRL"));
	c->state = LIST_HEAD_OR_EXTENSIONS;
	return OK;
}

//= rfc5280#5.3.1 reasons 1 to 6 and 8 to 10; unspecified is left out, 7 is not used
static bool reason_good(span value)
{
	struct der_rd d = der_read(value);
	int64_t reason = der_get_small(&d, DER_ENUMERATED);
	return !d.bad && d.rest.len == 0 && reason >= 1 && reason <= 10 && reason != 7;
}

static bool invalidity_good(span value)
{
	struct der_rd d = der_read(value);
	(void)der_get_generalized(&d, false);
	return !d.bad && d.rest.len == 0;
}

static bool entry_extensions_good(struct der_rd *list)
{
	span before = { 0 };
	while (!der_at_end(list)) {
		struct der_rd d = der_enter(list, DER_SEQUENCE);
		span oid = der_get(&d, DER_OID);
		span value = der_get(&d, DER_OCTET_STRING);
		der_leave(list, &d);
		bool known = (span_equal(oid, SPAN_ARRAY(oid_reason)) && reason_good(value)) ||
			     (span_equal(oid, SPAN_ARRAY(oid_invalidity_date)) && invalidity_good(value));
		if (!known || span_equal(oid, before))
			return false;
		before = oid;
	}
	return !list->bad;
}

static st take_entry(struct scope *s, struct keyd_crl *c, span unit)
{
	if (unit.len > c->list_left)
		return malformed(s);
	struct der_rd outer = der_read(unit);
	struct der_rd d = der_enter(&outer, DER_SEQUENCE);
	span serial = der_get_integer(&d);
	(void)der_get_time(&d);
	bool good = !d.bad && serial.len <= SERIAL_MAX && serial.data[0] < 0x80;
	if (good && !der_at_end(&d)) {
		struct der_rd list = der_enter(&d, DER_SEQUENCE);
		good = !der_at_end(&list) && entry_extensions_good(&list);
	}
	if (!good || d.bad || d.rest.len > 0)
		return fail(
			s, E_INPUT,
			"entry %llu of the TBSCertList is malformed or has an extension that is not known here (RFC 5280 5.3)",
			(unsigned long long)c->found.entries);
	c->found.entries++;
	c->list_left -= unit.len;
	if (c->list_left == 0)
		c->state = EXTENSIONS;
	return OK;
}

static st read_number(struct scope *s, const struct keyd_extension *e, int64_t *out)
{
	//= rfc5280#5.2.3 every CRL has a number
	if (e == NULL)
		return fail(s, E_DENIED, "a CRL has a number (RFC 5280 5.2.3)");
	struct der_rd d = der_read(e->value);
	*out = der_get_small(&d, DER_INTEGER);
	return der_done(s, &d, "the CRL number");
}

static st take_extensions(struct scope *s, struct keyd_crl *c, span unit)
{
	struct der_rd outer = der_read(unit);
	struct der_rd wrapper = der_enter(&outer, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd list = der_enter(&wrapper, DER_SEQUENCE);
	struct keyd_extension extensions[KEYD_EXTENSIONS_MAX];
	size_t count;
	TRY(keyd_read_extensions(s, &list, "a TBSCertList", extensions, &count));
	der_leave(&wrapper, &list);
	der_leave(&outer, &wrapper);
	TRY(der_done(s, &outer, "the crlExtensions"));
	for (size_t i = 0; i < count; i++)
		if (extensions[i].critical && !span_equal(extensions[i].oid, SPAN_ARRAY(oid_distribution_point)))
			return fail(s, E_DENIED, "a critical extension of the CRL is not known here (RFC 5280 5.2)");
	TRY(read_number(s, keyd_extension_of(extensions, count, SPAN_ARRAY(oid_crl_number)), &c->found.number));
	c->state = COMPLETE;
	return OK;
}

static st take_element(struct scope *s, struct keyd_crl *c, span unit)
{
	static st (*const take[])(struct scope *, struct keyd_crl *, span) = {
		[VERSION] = take_version,
		[ALGORITHM] = take_algorithm,
		[ISSUER] = take_issuer,
		[THIS_UPDATE] = take_this_update,
		[NEXT_UPDATE] = take_next_update,
		[LIST_HEAD_OR_EXTENSIONS] = take_extensions,
		[ENTRY] = take_entry,
		[EXTENSIONS] = take_extensions,
	};
	if (c->state == COMPLETE || c->state == WHOLE_HEAD)
		return malformed(s);
	return take[c->state](s, c, unit);
}

/* Take one unit from the front of `bytes`; 0 taken when it is not whole yet. */
static st take_unit(struct scope *s, struct keyd_crl *c, span bytes, size_t *out_taken)
{
	size_t head;
	uint64_t content = 0;
	*out_taken = 0;
	TRY(read_head(s, bytes, &head, &content));
	if (head == 0)
		return OK;
	if (c->state == COMPLETE)
		return malformed(s);
	bool only = head_only(c, bytes.data[0]);
	size_t len = head;
	if (!only) {
		if (content > ELEMENT_MAX - head)
			return fail(s, E_LIMIT, "an element of the TBSCertList is over %u bytes", ELEMENT_MAX);
		len = head + (size_t)content;
	}
	if (len > c->total - c->seen)
		return malformed(s);
	if (bytes.len < len)
		return OK;
	span unit = span_first(bytes, len);
	if (only)
		TRY(c->state == WHOLE_HEAD ? take_whole_head(s, c, unit, content) : take_list_head(s, c, unit, content));
	else
		TRY(take_element(s, c, unit));
	c->seen += len;
	*out_taken = len;
	return OK;
}

/* Complete the element that was cut, with as little of the part as that takes. */
static st fill_pending(struct scope *s, struct keyd_crl *c, span *part)
{
	while (c->pending.len > 0 && part->len > 0) {
		size_t head;
		uint64_t content = 0;
		TRY(read_head(s, buf_span(&c->pending), &head, &content));
		bool only = head != 0 && head_only(c, c->pending.data[0]);
		uint64_t want = head == 0 ? c->pending.len + 1 : head + (only ? 0 : content);
		if (want > ELEMENT_MAX)
			return fail(s, E_LIMIT, "an element of the TBSCertList is over %u bytes", ELEMENT_MAX);
		span more = span_first(*part, want > c->pending.len ? (size_t)want - c->pending.len : 0);
		if (!buf_append(&c->pending, more))
			return fail(s, E_LIMIT, "an element of the TBSCertList is over %u bytes", ELEMENT_MAX);
		*part = span_from(*part, more.len);
		size_t taken;
		TRY(take_unit(s, c, buf_span(&c->pending), &taken));
		if (taken > 0)
			buf_clear(&c->pending);
	}
	return OK;
}

st keyd_crl_add(struct scope *s, struct keyd_crl *c, span part)
{
	if (part.len > c->total - c->seen - c->pending.len)
		return fail(s, E_INPUT, "more bytes came than were announced");
	digest_add(&c->digest, part);
	TRY(fill_pending(s, c, &part));
	while (part.len > 0) {
		size_t taken;
		TRY(take_unit(s, c, part, &taken));
		if (taken == 0)
			break;
		part = span_from(part, taken);
	}
	if (part.len > 0 && !buf_append(&c->pending, part))
		return fail(s, E_LIMIT, "an element of the TBSCertList is over %u bytes", ELEMENT_MAX);
	return OK;
}

st keyd_crl_finish(struct scope *s, struct keyd_crl *c, struct keyd_found *out, uint8_t *out_digest, span *out_digest_span)
{
	if (c->state != COMPLETE || c->seen != c->total || c->pending.len > 0)
		return fail(s, E_INPUT, "the TBSCertList is cut short");
	*out_digest_span = digest_finish(&c->digest, out_digest);
	*out = c->found;
	return OK;
}
