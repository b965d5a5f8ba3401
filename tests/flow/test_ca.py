"""The ca over its local socket: what it issues, refuses, repeats, revokes and publishes."""
import concurrent.futures
import datetime
import os
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import ca_world
from ca_world import PERSON, Refused, World, new_key, request_for, until


@pytest.fixture(scope="module")
def world(database):
    with World() as w:
        yield w.start().found_cas()


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, **more).stdout


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def test_openssl_accepts_certificate_and_crl(world, tmp_path):
    made = world.issue()
    chain = made["chain"].split("-----END CERTIFICATE-----\n")
    issuing, root = (part + "-----END CERTIFICATE-----\n" for part in chain[:2])
    leaf = write(tmp_path, "leaf.pem", made["certificate"])
    ca = write(tmp_path, "root.pem", root)
    middle = write(tmp_path, "issuing.pem", issuing)
    crl = openssl("crl", "-inform", "DER", input=None, *("-in", write_crl(world, tmp_path, "issuing")))
    crl += openssl("crl", "-inform", "DER", "-in", write_crl(world, tmp_path, "root"))
    crls = write(tmp_path, "crls.pem", crl)
    out = openssl("verify", "-crl_check_all", "-CAfile", ca, "-untrusted", middle, "-CRLfile", crls, leaf)
    assert out.strip().endswith("OK")


def has_crl(world, ca):
    """A number is taken before its list is signed and stored."""
    try:
        return world.call("GET", f"/v1/cas/{ca}/crl")[0] == 200
    except Refused:
        return False


def write_crl(world, directory, ca):
    until(lambda: has_crl(world, ca))
    path = os.path.join(directory, ca + ".crl")
    with open(path, "wb") as f:
        f.write(world.call("GET", f"/v1/cas/{ca}/crl")[1])
    return path


def test_a_certificate_is_found_again_with_everything_about_it(world):
    made = world.issue()
    shown = world.get("/v1/certificates/" + made["serial"])
    assert shown["certificate"] == made["certificate"] and shown["state"] == "good" and shown["profile"] == "ncp-plus-n"
    listed = world.get("/v1/certificates?serial=" + made["serial"])["certificates"]
    assert [c["serial"] for c in listed] == [made["serial"]]
    with pytest.raises(Refused) as refused:
        world.get("/v1/certificates/00112233445566778899")
    assert refused.value.status == 404


def test_lists_go_on_where_they_stopped(world):
    made = {world.issue(PERSON % "Lister")["serial"] for _ in range(5)}
    found, after = [], "0"
    while after is not None:
        part = world.get(f"/v1/certificates?ca=issuing&subject=Lister&state=good&limit=2&after={after}")
        found += [c["serial"] for c in part["certificates"]]
        after = part.get("next")
    assert set(found) == made and len(found) == 5


def statuses(world, ca, limit):
    found, after = [], ""
    while after is not None:
        part = world.get(f"/v1/cas/{ca}/status?limit={limit}&after={after}")
        assert len(part["statuses"]) <= limit
        found += part["statuses"]
        after = part.get("next")
    return found


def test_statuses_are_all_told_once_in_the_order_of_serials(world):
    made, gone, unsaid = world.issue(), world.issue(), world.issue()
    world.revoke(gone["serial"], "superseded")
    world.revoke(unsaid["serial"], None)
    certificates = {ca: {c["serial"]: c for c in world.get(f"/v1/certificates?ca={ca}")["certificates"]} for ca in ("root", "issuing")}
    for ca, there in certificates.items():
        for limit in (2, 1000):
            found = statuses(world, ca, limit)
            assert [f["serial"] for f in found] == sorted(there)
            for f in found:
                c = there[f["serial"]]
                assert f == {key: c[key] for key in ("serial", "state", "reason", "revoked_at", "not_after") if key in c}
    told = {f["serial"]: f for f in statuses(world, "issuing", 3)}
    assert told[made["serial"]]["state"] == "good" and "revoked_at" not in told[made["serial"]]
    assert told[gone["serial"]]["state"] == "revoked" and told[gone["serial"]]["reason"] == "superseded"
    assert told[unsaid["serial"]]["state"] == "revoked" and "reason" not in told[unsaid["serial"]]


def test_with_statuses_comes_the_time_of_the_last_crl(world):
    for _ in range(2):
        made = world.post("/v1/cas/issuing/crls", {})
        assert world.get("/v1/cas/issuing/status?limit=1")["crl_this_update"] == made["this_update"]
        time.sleep(1.05)  # thisUpdate has whole seconds


