#define OPENSSL_SUPPRESS_DEPRECATED /* tables and projective coordinates have no successors in 3.0; what they are worth: docs/decisions/0014 */
#include "pki_ecdsa.h"
#include "log.h"
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

DEFINE_AUTO(BN_CTX, BN_CTX_free)
DEFINE_AUTO(EC_GROUP, EC_GROUP_free)
DEFINE_AUTO(EC_KEY, EC_KEY_free)
DEFINE_AUTO(EC_POINT, EC_POINT_free)

/* A table costs 25 ms and 150 kB once, and saves 45 us each time. */
#define TABLE_AFTER 500

struct curve {
	const char *key;
	int name;
	bool tables; /* libcrypto uses tables of other points than the generator's on this curve */
	EC_GROUP *group;
};
static struct curve curves[] = { { "ec-p256", NID_X9_62_prime256v1, true, NULL },
				 { "ec-p384", NID_secp384r1, false, NULL },
				 { "ec-p521", NID_secp521r1, false, NULL },
				 { "ec-brainpoolp512r1", NID_brainpoolP512r1, false, NULL } };
#define CURVES (sizeof curves / sizeof curves[0])
static pthread_once_t curves_once = PTHREAD_ONCE_INIT;

struct pki_ecdsa {
	const struct curve *curve;
	EC_KEY *key;
	atomic_uint verified;
	_Atomic(EC_GROUP *) own; /* the curve with this key as its generator, and its table; NULL until it is worth it */
};

/* Only memory that is not there makes these calls fail: their inputs were checked. */
static void must(int done)
{
	if (done != 1)
		log_die("libcrypto cannot compute on an elliptic curve");
}

static void make_curves(void)
{
	for (size_t i = 0; i < CURVES; i++) {
		curves[i].group = EC_GROUP_new_by_curve_name(curves[i].name);
		must(curves[i].group != NULL);
	}
}

static const struct curve *curve_of(const struct alg_key *type)
{
	(void)pthread_once(&curves_once, make_curves);
	for (size_t i = 0; i < CURVES; i++)
		if (strcmp(curves[i].key, type->name) == 0)
			return &curves[i];
	log_die("curve of %s has no name in libcrypto", type->name);
}

static EC_POINT *new_point(const struct curve *curve)
{
	EC_POINT *point = EC_POINT_new(curve->group);
	must(point != NULL);
	return point;
}

/* libcrypto proves coordinates in range and the point on the curve; of a whole point of 2n + 1 octets infinity is none. */
//= sp800-56a#5.6.2.3.4 coordinates in range, point on the curve and not infinity; n*Q = O follows, the cofactor is 1
st pki_ecdsa_new(struct scope *s, const struct alg_key *type, span point, struct pki_ecdsa **out)
{
	const struct curve *curve = curve_of(type);
	AUTO(EC_KEY) *key = EC_KEY_new();
	must(key != NULL && EC_KEY_set_group(key, curve->group));
	if (EC_KEY_oct2key(key, point.data, point.len, NULL) != 1 ||
	    EC_POINT_is_at_infinity(curve->group, EC_KEY_get0_public_key(key))) {
		ERR_clear_error();
		return fail(
			s, E_CRYPTO,
			"the public key is no %s key: its point does not lie on the curve (SP 800-56A, 5.6.2.3.4); make a new key",
			type->name);
	}
	struct pki_ecdsa *made = heap_alloc(sizeof *made);
	made->curve = curve;
	made->key = TAKE(key);
	*out = made;
	return OK;
}

void pki_ecdsa_free(struct pki_ecdsa *key)
{
	if (key == NULL)
		return;
	EC_GROUP_free(atomic_load(&key->own));
	EC_KEY_free(key->key);
	free(key);
}

bool pki_ecdsa_has_order(const struct pki_ecdsa *key)
{
	bool good = EC_KEY_check_key(key->key) == 1;
	ERR_clear_error();
	return good;
}

/* ---- the table ---- */

static EC_GROUP *with_generator(const struct curve *curve, const EC_POINT *point)
{
	AUTO(EC_GROUP) *own = EC_GROUP_dup(curve->group);
	must(own != NULL);
	must(EC_GROUP_set_generator(own, point, EC_GROUP_get0_order(curve->group), BN_value_one()));
	must(EC_GROUP_precompute_mult(own, NULL));
	return TAKE(own);
}

/* The one thread whose verification is the last before makes it; the others go on without. */
static void count_verification(struct pki_ecdsa *key)
{
	if (key->curve->tables && atomic_fetch_add(&key->verified, 1) + 1 == TABLE_AFTER)
		atomic_store(&key->own, with_generator(key->curve, EC_KEY_get0_public_key(key->key)));
}

/* ---- verification by the table, of keys that are kept ---- */

