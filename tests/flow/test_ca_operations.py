"""What the ca itself carries out with a quorum only, where there is a founding document: CAs are set up, the certificates of CAs are revoked and
the parameters of CRLs set by operations that the right persons approved, each once; everything else goes on without."""
import base64
import datetime
import os
import signal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import audit_world
import control_texts as ct
from ca_world import Refused, World, until
from register_world import IMPORT, Operation, Site, append, moment, now
from test_ca_records import FAILPOINTS, LOST, needs_failpoints

MANAGER, ADMINISTRATOR, QUALITY, OPERATOR = "pki-manager", "pki-administrator", "security-and-quality-manager", "pki-operator"
SUBJECT = "C=BE, O=Test Trust Services, organizationIdentifier=NTRBE-0123456789, CN=TEST Second"


ELSEWHERE = base64.b64encode(ct.self_signed_ca("Test Trust Services", "TEST Elsewhere").public_bytes(serialization.Encoding.DER)).decode()


def staff(site):
    """p3 PKI manager, p4 PKI administrator, p5 security and quality manager, p6 PKI operator."""
    site.decide()
    for person, role in zip(site.person[3:7], (MANAGER, ADMINISTRATOR, QUALITY, OPERATOR)):
        site.enrol(person)
        site.grant(person, role)


@pytest.fixture(scope="module")
def site(database):
    with Site() as site:
        site.found_cas()
        staff(site)
        yield site


# ---- the three operations, and what each of them changes ----


def serial_of(site, ca):
    number = format(x509.load_pem_x509_certificate(site.world.get(f"/v1/cas/{ca}")["certificate"].encode()).serial_number, "x")
    return number if len(number) % 2 == 0 else "0" + number


CREATE = [("name", "second"), ("profile", "issuing-ca"), ("subject", SUBJECT), ("key", "second"), ("crl-hours", "48"),
          ("crl-url", "http://127.0.0.1:8080/crl/second.crl"), ("issuer-url", "http://127.0.0.1:8080/ca/second.crt"),
          ("ocsp-url", "http://127.0.0.1:8080/ocsp"), ("decision", "d1")]


def elsewhere():
    """A CA that is run elsewhere, as the operation names it."""
    return [("subject", "O=Test Trust Services, CN=TEST Elsewhere"), ("certificate", ELSEWHERE)]


def values(site, operation, **changes):
    known = {"ca.create": CREATE,
             "ca.take-in": [("name", "elsewhere"), *elsewhere(), ("decision", "d1")],
             "ca.revoke": [("ca", "root"), ("serial", serial_of(site, "issuing")), ("reason", "cACompromise"), ("decision", "d1")],
             "crl.parameters": [("ca", "issuing"), ("crl-hours", "12"), ("decision", "d1")]}[operation]
    return [(name, changes.get(name.replace("-", "_"), value)) for name, value in known]


def propose(site, operation, instance="ca", changes=None, **more):
    return site.propose(operation, *values(site, operation, **(changes or {})), instance=instance, **more)


def approved(made, p):
    return made.approve(p[4], ADMINISTRATOR).approve(p[5], QUALITY)


def state(site, world=None):
    """All of it that an operation could have changed."""
    w = world or site.world
    cas = [(a["name"], a["state"], a.get("crl_hours")) for a in w.get("/v1/cas")["cas"]]
    return cas, [(c["serial"], c["state"]) for c in w.get("/v1/certificates")["certificates"]]


def refused(site, made, code, words):
    before, refusals, executed = state(site), len(site.records("operation.refused")), len(site.records("operation.executed"))
    with pytest.raises(Refused) as failure:
        site.execute(made)
    assert (failure.value.code, words in failure.value.problem["detail"]) == (code, True), failure.value.problem
    assert state(site) == before
    on_record = site.records("operation.refused")
    assert len(on_record) == refusals + 1 and len(site.records("operation.executed")) == executed
    assert on_record[-1]["reason"] == failure.value.problem["detail"] and on_record[-1]["proposal"] == made.hash()
    return on_record[-1]


# ---- refused ----


def nobody(site, p, operation):
    return propose(site, operation)


def one(site, p, operation):
    return propose(site, operation).approve(p[4], ADMINISTRATOR)


def same_twice(site, p, operation):
    return propose(site, operation).approve(p[4], ADMINISTRATOR).approve(p[4], ADMINISTRATOR)


def two_of_one_seat(site, p, operation):
    return propose(site, operation).approve(p[3], MANAGER).approve(p[4], ADMINISTRATOR)


