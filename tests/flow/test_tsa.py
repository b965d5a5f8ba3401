"""The time-stamping authority as its clients, its operator and its enemies meet it."""

import concurrent.futures
import http.client
import re
import signal
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

import keyd_client
from tsa_world import (OTHER_POLICY, POLICY, QUERY, TEST_POLICY, LyingKeyd, World, clock_is_synchronised)
from va_world import pem, program, wait_for


@pytest.fixture(scope="module")
def world():
    w = World(tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp"))
    yield w
    w.close()


@pytest.fixture
def own_world():
    w = World(tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp"))
    yield w
    w.close()


# ---- tokens ----

@pytest.mark.parametrize("https", [False, True])
@pytest.mark.parametrize("path", ["/", "/tsa"])
def test_openssl_verifies_a_token_and_no_changed_one(world, path, https):
    query = world.query()
    answer = world.stamp(query, path, https)
    assert world.verify(query, answer)
    start = answer.index(b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04")  # id-ct-TSTInfo
    for at in list(range(start + 30, start + 120, 15)) + [len(answer) - 1]:
        changed = bytearray(answer)
        changed[at] ^= 1
        assert not world.verify(query, bytes(changed)), at
    assert not world.verify(world.query(b"other data"), answer)


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("policy", [None, TEST_POLICY])
@pytest.mark.parametrize("nonce", [False, True])
@pytest.mark.parametrize("cert", [False, True])
def test_what_is_asked_for_is_given(world, digest, policy, nonce, cert):
    query = world.query(digest=digest, policy=policy, nonce=nonce, cert=cert)
    answer = world.stamp(query)
    text = world.text(answer)
    assert f"Policy OID: {TEST_POLICY}" in text
    assert f"Hash Algorithm: {digest}" in text
    assert "0x01F4 millis" in text
    asked = re.search(r"Nonce: (.*)", text).group(1)
    assert (asked == "unspecified") == (not nonce)
    certificates = answer.count(b"\x06\x03\x55\x1d\x0f")  # keyUsage: once in each certificate
    assert certificates == (2 if cert else 0)             # the unit's and its issuer's, never the root's
    assert world.verify(query, answer)
    if not cert:
        assert not world.verify(query, answer, untrusted=False)


def test_serials_never_repeat_also_over_restarts(own_world):
    serials, before = [], own_world.tokens_on_record()
    for _ in range(3):
        for _ in range(20):
            text = own_world.text(own_world.stamp(own_world.query()))
            serials.append(int(re.search(r"Serial number: 0x([0-9A-F]+)", text).group(1), 16))
        own_world.restart()
    assert len(set(serials)) == len(serials) == 60
    assert all(s.bit_length() > 100 for s in serials)
    assert own_world.tokens_on_record() - before == 60


def test_every_token_is_on_record_with_its_content(own_world):
    text = own_world.text(own_world.stamp(own_world.query()))
    serial = re.search(r"Serial number: 0x([0-9A-F]+)", text).group(1).lower()
    records = own_world.keyd.records().decode(errors="replace")
    assert f'"serial":"{serial}"' in records or f'"serial":"00{serial}"' in records


# ---- refusals ----

FAILURES = {
    "bad algorithm": "unrecognized or unsupported algorithm identifier",
    "bad request": "transaction not permitted or supported",
    "bad data": "the data submitted has the wrong format",
    "policy": "the requested TSA policy is not supported by the TSA",
    "extension": "the requested extension is not supported by the TSA",
    "time": "the TSA's time source is not available",
    "system": "the request cannot be handled due to system failure",
}


def with_extension(query):
    """The request with an extension put behind it: [0] { Extension { 1.2.3, OCTET STRING } }."""
    extension = bytes.fromhex("a00a300806022a0304023000")
    assert query[0] == 0x30 and query[1] < 0x60
    return b"\x30" + bytes([query[1] + len(extension)]) + query[2:] + extension


def test_each_fault_has_its_failure_info(world):
    query = world.query()
    version_2 = query.replace(b"\x02\x01\x01", b"\x02\x01\x02", 1)
    rows = [
        (world.query(digest="sha1"), "bad algorithm"),
        (world.query(digest="md5"), "bad algorithm"),
        (world.query(digest="sha224"), "bad algorithm"),
        (version_2, "bad request"),
        (world.query(policy=OTHER_POLICY), "policy"),
        (with_extension(query), "extension"),
        (query + b"\0", "bad data"),
        (query[:-1], "bad data"),
        (b"rubbish", "bad data"),
        (b"\x30\x00", "bad data"),
        (b"\x04\x20" + bytes(32), "bad data"),
        (world.query(digest="sha256").replace(b"\x04\x20", b"\x04\x1f", 1)[:-1], "bad data"),
    ]
    before = world.tokens_on_record()
    for request, failure in rows:
        assert world.failure(world.stamp(request)) == FAILURES[failure], failure
    assert world.tokens_on_record() == before


def test_http_has_its_own_refusals(world):
    query = world.query()
    assert world.request("GET", "/")[0] == 405
    assert world.request("PUT", "/tsa", query, QUERY)[0] == 405
    assert world.request("POST", "/", query, {"Content-Type": "application/json"})[0] == 415
    assert world.request("POST", "/", query, {"Content-Type": "application/timestamp-queries"})[0] == 415
    assert world.request("POST", "/", query)[0] == 415
    assert world.request("POST", "/other", query, QUERY)[0] == 404
    assert world.request("POST", "/", query, dict(QUERY, **{"X-Long": "x" * 20000}))[0] == 431
    assert world.request("POST", "/", bytes(5000), QUERY)[0] == 413
    assert world.request("POST", "/", b"", QUERY)[0] in (200, 400, 411)
    assert world.request("POST", "/", query, {"Content-Type": "application/timestamp-query; charset=binary"})[0] == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Type", QUERY["Content-Type"])
    connection.putheader("Content-Length", str(1 << 30))
    connection.endheaders()
    assert connection.getresponse().status == 413  # not an octet of the body was sent
    connection.close()


# ---- what the unit needs ----

def test_without_keyd_nothing_is_issued_and_with_it_again_all_is(own_world):
    query = own_world.query()
    assert own_world.failure(own_world.stamp(query)) is None
    own_world.keyd.stop(signal.SIGKILL)
    answer = own_world.stamp(query)
    assert own_world.failure(answer) == FAILURES["system"]
    assert b"keyd" not in answer  # a stranger learns nothing of our inside
    assert own_world.request("GET", "/healthz")[0] == 503
    own_world.keyd.start()
    assert own_world.failure(own_world.stamp(query)) is None
    assert own_world.request("GET", "/healthz")[0] == 200


def test_the_unit_stops_at_the_end_of_its_keys_life(own_world):
    own_world.write_certificate(key_seconds=4)
    own_world.restart()
    query = own_world.query()
    assert own_world.failure(own_world.stamp(query)) is None
    wait_for(lambda: own_world.request("GET", "/healthz")[0] == 503)
    assert own_world.failure(own_world.stamp(query)) == FAILURES["system"]
    assert "past the end of its use" in own_world.text(own_world.stamp(query))


def test_units_that_may_not_stamp_do_not_start(own_world):
    w = own_world
    rows = [
        (dict(critical=False), "not for time-stamps"),
        (dict(usage=(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)), "not for time-stamps"),
        (dict(usage=(ExtendedKeyUsageOID.SERVER_AUTH,)), "not for time-stamps"),
        (dict(key_seconds=-1), "period is not begun or over"),
        (dict(issuer=w.management), "chain"),
    ]
    for certificate, reason in rows:
        w.write_certificate(**certificate)
        assert reason in w.refused_to_start(), certificate


def test_a_certificate_for_another_key_does_not_start(own_world):
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own_world.write_certificate(spki=other)
    assert "not for keyd's key" in own_world.refused_to_start()


def test_the_test_clock_needs_a_test_policy_and_no_qualified_unit(own_world):
    w = own_world
    assert "clock = test is refused for a qualified unit" in w.refused_to_start(options="qualified = yes")
    w.write_conf(clock="test")
    conf = (w.directory / "tsa.conf").read_text()
    (w.directory / "tsa.conf").write_text("\n".join(l for l in conf.splitlines() if not l.startswith("test-policy")))
    done = subprocess.run([program("chancery-tsa"), "--config", str(w.directory / "tsa.conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=20)
    assert done.returncode == 13 and "needs test-policy" in done.stdout
    w.start()
    assert "TEST: clock = test" in w.tsa.log()


@pytest.mark.skipif(clock_is_synchronised(), reason="this machine's clock is synchronised")
def test_with_the_kernels_clock_unsynchronised_every_request_is_refused(own_world):
    w = own_world
    w.restart(clock="kernel", options=f"policy = {POLICY}\npolicy = {OTHER_POLICY}")
    before = w.tokens_on_record()
    for digest in ("sha256", "sha384", "sha512"):
        for policy in (None, POLICY, OTHER_POLICY, TEST_POLICY):
            for cert in (True, False):
                answer = w.stamp(w.query(digest=digest, policy=policy, cert=cert))
                assert w.failure(answer) == FAILURES["time"]
    assert w.tokens_on_record() == before
    status, _, body = w.request("GET", "/healthz")
    assert status == 503 and b"synchronised" in body
    journal = (w.directory / "tsa.journal").read_bytes()
    assert b'"event":"clock.lost"' in journal and b'"event":"clock.regained"' not in journal


def test_a_token_that_does_not_verify_stops_the_unit(own_world):
    w = own_world
    liar = LyingKeyd(w.directory / "liar.sock", w.keyd_socket)
    w.keyd_socket = liar.path
    w.restart(options="verify-every = 5")
    query = w.query()
    assert w.failure(w.stamp(query)) is None
    liar.lie = True
    answers = [w.stamp(query) for _ in range(10)]
    failed = [w.failure(a) for a in answers]
    assert FAILURES["system"] in failed
    first = failed.index(FAILURES["system"])
    assert all(f == FAILURES["system"] for f in failed[first:])  # for good, not for this one
    assert first <= 4                                            # one in five is looked at
    liar.lie = False
    assert w.failure(w.stamp(query)) == FAILURES["system"]
    assert "NO MORE TIME-STAMPS" in w.tsa.log()
    assert w.request("GET", "/healthz")[0] == 503
    w.restart(options="verify-every = 5")
    assert w.failure(w.stamp(query)) is None
    w.restart()
    liar.lie = True
    w.restart()
    assert w.failure(w.stamp(query)) == FAILURES["system"]       # the first after a start is always looked at
    liar.close()


# ---- killed ----

def serial_of(w, answer):
    return int(re.search(r"Serial number: 0x([0-9A-F]+)", w.text(answer)).group(1), 16)


def test_killed_at_any_moment_no_token_is_lost_from_the_record_or_repeated(own_world):
    """Clients post all the time while tsa and keyd are killed in turn; what anybody received is on record, once."""
    w, answers, stopping = own_world, [], threading.Event()
    queries = [w.query(data=bytes([i])) for i in range(4)]

    def client(query):
        while not stopping.is_set():
            try:
                status, _, body = w.request("POST", "/", query, QUERY)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if status == 200 and len(body) > 500:
                answers.append((query, body))

    threads = [threading.Thread(target=client, args=(q,)) for q in queries]
    for t in threads:
        t.start()
    for round_number in range(6):
        count = len(answers)
        wait_for(lambda: len(answers) > count + 5, 20)
        if round_number % 2 == 0:
            w.tsa.kill(signal.SIGKILL)
            w.start()
        else:
            w.keyd.stop(signal.SIGKILL)
            w.keyd.start()
    count = len(answers)
    wait_for(lambda: len(answers) > count + 5, 20)
    stopping.set()
    for t in threads:
        t.join()
    recorded = [int(s, 16) for s in re.findall(rb'"event":"sign.time_stamp".*?"serial":"([0-9a-f]+)"', w.keyd.records(), re.DOTALL)]
    assert len(set(recorded)) == len(recorded)
    sample = answers[:: max(1, len(answers) // 100)]
    serials = [serial_of(w, body) for _, body in sample]
    assert len(set(serials)) == len(serials)
    assert set(serials) <= set(recorded)
    assert len(answers) <= len(recorded)
    for query, body in sample[::10]:
        assert w.verify(query, body)


# ---- in service ----

def test_policies_and_certificate_are_read_again_on_hangup(own_world):
    w = own_world
    serial = w.certificate.serial_number
    w.write_certificate(name="TEST TSU 1")
    assert w.certificate.serial_number != serial
    w.tsa.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in w.tsa.log())
    query = w.query()
    answer = w.stamp(query)
    assert w.verify(query, answer)
    number = w.certificate.serial_number
    assert number.to_bytes((number.bit_length() + 7) // 8, "big") in answer
    w.write_conf(options="accuracy = 250ms")
    w.tsa.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the former configuration stays" in w.tsa.log())
    assert "0x01F4 millis" in w.text(w.stamp(query))


def served_certificate(w):
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", w.https_port)).encode())


def test_the_ca_and_nobody_else_renews_the_tls_certificate(own_world):
    w = own_world
    renewed = w.tls_certificate("tsa", days=60)
    stranger = w.tls_certificate("tsa", days=60, key=ec.generate_private_key(ec.SECP256R1()))
    foreign = w.tls_certificate("tsa", days=60, issuer=w.issuing)
    shorter = w.tls_certificate("tsa", days=10)
    assert w.push_certificate(pem(renewed), peer="va") == 403
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        w.push_certificate(pem(renewed), peer=None)
    assert w.push_certificate(pem(stranger)) == 422
    assert w.push_certificate(pem(foreign)) == 422
    assert w.push_certificate(pem(shorter)) == 409
    assert w.push_certificate(b"rubbish") == 400
    assert w.push_certificate(pem(renewed), media_type="text/plain") == 415
    assert served_certificate(w).serial_number != renewed.serial_number
    assert w.push_certificate(pem(renewed)) == 204
    wait_for(lambda: served_certificate(w).serial_number == renewed.serial_number)
    assert w.request("PUT", "/v1/certificate", pem(renewed), {"Content-Type": "application/x-pem-file"}, https=True)[0] == 404


def test_the_tsa_stops_in_order(own_world):
    assert own_world.tsa.kill(signal.SIGTERM) == 0
    own_world.tsa = None
    journal = (own_world.directory / "tsa.journal").read_bytes()
    assert journal.count(b'"event":"service.started"') == 1 and journal.count(b'"event":"service.stopped"') == 1


def test_a_full_queue_is_answered_with_a_rejection_in_http_200(own_world):
    """rfc3161#2.4.2 systemFailure. keyd stands still, so that one request is with the only worker and one waits; more are told at once."""
    own_world.restart("workers = 1\nqueue = 1")
    query = own_world.query()
    ask = lambda: own_world.request("POST", "/", query, QUERY)
    keyd_client.pause(own_world.keyd.process)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        try:
            asked = [pool.submit(ask) for _ in range(8)]
            until = time.monotonic() + 10
            while sum(one.done() for one in asked) < 6:
                assert time.monotonic() < until
                time.sleep(0.02)
            for status, headers, body in [one.result() for one in asked if one.done()]:
                assert (status, headers["content-type"]) == (200, "application/timestamp-reply")
                assert "system" in own_world.failure(body).lower(), own_world.text(body)
                assert "try again" in own_world.text(body)
        finally:
            own_world.keyd.process.send_signal(signal.SIGCONT)
        answers = [one.result()[2] for one in asked]
    assert sum(own_world.verify(query, answer) for answer in answers) == 2
