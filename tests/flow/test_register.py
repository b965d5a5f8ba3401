"""The register of persons at the ca: operations by the right quorum, every other one refused, on record and without effect; and the same
register after crashes, with an edited database, and at every ca."""
import datetime
import hashlib
import json
import os
import signal
import subprocess
import threading

import pytest

import ca_world
import keyd_client as kc
from ca_world import Refused, World, until
from register_world import AUTHORITY, DAY, Operation, Site, append, now
from test_keyd_matrix import FAKETIME
from test_ca_records import FAILPOINTS, LOST, needs_failpoints

HR, OPERATOR = "hr-manager", "pki-operator"
LAPSES_IN = 3  # seconds: the training of p6


@pytest.fixture(scope="module")
def site():
    """p3 HR manager, p4 PKI operator, p5 to be given roles, p6 HR manager with a training that lapses, p7 HR manager who left."""
    with Site() as site:
        p = site.person
        site.decide()
        for person in p[3:6] + p[7:8]:
            site.enrol(person)
        site.grant(p[3], HR)
        site.grant(p[4], OPERATOR)
        site.grant(p[7], HR)
        site.by_founders("person.leave", ("person", "p7"), ("reason", "another employer"))
        lapses = now() + datetime.timedelta(seconds=LAPSES_IN)
        site.enrol(p[6], trained=lapses.replace(year=lapses.year - 1))
        site.grant(p[6], HR)
        assert site.roles(p[6]) == [HR]
        until(lambda: site.roles(p[6]) == [], 10)
        yield site


def grant(site, role="pki-administrator", person="p5", **more):
    return site.propose("role.grant", ("person", person), ("role", role), ("decision", "d1"), **more)


def nobody(site, p):
    return grant(site)


def one(site, p):
    return grant(site).approve(p[0])


def same_twice(site, p):
    return grant(site).approve(p[0]).approve(p[0])


def same_twice_in_two_roles(site, p):
    return grant(site).approve(p[3], HR).approve(p[3], AUTHORITY)


def wrong_group(site, p):
    return grant(site).approve(p[0]).approve(p[4], OPERATOR)


def role_not_held(site, p):
    return grant(site).approve(p[0]).approve(p[4], HR)


def unknown_person(site, p):
    return grant(site).approve(p[0]).approve(p[9], HR)


def key_of_another(site, p):
    made = grant(site).approve(p[0]).approve(p[1])
    made.approvals[1] = made.approvals[0].replace("p0 ", "p1 ", 1)
    return made


def lapsed_training(site, p):
    return grant(site).approve(p[0]).approve(p[6], HR)


def left(site, p):
    return grant(site).approve(p[0]).approve(p[7], HR)


def subject_of_it(site, p):
    return grant(site, person="p3", role="spokesperson").approve(p[0]).approve(p[3], HR)


def expired(site, p):
    before = -7200
    return grant(site, proposed=before).approve(p[0], when=before).approve(p[1], when=before)


def too_long(site, p):
    return grant(site, hours=24 * 7 + 1).approve(p[0]).approve(p[1])


def changed_parameter(site, p):
    made = grant(site).approve(p[0]).approve(p[1])
    made.text = made.text.replace("role: pki-administrator", "role: pki-manager")
    return made


def approved_something_else(site, p):
    made = grant(site)
    return made.approve(p[0]).approve(p[1], text=grant(site).text)


def other_instance(site, p):
    return grant(site, instance="keyd/ca").approve(p[0]).approve(p[1])


def other_instances_operation(site, p):
    return site.propose("group.deactivate", ("group", "issuing"), ("reason", "x"), instance="keyd/ca").approve(p[4], OPERATOR)


def nonce_of_nobody(site, p):
    return grant(site, nonce=os.urandom(16).hex()).approve(p[0]).approve(p[1])


def another_register(site, p):
    return grant(site, head=os.urandom(32).hex()).approve(p[0]).approve(p[1])


def crosses_groups(site, p):
    return grant(site, person="p4", role="security-and-quality-manager").approve(p[0]).approve(p[1])


def without_decision(site, p):
    return site.propose("role.grant", ("person", "p5"), ("role", OPERATOR), ("decision", "d9")).approve(p[0]).approve(p[1])


def to_the_lapsed(site, p):
    return grant(site, person="p6", role="spokesperson").approve(p[0]).approve(p[1])


