"""keyd over time: restarts, kills, tokens that go away, auditd that is not there, who may ask, and lists of a million entries."""
import hashlib
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

import keyd_client as kc
from keyd_client import CERTIFICATE, CRL, LOG, OCSP, REQUEST, TIME_STAMP, Refused, wait_for
import keyd_contents as make

NO_AUDITD = "audit-socket = nowhere.sock"


def records(keyd, event=None):
    """The records in the journal, in order."""
    text, out, decoder = keyd.records().decode("utf-8", "replace"), [], json.JSONDecoder()
    at = text.find('{"v":1')
    while at >= 0:
        record, end = decoder.raw_decode(text, at)
        out.append(record)
        at = text.find('{"v":1', end)
    return [r for r in out if event is None or r["event"] == event]


def without_auditd(keyd):
    with open(keyd.config) as f:
        text = f.read()
    with open(keyd.config, "w") as f:
        f.write(text.replace(f"audit-journal = {keyd.journal}", NO_AUDITD))


def test_every_signature_is_on_record_with_what_was_signed():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        keyd.token("tsu")
        client = keyd.client()
        spki = client.generate("ca", purposes=CERTIFICATE | CRL | REQUEST)["spki"]
        client.generate("tsu", purposes=TIME_STAMP)
        tbs, crl, tst = make.certificate(serial=0x1234567890ABCDEF1234), make.crl(number=9, entries=4), make.tst_info(serial=31)
        client.sign("ca", CERTIFICATE, "ecdsa-sha256", tbs)
        client.sign_stream("ca", CRL, "ecdsa-sha256", crl)
        client.sign("ca", REQUEST, "ecdsa-sha256", make.request(spki))
        client.sign_time_stamp("tsu", "ecdsa-sha256", tst, make.signed_attributes(tst))
        one, = records(keyd, "sign.certificate")
        assert one["serial"] == "1234567890abcdef1234" and one["digest"] == hashlib.sha256(tbs).hexdigest() and one["key"] == "ca"
        assert one["issuer_key"] == make.key_hash(spki).hex()
        one, = records(keyd, "sign.crl")
        assert one["number"] == 9 and one["entries"] == 4 and one["digest"] == hashlib.sha256(crl).hexdigest()
        one, = records(keyd, "sign.time_stamp")
        assert one["digest"] == hashlib.sha256(make.signed_attributes(tst)).hexdigest() and int(one["serial"], 16) == 31
        assert len(records(keyd, "sign.request")) == 1
        generated = {r["key"]: r for r in records(keyd, "key.generated")}
        description = open(os.path.join(keyd.directory, "state", "keys", "ca"), "rb").read()
        assert hashlib.sha256(description).hexdigest() in generated["ca"]["limits"]
        assert "NEVER_EXTRACTABLE=1" in generated["ca"]["attributes"]
        with pytest.raises(Refused):
            client.sign("ca", CERTIFICATE, "ecdsa-sha256", b"rubbish")
        assert wait_for(lambda: records(keyd, "key.refused"))
        assert keyd.stop() == 0


def test_refusals_do_not_flood_the_log():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        began = time.monotonic()
        for _ in range(300):
            with pytest.raises(Refused):
                client.sign("ca", CERTIFICATE, "ecdsa-sha256", b"rubbish")
        seconds = time.monotonic() - began
        keyd.stop()
        assert 1 <= len(records(keyd, "key.refused")) <= 5 * (seconds + 2)


def test_no_audit_no_signature():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        keyd.token("ocsp")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        spki = client.generate("ocsp", purposes=OCSP)["spki"]
        keyd.stop()
        without_auditd(keyd)
        keyd.start()
        client = keyd.client()
        for call in (lambda: client.sign("ca", CERTIFICATE, "ecdsa-sha256", make.certificate()), lambda: client.generate("new", "ca", purposes=CERTIFICATE)):
            with pytest.raises(Refused) as refusal:
                call()
            assert refusal.value.code == "UNAVAILABLE"
        assert sorted(k["label"] for k in client.list()) == ["ca", "ocsp"]

        def refused():
            try:
                client.sign("ocsp", OCSP, "ecdsa-sha256", make.ocsp_response(spki))
            except Refused as refusal:
                assert refusal.code == "UNAVAILABLE"
                return True
            return False

        began = time.monotonic()
        assert wait_for(refused, 10)
        assert time.monotonic() - began < 4
        signatures = client.status()["signatures"]
        assert refused()
        assert client.status()["signatures"] == signatures


