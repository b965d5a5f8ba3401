"""Several cas on one PostgreSQL database: what one does the others know, one leads, and whoever ends leaves nothing open."""
import copy
import http.client
import itertools
import os
import random
import socket
import threading
import time

import pytest

import audit_world
import ca_world
import keyd_client
from ca_world import PERSON, Daemon, Refused, new_key, request_for, until
from test_ca_push import GOOD, REVOKED, Published
from test_ca_records import FAILPOINTS, needs_failpoints, state_of

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
SHARED = "postgresql-shared = yes"
CLIENTS = 6
LOST = (http.client.HTTPException, OSError)


class Site:
    """auditd, a va and as many cas as are asked for, all on one database."""

    def __init__(self, cluster, cas=2, build=None):
        ca_world.CLUSTER = cluster
        self.auditd = audit_world.World()
        self.published, self.cas, self.build, self.wanted = None, [], build, cas

    def __enter__(self):
        try:
            self.auditd.start_keyd()
            self.auditd.start()
            self.published = Published(SHARED, audit=f"audit-socket = {self.auditd.socket}", build=self.build)
            self.published.__enter__()
            self.published.enrol_signer()
            self.cas.append(self.published.w)
            while len(self.cas) < self.wanted:
                self.add()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        for world in self.cas[1:]:
            world.ca.stop(9)
        if self.published:
            self.published.__exit__()
        self.auditd.remove()
        ca_world.CLUSTER = None

    def make(self, number, **changes):
        """One more ca, not started: the configuration of the first with sockets of its own."""
        first = self.cas[0]
        made = copy.copy(first)
        made.socket_path, made.port = first.file(f"ca-{number}.sock"), ca_world.free_port()
        made.ca = Daemon("chancery-ca", first.file(f"ca-{number}.conf"), build=self.build)
        with open(first.ca.config) as f:
            text = f.read().replace(first.socket_path, made.socket_path).replace(f":{first.port}\n", f":{made.port}\n")
        for old, new in changes.items():
            text = text.replace(old.replace("_", "-") + " = ", "#").replace(SHARED, SHARED + "\n" + new if new else SHARED, 1)
        first.file(f"ca-{number}.conf", text)
        return made

    def add(self):
        made = self.make(len(self.cas) + 1)
        made.ca.start()
        self.cas.append(made)
        return made

    def leads(self, world):
        try:
            return world.get("/healthz")["leads"]
        except LOST + (Refused,):
            return False

    def leader(self):
        until(lambda: sum(self.leads(world) for world in self.cas) == 1, 20)
        return next(world for world in self.cas if self.leads(world))

    def follower(self):
        leader = self.leader()
        return next(world for world in self.cas if world is not leader)

    def records(self, event=None):
        time.sleep(0.4)
        records = [e["record"] for e in audit_world.verify_log(self.auditd.log, self.auditd.spki)]
        return [r for r in records if event in (None, r["event"])]


@pytest.fixture(scope="module")
def site(cluster):
    with Site(cluster) as made:
        yield made


def test_what_one_ca_did_the_other_knows_at_once(site):
    one, two = site.cas
    made = one.issue()
    assert two.get("/v1/certificates/" + made["serial"])["certificate"] == made["certificate"]
    one.post("/v1/cas", dict(name="later", profile="management-ca", subject="O=Test Trust Services, CN=TEST Later", key="second"))
    assert two.get("/v1/cas/later")["state"] == "active"


def test_what_a_ca_that_does_not_lead_issues_and_revokes_is_published_within_five_seconds(site):
    follower = site.follower()
    made = follower.issue()
    until(lambda: site.published.says(made, GOOD), 5)
    follower.revoke(made["serial"])
    until(lambda: site.published.says(made, REVOKED), 5)
    until(lambda: site.published.crl_says(made["serial"]), 5)
    until(lambda: follower.sql("SELECT count(*) FROM outbox").strip() == "0", 10)


