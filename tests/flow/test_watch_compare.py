"""OCSP, CRL and the ca's database say the same of every certificate, or chancery-watch says so: each of the three is falsified behind the others' backs, and
what differs is found and named."""
import http.server
import json
import os
import re
import shutil
import signal
import sqlite3
import threading
import time

import pytest
from installation import Installation, within


class Compared(Installation):
    def __init__(self, rate=1000):
        super().__init__()
        path = self.conf("watch")
        path.write_text(path.read_text().replace("[compare]\n", f"[compare]\nsettle = 500ms\nocsp-rate = {rate}\n"))
        self.start()

    def round(self):
        """One comparison of all CAs, again when the responder was too busy to answer; {ca: record}, and the differences that it recorded."""
        for _ in range(3):
            compared, differences = self.one_round()
            if not any(record["unreachable"] for record in compared.values()):
                break
        return compared, differences

    def one_round(self):
        compared, differences = (self.json("audit", "show", "--event", f"status.{word}") for word in ("compared", "mismatch"))
        self.check("alert", "compare")
        within(30, lambda: len(self.json("audit", "show", "--event", "status.compared")) == len(compared) + 2, pause=0.3)
        new = [leaf["record"] for leaf in self.json("audit", "show", "--event", "status.compared")][len(compared):]
        found = [leaf["record"] for leaf in self.json("audit", "show", "--event", "status.mismatch")][len(differences):]
        return {record["ca"]: record for record in new}, found

    def in_database(self, sql, *values):
        """As its superuser, while the ca runs."""
        with sqlite3.connect(self.home / "state" / "ca" / "ca.db", timeout=10) as database:
            assert database.execute(sql, values).rowcount == 1
        database.close()

    def database(self, sql):
        with sqlite3.connect(self.home / "state" / "ca" / "ca.db", timeout=10) as database:
            rows = database.execute(sql).fetchall()
        database.close()
        return rows

    def place(self):
        """How far chancery-watch is with the CA that it is at."""
        path = self.home / "state" / "watch" / "comparison"
        return json.loads(path.read_text()).get("at", {}) if path.exists() else {}

    def round_is_over(self):
        return not (self.home / "state" / "watch" / "comparison").exists()

    def listed(self, serial):
        """On the published CRL, once a new one was issued."""
        self.check("crl", "issue")
        within(10, lambda: serial in self.crl().lower(), pause=0.2)

    def crl_file(self, serial):
        """Of the va: the newest that the ca has issued, with this serial on it; the ones before have gone, and none is on its way."""
        def there():
            newest = self.database("SELECT max(number) FROM crl WHERE ca = (SELECT id FROM authority WHERE name = 'issuing')")[0][0]
            paths = [path for path in (self.home / "state" / "va" / "crls").glob("issuing-*") if path.is_file()]
            return paths if [path.name for path in paths] == [f"issuing-{newest}.crl"] and bytes.fromhex(serial) in paths[0].read_bytes() else []
        within(10, there)
        return there()[0]

    def again(self, name):
        """Killed, and started anew by the supervisor."""
        pid = self.pid(name)
        ready = self.log_text(name).count("ready after")
        self.kill(name)
        within(20, lambda: self.pid(name) not in (None, pid) and self.log_text(name).count("ready after") > ready)

    def alerts(self):
        return [(a["rule"], a["subject"]) for a in self.json("alert", "list")["alerts"]]


@pytest.fixture(scope="module")
def provider():
    installation = Compared()
    try:
        yield installation
    finally:
        installation.close()


@pytest.fixture(scope="module")
def serials(provider):
    issued = [provider.issue(f"p{i}") for i in range(4)]
    provider.check("cert", "revoke", "--serial", issued[0][1], "--reason", "keyCompromise")
    within(10, lambda: ": revoked" in provider.ocsp(issued[0][0]))
    return [serial.lower() for _, serial in issued]


