"""`chancery audit reconcile`: the ca's database and the log, of a running provider, agree; and each way in which somebody who may write one of them can make them differ is found and named."""
import json
import os
import signal
import sqlite3
import subprocess
import threading

import pytest

import control_people as cp
from installation import Installation, within
from test_purge import copy_of


@pytest.fixture(scope="module")
def provider():
    provider = Installation()
    try:
        provider.start()
        for name in ("alice", "bob", "carol"):
            provider.issue(name)
        provider.check("cert", "revoke", "--serial", serials(provider)["bob"], "--reason", "keyCompromise")
        for _ in range(3):
            provider.check("crl", "issue", "--ca", "issuing")
        yield provider
    finally:
        provider.close()


def serials(provider):
    return {name: row["serial"] for row in provider.json("cert", "list") for name in ("alice", "bob", "carol") if name in row["subject"]}


def reconcile(provider):
    done = provider.call("--json", "audit", "reconcile")
    return done.returncode, json.loads(done.stdout)


def settled(provider):
    """Not under way: the outbox ran empty, so that nothing can wait in it."""
    return within(30, lambda: (answer := reconcile(provider))[1]["rows in the outbox"] == 0 and answer)


@pytest.fixture
def edit(provider):
    """The ca's database, by its superuser, put back as it was."""
    path = provider.home / "state" / "ca" / "ca.db"
    settled(provider)
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    undo = []

    def change(statement, restore, *values):
        connection.execute(statement, values)
        undo.append((restore, values))
    yield change
    for restore, values in undo:
        connection.execute(restore, values)
    connection.close()
    assert settled(provider)[0] == 0


def test_they_agree(provider):
    code, answer = settled(provider)
    assert code == 0 and answer["verdict"] == "agree" and answer["contradictions"] == 0
    assert answer["certificates in the database"] == len(provider.json("cert", "list", "--limit", "1000")) and answer["of them revoked"] == 1
    assert "verdict" in provider.check("audit", "reconcile")


def found(provider):
    code, answer = settled(provider)
    assert code == 1 and answer["verdict"] == "DO NOT AGREE"
    return {(finding["about"], finding["finding"]) for finding in answer["findings"]}


def test_a_certificate_that_was_exchanged_for_another_is_named_with_it(provider, edit):
    """One is missing in the database, and one is there that nobody put on record."""
    serial, other = serials(provider)["alice"], "5a" * 16
    for table in ("status", "certificate"):
        edit(f"UPDATE {table} SET serial = x'{other}' WHERE serial = ?", f"UPDATE {table} SET serial = ? WHERE serial = x'{other}'", bytes.fromhex(serial))
    assert found(provider) == {(serial, "the log says that it was issued, and the database does not have it"),
                               (other, "is in the database, and no keyd had it on record before it signed"),
                               (other, "is in the database, and the log does not say that it was issued")}


def test_a_revocation_that_was_undone_is_named(provider, edit):
    serial = serials(provider)["bob"]
    edit("UPDATE status SET state = 0 WHERE serial = ?", "UPDATE status SET state = 1 WHERE serial = ?", bytes.fromhex(serial))
    assert found(provider) == {(serial, "the log says that it was revoked, and the database does not")}


def test_a_revocation_that_is_not_on_record_is_named(provider, edit):
    serial = serials(provider)["carol"]
    edit("UPDATE status SET state = 1, revoked_at = 1 WHERE serial = ?", "UPDATE status SET state = 0, revoked_at = 0 WHERE serial = ?", bytes.fromhex(serial))
    assert found(provider) == {(serial, "is revoked in the database, and the log does not say so")}


def crls(provider, ca="issuing"):
    with sqlite3.connect(provider.home / "state" / "ca" / "ca.db") as connection:
        return [row[0] for row in connection.execute("SELECT number FROM crl WHERE ca = (SELECT id FROM authority WHERE name = ?) ORDER BY number", (ca,))]


def test_a_crl_that_left_the_database_is_named_by_its_number(provider, edit):
    """Any of them: not the newest alone."""
    numbers = crls(provider)
    assert len(numbers) > 3 and settled(provider)[1]["CRLs in the database"] >= len(numbers)
    for number in (numbers[1], numbers[2]):
        edit("UPDATE crl SET number = number + 100000 WHERE number = ? AND ca = (SELECT id FROM authority WHERE name = 'issuing')",
             "UPDATE crl SET number = number - 100000 WHERE number = ? + 100000", number)
    said = found(provider)
    assert said == {(f"CRL {n} of issuing", "the log says that it was issued, and the database does not have it") for n in numbers[1:3]} | {
        (f"CRL {n + 100000} of issuing", "is in the database, and the log does not say that it was issued") for n in numbers[1:3]}
    first = [f["about"] for f in settled(provider)[1]["findings"]]
    assert first == [f"CRL {n} of issuing" for n in (numbers[1] + 100000, numbers[2] + 100000, numbers[1], numbers[2])], "of each kind the lowest first"


