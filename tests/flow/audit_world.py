"""An auditd with a log-zone keyd to run tests against, and a reader of its log written from the specifications alone
(c2sp.org tlog-tiles, tlog-checkpoint, signed-note and RFC 6962), with no code of ours in it."""
import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import keyd_client as kc

ORIGIN = "log.test/flow"


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def root_of(hashes_):
    """RFC 6962, section 2.1, over the hashes of the leaves: level by level, an odd one is carried up."""
    if not hashes_:
        return hashlib.sha256(b"").digest()
    while len(hashes_) > 1:
        pairs = [node(hashes_[i], hashes_[i + 1]) for i in range(0, len(hashes_) - 1, 2)]
        hashes_ = pairs + (hashes_[-1:] if len(hashes_) % 2 else [])
    return hashes_[0]


def tile_path(log, kind, n, width):
    name = f"{n % 1000:03d}"
    n //= 1000
    while n:
        name = f"x{n % 1000:03d}/{name}"
        n //= 1000
    return os.path.join(log, "tile", str(kind), name + ("" if width == 256 else f".p/{width}"))


def read_tile(log, kind, n, width):
    full = tile_path(log, kind, n, 256)
    with open(full if os.path.exists(full) else tile_path(log, kind, n, width), "rb") as f:
        return f.read()


def entries_of(bundle):
    out = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        out.append(bundle[2:2 + length])
        assert len(out[-1]) == length
        bundle = bundle[2 + length:]
    return out


