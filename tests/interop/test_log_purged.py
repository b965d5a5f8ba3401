"""A log from which two persons had records removed, as code that is not ours reads it: golang.org/x/mod/sumdb and transparency-dev agree with us on root, inclusion
and consistency, at every place of it, and refuse what somebody without the log's key makes of such a place."""
import base64
import os
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
from purge_world import Purging  # noqa: E402

BIN, TOOL = ROOT / ".cache" / "bin", os.path.join(kc.BUILD, "src", "chancery")


def judge(name, *words):
    done = subprocess.run([str(BIN / name), *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done
    return done.returncode, done.stdout.strip()


def ours(*words):
    return subprocess.run([TOOL, "audit", *map(str, words)], capture_output=True, text=True, timeout=120, env={})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The log, its published folder and its second place, all of them purged; a checkpoint of before."""
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, stdout=subprocess.DEVNULL)
    with Purging("publish-directory = public\npublish-entries = yes\n") as made:
        copy = cw.Copy(tmp_path_factory.mktemp("copy"), made.auditd.spki)
        with open(copy.directory / "copy.conf", "a", encoding="utf-8") as f:
            f.write(f"founding = {made.founding}\nfounding-hash = {made.founding_hash}\n")
        assert made.auditd.stop() == 0
        with open(made.auditd.config, "a", encoding="utf-8") as f:
            f.write(copy.conf())
        copy.start()
        try:
            assert made.auditd.start() and made.auditd.settled()
            log = pathlib.Path(made.auditd.log)
            made.place = {"log": log, "published": log.parent / "public", "second": copy.log}
            made.older = tmp_path_factory.mktemp("kept") / "checkpoint"
            shutil.copy(log / "checkpoint", made.older)
            made.purge(made.plan())
            made.auditd.load(1, 300)
            assert made.auditd.settled()
            current = lambda place: (place / "checkpoint").exists() and int(cw.note_of(place).splitlines()[1]) == made.auditd.status()["size"]
            assert kc.wait_for(lambda: all(current(place) and made.empty(place) == made.old for place in made.place.values()), 30)
            made.key_file = log.parent / "log.vkey"
            made.key = made.key_file.read_text().strip()
            yield made
        finally:
            copy.close()


@pytest.mark.parametrize("where", ["log", "published", "second"])
def test_root_and_what_is_left_of_each_record_are_theirs(site, where):
    place = site.place[where]
    size, root = cw.note_of(place).splitlines()[1:3]
    assert judge("logjudge", "log", site.key_file, place) == (0, f"{size} {root} {len(site.old)} removed")
    assert judge("tilesjudge", place, site.key, site.older) == (0, f"accepted: {size} leaves, root {root}, {size} records, {len(site.old)} of them removed")


def test_what_is_left_is_proved_as_before(site, tmp_path):
    """A neighbour of what is gone; that the log continues what it was; and the path to an entry that is gone, by sumdb's own proof."""
    log = site.place["log"]
    proof = tmp_path / "proof"
    assert ours("prove", "--log", log, "--key", site.key_file, "--record", site.old[0] - 1, "--out", proof).returncode == 0
    assert judge("logjudge", "inclusion", site.key_file, proof)[0] == 0
    assert ours("prove", "--log", log, "--key", site.key_file, "--since", site.older, "--out", proof).returncode == 0
    assert judge("logjudge", "consistency", site.key_file, proof, site.older)[0] == 0
    code, said = judge("logjudge", "prove", site.key_file, log, site.old[0])
    size, root = cw.note_of(log).splitlines()[1:3]
    path = [base64.b64decode(line) for line in said.splitlines()]
    leaf = aw.read_tile(log, 0, site.old[0] // 256, 256)[32 * (site.old[0] % 256):][:32]
    assert code == 0 and climb(leaf, site.old[0], int(size), path) == base64.b64decode(root)


def climb(node, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    last = size - 1
    for sibling in path:
        if index % 2 or index == last:
            node = aw.node(sibling, node)
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            node = aw.node(node, sibling)
        index, last = index >> 1, last >> 1
    assert last == 0
    return node


def with_entry(path, within, content):
    bundle, out = path.read_bytes(), b""
    for number in range(256):
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2:2 + length], bundle[2 + length:]
        entry = content if number == within else entry
        out += len(entry).to_bytes(2, "big") + entry
    path.write_bytes(out)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("case", ["something else in its place", "another hash", "a neighbour changed"])
def test_a_false_one_is_refused(site, tmp_path, case):
    folder, index = tmp_path / "folder", site.old[0]
    shutil.copytree(site.place["published"], folder)
    bundle, tile = (pathlib.Path(aw.tile_path(folder, kind, index // 256, 256)) for kind in ("entries", 0))
    if case == "another hash":
        flip(tile, 32 * (index % 256))
    else:
        with_entry(bundle, (index - (case == "a neighbour changed")) % 256, b'{"v":1}')
    assert judge("logjudge", "log", site.key_file, folder)[0] == 1 and judge("tilesjudge", folder, site.key)[0] == 1
    assert ours("verify", "--log", folder, "--key", site.key_file).returncode == 1
