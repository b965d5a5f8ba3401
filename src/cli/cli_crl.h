/* cli_crl.h - published CRLs. */
#pragma once
#include "cli.h"

st cli_crl_published(struct scope *s, const char *url, span *out);
