"""Public keys that the ca certifies for nobody: listed ones, and those whose certificate was revoked for their compromise."""
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ca_world import PERSON, Refused, World, new_key, until


@pytest.fixture(scope="module")
def world(database):
    with World() as w:
        yield w.start().found_cas()


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def digest(content, digits=64):
    return hashlib.sha256(content).hexdigest()[:digits]


def refused(world, key, word, subject=None, **more):
    with pytest.raises(Refused) as refusal:
        world.issue(subject, key, **more)
    assert refusal.value.code == "CRYPTO" and word in refusal.value.problem["detail"], refusal.value


def reload_lists(world, *lists):
    """The ca with these lists, taken without a restart."""
    names = [world.file(f"list-{i}", "".join(line + "\n" for line in sorted(lines))) for i, lines in enumerate(lists)]
    world.write_conf("".join(f"key-blocklist = {name}\n" for name in names))
    before = world.ca.log().count("configuration read again")
    world.ca.process.send_signal(1)
    until(lambda: world.ca.log().count("configuration read again") > before)


def test_listed_keys_are_refused_from_the_reload_on_and_taken_when_struck_off(world):
    leaked, debian, other = new_key(), rsa.generate_private_key(65537, 2048), new_key()
    world.issue(PERSON % "Leaked", leaked)
    modulus = debian.public_key().public_numbers().n
    by_spki = [digest(spki(leaked))] + [digest(bytes([i])) for i in range(200)]
    by_number = [digest(modulus.to_bytes(256, "big"), 30)] + [digest(bytes([i]), 30) for i in range(200)]
    reload_lists(world, by_spki, by_number)
    refused(world, leaked, "BR 6.1.1.3", PERSON % "Leaked")
    refused(world, debian, "CVE-2008-0166")
    world.issue(key=other)
    with open(world.journal, "rb") as f:
        assert any(b'"event":"certificate.refused"' in line and b"BR 6.1.1.3" in line for line in f)
    reload_lists(world, by_spki)
    world.issue(key=debian)
    reload_lists(world)
    world.issue(PERSON % "Leaked", leaked)


def test_a_list_that_is_wrong_leaves_the_one_before_in_force(world):
    leaked = new_key()
    reload_lists(world, [digest(spki(leaked))])
    world.file("list-0", "no digest\n")
    world.ca.process.send_signal(1)
    until(lambda: "line 1: this is not lower-case hexadecimal" in world.ca.log())
    refused(world, leaked, "BR 6.1.1.3")
    reload_lists(world)


def test_a_ca_does_not_start_on_a_wrong_list(world):
    world.ca.stop()
    world.write_conf(f"key-blocklist = {world.file('wrong', 'ff')}\n")
    with pytest.raises(AssertionError, match="line 1: the line has no end"):
        world.ca.start()
    world.write_conf()
    world.ca.start()


def test_a_listed_key_becomes_no_ca(world):
    client = world.keyd.client()
    listed = client.find("second")["spki"]
    client.close()
    reload_lists(world, [digest(listed)])
    with pytest.raises(Refused) as refusal:
        world.found_issuing("second", "second")
    assert refusal.value.code == "CRYPTO" and "BR 6.1.1.3" in refusal.value.problem["detail"]
    reload_lists(world)
    world.found_issuing("second", "second")


def lose(world, reason="keyCompromise"):
    key, subject = new_key(), PERSON % "Loser"
    made = world.issue(subject, key)
    world.revoke(made["serial"], reason)
    return key, subject, made["serial"]


@pytest.mark.parametrize("reason", ["keyCompromise", "cACompromise", "aACompromise"])
def test_a_lost_key_is_not_certified_again(world, reason):
    key, subject, serial = lose(world, reason)
    refused(world, key, serial, subject)
    refused(world, key, "BR 6.1.1.3, 4.9.1.1", ca="second")
    world.ca.stop(9)
    world.ca.start()
    refused(world, key, serial, subject)


@pytest.mark.parametrize("reason", ["superseded", "cessationOfOperation", None])
def test_a_key_that_was_not_lost_is_certified_again(world, reason):
    key, subject, _ = lose(world, reason)
    world.issue(subject, key)


def test_lost_keys_come_back_from_the_log_into_a_restored_database(world):
    kept = world.keep_database()
    key, subject, serial = lose(world)
    world.ca.stop()
    world.restore_database(kept)
    world.ca.start()
    refused(world, key, serial, subject)


def test_a_database_from_before_lost_keys_were_kept_is_brought_up(world):
    lost = [lose(world) for _ in range(3)]
    kept, subject, _ = lose(world, "superseded")
    world.ca.stop()
    world.sql("DROP TABLE lost_key", "DROP TABLE process", "ALTER TABLE outbox DROP COLUMN entered_at", "DELETE FROM schema_step WHERE version >= 2", "DELETE FROM meta WHERE name = 'lost_keys_entered'")
    world.ca.start()
    for key, name, serial in lost:
        refused(world, key, serial, name)
    world.issue(subject, kept)


def test_looking_for_a_lost_key_uses_the_index(world):
    if world.cluster:
        plan = world.sql("SET enable_seqscan = off", "EXPLAIN SELECT serial FROM lost_key WHERE digest = '\\x00'")
        assert "lost_key_pkey" in plan
        return
    plan = world.sql("EXPLAIN QUERY PLAN SELECT serial FROM lost_key WHERE digest = x'00'")
    assert "SEARCH lost_key USING PRIMARY KEY" in plan
