/*
 * hsm_test.c - against SoftHSM: a directory of tokens of its own, made anew for each run.
 */
#include "hsm.h"
#include "unit.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

DEFINE_AUTO(EVP_PKEY, EVP_PKEY_free)
DEFINE_AUTO(EVP_PKEY_CTX, EVP_PKEY_CTX_free)

/* SoftHSM 2.6 leaks the name of every Edwards curve it makes a key on. Whole stacks, or libcrypto would hide who called it. */
const char *__lsan_default_suppressions(void);
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}
const char *__lsan_default_suppressions(void)
{
	return "leak:libsofthsm2\n";
}

static const char *const modules[] = { "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
				       "/usr/lib64/softhsm/libsofthsm2.so" };
static char directory[] = "/tmp/chancery-hsm-XXXXXX";
static struct scope setup_scope;
static struct hsm *module;
static struct hsm_token *token;

static const char *module_path(void)
{
	for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
		if (access(modules[i], R_OK) == 0)
			return modules[i];
	return modules[0];
}

static int start(void **state)
{
	(void)state;
	struct scope *s = &setup_scope;
	scope_init(s, NULL);
	if (mkdtemp(directory) == NULL)
		return -1;
	const char *tokens = scope_printf(s, "%s/tokens", directory);
	const char *file = scope_printf(s, "%s/softhsm2.conf", directory);
	if (mkdir(tokens, 0700) != 0)
		return -1;
	FILE *f = fopen(file, "w");
	if (f == NULL || fprintf(f, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens) < 0 ||
	    fclose(f) != 0)
		return -1;
	if (setenv("SOFTHSM2_CONF", file, 1) != 0)
		return -1;
	struct hsm_settings settings = { .module = module_path(), .sync_directory = tokens };
	if (hsm_load(s, &settings, &module).code != E_OK ||
	    hsm_token_create(s, module, "one", span_str("1234"), span_str("87654321")).code != E_OK ||
	    hsm_token_new(s, module, "one", span_str("1234"), &token).code != E_OK) {
		print_error("%s\n", s->message);
		return -1;
	}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	hsm_token_free(token);
	hsm_unload(module);
	char *command = scope_printf(&setup_scope, "rm -rf %s", directory);
	int result = system(command);
	scope_done(&setup_scope);
	return result;
}

static void a_token_is_created_once(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_fails(&s, E_CONFLICT, hsm_token_create(&s, module, "one", span_str("1234"), span_str("87654321")));
	assert_fails(&s, E_INPUT, hsm_token_create(&s, module, "", span_str("1234"), span_str("87654321")));
	struct hsm_token_info *infos;
	size_t count;
	assert_ok(&s, hsm_tokens(&s, module, &infos, &count));
	assert_int_equal(count, 2); /* SoftHSM always shows one more that is free */
	assert_string_equal(infos[0].label, "one");
	assert_true(infos[0].initialised);
}

static void a_wrong_pin_is_offered_only_once(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	assert_ok(&s, hsm_token_create(&s, module, "guarded", span_str("1234"), span_str("87654321")));
	struct hsm_token *wrong;
	assert_ok(&s, hsm_token_new(&s, module, "guarded", span_str("4321"), &wrong));
	assert_fails(&s, E_DENIED, hsm_token_ready(&s, wrong));
	st again = hsm_token_ready(&s, wrong);
	assert_int_equal(again.code, E_DENIED);
	assert_non_null(strstr(s.message, "not offered again"));
	hsm_token_free(wrong);
}

static void a_token_that_is_not_there_is_unavailable(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_token *absent;
	assert_ok(&s, hsm_token_new(&s, module, "nowhere", span_str("1234"), &absent));
	assert_fails(&s, E_UNAVAILABLE, hsm_token_ready(&s, absent));
	hsm_token_free(absent);
	assert_ok(&s, hsm_token_ready(&s, token));
}

