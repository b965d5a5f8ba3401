"""A second host for a log: chancery-copy with a keyd of its own, reached by mutual TLS only; and the log's side of the wire, to be spoken by tests."""
import base64
import hashlib
import http.client
import os
import pathlib
import socket
import ssl

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from prometheus_client.parser import text_string_to_metric_families

import audit_world as aw
import keyd_client as kc
from tsa_world import World as TsaWorld
from va_world import Authority, Daemon, free_port, key_pem, pem, program

NAME = "copy.test/flow"


def raw_of(spki):
    return serialization.load_der_public_key(spki).public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def verifier_key(name, kind, spki):
    """NAME+id+base64 of an Ed25519 key: 1 signs as a log, 4 as a cosigner."""
    raw = bytes([kind]) + raw_of(spki)
    identity = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    return f"{name}+{identity.hex()}+{base64.b64encode(raw).decode()}"


def cosigned(note, spki, name=NAME):
    """Time of the cosignature in a note, by c2sp.org/tlog-cosignature alone; an exception when it is not good."""
    text, signatures = note.rsplit("\n\n", 1)
    line = next(line for line in signatures.splitlines() if line.startswith(f"\u2014 {name} "))
    payload = base64.b64decode(line.split(" ")[2], validate=True)
    assert payload[:4] == hashlib.sha256(name.encode() + b"\n\x04" + raw_of(spki)).digest()[:4]
    seconds = int.from_bytes(payload[4:12], "big")
    signed = f"cosignature/v1\ntime {seconds}\n{text}\n"
    ed25519.Ed25519PublicKey.from_public_bytes(raw_of(spki)).verify(payload[12:], signed.encode())
    return seconds


class Copy:
    tls_certificate = TsaWorld.tls_certificate

    def __init__(self, directory, log_spki, build=None):
        self.program = os.path.join(build, "src", "chancery-copy") if build else program("chancery-copy")
        self.directory = pathlib.Path(directory)
        self.management = Authority(9, "management", "TEST Management")
        self.tls_keys, self.daemon, self.port = {}, None, free_port()
        self.metrics = self.directory / "metrics.sock"
        self.log = self.directory / "copy"
        (self.directory / "management-ca.pem").write_bytes(pem(self.management.certificate))
        for name in ("copy", "auditd", "va"):
            self.tls_keys[name] = ec.generate_private_key(ec.SECP256R1())
            (self.directory / f"{name}.pem").write_bytes(pem(self.tls_certificate(name)))
            (self.directory / f"{name}.key").write_bytes(key_pem(self.tls_keys[name]))
            (self.directory / f"{name}.key").chmod(0o600)
        self.keyd = kc.Keyd(zone="log", extra="token = copy").start()
        self.keyd.token("copy")
        client = self.keyd.client()
        self.spki = client.generate("copy", type="ed25519", purposes=kc.LOG, origin=aw.ORIGIN)["spki"]
        client.close()
        (self.directory / "log.vkey").write_text(verifier_key(aw.ORIGIN, 1, log_spki) + "\n")
        (self.directory / "copy.conf").write_text(
            f"listen = 127.0.0.1:{self.port}\ntls-certificate = copy.pem\ntls-key = copy.key\ntls-ca = management-ca.pem\nlog-directory = copy\n"
            f"log-key = log.vkey\nkeyd-socket = {self.keyd.socket_path}\nname = {NAME}\naudit-journal = copy.journal\n"
            f"metrics-listen = unix:{self.metrics}\n")

    def conf(self, alarm="1h"):
        """What auditd of the log is told."""
        d = self.directory
        return (f"[copy second]\nurl = https://127.0.0.1:{self.port}\ntls-certificate = {d}/auditd.pem\ntls-key = {d}/auditd.key\n"
                f"tls-ca = {d}/management-ca.pem\ncosigner = {verifier_key(NAME, 4, self.spki)}\ninterval = 50ms\nalarm-age = {alarm}\n")

    def start(self, prefix=()):
        self.daemon = Daemon([*prefix, self.program, "--config", str(self.directory / "copy.conf")], self.directory, "copy")

    def stop(self):
        daemon, self.daemon = self.daemon, None
        return daemon.stop() if daemon is not None else 0

    def kill(self):
        self.daemon.process.kill()
        self.daemon.process.wait(20)
        self.daemon = None

    def close(self):
        code = self.stop()
        self.keyd.remove()
        assert code == 0

    def request(self, method, path, body=None, media_type=None, peer="auditd"):
        context = ssl.create_default_context(cafile=str(self.directory / "management-ca.pem"))
        if peer is not None:
            context.load_cert_chain(self.directory / f"{peer}.pem", self.directory / f"{peer}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read().decode()
        finally:
            connection.close()

    def put(self, path, body, **more):
        return self.request("PUT", "/tile/" + path, body, "application/octet-stream", **more)

    def add(self, old, proof, note, **more):
        body = f"old {old}\n" + "".join(base64.b64encode(hash_).decode() + "\n" for hash_ in proof) + "\n" + note
        return self.request("POST", "/add-checkpoint", body.encode(), "text/plain", **more)

    def page(self, path="/metrics"):
        """Metrics {(name, labels): value}, by Prometheus's parser; by the HTTP status alone when there are none."""
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.metrics))
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200:
            return answer.status
        assert answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text) for sample in family.samples}

    def size(self):
        return int(self.request("GET", "/size")[2])

    def records(self):
        return self.directory.joinpath("copy.journal").read_bytes()


def condition(socket):
    """What auditd says of its copies."""
    client = kc.Client(socket)
    r = kc.Reader(client.call(8))
    client.close()
    return [{"name": r.text(), "size": r.number(8), "behind": r.number(8), "late": r.number(1) == 1, "failure": r.text()} for _ in range(r.number(2))]


def note_of(log):
    return pathlib.Path(os.fspath(log), "checkpoint").read_text(encoding="utf-8")


__all__ = ["Copy", "condition", "cosigned", "note_of", "verifier_key", "NAME"]