def wrong_role(site, p, operation):
    return propose(site, operation).approve(p[6], OPERATOR).approve(p[5], QUALITY)


def role_not_held(site, p, operation):
    return propose(site, operation).approve(p[6], ADMINISTRATOR).approve(p[5], QUALITY)


def the_authority(site, p, operation):
    return propose(site, operation).approve(p[0]).approve(p[1])


def changed_parameter(site, p, operation):
    made = approved(propose(site, operation), p)
    made.text = made.text.replace("decision: d1", "decision: d2")
    return made


def approved_something_else(site, p, operation):
    made = propose(site, operation)
    return made.approve(p[4], ADMINISTRATOR).approve(p[5], QUALITY, text=propose(site, operation).text)


def expired(site, p, operation):
    before = -2 * 3600
    made = propose(site, operation, proposed=before)
    return made.approve(p[4], ADMINISTRATOR, when=before).approve(p[5], QUALITY, when=before)


def other_instance(site, p, operation):
    return approved(propose(site, operation, instance="ca/root"), p)


def as_the_register(site, p, operation):
    return approved(propose(site, operation, instance="register"), p)


def nonce_of_nobody(site, p, operation):
    return approved(propose(site, operation, nonce=os.urandom(16).hex()), p)


def another_register(site, p, operation):
    return approved(propose(site, operation, head=os.urandom(32).hex()), p)


def without_decision(site, p, operation):
    return approved(propose(site, operation, changes={"decision": "d9"}), p)


MATRIX = [(nobody, "DENIED", "needs 1 approvals"), (one, "DENIED", "there are 0"), (same_twice, "DENIED", "approves twice"),
          (two_of_one_seat, "DENIED", "there are 0"), (wrong_role, "DENIED", "no say"), (role_not_held, "DENIED", "is not PKI Administrator"),
          (the_authority, "DENIED", "no say"), (changed_parameter, "CRYPTO", "approval of p4"), (approved_something_else, "CRYPTO", "approval of p5"),
          (expired, "STATE", "expired"), (other_instance, "DENIED", "this is ca"), (as_the_register, "DENIED", "this is ca"),
          (nonce_of_nobody, "STATE", "nonce"), (another_register, "STATE", "register"), (without_decision, "NOTFOUND", "decision")]
OPERATIONS = ["ca.create", "ca.take-in", "ca.revoke", "crl.parameters"]


#= tsps#5.2.2 no one person, no two of one role and no role without a say does any of these
@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_its_quorum_an_operation_is_refused_on_record_and_changes_nothing(site, operation):
    for make, code, words in MATRIX:
        record = refused(site, make(site, site.person, operation), code, words)
        assert (record["instance"], record["operation"]) == ("ca", operation), make.__name__


IMPOSSIBLE = [("ca.create", {"key": "nothing"}, "NOTFOUND", "nothing"), ("ca.create", {"profile": "ncp-plus-n"}, "INPUT", "no profile of a CA"),
              ("ca.create", {"name": "root"}, "CONFLICT", "already"), ("ca.create", {"crl_hours": "9999"}, "INPUT", "crl_hours"),
              ("ca.take-in", {"subject": "O=Test Trust Services, CN=TEST Another"}, "INPUT", "the proposal says"),
              ("ca.take-in", {"certificate": base64.b64encode(b"a letter").decode()}, "INPUT", ""), ("ca.take-in", {"name": "root"}, "CONFLICT", "already"),
              ("ca.revoke", {"serial": "00ff"}, "NOTFOUND", "00ff"[2:]), ("ca.revoke", {"ca": "management"}, "INPUT", "signed by the CA 'root'"),
              ("ca.revoke", {"reason": "certificateHold"}, "DENIED", "suspension"), ("ca.revoke", {"reason": "anger"}, "INPUT", "no reason"),
              ("crl.parameters", {"ca": "nothing"}, "NOTFOUND", "nothing"), ("crl.parameters", {"crl_hours": "0"}, "INPUT", "1 to 8784"),
              ("crl.parameters", {"crl_hours": "8785"}, "INPUT", "1 to 8784")]


@pytest.mark.parametrize("operation,changes,code,words", IMPOSSIBLE)
def test_what_cannot_be_done_is_refused_before_it_is_on_record(site, operation, changes, code, words):
    refused(site, approved(propose(site, operation, changes=changes), site.person), code, words)


def test_an_operation_revokes_no_certificate_of_an_end_entity(site):
    serial = site.world.issue()["serial"]
    made = approved(propose(site, "ca.revoke", changes={"ca": "issuing", "serial": serial}), site.person)
    refused(site, made, "INPUT", "without an operation")


