"""OCSP, CRL and the ca's database say the same of every certificate, or chancery-watch says so: each of the three is falsified behind the others' backs, and
what differs is found and named."""
import shutil
import sqlite3

import pytest
from installation import Installation, within


class Compared(Installation):
    def __init__(self):
        super().__init__()
        path = self.conf("watch")
        path.write_text(path.read_text().replace("[compare]\n", "[compare]\nsettle = 500ms\nocsp-rate = 1000\n"))
        self.start()

    def round(self):
        """One comparison of all CAs; {ca: record}, and the differences that it recorded."""
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

    def listed(self, serial):
        """On the published CRL, once a new one was issued."""
        self.check("crl", "issue")
        within(10, lambda: serial in self.crl().lower(), pause=0.2)

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


def test_a_revocation_on_its_way_is_no_difference(provider, serials):
    _, serial = provider.issue("late")
    provider.check("cert", "revoke", "--serial", serial, "--reason", "superseded")
    assert provider.round()[1] == []


def test_a_revoked_certificate_made_good_in_the_database_is_found(provider, serials):
    provider.in_database("UPDATE status SET state = 0 WHERE serial = ?", bytes.fromhex(serials[0]))
    compared, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"]) for d in differences] == [(serials[0], "good", "revoked")]
    assert compared["issuing"]["differ"] == 1 and compared["management"]["differ"] == 0
    within(10, lambda: ("status-mismatch", "issuing") in provider.alerts())
    provider.in_database("UPDATE status SET state = 1 WHERE serial = ?", bytes.fromhex(serials[0]))
    provider.listed(serials[0])
    assert provider.round()[1] == []
    within(10, lambda: ("status-mismatch", "issuing") not in provider.alerts(), pause=0.2)


def test_a_certificate_that_only_the_database_knows_as_revoked_is_found(provider, serials):
    provider.in_database("UPDATE status SET state = 1, revoked_at = 1000000 WHERE serial = ?", bytes.fromhex(serials[1]))
    _, differences = provider.round()
    assert [(d["serial"], d["database"], d["ocsp"], d["crl"]) for d in differences] == [(serials[1], "revoked", "good", "good")]
    provider.in_database("UPDATE status SET state = 0, revoked_at = 0 WHERE serial = ?", bytes.fromhex(serials[1]))


def test_a_crl_changed_at_the_va_is_no_crl(provider, serials):
    crls = provider.home / "state" / "va" / "crls"
    older = provider.work / "older"
    provider.listed(serials[0])
    target, = [path for path in crls.glob("*") if path.is_file() and bytes.fromhex(serials[0]) in path.read_bytes()]
    shutil.copy(target, older)
    data = bytearray(target.read_bytes())
    at = data.find(bytes.fromhex(serials[0]))
    data[at + 5] ^= 1
    target.write_bytes(bytes(data))
    compared = len(provider.json("audit", "show", "--event", "status.compared"))
    provider.check("alert", "compare")
    within(15, lambda: "the CRL's signature" in provider.log_text("watch"), pause=0.2)
    assert len(provider.json("audit", "show", "--event", "status.compared")) <= compared + 1, "no comparison with a CRL that is false"
    shutil.copy(older, target)
