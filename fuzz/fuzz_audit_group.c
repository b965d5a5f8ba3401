/* Files of groups (tail segments, journals): any bytes as such a file. Reading ends, and what it gives lies inside the file. */
#include "audit_journal.h"
#include "fuzz.h"
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_FD fd = memfd_create("group", 0);
	AUTO_READER r = { .fd = -1 };
	enum audit_read_outcome outcome = AUDIT_READ_GROUP;
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	if (audit_reader_open(&s, fd, AUDIT_FILE_TAIL, &r).code != E_OK)
		return 0;
	while (outcome == AUDIT_READ_GROUP) {
		if (audit_reader_next(&s, &r, &outcome).code != E_OK)
			return 0;
		if (outcome != AUDIT_READ_GROUP)
			break;
		span record;
		uint64_t offset;
		uint32_t count = 0;
		for (size_t at = 0; audit_reader_record(&r, &at, &record, &offset); count++)
			if (offset + record.len > size || memcmp(data + offset, record.data, record.len) != 0)
				__builtin_trap();
		if (count != r.count)
			__builtin_trap();
	}
	if (outcome == AUDIT_READ_TORN)
		(void)audit_reader_check_torn(&s, &r).code;
	return 0;
}
