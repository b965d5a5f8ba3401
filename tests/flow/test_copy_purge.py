"""A second place follows what two persons had removed from the log by itself, and nobody else removes anything there; one that comes new takes a log
that lacks what an operation lets go, and no other."""
import json
import os
import pathlib
import signal

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
from control_texts import moment
from log_copies import Key, Log
from purge_world import Purging, copy_of, empty_entry
from test_audit_kill import FAILPOINTS, needs_failpoints

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"


def second_place(site, directory, founding=True, build=None, key=None):
    """A copy of this log, which auditd does not dial yet."""
    directory.mkdir(exist_ok=True)
    copy = cw.Copy(directory, site.auditd.spki, build)
    if key:
        (directory / "log.vkey").write_text(key)
    if founding:
        with open(directory / "copy.conf", "a", encoding="utf-8") as f:
            f.write(f"founding = {site.founding}\nfounding-hash = {site.founding_hash}\n")
    return copy


def dial(site, *copies):
    assert site.auditd.stop() == 0
    with open(site.auditd.config, "a", encoding="utf-8") as f:
        f.writelines(copy.conf().replace("[copy second]", f"[copy {copy.directory.name}]") for copy in copies)
    assert site.auditd.start(), site.auditd.stderr()


def has_all(site, copy):
    def done():
        return copy.size() == site.auditd.status()["size"]
    return site.auditd.settled() and kc.wait_for(done, 20)


