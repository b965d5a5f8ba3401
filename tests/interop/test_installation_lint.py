"""Every certificate, CRL and OCSP answer of a running installation, judged by openssl, pkilint and zlint."""
import pathlib
import subprocess
import sys
import urllib.request

import pytest

import lint

sys.path.insert(0, str(lint.ROOT / "tests" / "flow"))
import installation  # noqa: E402

PERSON = "NCP-NATURAL-PERSON-CERTIFICATE"


@pytest.fixture(scope="module")
def provider():
    made = installation.Installation().start()
    try:
        made.alice, _ = made.issue("alice")
        made.bob, made.bob_serial = made.issue("bob")
        made.check("cert", "revoke", "--serial", made.bob_serial, "--reason", "keyCompromise")
        made.check("crl", "issue")
        yield made
    finally:
        made.close()


def first_certificate(path, into):
    """Linters read one certificate a file; chains and the tool's output may hold several."""
    text = pathlib.Path(path).read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = [begin + part.split(end)[0] + end + "\n" for part in text.split(begin)[1:]]
    assert blocks, path
    one = into / f"{pathlib.Path(path).stem}.pem"
    one.write_text(blocks[0])
    return one


@pytest.mark.parametrize("name", ["root", "issuing", "management", "ocsp", "tsu"])
def test_certificates_of_authorities_and_services_are_clean(provider, tmp_path, name):
    assert lint.certificate(first_certificate(provider.certificate(name), tmp_path)) == []


@pytest.mark.parametrize("name", ["ca", "va", "tsa", "operator"])
def test_internal_certificates_are_clean(provider, tmp_path, name):
    assert lint.certificate(first_certificate(provider.home / "tls" / f"{name}.pem", tmp_path)) == []


def test_issued_certificates_are_clean_and_verify(provider, tmp_path):
    for path in (provider.alice, provider.bob):
        one = first_certificate(path, tmp_path)
        assert lint.certificate(one, PERSON) == []
        command = ["openssl", "verify", "-x509_strict", "-CAfile", provider.certificate("root"), "-untrusted",
                   provider.certificate("issuing"), one]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert run.returncode == 0 and run.stdout.strip().endswith(": OK"), run.stdout + run.stderr


def test_every_crl_ever_made_is_clean(provider):
    crls = sorted(provider.home.glob("state/*/crls/*.crl"))
    assert any("root" in c.name for c in crls) and any("issuing" in c.name for c in crls)
    for path in crls:
        assert lint.crl(path, "ARL" if path.name.startswith("root") else "CRL") == [], path.name


def test_the_published_crl_names_the_revoked_certificate(provider, tmp_path):
    path = tmp_path / "published.crl"
    path.write_bytes(urllib.request.urlopen(provider.env["CHANCERY_CRL_URL"], timeout=10).read())
    assert lint.crl(path) == []
    text = subprocess.run(["openssl", "crl", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    assert provider.bob_serial.upper().lstrip("0") in text.replace(":", "").upper() and "Key Compromise" in text


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_ocsp_answers_are_clean(provider, tmp_path, digest, nonce):
    for name, status in ((provider.alice, "good"), (provider.bob, "revoked")):
        answer = tmp_path / f"{status}.der"
        command = ["openssl", "ocsp", "-issuer", provider.certificate("issuing"), digest, "-cert", name, nonce, "-url",
                   provider.env["CHANCERY_OCSP_URL"], "-CAfile", provider.chain_file(), "-respout", answer]
        run = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert f": {status}" in run.stdout, run.stdout + run.stderr
        assert lint.ocsp(answer) == []
