"""kill -9 of every daemon, in every window of an operation it can be in and at random, while eight clients ask for certificates,
revocations and time-stamps; then the account, by pkcs11-spy's lines, what the clients hold, OCSP and the log's static files.

In plain ./check once in each window; with CHANCERY_LONG=1 the campaign: five times in each, more at random, 2,000 operations at least. The
table goes to kill-sqlite.txt and kill-postgresql.txt in the build's directory. The seed is printed and CHANCERY_SEED takes it: it decides
about the victims, the random kills and the pauses, not how threads and processes meet. Windows exist only in a build with
-Dfailpoints=true (CHANCERY_FAILPOINTS_BUILD); the random part runs with any build."""
import collections
import os
import pathlib
import re
import time

import fault_world
import pytest
from fault_world import calls_in
from installation import BUILD, DAEMONS, within
from kill_account import Counted, Log, account_of_checkpoints, account_of_records
from kill_campaign import DATABASE, KillWorld, cells
from postgres import Cluster

FAILPOINTS_BUILD = os.environ.get("CHANCERY_FAILPOINTS_BUILD", "")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SEED = int(os.environ.get("CHANCERY_SEED", time.time_ns() % 2**32))
KILLS_A_CELL = 5 if LONG else 1
RANDOM_KILLS = 64 if LONG else 8
OPERATIONS = 2000 if LONG else 100
LEAST_KILLS = 200 if LONG else {"sqlite": 20, "postgresql": 12}


def wanted(kind):
    """Kills for each cell; in plain ./check those on PostgreSQL that are about the database."""
    all_of_them = cells(kind == "postgresql")
    about = all_of_them if LONG or kind == "sqlite" else [cell for cell in all_of_them if cell[0] in ("ca", *DATABASE)]
    return {cell: KILLS_A_CELL for cell in about}


def tell(request, world, kind):
    text = world.summary()
    (BUILD / f"kill-{kind}.txt").write_text(text)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{text}", flush=True)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request):
    kind = request.param
    cluster = Cluster() if kind == "postgresql" else None
    build = FAILPOINTS_BUILD if FAILPOINTS_BUILD and pathlib.Path(FAILPOINTS_BUILD, "src", "chancery").exists() else BUILD
    made = None
    try:
        made = KillWorld(build, cluster, SEED)
        made.wanted = wanted(kind) if build == FAILPOINTS_BUILD else {}
        made.kill_in_windows(made.wanted)
        made.kill_at_random(RANDOM_KILLS)
        made.start()
        made.work_until(OPERATIONS)
        made.settle()
        tell(request, made, kind)
        made.report()
        yield made
    finally:
        if made:
            made.close()
        if cluster:
            cluster.remove()


def test_there_were_enough_kills_in_every_window_and_enough_operations(world):
    if not world.wanted:
        pytest.skip("no build with -Dfailpoints=true: ./check makes one (CHANCERY_FAILPOINTS_BUILD)")
    counts = {cell: sum(kill[:2] == cell for kill in world.kills) for cell in world.wanted}
    assert all(count >= KILLS_A_CELL for count in counts.values()), counts
    assert len(world.kills) >= (LEAST_KILLS if LONG else LEAST_KILLS["postgresql" if world.cluster else "sqlite"])
    assert sum(world.operations().values()) >= OPERATIONS
    assert all(world.operations().values())


def test_all_daemons_came_back_alone_and_none_died_but_those_killed(world):
    assert all(world.provider.pid(name) for name in DAEMONS)
    log = world.provider.log_text("supervisor")
    ended = re.findall(r"warning: (\S+) ended with signal 9;", log)
    killed = [kill.victim for kill in world.kills if kill.victim not in DATABASE]
    # Code 10: as it started, what it asks at once (its keyd, auditd, the database) was dead. It is started again.
    others = re.findall(r"^.*ended with (?!signal 9;|exit code 10;).*$", log, re.M)
    assert not others and sorted(ended) == sorted(killed), f"{others}{world.provider.tails()}"


def test_every_certificate_a_client_received_is_in_store_log_and_ocsp(world):
    fault_world.certificates_are_in_store_log_and_ocsp(world)


def test_every_revocation_and_token_a_client_received_is_on_record(world):
    fault_world.revocations_and_tokens_are_on_record(world)


