"""The log at a second place: all of it, in order, cosigned there when it is there; another history is refused and on record."""
import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
from test_audit import append, record, set_keys
from test_audit_kill import FAILPOINTS, needs_failpoints

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"


def pair(directory, **more):
    world = aw.World()
    world.start_keyd()
    copy = cw.Copy(directory, world.spki)
    with open(world.config, "a") as f:
        f.write(copy.conf(**more))
    return world, copy


@pytest.fixture
def both(tmp_path):
    world, copy = pair(tmp_path)
    yield world, copy
    world.remove()
    copy.close()


def copied(world, copy):
    """Everything that was acknowledged is under a cosigned checkpoint there, and the log's side knows it."""
    def done():
        now = cw.condition(world.socket)[0]
        return now["size"] == world.status()["size"] and now["behind"] == 0
    return world.settled() and kc.wait_for(done, 30)


def holds_all(world, copy):
    """The copy is the log: an outsider reads the same records, and its checkpoint has both signatures."""
    there = aw.verify_log(copy.log, world.spki)
    assert there == aw.verify_log(world.log, world.spki)
    seconds = cw.cosigned(cw.note_of(copy.log), copy.spki)
    assert abs(seconds - time.time()) < 120
    kept = pathlib.Path(world.log, "cosigned", "second").read_text(encoding="utf-8")
    assert cw.cosigned(kept, copy.spki) == seconds and kept == cw.note_of(copy.log)
    return there


