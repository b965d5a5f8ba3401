"""Content removed from the log by two persons, and by nobody else: hashes, root and proofs stay, and whoever verifies finds what went without them."""
import os
import pathlib
import shutil
import subprocess

import pytest

import audit_world as aw
import keyd_client as kc
from ca_world import Refused
from control_people import AUTHORITY, put_record
from control_texts import moment
from purge_world import AUDITOR, OLD, OPERATOR, Purging, copy_of, empty_entry, named, put_old
from register_world import now
from test_audit_kill import FAILPOINTS, needs_failpoints

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"


@pytest.fixture(scope="module")
def site():
    with Purging("publish-directory = public\npublish-entries = yes\n") as made:
        yield made


def test_the_plan_names_what_is_old_and_changes_nothing(site):
    before = site.empty()
    plan = site.plan()
    part, = plan["operations"]
    assert named(part["records"]) == site.old and part["count"] == plan["count"] == len(site.old) and before == site.empty() == []
    assert [row["kept as"] for row in plan["classes"]] == ["system"] and plan["classes"][0]["oldest"] == OLD
    assert plan["approvals"].startswith("2, by 2 persons")
    assert site.plan("--as-of", "2020-02-01")["count"] == 0


def test_nothing_else_than_two_persons_for_this_very_log_removes_anything(site):
    plan = site.plan()
    auditor, member, operator = (site.person[3], AUDITOR), (site.person[0], AUTHORITY), (site.person[4], OPERATOR)
    for approvers in ([auditor], [member], [member, (site.person[1], AUTHORITY)], [operator, member], [auditor, operator]):
        with pytest.raises(Refused):
            site.purge(plan, approvers)
    for changes in ({"count": plan["count"] + 1}, {"decision": "d9"}, {"records": plan["operations"][0]["records"].replace(",", ", ", 1)}, {"size": site.old[-1]},
                    {"kept_until": moment(now().replace(year=now().year + 1))}):
        with pytest.raises(Refused):
            site.purge(plan, **changes)
    # These have their approvals, and still are about another log, or about what is not old.
    young = str(site.old[0] + 4)
    wrong = [{"root": "00" * 32}, {"log": "another.test/log"}, {"records": young, "count": 1},
             {"kept_until": "2021-01-01T00:00:00.000000Z"}, {"size": 4_000_000}]
    for number, changes in enumerate(wrong, 1):
        operation = site.purge(plan, **changes)
        assert kc.wait_for(lambda: len(site.events("log.purge_refused")) == number, 20), changes
        assert site.events("log.purge_refused")[-1]["record"]["proposal"] == operation.hash()
    assert site.empty() == []
    code, report = site.tool("verify")
    assert code == 2 and "records removed" not in report, report


