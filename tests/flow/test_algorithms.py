"""Every type of key, as a CA's own on its token and as a subject's: what it issues and lists is verified by openssl."""
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ca_world import PERSON, Refused, World
from keyd_client import CERTIFICATE, CRL, REQUEST

TYPES = ["ec-p384", "ec-p521", "ec-brainpoolp512r1", "rsa-3072", "rsa-4096"]


def name_of(type):
    return "ca-" + type.split("-", 1)[1]


@pytest.fixture(scope="module")
def world():
    with World(extra=f"etsi-curves = root\netsi-curves = {name_of('ec-brainpoolp512r1')}") as w:
        w.start().found_cas()
        client = w.keyd.client()
        for type in TYPES:
            w.keyd.token(name_of(type))
            client.generate(name_of(type), type=type, purposes=CERTIFICATE | CRL | REQUEST, ca=True)
        client.close()
        for type in TYPES:
            w.found_issuing(name_of(type), name_of(type))
        w.file("root.pem", w.get("/v1/cas/root")["certificate"])
        yield w


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, **more)


@pytest.mark.parametrize("type", TYPES)
def test_what_a_ca_with_such_a_key_signs_is_verified_by_openssl(world, type):
    ca = name_of(type)
    made = world.issue(ca=ca)
    issuer = world.file(f"{ca}.pem", world.get(f"/v1/cas/{ca}")["certificate"])
    leaf = world.file(f"{ca}-leaf.pem", made["certificate"])
    assert openssl("verify", "-CAfile", world.file("root.pem"), "-untrusted", issuer, leaf).stdout.strip().endswith(": OK")
    world.revoke(made["serial"])
    world.post(f"/v1/cas/{ca}/crls", {})
    crl = world.file(f"{ca}.crl", world.call("GET", f"/v1/cas/{ca}/crl")[1])
    listed = openssl("crl", "-inform", "DER", "-in", crl, "-CAfile", issuer, "-verify", "-noout", "-text")
    assert "verify OK" in listed.stderr and made["serial"].upper() in listed.stdout
    broken = bytearray(open(crl, "rb").read())
    broken[-1] ^= 1
    assert "verify OK" not in openssl("crl", "-inform", "DER", "-in", world.file("broken.crl", bytes(broken)), "-CAfile", issuer, "-verify", "-noout").stderr


@pytest.mark.parametrize("curve", [ec.SECP521R1, ec.SECP384R1])
def test_subjects_may_have_keys_of_the_curve_set_fips_anywhere(world, curve):
    made = world.issue(key=ec.generate_private_key(curve()))
    assert isinstance(x509.load_pem_x509_certificate(made["certificate"].encode()).public_key().curve, curve)


def test_brainpool_is_for_cas_of_the_curve_set_etsi_only(world):
    """ts119312#6.2.2.3 brainpoolP512r1 is recommended; it is no curve of FIPS 186-5"""
    key = ec.generate_private_key(ec.BrainpoolP512R1())
    made = world.issue(key=key, subject=PERSON % "Curve", ca=name_of("ec-brainpoolp512r1"))
    assert isinstance(x509.load_pem_x509_certificate(made["certificate"].encode()).public_key().curve, ec.BrainpoolP512R1)
    with pytest.raises(Refused) as refusal:
        world.issue(key=ec.generate_private_key(ec.BrainpoolP512R1()))
    assert refusal.value.code == "CRYPTO" and "etsi-curves = issuing" in refusal.value.problem["detail"]


def test_a_ca_of_the_curve_set_fips_has_no_brainpool_key(world):
    client = world.keyd.client()
    world.keyd.token("other")
    client.generate("other", type="ec-brainpoolp512r1", purposes=CERTIFICATE | CRL | REQUEST, ca=True)
    client.close()
    with pytest.raises(Refused) as refusal:
        world.found_issuing("other", "other")
    assert refusal.value.code == "CRYPTO" and "FIPS 186-5" in refusal.value.problem["detail"]


@pytest.mark.parametrize("curve", [ec.SECP224R1, ec.SECP256K1, ec.BrainpoolP256R1])
def test_other_curves_are_refused_everywhere(world, curve):
    with pytest.raises(Refused) as refusal:
        world.issue(key=ec.generate_private_key(curve()), ca=name_of("ec-brainpoolp512r1"))
    assert refusal.value.code == "CRYPTO" and "curve" in refusal.value.problem["detail"]
