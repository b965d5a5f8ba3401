/* Frames on local sockets: any bytes as the start of a request and of a reply, and as the body of a failure. */
#include "fuzz.h"
#include "wire_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct wire_frame frame;
	span bytes = span_of(data, size);
	for (int direction = WIRE_REQUEST; direction <= WIRE_REPLY; direction++) {
		if (wire_frame_read(&s, bytes, (enum wire_direction)direction, &frame).code == E_OK) {
			size_t head = wire_head_len((enum wire_direction)direction);
			/* What is taken for the body lies inside what was given, and is whole or empty. */
			bool whole = frame.body.len == frame.body_len && frame.body.len <= size - head;
			if (frame.body_len > WIRE_BODY_MAX || (frame.body.len != 0 && !whole))
				__builtin_trap();
		}
		scope_clear_error(&s);
	}
	if (wire_failure_read(&s, bytes).code == E_OK)
		__builtin_trap();
	return 0;
}
