"""The n-th system call of a daemon's start fails, or kills it there: the next start is as if nothing had been, and no record is lost.

Each daemon starts under `strace --inject` again and again, n = 1, 2, 3... until it makes no more such calls; the others run under the
supervisor meanwhile, but auditd and keyd of its zone are alone. Reading is among the calls: what cannot be read must not count as not being there.
In plain ./check a few faults of auditd, chosen by the seed; with CHANCERY_LONG=1 all, and of the other daemons that keep something.
"""
import os
import random
import re
import time

import pytest
from installation import Installation, within
from nth_call import FAULTS, MAY_TRACE, Injection, start_with

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SEED = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
PROGRAMS = {"auditd": "chancery-auditd", "keyd-log": "chancery-keyd", "keyd-status": "chancery-keyd", "va": "chancery-va", "ca": "chancery-ca"}
# And how many of them a start of auditd makes, about.
CALLS = {"openat": 50, "getdents64": 15, "write": 7, "pwrite64": 2, "fsync": 12, "fdatasync": 2, "rename": 6, "unlink": 7, "ftruncate": 1}
MOST = 80
FEW = 10
LEAF = re.compile(rb'\{"v":1,"seq":(\d+),[^{}]*"record":\{"v":1,"id":"([0-9a-f]{32})"')

pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")


class Started:
    def __init__(self, name):
        self.name = name
        self.alone = name in ("auditd", "keyd-log")
        self.provider = Installation()
        self.conf = self.provider.home / "etc" / "chancery.conf"
        self.text = self.conf.read_text()
        self.without = re.sub(rf"(?m)^(\[daemon {name}\])$", r"\1\nsupervised = no", self.text)
        assert self.without != self.text
        self.serves()
        self.known = self.records()
        assert len(self.known) > 50

    def serves(self):
        """The whole installation, and all that was on record is in a sound log."""
        self.provider.start()
        certificate, _ = self.provider.issue(f"person{time.time_ns()}")
        within(20, lambda: ": good" in self.provider.ocsp(certificate), 0.2)
        within(20, lambda: self.provider.call("audit", "verify").returncode == 0, 0.3)
        self.provider.stop()

    def records(self):
        """The id of each leaf, wherever the files have it."""
        log, out = self.provider.home / "state" / "auditd" / "log", {}
        for file in [*(log / "tail").iterdir(), *(log / "tile" / "entries").rglob("*")]:
            for leaf in LEAF.finditer(file.read_bytes() if file.is_file() else b""):
                seq, identity = int(leaf.group(1)), leaf.group(2)
                assert out.setdefault(seq, identity) == identity, f"there are two records {seq}"
        return out

    def nothing_is_lost(self):
        now = self.records()
        lost = {seq for seq, identity in self.known.items() if now.get(seq) != identity}
        assert not lost, f"records {sorted(lost)} are others now, or gone"
        assert sorted(now) == list(range(len(now)))
        self.known = now

    def command(self):
        out = [self.provider.build / "src" / PROGRAMS[self.name], "--config", self.provider.conf(self.name)]
        return out + (["--pin-directory", self.provider.home / "test-secrets"] if self.name.startswith("keyd") else [])

    def fail(self, fault, call, n):
        hit, _ = start_with(Injection(self.name, fault, call, None, n), self.command())
        if self.alone:
            self.nothing_is_lost()
        return hit

    def go_through(self, fault):
        """All calls with this fault; how many were hit."""
        if not self.alone:
            self.conf.write_text(self.without)
            self.provider.start()
        count = 0
        for call in CALLS:
            for n in range(1, MOST + 1):
                if not self.fail(fault, call, n):
                    break
                count += 1
        if not self.alone:
            self.provider.stop()
            self.conf.write_text(self.text)
        return count


def fail_some(started):
    print("CHANCERY_SEED", SEED)
    chance = random.Random(SEED)
    for _ in range(FEW):
        fault, call = chance.choice(list(FAULTS)), chance.choice(list(CALLS))
        n = chance.randint(1, CALLS[call])
        print(fault, call, n, started.fail(fault, call, n))


def fail_all(started):
    for fault in FAULTS:
        hits = started.go_through(fault)
        print(started.name, fault, hits)
        assert hits > 20
        started.serves()
        started.nothing_is_lost()


@pytest.mark.parametrize("name", list(PROGRAMS) if LONG else ["auditd"])
def test_a_start_that_fails_anywhere_costs_nothing(name):
    started = Started(name)
    try:
        (fail_all if LONG else fail_some)(started)
        started.serves()
        started.nothing_is_lost()
    finally:
        started.provider.close()
