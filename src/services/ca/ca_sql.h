/* Every SQL statement of the ca, by name: ca_sql.c. */
#pragma once
#include "store.h"

extern const struct db_schema ca_schema;

extern const struct db_statement sql_authority_all, sql_authority_of, sql_authority_insert, sql_authority_complete,
	sql_authority_number, sql_authority_take_number, sql_authority_number_of, sql_authority_crl_hours;
extern const struct db_statement sql_certificate_insert, sql_certificate_of, sql_certificate_list, sql_certificate_count;
extern const struct db_statement sql_status_insert, sql_status_insert_good, sql_status_of, sql_status_revoke,
	sql_status_revoked, sql_status_count, sql_status_all, sql_status_after, sql_status_lost, sql_status_expired;
extern const struct db_statement sql_key_insert, sql_key_of, sql_key_lost_insert, sql_key_lost_of;
extern const struct db_statement sql_request_insert, sql_request_of;
extern const struct db_statement sql_outbox_insert, sql_outbox_last, sql_outbox_delete, sql_outbox_all, sql_outbox_of,
	sql_outbox_settle, sql_outbox_count, sql_outbox_after;
extern const struct db_statement sql_feed_insert, sql_feed_bounds, sql_feed_after, sql_feed_prune;
extern const struct db_statement sql_va_set, sql_va_of, sql_va_least, sql_va_forget;
extern const struct db_statement sql_crl_insert, sql_crl_last, sql_crl_of, sql_crl_after;
extern const struct db_statement sql_identity_set, sql_identity_all, sql_identity_due, sql_identity_renewed,
	sql_identity_pushed, sql_identity_failed, sql_identity_signers, sql_identity_of;
extern const struct db_statement sql_process_all, sql_process_set, sql_process_delete, sql_process_least;
extern const struct db_statement sql_meta_set, sql_meta_of;
