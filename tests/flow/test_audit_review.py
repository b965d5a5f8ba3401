"""`chancery audit review`: an auditor signs with a token of their own that a report was read, and what is on record of it is judged by everybody from the
founding document on. What is not signed, or by who is no auditor, is refused by the tool, and found where somebody wrote it past the tool."""
import base64
import hashlib
import json
import os
import shutil
import subprocess

import pytest

import audit_world as aw
import control_people as cp
import control_texts as ct
import copy_world as cw
import keyd_client as kc
from register_world import Site, now
from test_cli_op import Desk
from test_token import PIN, PROGRAM, Token

AUDITOR, OPERATOR, COMPLIANCE = "system-auditor", "pki-operator", "compliance-officer"
CONCLUSION = "two refusals were followed up"


class Office(Desk):
    """A desk with the real chancery-token, and two persons with tokens: p3 is System Auditor, p4 PKI Operator. p5, Compliance Officer, has a key
    that lies here."""

    def __init__(self, site, directory):
        super().__init__(site)
        shutil.copy(PROGRAM, os.path.join(self.home, "bin", "chancery-token"))
        os.makedirs(os.path.join(self.home, "certificates"))
        with open(os.path.join(self.home, "certificates", "log.vkey"), "w", encoding="utf-8") as f:
            f.write(cw.verifier_key(aw.ORIGIN, 1, site.auditd.spki) + "\n")
        self.token = {name: Token(directory / name, name).create() for name in ("dirk", "bo")}
        site.decide()
        for person, token, role in ((site.person[3], "dirk", AUDITOR), (site.person[4], "bo", OPERATOR), (site.person[5], None, COMPLIANCE)):
            enrolment = person.enrolment(shares=False)
            if token:
                enrolment[1] = ("key", ct.b64(self.token[token].key))
            site.by_founders("person.enrol", *enrolment)
            site.grant(person, role)
        self.founding = os.path.join(self.home, "founding")
        shutil.copy(site.founding, self.founding)

    def review(self, *words, token="dirk", pin=PIN):
        """Exit code, and the answer or the message."""
        read, write = os.pipe()
        os.write(write, pin.encode() + b"\n")
        os.close(write)
        more = ["--token", token, "--module", "/usr/lib/softhsm/libsofthsm2.so", "--pin-fd", str(read)] if token else []
        try:
            done = subprocess.run([self.tool, "--home", self.home, "--json", "audit", "review", *words, *more], pass_fds=(read,), capture_output=True, text=True,
                                  cwd=os.path.join(self.home, "work"), timeout=60, env=self.token[token or "dirk"].env)
        finally:
            os.close(read)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def reported(self, name="report.html"):
        assert self.site.auditd.settled()
        done = self.call("audit", "report", "--json", "--from", now().strftime("%Y-%m-%d"), "--out", name)
        return json.loads(done.stdout)["sha256"]  # 2: nobody kept a checkpoint outside

    def reviews(self):
        return [e for e in self.good("audit", "show", "--event", "report.reviewed", "--limit", "1000")]

    def verify(self):
        assert self.site.auditd.settled()
        kept = shutil.copy(os.path.join(self.site.auditd.log, "checkpoint"), self.work("kept"))
        return self.site.auditd.verify("--anchor", kept, "--founding", self.founding)

    def file(self, name):
        with open(self.work(name), encoding="utf-8") as f:
            return f.read()

    def signed_by(self, person, role, **changes):
        """A review as a token would sign it, of the report that was made last."""
        names = dict(dict(line.split(": ", 1) for line in self.file("report.html.period").splitlines()[1:]), conclusion=CONCLUSION, person=person.id,
                     role=role, reviewed=ct.moment(), **changes)
        text = ct.lines("review", *names.items())
        return text + f"\nsignature: {ct.b64(ct.sign(person.key, text))}\n"

    def forge(self, file, **changes):
        """Past the tool, as whoever may write records can; its index."""
        names = ct.values(file)
        fields = dict(report=names["report"], person=names["person"], conclusion=names["conclusion"], file=ct.b64(file.encode()), operator="x")
        return cp.put_record(self.site.auditd.socket, "report.reviewed", **dict(fields, **changes))


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    with Site() as site:
        yield Office(site, tmp_path_factory.mktemp("tokens"))


