#include "alg_oid.h"
#include "pki_crl.h"
#include "pki_extension.h"

static const span oid_key_identifier = OCTETS("\x55\x1d\x23");
static const span oid_number = OCTETS("\x55\x1d\x14");
static const span oid_expired_certs = OCTETS("\x55\x1d\x3c");
static const span oid_reason = OCTETS("\x55\x1d\x15");
static const span oid_invalidity = OCTETS("\x55\x1d\x18");

struct parts {
	struct pki_crl head;
	struct der_rd entries;
	struct der_rd extensions; /* content of the Extensions */
};

//= rfc5280#4.1.2.2 serial numbers are positive and at most 20 octets long
static span read_serial(struct der_rd *entry)
{
	span integer = der_get_integer(entry);
	if (integer.len == 0 || integer.data[0] >= 0x80 || (integer.len == 1 && integer.data[0] == 0))
		entry->bad = true;
	span magnitude = integer.len > 1 && integer.data[0] == 0 ? span_from(integer, 1) : integer;
	if (magnitude.len > PKI_SERIAL_MAX)
		entry->bad = true;
	return magnitude;
}

//= rfc5280#5.3.1 CRLReason has no value 7 and none above 10
static int read_reason(struct der_rd *value)
{
	int64_t reason = der_get_small(value, DER_ENUMERATED);
	if (reason == 7 || reason > 10)
		value->bad = true;
	return value->bad ? 0 : (int)reason;
}

static void read_entry_extension(struct der_rd *list, struct pki_crl_entry *out)
{
	struct pki_extension extension;
	if (!pki_extension_next(list, &extension))
		return;
	struct der_rd value = der_read(extension.value);
	if (span_equal(extension.oid, oid_reason))
		out->reason = read_reason(&value);
	else if (span_equal(extension.oid, oid_invalidity))
		out->invalidity_date = der_get_generalized(&value, false);
	else if (extension.critical)
		list->bad = true;
	else
		return;
	der_leave(list, &value);
}

static void read_entry(struct der_rd *list, struct pki_crl_entry *out)
{
	struct der_rd entry = der_enter(list, DER_SEQUENCE);
	*out = (struct pki_crl_entry){ .serial = read_serial(&entry) };
	out->revoked_at = der_get_time(&entry);
	if (!der_at_end(&entry)) {
		struct der_rd extensions = der_enter(&entry, DER_SEQUENCE);
		while (!der_at_end(&extensions))
			read_entry_extension(&extensions, out);
		der_leave(&entry, &extensions);
	}
	der_leave(list, &entry);
}

/* AuthorityKeyIdentifier: the key identifier; issuer and serial may follow. */
static span key_identifier(struct der_rd *value)
{
	struct der_rd fields = der_enter(value, DER_SEQUENCE);
	span identifier = der_next(&fields) == DER_CONTEXT(0) ? der_get(&fields, DER_CONTEXT(0)) : (span){ 0 };
	if (fields.bad)
		value->bad = true;
	return identifier;
}

static void read_extension(struct der_rd *list, struct pki_crl *out, bool *out_number)
{
	struct pki_extension extension;
	if (!pki_extension_next(list, &extension))
		return;
	struct der_rd value = der_read(extension.value);
	if (span_equal(extension.oid, oid_number)) {
		if (*out_number)
			list->bad = true;
		out->number = (uint64_t)der_get_small(&value, DER_INTEGER);
		*out_number = true;
	} else if (span_equal(extension.oid, oid_expired_certs))
		out->expired_certs_from = der_get_generalized(&value, false);
	else if (span_equal(extension.oid, oid_key_identifier))
		out->issuer_key_identifier = key_identifier(&value);
	else if (extension.critical)
		list->bad = true;
	else
		return;
	der_leave(list, &value);
}

