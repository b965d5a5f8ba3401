/*
 * stamp_revoked.c - was a certificate of a token's signer revoked? By CRLs that somebody brought along; nothing is fetched. Of those by one
 * issuer the newest counts that speaks of the certificate at all: an entry may be left out once the certificate has expired.
 */
#include "file.h"
#include "moment.h"
#include "pki_name.h"
#include "pki_pem.h"
#include "pki_time_stamp.h"
#include "stamp_internal.h"
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define CRL_MAX ((size_t)64 << 20)

/* ---- the CRLs ---- */

static st add_crl(struct scope *s, span der, void *trust)
{
	struct stamp_trust *t = trust;
	struct pki_crl read;
	if (t->crls == STAMP_CRLS_MAX)
		return fail(s, E_LIMIT, "at most %d CRLs", STAMP_CRLS_MAX);
	TRY(pki_crl_read(s, der, &read));
	struct stamp_crl *crl = &t->crl[t->crls++];
	crl->der = heap_alloc(der.len);
	crl->len = der.len;
	memcpy(crl->der, der.data, der.len);
	return pki_crl_read(s, span_of(crl->der, crl->len), &crl->read);
}

st stamp_trust_add_crls(struct scope *s, struct stamp_trust *t, const char *path)
{
	span file, first;
	TRY(file_read(s, path, CRL_MAX, &file));
	st added = pki_pem_or_der(s, file, "X509 CRL", &first);
	if (added.code == E_OK)
		added = first.data == file.data ? add_crl(s, first, t) : pki_pem_each(s, file, "X509 CRL", add_crl, t);
	return fail_context(s, added, "%s", path);
}

void stamp_crls_free(struct stamp_trust *t)
{
	for (size_t i = 0; i < t->crls; i++)
		free(t->crl[i].der);
}

/* ---- one certificate ---- */

static st read_one(struct scope *s, const X509 *certificate, struct pki_certificate *out)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate, &der);
	if (len <= 0)
		return fail(s, E_BUG, "libcrypto writes no certificate");
	span copy = scope_copy(s, span_of(der, (size_t)len));
	OPENSSL_free(der);
	return pki_certificate_read(s, copy, out);
}

//= rfc5280#5.3.3 a CRL need not have entries of certificates that had expired before it
static bool speaks_of(const struct pki_crl *crl, const struct pki_certificate *c)
{
	return crl->this_update <= c->not_after || (crl->expired_certs_from != 0 && crl->expired_certs_from <= c->not_after);
}

static const struct pki_crl *newest_of(struct scope *s, const struct stamp_trust *t, const struct pki_certificate *c,
				       const struct pki_certificate *issuer, span *out_der)
{
	const struct pki_crl *newest = NULL;
	for (size_t i = 0; i < t->crls; i++) {
		const struct pki_crl *crl = &t->crl[i].read;
		bool better = newest == NULL || crl->this_update > newest->this_update;
		if (!better || !speaks_of(crl, c) || pki_crl_verify(s, crl, issuer).code != E_OK)
			continue;
		newest = crl;
		*out_der = span_of(t->crl[i].der, t->crl[i].len);
	}
	scope_clear_error(s);
	return newest;
}

static const char *name_of(struct scope *s, span name)
{
	char *text = NULL;
	if (pki_name_text(s, name, &text).code != E_OK)
		scope_clear_error(s);
	return text == NULL ? "?" : text;
}

static st look_up_one(struct scope *s, const struct stamp_trust *t, X509 *certificate, X509 *above, struct stamp_link *out)
{
	struct pki_certificate c, issuer;
	struct pki_crl_entry entry;
	span der;
	TRY(read_one(s, certificate, &c));
	TRY(read_one(s, above, &issuer));
	const char *name = name_of(s, c.subject);
	bool may_sign = (X509_get_key_usage(above) & KU_CRL_SIGN) != 0; /* all bits when it says nothing */
	const struct pki_crl *crl = may_sign ? newest_of(s, t, &c, &issuer, &der) : NULL;
	(void)snprintf(out->name, sizeof out->name, "%s", name);
	(void)snprintf(out->why, sizeof out->why, "no CRL of %.100s that speaks of %.100s is here", name_of(s, issuer.subject),
		       name);
	if (crl == NULL)
		return OK;
	TRY(pki_crl_find(s, der, pki_certificate_serial(s, c.der), &out->listed, &entry));
	out->known = true;
	out->from = crl->this_update;
	out->to = crl->next_update;
	out->revoked_at = out->listed ? entry.revoked_at : 0;
	out->reason = out->listed ? entry.reason : 0;
	return OK;
}

