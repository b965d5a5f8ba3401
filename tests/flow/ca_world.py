"""A ca with its keyd, made for one test: SoftHSM keys, records in a shared journal or an auditd, and a client of the API."""
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import keyd_client
from keyd_client import CERTIFICATE, CRL, REQUEST, wait_for
from ports import free_port

SUBJECT = "C=BE, O=Test Trust Services, organizationIdentifier=NTRBE-0123456789, CN=TEST %s"
PERSON = "C=BE, surname=Peeters, givenName=An, serialNumber=PNOBE-00010100105, CN=An Peeters %s"
LABELS = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME, "surname": NameOID.SURNAME,
          "givenName": NameOID.GIVEN_NAME, "serialNumber": NameOID.SERIAL_NUMBER, "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER}


def name(text):
    pairs = [part.strip().split("=", 1) for part in text.split(",")]
    return x509.Name([x509.NameAttribute(LABELS[key], value) for key, value in pairs])


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def request_for(subject, key=None):
    key = key or new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(name(subject)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


CLUSTER = None  # of PostgreSQL, while the ca's flows run on it (conftest.py)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Refused(Exception):
    def __init__(self, status, problem):
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem
        self.code = problem.get("code") if isinstance(problem, dict) else None


def call(connection, method, path, body=None, media_type="application/json"):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": media_type} if data is not None else {})
    answer = connection.getresponse()
    content = answer.read()
    if "json" in (answer.getheader("Content-Type") or ""):
        content = json.loads(content)
    if not 200 <= answer.status < 300:
        raise Refused(answer.status, content)
    return answer.status, content


class Daemon:
    def __init__(self, program, config, environment=None, build=None):
        self.program = os.path.join(build or keyd_client.BUILD, "src", program)
        self.config = config
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def start(self):
        ready_read, ready_write = os.pipe()
        with open(self.config + ".log", "ab") as log:
            self.process = subprocess.Popen([self.program, "--config", self.config, "--ready-fd", str(ready_write)], pass_fds=(ready_write,),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        os.close(ready_write)
        with os.fdopen(ready_read, "rb") as f:
            if f.read() != b"ready\n":
                self.process.wait(10)
                self.process = None
                raise AssertionError(self.program + " did not become ready:\n" + self.log())
        return self

    def log(self):
        with open(self.config + ".log", errors="replace") as f:
            return f.read()

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(40)
        self.process = None
        return code


class World:
    """keyd with the keys `root`, `issuing` and `management`; a ca over them. Everything ends and goes with `remove`."""

    def __init__(self, extra="", environment=None, build=None, keyd_environment=None, audit=None):
        self.directory = tempfile.mkdtemp(prefix="chancery-ca-")
        self.journal = os.path.join(self.directory, "journal")
        self.audit = audit or f"audit-journal = {self.journal}"
        self.socket_path = os.path.join(self.directory, "ca.sock")
        self.cluster = CLUSTER
        self.database = self.cluster.new() if self.cluster else os.path.join(self.directory, "ca.db")
        self.keyd = keyd_client.Keyd(zone="ca", audit=self.audit, build=build, environment=keyd_environment)
        self.ca = Daemon("chancery-ca", os.path.join(self.directory, "ca.conf"), environment, build)
        self.write_conf(extra)

    def write_conf(self, extra=""):
        with open(self.ca.config, "w") as f:
            where = f"postgresql = {self.cluster.address(self.database)}" if self.cluster else f"database = {self.database}"
            f.write(f"{where}\nstate-directory = {self.directory}/state\nsocket = {self.socket_path}\n"
                    f"keyd-socket = {self.keyd.socket_path}\n{self.audit}\n{extra}\n")

    def start(self):
        self.keyd.start()
        client = self.keyd.client()
        for label, kind in (("root", "ec-p384"), ("issuing", "ec-p256"), ("management", "ec-p256"), ("second", "ec-p256")):
            self.keyd.token(label)
            client.generate(label, type=kind, purposes=CERTIFICATE | CRL | REQUEST, ca=True)
        client.close()
        self.ca.start()
        return self

    def call(self, method, path, body=None, media_type="application/json"):
        connection = UnixConnection(self.socket_path)
        try:
            return call(connection, method, path, body, media_type)
        finally:
            connection.close()

    def get(self, path):
        return self.call("GET", path)[1]

    def post(self, path, body):
        return self.call("POST", path, body)[1]

    def urls(self, ca):
        return {"crl_url": f"http://127.0.0.1:8080/crl/{ca}.crl", "issuer_url": f"http://127.0.0.1:8080/ca/{ca}.crt",
                "ocsp_url": "http://127.0.0.1:8080/ocsp"}

    def found_cas(self):
        """A root and an issuing CA below it, and a management CA beside them."""
        self.post("/v1/cas", dict(name="root", profile="root", subject=SUBJECT % "Root", key="root", crl_hours=720, **self.urls("root")))
        self.post("/v1/cas", dict(name="management", profile="management-ca", subject="O=Test Trust Services, CN=TEST Management",
                                  key="management"))
        self.found_issuing("issuing", "issuing")
        return self

    def found_issuing(self, ca, key):
        waiting = self.post("/v1/cas", dict(name=ca, profile="issuing-ca", subject=SUBJECT % ca.title(), key=key, request_only=True,
                                            **self.urls(ca)))
        assert waiting["state"] == "waiting"
        made = self.post("/v1/cas/root/certificates", dict(profile="issuing-ca", request=waiting["request"]))
        self.call("PUT", f"/v1/cas/{ca}/certificate", dict(certificate=made["certificate"], chain=made["chain"]))

    def issue(self, subject=None, key=None, ca="issuing", **more):
        subject = subject or PERSON % os.urandom(4).hex()
        return self.post(f"/v1/cas/{ca}/certificates", dict(dict(profile="ncp-plus-n", request=request_for(subject, key)), **more))

    def revoke(self, serial, reason="keyCompromise", **more):
        return self.post(f"/v1/certificates/{serial}/revocation", dict(reason=reason, **more) if reason else more)

    def crl(self, ca="issuing"):
        return x509.load_der_x509_crl(self.call("GET", f"/v1/cas/{ca}/crl")[1])

    def revoked(self, ca="issuing"):
        try:
            crl = self.crl(ca)
        except Refused as refused:
            assert refused.status == 404
            return set()
        return {format(entry.serial_number, "032x") for entry in crl}

    def file(self, name, content=None):
        path = os.path.join(self.directory, name)
        if content is not None:
            with open(path, "wb") as f:
                os.fchmod(f.fileno(), 0o600)
                f.write(content if isinstance(content, bytes) else content.encode())
        return path

    def component(self, name, profile="tls-server", role=None, **more):
        """A certificate of the management CA with its key, as files NAME.pem and NAME.key."""
        key = new_key()
        order = dict(profile=profile, request=request_for(f"O=Test Trust Services, CN=TEST {name}", key), role=role or name, **more)
        if profile == "tls-server":
            order["ip_addresses"] = ["127.0.0.1"]
        made = self.post("/v1/cas/management/certificates", order)
        self.file(name + ".pem", made["certificate"])
        self.file(name + ".key", key_pem(key))
        return made

    def enable_tls(self, extra=""):
        """From the local socket only to mutual TLS, as a founding does it; an operator certificate is in operator.pem."""
        self.component("ca")
        self.component("operator", "operator")
        self.file("management.pem", self.get("/v1/cas/management")["certificate"])
        self.port = free_port()
        self.ca.stop()
        self.write_conf(f"listen = 127.0.0.1:{self.port}\ntls-certificate = ca.pem\ntls-key = ca.key\ntls-ca = management.pem\n{extra}")
        self.ca.start()
        return self

    def tls_call(self, who, method, path, body=None, media_type="application/json"):
        context = ssl.create_default_context(cafile=self.file("management.pem"))
        if who:
            context.load_cert_chain(self.file(who + ".pem"), self.file(who + ".key"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)
        try:
            return call(connection, method, path, body, media_type)
        finally:
            connection.close()

    def sql(self, *statements):
        """What the statements say to the database itself, past the ca; columns are parted by |."""
        if self.cluster:
            return self.cluster.sql(self.database, *statements)
        return subprocess.run(["sqlite3", "-cmd", ".timeout 10000", self.database, ";".join(statements)], check=True, capture_output=True, text=True).stdout

    def octets(self, hexadecimal):
        """As a literal of this database."""
        return f"'\\x{hexadecimal}'" if self.cluster else f"x'{hexadecimal}'"

    def keep_database(self):
        """A copy of the database as an operator makes it, while the ca runs. For restore_database, and that without the ca."""
        path = os.path.join(self.directory, f"kept-{os.urandom(4).hex()}.db")
        if self.cluster:
            self.cluster.dump(self.database, path)
        else:
            self.post("/v1/backup", dict(path=path))
        return path

    def restore_database(self, path):
        if self.cluster:
            self.cluster.put_back(self.database, path)
            return
        for suffix in ("-wal", "-shm"):
            if os.path.exists(self.database + suffix):
                os.unlink(self.database + suffix)
        shutil.copy(path, self.database)

    def remove(self):
        self.ca.stop(signal.SIGKILL)
        self.keyd.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()


def until(condition, seconds=10):
    assert wait_for(condition, seconds), "it did not come about in time"
