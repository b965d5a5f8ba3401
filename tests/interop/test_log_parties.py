"""The audit log as code that is not ours reads it: golang.org/x/mod/sumdb and transparency-dev (parties/logjudge) agree with us on notes, roots,
inclusion and consistency, for both kinds of key, and on what is false."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flow"))
import audit_world as aw  # noqa: E402
import keyd_client as kc  # noqa: E402
from log_copies import Key, Log  # noqa: E402

JUDGE = str(ROOT / ".cache" / "bin" / "logjudge")
TOOL = os.path.join(kc.BUILD, "src", "chancery")
SIZES = (1, 256, 257, 700, 66_000)


def judge(*words):
    done = subprocess.run([JUDGE, *map(str, words)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.strip()


def ours(*words):
    return subprocess.run([TOOL, "audit", *map(str, words)], capture_output=True, text=True, timeout=120, env={})


@pytest.fixture(scope="module", params=SIZES)
def log(request):
    with Log(request.param) as made:
        yield made


def records_of(size):
    return sorted({0, size - 1, size // 2, size // 256 * 256 % size})


def test_the_root_of_the_records_is_ours(log):
    root = (pathlib.Path(log.directory) / "checkpoint").read_text().splitlines()[2]
    assert judge("log", log.key, log.directory) == (0, f"{log.size} {root}")
    assert log.verify()[0] == 2


def test_our_proofs_of_inclusion_are_accepted_and_are_theirs(log, tmp_path):
    for record in records_of(log.size):
        path = tmp_path / f"{record}.tlog-proof"
        assert ours("prove", "--log", log.directory, "--key", log.key, "--record", record, "--out", path).returncode == 0
        assert judge("inclusion", log.key, path) == (0, f"{record} {log.size}")
        head, _ = path.read_text().split("\n\n", 1)
        assert judge("prove", log.key, log.directory, record) == (0, "\n".join(head.split("\n")[3:]))
        done = ours("check", path, "--key", log.key, "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["leaf"]["seq"] == record
    assert ours("prove", "--log", log.directory, "--key", log.key, "--record", log.size).returncode == 3


def test_our_proofs_of_consistency_are_accepted(log, tmp_path):
    for older in records_of(log.size)[1:] + [log.size]:
        kept, path = log.checkpoint_at(older), tmp_path / f"{older}.proof"
        assert ours("prove", "--log", log.directory, "--key", log.key, "--since", kept, "--out", path).returncode == 0
        assert judge("consistency", log.key, path, kept) == (0, f"{older} {log.size}")


def lies(text, directory):
    """Each changes one thing of a good proof."""
    lines = text.split("\n")
    path = next(i for i, line in enumerate(lines) if line.startswith("index ")) + 1
    extra = lines[1][:10] + ("A" if lines[1][10] != "A" else "B") + lines[1][11:]
    yield "another record", [lines[0], extra, *lines[2:]]
    yield "another place", [*lines[:path - 1], "index 5", *lines[path:]]
    yield "a hash less", lines[:path] + lines[path + 1:]
    yield "two hashes swapped", lines[:path] + [lines[path + 1], lines[path]] + lines[path + 2:]
    yield "another size", [f"{int(line) + 1}" if line == "700" else line for line in lines]
    yield "another format", ["c2sp.org/tlog-proof@v9", *lines[1:]]


def test_both_refuse_what_is_false(tmp_path):
    with Log(700) as log:
        good, bad = tmp_path / "good", tmp_path / "bad"
        assert ours("prove", "--log", log.directory, "--key", log.key, "--record", 300, "--out", good).returncode == 0
        for what, lines in lies(good.read_text(), tmp_path):
            bad.write_text("\n".join(lines))
            assert judge("inclusion", log.key, bad)[0] == 1, what
            assert ours("check", bad, "--key", log.key).returncode != 0, what
        other = tmp_path / "other.vkey"
        other.write_text(Key().text)
        assert judge("inclusion", other, good)[0] == 1 and ours("check", good, "--key", other).returncode == 12
        fork = tmp_path / "fork"
        fork.write_text(log.private.note(300, bytes(32)))
        assert ours("prove", "--log", log.directory, "--key", log.key, "--since", fork).returncode == 12
        with log.copy() as copy:
            copy.flip("entries", 1, at=50)
            assert judge("log", log.key, copy.directory)[0] == 1 and copy.verify()[0] == 1


@pytest.mark.parametrize("key_type", ["ed25519", "ec-p256"])
def test_a_log_that_auditd_wrote_is_theirs_too(key_type, tmp_path):
    world = aw.World(key_type=key_type)
    try:
        world.start_keyd()
        assert world.start()
        world.load(2, 150)
        assert world.settled()
        assert world.stop() == 0
        assert world.verify()[0] == 2
        key = os.path.join(world.directory, "log.key")
        done = ours("export", tmp_path / "export", "--log", world.log, "--key", key)
        assert done.returncode == 0, done.stderr
        code, said = judge("log", key, tmp_path / "export" / "log")
        assert code == 0 and int(said.split()[0]) == 302, said
        assert judge("log", key, world.log)[0] == 0
    finally:
        world.remove()
