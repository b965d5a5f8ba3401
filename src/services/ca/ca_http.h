/* The handlers of ca_routes (ca_routes.c), by the file they are in. */
#pragma once
#include "ca_json.h"

#define CA_HANDLER(name) st name(struct scope *s, const struct http_request *request, struct http_reply *reply)
/* ca_http_authority.c */
CA_HANDLER(ca_http_list_cas);
CA_HANDLER(ca_http_show_ca);
CA_HANDLER(ca_http_create_ca);
CA_HANDLER(ca_http_complete_ca);
CA_HANDLER(ca_http_issue_crl);
CA_HANDLER(ca_http_get_crl);
CA_HANDLER(ca_http_put_crl);
json_t *ca_http_crl_json(const struct ca_crl *crl);
json_t *ca_http_authority_json(struct scope *s, const struct ca_authority *a);
/* ca_http_books.c */
CA_HANDLER(ca_http_crls);
CA_HANDLER(ca_http_outbox);
/* ca_http_certificate.c */
void ca_http_issue(struct http_exchange *const *exchange, size_t count);
CA_HANDLER(ca_http_list);
CA_HANDLER(ca_http_show);
CA_HANDLER(ca_http_revoke);
CA_HANDLER(ca_http_enrol);
CA_HANDLER(ca_http_identities);
CA_HANDLER(ca_http_renew);
/* ca_http_register.c */
CA_HANDLER(ca_http_register);
CA_HANDLER(ca_http_founding);
CA_HANDLER(ca_http_entries);
CA_HANDLER(ca_http_operation_nonce);
CA_HANDLER(ca_http_operation);
/* ca_http_statuses.c */
CA_HANDLER(ca_http_statuses);
/* ca_http_system.c */
CA_HANDLER(ca_http_health);
CA_HANDLER(ca_http_status);
CA_HANDLER(ca_http_profiles);
CA_HANDLER(ca_http_backup);
