/* Between ca_authority.c and ca_found.c. */
#pragma once
#include "ca.h"

/* Certificates above a CA, as the table keeps them. */
st ca_chain_write(struct scope *s, struct buf *out, const span *chain, size_t count);
