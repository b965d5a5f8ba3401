"""Records of operations that a keyd never carried out, written in its name through auditd's socket: they cost an alarm, and nothing else."""
import base64
import contextlib
import json
import os
import subprocess

import audit_world
import control_people as cp
import keyd_client as kc
import pytest
from ca_world import until
from test_keyd_operations import World, refused

NOBODY = 65534
GROUP = [("p4", "pki-administrator"), ("p8", "security-and-quality-manager")]


@pytest.fixture
def world():
    w = World()
    w.create_group()
    yield w
    w.remove()


@contextlib.contextmanager
def another_user(world):
    """Whom the kernel names to auditd as somebody else than keyd."""
    os.chmod(world.audit.directory, 0o711)
    os.chmod(world.audit.socket, 0o666)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def forge(world, file, sequence, **fields):
    return cp.put_on_record(world.audit.socket, "operation.executed", file, component="keyd/ca", instance="keyd/ca", sequence=sequence, **fields)


def restart(world):
    assert world.keyd.stop() == 0
    world.keyd.start()


def told(world, count):
    until(lambda: len(world.records("operation.forged")) >= count)
    return [(r["instance"], r["records"], r["from"], r["to"]) for r in world.records("operation.forged")]


def executed(report):
    """The findings about operations: entries of the register are put there by the test, with any head."""
    return {f["record"]: f["finding"] for f in report.get("findings", []) if f["event"] == "operation.executed"}


def judged(world):
    founding = os.path.join(world.keyd.directory, "founding")
    done = subprocess.run([os.path.join(kc.BUILD, "src", "chancery"), "op", "verify", "--json", "--log", world.audit.log, "--founding", founding],
                          capture_output=True, text=True, env={}, timeout=60)
    return executed(json.loads(done.stdout))


def forgeries(world, who=contextlib.nullcontext):
    """What nobody approved; what keyd did, under another number; and what was approved and is not done yet."""
    done = world.records("operation.executed")[0]
    world.approved = world.provider.operation(
        world.propose("group.create", ("group", "second"), ("threshold", 2), ("custodian", "p5"), ("custodian", "p6"), ("decision", "d1")), GROUP)
    with who(world):
        return [forge(world, "nothing that can be read", 1 << 40), forge(world, base64.b64decode(done["file"]).decode(), 999, signature=done["signature"]),
                forge(world, world.approved, 1000)]


def test_who_writes_as_keyd_costs_it_nothing_but_an_alarm(world):
    """//= control#forged only what this instance signed counts as its own"""
    index = forgeries(world)
    world.execute(world.approved)  # while it runs
    restart(world)
    world.activate()
    assert [r["sequence"] for r in world.records("operation.executed") if r.get("signature")][-2:] == [2, 3]
    first, *more = told(world, 1)
    assert (first[0], first[2]) == ("keyd/ca", index[0]) and (more or [first])[-1][3] == index[-1]
    assert "passed over" in world.keyd.log() and "did not sign" in world.keyd.log()
    count = len([first, *more])
    restart(world)
    world.activate()
    restart(world)
    assert len(told(world, count)) == count, "what was said is not said again"
    assert list(judged(world)) == index and "did not sign" in judged(world)[index[2]]
    code, report = world.audit.verify("--founding", os.path.join(world.keyd.directory, "founding"))
    assert code == 1 and report["verdict"].startswith("NOT SOUND: an operation") and list(executed(report)) == index


def test_another_writer_does_not_do_better(world):
    index = forgeries(world, another_user)
    restart(world)
    world.activate()
    assert told(world, 1) == [("keyd/ca", 3, index[0], index[-1])]
    assert list(judged(world)) == index
    by = [e["by"] for e in audit_world.verify_log(world.audit.log, world.audit.spki)]
    assert {by[i] for i in index} == {"nobody"}


def test_who_says_that_it_was_said_only_raises_the_alarm_himself(world):
    said = dict(component="keyd/ca", instance="keyd/ca", records=1, reason="x")
    cp.put_record(world.audit.socket, "operation.forged", **{"from": 1, "to": 1 << 40}, **said)
    forged = forge(world, "nothing", 77)
    restart(world)
    world.activate()
    assert told(world, 2)[-1] == ("keyd/ca", 1, forged, forged), "nobody excuses in advance what is still to come"


def test_a_state_of_yesterday_is_still_found_behind_a_forged_number(world):
    state = os.path.join(world.keyd.directory, "state", "control")
    with open(state, encoding="utf-8") as f:
        yesterday = f.read()
    world.activate()
    forge(world, "nothing", 2)
    assert world.keyd.stop() == 0
    with open(state, "w", encoding="utf-8") as f:
        f.write(yesterday)
    world.keyd.start()
    assert "put back from a copy" in refused("STATE", world.challenge)


def test_what_is_made_anew_from_the_log_takes_no_forged_number(world):
    forge(world, "nothing", 500)
    assert world.keyd.stop() == 0
    subprocess.run([world.keyd.program, "--config", world.keyd.config, "rebuild-control"], check=True, stdout=subprocess.DEVNULL)
    world.keyd.start()
    world.activate()
    assert [r["sequence"] for r in world.records("operation.executed")] == [1, 500, 2]
