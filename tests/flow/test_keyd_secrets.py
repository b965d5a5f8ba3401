"""Where the activation data of a key group can be found in the memory of the processes: nowhere while the group is locked, in keyd alone while
it is active. Every readable mapping of every process is searched, as root can."""
import base64
import contextlib
import os
import signal
import threading
import time

import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from softhsm_files import private_values
from test_keyd_operations import GOOD, World

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="reads the memory of other processes: root"),
              pytest.mark.skipif(kc.sanitized(), reason="a sanitizer maps terabytes of its own, and keeps what was freed")]
MARKER = b"a marker that the search must find"


def gf_multiply(a, b):
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return out


def gf_inverse(a):
    return next(b for b in range(1, 256) if gf_multiply(a, b) == 1)


def join(shares):
    """Lagrange at 0, over {index: octets}."""
    out = bytearray(len(next(iter(shares.values()))))
    for i, octets in shares.items():
        weight = 1
        for k in shares:
            if k != i:
                weight = gf_multiply(weight, gf_multiply(k, gf_inverse(k ^ i)))
        out = bytearray(o ^ gf_multiply(weight, v) for o, v in zip(out, octets))
    return bytes(out)


def mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            addresses, mode, *rest = line.split()
            if mode[0] == "r" and not line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                start, end = (int(a, 16) for a in addresses.split("-"))
                yield start, end, rest[-1] if len(rest) == 4 else ""


