/*
 * control_share.h - activation data in parts: a secret is split so that any `threshold` of `count` custodians have it together and fewer
 * have nothing, and each share is sealed to one custodian's token (practice statement 6.2.2, 6.2.8, 6.4).
 */
#pragma once
#include "buf.h"

#define CONTROL_SECRET_MAX 64 /* octets of a secret */
#define CONTROL_SHARES_MAX 16
#define CONTROL_SEALED_MAX 512
#define CONTROL_COMMITMENT 32

/* One point of the polynomials over GF(256), one for each octet of the secret. */
struct control_share {
	uint8_t index; /* 1 to count */
	uint8_t threshold;
	uint8_t octets[CONTROL_SECRET_MAX];
	size_t len;
};
/* `out` has room for `count` shares; the caller keeps them in locked memory and wipes them. 2 <= threshold <= count <=
 * CONTROL_SHARES_MAX, else E_INPUT. The coefficients come from the scope's randomness. */
//= tsps#6.2.2 two custodians at least
st control_split(struct scope *s, span secret, unsigned threshold, unsigned count, struct control_share *out);
/* Any `threshold` of the shares or more; all must be of one secret. E_INPUT when there are too few, two have one index, or lengths or
 * thresholds differ. What comes out of wrong shares is another secret: compare with the commitments first. `out` is wiped by its owner. */
st control_join(struct scope *s, const struct control_share *share, size_t count, struct buf *out_secret);
/* What a share can be recognised by without saying anything of it: SHA-256 over "chancery commitment 1\n", the length of the context (32 bits),
 * the context and the share as octets, of which as many are random as the secret has. Secrets are 16 octets at least, else E_INPUT. */
st control_share_commitment(struct scope *s, const struct control_share *share, span context, uint8_t out[CONTROL_COMMITMENT]);
/* As octets: version, index, threshold, octets. */
st control_share_write(struct scope *s, const struct control_share *share, struct buf *out);
st control_share_read(struct scope *s, span octets, struct control_share *out);

/* Seals to a P-256 key. HKDF-SHA256 of the x coordinate of the shared point, with salt = ephemeral point || recipient's point (uncompressed)
 * and the context as info, gives 44 octets: the key and the initial value of AES-256-GCM, which has the context as associated data. As
 * octets: version 1, the ephemeral point (65), ciphertext, tag (16). E_CRYPTO: no key of P-256; E_LIMIT: no room, or no context. */
st control_seal(struct scope *s, span recipient_spki, span context, span secret, struct buf *out);
/* Who holds the private key: the x coordinate of the shared point (PKCS#11 CKM_ECDH1_DERIVE with CKD_NULL, or libcrypto). */
struct control_opener {
	span spki; /* of the same key */
	st (*derive)(struct scope *s, void *state, span peer_point, uint8_t out[32]);
	void *state;
};
/* E_CRYPTO when it was sealed to another key, with another context, or changed. */
st control_unseal(struct scope *s, const struct control_opener *opener, span context, span sealed, struct buf *out_secret);

/* A pair of this process's own, for who opens without a token: it lives for one activation. The scalar stays in the caller's locked
 * memory, and the caller wipes it. */
#define CONTROL_SCALAR 32
st control_pair_new(struct scope *s, uint8_t out_scalar[CONTROL_SCALAR], span *out_spki);
/* `derive` of such a pair; the state is the scalar. E_CRYPTO when the peer's point does not lie on the curve. */
st control_pair_derive(struct scope *s, void *scalar, span peer_point, uint8_t out[32]);
