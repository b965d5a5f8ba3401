#include "cli_nouns.h"

const struct cli_noun *const cli_nouns[] = {
	&cli_noun_init,    &cli_noun_run,    &cli_noun_status,    &cli_noun_ca,         &cli_noun_cert,
	&cli_noun_profile, &cli_noun_crl,    &cli_noun_ocsp,      &cli_noun_ts,         &cli_noun_key,
	&cli_noun_hsm,     &cli_noun_op,     &cli_noun_role,      &cli_noun_person,     &cli_noun_founding,
	&cli_noun_audit,   &cli_noun_record, &cli_noun_alert,     &cli_noun_metrics,    &cli_noun_backup,
	&cli_noun_restore, &cli_noun_store,  &cli_noun_reference, &cli_noun_completion, NULL,
};
