"""kill -9 of every daemon, at named places and at random, while certificates, revocations and time-stamps go on; then the account.

Named places exist only in a build with -Dfailpoints=true (CHANCERY_FAILPOINTS_BUILD); the random part runs with any build.
"""
import collections
import os
import pathlib
import random
import re
import threading
import time
import urllib.request

import pytest
from installation import BUILD, DAEMONS, Installation, within
from kill_account import Counted, Log, account_of_checkpoints, account_of_records, deaths, lives
from postgres import Cluster

FAILPOINTS_BUILD = os.environ.get("CHANCERY_FAILPOINTS_BUILD", "")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
# Where a daemon ends, and at which passage; each start of the daemon counts anew, so it ends there again and again.
PLACES_BY_DATABASE = {"sqlite": [],  # all of them
                      "postgresql": ["keyd.signed:3", "ca.signed:2", "ca.stored:2", "ca.answered:2"]}
PLACES = ["keyd.recorded:3", "keyd.signed:3", "ca.signed:2", "ca.stored:2", "ca.answered:2", "auditd.before-sync:5", "auditd.synced:5"]
KILLS_A_PLACE = 2
ZONES = ("ca", "time", "status", "log")
RANDOM_KILLS = 60 if LONG else 10
LEAST_KILLS = {"sqlite": 20, "postgresql": 20 if LONG else 12}


class World:
    def __init__(self, build, cluster):
        self.cluster = cluster
        options = ("--postgresql", "postgresql:" + cluster.address(cluster.new())) if cluster else ()
        self.provider = Installation(build=build, options=options)
        self.environment = self.provider.spy(*ZONES)
        self.held = []       # (serial, path) that a client received
        self.revoked = set()
        self.tokens = []     # serials of tokens that a client received
        self.kills = 0
        self.number = 0
        self.request = self.provider.request("customer")

    def deaths(self):
        return deaths(self.provider.log_text("supervisor"))

    def lives_of(self, zone):
        return lives(self.provider.log_text(f"keyd-{zone}"))

    def try_until_done(self, *words):
        """As a client does: the same request, with the same id, until there is an answer."""
        def once():
            done = self.provider.call(*words, timeout=60)
            return done if done.returncode == 0 else None
        return within(60, once, 0.1)

    def work(self):
        """One certificate, one OCSP answer, one token, and every third time a revocation."""
        self.number += 1
        out = self.provider.work / f"c{self.number}.pem"
        done = self.try_until_done("--json", "cert", "issue", "--profile", "ncp-plus-n", "--csr", self.request, "--out", out,
                                   "--request-id", f"r{self.number}")
        serial = re.search(r'"serial": "([0-9a-f]+)"', done.stdout).group(1)
        self.held.append((serial, out))
        self.provider.ocsp(out)  # signed live, whatever it says so soon
        file = self.provider.work / "stamped"
        file.write_text(str(self.number))
        done = self.try_until_done("--json", "ts", "request", file)
        self.tokens.append(re.search(r'"serial": "([0-9a-f]+)"', done.stdout).group(1))
        if self.number % 3 == 0:
            self.try_until_done("cert", "revoke", "--serial", serial, "--reason", "superseded")
            self.revoked.add(serial)

    def healthy(self):
        for url in (self.provider.env["CHANCERY_REPOSITORY_URL"], self.provider.env["CHANCERY_TSA_URL"][:-3]):
            try:
                urllib.request.urlopen(url + "healthz", timeout=5).read()
            except OSError:
                return False
        return all(self.provider.pid(name) for name in DAEMONS) and self.provider.call("ca", "list").returncode == 0

    def at(self, place):
        """Until enough died there; a place in keyd is one in each zone that has work."""
        before = len(self.deaths())
        zones = {"keyd-ca", "keyd-time", "keyd-status"} if place.startswith("keyd.") else set()
        self.provider.start(dict(self.environment, CHANCERY_FAILPOINT=place))
        for _ in range(12):
            died = self.deaths()[before:]
            if len(died) >= KILLS_A_PLACE and zones <= {death.name for death in died}:
                break
            self.work()
        self.provider.stop()
        died = self.deaths()[before:]
        self.kills += len(died)
        return len(died) if zones <= {death.name for death in died} else 0

    def kill(self, name):
        if name != "database":
            within(30, lambda: self.provider.pid(name))
            self.provider.kill(name)
            return
        self.cluster.do("kill")
        self.cluster.do("start")

    def at_random(self, count):
        self.provider.start(self.environment)
        over = threading.Event()

        def kill_all():
            order = []
            for _ in range(count):
                who = DAEMONS + (["database"] if self.cluster else [])
                order = order or random.sample(who, len(who))
                try:
                    self.kill(order.pop())
                    self.kills += 1
                except (OSError, TypeError):
                    pass
                time.sleep(random.uniform(0.05, 0.8))

        def killer():
            try:
                kill_all()
            finally:
                over.set()
        thread = threading.Thread(target=killer)
        thread.start()
        while not over.is_set():
            self.work()
        thread.join()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request):
    cluster = Cluster() if request.param == "postgresql" else None
    build = FAILPOINTS_BUILD if FAILPOINTS_BUILD and pathlib.Path(FAILPOINTS_BUILD, "src", "chancery").exists() else BUILD
    made = World(build, cluster)
    made.least = LEAST_KILLS[request.param]
    places = PLACES if LONG else PLACES_BY_DATABASE[request.param] or PLACES
    made.reached = {place: made.at(place) for place in places} if build == FAILPOINTS_BUILD else {}
    made.at_random(RANDOM_KILLS)
    within(60, made.healthy, 0.5)
    made.work()
    # Whatever was signed by now must be in the log that is read after it; what is in that log, in the calls read after it.
    made.before = {zone: len(calls_in(made.lives_of(zone))) for zone in ZONES}
    time.sleep(2.5)  # a record of OCSP answers, and a checkpoint over it
    made.log = Log(made.provider.home / "state" / "auditd" / "log")
    made.leaves = made.log.records
    made.lives = {zone: made.lives_of(zone) for zone in ZONES}
    made.died = made.deaths()
    yield made
    made.provider.close()
    if cluster:
        cluster.remove()


