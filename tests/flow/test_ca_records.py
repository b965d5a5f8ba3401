"""The ca with auditd: kills in every window, keyd lost while signing, a database restored from yesterday, auditd away."""
import datetime
import http.client
import os
import signal
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import audit_world
import ca_world
import keyd_client
from ca_world import PERSON, Refused, World, new_key, request_for, until

FAILPOINTS = os.environ.get("CHANCERY_FAILPOINTS_BUILD", keyd_client.BUILD + "-failpoints")
needs_failpoints = pytest.mark.skipif(not os.path.exists(os.path.join(FAILPOINTS, "src", "chancery-ca")),
                                      reason="needs a build with -Dfailpoints=true (CHANCERY_FAILPOINTS_BUILD)")
LOST = (http.client.HTTPException, ConnectionError)


class Audited:
    def __init__(self, build=None):
        self.auditd = audit_world.World(build=build)
        self.world = None
        self.build = build

    def __enter__(self):
        self.auditd.start_keyd()
        self.auditd.start()
        self.world = World(audit=f"audit-socket = {self.auditd.socket}", build=self.build)
        self.world.start().found_cas()
        return self

    def __exit__(self, *unused):
        if self.world:
            self.world.remove()
        self.auditd.remove()

    def records(self, event=None, serial=None):
        """What the log holds, from its static files, verified."""
        assert self.auditd.settled()
        records = [e["record"] for e in audit_world.verify_log(self.auditd.log, self.auditd.spki)]
        return [r for r in records if event in (None, r["event"]) and serial in (None, r.get("serial"))]

    def restart_ca(self, failpoint=None):
        self.world.ca.stop()
        self.world.ca.environment.pop("CHANCERY_FAILPOINT", None)
        if failpoint:
            self.world.ca.environment["CHANCERY_FAILPOINT"] = failpoint
        self.world.ca.start()


def state_of(world, serial):
    try:
        return world.get("/v1/certificates/" + serial)["state"]
    except Refused as refused:
        assert refused.status == 404
        return None


def issue_in_vain(world):
    with pytest.raises(LOST):
        world.issue()


def test_what_keyd_signs_for_a_ca_that_has_ended_is_closed_by_the_next_one():
    with Audited() as a:
        before = {r["serial"] for r in a.records("sign.certificate")}
        keyd_client.pause(a.world.keyd.process)
        asking = threading.Thread(target=issue_in_vain, args=(a.world,))
        asking.start()
        time.sleep(0.5)
        a.world.ca.stop(9)
        a.world.ca.start()  # compares, and finds nothing of it
        asking.join(10)
        a.world.keyd.process.send_signal(signal.SIGCONT)
        until(lambda: {r["serial"] for r in a.records("sign.certificate")} - before)
        (late,) = {r["serial"] for r in a.records("sign.certificate")} - before
        until(lambda: len(a.records("certificate.abandoned")) == 1, 15)
        assert a.records("certificate.abandoned")[0]["serial"] == late
        until(lambda: late in a.world.revoked())
        assert sum(r["abandoned"] for r in a.records("store.reconciled")) == 1


@needs_failpoints
@pytest.mark.parametrize("window", ["ca.signed", "ca.stored", "ca.answered"])
def test_a_kill_in_a_window_leaves_every_serial_accounted_for(window):
    with Audited(FAILPOINTS) as a:
        a.restart_ca(window)
        order = dict(profile="ncp-plus-n", request=request_for(PERSON % window), request_id="window")
        with pytest.raises(LOST):
            a.world.post("/v1/cas/issuing/certificates", order)
        assert a.world.ca.process.wait(10) == -9
        a.restart_ca()
        intent = a.records("sign.certificate")[-1]["serial"]
        if window == "ca.signed":
            assert state_of(a.world, intent) is None
            until(lambda: intent in a.world.revoked())
            assert len(a.records("certificate.abandoned", intent)) == 1
            fresh = a.world.post("/v1/cas/issuing/certificates", order)
            assert fresh["serial"] != intent
        else:
            assert state_of(a.world, intent) == "good"
            status, again = a.world.call("POST", "/v1/cas/issuing/certificates", order)
            assert status == 200 and again["serial"] == intent
        assert len(a.records("certificate.issued", intent)) == (0 if window == "ca.signed" else 1)
        a.restart_ca()
        assert a.records("store.reconciled")[-1]["abandoned"] == 0


@needs_failpoints
@pytest.mark.parametrize("window", ["keyd.recorded", "keyd.signed"])
def test_a_serial_that_keyd_took_with_it_is_closed_while_the_ca_runs(window):
    with Audited(FAILPOINTS) as a:
        a.world.keyd.stop()
        a.world.keyd.environment["CHANCERY_FAILPOINT"] = window
        a.world.keyd.start()
        with pytest.raises(Refused) as refused:
            a.world.issue()
        assert refused.value.status == 503
        assert a.world.keyd.process.wait(10) == -9
        a.world.keyd.process = None
        del a.world.keyd.environment["CHANCERY_FAILPOINT"]
        a.world.keyd.start()
        intent = a.records("sign.certificate")[-1]["serial"]
        until(lambda: intent in a.world.revoked(), 15)
        assert len(a.records("certificate.abandoned", intent)) == 1
        a.world.issue()


