"""chancery-watch over a whole installation: what is wrong is an alert in the log, at the hook, in the mailbox, by the command and on the status
page; what is over closes it; whoever kills it in between tells nothing twice in the log."""
import datetime
import http.server
import json
import os
import signal
import socketserver
import subprocess
import threading
import time

import pytest
from installation import Installation, free_ports, within

CONF = """probe-interval = 200ms
probe-failures = 2
outage-limit = 1s
"""
OUTLETS = """
[outlet hook]
url = http://127.0.0.1:{hook}/alerts
[outlet command]
severity = alert
command = {command}
[outlet mailbox]
severity = alert
mail-to = duty@example.org
mail-from = chancery@example.org
mail-server = smtp://127.0.0.1:{mail}
[probe shop]
kind = health
url = http://127.0.0.1:{shop}/
service = shop
[rule refusals]
event = certificate.refused
where = profile=ncp-plus-n
threshold = 3
window = 1h
text = somebody asks again and again for what is not issued
"""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Of one kind of protocol on one port; can go and come back."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()


def hook_into(told):
    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            assert self.headers["Content-Type"] == "application/json"
            self.send_response(204)
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Hook


def mailbox_into(mails):
    class Mail(socketserver.StreamRequestHandler):
        def say(self, text):
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self):
            self.say("220 mail.example.org")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    mails.append("".join(lines))
                self.say("221 bye" if word == "QUIT" else "250 ok")
                if word == "QUIT":
                    return

    return Mail


class Watched(Installation):
    def __init__(self):
        super().__init__()
        self.ports = dict(zip(("hook", "mail", "shop"), range(free_ports(3), 70000)))
        self.told, self.mails, self.calls = [], [], self.directory / "calls"
        command = self.directory / "tell"
        command.write_text(f"#!/bin/sh\n{{ cat; echo; }} >> {self.calls}\n")
        command.chmod(0o755)
        self.amend("watch", CONF)
        with self.conf("watch").open("a") as f:
            f.write(OUTLETS.format(command=command, **self.ports))
        self.hook = Server(self.ports["hook"], hook_into(self.told))
        self.mail = Server(self.ports["mail"], mailbox_into(self.mails))
        self.shop = Server(self.ports["shop"], hook_into([]))
        self.start()

    def close(self):
        super().close()
        for server in (self.hook, self.mail, self.shop):
            server.end()

    def open_alerts(self):
        return {(a["rule"], a["subject"]): a for a in self.json("alert", "list")["alerts"]}

    def on_record(self, event):
        return [leaf["record"] for leaf in self.json("audit", "show", "--event", event)]

    def heard(self, rule, state):
        return [n for n in list(self.told) if n["rule"] == rule and n["state"] == state]

    def record(self, kind, *words):
        return self.json("record", "add", kind, "--by", "p6", *words)["reference"]


@pytest.fixture(scope="module")
def provider():
    watched = Watched()
    yield watched
    watched.close()


def hours_ago(hours):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M")


def test_a_provider_that_is_well_has_no_alert(provider):
    within(10, lambda: provider.call("alert", "list").returncode == 0)
    assert provider.open_alerts() == {} and "none is open" in provider.check("alert", "list")
    listed = {rule["rule"] for rule in provider.json("alert", "rules")}
    assert {"quorum-refused", "operation-forged", "shares-wrong", "logins-failed", "clock-lost", "crl-late", "status-mismatch", "log-not-copied", "stamp-late",
            "refusals"} <= listed


def test_a_trial_arrives_at_each_outlet(provider):
    tried = {row["outlet"]: row["told"] for row in provider.json("alert", "try")}
    assert tried == {"hook": True, "command": True, "mailbox": True}
    assert [n["rule"] for n in provider.told] == ["trial"] and '"rule":"trial"' in provider.calls.read_text()
    assert "To: <duty@example.org>" in provider.mails[0] and "Auto-Submitted: auto-generated" in provider.mails[0]


