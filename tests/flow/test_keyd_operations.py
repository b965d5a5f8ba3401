"""Key groups that no one person and no one process can use: created, activated and deactivated by a quorum, as seen on keyd's socket."""
import base64
import datetime
import glob
import os
import shutil
import signal
import struct
import subprocess
import time

import audit_world
import control_people as cp
import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
import pytest

CHALLENGE, OPEN, EXECUTE = 0x130, 0x131, 0x132
FOUNDERS = ["p0", "p1", "p2"]
ROLES = {"p3": "pki-operator", "p4": "pki-administrator", "p5": "key-custodian", "p6": "key-custodian", "p7": "key-custodian",
         "p8": "security-and-quality-manager", "p10": "system-auditor"}


class World:
    """auditd, and a keyd of a zone whose groups are under quorum, founded by three and staffed."""

    def __init__(self):
        self.audit = audit_world.World()
        self.audit.start_keyd()
        assert self.audit.start()
        self.keyd = kc.Keyd(zone="ca", audit=f"audit-socket = {self.audit.socket}", extra="token = identity")
        self.keyd.start()
        self.keyd.token("identity")
        client = self.keyd.client()
        identity = client.generate("identity", type="ec-p256", purposes=kc.IDENTITY)["spki"]
        client.close()
        self.keyd.stop()
        self.provider = cp.Provider([cp.Person(name) for name in FOUNDERS], {"keyd/ca": identity})
        self.configure()
        self.keyd.start()
        self.staff()

    def configure(self, hash_=None):
        founding = os.path.join(self.keyd.directory, "founding")
        with open(founding, "w", encoding="utf-8") as f:
            f.write(self.provider.founding)
        with open(self.keyd.config, "a") as f:
            f.write(f"founding = {founding}\nfounding-hash = {hash_ or self.provider.hash}\n")

    def register(self, proposal, approvals=(("p0", "authority-member"), ("p1", "authority-member"))):
        cp.put_into_register(self.audit.socket, self.provider, self.provider.operation(proposal, approvals))

    def staff(self):
        self.register(self.provider.proposal("decision.take", ("decision", "d1"), ("title", "Founding")))
        for name, role in ROLES.items():
            self.register(self.provider.enrol(cp.Person(name)))
            self.register(self.provider.proposal("role.grant", ("person", name), ("role", role), ("decision", "d1")))

    def call(self, kind, body=b""):
        client = self.keyd.client()
        try:
            return kc.Reader(client.call(kind, body))
        finally:
            client.close()

    def challenge(self):
        r = self.call(CHALLENGE)
        out = {"instance": r.text(), "nonce": r.raw(16), "entries": r.number(8), "head": r.raw(32), "crl": r.number(8)}
        assert out["instance"] == "keyd/ca"
        return out

    def propose(self, operation, *parameters, **more):
        return self.provider.proposal(operation, *parameters, instance="keyd/ca", nonce=more.pop("nonce", None) or self.challenge()["nonce"], **more)

    def execute(self, operation, shares=()):
        body = kc.counted(operation) + kc.u16(len(shares)) + b"".join(kc.counted(s) for s in shares)
        return self.call(EXECUTE, body).text()

    def open(self, operation):
        r = self.call(OPEN, kc.counted(operation))
        return r.counted().decode(), [r.counted().decode() for _ in range(r.number(2))]

    def create_group(self, name="issuing", custodians=("p5", "p6", "p7"), threshold=2):
        proposal = self.propose("group.create", ("group", name), ("threshold", threshold), *[("custodian", c) for c in custodians], ("decision", "d1"))
        return self.execute(self.provider.operation(proposal, [("p4", "pki-administrator"), ("p8", "security-and-quality-manager")]))

    def opened(self, group="issuing", openers=(("p3", "pki-operator"), ("p4", "pki-administrator"))):
        proposal = self.propose("group.activate", ("group", group))
        lines = [self.provider.people[name].approval(proposal, role) for name, role in openers]
        statement, shares = self.open(self.provider.operation(proposal, lines))
        return proposal, lines, statement, shares

    def brought(self, proposal, statement, shares, custodians=("p5", "p6")):
        """Approvals and opened shares of custodians."""
        by_person = {ct.values(s)["person"]: s for s in shares}
        people = [self.provider.people[name] for name in custodians]
        return ([p.approval(proposal, "key-custodian") for p in people],
                [cp.open_share(p, by_person[p.id], statement, proposal) for p in people])

    def activate(self, group="issuing", custodians=("p5", "p6")):
        proposal, lines, statement, shares = self.opened(group)
        more, opened = self.brought(proposal, statement, shares, custodians)
        return self.execute(self.provider.operation(proposal, lines + more), opened)

    def generate(self, key="issuing", group="issuing", *limits):
        proposal = self.propose("key.generate", ("group", group), ("key", key), ("type", "ec-p256"), ("purpose", "request"), ("purpose", "certificate"),
                                ("backup", "none"), *limits, ("decision", "d1"))
        return self.execute(self.provider.operation(proposal, [("p4", "pki-administrator"), ("p8", "security-and-quality-manager")]))

    def state_of(self, group="issuing"):
        client = self.keyd.client()
        try:
            return client.status()["tokens"][group]
        finally:
            client.close()

    def records(self, event=None):
        assert self.audit.settled()
        return [e["record"] for e in audit_world.verify_log(self.audit.log, self.audit.spki) if event in (None, e["record"]["event"])]

    def remove(self):
        self.keyd.stop(signal.SIGKILL)
        self.keyd.remove()
        self.audit.remove()


