"""Everybody who carries operations out: a ca that keeps the register, and a keyd whose key groups are under quorum; with a management CA whose
CRL goes with every proposal. Spoken to at their sockets, with no tool of ours between."""
import base64
import datetime
import os
import shutil
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import control_people as cp
import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
from ca_world import Refused, until
from control_people import AUTHORITY, Operation, Person
from register_world import Site

CHALLENGE, OPEN, EXECUTE = 0x130, 0x131, 0x132
SECURITY, ADMINISTRATOR, OPERATOR, CUSTODIAN, AUDITOR = ("security-and-quality-manager", "pki-administrator", "pki-operator", "key-custodian",
                                                         "system-auditor")
STAFF = {"security": SECURITY, "administrator": ADMINISTRATOR, "operator": OPERATOR, "custodian1": CUSTODIAN, "custodian2": CUSTODIAN,
         "auditor1": AUDITOR, "auditor2": AUDITOR, "leaves": None, "subject": None, "spokes": "spokesperson", "admitted": None}
LAPSES_IN = 6  # seconds behind the enrolment
VAULT = "keyd/vault"


def crl_of(client, label, issuer, number, hours, revoked=()):
    """A CRL of so many hours ago, signed by the key that signs all of them: (number, octets)."""
    tbs = kd.crl(issuer=issuer, entries=0, number=number, revoked=revoked, made=kd.now() - datetime.timedelta(hours=hours))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = client.sign_stream(label, kc.CRL, "ecdsa-sha256", tbs)
    return number, kd.tlv(0x30, tbs + algorithm + kd.tlv(3, b"\0" + signature))


