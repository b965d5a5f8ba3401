"""EIO, ENOSPC and SIGKILL at the n-th write, sync or rename of an auditd, and of a second place, that is taking out the content of records which two persons let go. Each operation is
about one record in each of some bundles; after each fault the log, the published folder and the second place verify as they are found, no record is half gone, and without anybody's
help (but a start, where it was killed) exactly what was let go is gone at all three, and nothing else.

strace counts of one thread. The reads and syncs of directories that are failed are those of the purged bundles by their paths; writes, fsyncs and renames of any file, so that now
and then the signer, the publisher or the records of auditd are hit meanwhile.

In plain ./check nine faults of auditd and five of the copy; with CHANCERY_LONG=1 240 of either. CHANCERY_SEED repeats the plan."""
import collections
import contextlib
import os
import pathlib
import random
import re
import threading
import time

import pytest

import audit_world as aw
import copy_world as cw
import keyd_client as kc
from ca_world import Refused
from nth_call import FAULTS, MAY_TRACE, Injection, inject
from control_people import AUTHORITY
from purge_world import AUDITOR, OLD, Purging, numbered, put_old

pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SEED = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
COUNT = {"auditd": 240 if LONG else 9, "copy": 240 if LONG else 5}
PARTS = 4 if LONG else 1
BUNDLES = 6
REACH = 6  # seconds in which the n-th call must come


def bundle_path(place, n):
    return pathlib.Path(aw.tile_path(place, "entries", n, 256))


