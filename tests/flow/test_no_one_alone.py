"""A provider whose CA keys nobody can use alone, with the programs that people use and tokens of their own: from the founding document to a
key of a CA that signs, and is locked again. Nothing here stands in for anything: chancery, chancery-token, ca, keyd and auditd."""
import datetime
import json
import os
import shutil
import subprocess

import audit_world
import keyd_client as kc
import keyd_contents as kd
import pytest
from ca_world import World as Ca

AUTHORITY = "authority-member"
STAFF = {"an": "pki-administrator", "bo": "pki-operator", "cleo": "security-and-quality-manager", "dirk": "key-custodian", "els": "key-custodian",
         "fons": "key-custodian"}
FOUNDERS = ["greet", "hugo", "ine"]


class Desk:
    """Where people sit: one home directory, a token for each."""

    def __init__(self, directory):
        self.home = directory
        for part in ("etc", "bin", "work", "tokens"):
            os.makedirs(os.path.join(self.home, part))
        for program in ("chancery", "chancery-token"):
            shutil.copy(os.path.join(kc.BUILD, "src", program), os.path.join(self.home, "bin"))
        softhsm = self.file("softhsm2.conf", f"directories.tokendir = {self.home}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.environment = dict(os.environ, SOFTHSM2_CONF=softhsm, LSAN_OPTIONS="detect_leaks=0")
        self.keys = {name: self.token("create", name) for name in (*FOUNDERS, *STAFF)}

    def file(self, name, text):
        path = os.path.join(self.home, "work", name)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name):
        with open(os.path.join(self.home, "work", name), encoding="utf-8") as f:
            return f.read()

    def run(self, program, words, who=None):
        """`who` types a PIN."""
        read, write = os.pipe()
        os.write(write, b"pin of a person\n")
        os.close(write)
        pin = ["--token", who, "--pin-fd", str(read)] if who else []
        done = subprocess.run([os.path.join(self.home, "bin", program), *map(str, words), *pin], env=self.environment, pass_fds=(read,),
                              capture_output=True, text=True, timeout=60, cwd=os.path.join(self.home, "work"), check=False)
        os.close(read)
        return done

    def token(self, command, who, *words):
        done = self.run("chancery-token", [command, "--json", "--module", kc.softhsm(), *words], who)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def call(self, *words, who=None):
        return self.run("chancery", ["--home", self.home, *words], who)

    def good(self, *words, who=None):
        done = self.call(*words, "--json", who=who)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout)

    def approve(self, file, who, role):
        return self.good("op", "approve", file, "--person", who, "--role", role, "--module", kc.softhsm(), who=who)

    def propose(self, file, operation, *words):
        return self.good("op", "propose", operation, *words, "--by", "greet", "--out", file)

    def carried_out(self, operation, *words, by=(("greet", AUTHORITY), ("hugo", AUTHORITY))):
        self.propose("now.op", operation, *words)
        for who, role in by:
            self.approve("now.op", who, role)
        return self.good("op", "execute", "now.op")


