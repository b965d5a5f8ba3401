"""A PKCS#11 module that is not SoftHSM (Kryoptic, several slots in a configuration file): probe, every type of key it has, and the whole demo.

Building it takes more than a minute, so this is for ./check --long."""
import os
import re
import shutil
import subprocess

import pytest

import keyd_client
import keyd_contents as make
from installation import ROOT, free_ports
from keyd_client import CERTIFICATE, CRL, REQUEST, Refused

ZONES = ("root", "ca", "status", "time", "log")

pytestmark = pytest.mark.skipif(os.environ.get("CHANCERY_LONG", "0") == "0", reason="for ./check --long: builds the module")


@pytest.fixture(scope="module")
def module():
    if shutil.which("cargo") is None:
        pytest.skip("there is no cargo to build the module with")
    subprocess.run([ROOT / "tests" / "install-tools", "kryoptic"], check=True, timeout=900)
    return ROOT / ".cache" / "bin" / "libkryoptic_pkcs11.so"


def slots(directory, zone, count=5):
    """A configuration file of the module with so many slots, each with a database of its own."""
    tokens = directory / "tokens" / zone
    tokens.mkdir(parents=True)
    path = directory / f"{zone}.conf"
    path.write_text("".join(f'[[slots]]\nslot = {n}\ndbtype = "sqlite"\ndbargs = "{tokens}/{n}.sql"\n' for n in range(1, count + 1)))
    return path


@pytest.fixture(scope="module")
def keyd(module, tmp_path_factory):
    directory = tmp_path_factory.mktemp("module")
    conf = slots(directory, "ca")
    with keyd_client.Keyd(zone="ca", module=module, extra=f"module_init_args = kryoptic_conf={conf}\nmodule-directory = {directory}") as keyd:
        keyd.token("issuing")
        yield keyd


@pytest.mark.parametrize("type, algorithm", [("ec-p256", "ecdsa-sha256"), ("ec-p384", "ecdsa-sha384"), ("ec-p521", "ecdsa-sha512"),
                                             ("rsa-3072", "rsa-pss-sha256"), ("rsa-4096", "rsa-pss-sha256")])
def test_keys_are_made_on_it_and_sign(keyd, type, algorithm):
    client = keyd.client()
    made = client.generate(type, token="issuing", type=type, purposes=CERTIFICATE | CRL | REQUEST, ca=True)
    content = make.request(made["spki"])
    make.verify(made["spki"], client.sign(type, REQUEST, algorithm, content), content, algorithm)
    client.close()


def test_what_it_lacks_is_refused_in_words(keyd):
    keyd.token("log")
    client = keyd.client()
    with pytest.raises(Refused) as refused:
        client.generate("edwards", token="log", type="ed25519", purposes=keyd_client.LOG)
    assert refused.value.code == "CRYPTO" and "MECHANISM_INVALID" in refused.value.message
    client.close()


def test_keys_are_there_after_a_restart(keyd):
    keyd.stop()
    keyd.start()
    client = keyd.client()
    assert client.find("ec-p256")["usable"]
    client.close()


def test_the_demo_runs_on_it(module, tmp_path):
    for zone in ZONES:
        slots(tmp_path, zone)
    environment = dict(os.environ, CHANCERY_DEMO_DIRECTORY=str(tmp_path / "home"), CHANCERY_DEMO_PORT_BASE=str(free_ports(7)),
                       CHANCERY_DEMO_INIT=f"--module {module} --module-init-args kryoptic_conf={tmp_path}/{{zone}}.conf --module-directory {tmp_path}")
    try:
        done = subprocess.run([ROOT / "demo"], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"verdict +sound", done.stdout) and "alice.pem: revoked" in done.stdout and "Verification: OK" in done.stdout
        tool = [ROOT / "build" / "src" / "chancery", "--home", tmp_path / "home"]
        probed = subprocess.run([*tool, "hsm", "probe", "--zone", "ca"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"CKM_ECDSA +provided", probed) and re.search(r"CKM_EDDSA +missing", probed), probed
    finally:
        subprocess.run([ROOT / "demo", "stop"], env=environment, check=True)
