"""`chancery audit reconcile`: the ca's database and the log, of a running provider, agree; and each way in which somebody who may write one of them can make them differ is found and named."""
import json
import sqlite3

import pytest

from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    provider = Installation()
    try:
        provider.start()
        for name in ("alice", "bob", "carol"):
            provider.issue(name)
        provider.check("cert", "revoke", "--serial", serials(provider)["bob"], "--reason", "keyCompromise")
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
def database(provider):
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


def test_a_certificate_that_was_exchanged_for_another_is_named_with_it(provider, database):
    """One is missing in the database, and one is there that nobody put on record."""
    serial, other = serials(provider)["alice"], "5a" * 16
    for table in ("status", "certificate"):
        database(f"UPDATE {table} SET serial = x'{other}' WHERE serial = ?", f"UPDATE {table} SET serial = ? WHERE serial = x'{other}'", bytes.fromhex(serial))
    assert found(provider) == {(serial, "the log says that it was issued, and the database does not have it"),
                               (other, "is in the database, and no keyd had it on record before it signed"),
                               (other, "is in the database, and the log does not say that it was issued")}


def test_a_revocation_that_was_undone_is_named(provider, database):
    serial = serials(provider)["bob"]
    database("UPDATE status SET state = 0 WHERE serial = ?", "UPDATE status SET state = 1 WHERE serial = ?", bytes.fromhex(serial))
    assert found(provider) == {(serial, "the log says that it was revoked, and the database does not")}


def test_a_revocation_that_is_not_on_record_is_named(provider, database):
    serial = serials(provider)["carol"]
    database("UPDATE status SET state = 1, revoked_at = 1 WHERE serial = ?", "UPDATE status SET state = 0, revoked_at = 0 WHERE serial = ?", bytes.fromhex(serial))
    assert found(provider) == {(serial, "is revoked in the database, and the log does not say so")}


def test_what_happens_meanwhile_is_no_contradiction(provider):
    for n in range(5):
        provider.issue(f"dora{n}")
        code, answer = reconcile(provider)
        assert code == 0 and answer["verdict"].startswith("agree"), answer
