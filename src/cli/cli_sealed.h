/*
 * cli_sealed.h - PINs that lie sealed on this host: encrypted by systemd-creds(1) with the host's secret, and with its TPM where there is one, so that
 * daemons come up by themselves and a copy of the disk opens nothing. A file per token, good for LoadCredentialEncrypted= as well.
 */
#pragma once
#include "cli.h"

/* Can PINs be sealed here? E_STATE says what is missing: the program, or the right to use the host's secret. */
st cli_sealed_check(struct scope *s);
st cli_sealed_write(struct scope *s, const struct cli *c, const char *directory, const char *token, span pin);
/* The PIN of one token into `out`, whose memory (CLI_SEALED_ROOM octets at most) is locked here, and wiped by who owns it. */
#define CLI_SEALED_ROOM 8192u
st cli_sealed_read(struct scope *s, const struct cli *c, const char *directory, const char *token, struct buf *out);
