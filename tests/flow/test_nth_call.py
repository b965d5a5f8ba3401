"""SIGKILL, EIO and ENOSPC at the n-th system call of a kind, n = 1...200, in ca, keyd, auditd and va, by `strace --inject`, while four
clients issue, ask, stamp and revoke; then the account, by kill_account.

One installation under its supervisor takes many faults: strace comes to the running daemon, fails its n-th call (of a kind and, as
strace counts, of one thread: whichever is there first) and leaves. After each fault every client must finish a round that it began after
it, alone. After every ROUND faults all daemons stop and start in order, so that the supervisor's back-off begins anew.

Which calls: those by which the daemons write and sync files, as seen by strace under this load. pwrite64 and fdatasync are SQLite's log and
database (ca), LMDB's data (va) and the tail of the log (auditd); writev LMDB's too; fsync, rename, unlink, ftruncate and write are
what file_replace and its like do: checkpoints, tiles and segments (auditd), tree heads and counts (keyd), anchors, CRLs. sendmsg and
sendto are sockets: keyd of the zones ca and time hardly writes files, what can fail there is a record on its way to auditd and a signature
on its way back; in the others they leave an acknowledgement unsaid. Not write where most of it wakes threads by eventfd (va) or is the spy's
print of a call (keyd with pkcs11-spy, which is what the account is made from), nor in the ca but on its CRL. `most` is the n that a thread
comes to within some seconds; above it the other kinds are taken.

In plain ./check one fault for each daemon and kind, in half a minute; with CHANCERY_LONG=1 all 2,400, in a good hour on two cores that do
nothing else: twenty installations with 120 faults each. Seeds are printed and CHANCERY_SEED repeats the plan. Part 7 alone, with the
table of what was hit: CHANCERY_LONG=1 CHANCERY_SEED=... python3 -m pytest -s tests/flow/test_nth_call.py -k 'part7] or part7-'.
"""
import collections
import os
import random
import time

import pytest
from fault_world import (ZONES, World, certificates_are_in_store_log_and_ocsp, checkpoints_are_of_this_log, log_is_sound, no_number_was_used_twice,
                         ocsp_answers_are_counted_and_chained, revocations_and_tokens_are_on_record, signatures_have_their_records,
                         what_was_not_issued_is_closed)
from installation import DAEMONS, within
from nth_call import FAULTS, MAY_TRACE, Injection, inject

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SEED = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
MOST = 200
PARTS = 20 if LONG else 1
ROUND = 12
REACH = 40  # seconds in which the n-th call must come
Kind = collections.namedtuple("Kind", "call most path", defaults=(MOST, None))
KINDS = {
    "ca": [Kind("pwrite64"), Kind("fdatasync"), Kind("sendmsg"), Kind("sendto"), Kind("fsync", 4), Kind("rename", 2), Kind("ftruncate", 2),
           Kind("write", 8, "state/ca/crls/issuing.new")],
    "auditd": [Kind("pwrite64"), Kind("fdatasync"), Kind("fsync"), Kind("rename"), Kind("unlink"), Kind("write"), Kind("sendmsg")],
    "va": [Kind("pwrite64"), Kind("fdatasync"), Kind("writev"), Kind("sendmsg"), Kind("fsync", 2), Kind("rename", 1)],
    "keyd-ca": [Kind("sendmsg"), Kind("fsync", 2), Kind("rename", 1)],
    "keyd-time": [Kind("sendmsg"), Kind("fsync", 2), Kind("rename", 1)],
    "keyd-status": [Kind("sendmsg"), Kind("fsync", 8), Kind("rename", 4)],
    "keyd-log": [Kind("sendmsg"), Kind("fsync"), Kind("rename")],
}
KEYDS = ["keyd-ca", "keyd-time", "keyd-status", "keyd-log"]
UNSPIED = {name: kinds + [Kind("write", most)] for name, kinds, most in
           (("keyd-status", KINDS["keyd-status"], 4), ("keyd-log", KINDS["keyd-log"], MOST))}


