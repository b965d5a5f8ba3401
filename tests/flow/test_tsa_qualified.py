"""A qualified unit with `clock = kernel`, as a service. The kernel's answer about its clock comes from preload/kernel_clock.c, in
front of libc for the tsa only: the tsa itself has no switch that would make it believe anything."""
import mmap
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import time

import pytest

import keyd_client
import tsa_world
from va_world import Daemon, program, wait_for

PRELOAD = pathlib.Path(__file__).parent / "preload" / "kernel_clock.c"
TIME_OK, TIME_INS, TIME_ERROR = 0, 1, 5
STA_INS, STA_UNSYNC, STA_CLOCKERR = 0x10, 0x40, 0x1000
SYNCHRONISED = dict(state=TIME_OK, status=0, offset=0, maxerror=40_000, esterror=3_000)
# qcStatements { esi4-qtstStatement-1 }, 0.4.0.19422.1.1, as it stands in a token (EN 319 422, annex B)
QUALIFIED = b"\x06\x07\x04\x00\x81\x97\x5e\x01\x01"
ACCURACY_MS = 250


class World(tsa_world.World):
    """The tsa alone behind the preloaded library."""

    def __init__(self, directory, options, **told):
        self.control = pathlib.Path(directory) / "kernel-clock"
        self.control.write_bytes(bytes(64))
        with open(self.control, "r+b") as f:
            self.told = mmap.mmap(f.fileno(), 64)
        self.library = pathlib.Path(directory) / "kernel_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", self.library, PRELOAD, "-ldl"], check=True)
        self.tell(**told)
        super().__init__(directory, options, clock="kernel")

    def start(self, options="", clock="kernel"):
        self.write_conf(options, clock)
        command = ["env", f"LD_PRELOAD={self.library}", f"KERNEL_CLOCK={self.control}", program("chancery-tsa")]
        self.tsa = Daemon(command + ["--config", str(self.directory / "tsa.conf")], self.directory, "tsa")

    def tell(self, **changed):
        said = dict(SYNCHRONISED, **changed)
        self.told[:40] = struct.pack("5l", *(said[name] for name in ("state", "status", "offset", "maxerror", "esterror")))

    def asked(self):
        return struct.unpack("l", self.told[40:48])[0]

    def stamps(self):
        return self.failure(self.stamp(self.query())) is None

    def refuses(self):
        return self.failure(self.stamp(self.query())) == "the TSA's time source is not available"

    def records(self, event):
        with open(self.directory / "tsa.journal", "rb") as f:
            return re.findall(rb'"event":"%s"[^}]*}' % event.encode(), f.read())


@pytest.fixture(scope="module")
def world():
    if keyd_client.sanitized():
        pytest.skip("a sanitizer's runtime must be the first library of its process")
    made = World(tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp"), f"qualified = yes\naccuracy = {ACCURACY_MS}ms")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def synchronised(world):
    world.tell()
    assert wait_for(world.stamps, 5)


def test_it_stamps_qualified_with_the_declared_accuracy(world):
    before = world.asked()
    query = world.query()
    answer = world.stamp(query)
    assert world.verify(query, answer)
    text = world.text(answer)
    assert "Accuracy: unspecified seconds, 0x%02X millis, unspecified micros" % ACCURACY_MS in text
    assert answer.count(QUALIFIED) == 1 and text.count("qcStatements:") == 1 and "critical" not in text
    assert wait_for(lambda: world.asked() > before, 2), "the kernel is not asked"
    status = world.request("GET", "/healthz")[2]
    assert b'"qualified":true' in status and b'"clock":"kernel"' in status and b'"status":"ok"' in status


def test_no_token_of_a_unit_that_is_not_qualified_says_so(world):
    world.restart(f"accuracy = {ACCURACY_MS}ms", "kernel")
    try:
        assert wait_for(world.stamps, 5)
        assert QUALIFIED not in world.stamp(world.query())
    finally:
        world.restart(f"qualified = yes\naccuracy = {ACCURACY_MS}ms", "kernel")


LOST = {
    "not synchronised": dict(state=TIME_ERROR, status=STA_UNSYNC),
    "the flag alone": dict(status=STA_UNSYNC),
    "a clock error": dict(status=STA_CLOCKERR),
    "maximum error over the accuracy": dict(maxerror=ACCURACY_MS * 1000 + 1),
    "estimated error over the accuracy": dict(esterror=ACCURACY_MS * 1000 + 1),
    "offset and maximum error together": dict(offset=-(ACCURACY_MS * 1000 - 40_000 + 1)),
    "no answer": dict(state=-1),
}


@pytest.mark.parametrize("how", LOST)
def test_a_clock_that_is_lost_ends_stamping_at_once_and_regained_begins_it_again(world, how):
    lost, regained = len(world.records("clock.lost")), len(world.records("clock.regained"))
    issued = world.tokens_on_record()
    start = time.monotonic()
    world.tell(**LOST[how])
    assert wait_for(world.refuses, 2)
    assert time.monotonic() - start < 1.0
    stopped = world.tokens_on_record()
    for _ in range(20):
        assert world.refuses()
    assert world.tokens_on_record() == stopped >= issued
    assert b'"status":"ok"' not in world.request("GET", "/healthz")[2]
    assert wait_for(lambda: len(world.records("clock.lost")) == lost + 1, 2)
    world.tell()
    assert wait_for(world.stamps, 5)
    assert len(world.records("clock.regained")) == regained + 1
    query = world.query()
    answer = world.stamp(query)
    assert world.verify(query, answer) and QUALIFIED in answer


def test_errors_at_the_limit_are_within_it(world):
    world.tell(maxerror=ACCURACY_MS * 1000 - 1000, offset=1000, esterror=ACCURACY_MS * 1000)
    time.sleep(0.6)
    assert world.stamps()
    world.tell(maxerror=ACCURACY_MS * 1000 - 1000, offset=1001)
    assert wait_for(world.refuses, 2)


def test_a_short_good_spell_is_not_enough(world):
    world.tell(status=STA_UNSYNC)
    assert wait_for(world.refuses, 2)
    asked = world.asked()
    world.tell()
    assert wait_for(lambda: world.asked() > asked, 2)
    world.tell(status=STA_UNSYNC)
    time.sleep(0.5)
    assert world.refuses()


def test_the_product_has_no_switch_for_it(world):
    """Whatever environment and configuration say, a kernel that is not synchronised is believed."""
    if tsa_world.clock_is_synchronised():
        pytest.skip("the clock of this machine is synchronised")
    directory = tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp")
    plain = tsa_world.World(directory, f"qualified = yes\naccuracy = {ACCURACY_MS}ms", clock="kernel")
    try:
        os.environ["KERNEL_CLOCK"] = str(world.control)
        plain.restart(f"qualified = yes\naccuracy = {ACCURACY_MS}ms", "kernel")
        time.sleep(1)
        assert plain.failure(plain.stamp(plain.query())) == "the TSA's time source is not available"
        assert "clock = test is refused for a qualified unit" in plain.refused_to_start("qualified = yes", "test")
        plain.start(clock="kernel")
    finally:
        del os.environ["KERNEL_CLOCK"]
        plain.close()