def proposed_by_nobody(site, p):
    return grant(site, by=p[9]).approve(p[0]).approve(p[1])


def no_text_of_ours(site, p):
    return Operation("chancery proposal 2\noperation: role.grant\n").approve(p[0]).approve(p[1])


MATRIX = [(nobody, "DENIED", "needs 2 approvals"), (one, "DENIED", "there are 1"), (same_twice, "DENIED", "approves twice"),
          (same_twice_in_two_roles, "DENIED", "p3"), (wrong_group, "DENIED", "no say"), (role_not_held, "DENIED", "is not HR Manager"),
          (unknown_person, "DENIED", "not on the register"), (key_of_another, "CRYPTO", "p1"), (lapsed_training, "DENIED", "older than 12 months"),
          (left, "DENIED", "has left"), (subject_of_it, "DENIED", "subject"), (expired, "STATE", "expired"), (too_long, "INPUT", "168"),
          (changed_parameter, "CRYPTO", "approval of p0"), (approved_something_else, "CRYPTO", "approval of p1"),
          (other_instance, "DENIED", "keyd/ca"), (other_instances_operation, "INPUT", "no operation of the register"),
          (nonce_of_nobody, "STATE", "nonce"), (another_register, "STATE", "register"), (crosses_groups, "DENIED", "group"),
          (without_decision, "NOTFOUND", "decision"), (to_the_lapsed, "DENIED", "5.3.4"), (proposed_by_nobody, "DENIED", "p9"),
          (no_text_of_ours, "INPUT", "chancery proposal")]


#= tsps#5.2.2 one person, the same twice, of another group, lapsed, left: nobody of these grants a role
@pytest.mark.parametrize("make,code,words", MATRIX, ids=[row[0].__name__ for row in MATRIX])
def test_an_operation_without_its_quorum_is_refused_on_record_and_changes_nothing(site, make, code, words):
    before, refusals = site.register(), len(site.records("operation.refused"))
    made = make(site, site.person)
    with pytest.raises(Refused) as refused:
        site.execute(made)
    assert refused.value.code == code, refused.value.problem
    assert words in refused.value.problem["detail"], refused.value.problem
    assert site.register() == before
    on_record = site.records("operation.refused")
    assert len(on_record) == refusals + 1
    assert on_record[-1]["instance"] == "register" and on_record[-1]["reason"] == refused.value.problem["detail"]
    assert on_record[-1]["actor"].startswith("local:")
    assert on_record[-1].get("proposal") == (None if code == "INPUT" and make is not other_instances_operation else made.hash())


def test_the_right_quorum_grants_once(site):
    p = site.person
    before = site.register()
    made = grant(site, "spokesperson").approve(p[3], HR).approve(p[1])
    done = site.execute(made)
    assert done["entries"] == before["entries"] + 1 and done["operation"] == "role.grant" and "p5" in done["words"]
    after = site.register()
    assert (after["entries"], after["head"]) == (done["entries"], done["head"])
    assert site.roles(p[5]) == ["spokesperson"]
    record = site.records("register.changed")[-1]
    assert (record["entry"], record["head"], record["proposal"], record["person"]) == (done["entries"], done["head"], made.hash(), "p5")
    with pytest.raises(Refused) as refused:  # replayed
        site.execute(made)
    assert refused.value.code == "CONFLICT" and site.register() == after
    again = Operation(made.text).approve(p[0]).approve(p[2])  # the same proposal with other approvals
    with pytest.raises(Refused) as refused:
        site.execute(again)
    assert refused.value.code == "CONFLICT" and site.register() == after
    site.by_founders("role.revoke", ("person", "p5"), ("role", "spokesperson"), ("reason", "done"))
    assert site.roles(p[5]) == []


def test_a_refused_operation_may_be_brought_again_with_the_approval_that_it_lacked(site):
    made = grant(site, "spokesperson").approve(site.person[0])
    with pytest.raises(Refused):
        site.execute(made)
    site.execute(made.approve(site.person[1]))
    site.by_founders("role.revoke", ("person", "p5"), ("role", "spokesperson"), ("reason", "done"))


def test_of_one_nonce_only_one_proposal_is_carried_out(site):
    given = site.world.call("POST", "/v1/operations/nonce")[1]
    made = [site.propose("decision.take", ("decision", name), ("title", "Twice"), nonce=given["nonce"]).approve(site.person[0])
            .approve(site.person[1]) for name in ("d-first", "d-second")]
    site.execute(made[0])
    with pytest.raises(Refused) as refused:
        site.execute(made[1])
    assert refused.value.code == "STATE" and "d-second" not in site.register()["decisions"]


