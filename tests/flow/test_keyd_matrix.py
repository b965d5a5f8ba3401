"""keyd's matrix, on the socket of a real keyd with SoftHSM: every key is asked for every content in every way there is, and only
the cells that fit sign."""
import hashlib
import os
import pathlib
import re
import time

import pytest

import keyd_client as kc
from keyd_client import CERTIFICATE, CRL, IDENTITY, LOG, OCSP, REQUEST, TIME_STAMP, Refused
import keyd_contents as make

PURPOSES = [CERTIFICATE, CRL, OCSP, TIME_STAMP, LOG, IDENTITY, REQUEST]
LIMITS = dict(issuer=make.ISSUER.public_bytes(), policies=[make.oid_content(make.POLICY)], validity_days=90, accuracy_ms=1000)
KEYS = {
    "certificate-ca": dict(purposes=CERTIFICATE, ca=True, **LIMITS),
    "certificate-leaf": dict(purposes=CERTIFICATE, ca=False, **LIMITS),
    "crl": dict(purposes=CRL, **LIMITS),
    "ocsp": dict(purposes=OCSP, **LIMITS),
    "time-stamp": dict(purposes=TIME_STAMP, **LIMITS),
    "log": dict(purposes=LOG, type="ed25519", origin=make.ORIGIN),
    "identity": dict(purposes=IDENTITY, **LIMITS),
    "request": dict(purposes=REQUEST),
    # as a provider has them: purposes that go together in one key
    "issuing": dict(purposes=CERTIFICATE | CRL | REQUEST, ca=True, **LIMITS),
    "responder": dict(purposes=OCSP | REQUEST, **LIMITS),
    "unit": dict(purposes=TIME_STAMP | REQUEST, **LIMITS),
}
STAMPING = ("time-stamp", "unit")


@pytest.fixture(scope="module")
def zone():
    keyd = kc.Keyd()
    with keyd:
        for label in KEYS:
            keyd.token(label)
        client = keyd.client()
        infos = {label: client.generate(label, **wish) for label, wish in KEYS.items()}
        yield keyd, client, infos


def algorithm_of(info):
    return "ed25519" if info["type"] == "ed25519" else "ecdsa-sha256"


def contents(spki):
    tst = make.tst_info()
    good = {
        "TBSCertificate CA": make.certificate(ca=True),
        "TBSCertificate leaf": make.certificate(),
        "TBSCertList": make.crl(),
        "OCSP ResponseData": make.ocsp_response(spki),
        "TSTInfo": tst,
        "signed attributes": make.signed_attributes(tst),
        "checkpoint": make.checkpoint_text(1, b"r" * 32),
        "CertificationRequestInfo": make.request(spki),
    }
    bad = {
        "TLS CertificateVerify": make.TLS_CERTIFICATE_VERIFY,
        "TLS CertificateVerify of a client": make.TLS_CERTIFICATE_VERIFY.replace(b"server", b"client"),
        "TLS 1.2 ServerKeyExchange": os.urandom(64) + b"\x03\x00\x17\x41" + spki[-65:],
        "random": os.urandom(300),
        "random behind a SEQUENCE": make.tlv(0x30, os.urandom(300)),
        "nothing": b"",
        "certificate of another issuer": make.certificate(issuer=make.OTHER),
        "CRL of another issuer": make.crl(issuer=make.OTHER),
        "OCSP of another responder": make.ocsp_response(spki[:-1] + bytes([spki[-1] ^ 1])),
        "certificate over its validity": make.certificate(days=91),
        "certificate of another policy": make.certificate(policy=make.OTHER_POLICY),
        "certificate with a short serial": make.certificate(serial=1 << 40),
        "CRL over its life": make.crl(days=91),
        "CRL without a number": make.crl(number=None),
        "OCSP over its life": make.ocsp_response(spki, days=91),
        "OCSP produced an hour ago": make.ocsp_response(spki, produced=make.now() - make.datetime.timedelta(hours=1)),
        "time-stamp of another policy": make.tst_info(policy=make.OTHER_POLICY),
        "time-stamp off the clock": make.tst_info(off=5),
        "time-stamp less accurate": make.tst_info(accuracy_ms=2000),
        "request of another key": make.request(spki[:-1] + bytes([spki[-1] ^ 1])),
    }
    for what, data in good.items():
        bad[what + " + trailing byte"] = data + b"\0"
        bad[what + " - last byte"] = data[:-1]
        if data[0] in (0x30, 0x31):
            bad[what + " + byte inside"] = make.tlv(data[0], make.inside(data) + b"\0")
    return good, bad


