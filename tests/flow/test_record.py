"""`chancery record`: what a person saw or did, entered as a new user would, with wrong turns."""
import datetime
import hashlib
import json
import re
import shlex

import pytest

import audit_world
from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    made = Installation().start()
    for name in ("report.pdf", "dr-report.pdf", "audit.pdf", "pentest.pdf", "cps.pdf", "minutes.pdf"):
        (made.work / name).write_text(f"{name}\n")
    try:
        yield made
    finally:
        made.close()


def add(provider, kind, *words):
    return provider.json("record", "add", kind, *words)


def refused(provider, *words):
    done = provider.call("record", *words)
    assert done.returncode not in (0, 134, 139), done.stdout
    return done.returncode, done.stderr


def on_record(provider, reference):
    found = [leaf["record"] for leaf in provider.json("audit", "show", "--containing", reference, "--limit", "100")]
    return [r for r in found if r["reference"] == reference]


def hours(text, other):
    return (datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime.datetime.fromisoformat(other.replace("Z", "+00:00"))).total_seconds() / 3600


def ago(**span):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**span)).strftime("%Y-%m-%d %H:%M")


def test_each_kind_teaches_by_an_example_that_works(provider):
    """What --help shows can be typed; references are those of records made before, times those of today."""
    kinds = provider.json("record", "kinds")
    assert len(kinds) > 25
    made = {}
    for kind in kinds:
        shown = provider.check("record", "add", kind["kind"], "--help")
        assert kind["example"] in shown and "--by PERSON" in shown and "no names" in shown
        example = kind["example"]
        for stem, reference in made.items():
            example = re.sub(rf"\b{stem}-7f3a2b10\b", reference, example)
        example = re.sub(r"2026-11-27 \d\d:\d\d", ago(hours=2), example)
        words = [str(provider.work / w) if w.endswith(".pdf") else w for w in shlex.split(example)]
        said = provider.json(*words)
        stem = kind["kind"].split(".")[0]
        record, = on_record(provider, said["reference"])
        assert record["event"] == kind["kind"] and said["reference"].startswith(stem + "-") and record["operator"].startswith("uid ")
        made.setdefault(stem, said["reference"])
    assert not [r for r in provider.json("record", "list", "--open") if r["kind"] in ("finding.opened", "privacy.requested", "visit.received")]
    strictly_read(provider)
    # Nor does the ca, which compares itself with the log at its start.
    before = provider.pid("ca")
    provider.kill("ca")
    within(20, lambda: provider.pid("ca") not in (None, before) and provider.call("cert", "list").returncode == 0)


def once(pairs):
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def strictly_read(provider):
    """A reader of JSON that takes no name twice (RFC 8259, 4) finds nothing to refuse."""
    log = provider.home / "state" / "auditd" / "log"
    size = int((log / "checkpoint").read_text().splitlines()[1])
    assert len([json.loads(leaf, object_pairs_hook=once) for leaf in audit_world.entries(log, size)]) == size


def test_an_incident_from_its_discovery_to_its_end(provider):
    detected = ago(hours=20)
    opened = add(provider, "incident.opened", "--by", "p2", "--severity", "high", "--subject", "availability", "--detected", detected, "--notice", "yes",
                 "--text", "OCSP down for 35 minutes: caf\u00e9")
    record, = on_record(provider, opened["reference"])
    assert hours(record["due"], record["detected"]) == 24 and opened["due"] == record["due"] and "REQ-7.9.3-01" in opened["to do"]
    assert record["text"].endswith("caf\u00e9")
    shown = {r["reference"]: r for r in provider.json("record", "list", "--open")}[opened["reference"]]
    assert shown["due"] == record["due"] and "notify the supervisory body" in shown["deadline"] and "OVERDUE" not in shown["deadline"]
    late = add(provider, "incident.opened", "--by", "p2", "--severity", "low", "--subject", "integrity", "--detected", ago(hours=30), "--notice", "yes", "--text", "x")
    first = provider.json("record", "list", "--open")[0]
    assert first["reference"] == late["reference"] and first["deadline"].startswith("OVERDUE")
    assert "OVERDUE" in provider.check("record", "list", "--open")
    add(provider, "incident.updated", "--by", "p2", "--about", opened["reference"], "--severity", "critical", "--text", "disk full")
    add(provider, "incident.notified", "--by", "p1", "--about", opened["reference"], "--recipient", "supervisory body")
    shown = {r["reference"]: r for r in provider.json("record", "list", "--open")}[opened["reference"]]
    assert shown["severity"] == "critical" and shown["deadline"] == "notice was given"
    closing = ["add", "incident.closed", "--by", "p2", "--closes", opened["reference"], "--text", "disk replaced", "--file", str(provider.work / "report.pdf")]
    closed = provider.json("record", *closing)
    assert on_record(provider, closed["reference"])[0]["file"] == hashlib.sha256(b"report.pdf\n").hexdigest()
    assert opened["reference"] not in [r["reference"] for r in provider.json("record", "list", "--open")]
    assert [r["state"] for r in provider.json("record", "list", "--kind", "incident.opened") if r["reference"] == opened["reference"]] == ["closed"]
    code, words = refused(provider, *closing)
    assert code == 6 or "closed already" in words, (code, words)
    add(provider, "incident.closed", "--by", "p2", "--closes", late["reference"], "--text", "false alarm")


