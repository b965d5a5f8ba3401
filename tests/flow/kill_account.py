"""What pkcs11-spy saw against what the log says, call by call, with the deaths between. Nothing here is a daemon's own word:
calls come from the module's side, deaths from the supervisor's log, leaves from the tiles, trees by RFC 6962."""
import base64
import collections
import datetime
import hashlib
import json
import re

import audit_world

Call = collections.namedtuple("Call", "time data")  # data: what went into C_Sign; either is None when its print was torn
Life = collections.namedtuple("Life", "start calls")
Death = collections.namedtuple("Death", "time name")
WINDOW = 2.0  # seconds of live OCSP answers that may be lost with a keyd (UNRECORDED_MAX)
SLACK = 0.5   # between a death and the supervisor's line about it, on a machine that is busy
STAMP = r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+)"


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


# ---- the module's side ----

def dump(lines):
    """The octets of pData: lines of sixteen, with other threads' lines perhaps between. None when some are missing."""
    length, out = None, b""
    for line in lines:
        if length is None:
            head = re.match(r"\[in\] pData\[ulDataLen\] [0-9a-f]+ / (\d+)$", line)
            length = int(head.group(1)) if head else None
        else:
            row = re.match(r"    ([0-9A-F]{8})  ((?:[0-9A-F]{2} ){1,16})", line)
            if row and int(row.group(1), 16) == len(out):
                out += bytes.fromhex(row.group(2))
            if len(out) >= length:
                return out if len(out) == length else None
    return None


def lives(text):
    """The lives of one keyd, each with its calls of C_Sign in order. pkcs11-spy writes a call in many small prints: a kill, or
    another thread, may tear one apart."""
    out = []
    for part in text.split("PKCS#11 spy ****")[1:]:
        times = [moment(f"{day}T{clock}") for day, clock in re.findall(r"^" + STAMP + "$", part, re.M)]
        if not times:
            continue
        calls = []
        for call in re.split(r"\n\d+: C_Sign\n", part)[1:]:
            stamp = re.match(STAMP, call)
            calls.append(Call(moment("T".join(stamp.groups())) if stamp else None, dump(call.split("\n")[:40])))
        out.append(Life(times[0], calls))
    return out


def deaths(supervisor):
    return [Death(moment(time), name) for time, name in
            re.findall(r"^(\S+) supervisor warning: (\S+) ended with signal 9", supervisor, re.M)]


# ---- the log's side ----

class Log:
    def __init__(self, directory):
        with open(directory / "checkpoint") as f:
            _, size, root = f.read().split("\n")[:3]
        self.leaves = audit_world.entries(directory, int(size))
        self.levels = [[audit_world.leaf_hash(leaf) for leaf in self.leaves]]  # roots of the complete subtrees of 1, 2, 4... leaves
        while len(self.levels[-1]) > 1:
            below = self.levels[-1]
            self.levels.append([audit_world.node(*below[i:i + 2]) for i in range(0, len(below) - 1, 2)])
        assert self.root(int(size)) == base64.b64decode(root), "the published checkpoint is not that of the leaves"
        self.size = int(size)
        envelopes = [json.loads(leaf) for leaf in self.leaves]
        self.records = [dict(e["record"], at=moment(e["at"]), index=e["seq"], by=e["by"]) for e in envelopes]
        self.begun = next(r["index"] for r in self.records if r["event"] == "service.started" and r["by"] != "founding")

    def root(self, size):
        """RFC 6962, section 2.1: the complete subtrees that the leaves are cut into, joined from the right."""
        out = None
        for k in (k for k in range(size.bit_length()) if size >> k & 1):
            left = self.levels[k][(size >> k) - 1]
            out = left if out is None else audit_world.node(left, out)
        return out

    def of(self, *events, zone=None):
        """Since the daemons first started: the founding was without the spy."""
        return [r for r in self.records[self.begun:] if r["event"] in events and zone in (None, r.get("zone"))]


# ---- zones with a record for each signature ----

SIGNED_ONE_BY_ONE = ("sign.certificate", "sign.crl", "sign.time_stamp", "sign.request")


def mixtures(calls, recorded):
    """Prints of two calls in one: each line of sixteen octets is that of a record, the whole is none. No other octets come about that way."""
    known = {digest[at:at + 32] + str(at) for digest in recorded for at in range(0, len(digest), 32)}
    return {number for number, call in enumerate(calls) if call.data is not None and call.data.hex() not in recorded and
            all(call.data.hex()[at:at + 32] + str(at) in known for at in range(0, 2 * len(call.data), 32))}


