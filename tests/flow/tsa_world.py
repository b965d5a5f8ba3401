"""A world around one real tsa: a keyd of zone time with SoftHSM, a made-up chain above the unit's certificate, clients."""

import ctypes
import datetime
import http.client
import ipaddress
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import keyd_client
from va_world import ROLE_OID, Authority, Daemon, free_port, key_pem, now, pem, program

POLICY, OTHER_POLICY, TEST_POLICY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.999.3161.1"
QUERY = {"Content-Type": "application/timestamp-query"}


def generalized(moment):
    return moment.strftime("%Y%m%d%H%M%SZ").encode()


def key_usage_period(start, end):
    """privateKeyUsagePeriod, 2.5.29.16."""
    content = b"\x80\x0f" + generalized(start) + b"\x81\x0f" + generalized(end)
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.16"), b"\x30" + bytes([len(content)]) + content)


def clock_is_synchronised():
    """What the kernel says, asked without the tsa: TIME_ERROR is 5."""
    buffer = ctypes.create_string_buffer(512)
    return ctypes.CDLL(None, use_errno=True).ntp_adjtime(buffer) not in (-1, 5)


class LyingKeyd:
    """Between tsa and keyd: passes every frame on, and when told to lie changes one octet of each signature."""

    def __init__(self, path, real):
        self.path, self.real, self.lie = str(path), real, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                there = self.listener.accept()[0]
            except OSError:
                return
            here = socket.socket(socket.AF_UNIX)
            here.connect(self.real)
            threading.Thread(target=self._requests, args=(there, here), daemon=True).start()
            threading.Thread(target=self._replies, args=(here, there), daemon=True).start()

    @staticmethod
    def _requests(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def _replies(self, source, sink):
        while head := source.recv(4, socket.MSG_WAITALL):
            frame = bytearray(source.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
            if self.lie and int.from_bytes(frame[:2], "big") == keyd_client.SIGN:
                frame[-1] ^= 1
            try:
                sink.sendall(head + frame)
            except OSError:
                return

    def close(self):
        self.listener.close()


class World:
    def __init__(self, directory, options="", clock="test", keyd_audit=None):
        self.directory = pathlib.Path(directory)
        self.root = Authority(1, "root", "TEST Root")
        self.issuing = Authority(2, "issuing", "TEST Issuing", self.root)
        self.management = Authority(9, "management", "TEST Management")
        self.tls_keys, self.tsa = {}, None
        self.port, self.https_port, self.management_port = free_port(), free_port(), free_port()
        self.keyd = keyd_client.Keyd(zone="time", audit=keyd_audit, extra="connections = 256")
        self.keyd.start()
        self.keyd.token("tsu")
        client = self.keyd.client()
        self.spki = client.generate("tsu", purposes=keyd_client.TIME_STAMP | keyd_client.REQUEST, accuracy_ms=1000)["spki"]
        client.close()
        self.keyd_socket = self.keyd.socket_path
        self.write_certificate()
        (self.directory / "chain.pem").write_bytes(pem(self.root.certificate) + pem(self.issuing.certificate))
        (self.directory / "root.pem").write_bytes(pem(self.root.certificate))
        self._tls()
        self.start(options, clock)

    # -- set-up --

    def unit_certificate(self, key_seconds=86400, seconds=10 * 86400, started=60, usage=(ExtendedKeyUsageOID.TIME_STAMPING,),
                         critical=True, spki=None, name="TEST TSU 1", issuer=None):
        start = now() - datetime.timedelta(seconds=started)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "BE"), x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name((issuer or self.issuing).subject).public_key(serialization.load_der_public_key(spki or self.spki))
            .serial_number(x509.random_serial_number()).not_valid_before(start)
            .not_valid_after(now() + datetime.timedelta(seconds=seconds))
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(usage)), critical=critical)
            .add_extension(self.issuing.aki(issuer or self.issuing), critical=False)
        )
        if key_seconds is not None:
            period = key_usage_period(start, now() + datetime.timedelta(seconds=key_seconds))
            builder = builder.add_extension(period, critical=False)
        return builder.sign((issuer or self.issuing).key, hashes.SHA256())

    def write_certificate(self, **more):
        self.certificate = self.unit_certificate(**more)
        (self.directory / "tsu.pem").write_bytes(pem(self.certificate))

    def tls_certificate(self, name, days=30, key=None, issuer=None):
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        role = x509.UnrecognizedExtension(ROLE_OID, b"\x0c" + bytes([len(name)]) + name.encode())
        return (issuer or self.management).issue(name, days=days, public_key=(key or self.tls_keys[name]).public_key(),
                                                 extensions=[(both, False), (address, False), (role, False)])

    def _tls(self):
        (self.directory / "management-ca.pem").write_bytes(pem(self.management.certificate))
        for name in ("tsa", "ca", "va"):
            self.tls_keys[name] = ec.generate_private_key(ec.SECP256R1())
            (self.directory / f"{name}.pem").write_bytes(pem(self.tls_certificate(name)))
            (self.directory / f"{name}.key").write_bytes(key_pem(self.tls_keys[name]))
            (self.directory / f"{name}.key").chmod(0o600)

    def write_conf(self, options="", clock="test"):
        clock_lines = f"clock = test\ntest-policy = {TEST_POLICY}" if clock == "test" else "clock = kernel"
        (self.directory / "tsa.conf").write_text(
            f"listen = 127.0.0.1:{self.port}\nlisten-https = 127.0.0.1:{self.https_port}\n"
            f"management-listen = 127.0.0.1:{self.management_port}\ntls-certificate = tsa.pem\ntls-key = tsa.key\n"
            f"tls-ca = management-ca.pem\nkeyd-socket = {self.keyd_socket}\ncertificate = tsu.pem\nchain = chain.pem\n"
            f"audit-journal = tsa.journal\n{clock_lines}\n{options}\n")

    def start(self, options="", clock="test"):
        self.write_conf(options, clock)
        self.tsa = Daemon([program("chancery-tsa"), "--config", str(self.directory / "tsa.conf")], self.directory, "tsa")

    def stop(self):
        if self.tsa is None:
            return 0
        code = self.tsa.stop()
        self.tsa = None
        return code

    def restart(self, options="", clock="test"):
        assert self.stop() == 0
        self.start(options, clock)

    def refused_to_start(self, options="", clock="test"):
        """The reason, from the log."""
        assert self.stop() == 0
        (self.directory / "tsa.log").unlink(missing_ok=True)
        try:
            self.start(options, clock)
        except RuntimeError as e:
            return str(e)
        raise AssertionError("the tsa started")

    def close(self):
        code = self.stop()
        self.keyd.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
        assert code == 0

    # -- a client's side --

    def query(self, data=b"data", digest="sha256", policy=None, nonce=True, cert=True):
        """A request as `openssl ts -query` makes it."""
        (self.directory / "data").write_bytes(data)
        command = ["openssl", "ts", "-query", "-data", str(self.directory / "data"), f"-{digest}"]
        command += (["-tspolicy", policy] if policy else []) + ([] if nonce else ["-no_nonce"]) + (["-cert"] if cert else [])
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def request(self, method, path, body=None, headers=None, https=False):
        if https:
            context = ssl.create_default_context(cafile=str(self.directory / "management-ca.pem"))
            connection = http.client.HTTPSConnection("127.0.0.1", self.https_port, context=context, timeout=30)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def stamp(self, query, path="/", https=False):
        status, headers, body = self.request("POST", path, query, QUERY, https)
        assert status == 200, body
        assert headers["content-type"] == "application/timestamp-reply"
        return body

    def text(self, answer):
        """What `openssl ts -reply -text` reads in an answer."""
        (self.directory / "answer").write_bytes(answer)
        return subprocess.run(["openssl", "ts", "-reply", "-in", str(self.directory / "answer"), "-text"], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def failure(self, answer):
        """Failure info as openssl words it; None for a token."""
        text = self.text(answer)
        if "Status: Granted." in text:
            return None
        assert "Status: Rejected." in text and "Not included." in text
        return re.search(r"Failure info: (.*)", text).group(1)

    def verify(self, query, answer, untrusted=True):
        """`openssl ts -verify`: true when it accepts."""
        (self.directory / "query").write_bytes(query)
        (self.directory / "answer").write_bytes(answer)
        command = ["openssl", "ts", "-verify", "-queryfile", str(self.directory / "query"), "-in", str(self.directory / "answer"),
                   "-CAfile", str(self.directory / "root.pem")]
        if untrusted:
            (self.directory / "given.pem").write_bytes(pem(self.certificate) + pem(self.issuing.certificate))
            command += ["-untrusted", str(self.directory / "given.pem")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode == 0 and "Verification: OK" in done.stdout

    def push_certificate(self, body, peer="ca", media_type="application/x-pem-file"):
        context = ssl.create_default_context(cafile=str(self.directory / "management-ca.pem"))
        if peer is not None:
            context.load_cert_chain(self.directory / f"{peer}.pem", self.directory / f"{peer}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.management_port, context=context, timeout=30)
        try:
            connection.request("PUT", "/v1/certificate", body, {"Content-Type": media_type})
            return connection.getresponse().status
        finally:
            connection.close()

    def tokens_on_record(self):
        return self.keyd.records().count(b'"event":"sign.time_stamp"')
