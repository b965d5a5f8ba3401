"""`chancery audit report` counts what the log has and says it as one accessible page without scripts; as PDF/A too. What is on record of a review is in test_demo.py.

With CHANCERY_LONG=1 and a mvn, veraPDF judges the PDF."""
import collections
import hashlib
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import keyd_client as kc
from log_copies import Log

TOOL = os.path.join(kc.BUILD, "src", "chancery")
SIZE, EVIL = 2_000, '<script>alert("1")</script> & \\" refused'
FROM, TO = "2026-01-01T00:00:00.2Z", "2026-01-01T00:00:01Z"
ROOT = pathlib.Path(__file__).resolve().parents[2]
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"


def evil(leaf):
    """Another reason, as a requester might send it."""
    return re.sub(rb'"reason":"the request[^"]*"', lambda _: b'"reason":' + json.dumps(EVIL).encode(), leaf)


@pytest.fixture(scope="module")
def log():
    with Log(SIZE) as made:
        with made.copy() as whole:
            made.build(lambda n: [evil(leaf) for leaf in whole.bundle(n)], 0, SIZE, made.private)
        yield made


def report(log, *options):
    path = os.path.join(log.work, "report.html")
    done = subprocess.run([TOOL, "audit", "report", "--json", "--log", log.directory, "--key", log.key, "--out", path, *options],
                          capture_output=True, text=True, env={}, timeout=120)
    text = pathlib.Path(path).read_text(encoding="utf-8") if os.path.exists(path) else ""
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr, text


class Page(html.parser.HTMLParser):
    """What a reader without eyes gets: tags with attributes, tables with captions as rows of texts."""
    VOID = {"meta", "col", "rect", "line"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.tables, self.texts, self.cell = [], [], {}, [], None
        self.rows, self.caption = [], ""
        self.feed(text)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes what it did not open"
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None
        elif tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        self.texts.append(data)
        if self.cell is not None:
            self.cell += data
        elif self.open and self.open[-1] == "caption":
            self.caption += data


def in_period(log, begin=FROM, end=TO):
    envelopes = [json.loads(leaf) for n in range((SIZE + 255) // 256) for leaf in log.bundle(n)]
    pad = lambda text: text[:-1].ljust(26, "0") if "." in text else text[:-1] + ".000000"
    return [e for e in envelopes if pad(begin) <= pad(e["at"]) < pad(end)]


def test_it_counts_what_the_log_has(log):
    code, said, text = report(log, "--from", FROM, "--to", TO)
    records, page = in_period(log), Page(text)
    refused = [e for e in records if e["record"]["event"] == "certificate.refused"]
    assert 0 < len(refused) < len(records) < SIZE
    assert (code, said["records in the period"], said["exceptions"]) == (2, len(records), len(refused)), said
    assert said["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert page.tables["What was refused, lost, put back or abandoned"][1:] == [["certificate.refused", "a request that was refused", str(len(refused))]]
    one_by_one = page.tables["Exceptions"][1:]
    assert [row[0] for row in one_by_one] == [str(e["seq"]) for e in refused]
    assert {tuple(row[2:]) for row in one_by_one} == {("certificate.refused", "ca", "operator 1", EVIL)}
    deeds = collections.Counter((e["record"].get("actor") or e["record"]["component"], e["record"]["event"]) for e in records)
    told = {(row[0], row[1]): int(row[3]) for name in ("Persons and operators", "Daemons, by themselves") for row in page.tables[name][1:]}
    assert told == deeds
    course = page.tables["The same figures; parts of the period without records are left out"][1:]
    assert [int(row[1]) for row in course] == [len(records)] and [int(row[2]) for row in course] == [len(refused)]


def test_it_is_one_accessible_page_that_loads_and_runs_nothing(log):
    _, _, text = report(log)
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags and EVIL in "".join(page.texts)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "href", "srcset") for name in attributes), (tag, attributes)
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
    assert "url(" not in text and "@import" not in text
    assert ("html", {"lang": "en"}) in page.tags and tags.count("h1") == 1 and tags.count("main") == 1
    svg = next(attributes for tag, attributes in page.tags if tag == "svg")
    named = {attributes["id"] for tag, attributes in page.tags if "id" in attributes}
    assert svg["role"] == "img" and set(svg["aria-labelledby"].split()) <= named
    assert tags.count("table") == len(page.tables) and "" not in page.tables, "every table has a caption"


def test_exceptions_come_first_and_the_verdict_is_in_it(log):
    _, _, text = report(log)
    order = [text.index(f"<h2>{heading}</h2>") for heading in
             ("Exceptions", "Can this log be believed?", "In the course of time", "Who did what", "Review", "Exceptions, one by one")]
    assert order == sorted(order)
    with log.copy() as copy:
        copy.flip("entries", 3, at=77)
        code, said, text = report(copy)
    assert code == 1 and said["verdict"] == "NOT SOUND" and '<p class="bad">The whole log was verified' in text
    assert "record or tile was changed" in text


def test_a_period_that_is_none_is_refused(log):
    for words in (["--from", "2026-02-01", "--to", "2026-01-01"], ["--from", "soon"], ["--to", "2026-13-01"]):
        assert report(log, *words)[0] == 3
    code, said, text = report(log, "--from", "2027-01-01", "--to", "2028-03-01")
    assert (code, said["records in the period"]) == (2, 0) and "None: nothing was refused" in text


@pytest.mark.skipif(not os.path.exists("/usr/bin/weasyprint"), reason="weasyprint is not installed: tests/install-packages check")
def test_it_is_made_a_pdf_a(log):
    pdf = os.path.join(log.work, "report.pdf")
    code, said, _ = report(log, "--from", FROM, "--to", TO, "--pdf", pdf)
    content = pathlib.Path(pdf).read_bytes()
    assert code == 2 and said["pdf sha256"] == hashlib.sha256(content).hexdigest()
    assert content.startswith(b"%PDF-1.7") and b'pdfaid:part="2"' in content and b'pdfaid:conformance="B"' in content and b"/ID" in content


@pytest.mark.skipif(not (LONG and shutil.which("mvn") and os.path.exists("/usr/bin/weasyprint")), reason="CHANCERY_LONG=1, mvn and weasyprint")
def test_verapdf_takes_it_for_pdf_a(log, tmp_path):
    subprocess.run([ROOT / "tests" / "install-tools", "verapdf"], check=True, timeout=600)
    good, bad = tmp_path / "good.pdf", tmp_path / "bad.pdf"
    assert report(log, "--pdf", str(good))[0] == 2
    bad.write_bytes(good.read_bytes().replace(b"/ID", b"/XD"))

    def judged(path):
        done = subprocess.run(["java", "-cp", f"{ROOT}/.cache/verapdf/*", "org.verapdf.apps.GreenfieldCliWrapper", "-f", "2b", "--format", "text",
                               path], capture_output=True, text=True, timeout=120)
        return done.stdout.split()[0]
    assert (judged(good), judged(bad)) == ("PASS", "FAIL"), "without its identifier it is none, and the judge says so"
