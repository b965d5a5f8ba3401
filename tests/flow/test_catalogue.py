"""What requirement asks to be on record happens in real daemons and is read back by `chancery audit show`."""
import base64
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    made = Installation().start()
    made.short = issue_short(made)
    try:
        yield made
    finally:
        made.close()


def issue_short(provider):
    """Ends after two seconds: for the test of what has expired, which comes later."""
    body = json.dumps({"profile": "ncp-plus-n", "request": provider.request("short").read_text(), "validity_seconds": 2})
    made = subprocess.run(["curl", "-sS", "--unix-socket", provider.home / "run" / "ca.sock", "-H", "Content-Type: application/json", "--data-binary", body,
                           "http://ca/v1/cas/issuing/certificates"], capture_output=True, text=True)
    return json.loads(made.stdout)["serial"], time.monotonic()


def records(provider, event, component=None):
    """Of an event, the oldest first."""
    words = ["--event", event, "--limit", "100000"] + (["--component", component] if component else [])
    return [leaf["record"] for leaf in provider.json("audit", "show", *words)]


def restart(provider, daemon, number=signal.SIGTERM):
    """The supervisor starts it again."""
    before = provider.pid(daemon)
    provider.kill(daemon, number)
    within(30, lambda: provider.pid(daemon) not in (None, before))


# ---- the life of daemons ----


def test_a_daemon_that_was_killed_says_so_at_its_next_start(provider):
    for daemon, component in (("va", "va"), ("tsa", "tsa"), ("keyd-status", "keyd/status")):
        assert not records(provider, "service.crashed", component)
        restart(provider, daemon, signal.SIGKILL)
        within(20, lambda component=component: len(records(provider, "service.crashed", component)) == 1)
        crashed = records(provider, "service.crashed", component)[0]
        starts = [r["time"] for r in records(provider, "service.started", component)]
        assert crashed["version"] and crashed["started"] <= starts[-2] and crashed["time"] <= starts[-1]


def test_a_daemon_that_was_stopped_in_order_says_nothing(provider):
    restart(provider, "ca")
    within(20, lambda: len(records(provider, "service.stopped", "ca")) == len(records(provider, "service.started", "ca")) - 1)
    assert not records(provider, "service.crashed", "ca")
    assert not records(provider, "software.updated"), "the same programs"


def test_a_changed_configuration_is_named_with_its_settings_and_without_values(provider):
    before = len(records(provider, "configuration.changed", "ca"))
    provider.amend("ca", "crl-life = 23h\nkey-blocklist = /nonexistent")
    provider.kill("ca", signal.SIGHUP)
    within(20, lambda: any(r["outcome"] == "refused" for r in records(provider, "service.reloaded", "ca")))
    assert len(records(provider, "configuration.changed", "ca")) == before, "it is not in force"
    provider.conf("ca").write_text(provider.conf("ca").read_text().replace("key-blocklist = /nonexistent\n", "# a comment\n"))
    provider.kill("ca", signal.SIGHUP)
    within(20, lambda: len(records(provider, "configuration.changed", "ca")) == before + 1)
    changed = records(provider, "configuration.changed", "ca")[-1]
    reloaded = records(provider, "service.reloaded", "ca")[-1]
    assert changed["settings"] == "crl-life" and changed["to"] == reloaded["configuration"] != changed["from"]
    provider.amend("va", "queue = 77")
    restart(provider, "va")
    within(20, lambda: [r["settings"] for r in records(provider, "configuration.changed", "va")] == ["queue"])


def test_another_program_is_an_update(provider):
    run, = (provider.home / "state" / "tsa").glob("run-*")
    text = run.read_text()
    program = records(provider, "service.started", "tsa")[-1]["program"]
    assert program in text
    run.write_text(text.replace(" 0.1.0 " + program, " 0.0.9 " + "ab" * 32))
    provider.kill("tsa", signal.SIGKILL)  # nothing is written on the way out
    within(30, lambda: len(records(provider, "software.updated", "tsa")) == 1)
    updated = records(provider, "software.updated", "tsa")[0]
    assert (updated["from"], updated["to"], updated["before"], updated["program"]) == ("0.0.9", "0.1.0", "ab" * 32, program)


# ---- who came in ----


def test_logins_and_refusals_at_the_interface_of_the_ca_are_on_record(provider):
    """An operator by a certificate, root on the local socket; a daemon's certificate may not do what an operator does."""
    provider.json("ca", "list")
    within(20, lambda: [r for r in records(provider, "access.granted", "ca") if r["source"].startswith(("127.", "local:"))])
    assert any(r["route"] == "/v1/feed" and r["certificate"] for r in records(provider, "access.granted", "va")), "the ca at the va"
    port = re.search(r"^listen = (\S+)", provider.conf("ca").read_text(), re.M).group(1)
    tls = provider.home / "tls"
    command = ["curl", "-sS", "--cacert", tls / "management-ca.pem", "--cert", tls / "va.pem", "--key", tls / "va.key", "-w", "%{stderr}%{http_code} "]
    done = subprocess.run([*map(str, command), *[f"https://{port}/v1/certificates"] * 20], capture_output=True, text=True)
    assert done.stderr.split() == ["403"] * 20, done.stdout + done.stderr
    within(20, lambda: sum(r["count"] for r in refused(provider)) == 20)
    assert len(refused(provider)) <= 3, "equal ones within a second are one record"
    first = refused(provider)[0]
    assert first["role"] == "operator" and first["source"].startswith("127.0.0.1") and len(first["certificate"]) == 32 and "role 'va'" in first["reason"]


