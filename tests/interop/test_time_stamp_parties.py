"""Our tsa as signing tools use it: Bouncy Castle, jarsigner and osslsigncode get a token and judge it, true ones and false ones."""
import re
import struct
import subprocess
import zipfile

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relying_parties import BOUNCY_CASTLE, JAVA, Provider, builder_for, compile_java, load, pem, run, save_key, stranger

PASSWORD = "test-only"
QUICK = [f"-J{option}" for option in JAVA[1:]]


# ---- what is signed, and by whom: a code signer that is none of ours ----

def small_program():
    """A PE file of one section that returns at once."""
    coff = struct.pack("<HHIIIHH", 0x14C, 1, 0, 0, 0, 224, 0x0102)
    head = struct.pack("<HBBIIIIIIIIIHHHHHHIIIIHHIIIIII", 0x10B, 0, 0, 512, 0, 0, 0x1000, 0x1000, 0x2000, 0x400000, 0x1000, 512, 4, 0, 0, 0,
                       4, 0, 0, 0x2000, 512, 0, 3, 0, 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    section = struct.pack("<8sIIIIIIHHI", b".text", 512, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
    start = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + coff + head + bytes(128) + section
    return start.ljust(512, b"\0") + b"\xc3" * 512


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def done_well(command):
    done = run(command)
    assert done.returncode == 0, done.stdout


def make_code_signer(provider):
    work = provider.work
    ca_key, ca = stranger(name("TEST Code CA"))
    key = save_key(work / "code.key", ec.generate_private_key(ec.SECP256R1()))
    signer = builder_for(name("TEST Code"), ca.subject, key.public_key(), ExtendedKeyUsageOID.CODE_SIGNING, days=300).sign(ca_key, hashes.SHA256())
    (work / "code.pem").write_bytes(pem(signer))
    (work / "code-ca.pem").write_bytes(pem(ca))
    done_well(["openssl", "pkcs12", "-export", "-inkey", work / "code.key", "-in", work / "code.pem", "-name", "code", "-passout",
               f"pass:{PASSWORD}", "-out", work / "code.p12"])
    # The signer itself is trusted, so that revocation is asked about the unit alone.
    for store, certificates in (("trust", ["code.pem", provider.root]), ("trust-without-us", ["code.pem"])):
        for certificate in certificates:
            done_well(["keytool", *QUICK, "-importcert", "-noprompt", "-alias", str(certificate), "-file", work / certificate, "-keystore",
                       work / f"{store}.p12", "-storetype", "PKCS12", "-storepass", PASSWORD])
    with zipfile.ZipFile(work / "plain.jar", "w") as jar:
        jar.writestr("hello.txt", "hello")
    (work / "plain.exe").write_bytes(small_program())


# ---- lies of the network ----

def altered(path, body, answer):
    """The last figure of genTime is another one."""
    at = re.search(rb"\x18.20\d{11}(\d)(\.\d+)?Z", answer).start(1)
    return 200, answer[:at] + (b"1" if answer[at:at + 1] != b"1" else b"2") + answer[at + 1:]


def silent(path, body, answer):
    return 503, b""


def replayed(provider):
    """The answer to somebody else's request, of the same unit."""
    _, reply = stamp(provider, provider.work / "other")
    return lambda path, body, answer: (200, reply.read_bytes())


def by_openssl(provider, label, certificate, key, chain):
    """A whole token, by another key."""
    directory = provider.work / label
    directory.mkdir()
    (directory / "conf").write_text(f"""[tsa]
        signer_digest = sha256
        default_policy = 2.999.3161.1
        digests = sha256, sha384, sha512
        accuracy = millisecs:500
        ess_cert_id_alg = sha256
        serial = {directory}/serial\n""")

    def lie(path, body, answer):
        (directory / "query").write_bytes(body)
        done_well(["openssl", "ts", "-reply", "-config", directory / "conf", "-section", "tsa", "-queryfile", directory / "query", "-signer",
                   certificate, "-inkey", key, "-chain", chain, "-out", directory / "reply"])
        return 200, (directory / "reply").read_bytes()
    return lie


def impostor(provider):
    """A unit below a CA that calls itself as ours."""
    issuing = load(provider.issuing)
    ca_key, ca = stranger(issuing.subject)
    key = save_key(provider.work / "impostor.key", ec.generate_private_key(ec.SECP256R1()))
    unit = builder_for(name("TEST Time-Stamp Unit"), issuing.subject, key.public_key(), ExtendedKeyUsageOID.TIME_STAMPING).sign(ca_key, hashes.SHA256())
    (provider.work / "impostor.pem").write_bytes(pem(unit))
    (provider.work / "impostor-ca.pem").write_bytes(pem(ca))
    return by_openssl(provider, "impostor", provider.work / "impostor.pem", provider.work / "impostor.key", provider.work / "impostor-ca.pem")


def unrecorded(provider):
    """A unit with a certificate of the issuing key that the ca never heard of."""
    certificate = provider.forge("unit", ExtendedKeyUsageOID.TIME_STAMPING)
    return by_openssl(provider, "unrecorded", certificate, provider.work / "unit.key", provider.issuing)


# ---- the parties: each gets a token, and judges it in a second step ----

def stamp(provider, at):
    """A query made by openssl and the answer of the tsa: two files."""
    query, reply = at.with_suffix(".tsq"), at.with_suffix(".tsr")
    done_well(["openssl", "ts", "-query", "-data", provider.root, "-sha256", "-cert", "-out", query])
    done_well(["curl", "-sS", "-H", "Content-Type: application/timestamp-query", "--data-binary", f"@{query}", "-o", reply, provider.tsa_url])
    return query, reply


class BouncyCastle:
    @staticmethod
    def obtain(provider, at):
        return stamp(provider, at)

    @staticmethod
    def judge(provider, token, root=None):
        done = run([*JAVA, "-cp", f"{provider.classes}:{BOUNCY_CASTLE}", "BouncyJudge", "stamp", root or provider.root, *token,
                    "revocation"])
        return done.returncode == 0, done.stdout


class Jarsigner:
    @staticmethod
    def obtain(provider, at):
        jar = at.with_suffix(".jar")
        done = run(["jarsigner", *QUICK, "-keystore", provider.work / "code.p12", "-storepass", PASSWORD, "-tsa", provider.tsa_url, "-tsadigestalg",
                    "SHA-256", "-signedjar", jar, provider.work / "plain.jar", "code"])
        return jar if done.returncode == 0 else done.stdout

    @staticmethod
    def judge(provider, jar, root=None):
        store = provider.work / ("trust-without-us.p12" if root else "trust.p12")
        done = run(["jarsigner", *QUICK, "-verify", "-strict", "-revCheck", "-keystore", store, "-storepass", PASSWORD, jar])
        return done.returncode == 0, f"{done.returncode} {done.stdout}"


class Osslsigncode:
    @staticmethod
    def obtain(provider, at):
        program = at.with_suffix(".exe")
        done = run(["osslsigncode", "sign", "-certs", provider.work / "code.pem", "-key", provider.work / "code.key", "-h", "sha256", "-ts",
                    provider.tsa_url, "-in", provider.work / "plain.exe", "-out", program])
        return program if done.returncode == 0 else done.stdout

    @staticmethod
    def judge(provider, program, root=None):
        """It ends with 0 also when it refuses the time-stamp: the words count."""
        crl = provider.work / "issuing.crl"
        done_well(["openssl", "crl", "-inform", "DER", "-in", fetch_crl(provider), "-out", crl])
        done = run(["osslsigncode", "verify", "-CAfile", provider.work / "code-ca.pem", "-TSA-CAfile", root or provider.root,
                    "-TSA-CRLfile", crl, "-in", program])
        return re.search("(?m)^Timestamp Server Signature verification: ok", done.stdout) is not None, done.stdout


def fetch_crl(provider):
    path = provider.work / "issuing.der"
    done_well(["curl", "-sSf", "-o", path, provider.env["CHANCERY_CRL_URL"]])
    return path


PARTIES = {"bouncy castle": BouncyCastle, "jarsigner": Jarsigner, "osslsigncode": Osslsigncode}


@pytest.fixture(scope="module")
def provider():
    made = Provider()
    try:
        made.classes = made.work / "classes"
        compile_java(made.classes)
        make_code_signer(made)
        made.stamp_lies = {"altered": altered, "silent": silent, "replayed": replayed(made), "impostor": impostor(made),
                           "unrecorded": unrecorded(made)}
        made.tokens = {party: PARTIES[party].obtain(made, made.work / party.replace(" ", "-")) for party in PARTIES}
        yield made
    finally:
        made.close()


def both(words):
    """osslsigncode of Debian 12 (2.5) and later ones say things in another order."""
    return f"(?s)(?=.*{words})(?=.*Timestamp Server Signature verification: failed)"


# Whether a party accepts, and its words. Where the sign tool itself refuses the answer, those are its words.
CHAIN = "TSA certificate chain is invalid. Reason: PKIX path building failed"

SAYS = {
    ("bouncy castle", "true"): "^accepted: granted 2.999.3161.1$",
    ("bouncy castle", "without our root"): "does not chain with any of the trust anchors",
    ("bouncy castle", "altered"): "message-digest attribute value does not match",
    ("bouncy castle", "replayed"): "response contains wrong nonce value",
    ("bouncy castle", "impostor"): "does not chain with any of the trust anchors",
    ("bouncy castle", "unrecorded"): "revocation status is unknown",
    ("jarsigner", "true"): "jar verified",
    ("jarsigner", "without our root"): CHAIN,
    ("jarsigner", "altered"): "not verifiable, and the jar will be treated as unsigned",
    ("jarsigner", "replayed"): "Digest octets changed in timestamp token",
    ("jarsigner", "silent"): "HTTP response code: 503",
    ("jarsigner", "impostor"): CHAIN,
    ("osslsigncode", "true"): "Timestamp Server Signature verification: ok",
    ("osslsigncode", "without our root"): both("unable to get local issuer certificate"),
    ("osslsigncode", "altered"): both("verification failure"),
    ("osslsigncode", "replayed"): both("message digest verification: failed"),
    ("osslsigncode", "silent"): "RFC 3161 timestamping failed",
    ("osslsigncode", "impostor"): both("CMS_verify error"),
}


@pytest.mark.parametrize("party,case", SAYS)
def test_a_party_takes_the_true_token_and_nothing_else(provider, tmp_path, party, case):
    provider.lie(None)
    provider.stamps.lie = provider.stamp_lies.get(case)
    provider.stamps.seen.clear()
    token = PARTIES[party].obtain(provider, tmp_path / "stamped")
    assert provider.stamps.asked("/tsa") == {"POST"}
    root = provider.work / "code-ca.pem" if case == "without our root" else None
    accepted, words = (False, token) if isinstance(token, str) else PARTIES[party].judge(provider, token, root)
    assert re.search(SAYS[party, case], words), words
    assert accepted == (case == "true"), words


REVOKED = {"bouncy castle": "Certificate has been revoked, reason: KEY_COMPROMISE",
           "jarsigner": "TSA certificate chain is invalid. Reason: Certificate has been revoked, reason: KEY_COMPROMISE",
           "osslsigncode": both("certificate revoked")}


@pytest.fixture(scope="module")
def provider_with_unit_revoked(provider):
    """Last: the installation's unit is of no use afterwards."""
    before = {party: PARTIES[party].judge(provider, provider.tokens[party])[0] for party in PARTIES}
    assert all(before.values()), before
    provider.check("cert", "revoke", "--cert", provider.certificate("tsu"), "--reason", "keyCompromise")
    provider.check("crl", "issue")
    return provider


@pytest.mark.parametrize("party", PARTIES)
def test_a_token_of_a_revoked_unit_is_refused(provider_with_unit_revoked, party):
    """The same token that was accepted a moment ago."""
    provider = provider_with_unit_revoked
    accepted, words = PARTIES[party].judge(provider, provider.tokens[party])
    assert not accepted and re.search(REVOKED[party], words), words
