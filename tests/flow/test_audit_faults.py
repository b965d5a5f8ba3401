"""EIO, ENOSPC and SIGKILL at the n-th system call of an auditd that has everything on: time-stamps of its checkpoints, a second place, publication; under four
writers, each with a connection of its own. After each fault every writer must have a record acknowledged that was not before; what was refused in between was said. At the end
of a log: every acknowledged record is there with its index, none is there twice, the second place and the published folder have the same tree, the newest checkpoint is cosigned and
time-stamped, and `audit verify` is content.

strace comes to the running daemon, fails its n-th call of a kind (as strace counts: of one thread, whichever is there first) and leaves. pwrite64 and fdatasync are the tail of the
log; write, fsync, syncfs, rename and unlink bundles, tiles, segments, checkpoints, stamps, cosigned and published files; sendto and sendmsg answers to writers, the authority and the second place.

In plain ./check one fault of each kind and three of the tail; with CHANCERY_LONG=1 all 600, n = 1 to 200 for each fault, twenty logs of thirty. CHANCERY_SEED repeats the plan."""
import collections
import os
import pathlib
import random
import re
import time

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
import stamp_world as sw
from nth_call import FAULTS, MAY_TRACE, Injection, inject

pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SEED = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
PARTS = 20 if LONG else 1
MOST = 200
REACH = 40  # seconds in which the n-th call must come
WRITERS = 4
TAIL = ["pwrite64", "fdatasync"]  # so many of them that n = 200 comes at once
OTHERS = {"fsync": MOST, "syncfs": 30, "rename": MOST, "write": MOST, "unlink": 60, "sendto": MOST, "sendmsg": MOST}


def plan(part):
    chance = random.Random(SEED)
    if not LONG:
        sample = [(chance.choice(list(FAULTS)), call, chance.randint(1, 20)) for call in OTHERS]
        return [Injection("auditd", fault, call, None, n) for fault, call, n in
                sample + [(fault, chance.choice(TAIL), chance.randint(1, MOST)) for fault in FAULTS]]
    cells = [(fault, n) for fault in FAULTS for n in range(1, MOST + 1)]
    chance.shuffle(cells)
    kinds = [chance.choice(TAIL + [call for call, most in OTHERS.items() if most >= n]) for _, n in cells]
    return [Injection("auditd", fault, call, None, n) for (fault, n), call in zip(cells, kinds)][part::PARTS]


def short(target):
    return target and re.sub(r"^/tmp/chancery-auditd-[^/]*/", "", target) or "NOT REACHED"


