"""The tamper table: what root, or a database superuser, or a thief of the log's key may do to a log, and how `audit verify` finds it.

Each row is done to a copy of a log whose auditor has three checkpoints of before (after a quarter, a half and three quarters of its records), as daemons and other
people keep them. The verdict must be NOT SOUND, name what was done, and give the first bad place: exactly where the files tell it, else from the
last checkpoint that still agrees. In plain ./check the log has 3,000 records, with CHANCERY_LONG=1 a million. The table is printed (-s) and written to
build/tamper.txt. Rows on what has its own files (the tail, the real keyd, the database) stand behind the table.

A stamp that was changed is found by test_stamps.py, a copy alone that was changed by test_copy.py, which have the authority and the second place for it."""
import functools
import os
import shutil
import signal

import pytest

import audit_world as aw
import keyd_client as kc
from log_copies import Key, Log, write

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SIZE = 1_000_000 if LONG else 3_000
AT = SIZE * 5 // 8 + 11  # the record that suffers: between the second and the third checkpoint that was kept
KEPT = [SIZE // 4, SIZE // 2, SIZE * 3 // 4]


@pytest.fixture(scope="module")
def log():
    with Log(SIZE) as made:
        made.kept = [word for size in KEPT for word in ("--anchor", made.checkpoint_at(size))]
        yield made


def renumbered(leaf, index):
    """The record as its writer would have written it in this place."""
    head, rest = leaf.split(b',"at":', 1)
    assert head.startswith(b'{"v":1,"seq":')
    return b'{"v":1,"seq":%d,"at":' % index + rest


def others(log, change):
    """Bundles of the log with one record changed: what a forger writes."""
    def leaves_of(n):
        leaves = log.bundle(n)
        return [change(leaf) if 256 * n + i == AT else leaf for i, leaf in enumerate(leaves)]
    return leaves_of


def shifted(log, by):
    """Bundles with record AT taken out (by 1) or a false one put in before it (by -1), the others renumbered."""
    bundle = functools.lru_cache(4)(log.bundle)

    def leaf_at(index):
        if index < AT:
            return bundle(index // 256)[index % 256]
        if by < 0 and index == AT:
            return false_one(bundle(AT // 256)[AT % 256])
        moved = index + by
        return renumbered(bundle(moved // 256)[moved % 256], index)
    return lambda n: [leaf_at(index) for index in range(256 * n, min(256 * n + 256, log.size - by))]


def false_one(leaf):
    """Of another piece of work."""
    at = leaf.index(b'"tx":"') + len(b'"tx":"')
    return leaf[:at] + (b"0" if leaf[at:at + 1] != b"0" else b"1") + leaf[at + 1:]


# ---- what is done with the files alone ----

def change_a_byte(log, copy):
    leaves = copy.bundle(AT // 256)
    changed = bytearray(leaves[AT % 256])
    changed[-3] ^= 1
    leaves[AT % 256] = bytes(changed)
    copy.write_bundle(AT // 256, leaves)


def change_a_byte_of_a_tile(log, copy):
    copy.flip(0, AT // 256, 32 * (AT % 256) + 5)


def change_a_byte_of_an_upper_tile(log, copy):
    copy.flip(1, AT // 65536, 32 * (AT // 256 % 256) + 5)


def delete(log, copy):
    leaves = copy.bundle(AT // 256)
    del leaves[AT % 256]
    copy.write_bundle(AT // 256, leaves)


def insert(log, copy):
    leaves = copy.bundle(AT // 256)
    leaves.insert(AT % 256, false_one(leaves[AT % 256]))
    copy.write_bundle(AT // 256, leaves[:256])


def swap(log, copy):
    leaves, i = copy.bundle(AT // 256), AT % 256
    leaves[i], leaves[i + 1] = leaves[i + 1], leaves[i]
    copy.write_bundle(AT // 256, leaves)


def swap_two_bundles(log, copy):
    here, there = copy.bundle(AT // 256), copy.bundle(AT // 256 + 1)
    copy.write_bundle(AT // 256, there)
    copy.write_bundle(AT // 256 + 1, here)


def remove_a_bundle(log, copy):
    os.remove(copy.path("entries", AT // 256))


def cut_the_newest(log, copy):
    copy.build(log.bundle, SIZE - 300, SIZE - 300)


def change_with_tiles(log, copy):
    copy.build(others(log, false_one), AT, SIZE)


def change_the_checkpoint(log, copy):
    path = os.path.join(copy.directory, "checkpoint")
    with open(path, encoding="utf-8", newline="") as f:
        note = f.read()
    write(path, note.replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n"))


def remove_the_checkpoint(log, copy):
    os.remove(os.path.join(copy.directory, "checkpoint"))


def put_back_yesterdays_backup(log, copy):
    """Complete and signed: it was the log."""
    copy.build(log.bundle, KEPT[2] - 100, KEPT[2] - 100, log.private)


# ---- what is done with a key as well ----

def sign_again_with_another_key(log, copy):
    copy.build(others(log, false_one), AT, SIZE, Key())


def sign_again_with_another_key_of_this_name_and_id(log, copy):
    """A key id has 32 bits: a forger finds a key with the same; its signature is still another one."""
    thief = Key()
    thief.id = log.private.id
    copy.build(others(log, false_one), AT, SIZE, thief)


def fork_with_the_stolen_key(log, copy):
    copy.build(others(log, false_one), AT, SIZE, log.private)


def delete_with_the_stolen_key(log, copy):
    copy.build(shifted(log, 1), AT, SIZE - 1, log.private)


def insert_with_the_stolen_key(log, copy):
    copy.build(shifted(log, -1), AT, SIZE + 1, log.private)


def swap_with_the_stolen_key(log, copy):
    def leaves_of(n):
        leaves = log.bundle(n)
        if n == AT // 256:
            i = AT % 256
            leaves[i], leaves[i + 1] = renumbered(leaves[i + 1], AT), renumbered(leaves[i], AT + 1)
        return leaves
    copy.build(leaves_of, AT, SIZE, log.private)


def cut_with_the_stolen_key(log, copy):
    copy.build(log.bundle, KEPT[2] - 1, KEPT[2] - 1, log.private)


def fork_from_a_stolen_copy(log, copy):
    """auditd's state as it was after half of the records, and its key: the thief's log goes on from there with records of its own, and is longer."""
    copy.build(lambda n: [false_one(leaf) if 256 * n + i >= KEPT[1] else leaf for i, leaf in enumerate(log.bundle(n))], KEPT[1], SIZE, log.private)


def write_what_is_no_record_with_the_stolen_key(log, copy):
    copy.build(others(log, lambda leaf: leaf.replace(b'"event":"', b'"event":"x', 1)), AT, SIZE, log.private)


# what is done, first bad record, words of the finding
TABLE = [
    (change_a_byte, AT, "record does not have the hash that its tile has"),
    (change_a_byte_of_a_tile, AT, "record or tile was changed"),
    (change_a_byte_of_an_upper_tile, AT // 256 * 256, "is not the one of the leaves from here on"),
    (delete, AT, f"here lies record {AT + 1}, and not the one"),
    (insert, AT, "record does not have the hash"),
    (swap, AT, f"here lies record {AT + 1}, and not the one"),
    (swap_two_bundles, AT // 256 * 256, f"here lies record {AT // 256 * 256 + 256}"),
    (remove_a_bundle, AT // 256 * 256, "is missing"),
    (cut_the_newest, (SIZE - 300) // 256 * 256, "is missing"),
    (change_with_tiles, KEPT[1], "does not agree with the log"),
    (change_the_checkpoint, None, "the signature of log.test/flow on this note is wrong"),
    (remove_the_checkpoint, None, "no signed checkpoint"),
    (put_back_yesterdays_backup, KEPT[2] - 100, "cut or rolled back"),
    (sign_again_with_another_key, None, "no key that is trusted here signed this note"),
    (sign_again_with_another_key_of_this_name_and_id, None, "signature of log.test/flow on this note is wrong"),
    (fork_with_the_stolen_key, KEPT[1], "(a fork)"),
    (delete_with_the_stolen_key, KEPT[1], "(a fork)"),
    (insert_with_the_stolen_key, KEPT[1], "(a fork)"),
    (swap_with_the_stolen_key, KEPT[1], "(a fork)"),
    (cut_with_the_stolen_key, KEPT[2] - 1, "cut or rolled back"),
    (fork_from_a_stolen_copy, KEPT[1], "(a fork)"),
    (write_what_is_no_record_with_the_stolen_key, AT, "is not in the catalogue"),
]
ROWS = []


def test_the_log_itself_is_sound(log):
    code, report = log.verify(*log.kept)
    assert (code, report["verdict"], report["anchors that agree"]) == (0, "sound", 3)


@pytest.mark.parametrize("tamper,first_bad,words", TABLE, ids=[row[0].__name__ for row in TABLE])
def test_what_was_done_is_found_named_and_placed(log, tamper, first_bad, words):
    with log.copy() as copy:
        tamper(log, copy)
        code, report = copy.verify(*log.kept)
    assert (code, report["verdict"]) == (1, "NOT SOUND")
    assert words in report["problem"] and report.get("first bad record") == first_bad, report
    ROWS.append((tamper.__name__.replace("_", " "), "-" if first_bad is None else str(first_bad), report["problem"].replace(log.work, "")))


def test_without_a_checkpoint_kept_outside_a_thief_of_the_key_and_an_old_backup_are_not_seen_and_it_says_so(log):
    """The negative control of the table: these are found by what was kept elsewhere, and by nothing else."""
    for tamper in (fork_with_the_stolen_key, put_back_yesterdays_backup):
        with log.copy() as copy:
            tamper(log, copy)
            code, report = copy.verify()
        assert code == 2 and any("whether this is all of the log" in said for said in report["not checked"])


def test_the_log_is_as_it_was(log):
    """Copies share files with it: none of the rows may have changed it."""
    assert log.verify(*log.kept)[0] == 0


def test_the_table_is_printed(log):
    assert len(ROWS) == len(TABLE)
    lines = ["| done | first bad record | in its words |", "|---|---|---|"] + [f"| {' | '.join(row)} |" for row in ROWS]
    print(f"\n{SIZE} records; checkpoints kept after {', '.join(map(str, KEPT))}; the record that suffers: {AT}\n" + "\n".join(lines))
    with open(os.path.join(kc.BUILD, "tamper.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


# ---- the real auditd, with its tail, and the real keyd ----

@pytest.fixture(params=["1h"])
def world(request):
    made = aw.World(interval=request.param)
    made.start_keyd()
    yield made
    made.remove()


def test_the_tail_behind_the_checkpoint_is_held_to_its_own_checks(world):
    assert world.start()
    world.load(1, 200)
    assert world.stop() == 0, "a checkpoint over all of it"
    assert world.start() and world.settled(), "the checkpoint at the start is signed, and none follows for an hour"
    world.load(1, 50)
    world.stop(signal.SIGKILL)
    code, report = world.verify()
    assert code == 2 and report["records behind it"] >= 50
    signed = report["records under the checkpoint"]
    segment = max((os.path.join(world.log, "tail", name) for name in os.listdir(os.path.join(world.log, "tail"))), key=os.path.getmtime)
    with open(segment, "rb") as f:
        good = f.read()
    middle = len(good) // 2
    write(segment, good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:])
    code, report = world.verify()
    assert code == 1 and signed <= report["first bad record"] < signed + 50, report
    write(segment, good[:middle])
    code, report = world.verify()
    assert code == 2 and report["records behind it"] < 50, "a tail that ends early is not told from one whose writer died: its end is not signed"


@pytest.mark.parametrize("world", ["100ms"], indirect=True)
def test_keyd_signs_no_fork_of_a_stolen_copy(world):
    """Whoever goes on from a copy of auditd's state needs the log's key, and the keyd that has it knows how far it signed, and what."""
    assert world.start()
    world.load(1, 20)
    assert world.stop() == 0
    stolen = shutil.copytree(world.log, world.log + ".stolen")
    assert world.start()
    world.load(1, 20)
    assert world.stop() == 0
    with open(os.path.join(world.log, "checkpoint")) as f:
        signed = f.read()
    shutil.rmtree(world.log)
    shutil.move(stolen, world.log)
    world.keyd.stop()  # the thief waits until the fork is longer than what was signed
    assert world.start()
    world.load(1, 100)
    world.stop()
    world.keyd.start()
    assert world.start()
    assert kc.wait_for(lambda: "rfc6962#2.1.2" in world.stderr()), world.stderr()[-800:]
    world.stop()
    with open(os.path.join(world.log, "checkpoint")) as f:
        assert int(f.read().splitlines()[1]) < int(signed.splitlines()[1]), "the fork got a checkpoint"
    write(os.path.join(world.directory, "kept"), signed)
    code, report = world.verify("--anchor", os.path.join(world.directory, "kept"))
    assert code == 1 and "rolled back" in report["problem"]
