"""An installation with something between it and the world, and foreign relying parties that judge what they get.

Every certificate points at `Middle`, a relay that stands for the network: it notes what was asked how, and it can lie. So each party is
shown true answers and false ones with the same command, and a party that would accept anything is found out.
"""
import base64
import http.client
import http.server
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.parse
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flow"))
import installation  # noqa: E402
import keyd_client  # noqa: E402
from keyd_contents import tlv  # noqa: E402

SOURCES = pathlib.Path(__file__).resolve().parent / "parties"
BOUNCY_CASTLE = ":".join(f"/usr/share/java/{jar}.jar" for jar in ("bcpkix", "bcprov", "bcutil"))
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]

# What is asked about, and what the network does with the answer.
CASES = {"good": ("alice", None), "revoked": ("bob", None), "never issued": ("carol", None), "altered": ("alice", "altered"),
         "silent": ("alice", "silent"), "impostor": ("bob", "impostor"), "subscriber": ("bob", "subscriber")}


# ---- the network ----

class Middle:
    """Relays to a port of 127.0.0.1. `lie(path, request, answer)`, when set, gives the (status, body) that is passed on instead."""

    def __init__(self):
        self.target, self.lie, self.seen = None, None, []
        middle = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                middle.relay(self, b"")

            def do_POST(self):
                middle.relay(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def relay(self, handler, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        media_type = handler.headers.get("Content-Type")
        connection.request(handler.command, handler.path, body or None, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        status, kind, data = answer.status, answer.getheader("Content-Type"), answer.read()
        connection.close()
        self.seen.append((handler.command, handler.path))
        if self.lie is not None:
            status, data = self.lie(handler.path, body, data)
        handler.send_response(status)
        handler.send_header("Content-Type", kind or "text/plain")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def asked(self, path):
        """The methods by which something below this path was asked for."""
        return {method for method, seen in self.seen if seen.startswith(path)}

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# ---- certificates and answers that are not ours ----

def pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


def load(path):
    return x509.load_pem_x509_certificate(pathlib.Path(path).read_bytes())


def save_key(path, key):
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return key


def now():
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def builder_for(subject, issuer, public_key, usage, days=30):
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(now() - timedelta(hours=1))
            .not_valid_after(now() + timedelta(days=days))
            .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=usage == ExtendedKeyUsageOID.TIME_STAMPING))


def stranger(name):
    """A CA that calls itself as ours and has another key: (key, certificate)."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
               .not_valid_before(now() - timedelta(hours=1)).not_valid_after(now() + timedelta(days=30))
               .add_extension(x509.BasicConstraints(True, None), critical=True))
    return key, builder.sign(key, hashes.SHA256())


def requested(path, body):
    """The OCSP request of a POST, or of a GET."""
    return ocsp.load_der_ocsp_request(body or base64.b64decode(urllib.parse.unquote(path.split("/ocsp/", 1)[1])))


def altered(path, body, answer):
    """The last figure of producedAt is another one: every octet still parses, the signature is not over this."""
    if not path.startswith("/ocsp"):
        return 200, answer
    at = re.search(rb"\x18\x0f20\d{11}(\d)Z", answer).start(1)
    return 200, answer[:at] + (b"1" if answer[at:at + 1] != b"1" else b"2") + answer[at + 1:]


def silent(path, body, answer):
    return (503, b"") if path.startswith("/ocsp") or path.endswith(".crl") else (200, answer)


def crl_altered(path, body, answer):
    """The last octet of the signature."""
    return 200, answer[:-1] + bytes([answer[-1] ^ 1]) if path.endswith("/issuing.crl") else answer


def good_by(leaf, issuing, key, responder):
    """A lie: this responder says good, whatever the va says."""
    def lie(path, body, answer):
        if not path.startswith("/ocsp"):
            return 200, answer
        request = requested(path, body)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=load(leaf), issuer=issuing, algorithm=request.hash_algorithm, cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now(), next_update=now() + timedelta(hours=1), revocation_time=None, revocation_reason=None)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder).certificates([responder])
        for extension in request.extensions:
            builder = builder.add_extension(extension.value, critical=False)
        return 200, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return lie


# ---- the installation ----

class Provider(installation.Installation):
    """Alice's certificate is good, Bob's revoked, Carol's signed by the issuing key and recorded by nobody."""

    def __init__(self):
        self.middle, self.stamps = Middle(), Middle()
        super().__init__(options=["--public-url", f"http://127.0.0.1:{self.middle.port}/"])
        self.middle.target, self.stamps.target = self.base, self.base + 1
        self.ocsp_url = f"http://127.0.0.1:{self.middle.port}/ocsp"
        self.tsa_url = f"http://127.0.0.1:{self.stamps.port}/tsa"
        self.start()
        self.compared = time.monotonic() + 8
        self.root, self.issuing = self.certificate("root"), self.work / "issuing.pem"
        self.issuing.write_bytes(pem(load(self.certificate("issuing"))))
        self.alice, _ = self.issue("alice")
        self.bob, serial = self.issue("bob")
        self.check("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
        self.check("crl", "issue")
        self.carol = self.forge("carol")
        self.lies = dict(self.answers_by_others(), altered=altered, silent=silent, crl_altered=crl_altered)

    def forge(self, name, usage=ExtendedKeyUsageOID.CLIENT_AUTH):
        """What a CA that lost its records would have issued: keyd signs, the ca never hears of it. Not before the ca has compared the log
        once more, some seconds after its start, or it would find the record and close the serial as revoked."""
        time.sleep(max(0, self.compared - time.monotonic()))
        key = save_key(self.work / f"{name}.key", ec.generate_private_key(ec.SECP256R1()))
        issuing, throwaway = load(self.issuing), ec.generate_private_key(ec.SECP256R1())
        model = load(self.alice).extensions
        subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "BE"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = builder_for(subject, issuing.subject, key.public_key(), usage)
        for kind in (x509.AuthorityInformationAccess, x509.CRLDistributionPoints, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(model.get_extension_for_class(kind).value, critical=False)
        unsigned = builder.sign(throwaway, hashes.SHA256())
        client = keyd_client.Client(str(self.home / "run" / "keyd-ca.sock"))
        signature = client.sign("issuing", keyd_client.CERTIFICATE, "ecdsa-sha256", unsigned.tbs_certificate_bytes)
        client.close()
        path = self.work / f"{name}.pem"
        algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
        whole = tlv(0x30, unsigned.tbs_certificate_bytes + algorithm + tlv(3, b"\0" + signature))
        path.write_bytes(pem(x509.load_der_x509_certificate(whole)))
        return path

    def answers_by_others(self):
        """Lies with a signature that holds, by those who may not sign."""
        issuing, bob = load(self.issuing), self.bob
        key, impostor = stranger(issuing.subject)
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TEST OCSP")])
        responder = builder_for(subject, issuing.subject, own.public_key(), ExtendedKeyUsageOID.OCSP_SIGNING).sign(key, hashes.SHA256())
        alice_key = serialization.load_pem_private_key((self.work / "alice.key").read_bytes(), None)
        return {"impostor": good_by(bob, issuing, own, responder), "subscriber": good_by(bob, issuing, alice_key, load(self.alice))}

    def lie(self, name):
        """From now on the network does this (None: it is honest), and what it saw is forgotten."""
        self.middle.lie = self.lies[name] if name else None
        self.middle.seen.clear()

    def close(self):
        super().close()
        self.middle.close()
        self.stamps.close()


def run(command, timeout=60, **more):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout, **more)


def compile_java(classes):
    done = run(["javac", "-Xlint:all,-path,-serial", "-Werror", "-cp", BOUNCY_CASTLE, "-d", classes, *SOURCES.glob("*.java")], timeout=120)
    assert done.returncode == 0, done.stdout
