"""Time-stamping authorities that are not ours, for checkpoints: `openssl ts -reply` behind a small HTTP server that can be told to misbehave; and
a reader of what auditd keeps, from the layout alone."""
import datetime
import http.server
import os
import pathlib
import re
import subprocess
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import keyd_client as kc
from va_world import key_pem, pem


def certificate(name, key, issuer=None, issuer_key=None, usage=None, days=(-10, 10)):
    today = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject if issuer else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(today + datetime.timedelta(days=days[0])).not_valid_after(today + datetime.timedelta(days=days[1]))
    )
    if usage is None:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    return builder.sign(issuer_key or key, hashes.SHA256())


class Authority:
    """`mode` says how it answers: good, down (500), silent, empty, garbage, huge, other-data, other-nonce, rejects, and stranger (another root)."""

    def __init__(self, directory, kind="ec"):
        self.directory = pathlib.Path(directory)
        self.mode, self.asked, self.lock = "good", 0, threading.Lock()
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = certificate("TEST foreign root", self.root_key)
        (self.directory / "root.pem").write_bytes(pem(self.root))
        (self.directory / "serial").write_text("01\n")
        self.key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        self.unit("good", self.root, self.root_key)
        other_key = ec.generate_private_key(ec.SECP256R1())
        self.unit("stranger", certificate("TEST foreign root", other_key), other_key)
        authority = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                authority.answer(self)

            def log_message(self, *ignored):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/stamp"

    def unit(self, name, root, root_key):
        unit = certificate("TEST foreign unit", self.key, root, root_key, ExtendedKeyUsageOID.TIME_STAMPING)
        (self.directory / f"{name}.pem").write_bytes(pem(unit))
        (self.directory / f"{name}.key").write_bytes(key_pem(self.key))
        (self.directory / f"{name}.cnf").write_text(
            f"[tsa]\ndefault_tsa = t\n[t]\nserial = {self.directory}/serial\nsigner_cert = {self.directory}/{name}.pem\n"
            f"signer_key = {self.directory}/{name}.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\ndigests = sha256\n"
            "ess_cert_id_alg = sha256\n")

    def reply(self, query, name="good"):
        (self.directory / "query").write_bytes(query)
        return subprocess.run(["openssl", "ts", "-reply", "-config", f"{self.directory}/{name}.cnf", "-queryfile", f"{self.directory}/query"],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def query(self, *options):
        return subprocess.run(["openssl", "ts", "-query", "-cert", *options], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def body(self, query):
        if self.mode == "stranger":
            return self.reply(query, "stranger")
        if self.mode == "other-data":
            return self.reply(self.query("-digest", "00" * 32, "-sha256"))
        if self.mode == "other-nonce":
            imprint = re.search(rb"\x04\x20(.{32})", query, re.S).group(1)
            return self.reply(self.query("-digest", imprint.hex(), "-sha256"))
        if self.mode == "rejects":
            return self.reply(self.query("-digest", "00" * 64, "-sha512"))
        return {"empty": b"", "garbage": b"\x30\x82" + os.urandom(200), "huge": b"\x30" * 100_000}.get(self.mode) if self.mode != "good" else self.reply(query)

    def answer(self, request):
        query = request.rfile.read(int(request.headers["Content-Length"]))
        with self.lock:
            self.asked += 1
            assert request.path == "/stamp" and request.headers["Content-Type"] == "application/timestamp-query"
            if self.mode == "silent":
                time.sleep(0.5)
                return
            body = b"" if self.mode == "down" else self.body(query)
        request.send_response(500 if self.mode == "down" else 200)
        request.send_header("Content-Type", "application/timestamp-reply")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def conf(url, anchor, interval="100ms", alarm="1h", limit="1h"):
    return f"stamp-url = {url}\nstamp-anchor = {anchor}\nstamp-interval = {interval}\nstamp-alarm-age = {alarm}\nstamp-age-limit = {limit}\n"


def sizes(log):
    """Sizes of the checkpoints that have a stamp."""
    return sorted(int("".join(path.relative_to(pathlib.Path(log) / "stamp").with_suffix("").parts)) for path in pathlib.Path(log).glob("stamp/**/*.checkpoint"))


def path_of(log, size, suffix):
    digits = f"{size:021d}"
    return pathlib.Path(log, "stamp", *(digits[i:i + 3] for i in range(0, 21, 3))).with_suffix("." + suffix)


def openssl_verifies(log, size, root, untrusted=None, data=None):
    """By `openssl ts -verify`, which knows nothing of logs."""
    command = ["openssl", "ts", "-verify", "-data", str(data or path_of(log, size, "checkpoint")), "-in", str(path_of(log, size, "token")), "-token_in",
               "-CAfile", str(root)] + (["-untrusted", str(untrusted)] if untrusted else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0 and "Verification: OK" in done.stdout


CONDITIONS = ["none", "well", "late", "overdue"]


def condition(socket):
    """What auditd says of its stamps."""
    client = kc.Client(socket)
    r = kc.Reader(client.call(7))
    client.close()
    return {"condition": CONDITIONS[r.number(1)], "size": r.number(8), "time": r.number(8), "waiting": r.number(8), "limit": r.number(8), "failure": r.text()}
