/*
 * pki_blocklist.h - public keys that must not be certified, whoever asks: private keys that leaked, keys of weak generators
 * (Debian's of 2008, CVE-2008-0166). Kept by their SHA-256 digests, looked up by binary search.
 *
 * A list is a text of lines of equal length, each the first 30 to 64 lower-case hexadecimal digits of a SHA-256 digest, sorted
 * (`sort -u`). Digested is the SubjectPublicKeyInfo in DER or, as the published lists of badkeys have it, the number that makes
 * the key: an RSA modulus or the x coordinate of an EC point, without leading zeros.
 */
#pragma once
#include "alg.h"

struct pki_blocklist;
/* Read whole into memory: what happens to the file afterwards does not matter. E_CONFIG names the line that is wrong. */
st pki_blocklist_read(struct scope *s, const char *path, struct pki_blocklist **out);
void pki_blocklist_free(struct pki_blocklist *list);
size_t pki_blocklist_count(const struct pki_blocklist *list);
/* E_CRYPTO when the key is listed. Safe for many threads. */
st pki_blocklist_check(struct scope *s, const struct pki_blocklist *list, span spki);