def account_of_records(log, zone, calls, before, died):
    """Every call has its own intent on record, at least the first `before`, which were made before the log was read; every
    intent without its call has a death of its own, of the keyd that was about to make it or of the auditd whose word it waited
    for. Returns the intents without a call."""
    waiting = collections.defaultdict(list)
    for intent in log.of(*SIGNED_ONE_BY_ONE, zone=zone):
        waiting[intent["digest"]].append(intent)
    mixed = mixtures(calls, waiting)
    torn = sum(call.data is None for call in calls) + len(mixed)
    for number, call in enumerate(calls):
        if number in mixed or call.data is None or (number >= before and not waiting[call.data.hex()]):
            continue
        assert waiting[call.data.hex()], f"zone {zone}: signed at {call.time} and not on record: {call.data.hex()}"
        intent = waiting[call.data.hex()].pop(0)
        assert call.time is None or intent["at"] <= call.time + 0.002, f"zone {zone}: signed before it was on record: {intent}"
    unsigned = sorted((i for left in waiting.values() for i in left), key=lambda i: i["index"])
    explained = set()
    unexplained = []
    for intent in unsigned:
        death = next(((intent["event"], d) for d in died if d.name in (f"keyd-{zone}", "auditd") and
                      intent["at"] - 0.01 <= d.time <= intent["at"] + 10 and (intent["event"], d) not in explained), None)
        if death:
            explained.add(death)
        else:
            unexplained.append(intent)
    assert len(unexplained) <= torn, f"zone {zone}: on record and not signed, and nobody died: {unexplained} ({torn} prints torn)"
    return unsigned


# ---- live OCSP: counted and chained ----

def chain_on(chain, digest):
    return hashlib.sha256(chain + digest).digest()


class Counted:
    """Replays the calls of a status zone against its records: each is counted by one, offered for one that was never
    acknowledged and so named by the gap after it, or lost with the process."""

    def __init__(self, log, zone, of_zone, died):
        self.records = log.of("ocsp.signed", "ocsp.gap", zone=zone)
        self.lives = of_zone
        self.died = [d.time for d in died if d.name == f"keyd-{zone}"]
        self.life = self.at = 0
        self.total, self.chain = 0, bytes(32)
        self.recorded = self.offered = self.lost = self.gaps = 0

    def take(self, count):
        """The next calls, from this life: what is on record was signed, but for the one a kill may have come before."""
        while self.at == len(self.lives[self.life].calls) and self.life + 1 < len(self.lives):
            self.life, self.at = self.life + 1, 0
        calls = self.lives[self.life].calls[self.at:self.at + count]
        self.at += len(calls)
        return calls

    def chained(self, calls, expected):
        """Nothing to compare where a print was torn."""
        if any(c.data is None for c in calls):
            return True
        chain = self.chain
        for call in calls:
            chain = chain_on(chain, call.data)
        return chain == expected

    def signed(self, record):
        calls = self.take(record["count"])
        assert record["total"] == self.total + record["count"], f"{record} after a total of {self.total}"
        chain = bytes.fromhex(record["chain"])
        killed_between = len(calls) == record["count"] - 1 and self.life + 1 < len(self.lives)
        assert len(calls) == record["count"] or killed_between, f"{record}: {len(calls)} calls"
        assert killed_between or self.chained(calls, chain), f"{record} does not chain {calls}"
        self.total, self.chain = record["total"], chain
        self.recorded += record["count"]

    def gap(self, record):
        """The lives before the one that records the gap are over; what they signed and did not record is the gap."""
        now = max(i for i, life in enumerate(self.lives) if life.start <= moment(record["time"]))
        left = self.lives[self.life].calls[self.at:] + [c for life in self.lives[self.life + 1:now] for c in life.calls]
        offered = record["last_total"] - self.total
        assert 0 <= offered <= len(left) + 1, f"{record} after a total of {self.total}, with {len(left)} calls in between"
        assert offered > len(left) or self.chained(left[:offered], bytes.fromhex(record["last_chain"])), record
        ended = max((d for d in self.died if d <= self.lives[now].start + SLACK), default=None)
        assert ended is not None, f"a gap without a death: {record}"
        for call in left[offered:]:
            assert call.time is None or call.time >= ended - WINDOW - SLACK, f"not in the last seconds before the death at {ended}: {call}"
        self.total, self.chain = record["last_total"], bytes.fromhex(record["last_chain"])
        self.offered += offered
        self.lost += max(0, len(left) - offered)
        self.gaps += 1
        self.life, self.at = now, 0

    def replay(self):
        for record in self.records:
            self.gap(record) if record["event"] == "ocsp.gap" else self.signed(record)
        left = self.lives[self.life].calls[self.at:] + [c for life in self.lives[self.life + 1:] for c in life.calls]
        assert not left, f"signed and neither on record nor in a gap: {left}"
        return self


# ---- the log zone: a checkpoint is its own record ----

def account_of_checkpoints(log, of_zone):
    """Every signature of the log zone is over a tree head of this one log, and heads never go back. Returns how many."""
    last, count = 0, 0
    for call in (call for life in of_zone for call in life.calls):
        if call.data is None:
            continue
        origin, size, root, rest = call.data.decode().split("\n")
        assert origin and rest == ""
        if int(size) > log.size:
            continue  # signed while this was read
        assert int(size) >= last, f"a head of {size} was signed after one of {last}"
        assert base64.b64decode(root) == log.root(int(size)), f"the head of {size} is not that of the log"
        last, count = int(size), count + 1
    assert last == log.size, f"the published checkpoint over {log.size} was never signed in the module"
    return count