# ---- without an operation ----


def alone(site, call, operation):
    before, refusals = state(site), len(site.records("operation.refused"))
    with pytest.raises(Refused) as failure:
        call()
    detail = failure.value.problem["detail"]
    assert failure.value.status == 403 and failure.value.code == "DENIED" and f"chancery op propose {operation}" in detail, detail
    assert state(site) == before
    record = site.records("operation.refused")[refusals:]
    assert [(r["instance"], r["operation"], r["reason"]) for r in record] == [("ca", operation, detail)]
    assert record[0]["actor"].startswith("local:")


def test_nobody_sets_up_a_ca_alone(site):
    order = dict(name="second", profile="issuing-ca", subject=SUBJECT, key="second", request_only=True)
    alone(site, lambda: site.world.post("/v1/cas", order), "ca.create")
    alone(site, lambda: site.world.post("/v1/cas", dict(order, profile="management-ca", subject="O=x, CN=x", request_only=False)), "ca.create")


def elsewhere_pem():
    return x509.load_der_x509_certificate(base64.b64decode(ELSEWHERE)).public_bytes(serialization.Encoding.PEM).decode()


def test_nobody_takes_a_ca_in_alone(site):
    alone(site, lambda: site.world.post("/v1/cas", {"name": "elsewhere", "certificate": elsewhere_pem()}), "ca.take-in")


@pytest.mark.parametrize("ca", ["root", "issuing", "management"])
def test_nobody_revokes_the_certificate_of_a_ca_alone(site, ca):
    alone(site, lambda: site.world.revoke(serial_of(site, ca)), "ca.revoke")


