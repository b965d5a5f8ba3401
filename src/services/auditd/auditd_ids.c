#include "auditd_ids.h"
#include <stdlib.h>

/* Two generations of WINDOW ids each: when the young one is full it becomes the old one, and the former old one is forgotten.
 * Nothing is ever deleted singly. A slot holds 88 bits of a random id, and the index in 40 bits; together they are never zero. */
#define SLOTS      (2 * AUDITD_IDS_WINDOW)
#define INDEX_BITS 40

struct slot {
	uint64_t id;
	uint64_t id_and_index;
};

struct ids {
	struct slot *young, *old;
	size_t count; /* in the young one */
};

static uint64_t number(const uint8_t *bytes, size_t len)
{
	uint64_t v = 0;
	for (size_t i = 0; i < len; i++)
		v = v << 8 | bytes[i];
	return v;
}

static struct slot slot_of(const uint8_t id[16], uint64_t index)
{
	uint64_t low = (index + 1) & ((1ull << INDEX_BITS) - 1);
	return (struct slot){ .id = number(id, 8), .id_and_index = number(id + 8, 3) << INDEX_BITS | low };
}

struct ids *ids_new(void)
{
	struct ids *ids = heap_alloc(sizeof *ids);
	ids->young = heap_alloc(SLOTS * sizeof *ids->young);
	ids->old = heap_alloc(SLOTS * sizeof *ids->old);
	return ids;
}

void ids_free(struct ids *ids)
{
	if (ids == NULL)
		return;
	free(ids->young);
	free(ids->old);
	free(ids);
}

/* The slot of this id, or the empty one where it would go: never full, so the search ends. */
static struct slot *find(struct slot *table, const struct slot *wanted)
{
	size_t i = (size_t)((wanted->id ^ wanted->id >> 29) % SLOTS);
	while (table[i].id_and_index != 0 &&
	       (table[i].id != wanted->id || table[i].id_and_index >> INDEX_BITS != wanted->id_and_index >> INDEX_BITS))
		i = (i + 1) % SLOTS;
	return &table[i];
}

void ids_add(struct ids *ids, const uint8_t id[16], uint64_t index)
{
	if (ids->count == AUDITD_IDS_WINDOW) {
		struct slot *forgotten = ids->old;
		ids->old = ids->young;
		ids->young = forgotten;
		memset(forgotten, 0, SLOTS * sizeof *forgotten);
		ids->count = 0;
	}
	struct slot wanted = slot_of(id, index);
	struct slot *slot = find(ids->young, &wanted);
	if (slot->id_and_index == 0)
		ids->count++;
	*slot = wanted;
}

bool ids_find(const struct ids *ids, const uint8_t id[16], uint64_t *out_index)
{
	struct slot wanted = slot_of(id, 0);
	const struct slot *slot = find(ids->young, &wanted);
	if (slot->id_and_index == 0)
		slot = find(ids->old, &wanted);
	if (slot->id_and_index == 0)
		return false;
	*out_index = (slot->id_and_index & ((1ull << INDEX_BITS) - 1)) - 1;
	return true;
}