/* One that our own reader does not take is not known, and no reason to refuse a chain that libcrypto has verified. */
st stamp_look_up(struct scope *s, struct stamp_trust *t, certificates *chain)
{
	int links = sk_X509_num(chain) - 1;
	if (links > STAMP_CHAIN_MAX)
		return fail(s, E_LIMIT, "a chain has at most %d certificates", STAMP_CHAIN_MAX);
	t->links = 0;
	for (int i = 0; i < links; i++) {
		struct stamp_link *link = &t->link[t->links++];
		AUTO_SCOPE aside;
		scope_init(&aside, s->source);
		*link = (struct stamp_link){ .known = false };
		if (look_up_one(&aside, t, sk_X509_value(chain, i), sk_X509_value(chain, i + 1), link).code != E_OK)
			(void)snprintf(link->why, sizeof link->why, "%.150s", aside.message);
	}
	return OK;
}

/* ---- the standing of a token ---- */

/* unspecified, affiliationChanged, superseded, cessationOfOperation: no harm was done before. Our reader has 0 both for the first of them and for no
 * reason at all, and without a reason none is safe. */
//= rfc3161#4 tokens from before the revocation stay valid for these reasons; for others, or without one, none of that key does
static bool harmless(int reason)
{
	return reason == 3 || reason == 4 || reason == 5;
}

static enum stamp_state state_of(const struct stamp_link *l, int64_t gen_time, struct stamp_standing *out)
{
	char at[MOMENT_TEXT_MAX];
	const char *reason = l->listed && l->reason > 0 ? pki_reason_name(l->reason) : "without a reason";
	if (!l->known) {
		(void)snprintf(out->words, sizeof out->words, "%s", l->why);
		return STAMP_UNKNOWN;
	}
	if (l->listed && (l->revoked_at <= gen_time || !harmless(l->reason))) {
		(void)snprintf(out->words, sizeof out->words, "the certificate of %s was revoked on %s (%s)", l->name,
			       moment_text(l->revoked_at, at), reason);
		return l->revoked_at <= gen_time ? STAMP_REVOKED : STAMP_VOID;
	}
	if (gen_time <= l->to)
		return STAMP_GOOD;
	(void)snprintf(out->words, sizeof out->words, "the newest CRL that is here and speaks of %s ended on %s", l->name,
		       moment_text(l->to, at));
	return STAMP_UNKNOWN;
}

/* The worst of the chain. */
void stamp_standing(const struct stamp_trust *t, int64_t gen_time, struct stamp_standing *out)
{
	*out = (struct stamp_standing){ .state = t->links == 0 ? STAMP_UNKNOWN : STAMP_GOOD, .as_of = INT64_MAX };
	if (t->links == 0)
		(void)snprintf(out->words, sizeof out->words, "the signer's certificate is itself the anchor");
	for (size_t i = 0; i < t->links; i++) {
		struct stamp_standing one = { .state = STAMP_GOOD };
		one.state = state_of(&t->link[i], gen_time, &one);
		if (t->link[i].known && t->link[i].from < out->as_of)
			out->as_of = t->link[i].from;
		if (one.state <= out->state)
			continue;
		out->state = one.state;
		memcpy(out->words, one.words, sizeof out->words);
	}
}

/* ---- which CRLs an export takes along ---- */

static bool certified_by(struct scope *s, span in_token, span issuer)
{
	struct der_rd d = der_read(in_token);
	while (!der_at_end(&d) && !d.bad) {
		struct pki_certificate one;
		st status = pki_certificate_read(s, der_get_whole(&d, DER_SEQUENCE), &one);
		if (status.code == E_OK && span_equal(one.issuer, issuer))
			return true;
	}
	return false;
}

bool stamp_crl_concerns(struct scope *s, span token, span crl)
{
	struct pki_time_stamp_response r;
	struct pki_crl read;
	bool concerns = pki_time_stamp_token_read(s, token, &r).code == E_OK && pki_crl_read(s, crl, &read).code == E_OK &&
			certified_by(s, r.certificates, read.issuer);
	scope_clear_error(s);
	return concerns;
}
