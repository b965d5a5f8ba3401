"""One ca, three vas: one is always there, one is away until what it lacks has left the feed, one comes empty at the end."""
import concurrent.futures

import pytest
from ca_world import PERSON, Daemon, free_port, new_key, until
from test_ca_push import GOOD, REVOKED, Published

NAMES = ("steady", "away", "empty")
WINDOW = 100  # the least the ca takes; a va ten windows behind is not waited for
HOLDERS = 8


class Several(Published):
    def __init__(self):
        super().__init__()
        self.ports = {name: (free_port(), free_port()) for name in NAMES}
        self.vas = {}

    def __enter__(self):
        w = self.w
        super().__enter__()
        try:
            self.va.stop()
            for name, (public, push) in self.ports.items():
                w.file(name + ".conf", f"listen = 127.0.0.1:{public}\npush-listen = 127.0.0.1:{push}\ntls-certificate = va.pem\n"
                                       f"tls-key = va.key\ntls-ca = management.pem\nstate-directory = {name}\n"
                                       f"keyd-socket = {self.status.socket_path}\n{w.audit}\n")
                self.vas[name] = Daemon("chancery-va", w.file(name + ".conf"))
            sections = "".join(f"[va {name}]\nurl = https://127.0.0.1:{push}\n" for name, (_, push) in self.ports.items())
            w.ca.stop()
            w.write_conf(f"listen = 127.0.0.1:{w.port}\ntls-certificate = ca.pem\ntls-key = ca.key\ntls-ca = management.pem\n"
                         f"feed-window = {WINDOW}\n{sections}")
            w.ca.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        for va in self.vas.values():
            va.stop(9)
        super().__exit__()

    def at(self, name):
        """The questions of Published go to this va."""
        self.public = self.ports[name][0]
        return self

    def state(self, name):
        return next(va for va in self.w.get("/v1/status")["vas"] if va["name"] == name)

    def caught_up(self, name):
        state = self.state(name)
        return state["connected"] and state["lag"] == 0

    def feed(self):
        """Least and greatest number kept."""
        return tuple(map(int, self.w.sql("SELECT min(number), max(number) FROM feed").strip().split("|")))

    def snapshots(self, name):
        return self.w.ca.log().count(f"va '{name}' got a snapshot")

    def many(self, count):
        """So many certificates, by several holders at once; every fourth is revoked."""
        def holder(i):
            key, made = new_key(), []
            for k in range(count // HOLDERS):
                made.append(self.w.issue(PERSON % f"Holder {i}", key))
                if k % 4 == 0:
                    self.w.revoke(made[-1]["serial"], "superseded")
            return made
        with concurrent.futures.ThreadPoolExecutor(HOLDERS) as pool:
            return [one for part in pool.map(holder, range(HOLDERS)) for one in part]


@pytest.fixture(scope="module")
def several(database):
    with Several() as p:
        for name in ("steady", "away"):
            p.vas[name].start()
        p.enrol_signer()
        yield p


def test_vas_have_positions_of_their_own_and_one_that_pauses_goes_on(several):
    p = several
    first = p.w.issue()
    for name in ("steady", "away"):
        until(lambda: p.at(name).says(first, GOOD))
    assert not p.state("empty")["connected"] and p.state("empty")["failure"]
    p.vas["away"].stop(9)
    second = p.w.issue()
    p.w.revoke(first["serial"], "superseded")
    until(lambda: p.at("steady").says(first, REVOKED) and p.says(second, GOOD))
    until(lambda: not p.state("away")["connected"], 20)
    before = p.snapshots("away")
    p.vas["away"].start()
    until(lambda: p.at("away").says(first, REVOKED) and p.says(second, GOOD))
    assert p.snapshots("away") == before, "it was sent what it had"


def test_a_va_that_is_away_for_long_gets_a_snapshot_and_nobody_waits_for_it(several):
    p = several
    until(lambda: p.caught_up("away") and p.caught_up("steady"))
    p.vas["away"].stop(9)
    stopped_at = p.feed()[1]
    made = p.many(12 * WINDOW)
    until(lambda: p.caught_up("steady"), 30)
    until(lambda: p.feed()[0] > stopped_at + 1, 25)  # what it lacks is pruned
    least, most = p.feed()
    assert most - least >= WINDOW - 1
    assert p.at("steady").says(made[0], REVOKED) and p.says(made[1], GOOD)
    before = {name: p.snapshots(name) for name in NAMES}
    p.vas["away"].start()
    until(lambda: p.caught_up("away"), 30)
    assert {name: p.snapshots(name) for name in NAMES} == dict(before, away=before["away"] + 1)
    for name in ("away", "steady"):
        assert p.at(name).says(made[0], REVOKED) and p.says(made[1], GOOD) and p.says(made[-1], GOOD)
        until(lambda: p.crl_says(made[0]["serial"]))


def test_an_empty_one_gets_everything_and_all_say_the_same(several):
    p = several
    p.vas["empty"].start()
    until(lambda: p.caught_up("empty"), 30)
    assert p.snapshots("empty") == 1
    late, gone = p.w.issue(), p.w.issue()
    p.w.revoke(gone["serial"], "keyCompromise")
    for name in NAMES:
        until(lambda: p.at(name).says(late, GOOD) and p.says(gone, REVOKED))
        until(lambda: p.crl_says(gone["serial"]))
    until(lambda: len({p.at(name).fetch("/crl/issuing.crl")[1] for name in NAMES}) == 1)
    until(lambda: all(p.caught_up(name) for name in NAMES))
    assert len({p.state(name)["number"] for name in NAMES}) == 1


def test_a_restored_database_corrects_all_of_them(several):
    p = several
    backup = p.w.keep_database()
    after = p.w.issue()
    p.w.revoke(after["serial"], "superseded")
    for name in NAMES:
        until(lambda: p.at(name).says(after, REVOKED))
    p.w.ca.stop(9)
    p.w.restore_database(backup)
    p.w.ca.start()
    late = p.w.issue()
    for name in NAMES:
        until(lambda: p.caught_up(name), 30)
        until(lambda: p.at(name).says(after, REVOKED) and p.says(late, GOOD))
