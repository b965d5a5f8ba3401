/*
 * cli_audit_source.h - where a command of the auditor finds log, key, founding document and kept checkpoints: in an export (a folder that
 * `audit export` wrote), by its options, or else in this installation.
 *
 *   EXPORT/log/       checkpoint and tile/, as they are published, and stamp/
 *   EXPORT/log.vkey   the log's public key
 *   EXPORT/founding   the founding document, when there is one
 *   EXPORT/stamp-anchor.pem   what time-stamps must lead to, when there are some
 *   EXPORT/anchors/   checkpoints that daemons kept
 *   EXPORT/crls/      CRLs of those who certified the time-stamping authority, when the provider had some
 */
#pragma once
#include "audit_verify.h"
#include "cli.h"

#define CLI_ANCHORS_MAX 64
#define CLI_CRLS_MAX    64

struct cli_audit_source {
	const char *log, *key_path;
	const char *founding;                 /* NULL: there is none */
	const char *stamp_anchor;             /* certificates that time-stamps must lead to; NULL: there is none */
	struct audit_key key[AUDIT_KEYS_MAX]; /* the newest, and those that the log was rolled over from */
	size_t keys;
	struct audit_anchor anchor[CLI_ANCHORS_MAX];
	size_t anchors;
	const char *crl[CLI_CRLS_MAX]; /* files */
	size_t crls;
};
/* `folder`: the argument EXPORT, or NULL. Options --log, --key, --founding, --stamp-anchor, --anchor and --crl come before what the folder or the installation has; with
 * --log alone nothing of the installation is taken but its key. */
st cli_audit_find(struct scope *s, struct cli *c, const char *folder, struct cli_audit_source *out);
/* The keys in a verifier file. */
st cli_audit_read_keys(struct scope *s, const char *path, struct audit_key out[AUDIT_KEYS_MAX], size_t *out_count);
/* Had the log in this directory this root when it had so many records? */
st cli_audit_had_root(struct scope *s, const char *dir, uint64_t size, const uint8_t root[AUDIT_HASH_LEN], bool *out);
/* The checkpoints that daemons of this installation keep. */
st cli_audit_kept(struct scope *s, const struct cli *c, struct cli_audit_source *to);
#define CLI_AUDIT_LOG_OPTION                                                                                                   \
	{                                                                                                                      \
		.name = "log", .value = "DIR", .help = "directory of the log (default: EXPORT's, or this installation's)"      \
	}
#define CLI_AUDIT_KEY_OPTION                                                                                                   \
	{                                                                                                                      \
		.name = "key", .value = "FILE",                                                                                \
		.help = "verifier key of the log, from a source you trust (default: EXPORT's, or this installation's)"         \
	}
