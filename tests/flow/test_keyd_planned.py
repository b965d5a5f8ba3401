"""A key is planned before the token is asked for it: a keyd that is killed in between shows it as planned, and it can be generated anew. What is on a
token and in no inventory is named, and not used."""
import json
import os
import signal
import subprocess

import control_texts as ct
import keyd_client as kc
import keyd_contents as make
import pytest
from keyd_client import CERTIFICATE, REQUEST
from test_ca_records import FAILPOINTS
from test_keyd_life import records
from test_keyd_operations import GOOD, refused
from test_keyd_reshare import Shared, generation, needs_failpoints

# where keyd is killed: what is left on the token
KILLED = {"keyd.generate.planned": [], "keyd.generate.made": [("ca", "k")], "keyd.generate.recorded": [("ca", "k")]}


def planned(keyd):
    return os.listdir(os.path.join(keyd.directory, "state", "planned"))


def killed_while_generating(keyd, point, generate):
    assert keyd.stop() == 0
    keyd.environment["CHANCERY_FAILPOINT"] = point
    keyd.start()
    with pytest.raises((ConnectionError, OSError)):
        generate()
    assert keyd.process.wait(20) == -signal.SIGKILL
    keyd.process = None
    del keyd.environment["CHANCERY_FAILPOINT"]
    keyd.start()


def generate(keyd):
    return keyd.client().generate("k", token="ca", purposes=CERTIFICATE | REQUEST, validity_days=400)


def tool(keyd, tmp_path, *words):
    """chancery in an installation of this keyd alone."""
    etc = tmp_path / "etc"
    if not etc.exists():
        etc.mkdir()
        (etc / "chancery.conf").write_text(f"name = TEST\nmodule = {kc.softhsm()}\n[daemon keyd-x]\nprogram = chancery-keyd\nconfig = {keyd.config}\n"
                                           f"zone = x\nsocket = {keyd.socket_path}\n")
    done = subprocess.run([os.path.join(kc.BUILD, "src", "chancery"), "--home", tmp_path, *words], capture_output=True, text=True, check=False)
    return done.stdout


@needs_failpoints
@pytest.mark.parametrize("point", KILLED)
def test_a_generation_that_was_killed_leaves_a_planned_key_that_is_generated_anew(point, tmp_path):
    with kc.Keyd(build=FAILPOINTS) as keyd:
        keyd.token("ca")
        killed_while_generating(keyd, point, lambda: generate(keyd))
        client = keyd.client()
        row = client.entry("k")
        assert (row["state"], row["spki"], row["validity_days"], row["usable"]) == ("planned", b"", 400, False)
        assert [key["label"] for key in client.list()] == ["k"] and client.strays() == KILLED[point]
        for call in (lambda: client.find("k"), lambda: client.sign("k", CERTIFICATE, "ecdsa-sha256", make.certificate()),
                     lambda: client.change("k", "destroyed")):
            assert "is planned and not generated" in refused("NOTFOUND", call)
        told = json.loads(tool(keyd, tmp_path, "key", "list", "--json"))
        assert [(row["key"], row["state"]) for row in told] == [("k", "planned")] and "have it generated anew under this name" in told[0]["what to do"]
        assert "planned" in tool(keyd, tmp_path, "key", "list")
        assert any("key k of zone x is planned" in duty for duty in json.loads(tool(keyd, tmp_path, "status", "--json"))["to do"])
        spki = generate(keyd)["spki"]
        row = client.entry("k")
        assert (row["state"], row["spki"]) == ("generated", spki) and [key["label"] for key in client.list()] == ["k"]
        assert client.sign("k", CERTIFICATE, "ecdsa-sha256", make.certificate())
        assert client.strays() == [] and planned(keyd) == []
        assert [(r["token"], r["key"]) for r in records(keyd, "key.discarded")] == KILLED[point]
        assert keyd.stop() == 0
        keyd.start()
        assert keyd.client().entry("k")["state"] == "active"
        assert keyd.client().sign("k", CERTIFICATE, "ecdsa-sha256", make.certificate())


@needs_failpoints
def test_a_key_that_has_its_description_is_planned_no_longer():
    with kc.Keyd(build=FAILPOINTS) as keyd:
        keyd.token("ca")
        killed_while_generating(keyd, "keyd.generate.entered", lambda: generate(keyd))
        assert keyd.client().entry("k")["state"] == "generated" and planned(keyd) == []
        assert keyd.client().sign("k", CERTIFICATE, "ecdsa-sha256", make.certificate())


