"""A client of keyd in Python, written from wire.h and key_protocol.h alone, and a keyd with SoftHSM to talk to."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

STATUS, LIST, FIND, TOKEN_CREATE, GENERATE, ENTRY, CHANGE, STRAYS = 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107
SIGN, STREAM_BEGIN, STREAM_DATA, STREAM_END, LOG_HEAD, CHECKPOINT, COSIGN = 0x110, 0x112, 0x113, 0x114, 0x120, 0x121, 0x122
CERTIFICATE, CRL, OCSP, TIME_STAMP, LOG, IDENTITY, REQUEST = 1, 2, 4, 8, 16, 32, 64

BUILD = os.environ.get("CHANCERY_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
MODULES = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"]


def softhsm():
    return next((path for path in MODULES if os.path.exists(path)), MODULES[0])


def sanitized(program=None):
    """Whether the programs were built with AddressSanitizer."""
    with open(program or os.path.join(BUILD, "src", "chancery-keyd"), "rb") as f:
        return b"__asan_init" in f.read()


def u16(v):
    return struct.pack(">H", v)


def u32(v):
    return struct.pack(">I", v)


def u64(v):
    return struct.pack(">Q", v)


def counted(data):
    data = data.encode() if isinstance(data, str) else data
    return u32(len(data)) + data


class Refused(Exception):
    """keyd said no; `code` is the row of codes.def."""

    CODES = ["OK", "INPUT", "DENIED", "NOTFOUND", "CONFLICT", "STATE", "LIMIT", "BUSY", "UNAVAILABLE", "CLOCK", "CRYPTO", "CONFIG", "IO", "BUG"]

    def __init__(self, number, message):
        super().__init__(f"{self.CODES[number]}: {message}")
        self.code = self.CODES[number]
        self.message = message


class Reader:
    def __init__(self, data):
        self.data = data

    def raw(self, n):
        assert len(self.data) >= n
        out, self.data = self.data[:n], self.data[n:]
        return out

    def number(self, n):
        return int.from_bytes(self.raw(n), "big")

    def counted(self):
        return self.raw(self.number(4))

    def text(self):
        return self.counted().decode()


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)

    def close(self):
        self.socket.close()

    def send(self, kind, body=b""):
        self.socket.sendall(u32(4 + 16 + len(body)) + u16(kind) + u16(1) + os.urandom(16) + body)

    def receive(self, n):
        out = b""
        while len(out) < n:
            got = self.socket.recv(n - len(out))
            if not got:
                raise ConnectionError("keyd closed the connection")
            out += got
        return out

    def call(self, kind, body=b""):
        self.send(kind, body)
        length, got, version = struct.unpack(">IHH", self.receive(8))
        assert version == 1
        reply = self.receive(length - 4)
        if got == 0xFFFF:
            raise Refused(struct.unpack(">H", reply[:2])[0], reply[6:].decode())
        assert got == kind
        return reply

    def token_create(self, token, pin, officer_pin):
        self.call(TOKEN_CREATE, counted(token) + counted(pin) + counted(officer_pin))

    def generate(self, label, token=None, type="ec-p256", purposes=REQUEST, issuer=b"", ca=False, policies=(), validity_days=0, rate=0,
                 accuracy_ms=0, origin="", backup=0, usage_ends=0):
        limits = counted(issuer) + bytes([ca, len(policies)]) + b"".join(counted(p) for p in policies)
        limits += u32(validity_days) + u32(rate) + u32(accuracy_ms) + counted(origin)
        body = u16(2 if usage_ends else 1) + counted(label) + counted(token or label) + counted(type) + u32(purposes) + limits
        body += bytes([backup]) + counted(b"") + u64(0) + b"\0" + counted("") + (u64(usage_ends) if usage_ends else b"")
        return self.info(Reader(self.call(GENERATE, body)))

    @staticmethod
    def info(r):
        version = r.number(2)
        assert version in (1, 2)
        out = {"label": r.text(), "token": r.text(), "type": r.text(), "purposes": r.number(4), "issuer": r.counted(), "ca": r.number(1)}
        out["policies"] = [r.counted() for _ in range(r.number(1))]
        out.update(validity_days=r.number(4), rate=r.number(4), accuracy_ms=r.number(4), origin=r.text(), backup=r.number(1))
        out.update(spki=r.counted(), created=r.number(8), usable=bool(r.number(1)), missing=r.text())
        out["usage_ends"] = r.number(8) if version == 2 else 0
        return out

    STATES = ["planned", "generated", "active", "suspended", "expired", "destroyed"]

    def row(self, r):
        version = r.number(2)
        assert version in (1, 2)
        out = self.info(r)
        out.update(state=self.STATES[r.number(1)], since=r.number(8))
        out.update({name: r.number(8) for name in ("recorded", "offered", "counted_recorded", "counted")}, at_least=bool(r.number(1)))
        out.update(checks=r.text(), attributes=r.text(), scheme=r.text(), level=r.text(), certificate=r.text(), copies=r.text(), expires=r.number(8))
        out["operation"] = r.text() if version == 2 else ""
        assert not r.data
        return out

    def entry(self, label):
        return self.row(Reader(self.call(ENTRY, counted(label))))

    def strays(self):
        r = Reader(self.call(STRAYS))
        return [(r.text(), r.text()) for _ in range(r.number(4))]

    def change(self, label, to, reason="because"):
        return self.row(Reader(self.call(CHANGE, counted(label) + counted(to) + counted(reason))))

    def find(self, label):
        return self.info(Reader(self.call(FIND, counted(label))))

    def list(self):
        r = Reader(self.call(LIST))
        return [self.info(r) for _ in range(r.number(4))]

    def status(self):
        r = Reader(self.call(STATUS))
        out = {"zone": r.text(), "module": r.text(), "signatures": r.number(8), "refusals": r.number(8), "tokens": {}}
        for _ in range(r.number(4)):
            label = r.text()
            out["tokens"][label] = (bool(r.number(1)), r.text())
        return out

    def sign_all(self, items):
        """One frame: for each (label, purpose, algorithm, content, signed attributes) a signature, or the Refused it came to."""
        body = u16(len(items)) + b"".join(os.urandom(16) + counted(label) + counted(algorithm) + u32(purpose) + counted(content) + counted(attributes)
                                          for label, purpose, algorithm, content, attributes in items)
        r, out = Reader(self.call(SIGN, body)), []
        for _ in items:
            code, value = r.number(2), r.counted()
            out.append(value if code == 0 else Refused(code, value.decode()))
        assert not r.data
        return out

    def sign(self, label, purpose, algorithm, content, attributes=b""):
        outcome, = self.sign_all([(label, purpose, algorithm, content, attributes)])
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    def sign_time_stamp(self, label, algorithm, tst_info, attributes):
        return self.sign(label, TIME_STAMP, algorithm, tst_info, attributes)

    def sign_time_stamps(self, label, algorithm, items):
        """Several in one frame, for each (tst_info, attributes)."""
        return self.sign_all([(label, TIME_STAMP, algorithm, tst_info, attributes) for tst_info, attributes in items])

    def sign_stream(self, label, purpose, algorithm, tbs, part=1000, total=None):
        self.call(STREAM_BEGIN, counted(label) + counted(algorithm) + u32(purpose) + u64(len(tbs) if total is None else total))
        for at in range(0, len(tbs), part):
            self.send(STREAM_DATA, tbs[at:at + part])
        return self.call(STREAM_END)

    def log_head(self, label):
        r = Reader(self.call(LOG_HEAD, counted(label)))
        return r.number(8), r.raw(32)

    def checkpoint(self, label, origin, size, root, proof=b""):
        return self.call(CHECKPOINT, counted(label) + counted(origin) + u64(size) + root + counted(proof))

    def cosign(self, label, cosigner, origin, size, root, proof=b""):
        return self.call(COSIGN, counted(cosigner) + counted(label) + counted(origin) + u64(size) + root + counted(proof))


class Keyd:
    """A keyd of its own with SoftHSM, in a directory that goes with it; its records in a local journal unless told otherwise."""

    def __init__(self, zone="test", audit=None, extra="", environment=None, prefix=(), build=None, module=None):
        self.directory = tempfile.mkdtemp(prefix="chancery-keyd-")
        self.socket_path = os.path.join(self.directory, "keyd.sock")
        self.journal = os.path.join(self.directory, "journal")
        self.config = os.path.join(self.directory, "keyd.conf")
        self.program = os.path.join(build or BUILD, "src", "chancery-keyd")
        suppressions = os.path.join(self.directory, "lsan")  # SoftHSM 2.6 leaks the name of every Edwards curve
        with open(suppressions, "w") as f:
            f.write("leak:libsofthsm2\n")
        self.environment = dict({"LSAN_OPTIONS": "suppressions=" + suppressions, "ASAN_OPTIONS": "fast_unwind_on_malloc=0"}, **os.environ)
        self.environment.update(environment or {})
        self.prefix = list(prefix)
        self.pins = {}
        self.process = None
        audit = audit or f"audit-journal = {self.journal}"
        with open(self.config, "w") as f:
            f.write(f"zone = {zone}\nmodule = {module or softhsm()}\nstate-directory = {self.directory}/state\nsocket = {self.socket_path}\n{audit}\n{extra}\n")

    def start(self):
        pin_read, pin_write = os.pipe()
        ready_read, ready_write = os.pipe()
        os.write(pin_write, "".join(f"{token} {pin}\n" for token, pin in self.pins.items()).encode())
        os.close(pin_write)
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(
                self.prefix + [self.program, "--config", self.config, "--pin-fd", str(pin_read), "--ready-fd", str(ready_write)],
                pass_fds=(pin_read, ready_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        os.close(pin_read)
        os.close(ready_write)
        with os.fdopen(ready_read, "rb") as f:
            if f.read() != b"ready\n":
                raise AssertionError("keyd did not become ready:\n" + self.log())
        return self

    def log(self):
        with open(os.path.join(self.directory, "log"), errors="replace") as f:
            return f.read()

    def client(self):
        return Client(self.socket_path)

    def token(self, label):
        self.pins[label] = "pin-of-" + label
        client = self.client()
        client.token_create(label, self.pins[label], "officer-" + label)
        client.close()

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(how)
        code = self.process.wait(40)
        self.process = None
        return code

    def records(self):
        with open(self.journal, "rb") as f:
            return f.read()

    def remove(self):
        if self.process is not None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, failure, *unused):
        try:
            code = self.stop()
            assert failure or code in (None, 0), f"keyd ended with {code}:\n{self.log()}"
        finally:
            self.remove()


def wait_for(condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def pause(process):
    """Returns when every thread of this child stands still; SIGSTOP alone comes back while some of them still answer."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
