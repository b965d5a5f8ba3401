"""Checkpoints under RFC 3161 tokens: of any authority, verified before they are kept and by anybody afterwards; what their absence stops, and
what it never stops."""
import contextlib
import datetime
import os
import pathlib
import shutil
import signal
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import audit_world as aw
import copy_world as cw
import keyd_client as kc
import stamp_world as sw
import tsa_world
from test_audit import append, record, reload
from test_audit_kill import FAILPOINTS, needs_failpoints

CERTIFICATE = '"zone":"ca","key":"k","algorithm":"a","digest":"dd","issuer_key":"00","serial":"01","not_after":"2026-01-02T03:04:05.000006Z","tbs":"AAAA"'
CRL = ('"zone":"ca","key":"k","algorithm":"a","digest":"dd","issuer_key":"00","number":1,"entries":0,"this_update":"2026-01-02T03:04:05.000006Z",'
       '"next_update":"2026-01-02T03:04:05.000006Z"')
TOKEN = '"zone":"time","key":"k","algorithm":"a","digest":"dd","serial":"01","gen_time":"2026-01-02T03:04:05.000006Z","tst_info":"AAAA"'


@pytest.fixture(params=["ec"])
def authority(request, tmp_path):
    authority = sw.Authority(tmp_path, request.param)
    yield authority
    authority.close()


def log_under(authority, **more):
    world = aw.World(extra=sw.conf(authority.url, authority.directory / "root.pem", **more))
    world.start_keyd()
    return world


@pytest.fixture
def world(authority):
    world = log_under(authority)
    yield world
    world.remove()


def stamped(world):
    """Everything is under a checkpoint, and that under a stamp."""
    return world.settled() and kc.wait_for(lambda: sw.sizes(world.log)[-1:] == [world.status()["size"]], 20)


@pytest.mark.parametrize("authority", ["ec", "rsa"], indirect=True)
def test_checkpoints_are_stamped_and_anybody_can_verify_them(authority, world):
    root = authority.directory / "root.pem"
    assert world.start()
    world.load(4, 20)
    assert stamped(world)
    world.load(4, 300)
    assert stamped(world)
    sizes = sw.sizes(world.log)
    assert len(sizes) >= 2 and sizes[-1] == 1281
    for size in sizes:
        assert sw.openssl_verifies(world.log, size, root)
    assert not sw.openssl_verifies(world.log, sizes[-1], root, data=sw.path_of(world.log, sizes[0], "checkpoint"))
    # The newest stamped note is the very checkpoint that is published.
    assert sw.path_of(world.log, 1281, "checkpoint").read_bytes() == pathlib.Path(world.log, "checkpoint").read_bytes()
    now = sw.condition(world.socket)
    assert now["condition"] == "well" and now["size"] == 1281 and now["waiting"] == 0 and now["failure"] == ""
    code, report = world.verify("--stamp-anchor", str(root))
    assert code == 2 and report["time-stamps verified"].startswith(f"{len(sizes)}, the newest of 20") and report["records under no time-stamp"] == 0
    assert any("revoked" in words for words in report["not checked"])
    code, report = world.verify()
    assert code == 2 and report["time-stamps verified"].startswith(f"none of {len(sizes)}: no anchor")
    # Nothing happens, nothing is stamped; after a restart it goes on from what is there.
    asked = authority.asked
    time.sleep(0.5)
    assert authority.asked == asked
    assert world.stop() == 0
    assert world.start()
    assert stamped(world)
    assert sw.sizes(world.log)[:len(sizes)] == sizes


def crl_of(authority, path, revoked=None, reason=x509.ReasonFlags.key_compromise, days=(-1, 5), key=None):
    """By the authority's root, over the certificate of its unit; `revoked`: when, from now. DER, or PEM as some bring it."""
    today = datetime.datetime.now(datetime.timezone.utc)
    unit = x509.load_pem_x509_certificate((authority.directory / "good.pem").read_bytes())
    builder = (x509.CertificateRevocationListBuilder().issuer_name(authority.root.subject).last_update(today + datetime.timedelta(days=days[0]))
               .next_update(today + datetime.timedelta(days=days[1])).add_extension(x509.CRLNumber(7), critical=False))
    if revoked is not None:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(unit.serial_number).revocation_date(today + revoked)
                                                  .add_extension(x509.CRLReason(reason), critical=False).build())
    made = builder.sign(key or authority.root_key, hashes.SHA256())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM if path.suffix == ".pem" else serialization.Encoding.DER))
    return str(path)


HOUR = datetime.timedelta(hours=1)