@needs_failpoints
def test_the_operation_is_proposed_anew_and_the_key_says_which_one_made_it():
    world = Shared()
    try:
        def proposal():
            return world.propose("key.generate", *generation("next", "issuing", 400))

        def approved(text):
            return world.provider.operation(text, GOOD)

        assert world.keyd.client().entry("issuing")["operation"] == world.records("operation.executed")[-1]["proposal"]
        world.keyd.program = os.path.join(FAILPOINTS, "src", "chancery-keyd")
        world.restart(CHANCERY_FAILPOINT="keyd.generate.made:1")
        world.activate()
        first = proposal()
        with pytest.raises((ConnectionError, OSError)):
            world.execute(approved(first))
        assert world.keyd.process.wait(20) == -signal.SIGKILL
        world.keyd.process = None
        del world.keyd.environment["CHANCERY_FAILPOINT"]
        world.keyd.start()
        row = world.keyd.client().entry("next")
        assert (row["state"], row["operation"]) == ("planned", ct.sha256(first).hex())
        wanted = subprocess.run([world.keyd.program, "--config", world.keyd.config, "tokens"], capture_output=True, text=True, check=True).stdout
        assert wanted.split() == ["identity"]  # nobody has the PIN of the group
        world.activate()
        second = proposal()
        world.execute(approved(second))
        row = world.keyd.client().entry("next")
        assert (row["state"], row["operation"]) == ("generated", ct.sha256(second).hex())
        assert len(world.records("key.discarded")) == 1
        world.restart()
        world.activate()
        client = world.keyd.client()
        assert client.sign("next", CERTIFICATE, "ecdsa-sha256", make.certificate())
        assert client.entry("next")["operation"] == ct.sha256(second).hex()
    finally:
        world.remove()


def test_a_private_key_without_a_description_is_named_and_never_used(tmp_path):
    with kc.Keyd() as keyd:
        keyd.token("ca")
        generate(keyd)
        keyd.client().generate("other", token="ca", purposes=CERTIFICATE | REQUEST)
        assert keyd.client().strays() == [] and planned(keyd) == []
        assert keyd.stop() == 0
        os.unlink(os.path.join(keyd.directory, "state", "keys", "k"))
        keyd.start()
        client = keyd.client()
        assert client.strays() == [("ca", "k")]
        refused("NOTFOUND", lambda: client.sign("k", CERTIFICATE, "ecdsa-sha256", make.certificate()))
        assert "already" in refused("CONFLICT", lambda: generate(keyd))  # nor is it taken for a key of that name, or destroyed
        assert client.strays() == [("ca", "k")] and planned(keyd) == []
        rows = json.loads(tool(keyd, tmp_path, "key", "list", "--json"))
        assert [(row["key"], row["state"]) for row in rows] == [("other", "generated"), ("k", "not described")]
        assert "not described" in tool(keyd, tmp_path, "key", "list")
        assert any('holds a private key "k" that no description' in duty for duty in json.loads(tool(keyd, tmp_path, "status", "--json"))["to do"])


def test_the_period_that_was_approved_is_on_the_token_and_in_the_inventory():
    """//= requirements#HSM-02 CKA_START_DATE and CKA_END_DATE are the usage period, which the quorum fixes"""
    world = Shared()
    try:
        world.generate("next", "issuing", ("usage-ends", "2031-01-01T00:00:00.000000Z"))
        row = world.keyd.client().entry("next")
        assert row["usage_ends"] == 1924992000 * 1_000_000 and row["attributes"].endswith(" END_DATE=2030-12-31") and " START_DATE=20" in row["attributes"]
        assert "would end before it began" in refused("INPUT", lambda: world.generate("past", "issuing", ("usage-ends", ct.moment(-1))))
        path = os.path.join(world.keyd.directory, "state", "keys", "next")
        with open(path, "rb") as f:
            good = f.read()
        ends = (1924992000 * 1_000_000).to_bytes(8, "big")
        assert good.count(ends) == 1

        def sign_with(description):
            assert world.keyd.stop() == 0
            with open(path, "wb") as f:
                f.write(description)
            world.keyd.start()
            world.activate()
            return world.keyd.client().sign("next", CERTIFICATE, "ecdsa-sha256", make.certificate())

        assert "not described as it was approved" in refused("DENIED", lambda: sign_with(good.replace(ends, (2 * 1924992000 * 1_000_000).to_bytes(8, "big"))))
        assert sign_with(good)
    finally:
        world.remove()
