"""The custodians of a key group are exchanged while it is active, and the PIN of its token with them: what was given out before opens nothing, and
no kill loses the group. As seen on keyd's socket, with a second keyd of the same group too."""
import contextlib
import os
import shutil
import signal
import struct
import threading

import control_people as cp
import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
import pytest
from test_ca_records import FAILPOINTS
from test_keyd_operations import GOOD, World, refused

BY = [*GOOD, ("p0", "authority-member")]
needs_failpoints = pytest.mark.skipif(not os.path.exists(os.path.join(FAILPOINTS, "src", "chancery-keyd")),
                                      reason="needs a build with -Dfailpoints=true (CHANCERY_FAILPOINTS_BUILD)")


class Shared(World):
    """A group of p5, p6 and p7, active, with a key; and p11, who is to become a custodian."""

    def staff(self):
        super().staff()
        self.hire("p11")
        self.create_group()
        self.activate()
        self.generate("issuing", "issuing", ("validity-days", 400))

    def hire(self, name):
        self.register(self.provider.enrol(cp.Person(name)))
        self.register(self.provider.proposal("role.grant", ("person", name), ("role", "key-custodian"), ("decision", "d1")))

    def leave(self, name):
        self.register(self.provider.proposal("role.revoke", ("person", name), ("role", "key-custodian"), ("reason", "another post")))

    def reshare(self, custodians=("p11", "p6", "p7"), threshold=2, approvals=BY, group="issuing"):
        proposal = self.propose("group.reshare", ("group", group), ("threshold", threshold), *[("custodian", c) for c in custodians],
                                ("reason", "p5 has left"), ("decision", "d1"))
        return self.execute(self.provider.operation(proposal, approvals))

    def sign(self):
        client = self.keyd.client()
        try:
            return client.sign("issuing", kc.CERTIFICATE, "ecdsa-sha256", kd.certificate())
        finally:
            client.close()

    def restart(self, **environment):
        self.keyd.stop()
        for name, value in environment.items():
            self.keyd.environment[name] = value
        self.keyd.start()

    def shares(self, keyd=None):
        return os.path.join((keyd or self.keyd).directory, "state", "groups", "issuing")

    @contextlib.contextmanager
    def shares_of(self, kept):
        """Other files in the place of the shares for a while, as from a backup."""
        now = self.shares() + ".now"
        shutil.move(self.shares(), now)
        shutil.copytree(kept, self.shares())
        yield
        shutil.rmtree(self.shares())
        shutil.move(now, self.shares())

    def keep_shares(self):
        kept = os.path.join(self.keyd.directory, "shares-of-before")
        shutil.copytree(self.shares(), kept)
        return kept


@pytest.fixture
def world():
    w = Shared()
    yield w
    w.remove()


def test_the_custodians_are_exchanged_while_the_group_signs_and_the_shares_of_before_open_nothing(world):
    before = world.keep_shares()
    signed, failed, done = [], [], threading.Event()

    def keep_signing():
        while not done.is_set():
            try:
                signed.append(world.sign())
            except Exception as failure:  # pylint: disable=broad-except
                failed.append(failure)

    signers = [threading.Thread(target=keep_signing) for _ in range(3)]
    for signer in signers:
        signer.start()
    try:
        assert "Exchange the custodians of the key group issuing" in world.reshare()
    finally:
        done.set()
        for signer in signers:
            signer.join()
    assert signed and failed == []
    assert world.state_of() == (True, "")
    world.sign()
    world.restart()
    assert not world.state_of()[0]
    proposal, lines, statement, shares = world.opened()
    assert sorted(ct.values(s)["person"] for s in shares) == ["p11", "p6", "p7"]
    old = []
    for name in sorted(os.listdir(before)):
        with open(os.path.join(before, name), encoding="utf-8") as f:
            old.append(f.read())
    for custodians, why in ((("p5", "p6"), "p5 has no share"), (("p6", "p7"), "is not the one that was made with the key group")):
        more, opened = world.brought(proposal, statement, old, custodians)
        assert why in refused("DENIED", world.execute, world.provider.operation(proposal, lines + more), opened)
    assert [r["reason"] for r in world.records("operation.refused")[-2:]] and "p5 has no share" in world.records("operation.refused")[-2]["reason"]
    world.activate(custodians=("p7", "p11"))
    world.sign()
    resharing, = world.records("group.reshared")
    assert (resharing["instance"], resharing["group"], resharing["threshold"], resharing["custodians"]) == ("keyd/ca", "issuing", 2, "p11 p6 p7")


def test_it_is_the_pin_that_changed_and_not_the_files_alone(world):
    before = world.keep_shares()
    world.reshare()
    assert os.listdir(os.path.dirname(world.shares())) == ["issuing"]  # nothing is left beside it
    world.restart()
    with world.shares_of(before):
        assert "these shares are of before" in refused("DENIED", world.activate)
        assert not world.state_of()[0]
    world.activate(custodians=("p6", "p11"))
    world.reshare(("p7", "p11"))  # and once more, from shares of both PINs
    world.restart()
    world.activate(custodians=("p7", "p11"))
    world.sign()


