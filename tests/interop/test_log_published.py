"""What golang.org/x/mod/sumdb, Go's own reader of transparent logs, makes of our log as it is published and as it is copied: the true one is taken, and
each false one is refused. docs/dev/interop.md has the commands."""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flow"))
import audit_world as aw  # noqa: E402
import copy_world as cw  # noqa: E402
import keyd_client as kc  # noqa: E402

JUDGE = ROOT / ".cache" / "bin" / "tilesjudge"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log with two levels of tiles, its checkpoint when it was smaller, and its copy."""
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, stdout=subprocess.DEVNULL)
    world = aw.World(extra="publish-directory = public\npublish-entries = yes\n")
    world.start_keyd()
    copy = cw.Copy(tmp_path_factory.mktemp("copy"), world.spki)
    with open(world.config, "a") as f:
        f.write(copy.conf())
    copy.start()
    try:
        assert world.start()
        world.public = pathlib.Path(world.directory, "public")
        current = lambda place: kc.wait_for(lambda: (place / "checkpoint").exists() and int(cw.note_of(place).splitlines()[1]) == world.status()["size"], 20)
        world.load(1, 100)
        assert current(world.public)
        world.older = world.public.with_name("older")
        shutil.copy(world.public / "checkpoint", world.older)
        world.load(4, 300)
        assert current(world.public) and current(copy.log)
        world.copy = copy.log
        world.key = cw.verifier_key(aw.ORIGIN, 1, world.spki)
        yield world
    finally:
        world.remove()
        copy.close()


def judge(folder, key, *older):
    done = subprocess.run([str(JUDGE), str(folder), key, *map(str, older)], capture_output=True, text=True, timeout=120)
    assert done.returncode == (0 if done.stdout.startswith("accepted") else 1), done
    return done.stdout


def test_the_published_log_and_its_copy_are_accepted(log):
    for folder in (log.public, log.copy):
        assert judge(folder, log.key, log.older).startswith("accepted: 1301 leaves, root ") and judge(folder, log.key).endswith("1301 records\n")


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def other_root(folder):
    lines = (folder / "checkpoint").read_text(encoding="utf-8").split("\n")
    lines[2] = ("A" if lines[2][0] != "A" else "B") + lines[2][1:]
    (folder / "checkpoint").write_text("\n".join(lines), encoding="utf-8")


FALSE = {
    "a record changed": (lambda folder: flip(folder / "tile" / "entries" / "003", 100), "record 768"),
    "a hash changed": (lambda folder: flip(folder / "tile" / "0" / "002", 0), "the leaves do not have the signed root"),
    "an upper hash changed": (lambda folder: flip(next((folder / "tile" / "1").rglob("5")), 40), "is not the tile of its leaves"),
    "a tile missing": (lambda folder: (folder / "tile" / "0" / "001").unlink(), "no tile"),
    "another root": (other_root, "invalid signature for key"),
}


@pytest.mark.parametrize("case", list(FALSE))
def test_a_false_log_is_refused(log, tmp_path, case):
    folder = tmp_path / "folder"
    shutil.copytree(log.public, folder)
    tamper, word = FALSE[case]
    assert judge(folder, log.key).startswith("accepted")
    tamper(folder)
    said = judge(folder, log.key)
    assert said.startswith("refused") and word in said, said


def test_another_key_and_another_history_are_refused(log, tmp_path):
    stranger = aw.World()
    stranger.start_keyd()
    try:
        assert stranger.start()
        stranger.load(1, 50)
        assert stranger.settled()
        key = cw.verifier_key(aw.ORIGIN, 1, stranger.spki)
        assert judge(log.public, key).startswith("refused: note has no verifiable signatures")
        # The stranger's checkpoint, as one that was kept of this log: the key does not fit; with its own log it is fine.
        assert judge(log.public, log.key, pathlib.Path(stranger.log, "checkpoint")).startswith("refused")
        assert judge(stranger.log, key, pathlib.Path(stranger.log, "checkpoint")).startswith("accepted: 51 leaves")
    finally:
        stranger.remove()
