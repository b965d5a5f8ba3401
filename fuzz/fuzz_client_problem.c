/* Answers of a server that refuses: u16 HTTP status, then any bytes as the problem document. A refusal is never taken for success. */
#include "client.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const struct client_answer answer = { .status = (long)data[0] << 8 | data[1], .body = span_of(data + 2, size - 2) };
	bool success = answer.status >= 200 && answer.status <= 299;
	check((client_expect(&s, &answer).code == E_OK) == success && success == (s.message[0] == 0));
	return 0;
}
