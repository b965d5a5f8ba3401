/*
 * alg_oid.h - content octets of the object identifiers of algorithms, for the tables of this module.
 */
#pragma once

#define OID_PKCS1           "\x2a\x86\x48\x86\xf7\x0d\x01\x01"
#define OID_RSA_ENCRYPTION  OID_PKCS1 "\x01" /* 1.2.840.113549.1.1.1 */
#define OID_MGF1            OID_PKCS1 "\x08" /* 1.2.840.113549.1.1.8 */
#define OID_RSASSA_PSS      OID_PKCS1 "\x0a" /* 1.2.840.113549.1.1.10 */
#define OID_SHA256_WITH_RSA OID_PKCS1 "\x0b" /* 1.2.840.113549.1.1.11 */
#define OID_SHA384_WITH_RSA OID_PKCS1 "\x0c" /* 1.2.840.113549.1.1.12 */
#define OID_X962            "\x2a\x86\x48\xce\x3d"
#define OID_EC_PUBLIC_KEY   OID_X962 "\x02\x01"                    /* 1.2.840.10045.2.1 */
#define OID_P256            OID_X962 "\x03\x01\x07"                /* 1.2.840.10045.3.1.7 */
#define OID_ECDSA_SHA256    OID_X962 "\x04\x03\x02"                /* 1.2.840.10045.4.3.2 */
#define OID_ECDSA_SHA384    OID_X962 "\x04\x03\x03"                /* 1.2.840.10045.4.3.3 */
#define OID_ECDSA_SHA512    OID_X962 "\x04\x03\x04"                /* 1.2.840.10045.4.3.4 */
#define OID_P384            "\x2b\x81\x04\x00\x22"                 /* 1.3.132.0.34 */
#define OID_P521            "\x2b\x81\x04\x00\x23"                 /* 1.3.132.0.35 */
#define OID_BRAINPOOLP512R1 "\x2b\x24\x03\x03\x02\x08\x01\x01\x0d" /* 1.3.36.3.3.2.8.1.1.13 */
#define OID_ED25519         "\x2b\x65\x70"                         /* 1.3.101.112 */
#define OID_SHA1            "\x2b\x0e\x03\x02\x1a"                 /* 1.3.14.3.2.26 */
#define OID_NIST_HASH       "\x60\x86\x48\x01\x65\x03\x04\x02"
#define OID_SHA256          OID_NIST_HASH "\x01" /* 2.16.840.1.101.3.4.2.1 */
#define OID_SHA384          OID_NIST_HASH "\x02"
#define OID_SHA512          OID_NIST_HASH "\x03"

/* A span over a string literal that may serve as a constant initialiser. */
/* clang-format off */
#define OCTETS(literal) { .data = (const uint8_t *)(literal), .len = sizeof(literal) - 1 }
/* clang-format on */