@pytest.mark.parametrize("query, status", [("issuing/status?limit=0", 400), ("issuing/status?limit=1001", None), ("issuing/status?after=xy", 400),
                                           ("issuing/status?after=abc", 400), ("nobody/status", 404)])
def test_statuses_are_refused(world, query, status):
    with pytest.raises(Refused) as refused:
        world.get("/v1/cas/" + query)
    assert refused.value.status == status or status is None and 400 <= refused.value.status < 500


def test_a_request_id_is_answered_with_the_same_certificate(world):
    request = request_for(PERSON % "Repeat")
    order = dict(profile="ncp-plus-n", request=request, request_id="repeat-1")
    first = world.call("POST", "/v1/cas/issuing/certificates", order)
    again = world.call("POST", "/v1/cas/issuing/certificates", order)
    assert (first[0], again[0]) == (201, 200)
    assert first[1]["certificate"] == again[1]["certificate"]
    with pytest.raises(Refused) as refused:
        world.post("/v1/cas/issuing/certificates", dict(order, validity_days=10))
    assert refused.value.code == "CONFLICT"


def test_a_request_id_used_at_once_by_many_gives_one_certificate(world):
    order = dict(profile="ncp-plus-n", request=request_for(PERSON % "Race"), request_id="race-1")

    def ask(_):
        while True:
            try:
                return world.post("/v1/cas/issuing/certificates", order)["serial"]
            except Refused as refused:
                assert refused.code == "BUSY"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_a_key_is_certified_for_one_subject_only(world):
    key = new_key()
    world.issue(PERSON % "Owner", key)
    world.issue(PERSON % "Owner", key)
    with pytest.raises(Refused) as refused:
        world.issue(PERSON % "Other", key)
    assert refused.value.code == "CONFLICT" and "another subject" in refused.value.problem["detail"]


