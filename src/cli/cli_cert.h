/* cli_cert.h - certificates as JSON. */
#pragma once
#include "cli.h"
#include "pki_certificate.h"

/* Serial as the API writes it: lower-case hexadecimal without leading zero octets. */
char *cli_serial_text(struct scope *s, span serial);
st cli_certificate_json(struct scope *s, const struct pki_certificate *cert, json_t **out);
