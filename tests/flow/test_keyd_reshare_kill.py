"""SIGKILL at the n-th system call by which keyd and its module write, while the custodians of a key group are exchanged: whatever was done by then, the
custodians of before or the new ones open the group, and its key signs.

Among the calls are those by which SoftHSM writes the file of a token in place: emptied, and not written yet, at the moment of death. In plain ./check
these alone; with CHANCERY_LONG=1 every call that an exchange makes."""
import os
import threading

import keyd_client as kc
import pytest
from nth_call import MAY_TRACE, Injection, inject
from test_keyd_reshare import Shared

LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
pytestmark = pytest.mark.skipif(not MAY_TRACE, reason="strace comes to daemons that are closed to debuggers: needs root")
# (call, n, of the file of the token): an exchange makes so many of them, and a few more are tried
OF_TOKEN = [("write", n, True) for n in (1, 2, 3)]
ALL = [(call, n, False) for call, most in (("write", 12), ("fsync", 14), ("rename", 8), ("renameat2", 1), ("unlink", 6), ("rmdir", 1), ("mkdir", 5),
                                           ("syncfs", 1), ("sendmsg", 6)) for n in range(1, most + 1)]
ALL += [("ftruncate", n, True) for n in (1, 2, 3)]


def token_file(keyd):
    tokens = os.path.join(keyd.directory, "state", "tokens")
    for name in os.listdir(tokens):
        with open(os.path.join(tokens, name, "token.object"), "rb") as f:
            if b"issuing" in f.read():
                return os.path.join(tokens, name, "token.object")
    raise AssertionError("no token of the group")


def is_traced(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return "\nTracerPid:\t0\n" not in f.read()


def reshare_killed_at(world, call, n, of_token):
    """Whether it was killed by then; keyd runs again in any case."""
    hits, pid = [], world.keyd.process.pid
    path = token_file(world.keyd) if of_token else None
    strace = threading.Thread(target=lambda: hits.append(inject(Injection("keyd", "SIGKILL", call, path, n), pid, 4)))
    strace.start()
    assert kc.wait_for(lambda: is_traced(pid))
    try:
        world.reshare()
    except (ConnectionError, OSError):
        pass
    strace.join()
    killed = world.keyd.process.poll() is not None
    if killed:
        world.keyd.process = None
        world.keyd.start()
    else:
        world.restart()
    return killed


@pytest.mark.parametrize("call, n, of_token", OF_TOKEN + (ALL if LONG else []))
def test_killed_at_a_call_the_group_is_opened_by_the_custodians_of_before_or_by_the_new_ones(call, n, of_token):
    world = Shared()
    try:
        was = os.path.getsize(token_file(world.keyd))
        killed = reshare_killed_at(world, call, n, of_token)
        assert killed or not of_token
        assert os.path.getsize(token_file(world.keyd)) == was
        with open(os.path.join(world.shares(), "1"), encoding="utf-8") as f:
            new = "person: p11" in f.read()
        assert new or not of_token  # their shares were there before the token was touched
        world.activate(custodians=("p7", "p11") if new else ("p5", "p7"))
        world.sign()
        if not new:
            world.reshare()
        world.restart()
        world.activate(custodians=("p6", "p11"))
        world.sign()
        assert len(world.records("group.reshared")) == 1
        assert not [name for name in os.listdir(os.path.dirname(token_file(world.keyd))) if "before" in name]
    finally:
        world.remove()