def test_the_log_is_copied_and_cosigned_while_it_grows(both):
    world, copy = both
    copy.start()
    assert world.start()
    for _ in range(3 if LONG else 2):
        world.load(4, 100)
        assert copied(world, copy)
        holds_all(world, copy)
    assert (copy.log / "cosigner").read_text() == cw.verifier_key(cw.NAME, 4, copy.spki) + "\n"
    # No partial tile but those of the newest tree is left there.
    size = copy.size()
    widths = {int(path.name) for path in copy.log.glob("tile/**/*.p/*")}
    assert widths == {size % 256, size // 256}
    # The cosigned checkpoint kept beside the log is an anchor for `audit verify`, and the copy verifies by itself.
    assert world.verify("--anchor", os.path.join(world.log, "cosigned", "second"))[0] == 0
    assert world.stop() == 0
    world.log, log = copy.log, world.log
    assert world.verify()[0] == 2
    world.log = log


def test_its_page_of_metrics_is_there_and_that_of_its_keyd(both):
    world, copy = both
    copy.start()
    assert copy.page()["chancery_copy_leaves", ()] == copy.page()["chancery_copy_refusing", ()] == 0
    assert world.start()
    world.load(1, 10)
    assert copied(world, copy)
    page, keyd = copy.page(), copy.page("/metrics/keyd")
    assert page["chancery_copy_leaves", ()] == copy.size() > 10 and ("chancery_build_info", (("daemon", "copy"), ("version", "0.1.0"))) in page
    assert page["chancery_http_requests_total", (("class", "2xx"), ("listener", "log"))] > 0
    assert keyd["chancery_keyd_signatures_total", (("key", "copy"), ("purpose", "log"))] >= 1
    assert copy.page("/metrics/auditd") == 404
    copy.keyd.stop()
    assert copy.page("/metrics/keyd") == 503 and copy.page()["chancery_copy_leaves", ()] == copy.size()
    copy.keyd.start()


def test_a_copy_that_was_away_gets_what_it_lacks_in_order(tmp_path):
    world, copy = pair(tmp_path, alarm="300ms")
    try:
        assert world.start()
        world.load(4, 500)
        assert kc.wait_for(lambda: cw.condition(world.socket)[0]["late"])
        away, = cw.condition(world.socket)
        assert away["size"] == 0 and away["behind"] > 300_000 and "no answer" in away["failure"]
        assert "ALARM: the log is not copied to second" in world.stderr()
        copy.start()
        assert copied(world, copy)
        # Killed at any time, it goes on from what it has; so does auditd.
        for victim in ("copy", "auditd") * (5 if LONG else 1):
            load = world.load(2, 2000 if LONG else 400, wait=False)
            time.sleep(0.1)
            if victim == "copy":
                copy.kill()
                copy.start()
            else:
                assert world.stop(signal.SIGKILL) == -signal.SIGKILL
                assert world.start()
            load.wait(60)
            load.lines.close()
            assert copied(world, copy)
        envelopes = holds_all(world, copy)
        events = [e["record"] for e in envelopes if e["record"]["event"].startswith("copy.")]
        assert events[0]["event"] == "copy.late" and events[0]["copy"] == "second" and "no answer" in events[0]["reason"]
        assert "copy.resumed" in [e["event"] for e in events]
        assert b"copy.refused" not in copy.records()
    finally:
        world.remove()
        copy.close()


def save(world, tmp_path):
    """The log and what keyd of the log zone remembers of it: a complete backup."""
    saved = tmp_path / "saved"
    shutil.copytree(world.log, saved / "log")
    shutil.copytree(os.path.join(world.keyd.directory, "state", "heads"), saved / "heads")
    return saved


def put_back(world, saved):
    shutil.rmtree(world.log)
    shutil.copytree(saved / "log", world.log)
    heads = os.path.join(world.keyd.directory, "state", "heads")
    shutil.rmtree(heads)
    shutil.copytree(saved / "heads", heads)


@pytest.mark.parametrize("records", [3, 400], ids=["in a partial tile", "in full tiles"])
def test_another_history_is_refused_and_on_record_there(both, tmp_path, records):
    world, copy = both
    copy.start()
    assert world.start()
    world.load(1, 10)
    assert copied(world, copy)
    assert world.stop() == 0
    world.keyd.stop()
    saved = save(world, tmp_path)
    world.keyd.start()
    assert world.start()
    world.load(1, records)
    assert copied(world, copy)
    cosigned, held = copy.size(), cw.note_of(copy.log)
    assert world.stop() == 0
    world.keyd.stop()
    put_back(world, saved)  # yesterday's complete backup, keyd's memory and all
    world.keyd.start()
    assert world.start()
    append(kc.Client(world.socket), record())
    assert kc.wait_for(lambda: cw.condition(world.socket)[0]["late"])
    assert "leaves were lost" in cw.condition(world.socket)[0]["failure"]
    world.load(1, records + 20)  # it is longer now, and another
    assert world.settled()
    assert kc.wait_for(lambda: "fork" in cw.condition(world.socket)[0]["failure"])
    assert copy.size() == cosigned and cw.note_of(copy.log) == held
    assert copy.page()["chancery_copy_refusing", ()] == 1
    refused = copy.records()
    assert b"copy.refused" in refused and b"fork" in refused
    late = [e["record"] for e in aw.verify_log(world.log, world.spki) if e["record"]["event"] == "copy.late"]
    assert late
    assert copy.request("GET", "/healthz")[0] == 503


@needs_failpoints
def test_a_copy_killed_between_cosigning_and_keeping_goes_on(tmp_path):
    """keyd's head is further than what the copy kept, time and again."""
    world = aw.World()
    world.start_keyd()
    copy = cw.Copy(tmp_path, world.spki, FAILPOINTS)
    with open(world.config, "a") as f:
        f.write(copy.conf())
    try:
        assert world.start()
        for n in (1, 2, 1):
            copy.start(["env", f"CHANCERY_FAILPOINT=copy.cosigned:{n}"])
            for _ in range(n):
                world.load(1, 40)
                world.settled()
                time.sleep(0.2)
            assert copy.daemon.process.wait(20) == -signal.SIGKILL
            client = copy.keyd.client()
            head = client.log_head("copy")[0]
            assert not (copy.log / "checkpoint").exists() or head > int(cw.note_of(copy.log).splitlines()[1])
        copy.start()
        assert copied(world, copy)
        holds_all(world, copy)
        assert b"copy.refused" not in copy.records()
    finally:
        world.remove()
        copy.close()


def prove(leaves, old, new):
    """RFC 6962, section 2.1.2, from the leaves' hashes."""
    def sub(m, hashes, whole):
        if m == len(hashes):
            return [] if whole else [aw.root_of(hashes)]
        k = 1 << ((len(hashes) - 1).bit_length() - 1)
        if m <= k:
            return sub(m, hashes[:k], whole) + [aw.root_of(hashes[k:])]
        return sub(m - k, hashes[k:], False) + [aw.root_of(hashes[:k])]
    return sub(old, leaves[:new], True) if 0 < old < new else []


def test_the_witness_protocol_says_what_is_wrong(tmp_path):
    """By a client of the specification, c2sp.org/tlog-witness, with the real log's checkpoints."""
    world = aw.World()
    world.start_keyd()
    copy = cw.Copy(tmp_path, world.spki)
    copy.start()
    try:
        assert world.start()
        world.load(1, 20)
        assert world.settled()
        first = cw.note_of(world.log)
        size = int(first.splitlines()[1])
        bundle, tile = aw.read_tile(world.log, "entries", 0, size), aw.read_tile(world.log, 0, 0, size)
        for peer in ("va", None):
            try:
                assert copy.add(0, [], first, peer=peer)[0] == 403
            except OSError:
                assert peer is None
        # Records that are not here are not cosigned.
        assert copy.add(0, [], first)[0] == 422 and copy.size() == 0
        assert copy.put(f"entries/000.p/{size}", bundle)[0] == 204
        assert copy.put(f"0/000.p/{size}", tile)[0] == 204
        assert copy.put(f"0/000.p/{size}", tile)[0] == 204
        assert copy.put(f"0/000.p/{size}", bytes(32 * size))[0] == 409
        for path, body in (("0/000.p/0", tile), ("0/000.p/256", tile), ("0/0", tile), ("8/000", tile), ("entries/000/", tile), ("../checkpoint", tile),
                           ("0/000.p/020", tile), ("0/x000/000", tile), ("-1/000", tile), (f"0/000.p/{size}", tile[:-1]), (f"0/000.p/{size + 1}", tile)):
            assert copy.put(path, body)[0] in (400, 404), path
        status, kind, answer = copy.add(0, [], first)
        assert status == 200 and kind == "text/plain"
        cw.cosigned(first + answer, copy.spki)
        world.load(1, 30)
        assert world.settled()
        second = cw.note_of(world.log)
        larger = int(second.splitlines()[1])
        leaves = [aw.leaf_hash(entry) for entry in aw.entries(world.log, larger)]
        proof = prove(leaves, size, larger)
        assert copy.put(f"entries/000.p/{larger}", aw.read_tile(world.log, "entries", 0, larger))[0] == 204
        assert copy.put(f"0/000.p/{larger}", aw.read_tile(world.log, 0, 0, larger))[0] == 204
        assert copy.add(0, [], second) == (409, "text/x.tlog.size", f"{size}\n")
        assert copy.add(size + 1, proof, second)[:2] == (409, "text/x.tlog.size")
        assert copy.add(size, proof[:-1] + [bytes(32)], second)[0] == 422
        assert copy.add(size, [bytes(31)], second)[0] == 400
        assert copy.add(size, [], second.replace(aw.ORIGIN, "other.test/log"))[0] == 404
        text, signatures = second.rsplit("\n\n", 1)
        assert copy.add(size, proof, text.replace(f"\n{larger}\n", f"\n{larger + 1}\n") + "\n\n" + signatures)[0] == 403
        assert copy.request("POST", "/add-checkpoint", b"new 1\n\n" + second.encode(), "text/plain")[0] == 400
        status, _, answer = copy.add(size, proof, second)
        assert status == 200
        cw.cosigned(second + answer, copy.spki)
        # The same again is cosigned again; an older one is not.
        status, _, again = copy.add(larger, [], second)
        assert status == 200 and cw.cosigned(second + again, copy.spki) >= cw.cosigned(second + answer, copy.spki)
        assert copy.add(larger, [], first)[0] == 400
        assert aw.verify_log(copy.log, world.spki) == aw.verify_log(world.log, world.spki)
    finally:
        world.remove()
        copy.close()


def test_a_copy_changed_by_hand_is_found(both):
    world, copy = both
    copy.start()
    assert world.start()
    world.load(1, 600)
    assert copied(world, copy)
    bundle = copy.log / "tile" / "entries" / "000"
    good = bundle.read_bytes()
    bundle.write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
    key = copy.directory / "log.vkey"
    verify = [world.build + "/src/chancery", "audit", "verify", "--json", "--log", str(copy.log), "--key", str(key)]
    done = subprocess.run(verify, capture_output=True, text=True)
    assert done.returncode == 1 and "first bad record" in done.stdout
    bundle.write_bytes(good)
    assert subprocess.run(verify, capture_output=True, text=True).returncode == 2


def test_a_copy_follows_the_logs_key(both):
    world, copy = both
    copy.start()
    spki = world.keyd.client().generate("log-2027", token="log", type="ed25519", purposes=kc.LOG, origin=aw.ORIGIN)["spki"]
    assert world.start()
    world.load(1, 300)
    assert copied(world, copy)
    set_keys(world, "log-2027", outgoing="log")  # the copy knows the old key alone
    world.load(1, 10)
    assert copied(world, copy)
    end = copy.size()
    set_keys(world, "log-2027")
    assert kc.wait_for(lambda: "did not sign" in cw.condition(world.socket)[0]["failure"])
    assert copy.size() >= end
    assert copy.stop() == 0
    keys = copy.directory / "log.vkey"
    keys.write_text(f"{cw.verifier_key(aw.ORIGIN, 1, spki)}\n{keys.read_text().strip()} until {end + 10}\n")
    copy.start()
    assert copied(world, copy)
    assert aw.verify_log(copy.log, spki) == aw.verify_log(world.log, spki)


def test_status_tells_of_copies_and_stamps(both, tmp_path):
    """`chancery status` of an installation in which nothing but auditd runs."""
    world, copy = both
    (tmp_path / "home" / "etc").mkdir(parents=True)
    (tmp_path / "home" / "etc" / "chancery.conf").write_text(f"name = TEST\ntest = yes\n[daemon auditd]\nprogram = chancery-auditd\nconfig = {world.config}\nsocket = {world.socket}\n")
    tool = [world.build + "/src/chancery", "--home", str(tmp_path / "home"), "--json", "status"]
    status = lambda: json.loads(subprocess.run(tool, capture_output=True, text=True, timeout=60).stdout)
    assert world.start()
    world.load(1, 300)
    assert kc.wait_for(lambda: "no answer" in status()["copies of the log"][0]["reason"])
    row, = status()["copies of the log"]
    assert row["copy"] == "second" and row["state"] == "behind" and row["records"] == 0 and row["backlog"] == 301
    assert "stamp-url" in status()["audit time-stamp"]
    copy.start()
    assert copied(world, copy)
    row, = status()["copies of the log"]
    assert (row["state"], row["backlog"], row["records"], row["reason"]) == ("cosigned", 0, 301, "")
    world.stop()
    assert status()["audit time-stamp"].startswith("NOT KNOWN") and "copies of the log" not in status()


def test_keyd_cosigns_only_what_continues_what_it_cosigned():
    keyd = kc.Keyd(zone="log", extra="token = copy").start()
    try:
        keyd.token("copy")
        client = keyd.client()
        spki = client.generate("copy", type="ed25519", purposes=kc.LOG, origin=aw.ORIGIN)["spki"]
        leaves = [aw.leaf_hash(bytes([i])) for i in range(9)]
        note = lambda size, payload: f"{aw.ORIGIN}\n{size}\n{base64.b64encode(aw.root_of(leaves[:size])).decode()}\n\n\u2014 {cw.NAME} {base64.b64encode(payload).decode()}\n"
        sign = lambda size, proof=(), origin=aw.ORIGIN, root=None: client.cosign("copy", cw.NAME, origin, size, root or aw.root_of(leaves[:size]), b"".join(proof))
        assert abs(cw.cosigned(note(4, sign(4)), spki) - time.time()) < 60
        cw.cosigned(note(4, sign(4)), spki)
        for wrong in ((9,), (9, prove(leaves, 3, 9)), (3,), (4, (), aw.ORIGIN, bytes(32)), (9, prove(leaves, 4, 9), "other.test/log")):
            with pytest.raises(kc.Refused) as refused:
                sign(*wrong)
            assert refused.value.code == "DENIED", wrong
        cw.cosigned(note(9, sign(9, prove(leaves, 4, 9))), spki)
        assert client.log_head("copy") == (9, aw.root_of(leaves))
    finally:
        keyd.remove()