def test_what_two_persons_let_go_is_gone_everywhere_and_the_log_is_what_it_was(site):
    plan, saved = site.plan(), pathlib.Path(site.auditd.directory, "before")
    copy_of(site.auditd.log, saved)
    old = (saved / "checkpoint").read_bytes()
    proof = pathlib.Path(site.auditd.directory, "older")
    proof.write_bytes(old)
    # What a process that died has left beside a bundle has the same content.
    left = [pathlib.Path(aw.tile_path(site.auditd.log, "entries", site.old[0] // 256, 256) + name) for name in (".p/7", ".a1b2c3d4e5f6.new")]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"what is to go")
    operation = site.purge(plan)
    assert kc.wait_for(lambda: site.empty() == site.old, 20)
    assert not any(path.exists() for path in left)
    # On record before, by the very proposal.
    purged, = site.events("log.purged")
    assert purged["record"]["proposal"] == operation.hash() and purged["record"]["records"] == len(site.old)
    assert (purged["record"]["from"], purged["record"]["to"]) == (site.old[0], site.old[-1])
    public = pathlib.Path(site.auditd.directory, "public")
    assert kc.wait_for(lambda: site.auditd.settled() and site.empty(public) == site.old, 20)
    assert site.has_signed_root()
    code, report = site.tool("verify", "--anchor", str(proof))
    assert code in (0, 2) and report["records removed"] == len(site.old) and not report.get("findings"), report
    assert any("p3, p0" in words and "their time was over" in words for words in report["checked"]), report
    # Without the founding document it says what it cannot say.
    code, report = site.tool("verify", founding=False)
    assert any("whether somebody might remove it" in words for words in report["not checked"])
    # Neighbours are proved as before; what is gone is not.
    out = pathlib.Path(site.auditd.directory, "proof")
    for index, wanted in ((site.old[0], 1), (site.old[0] - 1, 0)):
        key = pathlib.Path(site.auditd.directory, "log.vkey")
        done = subprocess.run([site.auditd.build + "/src/chancery", "audit", "prove", "--record", str(index), "--out", str(out), "--log", site.auditd.log,
                               "--key", str(key)], capture_output=True, text=True)
        assert (done.returncode != 0) == bool(wanted), done.stderr
    assert site.plan()["count"] == 0
    # The same approvals do not count twice, and another place follows only its own log.
    with pytest.raises(Refused):
        site.execute(operation)
    code, answer = site.tool("purge", "--apply", log=saved)
    assert code == 0 and answer["records removed"] == 0, answer
    other = pathlib.Path(site.auditd.directory, "other")
    copy_of(site.auditd.log, other)
    for bundle in (other / "tile" / "entries").glob("*"):
        if bundle.is_file() and (saved / "tile" / "entries" / bundle.name).exists():
            shutil.copy(saved / "tile" / "entries" / bundle.name, bundle)
    assert site.empty(other) == []
    code, answer = site.tool("purge", "--apply", log=other)
    assert code == 0 and answer["records removed"] == len(site.old) and site.empty(other) == site.old, answer
    # Nothing of it is written again by a start, and everybody who reads the log can.
    assert site.auditd.stop() == 0
    assert site.auditd.start()
    site.auditd.load(1, 20)
    assert site.auditd.settled() and site.empty() == site.old and len(site.events("log.purged")) == 1


def test_an_operation_about_another_log_lets_nothing_go(site, tmp_path):
    """Approved, refused by auditd, and carried out by somebody with the files: a finding."""
    log = tmp_path / "log"
    copy_of(site.auditd.log, log)
    young = site.old[0] + 4
    empty_entry(log, young)
    code, report = site.tool("verify", log=log)
    assert code == 1 and report["first bad record"] == young, report


def test_what_is_gone_without_an_operation_is_found_and_placed(site, tmp_path):
    log = tmp_path / "log"
    copy_of(site.auditd.log, log)
    index = site.old[-1] + 7
    empty_entry(log, index)
    code, report = site.tool("verify", log=log)
    assert code == 1 and report["first bad record"] == index and "no operation of two persons" in report["problem"], report
    assert site.tool("purge", "--apply", log=log)[0] != 0
    # And the hash cannot be changed with it.
    tile = pathlib.Path(aw.tile_path(log, 0, index // 256, 256))
    hashes = bytearray(tile.read_bytes())
    hashes[32 * (index % 256)] ^= 1
    tile.write_bytes(hashes)
    assert site.tool("verify", log=log)[0] == 1


def test_a_person_is_erased_and_what_is_not_about_persons_is_not(site):
    client = kc.Client(site.auditd.socket)
    client.close()
    size = site.auditd.status()["size"]
    put_old(site, 1, "certificate.refused", '"ca":"issuing","profile":"ncp-n","reason":"no name","actor":"p4"')
    site.auditd.load(1, 300)
    assert site.auditd.settled()
    code, answer = site.tool("purge", "--records", "0")
    assert code != 0 and "not about a person" in str(answer)
    plan = site.plan("--records", str(size))
    assert plan["count"] == 1 and "kept until" not in plan
    site.purge(plan)
    assert kc.wait_for(lambda: site.empty() == sorted([*site.old, size]), 20)
    code, report = site.tool("verify")
    assert code == 2 and report["records removed"] == len(site.old) + 1 and any("as an erasure" in words for words in report["checked"]), report


def test_that_auditd_began_is_believed_of_auditd_alone(site, tmp_path):
    """Two persons approved, auditd refused; a writer of records says that it was begun, and somebody with the files does it."""
    young = site.old[0] + 4
    refused, = [e["record"] for e in site.events("log.purge_refused") if f"record {young} is" in e["record"]["reason"]]
    index = put_record(site.auditd.socket, "log.purged", proposal=refused["proposal"], entry=refused["entry"], records=1, **{"from": young, "to": young})
    assert site.auditd.settled()
    log = tmp_path / "log"
    copy_of(site.auditd.log, log)
    code, report = site.tool("verify", log=log)
    assert code == 1 and report["first bad record"] == index and "somebody else wrote this" in report["problem"], report
    empty_entry(log, young)
    code, report = site.tool("verify", log=log)
    assert code == 1 and {young, index} <= {finding["record"] for finding in report["findings"]}, report
    # Nor can a writer have that name.
    other = tmp_path / "auditd.conf"
    other.write_text(pathlib.Path(site.auditd.config).read_text() + "writer = auditd root\n")
    done = subprocess.run([site.auditd.build + "/src/chancery-auditd", "--config", str(other)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 13 and "take another" in done.stderr, done.stderr


@needs_failpoints
@pytest.mark.parametrize("point", ["auditd.purge", "audit.purge:1", "audit.purge:2"] if LONG else ["audit.purge:2"])
def test_killed_in_between_it_goes_on_at_the_next_start(point):
    with Purging(build=FAILPOINTS) as site:
        plan = site.plan()
        assert site.auditd.stop() == 0
        assert site.auditd.start(environment={"CHANCERY_FAILPOINT": point})
        site.purge(plan)
        site.auditd.process.wait(20)
        code, report = site.tool("verify")
        assert code == 2 and not report.get("findings"), report
        assert site.auditd.start()
        assert kc.wait_for(lambda: site.empty() == site.old, 20)
        code, report = site.tool("verify")
        assert code == 2 and report["records removed"] == len(site.old), report
