"""A site whose auditd removes what two persons let go, with a log of which some records are old; and what somebody with the files can do."""
import contextlib
import json
import pathlib
import shutil
import subprocess

import audit_world as aw
import copy_world as cw
import keyd_client as kc
from control_people import AUTHORITY
from register_world import Site
from test_audit import append, record

AUDITOR, OPERATOR = "system-auditor", "pki-operator"
OLD = "2020-01-01T00:00:00.000000Z"


def put_old(site, count, event="service.stopped", fields='"reason":"asked to"', at=OLD):
    """Records of years ago, as a journal brings them."""
    client = kc.Client(site.auditd.socket)
    records = [record(event, fields) for _ in range(count)]
    append(client, *((identity, text.replace(b"2026-01-02T03:04:05.000006Z", at.encode())) for identity, text in records), kind=4)
    client.close()


def copy_of(log, to):
    """Of a log that is being written, at a moment: taken again when anything came, went or was signed meanwhile."""
    def state():
        return sorted(path for path in pathlib.Path(log).rglob("*") if path.suffix != ".new"), pathlib.Path(log, "checkpoint").read_bytes()

    def taken():
        shutil.rmtree(to, ignore_errors=True)
        with contextlib.suppress(OSError, shutil.Error):
            before = state()
            shutil.copytree(log, to, ignore=shutil.ignore_patterns("*.new"))
            return state() == before
        return False
    assert kc.wait_for(taken, 60), f"{log} never stood still"


def named(text):
    """What an operation names: 98,100-02,71 are 98, 100, 101, 102 and 171."""
    out, last = [], ""
    for part in text.split(","):
        ends = []
        for number in part.split("-"):
            last = last[:max(0, len(last) - len(number))] + number if len(number) < len(last) else number
            ends.append(int(last))
        out += range(ends[0], ends[-1] + 1)
    return out


def numbered(indices):
    """The other way round."""
    out, last = "", ""

    def short(number):
        nonlocal last
        text, before, last = str(number), last, str(number)
        if len(text) != len(before):
            return text
        same = next((i for i, (x, y) in enumerate(zip(text, before)) if x != y), len(text))
        return text[min(same, len(text) - 2):] if len(text) > 2 else text
    for start in (i for i in indices if i - 1 not in indices):
        end = next(i for i in range(start, start + len(indices)) if i + 1 not in indices)
        out += ("," if out else "") + short(start) + ("-" + short(end) if end != start else "")
    assert named(out) == list(indices)
    return out


class Purging(Site):
    """A site whose auditd knows the founding document, with an auditor, and a log some bundles long of which some records are old."""

    def __init__(self, extra="", **more):
        super().__init__(**more)
        self.auditd_extra = extra

    def __enter__(self):
        super().__enter__()
        try:
            assert self.auditd.stop() == 0
            with open(self.auditd.config, "a", encoding="utf-8") as f:
                f.write(f"founding = {self.founding}\nfounding-hash = {self.founding_hash}\n{self.auditd_extra}")
            assert self.auditd.start(), self.auditd.stderr()
            for person, role in ((self.person[3], AUDITOR), (self.person[4], OPERATOR)):
                self.enrol(person)
            self.decide()
            self.grant(self.person[3], AUDITOR)
            self.grant(self.person[4], OPERATOR)
            self.old = []
            for _ in range(3):
                first = self.auditd.status()["size"]
                put_old(self, 4)
                self.old += range(first, first + 4)
                self.auditd.load(1, 300)  # they lie in three bundles
            self.auditd.load(1, 400)
            assert self.auditd.settled()
            return self
        except BaseException:
            self.__exit__()
            raise

    def tool(self, *arguments, log=None, founding=True):
        key = pathlib.Path(self.auditd.directory, "log.vkey")
        key.write_text(cw.verifier_key(aw.ORIGIN, 1, self.auditd.spki) + "\n")
        command = [self.auditd.build + "/src/chancery", "--json", "audit", *arguments, "--log", str(log or self.auditd.log), "--key", str(key)]
        done = subprocess.run(command + (["--founding", str(self.founding)] if founding else []), capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr

    def plan(self, *more):
        code, plan = self.tool("purge", *more)
        assert code == 0, plan
        return plan

    def has_signed_root(self, *more):
        """The root that the tool takes from the checkpoint is the one by an outsider's arithmetic over the hashes of the tiles."""
        def same():
            plan = self.plan(*more)
            size = plan["size"]
            with contextlib.suppress(OSError):  # its partial tile went while a wider one came
                hashes = b"".join(aw.read_tile(self.auditd.log, 0, n, min(256, size - 256 * n)) for n in range((size + 255) // 256))
                return plan["root"] == aw.root_of([hashes[i:i + 32] for i in range(0, 32 * size, 32)]).hex()
            return False
        return kc.wait_for(same, 20)

    def purge(self, plan, approvers=None, **changes):
        """The first operation of the plan."""
        part = plan["operations"][0]
        kept = [("kept-until", plan["kept until"])] if "kept until" in plan else []
        kept += [("stamps-kept", changes.pop("stamps_kept"))] if "stamps_kept" in changes else []
        values = [("log", plan["log"]), ("size", plan["size"]), ("root", plan["root"]), ("records", part["records"]), ("count", part["count"]), *kept,
                  ("reason", "their time is over"), ("decision", "d1")]
        values = [(name, changes.get(name.replace("-", "_"), value)) for name, value in values]
        operation = self.propose("log.purge", *values)
        for person, role in approvers or ((self.person[3], AUDITOR), (self.person[0], AUTHORITY)):
            operation.approve(person, role)
        self.execute(operation)
        return operation

    def empty(self, log=None):
        size = int(cw.note_of(log or self.auditd.log).splitlines()[1])
        return [index for index, entry in enumerate(aw.entries(log or self.auditd.log, size - size % 256)) if entry == b""]

    def events(self, event):
        assert self.auditd.settled()
        size = self.auditd.status()["signed"]
        envelopes = [json.loads(entry) for entry in aw.entries(self.auditd.log, size) if entry]
        return [e for e in envelopes if e["record"]["event"] == event]


def empty_entry(log, index):
    """As whoever can write the files does it."""
    path = pathlib.Path(aw.tile_path(log, "entries", index // 256, 256))
    bundle, out = path.read_bytes(), b""
    for number in range(256):
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2:2 + length], bundle[2 + length:]
        out += b"\0\0" if number == index % 256 else length.to_bytes(2, "big") + entry
    path.write_bytes(out)


__all__ = ["AUDITOR", "OPERATOR", "OLD", "Purging", "copy_of", "empty_entry", "named", "numbered", "put_old"]
