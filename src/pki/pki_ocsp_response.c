#include "alg_oid.h"
#include "pki_extension.h"
#include "pki_ocsp.h"

static const span oid_basic = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x01");          /* id-pkix-ocsp-basic */
static const span oid_nonce = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x02");          /* id-pkix-ocsp-nonce */
static const span oid_archive_cutoff = OCTETS("\x2b\x06\x01\x05\x05\x07\x30\x01\x06"); /* id-pkix-ocsp-archive-cutoff */

/* ---- writing ---- */

static void put_revoked(struct der_wr *d, const struct pki_ocsp_single *single)
{
	der_begin(d, DER_CONTEXT_CONSTRUCTED(1));
	der_put_generalized(d, single->revoked_at);
	if (single->reason > 0) {
		der_begin(d, DER_CONTEXT_CONSTRUCTED(0));
		der_put_small(d, DER_ENUMERATED, single->reason);
		der_end(d);
	}
	der_end(d);
}

//= en319411-2#CSS-6.3.10-10 the archive cut-off is a single extension
static void put_archive_cutoff(struct der_wr *d, int64_t cutoff)
{
	der_begin(d, DER_CONTEXT_CONSTRUCTED(1));
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_archive_cutoff);
	der_begin(d, DER_OCTET_STRING);
	der_put_generalized(d, cutoff);
	for (int i = 0; i < 4; i++)
		der_end(d);
}

//= rfc6960#4.2.1 SingleResponse; times are GeneralizedTime with seconds and no fraction
static void put_single(struct der_wr *d, const struct pki_ocsp_single *single)
{
	der_begin(d, DER_SEQUENCE);
	der_put_raw(d, single->cert_id);
	if (single->status == PKI_OCSP_REVOKED)
		put_revoked(d, single);
	else
		der_put(d, DER_CONTEXT(single->status == PKI_OCSP_GOOD ? 0 : 2), (span){ 0 });
	der_put_generalized(d, single->this_update);
	der_begin(d, DER_CONTEXT_CONSTRUCTED(0));
	der_put_generalized(d, single->next_update);
	der_end(d);
	if (single->archive_cutoff != 0)
		put_archive_cutoff(d, single->archive_cutoff);
	der_end(d);
}

static void put_response_nonce(struct der_wr *d, span nonce)
{
	der_begin(d, DER_CONTEXT_CONSTRUCTED(1));
	der_begin(d, DER_SEQUENCE);
	der_begin(d, DER_SEQUENCE);
	der_put_oid(d, oid_nonce);
	der_begin(d, DER_OCTET_STRING);
	der_put(d, DER_OCTET_STRING, nonce);
	for (int i = 0; i < 4; i++)
		der_end(d);
}

//= rfc9919#3.2.1 nextUpdate is always there, and thisUpdate is not after producedAt
static st check_single(struct scope *s, const struct pki_ocsp_single *single, int64_t produced_at)
{
	if (single->this_update / MOMENT_SECOND > produced_at / MOMENT_SECOND || single->next_update < single->this_update)
		return fail(s, E_INPUT,
			    "an OCSP answer's times are not in order: thisUpdate, producedAt, nextUpdate (rfc9919#3.2.1)");
	return OK;
}

st pki_ocsp_build_tbs(struct scope *s, span responder_key_hash, int64_t produced_at, const struct pki_ocsp_single *single,
		      size_t count, span nonce, span *out_tbs)
{
	if (count == 0 || count > PKI_OCSP_SINGLES_MAX || responder_key_hash.len != digest_len(DIGEST_SHA1))
		return fail(s, E_INPUT, "an OCSP answer needs its signer's key hash and 1 to %d single answers",
			    PKI_OCSP_SINGLES_MAX);
	AUTO_BUF b = { 0 };
	(void)buf_reserve(&b, 128 + count * 224 + nonce.len);
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(2));
	der_put(&d, DER_OCTET_STRING, responder_key_hash);
	der_end(&d);
	der_put_generalized(&d, produced_at);
	der_begin(&d, DER_SEQUENCE);
	for (size_t i = 0; i < count; i++) {
		TRY(check_single(s, &single[i], produced_at));
		put_single(&d, &single[i]);
	}
	der_end(&d);
	if (nonce.len > 0)
		put_response_nonce(&d, nonce);
	der_end(&d);
	TRY(der_finish(s, &d));
	*out_tbs = scope_copy(s, buf_span(&b));
	return OK;
}