def test_an_auditor_signs_with_a_token_and_everybody_can_judge_it(office):
    digest = office.reported()
    assert digest == hashlib.sha256(office.file("report.html").encode()).hexdigest()
    code, said = office.review("--report", "report.html", "--by", "p3", "--conclusion", CONCLUSION)
    assert code == 0, said
    assert (said["report"], said["reviewed by"], said["as"]) == (digest, "p3", AUDITOR)
    shown = office.reviews()[-1]
    record = shown["record"]
    assert (record["report"], record["person"], record["conclusion"]) == (digest, "p3", CONCLUSION) and record["operator"]
    text, _, signature = base64.b64decode(record["file"]).decode().partition("\n\nsignature: ")
    ct.verify(office.token["dirk"].key, text + "\n", base64.b64decode(signature))  # by another implementation
    assert shown["signature"] == "signed by p3, System Auditor"
    names = ct.values(text)
    checkpoint = office.file("report.html.period").splitlines()
    assert names["log"] == aw.ORIGIN and int(names["size"]) <= shown["seq"] and f"root: {names['root']}" in checkpoint
    code, report = office.verify()
    assert code == 0 and any("1 reviews of reports are signed by persons who were auditors then" in c for c in report["checked"]), report


def test_the_file_goes_to_where_the_token_is_and_comes_back_signed(office):
    office.reported()
    before = len(office.reviews())
    code, said = office.review("--report", "report.html", "--by", "p3", "--conclusion", "read on paper", token=None)
    assert code == 0 and said["signature"].startswith("missing") and len(office.reviews()) == before
    code, said = office.review("--signed", "report.html.review", token=None)
    assert code != 0 and "p3 has not signed it" in said and len(office.reviews()) == before, "what is not signed is refused"
    for name in ("report.html", "report.html.review"):
        shutil.copy(office.work(name), office.token["dirk"].directory)
    away = office.token["dirk"].directory
    made = office.token["dirk"].run("review", "--json", "--review", away / "report.html.review", "--report", away / "report.html", "--person", "p3")
    assert made.returncode == 0 and "read on paper" in made.stderr and "System Auditor" in made.stderr, made.stderr
    code, said = office.review("--signed", str(away / "report.html.review"), token=None)
    assert code == 0 and len(office.reviews()) == before + 1, said
    assert "signed already" in office.token["dirk"].refused(6, "review", "--review", away / "report.html.review", "--report", away / "report.html", "--person", "p3")


def test_who_signs_is_shown_what_and_only_for_oneself(office):
    office.reported()
    office.review("--report", "report.html", "--by", "p3", "--conclusion", "x", token=None)
    review, report, dirk = office.work("report.html.review"), office.work("report.html"), office.token["dirk"]
    assert "the person whom it names" in dirk.refused(4, "review", "--review", review, "--report", report, "--person", "p4")
    assert "another file than" in dirk.refused(6, "review", "--review", review, "--report", review, "--person", "p3")
    assert "signature" not in office.file("report.html.review")


@pytest.mark.parametrize("words, token, code, says", [
    (["--by", "p4", "--role", OPERATOR], "bo", 4, "reviewed by a System Auditor or a Compliance Officer"),
    (["--by", "p4"], "bo", 4, "p4 is not System Auditor"),
    (["--by", "p3", "--role", COMPLIANCE], "dirk", 4, "p3 is not Compliance Officer"),
    (["--by", "p3"], "bo", 12, "the review of p3"),
    (["--by", "p11"], "dirk", 4, "p11 is not on the register"),
    (["--by", "Greet Maes"], "dirk", 3, "the log has no other"),
    (["--by", "p3", "--role", "auditor"], "dirk", 3, "--role"),
])
def test_who_is_no_auditor_puts_nothing_on_record(office, words, token, code, says):
    office.reported()
    before = len(office.reviews())
    got, said = office.review("--report", "report.html", "--conclusion", "x", *words, token=token)
    assert (got, says in said) == (code, True), (got, said)
    assert len(office.reviews()) == before