def test_nobody_gives_a_crl_a_longer_life_alone(site):
    later = (now() + datetime.timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    alone(site, lambda: site.world.post("/v1/cas/issuing/crls", {"next_update": later}), "crl.parameters")
    sooner = (now() + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    site.world.post("/v1/cas/issuing/crls", {"next_update": sooner})
    site.world.post("/v1/cas/issuing/crls", {})


def test_certificates_of_end_entities_are_issued_and_revoked_without_an_operation(site):
    made = site.world.issue()
    assert site.world.revoke(made["serial"])["state"] == "revoked"
    assert not site.records("operation.executed")


# ---- carried out ----


FORGED = "00" * 32  # as the record says that somebody wrote by himself


def log(site, event):
    """What the whole log says of it, verified."""
    assert site.auditd.settled()
    return [e["record"] for e in audit_world.verify_log(site.auditd.log, site.auditd.spki) if e["record"]["event"] == event]


def life_of(crl):
    return round((crl.next_update_utc - crl.last_update_utc).total_seconds() / 3600)


def once(site, made):
    """Carried out, on record before what it did, and never again."""
    sequence = 1 + sum(r["proposal"] != FORGED for r in site.records("operation.executed"))
    with pytest.raises(Refused):
        site.execute(made)  # one approval
    done = site.execute(made.approve(site.person[5], QUALITY))
    record = site.records("operation.executed")[-1]
    assert (record["instance"], record["sequence"], record["proposal"]) == ("ca", sequence, made.hash())
    assert base64.b64decode(record["file"]).decode() == made.file() and record["words"] == done["words"] and record["actor"].startswith("local:")
    others = Operation(made.text).approve(site.person[3], MANAGER).approve(site.person[5], QUALITY)
    for again in (made, approved(Operation(made.text), site.person), others):
        refused(site, again, "STATE", "was used")
    return record


def test_the_life_of_crls_is_set_once_and_outlives_restart_and_an_older_database(site):
    w, p = site.world, site.person
    once(site, propose(site, "crl.parameters").approve(p[3], MANAGER))
    assert w.get("/v1/cas/issuing")["crl_hours"] == 12
    until(lambda: life_of(w.crl()) == 12, 10)  # at once
    site.execute(approved(propose(site, "crl.parameters", changes={"crl_hours": "6"}), p))
    until(lambda: life_of(w.crl()) == 6, 10)
    w.ca.stop(signal.SIGKILL)
    if not w.cluster:  # who edits the database, or puts an older one back, sets nothing for good
        site.sqlite("update authority set crl_hours = 500 where name = 'issuing'")
    w.ca.start()
    assert w.get("/v1/cas/issuing")["crl_hours"] == 6
    used = site.records("operation.executed")[0]
    refused(site, Operation(base64.b64decode(used["file"]).decode().split("\n\n")[0] + "\n").approve(p[4], ADMINISTRATOR).approve(p[5], QUALITY),
            "STATE", "was used")


def test_what_somebody_writes_into_the_log_by_himself_is_carried_out_by_nobody(site):
    w, p = site.world, site.person
    before = w.get("/v1/cas/issuing")["crl_hours"]
    alone = propose(site, "crl.parameters", changes={"crl_hours": "700"}).approve(p[4], ADMINISTRATOR)
    old = base64.b64decode(site.records("operation.executed")[0]["file"]).decode()
    for file in (alone.file(), old, "nothing"):
        append(site, "operation.executed", file, instance="ca", sequence=9)
    w.ca.stop()
    w.ca.start()
    assert w.get("/v1/cas/issuing")["crl_hours"] == before
    assert w.ca.log().count("is no operation of this ca and is passed over") >= 3
    site.execute(alone.approve(p[5], QUALITY))  # its nonce was not used up by that
    assert w.get("/v1/cas/issuing")["crl_hours"] == 700


def test_two_take_in_a_ca_that_is_run_elsewhere(site):
    once(site, propose(site, "ca.take-in").approve(site.person[4], ADMINISTRATOR))
    taken = site.world.get("/v1/cas/elsewhere")
    assert (taken["state"], taken["certificate"]) == ("external", elsewhere_pem())
    assert [r["actor"] for r in log(site, "ca.created") if r["ca"] == "elsewhere"] == ["ca.take-in by p4, p5"]


def test_a_ca_is_set_up_once_and_all_that_is_said_of_it_was_approved(site):
    w, p = site.world, site.person
    record = once(site, propose(site, "ca.create").approve(p[4], ADMINISTRATOR))
    assert all(value in record["words"] for _, value in CREATE)
    made = w.get("/v1/cas/second")
    assert (made["state"], made["crl_hours"], made["crl_url"], made["key"]) == ("waiting", 48, "http://127.0.0.1:8080/crl/second.crl", "second")
    signed = w.post("/v1/cas/root/certificates", dict(profile="issuing-ca", request=made["request"]))
    assert w.call("PUT", "/v1/cas/second/certificate", dict(certificate=signed["certificate"], chain=signed["chain"]))[1]["state"] == "active"
    assert w.issue(ca="second")["state"] == "good"
    assert [r["actor"] for r in log(site, "ca.created") if r["ca"] == "second"][0] == "ca.create by p4, p5"


def test_the_certificate_of_a_ca_is_revoked_once(site):
    w, p = site.world, site.person
    serial = serial_of(site, "issuing")
    record = once(site, propose(site, "ca.revoke").approve(p[4], ADMINISTRATOR))
    assert serial in record["words"] and "cACompromise" in record["words"]
    shown = w.get(f"/v1/certificates/{serial}")
    assert (shown["state"], shown["reason"]) == ("revoked", "cACompromise")
    until(lambda: w.crl("root").get_revoked_certificate_by_serial_number(int(serial, 16)) is not None, 10)
    assert [r["actor"] for r in log(site, "certificate.revoked") if r["serial"] == serial] == ["ca.revoke by p4, p5"]
    refused(site, approved(propose(site, "ca.revoke"), p), "CONFLICT", "already")


def test_the_instance_of_the_configuration_is_the_one_that_proposals_name(site):
    w, p = site.world, site.person
    assert w.call("POST", "/v1/operations/nonce")[1]["ca"] == "ca"
    made = approved(propose(site, "crl.parameters", changes={"crl_hours": "24"}), p)
    w.ca.stop()
    for wrong, words in (("register", "that is the register of persons"), ("Ca", "lower-case")):
        site.configure(f"instance = {wrong}")
        with pytest.raises(AssertionError, match=words):
            w.ca.start()
    site.configure("instance = ca/issuing")
    w.ca.start()
    try:
        assert w.call("POST", "/v1/operations/nonce")[1]["ca"] == "ca/issuing"
        with pytest.raises(Refused) as failure:
            site.execute(made)
        assert failure.value.code == "DENIED" and "this is ca/issuing" in failure.value.problem["detail"]
        site.execute(approved(propose(site, "crl.parameters", instance="ca/issuing", changes={"crl_hours": "24"}), p))
        record = site.records("operation.executed")[-1]
        assert (record["instance"], record["sequence"]) == ("ca/issuing", 1) and w.get("/v1/cas/issuing")["crl_hours"] == 24
    finally:
        w.ca.stop()
        site.configure()
        w.ca.start()


@needs_failpoints
def test_what_is_on_record_when_the_ca_dies_is_set_at_its_next_start():
    with Site(build=FAILPOINTS) as site:
        site.found_cas()
        staff(site)
        w = site.world
        w.ca.stop()
        w.ca.environment["CHANCERY_FAILPOINT"] = "ca.operation-recorded"
        w.ca.start()
        made = approved(propose(site, "crl.parameters"), site.person)
        with pytest.raises(LOST):
            site.execute(made)
        w.ca.stop()
        del w.ca.environment["CHANCERY_FAILPOINT"]
        w.ca.start()
        assert w.get("/v1/cas/issuing")["crl_hours"] == 12
        with pytest.raises(Refused) as failure:
            site.execute(made)
        assert failure.value.code == "STATE" and "was used" in failure.value.problem["detail"]


def test_two_cas_on_one_database_carry_out_one_operation_once(database, cluster):
    if database != "postgresql":
        pytest.skip("cas share a database of PostgreSQL")
    with Site("postgresql-shared = yes") as site:
        site.found_cas()
        staff(site)
        second = World(audit=site.world.audit)
        try:
            with open(site.world.ca.config) as f:
                text = f.read().replace(site.world.socket_path, second.socket_path)
            with open(second.ca.config, "w") as f:
                f.write(text)
            second.ca.start()
            made = approved(propose(site, "crl.parameters"), site.person)  # proposed at the first one
            site.execute(made, second)
            with pytest.raises(Refused) as failure:
                site.execute(made)
            assert failure.value.code == "STATE" and "was used" in failure.value.problem["detail"]
            assert second.get("/v1/cas/issuing")["crl_hours"] == 12
            until(lambda: site.world.get("/v1/cas/issuing").get("crl_hours") == 12, 10)
            site.execute(approved(propose(site, "crl.parameters", changes={"crl_hours": "13"}), site.person))
            assert [r["sequence"] for r in site.records("operation.executed")] == [1, 2]
            second.ca.stop()
            second.ca.start()
            assert second.get("/v1/cas/issuing")["crl_hours"] == site.world.get("/v1/cas/issuing")["crl_hours"] == 13
        finally:
            second.remove()


def test_what_is_brought_in_from_a_journal_is_judged_by_its_own_time(site):
    """Off-line work of days ago: every proposal in it has expired since. The entries that the ca hands out say the same time."""
    w, p, entries = site.world, site.person, site.register()["entries"]
    before, then = -9 * 86400, now() - datetime.timedelta(days=9)
    late = [propose(site, "crl.parameters", changes={"crl_hours": hours}, proposed=before) for hours in ("70", "71")]
    for made in late:
        made.approve(p[4], ADMINISTRATOR, when=before).approve(p[5], QUALITY, when=before)
    append(site, "operation.executed", late[0], instance="ca", sequence=50)
    append(site, "operation.executed", late[1], kind=IMPORT, when=then, instance="ca", sequence=50)
    decided = site.propose("decision.take", ("decision", "d-journal"), ("title", "x"), proposed=before)
    append(site, "register.changed", decided.approve(p[0], when=before).approve(p[1], when=before), kind=IMPORT, when=then, entry=entries + 1,
           head="00" * 32, actor="x")
    w.ca.stop()
    w.ca.start()
    assert w.get("/v1/cas/issuing")["crl_hours"] == 71
    assert "d-journal" in site.register()["decisions"]
    text = w.call("GET", f"/v1/register/entries?from={entries + 1}")[1].decode()
    assert text.split("\n")[1].startswith(f"entry: {entries + 1} {moment(then)[:19]}")


def test_a_management_crl_from_before_one_that_was_seen_is_not_taken(site):
    p = site.person
    site.by_founders("management.certificate", *site.naming())
    refused(site, approved(propose(site, "crl.parameters"), p), "STATE", "without the management CA's CRL")
    old, new = site.new_crl(), site.new_crl()
    site.execute(approved(propose(site, "crl.parameters", crl=new), p))
    refused(site, approved(propose(site, "crl.parameters", crl=old), p), "STATE", "older than CRL")


def test_a_ca_starts_where_the_database_lacks_a_ca_that_an_operation_was_about(site):
    w = site.world
    if w.cluster:
        pytest.skip("the row is taken out of SQLite")
    crl = site.new_crl()
    site.execute(approved(propose(site, "crl.parameters", changes={"ca": "second"}, crl=crl), site.person))
    assert w.get("/v1/cas/second")["crl_hours"] == 12
    w.ca.stop()
    site.sqlite("delete from authority where name = 'second'")
    w.ca.start()
    assert w.get("/v1/cas/issuing")["crl_hours"] == 12
