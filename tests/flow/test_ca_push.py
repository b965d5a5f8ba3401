"""ca and va together: the feed, CRLs on their way, snapshots, a va that was away, and certificates that renew themselves."""
import base64
import http.client
import shutil
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

import keyd_client
import keyd_contents
from ca_world import Daemon, Refused, World, free_port, key_pem, new_key, request_for, until

OCSP_SUBJECT = "C=BE, O=Test Trust Services, CN=TEST OCSP"


class Published:
    """The ca over mutual TLS, a keyd of zone status, and a va that the ca pushes to."""

    def __init__(self, ca_extra="", audit=None, build=None):
        self.w = World(ca_extra, audit=audit, build=build)
        self.status = keyd_client.Keyd(zone="status", audit=self.w.audit)
        self.public, self.push = free_port(), free_port()
        self.va = Daemon("chancery-va", self.w.file("va.conf"))
        self.ca_extra = ca_extra

    def __enter__(self):
        w = self.w
        try:
            w.start().found_cas()
            self.status.start()
            self.status.token("ocsp-issuing")
            client = self.status.client()
            self.ocsp_spki = client.generate("ocsp-issuing", purposes=keyd_client.OCSP | keyd_client.REQUEST)["spki"]
            client.close()
            w.component("va")
            w.file("va.conf", f"listen = 127.0.0.1:{self.public}\npush-listen = 127.0.0.1:{self.push}\ntls-certificate = va.pem\n"
                              f"tls-key = va.key\ntls-ca = management.pem\nstate-directory = va\nkeyd-socket = {self.status.socket_path}\n"
                              f"{w.audit}\n")
            w.file("management.pem", w.get("/v1/cas/management")["certificate"])
            w.enable_tls(f"{self.ca_extra}\n[va demo]\nurl = https://127.0.0.1:{self.push}\n")
            self.va.start()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        self.va.stop(9)
        self.status.remove()
        self.w.remove()

    def ocsp_request(self):
        """PKCS#10 for the key in keyd of zone status."""
        import ca_world
        info = keyd_contents.tlv(0x30, keyd_contents.integer(0) + ca_world.name(OCSP_SUBJECT).public_bytes() + self.ocsp_spki +
                                 keyd_contents.tlv(0xA0, b""))
        client = self.status.client()
        signature = client.sign("ocsp-issuing", keyd_client.REQUEST, "ecdsa-sha256", info)
        client.close()
        algorithm = keyd_contents.tlv(0x30, keyd_contents.oid("1.2.840.10045.4.3.2"))
        der = keyd_contents.tlv(0x30, info + algorithm + keyd_contents.tlv(3, b"\0" + signature))
        return "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der).decode() + "-----END CERTIFICATE REQUEST-----\n"

    def enrol_signer(self, **more):
        return self.w.post("/v1/identities", dict(name="ocsp-issuing", ca="issuing", profile="ocsp-signer", request=self.ocsp_request(), **more))

    def fetch(self, path, method="GET", body=None, media_type=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.public, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ocsp(self, made):
        certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
        issuer = x509.load_pem_x509_certificate(made["chain"].encode())
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
        try:
            status, body = self.fetch("/ocsp", "POST", request.public_bytes(serialization.Encoding.DER), "application/ocsp-request")
        except OSError:
            return None
        answer = ocsp.load_der_ocsp_response(body) if status == 200 else None
        return answer if answer and answer.response_status == ocsp.OCSPResponseStatus.SUCCESSFUL else None

    def says(self, made, status):
        answer = self.ocsp(made)
        return answer is not None and answer.certificate_status == status

    def crl_says(self, serial, ca="issuing"):
        status, body = self.fetch(f"/crl/{ca}.crl")
        return status == 200 and x509.load_der_x509_crl(body).get_revoked_certificate_by_serial_number(int(serial, 16)) is not None

    def lag(self):
        va = self.w.get("/v1/status")["vas"][0]
        return va["lag"] if va["connected"] else None


GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


@pytest.fixture(scope="module")
def published(database):
    with Published() as p:
        p.enrol_signer()
        yield p


def test_a_new_certificate_is_good_and_a_revoked_one_revoked_within_five_seconds(published):
    made = published.w.issue()
    until(lambda: published.says(made, GOOD), 5)
    start = time.monotonic()
    published.w.revoke(made["serial"], "keyCompromise")
    until(lambda: published.says(made, REVOKED), 5)
    ocsp_took = time.monotonic() - start
    until(lambda: published.crl_says(made["serial"]), 5)
    print(f"OCSP after {ocsp_took * 1000:.0f} ms, CRL after {(time.monotonic() - start) * 1000:.0f} ms")
    answer = published.ocsp(made)
    assert answer.revocation_reason == x509.ReasonFlags.key_compromise


def test_cas_and_crls_are_published(published):
    for ca in ("issuing", "root"):
        certificate = published.w.get("/v1/cas/" + ca)["certificate"]
        until(lambda: published.fetch(f"/ca/{ca}.pem")[0] == 200, 5)
        assert x509.load_der_x509_certificate(published.fetch(f"/ca/{ca}.crt")[1]) == x509.load_pem_x509_certificate(certificate.encode())
        until(lambda: published.fetch(f"/crl/{ca}.crl")[0] == 200, 5)


def test_a_va_that_was_away_goes_on_where_it_stopped(published):
    until(lambda: published.lag() == 0)
    published.va.stop(9)
    made = [published.w.issue() for _ in range(5)]
    published.w.revoke(made[0]["serial"], "superseded")
    published.va.start()
    until(lambda: published.lag() == 0)
    until(lambda: published.says(made[0], REVOKED) and published.says(made[4], GOOD))


def test_an_empty_va_gets_a_snapshot(published):
    made = published.w.issue()
    gone = published.w.issue()
    published.w.revoke(gone["serial"], "superseded")
    published.va.stop()
    shutil.rmtree(published.w.file("va"))
    published.va.start()
    until(lambda: published.lag() == 0, 15)
    until(lambda: published.says(made, GOOD) and published.says(gone, REVOKED) and published.crl_says(gone["serial"]), 10)


def test_a_restored_database_corrects_the_va(published):
    w = published.w
    path = w.keep_database()
    made, gone = w.issue(), w.issue()
    w.revoke(gone["serial"], "superseded")
    until(lambda: published.says(gone, REVOKED) and published.says(made, GOOD) and published.crl_says(gone["serial"]))
    w.ca.stop(9)
    w.restore_database(path)
    w.ca.start()
    late = w.issue()
    until(lambda: published.lag() == 0, 15)
    until(lambda: published.says(gone, REVOKED) and published.says(made, GOOD) and published.says(late, GOOD), 10)
    until(lambda: published.crl_says(gone["serial"]))


def test_peers_are_refused_by_role_and_after_revocation(published):
    w = published.w
    assert w.tls_call("operator", "GET", "/v1/cas")[0] == 200
    assert w.tls_call("operator", "GET", "/healthz")[0] == 200
    w.component("auditor", "operator", role="auditor")
    victim = w.component("victim", "operator", role="operator")
    with pytest.raises(OSError):
        w.tls_call(None, "GET", "/v1/cas")
    for who in ("auditor", "va"):
        with pytest.raises(Refused) as refused:
            w.tls_call(who, "GET", "/v1/cas")
        assert refused.value.status == 403
    with pytest.raises(Refused) as refused:
        w.tls_call("operator", "POST", "/v1/backup", dict(path="/tmp/x"))
    assert refused.value.status == 403
    assert w.tls_call("victim", "GET", "/v1/cas")[0] == 200
    w.revoke(victim["serial"], "keyCompromise")
    with pytest.raises(Refused) as refused:
        w.tls_call("victim", "GET", "/v1/cas")
    assert refused.value.status == 403 and "revoked" in refused.value.problem["detail"]


def test_who_watches_reads_statuses_and_nothing_else(published):
    w = published.w
    made = w.issue()
    w.component("watcher", "operator", role="watch")
    w.component("almost", "operator", role="watc")
    w.component("client", "tls-client", role="watch")
    for path in ("/v1/cas", "/v1/cas/issuing", "/v1/cas/issuing/status"):
        assert w.tls_call("watcher", "GET", path) == w.tls_call("operator", "GET", path)
    for who, method, path in (("watcher", "GET", "/v1/status"), ("watcher", "GET", "/v1/certificates"),
                              ("watcher", "GET", "/v1/certificates/" + made["serial"]), ("watcher", "POST", "/v1/cas/issuing/crls"),
                              ("watcher", "POST", f"/v1/certificates/{made['serial']}/revocation"),
                              ("almost", "GET", "/v1/cas/issuing/status"), ("client", "GET", "/v1/cas/issuing/status")):
        with pytest.raises(Refused) as refused:
            w.tls_call(who, method, path, {} if method == "POST" else None)
        assert refused.value.status == 403, (who, path)
    assert w.get("/v1/certificates/" + made["serial"])["state"] == "good"


def test_an_operator_renews_with_the_old_certificate(published):
    w = published.w
    old = w.component("renewer", "operator", role="operator")
    key = new_key()
    made = w.tls_call("renewer", "POST", "/v1/renewal", dict(request=request_for("CN=whatever", key)))[1]
    assert (made["subject"], made["role"], made["profile"]) == (old["subject"], "operator", "operator")
    w.file("renewer.pem", made["certificate"])
    w.file("renewer.key", key_pem(key))
    assert w.tls_call("renewer", "GET", "/v1/cas")[0] == 200
    with pytest.raises(Refused) as refused:
        w.post("/v1/renewal", dict(request=request_for("CN=whatever")))
    assert refused.value.status == 403


def signer_serial(p, made):
    answer = p.ocsp(made)
    return answer.certificates[0].serial_number if answer else None


def server_serial(p, port):
    import ssl
    context = ssl.create_default_context(cafile=p.w.file("management.pem"))
    context.load_cert_chain(p.w.file("operator.pem"), p.w.file("operator.key"))
    import socket
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as s:
        return x509.load_der_x509_certificate(s.getpeercert(True)).serial_number


def test_short_lives_are_renewed_without_a_restart():
    with Published() as p:
        w = p.w
        p.va.stop()
        p.enrol_signer(validity_seconds=15)
        for name, more in (("va", dict(push_url=f"https://127.0.0.1:{p.push}/v1/certificate")), ("ca", dict(file=w.file("ca.pem")))):
            with open(w.file(name + ".key"), "rb") as f:
                key = serialization.load_pem_private_key(f.read(), None)
            made = w.post("/v1/identities", dict(name=name, ca="management", profile="tls-server", role=name, ip_addresses=["127.0.0.1"],
                                                 request=request_for(f"O=Test Trust Services, CN=TEST {name}", key), validity_seconds=15, **more))
            w.file(name + ".pem", made["certificate"])
        first = {i["name"]: int(i["serial"], 16) for i in w.get("/v1/identities")["identities"]}
        p.va.start()
        made = w.issue()
        until(lambda: p.says(made, GOOD))
        assert server_serial(p, p.push) == first["va"] and signer_serial(p, made) == first["ocsp-issuing"]
        pids = (p.va.process.pid, w.ca.process.pid)
        time.sleep(17)
        identities = w.get("/v1/identities")["identities"]
        assert not [i["failure"] for i in identities if "failure" in i]
        assert all(int(i["serial"], 16) != first[i["name"]] for i in identities)
        assert server_serial(p, p.push) != first["va"] and server_serial(p, w.port) != first["ca"]
        late = w.issue()
        until(lambda: p.says(late, GOOD), 5)
        assert signer_serial(p, late) != first["ocsp-issuing"]
        assert w.tls_call("operator", "GET", "/v1/cas")[0] == 200
        until(lambda: p.lag() == 0, 5)
        assert pids == (p.va.process.pid, w.ca.process.pid) and p.va.process.poll() is None
        assert b'"event":"certificate.renewed"' in open(w.journal, "rb").read()