//= rfc6960#4.2.1 BasicOCSPResponse in responseBytes; certs carries the signer's certificate and is never empty
st pki_ocsp_assemble(struct scope *s, span tbs, const struct alg_signature *algorithm, span signature, span signer_certificate,
		     span *out_der)
{
	if (signer_certificate.len == 0 || signature.len == 0)
		return fail(s, E_INPUT, "an OCSP answer needs a signature and its signer's certificate");
	AUTO_BUF b = { 0 };
	(void)buf_reserve(&b, 128 + tbs.len + algorithm->identifier.len + signature.len + signer_certificate.len);
	struct der_wr d = der_write(&b);
	der_begin(&d, DER_SEQUENCE);
	der_put_small(&d, DER_ENUMERATED, 0);
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(0));
	der_begin(&d, DER_SEQUENCE);
	der_put_oid(&d, oid_basic);
	der_begin(&d, DER_OCTET_STRING);
	der_begin(&d, DER_SEQUENCE);
	der_put_raw(&d, tbs);
	der_put_raw(&d, algorithm->identifier);
	der_put_bits(&d, signature);
	der_begin(&d, DER_CONTEXT_CONSTRUCTED(0));
	der_put(&d, DER_SEQUENCE, signer_certificate);
	for (int i = 0; i < 6; i++)
		der_end(&d);
	TRY(der_finish(s, &d));
	*out_der = scope_copy(s, buf_span(&b));
	return OK;
}

//= rfc6960#4.2.1 error answers have no responseBytes; status 4 is not used
span pki_ocsp_error(int status)
{
	static const uint8_t errors[7][5] = {
		[1] = { 0x30, 3, 0x0a, 1, 1 }, [2] = { 0x30, 3, 0x0a, 1, 2 }, [3] = { 0x30, 3, 0x0a, 1, 3 },
		[5] = { 0x30, 3, 0x0a, 1, 5 }, [6] = { 0x30, 3, 0x0a, 1, 6 },
	};
	bool known = status >= 1 && status <= 6 && status != 4;
	return SPAN_ARRAY(errors[known ? status : 2]);
}

/* ---- reading ---- */

static void read_revoked(struct der_rd *d, struct pki_ocsp_single *out)
{
	struct der_rd revoked = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	out->revoked_at = der_get_generalized(&revoked, true);
	if (!der_at_end(&revoked)) {
		struct der_rd reason = der_enter(&revoked, DER_CONTEXT_CONSTRUCTED(0));
		int64_t number = der_get_small(&reason, DER_ENUMERATED);
		out->reason = number <= 10 ? (int)number : 0;
		if (number > 10)
			reason.bad = true;
		der_leave(&revoked, &reason);
	}
	der_leave(d, &revoked);
}

static void read_status(struct der_rd *d, struct pki_ocsp_single *out)
{
	int tag = der_next(d);
	out->status = PKI_OCSP_UNKNOWN;
	if (tag == DER_CONTEXT_CONSTRUCTED(1)) {
		out->status = PKI_OCSP_REVOKED;
		read_revoked(d, out);
		return;
	}
	if (tag == DER_CONTEXT(0))
		out->status = PKI_OCSP_GOOD;
	span null = der_get(d, tag == DER_CONTEXT(0) ? DER_CONTEXT(0) : DER_CONTEXT(2));
	if (null.len != 0)
		d->bad = true;
}

static void read_single_extensions(struct der_rd *d, struct pki_ocsp_single *out)
{
	struct der_rd wrapped = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	struct der_rd list = der_enter(&wrapped, DER_SEQUENCE);
	struct pki_extension extension;
	while (!der_at_end(&list) && pki_extension_next(&list, &extension)) {
		struct der_rd value = der_read(extension.value);
		if (span_equal(extension.oid, oid_archive_cutoff)) {
			out->archive_cutoff = der_get_generalized(&value, false);
			der_leave(&list, &value);
		} else if (extension.critical)
			list.bad = true;
	}
	der_leave(&wrapped, &list);
	der_leave(d, &wrapped);
}

static void read_single(struct der_rd *list, struct pki_ocsp_single *out)
{
	*out = (struct pki_ocsp_single){ 0 };
	struct der_rd single = der_enter(list, DER_SEQUENCE);
	out->cert_id = der_get_whole(&single, DER_SEQUENCE);
	read_status(&single, out);
	out->this_update = der_get_generalized(&single, false);
	if (der_next(&single) == DER_CONTEXT_CONSTRUCTED(0)) {
		struct der_rd next = der_enter(&single, DER_CONTEXT_CONSTRUCTED(0));
		out->next_update = der_get_generalized(&next, false);
		der_leave(&single, &next);
	}
	if (!der_at_end(&single))
		read_single_extensions(&single, out);
	der_leave(list, &single);
}