class Campaign(Purging):
    """Six bundles of old records, published, and with a second place."""

    def __init__(self, directory):
        super().__init__("publish-directory = public\npublish-entries = yes\n")
        self.place, self.copy, self.hits, self.gone, self.number, self.starts = directory, None, [], [], 0, 0

    def __enter__(self):
        super().__enter__()
        try:
            put_old(self, 256 - self.auditd.status()["size"] % 256)
            self.first = self.auditd.status()["size"]
            assert self.first % 256 == 0
            for _ in range(BUNDLES):
                put_old(self, 256)
            self.auditd.load(1, 400)
            self.copy = cw.Copy(self.place, self.auditd.spki)
            with open(self.copy.directory / "copy.conf", "a", encoding="utf-8") as f:
                f.write(f"founding = {self.founding}\nfounding-hash = {self.founding_hash}\n")
            with open(self.auditd.config, "a", encoding="utf-8") as f:
                f.write(self.copy.conf())
            assert self.auditd.stop() == 0
            self.copy.start()
            assert self.auditd.start() and self.auditd.settled()
            self.places = [pathlib.Path(self.auditd.log), pathlib.Path(self.auditd.directory, "public"), self.copy.log]
            assert kc.wait_for(lambda: self.copy.size() == self.auditd.status()["size"], 20)
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        if self.copy:
            self.copy.close()
        super().__exit__()

    def approved(self):
        """The next operation, about one record of each bundle; it is not carried out yet."""
        plan = self.plan("--as-of", "2025-01-01")
        indices = [self.first + 256 * n + self.number for n in range(BUNDLES)]
        self.number += 1
        values = [("log", plan["log"]), ("size", plan["size"]), ("root", plan["root"]), ("records", numbered(indices)), ("count", BUNDLES),
                  ("kept-until", plan["kept until"]), ("reason", "their time is over"), ("decision", "d1")]
        operation = self.propose("log.purge", *values)
        return operation.approve(self.person[3], AUDITOR).approve(self.person[0], AUTHORITY), indices

    def process(self, daemon):
        return self.auditd.process if daemon == "auditd" else self.copy.daemon.process

    def fail_once(self, injection):
        operation, indices = self.approved()
        hit = []
        thread = threading.Thread(target=lambda: hit.append(inject(injection, self.process(injection.daemon).pid, REACH)))
        thread.start()
        assert kc.wait_for(lambda: hit or is_traced(self.process(injection.daemon).pid), 10)
        with contextlib.suppress(Refused, OSError):
            self.execute(operation)
        thread.join()
        self.hits.append(hit[0])
        self.verify_all()
        if injection.fault == "SIGKILL" and hit[0].target:
            self.process(injection.daemon).wait(20)
        self.start_again(injection.daemon)
        with contextlib.suppress(Refused):  # it is in the register already, unless auditd died before
            self.execute(operation)
        self.gone += indices
        assert kc.wait_for(self.is_gone, 30), (injection, hit, [self.missing(place) for place in self.places], self.auditd.stderr()[-3000:])
        self.verify_all()

    def start_again(self, daemon):
        """As a supervisor: a daemon may end itself, at an eventfd that cannot be written."""
        if self.process(daemon).poll() is None:
            return
        self.starts += 1
        if daemon == "auditd":
            assert self.auditd.start(), self.auditd.stderr()
        else:
            self.copy.start()

    def missing(self, place):
        return set(self.empty(place)) ^ set(self.gone)

    def is_gone(self):
        return not any(self.missing(place) for place in self.places)

    def verify_all(self):
        """As it is found. What the bundles have is read by nothing of ours first: each entry is what its tile says, or nothing."""
        for place in self.places:
            for n in range(self.first // 256, self.first // 256 + BUNDLES):
                tile = aw.read_tile(place, 0, n, 256)
                for i, entry in enumerate(aw.entries_of(bundle_path(place, n).read_bytes())):
                    assert entry == b"" or aw.leaf_hash(entry) == tile[32 * i:32 * i + 32], (place, n, i)
            code, report = self.tool("verify", log=place)
            problem = report.get("problem")
            assert code == 2 and not report.get("findings"), f"{place}: {problem}; {self.hits[-1]} {tails(place)} {self.auditd.stderr()[-1500:]}"

    def report(self):
        cells = collections.defaultdict(collections.Counter)
        for hit in self.hits:
            cells[f"{hit.injection.daemon} {hit.injection.fault}"][f"{hit.injection.call} {short(hit.target)}"] += 1
        for fault, what in sorted(cells.items()):
            print(f"  {fault:15} {sum(what.values()):4}: " + ", ".join(f"{n} {text}" for text, n in what.most_common()))
        print(f"  {self.starts} starts")


def tails(place):
    return {path.name: path.read_bytes()[:24] for path in sorted((place / "tail").iterdir())} if (place / "tail").exists() else {}


def short(target):
    return target and re.sub(r"^/tmp/(chancery-auditd-[^/]*|pytest-.*/secondN?)/", "", target) or "NOT REACHED"


def is_traced(pid):
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0" not in (task / "status").read_text() for task in tasks)


def plan(site, part):
    """By the path of a bundle or of its directory, n counts what is done to this one."""
    chance, made = random.Random(SEED), []
    for daemon, count in COUNT.items():
        places = site.places[:2] if daemon == "auditd" else site.places[2:]
        for number in range(count):
            place = chance.choice(places)
            bundle = bundle_path(place, site.first // 256 + chance.randrange(BUNDLES))
            call, path, most = chance.choice([("rename", None, BUNDLES), ("rename", None, BUNDLES), ("pread64", bundle, 1), ("fsync", bundle.parent, BUNDLES),
                                              ("write", None, BUNDLES), ("fsync", None, 2 * BUNDLES)])
            fault = list(FAULTS)[number % len(FAULTS)]
            made.append(Injection(daemon, fault, call, str(path) if path else None, chance.randint(1, most)))
    return made[part::PARTS]


@pytest.fixture(scope="module", params=range(PARTS), ids="part{}".format)
def campaign(request, tmp_path_factory):
    print(f"\nCHANCERY_SEED={SEED} part {request.param} of {PARTS}")
    with Campaign(tmp_path_factory.mktemp("second")) as made:
        for injection in plan(made, request.param):
            made.fail_once(injection)
        made.report()
        yield made


def test_the_calls_were_reached(campaign):
    missed = [hit.injection for hit in campaign.hits if not hit.target]
    assert len(missed) <= len(campaign.hits) // 5 + 1, missed


def test_nothing_else_is_gone_and_the_log_is_what_it_was(campaign):
    """Without the injected faults: all of it settles, the old bundles have what was not let go, and an outsider computes the signed root."""
    campaign.auditd.load(1, 50)
    assert campaign.auditd.settled()
    assert campaign.has_signed_root("--as-of", OLD)
    assert campaign.is_gone()


def test_each_operation_is_on_record_and_a_start_does_nothing_again(campaign):
    begun = {e["record"]["proposal"] for e in campaign.events("log.purged")}
    assert len(begun) == len(campaign.hits)
    count = len(campaign.events("log.purged"))
    assert campaign.auditd.stop() == 0 and campaign.auditd.start()
    campaign.auditd.load(1, 5)
    assert campaign.auditd.settled() and len(campaign.events("log.purged")) == count
    assert b"copy.refused" not in campaign.copy.records() and b"copy.purge_refused" not in campaign.copy.records()