def test_whether_the_authority_was_revoked_is_judged_by_crls_that_are_brought(authority, world, tmp_path):
    """//= rfc3161#4 whether a certificate of the authority was revoked"""
    assert world.start()
    world.load(2, 20)
    assert stamped(world)
    assert world.stop() == 0
    count = len(sw.sizes(world.log))
    kept = shutil.copy(os.path.join(world.log, "checkpoint"), tmp_path / "kept")

    def verify(*crls):
        return world.verify("--anchor", str(kept), "--stamp-anchor", str(authority.directory / "root.pem"), *(word for crl in crls for word in ("--crl", crl)))

    def says(report, part, *words):
        return [text for text in report[part] if all(word in text for word in words)]
    code, report = verify()
    assert code == 0 and says(report, "not checked", "revoked", f"when {count} time-stamps", "no CRL of CN=TEST foreign root", "--crl FILE")
    good = crl_of(authority, tmp_path / "fresh-crl.pem")
    code, report = verify(good)
    assert code == 0 and says(report, "checked", f"no certificate of the authority of {count} time-stamps was revoked")
    assert not any("revoked" in text for text in report["not checked"])
    code, report = verify(crl_of(authority, tmp_path / "old.crl", days=(-5, -3)))
    assert code == 0 and says(report, "not checked", "the newest CRL that is here and speaks of CN=TEST foreign unit ended on")
    stranger = crl_of(authority, tmp_path / "stranger.crl", -HOUR, key=authority.key)
    assert says(verify(stranger)[1], "not checked", "no CRL of CN=TEST foreign root") and verify(stranger, good)[0] == 0
    before = crl_of(authority, tmp_path / "before.crl", -HOUR)
    code, report = verify(before)
    assert code == 1 and "CN=TEST foreign unit was revoked on" in report["problem"] and "before the token was made" in report["problem"]
    code, report = verify(crl_of(authority, tmp_path / "later.crl", HOUR))
    assert code == 0 and report["time-stamps verified"] == f"none of {count}"
    assert says(report, "not checked", f"anything by {count} time-stamps", "keyCompromise") and says(report, "not checked", "when the records were written")
    code, report = verify(crl_of(authority, tmp_path / "ceased.crl", HOUR, x509.ReasonFlags.cessation_of_operation))
    assert code == 0 and says(report, "checked", f"of {count} time-stamps was revoked when they were made")
    (tmp_path / "none.crl").write_bytes(b"nothing")
    code, message = verify(str(tmp_path / "none.crl"))
    assert code == 3 and "none.crl" in message


BAD = {"down": "HTTP status 500", "silent": "no answer", "empty": "answer", "garbage": "answer", "huge": "more than the 65536", "other-data": "other data",
       "other-nonce": "nonce", "rejects": "status 2", "stranger": "does not lead to an anchor"}


def test_what_is_no_good_token_is_not_kept_and_is_named(authority, world):
    authority.mode = next(iter(BAD))
    assert world.start()
    for mode, word in BAD.items():
        authority.mode, asked = mode, authority.asked
        assert kc.wait_for(lambda: authority.asked >= asked + 2 and word in sw.condition(world.socket)["failure"]), mode
        assert sw.sizes(world.log) == [] and sw.condition(world.socket)["size"] == 0, mode
    authority.mode = "good"
    assert stamped(world)
    assert kc.wait_for(lambda: sw.condition(world.socket)["failure"] == "")


def test_missing_stamps_alarm_then_stop_certificates_and_nothing_else(authority):
    world = log_under(authority, alarm="500ms", limit="1500ms")
    try:
        assert world.start()
        assert stamped(world)
        client = kc.Client(world.socket)
        signs = [("sign.certificate", CERTIFICATE), ("sign.time_stamp", TOKEN), ("sign.crl", CRL), ("sign.request", '"zone":"ca","key":"k","algorithm":"a","digest":"dd","request":"AAAA"')]
        assert all(isinstance(index, int) for index in append(client, *(record(event, fields) for event, fields in signs)))
        authority.mode = "down"
        append(client, record())
        assert kc.wait_for(lambda: sw.condition(world.socket)["condition"] == "late")
        assert isinstance(append(client, record("sign.certificate", CERTIFICATE))[0], int)
        assert kc.wait_for(lambda: sw.condition(world.socket)["condition"] == "overdue")
        answers = append(client, *(record(event, fields) for event, fields in signs))
        assert answers[0][0] == "UNAVAILABLE" and "time-stamped checkpoint" in answers[0][1] and "stamp-age-limit" in answers[0][1]
        assert all(isinstance(index, int) for index in answers[1:])
        assert "ALARM: no time-stamp" in world.stderr()
        # A longer limit, on record as every reload is, lets issuance go on without an authority.
        with open(world.config) as f:
            text = f.read()
        assert reload(world, text.replace("stamp-age-limit = 1500ms", "stamp-age-limit = 1h")) == "in force"
        assert isinstance(append(client, record("sign.certificate", CERTIFICATE))[0], int)
        assert "stamp-url cannot change" not in world.stderr()
        assert reload(world, text.replace(authority.url, "http://127.0.0.1:9/")) == "refused"
        authority.mode = "good"
        assert stamped(world)
        assert kc.wait_for(lambda: "stamp.resumed" in [e["record"]["event"] for e in aw.verify_log(world.log, world.spki)])
        late, = [e["record"] for e in aw.verify_log(world.log, world.spki) if e["record"]["event"] == "stamp.late"]
        assert "HTTP status 500" in late["reason"] and late["size"] > 0
    finally:
        world.remove()


