"""An hour in which the second place of the log cannot be reached and the time-stamping authority gives no stamp. Clocks of auditd and of the second place are moved, minute by
minute (preload/moved_clock.c): all writers go on, it is said and on record after the alarm's age, and what was missed arrives in order afterwards."""
import json
import mmap
import pathlib
import struct
import subprocess

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
import stamp_world as sw

pytestmark = pytest.mark.skipif(kc.sanitized(), reason="a preloaded library does not go with a sanitizer")
PRELOAD = pathlib.Path(__file__).parent / "preload" / "moved_clock.c"
MINUTES, ALARM = 60, 10


class Clock:
    def __init__(self, directory):
        self.control, self.library = directory / "moved-clock", directory / "moved_clock.so"
        self.control.write_bytes(bytes(8))
        with open(self.control, "r+b") as f:
            self.told = mmap.mmap(f.fileno(), 8)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", self.library, PRELOAD, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(self.library), "MOVED_CLOCK": str(self.control)}
        self.minute = 0

    def move(self, minute):
        self.minute = minute
        self.told[:8] = struct.pack("q", 60 * minute)


class Host:
    """A log with both, and `chancery status` of it."""

    def __init__(self, directory):
        for name in ("authority", "second", "home/etc"):
            (directory / name).mkdir(parents=True)
        self.clock = Clock(directory)
        self.authority = sw.Authority(directory / "authority")
        self.world = aw.World(extra=sw.conf(self.authority.url, directory / "authority" / "root.pem", alarm=f"{ALARM}m", limit="12h"))
        self.world.start_keyd()
        self.copy = cw.Copy(directory / "second", self.world.spki)
        self.copy.keyd.stop()
        self.copy.keyd.environment = dict(self.copy.keyd.environment, **self.clock.environment)
        self.copy.keyd.start()  # whose clock is in the cosignatures
        with open(self.world.config, "a") as f:
            f.write(self.copy.conf(alarm=f"{ALARM}m"))
        (directory / "home" / "etc" / "chancery.conf").write_text(
            f"name = TEST\ntest = yes\n[daemon auditd]\nprogram = chancery-auditd\nconfig = {self.world.config}\nsocket = {self.world.socket}\n")
        self.tool = [self.world.build + "/src/chancery", "--home", str(directory / "home"), "--json", "status"]

    def start_copy(self):
        self.copy.start(prefix=["env", *(f"{name}={value}" for name, value in self.clock.environment.items())])

    def status(self):
        said = json.loads(subprocess.run(self.tool, capture_output=True, text=True, check=False).stdout)
        copied, = said["copies of the log"]
        return copied, said["audit time-stamp"]

    def second(self):
        copied, = cw.condition(self.world.socket)
        return copied

    def has_all(self):
        def done():
            size = self.world.status()["size"]
            return self.second()["size"] == size and self.second()["behind"] == 0 and sw.sizes(self.world.log)[-1:] == [size]
        return self.world.settled() and kc.wait_for(done, 30)

    def close(self):
        self.world.remove()
        self.copy.close()
        self.authority.close()


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    yield made
    made.close()


def events_of(envelopes, *names):
    return [e["record"] for e in envelopes if e["record"]["event"] in names]


def test_an_hour_without_second_place_and_time_stamps(host):
    host.start_copy()
    assert host.world.start(environment=host.clock.environment)
    host.world.load(2, 20)
    assert host.has_all()
    before, cosigned = aw.verify_log(host.copy.log, host.world.spki), cw.cosigned(cw.note_of(host.copy.log), host.copy.spki)
    stamps = sw.sizes(host.world.log)

    host.copy.kill()
    host.authority.mode = "down"
    backlog, late = [], []
    host.world.load(1, 5)
    assert kc.wait_for(lambda: host.second()["behind"] > 0 and sw.condition(host.world.socket)["failure"], 10)
    for minute in range(1, MINUTES + 1):
        got = host.world.load(1, 5)
        assert len(got) == 5, f"minute {minute}: the log takes records without its second place"
        host.clock.move(minute)
        if minute % ALARM == ALARM // 2:  # five minutes after each full ten
            assert kc.wait_for(lambda: host.second()["late"] == (minute > ALARM) and (sw.condition(host.world.socket)["condition"] == "late") == (minute > ALARM), 10), minute
            copied, stamp = host.status()
            backlog.append(copied["backlog"])
            late.append((copied["state"], "LATE" in stamp, "no answer" in copied["reason"]))
            assert 60 * (minute - 1) <= copied["seconds behind"] <= 60 * minute + 30
    assert late == [("behind", False, True)] + [("LATE", True, True)] * 5
    assert backlog == sorted(backlog) and backlog[-1] - backlog[0] >= 5 * 50
    assert host.second()["size"] == len(before) and sw.sizes(host.world.log) == stamps

    host.authority.mode = "good"
    host.start_copy()
    assert kc.wait_for(lambda: not host.second()["late"] and sw.condition(host.world.socket)["condition"] == "well", 30)  # and that is on record
    assert host.has_all()
    copied, stamp = host.status()
    assert copied["state"] == "cosigned" and copied["backlog"] == 0 and "LATE" not in stamp
    there, here = aw.verify_log(host.copy.log, host.world.spki), aw.verify_log(host.world.log, host.world.spki)
    assert there == here and here[:len(before)] == before and len(here) >= len(before) + 5 * MINUTES
    assert 3600 <= cw.cosigned(cw.note_of(host.copy.log), host.copy.spki) - cosigned <= 3600 + 120
    assert [e["event"] for e in events_of(here, "copy.late", "copy.resumed", "copy.refused")] == ["copy.late", "copy.resumed"]
    assert [e["event"] for e in events_of(here, "stamp.late", "stamp.resumed")] == ["stamp.late", "stamp.resumed"]
    told = events_of(here, "copy.late")[0]
    assert told["copy"] == "second" and told["size"] == len(before) and "no answer" in told["reason"]
    code, report = host.world.verify("--anchor", str(pathlib.Path(host.world.log, "cosigned", "second")))
    assert code == 0, report