WRONG = {
    "no member of the authority": ("DENIED", {"approvals": BY[:2]}),
    "no security manager": ("DENIED", {"approvals": [BY[0], BY[2]]}),
    "one custodian is enough": ("INPUT", {"threshold": 1}),
    "more than there are": ("INPUT", {"threshold": 4}),
    "somebody twice": ("INPUT", {"custodians": ("p6", "p7", "p6")}),
    "who is no custodian": ("DENIED", {"custodians": ("p6", "p10")}),
    "a group that is not there": ("NOTFOUND", {"group": "isuing"}),
}


def test_what_is_refused_changes_nothing(world):
    before = sorted((name, open(os.path.join(world.shares(), name), "rb").read()) for name in os.listdir(world.shares()))
    for what, (code, changed) in WRONG.items():
        assert refused(code, lambda changed=changed: world.reshare(**changed)), what
    world.restart()
    assert "is locked" in refused("STATE", world.reshare)
    assert sorted((name, open(os.path.join(world.shares(), name), "rb").read()) for name in os.listdir(world.shares())) == before
    world.activate(custodians=("p5", "p7"))
    assert world.records("group.reshared") == []


def test_the_status_tells_when_no_custodian_can_be_spared_any_more(world):
    def said():
        world.challenge()  # keyd reads the register
        ready, text = world.state_of()
        assert ready
        return text

    assert said() == ""
    world.leave("p5")
    assert "of its 3 custodians 2 can still give a share and 2 are needed" in said() and "group.reshare" in said() and said().endswith(": p5")
    another = cp.Person("p6")  # a new token: the share is sealed to the one that is gone
    world.register(world.provider.proposal("person.key", ("person", "p6"), ("key", another.spki), ("share-key", ct.b64(ct.spki(another.share_key))),
                                           ("reason", "lost")))
    world.provider.people["p6"] = another
    assert "1 can still give a share and 2 are needed" in said() and "once it is locked its keys are lost" in said() and said().endswith("p5, p6")
    world.reshare()
    assert said() == ""
    world.restart()
    world.activate(custodians=("p6", "p11"))


# where keyd is killed: (who activates the group afterwards, is the exchange on record by then)
KILLED = {"keyd.reshare.written": (("p5", "p6"), 0), "keyd.reshare.exchanged": (("p7", "p11"), 1), "keyd.reshare.set": (("p7", "p11"), 1)}


@needs_failpoints
@pytest.mark.parametrize("point", KILLED)
def test_killed_in_the_middle_the_group_is_opened_by_the_ones_or_by_the_others(world, point):
    before = world.keep_shares()
    custodians, recorded = KILLED[point]
    world.keyd.program = os.path.join(FAILPOINTS, "src", "chancery-keyd")
    world.restart(CHANCERY_FAILPOINT=point)
    world.activate()
    with pytest.raises((ConnectionError, OSError)):
        world.reshare()
    assert world.keyd.process.wait(20) == -signal.SIGKILL
    world.keyd.process = None
    del world.keyd.environment["CHANCERY_FAILPOINT"]
    world.keyd.start()
    assert os.listdir(os.path.dirname(world.shares())) == ["issuing"]
    world.activate(custodians=custodians)
    world.sign()
    assert len(world.records("group.reshared")) == recorded
    world.restart()
    if recorded:
        with world.shares_of(before):
            assert "these shares are of before" in refused("DENIED", world.activate)
    else:
        world.activate()
        world.reshare()
        world.restart()
    world.activate(custodians=("p6", "p11"))
    world.sign()
    assert len(world.records("group.reshared")) == 1


def generation(key, group, days):
    return [("group", group), ("key", key), ("type", "ec-p256"), ("purpose", "request"), ("purpose", "certificate"), ("backup", "none"),
            ("validity-days", days), ("decision", "d1")]