def test_an_alert_goes_to_the_log_the_status_page_and_each_outlet_and_a_person_closes_it(provider):
    provider.record("malware.found", "--host", "ca-1", "--text", "a known one in /tmp")
    within(10, lambda: ("malware", "ca-1") in provider.open_alerts())
    alert = provider.open_alerts()["malware", "ca-1"]
    within(10, lambda: provider.heard("malware", "open") and '"rule":"malware"' in provider.calls.read_text() and len(provider.mails) > 1)
    assert "an incident is to be opened" in provider.mails[1]
    within(5, lambda: [r for r in provider.on_record("alert.opened") if r["alert"] == alert["alert"]])
    status = provider.call("status")
    assert status.returncode == 1 and "malware" in status.stdout
    for words, says in ((["--alert", "00", "--reason", "x"], "no alert 00 is open"), (["--alert", alert["alert"], "--reason", ""], "1 to 300")):
        refused = provider.call("alert", "close", *words)
        assert refused.returncode not in (0, 1) and says in refused.stderr, refused.stderr
    provider.check("alert", "close", "--alert", alert["alert"], "--reason", "removed, the host was set up anew", "--by", "p5")
    within(10, lambda: ("malware", "ca-1") not in provider.open_alerts())
    within(10, lambda: provider.heard("malware", "closed"))
    closed = [r for r in provider.on_record("alert.closed") if r["alert"] == alert["alert"]]
    assert [(r["person"], r["component"]) for r in closed] == [("p5", "cli")], "on record once, by who closed it"


def test_a_rule_of_ones_own_counts_to_its_threshold(provider):
    bad = provider.request("nobody", subject="/C=BE/CN=nobody")
    for i in range(3):
        assert ("refusals", "") not in provider.open_alerts()
        assert provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", bad, "--out", provider.work / "n.pem").returncode != 0
    within(10, lambda: ("refusals", "") in provider.open_alerts())
    assert len(provider.on_record("certificate.refused")) == 3
    within(10, lambda: provider.heard("refusals", "open"))
    assert "refusals" not in provider.calls.read_text(), "a warning is not for who wants alerts only"


def test_deadlines_count_by_themselves(provider):
    about = ["--software", "openssl", "--severity", "critical"]
    near = provider.record("vulnerability.assessed", "--identifier", "CVE-2026-1", "--found", hours_ago(40), *about)
    missed = provider.record("vulnerability.assessed", "--identifier", "CVE-2026-2", "--found", hours_ago(49), *about)
    far = provider.record("vulnerability.assessed", "--identifier", "CVE-2026-3", "--found", hours_ago(1), *about)
    within(10, lambda: {("deadline-near", near), ("deadline-missed", missed)} <= set(provider.open_alerts()))
    assert not [subject for _, subject in provider.open_alerts() if subject == far]
    for reference in (near, missed, far):
        provider.record("vulnerability.handled", "--closes", reference, "--measure", "patched")
    within(10, lambda: not [rule for rule, _ in provider.open_alerts() if rule.startswith("deadline")])
    assert {n["subject"] for n in provider.heard("deadline-missed", "closed")} <= {missed}


def test_a_service_that_is_down_for_too_long_is_a_significant_incident(provider):
    within(10, lambda: ("probe-failed", "shop") not in provider.open_alerts())
    provider.shop.end()
    within(10, lambda: {("probe-failed", "shop"), ("outage-significant", "shop")} <= set(provider.open_alerts()))
    provider.shop = Server(provider.ports["shop"], hook_into([]))
    within(10, lambda: ("probe-failed", "shop") not in provider.open_alerts())
    alert = provider.open_alerts()["outage-significant", "shop"]
    assert "24 hours" in alert["text"], "it stays until somebody has looked into it"
    provider.check("alert", "close", "--alert", alert["alert"], "--reason", "incident opened")
    within(10, lambda: ("outage-significant", "shop") not in provider.open_alerts())
    assert [r["target"] for r in provider.on_record("probe.failed")] == ["shop"]


def test_an_outlet_that_is_away_hears_everything_in_order_when_it_is_back(provider):
    provider.hook.end()
    heard = len(provider.told)
    hosts = [f"host-{i}" for i in range(4)]
    for host in hosts:
        provider.record("malware.found", "--host", host, "--text", "one")
    within(10, lambda: ("outlet-failed", "hook") in provider.open_alerts())
    provider.hook = Server(provider.ports["hook"], hook_into(provider.told))
    within(20, lambda: [n["subject"] for n in provider.told[heard:] if n["rule"] == "malware"] == hosts)
    within(10, lambda: ("outlet-failed", "hook") not in provider.open_alerts())


