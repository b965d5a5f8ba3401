"""auditd with a real keyd: checkpoints that an outsider verifies, restarts, what stops it, what it refuses."""
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid

import pytest

import audit_world as aw
import copy_world
import keyd_client as kc

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(params=["ed25519", "ec-p256"])
def any_world(request):
    world = aw.World(key_type=request.param)
    yield world
    world.remove()


@pytest.fixture
def world():
    world = aw.World()
    yield world
    world.remove()


def record(event="log.stopped", fields='"size":1', identity=None):
    identity = identity or uuid.uuid4().hex
    text = (f'{{"v":1,"id":"{identity}","time":"2026-01-02T03:04:05.000006Z","event":"{event}","component":"test","tx":"{identity}",{fields}}}')
    return bytes.fromhex(identity), text.encode()


SIGN = '"zone":"ca","key":"k","algorithm":"a","digest":"dd","request":"AAAA"'


KNOWN = 1 << 63  # in the index of a record that was there already


def append(client, *records, kind=1):
    body = kc.u16(len(records)) + b"".join(identity + kc.counted(text) for identity, text in records)
    r = kc.Reader(client.call(kind, body))
    out = []
    for _ in range(r.number(2)):
        code = r.number(2)
        out.append(r.number(8) & ~KNOWN if code == 0 else (kc.Refused.CODES[code], r.text()))
    return out


def test_the_log_is_verified_from_its_static_files_alone(any_world):
    world = any_world
    world.start_keyd()
    assert world.start()
    got = world.load(8, 100)
    assert len(got) == 800
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    aw.check_acknowledged(envelopes, got)
    assert envelopes[0]["record"]["event"] == "log.started"
    assert {e["by"] for e in envelopes[1:]} == {ME}
    assert world.stop() == 0
    envelopes = aw.verify_log(world.log, world.spki)
    assert envelopes[-1]["record"]["event"] == "log.stopped"
    assert world.start()
    world.load(2, 50)
    assert world.settled()
    longer = aw.verify_log(world.log, world.spki)
    assert longer[:len(envelopes)] == envelopes
    assert world.keyd.client().log_head("log")[0] == len(longer)


def test_records_are_accepted_before_the_log_zone_is_up(world):
    world.keyd.start()
    world.keyd.stop()
    assert world.start()
    assert len(world.load(2, 10)) == 20
    world.start_keyd()
    assert world.settled()
    assert len(aw.verify_log(world.log, world.spki)) == 21


def test_issuance_stops_when_checkpoints_are_overdue_and_resumes(world):
    with open(world.config) as f:
        text = f.read()
    with open(world.config, "w") as f:
        f.write(text.replace("checkpoint-max-age = 60s", "checkpoint-max-age = 1s"))
    world.start_keyd()
    assert world.start()
    client = kc.Client(world.socket)
    assert isinstance(append(client, record("sign.request", SIGN))[0], int)
    world.keyd.stop()
    append(client, record())
    assert kc.wait_for(lambda: world.status()["waiting"] > 1_200_000)
    refused, accepted = append(client, record("sign.request", SIGN), record())
    assert refused[0] == "UNAVAILABLE" and "EN 319 401" in refused[1]
    assert isinstance(accepted, int)
    assert kc.wait_for(lambda: "ALARM" in world.stderr())
    world.keyd.start()
    assert world.settled()
    assert isinstance(append(client, record("sign.request", SIGN))[0], int)


def note_lines(world):
    with open(os.path.join(world.log, "checkpoint"), encoding="utf-8") as f:
        text, signatures = f.read().rsplit("\n\n", 1)
    return (text + "\n").encode(), signatures.splitlines()


def set_keys(world, key, outgoing=None):
    """auditd is stopped, and started with these."""
    assert world.stop() == 0
    with open(world.config) as f:
        lines = [line for line in f.read().splitlines() if not line.startswith(("key = ", "outgoing-key = "))]
    with open(world.config, "w") as f:
        f.write("\n".join([f"key = {key}"] + ([f"outgoing-key = {outgoing}"] if outgoing else []) + lines) + "\n")
    assert world.start()