//= req7.1#HSM-01 every type of key comes off the token with its attributes as wanted and signs with all its algorithms
static void every_type_of_key_is_generated_and_signs(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const struct alg_key *type;
	for (size_t i = 0; (type = alg_key_at(i)) != NULL; i++) {
		struct hsm_report report;
		struct hsm_key *made, *found;
		assert_ok(&s, hsm_generate(&s, token, type->name, type, HSM_BACKUP_NONE, &report, &made));
		assert_non_null(
			strstr(report.attributes,
			       "TOKEN=1 PRIVATE=1 SENSITIVE=1 EXTRACTABLE=0 ALWAYS_SENSITIVE=1 NEVER_EXTRACTABLE=1 SIGN=1 "
			       "DECRYPT=0 UNWRAP=0 DERIVE=0"));
		assert_ok(&s, hsm_find(&s, token, type->name, &found));
		assert_ptr_equal(hsm_key_type(found), type);
		assert_true(span_equal(hsm_key_spki(found), hsm_key_spki(made)));
		assert_true(span_equal(hsm_key_id(found), hsm_key_id(made)));
		uint8_t digest[DIGEST_MAX] = { 1, 2, 3 };
		const struct alg_signature *algorithm = alg_signature_default(type);
		span input = span_of(digest, algorithm->digest == DIGEST_NONE ? 64 : digest_len(algorithm->digest));
		span signature;
		assert_ok(&s, hsm_sign(&s, found, algorithm, input, &signature));
		assert_ok(&s, hsm_verify(&s, hsm_key_spki(made), algorithm, input, signature));
		digest[0] ^= 1;
		assert_fails(&s, E_CRYPTO, hsm_verify(&s, hsm_key_spki(made), algorithm, input, signature));
		hsm_key_free(found);
		hsm_key_free(made);
	}
}

static void a_key_made_for_wrapped_backup_says_so(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_report report;
	struct hsm_key *key;
	assert_ok(&s,
		  hsm_generate(&s, token, "wrapped", alg_key_named(span_str("ec-p256")), HSM_BACKUP_WRAPPED, &report, &key));
	assert_non_null(strstr(report.attributes, "EXTRACTABLE=1 ALWAYS_SENSITIVE=1 NEVER_EXTRACTABLE=0"));
	assert_non_null(strstr(report.attributes, "WRAP_WITH_TRUSTED=1"));
	assert_fails(&s, E_CONFLICT,
		     hsm_generate(&s, token, "wrapped", alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &key));
	assert_ok(&s, hsm_destroy(&s, key));
	hsm_key_free(key);
	assert_fails(&s, E_NOTFOUND, hsm_find(&s, token, "wrapped", &key));
}

/* The other side of the agreement, and libcrypto's opinion of the secret. */
static void agree_once(struct scope *s, struct hsm_key *key)
{
	AUTO(EVP_PKEY) *peer = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	span spki = hsm_key_spki(key);
	const unsigned char *at = spki.data;
	AUTO(EVP_PKEY) *public = d2i_PUBKEY(NULL, &at, (long)spki.len);
	AUTO(EVP_PKEY_CTX) *agreement = EVP_PKEY_CTX_new(peer, NULL);
	uint8_t point[65], got[32] = { 0 }, expected[32];
	size_t len = sizeof point, expected_len = sizeof expected;
	assert_int_equal(EVP_PKEY_get_octet_string_param(peer, OSSL_PKEY_PARAM_PUB_KEY, point, len, &len), 1);
	assert_int_equal(EVP_PKEY_derive_init(agreement), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(agreement, public), 1);
	assert_int_equal(EVP_PKEY_derive(agreement, expected, &expected_len), 1);
	assert_ok(s, hsm_derive(s, key, SPAN_ARRAY(point), got));
	assert_memory_equal(got, expected, sizeof got);
}

/* So often that some secrets begin with a zero octet. */
static void a_key_for_agreement_agrees_and_does_nothing_else(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_report report;
	struct hsm_key *key, *found, *signer;
	assert_ok(&s, hsm_generate_derive(&s, token, "agrees", &report, &key));
	assert_non_null(strstr(report.attributes, "SENSITIVE=1 EXTRACTABLE=0 ALWAYS_SENSITIVE=1 NEVER_EXTRACTABLE=1 SIGN=0 "
						  "DECRYPT=0 UNWRAP=0 DERIVE=1"));
	assert_non_null(strstr(report.attributes, "ALLOWED_MECHANISMS=limited"));
	assert_ok(&s, hsm_find(&s, token, "agrees", &found));
	for (int i = 0; i < 600; i++)
		agree_once(&s, found);
	uint8_t digest[32] = { 0 }, point[65] = { 4 }, secret[32];
	span signature;
	const struct alg_signature *ecdsa = alg_signature_named(span_str("ecdsa-sha256"));
	assert_int_not_equal(hsm_sign(&s, found, ecdsa, SPAN_ARRAY(digest), &signature).code, E_OK);
	scope_clear_error(&s);
	assert_ok(&s, hsm_find(&s, token, "ec-p256", &signer));
	span spki = hsm_key_spki(found);
	memcpy(point, spki.data + spki.len - 65, 65);
	assert_int_not_equal(hsm_derive(&s, signer, SPAN_ARRAY(point), secret).code, E_OK); /* it signs, and does not agree */
	scope_clear_error(&s);
	assert_fails(&s, E_INPUT, hsm_derive(&s, found, span_of(point, 64), secret));
	assert_ok(&s, hsm_destroy(&s, key));
	hsm_key_free(key);
	hsm_key_free(found);
	hsm_key_free(signer);
}