def test_yesterdays_database_is_brought_up_to_the_log():
    with Audited() as a:
        w = a.world
        old = w.issue()
        path = w.keep_database()
        order = dict(profile="ncp-plus-n", request=request_for(PERSON % "Lost"), request_id="lost-1")
        made = [w.issue() for _ in range(5)] + [w.post("/v1/cas/issuing/certificates", order)]
        w.revoke(old["serial"], "superseded")
        revoked = w.revoke(made[0]["serial"], "keyCompromise", invalidity_date="2026-01-01T00:00:00Z")
        number = w.post("/v1/cas/issuing/crls", {})["number"]
        w.ca.stop(9)
        w.restore_database(path)
        w.ca.start()
        for one in made:
            assert w.get("/v1/certificates/" + one["serial"])["certificate"] == one["certificate"]
        back = w.get("/v1/certificates/" + made[0]["serial"])
        assert (back["state"], back["reason"], back["revoked_at"], back["invalidity_date"]) == (
            "revoked", "keyCompromise", revoked["revoked_at"], "2026-01-01T00:00:00.000000Z")
        assert w.get("/v1/certificates/" + old["serial"])["state"] == "revoked"
        assert w.post("/v1/cas/issuing/crls", {})["number"] > number
        assert {old["serial"], made[0]["serial"]} <= w.revoked()
        status, again = w.call("POST", "/v1/cas/issuing/certificates", order)
        assert status == 200 and again["serial"] == made[-1]["serial"]
        report = a.records("store.reconciled")[-1]
        assert (report["serials_entered"], report["revocations_entered"], report["abandoned"]) == (6, 2, 0)
        a.restart_ca()
        report = a.records("store.reconciled")[-1]
        assert (report["serials_entered"], report["revocations_entered"], report["abandoned"]) == (0, 0, 0)


def serve_metrics(a):
    a.world.write_conf(f"metrics-listen = unix:{a.world.file('metrics.sock')}")
    a.restart_ca()


def outbox(world):
    """How many records wait, and for how long, by the page of metrics."""
    connection = ca_world.UnixConnection(world.file("metrics.sock"))
    try:
        connection.request("GET", "/metrics")
        samples = dict(line.rsplit(" ", 1) for line in connection.getresponse().read().decode().splitlines() if line[0] != "#")
    finally:
        connection.close()
    assert samples["chancery_ca_database_answers"] == "1"
    return int(samples["chancery_ca_outbox"]), float(samples["chancery_ca_outbox_waiting_seconds"])


def test_no_audit_no_certificate_and_service_returns_with_it():
    with Audited() as a:
        serial = a.world.issue()["serial"]
        serve_metrics(a)
        until(lambda: outbox(a.world) == (0, 0))
        a.auditd.stop()
        for deed in (lambda: a.world.issue(), lambda: a.world.revoke(serial)):
            with pytest.raises(Refused) as refused:
                deed()
            assert refused.value.status == 503
        until(lambda: outbox(a.world)[1] > 1)
        assert 1 <= outbox(a.world)[0] <= 2 and outbox(a.world)[1] < 60
        a.auditd.start()
        a.world.issue()
        # The revocation was durable before its record could be delivered: it stands, and is on record now.
        assert a.world.revoke(serial)["state"] == "revoked"
        until(lambda: len(a.records("certificate.revoked", serial)) == 1)
        until(lambda: a.world.get("/v1/status")["outbox"] == 0)
        assert outbox(a.world) == (0, 0)


def test_every_serial_in_the_log_is_issued_or_closed():
    with Audited() as a:
        serve_metrics(a)
        made = [a.world.issue()["serial"] for _ in range(5)]
        intents = [r["serial"] for r in a.records("sign.certificate")]
        effects = [r["serial"] for r in a.records("certificate.issued")]
        assert sorted(intents) == sorted(effects) and set(made) <= set(effects)
        assert len(set(intents)) == len(intents)
        until(lambda: outbox(a.world) == (0, 0))


def test_the_subject_in_the_log_is_the_certificates():
    import base64
    with Audited() as a:
        made = a.world.issue()
        record = a.records("sign.certificate", made["serial"])[0]
        certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
        assert base64.b64decode(record["tbs"]) == certificate.tbs_certificate_bytes
        assert certificate.public_bytes(serialization.Encoding.DER).endswith(
            base64.b64decode(a.records("certificate.issued", made["serial"])[0]["signature"]))


def test_cas_younger_than_a_restored_database_come_back_from_the_log():
    with Audited() as a:
        world = a.world
        backup = world.keep_database()
        world.found_issuing("second", "second")
        key = new_key()
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        elsewhere = ca_world.name("C=BE, O=Elsewhere, CN=Elsewhere Root")
        certificate = (x509.CertificateBuilder().subject_name(elsewhere).issuer_name(elsewhere).public_key(key.public_key())
                       .serial_number(77).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
                       .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
        world.post("/v1/cas", dict(name="elsewhere", certificate=certificate.public_bytes(serialization.Encoding.PEM).decode()))
        kept, gone = world.issue(ca="second"), world.issue(ca="second")
        world.revoke(gone["serial"], "superseded")
        number = world.post("/v1/cas/second/crls", {})["number"]
        before = {ca["name"]: ca for ca in world.get("/v1/cas")["cas"]}
        world.ca.stop()
        world.restore_database(backup)
        world.ca.start()
        after = {ca["name"]: ca for ca in world.get("/v1/cas")["cas"]}
        assert set(after) == set(before) == {"root", "management", "issuing", "second", "elsewhere"}
        varies = ("crl_number", "last_crl")
        for name, ca in before.items():
            assert {k: v for k, v in ca.items() if k not in varies} == {k: v for k, v in after[name].items() if k not in varies}
        assert world.get("/v1/certificates/" + kept["serial"])["certificate"] == kept["certificate"]
        assert state_of(world, gone["serial"]) == "revoked"
        assert world.post("/v1/cas/second/crls", {})["number"] > number
        until(lambda: gone["serial"] in world.revoked("second"))
        world.issue(ca="second")
        assert "CA 'second' was entered again from the log" in world.ca.log()
        assert a.records("store.reconciled")[-1]["cas_entered"] == 3  # `second` waited, and was completed; `elsewhere`