def test_a_report_that_was_changed_or_is_of_another_log_is_not_signed(office):
    office.reported()
    before = len(office.reviews())
    good = office.file("report.html.period")

    def refused(says, change):
        with open(office.work("report.html.period"), "w", encoding="utf-8") as f:
            f.write(change)
        code, said = office.review("--report", "report.html", "--by", "p3", "--conclusion", "x")
        assert code != 0 and says in said, said
    refused("another log", good.replace(aw.ORIGIN, "elsewhere.example/log"))
    refused("another log", good.replace("root: ", "root: 00").replace(good.split("root: ")[1][:64], good.split("root: ")[1][:62]))
    refused("another log", good.replace(f"size: {ct.values(good)['size']}", f"size: {int(ct.values(good)['size']) + 5000}"))
    refused("changed since", good.replace("report: ", "report: 00").replace(good.split("report: ")[1][:64], good.split("report: ")[1][:62]))
    os.unlink(office.work("report.html.period"))
    assert "audit report" in office.review("--report", "report.html", "--by", "p3", "--conclusion", "x")[1]
    assert len(office.reviews()) == before


def test_what_somebody_writes_past_the_tool_is_found(office):
    """//= tsps#5.4.2 reports are signed off by an auditor"""
    office.reported()
    p = office.site.person
    good = office.signed_by(p[5], COMPLIANCE)
    before = office.verify()
    assert before[0] == 0, before
    true = office.forge(good)  # signed by who may: who carries it to the log is nothing to it
    wrong = {office.forge(good, conclusion="nothing at all"): "something else than what was signed",
             office.forge(good, person="p3"): "something else than what was signed",
             office.forge(good.replace(CONCLUSION, "all is well"), conclusion="all is well"): "the review of p5",
             office.forge(good.split("\n\n")[0] + "\n"): "p5 has not signed it",
             office.forge(good + "more\n"): "it is no review by an auditor",
             office.forge(office.signed_by(p[5], AUDITOR)): "p5 is not System Auditor",
             office.forge(office.signed_by(p[0], "authority-member")): "System Auditor or a Compliance Officer",
             office.forge(office.signed_by(p[9], AUDITOR)): "p9 is not on the register",
             office.forge(office.signed_by(p[5], COMPLIANCE, size=str(1 << 40))): "records that were not there",
             office.forge(office.signed_by(p[5], COMPLIANCE, root="00" * 32)): "another log",
             office.forge(office.signed_by(p[5], COMPLIANCE, log="elsewhere.example/log")): "another log"}
    code, report = office.verify()
    assert code == 1 and report["verdict"] == "NOT SOUND: a review of a report is none, see the findings"
    assert sorted(f["record"] for f in report["findings"]) == sorted(wrong)
    for f in report["findings"]:
        assert wrong[f["record"]] in f["finding"], f
    shown = {e["seq"]: e["signature"] for e in office.reviews()}
    assert shown[true] == "signed by p5, Compliance Officer" and all("signed by" not in shown[i] or "another log" in wrong[i] for i in wrong)
    office.reported("after.html")
    assert "a review of a report is none" in office.file("after.html")


def test_without_a_founding_document_nothing_is_said_of_a_signature(office):
    copy = subprocess.run([office.tool, "--json", "audit", "show", "--event", "report.reviewed", "--log", office.site.auditd.log], capture_output=True,
                          text=True, env={}, timeout=60)
    assert {e["signature"] for e in json.loads(copy.stdout)} == {"not judged: --founding FILE"}