def refused(provider):
    return [r for r in records(provider, "access.refused", "ca") if r["route"] == "/v1/certificates"]


# ---- certificates ----


def test_the_way_of_a_certificate_is_on_record(provider):
    _, serial = provider.issue("erin")
    issued = [r for r in records(provider, "certificate.issued") if r["serial"] == serial]
    assert [r["csr"] for r in issued] == [hashlib.sha256((provider.work / "erin.csr").read_bytes()).hexdigest()]
    bad = provider.work / "bad.csr"
    text = (provider.work / "erin.csr").read_text().splitlines()
    bad.write_text("\n".join([text[0], *corrupt(text[1:-1]), text[-1]]) + "\n")
    refusal = provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", bad, "--out", provider.work / "bad.pem")
    assert refusal.returncode != 0 and "possession" in refusal.stderr, refusal.stderr
    assert any(len(r["csr"]) == 64 for r in records(provider, "certificate.refused"))
    assert provider.call("cert", "revoke", "--serial", serial, "--reason", "certificateHold").returncode != 0
    assert [r["serial"] for r in records(provider, "revocation.refused")] == [serial] and "REV-6.3.9-04" in records(provider, "revocation.refused")[0]["reason"]
    provider.check("cert", "revoke", "--serial", serial, "--reason", "superseded")
    provider.check("cert", "revoke", "--serial", serial, "--reason", "superseded")
    asked = [r for r in records(provider, "revocation.requested") if r["serial"] == serial]
    assert [r["reason"] for r in asked] == ["superseded"] * 2 and all(r["channel"] and r["actor"] for r in asked)
    assert [r["actor"] for r in records(provider, "certificate.revoked") if r["serial"] == serial] == [asked[0]["actor"]]


def corrupt(lines):
    """The last octets of the signature."""
    der = bytearray(base64.b64decode("".join(lines)))
    der[-1] ^= 1
    text = base64.b64encode(bytes(der)).decode()
    return [text[i : i + 64] for i in range(0, len(text), 64)]


def test_a_crl_is_published_when_a_va_answers_with_it(provider):
    made = provider.json("crl", "issue", "--ca", "issuing")
    within(20, lambda: any(r["ca"] == "issuing" and r["number"] == made["number"] for r in records(provider, "crl.published", "va")))
    published = [r for r in records(provider, "crl.published", "va") if r["number"] == made["number"]][0]
    issued = [r for r in records(provider, "crl.issued") if r["ca"] == "issuing" and r["number"] == made["number"]][0]
    assert published["digest"] == issued["digest"]


def test_expired_certificates_are_counted_when_the_ca_looks_next(provider):
    serial, issued = provider.short
    time.sleep(max(0, issued + 3.5 - time.monotonic()))
    restart(provider, "ca")
    within(20, lambda: any(serial in r["serials"].split() for r in records(provider, "certificate.expired")))
    found = [r for r in records(provider, "certificate.expired") if serial in r["serials"].split()]
    assert len(found) == 1 and found[0]["count"] >= 1 and found[0]["from"] < found[0]["to"]


# ---- the time-stamping authority ----


def test_refused_time_stamps_are_counted(provider):
    url = provider.env["CHANCERY_TSA_URL"]
    for _ in range(7):
        subprocess.run(["curl", "-sS", "-o", "/dev/null", "-H", "Content-Type: application/timestamp-query", "--data-binary", "rubbish", url], check=True)
    restart(provider, "tsa")  # at the end, what has been counted is written
    within(20, lambda: records(provider, "time_stamp.refused"))
    found = [r for r in records(provider, "time_stamp.refused") if r["failure"] == "badDataFormat"]
    assert sum(r["count"] for r in found) == 7 and "rfc3161#2.4.1" in found[0]["reason"]


def test_a_unit_that_gives_no_tokens_says_so_and_when_it_gives_them_again(provider):
    loaded = records(provider, "unit.loaded")[-1]
    assert loaded["key"] and loaded["not_before"] < loaded["key_end"] <= loaded["not_after"]
    before = provider.pid("keyd-time")
    supervisor = int(re.search(r"PPid:\s+(\d+)", (pathlib.Path("/proc") / str(before) / "status").read_text()).group(1))
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(before, signal.SIGKILL)
        stamp(provider)
        within(20, lambda: records(provider, "unit.stopped"))
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert records(provider, "unit.stopped")[-1]["reason"] == "keyd does not sign"
    within(30, lambda: provider.pid("keyd-time") not in (None, before))
    within(20, lambda: stamp(provider) and records(provider, "unit.resumed"), pause=0.5)
    assert records(provider, "unit.resumed")[-1]["since"] <= records(provider, "unit.resumed")[-1]["time"]


def stamp(provider):
    path = provider.work / "query.tsq"
    subprocess.run(["openssl", "ts", "-query", "-digest", "ab" * 32, "-sha256", "-out", path], check=True, capture_output=True)
    return subprocess.run(["curl", "-sS", "-H", "Content-Type: application/timestamp-query", "--data-binary", f"@{path}", provider.env["CHANCERY_TSA_URL"]],
                          check=True, capture_output=True).stdout


# ---- devices ----


def test_a_token_that_is_opened_says_which_device_it_is(provider):
    opened = records(provider, "token.opened", "keyd/time")[-1]
    assert "SoftHSM" in opened["manufacturer"] and opened["model"] and opened["serial"] and re.fullmatch(r"\d+\.\d+", opened["firmware"]) and opened["module"]
