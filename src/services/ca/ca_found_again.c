/*
 * Logical CAs that the log has and the database lacks, because it was restored from a backup older than they are. A log may hold
 * the records of several cas (the off-line root's among them): a CA is ours when our keyd has its key.
 */
#include "ca_authority.h"
#include "log.h"

static const char *text(const json_t *record, const char *name)
{
	const char *value = json_string_value(json_object_get(record, name));
	return value != NULL ? value : "";
}

static st bytes_of(struct scope *s, const json_t *record, const char *name, span *out)
{
	return fail_context(s, base64_parse(s, span_str(text(record, name)), out), "'%s' of a record ca.created", name);
}

static st chain_of(struct scope *s, const json_t *record, struct ca_new_authority *out)
{
	span all;
	TRY(bytes_of(s, record, "chain", &all));
	struct der_rd d = der_read(all);
	while (!der_at_end(&d) && out->chain_count < CA_CHAIN_MAX)
		out->chain[out->chain_count++] = der_get_whole(&d, DER_SEQUENCE);
	return der_done(s, &d, "the chain in a record ca.created");
}

/* Name and key stand in the certificate, or in the request for one. */
static st subject_of(struct scope *s, struct ca_new_authority *out)
{
	if (out->certificate.len > 0) {
		struct pki_certificate *c = scope_new(s, struct pki_certificate);
		TRY(pki_certificate_read(s, out->certificate, c));
		out->subject = c->subject;
		out->spki = c->spki;
		return OK;
	}
	struct pki_request *r = scope_new(s, struct pki_request);
	TRY(pki_request_read(s, out->request, r));
	out->subject = r->subject;
	out->spki = r->spki;
	return OK;
}

static st authority_of(struct scope *s, const json_t *record, struct ca_new_authority *out)
{
	*out = (struct ca_new_authority){ .id = json_integer_value(json_object_get(record, "number")),
					  .name = text(record, "ca"),
					  .profile = text(record, "profile"),
					  .key = text(record, "label"),
					  .algorithm = text(record, "algorithm"),
					  .crl_url = text(record, "crl_url"),
					  .issuer_url = text(record, "issuer_url"),
					  .ocsp_url = text(record, "ocsp_url"),
					  .cps_url = text(record, "cps_url"),
					  .crl_hours = json_integer_value(json_object_get(record, "crl_hours")) };
	TRY(bytes_of(s, record, "certificate", &out->certificate));
	TRY(bytes_of(s, record, "request", &out->request));
	TRY(chain_of(s, record, out));
	out->state = out->certificate.len == 0 ? CA_WAITING : out->key[0] == 0 ? CA_EXTERNAL : CA_ACTIVE;
	return subject_of(s, out);
}

static bool is_key(span spki, const char *digest_hex)
{
	char hex[2 * DIGEST_MAX + 1];
	uint8_t digest[DIGEST_MAX];
	return strcmp(hex_write(digest_of(DIGEST_SHA256, spki, digest), hex), digest_hex) == 0;
}

/* ---- whose is it? ---- */

static st our_keyd_has(struct scope *s, struct ca *ca, const struct ca_new_authority *new, bool *out)
{
	struct key_info *key = scope_new(s, struct key_info);
	st status = key_find(s, ca->keyd, new->key, key);
	if (status.code == E_NOTFOUND)
		scope_clear_error(s);
	*out = status.code == E_OK && span_equal(key->spki, new->spki);
	return status.code == E_NOTFOUND
		       ? OK
		       : fail_context(s, status, "whether CA '%s' of the log, which the database lacks, is ours", new->name);
}

/* A record of a version that told nothing but name, certificate and digest of the key. */
static st refuse_if_ours(struct scope *s, struct ca *ca, const json_t *record)
{
	struct key_info *key;
	size_t count;
	TRY(fail_context(s, key_list(s, ca->keyd, &key, &count),
			 "whether CA '%s' of the log, which the database lacks, is ours", text(record, "ca")));
	for (size_t i = 0; i < count; i++)
		if (is_key(key[i].spki, text(record, "key")))
			return fail(
				s, E_STATE,
				"the log has CA '%s' since %s, the database has not, and the record, of an older version, does "
				"not tell its profile and addresses: restore a backup of the database made after that time",
				text(record, "ca"), text(record, "time"));
	return OK;
}

/* ---- entering ---- */

static st complete_again(struct scope *s, struct db_tx *tx, const json_t *record, struct ca_new_authority *new,
			 const struct db_row *row, int64_t *out_entered)
{
	if (row->column[1].integer != CA_WAITING || text(record, "certificate")[0] == 0)
		return OK;
	if (!is_key(row->column[2].bytes, text(record, "key")))
		return OK;
	if (json_object_get(record, "number") == NULL) {
		log_put(LOG_LEVEL_WARNING,
			"CA '%s' got its certificate after this database was backed up, and the record, of an older version, "
			"does not hold its chain: bring the certificate in again",
			text(record, "ca"));
		return OK;
	}
	TRY(authority_of(s, record, new));
	new->id = row->column[0].integer;
	TRY(ca_authority_enter_completion(s, tx, new));
	(*out_entered)++;
	return OK;
}

st ca_found_again(struct scope *s, struct ca *ca, struct db_tx *tx, const json_t *record, int64_t *out_entered)
{
	struct ca_new_authority *new = scope_new(s, struct ca_new_authority);
	struct db_row row;
	bool known, ours = true;
	if (strcmp(text(record, "component"), "ca") != 0)
		return OK;
	TRY(db_find(s, tx, &sql_authority_of, DB_VALUES(db_text(span_str(text(record, "ca")))), &row, &known));
	if (known)
		return complete_again(s, tx, record, new, &row, out_entered);
	if (json_object_get(record, "number") == NULL)
		return refuse_if_ours(s, ca, record);
	TRY(authority_of(s, record, new));
	if (new->key[0] != 0)
		TRY(our_keyd_has(s, ca, new, &ours));
	if (!ours)
		return OK;
	st status = ca_authority_enter(s, tx, new);
	if (status.code == E_CONFLICT)
		return fail_context(s, status, "entering CA '%s' of the log again under its number %lld", new->name,
				    (long long)new->id);
	TRY(status);
	(*out_entered)++;
	log_put(LOG_LEVEL_WARNING,
		"CA '%s' was entered again from the log: the database was older than it; enrol its OCSP signer again",
		new->name);
	return OK;
}
