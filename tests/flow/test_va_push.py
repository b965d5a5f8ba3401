"""What the va takes from the ca, and from nobody else: feed, CRLs, its own renewed certificate; and what survives a kill."""

import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

import va_world
from va_world import (CONTINUATION, SNAPSHOT_END, SNAPSHOT_PART, SNAPSHOT_START, Authority, batch, der, item_ca, item_crl, item_signer,
                      item_status, key_pem, micros, moment_of, now, pem, wait_for)

FEED = "application/vnd.chancery.feed"


@pytest.fixture
def world(tmp_path):
    world = va_world.World(tmp_path)
    world.found()
    yield world
    world.close()


def status_of(world, certificate, issuer=None):
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, (issuer or world.issuing).certificate, hashes.SHA256())
    body = world.ocsp(builder.build().public_bytes(serialization.Encoding.DER))[2]
    return ocsp.load_der_ocsp_response(body).certificate_status.name


def restart(world, number=signal.SIGKILL):
    world.va.kill(number)
    world.start_va()


# ---- who may push ----

def test_only_the_ca_may_push(world):
    body = batch(world.number + 1, [item_status(world.issuing, 99)])
    assert world.push("POST", "/v1/feed", body, FEED, peer="operator")[0] == 403
    assert world.push("GET", "/v1/feed", peer="operator")[0] == 403
    assert world.push("PUT", "/v1/crls/issuing/9", b"x", "application/pkix-crl", peer="operator")[0] == 403
    assert world.push("PUT", "/v1/certificate", b"x", "application/x-pem-file", peer="operator")[0] == 403
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        world.push("GET", "/v1/feed", peer=None)
    stranger = Authority(50, "stranger", "TEST Other Management")
    key = world.tls_keys["ca"]
    (world.tls / "stranger.pem").write_bytes(pem(stranger.issue("ca", public_key=key.public_key())))
    (world.tls / "stranger.key").write_bytes(key_pem(key))
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        world.push("GET", "/v1/feed", peer="stranger")
    assert json.loads(world.push("GET", "/v1/feed")[1])["number"] == world.number


def test_nothing_is_pushed_on_the_public_listener(world):
    status, _, _ = world.request("POST", "/v1/feed", batch(world.number + 1, []), {"Content-Type": FEED})
    assert status == 404
    assert world.request("PUT", "/v1/crls/issuing/9", b"x", {"Content-Type": "application/pkix-crl"})[0] == 404


# ---- continuations ----

def test_only_the_next_number_is_taken(world):
    certificate = world.issuing.issue("TEST")
    items = [item_status(world.issuing, certificate.serial_number)]
    for first in (0, 1, world.number, world.number + 2, 2**64 - 1):
        status, body = world.feed(items, first=first)
        assert (status, json.loads(body)["number"]) == (200, world.number)
    assert status_of(world, certificate) == "UNKNOWN"
    assert world.feed([])[0] == 200                                        # a sign of life changes nothing
    world.feed_ok(items)
    assert status_of(world, certificate) == "GOOD"


def test_a_batch_is_taken_whole_or_not_at_all(world):
    certificate = world.issuing.issue("TEST")
    good = item_status(world.issuing, certificate.serial_number)
    bad = [b"\x02\x00\x00\x00\x01\x00", va_world.item(9, b"\x00\x02"), item_crl(world.issuing, world.issuing.crl(number=77)),
           item_status(world.issuing, 5, revoked_at=1, reason=7), item_signer(world.issuing, world.issuing.issue("no signer"), "x"),
           item_signer(world.issuing, world.second_signer, world.LABEL),
           item_signer(world.issuing, world.issuing.ocsp_signer(world.signer_key, usage=ExtendedKeyUsageOID.SERVER_AUTH), world.LABEL)]
    for one in bad:
        status, _ = world.feed([good, one])
        assert 400 <= status < 500
    for body in (b"", b"\x00", batch(world.number + 1, [good])[:-1], batch(world.number + 1, [good]) + b"\x00", batch(world.number + 1, [good], version=2)):
        assert world.push("POST", "/v1/feed", body, FEED)[0] == 400
    assert json.loads(world.push("GET", "/v1/feed")[1])["number"] == world.number
    assert status_of(world, certificate) == "UNKNOWN"


