"""Strangers at the public doors of va and tsa: slow, idle, many, contradictory, endless. Others are served meanwhile, in bounded memory.

What is promised is in docs/dev/interop.md, "Strangers". 2,000 connections stand idle, 10,000 with CHANCERY_LONG=1.
"""
import os
import resource
import socket
import statistics
import tempfile
import threading
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

import keyd_client
import tsa_world
import va_world

IDLE = 10000 if os.environ.get("CHANCERY_LONG") == "1" else 2000
MEGABYTE = 1 << 20
GROWTH_MAX = 48 * MEGABYTE       # of resident memory at its highest, whatever strangers do
SANITIZED = "asan" in os.path.basename(keyd_client.BUILD)  # some times slower, and no measure of time
SLOWEST, TYPICAL = (9.0, 1.0) if SANITIZED else (3.0, 0.2)  # seconds for somebody else's request on a new connection: the slowest, the median


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Door:
    """A running daemon as strangers see it: a port, and a request with what its answer must begin with."""

    def __init__(self, port, pid, request, media_type, path, proof, tls_port=None):
        self.port, self.pid, self.body, self.proof, self.tls_port, self.path = port, pid, request, proof, tls_port, path
        self.head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n"
        self.media_type = media_type
        self.before = self.memory()

    def memory(self):
        with open(f"/proc/{self.pid}/status") as f:
            fields = dict(line.split(":", 1) for line in f)
        return int(fields["VmHWM"].split()[0]) * 1024

    def dial(self, port=None):
        s = socket.create_connection(("127.0.0.1", port or self.port), timeout=20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def whole(self, close=True):
        return (self.head + f"Content-Length: {len(self.body)}\r\n" + ("Connection: close\r\n" if close else "") + "\r\n").encode() + self.body

    def ask(self):
        """One honest request on a connection of its own: the seconds it took."""
        begun = time.monotonic()
        with self.dial() as s:
            s.sendall(self.whole())
            answer = heard(s)
        assert answer.startswith(b"HTTP/1.1 200 ") and self.proof in answer, answer[:300]
        return time.monotonic() - begun

    def serves_others(self, count=60):
        took = [self.ask() for _ in range(count)]
        assert max(took) < SLOWEST and statistics.median(took) < TYPICAL, (max(took), statistics.median(took))

    def is_lean(self):
        grown = self.memory() - self.before
        assert keyd_client.sanitized() or grown < GROWTH_MAX, f"{grown / MEGABYTE:.1f} MB more than at the start"


def heard(s):
    """Everything until the peer closes or resets."""
    out = b""
    try:
        while part := s.recv(65536):
            out += part
    except ConnectionResetError:
        pass
    return out


@pytest.fixture(scope="module")
def va_door(tmp_path_factory):
    """With the usual soft limit of descriptors, which is less than the connections it promises."""
    world = va_world.World(tmp_path_factory.mktemp("va"), va_prefix=["prlimit", "--nofile=1024:20000"])
    try:
        world.found()
        request = ocsp.OCSPRequestBuilder().add_certificate(world.issue(), world.issuing.certificate, hashes.SHA1()).build()
        request = request.public_bytes(serialization.Encoding.DER)
        yield Door(world.port, world.va.process.pid, request, "application/ocsp-request", "/ocsp", va_world.der(world.signer))
    finally:
        world.close()


@pytest.fixture(scope="module")
def tsa_door():
    world = tsa_world.World(tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp"), options="idle = 3s")
    try:
        yield Door(world.port, world.tsa.process.pid, world.query(), "application/timestamp-query", "/tsa", b"\x30\x03\x02\x01\x00",
                   tls_port=world.https_port)
    finally:
        world.close()


@pytest.fixture(params=["va", "tsa"])
def door(request):
    found = request.getfixturevalue(f"{request.param}_door")
    found.ask()
    return found


# ---- slow ----

class Dripping:
    """Connections that send one octet of `text` each now and then, from a thread, until told to stop."""

    def __init__(self, door, count, text, pause=0.2):
        self.connections, self.text, self.pause, self.ending = [door.dial() for _ in range(count)], text, pause, threading.Event()
        self.thread = threading.Thread(target=self.drip, daemon=True)

    def drip(self):
        for octet in range(len(self.text)):
            for s in self.connections:
                try:
                    s.send(self.text[octet:octet + 1])
                except OSError:
                    pass
            if self.ending.wait(self.pause):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        for s in self.connections:
            s.close()


def slow_head(door):
    return (door.head + "X-Slow: " + "x" * 2000).encode()


def slow_body(door):
    return (door.head + f"Content-Length: {len(door.body)}\r\n\r\n").encode() + door.body[:-1]


@pytest.mark.parametrize("text", [slow_head, slow_body])
def test_who_sends_octet_by_octet_holds_up_nobody(door, text):
    with Dripping(door, 300, text(door)):
        for _ in range(3):
            door.serves_others(20)
            time.sleep(0.3)
        door.is_lean()


@pytest.mark.parametrize("text", [slow_head, slow_body])
def test_a_request_that_never_ends_is_closed_although_octets_come(tsa_door, text):
    """idle is 3 s here; nothing that arrives makes it longer."""
    with tsa_door.dial() as s, Dripping(tsa_door, 0, b""):
        begun, data = time.monotonic(), text(tsa_door)
        with pytest.raises(OSError):
            for octet in range(100):
                s.send(data[octet:octet + 1])
                time.sleep(0.1)
        assert 2.5 < time.monotonic() - begun < 6.5


# ---- many ----

def test_idle_connections_do_not_keep_others_out(door):
    """More than the tsa takes by default (1,024), and with CHANCERY_LONG=1 more than the va does (4,096): the longest idle one makes room."""
    ports = [door.port] if door.tls_port is None else [door.port, door.tls_port]
    idle = [door.dial(ports[i % len(ports)]) for i in range(IDLE)]
    try:
        door.serves_others()
        door.is_lean()
    finally:
        for s in idle:
            s.close()
    door.serves_others(20)


def test_half_sent_heads_do_not_keep_others_out(door):
    idle = []
    try:
        for _ in range(IDLE):
            idle.append(door.dial())
            idle[-1].send(door.head.encode())
        door.serves_others()
        door.is_lean()
    finally:
        for s in idle:
            s.close()


# ---- one after the other ----

def test_pipelined_requests_are_answered_in_order_and_to_the_last(door):
    count = 200
    with door.dial() as s:
        sender = threading.Thread(target=s.sendall, args=(door.whole(close=False) * count + door.whole(),))
        sender.start()
        answer = heard(s)
        sender.join()
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == answer.count(door.proof) == count + 1, answer[:300]


def test_who_pipelines_and_does_not_read_costs_little(door):
    """The server reads no further than it can answer."""
    door_steps = door.whole(close=False) * 50
    connections = [door.dial() for _ in range(20)]
    try:
        sent = 0
        for s in connections:
            s.setblocking(False)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for s in connections:
                try:
                    sent += s.send(door_steps)
                except BlockingIOError:
                    pass
            time.sleep(0.001)
        door.serves_others(20)
        door.is_lean()
        assert sent > MEGABYTE
    finally:
        for s in connections:
            s.close()


# ---- contradictory ----

def two_meanings(door):
    """Requests whose end two readers could see in different places, each with a second request behind."""
    n, body = len(door.body), door.body
    chunked = b"%x\r\n" % n + body + b"\r\n0\r\n\r\n"
    yield "two lengths", f"Content-Length: {n}\r\nContent-Length: {n + 1}\r\n", body
    yield "the same length twice", f"Content-Length: {n}\r\nContent-Length: {n}\r\n", body
    yield "a list of lengths", f"Content-Length: {n}, {n}\r\n", body
    yield "length and chunked", f"Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n", chunked
    yield "chunked and length", f"Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n", chunked
    yield "chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked
    yield "chunked is not last", "Transfer-Encoding: chunked, identity\r\n", chunked
    yield "chunked by another name", "Transfer-Encoding: xchunked\r\n", chunked
    yield "a signed length", f"Content-Length: +{n}\r\n", body
    yield "a hexadecimal length", f"Content-Length: 0x{n:x}\r\n", body
    yield "a negative length", "Content-Length: -1\r\n", body
    yield "a length beyond 64 bits", f"Content-Length: {(1 << 64) + n}\r\n", body
    yield "a space before the colon", f"Content-Length : {n}\r\n", body
    yield "a folded line", f"Content-Length:\r\n {n}\r\n", body
    yield "a bare line feed", f"Content-Length: {n}\nX: y\r\n", body
    yield "a broken chunk size", "Transfer-Encoding: chunked\r\n", b"zz\r\n" + body
    yield "a chunk longer than it says", "Transfer-Encoding: chunked\r\n", b"%x\r\n" % (n - 1) + body + b"\r\n0\r\n\r\n"
    yield "a chunk size beyond 64 bits", "Transfer-Encoding: chunked\r\n", b"1" + b"0" * 16 + b"\r\n" + body


#  rfc9112#6.3 what frames a body in two ways is refused, and the connection closed: nothing behind it is a request
def test_what_can_be_read_in_two_ways_is_read_in_none(door):
    second = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for what, lengths, body in two_meanings(door):
        with door.dial() as s:
            s.sendall((door.head + lengths + "\r\n").encode() + body + second)
            s.shutdown(socket.SHUT_WR)
            answer = heard(s)
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501", b"HTTP/1.1 413") and answer.count(b"HTTP/1.1 ") == 1, (what, answer[:300])
        assert door.proof not in answer, what
    door.ask()


def test_a_chunked_request_is_served(door):
    """The counterpart: in pieces of one octet, with an extension and a trailer."""
    pieces = b"".join(b"1;a=b\r\n" + door.body[i:i + 1] + b"\r\n" for i in range(len(door.body)))
    with door.dial() as s:
        s.sendall((door.head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode() + pieces + b"0\r\nX: y\r\n\r\n")
        answer = heard(s)
    assert answer.startswith(b"HTTP/1.1 200 ") and door.proof in answer, answer[:300]


# ---- endless ----

def pour(s, total, framed):
    """Send so much, or as much as the peer lets: the octets sent."""
    piece, sent = bytes(MEGABYTE), 0
    if framed:
        piece = b"%x\r\n" % MEGABYTE + piece + b"\r\n"
    try:
        while sent < total:
            s.sendall(piece)
            sent += MEGABYTE
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gigabyte_is_refused_and_costs_nothing(door, framing):
    gigabyte = 1 << 30
    lengths = f"Content-Length: {gigabyte}\r\n" if framing == "length" else "Transfer-Encoding: chunked\r\n"
    connections = [door.dial() for _ in range(4)]
    try:
        for s in connections:
            s.sendall((door.head + lengths + "\r\n").encode())
        for s in connections[2:]:  # a length is refused before an octet of the body came, chunks when they are too many
            if framing == "chunked":
                s.sendall(b"%x\r\n" % MEGABYTE + bytes(MEGABYTE // 2))
            assert s.recv(12) == b"HTTP/1.1 413"
        pouring = [threading.Thread(target=pour, args=(s, gigabyte, framing == "chunked")) for s in connections[:2]]
        for one in pouring:
            one.start()
        door.serves_others(20)
        door.is_lean()
        for one in pouring:
            one.join()
        door.is_lean()
    finally:
        for s in connections:
            s.close()
