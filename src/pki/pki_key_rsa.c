#include "pki_key_rsa.h"
#include "log.h"
#include <openssl/bn.h>
#include <pthread.h>

DEFINE_AUTO(BIGNUM, BN_free)
DEFINE_AUTO(BN_CTX, BN_CTX_free)

#define SMALL_FACTOR_LIMIT 65536u
#define FERMAT_ROUNDS      100
#define ROCA_LAST_PRIME    167

static BIGNUM *new_number(void)
{
	BIGNUM *n = BN_new();
	if (n == NULL)
		log_die("out of memory for a number");
	return n;
}

static void must(int done)
{
	if (done != 1)
		log_die("libcrypto cannot compute with numbers of this size");
}

static bool is_prime(unsigned n)
{
	for (unsigned d = 3; d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return n > 2 && n % 2 == 1;
}

static uint64_t remainder_of(const BIGNUM *n, uint64_t divisor)
{
	BN_ULONG r = BN_mod_word(n, (BN_ULONG)divisor);
	if (r == (BN_ULONG)-1)
		log_die("libcrypto cannot divide");
	return r;
}

/* Primes multiplied into a machine word: one long division tells the remainders by all of them. */
struct prime_word {
	uint64_t product;
	size_t first, count; /* in `primes` */
};
static uint16_t primes[8192];
static struct prime_word words[2048];
static size_t prime_count, word_count;
static pthread_once_t words_once = PTHREAD_ONCE_INIT;

/* The 6541 odd primes below the limit; three or more fit into a word, so that neither array is ever full. */
static void multiply_primes(void)
{
	struct prime_word word = { .product = 1 };
	for (unsigned p = 3; p < SMALL_FACTOR_LIMIT; p += 2) {
		if (!is_prime(p))
			continue;
		if (word.product > UINT64_MAX / p) {
			words[word_count++] = word;
			word = (struct prime_word){ .product = 1, .first = prime_count };
		}
		primes[prime_count++] = (uint16_t)p;
		word.product *= p;
		word.count++;
	}
	words[word_count++] = word;
}

static bool has_small_factor(const BIGNUM *n)
{
	(void)pthread_once(&words_once, multiply_primes);
	for (size_t i = 0; i < word_count; i++) {
		uint64_t remainder = remainder_of(n, words[i].product);
		for (size_t k = 0; k < words[i].count; k++)
			if (remainder % primes[words[i].first + k] == 0)
				return true;
	}
	return false;
}

/* ROCA (CVE-2017-15361): primes of the form k*M + 65537^a mod M leave n, modulo each small prime, a power of 65537. */
static bool power_of_65537(uint64_t r, unsigned p)
{
	unsigned generator = 65537 % p, power = 1;
	do {
		if (power == r)
			return true;
		power = power * generator % p;
	} while (power != 1);
	return false;
}

static bool has_roca_fingerprint(const BIGNUM *n)
{
	for (unsigned p = 3; p <= ROCA_LAST_PRIME; p += 2)
		if (is_prime(p) && !power_of_65537(remainder_of(n, p), p))
			return false;
	return true;
}

/* Largest a with a*a <= n, by Newton's method from above. */
static void square_root(BIGNUM *a, const BIGNUM *n, BN_CTX *context)
{
	AUTO(BIGNUM) *next = new_number();
	must(BN_set_bit(a, (BN_num_bits(n) + 1) / 2));
	for (;;) {
		must(BN_div(next, NULL, n, a, context));
		must(BN_add(next, next, a));
		must(BN_rshift1(next, next));
		if (BN_cmp(next, a) >= 0)
			return;
		if (BN_copy(a, next) == NULL)
			must(0);
	}
}

static bool is_square(const BIGNUM *n, BN_CTX *context)
{
	/* Squares have few remainders by 64 and 63: most numbers end here. */
	static const uint64_t squares_by_64 = UINT64_C(0x0202021202030213), squares_by_63 = UINT64_C(0x0402483012450293);
	if ((squares_by_64 >> remainder_of(n, 64) & 1) == 0 || (squares_by_63 >> remainder_of(n, 63) & 1) == 0)
		return false;
	AUTO(BIGNUM) *root = new_number();
	square_root(root, n, context);
	must(BN_sqr(root, root, context));
	return BN_cmp(root, n) == 0;
}

/* Fermat's factorization finds primes that lie close together. */
static bool has_close_factors(const BIGNUM *n)
{
	AUTO(BN_CTX) *context = BN_CTX_new();
	if (context == NULL)
		log_die("out of memory for numbers");
	AUTO(BIGNUM) *a = new_number(), *difference = new_number();
	square_root(a, n, context);
	must(BN_sqr(difference, a, context));
	if (BN_cmp(difference, n) == 0)
		return true;
	for (int round = 0; round < FERMAT_ROUNDS; round++) {
		must(BN_add_word(a, 1));
		must(BN_sqr(difference, a, context));
		must(BN_sub(difference, difference, n)); /* never 0: a*a lies above n */
		if (is_square(difference, context))
			return true;
	}
	return false;
}

/* For n = p and n = p^k every a^n leaves a modulo p (Fermat), so that p divides 2^n - 2; for two different primes it does not,
 * unless the order of 2 modulo one divides the other less one, which makes a modulus no better. One power tells both. */
//= sp800-89#5.3.3 the modulus is composite and not the power of a prime
static bool is_prime_power(const BIGNUM *n)
{
	AUTO(BN_CTX) *context = BN_CTX_new();
	if (context == NULL)
		log_die("out of memory for numbers");
	AUTO(BIGNUM) *base = new_number(), *power = new_number(), *common = new_number();
	must(BN_set_word(base, 2));
	must(BN_mod_exp(power, base, n, n, context));
	must(BN_mod_sub(power, power, base, n, context));
	if (BN_is_zero(power))
		return true;
	must(BN_gcd(common, power, n, context));
	return !BN_is_one(common);
}

//= requirements#HSM-20 n odd, no small factor, no close primes, no ROCA fingerprint, not the power of a prime
st pki_key_check_modulus(struct scope *s, span modulus)
{
	AUTO(BIGNUM) *n = BN_bin2bn(modulus.data, (int)modulus.len, NULL);
	if (n == NULL)
		log_die("out of memory for a number");
	if (!BN_is_odd(n))
		return fail(s, E_CRYPTO, "the RSA modulus is even (SP 800-89, 5.3.3); make a new key");
	if (has_small_factor(n))
		return fail(s, E_CRYPTO, "the RSA modulus has a factor below 65536 (SP 800-89, 5.3.3); make a new key");
	if (has_roca_fingerprint(n))
		return fail(s, E_CRYPTO,
			    "the RSA modulus has the fingerprint of ROCA keys (CVE-2017-15361); make a new key elsewhere");
	if (has_close_factors(n))
		return fail(s, E_CRYPTO,
			    "the primes of the RSA modulus lie too close together (FIPS 186-5, A.1.1); make a new key");
	if (is_prime_power(n))
		return fail(s, E_CRYPTO, "the RSA modulus is a prime or the power of one (SP 800-89, 5.3.3); make a new key");
	return OK;
}
