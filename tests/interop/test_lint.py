"""What src/pki writes, judged by pkilint and zlint; and one bad object for each linter, which it must report."""
import datetime
import os
import pathlib
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

import lint

BUILD = pathlib.Path(os.environ.get("CHANCERY_BUILD", lint.ROOT / "build"))
PERSON = "NCP-NATURAL-PERSON-CERTIFICATE"
KINDS = {"person": PERSON, "pseudonym": PERSON, "employee": PERSON}
NAMES = ["root", "issuing", "management", "person", "pseudonym", "employee", "ocsp", "tsu", "server", "client", "operator"]
NOW = datetime.datetime(2026, 6, 1)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    directory = tmp_path_factory.mktemp("samples")
    subprocess.run([str(BUILD / "src" / "pki_hierarchy_test")], env={**os.environ, "CHANCERY_SAMPLES": str(directory)},
                   check=True, capture_output=True, timeout=120)
    return directory


@pytest.mark.parametrize("name", NAMES)
def test_certificates_of_every_profile_are_clean(samples, name):
    assert lint.certificate(samples / f"ec-{name}.pem", KINDS.get(name, "pkix")) == []


@pytest.mark.parametrize("label,name", [("p384", "root"), ("pss", "issuing"), ("pss", "person"), ("pkcs1", "person")])
def test_certificates_of_other_algorithms_are_clean(samples, label, name):
    assert lint.certificate(samples / f"{label}-{name}.pem", KINDS.get(name, "pkix")) == []


@pytest.mark.parametrize("name,kind", [("issuing.crl", "CRL"), ("empty.crl", "CRL"), ("root.crl", "ARL")])
def test_crls_are_clean(samples, name, kind):
    assert lint.crl(samples / f"ec-{name}", kind) == []


def test_ocsp_answers_are_clean(samples):
    assert lint.ocsp(samples / "ec-ocsp.der") == []


@pytest.mark.parametrize("label", ["ec", "p384", "pss", "pkcs1"])
def test_openssl_verifies_the_chain(samples, label):
    for name, root in [("person", "root"), ("tsu", "root"), ("ocsp", "root"), ("operator", "management"), ("server", "management")]:
        command = ["openssl", "verify", "-x509_strict", "-policy_check", "-CAfile", str(samples / f"{label}-{root}.pem"),
                   "-untrusted", str(samples / f"{label}-issuing.pem"), str(samples / f"{label}-{name}.pem")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert run.returncode == 0 and run.stdout.strip().endswith(": OK"), run.stderr
    command = ["openssl", "verify", "-CAfile", str(samples / f"{label}-root.pem"), "-untrusted",
               str(samples / f"{label}-issuing.pem"), str(samples / f"{label}-operator.pem")]
    assert subprocess.run(command, capture_output=True, timeout=30).returncode != 0, "an internal certificate chains to the root"


def test_openssl_prints_the_extensions(samples):
    run = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", str(samples / "ec-tsu.pem")], capture_output=True, text=True,
                         check=True, timeout=30)
    for line in ["X509v3 Extended Key Usage: critical", "Time Stamping", "X509v3 Private Key Usage Period", "Policy: 0.4.0.2042.1.2",
                 "CPS: http://127.0.0.1:8080/cps", "URI:http://127.0.0.1:8080/crl/issuing.crl", "OCSP - URI:http://127.0.0.1:8080/ocsp"]:
        assert line in run.stdout


# ---- bad ones ----

def bad_certificate(path):
    """An authority whose basicConstraints are not critical, without key identifiers, policies or key usage, valid for no person."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bad")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key()).serial_number(5)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + 30 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path, key, builder.sign(key, hashes.SHA256())


def codes(findings):
    return {f.code for f in findings}


def test_a_bad_certificate_is_reported_by_each_linter(tmp_path):
    path, _, _ = bad_certificate(tmp_path / "bad.pem")
    assert "pkix.basic_constraints_extension_not_critical" in codes(lint.pkilint_cert(path))
    assert "etsi.en_319_412_2.nat-4.2.4-1.required_attribute_missing" in codes(lint.pkilint_cert(path, PERSON))
    assert "e_basic_constraints_not_critical" in codes(lint.zlint(path))


def test_a_bad_crl_is_reported_by_each_linter(tmp_path):
    _, key, certificate = bad_certificate(tmp_path / "bad.pem")
    crl = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject).last_update(NOW).next_update(NOW + DAY)
    path = tmp_path / "bad.crl"
    path.write_bytes(crl.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    assert "pkix.crl_number_missing" in codes(lint.pkilint_crl(path))
    assert "e_crl_missing_crl_number" in codes(lint.zlint(path))


def test_a_bad_ocsp_answer_is_reported_by_pkilint(samples, tmp_path):
    """thisUpdate (the second time equal to producedAt) moved behind nextUpdate; pkilint checks no signature."""
    der = (samples / "ec-ocsp.der").read_bytes()
    produced = re.search(rb"\x18\x0f(20\d{12}Z)", der).group(1)
    at = der.index(produced, der.index(produced) + 1)
    path = tmp_path / "bad.der"
    path.write_bytes(der[:at] + b"2040" + der[at + 4:])
    assert "pkix.ocsp_negative_validity_period" in codes(lint.pkilint_ocsp(path))


def test_a_bad_ocsp_answer_is_reported_by_zlint(tmp_path):
    """zlint checks the signature where a signer's certificate is embedded; here none is."""
    _, key, certificate = bad_certificate(tmp_path / "bad.pem")
    future = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + 400 * DAY
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate, issuer=certificate, algorithm=hashes.SHA1(), cert_status=ocsp.OCSPCertStatus.GOOD, this_update=future,
        next_update=future + DAY, revocation_time=None, revocation_reason=None)
    answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate).sign(key, hashes.SHA256())
    path = tmp_path / "bad.der"
    path.write_bytes(answer.public_bytes(serialization.Encoding.DER))
    assert "e_this_update_not_after_produced_at" in codes(lint.zlint(path))


@pytest.mark.parametrize("judge", [lint.pkilint_cert, lint.zlint, lint.pkilint_crl, lint.pkilint_ocsp])
def test_a_linter_that_cannot_read_gives_no_clean_verdict(tmp_path, judge):
    path = tmp_path / "rubbish"
    path.write_bytes(b"\x30\x03\x02\x01")
    with pytest.raises((RuntimeError, ValueError)):
        judge(path)
