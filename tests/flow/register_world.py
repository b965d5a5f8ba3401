"""Persons with keys, a founding document, proposals and approvals: the texts of operations with quorum, written from their description
(control_operation.h, control_register.h) with no code of ours, and a site of auditd and ca that keeps the register."""
import base64
import datetime
import hashlib
import json
import os
import struct
import subprocess

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import audit_world
import keyd_client as kc
from ca_world import World

AUTHORITY = "authority-member"
CONTROL = 5  # kind of a request for records of class control


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def moment(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Person:
    def __init__(self, number):
        self.id = f"p{number}"
        self.key = ec.generate_private_key(ec.SECP256R1())
        spki = self.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.spki = base64.b64encode(spki).decode()
        self.identity = hashlib.sha256(os.urandom(16) + b"Person " + self.id.encode()).hexdigest()

    def sign(self, text):
        return base64.b64encode(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode()


def founding(founders, quorum=2, provider="TEST Trust Service Provider"):
    lines = ["chancery founding 1", f"provider: {provider}", f"founded: {moment(now())}", f"quorum: {quorum}"]
    for p in founders:
        lines += [f"founder: {p.id}", f"key: {p.spki}", f"identity: {p.identity}"]
    text = "\n".join(lines) + "\n"
    return text + "\n" + "".join(f"signature: {p.id} {p.sign(text)}\n" for p in founders)


class Operation:
    """A proposal with what is put to it."""

    def __init__(self, text, crl=None):
        self.text, self.crl, self.approvals = text, crl, []

    def approve(self, person, role=AUTHORITY, when=None, text=None):
        text = text or self.text
        when = moment(when or now())
        head = (f"chancery approval 1\nperson: {person.id}\nrole: {role}\napproved: {when}\n"
                f"proposal: {hashlib.sha256(text.encode()).hexdigest()}\n\n")
        self.approvals.append(f"approval: {person.id} {role} {when} {person.sign(head + text)}\n")
        return self

    def file(self):
        crl = f"crl: {base64.b64encode(self.crl).decode()}\n" if self.crl else ""
        return self.text + "\n" + "".join(self.approvals) + crl

    def hash(self):
        return hashlib.sha256(self.text.encode()).hexdigest()


class Site:
    """auditd and a ca that keeps the register of the persons p0, p1, ...; p0 to p2 are the founders."""

    def __init__(self, extra="", build=None):
        self.person = [Person(i) for i in range(12)]
        self.auditd = audit_world.World(build=build)
        self.world = None
        self.extra, self.build = extra, build
        self.management_crl = None  # once the register has a management CA

    def __enter__(self):
        try:
            self.auditd.start_keyd()
            assert self.auditd.start(), self.auditd.stderr()
            self.world = World(audit=f"audit-socket = {self.auditd.socket}", build=self.build)
            document = founding(self.person[:3])
            self.founding = self.world.file("founding", document)
            self.founding_hash = hashlib.sha256(document.encode()).hexdigest()
            self.configure(self.extra)
            self.world.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def configure(self, extra="", digest=None):
        self.world.write_conf(f"founding = {self.founding}\nfounding-hash = {digest or self.founding_hash}\n{extra}")

    def __exit__(self, *unused):
        if self.world:
            self.world.remove()
        self.auditd.remove()

    def found_cas(self):
        """As they are before there is a founding document: from then on an operation sets up a CA."""
        self.world.ca.stop()
        self.world.write_conf(self.extra)
        self.world.ca.start()
        self.world.found_cas()
        self.world.ca.stop()
        self.configure(self.extra)
        self.world.ca.start()

    # ---- what the ca says ----
    def register(self, world=None):
        return (world or self.world).get("/v1/register")

    def roles(self, person, world=None):
        return next((p["roles"] for p in self.register(world)["persons"] if p["person"] == person.id), None)

    def propose(self, operation, *values, by=None, hours=1, instance="register", proposed=None, world=None, crl=None, **changes):
        given = (world or self.world).call("POST", "/v1/operations/nonce")[1]
        given.update(changes)
        crl = crl or self.management_crl
        proposed = proposed or now()
        named = f"{crl[0]} {hashlib.sha256(crl[1]).hexdigest()}" if crl else "none"
        lines = ["chancery proposal 1", f"operation: {operation}", f"instance: {instance}", f"nonce: {given['nonce']}",
                 f"register: {given['entries']} {given['head']}", f"management-crl: {named}", f"proposed-by: {(by or self.person[0]).id}",
                 f"proposed: {moment(proposed)}", f"expires: {moment(proposed + datetime.timedelta(hours=hours))}"]
        return Operation("\n".join(lines + [f"{name}: {value}" for name, value in values]) + "\n", crl[1] if crl else None)

    def execute(self, operation, world=None):
        return (world or self.world).call("POST", "/v1/operations", operation.file().encode(), "text/plain")[1]

    def by_founders(self, operation, *values, **more):
        made = self.propose(operation, *values, **more)
        return self.execute(made.approve(self.person[0]).approve(self.person[1]), more.get("world"))

    def enrol(self, person, trained=None, **more):
        values = [("person", person.id), ("key", person.spki), ("identity", person.identity),
                  ("screened", moment(now() - datetime.timedelta(days=40)))]
        values.append(("trained", moment(trained or now() - datetime.timedelta(days=20))))
        return self.by_founders("person.enrol", *values, **more)

    def grant(self, person, role, decision="d1", **more):
        return self.by_founders("role.grant", ("person", person.id), ("role", role), ("decision", decision), **more)

    def decide(self, decision="d1", **more):
        return self.by_founders("decision.take", ("decision", decision), ("title", "Who does what"), **more)

    # ---- what the log says ----
    def records(self, event=None):
        client = kc.Client(self.auditd.socket)
        found, total = [], 1
        while len(found) < total:
            r = kc.Reader(client.call(CONTROL, kc.u64(len(found)) + kc.u32(3)))
            total, count = r.number(8), r.number(4)
            for _ in range(count):
                index = r.number(8)
                envelope = json.loads(r.counted())
                assert envelope["seq"] == index
                found.append(envelope["record"])
        client.close()
        return [r for r in found if event in (None, r["event"])]

    def sqlite(self, *statements):
        return subprocess.run(["sqlite3", self.world.database, ";".join(statements)], check=True, capture_output=True, text=True).stdout


def append(site, event, operation, **fields):
    """A record of an operation, put into the log past those who would judge it; its index."""
    ident, text = os.urandom(16), operation if isinstance(operation, str) else operation.file()
    known = dict(fields, operation="role.grant", proposal="00" * 32, words="x", file=base64.b64encode(text.encode()).decode())
    record = json.dumps(dict(v=1, id=ident.hex(), time=moment(now()), event=event, component="ca", tx=ident.hex(), **known), separators=(",", ":"))
    client = kc.Client(site.auditd.socket)
    r = kc.Reader(client.call(1, struct.pack(">H", 1) + ident + kc.counted(record)))
    client.close()
    assert (r.number(2), r.number(2)) == (1, 0), r.data
    return r.number(8)
