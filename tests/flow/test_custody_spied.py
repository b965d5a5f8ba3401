"""What the module of every keyd saw, from the first token on, while a provider was founded under quorum and worked: private keys are made on
tokens and stay there, and each key has signed as often as the log and keyd say. Whose signature a call of C_Sign gave is not asked of the
daemons or the module: it verifies under the public key of exactly one of the keys on record."""
import base64
import collections
import re
import subprocess
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from installation import SOFTHSM, SPY, Installation, within
from kill_account import Log, moment

ZONES = ("root", "ca", "status", "time", "log")
TAKES_OR_GIVES_KEYS = {"C_CreateObject", "C_CopyObject", "C_WrapKey", "C_UnwrapKey", "C_DeriveKey", "C_GenerateKey", "C_SetAttributeValue", "C_Decrypt",
                       "C_DecryptInit", "C_SeedRandom"}
SECRET_PARTS = {f"CKA_{name}" for name in ("VALUE", "PRIVATE_EXPONENT", "PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT")}
DIGESTS = {32: hashes.SHA256, 48: hashes.SHA384, 64: hashes.SHA512}
PAIRWISE = {ec.EllipticCurvePublicKey: 3, ed25519.Ed25519PublicKey: 1}  # its test when it was made: once with each signature algorithm of the family

Call = collections.namedtuple("Call", "name text")
Signed = collections.namedtuple("Signed", "time data signature")


# ---- what the module saw ----

def calls(text):
    parts = re.split(r"\n\d+: (C_\w+)\n", text)
    return [Call(name, body) for name, body in zip(parts[1::2], parts[2::2])]


def octets(text, what):
    """A dump of sixteen octets a line behind its length."""
    head = re.search(r"\] " + re.escape(what) + r" [0-9a-f]+ / (\d+)\n((?:    [0-9A-F]{8}  .*\n)+)", text)
    data = bytes.fromhex("".join(line[14:62] for line in head.group(2).splitlines()))
    assert len(data) == int(head.group(1)), text
    return data


def signed(call):
    time = moment("T".join(re.match(r"(\S+) (\S+)", call.text).groups()))
    return Signed(time, octets(call.text, "pData[ulDataLen]"), octets(call.text, "pSignature[*pulSignatureLen]"))


def verifies(key, call):
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(call.signature, call.data)
        elif len(call.data) not in DIGESTS:
            return False
        else:
            half = len(call.signature) // 2
            r, s = (int.from_bytes(part, "big") for part in (call.signature[:half], call.signature[half:]))
            key.verify(utils.encode_dss_signature(r, s), call.data, ec.ECDSA(utils.Prehashed(DIGESTS[len(call.data)]())))
    except InvalidSignature:
        return False
    return True


class Zone:
    def __init__(self, site, name):
        self.calls = calls(site.log_text(f"keyd-{name}"))
        self.generated = [r for r in site.records if r["event"] == "key.generated" and r["zone"] == name]
        self.keys = {r["key"]: serialization.load_der_public_key(base64.b64decode(r["spki"])) for r in self.generated}
        self.by_key = {key: [] for key in self.keys}
        for call in (signed(c) for c in self.calls if c.name == "C_Sign"):
            whose = [name for name, key in self.keys.items() if verifies(key, call)]
            assert len(whose) == 1, f"zone {name}: a signature of {whose or 'no key on record'}"
            self.by_key[whose[0]].append(call)

    def since_its_test(self, key):
        """The pairwise test is the first that a key signs."""
        return self.by_key[key][next(n for family, n in PAIRWISE.items() if isinstance(self.keys[key], family)):]

    def generations(self):
        return [c.text for c in self.calls if c.name == "C_GenerateKeyPair"]


# ---- a provider that was founded and worked ----

def nothing_is_signed(site):
    before = site.log_text("keyd-ca").count(": C_Sign\n")
    time.sleep(1.5)
    return site.log_text("keyd-ca").count(": C_Sign\n") == before


