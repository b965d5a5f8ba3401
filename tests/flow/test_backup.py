"""Backup and restore from outside: both on record, the log alone, the database alone, and what a loss of records takes."""
import hashlib
import re
import shutil
import subprocess

import pytest
from installation import Installation, within


@pytest.fixture()
def provider():
    made = Installation()
    made.start()
    yield made
    made.close()


def sound(provider):
    """Verified and anchored: daemons keep a checkpoint that covers the end."""
    provider.check("crl", "issue")
    within(15, lambda: provider.call("audit", "verify").returncode == 0, 0.3)


def records(provider, event):
    return [leaf["record"] for leaf in provider.json("audit", "show", "--event", event)]


def damage_first_bundle(log):
    """One octet of an old record changes, wherever the record lies."""
    entries = log / "tile" / "entries"
    for bundle in [entries / "000", *entries.glob("000.p/*")]:
        if bundle.exists():
            content = bytearray(bundle.read_bytes())
            content[300] ^= 1
            bundle.write_bytes(content)


def stamp(provider, count):
    file = provider.work / "f"
    file.write_text("x")
    for _ in range(count):
        provider.check("ts", "request", file)


def fill_a_bundle(provider):
    """Over 256 records, so that the first bundle is full and will not change any more."""
    while provider.json("audit", "show", "--limit", "1")[0]["seq"] < 300:
        stamp(provider, 20)
    within(10, (provider.home / "state" / "auditd" / "log" / "tile" / "entries" / "000").exists)


def test_a_backup_is_on_record_with_what_was_copied(provider):
    copy = provider.directory / "copy"
    made = provider.json("backup", copy)
    database, log = records(provider, "backup.made")
    assert (database["path"], database["digest"]) == (f"{copy}/ca.db", made["database sha256"])
    assert hashlib.sha256((copy / "ca.db").read_bytes()).hexdigest() == database["digest"]
    assert (log["path"], log["records"]) == (f"{copy}/log", made["log records"])
    assert log["records"] > 0 and log["operator"].startswith("uid ")
    assert provider.json("audit", "import", copy / "journal")["in the log before"] == 1
    sound(provider)


def test_the_database_alone_is_restored_on_record_and_the_ca_catches_up(provider):
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    _, late = provider.issue("late")
    provider.check("cert", "revoke", "--serial", late, "--reason", "superseded")
    for name in ("ca", "auditd", "keyd-log"):  # as under systemd, where no pid file tells
        (provider.home / "run" / f"{name}.pid").unlink()
    assert provider.call("restore", copy, "--database-only").returncode == 7
    keyd = [provider.build / "src" / "chancery-keyd", "--config", provider.conf("keyd-log")]
    assert subprocess.run([*keyd, "forget-head", "log"], capture_output=True).returncode == 7
    assert int(subprocess.run([*keyd, "head", "log"], capture_output=True, check=True).stdout) > 0
    provider.stop()
    assert provider.call("restore", copy, "--database-only", "--log-only").returncode == 3
    provider.check("restore", copy, "--database-only")
    provider.start()
    assert provider.json("cert", "show", "--serial", late)["state"] == "revoked"
    record, = records(provider, "backup.restored")
    assert "digest" in record and "records" not in record and "lost" not in record
    reconciled = records(provider, "store.reconciled")[-1]
    assert reconciled["serials_entered"] == 1 and reconciled["revocations_entered"] == 1
    sound(provider)


def test_a_damaged_log_is_mended_with_its_copy_and_loses_nothing(provider):
    fill_a_bundle(provider)
    sound(provider)
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    _, late = provider.issue("late")
    sound(provider)
    provider.stop()
    damage_first_bundle(provider.home / "state" / "auditd" / "log")
    assert provider.call("audit", "verify").returncode == 1
    restored = provider.json("restore", copy, "--log-only")
    assert "records lost" not in restored
    provider.start()
    assert provider.json("cert", "show", "--serial", late)["state"] == "good"
    assert len(records(provider, "backup.made")) == 2
    record, = records(provider, "backup.restored")
    assert record["records"] == restored["log records"] and "digest" not in record and "lost" not in record
    sound(provider)


def test_a_log_that_is_gone_is_not_replaced_by_an_older_copy_unless_the_loss_is_accepted_on_record(provider):
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    stamp(provider, 40)  # more than a start writes: the log stays shorter than the database knows it
    _, late = provider.issue("late")
    sound(provider)
    provider.stop()
    shutil.rmtree(provider.home / "state" / "auditd" / "log")
    refused = provider.call("restore", copy, "--log-only")
    assert refused.returncode == 7 and "--accept-loss" in refused.stderr, refused.stderr
    assert not (provider.home / "state" / "auditd" / "log").exists()
    restored = provider.json("restore", copy, "--log-only", "--accept-loss")
    assert restored["records lost"] > 2
    provider.start()
    record, = records(provider, "backup.restored")
    assert (record["lost"], record["records"]) == (restored["records lost"], restored["log records"])
    reconciled = records(provider, "store.reconciled")[-1]
    assert reconciled["from"] <= restored["log records"], "the ca begins where the copy ends"
    assert provider.json("cert", "show", "--serial", late)["state"] == "good", "the database kept it"
    provider.issue("after")
    sound(provider)


def test_both_are_restored_together(provider):
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    _, late = provider.issue("late")
    sound(provider)
    provider.stop()
    shutil.rmtree(provider.home / "state" / "auditd" / "log")
    (provider.home / "state" / "ca" / "ca.db").unlink()
    provider.check("restore", copy, "--accept-loss")
    provider.start()
    assert provider.call("cert", "show", "--serial", late).returncode == 5, "made after the copy, and lost with both"
    record, = records(provider, "backup.restored")
    assert "digest" in record and record["lost"] > 0
    sound(provider)


def test_a_copy_that_is_not_sound_is_refused_and_what_is_there_stays(provider):
    copy = provider.directory / "copy"
    provider.check("backup", copy)
    provider.stop()
    damage_first_bundle(copy / "log")
    log = provider.home / "state" / "auditd" / "log"
    shutil.rmtree(log)
    refused = provider.call("restore", copy, "--log-only", "--accept-loss")
    assert refused.returncode == 12 and "not sound" in refused.stderr, refused.stderr
    assert not log.exists()


def test_an_auditor_verifies_a_copy_with_nothing_but_the_tool_and_the_key(provider, tmp_path):
    """No installation, no environment, another directory; and what is missing is said."""
    copy = provider.directory / "copy"
    sound(provider)
    provider.check("backup", copy)
    for name in ("log", "log.vkey"):
        (copy / name).rename(tmp_path / name)
    tool = lambda *words: subprocess.run([provider.tool, "audit", "verify", *words], capture_output=True, text=True, env={}, cwd=tmp_path)
    alone = tool("--log", "log", "--key", "log.vkey")
    assert alone.returncode == 2 and "tail not anchored" in alone.stdout, alone.stdout + alone.stderr
    anchor = shutil.copy(tmp_path / "log" / "checkpoint", tmp_path / "kept")
    anchored = tool("--log", "log", "--key", "log.vkey", "--anchor", anchor)
    assert anchored.returncode in (0, 2) and re.search("anchors that agree +1\n", anchored.stdout), anchored.stdout + anchored.stderr
    for words in ([], ["--log", "log"], ["--key", "log.vkey"]):
        missing = tool(*words)
        assert missing.returncode == 13 and "--log DIR and --key FILE" in missing.stderr, missing.stderr
    damage_first_bundle(tmp_path / "log")
    assert tool("--log", "log", "--key", "log.vkey").returncode == 1
