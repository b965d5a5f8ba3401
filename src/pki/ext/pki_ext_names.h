/*
 * pki_ext_names.h - GeneralNames and addresses as several extensions need them.
 */
#pragma once
#include "pki_ext.h"

enum { NAME_EMAIL = DER_CONTEXT(1), NAME_DNS = DER_CONTEXT(2), NAME_URI = DER_CONTEXT(6), NAME_IP = DER_CONTEXT(7) };

/* An http URL of printable characters: the only kind we put into certificates. */
st pki_ext_check_url(struct scope *s, span url, const char *extension);
st pki_ext_check_dns(struct scope *s, span name);
st pki_ext_check_email(struct scope *s, span address);
/* "192.0.2.1" or "2001:db8::1" into 4 or 16 octets, and back. */
st pki_ext_ip_parse(struct scope *s, const char *text, span *out);
st pki_ext_ip_text(struct scope *s, span octets, char **out);
