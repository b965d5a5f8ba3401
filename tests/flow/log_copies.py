"""Big logs made at once (benchmarks/audit_verify/log_make.c), copies of them that cost no room, and what somebody may do to a copy: with the
files alone, or with the log's private key as well."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import audit_world as aw
import keyd_client as kc


class Key:
    """An Ed25519 key that signs notes, with the name of its log."""

    def __init__(self, origin=aw.ORIGIN):
        self.origin, self.private = origin, ed25519.Ed25519PrivateKey.generate()
        raw = b"\x01" + self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.id = hashlib.sha256(origin.encode() + b"\n" + raw).digest()[:4]
        self.text = f"{origin}+{self.id.hex()}+{base64.b64encode(raw).decode()}\n"

    def pem(self):
        return self.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def note(self, size, root):
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        line = base64.b64encode(self.id + self.private.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.origin} {line}\n"


def write(path, content):
    """A new file: what a hard link shares stays as it is."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())


def bundle_of(leaves):
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


class Log:
    """A log in `directory`, its verifier key in the file `key`, and the private key that a thief might have."""

    def __init__(self, records, key=None, work=None):
        self.size, self.private, self.own = records, key or Key(), work is None
        self.work = work or tempfile.mkdtemp(prefix="chancery-log-")
        self.directory, self.key = os.path.join(self.work, "log"), os.path.join(self.work, "log.vkey")
        write(self.key, self.private.text)

    def __enter__(self):
        pem = os.path.join(self.work, "stolen.pem")
        write(pem, self.private.pem())
        subprocess.run([os.path.join(kc.BUILD, "benchmarks", "log_make"), self.directory, str(self.size), pem, self.private.origin],
                       check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.work)

    @contextlib.contextmanager
    def copy(self):
        """The same log elsewhere, file by file the same until it is changed there."""
        other = Log(self.size, self.private)
        shutil.copytree(self.directory, other.directory, copy_function=os.link)
        try:
            yield other
        finally:
            shutil.rmtree(other.work)

    # ---- the verifier ----
    def key_id(self):
        return self.private.id.hex()

    def command(self):
        return [os.path.join(kc.BUILD, "src", "chancery"), "audit", "verify"]

    def run(self, *options):
        return subprocess.run([*self.command(), "--json", "--log", self.directory, "--key", self.key, *options], capture_output=True, text=True,
                              env={}, timeout=300)

    def verify(self, *options):
        done = self.run(*options)
        assert done.returncode in (0, 1, 2), done.stderr
        return done.returncode, json.loads(done.stdout)

    def checkpoint_at(self, size):
        """A file with the checkpoint that the log's key signed when there were so many records."""
        path = os.path.join(self.work, f"kept-{size}")
        write(path, self.private.note(size, aw.root_of(self.hashes(size))))
        return path

    # ---- what the files hold ----
    def path(self, kind, n):
        full = aw.tile_path(self.directory, kind, n, 256)
        return full if os.path.exists(full) else aw.tile_path(self.directory, kind, n, (self.size >> (8 * (0 if kind == "entries" else kind))) % 256)

    def hashes(self, size):
        data = b"".join(open(self.path(0, n), "rb").read() for n in range((size + 255) // 256))
        return [data[32 * i:32 * i + 32] for i in range(size)]

    def bundle(self, n):
        with open(self.path("entries", n), "rb") as f:
            data = f.read()
        leaves = []
        while data:
            length = int.from_bytes(data[:2], "big")
            leaves.append(data[2:2 + length])
            data = data[2 + length:]
        return leaves

    # ---- what somebody does to them ----
    def flip(self, kind, n, at):
        path = self.path(kind, n)
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data[at] ^= 1
        write(path, bytes(data))

    def write_bundle(self, n, leaves):
        write(self.path("entries", n), bundle_of(leaves))

    def remove(self, first):
        """Every file that holds anything of record `first` or behind it."""
        for kind, shift in (("entries", 0), (0, 0), (1, 8), (2, 16)):
            for n in range(first >> (8 + shift), (self.size >> (8 + shift)) + 1):
                full = aw.tile_path(self.directory, kind, n, 256)
                shutil.rmtree(full + ".p", ignore_errors=True)
                with contextlib.suppress(FileNotFoundError):
                    os.remove(full)

    def build(self, leaves_of, first, size, key=None):
        """Written anew from the bundle of record `first` on, to `size` records, as auditd would have written it: leaves_of(n) are the records of
        bundle n, the tiles follow from them; with a key the checkpoint too, else the old one stays."""
        level, upper = 0, self.hashes(first // 256 * 256)
        self.remove(min(first, size))
        self.size = size
        for n in range(first // 256, (size + 255) // 256):
            leaves = leaves_of(n)[:min(256, size - 256 * n)]
            write(aw.tile_path(self.directory, "entries", n, len(leaves)), bundle_of(leaves))
            upper[256 * n:] = [aw.leaf_hash(leaf) for leaf in leaves]
        root = aw.root_of(upper)
        while upper:
            for n in range(first >> (8 * level + 8), (len(upper) + 255) // 256):
                here = upper[256 * n:256 * n + 256]
                write(aw.tile_path(self.directory, level, n, len(here)), b"".join(here))
            upper = [aw.root_of(upper[256 * n:256 * n + 256]) for n in range(len(upper) // 256)]
            level += 1
        if key:
            write(os.path.join(self.directory, "checkpoint"), key.note(size, root))