static struct der_rd read_fields(struct der_rd *tbs, struct pki_crl *out, struct der_rd *out_entries)
{
	if (der_get_small(tbs, DER_INTEGER) != 1)
		tbs->bad = true;
	out->signature_identifier = der_get_whole(tbs, DER_SEQUENCE);
	out->issuer = der_get_whole(tbs, DER_SEQUENCE);
	out->this_update = der_get_time(tbs);
	out->next_update = der_get_time(tbs);
	*out_entries = (struct der_rd){ 0 };
	if (der_next(tbs) == DER_SEQUENCE) {
		*out_entries = der_enter(tbs, DER_SEQUENCE);
		if (out_entries->rest.len == 0)
			tbs->bad = true;
	}
	struct der_rd wrapped = der_enter(tbs, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd extensions = der_enter(&wrapped, DER_SEQUENCE);
	if (!wrapped.bad && wrapped.rest.len > 0)
		tbs->bad = true;
	return extensions;
}

static st read_parts(struct scope *s, span der, struct parts *out)
{
	struct pki_crl *head = &out->head;
	*out = (struct parts){ 0 };
	struct der_rd d = der_read(der);
	struct der_rd whole = der_enter(&d, DER_SEQUENCE);
	head->tbs = der_get_whole(&whole, DER_SEQUENCE);
	span outer_identifier = der_get_whole(&whole, DER_SEQUENCE);
	head->signature = der_get_bits(&whole);
	der_leave(&d, &whole);
	TRY(der_done(s, &d, "the CRL"));
	d = der_read(head->tbs);
	struct der_rd tbs = der_enter(&d, DER_SEQUENCE);
	out->extensions = read_fields(&tbs, head, &out->entries);
	der_leave(&d, &tbs);
	TRY(der_done(s, &d, "the CRL's signed part"));
	//= rfc5280#5.1.1.2 the signature algorithm inside and outside the signed part must be the same
	if (!span_equal(outer_identifier, head->signature_identifier))
		return fail(s, E_INPUT, "the CRL names two signature algorithms (rfc5280#5.1.1.2)");
	return OK;
}

st pki_crl_read(struct scope *s, span der, struct pki_crl *out)
{
	struct parts parts;
	TRY(read_parts(s, der, &parts));
	bool has_number = false;
	while (!der_at_end(&parts.extensions))
		read_extension(&parts.extensions, &parts.head, &has_number);
	TRY(der_done(s, &parts.extensions, "an extension of the CRL (or a critical one is not known here)"));
	if (!has_number)
		return fail(s, E_INPUT, "the CRL has no number (rfc5280#5.2.3)");
	while (!der_at_end(&parts.entries)) {
		struct pki_crl_entry entry;
		read_entry(&parts.entries, &entry);
		parts.head.entries++;
	}
	TRY(der_done(s, &parts.entries, "an entry of the CRL (or it has a critical extension that is not known here)"));
	*out = parts.head;
	return OK;
}

st pki_crl_each(struct scope *s, span der, st (*each)(struct scope *s, const struct pki_crl_entry *entry, void *arg), void *arg)
{
	struct parts parts;
	TRY(read_parts(s, der, &parts));
	while (!der_at_end(&parts.entries)) {
		struct pki_crl_entry entry;
		read_entry(&parts.entries, &entry);
		if (!parts.entries.bad)
			TRY(each(s, &entry, arg));
	}
	return der_done(s, &parts.entries, "an entry of the CRL (or it has a critical extension that is not known here)");
}

struct search {
	span serial;
	bool found;
	struct pki_crl_entry entry;
};

static st compare(struct scope *s, const struct pki_crl_entry *entry, void *arg)
{
	(void)s;
	struct search *search = arg;
	if (!search->found && span_equal(entry->serial, search->serial)) {
		search->entry = *entry;
		search->found = true;
	}
	return OK;
}

st pki_crl_find(struct scope *s, span der, span serial, bool *out_found, struct pki_crl_entry *out)
{
	while (serial.len > 0 && serial.data[0] == 0)
		serial = span_from(serial, 1);
	struct search search = { .serial = serial };
	TRY(pki_crl_each(s, der, compare, &search));
	*out_found = search.found;
	if (search.found)
		*out = search.entry;
	return OK;
}