def test_they_agree(provider, serials):
    compared, differences = provider.round()
    assert set(compared) == {"issuing", "management"} and differences == []
    issuing = compared["issuing"]
    assert issuing["serials"] >= len(serials) and issuing["differ"] == issuing["unreachable"] == 0
    assert issuing["agree"] == issuing["serials"] + 3, "three that were never issued, too"
    management = compared["management"]
    assert management["agree"] == management["serials"] + 3 and management["unreachable"] == 0, "it has no responder: its CRL is compared"


def test_a_revocation_on_its_way_is_no_difference(provider, serials):
    _, serial = provider.issue("late")
    provider.check("cert", "revoke", "--serial", serial, "--reason", "superseded")
    assert provider.round()[1] == []


def test_a_revoked_certificate_made_good_in_the_database_is_found(provider, serials):
    provider.in_database("UPDATE status SET state = 0 WHERE serial = ?", bytes.fromhex(serials[0]))
    compared, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"]) for d in differences] == [(serials[0], "good", "revoked")], compared
    assert compared["issuing"]["differ"] == 1 and compared["management"]["differ"] == 0
    within(10, lambda: ("status-mismatch", "issuing") in provider.alerts())
    within(10, lambda: ("integrity-significant", "issuing") in provider.alerts(), pause=0.2)
    provider.in_database("UPDATE status SET state = 1 WHERE serial = ?", bytes.fromhex(serials[0]))
    provider.listed(serials[0])
    assert provider.round()[1] == []
    within(10, lambda: ("status-mismatch", "issuing") not in provider.alerts(), pause=0.2)


def test_a_certificate_that_only_the_database_knows_as_revoked_is_found(provider, serials):
    provider.in_database("UPDATE status SET state = 1, revoked_at = 1000000 WHERE serial = ?", bytes.fromhex(serials[1]))
    _, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"], d["crl"]) for d in differences] == [(serials[1], "revoked", "good", "good")]
    provider.in_database("UPDATE status SET state = 0, revoked_at = 0 WHERE serial = ?", bytes.fromhex(serials[1]))


def test_a_revocation_taken_back_in_the_store_of_the_va_is_found(provider, serials):
    """As root, in the file: LMDB has no checksums. The answers that the va has in memory go with a restart."""
    store, = [path for path in (provider.home / "state" / "va").rglob("data.mdb")]
    revoked, good = (bytes.fromhex(serials[0]) + state for state in (b"\1", b"\0"))
    places, data = [], store.read_bytes()
    while (at := data.find(revoked, places[-1] + 1 if places else 0)) >= 0:
        places.append(at)
    assert places

    def write(value):
        with open(store, "r+b") as file:
            for place in places:
                file.seek(place)
                file.write(value)
        provider.again("va")

    write(good)
    _, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"], d["crl"]) for d in differences] == [(serials[0], "revoked", "good", "revoked")]
    write(revoked)
    assert provider.round()[1] == []


def test_an_older_crl_put_back_at_the_va_is_found(provider, serials):
    provider.listed(serials[0])
    shutil.copy(provider.crl_file(serials[0]), provider.work / "yesterday")
    provider.check("cert", "revoke", "--serial", serials[2], "--reason", "superseded")
    time.sleep(1.1)  # over `settle` and the second of a thisUpdate
    provider.listed(serials[2])
    target = provider.crl_file(serials[2])
    shutil.copy(target, provider.work / "today")
    shutil.copy(provider.work / "yesterday", target)
    assert serials[2] not in provider.crl().lower()
    compared, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"], d["crl"]) for d in differences] == [(serials[2], "revoked", "revoked", "good")]
    assert compared["issuing"]["differ"] == 1
    shutil.copy(provider.work / "today", target)
    assert provider.round()[1] == []


class Liar(http.server.BaseHTTPRequestHandler):
    """A responder none of whose answers stands the check."""
    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self):
        Liar.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"good")

    def log_message(self, *_):
        pass