def test_a_proposal_outlives_a_restart_and_its_nonce_is_still_good_once(site):
    made = site.propose("decision.take", ("decision", "d-long"), ("title", "Over lunch")).approve(site.person[0])
    nonce = made.text.split("nonce: ")[1][:32]
    other = site.propose("decision.take", ("decision", "d-other"), ("title", "Another"), nonce=nonce).approve(site.person[0]).approve(site.person[1])
    site.world.ca.stop(signal.SIGKILL)
    site.world.ca.start()
    site.execute(made.approve(site.person[1]))
    site.world.ca.stop()
    site.world.ca.start()  # what was used is known from the log
    with pytest.raises(Refused) as refused:
        site.execute(other)
    assert refused.value.code == "STATE" and "was used" in refused.value.problem["detail"]


def test_a_nonce_that_was_changed_or_is_of_another_ca_is_none(site):
    given = bytes.fromhex(site.world.call("POST", "/v1/operations/nonce")[1]["nonce"])
    for i in range(len(given)):
        changed = given[:i] + bytes([given[i] ^ 1]) + given[i + 1:]
        made = site.propose("decision.take", ("decision", "d-changed"), ("title", "x"), nonce=changed.hex())
        with pytest.raises(Refused) as refused:
            site.execute(made.approve(site.person[0]).approve(site.person[1]))
        assert refused.value.code == "STATE" and "nonce" in refused.value.problem["detail"]
    key = os.path.join(site.world.directory, "state", "register.nonce-key")
    assert os.stat(key).st_mode & 0o777 == 0o600
    made = site.propose("decision.take", ("decision", "d-changed"), ("title", "x")).approve(site.person[0]).approve(site.person[1])
    site.world.ca.stop()
    os.unlink(key)
    site.world.ca.start()
    with pytest.raises(Refused) as refused:
        site.execute(made)
    assert refused.value.code == "STATE" and "nonce" in refused.value.problem["detail"]


@pytest.mark.skipif(FAKETIME is None or kc.sanitized(), reason="needs the package faketime, which does not go with a sanitizer")
def test_a_nonce_is_good_for_a_week(site):
    """Proposed anew with an old nonce: the nonce has its own end."""
    given = site.world.call("POST", "/v1/operations/nonce")[1]["nonce"]
    site.world.ca.stop()
    site.world.ca.environment.update(LD_PRELOAD=FAKETIME, FAKETIME="+8d")
    try:
        site.world.ca.start()
        later = 8 * DAY
        made = site.propose("decision.take", ("decision", "d-week"), ("title", "x"), nonce=given, proposed=later)
        with pytest.raises(Refused) as refused:
            site.execute(made.approve(site.person[0], when=later).approve(site.person[1], when=later))
        assert refused.value.code == "STATE" and "week old" in refused.value.problem["detail"]
    finally:
        site.world.ca.stop()
        for name in ("LD_PRELOAD", "FAKETIME"):
            site.world.ca.environment.pop(name, None)
        site.world.ca.start()