class Campaign:
    def __init__(self, directory, part):
        (directory / "authority").mkdir()
        (directory / "second").mkdir()
        self.part, self.hits, self.longest = part, [], 0
        self.authority = sw.Authority(directory / "authority")
        root = directory / "authority" / "root.pem"
        # A second's records are bundles enough for a sync of the file system; those of a tenth are synced each by itself.
        self.world = aw.World(interval="1s" if part % 2 == 0 else "100ms", extra=sw.conf(self.authority.url, root, interval="300ms") + "publish-directory = public\npublish-entries = yes\n")
        self.world.start_keyd()
        self.copy = cw.Copy(directory / "second", self.world.spki)
        with open(self.world.config, "a") as f:
            f.write(self.copy.conf())
        self.public = pathlib.Path(self.world.directory, "public")
        self.options = ["--stamp-anchor", str(root), "--anchor", os.path.join(self.world.log, "cosigned", "second")]
        self.writers = []

    def begin(self):
        self.copy.start()
        assert self.world.start()
        self.writers = [self.world.load(1, 10**9, wait=False) for _ in range(WRITERS)]
        self.all_go_on()

    def all_go_on(self):
        """Each writer has a record acknowledged after this was asked."""
        begun = time.monotonic()
        before = [os.fstat(writer.lines.fileno()).st_size for writer in self.writers]
        assert kc.wait_for(lambda: all(os.fstat(writer.lines.fileno()).st_size > size for writer, size in zip(self.writers, before)), 20), "a writer does not go on"
        self.longest = max(self.longest, time.monotonic() - begun)

    def fail_once(self, injection):
        hit = inject(injection, self.world.process.pid, REACH)
        self.hits.append(hit)
        if injection.fault == "SIGKILL" and hit.target:
            self.world.process.wait(20)
            assert self.world.start()
        self.all_go_on()

    def finish(self):
        for writer in self.writers:
            writer.terminate()
        self.acknowledged = {}
        for writer in self.writers:
            self.acknowledged.update(aw.acknowledged(writer))

    def has_caught_up(self):
        """Checkpoint, time-stamp, second place and folder."""
        def done():
            size = self.world.status()["size"]
            copied, = cw.condition(self.world.socket)
            return (sw.sizes(self.world.log)[-1:] == [size] and copied["size"] == size and copied["behind"] == 0
                    and (self.public / "checkpoint").read_text().splitlines()[1] == str(size))
        return self.world.settled() and kc.wait_for(done, 40)

    def report(self):
        cells = collections.defaultdict(collections.Counter)
        for hit in self.hits:
            cells[hit.injection.fault][f"{hit.injection.call} {short(hit.target)}"] += 1
        for fault, what in sorted(cells.items()):
            print(f"  {fault:8} {sum(what.values()):4}: " + ", ".join(f"{n} {text}" for text, n in what.most_common()))
        print(f"  {len(self.acknowledged)} records acknowledged, {self.refusals()} groups refused, all writers again after {self.longest:.2f} s at most")

    def refusals(self):
        return self.world.stderr().count("a group of records is refused")

    def close(self):
        for writer in self.writers:
            if writer.poll() is None:
                writer.kill()
                writer.wait(20)
        self.world.remove()
        self.copy.close()
        self.authority.close()


@pytest.fixture(scope="module", params=range(PARTS), ids="part{}".format)
def campaign(request, tmp_path_factory):
    print(f"\nCHANCERY_SEED={SEED} part {request.param} of {PARTS}")
    made = Campaign(tmp_path_factory.mktemp("faults"), request.param)
    try:
        made.begin()
        for injection in plan(request.param):
            made.fail_once(injection)
        made.finish()
        made.report()
        yield made
    finally:
        made.close()


def test_the_calls_were_reached(campaign):
    missed = [hit.injection for hit in campaign.hits if not hit.target]
    assert len(missed) <= len(campaign.hits) // 10 + 1, missed
    assert len(campaign.acknowledged) > 500


def test_what_could_not_be_written_was_refused(campaign):
    """A call of the tail that fails refuses the group; only its owner heard of it, so that it is counted by what auditd says."""
    failed = [hit for hit in campaign.hits if hit.target and hit.injection.call == "pwrite64" and hit.injection.fault != "SIGKILL" and "tail" in hit.target]
    assert campaign.refusals() >= len(failed)


def test_stamps_the_second_place_and_the_folder_catch_up(campaign):
    assert campaign.has_caught_up(), (cw.condition(campaign.world.socket), sw.condition(campaign.world.socket), campaign.world.stderr()[-2000:])
    assert sw.condition(campaign.world.socket)["condition"] == "well"


def test_every_acknowledged_record_is_there_once_here_and_there(campaign):
    envelopes = aw.verify_log(campaign.world.log, campaign.world.spki)
    aw.check_acknowledged(envelopes, campaign.acknowledged)
    assert aw.verify_log(campaign.copy.log, campaign.world.spki) == envelopes
    assert aw.verify_log(campaign.public, campaign.world.spki) == envelopes
    cw.cosigned(cw.note_of(campaign.copy.log), campaign.copy.spki)


def test_the_log_is_sound(campaign):
    code, report = campaign.world.verify(*campaign.options)
    assert code == 0, report
