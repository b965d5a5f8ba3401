"""The kill campaign: which daemon dies in which window of an operation, while eight clients issue, ask, stamp and revoke.

A build with -Dfailpoints=true holds (SIGSTOP) whichever daemon passes a named place. Then it, or another daemon that has a part in the
operation, is killed; the one that was held, if it lives, goes on. So every daemon dies in every window it can be in, not only the one
whose code has the place. The next kill waits until what the dead one does is served again."""
import collections
import contextlib
import http.client
import os
import random
import signal
import ssl
import statistics
import threading
import time

from ca_world import call
from fault_world import Client, World
from installation import DAEMONS, Installation, within

CLIENTS = 8
PAUSE = 0.8  # seconds at most, of a client between two rounds
SERVED_WITHIN = 45  # seconds after a kill
KILLS_A_ROUND = 16  # then all stop and start in order, and the supervisor's back-off begins anew
KILLS_OF_ONE_A_ROUND = 3
WINDOWS = ("on record, unsigned", "signed, not stored", "stored, unanswered", "answered")
DATABASE = ("postmaster", "backend")
# Who is held, and where: the window, and who may die in it.
HELD = {
    ("keyd-ca", "keyd.recorded"): (0, "keyd-ca", "ca", "auditd", *DATABASE),
    ("keyd-time", "keyd.recorded"): (0, "keyd-time", "tsa"),
    ("keyd-status", "keyd.recorded"): (0, "keyd-status", "va"),
    ("keyd-log", "keyd.recorded"): (0, "keyd-log"),
    ("auditd", "auditd.synced"): (0, "auditd"),
    ("keyd-ca", "keyd.signed"): (1, "keyd-ca"),
    ("keyd-time", "keyd.signed"): (1, "keyd-time", "tsa"),
    ("keyd-status", "keyd.signed"): (1, "keyd-status", "va"),
    ("keyd-log", "keyd.signed"): (1, "keyd-log"),
    ("ca", "ca.signed"): (1, "ca", "keyd-ca", "auditd", *DATABASE),
    ("tsa", "tsa.signed"): (1, "tsa"),
    ("auditd", "auditd.signed"): (1, "auditd", "keyd-log"),
    ("ca", "ca.stored"): (2, "ca", "keyd-ca", "auditd", *DATABASE),
    ("ca", "ca.answered"): (2, "ca"),
    ("va", "va.stored"): (2, "va"),
    ("auditd", "auditd.checkpoint-written"): (2, "keyd-log"),
    ("ca", "http.answered"): (3, "ca", "keyd-ca", "auditd", "keyd-log", *DATABASE),
    ("va", "http.answered"): (3, "va", "keyd-status"),
    ("tsa", "http.answered"): (3, "tsa", "keyd-time"),
}
EVERY = {"keyd.recorded": 11, "keyd.signed": 13, "auditd.synced": 29, "auditd.signed": 7, "auditd.checkpoint-written": 11, "ca.signed": 5,
         "ca.stored": 7, "ca.answered": 5, "va.stored": 5, "tsa.signed": 7, "http.answered": 9}
FAILPOINTS = ",".join(f"{place}:{every}:hold" for place, every in EVERY.items())
# What shows that a daemon, or what stands in for it, serves again.
SERVES = {"va": "va", "keyd-status": "va", "tsa": "tsa", "keyd-time": "tsa"}
Kill = collections.namedtuple("Kill", "victim window place recovery")  # recovery: seconds; None where kills follow one another at random


def cells(with_database):
    """All that can be: (daemon, window)."""
    return sorted({(victim, row[0]) for row in HELD.values() for victim in row[1:] if with_database or victim not in DATABASE})


def round_goes_on(wanted, killed):
    return sum(killed.values()) < KILLS_A_ROUND and any(killed[victim] < KILLS_OF_ONE_A_ROUND for victim, _ in +wanted)