def test_the_age_of_records_without_a_stamp_counts_while_nobody_runs(authority):
    world = log_under(authority, limit="2s")
    try:
        assert world.start()
        assert stamped(world)
        authority.mode = "down"
        append(kc.Client(world.socket), record())
        assert world.stop(signal.SIGKILL) == -signal.SIGKILL
        time.sleep(2.2)
        assert world.start()
        assert sw.condition(world.socket)["condition"] == "overdue"
        assert append(kc.Client(world.socket), record("sign.certificate", CERTIFICATE))[0][0] == "UNAVAILABLE"
        authority.mode = "good"
        assert stamped(world)
        assert isinstance(append(kc.Client(world.socket), record("sign.certificate", CERTIFICATE))[0], int)
    finally:
        world.remove()


def test_a_log_that_is_stamped_meanwhile_verifies(authority, world):
    assert world.start()
    load, begun = world.load(2, 1000, wait=False), time.monotonic()
    verdicts = []
    while load.poll() is None or len(verdicts) < 5:
        verdicts.append(world.verify("--stamp-anchor", str(authority.directory / "root.pem")))
        assert time.monotonic() < begun + 60
    load.lines.close()
    # Before the first checkpoint there is nothing to verify.
    assert all(code == 2 or "no signed checkpoint" in str(report) for code, report in verdicts), verdicts
    assert verdicts[-1][1]["time-stamps verified"][0].isdigit()


def refused(world, text):
    with open(world.config, "a") as f:
        f.write(text)
    return not world.start() and world.stderr()


def test_a_configuration_without_anchor_or_url_is_refused():
    for text, word in (("stamp-url = http://127.0.0.1:9/\n", "stamp-anchor"), ("stamp-url = tsa.example\nstamp-anchor = x\n", "http://"),
                       ("stamp-url = http://127.0.0.1:9/\nstamp-anchor = auditd.conf\n", "stamp-anchor")):
        world = aw.World()
        try:
            assert word in refused(world, text)
        finally:
            world.remove()


@pytest.fixture
def own(tmp_path):
    """The log's authority is our tsa, whose keyd puts each token on record in this very log."""
    world = aw.World()
    world.start_keyd()
    assert world.start()
    tsa = tsa_world.World(tmp_path, keyd_audit=f"audit-socket = {world.socket}")
    with open(world.config, "a") as f:
        f.write(sw.conf(f"http://127.0.0.1:{tsa.port}/tsa", tmp_path / "root.pem", alarm="5s", limit="10s"))
    assert world.stop() == 0
    assert world.start()
    yield world, tsa
    tsa.close()
    world.remove()


def idle(world):
    """Sizes of the log and of its stamps, three intervals apart, until they stand still and nothing waits for a stamp."""
    seen = []

    def still():
        seen.append((world.status()["size"], world.status()["signed"], sw.sizes(world.log)))
        time.sleep(0.3)
        return len(seen) > 1 and seen[-1] == seen[-2] and seen[-1][2] and sw.condition(world.socket)["waiting"] == 0
    assert kc.wait_for(still, 20)
    return seen[-1]


