#include "alg_oid.h"
#include "pki_crl.h"
#include "log.h"
#include <stdlib.h>

#define PART_MAX 65536u
/* Two headers, a serial, two times and a reason: the longest entry has 82 octets. */
#define ENTRY_MAX 128u

static const char *const reason_names[] = {
	[0] = "unspecified",        [1] = "keyCompromise",        [2] = "cACompromise",    [3] = "affiliationChanged",
	[4] = "superseded",         [5] = "cessationOfOperation", [6] = "certificateHold", [8] = "removeFromCRL",
	[9] = "privilegeWithdrawn", [10] = "aACompromise",
};
#define REASON_COUNT ((int)(sizeof reason_names / sizeof reason_names[0]))

int pki_reason_named(span name)
{
	for (int i = 0; i < REASON_COUNT; i++)
		if (reason_names[i] != NULL && span_is(name, reason_names[i]))
			return i;
	return -1;
}

const char *pki_reason_name(int reason)
{
	return reason < 0 || reason >= REASON_COUNT ? NULL : reason_names[reason];
}

static const span oid_key_identifier = OCTETS("\x55\x1d\x23");
static const span oid_number = OCTETS("\x55\x1d\x14");
static const span oid_expired_certs = OCTETS("\x55\x1d\x3c");
static const span oid_reason = OCTETS("\x55\x1d\x15");
static const span oid_invalidity = OCTETS("\x55\x1d\x18");

/* What both passes add up, and compare. */
struct pass {
	uint64_t entries;
	uint64_t octets;
	uint8_t last[PKI_SERIAL_MAX];
	size_t last_len;
};

struct pki_crl_writer {
	struct buf issuer, key_identifier;
	struct pki_crl_head head;
	struct pass counted, written;
	enum code refused; /* of the first bad entry of the counting pass */
	const char *reason;
	struct buf suffix; /* what follows the entries */
	st (*sink)(struct scope *s, span part, void *arg);
	void *arg;
	size_t held;
	uint8_t part[PART_MAX];
};

struct pki_crl_writer *pki_crl_new(const struct pki_crl_head *head)
{
	struct pki_crl_writer *w = heap_alloc(sizeof *w);
	w->head = *head;
	(void)buf_append(&w->issuer, head->issuer);
	(void)buf_append(&w->key_identifier, head->issuer_key_identifier);
	w->head.issuer = buf_span(&w->issuer);
	w->head.issuer_key_identifier = buf_span(&w->key_identifier);
	return w;
}

void pki_crl_free(struct pki_crl_writer *w)
{
	if (w == NULL)
		return;
	buf_free(&w->issuer);
	buf_free(&w->key_identifier);
	buf_free(&w->suffix);
	free(w);
}

/* ---- one entry, written straight into bytes: a CRL has a million of them ---- */

static uint8_t *put(uint8_t *at, span bytes)
{
	if (bytes.len > 0)
		memcpy(at, bytes.data, bytes.len);
	return at + bytes.len;
}

static uint8_t *put_serial(uint8_t *at, span magnitude)
{
	bool sign_octet = magnitude.data[0] >= 0x80;
	*at++ = DER_INTEGER;
	*at++ = (uint8_t)(magnitude.len + sign_octet);
	if (sign_octet)
		*at++ = 0;
	return put(at, magnitude);
}

/* SEQUENCE { extnID, OCTET STRING { value } }: every length is below 128 here. */
static uint8_t *put_extension(uint8_t *at, span oid, span value)
{
	*at++ = DER_SEQUENCE;
	*at++ = (uint8_t)(4 + oid.len + value.len);
	*at++ = DER_OID;
	*at++ = (uint8_t)oid.len;
	at = put(at, oid);
	*at++ = DER_OCTET_STRING;
	*at++ = (uint8_t)value.len;
	return put(at, value);
}

static size_t generalized(int64_t moment, uint8_t out[DER_TIME_MAX])
{
	struct buf b = { 0 };
	struct der_wr d = der_write(&b);
	der_put_generalized(&d, moment);
	size_t len = b.len;
	memcpy(out, b.data, len);
	buf_free(&b);
	return len;
}

//= rfc5280#5.3.1 reasonCode is absent rather than unspecified, and not critical
//= rfc5280#5.3.2 invalidityDate is a GeneralizedTime, not critical
static uint8_t *put_entry_extensions(uint8_t *at, const struct pki_crl_entry *entry)
{
	if (entry->reason <= 0 && entry->invalidity_date == 0)
		return at;
	uint8_t *sequence = at;
	at += 2;
	if (entry->reason > 0) {
		const uint8_t value[] = { DER_ENUMERATED, 1, (uint8_t)entry->reason };
		at = put_extension(at, oid_reason, SPAN_ARRAY(value));
	}
	if (entry->invalidity_date != 0) {
		uint8_t value[DER_TIME_MAX];
		at = put_extension(at, oid_invalidity, span_of(value, generalized(entry->invalidity_date, value)));
	}
	sequence[0] = DER_SEQUENCE;
	sequence[1] = (uint8_t)(at - sequence - 2);
	return at;
}

