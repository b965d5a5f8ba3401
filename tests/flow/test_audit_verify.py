"""`chancery audit verify` says in words what it checked and what it could not; its memory does not grow with the log."""
import collections
import hashlib
import json
import os
import subprocess

import pytest

import keyd_client as kc
from log_copies import Log

SMALL = 700  # two full bundles and a part of a third


@pytest.fixture(scope="module")
def log():
    with Log(SMALL) as made:
        yield made


def said(report, *words):
    """Is there a sentence with all these words, and in which list?"""
    return [name for name in ("checked", "not checked") for text in report[name] if all(word in text for word in words)]


def test_it_says_what_it_checked_and_what_it_could_not(log):
    code, report = log.verify()
    assert code == 2 and report["verdict"].startswith("sound, but tail not anchored")
    assert said(report, "signed by the log's key with id", log.key_id()) == ["checked"]
    assert said(report, f"records 0 to {SMALL - 1}", "2026-01-01T00:00:00.000200Z") == ["checked"]
    assert said(report, "whether this is all of the log", "--anchor") == ["not checked"]
    assert said(report, "critical operations", "--founding") == ["not checked"]
    assert said(report, "another way", hashlib.sha256(log.private.text.strip().encode()).hexdigest()) == ["not checked"]
    assert said(report, "kept outside the log") == []


def test_what_a_kept_checkpoint_covers_is_told_from_what_it_does_not(log):
    kept = log.checkpoint_at(300)
    code, report = log.verify("--anchor", kept)
    assert (code, report["verdict"]) == (0, "sound")
    assert said(report, "kept outside the log", "over 300 records") == ["checked"]
    assert said(report, f"records 300 to {SMALL - 1}", "no checkpoint kept outside") == ["not checked"]
    code, report = log.verify("--since", kept)
    assert code == 0 and report["read from record"] == 300
    assert said(report, "continues the tree of 300 records") == ["checked"]
    assert said(report, "records 0 to 299", "--since") == ["not checked"]
    assert log.verify("--anchor", log.checkpoint_at(SMALL))[1]["anchors that agree"] == 1


def test_operations_are_not_judged_from_the_middle(log):
    done = log.run("--since", log.checkpoint_at(300), "--founding", log.key)
    assert done.returncode == 3 and "--since leaves that out" in done.stderr


def test_a_founding_document_that_is_none_is_refused(log):
    done = log.run("--founding", log.key)
    assert done.returncode not in (0, 1, 2) and log.key in done.stderr


def test_an_unsound_log_names_the_first_bad_place_and_claims_nothing_behind_it(log):
    with log.copy() as copy:
        copy.flip("entries", 1, at=50)
        code, report = copy.verify("--anchor", log.checkpoint_at(200))
    assert (code, report["verdict"], report["first bad record"]) == (1, "NOT SOUND", 256)
    assert said(report, "kept outside the log", "over 200 records") == ["checked"] and len(report["checked"]) == 1
    assert report["not checked"] == ["what lies behind the first bad place: the verification ends there"]


def shown(log, *words):
    done = subprocess.run([log.command()[0], "audit", "show", "--log", log.directory, "--limit", "1000", "--json", *words], capture_output=True, text=True)
    return done.returncode, done.stderr, collections.Counter(leaf["record"]["event"] for leaf in json.loads(done.stdout or "[]"))


def test_records_are_shown_from_a_severity_on(log):
    assert sum(shown(log)[2].values()) == SMALL
    assert set(shown(log, "--severity", "notice")[2]) == {"certificate.refused", "certificate.revoked"}
    assert not shown(log, "--severity", "warning")[2], "nothing urgent is in this log"
    code, words, _ = shown(log, "--severity", "urgent")
    assert code == 3 and "info, notice, warning and alert" in words


def peak(log):
    """KiB resident at most, of one verification."""
    process = subprocess.Popen([*log.command(), "--log", log.directory, "--key", log.key], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 2
    return used.ru_maxrss


@pytest.mark.skipif(kc.sanitized(), reason="a sanitizer keeps what was freed")
def test_memory_does_not_grow_with_the_log(log):
    with Log(70_000) as hundred_times:
        assert peak(hundred_times) < peak(log) + 2048
