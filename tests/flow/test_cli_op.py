"""`chancery op`, `role` and `person` against a ca that keeps the register: what a person types, from the proposal to the grant."""
import datetime
import json
import os
import shutil
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

import keyd_client as kc
from register_world import AUTHORITY, Site, append, now

REAL = os.path.join(kc.BUILD, "src", "chancery-token")
TOKEN = """#!{python}
# In the place of chancery-token: what it is told, and the approval that it would make with the person's token.
import json, sys
sys.path[:0] = {path!r}
from register_world import Operation, Person
from cryptography.hazmat.primitives import serialization
with open({told!r}, "w") as f:
    json.dump(sys.argv[1:], f)
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
person = Person(given["--person"])
with open({keys!r} + "/" + given["--token"], "rb") as f:
    person.key = serialization.load_pem_private_key(f.read(), None)
with open(given["--operation"]) as f:
    text = f.read()
made = Operation(text.split("\\n\\n")[0] + "\\n").approve(person, given["--role"])
with open(given["--operation"], "w") as f:
    f.write(text + made.approvals[0])
"""


class Desk:
    """A home directory with chancery.conf, the tool, and a chancery-token beside it."""

    def __init__(self, site):
        w, self.site = site.world, site
        site.found_cas()
        w.enable_tls(f"founding = {site.founding}")
        self.home = w.file("home")
        for part in ("etc", "bin", "keys", "work"):
            os.makedirs(os.path.join(self.home, part))
        self.tool = shutil.copy(os.path.join(kc.BUILD, "src", "chancery"), os.path.join(self.home, "bin"))
        self.told = os.path.join(self.home, "told")
        token = TOKEN.format(python=sys.executable, path=sys.path, told=self.told, keys=os.path.join(self.home, "keys"))
        with open(os.path.join(self.home, "bin", "chancery-token"), "w") as f:
            f.write(token)
            os.fchmod(f.fileno(), 0o755)
        for person in site.person:
            with open(os.path.join(self.home, "keys", person.id), "wb") as f:
                f.write(person.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
            with open(os.path.join(self.home, "keys", person.id + ".pub"), "wb") as f:
                f.write(person.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        with open(os.path.join(self.home, "etc", "chancery.conf"), "w") as f:
            f.write(f"name = TEST\napi-url = https://127.0.0.1:{w.port}\napi-certificate = {w.file('operator.pem')}\n"
                    f"api-key = {w.file('operator.key')}\napi-server-ca = {w.file('management.pem')}\nfounding = {site.founding}\n"
                    f"founding-hash = {site.founding_hash}\naudit-log = {site.auditd.log}\n[daemon auditd]\nprogram = chancery-auditd\nconfig = {site.auditd.config}\n"
                    f"socket = {site.auditd.socket}\n")

    def call(self, *words):
        return subprocess.run([self.tool, "--home", self.home, *words], capture_output=True, text=True, timeout=60,
                              cwd=os.path.join(self.home, "work"))

    def good(self, *words):
        done = self.call(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def approve(self, file, person, role=AUTHORITY):
        return self.good("op", "approve", file, "--token", person.id, "--person", person.id, "--role", role)

    def work(self, name):
        return os.path.join(self.home, "work", name)


@pytest.fixture(scope="module")
def desk():
    with Site() as site:
        yield Desk(site)


def carried_out(desk, file, *words):
    desk.good("op", "propose", *words, "--by", "p0", "--out", file)
    for person in desk.site.person[:2]:
        desk.approve(file, person)
    return desk.good("op", "execute", file)


def test_a_person_is_enrolled_and_given_a_role_and_shown_by_name(desk):
    made = desk.good("person", "new", "p3", "--name", "An Peeters")
    with open(made["kept in"]) as f:
        assert f.readline() == "chancery person 1\n"
    assert os.stat(made["kept in"]).st_mode & 0o777 == 0o600
    screened, trained = (now() - datetime.timedelta(days=40)).strftime("%Y-%m-%d"), (now() - datetime.timedelta(days=350)).strftime("%Y-%m-%d")
    done = carried_out(desk, "enrol.op", "person.enrol", "--person", "p3", "--key", desk.home + "/keys/p3.pub", "--screened", screened,
                       "--trained", trained)  # the identity is of the file that is kept here
    assert done["entries"] == 1
    assert desk.site.register()["persons"][3]["identity"] == made["identity"]
    carried_out(desk, "decide.op", "decision.take", "--decision", "d1", "--title", "Who does what", "--document", desk.home + "/etc/chancery.conf")
    file = "grant.op"
    told = desk.good("op", "propose", "role.grant", "--by", "p1", "--person", "p3", "--role", "hr-manager", "--decision", "d1", "--out", file)
    assert "HR Manager" in told["asks for"] and "2 of:" in told["approved by"]
    shown = desk.good("op", "show", file)
    assert shown["approvals"] == [] and shown["seats"][0]["empty"] == 2 and shown["verdict"].startswith("not yet: role.grant needs 2")
    assert shown["text that is approved"].startswith("chancery proposal 1\noperation: role.grant\n")
    desk.approve(file, desk.site.person[0])
    with open(desk.told) as f:
        arguments = json.load(f)
    assert arguments == ["approve", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token", "p0", "--person", "p0", "--role", AUTHORITY,
                         "--operation", file]
    shown = desk.good("op", "show", file)
    assert (shown["seats"][0]["approved"], shown["seats"][0]["empty"]) == (1, 1) and shown["approvals"][0]["counts"] == "yes"
    refused = desk.call("op", "execute", file)
    assert refused.returncode == 4 and "needs 2 approvals" in refused.stderr
    desk.approve(file, desk.site.person[1])
    assert desk.good("op", "show", file)["verdict"] == "complete: chancery op execute grant.op"
    assert desk.good("op", "execute", file)["entries"] == 3
    row = next(r for r in desk.good("role", "list") if r["person"] == "p3")
    assert (row["name"], row["role"], row["state"]) == ("An Peeters", "hr-manager", "in force")
    assert [r["person"] for r in desk.good("role", "who", "hr-manager")] == ["p3"]
    os.unlink(made["kept in"])  # the name is erased; register and log stay whole
    assert desk.good("role", "who", "hr-manager")[0]["name"] == "-"
    listed = desk.good("op", "list")
    assert [r["outcome"] for r in listed] == ["register.changed"] * 2 + ["operation.refused", "register.changed"]
    assert len(desk.good("op", "list", "--refused")) == 1 and "needs 2 approvals" in desk.good("op", "list", "--refused")[0]["about"]


def test_status_tells_the_head_and_who_is_to_be_trained(desk):
    told = json.loads(desk.call("status", "--json").stdout)
    register = desk.site.register()
    assert told["register of persons"].startswith(f"{register['entries']} entries, head {register['head'][:16]}")
    assert [d for d in told["to do"] if "the roles of p3 lapse in" in d and "op propose person.training --person p3" in d]


def test_approvals_are_given_with_a_persons_token(desk, tmp_path):
    """The program itself in the place of the one above: its keys are enrolled, it shows the words, and its signature counts."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    tool = shutil.copy(desk.tool, tmp_path / "chancery")
    shutil.copy(REAL, tmp_path / "chancery-token")

    def with_pin(*words):
        read, write = os.pipe()
        os.write(write, b"correct horse\n")
        os.close(write)
        try:
            done = subprocess.run([*words, "--pin-fd", str(read)], pass_fds=(read,), capture_output=True, text=True, timeout=60,
                                  cwd=os.path.join(desk.home, "work"), env=dict(os.environ, SOFTHSM2_CONF=str(tmp_path / "softhsm2.conf")))
        finally:
            os.close(read)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr
    keys, _ = with_pin(REAL, "create", "--token", "bo", "--json")
    today = now().strftime("%Y-%m-%d")
    carried_out(desk, "bo.op", "person.enrol", "--person", "p4", "--key", keys["key"], "--share-key", keys["share-key"], "--identity", "ab" * 32,
                "--screened", today, "--trained", today)
    carried_out(desk, "bo-grant.op", "role.grant", "--person", "p4", "--role", "security-and-quality-manager", "--decision", "d1")
    desk.good("op", "propose", "role.grant", "--by", "p4", "--person", "p3", "--role", "spokesperson", "--decision", "d1", "--out", "by-bo.op")
    desk.good("op", "propose", "role.revoke", "--by", "p4", "--person", "p2", "--role", "hr-manager", "--reason", "leave", "--out", "leave.op")
    told, shown = with_pin(tool, "--home", desk.home, "op", "approve", "by-bo.op", "leave.op", "--token", "bo", "--person", "p4", "--role",
                           "security-and-quality-manager", "--json")
    assert told["approved"] == ["by-bo.op", "leave.op"] and told["counts"] == "yes"
    assert "Grant p3 the role Spokesperson, by decision d1." in shown and "hr-manager" in shown.lower().replace(" ", "-")
    assert [len(desk.good("op", "show", name)["approvals"]) for name in told["approved"]] == [1, 1]
    desk.approve("by-bo.op", desk.site.person[0])
    assert desk.good("op", "show", "by-bo.op")["verdict"].startswith("complete")
    desk.good("op", "execute", "by-bo.op")
    assert "spokesperson" in desk.site.roles(desk.site.person[3])


def test_approvals_of_several_copies_come_together(desk):
    desk.good("op", "propose", "decision.take", "--by", "p0", "--decision", "d2", "--title", "Copies", "--out", "a.op")
    shutil.copy(desk.work("a.op"), desk.work("b.op"))
    desk.approve("a.op", desk.site.person[0])
    desk.approve("b.op", desk.site.person[2])
    assert desk.good("op", "merge", "a.op", "b.op", "a.op", "--out", "c.op")["approvals"] == 2
    assert desk.good("op", "execute", "c.op")["operation"] == "decision.take"
    desk.good("op", "propose", "decision.take", "--by", "p0", "--decision", "d3", "--title", "Copies", "--out", "d.op")
    done = desk.call("op", "merge", "a.op", "d.op")
    assert done.returncode == 6 and "another proposal" in done.stderr


def test_an_approval_with_the_token_of_another_is_not_kept(desk):
    desk.good("op", "propose", "decision.take", "--by", "p0", "--decision", "d5", "--title", "Tokens", "--out", "token.op")
    assert desk.approve("token.op", desk.site.person[0])["counts"] == "yes"
    with open(desk.work("token.op")) as f:
        before = f.read()
    done = desk.call("op", "approve", "token.op", "--token", "p2", "--person", "p1", "--role", AUTHORITY)
    assert done.returncode == 12 and "token.op is as it was: the approval of p1" in done.stderr, done.stderr
    done = desk.call("op", "approve", "token.op", "--token", "p3", "--person", "p3", "--role", AUTHORITY)
    assert done.returncode == 4 and "p3 is not member of the Policy" in done.stderr
    with open(desk.work("token.op")) as f:
        assert f.read() == before


def test_approvals_that_do_not_count_are_shown_with_the_reason(desk):
    p = desk.site.person
    made = desk.site.propose("decision.take", ("decision", "d4"), ("title", "x"))
    made.approve(p[0]).approve(p[0]).approve(p[7]).approve(p[1], text=made.text.replace("x\n", "y\n")).approve(p[3], "hr-manager")
    with open(desk.work("bad.op"), "w") as f:
        f.write(made.file())
    shown = desk.good("op", "show", "bad.op")
    counts = [a["counts"] for a in shown["approvals"]]
    assert counts[0] == "yes" and [c[:3] for c in counts[1:]] == ["NO:"] * 4
    assert "same person" in counts[1] and "not on the register" in counts[2] and "no say" in counts[4]
    assert shown["seats"][0]["approved"] == 1


def test_what_the_ca_carries_out_is_proposed_approved_and_executed_as_the_rest(desk):
    p, w = desk.site.person, desk.site.world
    for person, role in ((p[10], "pki-manager"), (p[11], "security-and-quality-manager")):
        desk.site.enrol(person)
        desk.site.grant(person, role)
    alone = desk.call("crl", "issue", "--ca", "issuing", "--next-update", (now() + datetime.timedelta(days=50)).strftime("%Y-%m-%dT00:00:00Z"))
    assert alone.returncode == 4 and "chancery op propose crl.parameters" in alone.stderr, alone.stderr
    words = ("op", "propose", "crl.parameters", "--by", "p10", "--ca", "issuing", "--crl-hours", "30", "--decision", "d1", "--out", "crl.op")
    other = desk.call(*words, "--instance", "ca/other")
    assert other.returncode == 7 and "this ca is the instance ca" in other.stderr, other.stderr
    told = desk.good(*words)
    assert "Let the CRLs of the certificate authority issuing be valid for 30 hours" in told["asks for"] and told["approved by"].count("1 of:") == 2
    desk.approve("crl.op", p[10], "pki-manager")
    lacking = desk.call("op", "execute", "crl.op")
    assert lacking.returncode == 4 and "crl.parameters needs 1 approvals by security-and-quality-manager" in lacking.stderr, lacking.stderr
    desk.approve("crl.op", p[11], "security-and-quality-manager")
    assert desk.good("op", "show", "crl.op")["verdict"].startswith("complete")
    assert "30 hours" in desk.good("op", "execute", "crl.op")["words"]
    assert w.get("/v1/cas/issuing")["crl_hours"] == 30
    again = desk.call("op", "execute", "crl.op")
    assert again.returncode == 7 and "was used" in again.stderr
    assert "operation.executed" in [r["outcome"] for r in desk.good("op", "list")]
    assert desk.good("op", "table", "ca.create")["carried out by"] == "ca"


def test_the_register_as_a_file_is_what_the_ca_has(desk):
    told = desk.good("op", "register", "--out", "register")
    assert told["entries"] == desk.site.register()["entries"]
    with open(desk.work("register"), "rb") as f:
        text = f.read()
    assert text.startswith(b"chancery register 1\nentry: 1 ") and text.count(b"\nentry: ") == told["entries"] and text.count(b"chancery register") == 1
    with open(desk.home + "/etc/chancery.conf") as f:
        conf = f.read()
    listed, shown = desk.good("role", "list"), desk.good("op", "show", "bad.op")
    try:  # a machine that reaches nobody
        with open(desk.home + "/etc/chancery.conf", "w") as f:
            f.write(conf.replace("api-url = https://127.0.0.1:", "api-url = https://127.0.0.1:1#"))
        assert desk.call("role", "list").returncode != 0
        assert desk.good("role", "list", "--register", "register") == listed
        assert desk.good("op", "show", "bad.op", "--register", "register") == shown
        with open(desk.work("cut"), "wb") as f:
            f.write(text[:-100])
        done = desk.call("role", "list", "--register", "cut")
        assert done.returncode == 3 and f"entry {told['entries']} of the register" in done.stderr
    finally:
        with open(desk.home + "/etc/chancery.conf", "w") as f:
            f.write(conf)


@pytest.mark.parametrize("words,code,says", [
    (["op", "propose", "role.grnat", "--by", "p0", "--out", "x"], 5, ["did you mean role.grant?", "op table"]),
    (["op", "propose", "role.grant", "--by", "p0", "--out", "x", "--person", "p3", "--role", "hr-manager"], 3, ["--decision NAME", "op table role.grant"]),
    (["op", "propose", "role.grant", "--by", "p0", "--out", "x", "--title", "t"], 3, ["takes no --title"]),
    (["op", "propose", "person.training", "--by", "p0", "--out", "x", "--person", "p3", "--trained", "yesterday"], 3, ["2026-11-02"]),
    (["op", "propose", "decision.take", "--by", "p9", "--decision", "d", "--title", "t", "--out", "x"], 5, ["--by p9", "role list"]),
    (["op", "propose", "decision.take", "--by", "p0", "--decision", "D!", "--title", "t", "--out", "x"], 3, ["decision"]),
    (["op", "propose", "decision.take", "--by", "p0", "--decision", "d", "--title", "t", "--out", "/nowhere/x"], 14, ["nothing was done"]),
    (["op", "propose", "decision.take", "--by", "p0", "--decision", "d", "--title", "t", "--hours", "169", "--out", "x"], 3, ["--hours"]),
    (["op", "propose", "group.activate", "--by", "p0", "--group", "issuing", "--out", "x"], 3, ["--instance keyd/ca"]),
    (["op", "show", "nothing.op"], 5, ["nothing.op"]),
    (["op", "approve", "a.op", "--token", "p0", "--person", "p0", "--role", "pki-operator"], 4, ["no say", "op table decision.take"]),
    (["role", "who", "hr-manger"], 3, ["did you mean hr-manager?", "role table"]),
    (["person", "new", "P 3", "--name", "An"], 3, ["p1, p2"]),
    (["person", "new", "../p3", "--name", "An"], 3, ["p1, p2"]),
    (["person", "show", "p8"], 5, ["p8"]),
])
def test_wrong_turns_end_with_what_to_do(desk, words, code, says):
    done = desk.call(*words)
    assert done.returncode == code, (done.returncode, done.stderr)
    for text in says:
        assert text in done.stderr, done.stderr
    assert not os.path.exists(desk.work("x"))


def test_a_manual_record_is_entered_by_somebody_on_the_register(desk):
    words = ["record", "add", "physical.left", "--zone", "hsm-room", "--persons", "p0 p1", "--by"]
    done = desk.call(*words, "p99")
    assert done.returncode == 5 and "there is no p99 on the register" in done.stderr and "role list" in done.stderr
    assert desk.good(*words, "p0")["on record"] == "physical.left"


def test_another_founding_document_is_not_taken(desk):
    with open(desk.site.founding) as f:
        kept = f.read()
    with open(desk.site.founding, "w") as f:
        f.write(kept.replace("TEST Trust", "Best Trust"))
    try:
        done = desk.call("role", "list")
        assert done.returncode == 12 and "founding-hash" in done.stderr
    finally:
        with open(desk.site.founding, "w") as f:
            f.write(kept)


def test_an_auditor_judges_every_operation_again_with_log_and_founding_document_alone(desk):
    site = desk.site
    site.auditd.settled()

    def judged():
        done = subprocess.run([desk.tool, "op", "verify", "--json", "--log", site.auditd.log, "--founding", site.founding], capture_output=True,
                              text=True, env={}, timeout=60)
        return done.returncode, json.loads(done.stdout)

    def with_the_log(*options):
        """The same by `audit verify`, in one pass with the log itself; a checkpoint that was kept lets it be sound."""
        assert site.auditd.settled()
        kept = shutil.copy(os.path.join(site.auditd.log, "checkpoint"), desk.work("kept"))
        return site.auditd.verify("--anchor", kept, *options)
    code, report = with_the_log("--founding", site.founding)
    assert (code, report["verdict"]) == (0, "sound"), report
    assert report["operations carried out"] == len(site.records("operation.executed"))
    assert any(site.founding_hash in said and "had the approvals" in said for said in report["checked"])
    code, report = with_the_log()
    assert code == 0 and any("critical operations" in said and "--founding" in said for said in report["not checked"])
    code, report = judged()
    register = site.register()
    assert (code, report["verdict"]) == (0, "every operation had its quorum"), report
    assert (report["entries of the register"], report["head"]) == (register["entries"], register["head"])
    assert report["carried out by keyds and cas"] == len(site.records("operation.executed"))
    assert report["refused"] == len(site.records("operation.refused")) > 0
    # What a keyd of the other name, or nobody, would have had to refuse; and what a forger puts there.
    made = site.propose("group.deactivate", ("group", "issuing"), ("reason", "x"), instance="keyd/ca").approve(site.person[0], "pki-operator")
    alone = site.propose("decision.take", ("decision", "d-alone"), ("title", "x")).approve(site.person[0])
    index = [append(site, "operation.executed", made, instance="keyd/ca", sequence=1, signatures=1),
             append(site, "register.changed", alone, entry=register["entries"] + 1, head="00" * 32, actor="x")]
    good = site.propose("decision.take", ("decision", "d-good"), ("title", "x")).approve(site.person[0]).approve(site.person[1])
    index.append(append(site, "register.changed", good, entry=99, head="00" * 32, actor="x"))
    code, report = judged()
    assert code == 1 and report["verdict"].startswith("NOT SOUND")
    assert [f["record"] for f in report["findings"]] == index
    said = [f["finding"] for f in report["findings"]]
    assert "keyd/ca is not on the register" in said[0] and "needs 2 approvals" in said[1] and "entry 99" in said[2]
    assert report["entries of the register"] == register["entries"] + 1 == site.register()["entries"]
    findings = report["findings"]
    code, report = with_the_log("--founding", site.founding)
    assert code == 1 and report["verdict"].startswith("NOT SOUND: an operation") and report["findings"] == findings
    assert (report["first bad record"], report["problem"]) == (index[0], said[0])
    assert not any("had the approvals" in text for text in report["checked"])
    assert with_the_log()[0] == 0, "the log by itself is as its writers left it"