static size_t entry_encode(const struct pki_crl_entry *entry, span magnitude, uint8_t out[ENTRY_MAX])
{
	uint8_t *at = put_serial(out + 2, magnitude);
	at += der_time(entry->revoked_at, at);
	at = put_entry_extensions(at, entry);
	out[0] = DER_SEQUENCE;
	out[1] = (uint8_t)(at - out - 2);
	return (size_t)(at - out);
}

static span trimmed(span magnitude)
{
	while (magnitude.len > 0 && magnitude.data[0] == 0)
		magnitude = span_from(magnitude, 1);
	return magnitude;
}

//= rfc5280#5.1.2.6 an entry names a positive serial of at most 20 octets, once, and was revoked before thisUpdate
static const char *entry_fault(const struct pki_crl_writer *w, const struct pass *pass, const struct pki_crl_entry *entry,
			       span magnitude)
{
	if (magnitude.len == 0 || magnitude.len > PKI_SERIAL_MAX ||
	    (magnitude.len == PKI_SERIAL_MAX && magnitude.data[0] >= 0x80))
		return "a serial number on it is not positive or longer than 20 octets (rfc5280#4.1.2.2)";
	if (pass->entries > 0 && span_compare(span_of(pass->last, pass->last_len), magnitude) >= 0)
		return "entries are not in ascending order of serial number, or one occurs twice";
	if (entry->revoked_at / MOMENT_SECOND > w->head.this_update / MOMENT_SECOND)
		return "a revocation date lies after thisUpdate (rfc5280#5.1.2.6)";
	if (entry->reason > 0 && pki_reason_name(entry->reason) == NULL)
		return "a revocation reason is none of rfc5280#5.3.1";
	return NULL;
}

static void pass_add(struct pass *pass, span magnitude, size_t octets)
{
	pass->entries++;
	pass->octets += octets;
	pass->last_len = magnitude.len;
	memcpy(pass->last, magnitude.data, magnitude.len);
}

void pki_crl_count(struct pki_crl_writer *w, const struct pki_crl_entry *entry)
{
	if (w->reason != NULL)
		return;
	span magnitude = trimmed(entry->serial);
	w->reason = entry_fault(w, &w->counted, entry, magnitude);
	uint8_t encoded[ENTRY_MAX];
	if (w->reason == NULL)
		pass_add(&w->counted, magnitude, entry_encode(entry, magnitude, encoded));
}

/* ---- head and tail ---- */

static void put_crl_extension(struct der_wr *d, span oid, void (*value)(struct der_wr *d, const struct pki_crl_head *head),
			      const struct pki_crl_head *head)
{
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid);
	der_begin(d, DER_OCTET_STRING);
	value(d, head);
	der_end(d);
	der_end(d);
}

static void value_key_identifier(struct der_wr *d, const struct pki_crl_head *head)
{
	der_begin(d, DER_SEQUENCE);
	der_put(d, DER_CONTEXT(0), head->issuer_key_identifier);
	der_end(d);
}

static void put_u64(struct der_wr *d, uint64_t v)
{
	uint8_t octets[8];
	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(v >> (8 * (7 - i)));
	der_put_unsigned(d, SPAN_ARRAY(octets));
}

static void value_number(struct der_wr *d, const struct pki_crl_head *head)
{
	put_u64(d, head->number);
}

static void value_expired_certs(struct der_wr *d, const struct pki_crl_head *head)
{
	der_put_generalized(d, head->expired_certs_from);
}

//= rfc5280#5.2.1 authorityKeyIdentifier and
//= rfc5280#5.2.3 cRLNumber are in every CRL, neither of them critical
//= en319411-2#CSS-6.3.10-03 expiredCertsOnCRL when entries stay after their certificate's expiry
static st build_suffix(struct scope *s, struct pki_crl_writer *w)
{
	struct der_wr d = der_write(&w->suffix);
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(0));
	der_begin(&d, DER_SEQUENCE);
	put_crl_extension(&d, oid_key_identifier, value_key_identifier, &w->head);
	put_crl_extension(&d, oid_number, value_number, &w->head);
	if (w->head.expired_certs_from != 0)
		put_crl_extension(&d, oid_expired_certs, value_expired_certs, &w->head);
	der_end(&d);
	der_end(&d);
	return der_finish(s, &d);
}

