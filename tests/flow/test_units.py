"""The systemd units that are shipped."""
import pathlib
import re
import shutil
import subprocess

import pytest
from installation import BUILD, ROOT

UNITS = ROOT / "etc" / "systemd"


@pytest.fixture
def units(tmp_path):
    """The units, with the programs where this build has them."""
    shutil.copytree(UNITS, tmp_path / "units")
    for path in (tmp_path / "units").rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace("/usr/bin/chancery-", f"{BUILD}/src/chancery-"))
    return tmp_path / "units"


def verify(path):
    return subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)


@pytest.mark.parametrize("name", sorted(p.name for p in UNITS.iterdir() if p.is_file()))
def test_systemd_accepts_each_unit_without_a_word(units, name):
    done = verify(units / name)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_the_verifier_would_have_found_a_mistake(units):
    path = units / "chancery-ca.service"
    path.write_text(path.read_text().replace("Type=notify", "Type=telepathy"))
    done = verify(path)
    assert "telepathy" in done.stderr


def test_every_zone_of_a_new_installation_has_its_credentials():
    for zone in ("log", "ca", "status", "time"):
        text = (UNITS / f"chancery-keyd@{zone}.service.d" / "tokens.conf").read_text()
        assert re.search(r"^LoadCredentialEncrypted=\S+:/etc/credstore.encrypted/", text, re.M)


def test_keyd_has_no_network():
    text = (UNITS / "chancery-keyd@.service").read_text()
    assert "PrivateNetwork=yes" in text and "RestrictAddressFamilies=AF_UNIX\n" in text


@pytest.mark.parametrize("name", sorted(p.name for p in UNITS.iterdir() if p.suffix == ".service"))
def test_daemons_may_fence_themselves(name):
    """The filter of systemd 252 knows no group that has these calls; refused, the daemon would run unfenced."""
    allowed = re.search(r"^SystemCallFilter=(.*)$", (UNITS / name).read_text(), re.M).group(1).split()
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= set(allowed)


@pytest.mark.parametrize("name", sorted(p.name for p in UNITS.iterdir() if p.suffix == ".service"))
def test_daemons_come_back_whatever_the_number_of_failures(name):
    unit, service = re.search(r"^\[Unit\]\n(.*?)^\[Service\]\n(.*?)^\[", (UNITS / name).read_text(), re.M | re.S).groups()
    assert re.search(r"^StartLimitIntervalSec=0$", unit, re.M)
    assert re.search(r"^Restart=always$", service, re.M) and re.search(r"^RestartSec=1$", service, re.M)