def test_stamps_of_our_own_authority_call_for_no_further_stamps(own):
    world, tsa = own
    size, signed, stamps = idle(world)
    time.sleep(1)  # ten intervals
    assert (world.status()["size"], sw.sizes(world.log)) == (size, stamps)
    # Under a checkpoint, and behind the last stamp, is nothing but its own record, and perhaps that of the stamp before.
    assert signed == size and sw.condition(world.socket)["waiting"] == 0
    envelopes = aw.verify_log(world.log, world.spki)
    assert {e["record"]["event"] for e in envelopes[stamps[-1]:]} == {"sign.time_stamp"}
    assert sum(e["record"]["event"] == "sign.time_stamp" for e in envelopes) == len(stamps)
    assert sw.openssl_verifies(world.log, stamps[-1], tsa.directory / "root.pem")
    # One record more is one stamp more, with its own record.
    append(kc.Client(world.socket), record())
    assert kc.wait_for(lambda: len(sw.sizes(world.log)) == len(stamps) + 1)
    assert idle(world)[0] == size + 2
    # A token for somebody else is a record like any other.
    tsa.stamp(tsa.query())
    assert kc.wait_for(lambda: len(sw.sizes(world.log)) == len(stamps) + 2)
    assert idle(world)[0] == size + 4


def test_log_and_authority_do_not_wait_for_each_other(own):
    """Clients load the tsa while checkpoints are stamped by it; auditd is killed meanwhile; the tsa is stopped and comes back."""
    world, tsa = own
    query, answers, stopping = tsa.query(), [], threading.Event()

    def client():
        while not stopping.is_set():
            try:
                answers.append(tsa.failure(tsa.stamp(query)))
            except (OSError, AssertionError):
                answers.append("unanswered")
            time.sleep(0.02)
    thread = threading.Thread(target=client)
    thread.start()
    try:
        assert kc.wait_for(lambda: len(sw.sizes(world.log)) >= 3)
        assert world.stop(signal.SIGKILL) == -signal.SIGKILL
        assert world.start()
        before = len(sw.sizes(world.log))
        assert kc.wait_for(lambda: len(sw.sizes(world.log)) >= before + 3)
    finally:
        stopping.set()
        thread.join(60)
    assert answers.count(None) >= 10
    tsa.stop()
    append(kc.Client(world.socket), record())
    assert kc.wait_for(lambda: "no answer" in sw.condition(world.socket)["failure"])
    tsa.start()
    assert isinstance(append(kc.Client(world.socket), record())[0], int)
    stamps = idle(world)[2]
    code, report = world.verify("--stamp-anchor", str(tsa.directory / "root.pem"))
    assert code == 2 and report["time-stamps verified"].startswith(f"{len(stamps)}, ")
    # Behind the newest stamp are records of stamping only (two, when an attempt failed behind its record).
    assert {e["record"]["event"] for e in aw.verify_log(world.log, world.spki)[stamps[-1]:]} == {"sign.time_stamp"}


@needs_failpoints
def test_a_token_lost_by_a_kill_is_asked_for_again(authority):
    world = aw.World(build=FAILPOINTS, extra=sw.conf(authority.url, authority.directory / "root.pem"))
    world.start_keyd()
    try:
        for n in (1, 2):
            world.start(environment={"CHANCERY_FAILPOINT": f"auditd.stamped:{n}"})
            while world.process.poll() is None:  # the record of its start may have been stamped first
                with contextlib.suppress(OSError):
                    append(kc.Client(world.socket), record())
                time.sleep(0.3)
            assert world.process.wait(20) == -signal.SIGKILL
        asked = authority.asked
        assert world.start()
        assert stamped(world) and authority.asked > asked
        code, report = world.verify("--stamp-anchor", str(authority.directory / "root.pem"))
        assert code == 2 and report["records under no time-stamp"] == 0
    finally:
        world.remove()