def in_batch(client, label, algorithm, content):
    """One among several: the answer that belongs to it, while what stands beside it is rubbish."""
    outcomes = client.sign_time_stamps(label, algorithm, [(b"rubbish", b"rubbish"), (content, make.signed_attributes(content)), (content, b"")])
    assert isinstance(outcomes[0], Refused) and isinstance(outcomes[2], Refused)
    if isinstance(outcomes[1], Refused):
        raise outcomes[1]
    return outcomes[1]


def ways(client, label, algorithm, content):
    """Every way there is to hand bytes to keyd: name of the way -> call."""
    out = {("sign", p): (lambda p=p: client.sign(label, p, algorithm, content)) for p in PURPOSES}
    out.update({("stream", p): (lambda p=p: client.sign_stream(label, p, algorithm, content, part=7, total=max(1, len(content)))) for p in PURPOSES})
    out["time-stamp", TIME_STAMP] = lambda: client.sign_time_stamp(label, algorithm, content, make.signed_attributes(content))
    out["time-stamp in a batch", TIME_STAMP] = lambda: in_batch(client, label, algorithm, content)
    out["attributes", TIME_STAMP] = lambda: client.sign_time_stamp(label, algorithm, make.tst_info(), content)
    return out


FITTING = {
    ("certificate-ca", "TBSCertificate CA"): [("sign", CERTIFICATE)],
    ("certificate-ca", "TBSCertificate leaf"): [("sign", CERTIFICATE)],
    ("certificate-leaf", "TBSCertificate leaf"): [("sign", CERTIFICATE)],
    ("crl", "TBSCertList"): [("sign", CRL), ("stream", CRL)],
    ("ocsp", "OCSP ResponseData"): [("sign", OCSP)],
    ("time-stamp", "TSTInfo"): [("time-stamp", TIME_STAMP), ("time-stamp in a batch", TIME_STAMP)],
    ("request", "CertificationRequestInfo"): [("sign", REQUEST)],
    ("issuing", "TBSCertificate CA"): [("sign", CERTIFICATE)],
    ("issuing", "TBSCertificate leaf"): [("sign", CERTIFICATE)],
    ("issuing", "TBSCertList"): [("sign", CRL), ("stream", CRL)],
    ("issuing", "CertificationRequestInfo"): [("sign", REQUEST)],
    ("responder", "OCSP ResponseData"): [("sign", OCSP)],
    ("responder", "CertificationRequestInfo"): [("sign", REQUEST)],
    ("unit", "TSTInfo"): [("time-stamp", TIME_STAMP), ("time-stamp in a batch", TIME_STAMP)],
    ("unit", "CertificationRequestInfo"): [("sign", REQUEST)],
}


@pytest.mark.parametrize("label", KEYS)
def test_only_fitting_cells_sign(zone, label):
    _, client, infos = zone
    info = infos[label]
    good, bad = contents(info["spki"])
    wrong, cells = [], 0
    for what, content in {**good, **bad}.items():
        fitting = FITTING.get((label, what), []) if what in good else []
        if what == "signed attributes" and label in STAMPING:
            fitting = []  # with another TSTInfo of the same second they may even fit: see below
        for way, call in ways(client, label, algorithm_of(info), content).items():
            if what == "signed attributes" and way == ("attributes", TIME_STAMP):
                continue
            cells += 1
            try:
                signature = call()
                message = make.signed_attributes(content) if way[0].startswith("time-stamp") else content
                make.verify(info["spki"], signature, message, algorithm_of(info))
                signed = True
            except Refused as refusal:
                assert refusal.code in ("INPUT", "DENIED", "LIMIT", "CRYPTO"), refusal
                signed = False
            if signed != (way in fitting):
                wrong.append((what, way, signed))
    assert not wrong
    assert cells > 600


def test_the_matrix_has_cells_that_sign(zone):
    """Guards the test above against a keyd that refuses everything."""
    _, client, infos = zone
    before = client.status()["signatures"]
    for (label, what), fitting in FITTING.items():
        good, _ = contents(infos[label]["spki"])
        for way in fitting:
            assert ways(client, label, "ecdsa-sha256", good[what])[way]()
    assert client.status()["signatures"] == before + sum(len(f) for f in FITTING.values())


