"""kill -9 of auditd under load, at every failpoint and at random: every acknowledged record is there with its index, nothing is
there twice, and the log verifies."""
import os
import random
import signal
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


@needs_failpoints
@pytest.mark.parametrize("point", ["auditd.before-sync", "auditd.synced", "auditd.integrated", "auditd.signed", "auditd.checkpoint-written"])
def test_killed_at_a_failpoint(point):
    world = aw.World(build=FAILPOINTS, interval="30ms")

    def kill(i):
        world.start(environment={"CHANCERY_FAILPOINT": f"{point}:{2 + i}"})

    try:
        run_with_kills(world, kill, 3)
    finally:
        world.remove()


def test_killed_at_random():
    seed = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
    print("seed", seed)
    chance = random.Random(seed)
    world = aw.World(interval="30ms")

    def kill(_):
        assert world.start()
        time.sleep(chance.uniform(0.02, 0.35))
        world.process.send_signal(signal.SIGKILL)

    try:
        run_with_kills(world, kill, int(os.environ.get("CHANCERY_KILLS", 12)))
    finally:
        world.remove()
