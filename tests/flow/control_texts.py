"""The texts of operations with quorum, written and verified by another implementation than ours: from docs/dev/operations.md and the headers
of src/control, with python-cryptography."""
import base64
import datetime
import hashlib
import os

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


def moment(seconds=0):
    """So many seconds from now."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lines(kind, *pairs):
    return f"chancery {kind} 1\n" + "".join(f"{name}: {value}\n" for name, value in pairs)


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


def founding_text(founders, instances, quorum=2):
    """founders: {id: (key, share key or None)}; instances: {name: key}; keys as SubjectPublicKeyInfo."""
    pairs = [("provider", "Demo Trust Service Provider"), ("founded", moment(-3600)), ("quorum", quorum)]
    for person, (key, share) in founders.items():
        pairs += [("founder", person), ("key", b64(key))] + ([("share-key", b64(share))] if share else []) + [("identity", ZERO)]
    for name, key in instances.items():
        pairs += [("instance", name), ("instance-key", b64(key))]
    return lines("founding", *pairs)


class Register:
    """A register that two founders with keys in software build up, written down as it grows."""

    def __init__(self, founders, instances):
        self.founders = founders
        text = founding_text({p: (spki(k), None) for p, k in founders.items()}, {n: spki(k) for n, k in instances.items()})
        self.founding = text + "\n" + "".join(f"signature: {p} {b64(sign(k, text))}\n" for p, k in founders.items())
        self.heads = [sha256(self.founding)]
        self.file = "chancery register 1\n"

    def proposal(self, operation, *parameters, instance="register", nonce=None, life=3600, proposed=None, entries=None):
        at = len(self.heads) - 1 if entries is None else entries
        proposed_at = -60 if proposed is None else proposed
        return lines("proposal", ("operation", operation), ("instance", instance), ("nonce", nonce or os.urandom(16).hex()),
                     ("register", f"{at} {self.heads[at].hex()}"), ("management-crl", "none"), ("proposed-by", "p1"),
                     ("proposed", moment(proposed_at)), ("expires", moment(proposed_at + life)), *parameters)

    def enter(self, operation, *parameters):
        proposal = self.proposal(operation, *parameters)
        signed = proposal + "\n" + "".join(approval_line(proposal, p, "authority-member", k) for p, k in self.founders.items())
        self.file += f"entry: {len(self.heads)} {moment()} {len(signed)}\n{signed}\n"
        self.heads.append(sha256(b"chancery register 1\n" + self.heads[-1] + sha256(signed)))


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


def sealed_share(recipient_spki, group, person, index, threshold, octets):
    """(file, the share as octets)"""
    pairs = [("group", group), ("person", person), ("index", index), ("threshold", threshold)]
    context, share = lines("share", *pairs), bytes([1, index, threshold]) + octets
    return lines("share", *pairs, ("commitment", commitment(context, share).hex()), ("sealed", b64(seal(recipient_spki, context, share)))), share


def opened_share(file):
    """({name: value}, context, approval line) of a custodian's file."""
    text, _, approval = file.partition("\n\n")
    context, _, sealed = text.rpartition("\nsealed: ")
    fields = dict(line.split(": ", 1) for line in text.splitlines()[1:])
    assert fields["sealed"] == sealed
    return fields, context + "\n", approval