@pytest.fixture
def world():
    w = World()
    yield w
    w.remove()


def refused(code, call, *arguments):
    with pytest.raises(kc.Refused) as failure:
        call(*arguments)
    assert failure.value.code == code, failure.value
    return failure.value.message


def test_four_distinct_persons_activate_a_group_and_after_a_restart_it_is_locked(world):
    assert world.create_group().startswith("Initialise a token for the key group issuing")
    ready, reason = world.state_of()
    assert not ready and "group.activate" in reason
    refused("STATE", world.generate)
    world.activate()
    assert world.state_of() == (True, "")
    world.generate()
    client = world.keyd.client()
    assert client.find("issuing")["usable"]
    client.close()
    assert world.keyd.stop() == 0
    world.keyd.start()
    ready, reason = world.state_of()
    assert not ready and "group.activate" in reason
    world.activate(custodians=("p7", "p6"))
    assert world.state_of() == (True, "")
    executed = world.records("operation.executed")
    assert [r["operation"] for r in executed] == ["group.create", "group.activate", "key.generate", "group.activate"]
    assert [r["sequence"] for r in executed] == [1, 2, 3, 4]
    assert len(world.records("group.activated")) == 2


def test_two_deactivate_and_nothing_is_signed_any_more(world):
    world.create_group()
    world.activate()
    world.generate()
    proposal = world.propose("group.deactivate", ("group", "issuing"), ("reason", "end of the day"))
    refused("DENIED", world.execute, world.provider.operation(proposal, [("p3", "pki-operator")]))
    world.execute(world.provider.operation(proposal, [("p3", "pki-operator"), ("p8", "security-and-quality-manager")]))
    assert not world.state_of()[0]
    client = world.keyd.client()
    with pytest.raises(kc.Refused):
        client.sign("issuing", kc.REQUEST, "ecdsa-sha256", b"0")
    assert not client.find("issuing")["usable"]
    client.close()
    assert world.records("group.deactivated")[0]["reason"] == "end of the day"


# What is wrong with an operation that has everything else right. Each gives (proposal, approvals) and the code it is refused with.
def nobody(w, proposal, good):
    return "DENIED", proposal, []


def one_person(w, proposal, good):
    return "DENIED", proposal, good[:1]


def the_same_person_twice(w, proposal, good):
    return "DENIED", proposal, [good[0], (good[0][0], good[1][1])]


def two_of_the_wrong_group(w, proposal, good):
    return "DENIED", proposal, [("p10", "system-auditor"), ("p5", "key-custodian")]


def who_holds_the_role_not(w, proposal, good):
    return "DENIED", proposal, [("p10", good[0][1]), good[1]]