static void read_response_extensions(struct der_rd *d, struct pki_ocsp_response *out)
{
	struct der_rd wrapped = der_enter(d, DER_CONTEXT_CONSTRUCTED(1));
	struct der_rd list = der_enter(&wrapped, DER_SEQUENCE);
	struct pki_extension extension;
	while (!der_at_end(&list) && pki_extension_next(&list, &extension)) {
		struct der_rd value = der_read(extension.value);
		if (span_equal(extension.oid, oid_nonce)) {
			out->nonce = der_get(&value, DER_OCTET_STRING);
			der_leave(&list, &value);
		} else if (extension.critical)
			list.bad = true;
	}
	der_leave(&wrapped, &list);
	der_leave(d, &wrapped);
}

static void read_responder(struct der_rd *tbs, struct pki_ocsp_response *out)
{
	bool by_key = der_next(tbs) == DER_CONTEXT_CONSTRUCTED(2);
	struct der_rd id = der_enter(tbs, by_key ? DER_CONTEXT_CONSTRUCTED(2) : DER_CONTEXT_CONSTRUCTED(1));
	if (by_key)
		out->responder_key_hash = der_get(&id, DER_OCTET_STRING);
	else
		out->responder_name = der_get_whole(&id, DER_SEQUENCE);
	der_leave(tbs, &id);
}

static st read_tbs(struct scope *s, struct pki_ocsp_response *out)
{
	struct der_rd d = der_read(out->tbs);
	struct der_rd tbs = der_enter(&d, DER_SEQUENCE);
	read_responder(&tbs, out);
	out->produced_at = der_get_generalized(&tbs, true);
	struct der_rd list = der_enter(&tbs, DER_SEQUENCE);
	while (!der_at_end(&list)) {
		if (out->count == PKI_OCSP_SINGLES_MAX)
			return fail(s, E_LIMIT, "an OCSP answer speaks of more than %d certificates", PKI_OCSP_SINGLES_MAX);
		read_single(&list, &out->single[out->count++]);
	}
	der_leave(&tbs, &list);
	if (!der_at_end(&tbs))
		read_response_extensions(&tbs, out);
	der_leave(&d, &tbs);
	return der_done(s, &d, "the OCSP answer's ResponseData (rfc6960#4.2.1)");
}

/* The first of the certificates: responders send their own first. */
static void read_certificates(struct der_rd *basic, struct pki_ocsp_response *out)
{
	struct der_rd wrapped = der_enter(basic, DER_CONTEXT_CONSTRUCTED(0));
	struct der_rd list = der_enter(&wrapped, DER_SEQUENCE);
	if (!der_at_end(&list))
		out->signer_certificate = der_get_whole(&list, DER_SEQUENCE);
	while (!der_at_end(&list))
		(void)der_get(&list, DER_SEQUENCE);
	der_leave(&wrapped, &list);
	der_leave(basic, &wrapped);
}

static st read_basic(struct scope *s, span bytes, struct pki_ocsp_response *out)
{
	struct der_rd d = der_read(bytes);
	struct der_rd basic = der_enter(&d, DER_SEQUENCE);
	out->tbs = der_get_whole(&basic, DER_SEQUENCE);
	out->signature_identifier = der_get_whole(&basic, DER_SEQUENCE);
	out->signature = der_get_bits(&basic);
	if (!der_at_end(&basic))
		read_certificates(&basic, out);
	der_leave(&d, &basic);
	TRY(der_done(s, &d, "the BasicOCSPResponse (rfc6960#4.2.1)"));
	return read_tbs(s, out);
}

st pki_ocsp_response_read(struct scope *s, span der, struct pki_ocsp_response *out)
{
	struct pki_ocsp_response response = { 0 };
	struct der_rd d = der_read(der);
	struct der_rd whole = der_enter(&d, DER_SEQUENCE);
	int64_t status = der_get_small(&whole, DER_ENUMERATED);
	response.status = (int)(status & 7);
	if (status > 6)
		whole.bad = true;
	span basic = { 0 };
	if (!der_at_end(&whole)) {
		struct der_rd wrapped = der_enter(&whole, DER_CONTEXT_CONSTRUCTED(0));
		struct der_rd bytes = der_enter(&wrapped, DER_SEQUENCE);
		if (!span_equal(der_get(&bytes, DER_OID), oid_basic))
			bytes.bad = true;
		basic = der_get(&bytes, DER_OCTET_STRING);
		der_leave(&wrapped, &bytes);
		der_leave(&whole, &wrapped);
	}
	der_leave(&d, &whole);
	TRY(der_done(s, &d, "the OCSP answer (rfc6960#4.2.1)"));
	if ((response.status == 0) != (basic.len > 0))
		return fail(s, E_INPUT, "the OCSP answer's status and its content do not fit together (rfc6960#4.2.1)");
	if (response.status == 0)
		TRY(read_basic(s, basic, &response));
	*out = response;
	return OK;
}