def calls_in(of_zone):
    return [call for life in of_zone for call in life.calls]


def of(world, event):
    return [record for record in world.leaves if record["event"] == event]


def test_every_place_was_reached_and_there_were_enough_kills(world):
    if not world.reached:
        pytest.skip("no build with -Dfailpoints=true: ./check makes one (CHANCERY_FAILPOINTS_BUILD)")
    assert all(world.reached.values()), world.reached
    assert world.kills >= world.least


def test_all_daemons_came_back_alone(world):
    assert all(world.provider.pid(name) for name in DAEMONS)


def test_every_certificate_a_client_received_is_in_store_log_and_ocsp(world):
    issued = {record["serial"] for record in of(world, "certificate.issued")}
    assert len({serial for serial, _ in world.held}) == len(world.held) == world.number
    for serial, path in world.held:
        assert serial in issued
        shown = world.provider.json("cert", "show", "--serial", serial)
        assert shown["state"] == ("revoked" if serial in world.revoked else "good")
        assert "".join(shown["certificate"].split()) == "".join(path.read_text().split())
        expected = ": revoked" if serial in world.revoked else ": good"
        within(10, lambda: expected in world.provider.ocsp(path), 0.3)


def test_every_token_a_client_received_is_on_record(world):
    on_record = {record["serial"].lstrip("0") for record in of(world, "sign.time_stamp")}
    assert {serial.lstrip("0") for serial in world.tokens} <= on_record


