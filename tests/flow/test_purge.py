"""Content removed from the log by two persons, and by nobody else: hashes, root and proofs stay, and whoever verifies finds what went without them."""
import contextlib
import json
import os
import pathlib
import signal
import shutil
import subprocess

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
from ca_world import Refused
from control_people import AUTHORITY
from control_texts import moment
from register_world import Site, now
from test_audit import append, record
from test_audit_kill import FAILPOINTS, needs_failpoints

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
AUDITOR, OPERATOR = "system-auditor", "pki-operator"
OLD = "2020-01-01T00:00:00.000000Z"


def put_old(site, count, event="service.stopped", fields='"reason":"asked to"'):
    """Records of years ago, as a journal brings them."""
    client = kc.Client(site.auditd.socket)
    records = [record(event, fields) for _ in range(count)]
    append(client, *((identity, text.replace(b"2026-01-02T03:04:05.000006Z", OLD.encode())) for identity, text in records), kind=4)
    client.close()


def copy_of(log, to):
    """Of a log that is being written: what is renamed meanwhile is not there under its other name any more."""
    def copy(source, target):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy2(source, target)
    shutil.copytree(log, to, ignore=shutil.ignore_patterns("*.new"), copy_function=copy)


class Purging(Site):
    """A site whose auditd knows the founding document, with an auditor, and a log some bundles long of which some records are old."""

    def __init__(self, extra="", **more):
        super().__init__(**more)
        self.auditd_extra = extra

    def __enter__(self):
        super().__enter__()
        try:
            assert self.auditd.stop() == 0
            with open(self.auditd.config, "a", encoding="utf-8") as f:
                f.write(f"founding = {self.founding}\nfounding-hash = {self.founding_hash}\n{self.auditd_extra}")
            assert self.auditd.start(), self.auditd.stderr()
            for person, role in ((self.person[3], AUDITOR), (self.person[4], OPERATOR)):
                self.enrol(person)
            self.decide()
            self.grant(self.person[3], AUDITOR)
            self.grant(self.person[4], OPERATOR)
            self.old = []
            for _ in range(3):
                first = self.auditd.status()["size"]
                put_old(self, 4)
                self.old += range(first, first + 4)
                self.auditd.load(1, 100)
            self.auditd.load(1, 400)
            assert self.auditd.settled()
            return self
        except BaseException:
            self.__exit__()
            raise

    def tool(self, *arguments, log=None, founding=True):
        key = pathlib.Path(self.auditd.directory, "log.vkey")
        key.write_text(cw.verifier_key(aw.ORIGIN, 1, self.auditd.spki) + "\n")
        command = [self.auditd.build + "/src/chancery", "--json", "audit", *arguments, "--log", str(log or self.auditd.log), "--key", str(key)]
        done = subprocess.run(command + (["--founding", str(self.founding)] if founding else []), capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr

    def plan(self, *more):
        code, plan = self.tool("purge", *more)
        assert code == 0, plan
        return plan

    def purge(self, plan, approvers=None, **changes):
        kept = [("kept-until", plan["kept until"])] if "kept until" in plan else []
        values = [("log", plan["log"]), ("size", plan["size"]), ("root", plan["root"]), ("records", plan["records"]), ("count", plan["count"]), *kept,
                  ("reason", "their time is over"), ("decision", "d1")]
        values = [(name, changes.get(name.replace("-", "_"), value)) for name, value in values]
        operation = self.propose("log.purge", *values)
        for person, role in approvers or ((self.person[3], AUDITOR), (self.person[0], AUTHORITY)):
            operation.approve(person, role)
        self.execute(operation)
        return operation

    def empty(self, log=None):
        size = int(cw.note_of(log or self.auditd.log).splitlines()[1])
        return [index for index, entry in enumerate(aw.entries(log or self.auditd.log, size - size % 256)) if entry == b""]

    def events(self, event):
        assert self.auditd.settled()
        size = self.auditd.status()["signed"]
        envelopes = [json.loads(entry) for entry in aw.entries(self.auditd.log, size) if entry]
        return [e for e in envelopes if e["record"]["event"] == event]


@pytest.fixture(scope="module")
def site():
    with Purging("publish-directory = public\npublish-entries = yes\n") as made:
        yield made


def roots_of(site):
    """Root by an outsider's arithmetic over the hashes of the tiles, and the signed one."""
    size = site.auditd.status()["signed"]
    leaves = [site_hash for n in range((size + 255) // 256) for site_hash in [aw.read_tile(site.auditd.log, 0, n, min(256, size - 256 * n))]]
    hashes = [tile[i:i + 32] for tile in leaves for i in range(0, len(tile), 32)]
    return aw.root_of(hashes[:size])


def test_the_plan_names_what_is_old_and_changes_nothing(site):
    before = site.empty()
    plan = site.plan()
    named = [index for part in plan["records"].split(",") for index in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)]
    assert named == site.old and plan["count"] == len(site.old) and before == site.empty() == []
    assert [row["kept as"] for row in plan["classes"]] == ["system"] and plan["classes"][0]["oldest"] == OLD and plan["more"] is False
    assert site.plan("--as-of", "2020-02-01")["count"] == 0


def test_nothing_else_than_two_persons_for_this_very_log_removes_anything(site):
    plan = site.plan()
    auditor, member, operator = (site.person[3], AUDITOR), (site.person[0], AUTHORITY), (site.person[4], OPERATOR)
    for approvers in ([auditor], [member], [member, (site.person[1], AUTHORITY)], [operator, member], [auditor, operator]):
        with pytest.raises(Refused):
            site.purge(plan, approvers)
    for changes in ({"count": plan["count"] + 1}, {"decision": "d9"}, {"records": plan["records"].replace(",", ", ", 1)}, {"size": site.old[-1]},
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
    operation = site.purge(plan)
    assert kc.wait_for(lambda: site.empty() == site.old, 20)
    # On record before, by the very proposal.
    purged, = site.events("log.purged")
    assert purged["record"]["proposal"] == operation.hash() and purged["record"]["records"] == len(site.old)
    assert (purged["record"]["first"], purged["record"]["last"]) == (site.old[0], site.old[-1])
    public = pathlib.Path(site.auditd.directory, "public")
    assert kc.wait_for(lambda: site.auditd.settled() and site.empty(public) == site.old, 20)
    assert roots_of(site).hex() == site.plan()["root"]
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
    assert code == 0 and answer["records removed"] == 0
    other = pathlib.Path(site.auditd.directory, "other")
    copy_of(site.auditd.log, other)
    for bundle in (other / "tile" / "entries").glob("*"):
        if bundle.is_file() and (saved / "tile" / "entries" / bundle.name).exists():
            shutil.copy(saved / "tile" / "entries" / bundle.name, bundle)
    assert site.empty(other) == []
    code, answer = site.tool("purge", "--apply", log=other)
    assert code == 0 and answer["records removed"] == len(site.old) and site.empty(other) == site.old
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


def empty_entry(log, index):
    """As whoever can write the files does it."""
    path = pathlib.Path(aw.tile_path(log, "entries", index // 256, 256))
    bundle, out = path.read_bytes(), b""
    for number in range(256):
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2:2 + length], bundle[2 + length:]
        out += b"\0\0" if number == index % 256 else length.to_bytes(2, "big") + entry
    path.write_bytes(out)


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
