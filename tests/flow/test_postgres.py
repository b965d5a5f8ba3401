"""The ca on a PostgreSQL that is killed, stopped and failed over while it issues and revokes: nothing lost, nothing twice, no help needed."""
import http.client
import os
import threading
import time

import pytest

import ca_world
from ca_world import PERSON, Refused, World, new_key, request_for, until
from postgres import Cluster

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
CLIENTS = 4


class Client(threading.Thread):
    """As a client does: the same request, with the same id, until there is an answer; every third certificate is revoked."""
    asks_again = {503}

    def __init__(self, world, number, over):
        super().__init__()
        self.world, self.number, self.over = world, number, over
        self.held, self.revoked, self.refused, self.wrong = [], set(), 0, []

    def until_done(self, path, order):
        gave_up = time.monotonic() + 40
        while time.monotonic() < gave_up:
            try:
                return self.world.post(path, order)
            except Refused as refused:
                if refused.status not in self.asks_again:
                    raise
                self.refused += 1
                time.sleep(0.05)
        raise AssertionError("no answer in 40 s")

    def run(self):
        try:
            key, count = new_key(), 0
            while not self.over.is_set():
                count += 1
                order = dict(profile="ncp-plus-n", request=request_for(PERSON % f"Client {self.number}", key),
                             request_id=f"c{self.number}-{count}")
                made = self.until_done("/v1/cas/issuing/certificates", order)
                self.held.append((order, made))
                if count % 3 == 0:
                    self.until_done(f"/v1/certificates/{made['serial']}/revocation", dict(reason="superseded"))
                    self.revoked.add(made["serial"])
        except Exception as wrong:  # pylint: disable=broad-except
            self.wrong.append(repr(wrong))


