"""The published log: static files that a reader of the specifications verifies, and that do not change."""
import os
import pathlib
import shutil
import signal
import time

import pytest

import audit_world as aw
import keyd_client as kc
from test_audit import append, record

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"


@pytest.fixture(params=["with entries", "hashes alone"])
def world(request):
    world = aw.World(extra="publish-directory = public\n" + ("publish-entries = yes\n" if request.param == "with entries" else ""))
    world.entries = request.param == "with entries"
    world.public = pathlib.Path(world.directory, "public")
    yield world
    world.remove()


def published(world):
    """The folder has the newest checkpoint, and that covers everything acknowledged."""
    newest = pathlib.Path(world.log, "checkpoint")
    return world.settled() and kc.wait_for(lambda: (world.public / "checkpoint").exists() and (world.public / "checkpoint").read_bytes() == newest.read_bytes(), 20)


def files(world):
    return {str(path.relative_to(world.public)): path.read_bytes() for path in world.public.rglob("*") if path.is_file()}


def check(world):
    if world.entries:
        assert aw.verify_log(world.public, world.spki) == aw.verify_log(world.log, world.spki)
    else:
        leaves = [aw.leaf_hash(entry) for entry in aw.entries(world.log, world.status()["signed"])]
        assert b"".join(aw.read_tile(world.public, 0, n, min(256, len(leaves) - 256 * n)) for n in range((len(leaves) + 255) // 256)) == b"".join(leaves)
        assert not (world.public / "tile" / "entries").exists()
    kinds = {name.split("/")[0] for name in files(world)}
    assert kinds == {"checkpoint", "tile"} and not any(name.endswith(".new") for name in files(world))


def test_the_folder_has_the_log_and_full_files_stay(world):
    world.start_keyd()
    assert world.start()
    before = {}
    for count in (3, 300, 1, 600) if LONG else (3, 300):
        world.load(1, count)
        assert published(world)
        check(world)
        now = files(world)
        full = {name: data for name, data in before.items() if ".p/" not in name and name != "checkpoint"}
        assert full.items() <= now.items()
        before = now
    size = world.status()["size"]
    partial = lambda: {int(name.rsplit("/", 1)[1]) for name in files(world) if ".p/" in name}
    assert kc.wait_for(lambda: partial() == {size % 256, size // 256})  # the others go behind the checkpoint
    # Killed and started again, it goes on.
    for _ in range(5 if LONG else 1):
        load = world.load(2, 1500 if LONG else 400, wait=False)
        time.sleep(0.1)
        assert world.stop(signal.SIGKILL) == -signal.SIGKILL
        assert world.start()
        load.wait(60)
        load.lines.close()
    assert published(world)
    check(world)


def test_what_another_log_published_is_not_written_over(world):
    world.start_keyd()
    assert world.start()
    world.load(1, 10)
    assert published(world)
    assert world.stop() == 0
    saved = os.path.join(world.directory, "saved")
    shutil.copytree(world.log, os.path.join(saved, "log"))
    shutil.copytree(os.path.join(world.keyd.directory, "state", "heads"), os.path.join(saved, "heads"))
    assert world.start()
    world.load(1, 10)
    assert published(world)
    assert world.stop() == 0
    held = files(world)
    world.keyd.stop()
    for path, name in ((world.log, "log"), (os.path.join(world.keyd.directory, "state", "heads"), "heads")):
        shutil.rmtree(path)
        shutil.copytree(os.path.join(saved, name), path)
    world.keyd.start()
    assert world.start()
    append(kc.Client(world.socket), *(record() for _ in range(30)))
    assert world.settled()
    assert kc.wait_for(lambda: "publishing the log" in world.stderr())
    assert "does not continue" in world.stderr() and files(world) == held
