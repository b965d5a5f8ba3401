"""What a checkpoint covers is on the disk before the checkpoint is: every tile and bundle is synced before it gets its name, and its directory before
the checkpoint gets its own; many at once by a sync of the file system, few each by its own.

`strace -ff` comes to the running auditd and has a file for each thread: tiles and checkpoint are made by one, so its calls stand in order."""
import os
import pathlib
import re
import subprocess

import pytest

import audit_world as aw
import keyd_client as kc
from nth_call import MAY_TRACE

pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")
CALL = re.compile(r'(\w+)\((?:\d+<([^>]*)>|"([^"]*)", "([^"]*)").* = (-?\d+)')


class Trace:
    """What the thread that makes checkpoints did, in order, and what it did too early."""

    def __init__(self, path):
        self.unsynced, self.directories = set(), set()
        self.named = self.checkpoints = 0
        self.synced_by = {"fsync": 0, "syncfs": 0}  # tiles and bundles
        self.wrong = []
        for line in path.read_text(errors="replace").splitlines():
            found = CALL.match(line)
            if found and int(found.group(5)) >= 0:
                name, target, old, new = found.group(1, 2, 3, 4)
                self.saw(name, target or old, new)

    def saw(self, call, path, new):
        if call == "write" and "/tile/" in path:
            self.unsynced.add(path)
        elif call == "fsync":
            self.synced_by["fsync"] += path in self.unsynced
            self.unsynced.discard(path)
            self.directories.discard(path)
        elif call == "syncfs":
            self.synced_by["syncfs"] += len(self.unsynced)
            self.unsynced.clear()
        elif call == "rename":
            self.gets_its_name(path, new)

    def gets_its_name(self, old, new):
        if "/tile/" in new:
            self.named += 1
            self.directories.add(os.path.dirname(new))
            self.wrong += [f"{new} got its name before it was synced"] if old in self.unsynced else []
        elif new.endswith("/checkpoint"):
            self.checkpoints += 1
            self.wrong += [f"checkpoint before {path} was synced" for path in sorted(self.directories)]


def attach(world, files):
    """strace on all threads of the running auditd, one file each; it ends with the last of them."""
    strace = subprocess.Popen(["strace", "-ff", "-q", "-yy", "-s", "0", "-o", files / "trace", "-e", "trace=write,rename,fsync,syncfs", "-p", str(world.process.pid)])
    assert kc.wait_for(lambda: all((files / f"trace.{thread}").exists() for thread in os.listdir(f"/proc/{world.process.pid}/task")), 20)
    return strace


def observe(directory, build, writers, count):
    world = aw.World(build=build, interval="1h")  # all that comes is one round's, the last one's
    try:
        world.start_keyd()
        assert world.start() and world.settled()
        strace = attach(world, directory)
        world.load(writers, count)
        assert world.stop() == 0 and strace.wait(20) == 0
        aw.verify_log(world.log, world.spki)
        traces = [Trace(path) for path in directory.glob("trace.*")]
        made, = [trace for trace in traces if trace.checkpoints]
        assert made.named > 1 and made.named == sum(trace.named for trace in traces)
        return made
    finally:
        world.remove()


# audit_load's writers put so many each: they fill one bundle, or some dozens.
@pytest.mark.parametrize("writers, count, by", [(1, 100, "fsync"), (8, 1000, "syncfs")])
def test_tiles_are_synced_before_they_have_names_and_their_directories_before_the_checkpoint(tmp_path, writers, count, by):
    made = observe(tmp_path, kc.BUILD, writers, count)
    assert made.wrong == []
    assert made.synced_by[by] > (0 if by == "fsync" else 15), made.synced_by


@pytest.mark.parametrize("writers, count", [(1, 100), (8, 1000)])
def test_the_same_observation_of_a_build_without_syncs_finds_them_missing(tmp_path, writers, count):
    build = os.environ.get("CHANCERY_STUB_SYNC_BUILD", "")
    if not build or not pathlib.Path(build, "src", "chancery-auditd").exists():
        pytest.skip("no build with -Dstub_sync=true: ./check makes one (CHANCERY_STUB_SYNC_BUILD)")
    made = observe(tmp_path, build, writers, count)
    assert len([w for w in made.wrong if "got its name" in w]) == made.named
    assert any("checkpoint before" in w for w in made.wrong)