def test_a_critical_vulnerability_has_48_hours_and_another_has_no_deadline(provider):
    words = ["--by", "p6", "--identifier", "CVE-2026-1", "--software", "openssl", "--found", ago(hours=1)]
    critical = add(provider, "vulnerability.assessed", *words, "--severity", "critical")
    medium = add(provider, "vulnerability.assessed", *words, "--severity", "medium")
    record, = on_record(provider, critical["reference"])
    assert hours(record["due"], record["found"]) == 48 and "due" not in medium and "due" not in on_record(provider, medium["reference"])[0]


WRONG = [
    (["add"], ["KIND", "record add incident.opened --help"]),
    (["add", "incident.open"], ["did you mean incident.opened?", "record kinds"]),
    (["add", "certificate.issued", "--by", "p1"], ["no kind of record"]),
    (["add", "physical.left", "--zone", "x", "--persons", "p1"], ["--by PERSON is needed", "Example"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x"], ["--persons IDS is needed"]),
    (["add", "physical.left", "--by", "An Peeters", "--zone", "x", "--persons", "p1"], ["--by An Peeters", "the log has no names"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "An, Bo"], ["ids with a space between"]),
    (["add", "physical.left", "--by", "p1", "--zone", "a\nb", "--persons", "p1"], ["--zone"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x" * 1001, "--persons", "p1"], ["1000 octets", "--file"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "p1", "--at", "tomorrow"], ["--at tomorrow", "2026-11-27 10:00"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "p1", "--at", "2099-01-01"], ["future"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "p1", "--at", "2019-01-01"], ["year"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "p1", "--zoen", "x"], ["no option --zoen", "record add physical.left --help"]),
    (["add", "physical.left", "--by", "p1", "--zone", "x", "--persons", "p1", "--file", "/nonexistent"], ["--file", "/nonexistent"]),
    (["add", "finding.opened", "--by", "p1", "--severity", "urgent", "--due", "2027-01-01", "--text", "x"], ["low medium high critical"]),
    (["add", "visit.received", "--by", "p1", "--zone", "x", "--visitors", "two", "--company", "c", "--escort", "p1", "--purpose", "x"], ["--visitors"]),
    (["add", "document.published", "--by", "p1", "--oid", "1.2", "--edition", "1", "--title", "t"], ["--file FILE is needed"]),
    (["add", "incident.closed", "--by", "p1", "--closes", "incident-00000000", "--text", "x"], ["no such record", "record list --kind incident.opened"]),
    (["list", "--kind", "certificate.issued"], ["record kinds"]),
]


@pytest.mark.parametrize("words,expected", WRONG, ids=lambda value: " ".join(value)[:60] if value and value[0] in ("add", "list") else "")
def test_a_wrong_turn_says_what_to_do(provider, words, expected):
    before = provider.json("audit", "show", "--limit", "1")[0]["seq"]
    code, said = refused(provider, *words)
    assert code in (3, 5, 6, 7, 8) and all(text in said for text in expected), (code, said)
    after = [leaf["record"]["event"] for leaf in provider.json("audit", "show", "--from", str(before + 1), "--limit", "100")]
    assert not [event for event in after if event.startswith(("physical", "finding", "visit", "incident", "document"))]


def test_a_record_of_another_kind_is_not_closed(provider):
    finding = add(provider, "finding.opened", "--by", "p7", "--severity", "low", "--due", "2027-01-31", "--text", "x")
    code, said = refused(provider, "add", "incident.closed", "--by", "p1", "--closes", finding["reference"], "--text", "x")
    assert "finding.opened" in said and "incident.opened" in said


def test_while_auditd_is_down_it_is_entered_and_brought_in_at_its_start(provider):
    provider.stop()
    said = json.loads(provider.check("--json", "record", "add", "physical.entered", "--by", "p3", "--zone", "hsm-room", "--persons", "p3", "--purpose", "power failure"))
    done = provider.call("record", "add", "finding.closed", "--by", "p3", "--closes", "finding-00000000", "--text", "x")
    assert done.returncode != 0, "what it closes cannot be looked up"
    provider.start()
    assert [r["zone"] for r in on_record(provider, said["reference"])] == ["hsm-room"]