def search(pid, needles):
    """(needle, address, mapping) for every place where one of them lies."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, name in mappings(pid):
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            for what, needle in needles.items():
                at = content.find(needle)
                while at >= 0:
                    found.append((what, start + at, name))
                    at = content.find(needle, at + 1)
    return found


def write(pid, address, octets):
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        memory.write(octets)


@pytest.fixture
def world():
    w = World()
    yield w
    w.remove()


def activation_data(world):
    """The PIN and the shares, which this test alone can have: it holds the keys of all custodians."""
    shares, directory = {}, os.path.join(world.keyd.directory, "state", "groups", "issuing")
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), encoding="utf-8") as f:
            share = ct.values(f.read())
        plain = ct.unseal(world.provider.people[share["person"]].share_key, ct.share_context(share), base64.b64decode(share["sealed"]))
        assert plain[:3] == bytes([1, int(share["index"]), 2])
        shares[plain[1]] = plain[3:]
    first, second, third = (shares[i] for i in (1, 2, 3))
    pin = join({1: first, 2: second})
    assert pin == join({2: second, 3: third}) and len(pin) in (32, 64)  # behind an exchange of custodians: the PIN before, and the PIN
    return {"PIN": pin[-32:], "share 1": first, "share 2": second, "share 3": third}


def everywhere(world, needles):
    processes = {"keyd": world.keyd.process.pid, "auditd": world.audit.process.pid, "keyd of the log": world.audit.keyd.process.pid}
    return [(name, *place) for name, pid in processes.items() for place in search(pid, needles)]


def test_the_pin_of_a_group_is_in_memory_only_while_it_is_active_and_only_in_keyd(world):
    world.create_group()
    secrets = activation_data(world)
    assert everywhere(world, secrets) == []
    world.activate()
    found = everywhere(world, secrets)
    in_pages = [place for place in found if place[0] == "keyd" and place[1] == "PIN" and place[3] == ""]
    assert in_pages, "the PIN is where hsm keeps it"
    # what SoftHSM or libcrypto keep for themselves is theirs: it is said where, and it is in keyd
    for who, what, address, name in found:
        print(f"active: {what} in {who} at {address:#x} {name}")
        assert who == "keyd" and what == "PIN", "no share stays, and nothing leaves keyd"
    proposal = world.propose("group.deactivate", ("group", "issuing"), ("reason", "test"))
    world.execute(world.provider.operation(proposal, [("p3", "pki-operator"), ("p4", "pki-administrator")]))
    left = everywhere(world, secrets)
    for who, what, address, name in left:
        print(f"locked again: {what} in {who} at {address:#x} {name}")
    pages = {address for _, _, address, _ in in_pages}
    assert not [place for place in left if place[2] in pages], "the page of the PIN was wiped"
    assert left == [], "remnants"
    # the search does look into that page
    page = min(pages)
    write(world.keyd.process.pid, page, MARKER)
    assert ("marker", page) in [(what, address) for what, address, _ in search(world.keyd.process.pid, {"marker": MARKER})]


def scalar_of(world, pin):
    """The private scalar of the group's key, as it is written and as the words of libcrypto's numbers lie in memory."""
    from_files = private_values(os.path.join(world.keyd.directory, "state", "tokens"), pin)
    scalar = from_files["issuing"].rjust(32, b"\0")
    public = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1()).public_key()
    with contextlib.closing(world.keyd.client()) as client:
        assert ct.spki(public) == client.find("issuing")["spki"], "it is the scalar of this very key"
    return {"scalar": scalar, "scalar, in words": scalar[::-1]}


def sign(world):
    with contextlib.closing(world.keyd.client()) as client:
        client.sign("issuing", kc.REQUEST, "ecdsa-sha256", kd.request(client.find("issuing")["spki"]))


def while_it_signs(world, needles):
    """Found in keyd, or another, at some moments between which it signs: SoftHSM decrypts the scalar for each signature, and wipes it."""
    found, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            sign(world)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.05)
        kc.pause(world.keyd.process)
        found += everywhere(world, needles)
        world.keyd.process.send_signal(signal.SIGCONT)
    stop.set()
    for thread in threads:
        thread.join()
    return found


def test_the_private_scalar_is_in_no_memory_while_the_group_is_locked_and_in_keyd_alone_while_it_signs(world):
    world.create_group()
    world.activate()
    world.generate()
    data = activation_data(world)
    needles = scalar_of(world, data["PIN"])
    page = min(address for who, _, address, name in everywhere(world, {"PIN": data["PIN"]}) if who == "keyd" and name == "")
    found = while_it_signs(world, needles)
    for who, what, address, name in found:
        print(f"active: {what} in {who} at {address:#x} {name}")
    assert {who for who, *_ in found} <= {"keyd"}
    proposal = world.propose("group.deactivate", ("group", "issuing"), ("reason", "test"))
    world.execute(world.provider.operation(proposal, [("p3", "pki-operator"), ("p4", "pki-administrator")]))
    left = everywhere(world, needles)
    for who, what, address, name in left:
        print(f"locked again: {what} in {who} at {address:#x} {name}")
    assert left == [], "remnants"
    for what, needle in needles.items():  # it would be found
        write(world.keyd.process.pid, page, needle)
        assert [(who, found, address) for who, found, address, _ in everywhere(world, needles)] == [("keyd", what, page)]
    world.keyd.stop()
    world.keyd.start()
    assert everywhere(world, needles) == [], "locked after a restart"


def test_an_exchange_of_custodians_leaves_neither_shares_nor_the_pin_of_before(world):
    world.create_group()
    world.activate()
    before = activation_data(world)
    proposal = world.propose("group.reshare", ("group", "issuing"), ("threshold", 2), *[("custodian", c) for c in ("p7", "p6", "p5")],
                             ("reason", "shares were seen"), ("decision", "d1"))
    world.execute(world.provider.operation(proposal, [*GOOD, ("p0", "authority-member")]))
    now = activation_data(world)
    assert now["PIN"] != before["PIN"]
    found = everywhere(world, dict(now, **{"old " + what: secret for what, secret in before.items()}))
    for who, what, address, name in found:
        print(f"exchanged: {what} in {who} at {address:#x} {name}")
    assert {(who, what) for who, what, _, _ in found} == {("keyd", "PIN")}


def test_the_page_of_a_pin_is_locked_and_in_no_dump(world):
    world.create_group()
    secrets = activation_data(world)
    world.activate()
    address = min(place[1] for place in search(world.keyd.process.pid, {"PIN": secrets["PIN"]}) if place[2] == "")
    with open(f"/proc/{world.keyd.process.pid}/smaps", encoding="utf-8") as f:
        flags, inside = "", False
        for line in f:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                start, end = (int(a, 16) for a in first.split("-"))
                inside = start <= address < end
            elif inside and first == "VmFlags:":
                flags = line
    assert " lo " in flags and " dd " in flags, flags
