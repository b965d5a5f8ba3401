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

struct pki_crl_writer {
	struct pki_crl_head head;
	struct buf issuer, key_identifier;
	struct buf fields; /* from the version to nextUpdate */
	struct buf tail;   /* what follows the entries */
	st (*sink)(struct scope *s, span part, void *arg);
	void *arg;
	uint64_t entries, octets;
	uint8_t last[PKI_SERIAL_MAX];
	size_t last_len;
	int64_t day; /* the one `midnight` is encoded for */
	uint8_t midnight[DER_TIME_MAX];
	size_t midnight_len; /* 0: no date yet */
	size_t held;
	uint8_t part[PART_MAX];
};

void pki_crl_free(struct pki_crl_writer *w)
{
	if (w == NULL)
		return;
	buf_free(&w->issuer);
	buf_free(&w->key_identifier);
	buf_free(&w->fields);
	buf_free(&w->tail);
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

static void put_two(uint8_t *at, int64_t value)
{
	at[0] = (uint8_t)('0' + value / 10);
	at[1] = (uint8_t)('0' + value % 10);
}

/* Dates come close together: on the day of the last one only the clock is written anew. Both forms end in hhmmssZ. */
static uint8_t *put_date(struct pki_crl_writer *w, uint8_t *at, int64_t moment)
{
	int64_t day = moment / MOMENT_DAY - (moment % MOMENT_DAY < 0);
	if (day != w->day || w->midnight_len == 0) {
		w->midnight_len = der_time(day * MOMENT_DAY, w->midnight);
		w->day = day;
	}
	int64_t seconds = (moment - day * MOMENT_DAY) / MOMENT_SECOND;
	at = put(at, span_of(w->midnight, w->midnight_len));
	put_two(at - 7, seconds / 3600);
	put_two(at - 5, seconds / 60 % 60);
	put_two(at - 3, seconds % 60);
	return at;
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

static size_t entry_encode(struct pki_crl_writer *w, const struct pki_crl_entry *entry, span magnitude, uint8_t *out)
{
	uint8_t *at = put_serial(out + 2, magnitude);
	at = put_date(w, at, entry->revoked_at);
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
static const char *entry_fault(const struct pki_crl_writer *w, const struct pki_crl_entry *entry, span magnitude)
{
	if (magnitude.len == 0 || magnitude.len > PKI_SERIAL_MAX ||
	    (magnitude.len == PKI_SERIAL_MAX && magnitude.data[0] >= 0x80))
		return "a serial number on it is not positive or longer than 20 octets (rfc5280#4.1.2.2)";
	if (w->entries > 0 && span_compare(span_of(w->last, w->last_len), magnitude) >= 0)
		return "entries are not in ascending order of serial number, or one occurs twice";
	if (entry->revoked_at / MOMENT_SECOND > w->head.this_update / MOMENT_SECOND)
		return "a revocation date lies after thisUpdate (rfc5280#5.1.2.6)";
	if (entry->reason > 0 && pki_reason_name(entry->reason) == NULL)
		return "a revocation reason is none of rfc5280#5.3.1";
	return NULL;
}

static st flush(struct scope *s, struct pki_crl_writer *w)
{
	size_t held = w->held;
	w->held = 0;
	return held == 0 ? OK : w->sink(s, span_of(w->part, held), w->arg);
}

st pki_crl_entry(struct scope *s, struct pki_crl_writer *w, const struct pki_crl_entry *entry)
{
	span magnitude = trimmed(entry->serial);
	const char *fault = entry_fault(w, entry, magnitude);
	if (fault != NULL)
		return fail(s, E_INPUT, "the CRL cannot be written: %s", fault);
	if (w->held + ENTRY_MAX > PART_MAX)
		TRY(flush(s, w));
	size_t len = entry_encode(w, entry, magnitude, w->part + w->held);
	w->held += len;
	w->octets += len;
	w->entries++;
	w->last_len = magnitude.len;
	memcpy(w->last, magnitude.data, magnitude.len);
	return OK;
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
static st build_tail(struct scope *s, struct pki_crl_writer *w)
{
	struct der_wr d = der_write(&w->tail);
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

static st build_fields(struct scope *s, struct pki_crl_writer *w)
{
	struct der_wr d = der_write(&w->fields);
	der_put_small(&d, DER_INTEGER, 1); /* v2 */
	der_put_raw(&d, w->head.algorithm->identifier);
	der_put_raw(&d, w->head.issuer);
	der_put_time(&d, w->head.this_update);
	der_put_time(&d, w->head.next_update);
	return der_finish(s, &d);
}

static st check_head(struct scope *s, const struct pki_crl_head *head)
{
	if (head->algorithm == NULL || head->issuer.len == 0 || head->issuer_key_identifier.len == 0)
		return fail(s, E_INPUT, "a CRL needs an algorithm, an issuer and the issuer's key identifier (rfc5280#5.2.1)");
	if (head->next_update <= head->this_update)
		return fail(s, E_INPUT, "a CRL's nextUpdate must lie after its thisUpdate (en319411-1#CSS-6.3.9-06)");
	return OK;
}

static st build_ends(struct scope *s, struct pki_crl_writer *w)
{
	TRY(build_fields(s, w));
	return build_tail(s, w);
}

st pki_crl_open(struct scope *s, const struct pki_crl_head *head, st (*sink)(struct scope *s, span part, void *arg), void *arg,
		struct pki_crl_writer **out)
{
	TRY(check_head(s, head));
	struct pki_crl_writer *w = heap_alloc(sizeof *w);
	w->head = *head;
	w->sink = sink;
	w->arg = arg;
	(void)buf_append(&w->issuer, head->issuer);
	(void)buf_append(&w->key_identifier, head->issuer_key_identifier);
	w->head.issuer = buf_span(&w->issuer);
	w->head.issuer_key_identifier = buf_span(&w->key_identifier);
	st status = build_ends(s, w);
	if (status.code != E_OK) {
		pki_crl_free(w);
		return status;
	}
	*out = w;
	return OK;
}

//= rfc5280#5.1.2.6 revokedCertificates is absent when nothing is revoked
static size_t list_header(uint64_t octets, uint8_t out[10])
{
	return octets == 0 ? 0 : der_header(DER_SEQUENCE, octets, out);
}

size_t pki_crl_head_len(const struct pki_crl_writer *w, uint64_t octets)
{
	uint8_t ignored[10];
	size_t before = w->fields.len + list_header(octets, ignored);
	return der_header_len(before + octets + w->tail.len) + before;
}

st pki_crl_close(struct scope *s, struct pki_crl_writer *w, struct pki_crl_ends *out)
{
	TRY(flush(s, w));
	uint8_t list[10], whole[10];
	size_t list_len = list_header(w->octets, list);
	size_t content = w->fields.len + list_len + w->octets + w->tail.len;
	size_t whole_len = der_header(DER_SEQUENCE, content, whole);
	AUTO_BUF head = { 0 };
	(void)buf_append(&head, span_of(whole, whole_len));
	(void)buf_append(&head, buf_span(&w->fields));
	(void)buf_append(&head, span_of(list, list_len));
	*out = (struct pki_crl_ends){
		.head = scope_copy(s, buf_span(&head)),
		.tail = scope_copy(s, buf_span(&w->tail)),
		.entries = w->entries,
		.tbs_length = whole_len + content,
	};
	return OK;
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