def test_the_signed_attributes_belong_to_their_tst_info(zone):
    _, client, infos = zone
    tst = make.tst_info(serial=4711)
    wrong = {
        "digest of something else": {make.MESSAGE_DIGEST: make.tlv(4, hashlib.sha256(b"else").digest())},
        "no digest": {make.MESSAGE_DIGEST: None},
        "digest by another algorithm": {make.MESSAGE_DIGEST: make.tlv(4, hashlib.sha384(tst).digest())},
        "no content type": {make.CONTENT_TYPE: None},
        "another content type": {make.CONTENT_TYPE: make.oid("1.2.840.113549.1.7.1")},
        "no signing certificate": {make.SIGNING_CERTIFICATE_V2: None},
        "a signing certificate without hash": {make.SIGNING_CERTIFICATE_V2: make.tlv(0x30, make.tlv(0x30, b""))},
        "one attribute more": {make.SIGNING_TIME: make.tlv(0x17, b"261122120000Z")},
    }
    for what, change in wrong.items():
        with pytest.raises(Refused) as refusal:
            client.sign_time_stamp("time-stamp", "ecdsa-sha256", tst, make.signed_attributes(tst, change))
        assert refusal.value.code in ("INPUT", "DENIED"), what
    unordered = make.tlv(0x31, b"".join(sorted((make.attribute(k, v) for k, v in make.attributes_for(tst).items()), reverse=True)))
    with pytest.raises(Refused):
        client.sign_time_stamp("time-stamp", "ecdsa-sha256", tst, unordered)
    attributes = make.signed_attributes(tst)
    make.verify(infos["time-stamp"]["spki"], client.sign_time_stamp("time-stamp", "ecdsa-sha256", tst, attributes), attributes)


def test_checkpoints_continue_the_one_signed_last(zone):
    _, client, infos = zone
    spki = infos["log"]["spki"]
    leaves = [b"leaf %d" % i for i in range(20)]
    key_id = hashlib.sha256(make.ORIGIN.encode() + b"\n\x01" + spki[-32:]).digest()[:4]

    def signs(size, root=None, proof=b"", origin=make.ORIGIN):
        root = root or make.tree_root(leaves[:size])
        payload = client.checkpoint("log", origin, size, root, proof)
        assert payload[:4] == key_id
        make.verify(spki, payload[4:], make.checkpoint_text(size, root), "ed25519")

    def refused(*args, **more):
        with pytest.raises(Refused) as refusal:
            signs(*args, **more)
        assert refusal.value.code == "DENIED", refusal.value

    assert client.log_head("log") == (0, hashlib.sha256(b"").digest())
    refused(3, origin="another.log/1")
    refused(3, proof=b"x" * 32)
    signs(3)
    assert client.log_head("log") == (3, make.tree_root(leaves[:3]))
    signs(3)  # the same again
    refused(3, root=b"o" * 32)
    refused(2)
    refused(7)
    refused(7, proof=b"x" * 96)
    refused(7, root=b"o" * 32, proof=make.consistency(3, leaves[:7]))
    signs(7, proof=make.consistency(3, leaves[:7]))
    refused(8, proof=make.consistency(3, leaves[:8]))  # from a head that is not the last
    signs(20, proof=make.consistency(7, leaves))
    for label in KEYS:
        if label != "log":
            with pytest.raises(Refused) as refusal:
                client.checkpoint(label, make.ORIGIN, 1, b"r" * 32)
            assert refusal.value.code == "DENIED"


def test_an_algorithm_that_does_not_belong_to_the_key_is_refused(zone):
    _, client, infos = zone
    for algorithm in ("ecdsa-sha384", "rsa-pss-sha256", "rsa-pkcs1-sha256", "ed25519"):
        for label, what in FITTING:
            good, _ = contents(infos[label]["spki"])
            for way in FITTING[label, what]:
                with pytest.raises(Refused) as refusal:
                    ways(client, label, algorithm, good[what])[way]()
                assert refusal.value.code == "CRYPTO"
    with pytest.raises(Refused) as refusal:
        client.generate("short", token="certificate-ca", type="rsa-2048", purposes=CERTIFICATE)
    assert refusal.value.code == "CRYPTO"