class Second:
    """A keyd of its own that serves the same group, as the instance keyd/ca-2: the HSM has the token for both."""

    def __init__(self, world):
        self.world, self.first = world, world.keyd
        self.keyd = kc.Keyd(zone="ca", audit=f"audit-socket = {world.audit.socket}", extra="token = identity\ninstance = keyd/ca-2")
        self.keyd.start()
        self.keyd.token("identity")
        client = self.keyd.client()
        identity = client.generate("identity", type="ec-p256", purposes=kc.IDENTITY)["spki"]
        client.close()
        assert self.keyd.stop() == 0
        world.register(world.provider.proposal("instance.enrol", ("name", "keyd/ca-2"), ("key", ct.b64(identity))))
        with open(self.keyd.config, "a", encoding="utf-8") as f:
            f.write(f"founding = {self.first.directory}/founding\nfounding-hash = {world.provider.hash}\n")
        self.share_token()
        shutil.copy(os.path.join(self.first.directory, "state", "keys", "issuing"), self.key())
        self.copy_shares()

    def key(self):
        return os.path.join(self.keyd.directory, "state", "keys", "issuing")

    def share_token(self):
        """The token as it is now."""
        tokens = os.path.join(self.first.directory, "state", "tokens")
        for name in os.listdir(tokens):
            with open(os.path.join(tokens, name, "token.object"), "rb") as f:
                if b"issuing" in f.read():
                    shutil.copytree(os.path.join(tokens, name), os.path.join(self.keyd.directory, "state", "tokens", name), dirs_exist_ok=True)

    def lose_token(self):
        tokens = os.path.join(self.keyd.directory, "state", "tokens")
        for name in os.listdir(tokens):
            with open(os.path.join(tokens, name, "token.object"), "rb") as f:
                lost = b"issuing" in f.read()
            if lost:
                shutil.rmtree(os.path.join(tokens, name))

    def copy_shares(self):
        shutil.rmtree(self.world.shares(self.keyd), ignore_errors=True)
        shutil.copytree(self.world.shares(self.first), self.world.shares(self.keyd))

    def challenge(self):
        r = self.world.call(0x130)
        assert r.text() == "keyd/ca-2"
        return r.raw(16)

    def activate(self, custodians):
        w = self.world
        proposal = w.provider.proposal("group.activate", ("group", "issuing"), instance="keyd/ca-2", nonce=self.challenge())
        lines = [w.provider.people[name].approval(proposal, role) for name, role in (("p3", "pki-operator"), ("p4", "pki-administrator"))]
        statement, shares = w.open(w.provider.operation(proposal, lines))
        more, opened = w.brought(proposal, statement, shares, custodians)
        return w.execute(w.provider.operation(proposal, lines + more), opened)

    def __enter__(self):
        self.world.keyd = self.keyd
        self.keyd.start()
        return self

    def __exit__(self, *unused):
        self.world.keyd = self.first
        self.keyd.remove()


def test_a_second_keyd_does_not_use_a_key_whose_file_says_what_was_not_approved(world):
    """//= control#limits the operation in the log is that of the keyd that made the key"""
    with Second(world) as second:
        with open(second.key(), "rb") as f:
            good = f.read()
        more = good.replace(struct.pack(">I", 400), struct.pack(">I", 40000))
        assert good.count(struct.pack(">I", 400)) == 1
        # approved for the keyd of another zone, of the same names; what that zone approved is no word on this one's key
        elsewhere = world.provider.proposal("key.generate", *generation("issuing", "issuing", 40000), instance="keyd/root")
        cp.put_on_record(world.audit.socket, "operation.executed", world.provider.operation(elsewhere, GOOD), instance="keyd/root", sequence=1)

        def sign_with(description):
            assert second.keyd.stop() == 0
            with open(second.key(), "wb") as f:
                f.write(description)
            second.keyd.start()
            second.activate(("p5", "p6"))
            return world.sign()

        assert "not described as it was approved" in refused("DENIED", sign_with, more)
        assert sign_with(good)
        world.keyd = second.first
        world.restart()
        world.activate()
        assert world.sign()


def test_a_second_keyd_of_the_group_goes_on_and_is_told_whose_shares_to_copy(world):
    with Second(world) as second:
        second.activate(("p5", "p6"))
        world.sign()
        world.keyd = second.first
        world.reshare()
        world.keyd = second.keyd
        second.challenge()
        ready, text = world.state_of()
        assert ready and "exchanged by keyd/ca" in text and "copy groups/issuing" in text
        world.sign()  # it is logged in
        assert second.keyd.stop() == 0
        second.share_token()
        second.keyd.start()
        assert not world.state_of()[0] and "exchanged by keyd/ca" in world.state_of()[1]
        assert "shares here are those of before" in refused("STATE", second.activate, ("p5", "p6"))
        second.copy_shares()
        second.activate(("p7", "p11"))
        world.sign()
        assert second.challenge() and world.state_of() == (True, "")


def test_a_second_keyd_whose_login_ends_meanwhile_is_activated_with_the_new_shares(world):
    """Its token goes and comes back: the PIN in its memory is the one of before, which is offered once and no more."""
    with Second(world) as second:
        second.activate(("p5", "p6"))
        world.sign()
        world.keyd = second.first
        world.reshare()
        world.keyd = second.keyd
        second.lose_token()

        def signs():
            try:
                return world.sign()
            except kc.Refused:
                return None

        assert kc.wait_for(lambda: not signs() and not world.state_of()[0])
        second.share_token()
        assert kc.wait_for(lambda: "refused its PIN" in world.state_of()[1] or "C_Login" in world.state_of()[1]), world.state_of()
        second.copy_shares()
        second.activate(("p7", "p11"))
        world.sign()
        assert world.state_of() == (True, "")
