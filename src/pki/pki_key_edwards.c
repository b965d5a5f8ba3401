#include "pki_key_edwards.h"
#include "log.h"
#include <openssl/bn.h>

DEFINE_AUTO(BN_CTX, BN_CTX_free)

#define KEY_LEN 32

/* The curve: -x^2 + y^2 = 1 + d*x^2*y^2 modulo p; its base point has the order `order` (rfc8032#5.1). */
struct curve {
	BN_CTX *context;
	BIGNUM *p, *d, *order;
};
struct point {
	BIGNUM *x, *y;
};

/* Only memory that is not there makes these calls fail. */
static void must(bool done)
{
	if (!done)
		log_die("out of memory for numbers");
}

/* Everything is in the context's frame, and goes with it. */
static BIGNUM *number(const struct curve *c)
{
	BIGNUM *n = BN_CTX_get(c->context);
	must(n != NULL);
	return n;
}

static void times(const struct curve *c, BIGNUM *out, const BIGNUM *a, const BIGNUM *b)
{
	must(BN_mod_mul(out, a, b, c->p, c->context));
}

static void plus(const struct curve *c, BIGNUM *out, const BIGNUM *a, const BIGNUM *b)
{
	must(BN_mod_add(out, a, b, c->p, c->context));
}

static void over(const struct curve *c, BIGNUM *out, const BIGNUM *a, const BIGNUM *b)
{
	BIGNUM *inverse = number(c);
	must(BN_mod_inverse(inverse, b, c->p, c->context) !=
	     NULL); /* no divisor here is ever 0: the curve's addition is complete */
	times(c, out, a, inverse);
}

static void set_curve(struct curve *c)
{
	c->p = number(c);
	c->d = number(c);
	c->order = number(c);
	BIGNUM *divisor = number(c);
	must(BN_set_bit(c->p, 255) && BN_sub_word(c->p, 19));
	must(BN_set_word(c->d, 121665) && BN_sub(c->d, c->p, c->d) && BN_set_word(divisor, 121666));
	over(c, c->d, c->d, divisor);
	must(BN_hex2bn(&c->order, "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED"));
}

/* x3 = (x1*y2 + y1*x2) / (1 + d*x1*x2*y1*y2), y3 = (y1*y2 + x1*x2) / (1 - d*x1*x2*y1*y2) */
static void add(const struct curve *c, struct point *out, const struct point *a, const struct point *b)
{
	BN_CTX_start(c->context);
	BIGNUM *xx = number(c), *yy = number(c), *xy = number(c), *yx = number(c), *common = number(c), *divisor = number(c);
	times(c, xx, a->x, b->x);
	times(c, yy, a->y, b->y);
	times(c, xy, a->x, b->y);
	times(c, yx, a->y, b->x);
	times(c, common, xx, yy);
	times(c, common, common, c->d);
	plus(c, xy, xy, yx);
	plus(c, yy, yy, xx);
	plus(c, divisor, BN_value_one(), common);
	over(c, out->x, xy, divisor);
	must(BN_mod_sub(divisor, BN_value_one(), common, c->p, c->context));
	over(c, out->y, yy, divisor);
	BN_CTX_end(c->context);
}

static bool is_neutral(const struct point *q)
{
	return BN_is_zero(q->x) && BN_is_one(q->y);
}

/* By doubling and adding: milliseconds, once in the life of a key. What is multiplied is public. */
static bool has_order(const struct curve *c, const struct point *q)
{
	struct point sum = { number(c), number(c) };
	must(BN_set_word(sum.x, 0) && BN_one(sum.y));
	for (int bit = BN_num_bits(c->order) - 1; bit >= 0; bit--) {
		add(c, &sum, &sum, &sum);
		if (BN_is_bit_set(c->order, bit))
			add(c, &sum, &sum, q);
	}
	return is_neutral(&sum);
}

/* x^2 = (y^2 - 1) / (d*y^2 + 1); false when that has no root, so that no point of the curve has this y. */
//= rfc8032#5.1.3 decoding: y below p, x recovered, its sign not 1 when it is 0
static bool decode(const struct curve *c, span key, struct point *out)
{
	uint8_t y[KEY_LEN];
	memcpy(y, key.data, KEY_LEN);
	bool odd = (y[KEY_LEN - 1] & 0x80) != 0;
	y[KEY_LEN - 1] &= 0x7f;
	must(BN_lebin2bn(y, KEY_LEN, out->y) != NULL);
	if (BN_cmp(out->y, c->p) >= 0)
		return false;
	BIGNUM *square = number(c), *divisor = number(c);
	times(c, square, out->y, out->y);
	times(c, divisor, square, c->d);
	plus(c, divisor, divisor, BN_value_one());
	must(BN_mod_sub(square, square, BN_value_one(), c->p, c->context));
	over(c, square, square, divisor);
	if (!BN_is_zero(square) && BN_kronecker(square, c->p, c->context) != 1)
		return false;
	must(BN_mod_sqrt(out->x, square, c->p, c->context) != NULL);
	if (BN_is_zero(out->x) && odd)
		return false;
	if (BN_is_odd(out->x) != (int)odd)
		must(BN_sub(out->x, c->p, out->x));
	return true;
}

//= requirements#HSM-20 point on the curve, not the neutral element, n*Q = O
st pki_key_check_edwards(struct scope *s, span key)
{
	AUTO(BN_CTX) *context = BN_CTX_new();
	must(context != NULL);
	BN_CTX_start(context);
	struct curve c = { .context = context };
	set_curve(&c);
	struct point q = { number(&c), number(&c) };
	bool on_curve = key.len == KEY_LEN && decode(&c, key, &q);
	bool whole_order = on_curve && !is_neutral(&q) && has_order(&c, &q);
	BN_CTX_end(context);
	if (!on_curve)
		return fail(
			s, E_CRYPTO,
			"the public key is no ed25519 key: its octets are no point of the curve (RFC 8032, 5.1.3); make a new key");
	if (!whole_order)
		return fail(
			s, E_CRYPTO,
			"the point of the ed25519 key has not the order of the base point (SP 800-186, D.1.3); make a new key");
	return OK;
}