def test_every_way_of_signing_counts_towards_the_rate():
    """Over a limit, in each column: the same content that signs is refused when it comes too often."""
    with kc.Keyd() as keyd:
        for label, wish in KEYS.items():
            keyd.token(label)
        client = keyd.client()
        infos = {label: client.generate(label, **dict(wish, rate=3)) for label, wish in KEYS.items()}
        turns = {}  # each key has a bucket of its own: one way of every key, then time for the buckets to fill
        for (label, what), fitting in FITTING.items():
            turns.setdefault(label, []).extend((what, way) for way in fitting)
        for turn in range(max(map(len, turns.values()))):
            for label in (label for label in turns if turn < len(turns[label])):
                what, way = turns[label][turn]
                content = contents(infos[label]["spki"])[0][what]
                call, outcomes = ways(client, label, "ecdsa-sha256", content)[way], []
                for _ in range(12):
                    try:
                        call()
                        outcomes.append("signed")
                    except Refused as refusal:
                        outcomes.append(refusal.code)
                assert outcomes[0] == "signed" and set(outcomes) == {"signed", "LIMIT"}, (label, what, way, outcomes)
            time.sleep(1.05)
        outcomes = []
        for _ in range(12):
            try:
                client.checkpoint("log", make.ORIGIN, 1, make.tree_root([b"leaf"]))
                outcomes.append("signed")
            except Refused as refusal:
                outcomes.append(refusal.code)
        assert outcomes[0] == "signed" and set(outcomes) == {"signed", "LIMIT"}, outcomes


def test_a_key_signs_not_more_often_than_its_rate():
    with kc.Keyd() as keyd:
        keyd.token("slow")
        client = keyd.client()
        info = client.generate("slow", purposes=REQUEST, rate=5)
        refused = 0
        began = time.monotonic()
        for _ in range(30):
            try:
                client.sign("slow", REQUEST, "ecdsa-sha256", make.request(info["spki"]))
            except Refused as refusal:
                assert refusal.code == "LIMIT"
                refused += 1
        assert 30 - refused <= 5 * (time.monotonic() - began + 1) + 1
        assert refused > 0
        time.sleep(1.1)
        client.sign("slow", REQUEST, "ecdsa-sha256", make.request(info["spki"]))


FAKETIME = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")
                 if os.path.exists(p)), None)


def dated_rows():
    """Rows of the policy table that end some day: [(key, algorithm)]."""
    table = (pathlib.Path(__file__).resolve().parents[2] / "src" / "alg" / "alg_policy.c").read_text()
    rows = re.findall(r'\{ "([a-z0-9-]+)", "([a-z0-9-]+)", [^{}]*?, (\w+), (\w+), \w+ \}', table)
    assert len(rows) > 5
    return [(key, algorithm) for key, algorithm, new, use in rows if (new, use) != ("NO_END", "NO_END")]


@pytest.mark.skipif(FAKETIME is None or kc.sanitized(), reason="needs the package faketime, which does not go with a sanitizer")
def test_an_algorithm_past_its_date_signs_nothing():
    """RSA with 2048 bits: no new keys after 2026, no signatures after 2028 (TS 119 312 table 6), to the second of the table; with
    each algorithm of the table that has a date, by each purpose whose use has it."""
    algorithms = ("rsa-pss-sha256", "rsa-pkcs1-sha256")
    assert dated_rows() == [("rsa-2048", algorithm) for algorithm in algorithms], "a row with a date that this test does not know"

    def at(date):
        return {"LD_PRELOAD": FAKETIME, "FAKETIME": "@" + date, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}

    keyd = kc.Keyd(environment=at("2026-06-01 12:00:00"))
    with keyd:
        def begin(date):
            keyd.stop()
            keyd.environment.update(at(date))
            keyd.start()
            return keyd.client()

        def refuses(call, word):
            with pytest.raises(Refused) as refusal:
                call()
            assert refusal.value.code == "CRYPTO" and word in refusal.value.message, refusal.value

        keyd.token("old")
        client = keyd.client()
        spki = client.generate("old", type="rsa-2048", purposes=REQUEST)["spki"]
        content = make.request(spki)
        others = {CERTIFICATE: "certificate", CRL: "crl", OCSP: "ocsp", TIME_STAMP: "time-stamp", LOG: "log"}
        for purpose, label in others.items():  # their uses have no row at all
            keyd.token(label)
            refuses(lambda: client.generate(label, type="rsa-2048", purposes=purpose), "rsa-2048")
        for date, signs, generates in (("2026-12-31 23:59:50", True, True), ("2027-01-01 00:00:01", True, False),
                                       ("2028-12-31 23:59:50", True, False), ("2029-01-01 00:00:01", False, False),
                                       ("2035-06-01 12:00:00", False, False)):
            client = begin(date)
            for algorithm in algorithms:
                if signs:
                    make.verify(spki, client.sign("old", REQUEST, algorithm, content), content, algorithm)
                else:
                    refuses(lambda: client.sign("old", REQUEST, algorithm, content), "2028")
            label = "new-" + date[:4]
            if generates:
                client.generate(label, token="old", type="rsa-2048", purposes=REQUEST)
            else:
                refuses(lambda: client.generate(label, token="old", type="rsa-2048", purposes=REQUEST), "2026" if signs else "202")