class Vault(Site):
    shares = True

    def instances(self):
        self.keyd = kc.Keyd(zone="vault", audit=f"audit-socket = {self.auditd.socket}", extra="token = identity", build=self.build)
        self.keyd.start()
        self.keyd.token("identity")
        client = self.keyd.client()
        identity = client.generate("identity", purposes=kc.IDENTITY)["spki"]
        client.close()
        assert self.keyd.stop() == 0
        return {VAULT: identity, "keyd/old": ct.spki(ct.new_key()), "keyd/other": ct.spki(ct.new_key())}

    def __enter__(self):
        self.keyd, self.refusals = None, 0
        super().__enter__()
        try:
            self.people = {p.id: p for p in self.person[:3]}
            with open(self.keyd.config, "a", encoding="utf-8") as f:
                f.write(f"founding = {self.founding}\nfounding-hash = {self.founding_hash}\n")
            self.decide()
            self.staff()
            self.keyd.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        super().__exit__()
        if self.keyd:
            self.keyd.remove()

    # ---- people ----
    def hire(self, name, role=None, **more):
        self.people[name] = person = Person(name)
        self.enrol(person, **more)
        if role == AUTHORITY:
            self.by_founders("authority.admit", ("person", name), ("quorum", 2))
        elif role:
            self.grant(person, role)

    def staff(self):
        """The right ones; and of each role that approves first, one whose training lapses, one whose role was taken, one whose certificate the
        management CA revoked."""
        for role in (SECURITY, OPERATOR):
            year_ago = ct.now().replace(year=ct.now().year - 1)
            self.hire("lapsed-" + role, role, trained=year_ago + datetime.timedelta(seconds=LAPSES_IN))
        for name, role in STAFF.items():
            self.hire(name, role)
        for role in (SECURITY, OPERATOR, AUTHORITY):
            self.hire("taken-" + role, role)
        for role in (SECURITY, OPERATOR):
            self.by_founders("role.revoke", ("person", "taken-" + role), ("role", role), ("reason", "left the team"))
        self.by_founders("authority.dismiss", ("person", "taken-" + AUTHORITY), ("quorum", 2))
        self.manage()
        until(lambda: not any(self.roles(self.people["lapsed-" + role]) for role in (SECURITY, OPERATOR)), LAPSES_IN + 5)

    def manage(self):
        """A management CA, and people with certificates of it; then the certificates are revoked."""
        self.create_ca("management", "management")
        serials = {role: self.world.component("of-" + role, "operator")["serial"] for role in (SECURITY, OPERATOR, AUTHORITY)}
        for role, serial in serials.items():
            self.hire("revoked-" + role, role, certificate_serial=serial)
        self.by_founders("management.certificate", *self.naming())
        for serial in serials.values():
            self.world.revoke(serial)
        self.management_crl = self.new_crl()

    def crl_of_ago(self, number, hours):
        """Of the management CA, whose key is at the ca's own keyd."""
        client = self.world.keyd.client()
        try:
            return crl_of(client, "management", x509.load_der_x509_certificate(base64.b64decode(self.certificate("management"))).subject, number, hours)
        finally:
            client.close()

    def create_ca(self, name, key):
        values = [("name", name), ("profile", "management-ca"), ("subject", f"O=Test Trust Services, CN=TEST {name}"), ("key", key), ("decision", "d1")]
        self.execute(self.approved(self.propose_to_ca("ca.create", *values), [("security", SECURITY), ("administrator", ADMINISTRATOR)]))

    def propose_to_ca(self, operation, *values, **more):
        return self.propose(operation, *values, instance="ca", **more)

    def elsewhere(self):
        """A CA that is run elsewhere."""
        certificate = ct.self_signed_ca("Test Trust Services", "TEST Elsewhere")
        return [("subject", "O=Test Trust Services, CN=TEST Elsewhere"), ("certificate", ct.b64(certificate.public_bytes(serialization.Encoding.DER)))]

    def serial(self, name):
        """Of the certificate of a CA that signed it itself."""
        return format(x509.load_pem_x509_certificate(self.world.get("/v1/cas/" + name)["certificate"].encode()).serial_number, "x").zfill(32)

    # ---- keyd ----
    def call(self, kind, body=b""):
        client = self.keyd.client()
        try:
            return kc.Reader(client.call(kind, body))
        finally:
            client.close()

    def challenge(self):
        r = self.call(CHALLENGE)
        assert r.text() == VAULT
        return {"nonce": r.raw(16).hex(), "entries": r.number(8), "head": r.raw(32).hex()}

    def propose_to_keyd(self, operation, *values, **more):
        return self.propose(operation, *values, instance=VAULT, given=more.pop("given", None) or self.challenge(), **more)

    def execute_at_keyd(self, operation, shares=()):
        return self.call(EXECUTE, kc.counted(operation.file()) + kc.u16(len(shares)) + b"".join(kc.counted(s) for s in shares)).text()

    def open(self, operation):
        r = self.call(OPEN, kc.counted(operation.file()))
        return r.counted().decode(), [r.counted().decode() for _ in range(r.number(2))]

    def approved(self, operation, approvers, when=0):
        for name, role in approvers:
            operation.approve(self.people[name], role, when)
        return operation

    def opened_shares(self, operation, statement, shares):
        """As each custodian's token would give it."""
        of = {ct.values(share)["person"]: share for share in shares}
        return [cp.open_share(self.people[name], of[name], statement, operation.text) for name in ("custodian1", "custodian2")]

    # ---- bringing an operation: what is refused, nothing when it was done ----
    def tried(self, call, *arguments):
        try:
            return call(*arguments), []
        except kc.Refused as refused:
            refusal = (refused.code, refused.message)
        except Refused as refused:
            refusal = (refused.code, refused.problem["detail"])
        self.refusals += 1
        return None, [refusal]

    def bring_to_register(self, operation):
        return self.tried(self.execute, operation)[1]

    def bring_to_keyd(self, operation):
        return self.tried(self.execute_at_keyd, operation)[1]

    def bring_activation(self, operation):
        """At both doors: as it is to OPEN; and to EXECUTE, with the shares that the right openers and custodians would have in their hands."""
        opened, refusals = self.tried(self.open, operation)
        if not opened:
            right = self.approved(Operation(operation.text, operation.crl), [("operator", OPERATOR), ("administrator", ADMINISTRATOR)])
            opened, _ = self.tried(self.open, right)
        shares = self.opened_shares(operation, *opened) if opened else []
        return refusals + self.tried(self.execute_at_keyd, operation, shares)[1]

    # ---- what there is ----
    def contents(self):
        client = self.keyd.client()
        try:
            keys = {key["label"]: client.entry(key["label"])["state"] for key in client.list()}
            tokens = {label: ready for label, (ready, _) in client.status()["tokens"].items()}
        finally:
            client.close()
        cas = [{k: ca.get(k) for k in ("name", "state", "crl_hours")} for ca in self.world.get("/v1/cas")["cas"]]
        revoked = [c["serial"] for c in self.world.get("/v1/certificates?state=revoked&ca=doomed")["certificates"]]
        return {"register": self.register(), "cas": cas, "revoked": revoked, "keys": keys, "tokens": tokens, "CA certificate": self.certifies(),
                "groups": self.shares()}

    def shares(self):
        """SHA-256 of each custodian's file, of every group."""
        groups = os.path.join(self.keyd.directory, "state", "groups")
        files = {group: sorted(os.listdir(os.path.join(groups, group))) for group in os.listdir(groups)}
        return {group: [self.sha256_of(os.path.join(groups, group, name)) for name in names] for group, names in files.items()}

    @staticmethod
    def sha256_of(path):
        with open(path, "rb") as f:
            return ct.sha256(f.read()).hex()

    def certifies(self):
        """Whether the key `ca` signs a certificate of a CA now."""
        client = self.keyd.client()
        try:
            return bool(client.sign("ca", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate(ca=True)))
        except kc.Refused:
            return False
        finally:
            client.close()

    def fingerprint(self, key):
        client = self.keyd.client()
        try:
            return ct.sha256(client.find(key)["spki"]).hex()
        finally:
            client.close()

    def use(self, key):
        client = self.keyd.client()
        client.sign(key, kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())
        client.close()

    # ---- the state of keyd ----
    def keep_state(self):
        state = os.path.join(self.keyd.directory, "state", "control")
        shutil.copy(state, state + ".yesterday")

    def put_state_back(self):
        state = os.path.join(self.keyd.directory, "state", "control")
        assert self.keyd.stop() == 0
        shutil.copy(state + ".yesterday", state)
        self.keyd.start()

    def rebuild_state(self):
        assert self.keyd.stop() == 0
        subprocess.run([self.keyd.program, "--config", self.keyd.config, "rebuild-control"], check=True, stdout=subprocess.DEVNULL)
        self.keyd.start()
