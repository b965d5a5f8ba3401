"""People with keys, and the provider that they found: whom keyd and ca take for founders, staff and custodians in these tests. What they sign
is in control_texts.py; no code of ours is in it."""
import base64
import json
import os

import control_texts as ct
import keyd_client as kc

AUTHORITY = "authority-member"
DAY = 86400


class Person:
    def __init__(self, id_):
        self.id, self.key, self.share_key = id_, ct.new_key(), ct.new_key()
        self.identity = ct.sha256(os.urandom(16) + b"Person " + id_.encode()).hex()

    @property
    def spki(self):
        return ct.b64(ct.spki(self.key))

    def approval(self, proposal, role, when=0):
        """The line of the operation's file."""
        return ct.approval_line(proposal, self.id, role, self.key, ct.moment(when))

    def enrolment(self, trained=-20 * DAY, shares=True, **more):
        """The parameters of person.enrol; a time or seconds from now. `more`: certificate_serial."""
        share = [("share-key", ct.b64(ct.spki(self.share_key)))] if shares else []
        serial = [("certificate-serial", more["certificate_serial"])] if more else []
        return [("person", self.id), ("key", self.spki), *share, *serial, ("identity", self.identity),
                ("screened", ct.moment(-40 * DAY)), ("trained", ct.moment(trained))]


def founding(founders, instances, quorum=2, shares=True):
    """The document that these persons signed. instances: {name: public key}"""
    text = ct.founding_text({p.id: (ct.spki(p.key), ct.spki(p.share_key) if shares else None, p.identity) for p in founders}, instances, quorum)
    return text + "\n" + "".join(f"signature: {p.id} {ct.b64(ct.sign(p.key, text))}\n" for p in founders)


class Operation:
    """A proposal with what is put to it."""

    def __init__(self, text, crl=None):
        self.text, self.crl, self.approvals = text, crl, []

    def approve(self, person, role=AUTHORITY, when=0, text=None):
        self.approvals.append(person.approval(text or self.text, role, when))
        return self

    def file(self):
        crl = f"crl: {ct.b64(self.crl)}\n" if self.crl else ""
        return self.text + "\n" + "".join(self.approvals) + crl

    def hash(self):
        return ct.sha256(self.text).hex()


class Provider:
    """A founding document and the register that grows from it, as whoever proposes keeps them."""

    def __init__(self, founders, instances, quorum=2):
        """instances: {name: public key, or a pair of keys}"""
        self.people = {p.id: p for p in founders}
        self.founding = founding(founders, {name: key if isinstance(key, bytes) else ct.spki(key) for name, key in instances.items()}, quorum)
        self.hash = ct.sha256(self.founding).hex()
        self.heads = [ct.sha256(self.founding)]
        self.file = "chancery register 1\n"

    @property
    def entries(self):
        return len(self.heads) - 1

    def proposal(self, operation, *parameters, instance="register", nonce=None, proposed=-60, life=3600, by=None, entries=None, head=None):
        """proposed and life: seconds, from now."""
        at = self.entries if entries is None else entries
        return ct.proposal_text(operation, instance, (nonce or os.urandom(16)).hex(), (at, (head or self.heads[at]).hex()),
                                by or next(iter(self.people)), proposed, proposed + life, parameters)

    def operation(self, proposal, approvals):
        """The file: `approvals` are (person, role), or lines that were made elsewhere."""
        return proposal + "\n" + "".join(a if isinstance(a, str) else self.people[a[0]].approval(proposal, a[1]) for a in approvals)

    def entered(self, operation):
        """It is in the register now."""
        self.heads.append(ct.next_head(self.heads[-1], operation))
        self.file += f"entry: {self.entries} {ct.moment()} {len(operation.encode())}\n{operation}\n"

    def enter(self, operation, *parameters):
        """By the first two founders."""
        self.entered(self.operation(self.proposal(operation, *parameters), [(person, AUTHORITY) for person in list(self.people)[:2]]))

    def enrol(self, person, trained=-DAY):
        self.people[person.id] = person
        return self.proposal("person.enrol", *person.enrolment(trained))


def open_share(person, share_file, statement_file, proposal):
    """What a custodian's token does: opens the share, and seals it to the key of the statement."""
    share, statement = ct.values(share_file), ct.values(statement_file)
    plain = ct.unseal(person.share_key, ct.share_context(share), base64.b64decode(share["sealed"]))
    return sealed_again(person, share["group"], share["index"], plain, statement, proposal)


def sealed_again(person, group, index, plain, statement, proposal):
    context = ct.lines("opened-share", ("instance", statement["instance"]), ("proposal", ct.sha256(proposal).hex()), ("group", group),
                       ("person", person.id), ("index", index))
    return context + f"sealed: {ct.b64(ct.seal(base64.b64decode(statement['key']), context, plain))}\n"


def put_on_record(auditd_socket, event, file, kind=1, when=0, **fields):
    """A record of an operation, as one who may write records can put it into the log; its index. Kind 4: as one of a journal, of that time."""
    known = dict({"operation": ct.values(file).get("operation", "role.grant"), "proposal": "00" * 32, "words": "words",
                  "file": ct.b64(file.encode())}, **fields)
    return put_record(auditd_socket, event, kind, when, **known)


def put_record(auditd_socket, event, kind=1, when=0, component="ca", **fields):
    """Any record with these fields; its index."""
    identity = os.urandom(16)
    record = dict(v=1, id=identity.hex(), time=ct.moment(when or 0), event=event, component=component, tx=os.urandom(16).hex(), **fields)
    client = kc.Client(auditd_socket)
    r = kc.Reader(client.call(kind, kc.u16(1) + identity + kc.counted(json.dumps(record, separators=(",", ":")))))
    client.close()
    assert (r.number(2), r.number(2)) == (1, 0), r.data
    return r.number(8)


def put_into_register(auditd_socket, provider, operation):
    """register.changed, as the ca writes it."""
    put_on_record(auditd_socket, "register.changed", operation, entry=provider.entries + 1, head="00" * 32, actor="flow")
    provider.entered(operation)