def test_killed_again_and_again_it_tells_each_alert_once_in_the_log_and_loses_none(provider):
    hosts = [f"killed-{i}" for i in range(12)]
    for i, host in enumerate(hosts):
        provider.record("malware.found", "--host", host, "--text", "one")
        if i % 4 == 0:
            os.kill(within(20, lambda: provider.pid("watch")), signal.SIGKILL)
    opened = lambda: sorted(r["subject"] for r in provider.on_record("alert.opened") if r.get("subject", "").startswith("killed"))
    within(60, lambda: len(opened()) >= len(hosts))
    assert opened() == sorted(hosts), "each once"
    within(20, lambda: set(hosts) <= {n["subject"] for n in list(provider.told)}, pause=0.2)


def test_when_auditd_is_away_the_alert_goes_out_all_the_same_and_on_record_later(provider):
    os.kill(provider.pid("auditd"), signal.SIGKILL)
    provider.conf("auditd").rename(provider.conf("auditd").with_suffix(".away"))  # so that it does not come back at once
    try:
        within(20, lambda: ("log-unreachable", "") in provider.open_alerts() or None)
        within(10, lambda: provider.heard("log-unreachable", "open"))
        assert "log-unreachable" in provider.call("status").stdout
    finally:
        provider.conf("auditd").with_suffix(".away").rename(provider.conf("auditd"))
    within(60, lambda: ("log-unreachable", "") not in provider.open_alerts())
    within(20, lambda: "log-unreachable" in [r["rule"] for r in provider.on_record("alert.opened")])


def hang_up(provider, text):
    """Another configuration, and SIGHUP: what the daemon says of it."""
    told = lambda: [line for line in provider.log_text("watch").splitlines() if "configuration read again" in line or "the former configuration stays" in line]
    before = len(told())
    provider.conf("watch").write_text(text)
    os.kill(provider.pid("watch"), signal.SIGHUP)
    return within(20, lambda: told()[before:])[0]


def rule(provider, name):
    found, = [rule for rule in provider.json("alert", "rules") if rule["rule"] == name]
    return found


def test_a_reload_takes_rules_outlets_and_probes_and_what_changed_is_on_record(provider):
    text = provider.conf("watch").read_text()
    pid, reloads = provider.pid("watch"), len(provider.on_record("service.reloaded"))
    other = []
    second = Server(free_ports(1), hook_into(other))
    try:
        url = f"http://127.0.0.1:{second.server_address[1]}/alerts"
        changed = text.replace(f"[outlet hook]\nurl = http://127.0.0.1:{provider.ports['hook']}/alerts", f"[outlet second]\nurl = {url}")
        changed = changed.replace("threshold = 3\nwindow = 1h", "threshold = 4\nwindow = 2h").replace("[probe shop]", "[probe store]")
        assert changed.count("second") == changed.count("threshold = 4") == changed.count("[probe store]") == 1
        assert "configuration read again" in hang_up(provider, changed)
        assert (rule(provider, "refusals")["threshold"], rule(provider, "refusals")["window seconds"]) == (4, 7200)
        provider.record("malware.found", "--host", "reloaded-1", "--text", "one")
        within(10, lambda: [n for n in other if n["subject"] == "reloaded-1"])
        provider.shop.end()
        within(10, lambda: ("probe-failed", "store") in provider.open_alerts())
        provider.shop = Server(provider.ports["shop"], hook_into([]))
        changes = {r["parameter"]: (r.get("from"), r.get("to")) for r in provider.on_record("watch.changed")}
        was, now = changes["rule refusals"]
        assert "threshold 3 window 3600000ms event certificate.refused where profile=ncp-plus-n" in was and now == was.replace("threshold 3 window 36", "threshold 4 window 72")
        assert changes["outlet hook"][1] is changes["outlet second"][0] is changes["probe shop"][1] is None
        assert changes["outlet second"][1].startswith("notice url SHA-256 ") and url not in str(changes), "it may be a password to the hook"
        assert changes["probe store"][1] == f"health http://127.0.0.1:{provider.ports['shop']}/ service shop"
        within(10, lambda: [n for n in other if n["rule"] == "watch-changed"])
        reloaded = provider.on_record("service.reloaded")[reloads:]
        assert [(r["component"], r["outcome"]) for r in reloaded] == [("watch", "in force")]
        assert "rule refusals threshold" in [r for r in provider.on_record("configuration.changed") if r["component"] == "watch"][-1]["settings"]
    finally:
        again = hang_up(provider, text)
        second.end()
    assert "configuration read again" in again
    assert rule(provider, "refusals")["threshold"] == 3 and provider.pid("watch") == pid
    provider.record("malware.found", "--host", "reloaded-2", "--text", "one")
    within(10, lambda: [n for n in provider.told if n["subject"] == "reloaded-2"])
    assert "reloaded-1" not in [n["subject"] for n in provider.told], "an outlet that is gone hears nothing, and when it is back what comes from then on"


