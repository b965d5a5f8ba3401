"""A world around one real va: its keyd with SoftHSM, a made-up PKI, and the ca's side of the feed in Python."""

import datetime
import hashlib
import http.client
import ipaddress
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ports import free_port  # noqa: F401  worlds over this one take it from here

ROLE_OID = x509.ObjectIdentifier("1.3.6.1.4.1.47718.2.0.9.2")  # pki_ext_role.c
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHANCERY_BUILD", ROOT / "build")).resolve()


def program(name):
    for path in (BUILD / "src" / name, BUILD / name):
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name} is not built in {BUILD}: ninja -C {BUILD}")


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def moment_of(thing, name):
    """Newer releases of cryptography warn about naive times, Debian's has nothing else."""
    return getattr(thing, name + "_utc", None) or getattr(thing, name)


def micros(moment):
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp()) * 1_000_000


# ---- the made-up PKI ----

class Authority:
    """A CA with a software key, as the va sees one: what it issued, its CRL, its OCSP signer."""

    def __init__(self, ca_id, name, subject, parent=None):
        self.id, self.name, self.parent = ca_id, name, parent
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([
            x509.NameAttribute(NameOID.COUNTRY_NAME, "BE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TEST Example NV"),
            x509.NameAttribute(NameOID.COMMON_NAME, subject),
        ])
        self.crl_number = 0
        self.certificate = self._certificate(parent)

    def _certificate(self, parent):
        issuer = parent or self
        return (
            x509.CertificateBuilder().subject_name(self.subject).issuer_name(issuer.subject).public_key(self.key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now() - datetime.timedelta(days=100))
            .not_valid_after(now() + datetime.timedelta(days=1000))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(self.aki(issuer), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )

    @staticmethod
    def aki(issuer):
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())

    def issue(self, common_name, days=30, started=1, public_key=None, extensions=(), serial=None):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])).issuer_name(self.subject)
            .public_key(public_key or ec.generate_private_key(ec.SECP256R1()).public_key())
            .serial_number(serial or x509.random_serial_number()).not_valid_before(now() - datetime.timedelta(days=started))
            .not_valid_after(now() + datetime.timedelta(days=days)).add_extension(self.aki(self), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def ocsp_signer(self, public_key, seconds=20 * 86400, usage=ExtendedKeyUsageOID.OCSP_SIGNING, started=60):
        start = now() - datetime.timedelta(seconds=started)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "BE"), x509.NameAttribute(NameOID.COMMON_NAME, "TEST OCSP")]))
            .issuer_name(self.subject).public_key(public_key).serial_number(x509.random_serial_number())
            .not_valid_before(start).not_valid_after(now() + datetime.timedelta(seconds=seconds))
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.OCSPNoCheck(), critical=False)
            .add_extension(self.aki(self), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    def crl(self, revoked=(), number=None, hours=24):
        self.crl_number = number or self.crl_number + 1
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.subject).last_update(now())
            .next_update(now() + datetime.timedelta(hours=hours))
            .add_extension(x509.CRLNumber(self.crl_number), critical=False).add_extension(self.aki(self), critical=False)
        )
        for serial in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now())
                .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False).build())
        return builder.sign(self.key, hashes.SHA256())


def pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


def der(thing):
    return thing.public_bytes(serialization.Encoding.DER)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


# ---- feed batches, as a ca writes them ----

CONTINUATION, SNAPSHOT_START, SNAPSHOT_PART, SNAPSHOT_END = range(4)
KEY_COMPROMISE = 1


