/* fuzz_peer.h - the other side of a local socket: whatever it is asked, it answers with the same bytes. */
#pragma once
#include "fuzz.h"

/* The socket at which it listens from the first call on. */
const char *fuzz_peer_socket(const uint16_t *kinds, size_t count);
/* What it answers with; must stay where it is until the answer came. */
void fuzz_peer_answers(span bytes);