def test_a_forged_signer_is_refused(world):
    forger = Authority(60, "forger", "TEST Forger")
    forger.subject = world.issuing.subject
    status, body = world.feed([item_signer(world.issuing, forger.ocsp_signer(world.signer_key), world.LABEL)])
    assert status == 422 and b"OCSP signer" in body


# ---- what is durable ----

def test_the_number_answered_survives_a_kill(world):
    for _ in range(5):
        certificates = [world.issue() for _ in range(3)]
        revoked = world.issue()
        world.revoke(revoked)
        restart(world)
        assert json.loads(world.push("GET", "/v1/feed")[1])["number"] == world.number
        assert {status_of(world, c) for c in certificates} == {"GOOD"}
        assert status_of(world, revoked) == "REVOKED"
        assert world.request("GET", "/crl/issuing.crl")[0] == 200


def test_kills_at_random_lose_no_acknowledged_item(world):
    acknowledged, stop = [], threading.Event()

    def push_until_told():
        certificate = world.issuing.issue("TEST")
        while not stop.is_set():
            try:                                                           # the same item under the same number until it is confirmed
                status, body = world.feed([item_status(world.issuing, certificate.serial_number)])
            except (OSError, ssl.SSLError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            assert status == 200 and json.loads(body)["number"] == world.number + 1
            world.number += 1
            acknowledged.append(certificate)
            certificate = world.issuing.issue("TEST")

    pusher = threading.Thread(target=push_until_told)
    pusher.start()
    for _ in range(6):
        time.sleep(0.3)
        restart(world)
    stop.set()
    pusher.join()
    assert len(acknowledged) > 20
    assert json.loads(world.push("GET", "/v1/feed")[1])["number"] >= world.number
    assert {status_of(world, c) for c in acknowledged} == {"GOOD"}


# ---- snapshots ----

def snapshot_items(world):
    return [item_ca(world.issuing), item_signer(world.issuing, world.signer, world.LABEL)]


def test_a_snapshot_replaces_everything_at_its_end(world):
    old, new = world.issue(), world.issuing.issue("TEST new")
    assert status_of(world, old) == "GOOD"
    assert json.loads(world.feed(snapshot_items(world), SNAPSHOT_START, 500)[1])["number"] == world.number
    assert world.feed([item_status(world.issuing, new.serial_number, micros(now()), 1)], SNAPSHOT_PART, 500)[0] == 200
    assert (status_of(world, old), status_of(world, new)) == ("GOOD", "UNKNOWN")
    restart(world)                                                         # an unfinished snapshot is kept
    assert json.loads(world.feed([], SNAPSHOT_END, 500)[1])["number"] == 500
    assert (status_of(world, old), status_of(world, new)) == ("UNKNOWN", "REVOKED")
    assert world.request("GET", "/ca/second.crt")[0] == 404
    world.number = 500
    later = world.issue()
    assert status_of(world, later) == "GOOD"
    restart(world)
    assert (status_of(world, new), status_of(world, later)) == ("REVOKED", "GOOD")


def test_parts_without_their_start_are_refused(world):
    for kind in (SNAPSHOT_PART, SNAPSHOT_END):
        assert world.feed([item_status(world.issuing, 5)], kind, 900)[0] == 409
    assert world.feed(snapshot_items(world), SNAPSHOT_START, 900)[0] == 200
    assert world.feed([], SNAPSHOT_END, 901)[0] == 409
    assert json.loads(world.push("GET", "/v1/feed")[1])["number"] == world.number


def test_answers_go_out_while_a_large_snapshot_arrives(world):
    certificate = world.issue()
    assert world.feed(snapshot_items(world), SNAPSHOT_START, 7000)[0] == 200
    began = time.monotonic()
    for part in range(20):
        items = [item_status(world.issuing, (1 << 100) + part * 10000 + i) for i in range(10000)]
        assert world.feed(items, SNAPSHOT_PART, 7000)[0] == 200
        assert status_of(world, certificate) == "GOOD"
    assert world.feed([item_status(world.issuing, certificate.serial_number)], SNAPSHOT_END, 7000)[0] == 200
    assert status_of(world, certificate) == "GOOD"
    assert time.monotonic() - began < 60


# ---- CRLs ----

def test_a_crl_is_published_by_its_item_only(world):
    crl = world.issuing.crl([5])
    before = world.request("GET", "/crl/issuing.crl")[2]
    assert world.put_crl(world.issuing, crl)[0] == 204
    assert world.request("GET", "/crl/issuing.crl")[2] == before
    world.feed_ok([item_crl(world.issuing, crl)])
    assert world.request("GET", "/crl/issuing.crl")[2] == der(crl)
    wait_for(lambda: [p.name for p in (world.directory / "va" / "crls").glob("issuing-*")] == [f"issuing-{world.issuing.crl_number}.crl"])


def test_crl_numbers_only_grow(world):
    current = world.publish_crl(world.issuing)
    number = world.issuing.crl_number
    older = world.issuing.crl(number=number - 1)
    assert world.put_crl(world.issuing, older)[0] == 409
    assert world.feed([item_crl(world.issuing, older)])[0] == 409
    other = world.issuing.crl([7], number=number)
    assert world.put_crl(world.issuing, other)[0] == 409                   # another list under the published number
    assert world.feed([item_crl(world.issuing, other)])[0] == 409
    assert world.put_crl(world.issuing, current)[0] == 204                 # the same again is harmless
    world.feed_ok([item_crl(world.issuing, current)])
    assert world.request("GET", "/crl/issuing.crl")[2] == der(current)
    assert world.feed(snapshot_items(world), SNAPSHOT_START, 900)[0] == 200
    assert world.feed([item_crl(world.issuing, older)], SNAPSHOT_END, 900)[0] == 409


def broken_crls(world):
    number = world.issuing.crl_number + 1
    fitting = world.issuing.crl(number=number)
    forger = Authority(61, "forger", "x")
    forger.subject = world.issuing.subject
    yield "digest", fitting, item_crl(world.issuing, fitting, digest=hashlib.sha256(b"other").digest())
    forged = forger.crl(number=number)
    yield "signature", forged, item_crl(world.issuing, forged)
    yield "other CA", world.second.crl(number=number), None
    yield "number", fitting, item_crl(world.issuing, fitting, number=number + 1)


def test_a_crl_that_does_not_fit_is_not_published(world):
    before = world.request("GET", "/crl/issuing.crl")[2]
    for what, crl, item in broken_crls(world):
        item = item or item_crl(world.issuing, crl)
        number = world.issuing.crl_number if what != "number" else None
        path = f"/v1/crls/issuing/{crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number}"
        assert world.put_crl(world.issuing, crl, path=path)[0] == 204
        if number is None:
            assert world.put_crl(world.issuing, crl, path=path[:-1] + str(int(path[-1]) + 1))[0] == 204
        status, body = world.feed([item])
        assert status in (409, 422), (what, body)
        assert world.request("GET", "/crl/issuing.crl")[2] == before
    crl = world.issuing.crl()
    assert world.feed([item_crl(world.issuing, crl)])[0] == 409            # not uploaded at all


def test_paths_that_name_no_crl_are_refused(world):
    for path in ("../1", "a%2fb/1", "issuing/x", "issuing/0", "issuing/99999999999999999999", "UPPER/1", "..%2f..%2fetc/1"):
        assert world.put_crl(world.issuing, b"x", path="/v1/crls/" + path)[0] in (400, 404), path


def test_a_large_crl_does_not_sit_in_memory(world):
    world.put_crl(world.issuing, b"x" * 1000, path="/v1/crls/issuing/900")

    def anonymous():
        for line in open(f"/proc/{world.va.process.pid}/status", encoding="ascii"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise AssertionError

    if b"__asan_init" in pathlib.Path(va_world.program("chancery-va")).read_bytes():
        pytest.skip("a sanitizer keeps what was freed")
    before = anonymous()
    assert world.put_crl(world.issuing, os.urandom(60 << 20), path="/v1/crls/issuing/901")[0] == 204
    assert anonymous() - before < 10 * 1024                                # kB
    assert (world.directory / "va" / "crls" / "issuing-901.crl").stat().st_size == 60 << 20


# ---- its own certificate ----

def served_certificate(world):
    context = ssl.create_default_context(cafile=str(world.tls / "management-ca.pem"))
    context.load_cert_chain(world.tls / "ca.pem", world.tls / "ca.key")
    with socket.create_connection(("127.0.0.1", world.push_port), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert(binary_form=True)


def put_certificate(world, *certificates):
    return world.push("PUT", "/v1/certificate", b"".join(pem(c) for c in certificates), "application/x-pem-file")[0]


def test_a_renewed_certificate_is_served_without_restart(world):
    renewed = world.tls_certificate("va", days=60)
    assert served_certificate(world) != der(renewed)
    assert put_certificate(world, renewed, world.management.certificate) == 204
    wait_for(lambda: served_certificate(world) == der(renewed))
    assert put_certificate(world, renewed) == 204                          # pushed again: nothing to do
    restart(world)
    assert served_certificate(world) == der(renewed)


def test_a_certificate_that_is_no_renewal_is_refused(world):
    before = served_certificate(world)
    other_key = ec.generate_private_key(ec.SECP256R1())
    assert put_certificate(world, world.tls_certificate("va", days=60, key=other_key)) == 422
    assert put_certificate(world, world.tls_certificate("va", days=2)) == 409
    assert put_certificate(world, world.management.issue("operator", days=60, public_key=world.tls_keys["va"].public_key())) == 403
    stranger = Authority(51, "stranger", "TEST Stranger")
    assert put_certificate(world, stranger.issue("va", days=60, public_key=world.tls_keys["va"].public_key())) == 422
    assert world.push("PUT", "/v1/certificate", b"no PEM", "application/x-pem-file")[0] in (400, 422)
    assert served_certificate(world) == before


# ---- the daemon ----

def records(world):
    text = (world.directory / "va.journal").read_bytes().decode(errors="replace")
    return [name for name in ("service.started", "service.reloaded", "service.stopped") for _ in range(text.count(f'"{name}"'))]


def test_start_reload_and_stop_are_on_record(world):
    world.va.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in world.va.log())
    world.va.stop()
    assert records(world) == ["service.started", "service.reloaded", "service.stopped"]
    world.start_va()


def test_reload_changes_what_may_change_and_refuses_the_rest(world):
    world.options = "repository-max-age = 17s"
    world.write_va_conf()
    world.va.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "max-age=17" in world.request("GET", "/crl/issuing.crl")[1]["cache-control"])
    world.options = "workers = 3"
    world.write_va_conf()
    world.va.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "change only by a restart" in world.va.log())
    assert "max-age=17" in world.request("GET", "/crl/issuing.crl")[1]["cache-control"]


def test_without_audit_it_does_not_start(world):
    world.va.stop()
    text = (world.directory / "va.conf").read_text().replace("audit-journal = va.journal", "audit-socket = nowhere.sock")
    with pytest.raises(RuntimeError):
        world.options = ""
        world.write_va_conf = lambda: (world.directory / "va.conf").write_text(text)
        world.start_va()
    del world.write_va_conf
    world.start_va()