@pytest.mark.parametrize("change, says", [
    (lambda text: text.replace("threshold = 3", "threshold = three"), "threshold"),
    (lambda text: text.replace("event = certificate.refused", "event = moon.rose"), "the catalogue has none of that name"),
    (lambda text: text + "\n[outlet another]\nurl = http://127.0.0.1:1/\nmail-to = a@example.org\n", "one of command, url and mail-to"),
    (lambda text: text + "\n[outlet another]\ncommand = /bin/true\n", "which programs may be started is settled"),
    (lambda text: text + "\n[host]\ninterval = 7s\n", "[host] cannot change while chancery-watch runs"),
    (lambda text: text + "".join(f"\n[outlet n{i}]\nurl = http://127.0.0.1:1/\n" for i in range(14)), "more than 16 outlets"),
], ids=["no number", "no event", "two ways", "another program", "fixed", "too many"])
def test_a_reload_that_makes_no_sense_keeps_the_configuration_and_says_why(provider, change, says):
    text = provider.conf("watch").read_text()
    changes = len(provider.on_record("watch.changed"))
    assert change(text) != text
    line = hang_up(provider, change(text).replace("probe-failures = 2", "probe-failures = 9"))
    provider.conf("watch").write_text(text)
    assert "the former configuration stays" in line and says in line
    assert rule(provider, "refusals")["threshold"] == 3
    assert len(provider.on_record("watch.changed")) == changes, "what is not in force is no change"
    within(10, lambda: provider.call("alert", "list").returncode in (0, 1))
    tried = {row["outlet"]: row["told"] for row in provider.json("alert", "try")}
    assert tried == {"hook": True, "command": True, "mailbox": True}


@pytest.mark.parametrize("text, says", [
    ("[rule odd]\nevent = moon.rose\ntext = x", "the catalogue has none of that name"),
    ("[rule odd]\ntext = x", "needs event and text"),
    ("[rule odd]\nevent = key.refused\nby = colour\ntext = x", "key.refused has no such field"),
    ("[rule odd]\nevent = key.refused\nwhere = zone\ntext = x", "FIELD=VALUE"),
    ("[rule odd]\nevent = key.refused\nthreshold = 2\ntext = x", "needs a window"),
    ("[outlet odd]\nurl = http://127.0.0.1:1/\ncommand = /bin/true", "one of command, url and mail-to"),
    ("[outlet odd]\nmail-to = a@example.org", "mail-from"),
    ("[outlet odd]\ncommand = /nowhere/tell", "/nowhere/tell"),
    ("[probe odd]\nkind = ocsp\nurl = http://127.0.0.1:1/", "needs certificate and issuer"),
    ("[probe odd]\nkind = socket", "needs a socket"),
])
def test_a_configuration_that_makes_no_sense_is_refused_with_the_reason(provider, tmp_path, text, says):
    conf = tmp_path / "watch.conf"
    conf.write_text(f"socket = s\nstate-directory = state\naudit-socket = {provider.home}/run/auditd.sock\n{text}\n")
    done = subprocess.run([provider.build / "src" / "chancery-watch", "--config", conf], capture_output=True, text=True, timeout=30)
    assert done.returncode not in (0, -11) and says in done.stderr, done.stderr


def test_a_log_that_was_put_back_is_told_not_swallowed(provider):
    provider.stop()
    book = provider.home / "state" / "watch" / "book.json"
    text = json.loads(book.read_text())
    book.write_text(json.dumps({**text, "position": 10**9}))
    provider.start()
    told = lambda: "it was put back" in provider.open_alerts().get(("log-unreachable", ""), {"text": ""})["text"]
    within(20, told)
    time.sleep(1.5)
    assert told(), "and it stays until somebody has looked into it"