def open_and_work(site):
    site.check("op", "activate")
    within(60, lambda: nothing_is_signed(site))  # CRLs that waited for their keys: the module's spy mixes the lines of two signatures at once
    certificate, serial = site.issue("alice")
    within(10, lambda: "good" in site.ocsp(certificate))
    site.check("cert", "revoke", "--serial", serial, "--reason", "superseded")
    within(20, lambda: serial.upper() in site.crl())
    tsq, url = site.work / "alice.tsq", site.env["CHANCERY_TSA_URL"]
    subprocess.run(["openssl", "ts", "-query", "-data", certificate, "-sha256", "-cert", "-out", tsq], check=True, capture_output=True)
    answer = subprocess.run(["curl", "-sSf", "-H", "Content-Type: application/timestamp-query", "--data-binary", f"@{tsq}", url],
                            check=True, capture_output=True).stdout
    assert certificate.read_bytes() and len(answer) > 1000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    module = tmp_path_factory.mktemp("spy") / "softhsm-with-spy.so"  # keyd tells SoftHSM by the file's name, and gives it a directory
    module.symlink_to(SPY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PKCS11SPY", SOFTHSM)
        made = Installation(options=("--quorum", "--module", module))
        # Of two signatures at once the module's spy mixes the lines: nobody else asks the responder meanwhile.
        watch = made.conf("watch")
        watch.write_text(re.sub(r"\[probe ocsp\]\n(?:.+\n)+", "", watch.read_text()))
        assert "kind = ocsp" not in watch.read_text()
        try:
            made.start()
            open_and_work(made)
            made.stop()
            made.start()  # the groups of the CAs are locked again: the same once more
            open_and_work(made)
            made.stop()
            made.log = Log(made.home / "state" / "auditd" / "log")
            made.records = made.log.records
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def zones(site):
    return {name: Zone(site, name) for name in ZONES}


# ---- keys are made on tokens and stay there ----

def test_every_key_was_made_on_its_token_and_is_on_record(zones):
    """//= requirements#HSM-20 the pair is made in the module; what it says of the key's history is read back"""
    for name, zone in zones.items():
        assert len(zone.generations()) == len(zone.generated) >= 2, name
        for text in zone.generations():
            private = text.split("pPrivateKeyTemplate")[1]
            for attribute, value in (("TOKEN", "True"), ("PRIVATE", "True"), ("SENSITIVE", "True"), ("EXTRACTABLE", "False"), ("UNWRAP", "False"),
                                     ("DECRYPT", "False"), ("DERIVE", "False"), ("MODIFIABLE", "False")):
                assert re.search(rf"CKA_{attribute} +{value}\n", private), f"{name}: {attribute}\n{text}"
        text = "".join(c.text for c in zone.calls if c.name == "C_GetAttributeValue")
        for attribute in ("ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL"):
            assert len(re.findall(rf"CKA_{attribute} +True\n", text)) >= len(zone.generated), f"{name}: {attribute}"
            assert not re.search(rf"CKA_{attribute} +False\n", text), f"{name}: {attribute}"


def test_no_private_key_was_brought_in_or_taken_out(zones):
    for name, zone in zones.items():
        assert not TAKES_OR_GIVES_KEYS & {c.name for c in zone.calls}, name
        asked = set(re.findall(r"CKA_\w+", "".join(c.text for c in zone.calls if c.name == "C_GetAttributeValue")))
        assert asked and not SECRET_PARTS & asked, name


# ---- each key signed what is on record and nothing else ----

def on_record(site, zone, key):
    """Signatures with a record of their own, or counted by one."""
    of_key = [r for r in site.records if r.get("zone") == zone and r.get("key") == key]
    alone = collections.Counter(r["digest"] for r in of_key if r["event"].startswith("sign."))
    return alone, max((r["total"] for r in of_key if r["event"] == "ocsp.signed"), default=0)


def test_keys_of_cas_time_stamp_units_and_ocsp_signed_what_the_log_says(site, zones):
    seen = 0
    for name, zone in zones.items():
        for key in zone.keys.keys() - {"identity", "log"}:
            alone, counted = on_record(site, name, key)
            made = collections.Counter(call.data.hex() for call in zone.since_its_test(key))
            assert not alone - made, f"{name}/{key}: on record and not signed"
            assert (made - alone).total() == counted, f"{name}/{key}: {made.total()} in the module, {alone.total()} + {counted} on record"
            seen += alone.total() + counted
        for record in zone.generated:
            assert "pairwise test: signed and verified" in record["checks"], record
    assert seen > 20


def test_identity_keys_signed_as_often_as_their_operations_and_state_say(site, zones):
    for name, zone in zones.items():
        times = [call.time for call in zone.since_its_test("identity")]
        for r in (r for r in site.records if r["event"] == "operation.executed" and r["instance"] == f"keyd/{name}"):
            least, most = (sum(t < moment(r["time"]) + slack for t in times) for slack in (-0.002, 0.002))
            assert least <= r["signatures"] <= most, f"{r['operation']}: {r['signatures']} by the log, {least} to {most} in the module"
        kept = site.home / "state" / f"keyd-{name}" / "control"
        said = int(re.search(r"^signatures: (\d+)$", kept.read_text(), re.M).group(1)) if kept.exists() else 0
        assert len(times) == said, f"{name}: {len(times)} in the module, {said} by its signed state"


def test_the_log_key_signed_heads_of_this_log_only(site, zones):
    heads = [call.data.decode().split("\n") for call in zones["log"].since_its_test("log")]
    assert heads
    for _, size, root, rest in heads:
        assert rest == "" and base64.b64decode(root) == site.log.root(int(size))
    sizes = [int(size) for _, size, _, _ in heads]
    assert sizes == sorted(sizes) and sizes[-1] == site.log.size


# ---- at last ----

#= control#limits a key of the founding does what its operation says, although that stands in the log before the register that judges it
def test_a_key_of_the_founding_whose_file_was_changed_signs_nothing(site):
    path = site.home / "state" / "keyd-ca" / "keys" / "issuing"
    good = path.read_bytes()
    purposes = good.index(b"ec-p256") + len(b"ec-p256")
    assert good[purposes:purposes + 4] == bytes([0, 0, 0, 1 | 2 | 64]), "certificate, CRL, request"
    path.write_bytes(good[:purposes + 3] + bytes([1 | 2 | 4 | 64]) + good[purposes + 4:])
    site.start()
    site.check("op", "activate")
    refused = site.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", site.request("mallory"))
    assert refused.returncode != 0 and "not described as it was approved" in refused.stderr, refused.stderr
    site.stop()
    path.write_bytes(good)
    site.start()
    site.check("op", "activate")
    assert "passed over" not in (site.home / "log" / "keyd-ca.log").read_text()
    site.issue("bob")
