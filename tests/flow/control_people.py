"""People who approve, written from control_operation.h, control_register.h, control_share.h and control_activation.h alone, with no code of
ours in it: founding documents, proposals, approvals, shares. What keyd and ca accept from here is what the documents say."""
import base64
import datetime
import hashlib
import json
import os

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import keyd_client as kc

HOUR, SECOND = datetime.timedelta(hours=1), datetime.timedelta(seconds=1)


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def point(key):
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def b64(octets):
    return base64.b64encode(octets).decode()


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def moment(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lines(kind, rows):
    return f"chancery {kind} 1\n" + "".join(f"{name}: {value}\n" for name, value in rows)


class Person:
    def __init__(self, name):
        self.name = name
        self.key, self.share_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def sign(self, text):
        return b64(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))

    def approval(self, proposal, role, when=None):
        """The line of the operation's file."""
        when = moment(when or now())
        text = lines("approval", [("person", self.name), ("role", role), ("approved", when),
                                  ("proposal", hashlib.sha256(proposal.encode()).hexdigest())]) + "\n" + proposal
        return f"approval: {self.name} {role} {when} {self.sign(text)}\n"


def message_key(shared, ephemeral, recipient, context):
    octets = HKDF(hashes.SHA256(), 44, ephemeral + recipient, context).derive(shared)
    return AESGCM(octets[:32]), octets[32:]


def seal(recipient, context, secret):
    """To a public key."""
    pair = ec.generate_private_key(ec.SECP256R1())
    ephemeral = point(pair.public_key())
    gcm, iv = message_key(pair.exchange(ec.ECDH(), recipient), ephemeral, point(recipient), context)
    return b"\x01" + ephemeral + gcm.encrypt(iv, secret, context)


def unseal(key, context, sealed):
    assert sealed[0] == 1
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[1:66])
    gcm, iv = message_key(key.exchange(ec.ECDH(), peer), sealed[1:66], point(key.public_key()), context)
    return gcm.decrypt(iv, sealed[66:], context)


def values(text):
    return dict(line.split(": ", 1) for line in text.splitlines()[1:] if ": " in line)


def share_context(share):
    return lines("share", [(name, share[name]) for name in ("group", "person", "index", "threshold")]).encode()


def open_share(person, share_file, statement_file, proposal):
    """What a custodian's token does: opens the share, and seals it to the key of the statement."""
    share, statement = values(share_file), values(statement_file)
    plain = unseal(person.share_key, share_context(share), base64.b64decode(share["sealed"]))
    rows = [("instance", statement["instance"]), ("proposal", hashlib.sha256(proposal.encode()).hexdigest()), ("group", share["group"]),
            ("person", person.name), ("index", share["index"])]
    recipient = serialization.load_der_public_key(base64.b64decode(statement["key"]))
    return lines("opened-share", rows + [("sealed", b64(seal(recipient, lines("opened-share", rows).encode(), plain)))])


class Provider:
    """A founding document and the register that grows from it, as whoever proposes keeps them."""

    def __init__(self, founders, instances, quorum=2):
        self.people = {p.name: p for p in founders}
        rows = [("provider", "Flow Trust Service Provider (TEST)"), ("founded", moment(now() - HOUR)), ("quorum", quorum)]
        for p in founders:
            rows += [("founder", p.name), ("key", b64(spki(p.key))), ("share-key", b64(spki(p.share_key))), ("identity", "00" * 32)]
        for name, public in instances:
            rows += [("instance", name), ("instance-key", b64(public))]
        text = lines("founding", rows)
        self.founding = text + "\n" + "".join(f"signature: {p.name} {p.sign(text)}\n" for p in founders)
        self.hash = hashlib.sha256(self.founding.encode()).hexdigest()
        self.head = bytes.fromhex(self.hash)
        self.entries = 0
        self.file = "chancery register 1\n"

    def proposal(self, operation, *parameters, instance="register", nonce=None, proposed=None, life=HOUR, by=None, entries=None, head=None, crl="none"):
        proposed = proposed or now()
        return lines("proposal", [("operation", operation), ("instance", instance), ("nonce", (nonce or os.urandom(16)).hex()),
                                  ("register", f"{self.entries if entries is None else entries} {(head or self.head).hex()}"), ("management-crl", crl),
                                  ("proposed-by", by or next(iter(self.people))), ("proposed", moment(proposed)), ("expires", moment(proposed + life)),
                                  *parameters])

    def operation(self, proposal, approvals):
        """The file: `approvals` are (person, role), or lines that were made elsewhere."""
        return proposal + "\n" + "".join(a if isinstance(a, str) else self.people[a[0]].approval(proposal, a[1]) for a in approvals)

    def entered(self, operation):
        """It is in the register now."""
        self.head = hashlib.sha256(b"chancery register 1\n" + self.head + hashlib.sha256(operation.encode()).digest()).digest()
        self.entries += 1
        self.file += f"entry: {self.entries} {moment(now())} {len(operation.encode())}\n{operation}\n"

    def enrol(self, person, trained=None):
        self.people[person.name] = person
        trained = moment(trained or now() - 24 * HOUR)
        return self.proposal("person.enrol", ("person", person.name), ("key", b64(spki(person.key))), ("share-key", b64(spki(person.share_key))),
                             ("identity", "00" * 32), ("screened", moment(now() - 48 * HOUR)), ("trained", trained))


def put_on_record(auditd_socket, provider, operation):
    """register.changed, as the ca writes it."""
    identity = os.urandom(16)
    record = {"v": 1, "id": identity.hex(), "time": moment(now()), "event": "register.changed", "component": "ca", "tx": os.urandom(16).hex(),
              "entry": provider.entries + 1, "head": "00" * 32, "operation": values(operation)["operation"], "proposal": "00" * 32, "words": "words",
              "file": b64(operation.encode()), "actor": "flow"}
    body = json.dumps(record, separators=(",", ":")).encode()
    client = kc.Client(auditd_socket)
    r = kc.Reader(client.call(1, kc.u16(1) + identity + kc.counted(body)))
    client.close()
    assert r.number(2) == 1
    code = r.number(2)
    assert code == 0, r.counted()
    provider.entered(operation)
