/*
 * auditd_ids.h - the window of event ids in which a record that is offered again is recognised: at least the last AUDITD_IDS_WINDOW
 * records, in memory of fixed size. It is rebuilt from the log at start.
 */
#pragma once
#include "scope.h"

#define AUDITD_IDS_WINDOW (1u << 18)

struct ids;
struct ids *ids_new(void);
void ids_free(struct ids *ids);
void ids_add(struct ids *ids, const uint8_t id[16], uint64_t index);
bool ids_find(const struct ids *ids, const uint8_t id[16], uint64_t *out_index);