def lapsed_training(w, proposal, good):
    """Granted while the training was 12 months old all but two seconds, approved after."""
    year = ct.now().replace(year=ct.now().year - 1)
    w.register(w.provider.enrol(cp.Person("p12"), year + datetime.timedelta(seconds=2)))
    w.register(w.provider.proposal("role.grant", ("person", "p12"), ("role", good[0][1]), ("decision", "d1")))
    time.sleep(2.5)
    return "DENIED", proposal_of(w), [("p12", good[0][1]), good[1]]


def revoked_operator(w, proposal, good):
    w.register(w.provider.proposal("role.revoke", ("person", good[0][0]), ("role", good[0][1]), ("reason", "left the team")))
    return "DENIED", proposal, good


def expired_proposal(w, proposal, good):
    return "STATE", proposal_of(w, proposed=-7200), good


def changed_parameter(w, proposal, good):
    lines = [w.provider.people[name].approval(proposal, role) for name, role in good]
    return "CRYPTO", proposal.replace("group: second", "group: other"), lines


def replayed_approval(w, proposal, good):
    lines = [w.provider.people[name].approval(proposal, role) for name, role in good]
    w.execute(w.provider.operation(proposal, lines))
    return "STATE", proposal, lines


def approvals_of_another_proposal(w, proposal, good):
    other = proposal_of(w)
    return "CRYPTO", proposal, [w.provider.people[name].approval(other, role) for name, role in good]


def another_instances_proposal(w, proposal, good):
    return "DENIED", proposal.replace("instance: keyd/ca", "instance: keyd/status"), good


def a_nonce_that_was_not_given_out(w, proposal, good):
    return "STATE", proposal_of(w, nonce=os.urandom(16)), good


def a_register_that_never_was(w, proposal, good):
    return "STATE", proposal_of(w, head=os.urandom(32)), good


def a_decision_that_was_not_taken(w, proposal, good):
    return "DENIED", proposal_of(w, decision="d2"), good


GOOD = [("p4", "pki-administrator"), ("p8", "security-and-quality-manager")]
WRONG = [nobody, one_person, the_same_person_twice, two_of_the_wrong_group, who_holds_the_role_not, lapsed_training, revoked_operator, expired_proposal, changed_parameter,
         replayed_approval, approvals_of_another_proposal, another_instances_proposal, a_nonce_that_was_not_given_out, a_register_that_never_was,
         a_decision_that_was_not_taken]


def proposal_of(w, decision="d1", **more):
    return w.propose("group.create", ("group", "second"), ("threshold", 2), ("custodian", "p5"), ("custodian", "p6"), ("decision", decision), **more)


@pytest.mark.parametrize("wrong", WRONG, ids=[f.__name__ for f in WRONG])
def test_one_thing_wrong_and_nothing_is_done(world, wrong):
    code, proposal, approvals = wrong(world, proposal_of(world), GOOD)
    before = sorted(os.listdir(os.path.join(world.keyd.directory, "state", "groups")))
    message = refused(code, world.execute, world.provider.operation(proposal, approvals))
    assert sorted(os.listdir(os.path.join(world.keyd.directory, "state", "groups"))) == before
    reasons = [r["reason"] for r in world.records("operation.refused")]
    assert reasons[-1] == message


def test_shares_of_others_changed_shares_and_too_few_activate_nothing(world):
    world.create_group()
    proposal, lines, statement, shares = world.opened()
    more, opened = world.brought(proposal, statement, shares, ("p5", "p6"))
    good = world.provider.operation(proposal, lines + more)
    by_person = {ct.values(s)["person"]: s for s in shares}

    def changed(text):
        sealed = base64.b64decode(ct.values(text)["sealed"])
        return text.replace(ct.b64(sealed), ct.b64(sealed[:-1] + bytes([sealed[-1] ^ 1])))

    def of_another(person, other):
        """The person's own file with the share of another custodian in it."""
        mixed = by_person[other].replace(f"person: {other}", f"person: {person}")
        with pytest.raises(Exception):
            cp.open_share(world.provider.people[person], mixed, statement, proposal)

    refused("INPUT", world.execute, good, opened[:1])
    refused("CRYPTO", world.execute, good, [opened[0], changed(opened[1])])
    refused("INPUT", world.execute, good, [opened[0], opened[0]])
    refused("DENIED", world.execute, good, [opened[0], world.brought(proposal, statement, shares, ("p7",))[1][0]])
    of_another("p5", "p6")
    # a share that is well sealed and is not the one that was made: a custodian who invents one is named
    plain = b"\x01\x02\x02" + os.urandom(32)
    invented = cp.sealed_again(world.provider.people["p6"], "issuing", 2, plain, ct.values(statement), proposal)
    assert "p6" in refused("DENIED", world.execute, good, [opened[0], invented])
    assert not world.state_of()[0]
    world.execute(good, opened)
    assert world.state_of()[0]