class Provider:
    def __init__(self, directory):
        self.desk = Desk(directory)
        self.audit = audit_world.World()
        self.ca = None
        self.keyd = kc.Keyd(zone="vault", audit=f"audit-socket = {self.audit.socket}", extra="token = identity")
        self.audit.start_keyd()
        assert self.audit.start(), self.audit.stderr()
        self.keyd.start()
        self.keyd.token("identity")
        client = self.keyd.client()
        self.identity = client.generate("identity", purposes=kc.IDENTITY)["spki"]
        client.close()

    def found(self):
        """The founders sign with their tokens; the hash goes into each configuration."""
        desk = self.desk
        conf = os.path.join(desk.home, "etc", "chancery.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write("name = No One Alone (TEST)\n")
        files = ["--instance", f"keyd/vault={desk.file('identity', self.identity)}"]
        for name in FOUNDERS:
            desk.good("person", "new", name, "--name", name.title())
            keys = desk.file(name + ".keys", "".join(f"{what}: {desk.keys[name][what]}\n" for what in ("key", "share-key")))
            files += ["--founder", f"{name}={keys}"]
        made = desk.good("founding", "text", *files, "--out", "founding.text")
        assert made["founders"] == 3 and desk.read("founding.text").startswith("chancery founding 1\nprovider: No One Alone (TEST)\n")
        signed = []
        for name in FOUNDERS:
            line = desk.token("found", name, "--text", "founding.text", "--person", name)["signature"]
            signed += ["--signature", desk.file(name + ".signature", f"signature: {line}\n")]
        missing = desk.call("founding", "complete", "founding.text", *signed[:4], "--out", "founding")
        assert missing.returncode == 4 and "the signature of ine is not among them" in missing.stderr
        self.hash = desk.good("founding", "complete", "founding.text", *signed, "--out", "founding")["founding-hash"]
        self.founding = os.path.join(desk.home, "work", "founding")
        assert self.hash == subprocess.run(["sha256sum", self.founding], capture_output=True, text=True, check=True).stdout.split()[0]
        pinned = f"founding = {self.founding}\nfounding-hash = {self.hash}\n"
        self.ca = Ca(audit=f"audit-socket = {self.audit.socket}")
        self.ca.start().found_cas().enable_tls(pinned)
        assert self.keyd.stop() == 0
        with open(self.keyd.config, "a", encoding="utf-8") as f:
            f.write(pinned)
        self.keyd.start()
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f"name = TEST\nmodule = {kc.softhsm()}\napi-url = https://127.0.0.1:{self.ca.port}\napi-certificate = {self.ca.file('operator.pem')}\n"
                    f"api-key = {self.ca.file('operator.key')}\napi-server-ca = {self.ca.file('management.pem')}\n{pinned}"
                    f"[daemon auditd]\nprogram = chancery-auditd\nconfig = {self.audit.config}\nsocket = {self.audit.socket}\n"
                    f"[daemon keyd-vault]\nprogram = chancery-keyd\nconfig = {self.keyd.config}\nzone = vault\nsocket = {self.keyd.socket_path}\n")

    def staff(self):
        desk = self.desk
        today = datetime.date.today()
        desk.carried_out("decision.take", "--decision", "d1", "--title", "Founding")
        for name, role in STAFF.items():
            desk.file(name + ".keys", "".join(f"{what}: {desk.keys[name][what]}\n" for what in ("key", "key-sha256", "share-key", "share-key-sha256")))
            desk.carried_out("person.enrol", "--person", name, "--key", name + ".keys", "--share-key", name + ".keys", "--identity",
                             "00" * 32, "--screened", today - datetime.timedelta(days=30), "--trained", today - datetime.timedelta(days=3))
            desk.carried_out("role.grant", "--person", name, "--role", role, "--decision", "d1")

    def ready(self):
        client = self.keyd.client()
        try:
            return client.status()["tokens"]["issuing"][0]
        finally:
            client.close()

    def activate(self, custodians=("dirk", "els")):
        desk = self.desk
        desk.propose("activate.op", "group.activate", "--instance", "keyd/vault", "--group", "issuing")
        desk.approve("activate.op", "an", "pki-administrator")
        refused = desk.call("op", "open", "activate.op")
        assert refused.returncode == 4 and "needs 2 approvals" in refused.stderr
        desk.approve("activate.op", "bo", "pki-operator")
        assert desk.good("op", "show", "activate.op")["verdict"].startswith("ready to be opened: chancery op open activate.op")
        opened = desk.good("op", "open", "activate.op")
        desk.good("op", "register", "--out", "register")
        files = []
        for who in custodians:
            assert f"activate.op.{who}.share" in opened["shares"]
            desk.token("share", who, "--operation", "activate.op", "--statement", opened["statement"], "--share", f"activate.op.{who}.share",
                       "--founding", self.founding, "--register", "register", "--person", who, "--out", f"{who}.opened")
            files += ["--share", f"{who}.opened"]
        alone = desk.call("op", "execute", "activate.op", *files[:2])
        assert alone.returncode == 4 and not self.ready()
        done = desk.good("op", "execute", "activate.op", *files)
        assert done["done"].startswith("Activate the key group issuing") and self.ready()

    def duties(self):
        return json.loads(self.desk.call("status", "--json").stdout).get("to do", [])

    def remove(self):
        if self.ca:
            self.ca.remove()
        self.keyd.remove()
        self.audit.remove()


@pytest.fixture
def provider(tmp_path):
    p = Provider(str(tmp_path / "home"))
    yield p
    p.remove()