def test_no_number_was_used_twice(world):
    for event in ("sign.certificate", "sign.time_stamp", "certificate.issued"):
        serials = [record["serial"] for record in of(world, event)]
        assert len(serials) == len(set(serials)), event
    for event, issuer in (("sign.crl", "issuer_key"), ("crl.issued", "ca")):
        # The root's CRL is recorded by its own ca and by the one that publishes it: the same bytes, the same number.
        numbers = [key for key, _ in {((record[issuer], record["number"]), record["digest"]) for record in of(world, event)}]
        twice = [n for n, count in collections.Counter(numbers).items() if count > 1]
        assert not twice, (event, twice)


@pytest.mark.parametrize("zone", ["ca", "time"])
def test_each_signature_has_its_record_and_each_record_without_one_its_death(world, zone):
    calls = calls_in(world.lives[zone])
    assert len(calls) > world.number
    unsigned = account_of_records(world.log, zone, calls, world.before[zone], world.died)
    without = {(r["event"], r.get("serial") or r.get("number")) for r in unsigned}
    with_effect = {("sign.certificate", r["serial"]) for r in world.log.of("certificate.issued")}
    with_effect |= {("sign.time_stamp", serial) for serial in world.tokens}
    assert not without & with_effect, "an effect without a signature"


def test_live_ocsp_answers_are_all_counted_and_chained_but_for_the_gaps_at_kills(world):
    counted = Counted(world.log, "status", world.lives["status"], world.died).replay()
    signed = len(calls_in(world.lives["status"]))
    deaths_here = sum(death.name == "keyd-status" for death in world.died)
    assert counted.recorded > 0 and abs(signed - counted.recorded - counted.lost) <= deaths_here
    assert counted.gaps <= deaths_here
    if world.reached:
        assert counted.gaps > 0, "no kill of keyd-status came between two records"


def test_checkpoints_signed_in_the_module_are_heads_of_this_log(world):
    assert account_of_checkpoints(world.log, world.lives["log"]) > 10


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
        account_of_records(Other(log, keep=lambda r: r["index"] != done["index"]), "time", calls, world.before["time"], world.died)
    with pytest.raises(AssertionError, match="nobody died"):
        account_of_records(log, "time", [c for c in calls if not c.data or c.data.hex() != done["digest"]], 0, [])
    counted = log.of("ocsp.signed")
    both = log.of("ocsp.signed", "ocsp.gap")
    # One before a gap may be missing: it is what a kill can lose, and the gap tells of it. Others may not.
    dropped = next(one for one, next_one in zip(both, both[1:]) if one["event"] == next_one["event"] == "ocsp.signed")
    for kept in (lambda r: r["index"] != dropped["index"], lambda r: r["event"] != "ocsp.gap" and r["index"] != dropped["index"]):
        with pytest.raises(AssertionError):
            Counted(Other(log, keep=kept), "status", status, world.died).replay()
    with pytest.raises(AssertionError, match="chain"):
        Counted(Other(log, change=lambda r: dict(r, chain="00" * 32) if r["index"] == counted[0]["index"] else r), "status", status,
                world.died).replay()
    with pytest.raises(AssertionError, match="without a death|not in the last seconds"):
        Counted(Other(log, change=lambda r: dict(r, event="ocsp.gap", last_total=0, last_chain="00" * 32)
                      if r["index"] == counted[0]["index"] else r), "status", status, []).replay()
    other = Other(log)
    other.root = lambda size: bytes(32)
    with pytest.raises(AssertionError, match="is not that of the log"):
        account_of_checkpoints(other, world.lives["log"])


def test_an_intent_without_its_certificate_is_closed_as_revoked(world):
    issued = {record["serial"] for record in of(world, "certificate.issued")}
    closed = {record["serial"] for record in of(world, "certificate.abandoned")}
    intents = {r["serial"] for r in world.log.of("sign.certificate")}
    assert intents <= issued | closed, intents - issued - closed
    for serial in closed - issued:
        assert world.provider.json("cert", "list", "--state", "revoked", "--limit", "100000") is not None
        assert serial.upper() in world.provider.crl()


def test_the_log_is_sound(world):
    within(20, lambda: world.provider.call("audit", "verify").returncode == 0, 0.5)