def variants(text):
    """Each line changed in one character, left out, and said twice; and the whole cut."""
    rows = text.splitlines(keepends=True)
    for i, row in enumerate(rows):
        if row.strip():
            at = len(row) // 2
            yield "".join(rows[:i] + [row[:at] + ("x" if row[at] != "x" else "y") + row[at + 1:]] + rows[i + 1:])
        yield "".join(rows[:i] + rows[i + 1:])
        yield "".join(rows[:i + 1] + rows[i:])
    yield text[:-10]


def test_a_man_in_the_middle_of_the_messages_gets_nothing_and_is_on_record(world):
    world.create_group()
    proposal, lines, statement, shares = world.opened()
    more, opened = world.brought(proposal, statement, shares)
    good = world.provider.operation(proposal, lines + more)
    tries = [(changed, opened) for changed in variants(good)] + [(good, [changed, opened[1]]) for changed in variants(opened[0])]
    tries += [(good, in_hand) for in_hand in ([opened[0]], [opened[1], opened[1]], [statement, opened[1]], [])]
    for operation, in_hand in tries:
        with pytest.raises(kc.Refused):
            world.execute(operation, in_hand)
    assert not world.state_of()[0] and len(tries) > 60
    assert len(world.records("operation.refused")) == len(tries)
    # a statement with another key in it: custodians' tokens refuse it (test_token.py), and keyd does not take what was sealed to that key
    mine = ct.new_key()
    _, for_me = world.brought(proposal, statement.replace(ct.values(statement)["key"], ct.b64(ct.spki(mine))), shares)
    refused("CRYPTO", world.execute, good, for_me)
    world.execute(good, [opened[1], opened[0]])  # the order of shares means nothing
    assert world.state_of()[0]
    refused("STATE", world.execute, good, opened)  # nor does a replay


def test_a_second_keyd_serves_the_same_group_while_the_first_is_away(world):
    world.create_group()
    world.activate()
    world.generate()
    first, second = world.keyd, kc.Keyd(zone="ca", audit=f"audit-socket = {world.audit.socket}", extra="token = identity\ninstance = keyd/ca-2")
    try:
        second.start()
        second.token("identity")
        client = second.client()
        identity = client.generate("identity", type="ec-p256", purposes=kc.IDENTITY)["spki"]
        client.close()
        assert second.stop() == 0
        world.register(world.provider.proposal("instance.enrol", ("name", "keyd/ca-2"), ("key", ct.b64(identity))))
        # the HSM has the group's token for both; and what is known of its keys and shares is copied, none of it secret
        tokens = os.path.join(first.directory, "state", "tokens")
        for name in os.listdir(tokens):
            with open(os.path.join(tokens, name, "token.object"), "rb") as f:
                if b"issuing" in f.read():
                    shutil.copytree(os.path.join(tokens, name), os.path.join(second.directory, "state", "tokens", name))
        shutil.copy(os.path.join(first.directory, "state", "keys", "issuing"), os.path.join(second.directory, "state", "keys"))
        shutil.copytree(os.path.join(first.directory, "state", "groups"), os.path.join(second.directory, "state", "groups"))
        with open(second.config, "a", encoding="utf-8") as f:
            f.write(f"founding = {first.directory}/founding\nfounding-hash = {world.provider.hash}\n")
        second.start()
        world.keyd = second
        assert not world.state_of()[0]
        r = world.call(CHALLENGE)
        assert r.text() == "keyd/ca-2"
        proposal = world.provider.proposal("group.activate", ("group", "issuing"), instance="keyd/ca-2", nonce=r.raw(16))
        lines = [world.provider.people[name].approval(proposal, role) for name, role in (("p3", "pki-operator"), ("p4", "pki-administrator"))]
        world.keyd = first
        refused("STATE", world.open, world.provider.operation(proposal, lines))  # what is for one of them is for no other
        world.keyd = second
        statement, shares = world.open(world.provider.operation(proposal, lines))
        more, opened = world.brought(proposal, statement, shares, ("p6", "p7"))
        world.execute(world.provider.operation(proposal, lines + more), opened)
        assert first.stop() == 0
        client = second.client()
        client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())
        client.close()
    finally:
        world.keyd = first
        second.remove()


