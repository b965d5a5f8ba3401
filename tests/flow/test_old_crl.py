"""The management CA's key lies in a key group of this keyd, which is locked, and its newest CRL is older than 24 hours: five persons activate that
group, and nobody anything else. At keyd's socket, with CRLs of the past signed by the key itself; test_outage.py has the whole provider with a
clock that went on."""
import datetime
import json
import os
import subprocess

import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
import pytest
from control_people import AUTHORITY, put_record
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from quorum_world import ADMINISTRATOR, CUSTODIAN, OPERATOR, SECURITY, VAULT, Vault, crl_of
from register_world import append

FOUR = [("operator", OPERATOR), ("administrator", ADMINISTRATOR), ("custodian1", CUSTODIAN), ("custodian2", CUSTODIAN)]
FIFTH = ("security", SECURITY)
KEPT = [("security", SECURITY), ("administrator", ADMINISTRATOR)]
STAFF = dict([*FOUR, FIFTH, ("operator2", OPERATOR)])
SUBJECT = kd.name("Management TEST CA")
OLD = 49  # hours
OTHER = "keyd/other"  # serves the same group


class Outage(Vault):
    def staff(self):
        for name, role in STAFF.items():
            self.hire(name, role, **{"certificate_serial": "0a33"} if name == "operator2" else {})

    def new_group(self, group):
        custodians = [("custodian", "custodian1"), ("custodian", "custodian2")]
        self.by_quorum("group.create", ("group", group), ("threshold", 2), *custodians, ("decision", "d1"))
        assert self.bring_activation(self.approved(self.propose_to_keyd("group.activate", ("group", group)), FOUR)) == []

    def by_quorum(self, operation, *values, by=None):
        self.execute_at_keyd(self.approved(self.propose_to_keyd(operation, *values), by or KEPT))

    def prepare(self):
        """Two groups, keys and CRLs; then both are locked, and the newest CRL on record is old."""
        self.new_group("management")
        self.new_group("other")
        self.by_quorum("key.generate", ("group", "management"), ("key", "management"), ("type", "ec-p256"), ("purpose", "certificate"),
                       ("purpose", "crl"), ("backup", "none"), ("decision", "d1"))
        client = self.keyd.client()
        self.spki = client.find("management")["spki"]
        self.fresh, self.first, self.newest = (crl_of(client, "management", SUBJECT, number, hours) for number, hours in ((1, 0), (2, OLD + 5), (3, OLD)))
        client.close()
        self.by_founders("management.certificate", ("certificate", self.own_certificate()), ("crl", ct.b64(self.fresh[1])),
                         ("group", "management"), ("holder", VAULT), ("holder", OTHER))
        self.management_crl = self.fresh
        for group in ("management", "other"):
            self.by_quorum("group.deactivate", ("group", group), ("reason", "an outage"), by=[("operator", OPERATOR), FIFTH])
        self.put_on_record(self.newest)
        return self

    def own_certificate(self):
        """The register takes name and key from it; who signed it is nothing to it."""
        now = kd.now()
        made = (x509.CertificateBuilder().subject_name(SUBJECT).issuer_name(SUBJECT).serial_number(77).not_valid_before(now - datetime.timedelta(days=9))
                .not_valid_after(now + datetime.timedelta(days=90)).public_key(serialization.load_der_public_key(self.spki))
                .add_extension(x509.BasicConstraints(True, None), critical=True).sign(kd.THROWAWAY, hashes.SHA256()))
        return ct.b64(made.public_bytes(serialization.Encoding.DER))

    def put_on_record(self, crl):
        return put_record(self.auditd.socket, "crl.recorded", ca="management", number=crl[0], this_update=ct.moment(), file=ct.b64(crl[1]))

    def activation(self, approvers, crl=None, says=None, group="management", instance=VAULT):
        crl = crl or self.newest
        says = made_at(crl) if says is None else says
        said = [("old-crl", says)] if says else []
        return self.approved(self.propose("group.activate", ("group", group), *said, crl=crl, given=self.challenge(), instance=instance), approvers)

    def active(self):
        client = self.keyd.client()
        try:
            return {label for label, (ready, _) in client.status()["tokens"].items() if ready}
        finally:
            client.close()

    def sign_crl(self, number, revoked=(), hours=0):
        client = self.keyd.client()
        try:
            return crl_of(client, "management", SUBJECT, number, hours, revoked)
        finally:
            client.close()

    def verify(self):
        self.auditd.settled()
        done = subprocess.run([os.path.join(kc.BUILD, "src", "chancery"), "op", "verify", "--json", "--log", self.auditd.log, "--founding", self.founding],
                              capture_output=True, text=True, timeout=60, check=False)
        return json.loads(done.stdout)


