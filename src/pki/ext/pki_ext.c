#include "pki_ext.h"
#include "pki_profile.h"

const struct pki_ext_ops *const pki_ext_all[] = {
	&pki_ext_basic_constraints,
	&pki_ext_key_usage,
	&pki_ext_extended_key_usage,
	&pki_ext_subject_key_identifier,
	&pki_ext_authority_key_identifier,
	&pki_ext_certificate_policies,
	&pki_ext_crl_distribution_points,
	&pki_ext_authority_info_access,
	&pki_ext_subject_alt_name,
	&pki_ext_private_key_usage_period,
	&pki_ext_ocsp_nocheck,
	&pki_ext_role,
	NULL,
};

const struct pki_ext_ops *pki_ext_of(span oid)
{
	for (size_t i = 0; pki_ext_all[i] != NULL; i++)
		if (span_equal(pki_ext_all[i]->oid, oid))
			return pki_ext_all[i];
	return NULL;
}

//= rfc3161#2.3 extendedKeyUsage is critical in a TSU's certificate; elsewhere as the row of the extension says
bool pki_ext_critical(const struct pki_ext_ops *ops, const struct pki_profile *profile)
{
	return ops == &pki_ext_extended_key_usage ? profile->extended_key_usage_critical : ops->critical;
}
