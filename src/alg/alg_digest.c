#include "alg.h"
#include "alg_oid.h"

static const struct digest_identifier {
	span oid;
	span identifier; /* AlgorithmIdentifier without parameters */
} digests[DIGEST_COUNT] = {
	[DIGEST_SHA1] = { OCTETS(OID_SHA1), OCTETS("\x30\x07\x06\x05" OID_SHA1) },
	[DIGEST_SHA256] = { OCTETS(OID_SHA256), OCTETS("\x30\x0b\x06\x09" OID_SHA256) },
	[DIGEST_SHA384] = { OCTETS(OID_SHA384), OCTETS("\x30\x0b\x06\x09" OID_SHA384) },
	[DIGEST_SHA512] = { OCTETS(OID_SHA512), OCTETS("\x30\x0b\x06\x09" OID_SHA512) },
};

enum digest_alg alg_digest_of_oid(span content)
{
	for (int i = DIGEST_NONE + 1; i < DIGEST_COUNT; i++)
		if (span_equal(digests[i].oid, content))
			return (enum digest_alg)i;
	return DIGEST_NONE;
}

//= rfc5754#2 parameters of SHA-2 are read absent or NULL, and written absent
enum digest_alg alg_digest_of_identifier(span whole)
{
	struct der_rd d = der_read(whole);
	struct der_rd inner = der_enter(&d, DER_SEQUENCE);
	span oid = der_get(&inner, DER_OID);
	if (der_next(&inner) == DER_NULL && der_get(&inner, DER_NULL).len != 0)
		return DIGEST_NONE;
	der_leave(&d, &inner);
	return d.bad || d.rest.len > 0 ? DIGEST_NONE : alg_digest_of_oid(oid);
}

span alg_digest_identifier(enum digest_alg digest)
{
	return digest < DIGEST_COUNT ? digests[digest].identifier : (span){ 0 };
}

span alg_digest_oid(enum digest_alg digest)
{
	return digest < DIGEST_COUNT ? digests[digest].oid : (span){ 0 };
}