def test_what_was_opened_for_one_activation_serves_no_other(world):
    world.create_group()
    proposal, lines, statement, shares = world.opened()
    more, opened = world.brought(proposal, statement, shares)
    second, second_lines, second_statement, second_shares = world.opened()
    # the first was given up with the second
    refused("STATE", world.execute, world.provider.operation(proposal, lines + more), opened)
    second_more, _ = world.brought(second, second_statement, second_shares)
    refused("DENIED", world.execute, world.provider.operation(second, second_lines + second_more), opened)
    assert not world.state_of()[0]


def test_the_statement_is_signed_with_the_identity_key_that_the_register_names(world):
    world.create_group()
    proposal, _, statement, _ = world.opened()
    text, signature = statement.split("\n\n")
    instance = ct.values(world.provider.founding)["instance-key"]
    key = ct.serialization.load_der_public_key(base64.b64decode(instance))
    key.verify(base64.b64decode(ct.values("x\n" + signature)["signature"]), (text + "\n").encode(), ct.ec.ECDSA(ct.hashes.SHA256()))
    assert ct.values(text)["proposal"] == ct.sha256(proposal).hex()


def test_a_key_of_a_ca_is_not_made_by_an_administrator(world):
    client = world.keyd.client()
    client.token_create("plain", "pin-of-plain", "officer")
    with pytest.raises(kc.Refused) as failure:
        client.generate("plain", purposes=kc.CERTIFICATE | kc.REQUEST)
    assert failure.value.code == "DENIED"
    client.close()


def test_a_group_that_comes_up_by_itself_is_deactivated_and_brought_back_by_two(world):
    world.keyd.token("ocsp")
    client = world.keyd.client()
    public = client.generate("ocsp", purposes=kc.OCSP)["spki"]
    openers = [("p3", "pki-operator"), ("p8", "security-and-quality-manager")]

    def answer():
        return client.sign("ocsp", kc.OCSP, "ecdsa-sha256", kd.ocsp_response(public))

    def change(operation, approvals=openers, group="ocsp"):
        return world.execute(world.provider.operation(world.propose(operation, ("group", group), ("reason", "test")), approvals))

    answer()
    refused("STATE", change, "group.reactivate")
    refused("DENIED", change, "group.deactivate", openers[:1])
    refused("DENIED", change, "group.deactivate", openers, "identity")
    change("group.deactivate")
    refused("STATE", answer)
    assert "group.reactivate" in world.state_of("ocsp")[1]
    client.close()
    assert world.keyd.stop() == 0
    world.keyd.start()
    client = world.keyd.client()
    refused("STATE", answer)  # it stays so over a restart
    refused("DENIED", change, "group.reactivate", openers[:1])
    change("group.reactivate")
    answer()
    client.close()
    assert world.keyd.stop() == 0
    world.keyd.start()
    client = world.keyd.client()
    answer()
    client.close()
    world.create_group()
    refused("DENIED", change, "group.reactivate", openers, "issuing")  # that one is its custodians' to activate