def test_ocsp_answers_are_counted_and_chained():
    with kc.Keyd() as keyd:
        keyd.token("ocsp")
        client = keyd.client()
        spki = client.generate("ocsp", purposes=OCSP)["spki"]
        chain, count, began = b"\0" * 32, 0, time.monotonic()
        while time.monotonic() - began < 2.5:
            content = make.ocsp_response(spki)
            make.verify(spki, client.sign("ocsp", OCSP, "ecdsa-sha256", content), content)
            chain, count = hashlib.sha256(chain + hashlib.sha256(content).digest()).digest(), count + 1
        keyd.stop()
        signed = records(keyd, "ocsp.signed")
        assert 2 <= len(signed) <= 6
        assert sum(r["count"] for r in signed) == count == signed[-1]["total"]
        assert signed[-1]["chain"] == chain.hex()
        # In order: no gap, and the count goes on.
        keyd.start()
        client = keyd.client()
        content = make.ocsp_response(spki)
        client.sign("ocsp", OCSP, "ecdsa-sha256", content)
        assert wait_for(lambda: records(keyd, "ocsp.signed")[-1]["total"] == count + 1, 5)
        chain = hashlib.sha256(chain + hashlib.sha256(content).digest()).digest()
        assert records(keyd, "ocsp.signed")[-1]["chain"] == chain.hex()
        assert not records(keyd, "ocsp.gap")
        # Killed: at most a second is lost, and that is on record before the next answer.
        client.sign("ocsp", OCSP, "ecdsa-sha256", make.ocsp_response(spki))
        keyd.stop(signal.SIGKILL)
        keyd.start()
        client = keyd.client()
        assert wait_for(lambda: records(keyd, "ocsp.gap"), 5)
        gap, = records(keyd, "ocsp.gap")
        assert gap["last_total"] >= count + 1

        def signs():
            try:
                return client.sign("ocsp", OCSP, "ecdsa-sha256", make.ocsp_response(spki))
            except Refused as refusal:
                assert refusal.code == "UNAVAILABLE"
                return None

        assert wait_for(signs, 5)
        assert wait_for(lambda: records(keyd, "ocsp.signed")[-1]["total"] > gap["last_total"], 5)


def test_a_token_that_returns_signs_again():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        spki = client.generate("ca", purposes=REQUEST)["spki"]
        tokens, away = os.path.join(keyd.directory, "state", "tokens"), os.path.join(keyd.directory, "away")
        os.rename(tokens, away)
        os.mkdir(tokens, 0o700)

        def signs():
            try:
                return client.sign("ca", REQUEST, "ecdsa-sha256", make.request(spki))
            except Refused as refusal:
                assert refusal.code == "UNAVAILABLE"
                return None

        assert wait_for(lambda: not signs())
        assert wait_for(lambda: not client.status()["tokens"]["ca"][0])
        os.rmdir(tokens)
        os.rename(away, tokens)
        assert wait_for(signs, 20)
        assert wait_for(lambda: client.status()["tokens"]["ca"][0])
        assert wait_for(lambda: records(keyd, "token.lost") and len(records(keyd, "token.opened")) == 2)