static st check_head(struct scope *s, const struct pki_crl_writer *w)
{
	const struct pki_crl_head *head = &w->head;
	if (head->algorithm == NULL || head->issuer.len == 0 || head->issuer_key_identifier.len == 0)
		return fail(s, E_INPUT, "a CRL needs an algorithm, an issuer and the issuer's key identifier (rfc5280#5.2.1)");
	if (head->next_update <= head->this_update)
		return fail(s, E_INPUT, "a CRL's nextUpdate must lie after its thisUpdate (en319411-1#CSS-6.3.9-06)");
	if (w->reason != NULL)
		return fail(s, E_INPUT, "the CRL cannot be written: %s", w->reason);
	return OK;
}

static st flush(struct scope *s, struct pki_crl_writer *w)
{
	size_t held = w->held;
	w->held = 0;
	return held == 0 ? OK : w->sink(s, span_of(w->part, held), w->arg);
}

static st emit(struct scope *s, struct pki_crl_writer *w, span bytes)
{
	while (bytes.len > 0) {
		if (w->held == PART_MAX)
			TRY(flush(s, w));
		span now = span_first(bytes, PART_MAX - w->held);
		memcpy(w->part + w->held, now.data, now.len);
		w->held += now.len;
		bytes = span_from(bytes, now.len);
	}
	return OK;
}

static size_t header_into(struct der_wr *d, size_t content)
{
	uint8_t head[10];
	size_t len = der_header(DER_SEQUENCE, content, head);
	der_put_raw(d, span_of(head, len));
	return len;
}

//= rfc5280#5.1.2.6 revokedCertificates is absent when nothing is revoked
st pki_crl_open(struct scope *s, struct pki_crl_writer *w, st (*sink)(struct scope *s, span part, void *arg), void *arg,
		uint64_t *out_tbs_length)
{
	if (w->sink != NULL)
		log_die("a CRL is opened twice");
	TRY(check_head(s, w));
	TRY(build_suffix(s, w));
	AUTO_BUF fields = { 0 };
	struct der_wr d = der_write(&fields);
	der_put_small(&d, DER_INTEGER, 1); /* v2 */
	der_put_raw(&d, w->head.algorithm->identifier);
	der_put_raw(&d, w->head.issuer);
	der_put_time(&d, w->head.this_update);
	der_put_time(&d, w->head.next_update);
	if (w->counted.entries > 0)
		(void)header_into(&d, w->counted.octets);
	TRY(der_finish(s, &d));
	size_t content = fields.len + w->counted.octets + w->suffix.len;
	AUTO_BUF head = { 0 };
	d = der_write(&head);
	size_t head_len = header_into(&d, content);
	TRY(der_finish(s, &d));
	w->sink = sink;
	w->arg = arg;
	*out_tbs_length = head_len + content;
	TRY(emit(s, w, buf_span(&head)));
	return emit(s, w, buf_span(&fields));
}

st pki_crl_entry(struct scope *s, struct pki_crl_writer *w, const struct pki_crl_entry *entry)
{
	span magnitude = trimmed(entry->serial);
	const char *fault = entry_fault(w, &w->written, entry, magnitude);
	if (fault != NULL)
		return fail(s, E_INPUT, "the CRL cannot be written: %s", fault);
	uint8_t encoded[ENTRY_MAX];
	size_t len = entry_encode(entry, magnitude, encoded);
	pass_add(&w->written, magnitude, len);
	if (w->written.octets > w->counted.octets)
		return fail(s, E_CONFLICT,
			    "the second pass over the entries has more than the first; read both from one snapshot");
	return emit(s, w, span_of(encoded, len));
}

st pki_crl_close(struct scope *s, struct pki_crl_writer *w)
{
	if (w->written.entries != w->counted.entries || w->written.octets != w->counted.octets)
		return fail(s, E_CONFLICT,
			    "the two passes over the entries differ (%llu and %llu); read both from one snapshot",
			    (unsigned long long)w->counted.entries, (unsigned long long)w->written.entries);
	TRY(emit(s, w, buf_span(&w->suffix)));
	return flush(s, w);
}

st pki_crl_frame(struct scope *s, uint64_t tbs_length, const struct alg_signature *algorithm, span signature, span *out_before,
		 span *out_after)
{
	AUTO_BUF after = { 0 };
	struct der_wr d = der_write(&after);
	der_put_raw(&d, algorithm->identifier);
	der_put_bits(&d, signature);
	TRY(der_finish(s, &d));
	uint8_t head[10];
	*out_before = scope_copy(s, span_of(head, der_header(DER_SEQUENCE, tbs_length + after.len, head)));
	*out_after = scope_copy(s, buf_span(&after));
	return OK;
}
