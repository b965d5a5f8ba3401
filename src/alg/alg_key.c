#include "alg.h"
#include "alg_oid.h"

static const struct alg_key keys[] = {
	{ .name = "rsa-2048", .family = ALG_RSA, .bits = 2048 },
	{ .name = "rsa-3072", .family = ALG_RSA, .bits = 3072 },
	{ .name = "rsa-4096", .family = ALG_RSA, .bits = 4096 },
	{ .name = "ec-p256", .family = ALG_EC, .bits = 256, .curve = OCTETS(OID_P256), .coordinate = 32 },
	{ .name = "ec-p384", .family = ALG_EC, .bits = 384, .curve = OCTETS(OID_P384), .coordinate = 48 },
	{ .name = "ec-p521", .family = ALG_EC, .bits = 521, .curve = OCTETS(OID_P521), .coordinate = 66 },
	{ .name = "ec-brainpoolp512r1",
	  .family = ALG_EC,
	  .bits = 512,
	  .curve = OCTETS(OID_BRAINPOOLP512R1),
	  .coordinate = 64,
	  .etsi_only = true },
	{ .name = "ed25519", .family = ALG_ED25519, .bits = 256 },
};
#define KEYS        (sizeof keys / sizeof keys[0])
#define ED25519_LEN 32

static const span oid_rsa = OCTETS(OID_RSA_ENCRYPTION);
static const span oid_ec = OCTETS(OID_EC_PUBLIC_KEY);
static const span oid_ed25519 = OCTETS(OID_ED25519);
static const span exponent_65537 = OCTETS("\x01\x00\x01");

const struct alg_key *alg_key_at(size_t i)
{
	return i < KEYS ? &keys[i] : NULL;
}

const struct alg_key *alg_key_named(span name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (span_is(name, keys[i].name))
			return &keys[i];
	return NULL;
}

static unsigned magnitude_bits(span magnitude)
{
	if (magnitude.len == 0 || magnitude.len > 4096)
		return 0;
	unsigned bits = (unsigned)magnitude.len * 8;
	for (uint8_t mask = 0x80; mask != 0 && (magnitude.data[0] & mask) == 0; mask >>= 1)
		bits--;
	return bits;
}

/* Magnitude of a positive INTEGER, its sign octet dropped. */
static span get_magnitude(struct der_rd *d)
{
	span content = der_get_integer(d);
	if (content.len > 0 && content.data[0] >= 0x80)
		d->bad = true;
	return content.len > 1 && content.data[0] == 0 ? span_from(content, 1) : content;
}

static st rsa_parts(struct scope *s, struct der_rd *identifier, span bits, struct alg_public *out)
{
	//= rfc3279#2.3.1 the parameters of rsaEncryption are NULL
	if (der_get(identifier, DER_NULL).len != 0)
		identifier->bad = true;
	TRY(der_done(s, identifier, "the AlgorithmIdentifier of an RSA key"));
	struct der_rd d = der_read(bits);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	out->modulus = get_magnitude(&inner);
	out->exponent = get_magnitude(&inner);
	der_leave(&d, &inner);
	TRY(der_done(s, &d, "an RSAPublicKey (RFC 8017, A.1.1)"));
	//= ts119312#6.2 sizes outside the table are not accepted; e is 65537 (practice statement 6.1.6)
	if (!span_equal(out->exponent, exponent_65537))
		return fail(s, E_CRYPTO, "the RSA public exponent is not 65537 (practice statement 6.1.6); make a new key");
	unsigned size = magnitude_bits(out->modulus);
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].family == ALG_RSA && keys[i].bits == size)
			out->key = &keys[i];
	if (out->key == NULL)
		return fail(s, E_CRYPTO, "an RSA modulus of %u bits is not in the table (2048, 3072, 4096); make a new key",
			    size);
	return OK;
}