def test_from_the_founding_document_to_a_key_that_signs_and_is_locked_again(provider):
    desk, keepers = provider.desk, (("an", "pki-administrator"), ("cleo", "security-and-quality-manager"))
    provider.found()
    provider.staff()
    desk.carried_out("group.create", "--instance", "keyd/vault", "--group", "issuing", "--threshold", 2, "--custodian", "dirk", "--custodian", "els",
                     "--custodian", "fons", "--decision", "d1", by=keepers)
    assert not provider.ready()
    locked = [duty for duty in provider.duties() if duty.startswith("key group issuing of zone vault is locked: ")]
    assert len(locked) == 1 and "pki-operator propose and open group.activate, the key custodians bring their shares" in locked[0]
    provider.activate()
    assert not [duty for duty in provider.duties() if "key group" in duty]
    spec = ("--type", "ec-p256", "--purpose", "certificate", "--purpose", "request", "--backup", "none", "--decision", "d1")
    desk.carried_out("key.generate", "--instance", "keyd/vault", "--group", "issuing", "--key", "issuing", *spec, by=keepers)
    client = provider.keyd.client()
    assert client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())
    client.close()
    # a mistyped name is found before anybody approves
    mistyped = {("group.activate", "--group", "isuing"): (5, "keyd/vault has no key group isuing (did you mean issuing?)"),
                ("key.suspend", "--key", "issung", "--reason", "x"): (5, "keyd/vault has no key issung (did you mean issuing?)"),
                ("key.generate", "--group", "isssuing", "--key", "next", *spec): (5, "no key group isssuing (did you mean issuing?)"),
                ("key.generate", "--group", "issuing", "--key", "issuing", *spec): (6, "keyd/vault has a key issuing already"),
                ("group.deactivate", "--group", "elsewhere", "--reason", "x"): (5, "no key group elsewhere; `chancery key list`"),
                ("group.create", "--group", "issuing", "--threshold", 2, "--custodian", "els", "--custodian", "fons", "--decision", "d1"):
                (6, "has a key group issuing already")}
    for words, (code, says) in mistyped.items():
        told = desk.call("op", "propose", *words, "--instance", "keyd/vault", "--by", "greet", "--out", "mistyped.op")
        assert told.returncode == code and says in told.stderr, (words, told.stderr)
        assert not os.path.exists(os.path.join(desk.home, "work", "mistyped.op"))
    # a custodian leaves: the status says so, and three exchange the custodians while the group signs
    desk.carried_out("role.revoke", "--person", "dirk", "--role", "key-custodian", "--reason", "another post")
    desk.propose("unused.op", "group.activate", "--instance", "keyd/vault", "--group", "issuing")  # keyd has read the register
    spared, = [duty for duty in provider.duties() if "key group" in duty]
    assert spared.startswith("key group issuing of zone vault: of its 3 custodians 2 can still give a share and 2 are needed"), spared
    assert spared.endswith(": dirk")
    exchange = ("--instance", "keyd/vault", "--group", "issuing", "--threshold", 2, "--custodian", "els", "--custodian", "fons", "--reason", "dirk left",
                "--decision", "d1")
    desk.carried_out("group.reshare", *exchange, by=(*keepers, ("hugo", AUTHORITY)))
    assert not [duty for duty in provider.duties() if "key group" in duty]
    desk.carried_out("group.deactivate", "--instance", "keyd/vault", "--group", "issuing", "--reason", "closing time",
                     by=(("an", "pki-administrator"), ("bo", "pki-operator")))
    assert not provider.ready()
    assert [duty.split(":")[0] for duty in provider.duties() if "issuing" in duty] == ["key group issuing of zone vault is locked"]  # and no PIN is asked for
    provider.activate(custodians=("els", "fons"))
    assert provider.keyd.stop() == 0
    provider.keyd.start()
    assert not provider.ready()  # after a restart it is locked
    done = [o["operation"] for o in desk.good("op", "list") if o["outcome"] in ("register.changed", "operation.executed")]
    assert [done.count(name) for name in ("person.enrol", "role.grant", "group.create", "group.reshare", "group.activate", "key.generate", "group.deactivate")] == [6, 6, 1, 1, 2, 1, 1]
    refused = desk.good("op", "list", "--refused")
    assert len(refused) == 4 and all("needs 2 approvals" in o["about"] for o in refused)


def test_wrong_turns_of_a_founding_end_with_what_to_do(provider):
    desk = provider.desk
    with open(os.path.join(desk.home, "etc", "chancery.conf"), "w", encoding="utf-8") as f:
        f.write("name = TEST\n")
    for name in FOUNDERS[:2]:
        desk.good("person", "new", name, "--name", name.title())
        desk.file(name + ".keys", "".join(f"{what}: {desk.keys[name][what]}\n" for what in ("key", "share-key")))
    for founders, code, says in ((["greet=greet.keys"], 3, "two at least"), (["greet.keys"], 3, "write NAME=FILE"),
                                 (["greet=greet.keys", "hugo=greet.keys"], 6, "greet and hugo have the same key"),
                                 (["greet=greet.keys", "ine=hugo.keys"], 5, "chancery person new ine --name NAME comes first"),
                                 (["greet=../etc/chancery.conf", "hugo=hugo.keys"], 3, "what chancery-token create printed")):
        told = desk.call("founding", "text", *[word for founder in founders for word in ("--founder", founder)], "--out", "founding.text")
        assert told.returncode == code and says in told.stderr, told.stderr
    assert not os.path.exists(os.path.join(desk.home, "work", "founding.text"))
    desk.good("founding", "text", "--founder", "greet=greet.keys", "--founder", "hugo=hugo.keys", "--out", "founding.text")
    line = desk.token("found", "greet", "--text", "founding.text", "--person", "greet")["signature"]
    desk.file("greet.signature", f"signature: {line}\n")
    desk.file("hugo.signature", f"signature: {line.replace('greet', 'hugo')}\n")
    told = desk.call("founding", "complete", "founding.text", "--signature", "greet.signature", "--signature", "hugo.signature", "--out", "founding")
    assert told.returncode == 12 and "founder hugo" in told.stderr
