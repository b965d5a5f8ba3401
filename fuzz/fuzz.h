/* fuzz.h - what the targets share: the entry, and how they say that something does not hold. */
#pragma once
#include "span.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check(bool holds)
{
	if (!holds)
		abort();
}

static inline bool lies_inside(span part, span whole)
{
	return part.len == 0 || (part.data >= whole.data && part.len <= (size_t)(whole.data + whole.len - part.data));
}