def test_a_crl_that_nobody_has_on_record_is_named(provider, edit):
    number = crls(provider)[-1] + 7
    edit("INSERT INTO crl SELECT ca, ?, digest, size, entries, this_update, next_update FROM crl WHERE number = 1 AND ca = (SELECT id FROM authority "
         "WHERE name = 'issuing')", "DELETE FROM crl WHERE number = ?", number)
    assert found(provider) == {(f"CRL {number} of issuing", "is in the database, and the log does not say that it was issued")}


def test_a_record_that_waits_is_named_with_what_it_is_and_how_long(provider):
    """auditd stands still; a revocation is done, and its record waits. Nothing else may be missing under that name."""
    provider.issue("eve")
    serial = next(row["serial"] for row in provider.json("cert", "list") if "eve" in row["subject"])
    settled(provider)
    provider.kill("auditd", signal.SIGSTOP)
    try:
        revoke = subprocess.Popen([provider.tool, "--home", provider.home, "cert", "revoke", "--serial", serial, "--reason", "superseded"],
                                  env=provider.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        database = provider.home / "state" / "ca" / "ca.db"
        within(10, lambda: sqlite3.connect(database).execute("SELECT count(*) FROM outbox").fetchone()[0])
        done = provider.call("--json", "audit", "reconcile", "--wait", "1")
        answer = json.loads(done.stdout)
        assert (done.returncode, answer["contradictions"]) == (2, 0), answer
        assert answer["verdict"] == f"agree, but for {answer['rows in the outbox']} records that wait in the outbox"
        row = next(r for r in answer["waiting"] if r["event"] == "certificate.revoked")
        assert row["about"] == serial and row["seconds"] >= 1 and row["since"].endswith("Z") and "auditd" in answer["next"]
        text = provider.call("audit", "reconcile", "--wait", "0").stdout
        assert serial in text and "auditd" in text
    finally:
        provider.kill("auditd", signal.SIGCONT)
    revoke.wait(60)
    assert settled(provider)[0] == 0


def test_it_settles_under_load(provider):
    """The outbox need not run empty for it: what was there at the beginning has to be gone."""
    stop = threading.Event()

    def load():
        while not stop.is_set():
            provider.issue(f"load{os.urandom(4).hex()}")
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            code, answer = reconcile(provider)
            assert (code, answer["verdict"], answer["rows in the outbox"]) == (0, "agree", 0), answer
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_happens_meanwhile_is_no_contradiction(provider):
    for n in range(5):
        provider.issue(f"dora{n}")
        code, answer = reconcile(provider)
        assert code == 0 and answer["verdict"].startswith("agree"), answer


def without(provider, wanted):
    """A copy of the log in which the content of these records is gone, as a purge leaves it: an entry of no octets."""
    copy = provider.directory / f"purged-{os.urandom(4).hex()}"
    copy_of(provider.home / "state" / "auditd" / "log", copy)
    for bundle in (path for path in (copy / "tile" / "entries").rglob("*") if path.is_file()):
        rest, out = bundle.read_bytes(), b""
        while rest:
            size = int.from_bytes(rest[:2], "big")
            out += b"\0\0" if wanted(rest[2:2 + size]) else rest[:2 + size]
            rest = rest[2 + size:]
        bundle.write_bytes(out)
    return copy


def test_crls_whose_records_nobody_let_go_are_missing(provider):
    """Empty entries alone say nothing: an operation of two persons has to name them."""
    within(10, lambda: provider.call("audit", "verify").returncode == 0)
    numbers = crls(provider)
    for gone in (numbers[:2], numbers[1:2]):
        log = without(provider, lambda leaf: any(b'"event":"crl.issued"' in leaf and b'"ca":"issuing","number":%d,' % n in leaf for n in gone))
        done = provider.call("--json", "audit", "reconcile", "--log", log)
        answer = json.loads(done.stdout)
        about = [finding["about"] for finding in answer["findings"]]
        assert done.returncode == 1 and [f"CRL {n} of issuing" for n in gone] == [one for one in about if one.startswith("CRL")], answer


def test_crls_from_before_a_restore_are_counted_and_are_no_contradiction(provider):
    copy = provider.work / "copy"
    provider.check("backup", copy)
    for _ in range(2):
        provider.check("crl", "issue", "--ca", "issuing")
    lost = crls(provider)[-2:]
    provider.stop()
    provider.check("restore", copy, "--database-only")
    provider.start()
    code, answer = settled(provider)
    assert code == 0, answer
    assert answer["CRLs that only the log has, from before the database was put back"] >= 2 and not set(lost) & set(crls(provider))


def test_a_record_of_a_crl_that_was_forged_or_is_there_twice_is_named(provider):
    """The last: nothing leaves the log again."""
    number = crls(provider)[-1]
    for forged in (number, number + 500):
        cp.put_record(str(provider.home / "run" / "auditd.sock"), "crl.issued", ca="issuing", number=forged, entries=0, size=1, digest="00" * 32,
                      this_update="2026-01-01T00:00:00Z", next_update="2026-01-01T00:00:00Z")
    assert found(provider) == {(f"CRL {number} of issuing", "its number was given out twice, the log says"),
                               (f"CRL {number + 500} of issuing", "the log says that it was issued, and the database does not have it")}