static void an_algorithm_that_does_not_fit_the_key_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "ec-p256", &key));
	uint8_t digest[32] = { 0 };
	span signature;
	assert_fails(&s, E_CRYPTO,
		     hsm_sign(&s, key, alg_signature_named(span_str("rsa-pss-sha256")), SPAN_ARRAY(digest), &signature));
	assert_fails(&s, E_INPUT,
		     hsm_sign(&s, key, alg_signature_named(span_str("ecdsa-sha384")), SPAN_ARRAY(digest), &signature));
	hsm_key_free(key);
}

static void *sign_often(void *argument)
{
	struct hsm_key *key = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	const struct alg_signature *algorithm = alg_signature_default(hsm_key_type(key));
	uint8_t digest[32];
	uintptr_t failures = 0;
	for (int i = 0; i < 50; i++) {
		span signature;
		scope_random(&s, digest, sizeof digest);
		if (hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature).code != E_OK ||
		    hsm_verify(&s, hsm_key_spki(key), algorithm, SPAN_ARRAY(digest), signature).code != E_OK)
			failures++;
		scope_reset(&s);
	}
	return (void *)failures;
}

static void many_threads_sign_at_once(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "ec-p256", &key));
	pthread_t threads[8];
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sign_often, key), 0);
	for (size_t i = 0; i < 8; i++) {
		void *failures;
		assert_int_equal(pthread_join(threads[i], &failures), 0);
		assert_null(failures);
	}
	hsm_key_free(key);
}

/* The token's directory is taken away and put back. */
static void a_token_that_went_away_signs_again_when_it_returns(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_key *key;
	assert_ok(&s, hsm_find(&s, token, "ec-p256", &key));
	uint8_t digest[32] = { 7 };
	span signature;
	const struct alg_signature *algorithm = alg_signature_default(hsm_key_type(key));
	char *here = scope_printf(&s, "%s/tokens", directory);
	char *away = scope_printf(&s, "%s/away", directory);
	assert_int_equal(rename(here, away), 0);
	assert_int_equal(mkdir(here, 0700), 0);
	assert_fails(&s, E_UNAVAILABLE, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	assert_int_equal(rmdir(here), 0);
	assert_int_equal(rename(away, here), 0);
	bool signs = false;
	for (int i = 0; i < 100 && !signs; i++) {
		signs = hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature).code == E_OK;
		scope_clear_error(&s);
		(void)usleep(100000);
	}
	assert_true(signs);
	assert_ok(&s, hsm_verify(&s, hsm_key_spki(key), algorithm, SPAN_ARRAY(digest), signature));
	hsm_key_free(key);
}

static enum hsm_finding finding_of(const struct hsm_probe_row *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].finding;
	return HSM_UNKNOWN;
}

static void a_probe_tells_what_the_token_can_do(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_probe_row *rows;
	size_t count;
	assert_ok(&s, hsm_probe(&s, module, "one", NULL, &rows, &count));
	assert_int_equal(finding_of(rows, count, "CKM_ECDSA"), HSM_PROVIDED);
	assert_int_equal(finding_of(rows, count, "login"), HSM_UNKNOWN);
	assert_ok(&s, hsm_probe(&s, module, "one", token, &rows, &count));
	assert_int_equal(finding_of(rows, count, "login"), HSM_PROVIDED);
	assert_int_equal(finding_of(rows, count, "backup=none"), HSM_PROVIDED);
	assert_int_equal(finding_of(rows, count, "CKA_MODIFIABLE"), HSM_PROVIDED);
	assert_int_equal(finding_of(rows, count, "CKA_END_DATE"), HSM_PROVIDED);
	struct hsm_key *left;
	assert_fails(&s, E_NOTFOUND, hsm_find(&s, token, "chancery-probe", &left));
}

