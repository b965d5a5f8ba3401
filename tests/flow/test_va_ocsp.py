"""What the va answers to OCSP requests: the answer table, with real clients and byte by byte."""

import base64
import concurrent.futures
import datetime
import hashlib
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from email.utils import parsedate_to_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.x509 import ocsp
from cryptography.x509.oid import SignatureAlgorithmOID

import keyd_client
import va_world
from va_world import Authority, der, item_signer, item_status, micros, moment_of, now, pem, wait_for

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
MALFORMED, TRY_LATER, UNAUTHORIZED = b"0\x03\n\x01\x01", b"0\x03\n\x01\x03", b"0\x03\n\x01\x06"
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = va_world.World(tmp_path_factory.mktemp("va"))
    world.found()
    yield world
    world.close()


def aware(moment):
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def build(world, certificate, issuer=None, algorithm=None, nonce=None):
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, (issuer or world.issuing).certificate, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def ask(world, certificate, **more):
    status, headers, body = world.ocsp(build(world, certificate, **more))
    assert status == 200 and headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(body), headers, body


def verify(world, answer, signer=None):
    """By the signer's key, for the right responder, with the certificate inside."""
    signer = signer or world.signer
    signer.public_key().verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))
    bits = signer.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    assert answer.responder_key_hash == hashlib.sha1(bits).digest()
    assert [der(c) for c in answer.certificates] == [der(signer)]


# ---- the answer table ----

@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
def test_a_good_certificate_is_good(world, algorithm):
    answer, _, _ = ask(world, world.issue(), algorithm=algorithm)
    verify(world, answer)
    assert answer.certificate_status == GOOD
    assert answer.hash_algorithm.name == algorithm.name
    this, following, produced = (aware(moment_of(answer, n)) for n in ("this_update", "next_update", "produced_at"))
    assert this <= produced and following - this == datetime.timedelta(hours=12)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])
def test_a_revoked_certificate_is_revoked_with_time_and_reason(world, algorithm):
    certificate = world.issue()
    assert ask(world, certificate, algorithm=algorithm)[0].certificate_status == GOOD
    moment = world.revoke(certificate)
    answer, _, _ = ask(world, certificate, algorithm=algorithm)
    verify(world, answer)
    assert answer.certificate_status == REVOKED
    assert micros(moment_of(answer, "revocation_time").replace(tzinfo=None)) == moment
    assert answer.revocation_reason == x509.ReasonFlags.key_compromise


def test_an_unspecified_reason_is_not_sent(world):
    certificate = world.issue()
    world.revoke(certificate, reason=0)
    answer, _, _ = ask(world, certificate)
    assert answer.certificate_status == REVOKED and answer.revocation_reason is None


def test_an_expired_certificate_keeps_its_status_with_archive_cutoff(world):
    good, revoked = world.issue(days=-1, started=5), world.issue(days=-1, started=5)
    world.revoke(revoked)
    for certificate, expected in ((good, GOOD), (revoked, REVOKED)):
        answer, _, body = ask(world, certificate)
        assert answer.certificate_status == expected
        cutoff = moment_of(world.issuing.certificate, "not_valid_before").strftime("%Y%m%d%H%M%SZ").encode()
        # id-pkix-ocsp-archive-cutoff, not critical: OCTET STRING { GeneralizedTime }
        assert bytes.fromhex("06092b0601050507300106" "0411180f") + cutoff in body


def test_a_serial_that_was_never_issued_is_unknown_and_not_cached(world):
    certificate = world.issuing.issue("TEST never recorded")
    answer, headers, _ = ask(world, certificate)
    verify(world, answer)
    assert answer.certificate_status == UNKNOWN
    assert aware(moment_of(answer, "next_update")) - aware(moment_of(answer, "this_update")) <= datetime.timedelta(seconds=60)
    assert "max-age=0" in headers["cache-control"]
    world.feed_ok([item_status(world.issuing, certificate.serial_number)])
    assert ask(world, certificate)[0].certificate_status == GOOD


@pytest.mark.parametrize("serial", [0, 1, 127, 128, 2**159, 2**200], ids=hex)
def test_odd_serials_are_unknown(world, serial):
    request = bytearray(build(world, world.issue()))
    # Rewrite the request by hand: the builder takes no such serials.
    request = request_for([cert_id(world.issuing, serial)])
    answer = ocsp.load_der_ocsp_response(world.ocsp(request)[2])
    assert answer.certificate_status == UNKNOWN and answer.serial_number == serial


