#include "pki_blocklist.h"
#include "pki_unit.h"
#include <unistd.h>

#define SMALLEST "00000000000000000000000000000000000000000000000000000000000000aa\n"
#define LARGEST  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n"

static const char *file_of(struct scope *s, const char *text)
{
	char *path = scope_printf(s, "/tmp/chancery-blocklist-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
	return path;
}

static struct pki_blocklist *list_of(struct scope *s, const char *text)
{
	struct pki_blocklist *list = NULL;
	const char *path = file_of(s, text);
	assert_ok(s, pki_blocklist_read(s, path, &list));
	assert_int_equal(unlink(path), 0);
	return list;
}

static char *digits(struct scope *s, span content, int count)
{
	uint8_t digest[DIGEST_MAX];
	return scope_printf(s, "%.*s\n", count, hex_text(s, digest_of(DIGEST_SHA256, content, digest)));
}

/* The number of a key, found without our reader: the modulus, or x. */
static span number_by_openssl(struct scope *s, EVP_PKEY *key)
{
	BIGNUM *n = NULL;
	uint8_t octets[512];
	assert_int_equal(EVP_PKEY_get_bn_param(key, EVP_PKEY_is_a(key, "RSA") ? "n" : "qx", &n), 1);
	int len = BN_bn2bin(n, octets);
	BN_free(n);
	return scope_copy(s, span_of(octets, (size_t)len));
}

static void assert_listed(struct scope *s, const char *text, span key, span other)
{
	struct pki_blocklist *list = list_of(s, text);
	st status = pki_blocklist_check(s, list, key);
	assert_int_equal(status.code, E_CRYPTO);
	assert_non_null(strstr(s->message, "BR 6.1.1.3"));
	scope_clear_error(s);
	assert_ok(s, pki_blocklist_check(s, list, other));
	pki_blocklist_free(list);
}

//= cabf-br#6.1.1.3
static void a_listed_key_is_refused_and_another_is_not(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const types[] = { "ec-p256", "ec-p384", "rsa-2048", "ed25519" };
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		AUTO(EVP_PKEY) *key = unit_key_named(types[i]);
		AUTO(EVP_PKEY) *other = unit_key_named(types[i]);
		span spki = unit_spki(&s, key), not_listed = unit_spki(&s, other);
		const char *full = digits(&s, spki, 64);
		assert_listed(&s, full, spki, not_listed);
		assert_listed(&s, scope_printf(&s, SMALLEST "%s" LARGEST, full), spki, not_listed);
		assert_listed(&s, digits(&s, spki, 30), spki, not_listed);
		if (strcmp(types[i], "ed25519") != 0)
			assert_listed(&s, digits(&s, number_by_openssl(&s, key), 30), spki, not_listed);
	}
}

static void every_place_of_a_list_is_found(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	span spki = unit_spki(&s, key);
	const char *listed = digits(&s, spki, 64);
	for (int count = 0; count < 9; count++) {
		for (int at = 0; at <= count; at++) {
			AUTO_BUF text = { 0 };
			struct wr w = wr_into(&text);
			for (int i = 0; i < at; i++) /* below and above any digest met in practice */
				wr_raw(&w, span_str(scope_printf(&s, "%064x\n", i)));
			wr_raw(&w, span_str(listed));
			for (int i = at; i < count; i++)
				wr_raw(&w, span_str(scope_printf(&s, "ffffffffffffffffffffffff%040x\n", i)));
			struct pki_blocklist *list = list_of(&s, scope_cstr(&s, buf_span(&text)));
			assert_int_equal(pki_blocklist_count(list), count + 1);
			assert_fails(&s, E_CRYPTO, pki_blocklist_check(&s, list, spki));
			pki_blocklist_free(list);
		}
	}
}

static void an_empty_list_lists_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO(EVP_PKEY) *key = unit_key();
	struct pki_blocklist *list = list_of(&s, "");
	assert_int_equal(pki_blocklist_count(list), 0);
	assert_ok(&s, pki_blocklist_check(&s, list, unit_spki(&s, key)));
	pki_blocklist_free(list);
}

static void lists_that_could_not_be_searched_are_refused_by_line(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ LARGEST SMALLEST, "line 2: it does not come after" },
		{ SMALLEST SMALLEST, "line 2: it does not come after" },
		{ SMALLEST "fffffffffffffffffffffffffffffff0\n", "line 2: it is not as long" },
		{ SMALLEST "FFffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n",
		  "line 2: this is not lower-case" },
		{ "aaaa\n", "line 1: a digest has 30 to 64" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "line 1: a digest has 30 to 64" },
		{ "\n", "line 1: a digest has 30 to 64" },
		{ SMALLEST "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "line 2: the line has no end" },
		{ "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n", "line 1: a digest has 30 to 64" },
		{ SMALLEST "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n", "line 2" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pki_blocklist *list = NULL;
		const char *path = file_of(&s, rows[i].text);
		st status = pki_blocklist_read(&s, path, &list);
		assert_int_equal(status.code, E_CONFIG);
		if (strstr(s.message, rows[i].why) == NULL)
			print_error("%s\n", s.message);
		assert_non_null(strstr(s.message, rows[i].why));
		scope_clear_error(&s);
		assert_int_equal(unlink(path), 0);
	}
	struct pki_blocklist *list = NULL;
	assert_fails(&s, E_CONFIG, pki_blocklist_read(&s, "/nonexistent/list", &list));
	assert_fails(&s, E_CONFIG, pki_blocklist_read(&s, "/tmp", &list));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listed_key_is_refused_and_another_is_not),
		cmocka_unit_test(every_place_of_a_list_is_found),
		cmocka_unit_test(an_empty_list_lists_nothing),
		cmocka_unit_test(lists_that_could_not_be_searched_are_refused_by_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
