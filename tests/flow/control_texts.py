"""The texts of operations with quorum, written and verified by another implementation than ours: from docs/dev/operations.md and the headers
of src/control, with python-cryptography."""
import base64
import datetime
import hashlib
import os

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ZERO = "0" * 64


def b64(octets):
    return base64.b64encode(octets).decode()


def sha256(octets):
    return hashlib.sha256(octets if isinstance(octets, bytes) else octets.encode()).digest()


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def spki(key):
    public = key.public_key() if hasattr(key, "public_key") else key
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def point(key):
    public = key.public_key() if hasattr(key, "public_key") else key
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def sign(key, text):
    return key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))


def verify(public_spki, text, signature):
    serialization.load_der_public_key(public_spki).verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def moment(when=0):
    """A time, or so many seconds from now."""
    at = when if isinstance(when, datetime.datetime) else now() + datetime.timedelta(seconds=when)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lines(kind, *pairs):
    return f"chancery {kind} 1\n" + "".join(f"{name}: {value}\n" for name, value in pairs)


def values(text):
    """{name: value} of a text's lines, the last of a name."""
    return dict(line.split(": ", 1) for line in text.splitlines()[1:] if ": " in line)


# ---- what people sign ----


def approval_text(proposal, person, role, approved):
    return lines("approval", ("person", person), ("role", role), ("approved", approved),
                 ("proposal", sha256(proposal).hex())) + "\n" + proposal


def approval_line(proposal, person, role, key, approved=None):
    approved = approved or moment()
    return f"approval: {person} {role} {approved} {b64(sign(key, approval_text(proposal, person, role, approved)))}\n"


def operation_of(file):
    """(proposal, [(person, role, time, signature)]) of an operation file."""
    proposal, _, behind = file.partition("\n\n")
    approvals = []
    for line in behind.splitlines():
        name, person, role, time, signature = line.split(" ")
        assert name == "approval:"
        approvals.append((person, role, time, base64.b64decode(signature, validate=True)))
    return proposal + "\n", approvals


def proposal_text(operation, instance, nonce, head, by, proposed, expires, parameters, crl="none"):
    """head: (entries, hash as hexadecimal)"""
    return lines("proposal", ("operation", operation), ("instance", instance), ("nonce", nonce), ("register", f"{head[0]} {head[1]}"),
                 ("management-crl", crl), ("proposed-by", by), ("proposed", moment(proposed)), ("expires", moment(expires)), *parameters)


def founding_text(founders, instances, quorum=2):
    """founders: {id: (key, share key or None, identity)}; instances: {name: key}; keys as SubjectPublicKeyInfo."""
    pairs = [("provider", "TEST Trust Service Provider"), ("founded", moment(-3600)), ("quorum", quorum)]
    for person, (key, share, identity) in founders.items():
        pairs += [("founder", person), ("key", b64(key))] + ([("share-key", b64(share))] if share else []) + [("identity", identity)]
    for name, key in instances.items():
        pairs += [("instance", name), ("instance-key", b64(key))]
    return lines("founding", *pairs)


def next_head(head, operation):
    return sha256(b"chancery register 1\n" + head + sha256(operation))


# ---- activation ----


def statement(key, activation_key, instance, nonce, proposal, group, life=1800):
    text = lines("activation", ("instance", instance), ("nonce", nonce), ("proposal", sha256(proposal).hex()), ("group", group),
                 ("key", b64(spki(activation_key))), ("expires", moment(life)))
    return text + "\n" + f"signature: {b64(sign(key, text))}\n"


def sealing_key(shared, ephemeral, recipient, context):
    both = HKDF(hashes.SHA256(), 44, ephemeral + recipient, context.encode()).derive(shared)
    return AESGCM(both[:32]), both[32:]


def seal(recipient_spki, context, secret):
    recipient, ephemeral = serialization.load_der_public_key(recipient_spki), new_key()
    gcm, iv = sealing_key(ephemeral.exchange(ec.ECDH(), recipient), point(ephemeral), point(recipient), context)
    return b"\x01" + point(ephemeral) + gcm.encrypt(iv, secret, context.encode())


def unseal(key, context, sealed):
    assert sealed[0] == 1
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[1:66])
    gcm, iv = sealing_key(key.exchange(ec.ECDH(), ephemeral), sealed[1:66], point(key), context)
    return gcm.decrypt(iv, sealed[66:], context.encode())


def commitment(context, share):
    return sha256(b"chancery commitment 1\n" + len(context).to_bytes(4, "big") + context.encode() + share)


def share_context(fields):
    return lines("share", *((name, fields[name]) for name in ("group", "person", "index", "threshold")))


def sealed_share(recipient_spki, group, person, index, threshold, octets):
    """(file, the share as octets)"""
    context = share_context({"group": group, "person": person, "index": index, "threshold": threshold})
    share = bytes([1, index, threshold]) + octets
    return context + f"commitment: {commitment(context, share).hex()}\nsealed: {b64(seal(recipient_spki, context, share))}\n", share


def opened_share(file):
    """({name: value}, context, approval line) of a custodian's file."""
    text, _, approval = file.partition("\n\n")
    context, _, sealed = text.rpartition("\nsealed: ")
    fields = values(text)
    assert fields["sealed"] == sealed
    return fields, context + "\n", approval


# ---- certificates ----


def self_signed_ca(organisation, name):
    key = new_key()
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, organisation), x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256()))