def test_answers_that_do_not_stand_the_check_are_found_however_many(provider, serials):
    for i in range(10):
        provider.issue(f"many{i}")
    path = provider.conf("watch")
    honest = path.read_text()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar) as liar:
        threading.Thread(target=liar.serve_forever, daemon=True).start()
        section = honest.index("[compare]")
        at = honest.index("ocsp-url", section)
        path.write_text(f"{honest[:at]}ocsp-url = http://127.0.0.1:{liar.server_port}/{honest[honest.index(chr(10), at):]}")
        provider.again("watch")
        compared, differences = provider.round()
        liar.shutdown()
    path.write_text(honest)
    provider.again("watch")
    issuing = compared["issuing"]
    assert issuing["serials"] >= 14 and issuing["differ"] == issuing["serials"] + 3 and issuing["agree"] == 0
    assert len(differences) == issuing["differ"] and {d["ocsp"] for d in differences} == {"not valid"}
    assert compared["management"]["differ"] == 0 and Liar.asked >= issuing["serials"]
    assert provider.round()[1] == []


def test_a_crl_changed_at_the_va_is_no_crl(provider, serials):
    older = provider.work / "older"
    provider.listed(serials[0])
    target = provider.crl_file(serials[0])
    shutil.copy(target, older)
    data = bytearray(target.read_bytes())
    at = data.find(bytes.fromhex(serials[0]))
    data[at + 5] ^= 1
    target.write_bytes(bytes(data))
    compared = len(provider.json("audit", "show", "--event", "status.compared"))
    provider.check("alert", "compare")
    within(15, lambda: "the CRL's signature" in provider.log_text("watch"), pause=0.2)
    assert len(provider.json("audit", "show", "--event", "status.compared")) <= compared + 1, "no comparison with a CRL that is false"
    within(10, lambda: ("status-false", "status of issuing") in provider.alerts(), pause=0.2)
    shutil.copy(older, target)


@pytest.fixture
def slow():
    installation = Compared(rate=4)
    try:
        yield installation
    finally:
        installation.close()


def test_a_round_goes_on_where_a_restart_ended_it(slow):
    """Twice, killed and stopped in order, with what it had found and counted so far; all of it is on record once."""
    for i in range(10):
        slow.issue(f"p{i}")
    listed = slow.database("SELECT hex(serial) FROM status WHERE ca = (SELECT id FROM authority WHERE name = 'issuing') ORDER BY serial")
    first = listed[0][0].lower()
    assert slow.round_is_over(), "none has begun"
    slow.in_database("UPDATE status SET state = 1, revoked_at = 1000000 WHERE serial = ?", bytes.fromhex(first))
    slow.check("alert", "compare")
    looked_at = []
    for how in (signal.SIGKILL, signal.SIGTERM):
        within(20, lambda: slow.place().get("serials", 0) > sum(looked_at[-1:]) and slow.place()["doubts"])
        assert [serial for serial, _ in slow.place()["doubts"]] == [first]
        looked_at.append(slow.place()["serials"])
        ready = slow.log_text("watch").count("ready after")
        os.kill(slow.pid("watch"), how)
        within(20, lambda: slow.log_text("watch").count("ready after") > ready)
    within(40, lambda: len(slow.json("audit", "show", "--event", "status.compared")) >= 2, pause=0.3)
    behind = [int(number) for number in re.findall(r"comparing issuing goes on behind (\d+) serials", slow.log_text("watch"))]
    assert len(behind) == 2 and looked_at[0] <= behind[0] < looked_at[1] <= behind[1] < len(listed)
    compared = [leaf["record"] for leaf in slow.json("audit", "show", "--event", "status.compared")]
    assert sorted(r["ca"] for r in compared) == ["issuing", "management"], "each CA once"
    assert [r["serials"] for r in compared if r["ca"] == "issuing"] == [len(listed)], "each serial once"
    assert [leaf["record"]["serial"] for leaf in slow.json("audit", "show", "--event", "status.mismatch")] == [first]
    within(5, slow.round_is_over)
