"""What keyd is asked to sign: made with python-cryptography where it can, by hand where it cannot."""
import datetime
import hashlib
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

THROWAWAY = ec.generate_private_key(ec.SECP256R1())
POLICY = "1.3.6.1.4.1.99999.1"
OTHER_POLICY = "1.3.6.1.4.1.99999.2"
ORIGIN = "log.test/matrix"


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "BE"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


ISSUER = name("Matrix TEST CA")
OTHER = name("Another TEST CA")


def oid_content(text):
    arcs = [int(a) for a in text.split(".")]
    out = b""
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        part = bytes([arc & 0x7F])
        while arc > 0x7F:
            arc >>= 7
            part = bytes([0x80 | (arc & 0x7F)]) + part
        out += part
    return out


def tlv(tag, content):
    n = len(content)
    length = bytes([n]) if n < 0x80 else bytes([0x80 | (n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def inside(data):
    """The content of one TLV."""
    return data[2:] if data[1] < 0x80 else data[2 + (data[1] & 0x7F):]


def oid(text):
    return tlv(6, oid_content(text))


def integer(v):
    return tlv(2, v.to_bytes(v.bit_length() // 8 + 1, "big"))


def certificate(ca=False, issuer=ISSUER, days=30, policy=POLICY, serial=None, key=None, extra=()):
    builder = (x509.CertificateBuilder().subject_name(name("Subject TEST")).issuer_name(issuer)
               .public_key(key or THROWAWAY.public_key()).serial_number(serial or int.from_bytes(b"\x40" + os.urandom(15), "big"))
               .not_valid_before(now()).not_valid_after(now() + datetime.timedelta(days=days))
               .add_extension(x509.BasicConstraints(ca, None), critical=True)
               .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
               .add_extension(x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(policy), None)]), critical=False))
    for extension in extra:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(THROWAWAY, hashes.SHA256()).tbs_certificate_bytes


def crl(issuer=ISSUER, days=7, entries=3, number=5, reasons=True, made=None, revoked=()):
    made = made or now()
    builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(made).next_update(made + datetime.timedelta(days=days)))
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in [*revoked, *((1 << 100) + i for i in range(entries))]:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(made)
        if reasons:
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(THROWAWAY, hashes.SHA256()).tbs_certlist_bytes


def key_hash(spki):
    """SHA-1 of the bits of a P-256 SubjectPublicKeyInfo."""
    return hashlib.sha1(spki[-65:]).digest()


def generalized(when):
    return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())


def ocsp_response(spki, days=1, produced=None, status=b"\x80\x00"):
    """ResponseData by hand: the date it was produced is ours to choose."""
    sha1 = bytes.fromhex("300906052b0e03021a0500")
    cert_id = tlv(0x30, sha1 + tlv(4, b"n" * 20) + tlv(4, b"k" * 20) + integer(1 << 90))
    single = tlv(0x30, cert_id + status + generalized(now()) + tlv(0xA0, generalized(now() + datetime.timedelta(days=days))))
    return tlv(0x30, tlv(0xA2, tlv(4, key_hash(spki))) + generalized(produced or now()) + tlv(0x30, single))


def tst_info(policy=POLICY, accuracy_ms=500, off=0, serial=77, extensions=b"", digest=b"d" * 32):
    sha256 = bytes.fromhex("300b0609608648016503040201")
    accuracy = tlv(0x30, tlv(0x80, accuracy_ms.to_bytes(2, "big"))) if accuracy_ms < 1000 else tlv(0x30, integer(accuracy_ms // 1000))
    body = integer(1) + oid(policy) + tlv(0x30, sha256 + tlv(4, digest)) + integer(serial)
    body += generalized(now() + datetime.timedelta(seconds=off)) + accuracy + extensions
    return tlv(0x30, body)


CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
SIGNING_CERTIFICATE_V2, TST_INFO = "1.2.840.113549.1.9.16.2.47", "1.2.840.113549.1.9.16.1.4"


def attribute(kind, value):
    return tlv(0x30, oid(kind) + tlv(0x31, value))


def attributes_for(tst):
    return {CONTENT_TYPE: oid(TST_INFO), MESSAGE_DIGEST: tlv(4, hashlib.sha256(tst).digest()),
            SIGNING_CERTIFICATE_V2: tlv(0x30, tlv(0x30, tlv(0x30, tlv(4, b"c" * 32))))}


def signed_attributes(tst, change=None):
    values = attributes_for(tst)
    values.update(change or {})
    return tlv(0x31, b"".join(sorted(attribute(kind, value) for kind, value in values.items() if value is not None)))


def request(spki):
    """CertificationRequestInfo for this key: the signature a request has is not part of it."""
    subject = name("Matrix TEST request").public_bytes()
    return tlv(0x30, integer(0) + subject + spki + tlv(0xA0, b""))


def checkpoint_text(size, root):
    import base64
    return f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


TLS_CERTIFICATE_VERIFY = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + hashlib.sha256(b"transcript").digest()


def verify(spki, signature, message, algorithm="ecdsa-sha256"):
    key = serialization.load_der_public_key(spki)
    if algorithm == "ed25519":
        key.verify(signature, message)
    elif algorithm.startswith("ecdsa"):
        key.verify(signature, message, ec.ECDSA(getattr(hashes, algorithm[6:].upper())()))
    else:
        from cryptography.hazmat.primitives.asymmetric import padding
        scheme = padding.PKCS1v15() if "pkcs1" in algorithm else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        key.verify(signature, message, scheme, hashes.SHA256())


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(tree_root(leaves[:k]), tree_root(leaves[k:]))


def consistency(m, leaves, whole=True):
    """PROOF(m, D[n]) of RFC 6962 section 2.1.2."""
    n = len(leaves)
    if m == n:
        return b"" if whole else tree_root(leaves)
    k = 1 << ((n - 1).bit_length() - 1)
    if m <= k:
        return consistency(m, leaves[:k], whole) + tree_root(leaves[k:])
    return consistency(m - k, leaves[k:], False) + tree_root(leaves[:k])