def made_at(crl):
    return ct.moment(x509.load_der_x509_crl(crl[1]).last_update_utc)


def made_by_nobody(number):
    """A CRL in the management CA's name that its key has not signed."""
    tbs = kd.crl(issuer=SUBJECT, entries=0, number=number)
    return number, kd.tlv(0x30, tbs + bytes.fromhex("300a06082a8648ce3d040302") + kd.tlv(3, b"\0" + kd.THROWAWAY.sign(tbs, ec.ECDSA(hashes.SHA256()))))


@pytest.fixture(scope="module")
def outage():
    with Outage() as world:
        yield world.prepare()


#= control#late-crl nothing but what brings the next CRL, by five persons who know
REFUSED = {
    "four persons": (lambda w: w.activation(FOUR), "needs 1 approvals by security-and-quality-manager, authority-member"),
    "one person in two seats": (lambda w: w.activation([*FOUR[:3], FIFTH]), "needs 2 approvals by key-custodian"),
    "another group": (lambda w: w.activation([*FOUR, FIFTH], group="other"), "only group.activate of management at " + VAULT),
    "not said": (lambda w: w.activation(FOUR, says=""), "does not say of when it is"),
    "said to be younger": (lambda w: w.activation([*FOUR, FIFTH], says=made_at(w.fresh)), "does not say of when it is"),
    "not the newest": (lambda w: w.activation([*FOUR, FIFTH], crl=w.first), "CRL 3 is on record"),
    "said to be old and is not": (lambda w: w.activation([*FOUR, FIFTH], crl=w.fresh), "and it is not"),
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_with_an_old_crl_it_is_refused(outage, attempt):
    make, why = REFUSED[attempt]
    for code, message in outage.bring_activation(make(outage)) or [("OK", "was carried out")]:
        assert code in ("STATE", "DENIED") and why in message, (code, message)
    assert outage.active() == {"identity"}


@pytest.mark.parametrize("operation, values, by", [
    ("key.suspend", [("key", "management"), ("reason", "x")], [("operator", OPERATOR), FIFTH]),
    ("group.deactivate", [("group", "other"), ("reason", "x")], [("operator", OPERATOR), FIFTH])])
def test_no_other_operation_of_keyd_is_carried_out(outage, operation, values, by):
    made = outage.approved(outage.propose_to_keyd(operation, *values, crl=outage.newest), by)
    (code, message), = outage.bring_to_keyd(made)
    assert code == "STATE" and "not of the last 24 hours" in message


def test_nor_one_of_the_register(outage):
    made = outage.propose("decision.take", ("decision", "d-old"), ("title", "x"), crl=outage.newest)
    (code, message), = outage.bring_to_register(made.approve(outage.person[0]).approve(outage.person[1]))
    assert code == "STATE" and "not of the last 24 hours" in message


def test_what_another_keyd_did_for_four_is_put_on_record(outage):
    """For the auditor; and a CRL that nobody made, for who wants the newest one to look old."""
    made = {"four": outage.activation(FOUR, instance=OTHER), "not the newest": outage.activation([*FOUR, FIFTH], crl=outage.first, instance=OTHER)}
    outage.forged = {what: append(outage, "operation.executed", operation, instance=OTHER, sequence=90, signatures=90) for what, operation in made.items()}
    outage.forged["CRL"] = outage.put_on_record(made_by_nobody(9))


def test_five_persons_activate_it_and_it_is_said(outage):
    assert outage.bring_activation(outage.activation([*FOUR, FIFTH])) == []
    assert outage.active() == {"identity", "management"}
    executed, activated = outage.records("operation.executed")[-1], outage.records("group.activated")[-1]
    assert f"{OLD} hours before this was proposed" in executed["words"]
    assert (activated["group"], activated["old_crl"]) == ("management", made_at(outage.newest))


def test_then_a_fresh_crl_lets_everything_go_on(outage):
    outage.management_crl = outage.sign_crl(5)
    assert outage.bring_activation(outage.approved(outage.propose_to_keyd("group.activate", ("group", "other")), FOUR)) == []
    outage.decide("d-after")


def test_what_one_keyd_has_seen_does_not_part_its_register_from_the_others(outage):
    """An operation of the register that was proposed before, with a CRL of today: the ca takes it, and so does the keyd that has carried out one with a
    newer CRL since."""
    before, outage.management_crl = outage.management_crl, outage.sign_crl(6)
    outage.by_quorum("group.deactivate", ("group", "other"), ("reason", "x"), by=[("operator", OPERATOR), FIFTH])
    outage.decide("d-with-the-one-before", crl=before)
    register = outage.register()
    assert {name: outage.challenge()[name] for name in ("entries", "head")} == {name: register[name] for name in ("entries", "head")}
    made = outage.propose_to_keyd("group.activate", ("group", "other"), crl=before)  # its own it takes with the newer one only
    assert all("older than CRL" in message for _, message in outage.bring_activation(outage.approved(made, FOUR)))
    assert outage.bring_activation(outage.approved(outage.propose_to_keyd("group.activate", ("group", "other")), FOUR)) == []


def test_who_is_revoked_on_record_is_so_for_proposals_of_before(outage):
    made = outage.propose_to_keyd("group.deactivate", ("group", "other"), ("reason", "x"))
    outage.approved(made, [("operator2", OPERATOR), FIFTH])
    outage.put_on_record(outage.sign_crl(7, [0x0A33]))
    (code, message), = outage.bring_to_keyd(made)
    assert code == "DENIED" and "the certificate of operator2 is revoked" in message


def test_a_group_that_does_not_hold_the_key_stays_locked_whatever_the_register_says(outage):
    outage.management_crl = outage.sign_crl(8)
    outage.by_founders("management.certificate", ("certificate", outage.own_certificate()), ("crl", ct.b64(outage.management_crl[1])), ("group", "other"),
                       ("holder", VAULT))
    outage.by_quorum("group.deactivate", ("group", "other"), ("reason", "an outage"), by=[("operator", OPERATOR), FIFTH])
    old = outage.sign_crl(9, hours=OLD)
    outage.put_on_record(old)
    refusals = outage.bring_activation(outage.activation([*FOUR, FIFTH], crl=old, group="other"))
    assert len(refusals) == 2 and all(code == "DENIED" or "not open" in message for code, message in refusals)
    assert "does not hold the management CA's key" in refusals[0][1]


def test_an_auditor_judges_it_the_same_and_is_told(outage):
    report = outage.verify()
    told, = report["with a management CRL older than 24 hours"]
    assert told["operation"] == "group.activate" and f"{OLD} hours" in told["words"]
    findings = {f["record"]: f["finding"] for f in report["findings"]}
    assert "needs 1 approvals by security" in findings.pop(outage.forged["four"]) and "CRL 3 is on record" in findings.pop(outage.forged["not the newest"])
    assert list(findings) == [outage.forged["CRL"]]
