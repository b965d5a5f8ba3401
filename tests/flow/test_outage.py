"""A provider under quorum whose power was off for two days: the management CA's key is locked and its CRL is too old for every operation but the
activation of its own key group, by five persons. All programs run with a clock that went on."""
import base64
import json
import os
import subprocess

import keyd_client as kc
import pytest
from installation import SOFTHSM, Installation, within
from test_keyd_matrix import FAKETIME

pytestmark = pytest.mark.skipif(FAKETIME is None or kc.sanitized(), reason="needs the package faketime, which does not go with a sanitizer")
HOURS = 49
LATER = {"LD_PRELOAD": FAKETIME, "FAKETIME": f"+{HOURS}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
ISSUE = "chancery crl issue --ca management"
ACTIVATE = "chancery op propose group.activate --group management --instance keyd/ca"


class Provider(Installation):
    def propose(self, operation, *words):
        out = self.work / "now.op"
        out.unlink(missing_ok=True)
        return self.call("--json", "op", "propose", operation, "--by", "p1", *words, "--out", out), out

    def approve(self, file, person, role):
        """With the person's own token."""
        read, write = os.pipe()
        os.write(write, (self.home / "test-secrets" / "people" / person).read_bytes() + b"\n")
        os.close(write)
        environment = dict(self.environment, SOFTHSM2_CONF=str(self.home / "test-secrets" / "rehearsal" / "softhsm2.conf"))
        done = subprocess.run([self.tool, "--home", self.home, "op", "approve", file, "--token", person, "--person", person, "--role", role, "--module", SOFTHSM,
                               "--pin-fd", str(read)], pass_fds=(read,), env=environment, capture_output=True, text=True, timeout=60, check=False)
        os.close(read)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def duties(self):
        return json.loads(self.call("--json", "status").stdout).get("to do", [])

    def recorded(self):
        return [leaf["record"] for leaf in self.json("audit", "show", "--event", "crl.recorded")]

    def active(self):
        return {key["key"] for key in json.loads(self.call("--json", "status").stdout)["keys"] if key["state"] == "usable"} & {"issuing", "management"}


@pytest.fixture(scope="module")
def provider():
    provider = Provider(options=("--quorum",))
    try:
        provider.start()
        provider.check("op", "activate")
        assert not any("management CA's CRL" in duty for duty in provider.duties())
        provider.check("crl", "issue", "--ca", "management")
        provider.stop()
        provider.start(LATER)
        yield provider
    finally:
        provider.close()


def test_status_says_what_to_do(provider):
    duty, = (duty for duty in provider.duties() if "management CA's CRL" in duty)
    assert f"is {HOURS} hours old, so no operation is carried out: {ISSUE}; if its key group management is locked, before that {ACTIVATE}" in duty


def test_no_crl_can_be_made_while_the_key_is_locked(provider):
    assert provider.call("crl", "issue", "--ca", "management").returncode != 0


#= control#late-crl nothing but what brings the next CRL
@pytest.mark.parametrize("operation, words", [
    ("decision.take", ["--decision", "d-old", "--title", "x"]),
    ("role.revoke", ["--person", "p5", "--role", "pki-operator", "--reason", "stolen"]),
    ("crl.parameters", ["--ca", "issuing", "--crl-hours", "12", "--decision", "d-founding"]),
    ("group.activate", ["--group", "issuing", "--instance", "keyd/ca"]),
    ("group.activate", ["--group", "management", "--instance", "keyd/root"])])
def test_nothing_else_is_proposed(provider, operation, words):
    refused, out = provider.propose(operation, *words)
    assert refused.returncode != 0 and f"is {HOURS} hours old" in refused.stderr and ISSUE in refused.stderr and ACTIVATE in refused.stderr
    assert not out.exists()


def test_who_approves_reads_how_old_it_is_and_four_do_not_open_it(provider):
    proposed, file = provider.propose("group.activate", "--group", "management", "--instance", "keyd/ca")
    told = json.loads(proposed.stdout)
    assert f"{HOURS} hours before this was proposed" in told["asks for"] and "because the management CA's CRL is old, 1 of: security" in told["approved by"]
    assert f"{HOURS} hours before this was proposed" in provider.approve(file, "p4", "pki-administrator")
    provider.approve(file, "p5", "pki-operator")
    shown = provider.json("op", "show", file)
    assert "needs 1 approvals by security-and-quality-manager, authority-member" in shown["verdict"] and shown["seats"][2]["empty"] == 1
    refused = provider.call("op", "open", file)
    assert refused.returncode != 0 and "because the management CA's CRL is older than 24 hours" in refused.stderr
    provider.approve(file, "p6", "security-and-quality-manager")
    assert provider.json("op", "show", file)["verdict"].startswith("ready to be opened")
    assert provider.active() == set()


def test_five_activate_it_then_a_fresh_crl_is_made_and_everything_works(provider):
    provider.check("op", "activate")  # the management CA's group first, by five; a CRL; then the other group, by four
    assert provider.active() == {"issuing", "management"}
    assert not any("management CA's CRL" in duty for duty in provider.duties())
    proposed, _ = provider.propose("decision.take", "--decision", "d-after", "--title", "x")
    assert proposed.returncode == 0, proposed.stderr
    activated = {leaf["record"]["group"]: leaf["record"].get("old_crl") for leaf in provider.json("audit", "show", "--event", "group.activated")}
    recorded = provider.recorded()
    assert (activated["root"], activated["issuing"]) == (None, None) and set(activated) == {"root", "issuing", "management"}
    assert activated["management"] in [one["this_update"] for one in recorded[:-1]]  # one of before, behind which there are those of now
    provider.issue("after-the-outage")


def test_the_management_ca_is_named_again_as_the_guide_says(provider):
    """Another keyd is to hold the group, say. The CRL is the ca's newest, or a file."""
    words = ["--certificate", provider.certificate("management"), "--group", "management", "--holder", "keyd/ca", "--holder", "keyd/status"]
    crl = provider.work / "management.crl"
    newest = base64.b64decode(provider.recorded()[-1]["file"])
    subprocess.run(["openssl", "crl", "-inform", "DER", "-out", crl], input=newest, check=True, capture_output=True)
    assert provider.propose("management.certificate", *words, "--crl", crl)[0].returncode == 0
    proposed, file = provider.propose("management.certificate", *words)
    assert "in the key group management of keyd/ca, keyd/status: that group alone may be activated" in json.loads(proposed.stdout)["asks for"]
    provider.approve(file, "p1", "authority-member")
    provider.approve(file, "p6", "security-and-quality-manager")
    provider.check("op", "execute", file)


#= control#crl who is revoked since the proposal was made approves nothing of it either
def test_one_revocation_bars_a_stolen_token_also_for_what_it_has_approved_before(provider):
    """What one operator does at once, before two persons have met to take the role away."""
    csr = provider.request("eli", "/O=TEST Flow/serialNumber=5/CN=Eli Operator")
    serial = provider.json("cert", "issue", "--profile", "operator", "--role", "operator", "--csr", csr, "--out", provider.work / "eli.pem")["serial"]
    keys = dict(line.split(": ", 1) for line in (provider.home / "test-secrets" / "rehearsal" / "p5.keys").read_text().splitlines())
    _, file = provider.propose("person.key", "--person", "p5", "--key", keys["key"], "--share-key", keys["share-key"], "--certificate-serial", serial,
                               "--reason", "a certificate for the token")
    provider.approve(file, "p1", "authority-member")
    provider.approve(file, "p6", "security-and-quality-manager")
    provider.check("op", "execute", file)
    _, file = provider.propose("group.deactivate", "--group", "issuing", "--instance", "keyd/ca", "--reason", "a thief")
    provider.approve(file, "p4", "pki-administrator")
    provider.approve(file, "p5", "pki-operator")
    assert provider.json("op", "show", file)["verdict"].startswith("complete")
    before = len(provider.recorded())
    provider.check("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
    within(10, lambda: len(provider.recorded()) > before)
    assert "is revoked" in provider.json("op", "show", file)["verdict"]
    refused = provider.call("op", "execute", file)
    assert refused.returncode != 0 and "the certificate of p5 is revoked" in refused.stderr
    assert provider.active() == {"issuing", "management"}


def test_an_auditor_is_told_without_asking(provider):
    provider.stop()
    report = provider.json("op", "verify")
    assert report["verdict"] == "every operation had its quorum" and report["refused"] > 0
    old, = report["with a management CRL older than 24 hours"]
    assert old["operation"] == "group.activate" and "key group management" in old["words"]