def test_a_key_is_suspended_resumed_and_destroyed_by_two_and_by_no_administrator(world):
    world.create_group()
    world.activate()
    world.generate()
    client = world.keyd.client()
    public = client.find("issuing")["spki"]
    openers = [("p3", "pki-operator"), ("p4", "pki-administrator")]

    def sign():
        return client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())

    def change(operation, *parameters, approvals=openers):
        return world.execute(world.provider.operation(world.propose(operation, ("key", "issuing"), *parameters), approvals))

    def destroy(of, approvals=GOOD):
        return change("key.destroy", ("fingerprint", ct.sha256(of).hex()), ("decision", "d1"), approvals=approvals)

    refused("DENIED", client.change, "issuing", "suspended", "by an administrator")
    sign()
    change("key.suspend", ("reason", "an incident"))
    refused("STATE", sign)
    refused("DENIED", client.change, "issuing", "active", "by an administrator")
    with pytest.raises(kc.Refused) as failure:
        change("key.resume", ("reason", "alone"), approvals=openers[:1])
    assert failure.value.code == "DENIED"
    change("key.resume", ("reason", "it was none"))
    sign()
    refused("DENIED", destroy, b"another key")
    refused("DENIED", client.change, "issuing", "destroyed", "by an administrator")
    with pytest.raises(kc.Refused) as failure:
        destroy(public, approvals=GOOD[:1])
    assert failure.value.code == "DENIED"
    destroy(public)
    with pytest.raises(kc.Refused):
        sign()
    client.close()
    assert world.keyd.stop() == 0
    world.keyd.start()
    world.activate()
    client = world.keyd.client()
    with pytest.raises(kc.Refused):
        sign()
    client.close()


def test_a_key_whose_file_allows_more_than_was_approved_signs_nothing(world):
    """//= control#limits who can write into the directory of a keyd does not thereby give a key other limits"""
    world.create_group()
    world.activate()
    world.generate("issuing", "issuing", ("validity-days", 400))
    (path,) = glob.glob(os.path.join(world.keyd.directory, "**", "keys", "issuing"), recursive=True)
    with open(path, "rb") as f:
        good = f.read()
    assert good.count(struct.pack(">I", 400)) == 1

    def sign_after_a_restart(description):
        assert world.keyd.stop() == 0
        with open(path, "wb") as f:
            f.write(description)
        world.keyd.start()
        world.activate()
        client = world.keyd.client()
        try:
            return client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())
        finally:
            client.close()

    with pytest.raises(kc.Refused) as failure:
        sign_after_a_restart(good.replace(struct.pack(">I", 400), struct.pack(">I", 40000)))
    assert failure.value.code == "DENIED" and "not described as it was approved" in failure.value.message
    assert sign_after_a_restart(good)


def test_a_certificate_of_a_ca_is_signed_once_for_each_operation_that_allows_it(world):
    world.create_group()
    world.activate()
    world.generate("issuing", "issuing", ("issues-to-cas", "yes"))
    client = world.keyd.client()
    public = client.find("issuing")["spki"]
    subject_key = ct.spki(kd.THROWAWAY)
    tbs = kd.certificate(ca=True)

    def sign(content):
        return client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", content)

    def certify(not_after=400 * cp.DAY, key=subject_key, subject="C=BE, CN=Subject TEST"):
        proposal = world.propose("ca.certify", ("key", "issuing"), ("subject", subject), ("subject-key", ct.sha256(key).hex()),
                                 ("not-after", ct.moment(not_after)), ("decision", "d1"))
        return world.execute(world.provider.operation(proposal, GOOD))

    assert "ca.certify" in refused("DENIED", sign, tbs)
    assert client.entry("issuing")["state"] == "generated"  # refused is not used
    sign(kd.certificate())  # of a subject that is no CA: no operation is needed
    certify(key=public)
    refused("DENIED", sign, tbs)  # another key was approved
    certify(subject="CN=Somebody Else")
    refused("DENIED", sign, tbs)
    certify(not_after=3600)
    refused("DENIED", sign, tbs)  # it would be valid for longer
    certify()
    ct.serialization.load_der_public_key(public).verify(sign(tbs), tbs, ct.ec.ECDSA(ct.hashes.SHA256()))
    refused("DENIED", sign, tbs)  # used up
    certify()
    assert world.keyd.stop() == 0
    world.keyd.start()
    world.activate()
    client = world.keyd.client()
    refused("DENIED", sign, tbs)  # what was allowed does not outlive the process
    client.close()


