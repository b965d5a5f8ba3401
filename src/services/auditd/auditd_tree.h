/*
 * auditd_tree.h - the static side of the log: leaves become entry bundles and tiles, each durable before any checkpoint covers it.
 */
#pragma once
#include "audit_log.h"

struct tree;
/* The tree of the first `size` leaves as the files have it. `log` stays the caller's. */
st tree_open(struct scope *s, const char *dir, struct audit_log *log, uint64_t size, struct tree **out);
void tree_close(struct tree *t);
uint64_t tree_size(const struct tree *t);
struct audit_hash tree_root(const struct tree *t);
/* Add leaves one after the other. Files that become full are written; tree_flush() writes the partial ones and returns when
 * everything is durable. After a failure the tree is to be opened anew. */
st tree_add(struct scope *s, struct tree *t, span leaf, const struct audit_hash *hash);
st tree_flush(struct scope *s, struct tree *t);
