#include "pki_renewal.h"
#include "pki_key.h"
#include "pki_pem.h"

static st first_certificate(struct scope *s, span pem, struct pki_certificate *out)
{
	span der;
	TRY(pki_pem_or_der(s, pem, "CERTIFICATE", &der));
	return pki_certificate_read(s, der, out);
}

static st check_signed_by(struct scope *s, const struct pki_certificate *c, const struct pki_certificate *ca)
{
	const struct alg_signature *algorithm = alg_signature_of_identifier(c->signature_identifier);
	if (algorithm == NULL || !span_equal(c->issuer, ca->subject))
		return fail(s, E_CRYPTO, "the renewed certificate is not issued by the CA that is configured");
	struct pki_key *key = NULL;
	TRY(pki_key_new(s, ca->spki, &key));
	st verified = pki_key_verify(s, key, algorithm, c->tbs, c->signature);
	pki_key_free(key);
	return verified;
}

st pki_renewal_check(struct scope *s, span present, span renewed, span ca)
{
	struct pki_certificate old, new, issuer;
	TRY(fail_context(s, first_certificate(s, present, &old), "the present certificate"));
	TRY(fail_context(s, first_certificate(s, renewed, &new), "the renewed certificate"));
	TRY(fail_context(s, first_certificate(s, ca, &issuer), "the certificate of the CA"));
	if (!span_equal(old.spki, new.spki))
		return fail(s, E_CRYPTO, "the renewed certificate is for another key than the present one");
	if (!span_equal(old.subject, new.subject))
		return fail(s, E_DENIED, "the renewed certificate is for another subject than the present one");
	TRY(check_signed_by(s, &new, &issuer));
	if (span_equal(old.der, new.der))
		return OK; /* pushed again: there is nothing to do, and nothing wrong */
	int64_t now = scope_now(s);
	if (new.not_after <= old.not_after || now < new.not_before || now >= new.not_after)
		return fail(s, E_CONFLICT, "the renewed certificate does not outlast the present one, or is not valid now");
	return OK;
}
