/* Values of the status store: any bytes as the state of the feed and as a status. What is read is written as the same bytes. */
#include "fuzz.h"
#include "va_store_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	span value = span_of(data, size);
	struct va_meta meta;
	struct va_status_item status;
	AUTO_BUF again = { 0 };
	if (va_meta_read(&s, value, &meta).code == E_OK)
		check(meta.current <= 1 && va_meta_write(&s, &meta, &again).code == E_OK &&
		      span_equal(buf_span(&again), value));
	scope_clear_error(&s);
	buf_clear(&again);
	if (va_status_read(&s, value, &status).code == E_OK)
		check(size == VA_STATUS_LEN && va_status_write(&s, &status, &again).code == E_OK &&
		      span_equal(buf_span(&again), value));
	return 0;
}