def change(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def swap(a, b):
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


TAMPERED = {
    "a token changed": (lambda log, older, newer: change(sw.path_of(log, older, "token")), "signature"),
    "the imprint changed": (lambda log, older, newer: sw.path_of(log, older, "token").write_bytes(sw.path_of(log, newer, "token").read_bytes()), "other data"),
    "a token removed": (lambda log, older, newer: sw.path_of(log, older, "token").unlink(), ".token"),
    "a stamped checkpoint changed": (lambda log, older, newer: change(sw.path_of(log, older, "checkpoint"), 25), ""),
    "two stamps swapped": (lambda log, older, newer: [swap(sw.path_of(log, older, kind), sw.path_of(log, newer, kind)) for kind in ("checkpoint", "token")], "is of"),
    "the log cut to yesterday's": (lambda log, older, newer: shutil.copy(sw.path_of(log, older, "checkpoint"), os.path.join(log, "checkpoint")), "cut or rolled back"),
}


def test_a_changed_stamp_is_found_and_named(authority, world):
    assert world.start()
    world.load(1, 5)
    assert stamped(world)
    world.load(1, 5)
    assert stamped(world)
    assert world.stop() == 0
    older, newer = sw.sizes(world.log)[0], sw.sizes(world.log)[-1]
    root, copy = str(authority.directory / "root.pem"), world.log + ".copy"
    sound = world.log
    for name, (tamper, word) in TAMPERED.items():
        shutil.copytree(sound, copy)
        shutil.rmtree(os.path.join(copy, "tail"))
        world.log = copy
        assert world.verify("--stamp-anchor", root)[0] == 2, name
        tamper(copy, older, newer)
        code, report = world.verify("--stamp-anchor", root)
        assert code == 1 and report["verdict"] == "NOT SOUND", name
        assert "the time-stamp of" in report["problem"] and word in report["problem"], (name, report["problem"])
        shutil.rmtree(copy)
    # The right token under another anchor.
    world.log = sound
    (authority.directory / "stranger-root.pem").write_bytes(sw.pem(sw.certificate("TEST foreign root", sw.ec.generate_private_key(sw.ec.SECP256R1()))))
    code, report = world.verify("--stamp-anchor", str(authority.directory / "stranger-root.pem"))
    assert code == 1 and "does not lead to an anchor" in report["problem"]


def test_stamps_go_to_the_second_place_and_to_the_published_folder(authority, tmp_path):
    """Each of them is verified there with nothing of the first: by `openssl ts`, and by `audit verify` of that directory."""
    (tmp_path / "second").mkdir()
    root = authority.directory / "root.pem"
    world = aw.World(extra=sw.conf(authority.url, root) + "publish-directory = public\n")
    world.start_keyd()
    copy = cw.Copy(tmp_path / "second", world.spki)
    public = pathlib.Path(world.directory, "public")
    with open(world.config, "a", encoding="utf-8") as f:
        f.write(copy.conf())
    with open(copy.directory / "copy.conf", "a", encoding="utf-8") as f:
        f.write(f"stamp-anchor = {root}\n")
    try:
        assert world.start()
        world.load(2, 20)
        assert stamped(world)
        first = sw.sizes(world.log)
        copy.start()  # it comes late, and gets what there was before
        world.load(2, 150)
        assert stamped(world)
        sizes = sw.sizes(world.log)
        assert len(sizes) > len(first)
        for place in (copy.log, public):
            assert kc.wait_for(lambda: sw.sizes(place) == sizes, 20), (place, sw.sizes(place), sizes)
            for size in sizes:
                assert sw.openssl_verifies(place, size, root)
                for suffix in ("checkpoint", "token"):
                    assert sw.path_of(place, size, suffix).read_bytes() == sw.path_of(world.log, size, suffix).read_bytes()
        assert kc.wait_for(lambda: cw.condition(world.socket)[0]["behind"] == 0)
        # What is no stamp of this log is not taken there, whoever brings it.
        note, token = (sw.path_of(world.log, sizes[-1], suffix).read_bytes() for suffix in ("checkpoint", "token"))
        other = sw.path_of(world.log, sizes[0], "token").read_bytes()
        add = lambda note, token, **more: copy.request("POST", "/add-stamp", len(note).to_bytes(4, "big") + note + token, "application/octet-stream", **more)[0]
        assert add(note, token) == 204
        assert add(note, token, peer="va") == 403
        held = cw.note_of(copy.log)
        for bad_note, bad_token in ((note, other), (note, token[:-1]), (note, b""), (note.replace(b"\n", b"0\n", 2), token), (b"", token)):
            assert add(bad_note, bad_token) in (400, 403, 422), (bad_note, bad_token)
        assert sw.sizes(copy.log) == sizes and cw.note_of(copy.log) == held
        # Stopped in between, each goes on from what it has.
        assert world.stop() == 0 and copy.stop() == 0
        authority.asked = 0
        copy.start()
        assert world.start()
        world.load(1, 10)
        assert stamped(world)
        assert kc.wait_for(lambda: all(len(sw.sizes(place)) > len(sizes) for place in (copy.log, public)))
        assert world.stop() == 0
        log = world.log
        for place in (copy.log, public):
            assert sw.sizes(place)[:len(sizes)] == sizes and len(sw.sizes(place)) > len(sizes)
        world.log = copy.log
        code, report = world.verify("--stamp-anchor", str(root))
        world.log = log
        assert code == 2 and report["time-stamps verified"].startswith(f"{len(sw.sizes(copy.log))}, the newest of 20")
    finally:
        world.remove()
        copy.close()