def test_an_operator_revoked_at_one_ca_is_refused_by_the_other_from_then_on(site):
    one, two = site.cas
    victim = one.component("victim", "operator", role="operator")
    assert one.tls_call("victim", "GET", "/v1/cas")[0] == two.tls_call("victim", "GET", "/v1/cas")[0] == 200
    two.revoke(victim["serial"])
    with pytest.raises(Refused, match="is revoked"):
        one.tls_call("victim", "GET", "/v1/cas")


def together(*works):
    """All at once; what each gave."""
    results = [None] * len(works)

    def run(i):
        try:
            results[i] = works[i]()
        except Exception as wrong:  # pylint: disable=broad-except
            results[i] = wrong
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_crls_made_by_two_cas_at_once_have_numbers_of_their_own_and_grow_with_them(site):
    one, two = site.cas
    for _ in range(3):
        one.revoke(two.issue()["serial"])
        made = together(*(lambda w=w: w.post("/v1/cas/issuing/crls", {}) for w in (one, two)))
        assert not any(isinstance(m, Exception) for m in made), made
        assert made[0]["number"] != made[1]["number"]
    rows = [tuple(map(int, row.split("|"))) for row in
            one.sql("SELECT number, entries, this_update FROM crl WHERE ca = 3 ORDER BY number").split()]
    assert len({number for number, _, _ in rows}) == len(rows)
    assert rows == sorted(rows) and [e for _, e, _ in rows] == sorted(e for _, e, _ in rows) and [t for _, _, t in rows] == sorted(t for _, _, t in rows)
    signed = [r["number"] for r in site.records("sign.crl") if r["key"] == "issuing"]
    assert len(signed) == len(set(signed)), "two CRLs were signed under one number"


def test_the_same_request_at_two_cas_makes_one_certificate_that_is_good(site):
    for i in range(10):
        order = dict(profile="ncp-plus-n", request=request_for(PERSON % "Twice"), request_id=f"twice-{i}")
        answers = together(*(lambda w=w: w.post("/v1/cas/issuing/certificates", order) for w in site.cas))
        assert not any(isinstance(a, Exception) for a in answers), answers
        assert answers[0]["serial"] == answers[1]["serial"] and answers[0]["certificate"] == answers[1]["certificate"]
    until(lambda: unsettled(site) == set(), 20)


def unsettled(site):
    """Serials that keyd signed, by the log, of which the log does not say what became of them."""
    signed = {r["serial"].lower() for r in site.records("sign.certificate") if r["zone"] == "ca"}
    settled = {r["serial"] for r in site.records() if r["event"] in ("certificate.issued", "certificate.abandoned")}
    own = {r["serial"] for r in site.records("ca.created") if r.get("serial")}
    return {s for s in signed if s.lstrip("0") not in {x.lstrip("0") for x in settled | own}} - founding(site)


def founding(site):
    return {r["serial"].lower() for r in site.records("sign.certificate") if r["key"] in ("root", "management", "second")}


# ---- whoever ends ----

class Client(threading.Thread):
    """The same request with the same id, at whichever ca answers, until there is an answer; every third certificate is revoked."""

    def __init__(self, site, number, over, seed):
        super().__init__()
        self.site, self.number, self.over, self.random = site, number, over, random.Random(seed + number)
        self.held, self.revoked, self.wrong = [], set(), []

    def until_done(self, path, order):
        gave_up = time.monotonic() + 60
        while time.monotonic() < gave_up:
            try:
                return self.random.choice(self.site.cas).post(path, order)
            except Refused as refused:
                if refused.status != 503:
                    raise
            except LOST:
                pass
            time.sleep(0.02)
        raise AssertionError("no answer in 60 s")

    def run(self):
        try:
            key = new_key()
            for count in itertools.count(1):
                if self.over.is_set():
                    return
                order = dict(profile="ncp-plus-n", request=request_for(PERSON % f"Client {self.number}", key),
                             request_id=f"c{self.number}-{count}-{self.random.random()}")
                made = self.until_done("/v1/cas/issuing/certificates", order)
                self.held.append(made)
                if count % 3 == 0:
                    self.until_done(f"/v1/certificates/{made['serial']}/revocation", dict(reason="superseded"))
                    self.revoked.add(made["serial"])
        except Exception as wrong:  # pylint: disable=broad-except
            self.wrong.append(repr(wrong))