def test_operations_brought_at_once_are_carried_out_one_after_the_other(site):
    before = site.register()
    made = [site.propose("decision.take", ("decision", f"d-at-once-{i}"), ("title", "At once")).approve(site.person[0]).approve(site.person[2])
            for i in range(8)]
    failed = []

    def bring(operation):
        try:
            site.execute(operation)
        except Exception as e:
            failed.append(e)
    threads = [threading.Thread(target=bring, args=(operation,)) for operation in made + made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(f.code for f in failed) == ["CONFLICT"] * 8
    after = site.register()
    assert after["entries"] == before["entries"] + 8
    assert {f"d-at-once-{i}" for i in range(8)} <= set(after["decisions"])
    entries = [r["entry"] for r in site.records("register.changed")]
    assert entries == list(range(1, after["entries"] + 1))


def test_the_entries_lead_to_the_same_head_by_anybodys_own_hashing(site):
    text = site.world.call("GET", "/v1/register/entries?from=1")[1]
    document = site.world.call("GET", "/v1/register/founding")[1]
    first, rest = text.split(b"\n", 1)
    assert first == b"chancery register 1"
    head, count = hashlib.sha256(document).digest(), 0
    while rest:
        line, rest = rest.split(b"\n", 1)
        name, number, when, length = line.decode().split(" ")
        count += 1
        assert name == "entry:" and int(number) == count and when.endswith("Z")
        operation, rest = rest[:int(length)], rest[int(length) + 1:]
        head = hashlib.sha256(b"chancery register 1\n" + head + hashlib.sha256(operation).digest()).digest()
    assert (count, head.hex()) == (site.register()["entries"], site.register()["head"])
    last = site.world.call("GET", f"/v1/register/entries?from={count}")[1]
    assert last.startswith(f"chancery register 1\nentry: {count} ".encode())
    assert site.world.call("GET", f"/v1/register/entries?from={count + 1}")[1] == b""


def test_what_somebody_writes_into_the_log_by_himself_is_no_entry(site):
    """Who may write records is no authority: everybody verifies, and passes over what does not stand."""
    before = site.register()
    alone = grant(site, "pki-manager").approve(site.person[0])
    for file in (alone.file(), "nothing", alone.file().replace("p5", "p4")):
        append(site, "register.changed", file, entry=before["entries"] + 1, head="00" * 32, actor="x")
    assert site.register() == before
    assert "is no entry of the register of persons and is passed over" in site.world.ca.log()
    site.decide("d-behind-a-forged-one")
    assert site.register()["entries"] == before["entries"] + 1


def test_who_edits_the_database_makes_nobody_an_administrator(site):
    before = site.register()
    tables = site.sqlite("select name from sqlite_master where type = 'table'").split()
    assert tables and not any("person" in table or "role" in table for table in tables)  # there is nothing to edit
    site.world.ca.stop()
    for table in tables:
        for column in site.sqlite(f"select name from pragma_table_info('{table}') where type like '%text%'").split():
            site.sqlite(f"update {table} set {column} = 'pki-manager' where {column} = 'operator'")
    site.world.ca.start()
    assert site.register() == before
    with pytest.raises(Refused) as refused:
        site.execute(grant(site).approve(site.person[9], HR).approve(site.person[0]))
    assert refused.value.code == "DENIED" and site.register() == before


def test_after_kill_9_and_restart_the_register_is_the_same(site):
    before = site.register()
    site.world.ca.stop(signal.SIGKILL)
    site.auditd.stop(signal.SIGKILL)
    assert site.auditd.start()
    site.world.ca.start()
    assert site.register() == before
    os.unlink(os.path.join(site.auditd.log, "control-index"))  # derived: without it the log is read
    site.auditd.stop(signal.SIGKILL)
    assert site.auditd.start()
    assert site.register() == before
    site.decide("d-after-restart")
    assert site.register()["entries"] == before["entries"] + 1


@needs_failpoints
def test_a_role_that_lapsed_is_on_record_once(site):
    """The ca looks at its start and each hour: the training of p6 became a year old while it ran."""
    tool = os.path.join(kc.BUILD, "src", "chancery")

    def lapsed():
        done = subprocess.run([tool, "audit", "show", "--log", site.auditd.log, "--event", "role.lapsed", "--json"], capture_output=True, text=True)
        return [(leaf["record"]["person"], leaf["record"]["roles"]) for leaf in json.loads(done.stdout or "[]")]
    for _ in range(2):
        site.world.ca.stop()
        site.world.ca.start()
    until(lambda: lapsed() == [("p6", HR)], 20)
    assert lapsed() == [("p6", HR)]


def test_a_ca_killed_behind_the_record_has_the_entry_at_its_next_start():
    with Site(build=FAILPOINTS) as site:
        before = site.register()
        site.world.ca.stop()
        site.world.ca.environment["CHANCERY_FAILPOINT"] = "ca.register-recorded"
        site.world.ca.start()
        made = site.propose("decision.take", ("decision", "d1"), ("title", "x")).approve(site.person[0]).approve(site.person[1])
        with pytest.raises(LOST):
            site.execute(made)
        site.world.ca.stop()
        del site.world.ca.environment["CHANCERY_FAILPOINT"]
        site.world.ca.start()
        assert site.register()["entries"] == before["entries"] + 1 and site.register()["decisions"] == ["d1"]
        with pytest.raises(Refused) as refused:
            site.execute(made)
        assert refused.value.code == "CONFLICT"


def test_without_auditd_nothing_is_carried_out(site):
    before = site.register()
    made = site.propose("decision.take", ("decision", "d-unrecorded"), ("title", "x")).approve(site.person[0]).approve(site.person[1])
    site.auditd.stop()
    with pytest.raises(Refused) as refused:
        site.execute(made)
    assert refused.value.code == "UNAVAILABLE"
    assert site.auditd.start()
    assert site.register() == before
    site.execute(made)
    assert "d-unrecorded" in site.register()["decisions"]


def test_once_there_is_a_management_ca_every_proposal_comes_with_its_crl(site):
    w, p = site.world, site.person
    site.found_cas()
    for values, why in ((site.naming(certificate=site.certificate("root")), "is not the management CA's"),
                        (site.naming(("group", "management")), "are named together"),
                        (site.naming(("group", "management"), ("holder", "keyd/nobody")), "there is no instance keyd/nobody")):
        with pytest.raises(Refused) as refused:
            site.by_founders("management.certificate", *values)
        assert why in refused.value.problem["detail"]
    site.by_founders("management.certificate", *site.naming())
    assert site.register()["management"] and w.call("POST", "/v1/operations/nonce")[1]["management"]
    with pytest.raises(Refused) as refused:
        site.decide("d-without-crl")
    assert refused.value.code == "STATE"
    person = w.component("an", "operator")
    site.management_crl = site.new_crl()
    site.by_founders("person.enrol", *p[8].enrolment(certificate_serial=person["serial"]))
    site.grant(p[8], HR)
    site.execute(grant(site, "spokesperson").approve(p[8], HR).approve(p[0]))
    old = site.management_crl
    w.revoke(person["serial"])
    site.management_crl = site.new_crl()
    with pytest.raises(Refused) as refused:  # revoked operator
        site.execute(grant(site, OPERATOR).approve(p[8], HR).approve(p[0]))
    assert "revoked" in refused.value.problem["detail"]
    site.decide("d-new-crl")
    with pytest.raises(Refused) as refused:  # a CRL from before it
        site.execute(grant(site, OPERATOR, crl=old).approve(p[8], HR).approve(p[0]))
    assert refused.value.code == "STATE" and "older than CRL" in refused.value.problem["detail"]


def test_a_ca_starts_on_its_own_founding_document_only(site):
    site.world.ca.stop()
    site.configure(digest="ab" * 32)
    with pytest.raises(AssertionError, match="founding-hash says another"):
        site.world.ca.start()
    site.world.write_conf()
    site.world.ca.start()
    with pytest.raises(Refused) as refused:
        site.register()
    assert refused.value.code == "NOTFOUND" and "keeps no register" in refused.value.problem["detail"]
    site.configure()
    site.world.ca.stop()
    site.world.ca.start()
    assert site.register()["entries"] > 0


def bring_at_both(site, second):
    """Twelve operations at once, half of them at each ca: who comes second has the first one's entry before its own."""
    failed = []

    def bring(world, name):
        try:
            site.decide(name, world=world)
        except Exception as e:
            failed.append(e)
    threads = [threading.Thread(target=bring, args=(world, f"d-{i}-{k}")) for k in range(6) for i, world in enumerate((site.world, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_two_cas_on_one_database_have_one_register(cluster):
    ca_world.CLUSTER = cluster
    try:
        with Site("postgresql-shared = yes") as site:
            second = World(audit=site.world.audit)
            try:
                with open(site.world.ca.config) as f:
                    text = f.read().replace(site.world.socket_path, second.socket_path)
                with open(second.ca.config, "w") as f:
                    f.write(text)
                second.ca.start()
                site.decide("d-one")
                site.decide("d-two", world=second)
                site.enrol(site.person[3])
                site.grant(site.person[3], HR, decision="d-two", world=second)
                assert site.register() == site.register(second)
                assert site.roles(site.person[3]) == [HR]
                made = site.propose("decision.take", ("decision", "d-three"), ("title", "x")).approve(site.person[0]).approve(site.person[1])
                site.execute(made, second)  # proposed at the first one
                assert site.register()["entries"] == 5
                bring_at_both(site, second)
                assert site.register() == site.register(second) and site.register()["entries"] == 17
                records = site.records("register.changed")
                assert [r["entry"] for r in records] == list(range(1, 18)) and records[-1]["head"] == site.register()["head"]
            finally:
                second.remove()
    finally:
        ca_world.CLUSTER = None
