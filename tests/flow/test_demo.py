"""A provider from one command, end to end, as an outsider sees it: openssl and curl against the public addresses."""
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from cryptography import x509
from installation import BUILD, DAEMONS, ROOT, Installation, free_ports, within


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    made.start()
    yield made
    made.close()


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


# ---- the main job ----
def test_a_request_becomes_a_certificate_that_openssl_accepts(provider):
    certificate, serial = provider.issue("alice")
    done = run("openssl", "verify", "-CAfile", provider.certificate("root"), "-untrusted", provider.certificate("issuing"), certificate)
    assert done.stdout.endswith(": OK\n"), done.stdout + done.stderr
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert f"{parsed.serial_number:x}" == serial.lstrip("0")
    assert "TEST" in parsed.issuer.rfc4514_string()


def test_ocsp_and_crl_answer_and_follow_a_revocation_within_five_seconds(provider):
    certificate, serial = provider.issue("bob")
    within(5, lambda: ": good" in provider.ocsp(certificate))
    assert "Response verify OK" in provider.ocsp(certificate)
    crl = run("bash", "-c", f"curl -sS {provider.env['CHANCERY_CRL_URL']} | openssl crl -inform DER -CAfile "
              f"{provider.certificate('issuing')} -verify -noout")
    assert "verify OK" in crl.stdout + crl.stderr
    begun = time.monotonic()
    provider.check("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
    within(5, lambda: ": revoked" in provider.ocsp(certificate))
    within(5, lambda: serial.upper() in provider.crl())
    assert time.monotonic() - begun < 5
    assert "keyCompromise" in provider.ocsp(certificate)


def test_revoking_again_keeps_the_first_time_and_reason(provider):
    certificate, serial = provider.issue("twice")
    first = provider.json("cert", "revoke", "--cert", certificate, "--reason", "superseded")
    again = provider.json("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
    assert (first["revoked_at"], again["reason"]) == (again["revoked_at"], "superseded")


def test_a_file_is_time_stamped_and_a_changed_file_is_not(provider):
    file = provider.work / "letter"
    file.write_text("at this time")
    assert run("openssl", "ts", "-query", "-data", file, "-sha256", "-cert", "-out", f"{file}.tsq").returncode == 0
    assert run("curl", "-sSf", "-H", "Content-Type: application/timestamp-query", "--data-binary", f"@{file}.tsq", "-o", f"{file}.tsr",
               provider.env["CHANCERY_TSA_URL"]).returncode == 0
    verify = ["openssl", "ts", "-verify", "-in", f"{file}.tsr", "-CAfile", provider.certificate("root"), "-untrusted",
              provider.certificate("issuing"), "-data", file]
    assert "Verification: OK" in run(*verify).stdout
    file.write_text("at another time")
    assert run(*verify).returncode != 0


def test_the_tool_asks_and_verifies_as_well(provider):
    certificate, _ = provider.issue("carol")
    within(5, lambda: provider.call("ocsp", "query", "--cert", certificate).returncode == 0)
    assert provider.json("ocsp", "query", "--cert", certificate, "--nonce", "--digest", "sha1")["status"] == "good"
    file = provider.work / "note"
    file.write_text("x")
    provider.check("ts", "request", file)
    assert provider.json("ts", "verify", file)["signature"] == "good"
    file.write_text("y")
    assert provider.call("ts", "verify", file).returncode == 12
    assert provider.json("crl", "show", "--issuer", provider.certificate("issuing"))["signature"] == "good"
    assert provider.call("crl", "show", "--issuer", provider.certificate("root")).returncode == 12
    assert provider.json("cert", "lint", "--cert", certificate)["clean"] is True
    assert provider.call("cert", "lint", "--cert", certificate, "--profile", "tls-server").returncode == 12


def test_the_same_request_id_gives_the_same_certificate_and_another_input_is_refused(provider):
    request = provider.request("dora")
    words = ["cert", "issue", "--profile", "ncp-plus-n", "--csr", request, "--request-id", "order-1"]
    assert provider.json(*words)["certificate"] == provider.json(*words)["certificate"]
    assert provider.call(*words, "--subject", "C=BE, CN=Other TEST, givenName=O, surname=T, serialNumber=PASBE-9").returncode == 6


def test_what_cannot_be_issued_is_refused_with_its_reason(provider):
    request = provider.work / "weak.csr"
    run("openssl", "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", provider.work / "weak.key", "-out", request,
        "-subj", "/C=BE/CN=Weak TEST/givenName=W/surname=T/serialNumber=PASBE-1")
    done = provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", request)
    assert done.returncode in (3, 12) and "1024" in done.stderr, done.stderr
    unsigned = provider.request("eve").read_text().splitlines()
    body = bytearray(base64.b64decode("".join(unsigned[1:-1])))
    body[-1] ^= 1
    request.write_bytes(bytes(body))
    done = provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", request)
    assert done.returncode in (3, 12), done.stderr


def test_a_second_ca_in_one_command(provider):
    subject = "C=BE, O=TEST Flow, organizationIdentifier=NTRBE-0000000000, CN=TEST Second CA"
    provider.check("ca", "create", "second", "--subject", subject)
    by_root = [leaf["record"]["component"] for leaf in provider.json("audit", "show", "--event", "sign.certificate")
               if leaf["record"]["key"] == "root"]
    assert by_root == ["keyd/root"] * 3, "what the root's keyd was about to sign: itself, issuing, and now second"
    assert "second" in [ca["name"] for ca in provider.json("ca", "list")]
    out = provider.work / "second-leaf.pem"
    provider.check("cert", "issue", "--ca", "second", "--profile", "ncp-plus-n", "--csr", provider.request("frank"), "--out", out)
    done = run("openssl", "verify", "-CAfile", provider.certificate("root"), "-untrusted", provider.certificate("second"), out)
    assert done.stdout.endswith(": OK\n"), done.stderr
    answer = within(5, lambda: provider.call("--json", "ocsp", "query", "--cert", out, "--issuer", provider.certificate("second")).stdout)
    assert json.loads(answer)["status"] == "good"


# ---- on record ----
def test_everything_is_on_record_and_the_record_is_sound(provider):
    _, serial = provider.issue("greta")
    events = [leaf["record"]["event"] for leaf in provider.json("audit", "show", "--containing", serial)]
    assert events == ["sign.certificate", "certificate.issued"]
    within(10, lambda: provider.call("audit", "verify").returncode == 0)
    founded = provider.json("audit", "show", "--from", "0", "--limit", "40")
    assert [leaf["seq"] for leaf in founded] == list(range(len(founded)))
    assert founded[0]["record"]["event"] == "provider.founded"


def test_checkpoints_are_stamped_by_the_providers_own_authority(provider):
    def verified():
        report = json.loads(provider.call("--json", "audit", "verify").stdout)
        return report["verdict"] == "sound" and report["time-stamps verified"][0].isdigit()
    within(30, verified)
    said = provider.json("status")["audit time-stamp"]
    assert re.fullmatch(r"\d+ records, .*ago", said), said
    checkpoint = sorted(provider.home.glob("state/auditd/log/stamp/**/*.checkpoint"))[-1]
    done = run("openssl", "ts", "-verify", "-token_in", "-in", checkpoint.with_suffix(".token"), "-data", checkpoint, "-CAfile", provider.certificate("root"))
    assert "Verification: OK" in done.stdout, done.stderr


def test_verify_finds_a_changed_record(provider):
    log = provider.work / "log"
    shutil.rmtree(log, ignore_errors=True)
    within(10, lambda: provider.call("audit", "verify").returncode == 0)
    shutil.copytree(provider.home / "state" / "auditd" / "log", log)
    bundles = [p for p in (log / "tile" / "entries").rglob("*") if p.is_file()]
    bundle = max(bundles, key=lambda p: p.stat().st_size)
    bundle.write_bytes(bundle.read_bytes().replace(b"provider.founded", b"provider.fOunded"))
    done = provider.call("audit", "verify", "--log", log)
    assert done.returncode == 1, done.stdout + done.stderr


def test_an_export_verifies_elsewhere_with_the_verifier_alone(provider):
    within(10, lambda: provider.call("audit", "verify").returncode == 0)
    export = provider.directory / "export"
    kept = shutil.copy(provider.home / "state" / "auditd" / "log" / "checkpoint", provider.work / "kept")
    made = provider.json("audit", "export", export)
    elsewhere = provider.directory / "elsewhere"
    shutil.move(export, elsewhere)

    def auditor(*words):
        return run(provider.tool, "--home", "/nonexistent", *words, "--json", env={})
    done = auditor("audit", "verify", elsewhere)
    report = json.loads(done.stdout)
    came_along = len(list((elsewhere / "anchors").iterdir()))
    assert done.returncode == 2 and report["anchors that agree"] == came_along > 3, "what came along is no word of anybody else"
    assert any("came with the export" in said for said in report["checked"])
    done = auditor("audit", "verify", elsewhere, "--anchor", kept)
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], report["anchors that agree"]) == (0, "sound", came_along + 1), report
    assert any("had the approvals" in said for said in report["checked"]) == (elsewhere / "founding").exists()
    # The authority of the time-stamps is certified by a CA of this provider, which said then whom it had revoked.
    assert {path.name for path in (elsewhere / "crls").iterdir()} == {"issuing.crl", "root.crl"}
    assert any("no certificate of the authority of" in said for said in report["checked"]) and not any("revoked" in said for said in report["not checked"]), report
    shutil.move(elsewhere / "crls", provider.work / "crls")
    report = json.loads(auditor("audit", "verify", elsewhere, "--anchor", kept).stdout)
    assert any("revoked" in said and "no CRL of" in said for said in report["not checked"])
    brought = [word for path in sorted((provider.work / "crls").iterdir()) for word in ("--crl", path)]
    assert any("no certificate of the authority of" in said for said in json.loads(auditor("audit", "verify", elsewhere, *brought).stdout)["checked"])
    key = (elsewhere / "log.vkey").read_text().strip()
    assert made["key sha256"] == hashlib.sha256(key.encode()).hexdigest() and made["key sha256"] in (elsewhere / "README.txt").read_text()
    shown = json.loads(auditor("audit", "show", elsewhere, "--event", "certificate.issued", "--limit", "1").stdout)
    assert auditor("audit", "prove", elsewhere, "--record", str(shown[0]["seq"]), "--out", provider.work / "proof").returncode == 0
    proved = json.loads(auditor("audit", "check", provider.work / "proof", "--key", elsewhere / "log.vkey").stdout)
    assert proved["leaf"] == shown[0]
    # It went on record, and into a folder that was not there.
    assert provider.json("audit", "show", "--event", "log.exported")[-1]["record"]["records"] == made["records"] == report["records under the checkpoint"]
    assert provider.call("audit", "export", elsewhere).returncode == 6
    bundle = max((p for p in (elsewhere / "log" / "tile" / "entries").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    bundle.write_bytes(bundle.read_bytes().replace(b"provider.founded", b"provider.fOunded"))
    done = auditor("audit", "verify", elsewhere)
    assert (done.returncode, json.loads(done.stdout)["first bad record"]) == (1, 0)


def test_a_review_of_a_report_is_signed_by_an_auditor_or_is_none(provider):
    """This provider has no founding document, so nobody is an auditor; test_audit_review.py has some."""
    within(10, lambda: provider.call("audit", "verify").returncode == 0)
    path = provider.work / "report.html"
    made = provider.json("audit", "report", "--from", "2026-01-01", "--out", path)
    assert made["verdict"] == "sound" and made["records in the period"] > 40
    words = ["audit", "review", "--report", path, "--conclusion", "nothing to follow up"]
    assert provider.call(*words, "--by", "Greet Maes").returncode == 3, "names stay out of the log"
    written = provider.json(*words, "--by", "p7")
    assert written["signature"].startswith("missing") and made["sha256"] in (provider.work / "report.html.review").read_text()
    assert "no register of persons" in provider.call("audit", "review", "--signed", written["review"]).stderr
    assert provider.json("audit", "show", "--event", "report.reviewed") == []


def test_records_are_found_by_component_and_time(provider):
    everything = provider.json("audit", "show", "--limit", "100000")
    middle = everything[len(everything) // 2]["at"]
    begin, end = (provider.json("audit", "show", *words, middle, "--limit", "100000") for words in (["--begin"], ["--end"]))
    assert [leaf["seq"] for leaf in end + begin][:len(everything)] == list(range(len(everything)))
    assert all(leaf["at"] < middle for leaf in end) and all(leaf["at"] >= middle for leaf in begin)
    assert {leaf["record"]["component"] for leaf in provider.json("audit", "show", "--component", "ca", "--limit", "100000")} == {"ca"}
    assert provider.call("audit", "show", "--begin", "yesterday").returncode == 3


# ---- the installation ----
def test_status_is_one_screen_that_says_not_separated(provider):
    done = within(10, lambda: (lambda d: d if d.returncode == 0 else None)(provider.call("status")))
    assert "NOT SEPARATED" in done.stdout and len(done.stdout.splitlines()) < 60
    rows = {row["daemon"]: row["state"] for row in provider.json("status")["daemons"]}
    assert rows == {name: "running" for name in DAEMONS}


def test_pids_lie_where_they_are_said_to(provider):
    for name in DAEMONS:
        assert provider.pid(name) is not None, name


def test_secrets_lie_only_in_the_test_secrets_and_only_for_their_owner(provider):
    pins = {}
    for path in (provider.home / "test-secrets").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600, path
            pins[path.name] = path.read_text()
    assert len(pins) >= 12 and len(set(pins.values())) == len(pins)
    for key in (provider.home / "tls").glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    haystack = b"".join(p.read_bytes() for d in ("etc", "log", "run") for p in (provider.home / d).iterdir() if p.is_file())
    for name in DAEMONS:
        pid = provider.pid(name)
        haystack += open(f"/proc/{pid}/cmdline", "rb").read()
        if os.geteuid() != 0:  # no daemon can be dumped, so its environment is root's to read only
            with pytest.raises(PermissionError):
                open(f"/proc/{pid}/environ", "rb")
            continue
        haystack += open(f"/proc/{pid}/environ", "rb").read()
    assert not [name for name, pin in pins.items() if pin.encode() in haystack]


def test_init_never_overwrites_and_says_how_to_go_on_after_an_interruption(provider, tmp_path):
    done = provider.call("init", "--test")
    assert done.returncode == 6 and "chancery run" in done.stderr
    home = tmp_path / "home"
    tool = [provider.tool, "--home", home, "init", "--test", "--port-base", str(free_ports(7))]
    child = subprocess.Popen(tool, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    within(10, lambda: (home / "etc" / "founding").exists() and "Issuing CA" in (home / "etc" / "founding").read_text(), 0.001)
    child.kill()
    child.wait()
    done = run(*tool)
    assert done.returncode == 7 and "--start-over" in done.stderr, done.stderr
    time.sleep(1)  # the daemons of the killed init end by themselves
    assert run(*tool, "--start-over").returncode == 0
    assert list(tmp_path.glob("home.interrupted-*"))


def test_a_backup_restores_to_what_it_was_and_the_ca_catches_up_from_the_log(provider):
    early, _ = provider.issue("before")
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    assert provider.call("audit", "verify", "--log", copy / "log").returncode in (0, 2)
    _, late_serial = provider.issue("after")
    assert provider.call("restore", copy, "--database-only").returncode == 7
    provider.stop()
    provider.check("restore", copy, "--database-only")
    provider.start()
    assert provider.json("cert", "show", "--serial", late_serial)["state"] == "good"
    within(5, lambda: ": good" in provider.ocsp(early))
    within(10, lambda: provider.call("audit", "verify").returncode == 0)


def test_sighup_reloads_without_a_restart(provider):
    before = {name: provider.pid(name) for name in DAEMONS}
    os.kill(int((provider.home / "run" / "supervisor.pid").read_text()), signal.SIGHUP)
    reloaded = lambda: {(leaf["record"]["component"], leaf["record"]["outcome"])
                        for leaf in provider.json("audit", "show", "--event", "service.reloaded")}
    within(10, lambda: reloaded() == {(name.replace("keyd-", "keyd/"), "in force") for name in DAEMONS})
    assert before == {name: provider.pid(name) for name in DAEMONS}
    provider.issue("reloaded")


def test_a_daemon_that_is_killed_comes_back_and_the_others_stay(provider):
    before = {name: provider.pid(name) for name in DAEMONS}
    provider.kill("tsa")
    within(10, lambda: provider.pid("tsa") not in (None, before["tsa"]))
    assert all(provider.pid(name) == before[name] for name in DAEMONS if name != "tsa")


# ---- living on ----
def test_short_lived_certificates_are_renewed_without_a_restart():
    lives = Installation(options=["--test-lives", "40"])
    try:
        lives.start()
        pids = {name: lives.pid(name) for name in DAEMONS}
        names = ["tls/ca.pem", "tls/va.pem", "tls/tsa.pem"]
        before = {name: hashlib.sha256((lives.home / name).read_bytes()).digest() for name in names}
        signer = x509.load_pem_x509_certificate(lives.certificate("ocsp").read_bytes())
        within(60, lambda: all(hashlib.sha256((lives.home / n).read_bytes()).digest() != before[n] for n in names), 0.5)
        operator = (lives.home / "tls" / "operator.pem").read_bytes()
        # Whoever uses the tool in the last third of its certificate's life gets a new one.
        within(15, lambda: lives.check("ca", "list") and (lives.home / "tls" / "operator.pem").read_bytes() != operator, 0.5)
        time.sleep(max(0, signer.not_valid_after_utc.timestamp() - time.time()) + 1)
        certificate, _ = lives.issue("late")
        within(5, lambda: ": good" in lives.ocsp(certificate))
        assert {name: lives.pid(name) for name in DAEMONS} == pids
    finally:
        lives.close()


def test_an_unsynchronised_kernel_clock_gives_no_time_stamp():
    synchronised = run("python3", "-c", "import ctypes;b=ctypes.create_string_buffer(512);print(ctypes.CDLL(None).adjtimex(b))")
    if synchronised.stdout.strip() != "5":
        pytest.skip("this machine's kernel clock is synchronised")
    kernel = Installation(options=["--clock", "kernel"])
    try:
        kernel.start()
        file = kernel.work / "f"
        file.write_text("x")
        for _ in range(3):
            done = kernel.call("ts", "request", file)
            assert done.returncode == 11 and "timeNotAvailable" in done.stderr, done.stderr
    finally:
        kernel.close()


# ---- ./demo itself ----
@pytest.mark.parametrize("words", [(), ("--postgres",)], ids=["sqlite", "postgresql"])
def test_the_demo_runs_its_tour_and_changes_nothing_the_second_time(tmp_path, words):
    environment = dict(os.environ, CHANCERY_DEMO_DIRECTORY=str(tmp_path / "demo"), CHANCERY_DEMO_PORT_BASE=str(free_ports(7)))
    demo = lambda *words: run(ROOT / "demo", *words, env=environment, timeout=900)
    try:
        first = demo(*words)
        assert first.returncode == 0, first.stdout[-3000:] + first.stderr
        assert "Verification: OK" in first.stdout and "alice.pem: revoked" in first.stdout
        state = lambda: sorted((p.name, p.stat().st_mtime) for d in ("etc", "certificates", "tls", "test-secrets")
                               for p in (tmp_path / "demo" / d).rglob("*") if p.is_file())
        before, begun = state(), time.monotonic()
        assert ("postgresql = " in (tmp_path / "demo" / "etc" / "ca.conf").read_text()) == bool(words)
        second = demo(*words)
        assert second.returncode == 0 and "certification request" not in second.stdout
        assert time.monotonic() - begun < 10 and state() == before
        assert demo("stop").returncode == 0
        assert demo("start").returncode == 0
        env = dict(re.findall(r'^(CHANCERY\w*)="?([^"\n]*)', (tmp_path / "demo" / "env").read_text(), re.M))
        assert set(env) >= {"CHANCERY", "CHANCERY_OCSP_URL", "CHANCERY_TSA_URL", "CHANCERY_CRL_URL", "CHANCERY_REPOSITORY_URL",
                            "CHANCERY_API_URL", "CHANCERY_ROOT_PEM", "CHANCERY_ISSUING_PEM", "CHANCERY_TSU_PEM"}
        assert run("sh", "-c", f". {tmp_path}/demo/env; $CHANCERY status").returncode in (0, 1)
    finally:
        assert demo("reset").returncode == 0
        assert not list(tmp_path.iterdir())
