"""kill -9 of auditd under load, at every failpoint and at random: every acknowledged record is there with its index, nothing is
there twice, and the log verifies."""
import os
import random
import signal
import struct
import threading
import time

import pytest

import audit_world as aw
import keyd_client as kc

FAILPOINTS = os.environ.get("CHANCERY_FAILPOINTS_BUILD", kc.BUILD + "-failpoints")
needs_failpoints = pytest.mark.skipif(not os.path.exists(os.path.join(FAILPOINTS, "src", "chancery-auditd")),
                                      reason="needs a build with -Dfailpoints=true (CHANCERY_FAILPOINTS_BUILD)")


def run_with_kills(world, kill, times):
    """`kill` ends auditd somehow, `times` times, while writers go on; then everything that was acknowledged is looked for."""
    world.start_keyd()
    load = world.load(8, 10**9, wait=False)
    for i in range(times):
        kill(i)
        assert world.process.wait(30) == -signal.SIGKILL
    assert world.start()
    assert kc.wait_for(lambda: world.status()["size"] > 200, 20)
    load.terminate()
    got = aw.acknowledged(load)
    assert len(got) > 100
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    aw.check_acknowledged(envelopes, got)
    assert world.stop() == 0
    return envelopes


def killed_at(point, first, run, count):
    """Each time one call later than before."""
    world = aw.World(build=FAILPOINTS, interval="30ms")

    def kill(i):
        world.start(environment={"CHANCERY_FAILPOINT": f"{point}:{first + i}"})

    try:
        run(world, kill, count)
    finally:
        world.remove()


def killed_at_random(run, most):
    seed = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
    print("seed", seed)
    chance = random.Random(seed)
    world = aw.World(interval="30ms")

    def kill(_):
        assert world.start()
        time.sleep(chance.uniform(0.02, most))
        world.process.send_signal(signal.SIGKILL)

    try:
        run(world, kill, int(os.environ.get("CHANCERY_KILLS", 12)))
    finally:
        world.remove()


@needs_failpoints
@pytest.mark.parametrize("point", ["auditd.before-sync", "auditd.synced", "auditd.integrated", "auditd.signed", "auditd.checkpoint-written"])
def test_killed_at_a_failpoint(point):
    killed_at(point, 2, run_with_kills, 3)


def test_killed_at_random():
    killed_at_random(run_with_kills, 0.35)


class ControlWriter(threading.Thread):
    """Puts records of class control on record, one after the other, each again until it is acknowledged."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.index, self.stopping = world, {}, False

    def run(self):
        while not self.stopping:
            ident = os.urandom(16)
            record = (f'{{"v":1,"id":"{ident.hex()}","time":"2026-01-02T03:04:05.000006Z","event":"operation.refused","component":"test",'
                      f'"tx":"{ident.hex()}","instance":"register","reason":"x"}}')
            while ident.hex() not in self.index and not self.stopping:
                try:
                    client = kc.Client(self.world.socket)
                    r = kc.Reader(client.call(1, struct.pack(">H", 1) + ident + kc.counted(record)))
                    client.close()
                    assert (r.number(2), r.number(2)) == (1, 0)
                    self.index[ident.hex()] = r.number(8) & ~(1 << 63)  # without the bit that says that it was there already
                except OSError:
                    time.sleep(0.01)


def control_indices(world):
    client = kc.Client(world.socket)
    found, total = [], 1
    while len(found) < total:
        r = kc.Reader(client.call(5, kc.u64(len(found)) + kc.u32(1000)))
        total, count = r.number(8), r.number(4)
        for _ in range(count):
            found.append(r.number(8))
            r.counted()
    client.close()
    return found


def is_control(envelope):
    return envelope["record"]["event"] == "operation.refused"


def run_index_with_kills(world, kill, times):
    writers = []

    def kill_one(i):
        if not writers:
            writers.append(ControlWriter(world))
            writers[0].start()
        kill(i)

    try:
        world.start_keyd()
        for i in range(times):
            kill_one(i)
            assert world.process.wait(30) == -signal.SIGKILL
            if i % 3 == 2:  # torn, as a write that did not come to its end leaves it
                path = os.path.join(world.log, "control-index")
                os.truncate(path, max(0, os.path.getsize(path) - 7))
        assert world.start()
        assert kc.wait_for(lambda: len(writers[0].index) > 20, 20)
    finally:
        for writer in writers:
            writer.stopping = True
            writer.join(20)
    assert world.settled()
    envelopes = aw.verify_log(world.log, world.spki)
    for _ in range(2):  # as it went along, and as it is read at a start
        there = control_indices(world)
        assert set(writers[0].index.values()) <= set(there)
        assert [i for i in there if i < len(envelopes)] == [e["seq"] for e in envelopes if is_control(e)]
        assert world.stop() == 0
        assert world.start()


@needs_failpoints
@pytest.mark.parametrize("point", ["auditd.synced", "auditd.integrated", "auditd.control-index"])
def test_the_index_of_control_records_is_right_after_kills_at_a_failpoint(point):
    killed_at(point, 1, run_index_with_kills, 6)


def test_the_index_of_control_records_is_right_after_kills_at_random():
    killed_at_random(run_index_with_kills, 0.3)