def work_while(site, happening):
    over, seed = threading.Event(), int(os.environ.get("CHANCERY_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    clients = [Client(site, i, over, seed) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        happening(random.Random(seed), clients)
    finally:
        over.set()
        for client in clients:
            client.join(90)
    assert not any(client.wrong for client in clients), [client.wrong for client in clients]
    return clients


def done(clients):
    return sum(len(client.held) for client in clients)


def goes_on(clients):
    before = done(clients)
    until(lambda: done(clients) > before + CLIENTS, 60)


def account(site, clients):
    """By what the clients hold, the log and OCSP: nothing lost, nothing twice, nothing open."""
    held = {made["serial"]: made for client in clients for made in client.held}
    revoked = set().union(*(client.revoked for client in clients))
    assert len(held) == done(clients), "a serial was given out twice"
    until(lambda: site.leader().sql("SELECT count(*) FROM outbox").strip() == "0", 30)
    until(lambda: unsettled(site) == set(), 60)
    issued = [r["serial"] for r in site.records("certificate.issued")]
    assert len(issued) == len(set(issued))
    assert {s.lstrip("0") for s in held} <= {s.lstrip("0") for s in issued}
    closed = {r["serial"].lstrip("0") for r in site.records("certificate.abandoned")}
    assert not closed & {s.lstrip("0") for s in held}, "a certificate that a client holds was closed"
    numbers = [int(n) for n in site.cas[0].sql("SELECT number FROM feed ORDER BY number").split()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the feed has a gap"
    until(lambda: all(site.published.says(held[s], REVOKED) for s in revoked), 20)
    assert all(site.published.says(made, GOOD) for s, made in list(held.items())[-50:] if s not in revoked)


def test_cas_killed_in_turn_under_load_lose_nothing_and_those_left_serve_on(cluster):
    with Site(cluster, cas=3) as site:
        def happening(choose, clients):
            for kill in range(30 if LONG else 4):
                victim = site.leader() if kill % 2 else choose.choice(site.cas)
                victim.ca.stop(9)
                goes_on(clients)
                victim.ca.start()
                time.sleep(choose.random())
            goes_on(clients)
        account(site, work_while(site, happening))


def test_a_database_that_comes_and_goes_finds_all_cas_again(cluster):
    from postgres import Cluster
    own = Cluster()
    try:
        with Site(own) as site:
            pids = [world.ca.process.pid for world in site.cas]

            def happening(choose, clients):
                for verb in ("kill", "stop", "kill") * 10 if LONG else ("kill",):
                    goes_on(clients)
                    own.do(verb)
                    time.sleep(choose.random() / 2)
                    own.do("start")
                goes_on(clients)
            clients = work_while(site, happening)
            assert [world.ca.process.pid for world in site.cas] == pids and all(w.ca.process.poll() is None for w in site.cas)
            account(site, clients)
    finally:
        own.remove()


def times_abandoned(site, serial):
    return sum(record["serial"] == serial for record in site.records("certificate.abandoned"))


@needs_failpoints
def test_what_a_ca_was_signing_when_it_ended_is_closed_by_another_without_its_return(cluster):
    with Site(cluster, build=FAILPOINTS) as site:
        leader, follower = site.leader(), site.follower()
        for victim, other in ((follower, leader), (leader, None)):
            victim.ca.stop()
            victim.ca.environment["CHANCERY_FAILPOINT"] = "ca.signed"
            victim.ca.start()
            other = other or site.follower()
            with pytest.raises(LOST):
                victim.issue()
            assert victim.ca.process.wait(10) == -9
            intent = site.records("sign.certificate")[-1]["serial"]
            assert state_of(other, intent) is None
            until(lambda: other.sql(f"SELECT state FROM status WHERE encode(serial, 'hex') = '{intent.lower()}'").strip() == "1", 20)
            until(lambda: intent in other.revoked(), 10)
            until(lambda: times_abandoned(site, intent) > 0)  # the record follows its effect
            assert times_abandoned(site, intent) == 1
            victim.ca.environment.pop("CHANCERY_FAILPOINT")
            victim.ca.start()
            assert victim.issue()["serial"]


class Between:
    """Stands between a ca and its database, and keeps back for some seconds the transaction that stores its first certificate. That begins with
    the question for lost keys, which was asked once before by a reader."""

    def __init__(self, directory, behind):
        os.mkdir(directory)
        self.behind, self.asked, self.kept = os.path.join(behind, ".s.PGSQL.5432"), 0, threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(directory, ".s.PGSQL.5432"))
        self.listener.listen(20)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            here = self.listener.accept()[0]
            there = socket.socket(socket.AF_UNIX)
            there.connect(self.behind)
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        while True:
            try:
                data = a.recv(1 << 16)
                self.asked += b"FROM lost_key" in data
                if self.asked == 2 and not self.kept.is_set():
                    self.kept.set()
                    time.sleep(3)
                if data:
                    b.sendall(data)
            except OSError:
                data = b""
            if not data:
                return b.close()


def test_what_another_ca_is_still_storing_is_not_taken_for_abandoned(cluster):
    with Site(cluster, cas=1) as site:
        one = site.cas[0]
        directory = one.file("between")
        slow = Between(directory, cluster.sockets)
        two = site.make(2, postgresql=f"postgresql = {cluster.address(one.database).replace(cluster.sockets, directory)}")
        two.ca.start()
        site.cas.append(two)
        answer = []
        asking = threading.Thread(target=lambda: answer.append(two.issue()))
        asking.start()
        assert slow.kept.wait(10)
        one.ca.stop(9)
        one.ca.start()  # compares database and log: the log has the intent, the database not yet its certificate
        asking.join(30)
        assert answer and state_of(one, answer[0]["serial"]) == "good" and not site.records("certificate.abandoned")


def test_an_older_copy_put_back_under_running_cas_ends_them_and_is_brought_up_before_they_serve(cluster):
    with Site(cluster) as site:
        one, two = site.cas
        path = one.keep_database()
        made, gone = one.issue(), two.issue()
        two.revoke(gone["serial"], "superseded")
        one.restore_database(path)
        until(lambda: all(world.ca.process.poll() is not None for world in site.cas), 20)
        assert "an older copy was put in its place" in one.ca.log() + two.ca.log()
        assert together(one.ca.start, two.ca.start) == [one.ca, two.ca]
        assert state_of(one, made["serial"]) == state_of(two, made["serial"]) == "good" and state_of(two, gone["serial"]) == "revoked"
        late = two.issue()
        until(lambda: site.published.says(late, GOOD) and site.published.says(gone, REVOKED), 20)


# ---- who does not fit ----

def refused(site, message, **changes):
    stranger = site.make(9, **changes)
    with pytest.raises(AssertionError, match=message):
        stranger.ca.start()


def test_a_ca_with_another_state_directory_or_alone_is_refused(site):
    site.cas[0].post("/v1/cas/issuing/crls", {})
    refused(site, "share their state-directory too", state_directory=f"state-directory = {site.cas[0].directory}/elsewhere")
    refused(site, "in use by another process, which does not share it", postgresql_shared=None)


def test_sharing_needs_postgresql_and_the_log():
    world = ca_world.World.__new__(ca_world.World)
    world.directory = keyd_client.tempfile.mkdtemp(prefix="chancery-ca-", dir="/tmp")
    world.ca = Daemon("chancery-ca", os.path.join(world.directory, "ca.conf"))
    with open(world.ca.config, "w") as f:
        f.write(f"database = ca.db\n{SHARED}\nstate-directory = state\nsocket = ca.sock\nkeyd-socket = k\naudit-socket = a\n")
    with pytest.raises(AssertionError, match="postgresql-shared needs postgresql and audit-socket"):
        world.ca.start()
    ca_world.shutil.rmtree(world.directory)