def work_while(world, happening):
    over = threading.Event()
    clients = [Client(world, i, over) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        happening(clients)
    finally:
        over.set()
        for client in clients:
            client.join(60)
    assert not any(client.wrong for client in clients), [client.wrong for client in clients]
    return clients


def account(world, clients):
    """Every certificate a client holds is in the database, once, as that client knows it; and no other but closed intents."""
    held = {made["serial"]: made for client in clients for _, made in client.held}
    revoked = set().union(*(client.revoked for client in clients))
    assert len(held) == sum(len(client.held) for client in clients), "a serial was given out twice"
    for serial, made in held.items():
        kept = world.get("/v1/certificates/" + serial)
        assert kept["certificate"] == made["certificate"]
        assert kept["state"] == ("revoked" if serial in revoked else "good")
    again = clients[0].held[-1]
    assert world.post("/v1/cas/issuing/certificates", again[0])["serial"] == again[1]["serial"]
    until(lambda: revoked <= world.revoked(), 20)
    until(lambda: world.sql("SELECT count(*) FROM outbox").strip() == "0", 20)
    ids = world.sql("SELECT request_id FROM certificate WHERE request_id IS NOT NULL").split()
    assert len(ids) == len(set(ids)), "a request made two certificates"
    numbers = world.sql("SELECT number FROM feed ORDER BY number").split()
    assert [int(n) for n in numbers] == list(range(1, len(numbers) + 1)), "the feed has a gap"


@pytest.fixture(scope="module")
def own_cluster():
    made = Cluster()
    yield made
    made.remove()


@pytest.fixture
def own(own_cluster):
    ca_world.CLUSTER = own_cluster
    with World() as world:
        yield own_cluster, world.start().found_cas()
    ca_world.CLUSTER = None


class Pair:
    """A cluster and its synchronous standby, to the ca one address; `sql` asks who takes writes."""

    def __init__(self):
        self.primary, self.standby = Cluster(), None
        try:
            # As an operator sets it, so that the standby inherits it; with nobody to wait for yet, nothing is committed before it is there.
            self.name = self.primary.new()
            self.primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'", "SELECT pg_reload_conf()")
            self.standby = Cluster(standby_of=self.primary)
        except BaseException:
            self.remove()
            raise
        self.active = self.primary

    def new(self):
        return self.name

    def address(self, database):
        return f"host={self.primary.sockets},{self.standby.sockets} dbname={database} user=chancery"

    def sql(self, database, *statements):
        return self.active.sql(database, *statements)

    def fail_over(self):
        """The primary dies; the standby takes over, and waits for a standby of its own until it is told not to."""
        self.primary.do("kill")
        self.standby.do("promote")
        self.active = self.standby
        time.sleep(1)
        self.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")

    def remove(self):
        for cluster in (self.standby, self.primary):
            if cluster:
                cluster.remove()


@pytest.fixture
def pair():
    made = Pair()
    ca_world.CLUSTER = made
    try:
        with World() as world:
            yield made, world.start().found_cas()
    finally:
        ca_world.CLUSTER = None
        made.remove()


def done(clients):
    return sum(len(client.held) for client in clients)


def goes_on(clients):
    before = done(clients)
    until(lambda: done(clients) > before + CLIENTS, 40)


def test_a_database_killed_and_stopped_again_and_again_loses_nothing_and_service_resumes_by_itself(own):
    cluster, world = own
    pid = world.ca.process.pid

    def happening(clients):
        for verb in ("kill", "stop", "kill") * (10 if LONG else 1):
            goes_on(clients)
            cluster.do(verb)
            time.sleep(0.3)
            cluster.do("start")
        goes_on(clients)
    clients = work_while(world, happening)
    assert world.ca.process.pid == pid and world.ca.process.poll() is None
    account(world, clients)


def test_sessions_ended_by_an_administrator_leave_nothing_in_doubt(own):
    cluster, world = own

    def happening(clients):
        for _ in range(100 if LONG else 20):
            cluster.sql(world.database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chancery'")
            time.sleep(0.05)
        goes_on(clients)
    clients = work_while(world, happening)
    # A question in the middle of which the connection ends is refused, and asked again by the client; a transaction is repeated.
    assert sum(client.refused for client in clients) < done(clients) and "whether this is stored shows later" not in world.ca.log()
    account(world, clients)


def issue_in_vain(world):
    try:
        world.issue()
    except (OSError, http.client.HTTPException):
        pass


def test_a_ca_killed_again_and_again_comes_back_to_its_database(own):
    _, world = own
    order = dict(profile="ncp-plus-n", request=request_for(PERSON % "Killed"), request_id="killed")
    serials = set()
    for _ in range(20 if LONG else 4):
        threads = [threading.Thread(target=issue_in_vain, args=(world,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        world.ca.stop(9)
        world.ca.start()
        serials.add(world.post("/v1/cas/issuing/certificates", order)["serial"])
    assert len(serials) == 1


def test_a_failover_to_the_synchronous_standby_loses_nothing_that_was_answered(pair):
    both, world = pair

    def happening(clients):
        goes_on(clients)
        assert both.sql("postgres", "SELECT sync_state FROM pg_stat_replication").strip() == "quorum"
        both.fail_over()
        goes_on(clients)
    clients = work_while(world, happening)
    assert world.ca.process.poll() is None
    account(world, clients)


def wait_for_nobody(both):
    both.sql("postgres", "SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    until(lambda: both.sql("postgres", "SHOW synchronous_standby_names").strip() == "")


def signatures(world):
    with open(world.journal, "rb") as f:
        return f.read().count(b'"sign.certificate"')


def test_a_standby_attached_while_the_ca_runs_is_noticed_and_nothing_is_written_before_it_is_waited_for(pair):
    both, world = pair
    both.standby.do("stop")
    wait_for_nobody(both)
    world.issue()
    both.standby.do("start")
    until(lambda: "nothing is written to the database any more: the PostgreSQL server has synchronous_standby_names = ''" in world.ca.log(), 20)
    before = signatures(world)
    for attempt in (world.issue, lambda: world.get("/healthz")):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.status == 503 and "name one that every commit waits for" in str(refused.value.problem)
    assert signatures(world) == before, "what cannot be stored was signed"
    both.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'", "SELECT pg_reload_conf()")
    until(lambda: "commits are durable again" in world.ca.log(), 20)
    world.issue()
    assert world.get("/healthz")["status"] == "ok"


def test_a_standby_that_is_not_waited_for_is_refused(pair):
    both, world = pair
    world.ca.stop()
    wait_for_nobody(both)
    with pytest.raises(AssertionError, match="name one that every commit waits for"):
        world.ca.start()