static void a_locked_token_signs_nothing_until_it_has_its_pin_again(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_report report;
	struct hsm_key *key;
	uint8_t digest[32] = { 7 };
	span signature;
	const struct alg_signature *algorithm = alg_signature_named(span_str("ecdsa-sha256"));
	assert_ok(&s, hsm_generate(&s, token, "lockable", alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &key));
	assert_fails(&s, E_CONFLICT, hsm_token_unlock(&s, token, span_str("1234")));
	hsm_token_hold(token);
	assert_fails(&s, E_STATE, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	assert_ok(&s, hsm_token_release(&s, token));
	assert_ok(&s, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	hsm_token_lock(token);
	hsm_token_lock(token);
	assert_fails(&s, E_STATE, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	assert_fails(&s, E_STATE, hsm_token_ready(&s, token));
	assert_fails(&s, E_DENIED, hsm_token_unlock(&s, token, span_str("4321")));
	assert_fails(&s, E_STATE, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	assert_ok(&s, hsm_token_unlock(&s, token, span_str("1234")));
	assert_ok(&s, hsm_sign(&s, key, algorithm, SPAN_ARRAY(digest), &signature));
	assert_ok(&s, hsm_verify(&s, hsm_key_spki(key), algorithm, SPAN_ARRAY(digest), signature));
	assert_ok(&s, hsm_destroy(&s, key));
	hsm_key_free(key);
}

static st sign_once(struct scope *s, struct hsm_key *key)
{
	const uint8_t digest[32] = { 7 };
	span signature;
	return hsm_sign(s, key, alg_signature_named(span_str("ecdsa-sha256")), SPAN_ARRAY(digest), &signature);
}

static void another_pin_is_that_of_the_token_and_the_one_of_before_is_none(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	AUTO_BUF pin = { .cap = 64 };
	struct hsm_token *changes;
	struct hsm_report report;
	struct hsm_key *key;
	scope_init(&s, NULL);
	assert_ok(&s, hsm_token_create(&s, module, "changes", span_str("1234"), span_str("87654321")));
	assert_ok(&s, hsm_token_new(&s, module, "changes", (span){ 0 }, &changes));
	assert_fails(&s, E_STATE, hsm_token_set_pin(&s, changes, span_str("9999")));
	assert_fails(&s, E_STATE, hsm_token_pin(&s, changes, &pin));
	assert_ok(&s, hsm_token_unlock(&s, changes, span_str("1234")));
	assert_ok(&s, hsm_generate(&s, changes, "kept", alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &key));
	assert_fails(&s, E_INPUT, hsm_token_set_pin(&s, changes, (span){ 0 }));
	assert_ok(&s, hsm_token_set_pin(&s, changes, span_str("99999999")));
	assert_ok(&s, hsm_token_pin(&s, changes, &pin));
	assert_true(span_is(buf_span(&pin), "99999999"));
	assert_ok(&s, sign_once(&s, key));
	hsm_token_lock(changes);
	assert_fails(&s, E_DENIED, hsm_token_unlock(&s, changes, span_str("1234")));
	assert_ok(&s, hsm_token_unlock(&s, changes, span_str("99999999")));
	assert_ok(&s, sign_once(&s, key));
	assert_ok(&s, hsm_destroy(&s, key));
	hsm_key_free(key);
	hsm_token_free(changes);
}

static st generate_dated(struct scope *s, const char *label, span id, struct hsm_report *report, struct hsm_key **key)
{
	const struct hsm_wanted wanted = { .label = label,
					   .type = alg_key_named(span_str("ec-p256")),
					   .id = id,
					   .starts = INT64_C(1795651200) * MOMENT_SECOND,     /* 2026-11-26 */
					   .ends = INT64_C(1893456000) * MOMENT_SECOND - 1 }; /* 2029-12-31 */
	return hsm_generate_as(s, token, &wanted, report, key);
}

static void a_key_carries_the_dates_of_its_period(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	struct hsm_report report;
	struct hsm_key *key;
	scope_init(&s, NULL);
	assert_ok(&s, generate_dated(&s, "dated", (span){ 0 }, &report, &key));
	assert_non_null(strstr(report.attributes, " START_DATE=2026-11-26 END_DATE=2029-12-31"));
	assert_null(strstr(report.missing, "DATE"));
	assert_ok(&s, hsm_destroy(&s, key));
	hsm_key_free(key);
}

static bool on_token(struct scope *s, const char *label)
{
	char **labels;
	size_t count;
	bool found = false;
	assert_ok(s, hsm_private_labels(s, token, &labels, &count));
	for (size_t i = 0; i < count; i++)
		found = found || strcmp(labels[i], label) == 0;
	return found;
}

static void what_a_generation_left_is_found_by_its_id_and_nothing_else_is_removed(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	struct hsm_report report;
	struct hsm_key *key;
	size_t count;
	scope_init(&s, NULL);
	assert_false(on_token(&s, "left"));
	assert_ok(&s, generate_dated(&s, "left", span_str("id of the plan"), &report, &key));
	assert_true(span_is(hsm_key_id(key), "id of the plan"));
	assert_true(on_token(&s, "left"));
	assert_ok(&s, hsm_clear(&s, token, "left", span_str("id of another")));
	assert_ok(&s, hsm_clear(&s, token, "other", span_str("id of the plan")));
	assert_ok(&s, hsm_count(&s, token, "left", span_str("id of the plan"), &count));
	assert_int_equal(count, 2);
	assert_true(on_token(&s, "left"));
	assert_ok(&s, hsm_clear(&s, token, "left", span_str("id of the plan")));
	assert_ok(&s, hsm_count(&s, token, "left", span_str("id of the plan"), &count));
	assert_int_equal(count, 0);
	assert_false(on_token(&s, "left"));
	hsm_key_free(key);
}

struct signing {
	struct hsm_key *key;
	_Atomic int made, refused, other;
};

static void *sign_until_locked(void *state)
{
	struct signing *work = state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	uint8_t digest[32] = { 8 };
	span signature;
	while (work->refused == 0) {
		st status =
			hsm_sign(&s, work->key, alg_signature_named(span_str("ecdsa-sha256")), SPAN_ARRAY(digest), &signature);
		work->made += status.code == E_OK;
		work->refused += status.code == E_STATE;
		if (status.code != E_OK && status.code != E_STATE) {
			print_error("%s\n", s.message);
			work->other++;
			return NULL;
		}
		scope_reset(&s);
	}
	return NULL;
}

static void signatures_under_way_end_before_the_token_is_locked(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct hsm_report report;
	struct signing work = { .made = 0 };
	pthread_t thread[4];
	assert_ok(&s, hsm_generate(&s, token, "busy", alg_key_named(span_str("ec-p256")), HSM_BACKUP_NONE, &report, &work.key));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, sign_until_locked, &work), 0);
	while (work.made < 50 && work.other == 0)
		(void)usleep(1000);
	hsm_token_lock(token);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(work.other, 0);
	assert_ok(&s, hsm_token_unlock(&s, token, span_str("1234")));
	assert_ok(&s, hsm_destroy(&s, work.key));
	hsm_key_free(work.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_created_once),
		cmocka_unit_test(a_wrong_pin_is_offered_only_once),
		cmocka_unit_test(a_token_that_is_not_there_is_unavailable),
		cmocka_unit_test(every_type_of_key_is_generated_and_signs),
		cmocka_unit_test(a_key_made_for_wrapped_backup_says_so),
		cmocka_unit_test(a_key_for_agreement_agrees_and_does_nothing_else),
		cmocka_unit_test(an_algorithm_that_does_not_fit_the_key_is_refused),
		cmocka_unit_test(many_threads_sign_at_once),
		cmocka_unit_test(a_token_that_went_away_signs_again_when_it_returns),
		cmocka_unit_test(a_probe_tells_what_the_token_can_do),
		cmocka_unit_test(a_locked_token_signs_nothing_until_it_has_its_pin_again),
		cmocka_unit_test(another_pin_is_that_of_the_token_and_the_one_of_before_is_none),
		cmocka_unit_test(a_key_carries_the_dates_of_its_period),
		cmocka_unit_test(what_a_generation_left_is_found_by_its_id_and_nothing_else_is_removed),
		cmocka_unit_test(signatures_under_way_end_before_the_token_is_locked),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