def test_off_line_the_register_comes_as_a_file_and_is_verified_as_well(world):
    entries = os.path.join(world.keyd.directory, "register")
    assert world.keyd.stop() == 0
    with open(entries, "w", encoding="utf-8") as f:
        f.write(world.provider.file)
    with open(world.keyd.config, encoding="utf-8") as f:
        online = f.read()
    with open(world.keyd.config, "w", encoding="utf-8") as f:
        f.write(online.replace(f"audit-socket = {world.audit.socket}", f"audit-journal = {world.keyd.journal}") + f"register = {entries}\n")
    world.keyd.start()
    assert world.challenge()["entries"] == world.provider.entries
    world.create_group()
    world.activate()
    assert world.state_of()[0]
    assert world.keyd.stop() == 0
    with open(entries, "w", encoding="utf-8") as f:
        f.write(world.provider.file.replace("role: key-custodian", "role: pki-administrator", 1))
    with pytest.raises(AssertionError, match="the register"):
        world.keyd.start()
    # on line again, with the file still there: what is in both is taken once, and the journal of what was done off line is missed
    with open(entries, "w", encoding="utf-8") as f:
        f.write(world.provider.file)
    with open(world.keyd.config, "w", encoding="utf-8") as f:
        f.write(online + f"register = {entries}\n")
    world.keyd.start()
    assert "audit import" in refused("STATE", world.challenge)
    assert "passed over" not in world.keyd.log()


def test_a_state_put_back_from_yesterday_ends_all_operations(world):
    state = os.path.join(world.keyd.directory, "state", "control")
    world.create_group()
    shutil.copy(state, state + ".yesterday")
    world.activate()
    assert world.keyd.stop() == 0
    shutil.move(state + ".yesterday", state)
    world.keyd.start()
    active, why = world.state_of()  # before anybody asks for anything
    assert not active and "put back from a copy" in why and "rebuild-control" in why
    assert "no operation is carried out" in world.keyd.log()
    assert "put back from a copy" in refused("STATE", world.challenge)
    assert world.keyd.stop() == 0
    os.unlink(state)
    world.keyd.start()
    assert "put back from a copy" in refused("STATE", world.challenge)
    assert world.keyd.stop() == 0
    subprocess.run([world.keyd.program, "--config", world.keyd.config, "rebuild-control"], check=True, stdout=subprocess.DEVNULL)
    world.keyd.start()
    world.activate()
    assert world.state_of()[0]
    assert [r["sequence"] for r in world.records("operation.executed")] == [1, 2, 3]


def test_a_state_that_somebody_wrote_is_not_taken(world):
    state = os.path.join(world.keyd.directory, "state", "control")
    world.create_group()
    assert world.keyd.stop() == 0
    with open(state, encoding="utf-8") as f:
        text = f.read()
    with open(state, "w", encoding="utf-8") as f:
        f.write(text.replace("sequence: 1", "sequence: 7"))
    world.keyd.start()
    refused("CRYPTO", world.challenge)


def test_a_log_put_back_from_a_copy_ends_all_operations(world):
    world.create_group()
    assert world.audit.settled()
    assert world.audit.stop() == 0
    copy = world.audit.log + ".yesterday"
    shutil.copytree(world.audit.log, copy)
    heads = os.path.join(world.audit.keyd.directory, "state", "heads")
    shutil.copytree(heads, heads + ".yesterday")
    assert world.audit.start()
    world.activate()
    assert world.keyd.stop() == 0
    assert world.audit.stop() == 0
    shutil.rmtree(world.audit.log)
    shutil.move(copy, world.audit.log)
    shutil.rmtree(heads)
    shutil.move(heads + ".yesterday", heads)
    assert world.audit.start()
    world.keyd.start()
    refused("STATE", world.challenge)


def test_another_founding_document_is_not_taken(world):
    assert world.keyd.stop() == 0
    other = cp.Provider([cp.Person(name) for name in FOUNDERS], {})
    with open(os.path.join(world.keyd.directory, "founding"), "w", encoding="utf-8") as f:
        f.write(other.founding)
    with pytest.raises(AssertionError, match="founding-hash"):
        world.keyd.start()


def test_without_auditd_nothing_is_carried_out(world):
    world.create_group()
    proposal, lines, statement, shares = world.opened()
    more, opened = world.brought(proposal, statement, shares)
    assert world.audit.stop() == 0
    refused("UNAVAILABLE", world.execute, world.provider.operation(proposal, lines + more), opened)
    assert not world.state_of()[0]
