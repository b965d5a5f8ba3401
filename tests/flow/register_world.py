"""A site of auditd and ca that keeps the register of persons, and the people of it (control_people.py)."""
import hashlib
import json
import subprocess

import audit_world
import keyd_client as kc
from ca_world import World
from control_people import AUTHORITY, DAY, Operation, Person, founding, put_on_record
from control_texts import b64, moment, now, proposal_text

CONTROL = 5  # kind of a request for records of class control
__all__ = ["AUTHORITY", "DAY", "Operation", "Person", "Site", "append", "moment", "now"]


class Site:
    """auditd and a ca that keeps the register of the persons p0, p1, ...; p0 to p2 are the founders."""
    shares = False  # whether the persons have keys for shares

    def instances(self):
        """{name: public key}, for the founding document; auditd runs."""
        return {}

    def __init__(self, extra="", build=None):
        self.person = [Person(f"p{i}") for i in range(12)]
        self.auditd = audit_world.World(build=build)
        self.world = None
        self.extra, self.build = extra, build
        self.management_crl = None  # once the register has a management CA

    def __enter__(self):
        try:
            self.auditd.start_keyd()
            assert self.auditd.start(), self.auditd.stderr()
            self.world = World(audit=f"audit-socket = {self.auditd.socket}", build=self.build)
            document = founding(self.person[:3], self.instances(), shares=self.shares)
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

    # ---- the management CA ----
    def new_crl(self):
        """A CRL of the management CA, made now: number and octets."""
        return self.world.post("/v1/cas/management/crls", {})["number"], self.world.call("GET", "/v1/cas/management/crl")[1]

    def naming(self, *more, certificate=None):
        """The parameters of management.certificate; the CA shows with a CRL that it can issue one."""
        crl = self.management_crl or self.new_crl()
        return [("certificate", certificate or self.certificate("management")), ("crl", b64(crl[1])), *more]

    def certificate(self, ca):
        return "".join(self.world.get("/v1/cas/" + ca)["certificate"].split("-----")[2].split())

    # ---- what the ca says ----
    def register(self, world=None):
        return (world or self.world).get("/v1/register")

    def roles(self, person, world=None):
        return next((p["roles"] for p in self.register(world)["persons"] if p["person"] == person.id), None)

    def propose(self, operation, *values, by=None, hours=1, instance="register", proposed=0, world=None, crl=None, **changes):
        given = changes.pop("given", None) or (world or self.world).call("POST", "/v1/operations/nonce")[1]
        given.update(changes)
        crl = crl or self.management_crl
        named = f"{crl[0]} {hashlib.sha256(crl[1]).hexdigest()}" if crl else "none"
        text = proposal_text(operation, instance, given["nonce"], (given["entries"], given["head"]), (by or self.person[0]).id, proposed,
                             proposed + 3600 * hours, values, named)
        return Operation(text, crl[1] if crl else None)

    def execute(self, operation, world=None):
        return (world or self.world).call("POST", "/v1/operations", operation.file().encode(), "text/plain")[1]

    def by_founders(self, operation, *values, **more):
        made = self.propose(operation, *values, **more)
        return self.execute(made.approve(self.person[0]).approve(self.person[1]), more.get("world"))

    def enrol(self, person, trained=-20 * DAY, certificate_serial=None, **more):
        serial = {"certificate_serial": certificate_serial} if certificate_serial else {}
        return self.by_founders("person.enrol", *person.enrolment(trained, self.shares, **serial), **more)

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
        return subprocess.run(["sqlite3", "-cmd", ".timeout 10000", self.world.database, ";".join(statements)], check=True, capture_output=True, text=True).stdout


APPEND, IMPORT = 1, 4


def append(site, event, operation, kind=APPEND, when=None, **fields):
    """A record of an operation, put into the log past those who would judge it; its index. Or as one of a journal, of that time."""
    text = operation if isinstance(operation, str) else operation.file()
    return put_on_record(site.auditd.socket, event, text, kind, when, **dict(fields, operation="role.grant", words="x"))