def test_the_logs_key_is_rolled_over_and_what_the_old_one_signed_stays_verifiable(world, tmp_path):
    def verdict(keys, *options):
        path = tmp_path / "log.vkey"
        path.write_text("\n".join(keys) + "\n")
        done = subprocess.run([world.build + "/src/chancery", "audit", "verify", "--json", "--log", world.log, "--key", str(path), *options], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    world.start_keyd()
    client = world.keyd.client()
    spki = client.generate("log-2027", token="log", type="ed25519", purposes=kc.LOG, origin=aw.ORIGIN)["spki"]
    old, new = copy_world.verifier_key(aw.ORIGIN, 1, world.spki), copy_world.verifier_key(aw.ORIGIN, 1, spki)
    assert world.start()
    world.load(1, 300)
    assert world.settled()
    anchor = tmp_path / "anchor"
    shutil.copy(os.path.join(world.log, "checkpoint"), anchor)
    signed_before = world.status()["signed"]
    # Both sign while everybody who verifies learns of the new one.
    set_keys(world, "log-2027", outgoing="log")
    world.load(1, 300)
    assert world.settled()
    text, lines = note_lines(world)
    assert len(lines) == 2
    aw.verify_note(text, lines[0], aw.ORIGIN, spki)
    aw.verify_note(text, lines[1], aw.ORIGIN, world.spki)
    for keys in ([old], [new], [new, old]):
        assert verdict(keys)[0] == 2, keys
    changed, = [e for e in aw.verify_log(world.log, spki) if e["record"]["event"] == "log.key_changed"]
    assert (changed["record"]["from"], changed["record"]["to"], changed["record"]["size"]) == (old, new, signed_before + 1)  # with log.stopped
    both = tmp_path / "both"
    shutil.copy(os.path.join(world.log, "checkpoint"), both)
    end = world.status()["signed"]
    # Then the new one alone.
    set_keys(world, "log-2027")
    world.load(1, 10)
    assert world.settled()
    assert len(note_lines(world)[1]) == 1
    aw.verify_log(world.log, spki)
    assert verdict([old])[0] == 1
    assert verdict([new])[0] == 2
    code, said = verdict([new], "--anchor", str(anchor))
    assert code == 1 and "no key that is trusted here" in said
    assert verdict([new], "--anchor", str(both))[0] == 0
    assert verdict([new, f"{old} until {end}"], "--anchor", str(anchor), "--anchor", str(both))[0] == 0
    # Beyond its end the old key signs for nobody: who has stolen it can go no further.
    code, said = verdict([new, f"{old} until {signed_before - 1}"], "--anchor", str(anchor))
    assert code == 1 and "no key that is trusted here" in said
    for wrong in ([f"{old} since 1"], [f"{old} until 0"], [f"{old} until -1"], [""]):
        assert verdict(wrong)[0] not in (0, 1, 2), wrong
    # A start with the same key changes nothing.
    assert world.stop() == 0
    assert world.start()
    assert world.settled()
    assert len([e for e in aw.verify_log(world.log, spki) if e["record"]["event"] == "log.key_changed"]) == 1


def reload(world, text):
    """SIGHUP with this configuration; the outcome as it stands on record."""
    with open(world.config, "w") as f:
        f.write(text)
    reloads = lambda: [e["record"] for e in aw.verify_log(world.log, world.spki) if e["record"]["event"] == "service.reloaded"]
    assert world.settled()
    before = len(reloads())
    world.process.send_signal(signal.SIGHUP)
    assert kc.wait_for(lambda: world.settled() and len(reloads()) == before + 1)
    assert reloads()[-1]["component"] == "auditd"
    with open(world.config, "rb") as f:
        assert reloads()[-1]["configuration"] == hashlib.sha256(f.read()).hexdigest()
    return reloads()[-1]["outcome"]


def test_a_reload_changes_writers_and_checkpoints_for_connections_that_are_open(world):
    world.start_keyd()
    assert world.start()
    with open(world.config) as f:
        text = f.read()
    client = kc.Client(world.socket)
    first = append(client, record())[0]
    assert reload(world, text + f"writer = tester {os.getuid()}\n") == "in force"
    second = append(client, record())[0]
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    assert envelopes[first]["by"] != "tester" and envelopes[second]["by"] == "tester"
    assert reload(world, text + "writer = somebody 65533\n") == "in force"
    with pytest.raises(kc.Refused) as why:
        append(client, record())
    assert why.value.code == "DENIED"
    with open(world.config, "w") as f:
        f.write(text.replace("checkpoint-interval = 100ms", "checkpoint-interval = 1h"))
    world.process.send_signal(signal.SIGHUP)
    assert kc.wait_for(lambda: world.stderr().count("configuration read again") == 3)
    time.sleep(0.5)  # the round that began before may still end
    append(kc.Client(world.socket), record())
    time.sleep(0.5)
    assert world.status()["signed"] < world.status()["size"], "no checkpoint within the hour"


def test_what_the_log_is_kept_with_is_on_record_and_each_change_of_it(world):
    """At a reload and while auditd was stopped; a start without a change says no more than itself."""
    def changes():
        assert world.settled()
        return [{name: e["record"].get(name) for name in ("parameter", "from", "to")} for e in aw.verify_log(world.log, world.spki) if e["record"]["event"] == "log.changed"]
    world.start_keyd()
    assert world.start()
    with open(world.config) as f:
        text = f.read()
    assert changes() == []
    started = next(e["record"] for e in aw.verify_log(world.log, world.spki) if e["record"]["event"] == "log.started")
    assert started["parameters"].splitlines() == ["key=log", "checkpoint-interval=100ms", "checkpoint-max-age=60000ms"]
    assert reload(world, text.replace("60s", "30s") + f"writer = a {os.getuid()}\nwriter = b 4321\n") == "in force"
    first = [{"parameter": "writer", "from": None, "to": f"a {os.getuid()}, b 4321"}, {"parameter": "checkpoint-max-age", "from": "60000ms", "to": "30000ms"}]
    assert changes() == first
    assert reload(world, text.replace("60s", "20s").replace("origin = ", "origin = x")) == "refused"
    assert changes() == first
    with open(world.config, "w") as f:
        f.write(text.replace("60s", "30s") + "publish-directory = public\n")
    assert world.stop(signal.SIGKILL) == -signal.SIGKILL
    assert world.start()
    second = [{"parameter": "publish-directory", "from": None, "to": os.path.join(os.path.dirname(world.config), "public")},
              {"parameter": "writer", "from": f"a {os.getuid()}, b 4321", "to": None}]
    assert changes() == first + second
    assert world.stop() == 0
    assert world.start()
    assert changes() == first + second


def test_a_reload_that_cannot_be_is_refused_on_record_and_nothing_changes(world):
    world.start_keyd()
    assert world.start()
    with open(world.config) as f:
        text = f.read()
    assert reload(world, text.replace(f"origin = {aw.ORIGIN}", "origin = log.test/other")) == "refused"
    assert "origin cannot change while auditd runs" in world.stderr()
    assert reload(world, text + "writer = nobody-of-this-name no-such-user\n") == "refused"
    with open(world.config, "w") as f:
        f.write("nonsense\n")
    world.process.send_signal(signal.SIGHUP)
    assert kc.wait_for(lambda: world.stderr().count("the former configuration stays") == 3)
    assert append(kc.Client(world.socket), record())[0] > 0
    assert world.settled()


def told(socket, uid):
    """What a user is told who asks for leaves, condition, records of class control and a proof; asked in a process of that user's."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(uid)
            os.setuid(uid)
            client = kc.Client(socket)
            for kind, body in ((2, kc.u64(0) + kc.u32(1)), (3, b""), (5, kc.u64(0) + kc.u32(1)), (6, kc.u64(0))):
                try:
                    client.call(kind, body)
                    os.write(write, b"answered ")
                except kc.Refused as refused:
                    os.write(write, refused.code.encode() + b" ")
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as f:
        return f.read().split()


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become another user")
def test_who_may_connect_and_does_not_write_reads_nothing():
    """It is for writers and administrators, whatever the mode of the socket."""
    world = aw.World(extra="writer = tester 0")
    try:
        world.start_keyd()
        assert world.start()
        os.chmod(world.directory, 0o711)
        os.chmod(world.socket, 0o666)
        assert told(world.socket, 0) == ["answered"] * 4
        assert told(world.socket, 65534) == ["DENIED"] * 4
    finally:
        world.remove()


def test_what_is_not_a_record_never_becomes_a_leaf(world):
    assert world.start()
    client = kc.Client(world.socket)
    identity, good = record()
    other = uuid.uuid4().bytes
    answers = append(client, (identity, good), (identity, good), (other, good), record("no.such"), record(fields='"size":1,"more":2'),
                     (identity, good[:-1]), (identity, b"\x00" * 50), record())
    assert answers[0] == answers[1] == 1
    assert [a[0] for a in answers[2:7]] == ["INPUT"] * 5
    assert answers[7] == 2
    with pytest.raises(kc.Refused) as why:
        client.call(1, kc.u16(0))
    assert why.value.code == "INPUT"
    assert append(client, record()) == [3]


def test_leaves_are_read_back_from_bundles_and_tail(world):
    world.start_keyd()
    assert world.start()
    world.load(1, 600, size=3000)
    client = kc.Client(world.socket)
    seen = []
    while len(seen) < 601:
        r = kc.Reader(client.call(2, kc.u64(len(seen)) + kc.u32(100000)))
        assert r.number(8) >= 601
        count = r.number(4)
        seen += [json.loads(r.counted()) for _ in range(count)]
    assert [e["seq"] for e in seen] == list(range(601))


def write_journal(path, records):
    """The format of audit_journal.h, written from its comment."""
    import hashlib
    body = b"".join(len(text).to_bytes(4, "big") + b"\x00" + text for _, text in records)
    head = b"CGRP" + len(records).to_bytes(4, "big") + (0).to_bytes(8, "big") + len(body).to_bytes(4, "big")
    check = hashlib.sha256(head + b"".join(hashlib.sha256(b"\x00" + text).digest() for _, text in records)).digest()
    with open(path, "wb") as f:
        f.write(b"chanaudi" + (1).to_bytes(2, "big") + (2).to_bytes(2, "big") + (0).to_bytes(8, "big") + head + check + body)


def test_founding_journals_become_the_first_leaves_once(world):
    first, second = [record() for _ in range(300)], [record() for _ in range(3)]
    write_journal(os.path.join(world.directory, "a"), first)
    write_journal(os.path.join(world.directory, "b"), second)
    with open(world.config, "a") as f:
        f.write("founding-journal = a\nfounding-journal = b\n")
    assert world.start()
    world.stop(signal.SIGKILL)
    assert world.start()
    world.start_keyd()
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    assert [e["record"]["id"] for e in envelopes[:303]] == [i.hex() for i, _ in first + second]
    assert {e["by"] for e in envelopes[:303]} == {"founding"}
    assert [e["record"]["event"] for e in envelopes[303:]] == ["log.started", "service.crashed", "log.started"], "it was killed in between"
    world.stop()
    assert world.start()
    client = kc.Client(world.socket)
    # An import years later: known records are recognised though the window of ids is not what remembers them.
    more = [record() for _ in range(2)]
    assert append(client, *(first[:200] + more), kind=4)[:200] == list(range(200))
    assert append(client, *more, kind=4) == append(client, *more, kind=4)
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    assert len({e["record"]["id"] for e in envelopes}) == len(envelopes)
    assert {e["by"] for e in envelopes if e["record"]["id"] in [m[0].hex() for m in more]} == {f"import by {ME}"}


def test_a_changed_log_stops_auditd_with_a_precise_message(world):
    world.start_keyd()
    assert world.start()
    world.load(4, 100)
    assert world.settled()
    world.stop()
    size = len(aw.verify_log(world.log, world.spki))
    copy = world.log + ".copy"
    shutil.copytree(world.log, copy)

    def refuses(change, words):
        shutil.rmtree(world.log)
        shutil.copytree(copy, world.log)
        change()
        assert not world.start()
        assert words in world.stderr().splitlines()[-1], world.stderr().splitlines()[-1]

    def flip(path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)
            f.seek(at)
            f.write(bytes([byte[0] ^ 1]))

    refuses(lambda: flip(aw.tile_path(world.log, 1, 0, 1), 20), "the tiles do not have the root of the checkpoint")
    refuses(lambda: flip(aw.tile_path(world.log, "entries", 1, size - 256), 40), "leaf 256 is not the one whose hash is in its tile")
    refuses(lambda: shutil.rmtree(os.path.join(world.log, "tile", "1")), "is missing")
    refuses(lambda: shutil.rmtree(os.path.join(world.log, "tail")), "acknowledged records may be lost")
    shutil.rmtree(world.log)
    shutil.copytree(copy, world.log)
    assert world.start()


def test_a_log_has_one_writer(world):
    assert world.start()
    second = subprocess.run([os.path.join(world.build, "src", "chancery-auditd"), "--config", world.config], capture_output=True, timeout=20)
    assert second.returncode != 0 and b"a log has one writer" in second.stderr


def test_a_log_restored_from_an_old_copy_gets_no_checkpoint(world):
    world.start_keyd()
    assert world.start()
    world.load(1, 20)
    assert world.settled()
    world.stop()
    shutil.copytree(world.log, world.log + ".old")
    assert world.start()
    world.load(1, 50)
    assert world.settled()
    world.stop()
    shutil.rmtree(world.log)
    shutil.move(world.log + ".old", world.log)
    assert world.start()
    world.load(1, 1)
    assert kc.wait_for(lambda: "leaves were lost" in world.stderr())
    assert world.status()["signed"] < world.status()["size"]


def test_a_reconnecting_client_has_its_records_once(world):
    world.start_keyd()
    assert world.start()
    load = world.load(8, 300, wait=False)
    for _ in range(3):
        time.sleep(0.3)
        world.stop()
        assert world.start()
    got = aw.acknowledged(load)
    assert len(got) == 2400
    assert world.settled()
    aw.check_acknowledged(aw.verify_log(world.log, world.spki), got)


def test_clients_keep_the_checkpoint_that_verification_is_held_to(any_world):
    world = any_world
    anchor = os.path.join(world.directory, "anchor")
    world.start_keyd()
    assert world.start()
    world.load(1, 200)
    assert world.settled()
    code, report = world.verify()
    assert code == 2 and "tail not anchored" in report["verdict"]
    world.load(1, 10, anchor=anchor)
    with open(anchor, encoding="utf-8") as f:
        kept = f.read()
    assert world.settled()
    code, report = world.verify("--anchor", anchor)
    assert (code, report["verdict"], report["anchors that agree"]) == (0, "sound", 1)
    with open(os.path.join(world.log, "checkpoint"), encoding="utf-8") as f:
        newest = f.read()
    old = os.path.join(world.directory, "old")
    with open(old, "w", encoding="utf-8") as f:
        f.write(kept)
    assert world.verify("--since", old)[0] == 0
    # A forged anchor, and one that the log does not reach.
    with open(anchor, "w", encoding="utf-8") as f:
        f.write(kept.replace(kept.splitlines()[1], "9", 1))
    assert world.verify("--anchor", anchor)[0] == 1
    world.stop()
    with open(os.path.join(world.log, "checkpoint"), "r", encoding="utf-8") as f:
        last = f.read()
    assert last != newest
    with open(anchor, "w", encoding="utf-8") as f:
        f.write(last)
    with open(os.path.join(world.log, "checkpoint"), "w", encoding="utf-8") as f:
        f.write(newest)
    code, report = world.verify("--anchor", anchor)
    assert code == 1 and "rolled back" in report["problem"]
    assert report["first bad record"] == int(newest.splitlines()[1])


def test_a_log_that_is_being_written_verifies(world):
    world.start_keyd()
    assert world.start()
    assert world.settled()  # until its first checkpoint a log is not sound
    load = world.load(8, 10**9, wait=False)
    answers = [world.verify() for _ in range(12)]
    load.terminate()
    load.communicate()
    assert [code for code, _ in answers] == [2] * 12, answers