def purged(copy):
    """What the copy has on record of it."""
    return [json.loads(part[:part.index(b"}") + 1]) for part in copy.records().split(b'{"v":1')[1:] for part in [b'{"v":1' + part]
            if b'"event":"copy.purge' in part[:part.index(b"}") + 1]]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A log and a copy of before the purge; one that was approved since."""
    with Purging() as site:
        copy = second_place(site, tmp_path_factory.mktemp("second", numbered=False))
        try:
            copy.start()
            dial(site, copy)
            assert has_all(site, copy)
            site.before = pathlib.Path(site.auditd.directory, "before")
            copy_of(site.auditd.log, site.before)
            site.operation = site.purge(site.plan())
            assert kc.wait_for(lambda: site.empty() == site.old, 20)
            yield site, copy
        finally:
            copy.close()


def bundle(log, n):
    return pathlib.Path(aw.tile_path(log, "entries", n, 256))


def test_the_copy_follows_when_the_operation_is_in_its_own_records(both):
    site, copy = both
    assert kc.wait_for(lambda: site.empty(copy.log) == site.old, 20)
    record, = purged(copy)
    assert record["event"] == "copy.purged" and record["log"] == aw.ORIGIN and record["proposal"] == site.operation.hash()
    assert (record["records"], record["from"], record["to"]) == (len(site.old), site.old[0], site.old[-1])
    code, report = site.tool("verify", log=copy.log)
    assert code == 2 and report["records removed"] == len(site.old) and not report.get("findings"), report
    # It goes on, and a start does nothing again.
    site.auditd.load(1, 50)
    assert has_all(site, copy)
    assert copy.stop() == 0
    copy.start()
    site.auditd.load(1, 50)
    assert has_all(site, copy) and len(purged(copy)) == 1 and site.empty(copy.log) == site.old
    assert b"copy.refused" not in copy.records()


def test_nobody_removes_there_by_leaving_out_nor_brings_back(both, tmp_path):
    site, copy = both
    n = site.old[0] // 256
    here = bundle(copy.log, n).read_bytes()
    # The bundle as it was before is taken for what it is, and what is gone stays gone.
    assert copy.put(f"entries/{n:03d}", bundle(site.before, n).read_bytes())[0] == 204
    assert bundle(copy.log, n).read_bytes() == here
    # Whoever leaves out another record takes nothing away.
    other = tmp_path / "log"
    copy_of(site.before, other)
    empty_entry(other, site.old[0] + 5)
    assert copy.put(f"entries/{n:03d}", bundle(other, n).read_bytes())[0] == 204
    assert bundle(copy.log, n).read_bytes() == here
    # Anything else is another history, as ever.
    changed = bytearray(here)
    changed[40] ^= 1
    assert copy.put(f"entries/{n:03d}", bytes(changed))[0] == 409
    assert copy.put(f"entries/{n:03d}", here + b"\0\0")[0] == 409 and copy.put(f"entries/{n:03d}", here[:-3])[0] == 409
    assert bundle(copy.log, n).read_bytes() == here


def test_a_new_place_takes_a_purged_log_and_none_that_lacks_more(both, tmp_path):
    site, _ = both
    young, good = site.old[-1] + 7, tmp_path / "good"
    new, strict, deceived = (second_place(site, tmp_path / name, founding=name != "strict") for name in ("new", "strict", "deceived"))
    path = bundle(site.auditd.log, young // 256)
    try:
        for copy in (new, strict):
            copy.start()
        dial(site, new, strict)
        assert has_all(site, new)
        assert site.empty(new.log) == site.old and purged(new) == []
        code, report = site.tool("verify", log=new.log)
        assert code == 2 and report["records removed"] == len(site.old), report
        # Without the founding document nobody knows who lets go.
        assert kc.wait_for(lambda: any("no operation says so here" in each["failure"] for each in cw.condition(site.auditd.socket)), 20)
        assert strict.size() == 0 and b"copy.refused" in strict.records()
        # A record that somebody took out of the files: not at once an alarm, which the next checkpoint could answer; then one.
        good.write_bytes(path.read_bytes())
        empty_entry(site.auditd.log, young)
        deceived.start()
        dial(site, deceived)
        failure = lambda: " ".join(each["failure"] for each in cw.condition(site.auditd.socket))
        assert kc.wait_for(lambda: f"record {young} came without its content" in failure(), 20)
        assert b"copy.refused" not in deceived.records() and deceived.size() == 0
        site.auditd.load(1, 20)
        assert kc.wait_for(lambda: b"copy.refused" in deceived.records(), 20)
        assert deceived.size() == 0 and not (deceived.log / "checkpoint").exists()
        # The log is put right, and the copy takes what it lacked.
        path.write_bytes(good.read_bytes())
        assert has_all(site, deceived) and site.empty(deceived.log) == site.old
    finally:
        for copy in (new, strict, deceived):
            copy.close()


def rewritten(site, directory, *further):
    """The log as somebody with its key could go on with it: a Log with these records behind those that there are."""
    key, size = Key(), int(cw.note_of(site.before).splitlines()[1])
    log = Log(size, key, str(directory))
    copy_of(site.before, log.directory)
    leaves = aw.entries(site.before, size)[size // 256 * 256:] + list(further)
    log.build(lambda n: leaves[(n - size // 256) * 256:], size // 256 * 256, size // 256 * 256 + len(leaves), key)
    return log


def put_all(copy, log):
    for path in sorted(pathlib.Path(log.directory, "tile").rglob("*")):
        if path.is_file():
            assert copy.put(path.relative_to(pathlib.Path(log.directory, "tile")).as_posix(), path.read_bytes())[0] == 204, path
    return copy.add(0, [], cw.note_of(log.directory))


def envelopes(first, *records):
    """By auditd itself, with these numbers from `first` on."""
    for seq, (event, fields) in enumerate(records, first):
        record = dict(v=1, id=os.urandom(16).hex(), time=moment(), event=event, component="auditd", tx=os.urandom(16).hex(), **fields)
        yield json.dumps({"v": 1, "seq": seq, "at": moment(), "by": "auditd", "record": record}, separators=(",", ":")).encode()


def test_what_may_not_go_by_its_own_rules_stays_there_whatever_the_log_says(tmp_path):
    """An auditd that was taken over begins an operation that it should have refused: two persons approved, and a record is not old."""
    with Purging() as site:
        young = site.old[0] + 4
        operation = site.purge(site.plan(), records=str(young), count=1)
        assert kc.wait_for(lambda: site.events("log.purge_refused"), 20)
        assert site.auditd.settled()
        site.before = pathlib.Path(site.auditd.directory, "before")
        copy_of(site.auditd.log, site.before)
        size = site.auditd.status()["signed"]
        fields = {"proposal": operation.hash(), "entry": site.register()["entries"], "records": 1, "from": young, "to": young}
        log = rewritten(site, tmp_path / "work", *envelopes(size, ("log.purged", fields)))
        copy = second_place(site, tmp_path / "place", key=log.private.text)
        try:
            copy.start()
            status, _, answer = put_all(copy, log)
            assert status == 200, answer
            assert kc.wait_for(lambda: purged(copy), 20)
            record, = purged(copy)
            assert record["event"] == "copy.purge_refused" and record["proposal"] == operation.hash() and f"record {young}" in record["reason"]
            assert site.empty(copy.log) == []
            assert copy.stop() == 0
            copy.start()
            assert not kc.wait_for(lambda: len(purged(copy)) > 1, 2)
        finally:
            copy.close()


@needs_failpoints
@pytest.mark.parametrize("point", ["copy.purge", "audit.purge:1", "audit.purge:2"] if LONG else ["copy.purge", "audit.purge:2"])
def test_a_copy_killed_in_between_goes_on_at_its_next_start(point, tmp_path):
    with Purging() as site:
        copy = second_place(site, tmp_path / "place", build=FAILPOINTS)
        try:
            copy.start(["env", f"CHANCERY_FAILPOINT={point}"])
            dial(site, copy)
            assert has_all(site, copy)
            site.purge(site.plan())
            assert copy.daemon.process.wait(30) == -signal.SIGKILL
            code, report = site.tool("verify", log=copy.log)
            assert code == 2 and not report.get("findings"), report
            copy.start()
            assert kc.wait_for(lambda: site.empty(copy.log) == site.old, 20)
            assert has_all(site, copy)
            assert b"copy.refused" not in copy.records()
        finally:
            copy.close()