def test_another_issuer_is_unauthorized(world):
    stranger = Authority(77, "stranger", "TEST Stranger")
    status, headers, body = world.ocsp(build(world, stranger.issue("x"), issuer=stranger))
    assert (status, body) == (200, UNAUTHORIZED)
    assert headers["content-type"] == "application/ocsp-response"
    assert "no-store" in headers["cache-control"] and "no-cache" in headers["cache-control"]


def test_a_ca_without_signer_is_unauthorized(world):
    assert world.ocsp(build(world, world.issuing.certificate, issuer=world.root))[2] == UNAUTHORIZED


def test_the_serial_of_one_ca_is_unknown_under_another(world):
    certificate = world.issue()
    request = request_for([cert_id(world.second, certificate.serial_number)])
    answer = ocsp.load_der_ocsp_response(world.ocsp(request)[2])
    assert answer.certificate_status == UNKNOWN
    verify(world, answer, world.second_signer)


# ---- requests by hand ----

def tlv(tag, *parts):
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else bytes([0x80 | ((len(body).bit_length() + 7) // 8)]) + len(body).to_bytes(
        (len(body).bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + body


SHA1_IDENTIFIER = bytes.fromhex("300906052b0e03021a0500")
SHA1_IDENTIFIER_BARE = bytes.fromhex("300706052b0e03021a")
SHA256_IDENTIFIER = bytes.fromhex("300d06096086480165030402010500")
NONCE_OID = bytes.fromhex("06092b0601050507300102")
PREFERRED_OID = bytes.fromhex("06092b0601050507300108")


def integer(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def cert_id(ca, serial, identifier=SHA1_IDENTIFIER, digest=hashlib.sha1):
    name = ca.certificate.subject.public_bytes()
    bits = ca.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return tlv(0x30, identifier, tlv(4, digest(name).digest()), tlv(4, digest(bits).digest()), integer(serial))


def request_for(cert_ids, extensions=()):
    singles = tlv(0x30, *[tlv(0x30, one) for one in cert_ids])
    explicit = tlv(0xA2, tlv(0x30, *extensions)) if extensions else b""
    return tlv(0x30, tlv(0x30, singles, explicit))


def nonce_extension(nonce):
    return tlv(0x30, NONCE_OID, tlv(4, tlv(4, nonce)))


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_a_nonce_is_echoed_and_its_answer_not_cached(world, length):
    certificate, nonce = world.issue(), os.urandom(length)
    for _ in range(2):
        answer, headers, _ = ask(world, certificate, nonce=nonce)
        verify(world, answer)
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert "max-age=0" in headers["cache-control"]
        assert "no-store" not in headers["cache-control"]
    assert len(ask(world, certificate)[0].extensions) == 0


@pytest.mark.parametrize("length", [0, 129, 300])
def test_a_nonce_out_of_bounds_is_malformed(world, length):
    request = request_for([cert_id(world.issuing, world.issue().serial_number)], [nonce_extension(os.urandom(length))])
    assert world.ocsp(request)[2] == MALFORMED


def test_several_certificates_are_answered_in_one(world):
    good, revoked = world.issue(), world.issue()
    world.revoke(revoked)
    ids = [cert_id(world.issuing, good.serial_number), cert_id(world.issuing, revoked.serial_number),
           cert_id(world.issuing, 4711), cert_id(world.issuing, good.serial_number, SHA256_IDENTIFIER, hashlib.sha256)]
    body = world.ocsp(request_for(ids))[2]
    answer = ocsp.load_der_ocsp_response(body)
    singles = list(answer.responses)
    assert [s.certificate_status for s in singles] == [GOOD, REVOKED, UNKNOWN, GOOD]
    assert [s.serial_number for s in singles] == [good.serial_number, revoked.serial_number, 4711, good.serial_number]
    assert [s.hash_algorithm.name for s in singles] == ["sha1", "sha1", "sha1", "sha256"]
    for one in ids:
        assert one in body
    signer_signature = answer.signature
    world.signer.public_key().verify(signer_signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


def test_certificates_of_two_cas_are_answered_and_with_a_stranger_not(world):
    first, second = world.issue(), world.issue(ca=world.second)
    ours = [cert_id(world.issuing, first.serial_number), cert_id(world.second, second.serial_number)]
    answer = ocsp.load_der_ocsp_response(world.ocsp(request_for(ours))[2])
    assert [s.certificate_status for s in answer.responses] == [GOOD, GOOD]
    stranger = Authority(77, "stranger", "TEST Stranger")
    assert world.ocsp(request_for(ours + [cert_id(stranger, 1)]))[2] == UNAUTHORIZED


def test_digest_parameters_may_be_absent_and_the_cert_id_comes_back_as_sent(world):
    one = cert_id(world.issuing, world.issue().serial_number, SHA1_IDENTIFIER_BARE)
    body = world.ocsp(request_for([one]))[2]
    assert one in body and ocsp.load_der_ocsp_response(body).certificate_status == GOOD


@pytest.mark.parametrize("digest", [hashlib.sha384, hashlib.sha512])
def test_other_cert_id_digests_are_unauthorized(world, digest):
    identifier = {hashlib.sha384: "300b0609608648016503040202", hashlib.sha512: "300b0609608648016503040203"}[digest]
    one = cert_id(world.issuing, world.issue().serial_number, bytes.fromhex(identifier), digest)
    assert world.ocsp(request_for([one]))[2] == UNAUTHORIZED


def malformed_requests(world):
    whole = request_for([cert_id(world.issuing, 5)])
    yield from (b"", b"0", b"\x00" * 40, b"hello", whole[:-1], whole + b"\x00", tlv(0x30), tlv(0x30, tlv(0x30, tlv(0x30))))
    yield bytes([0x30, 0x80]) + whole[2:] + b"\x00\x00"                     # indefinite length
    yield request_for([cert_id(world.issuing, 5)] * 33)                     # more than one answer carries
    yield request_for([cert_id(world.issuing, 5)], [nonce_extension(b"x")] * 2)


def test_what_is_not_a_request_is_malformed_with_http_200(world):
    for request in malformed_requests(world):
        status, headers, body = world.ocsp(request)
        assert (status, body) == (200, MALFORMED), request.hex()
        assert headers["content-type"] == "application/ocsp-response" and "no-store" in headers["cache-control"]


ECDSA_SHA384, RSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040303"), bytes.fromhex("300d06092a864886f70d01010b0500")


def preferring(ca, certificate, wanted):
    extension = tlv(0x30, PREFERRED_OID, tlv(4, tlv(0x30, *[tlv(0x30, one) for one in wanted])))
    return request_for([cert_id(ca, certificate.serial_number)], [extension])


def test_preferred_algorithms_that_do_not_fit_are_ignored(world):
    certificate = world.issue()
    for wanted in ([], [RSA_SHA256], [RSA_SHA256, ECDSA_SHA384]):          # P-256 goes with SHA-256 (the dated policy)
        answer = ocsp.load_der_ocsp_response(world.ocsp(preferring(world.issuing, certificate, wanted))[2])
        assert answer.signature_hash_algorithm.name == "sha256"
        verify(world, answer)


def test_a_preferred_algorithm_that_fits_is_used(world):
    certificate = world.issue(ca=world.second)
    rsa_key = world.make_rsa_key()
    signer = world.second.ocsp_signer(rsa_key)
    world.feed_ok([item_signer(world.second, signer, world.RSA_LABEL)])
    try:
        usual = ask(world, certificate, issuer=world.second)[0]
        assert usual.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS
        for wanted in ([RSA_SHA256], [ECDSA_SHA384, RSA_SHA256]):
            answer = ocsp.load_der_ocsp_response(world.ocsp(preferring(world.second, certificate, wanted))[2])
            assert answer.signature_algorithm_oid == SignatureAlgorithmOID.RSA_WITH_SHA256
            rsa_key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256())
    finally:
        world.feed_ok([item_signer(world.second, world.second_signer, world.LABEL)])


# ---- GET ----

def test_get_in_every_spelling(world):
    certificate = world.issue()
    for attempt in range(40):                                              # until all of + / = occurred
        text = base64.b64encode(build(world, certificate, nonce=os.urandom(20))).decode()
        for path in (text, urllib.parse.quote(text, safe=""), urllib.parse.quote(text, safe="/"), text.replace("=", "%3d")):
            status, headers, body = world.request("GET", "/ocsp/" + path)
            assert status == 200 and headers["content-type"] == "application/ocsp-response"
            assert ocsp.load_der_ocsp_response(body).certificate_status == GOOD, path
        if attempt > 5 and "+" in text and "/" in text and "=" in text:
            return


def test_get_and_post_give_the_same_kept_answer(world):
    request = build(world, world.issue())
    posted = world.ocsp(request)
    got = world.request("GET", "/ocsp/" + urllib.parse.quote(base64.b64encode(request).decode(), safe=""))
    again = world.ocsp(request)
    assert posted[2] == got[2] == again[2]


@pytest.mark.parametrize("path", ["/ocsp/!!!!", "/ocsp/AAAA", "/ocsp/MEUw", "/ocsp/%zz", "/ocsp/%00"])
def test_a_broken_get_is_refused(world, path):
    status, _, body = world.request("GET", path)
    assert (status, body) == (200, MALFORMED) or status == 400


# ---- HTTP ----

def test_cache_headers_are_those_of_rfc_9919(world):
    answer, headers, body = ask(world, world.issue())
    this, following = aware(moment_of(answer, "this_update")), aware(moment_of(answer, "next_update"))
    assert parsedate_to_datetime(headers["last-modified"]) == this
    assert parsedate_to_datetime(headers["expires"]) == following
    assert parsedate_to_datetime(headers["date"]) >= this
    assert headers["etag"].strip('"') == hashlib.sha256(body).hexdigest()
    fields = headers["cache-control"].split(",")
    assert fields[1:] == ["public", "no-transform", "must-revalidate"]
    assert 0 < int(fields[0].removeprefix("max-age=")) <= (following - this).total_seconds()
    assert "pragma" not in headers and "no-cache" not in headers["cache-control"]


def test_the_limits_of_http(world):
    typed = {"Content-Type": "application/ocsp-request"}
    assert world.request("POST", "/ocsp", b"x" * 9000, typed)[0] == 413
    assert world.request("POST", "/ocsp", b"x", {"Content-Type": "text/plain"})[0] == 415
    assert world.request("PUT", "/ocsp", b"x", typed)[0] == 405
    assert world.request("GET", "/ocsp/" + "A" * 20000)[0] in (414, 431)
    assert world.request("GET", "/nothing")[0] == 404


# ---- life of an answer ----

def test_a_second_request_is_not_signed_again(world):
    certificate = world.issue()
    first, second = ask(world, certificate)[2], ask(world, certificate)[2]
    assert first == second
    time.sleep(1.1)
    assert ask(world, certificate)[2] == first


def test_many_at_once_share_one_signature(world):
    for _ in range(5):
        request = build(world, world.issue())
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            bodies = set(pool.map(lambda _: world.ocsp(request)[2], range(32)))
        assert len(bodies) == 1


def test_revocation_shows_at_once_while_many_ask(world):
    for _ in range(10):
        certificate = world.issue()
        request = build(world, certificate)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(world.ocsp, request) for _ in range(24)]
            world.revoke(certificate)
            answer = ocsp.load_der_ocsp_response(world.ocsp(request)[2])
            assert answer.certificate_status == REVOKED
            assert all(f.result()[0] == 200 for f in asking)
        assert ocsp.load_der_ocsp_response(world.ocsp(request)[2]).certificate_status == REVOKED


@pytest.mark.parametrize("serial", [0x80, 0xff01, 1 << 127, (1 << 151) + 7, 0x7f01])
def test_revocation_shows_at_once_whatever_the_first_bit_of_the_serial(world, serial):
    """As an INTEGER it has an octet 00 before a first bit that is set, in the feed it has none."""
    certificate = world.issue(serial=serial)
    for _ in range(2):  # the second answer is one that was kept
        assert ask(world, certificate)[0].certificate_status == GOOD
    world.revoke(certificate)
    assert ask(world, certificate)[0].certificate_status == REVOKED


def test_a_new_signer_takes_over_without_restart(world):
    certificate = world.issue()
    ask(world, certificate)
    world.signer = world.issuing.ocsp_signer(world.signer_key)
    world.feed_ok([item_signer(world.issuing, world.signer, world.LABEL)])
    answer, _, _ = ask(world, certificate)
    verify(world, answer)
    assert answer.certificates[0].serial_number == world.signer.serial_number


def test_an_answer_does_not_outlive_its_signer_and_an_ended_one_says_try_later(world):
    certificate = world.issue(ca=world.second)
    brief = world.second.ocsp_signer(world.signer_key, seconds=4)
    world.feed_ok([item_signer(world.second, brief, world.LABEL)])
    answer = ask(world, certificate, issuer=world.second)[0]
    assert aware(moment_of(answer, "next_update")) <= aware(moment_of(brief, "not_valid_after"))
    request = build(world, certificate, issuer=world.second)
    wait_for(lambda: world.ocsp(request)[2] == TRY_LATER, 8)
    status, _, body = world.request("GET", "/healthz")
    assert status == 503 and b"OCSP signer" in body
    world.feed_ok([item_signer(world.second, world.second_signer, world.LABEL)])
    assert ask(world, certificate, issuer=world.second)[0].certificate_status == GOOD
    assert world.request("GET", "/healthz")[0] == 200


# ---- real clients ----

def files(world, certificate, directory):
    paths = {"leaf": certificate, "ca": world.issuing.certificate, "root": world.root.certificate}
    for name, what in paths.items():
        (directory / f"{name}.pem").write_bytes(pem(what))
    return directory


@pytest.mark.parametrize("options", [[], ["-no_nonce"], ["-sha256"], ["-sha256", "-no_nonce"]], ids=" ".join)
def test_openssl_accepts_good_and_revoked(world, tmp_path, options):
    certificate = world.issue()
    files(world, certificate, tmp_path)
    digest = [o for o in options if o == "-sha256"]
    rest = [o for o in options if o != "-sha256"]

    def query():
        command = ["openssl", "ocsp", "-issuer", "ca.pem", *digest, "-cert", "leaf.pem", "-CAfile", "root.pem", "-verify_other", "ca.pem",
                   "-url", f"http://127.0.0.1:{world.port}/ocsp", *rest]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    done = query()
    assert "leaf.pem: good" in done.stdout and "Response verify OK" in done.stderr, done
    assert "WARNING" not in done.stderr
    world.revoke(certificate)
    done = query()
    assert "leaf.pem: revoked" in done.stdout and "Reason: keyCompromise" in done.stdout and "Response verify OK" in done.stderr, done


@pytest.mark.skipif(shutil.which("ocsptool") is None, reason="gnutls-bin is not installed")
def test_gnutls_accepts_good_and_revoked(world, tmp_path):
    certificate = world.issue()
    files(world, certificate, tmp_path)

    def query():
        command = ["ocsptool", f"--ask=http://127.0.0.1:{world.port}/ocsp", "--nonce", "--load-cert", "leaf.pem", "--load-issuer", "ca.pem",
                   "--load-trust", "ca.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30).stdout

    text = query()
    assert "Certificate Status: good" in text and "Verifying OCSP Response: Success." in text, text
    world.revoke(certificate)
    text = query()
    assert "Certificate Status: revoked" in text and "Verifying OCSP Response: Success." in text, text


# ---- when others are away (last: it takes keyd down) ----

def test_without_keyd_kept_answers_go_out_and_others_say_try_later(world):
    kept, other = world.issue(), world.issue()
    before = ask(world, kept)[2]
    world.keyd.stop()
    try:
        assert ask(world, kept)[2] == before
        assert world.ocsp(build(world, other))[2] == TRY_LATER
        assert world.ocsp(build(world, kept, nonce=b"n" * 16))[2] == TRY_LATER
    finally:
        world.start_keyd()
    wait_for(lambda: world.ocsp(build(world, other))[2] != TRY_LATER)
    verify(world, ask(world, other)[0])


def test_a_full_queue_is_answered_try_later_in_http_200(tmp_path):
    """rfc6960#2.3 tryLater. keyd stands still, so that one request is with the only worker and one waits; more are told at once."""
    world = va_world.World(tmp_path, "signers = 1\nqueue = 1")
    try:
        world.found()
        certificate = world.issue()
        live = lambda: world.ocsp(build(world, certificate, nonce=os.urandom(16)))
        assert ocsp.load_der_ocsp_response(live()[2]).certificate_status == GOOD
        keyd_client.pause(world.keyd.process)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            try:
                asked = [pool.submit(live) for _ in range(8)]
                wait_for(lambda: sum(one.done() for one in asked) == 6)
                for status, headers, body in [one.result() for one in asked if one.done()]:
                    assert (status, headers["content-type"], body) == (200, "application/ocsp-response", TRY_LATER)
                    assert "no-store" in headers["cache-control"]
                assert world.request("GET", "/crl/issuing.crl")[0] == 200, "what needs no signature does not wait for it"
            finally:
                world.keyd.process.send_signal(signal.SIGCONT)
            answers = [one.result()[2] for one in asked]
        assert sum(answer == TRY_LATER for answer in answers) == 6
        assert {ocsp.load_der_ocsp_response(a).certificate_status for a in answers if a != TRY_LATER} == {GOOD}
        assert world.va.log().count("requests are turned away") == 1, "anybody could fill the log otherwise"
    finally:
        world.close()