def counted(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


def item(kind, body):
    return struct.pack(">B", kind) + counted(body)


def item_ca(ca):
    chain = [der(ca.parent.certificate)] if ca.parent else []
    body = struct.pack(">H", ca.id) + counted(ca.name) + counted(der(ca.certificate)) + struct.pack(">H", len(chain))
    return item(1, body + b"".join(counted(c) for c in chain) + counted(ca.name + ".crl"))


def item_status(ca, serial, revoked_at=0, reason=0, not_after=0):
    serial = serial.to_bytes((serial.bit_length() + 7) // 8, "big")
    return item(2, struct.pack(">H", ca.id) + counted(serial) + struct.pack(">BBqqq", revoked_at != 0, reason, revoked_at, 0, not_after))


def item_crl(ca, crl, number=None, digest=None):
    number = number or crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    digest = digest or hashlib.sha256(der(crl)).digest()
    return item(3, struct.pack(">HQ", ca.id, number) + digest + struct.pack(">qq", micros(moment_of(crl, "last_update")), micros(moment_of(crl, "next_update"))))


def item_signer(ca, certificate, label):
    return item(4, struct.pack(">H", ca.id) + counted(der(certificate)) + counted(label))


def batch(first, items, kind=CONTINUATION, version=1):
    return struct.pack(">HQBI", version, first, kind, len(items)) + b"".join(items)


# ---- keyd's socket ----

class Keyd:
    """Enough of the local protocol to make a key and read its public half."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))

    def call(self, kind, body):
        head = struct.pack(">HH", kind, 1) + secrets.token_bytes(16)
        self.socket.sendall(struct.pack(">I", len(head) + len(body)) + head + body)
        length, got, _ = struct.unpack(">IHH", self._read(8))
        reply = self._read(length - 4)
        if got != kind:
            raise RuntimeError(reply[6:].decode(errors="replace"))
        return reply

    def _read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise RuntimeError("keyd closed the connection")
            data += part
        return data

    def generate(self, label, token, key_type, purposes, validity_days=30):
        limits = counted(b"") + struct.pack(">BB", 0, 0) + struct.pack(">III", validity_days, 0, 0) + counted("")
        info = (struct.pack(">H", 1) + counted(label) + counted(token) + counted(key_type) + struct.pack(">I", purposes) + limits
                + struct.pack(">B", 0) + counted(b"") + struct.pack(">qB", 0, 0) + counted(""))
        reply = self.call(0x0104, info)
        return serialization.load_der_public_key(self._spki(reply))

    @staticmethod
    def _spki(reply):
        at = 2
        for _ in range(3):
            at += 4 + struct.unpack_from(">I", reply, at)[0]
        at += 4                                                # purposes
        at += 4 + struct.unpack_from(">I", reply, at)[0]       # limits: issuer
        policies = reply[at + 1]
        at += 2
        for _ in range(policies):
            at += 4 + struct.unpack_from(">I", reply, at)[0]
        at += 12
        at += 4 + struct.unpack_from(">I", reply, at)[0]       # origin
        at += 1
        length = struct.unpack_from(">I", reply, at)[0]
        return reply[at + 4:at + 4 + length]


# ---- processes ----

class Daemon:
    def __init__(self, command, directory, name, pass_fds=()):
        self.log_path = directory / f"{name}.log"
        self.command, self.name = command, name
        ready, write = os.pipe()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command + ["--ready-fd", str(write)], stdout=log, stderr=log, pass_fds=(write, *pass_fds))
        os.close(write)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.readline() != b"ready\n":
                raise RuntimeError(f"{name} did not start:\n{self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def stop(self):
        if self.process.poll() is None:
            return self.kill(signal.SIGTERM)
        return self.process.returncode


class World:
    """One va with CA `issuing` (under a root), CA `second`, and a keyd of zone status."""

    LABEL, RSA_LABEL = "ocsp-issuing", "ocsp-rsa"

    def __init__(self, directory, options="", va_prefix=(), keyd_prefix=()):
        self.directory = pathlib.Path(directory)
        self.va_prefix, self.keyd_prefix = list(va_prefix), list(keyd_prefix)
        self.options = options
        self.root = Authority(1, "root", "TEST Root")
        self.issuing = Authority(2, "issuing", "TEST Issuing <CA> & Co", self.root)
        self.second = Authority(3, "second", "TEST Second CA", self.root)
        self.management = Authority(9, "management", "TEST Management")
        self.number = 0
        self.keyd = self.va = None
        self._tls()
        self._start_keyd()
        self.start_va()

    # -- set-up --

    def _tls(self):
        self.tls = self.directory / "tls"
        self.tls.mkdir()
        (self.tls / "management-ca.pem").write_bytes(pem(self.management.certificate))
        self.tls_keys = {}
        for name in ("va", "ca", "operator"):
            key = self.tls_keys[name] = ec.generate_private_key(ec.SECP256R1())
            certificate = self.tls_certificate(name)
            (self.tls / f"{name}.pem").write_bytes(pem(certificate))
            (self.tls / f"{name}.key").write_bytes(key_pem(key))
            (self.tls / f"{name}.key").chmod(0o600)

    def tls_certificate(self, name, days=30, key=None):
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        role = x509.UnrecognizedExtension(ROLE_OID, b"\x0c" + bytes([len(name)]) + name.encode())
        return self.management.issue(name, days=days, public_key=(key or self.tls_keys[name]).public_key(),
                                     extensions=[(both, False), (address, False), (role, False)])

    def _start_keyd(self):
        state = self.directory / "keyd"
        state.mkdir()
        tokens = state / "tokens"
        tokens.mkdir(mode=0o700)
        self.pin = secrets.token_hex(8)
        configuration = state / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", self.LABEL, "--pin", self.pin, "--so-pin", secrets.token_hex(8)],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOFTHSM2_CONF": str(configuration)})
        self.keyd_socket = self.directory / "keyd.sock"
        (self.directory / "keyd.conf").write_text(
            f"zone = status\nstate-directory = {state}\ntoken = {self.LABEL}\nsocket = {self.keyd_socket}\n"
            f"audit-journal = {self.directory}/keyd.journal\n")
        self.start_keyd()
        purposes = 4 | 64
        self.signer_key = Keyd(self.keyd_socket).generate(self.LABEL, self.LABEL, "ec-p256", purposes)

    def make_rsa_key(self):
        return Keyd(self.keyd_socket).generate(self.RSA_LABEL, self.LABEL, "rsa-3072", 4 | 64)

    def start_keyd(self):
        read, write = os.pipe()
        os.write(write, f"{self.LABEL} {self.pin}\n".encode())
        os.close(write)
        try:
            self.keyd = Daemon(self.keyd_prefix + [program("chancery-keyd"), "--config", str(self.directory / "keyd.conf"), "--pin-fd", str(read)],
                               self.directory, "keyd", pass_fds=(read,))
        finally:
            os.close(read)

    def start_va(self, options=None):
        if options is not None:
            self.options = options
        if not hasattr(self, "port"):
            self.port, self.push_port = free_port(), free_port()
        self.write_va_conf()
        self.va = Daemon(self.va_prefix + [program("chancery-va"), "--config", str(self.directory / "va.conf")], self.directory, "va")

    def write_va_conf(self):
        (self.directory / "va.conf").write_text(
            f"listen = 127.0.0.1:{self.port}\npush-listen = 127.0.0.1:{self.push_port}\npush-peer = ca\n"
            f"tls-certificate = tls/va.pem\ntls-key = tls/va.key\ntls-ca = tls/management-ca.pem\nstate-directory = va\n"
            f"keyd-socket = keyd.sock\naudit-journal = va.journal\n{self.options}\n")

    def close(self):
        codes = [d.stop() for d in (self.va, self.keyd) if d is not None]
        shutil.rmtree(self.directory, ignore_errors=True)
        assert codes == [0] * len(codes), codes

    # -- the ca's side --

    def push(self, method, path, body=b"", media_type=None, peer="ca"):
        context = ssl.create_default_context(cafile=str(self.tls / "management-ca.pem"))
        if peer is not None:
            context.load_cert_chain(self.tls / f"{peer}.pem", self.tls / f"{peer}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.push_port, context=context, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def feed(self, items, kind=CONTINUATION, first=None):
        first = self.number + 1 if first is None else first
        return self.push("POST", "/v1/feed", batch(first, items, kind), "application/vnd.chancery.feed")

    def feed_ok(self, items):
        status, body = self.feed(items)
        assert status == 200, body
        self.number += len(items)
        assert body == b'{"number":%d}' % self.number
        return self.number

    def put_crl(self, ca, crl, number=None, path=None):
        if path is None:
            path = f"/v1/crls/{ca.name}/{number or crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number}"
        return self.push("PUT", path, der(crl) if not isinstance(crl, bytes) else crl, "application/pkix-crl")

    def publish_crl(self, ca, revoked=()):
        crl = ca.crl(revoked)
        status, body = self.put_crl(ca, crl)
        assert status == 204, body
        self.feed_ok([item_crl(ca, crl)])
        return crl

    def found(self):
        """Everything a client wants: CAs, signers, CRLs."""
        self.signer = self.issuing.ocsp_signer(self.signer_key)
        self.second_signer = self.second.ocsp_signer(self.signer_key)
        self.feed_ok([item_ca(self.root), item_ca(self.issuing), item_ca(self.second),
                      item_signer(self.issuing, self.signer, self.LABEL), item_signer(self.second, self.second_signer, self.LABEL)])
        for ca in (self.root, self.issuing, self.second):
            self.publish_crl(ca)

    def issue(self, common_name="TEST Subject", ca=None, **more):
        ca = ca or self.issuing
        certificate = ca.issue(common_name, **more)
        self.feed_ok([item_status(ca, certificate.serial_number, not_after=micros(moment_of(certificate, "not_valid_after")))])
        return certificate

    def revoke(self, certificate, ca=None, reason=KEY_COMPROMISE):
        ca = ca or self.issuing
        moment = micros(now())
        self.feed_ok([item_status(ca, certificate.serial_number, moment, reason, micros(moment_of(certificate, "not_valid_after")))])
        return moment

    # -- a client's side --

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def ocsp(self, request):
        return self.request("POST", "/ocsp", request, {"Content-Type": "application/ocsp-request"})


def wait_for(what, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        got = what()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError("waited in vain")