def test_pins_come_from_a_directory_too_and_a_wrong_one_is_offered_once():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=REQUEST)
        keyd.stop()
        pins = os.path.join(keyd.directory, "pins")
        os.mkdir(pins)
        for pin, usable in (("pin-of-ca\n", True), ("wrong", False)):
            with open(os.path.join(pins, "ca"), "w") as f:
                f.write(pin)
            process = subprocess.Popen([keyd.program, "--config", keyd.config, "--pin-directory", pins], stdin=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
            try:
                assert wait_for(lambda: os.path.exists(keyd.socket_path))
                assert wait_for(lambda: keyd.client().find("ca")["usable"] == usable)
                time.sleep(3 if not usable else 0)
            finally:
                process.terminate()
                said = process.stderr.read().decode()
                process.wait(20)
                process.stderr.close()
            assert "pin-of-ca" not in said and "wrong" not in said.replace("with the right one", "")
        keyd.start()
        assert keyd.client().find("ca")["usable"]  # not locked by many tries


def test_a_token_is_one_key_group():
    with kc.Keyd() as keyd:
        keyd.token("group")
        client = keyd.client()
        client.generate("ca", "group", purposes=CERTIFICATE | CRL)
        client.generate("next-ca", "group", purposes=CERTIFICATE | CRL | REQUEST)
        for purposes in (OCSP, TIME_STAMP, LOG):
            with pytest.raises(Refused) as refusal:
                client.generate("other", "group", purposes=purposes)
            assert refusal.value.code == "DENIED"
        with pytest.raises(Refused) as refusal:
            client.generate("mixed", "group", purposes=CERTIFICATE | OCSP)
        assert refusal.value.code == "DENIED"
        with pytest.raises(Refused) as refusal:
            client.generate("ca", "group", purposes=CERTIFICATE)
        assert refusal.value.code == "CONFLICT"
        with pytest.raises(Refused) as refusal:
            client.generate("x", "absent", purposes=CERTIFICATE)
        assert refusal.value.code == "NOTFOUND"
        with pytest.raises(Refused) as refusal:
            client.token_create("group", "1234", "1234567")
        assert refusal.value.code == "CONFLICT"


ASK = """
import os, sys
sys.path.insert(0, sys.argv[2])
import keyd_client as kc
os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[1]))
client = kc.Client(sys.argv[3])
for label, purpose, content in (("one", kc.CERTIFICATE, sys.argv[4]), ("two", kc.CERTIFICATE, sys.argv[4]), ("one", kc.CRL, sys.argv[5])):
    try:
        client.sign(label, purpose, "ecdsa-sha256", bytes.fromhex(content)); print("signed")
    except kc.Refused as refusal:
        print(refusal.code)
for call in (lambda: client.generate("three", "one", purposes=kc.CERTIFICATE), lambda: client.token_create("more", "1234", "12345678")):
    try:
        call(); print("done")
    except kc.Refused as refusal:
        print(refusal.code)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another uid")
def test_peers_get_what_the_configuration_says():
    peers = "socket-group = nogroup\nadministrator = 3003\n[peer a]\nuid = 3001\npurposes = certificate\nkeys = one\n[peer b]\nuid = 3002\npurposes = *"
    with kc.Keyd(extra=peers) as keyd:
        os.chmod(keyd.directory, 0o711)
        keyd.token("one")
        keyd.token("two")
        client = keyd.client()
        client.generate("one", purposes=CERTIFICATE | CRL)
        client.generate("two", purposes=CERTIFICATE)
        here = os.path.dirname(os.path.abspath(__file__))

        def ask(uid):
            run = subprocess.run([sys.executable, "-c", ASK, str(uid), here, keyd.socket_path, make.certificate().hex(), make.crl().hex()],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert run.returncode == 0, run.stderr
            return run.stdout.split()

        assert ask(3001) == ["signed", "DENIED", "DENIED", "DENIED", "DENIED"]
        assert ask(3002) == ["signed", "signed", "signed", "DENIED", "DENIED"]
        assert ask(3003) == ["DENIED", "DENIED", "DENIED", "done", "done"]
        assert ask(3004) == ["DENIED"] * 5
        # SIGHUP: who may ask can change at run time, what keyd stands on cannot.
        with open(keyd.config) as f:
            text = f.read()
        with open(keyd.config, "w") as f:
            f.write(text.replace("uid = 3001", "uid = 3004"))
        keyd.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: [r["outcome"] for r in records(keyd, "service.reloaded")] == ["in force"])
        assert ask(3001) == ["DENIED"] * 5
        assert ask(3004) == ["signed", "DENIED", "DENIED", "DENIED", "DENIED"]
        with open(keyd.config, "w") as f:
            f.write(text.replace("zone = test", "zone = other"))
        keyd.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: [r["outcome"] for r in records(keyd, "service.reloaded")] == ["in force", "refused"])
        assert wait_for(lambda: "zone cannot change" in keyd.log())


def big_list(entries):
    """TBSCertList with so many entries, all of the same length: 49 MB for a million."""
    head = make.tlv(2, b"\1") + bytes.fromhex("300a06082a8648ce3d040302") + make.ISSUER.public_bytes()
    head += b"".join(make.tlv(0x17, (make.now() + make.datetime.timedelta(days=d)).strftime("%y%m%d%H%M%SZ").encode()) for d in (0, 7))
    tail = make.tlv(0x17, make.now().strftime("%y%m%d%H%M%SZ").encode()) + make.tlv(0x30, make.tlv(0x30, bytes.fromhex("0603551d1504030a0101")))
    length = 2 + 16 + len(tail)
    listed = b"".join(b"\x30" + bytes([length]) + b"\x02\x10" + struct.pack(">QQ", 1 << 62, i) + tail for i in range(entries))
    extensions = make.tlv(0xA0, make.tlv(0x30, make.tlv(0x30, bytes.fromhex("0603551d14") + make.tlv(4, make.integer(7)))))
    return make.tlv(0x30, head + make.tlv(0x30, listed) + extensions)


def test_a_list_of_a_million_entries_passes_in_constant_memory():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        spki = client.generate("ca", purposes=CRL, issuer=make.ISSUER.public_bytes())["spki"]

        def peak():
            with open(f"/proc/{keyd.process.pid}/status") as f:
                return int(next(line for line in f if line.startswith("VmHWM")).split()[1])

        client.sign_stream("ca", CRL, "ecdsa-sha256", big_list(1000), part=200000)
        before = peak()
        content = big_list(1_000_000)
        assert len(content) > 45_000_000
        make.verify(spki, client.sign_stream("ca", CRL, "ecdsa-sha256", content, part=200000), content)
        assert kc.sanitized() or peak() - before < 2048  # a sanitizer keeps what was freed
        assert records(keyd, "sign.crl")[-1]["entries"] == 1_000_000
        broken = bytearray(content)
        broken[30_000_000] ^= 0xFF
        with pytest.raises(Refused):
            make.verify(spki, client.sign_stream("ca", CRL, "ecdsa-sha256", bytes(broken), part=200000), content)


def test_parts_of_any_size_give_the_same_answer():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        spki = client.generate("ca", purposes=CRL)["spki"]
        content = big_list(40)
        for part in (1, 2, 3, 17, 64, 1000, len(content)):
            make.verify(spki, client.sign_stream("ca", CRL, "ecdsa-sha256", content, part=part), content)
        for total in (len(content) - 1, len(content) + 1):
            with pytest.raises(Refused):
                client.sign_stream("ca", CRL, "ecdsa-sha256", content, total=total)


def test_a_module_is_probed_without_a_configuration_and_with_one():
    with kc.Keyd(extra="token = ca") as keyd:
        keyd.token("ca")
        read, write = os.pipe()
        os.write(write, b"ca pin-of-ca\n")
        os.close(write)
        run = subprocess.run([keyd.program, "--config", keyd.config, "--pin-fd", str(read), "probe", "--json"], pass_fds=(read,),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(read)
        assert run.returncode == 0, run.stderr
        findings = {f["name"]: f for f in json.loads(run.stdout)["findings"]}
        assert findings["CKM_EDDSA"]["finding"] == "provided" and findings["CKA_ALLOWED_MECHANISMS"]["finding"] == "provided"
        assert findings["login"]["finding"] == "provided"
        run = subprocess.run([keyd.program, "probe", "--module", kc.softhsm()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             env=dict(os.environ, SOFTHSM2_CONF=os.path.join(keyd.directory, "state", "softhsm2.conf")))
        assert run.returncode == 0 and b"CKM_ECDSA" in run.stdout


def test_a_pin_is_asked_for_on_the_terminal_without_echo():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=REQUEST)
        keyd.stop()
        child, terminal = pty.fork()
        if child == 0:
            os.execv(keyd.program, [keyd.program, "--config", keyd.config])
        try:
            shown = b""
            while b"PIN of token \"ca\"" not in shown:
                assert select.select([terminal], [], [], 20)[0]
                shown += os.read(terminal, 4096)
            assert wait_for(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO)
            os.write(terminal, b"pin-of-ca\n")
            assert wait_for(lambda: os.path.exists(keyd.socket_path))
            assert wait_for(lambda: keyd.client().find("ca")["usable"])
            while select.select([terminal], [], [], 0)[0]:
                shown += os.read(terminal, 4096)
            assert b"pin-of-ca" not in shown
            assert termios.tcgetattr(terminal)[3] & termios.ECHO
        finally:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            os.close(terminal)