def choose(chance, daemon, fault, n, spied):
    """Every other part has no spy before the zones status and log, and fails their write too."""
    name = chance.choice(KEYDS) if daemon == "keyd" else daemon
    kinds = KINDS[name] if spied or name not in UNSPIED else UNSPIED[name]
    kind = chance.choice([k for k in kinds if k.most >= n])
    return Injection(name, fault, kind.call, kind.path, n)


def plan(seed, part):
    chance = random.Random(seed)
    cells = [(daemon, fault) for daemon in ("ca", "keyd", "auditd", "va") for fault in FAULTS]
    if not LONG:
        chosen = [(daemon, fault, chance.randint(1, MOST)) for daemon, fault in cells]
    else:
        chosen = [(daemon, fault, n) for daemon, fault in cells for n in range(1, MOST + 1)]
    chance.shuffle(chosen)
    return [choose(random.Random(f"{seed} {cell}"), *cell, part % 2 == 0) for cell in chosen[part::PARTS]]


class Campaign:
    def __init__(self, part):
        self.world = World(zones=ZONES if part % 2 == 0 else ("ca", "time"))
        self.hits = []

    def fail_once(self, injection):
        provider = self.world.provider
        pid = within(30, lambda: provider.pid(injection.daemon))
        path = injection.path and str(provider.home / injection.path)
        hit = inject(injection._replace(path=path), pid, REACH)
        self.hits.append(hit)
        if hit.target:
            self.world.faulted.append((injection.daemon, hit.ended))
        self.world.all_begin_anew()

    def run(self, injections):
        for at in range(0, len(injections), ROUND):
            if at > 0:
                self.world.stop()
            self.world.start()
            for injection in injections[at:at + ROUND]:
                self.fail_once(injection)

    def report(self):
        cells = collections.defaultdict(collections.Counter)
        for hit in self.hits:
            cells[hit.injection.daemon, hit.injection.fault][f"{hit.injection.call} {hit.target or 'NOT REACHED'}"] += 1
        for (daemon, fault), what in sorted(cells.items()):
            print(f"  {daemon:12} {fault:8} {sum(what.values()):4}: " + ", ".join(f"{n} {text}" for text, n in what.most_common()))
        self.world.report()


pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")


@pytest.fixture(scope="module", params=range(PARTS), ids="part{}".format)
def campaign(request):
    print(f"\nCHANCERY_SEED={SEED} part {request.param} of {PARTS}")
    made = Campaign(request.param)
    try:
        made.run(plan(SEED, request.param))
        made.world.settle()
        made.report()
        yield made
    finally:
        made.world.close()


@pytest.fixture
def world(campaign):
    return campaign.world


def test_every_call_was_reached_and_all_daemons_serve_alone(campaign):
    missed = [hit.injection for hit in campaign.hits if not hit.target]
    assert len(missed) <= len(campaign.hits) // 20, missed
    assert all(campaign.world.provider.pid(name) for name in DAEMONS)


def test_every_certificate_a_client_received_is_in_store_log_and_ocsp(world):
    certificates_are_in_store_log_and_ocsp(world)


def test_every_revocation_and_token_a_client_received_is_on_record(world):
    revocations_and_tokens_are_on_record(world)


def test_no_number_was_used_twice(world):
    no_number_was_used_twice(world)


@pytest.mark.parametrize("zone", ["ca", "time"])
def test_each_signature_has_its_record_and_each_record_without_one_its_fault(world, zone):
    signatures_have_their_records(world, zone)


def test_live_ocsp_answers_are_all_counted_and_chained(world):
    if "status" in world.zones:  # in the other parts write of keyd-status fails, so its spy is away
        ocsp_answers_are_counted_and_chained(world)


def test_checkpoints_signed_in_the_module_are_heads_of_this_log(world):
    if "log" in world.zones:
        checkpoints_are_of_this_log(world)


def test_what_was_signed_and_never_issued_is_closed_as_revoked(world):
    what_was_not_issued_is_closed(world)


def test_the_log_is_sound(world):
    log_is_sound(world)
