"""A whole installation under its supervisor whose daemons are made to fail while clients issue, ask, stamp and revoke until they are
answered; and what must hold at the end, by kill_account: nothing lost, nothing twice, nothing signed without a record."""
import base64
import collections
import http.client
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ca_world import PERSON, Refused, UnixConnection, call, new_key, request_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from installation import DAEMONS, Installation, within
from kill_account import Counted, Death, Log, account_of_checkpoints, account_of_records, lives, moment

CLIENTS = 4
ZONES = ("ca", "time", "status", "log")
ANSWERED_WITHIN = 60  # seconds, whatever happens
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")  # id-ct-TSTInfo as a DER OBJECT IDENTIFIER


# ---- clients ----

def content(der):
    """The content of the first TLV, and what comes after it."""
    length, at = der[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(der[2:at], "big")
    return der[at:at + length], der[at + length:]


def token_serial(reply):
    """The serial number in a TimeStampResp, as the log has it."""
    octets = content(content(reply[reply.index(TST_INFO) + len(TST_INFO):])[0])[0]  # [0] EXPLICIT OCTET STRING
    rest = content(octets)[0]
    for _ in ("version", "policy", "messageImprint"):
        rest = content(rest)[1]
    return content(rest)[0].hex().lstrip("0")


class Client(threading.Thread):
    """Each certificate is asked for with an id of its own until it is there, then its status until OCSP has it, then a time-stamp;
    every third one is revoked, and looked at again."""

    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world, self.number = world, number
        self.request = request_for(PERSON % f"Client {number}", new_key())
        self.issued, self.certificates = {}, {}  # by serial, as text and as read
        self.revoked = set()
        self.tokens = []
        self.rounds = self.refused = 0
        self.go, self.rests = threading.Event(), threading.Event()
        self.wrong = None
        self.start()

    def run(self):
        try:
            while True:
                if not self.go.is_set():
                    self.rests.set()
                    self.go.wait()
                    self.rests.clear()
                self.round()
                self.rounds += 1
        except Exception as wrong:  # pylint: disable=broad-except
            self.wrong = wrong
        finally:
            self.rests.set()

    def resume(self):
        self.rests.clear()  # here as well: who pauses at once must not see the rest before
        self.go.set()

    def pause(self):
        self.go.clear()

    def has_paused(self):
        assert self.rests.wait(2 * ANSWERED_WITHIN)

    def until(self, what, doing):
        """What a client does on 5xx and on a broken connection: the same again."""
        gave_up = time.monotonic() + ANSWERED_WITHIN
        while True:
            try:
                done = what()
                if done:
                    return done
            except Refused as refused:
                if refused.status < 500:
                    raise
                self.refused += 1
                last = refused
            except (OSError, http.client.HTTPException) as lost:
                last = lost
            else:
                last = "not yet"
            if time.monotonic() > gave_up:
                raise AssertionError(f"client {self.number}: {doing}: no answer in {ANSWERED_WITHIN} s: {last}")
            time.sleep(0.02)

    def order(self, path, body):
        connection = UnixConnection(self.world.socket, timeout=20)
        try:
            return call(connection, "POST", path, body)[1]
        finally:
            connection.close()

    def post(self, port, path, kind, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            return call(connection, "POST", path, body, f"application/{kind}")[1]
        finally:
            connection.close()

    def status(self, certificate):
        """By an answer that is signed for this question: it has a nonce."""
        nonce = os.urandom(16)
        asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, self.world.issuing, hashes.SHA256())
        asked = asked.add_extension(x509.OCSPNonce(nonce), critical=False).build()
        answer = ocsp.load_der_ocsp_response(self.post(self.world.va_port, "/ocsp", "ocsp-request", asked.public_bytes(serialization.Encoding.DER)))
        if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            self.refused += 1
            return None
        assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert answer.serial_number == certificate.serial_number
        return answer.certificate_status

    def stamp(self):
        reply = self.post(self.world.tsa_port, "/tsa", "timestamp-query", self.world.query)
        if TST_INFO not in reply:
            self.refused += 1
            return False
        self.tokens.append(token_serial(reply))
        return True

    def round(self):
        number = len(self.issued) + 1
        order = dict(profile="ncp-plus-n", request=self.request, request_id=f"c{self.number}-{number}")
        made = self.until(lambda: self.order("/v1/cas/issuing/certificates", order), "a certificate")
        assert made["serial"] not in self.issued, "a serial was given out twice"
        self.issued[made["serial"]] = made["certificate"]
        certificate = self.certificates[made["serial"]] = x509.load_pem_x509_certificate(made["certificate"].encode())
        self.until(lambda: self.status(certificate) == ocsp.OCSPCertStatus.GOOD, "OCSP says good")
        self.until(self.stamp, "a time-stamp")
        if number % 3 == 0:
            path = f"/v1/certificates/{made['serial']}/revocation"
            self.until(lambda: self.order(path, dict(reason="superseded")), "a revocation")
            self.revoked.add(made["serial"])
            self.until(lambda: self.status(certificate) == ocsp.OCSPCertStatus.REVOKED, "OCSP says revoked")




# ---- the installation ----

class World:
    """One keyd signs one thing at a time, so that the prints of pkcs11-spy, which is before the zones named, come in the order of the
    records. `before_start` gets the installation while nothing runs."""

    amended = {"ca": "workers = 4\nsigners = 1", "va": "workers = 1\nsigners = 1", "tsa": "workers = 1",
               "auditd": "checkpoint-interval = 30ms\ncheckpoint-max-age = 10s"}

    def __init__(self, zones=ZONES, before_start=lambda provider: None, provider=None, clients=CLIENTS):
        self.zones = zones
        self.provider = provider or Installation()
        self.environment = self.provider.spy(*zones)
        for name, text in self.amended.items():
            self.provider.amend(name, text)
        self.socket = str(self.provider.home / "run" / "ca.sock")
        self.va_port, self.tsa_port = self.provider.base, self.provider.base + 1
        self.issuing = x509.load_pem_x509_certificate(self.provider.certificate("issuing").read_bytes())
        self.query = self.make_query()
        self.client_count = clients
        self.clients = []
        self.faulted = []   # (daemon, when), but for its deaths
        self.recovery = []  # seconds
        before_start(self.provider)

    def make_query(self):
        file = self.provider.work / "stamped"
        file.write_text("stamped")
        return subprocess.run(["openssl", "ts", "-query", "-data", file, "-sha256", "-no_nonce"], check=True, capture_output=True).stdout

    def close(self):
        self.provider.close()

    # ---- the load ----

    def client(self, number):
        return Client(self, number)

    def start(self):
        self.provider.start(self.environment)
        self.clients = self.clients or [self.client(i) for i in range(self.client_count)]
        self.resume()

    def stop(self):
        self.pause()
        self.provider.stop()

    def resume(self):
        for client in self.clients:
            client.resume()

    def pause(self):
        for client in self.clients:
            client.pause()
        for client in self.clients:
            client.has_paused()
        self.check_clients()

    def check_clients(self):
        for client in self.clients:
            assert client.wrong is None, f"{client.wrong!r}{self.provider.tails()}"

    def all_begin_anew(self):
        """Every client finishes a round that it began after now."""
        since = time.monotonic()
        goals = {client: client.rounds + 2 for client in self.clients}

        def done():
            self.check_clients()
            return all(client.rounds >= goal for client, goal in goals.items())
        within(150, done, 0.02)
        self.recovery.append(time.monotonic() - since)

    # ---- what is left of it ----

    def ends(self):
        """Daemons that ended without having been told to."""
        return [Death(moment(when), name) for when, name in
                re.findall(r"^(\S+) supervisor warning: (\S+) ended with ", self.provider.log_text("supervisor"), re.M)]

    def faults(self):
        """Each may be why intents under way have no signature, one of each client."""
        times = [(when, name) for name, when in self.faulted] + [(end.time, end.name) for end in self.ends()]
        return [Death(when + k * 1e-6, name) for when, name in times for k in range(self.client_count)]

    def get(self, path):
        connection = UnixConnection(self.socket)
        try:
            return call(connection, "GET", path)[1]
        finally:
            connection.close()

    def held(self):
        """(serial, client) of every certificate."""
        return [(serial, client) for client in self.clients for serial in client.issued]

    def listed(self):
        """What the ca says of every certificate: serial and state."""
        out, after = {}, ""
        while after is not None:
            page = self.get(f"/v1/certificates?ca=issuing&limit=1000&after={after}")
            out.update((one["serial"], one["state"]) for one in page["certificates"])
            after = page.get("next")
        return out

    def lives_of(self, zone):
        return lives(self.provider.log_text(f"keyd-{zone}"))

    def settle(self):
        """Everything is asked for once more; then nobody works, and what was signed gets its record and the records their checkpoint."""
        self.pause()
        self.states = self.listed()
        self.answers = for_each(lambda serial, client: client.status(client.certificates[serial]), self.held())
        self.calls_before = {zone: len(calls_in(self.lives_of(zone))) for zone in self.zones}
        within(90, self.has_settled, 0)

    def has_settled(self):
        """The ca closes what it could not store some seconds after it signed it; and chancery-watch asks the responder now and then,
        which gets its record within two seconds."""
        answers = self.provider.log_text("keyd-status").count("C_Sign")
        time.sleep(2.5)
        self.log = Log(self.provider.home / "state" / "auditd" / "log")
        self.lives = {zone: self.lives_of(zone) for zone in self.zones}
        return not open_intents(self.log) and self.provider.log_text("keyd-status").count("C_Sign") == answers

    def torn(self, zone):
        return sum(call.data is None for call in calls_in(self.lives[zone]))

    def report(self):
        ended = collections.Counter(re.findall(r"warning: (\S+ ended with \S+(?: code)? \d+)", self.provider.log_text("supervisor")))
        print(f"  restarts: {dict(ended)}; prints torn: { {zone: self.torn(zone) for zone in self.zones} }")
        print(f"  certificates {sum(len(c.issued) for c in self.clients)}, revoked {sum(len(c.revoked) for c in self.clients)}, "
              f"tokens {sum(len(c.tokens) for c in self.clients)}, refused and asked again {sum(c.refused for c in self.clients)}; "
              f"signed and abandoned {len(self.log.of('certificate.abandoned'))}; records {self.log.size}")
        if self.recovery:
            print(f"  back in service after {sorted(self.recovery)[len(self.recovery) // 2]:.2f} s (median), {max(self.recovery):.2f} s at most")


def for_each(what, pairs):
    """By the first of each pair, asked for by some at once."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(zip((first for first, _ in pairs), pool.map(lambda pair: what(*pair), pairs)))


def calls_in(of_zone):
    return [call for life in of_zone for call in life.calls]


# ---- the account ----

def certificates_are_in_store_log_and_ocsp(world):
    """Every certificate that a client received, as it received it."""
    issued = {record["serial"]: record["signature"] for record in world.log.of("certificate.issued")}
    intents = {record["serial"]: record["tbs"] for record in world.log.of("sign.certificate")}
    held = world.held()
    assert held and len({serial for serial, _ in held}) == len(held), "a serial was given out twice"
    shown = for_each(lambda serial, _: world.get(f"/v1/certificates/{serial}"), held)
    for serial, client in held:
        certificate, is_revoked = client.certificates[serial], serial in client.revoked
        assert base64.b64decode(intents[serial]) == certificate.tbs_certificate_bytes
        assert base64.b64decode(issued[serial]) == certificate.signature
        assert shown[serial]["certificate"] == client.issued[serial]
        assert world.states[serial] == ("revoked" if is_revoked else "good")
        assert world.answers[serial] == (ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD)


def revocations_and_tokens_are_on_record(world):
    revoked = {record["serial"] for record in world.log.of("certificate.revoked")}
    stamped = {record["serial"].lstrip("0") for record in world.log.of("sign.time_stamp")}
    for client in world.clients:
        assert client.revoked <= revoked
        assert set(client.tokens) <= stamped


def no_number_was_used_twice(world):
    for event in ("sign.certificate", "sign.time_stamp", "certificate.issued", "certificate.revoked"):
        serials = [record["serial"] for record in world.log.of(event)]
        assert len(serials) == len(set(serials)), event
    numbers = [(record["issuer_key"], record["number"]) for record in world.log.of("sign.crl")]
    assert len(numbers) == len(set(numbers))
    tokens = [token for client in world.clients for token in client.tokens]
    assert len(tokens) == len(set(tokens))


def signatures_have_their_records(world, zone):
    """And records without a signature their fault."""
    unsigned = account_of_records(world.log, zone, calls_in(world.lives[zone]), world.calls_before[zone], world.faults())
    without = {record["serial"].lstrip("0") for record in unsigned if "serial" in record}
    with_effect = {record["serial"].lstrip("0") for record in world.log.of("certificate.issued")}
    with_effect |= {token for client in world.clients for token in client.tokens}
    torn = world.torn(zone)
    assert len(without & with_effect) <= torn, f"an effect without a signature ({torn} prints torn): {without & with_effect}"


def ocsp_answers_are_counted_and_chained(world):
    counted = Counted(world.log, "status", world.lives["status"], world.ends()).replay()
    deaths = sum(end.name == "keyd-status" for end in world.ends())
    assert counted.recorded > 0 and counted.gaps <= deaths
    accounted = counted.recorded + counted.offered + counted.lost
    assert 0 <= accounted - len(calls_in(world.lives["status"])) <= deaths, "more than the one call that a kill came before"


def checkpoints_are_of_this_log(world):
    assert account_of_checkpoints(world.log, world.lives["log"]) > 10


def open_intents(log):
    signed, issued, closed = ({record["serial"] for record in log.of(event)} for event in
                              ("sign.certificate", "certificate.issued", "certificate.abandoned"))
    return signed - issued - closed


def on_crl(text, serials):
    return all(serial.upper() in text for serial in serials)


def what_was_not_issued_is_closed(world):
    """What was signed and is not a certificate of anybody is revoked, by the CRL that follows its record."""
    closed = {record["serial"] for record in world.log.of("certificate.abandoned")}
    assert not open_intents(world.log)
    held = {serial for client in world.clients for serial in client.issued}
    assert not closed & held, "closed, and in a client's hands"
    within(20, lambda: on_crl(world.provider.crl(), closed), 0.5)


def log_is_sound(world):
    within(20, lambda: world.provider.call("audit", "verify").returncode == 0, 0.5)


def account(world):
    assert all(world.provider.pid(name) for name in DAEMONS)
    for check in (certificates_are_in_store_log_and_ocsp, revocations_and_tokens_are_on_record, no_number_was_used_twice,
                  ocsp_answers_are_counted_and_chained, checkpoints_are_of_this_log, what_was_not_issued_is_closed, log_is_sound):
        check(world)
    for zone in ("ca", "time"):
        signatures_have_their_records(world, zone)
