"""The people of a founding, as they are: each with a token of their own in a directory of their own, doing their part with chancery-token."""
import os
import pathlib
import re
import shutil
import subprocess
import threading

from installation import BUILD, SOFTHSM, within

PROGRAM = BUILD / "src" / "chancery-token"
STAFF = {"p1": "authority-member", "p2": "authority-member", "p3": "authority-member", "p4": "pki-administrator", "p5": "pki-operator",
         "p6": "security-and-quality-manager", "p7": "key-custodian", "p8": "key-custodian", "p9": "key-custodian"}


class Person:
    def __init__(self, directory, name):
        self.name, self.role, self.directory, self.pin = name, STAFF[name], pathlib.Path(directory) / name, f"pin of {name} alone"
        (self.directory / "tokens").mkdir(parents=True)
        (self.directory / "softhsm2.conf").write_text(f"directories.tokendir = {self.directory}/tokens\nobjectstore.backend = file\n"
                                                      "log.level = ERROR\n")
        self.keys = self.directory / f"{name}.keys"
        self.keys.write_text(self.do("create"))

    def do(self, command, *words):
        read, write = os.pipe()
        os.write(write, f"{self.pin}\n".encode())
        os.close(write)
        try:
            done = subprocess.run([PROGRAM, command, "--module", SOFTHSM, "--token", self.name, "--pin-fd", str(read), *map(str, words)],
                                  pass_fds=(read,), capture_output=True, text=True, timeout=60,
                                  env=dict(os.environ, SOFTHSM2_CONF=str(self.directory / "softhsm2.conf")))
        finally:
            os.close(read)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sign_founding(self, text):
        return self.do("found", "--text", text, "--person", self.name)

    def approve(self, files, role=None):
        """Copies of these operations with this person's approval."""
        copies = []
        for file in files:
            copies.append(self.directory / pathlib.Path(file).name)
            shutil.copy(file, copies[-1])
        self.do("approve", "--person", self.name, "--role", role or self.role, *[w for copy in copies for w in ("--operation", copy)])
        return copies

    def share(self, operation, home):
        out = self.directory / f"{operation.name}.opened"
        out.unlink(missing_ok=True)
        self.do("share", "--person", self.name, "--operation", operation, "--statement", f"{operation}.statement", "--share",
                f"{operation}.{self.name}.share", "--founding", home / "founding", "--register", home / "state" / "register", "--out", out)
        return out


class People:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.person = {name: Person(directory, name) for name in STAFF}
        self.file = self.directory / "people.conf"
        self.write()

    def write(self, change=lambda text: text):
        today = subprocess.run(["date", "+%Y-%m-%d"], capture_output=True, text=True, check=True).stdout.strip()
        text = "quorum = 2\nthreshold = 2\n"
        for p in self.person.values():
            text += f"\n[person {p.name}]\nname = Person {p.name.upper()}\nrole = {p.role}\nkeys = {p.keys}\n"
            text += "" if p.role == "authority-member" else f"screened = {today}\ntrained = {today}\n"
        self.file.write_text(change(text))


def put(home, files, prefix=""):
    """As a person puts a file there from a stick: perhaps not at one stroke."""
    for file in files:
        name = home / "ceremony" / "in" / (prefix + pathlib.Path(file).name)
        name.parent.mkdir(exist_ok=True)
        shutil.copy(file, name)


def waiting(home):
    return sorted((home / "ceremony").glob("*.op"))


class Hands(threading.Thread):
    """Everybody does what is asked for, until all is done or stop() is called."""

    def __init__(self, people, home, only=lambda operation: True):
        super().__init__(daemon=True)
        self.people, self.home, self.only, self.ended, self.problem = people, home, only, threading.Event(), None
        self.seen = set(waiting(home))  # what an interrupted founding left: it withdraws that before it goes on
        self.start()

    def stop(self):
        self.ended.set()
        self.join()
        if self.problem is not None:
            raise self.problem

    def run(self):
        try:
            while not self.ended.wait(0.1):
                self.sign()
                self.approve()
                self.share()
        except Exception as problem:  # told by stop()
            self.problem = problem

    def sign(self):
        text = self.home / "ceremony" / "founding.text"
        if not text.exists() or (self.home / "founding").exists() or "founding" in self.seen:
            return
        self.seen.add("founding")
        for name in ("p1", "p2", "p3"):
            signature = self.people.person[name].directory / f"{name}.signature"
            signature.write_text(self.people.person[name].sign_founding(text))
            put(self.home, [signature])

    def approve(self):
        fresh = [o for o in waiting(self.home) if o not in self.seen and self.only(o)]
        if not fresh:
            return
        self.ended.wait(0.5)  # until all of the round are there
        fresh = [o for o in waiting(self.home) if o not in self.seen and self.only(o)]
        self.seen.update(fresh)
        for name in sorted({name for o in fresh for name in approvers(o)}):
            put(self.home, self.people.person[name].approve([o for o in fresh if name in approvers(o)]), f"{name}-")

    def share(self):
        for statement in sorted((self.home / "ceremony").glob("*.op.statement")):
            operation = statement.with_suffix("")
            if (statement, statement.stat().st_mtime_ns) in self.seen:
                continue
            self.seen.add((statement, statement.stat().st_mtime_ns))
            within(10, lambda o=operation: len(list(o.parent.glob(f"{o.name}.p*.share"))) == 3)
            for name in ("p9", "p7"):
                put(self.home, [self.people.person[name].share(operation, self.home)], f"{name}-")


def approvers(operation):
    kind = re.match(r"\d+-([a-z]+\.[a-z]+)-", operation.name).group(1)
    if kind in ("decision.take", "person.enrol", "role.grant", "management.certificate"):
        return ("p1", "p3")
    return ("p4", "p5") if kind == "group.activate" else ("p4", "p6")