static st ec_parts(struct scope *s, struct der_rd *identifier, span bits, struct alg_public *out)
{
	//= rfc5480#2.1.1 namedCurve only: no specified or implicit curve
	if (der_next(identifier) != DER_OID)
		return fail(s, E_CRYPTO,
			    "the EC key does not name its curve (RFC 5480, 2.1.1.1); use ec-p256, ec-p384 or ec-p521");
	span curve = der_get(identifier, DER_OID);
	TRY(der_done(s, identifier, "the AlgorithmIdentifier of an EC key"));
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].family == ALG_EC && span_equal(keys[i].curve, curve))
			out->key = &keys[i];
	if (out->key == NULL)
		return fail(s, E_CRYPTO, "the curve of the EC key is not in the table; use ec-p256, ec-p384 or ec-p521");
	//= rfc5480#2.2 uncompressed form: 04 and both coordinates at full length
	if (bits.len != 1 + 2 * out->key->coordinate || bits.data[0] != 4)
		return fail(s, E_CRYPTO, "the EC point is not in uncompressed form of its curve's length (RFC 5480, 2.2)");
	out->point = bits;
	return OK;
}

static st ed25519_parts(struct scope *s, struct der_rd *identifier, span bits, struct alg_public *out)
{
	//= rfc8410#3 the parameters of Ed25519 are absent
	TRY(der_done(s, identifier, "the AlgorithmIdentifier of an Ed25519 key"));
	if (bits.len != ED25519_LEN)
		return fail(s, E_CRYPTO, "an Ed25519 key has 32 octets (RFC 8032, 5.1.5), not %zu", bits.len);
	out->key = alg_key_named(SPAN_LITERAL("ed25519"));
	out->point = bits;
	return OK;
}

static const struct {
	const span *oid;
	st (*parts)(struct scope *s, struct der_rd *identifier, span bits, struct alg_public *out);
} readers[] = {
	{ &oid_rsa, rsa_parts },
	{ &oid_ec, ec_parts },
	{ &oid_ed25519, ed25519_parts },
};

st alg_public_of_spki(struct scope *s, span spki, struct alg_public *out)
{
	struct der_rd d = der_read(spki);
	struct der_rd info = der_enter(&d, DER_SEQUENCE);
	struct der_rd identifier = der_enter(&info, DER_SEQUENCE);
	span oid = der_get(&identifier, DER_OID);
	span bits = der_get_bits(&info);
	der_leave(&d, &info);
	TRY(der_done(s, &d, "a SubjectPublicKeyInfo"));
	struct alg_public public = { 0 };
	for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
		if (!span_equal(*readers[i].oid, oid))
			continue;
		TRY(readers[i].parts(s, &identifier, bits, &public));
		*out = public;
		return OK;
	}
	return fail(s, E_CRYPTO, "this type of public key is not in the table of algorithms; use EC, RSA or Ed25519");
}

st alg_key_of_spki(struct scope *s, span spki, const struct alg_key **out)
{
	struct alg_public public;
	TRY(alg_public_of_spki(s, spki, &public));
	*out = public.key;
	return OK;
}

static st spki_finish(struct scope *s, span oid, void (*parameters)(struct der_wr *w, span value), span value, span bits,
		      span *out)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_begin(&w, DER_SEQUENCE);
	der_put_oid(&w, oid);
	parameters(&w, value);
	der_end(&w);
	der_put_bits(&w, bits);
	der_end(&w);
	TRY(der_finish(s, &w));
	span spki = scope_copy(s, buf_span(&b));
	const struct alg_key *ignored;
	TRY(alg_key_of_spki(s, spki, &ignored)); /* what we write must be what we accept */
	*out = spki;
	return OK;
}

static void put_null(struct der_wr *w, span value)
{
	(void)value;
	der_put_null(w);
}

static void put_nothing(struct der_wr *w, span value)
{
	(void)w;
	(void)value;
}

st alg_spki_ec(struct scope *s, const struct alg_key *key, span point, span *out)
{
	return spki_finish(s, oid_ec, der_put_oid, key->curve, point, out);
}

st alg_spki_rsa(struct scope *s, span modulus, span exponent, span *out)
{
	AUTO_BUF b = { 0 };
	struct der_wr w = der_write(&b);
	der_begin(&w, DER_SEQUENCE);
	der_put_unsigned(&w, modulus);
	der_put_unsigned(&w, exponent);
	der_end(&w);
	TRY(der_finish(s, &w));
	return spki_finish(s, oid_rsa, put_null, (span){ 0 }, buf_span(&b), out);
}

st alg_spki_ed25519(struct scope *s, span key, span *out)
{
	return spki_finish(s, oid_ed25519, put_nothing, (span){ 0 }, key, out);
}
