/* Lists of keys that are not certified: any bytes as such a file. What is taken is digests of one length, rising, and nothing else. */
#include "fuzz_directory.h"
#include "pki_blocklist.h"

static void check_shape(span text, size_t count)
{
	if (count == 0)
		return;
	size_t line = text.len / count;
	check(text.len % count == 0 && line >= 31 && line <= 65 && line % 2 == 1);
	for (size_t i = 0; i < count; i++) {
		check(text.data[(i + 1) * line - 1] == '\n');
		check(i == 0 || memcmp(text.data + (i - 1) * line, text.data + i * line, line) < 0);
	}
}

/* A key whose digest stands in the list is refused, and no other. */
static void check_key(struct scope *s, const struct pki_blocklist *list, span text, span key, span spki)
{
	uint8_t digest[DIGEST_MAX];
	char hex[2 * DIGEST_MAX + 1];
	bool listed = false;
	for (int of_spki = 0; of_spki <= 1; of_spki++) {
		(void)hex_write(digest_of(DIGEST_SHA256, of_spki ? spki : key, digest), hex);
		size_t count = pki_blocklist_count(list), digits = count == 0 ? 0 : text.len / count - 1;
		for (size_t i = 0; i < count; i++)
			listed = listed || memcmp(text.data + i * (digits + 1), hex, digits) == 0;
	}
	check((pki_blocklist_check(s, list, spki).code != E_OK) == listed);
	scope_clear_error(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[65] = { 4 };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct pki_blocklist *list;
	span text = span_of(data, size), ed25519, ec;
	fuzz_file("list", text);
	if (pki_blocklist_read(&s, fuzz_path("list"), &list).code != E_OK) {
		check(s.message[0] != 0);
		return 0;
	}
	check_shape(text, pki_blocklist_count(list));
	check(alg_spki_ed25519(&s, span_of(zeros, 32), &ed25519).code == E_OK);
	check(alg_spki_ec(&s, alg_key_named(SPAN_LITERAL("ec-p256")), span_of(zeros, 65), &ec).code == E_OK);
	check_key(&s, list, text, span_of(zeros, 32), ed25519);
	check_key(&s, list, text, SPAN_LITERAL("\0"), ec);
	pki_blocklist_free(list);
	return 0;
}