/* u1 * G + u2 * Q */
static EC_POINT *combine(const struct curve *curve, const EC_GROUP *own, const BIGNUM *u1, const BIGNUM *u2, BN_CTX *numbers)
{
	AUTO(EC_POINT) *sum = new_point(curve), *second = new_point(curve);
	must(EC_POINT_mul(curve->group, sum, u1, NULL, NULL, numbers));
	must(EC_POINT_mul(own, second, u2, NULL, NULL, numbers));
	must(EC_POINT_add(curve->group, sum, sum, second, numbers));
	return TAKE(sum);
}

static BIGNUM *new_number(BN_CTX *numbers)
{
	BIGNUM *n = BN_CTX_get(numbers);
	must(n != NULL);
	return n;
}

/* A number from 1 to order - 1. */
//= fips186-5#6.4.2 step 1: r and s outside [1, n - 1] end the verification
static BIGNUM *read_number(struct der_rd *d, const BIGNUM *order, BN_CTX *numbers)
{
	BIGNUM *n = new_number(numbers);
	span content = der_get_integer(d);
	bool positive = !d->bad && (content.data[0] & 0x80) == 0 && content.len <= (size_t)BN_num_bytes(order) + 1;
	if (!positive)
		return NULL;
	must(BN_bin2bn(content.data, (int)content.len, n) != NULL);
	return !BN_is_zero(n) && BN_cmp(n, order) < 0 ? n : NULL;
}

//= fips186-5#6.4.2 e: as many bits of the digest as the order has, those in front; orders here are whole octets
static BIGNUM *digest_number(span digest, const BIGNUM *order, BN_CTX *numbers)
{
	span front = span_first(digest, (size_t)BN_num_bytes(order));
	BIGNUM *e = new_number(numbers);
	must(BN_bin2bn(front.data, (int)front.len, e) != NULL);
	return e;
}

/* Whether x modulo the order is r. A point is kept as (X, Y, Z) with x = X / Z^2; instead of dividing, X is compared with the
 * multiples by Z^2 of r and, where that is below the field's prime, of r + n. */
static bool x_is(const EC_GROUP *group, const EC_POINT *point, const BIGNUM *r, BN_CTX *numbers)
{
	const BIGNUM *prime = EC_GROUP_get0_field(group);
	BIGNUM *x = new_number(numbers), *z = new_number(numbers), *product = new_number(numbers),
	       *candidate = new_number(numbers);
	must(EC_POINT_get_Jprojective_coordinates_GFp(group, point, x, NULL, z, numbers));
	must(BN_mod_sqr(z, z, prime, numbers));
	must(BN_copy(candidate, r) != NULL);
	for (; BN_cmp(candidate, prime) < 0; must(BN_add(candidate, candidate, EC_GROUP_get0_order(group)))) {
		must(BN_mod_mul(product, candidate, z, prime, numbers));
		if (BN_cmp(product, x) == 0)
			return true;
	}
	return false;
}

static bool fits(const struct curve *curve, const EC_GROUP *own, const BIGNUM *r, const BIGNUM *s, const BIGNUM *e,
		 BN_CTX *numbers)
{
	const EC_GROUP *group = curve->group;
	const BIGNUM *order = EC_GROUP_get0_order(group);
	BIGNUM *w = new_number(numbers), *u1 = new_number(numbers), *u2 = new_number(numbers);
	must(BN_mod_inverse(w, s, order, numbers) != NULL);
	must(BN_mod_mul(u1, e, w, order, numbers));
	must(BN_mod_mul(u2, r, w, order, numbers));
	AUTO(EC_POINT) *sum = combine(curve, own, u1, u2, numbers);
	return !EC_POINT_is_at_infinity(group, sum) && x_is(group, sum, r, numbers);
}

static bool verify_by_table(const struct curve *curve, const EC_GROUP *own, span digest, span signature)
{
	const BIGNUM *order = EC_GROUP_get0_order(curve->group);
	AUTO(BN_CTX) *numbers = BN_CTX_new();
	must(numbers != NULL);
	BN_CTX_start(numbers);
	struct der_rd whole = der_read(signature);
	struct der_rd pair = der_enter(&whole, DER_SEQUENCE);
	const BIGNUM *r = read_number(&pair, order, numbers), *s = read_number(&pair, order, numbers);
	der_leave(&whole, &pair);
	bool fitting = !whole.bad && der_at_end(&whole) && r != NULL && s != NULL &&
		       fits(curve, own, r, s, digest_number(digest, order, numbers), numbers);
	BN_CTX_end(numbers);
	return fitting;
}

bool pki_ecdsa_verify(struct pki_ecdsa *key, span digest, span signature)
{
	const EC_GROUP *own = atomic_load(&key->own);
	if (own != NULL)
		return verify_by_table(key->curve, own, digest, signature);
	bool fitting = signature.len <= INT_MAX &&
		       ECDSA_verify(0, digest.data, (int)digest.len, signature.data, (int)signature.len, key->key) == 1;
	ERR_clear_error();
	count_verification(key);
	return fitting;
}