def tampered(request):
    der = bytearray(x509.load_pem_x509_csr(request.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    import base64
    return "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(bytes(der)).decode() + "-----END CERTIFICATE REQUEST-----\n"


def weak_request():
    return request_for(PERSON % "Weak", rsa.generate_private_key(65537, 1024))


BAD = {
    "no JSON": (b"{", "INPUT"),
    "unknown member": (dict(profile="ncp-plus-n", request="x", colour="red"), "INPUT"),
    "request missing": (dict(profile="ncp-plus-n"), "INPUT"),
    "member of another type": (dict(profile=7, request="x"), "INPUT"),
    "request is no PKCS#10": (dict(profile="ncp-plus-n", request="hello"), "INPUT"),
    "unknown profile": (lambda: dict(profile="nothing", request=request_for(PERSON % "x")), "NOTFOUND"),
    "profile of another CA": (lambda: dict(profile="tls-server", request=request_for(PERSON % "x")), "DENIED"),
    "a CA profile": (lambda: dict(profile="root", request=request_for(PERSON % "x")), "DENIED"),
    "signature of the request": (lambda: dict(profile="ncp-plus-n", request=tampered(request_for(PERSON % "x"))), "CRYPTO"),
    "weak key": (lambda: dict(profile="ncp-plus-n", request=weak_request()), "CRYPTO"),
    "validity over the profile's": (lambda: dict(profile="ncp-plus-n", request=request_for(PERSON % "x"), validity_days=20000), "LIMIT"),
    "negative validity": (lambda: dict(profile="ncp-plus-n", request=request_for(PERSON % "x"), validity_days=-1), "INPUT"),
    "subject without C": (lambda: dict(profile="ncp-plus-n", request=request_for("CN=An Peeters")), "INPUT"),
    "subject is no name": (lambda: dict(profile="ncp-plus-n", request=request_for(PERSON % "x"), subject="nothing"), "INPUT"),
    "long request id": (lambda: dict(profile="ncp-plus-n", request=request_for(PERSON % "x"), request_id="x" * 65), "INPUT"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_requests_are_refused_with_the_right_code(world, what):
    body, code = BAD[what]
    before = world.get("/v1/status")["certificates"]["issued"]
    with pytest.raises(Refused) as refused:
        world.post("/v1/cas/issuing/certificates", body() if callable(body) else body)
    assert refused.value.code == code, refused.value
    assert world.get("/v1/status")["certificates"]["issued"] == before


def test_http_refusals_are_the_protocols(world):
    for method, path, body, media_type, status in (("POST", "/v1/cas/issuing/certificates", b"{}", "text/plain", 415),
                                                   ("POST", "/v1/cas/issuing/certificates", b"x" * 70000, "application/json", 413),
                                                   ("DELETE", "/v1/cas", None, "", 405), ("GET", "/nothing", None, "", 404)):
        with pytest.raises(Refused) as refused:
            world.call(method, path, body, media_type)
        assert refused.value.status == status


def test_revocation_is_final_and_stays_as_it_was(world):
    serial = world.issue()["serial"]
    first = world.revoke(serial, "keyCompromise", invalidity_date="2026-01-02T03:04:05Z")
    time.sleep(1.1)
    again = world.revoke(serial, "superseded")
    assert first["revoked_at"] == again["revoked_at"] and again["reason"] == "keyCompromise"
    assert again["invalidity_date"] == "2026-01-02T03:04:05.000000Z"
    shown = world.get("/v1/certificates/" + serial)
    assert shown["state"] == "revoked" and shown["reason"] == "keyCompromise"
    until(lambda: serial in world.revoked())
    entry = world.crl().get_revoked_certificate_by_serial_number(int(serial, 16))
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise


def test_unspecified_is_never_encoded(world):
    serial = world.issue()["serial"]
    assert "reason" not in world.revoke(serial, None)
    until(lambda: serial in world.revoked())
    assert len(world.crl().get_revoked_certificate_by_serial_number(int(serial, 16)).extensions) == 0


@pytest.mark.parametrize("reason,code,word", [("certificateHold", "DENIED", "REV-6.3.9-04"), ("unspecified", "DENIED", "never encoded"),
                                              ("removeFromCRL", "DENIED", "delta"), ("bored", "INPUT", "keyCompromise")])
def test_reasons_that_are_not_offered_are_refused_with_the_rule(world, reason, code, word):
    serial = world.issue()["serial"]
    with pytest.raises(Refused) as refused:
        world.revoke(serial, reason)
    assert refused.value.code == code and word in refused.value.problem["detail"]
    assert world.get("/v1/certificates/" + serial)["state"] == "good"


def test_every_crl_is_listed_by_its_number_and_what_waits_for_the_log_too(world):
    """On each database: pages of one hold what one page of all does."""
    made = [world.post("/v1/cas/issuing/crls", {}) for _ in range(2)]
    whole = world.get("/v1/cas/issuing/crls")
    assert "next" not in whole and [crl for crl in whole["crls"] if crl in made] == made
    numbers, after = [], "0"
    while after:
        page = world.get(f"/v1/cas/issuing/crls?limit=1&after={after}")
        numbers, after = numbers + [crl["number"] for crl in page["crls"]], page.get("next")
    assert numbers == [crl["number"] for crl in whole["crls"]] == sorted(numbers)
    assert set(world.get("/v1/outbox?limit=1")) <= {"outbox", "next"}
    until(lambda: world.get("/v1/outbox") == {"outbox": []})
    for path in ("/v1/cas/issuing/crls?limit=0", "/v1/cas/nobody/crls", "/v1/outbox?limit=1001", "/v1/outbox?after=x"):
        with pytest.raises(Refused):
            world.get(path)


def test_crls_are_at_most_one_a_second_and_numbers_rise(world):
    serials = [world.issue()["serial"] for _ in range(12)]
    start, before = time.monotonic(), world.get("/v1/cas/issuing")["crl_number"]
    for serial in serials:
        world.revoke(serial, "superseded")
        time.sleep(0.15)
    until(lambda: set(serials) <= world.revoked(), 5)
    assert world.get("/v1/cas/issuing")["crl_number"] - before <= time.monotonic() - start + 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = [crl["number"] for crl in pool.map(lambda _: world.post("/v1/cas/issuing/crls", {}), range(8))]
    assert len(set(numbers)) <= 2
    crl = world.crl()
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == max(numbers)
    serial_order = [entry.serial_number for entry in crl]
    assert serial_order == sorted(serial_order) and len(set(serial_order)) == len(serial_order)


def test_a_second_ca_is_one_call_and_has_its_own_crl(world):
    world.found_issuing("second", "second")
    made = world.issue(ca="second")
    world.revoke(made["serial"], "superseded")
    until(lambda: made["serial"] in world.revoked("second"))
    assert made["serial"] not in world.revoked("issuing")
    with pytest.raises(Refused) as refused:
        world.post("/v1/cas", dict(name="second", profile="root", subject="C=BE, O=X, organizationIdentifier=NTRBE-1, CN=X", key="root"))
    assert refused.value.code == "CONFLICT"


def test_a_ca_run_elsewhere_is_taken_in_with_its_crl(world):
    key = ec.generate_private_key(ec.SECP384R1())
    name = ca_world.name("C=BE, O=Elsewhere, CN=Elsewhere Root")
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(77)
                   .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
                   .add_extension(x509.BasicConstraints(True, None), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False).sign(key, hashes.SHA384()))

    def crl(number, signer):
        return (x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now).next_update(now + datetime.timedelta(days=1))
                .add_extension(x509.CRLNumber(number), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
                .sign(signer, hashes.SHA384()).public_bytes(serialization.Encoding.DER))

    taken = world.post("/v1/cas", dict(name="elsewhere", certificate=certificate.public_bytes(serialization.Encoding.PEM).decode()))
    assert taken["state"] == "external"
    put = lambda body: world.call("PUT", "/v1/cas/elsewhere/crl", body, "application/pkix-crl")
    assert put(crl(5, key))[1]["number"] == 5
    for body, code in ((crl(5, key), "CONFLICT"), (crl(4, key), "CONFLICT"), (crl(6, ec.generate_private_key(ec.SECP384R1())), "CRYPTO")):
        with pytest.raises(Refused) as refused:
            put(body)
        assert refused.value.code == code
    with pytest.raises(Refused) as refused:
        world.issue(ca="elsewhere")
    assert refused.value.code == "STATE"


def test_refusals_are_on_record(world):
    with pytest.raises(Refused):
        world.post("/v1/cas/issuing/certificates", dict(profile="ncp-plus-n", request=tampered(request_for(PERSON % "Recorded"))))
    with open(world.journal, "rb") as f:
        assert b'"event":"certificate.refused"' in f.read()


def test_what_was_answered_is_there_after_a_kill(world):
    made = [world.issue() for _ in range(3)]
    world.revoke(made[0]["serial"])
    number = world.post("/v1/cas/issuing/crls", {})["number"]
    world.ca.stop(9)
    world.ca.start()
    for one in made:
        assert world.get("/v1/certificates/" + one["serial"])["certificate"] == one["certificate"]
    assert world.get("/v1/certificates/" + made[0]["serial"])["state"] == "revoked"
    assert world.post("/v1/cas/issuing/crls", {})["number"] > number


def test_a_second_process_on_the_database_is_refused(world):
    second = ca_world.Daemon("chancery-ca", world.ca.config + ".second")
    with open(world.ca.config) as f, open(second.config, "w") as g:
        g.write(f.read().replace("ca.sock", "second.sock"))
    with pytest.raises(AssertionError, match="in use by another process"):
        second.start()


def test_backup_over_the_local_socket_is_whole_and_on_record(world):
    serial = world.issue()["serial"]
    path = os.path.join(world.directory, "backup.db")
    if world.cluster:
        with pytest.raises(Refused, match="pg_basebackup") as refused:
            world.post("/v1/backup", dict(path=path))
        assert refused.value.code == "STATE" and not os.path.exists(path)
        return
    made = world.post("/v1/backup", dict(path=path))
    assert made["size"] == os.path.getsize(path)
    assert openssl("dgst", "-sha256", "-r", path).split()[0] == made["digest"]
    assert serial.encode() in subprocess.run(["sqlite3", path, "select lower(hex(serial)) from status"], capture_output=True).stdout or \
        bytes.fromhex(serial) in open(path, "rb").read()
    with pytest.raises(Refused) as refused:
        world.post("/v1/backup", dict(path=path))
    assert refused.value.code == "CONFLICT"


def records_of(world, event):
    with open(world.journal, "rb") as f:
        return f.read().count(b'"event":"%s"' % event)


def test_a_reload_takes_what_may_change_and_refuses_the_rest(world):
    with open(world.ca.config) as f:
        before = f.read()
    pid = world.ca.process.pid
    for extra, word in (("crl-life = 2h\n", b"in force"), ("workers = 7\n", b"refused"), ("no such thing\n", None)):
        world.file("ca.conf", before + extra)
        reloads = records_of(world, b"service.reloaded")
        world.ca.process.send_signal(1)
        if word:
            until(lambda: records_of(world, b"service.reloaded") == reloads + 1)
        else:
            until(lambda: "(CONFIG, tx" in world.ca.log())
        assert world.get("/healthz")["status"] == "ok" and world.ca.process.pid == pid
    world.file("ca.conf", before + "crl-life = 2h\n")
    made = world.post("/v1/cas/issuing/crls", {})
    life = datetime.datetime.fromisoformat(made["next_update"][:19]) - datetime.datetime.fromisoformat(made["this_update"][:19])
    assert life == datetime.timedelta(hours=2)


def test_the_world_of_these_tests_is_on_the_database_they_are_named_after(world, database):
    with open(world.ca.config) as f:
        assert {"sqlite": "database = ", "postgresql": "postgresql = "}[database] in f.read()
