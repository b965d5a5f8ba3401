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

FAILPOINTS_BUILD = os.environ.get("CHANCERY_FAILPOINTS_BUILD", "")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
# Where a daemon ends, and at which passage; each start of the daemon counts anew, so it ends there again and again.
PLACES = ["keyd.recorded:3", "keyd.signed:3", "ca.signed:2", "ca.stored:2", "ca.answered:2", "auditd.before-sync:5", "auditd.synced:5"]
KILLS_A_PLACE = 2
RANDOM_KILLS = 60 if LONG else 10


class World:
    def __init__(self, build):
        self.provider = Installation(build=build)
        self.environment = self.provider.spy("ca", "time")
        self.held = []       # (serial, path) that a client received
        self.revoked = set()
        self.tokens = []     # serials of tokens that a client received
        self.kills = 0
        self.number = 0
        self.request = self.provider.request("customer")

    def deaths(self):
        return self.provider.log_text("supervisor").count("ended with signal 9")

    def try_until_done(self, *words):
        """As a client does: the same request, with the same id, until there is an answer."""
        def once():
            done = self.provider.call(*words, timeout=60)
            return done if done.returncode == 0 else None
        return within(60, once, 0.1)

    def work(self):
        """One certificate, one token, and every third time a revocation."""
        self.number += 1
        out = self.provider.work / f"c{self.number}.pem"
        done = self.try_until_done("--json", "cert", "issue", "--profile", "ncp-plus-n", "--csr", self.request, "--out", out,
                                   "--request-id", f"r{self.number}")
        serial = re.search(r'"serial": "([0-9a-f]+)"', done.stdout).group(1)
        self.held.append((serial, out))
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
        before = self.deaths()
        self.provider.start(dict(self.environment, CHANCERY_FAILPOINT=place))
        for _ in range(12):
            if self.deaths() >= before + KILLS_A_PLACE:
                break
            self.work()
        self.provider.stop()
        reached = self.deaths() - before
        self.kills += reached
        return reached

    def at_random(self, count):
        self.provider.start(self.environment)
        over = threading.Event()

        def killer():
            order = []
            for _ in range(count):
                order = order or random.sample(DAEMONS, len(DAEMONS))
                name = order.pop()
                within(30, lambda: self.provider.pid(name))
                try:
                    self.provider.kill(name)
                    self.kills += 1
                except (OSError, TypeError):
                    pass
                time.sleep(random.uniform(0.05, 0.8))
            over.set()
        thread = threading.Thread(target=killer)
        thread.start()
        while not over.is_set():
            self.work()
        thread.join()


@pytest.fixture(scope="module")
def world():
    build = FAILPOINTS_BUILD if FAILPOINTS_BUILD and pathlib.Path(FAILPOINTS_BUILD, "src", "chancery").exists() else BUILD
    made = World(build)
    made.reached = {place: made.at(place) for place in PLACES} if build == FAILPOINTS_BUILD else {}
    made.at_random(RANDOM_KILLS)
    within(60, made.healthy, 0.5)
    made.work()
    # The module's calls first: whatever was signed by now must be in the log that is read after it.
    made.signed, made.calls = signed_by_module(made)
    made.leaves = [leaf["record"] for leaf in made.provider.json("audit", "show", "--from", "0", "--limit", "100000")]
    yield made
    made.provider.close()


def of(world, event):
    return [record for record in world.leaves if record["event"] == event]


def test_every_place_was_reached_and_there_were_enough_kills(world):
    if not world.reached:
        pytest.skip("no build with -Dfailpoints=true: ./check makes one (CHANCERY_FAILPOINTS_BUILD)")
    assert all(world.reached.values()), world.reached
    assert world.kills >= 20


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


HALF = 32  # digits of the 16 octets that pkcs11-spy prints in one line; they identify a digest


def signed_by_module(world):
    """The first halves of the digests that went into C_Sign, in the zones ca and time, and the number of calls. pkcs11-spy writes a call
    in many small prints: threads at once, or a kill, may tear one apart, so only a line right behind its own heading is read."""
    out = collections.Counter()
    calls = 0
    for zone in ("ca", "time"):
        text = world.provider.log_text(f"keyd-{zone}")
        calls += len(re.findall(r"\n\d+: C_Sign\n", text))
        for row in re.findall(r"\[in\] pData\[ulDataLen\][^\n]*\n    00000000  ((?:[0-9A-F]{2} ){16})", text):
            out[row.replace(" ", "").lower()] += 1
    return out, calls


def test_the_modules_signatures_are_those_of_the_log(world):
    signed, calls = world.signed, world.calls
    recorded = collections.Counter(r["digest"][:HALF] for r in world.leaves
                                   if r["event"] in ("sign.certificate", "sign.crl", "sign.time_stamp", "sign.request"))
    assert sum(signed.values()) > 2 * world.number
    assert calls - sum(signed.values()) <= world.kills, "calls whose digest could not be read"
    unknown = signed - recorded
    assert not unknown, f"signed and not on record: {unknown}"
    # The other way: an intent whose signature was never made needs a kill between the record and the call.
    begun = min(i for i, r in enumerate(world.leaves) if r["event"] == "service.started")
    later = collections.Counter(r["digest"][:HALF] for r in world.leaves[begun:]
                                if r["event"] in ("sign.certificate", "sign.crl", "sign.time_stamp"))
    unsigned = later - signed
    assert sum(unsigned.values()) <= world.kills * 4, unsigned


def test_an_intent_without_its_certificate_is_closed_as_revoked(world):
    issued = {record["serial"] for record in of(world, "certificate.issued")}
    closed = {record["serial"] for record in of(world, "certificate.abandoned")}
    begun = min(i for i, r in enumerate(world.leaves) if r["event"] == "service.started")
    intents = {r["serial"] for r in world.leaves[begun:] if r["event"] == "sign.certificate"}
    assert intents <= issued | closed, intents - issued - closed
    for serial in closed - issued:
        assert world.provider.json("cert", "list", "--state", "revoked", "--limit", "100000") is not None
        assert serial.upper() in world.provider.crl()


def test_the_log_is_sound(world):
    within(20, lambda: world.provider.call("audit", "verify").returncode == 0, 0.5)
