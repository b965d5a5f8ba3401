/*
 * control_share.c - Shamir's scheme over GF(256), the field of AES: x^8 + x^4 + x^3 + x + 1. No branch and no address depends on a secret.
 */
#include "control_share.h"
#include "digest.h"

#define SHARE_VERSION 1
#define SECRET_MIN    16 /* octets: a shorter one could be found again from a commitment */

/* ---- the field ---- */

static uint8_t multiply(uint8_t a, uint8_t b)
{
	unsigned left = a, product = 0;
	for (unsigned bit = 0; bit < 8; bit++) {
		product ^= left & (0u - (b >> bit & 1u));
		left = left << 1 ^ (0x11bu & (0u - (left >> 7)));
	}
	return (uint8_t)product;
}

/* a^254; of 0 it is 0. */
static uint8_t inverse(uint8_t a)
{
	uint8_t power = a, result = 1;
	for (int bit = 1; bit < 8; bit++) {
		power = multiply(power, power);
		result = multiply(result, power);
	}
	return result;
}

/* ---- splitting ---- */

static st check_counts(struct scope *s, span secret, unsigned threshold, unsigned count)
{
	if (secret.len == 0 || secret.len > CONTROL_SECRET_MAX)
		return fail(s, E_INPUT, "a secret of %zu octets; 1 to %d can be split", secret.len, CONTROL_SECRET_MAX);
	//= tsps#6.2.2 two custodians at least
	if (threshold < 2 || threshold > count || count > CONTROL_SHARES_MAX)
		return fail(
			s, E_INPUT,
			"%u of %u custodians: two at least must come together (practice statement 6.2.2), no more than there "
			"are, and there are %d at most",
			threshold, count, CONTROL_SHARES_MAX);
	return OK;
}

/* The value at x of secret + c1 x + c2 x^2 ..., by Horner's rule; the coefficients lie `len` octets apart. */
static uint8_t value_at(uint8_t x, uint8_t secret, const uint8_t *coefficients, size_t len, unsigned threshold)
{
	uint8_t value = 0;
	for (unsigned degree = threshold - 1; degree > 0; degree--)
		value = multiply(value ^ coefficients[(degree - 1) * len], x);
	return value ^ secret;
}

st control_split(struct scope *s, span secret, unsigned threshold, unsigned count, struct control_share *out)
{
	uint8_t coefficients[(CONTROL_SHARES_MAX - 1) * CONTROL_SECRET_MAX];
	TRY(check_counts(s, secret, threshold, count));
	scope_random(s, coefficients, (threshold - 1) * secret.len);
	for (unsigned i = 0; i < count; i++) {
		out[i] =
			(struct control_share){ .index = (uint8_t)(i + 1), .threshold = (uint8_t)threshold, .len = secret.len };
		for (size_t k = 0; k < secret.len; k++)
			out[i].octets[k] = value_at(out[i].index, secret.data[k], coefficients + k, secret.len, threshold);
	}
	wipe(coefficients, sizeof coefficients);
	return OK;
}

/* ---- joining ---- */

static st check_fit(struct scope *s, const struct control_share *share, size_t count)
{
	if (count == 0 || count < share[0].threshold)
		return fail(s, E_INPUT, "%zu shares of the %u that are needed", count, count == 0 ? 2u : share[0].threshold);
	for (size_t i = 0; i < count; i++) {
		if (share[i].index == 0 || share[i].len != share[0].len || share[i].threshold != share[0].threshold)
			return fail(s, E_INPUT, "the shares %u and %u are not of one secret", share[0].index, share[i].index);
		for (size_t k = 0; k < i; k++)
			if (share[i].index == share[k].index)
				return fail(s, E_INPUT, "share %u is there twice: each custodian has another", share[i].index);
	}
	return OK;
}

/* What share i counts for at x = 0: the product of x_k / (x_k - x_i) over the others. Indices are no secrets. */
static uint8_t weight(const struct control_share *share, size_t count, size_t i)
{
	uint8_t product = 1;
	for (size_t k = 0; k < count; k++)
		if (k != i)
			product = multiply(product, multiply(share[k].index, inverse(share[k].index ^ share[i].index)));
	return product;
}

st control_join(struct scope *s, const struct control_share *share, size_t count, struct buf *out_secret)
{
	TRY(check_fit(s, share, count));
	size_t needed = share[0].threshold, len = share[0].len;
	buf_clear(out_secret);
	if (!buf_reserve(out_secret, len))
		return fail(s, E_LIMIT, "a secret of %zu octets has no room here", len);
	memset(out_secret->data, 0, len);
	out_secret->len = len;
	for (size_t i = 0; i < needed; i++) {
		uint8_t by = weight(share, needed, i);
		for (size_t k = 0; k < len; k++)
			out_secret->data[k] ^= multiply(by, share[i].octets[k]);
	}
	return OK;
}

/* ---- the octets ---- */

st control_share_write(struct scope *s, const struct control_share *share, struct buf *out)
{
	struct wr w = wr_into(out);
	wr_u8(&w, SHARE_VERSION);
	wr_u8(&w, share->index);
	wr_u8(&w, share->threshold);
	wr_raw(&w, span_of(share->octets, share->len));
	return wr_end(s, &w);
}

st control_share_read(struct scope *s, span octets, struct control_share *out)
{
	struct rd r = rd_of(octets);
	uint8_t version = rd_u8(&r), index = rd_u8(&r), threshold = rd_u8(&r);
	size_t len = r.rest.len;
	span rest = rd_raw(&r, len);
	TRY(rd_end(s, &r, "a share"));
	if (version != SHARE_VERSION)
		return fail(s, E_INPUT, "a share of version %u; this program knows version %d", version, SHARE_VERSION);
	if (index == 0 || index > CONTROL_SHARES_MAX || threshold < 2 || threshold > CONTROL_SHARES_MAX)
		return fail(s, E_INPUT, "a share with the number %u and %u needed; both are at most %d", index, threshold,
			    CONTROL_SHARES_MAX);
	if (len == 0 || len > CONTROL_SECRET_MAX)
		return fail(s, E_INPUT, "a share of %zu octets; it has 1 to %d", len, CONTROL_SECRET_MAX);
	*out = (struct control_share){ .index = index, .threshold = threshold, .len = len };
	memcpy(out->octets, rest.data, len);
	return OK;
}

st control_share_commitment(struct scope *s, const struct control_share *share, span context, uint8_t out[CONTROL_COMMITMENT])
{
	uint8_t room[DIGEST_MAX];
	AUTO_BUF octets = { .cap = 256 }, before = { .cap = 4096 };
	if (share->len < SECRET_MIN)
		return fail(s, E_INPUT, "a share of %zu octets could be found again from its commitment: %d at least",
			    share->len, SECRET_MIN);
	struct wr w = wr_into(&before);
	wr_raw(&w, SPAN_LITERAL("chancery commitment 1\n"));
	wr_bytes(&w, context);
	TRY(wr_end(s, &w));
	TRY(control_share_write(s, share, &octets));
	struct digest d;
	digest_start(&d, DIGEST_SHA256);
	digest_add(&d, buf_span(&before));
	digest_add(&d, buf_span(&octets));
	memcpy(out, digest_finish(&d, room).data, CONTROL_COMMITMENT);
	return OK;
}