class Asker(Client):
    """Every other one comes as an operator by mutual TLS, the others by the local socket."""

    def __init__(self, world, number):
        self.chance = random.Random(f"{world.seed} client {number}")
        super().__init__(world, number)

    def served(self, kind, what, *arguments):
        since = time.monotonic()
        done = what(*arguments)
        if done:
            self.world.was_served(kind, since)
        return done

    def order(self, path, body):
        return self.served("ca", self.order_by_tls if self.number % 2 else super().order, path, body)

    def order_by_tls(self, path, body):
        connection = http.client.HTTPSConnection("127.0.0.1", self.world.ca_port, timeout=20, context=self.world.tls)
        try:
            return call(connection, "POST", path, body)[1]
        finally:
            connection.close()

    def status(self, certificate):
        return self.served("va", super().status, certificate)

    def stamp(self):
        return self.served("tsa", super().stamp)

    def round(self):
        time.sleep(self.chance.uniform(0, PAUSE))
        super().round()


class Awaited:
    """The first answer to a question that was asked after a kill."""

    def __init__(self, kind):
        self.kind, self.since, self.after = kind, time.monotonic(), None


class KillWorld(World):
    """ca and tsa with all their threads, at the price of a torn print of pkcs11-spy now and then; the va with one signer, or live OCSP
    answers would not be signed in the order they are chained in."""
    amended = {name: text for name, text in World.amended.items() if name in ("va", "auditd")}

    def __init__(self, build, cluster, seed):
        self.seed, self.chance = seed, random.Random(seed)
        self.cluster = cluster
        self.database = cluster and cluster.new()
        options = ("--postgresql", "postgresql:" + cluster.address(self.database)) if cluster else ()
        provider = Installation(build=build, options=options)
        super().__init__(provider=provider, clients=CLIENTS)
        self.ca_port = provider.base + 2
        self.tls = ssl.create_default_context(cafile=provider.home / "tls" / "management-ca.pem")
        self.tls.check_hostname = False
        self.tls.load_cert_chain(provider.home / "tls" / "operator.pem", provider.home / "tls" / "operator.key")
        self.awaited = Awaited("")
        self.kills = []

    def client(self, number):
        return Asker(self, number)

    def was_served(self, kind, since):
        awaited = self.awaited
        if kind == awaited.kind and since > awaited.since and awaited.after is None:
            awaited.after = time.monotonic() - awaited.since

    def operations(self):
        return {"issued": sum(len(c.issued) for c in self.clients), "revoked": sum(len(c.revoked) for c in self.clients),
                "stamped": sum(len(c.tokens) for c in self.clients)}

    def work_until(self, count):
        def done():
            self.check_clients()
            return sum(self.operations().values()) >= count
        within(300, done, 0.2)

    # ---- killing ----

    def backends(self):
        return self.cluster.sql(self.database, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                                               "AND pid <> pg_backend_pid() ORDER BY backend_start").split()

    def end(self, victim):
        """The pid it had, once nothing runs under it."""
        if victim == "postmaster":
            self.cluster.do("kill")
            return None
        pid = int(self.chance.choice(self.backends())) if victim == "backend" else self.provider.pid(victim)
        os.kill(pid, signal.SIGKILL)
        within(10, lambda: state_of(pid) in "ZX", 0.001)
        return pid

    def is_back(self, victim, pid):
        return victim in DATABASE or self.provider.pid(victim) not in (None, pid)

    def strike(self, victim, held=None):
        """Kills it while another is held, which then goes on. Returns what is awaited, and the pid that is gone."""
        awaited = Awaited(SERVES.get(victim, "ca"))
        pid = self.end(victim)
        self.awaited = awaited
        if held is not None and held != pid:
            go_on(held)
        if victim == "postmaster":
            self.cluster.do("start")
        return awaited, pid

    # ---- windows ----

    def who_is_held(self):
        """A daemon that stands still at a place: its name, pid, the place."""
        for name in DAEMONS:
            pid = self.provider.pid(name)
            if pid is not None and state_of(pid) == "T":
                return name, pid, place_of(pid)
        return None

    def release(self):
        held = self.who_is_held()
        if held is not None:
            go_on(held[1])

    @contextlib.contextmanager
    def nobody_held(self):
        done = threading.Event()

        def release():
            while not done.wait(0.005):
                self.release()
        thread = threading.Thread(target=release)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def start(self):
        with self.nobody_held():
            super().start()

    def stop(self):
        with self.nobody_held():
            super().stop()

    def victim_for(self, held, wanted, killed):
        """Of those who may die now, one that has to; who died least in this round first."""
        row = HELD.get(held[::2])
        may = [victim for victim in row[1:] if wanted[victim, row[0]] > 0 and killed[victim] < KILLS_OF_ONE_A_ROUND] if row else []
        return min(may, key=lambda victim: (killed[victim], self.chance.random()), default=None)

    def until_served(self, victim, awaited, pid):
        def served():
            self.release()
            self.check_clients()
            return awaited.after is not None and self.is_back(victim, pid)
        within(SERVED_WITHIN, served, 0.005)

    def kill_in_window(self, wanted, killed, until):
        """True after a kill; false when nobody was held in time whose cell is wanted."""
        while time.monotonic() < until:
            self.check_clients()
            held = self.who_is_held()
            victim = held and self.victim_for(held, wanted, killed)
            if victim is None:
                self.release()
                time.sleep(0.003)
                continue
            window = HELD[held[::2]][0]
            awaited, pid = self.strike(victim, held[1])
            self.until_served(victim, awaited, pid)
            self.kills.append(Kill(victim, window, held[2], awaited.after))
            wanted[victim, window] -= 1
            killed[victim] += 1
            return True
        return False

    def kill_in_windows(self, wanted):
        wanted = collections.Counter(wanted)
        idle = 0
        while +wanted and idle < 3:
            self.environment["CHANCERY_FAILPOINT"] = FAILPOINTS
            self.start()
            killed = collections.Counter()
            while round_goes_on(wanted, killed) and self.kill_in_window(wanted, killed, time.monotonic() + 15):
                pause = time.monotonic() + self.chance.uniform(0, 0.3)
                while time.monotonic() < pause:
                    self.release()
                    time.sleep(0.003)
            idle = 0 if killed else idle + 1
            self.stop()
        del self.environment["CHANCERY_FAILPOINT"]
        assert not +wanted, f"not reached: {+wanted}"

    # ---- at random ----

    def kill_at_random(self, count):
        """One after the other, whether the last has come back or not; at the end of each round all is served again."""
        while count > 0:
            self.start()
            order = []
            for _ in range(min(count, KILLS_A_ROUND)):
                if not order:
                    order = [*DAEMONS, *(DATABASE if self.cluster else ())]
                    self.chance.shuffle(order)
                victim = order.pop()
                within(SERVED_WITHIN, lambda name=victim: name in DATABASE or self.provider.pid(name))
                if victim == "backend":
                    within(SERVED_WITHIN, self.backends, 0.1)
                self.strike(victim)
                self.kills.append(Kill(victim, None, None, None))
                count -= 1
                time.sleep(self.chance.uniform(0.05, 1))
            self.all_begin_anew()
            self.stop()

    # ---- the report ----

    def table(self):
        counts = collections.Counter((kill.victim, kill.window) for kill in self.kills)
        possible = set(cells(self.cluster))
        rows = [("killed", *WINDOWS, "at random", "served again after, median and most")]
        for victim in [*DAEMONS, *(DATABASE if self.cluster else ())]:
            took = [kill.recovery for kill in self.kills if kill.victim == victim and kill.recovery]
            rows.append((victim, *(str(counts[victim, w]) if (victim, w) in possible else "—" for w in range(4)), str(counts[victim, None]),
                         f"{statistics.median(took):.2f} s, {max(took):.2f} s" if took else "—"))
        return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ("---",) * len(rows[0]), *rows[1:]))

    def summary(self):
        took = [kill.recovery for kill in self.kills if kill.recovery]
        done = self.operations()
        again = f"; served again after {statistics.median(took):.2f} s (median), {max(took):.2f} s at most" if took else ""
        return (f"{'PostgreSQL' if self.cluster else 'SQLite'}, {CLIENTS} clients, CHANCERY_SEED={self.seed}: {len(self.kills)} kills; "
                f"{sum(done.values())} operations ({', '.join(f'{count} {what}' for what, count in done.items())}), "
                f"asked again {sum(c.refused for c in self.clients)} times{again}\n\n{self.table()}\n")


def state_of(pid):
    """One letter, of proc(5); Z when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def place_of(pid):
    """A thread that is held bears the name of its place, shortened."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm", encoding="utf-8") as f:
                name = f.read().strip()
            if name.startswith("@"):
                return next((place for place in EVERY if place.startswith(name[1:])), None)
    except OSError:
        pass
    return None


def go_on(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except OSError:
        pass
