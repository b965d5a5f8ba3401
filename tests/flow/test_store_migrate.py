"""`chancery store migrate`: the ca's database goes to PostgreSQL, proved equal before anything points to it, and service goes on there."""
import re
import sqlite3
import subprocess

import pytest
from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    yield made
    made.close()


@pytest.fixture(scope="module")
def target(cluster):
    return cluster.new()


def issue(provider, number):
    out = provider.work / f"m{number}.pem"
    request = provider.work / "customer.csr"
    done = provider.json("cert", "issue", "--profile", "ncp-plus-n", "--csr", request if request.exists() else provider.request("customer"),
                         "--out", out)
    return done["serial"], out


def tables(provider):
    with sqlite3.connect(provider.home / "state" / "ca" / "ca.db") as database:
        names = [name for name, in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('schema_step')")]
        return {name: (database.execute(f"SELECT count(*) FROM {name}").fetchone()[0],
                       {row[1] for row in database.execute(f"PRAGMA table_info({name})")}) for name in names}


def migrate(provider, cluster, target):
    return provider.call("store", "migrate", "--to", "postgresql:" + cluster.address(target))


def back_to_the_file(provider):
    provider.conf("ca").write_text((provider.conf("ca").parent / "ca.conf.before-migration").read_text())


def tables_told(done):
    """The proof, as the command prints it and as it is on record."""
    return "; ".join(" ".join(line.split()) for line in done.stdout.splitlines() if " sha256 " in line)


def migrations_on_record(provider):
    return [leaf["record"] for leaf in provider.json("audit", "show", "--event", "store.migrated")]


def test_a_migration_is_refused_while_the_ca_runs_and_changes_nothing(provider, cluster, target):
    provider.start()
    provider.held = [issue(provider, i) for i in range(5)]
    provider.check("cert", "revoke", "--serial", provider.held[0][0], "--reason", "superseded")
    done = migrate(provider, cluster, target)
    assert done.returncode != 0 and "in use by another process" in done.stderr
    assert "database = " in provider.conf("ca").read_text()
    provider.stop()


def test_a_target_that_is_not_empty_is_refused_and_left_as_it_is(provider, cluster):
    other = cluster.new()
    assert migrate(provider, cluster, other).returncode == 0  # as a rehearsal
    back_to_the_file(provider)
    cluster.sql(other, "DELETE FROM status WHERE state = 1")
    done = migrate(provider, cluster, other)
    assert done.returncode == 6 and "give one that is empty" in done.stderr
    assert "database = " in provider.conf("ca").read_text()


def test_a_copy_that_differs_is_noticed_and_not_kept(provider, cluster):
    """A database that changes what it is given: one octet of one certificate."""
    spoilt = cluster.new()
    assert migrate(provider, cluster, spoilt).returncode == 0
    back_to_the_file(provider)
    names = ", ".join(tables(provider))
    cluster.sql(spoilt, f"TRUNCATE {names}",
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.der = set_byte(NEW.der, 40, 0); RETURN NEW; END$$",
                "CREATE TRIGGER spoil BEFORE INSERT ON certificate FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION spoil()")
    done = migrate(provider, cluster, spoilt)
    assert done.returncode != 0 and "table certificate is not the same in the copy" in done.stderr
    assert cluster.sql(spoilt, "SELECT (SELECT count(*) FROM authority) + (SELECT count(*) FROM certificate)").strip() == "0"
    assert "database = " in provider.conf("ca").read_text()


def test_a_migration_that_cannot_be_put_on_record_changes_nothing(provider, cluster):
    incoming = provider.home / "state" / "auditd" / "log" / "incoming"
    aside = incoming.rename(incoming.with_name("aside"))
    incoming.write_text("")
    unrecorded = cluster.new()
    done = migrate(provider, cluster, unrecorded)
    assert done.returncode != 0 and "the copy is whole but not on record, and nothing points to it" in done.stderr
    assert "database = " in provider.conf("ca").read_text()
    incoming.unlink()
    aside.rename(incoming)


def test_a_running_auditd_takes_the_record_at_once(provider, cluster):
    chancery = provider.conf("chancery")
    before = chancery.read_text()
    chancery.write_text(before.replace("[daemon ca]\n", "[daemon ca]\nsupervised = no\n"))
    provider.start()
    known = migrations_on_record(provider)
    done = migrate(provider, cluster, cluster.new())
    assert done.returncode == 0, done.stderr
    assert len(migrations_on_record(provider)) == len(known) + 1
    assert migrations_on_record(provider)[-1]["tables"] == tables_told(done) and migrations_on_record(provider)[-1]["component"] == "cli"
    provider.stop()
    chancery.write_text(before)
    back_to_the_file(provider)


def test_everything_is_there_after_the_migration_and_service_goes_on(provider, cluster, target):
    expected = tables(provider)
    done = migrate(provider, cluster, target)
    assert done.returncode == 0, done.stderr
    told = {name: int(rows) for name, rows in re.findall(r"^(\w+) +(\d+) rows  sha256 [0-9a-f]{64}$", done.stdout, re.M)}
    assert told == {name: rows for name, (rows, _) in expected.items()}, "a table was left out"
    for name, (rows, columns) in expected.items():
        assert int(cluster.sql(target, f"SELECT count(*) FROM {name}")) == rows
        assert set(cluster.sql(target, f"SELECT column_name FROM information_schema.columns WHERE table_name = '{name}'").split()) == columns
    assert "postgresql = " in provider.conf("ca").read_text() and "database = " not in provider.conf("ca").read_text()
    provider.start()
    recorded = migrations_on_record(provider)[-1]
    assert recorded["tables"] == tables_told(done) and recorded["from"] == "../state/ca/ca.db"
    assert recorded["to"] == "postgresql:" + cluster.address(target) and recorded["operator"].startswith("uid ")
    for serial, path in provider.held:
        shown = provider.json("cert", "show", "--serial", serial)
        assert "".join(shown["certificate"].split()) == "".join(path.read_text().split())
        assert shown["state"] == ("revoked" if serial == provider.held[0][0] else "good")
    before = expected["certificate"][0]
    serial, path = issue(provider, "after")
    assert int(cluster.sql(target, "SELECT count(*) FROM certificate")) == before + 1
    within(10, lambda: ": good" in provider.ocsp(path), 0.3)
    within(20, lambda: provider.call("audit", "verify").returncode == 0, 0.5)
    assert migrate(provider, cluster, target).returncode == 7
    copy = provider.work / "backup"
    refused = provider.call("backup", copy)
    assert refused.returncode == 7 and "pg_basebackup" in refused.stderr and not copy.exists()
    provider.check("backup", copy, "--log-only")
    assert (copy / "log" / "checkpoint").exists() and not (copy / "ca.db").exists()
