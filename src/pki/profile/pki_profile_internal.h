/*
 * pki_profile_internal.h - what the files of this directory share.
 */
#pragma once
#include "pki_profile.h"

/* A finished subject against the profile: attributes, their order and number, and the rules between them. */
st pki_profile_check_subject(struct scope *s, const struct pki_profile *profile, span subject);
/* C, O, organizationIdentifier and CN, one each. */
st pki_profile_check_authority(struct scope *s, span name);
/* Certificates carry whole seconds (rfc5280#4.1.2.5). */
int64_t pki_profile_whole_seconds(int64_t moment);
