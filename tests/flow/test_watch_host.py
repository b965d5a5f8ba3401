"""The journal of a host, made by systemd-journal-remote, comes into the log by chancery-watch: each event once, whatever ends it in between."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import audit_world
from ca_world import Daemon, until

REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT, START, HOST = "b" * 32, 1_790_000_000_000_000, "host1.example"
STARTED = "39f53479d3a045ac8e11786248231fbf"
ZONE = "45f82f4aef7a4bbf942ce861d1f20990"


def export(entries):
    """Journal export format, https://systemd.io/JOURNAL_EXPORT_FORMATS"""
    out = b""
    for at, fields in entries:
        out += b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n" % (at, at - START + 1, BOOT.encode())
        for name, value in dict(dict(_HOSTNAME=HOST, _MACHINE_ID="a" * 32, _TRANSPORT="syslog", _UID="0"), **fields).items():
            value = value if isinstance(value, bytes) else value.encode()
            out += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        out += b"\n"
    return out


class Host:
    def __init__(self):
        self.world = audit_world.World()
        self.world.start_keyd()
        assert self.world.start()
        self.journal = os.path.join(self.world.directory, "journal")
        os.mkdir(self.journal)
        config = os.path.join(self.world.directory, "watch.conf")
        with open(config, "w") as f:
            f.write(f"socket = watch.sock\nstate-directory = watch\naudit-socket = {self.world.socket}\n[host]\njournal = {self.journal}\n"
                    "interval = 100ms\nlook-back = 36500d\n")
        os.makedirs(os.path.join(self.world.directory, "watch"), exist_ok=True)
        self.watch = Daemon("chancery-watch", config)
        self.files = self.at = 0

    def write(self, *fields):
        """A further file of the journal, a second for each entry."""
        self.files += 1
        entries = []
        for more in fields:
            self.at += 1
            entries.append((START + self.at * 1_000_000, more))
        subprocess.run([REMOTE, "-o", os.path.join(self.journal, f"part{self.files}.journal"), "-"], input=export(entries), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def alerts(self):
        return [r for r in self.everything() if r["event"] == "alert.opened"]

    def records(self, event=None):
        return [r for r in self.everything() if r["event"].startswith("host.") and event in (None, r["event"])]

    def everything(self):
        """From the tiles, by the reader that has no code of ours."""
        assert self.world.settled()
        with open(os.path.join(self.world.log, "checkpoint")) as f:
            size = int(f.read().splitlines()[1])
        return [json.loads(e)["record"] for e in audit_world.entries(self.world.log, size)]

    def remove(self):
        self.watch.stop(signal.SIGKILL)
        self.world.remove()


@pytest.fixture
def host():
    made = Host()
    yield made
    made.remove()


def ssh(user, **more):
    return dict(dict(SYSLOG_IDENTIFIER="sshd", MESSAGE=f"Accepted publickey for {user} from 192.0.2.7 port 4022 ssh2"), **more)


def test_what_happened_on_the_host_is_on_record(host):
    host.write(ssh("an"), ssh("forger", _UID="1000"), dict(SYSLOG_IDENTIFIER="cron", MESSAGE="nothing of interest"),
               dict(SYSLOG_IDENTIFIER="sshd", MESSAGE="Failed password for invalid user Tr0ub4dor from 192.0.2.9 port 1 ssh2"),
               dict(SYSLOG_IDENTIFIER="sudo", _UID="1000", _EXE="/usr/bin/sudo",
                    MESSAGE="pam_unix(sudo:session): session opened for user root(uid=0) by an(uid=1000)"),
               dict(SYSLOG_IDENTIFIER="sudo", _UID="1000", _EXE="/home/forger/sudo",
                    MESSAGE="pam_unix(sudo:session): session opened for user root(uid=0) by forger(uid=1000)"),
               dict(SYSLOG_IDENTIFIER="systemd", MESSAGE_ID=STARTED, UNIT="chancery-ca.service", MESSAGE="Started"),
               dict(SYSLOG_IDENTIFIER="polkitd", _UID="997", _SYSTEMD_UNIT="polkit.service",
                    MESSAGE="Operator of unix-session:2 successfully authenticated as unix-user:root to gain ONE-SHOT authorization for action "
                            "org.freedesktop.timedate1.set-ntp for unix-process:9:9 [x (owned by unix-user:forger)] (owned by unix-user:bea)"),
               dict(SYSLOG_IDENTIFIER="systemd-timedated", _SYSTEMD_UNIT="systemd-timedated.service", MESSAGE="Set NTP to disabled."),
               dict(SYSLOG_IDENTIFIER="systemd-timedated", MESSAGE_ID=ZONE, MESSAGE="Changed time zone to 'UTC' (UTC)."),
               dict(SYSLOG_IDENTIFIER="chronyd", _UID="998", _SYSTEMD_UNIT="chrony.service", MESSAGE="Can't synchronise: no selectable sources"),
               dict(_TRANSPORT="kernel", MESSAGE=b"EXT4-fs error \x1b[1m\n{\"event\":\"host.login\"}\xff " + b"x" * 20000))
    host.watch.start()
    until(lambda: len(host.records()) == 9)
    login, refused, privilege, service, polkit, ntp, zone, chrony, kernel = host.records()
    assert (polkit["event"], polkit["user"], polkit["target"], polkit["command"]) == ("host.privilege", "bea", "root", "org.freedesktop.timedate1.set-ntp")
    assert [(r["event"], r["change"]) for r in (ntp, zone, chrony)] == [("host.time", word) for word in ("synchronisation switched off", "time zone set", "source lost")]
    assert (login["user"], login["source"], login["method"], login["outcome"], login["host"]) == ("an", "192.0.2.7", "publickey", "accepted", HOST)
    assert login["at"].startswith("2026-09-") and login["at"] < login["time"]
    assert (refused["outcome"], refused["user"], refused["source"]) == ("refused", "(no account)", "192.0.2.9")
    assert (privilege["user"], privilege["target"]) == ("an", "root") and (service["unit"], service["change"]) == ("chancery-ca.service", "started")
    assert kernel["text"].startswith("EXT4-fs error ?[1m?{") and len(kernel["text"]) == 200 and "forger" not in json.dumps(host.records())
    assert "Tr0ub4dor" not in json.dumps(host.records())


def test_a_kill_loses_nothing_and_tells_nothing_twice(host):
    users = [f"user{i}" for i in range(800)]
    host.write(*[ssh(user) for user in users[:400]])
    host.watch.start()
    for wanted in (1, 2, 3):
        until(lambda: host.world.status()["size"] > wanted * 40, 20)
        time.sleep(0.01)
        host.watch.stop(signal.SIGKILL)
        assert host.world.status()["size"] < 400, "it was killed when all was done"
        host.watch.start()
    host.write(*[ssh(user) for user in users[400:]])
    until(lambda: host.records("host.login")[-1:] and host.records("host.login")[-1]["user"] == users[-1], 40)
    assert [r["user"] for r in host.records("host.login")] == users
    assert host.records("host.gap") == []


def test_what_the_journal_has_lost_is_a_gap_on_record(host):
    host.write(ssh("an"))
    host.watch.start()
    until(lambda: len(host.records()) == 1)
    host.watch.stop()
    shutil.rmtree(host.journal)
    os.mkdir(host.journal)
    host.at += 100
    host.write(ssh("bea"), ssh("cas"))
    host.watch.start()
    until(lambda: len(host.records("host.login")) == 3)
    (gap,) = host.records("host.gap")
    an, bea, cas = host.records("host.login")
    assert (gap["from"], gap["to"], gap["host"]) == (an["at"], bea["at"], HOST) and (bea["user"], cas["user"]) == ("bea", "cas")


def test_logins_that_fail_again_and_again_raise_an_alert(host):
    refused = dict(SYSLOG_IDENTIFIER="sshd", MESSAGE="Failed password for bea from 192.0.2.9 port 1 ssh2")
    host.write(*[ssh("an")] * 5, *[refused] * 4)
    host.watch.start()
    until(lambda: len(host.records("host.login")) == 9)
    host.write(refused)
    until(lambda: host.alerts())
    (alert,) = host.alerts()
    assert alert["rule"] == "logins-failed" and "bea" in alert["subject"] and HOST in alert["subject"]


def test_a_journal_without_a_file_that_can_be_read_is_a_gap_once(host):
    host.watch.start()
    until(lambda: host.records("host.gap"))
    (gap,) = host.records()
    assert gap["from"] == gap["to"] and "can be read" in gap["reason"]
    time.sleep(0.5)
    assert host.records() == [gap]
    host.write(ssh("an"))
    until(lambda: host.records("host.login"))
    assert len(host.records()) == 2


def test_the_first_reading_goes_back_as_far_as_it_is_told(host):
    host.write(ssh("long-ago"))
    host.at = (time.time_ns() // 1000 - START) // 1_000_000 - 60
    host.write(ssh("today"))
    with open(host.watch.config) as f:
        text = f.read()
    with open(host.watch.config, "w") as f:
        f.write(text.replace("look-back = 36500d", "look-back = 1d"))
    host.watch.start()
    until(lambda: host.records())
    assert [r["user"] for r in host.records()] == ["today"]