def entries(log, size):
    out = []
    for n in range((size + 255) // 256):
        width = min(256, size - 256 * n)
        out += entries_of(read_tile(log, "entries", n, width))[:width]
    assert len(out) == size
    return out


def verify_note(text, line, name, spki):
    dash, signer, payload = line.split(" ")
    payload = base64.b64decode(payload, validate=True)
    assert dash == "\u2014" and signer == name
    key = serialization.load_der_public_key(spki)
    if isinstance(key, ed25519.Ed25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        assert payload[:4] == hashlib.sha256(name.encode() + b"\n\x01" + raw).digest()[:4]
        key.verify(payload[4:], text)
    else:
        assert payload[:4] == hashlib.sha256(spki).digest()[:4]
        key.verify(payload[4:], text, ec.ECDSA(hashes.SHA256()))


def verify_log(log, spki, origin=ORIGIN):
    """Everything the checkpoint covers, from the static files; the records as they were read."""
    with open(os.path.join(log, "checkpoint"), encoding="utf-8", newline="") as f:
        note = f.read()
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    lines = text.splitlines()
    assert lines[0] == origin
    size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    verify_note(text.encode(), signatures.splitlines()[0], origin, spki)
    leaves = entries(log, size)
    hashes_ = [leaf_hash(entry) for entry in leaves]
    level, upper = 0, hashes_
    while upper:
        for n in range((len(upper) + 255) // 256):
            here = upper[256 * n:256 * n + 256]
            assert read_tile(log, level, n, len(here))[:32 * len(here)] == b"".join(here), f"tile {level}/{n}"
        upper = [root_of(upper[256 * n:256 * n + 256]) for n in range(len(upper) // 256)]
        level += 1
    assert root_of(hashes_) == root
    envelopes = [json.loads(leaf) for leaf in leaves]
    assert [e["seq"] for e in envelopes] == list(range(size))
    return envelopes


class World:
    """keyd of the log zone and auditd, in one directory. `audit` of keyd stays its local journal."""

    def __init__(self, key_type="ed25519", build=None, interval="100ms", max_age="60s", extra=""):
        self.build = build or kc.BUILD
        self.keyd = kc.Keyd(zone="log", extra="token = log", build=build)
        self.directory = tempfile.mkdtemp(prefix="chancery-auditd-")
        self.log = os.path.join(self.directory, "log")
        self.socket = os.path.join(self.directory, "auditd.sock")
        self.config = os.path.join(self.directory, "auditd.conf")
        with open(self.config, "w") as f:
            f.write(f"log-directory = log\nsocket = auditd.sock\norigin = {ORIGIN}\nkeyd-socket = {self.keyd.socket_path}\n"
                    f"checkpoint-interval = {interval}\ncheckpoint-max-age = {max_age}\n{extra}\n")
        self.key_type = key_type
        self.process = None
        self.spki = None

    def start_keyd(self):
        self.keyd.start()
        if self.spki is None:
            self.keyd.token("log")
            client = self.keyd.client()
            self.spki = client.generate("log", type=self.key_type, purposes=kc.LOG, origin=ORIGIN)["spki"]
            client.close()

    def start(self, environment=None, prefix=()):
        ready_read, ready_write = os.pipe()
        with open(os.path.join(self.directory, "stderr"), "ab") as log:
            self.process = subprocess.Popen(list(prefix) + [os.path.join(self.build, "src", "chancery-auditd"), "--config", self.config,
                                            "--ready-fd", str(ready_write)], pass_fds=(ready_write,), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=dict(os.environ, **(environment or {})))
        os.close(ready_write)
        with os.fdopen(ready_read, "rb") as f:
            ready = f.read() == b"ready\n"
        if not ready:
            self.process.wait(20)
        return ready

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(40)

    def stderr(self):
        with open(os.path.join(self.directory, "stderr"), errors="replace") as f:
            return f.read()

    def load(self, writers, count, size=200, wait=True, anchor=None):
        """audit_load: with wait, {id: index} of all that was acknowledged; else the running process, its lines in a file: a pipe that nobody
        empties would make it stand still."""
        lines = tempfile.TemporaryFile("w+")
        process = subprocess.Popen([os.path.join(kc.BUILD, "benchmarks", "audit_load"), self.socket, str(writers), str(count), str(size),
                                    "print"] + ([anchor] if anchor else []), stdout=lines, stderr=subprocess.DEVNULL)
        process.lines = lines
        return acknowledged(process) if wait else process

    def verify(self, *options):
        """`chancery audit verify`: exit code and report."""
        key = os.path.join(self.directory, "log.key")
        spki = serialization.load_der_public_key(self.spki)
        if isinstance(spki, ed25519.Ed25519PublicKey):
            raw = b"\x01" + spki.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            identity = hashlib.sha256(ORIGIN.encode() + b"\n" + raw).digest()[:4]
        else:
            raw, identity = b"\x02" + self.spki, hashlib.sha256(self.spki).digest()[:4]
        with open(key, "w") as f:
            f.write(f"{ORIGIN}+{identity.hex()}+{base64.b64encode(raw).decode()}\n")
        done = subprocess.run([os.path.join(self.build, "src", "chancery"), "audit", "verify", "--json", "--log", self.log, "--key", key, *options], capture_output=True, text=True, timeout=120)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def settled(self):
        """All that was acknowledged is under a checkpoint, in the file and, a moment later, by auditd's own word."""
        def done():
            try:
                with open(os.path.join(self.log, "checkpoint")) as f:
                    size = int(f.read().splitlines()[1])
            except FileNotFoundError:
                return False
            status = self.status()
            return (status["size"], status["signed"], status["waiting"]) == (size, size, 0)
        return kc.wait_for(done, 20)

    def status(self):
        client = kc.Client(self.socket)
        r = kc.Reader(client.call(3))
        client.close()
        return {"size": r.number(8), "signed": r.number(8), "time": r.number(8), "waiting": r.number(8), "checkpoint": r.text()}

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self.keyd.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def acknowledged(process):
    process.wait(300)
    got = {}
    with process.lines as lines:
        lines.seek(0)
        text = lines.read()
    for line in text.splitlines():
        identity, index = line.split()
        assert identity not in got
        got[identity] = int(index)
    return got


def check_acknowledged(envelopes, got):
    """Every acknowledged record is there with its index, and nothing is there twice."""
    for identity, index in got.items():
        assert envelopes[index]["record"]["id"] == identity, f"leaf {index} is not the record that was acknowledged with it"
    identities = [e["record"]["id"] for e in envelopes]
    assert len(set(identities)) == len(identities)


__all__ = ["World", "verify_log", "verify_note", "check_acknowledged", "acknowledged", "InvalidSignature", "ORIGIN"]