def test_no_number_was_used_twice(world):
    fault_world.no_number_was_used_twice(world)


@pytest.mark.parametrize("zone", ["ca", "time"])
def test_each_signature_has_its_record_and_each_record_without_one_its_death(world, zone):
    fault_world.signatures_have_their_records(world, zone)


def test_keyd_counts_for_each_key_what_the_log_has_after_all_these_kills(world):
    def verdicts():
        return {row["key"]: row["log"] for row in world.provider.json("key", "list", "--reconcile")}

    within(30, lambda: not any("ask again" in said["verdict"] for said in verdicts().values()), 1)
    said = verdicts()
    assert all(one["verdict"].startswith(("agrees", "nothing to compare")) for one in said.values()), said
    work = collections.Counter(record["key"] for event in ("certificate", "crl", "time_stamp") for record in world.log.of(f"sign.{event}"))
    for row in world.provider.json("key", "list"):
        if row["key"] in ("issuing", "tsu"):
            assert row["signatures"] == str(said[row["key"]]["signatures with a record"])
            assert work[row["key"]] > 50 and 0 <= int(row["signatures"]) - work[row["key"]] <= 10  # the founding, before what `work` sees


def test_live_ocsp_answers_are_all_counted_and_chained_but_for_the_gaps_at_kills(world):
    fault_world.ocsp_answers_are_counted_and_chained(world)
    if ("keyd-status", 1) in world.wanted:
        assert world.log.of("ocsp.gap"), "no kill of keyd-status came between two records"


def test_checkpoints_signed_in_the_module_are_heads_of_this_log(world):
    fault_world.checkpoints_are_of_this_log(world)


class Other:
    """The log or a zone's lives with one thing changed."""

    def __init__(self, log, keep=lambda record: True, change=lambda record: record):
        self.size, self.root, self.begun = log.size, log.root, log.begun
        self.records = [change(dict(r)) if keep(r) else dict(r, event="none") for r in log.records]

    of = Log.of


def test_the_account_notices_one_call_or_record_too_few_or_another_chain(world):
    log, status = world.log, world.lives["status"]
    calls = calls_in(world.lives["time"])
    done = next(r for r in reversed(log.of("sign.time_stamp")) if any(c.data and c.data.hex() == r["digest"] for c in calls))
    with pytest.raises(AssertionError, match="not on record"):
        account_of_records(Other(log, keep=lambda r: r["index"] != done["index"]), "time", calls, world.calls_before["time"], world.faults())
    with pytest.raises(AssertionError, match="nobody died"):
        account_of_records(log, "time", [c for c in calls if not c.data or c.data.hex() != done["digest"]], 0, [])
    counted = log.of("ocsp.signed")
    both = log.of("ocsp.signed", "ocsp.gap")
    # One before a gap may be missing: it is what a kill can lose, and the gap tells of it. Others may not.
    dropped = next(one for one, next_one in zip(both, both[1:]) if one["event"] == next_one["event"] == "ocsp.signed")
    for kept in (lambda r: r["index"] != dropped["index"], lambda r: r["event"] != "ocsp.gap" and r["index"] != dropped["index"]):
        with pytest.raises(AssertionError):
            Counted(Other(log, keep=kept), "status", status, world.ends()).replay()
    with pytest.raises(AssertionError, match="chain"):
        Counted(Other(log, change=lambda r: dict(r, chain="00" * 32) if r["index"] == counted[0]["index"] else r), "status", status,
                world.ends()).replay()
    with pytest.raises(AssertionError, match="without a death|not in the last seconds"):
        Counted(Other(log, change=lambda r: dict(r, event="ocsp.gap", last_total=0, last_chain="00" * 32)
                      if r["index"] == counted[0]["index"] else r), "status", status, []).replay()
    other = Other(log)
    other.root = lambda size: bytes(32)
    with pytest.raises(AssertionError, match="is not that of the log"):
        account_of_checkpoints(other, world.lives["log"])


def test_what_was_signed_and_never_issued_is_closed_as_revoked(world):
    fault_world.what_was_not_issued_is_closed(world)


def test_the_log_is_sound(world):
    fault_world.log_is_sound(world)
