"""chancery-token as a person uses it: prompts at a terminal, files in and out. What it signs and seals is judged by another implementation
(control_texts.py) over the documented bytes."""
import base64
import json
import os
import pathlib
import re
import signal
import subprocess

import control_people as cp
import control_texts as ct
import pytest
from installation import BUILD, within
from terminal import Terminal

PROGRAM = BUILD / "src" / "chancery-token"
PIN = "correct horse"


class Token:
    """A person's token in a directory of its own."""

    def __init__(self, directory, label):
        self.label, self.directory = label, pathlib.Path(directory)
        (self.directory / "tokens").mkdir(parents=True)
        conf = self.directory / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {self.directory}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.env = dict(os.environ, SOFTHSM2_CONF=str(conf))

    def run(self, command, *words, pin=PIN):
        read, write = os.pipe()
        os.write(write, pin.encode() + b"\n")
        os.close(write)
        try:
            return subprocess.run([PROGRAM, command, "--token", self.label, "--pin-fd", str(read), *map(str, words)], env=self.env,
                                  pass_fds=(read,), capture_output=True, text=True, check=False)
        finally:
            os.close(read)

    def result(self, command, *words):
        done = self.run(command, "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, code, command, *words, pin=PIN):
        """The message with which it is refused."""
        done = self.run(command, *words, pin=pin)
        assert done.returncode == code, f"{done.returncode}: {done.stderr}"
        assert done.stdout == "" and PIN not in done.stderr
        return done.stderr.splitlines()[-1]

    def create(self):
        keys = self.result("create")
        self.key, self.share_key = (base64.b64decode(keys[name]) for name in ("key", "share-key"))
        return self


@pytest.fixture(scope="module")
def alice(tmp_path_factory):
    return Token(tmp_path_factory.mktemp("alice"), "alice").create()


@pytest.fixture(scope="module")
def bob(tmp_path_factory):
    return Token(tmp_path_factory.mktemp("bob"), "bob").create()


@pytest.fixture(scope="module")
def register():
    return cp.Provider([cp.Person("p1"), cp.Person("p2")], {"keyd/ca": ct.new_key()})


@pytest.fixture
def proposal(register, tmp_path):
    path = tmp_path / "activate.proposal"
    path.write_text(register.proposal("group.activate", ("group", "issuing"), instance="keyd/ca"))
    return path


# ---- a token is made ----


def test_a_token_is_made_at_a_terminal_and_nothing_typed_is_shown(tmp_path):
    token = Token(tmp_path / "carol", "carol")
    person = Terminal(PROGRAM, "create", "--token", "carol", env=token.env)
    person.answer("New PIN of token carol: ", "short\n")
    person.wait_for("this one has 5")
    person.answer("New PIN of token carol: ", f"{PIN}\n")
    person.answer("The same PIN again: ", f"{PIN}!\n")
    person.wait_for("differ")
    person.answer("New PIN of token carol: ", f"{PIN}\n")
    person.answer("The same PIN again: ", f"{PIN}\n")
    person.wait_for("cannot leave it")
    assert person.end() == 0 and person.echoes() and PIN not in person.shown
    shown = dict(line.split(": ", 1) for line in person.shown.splitlines() if line.startswith(("key", "share-key")))
    for name in ("key", "share-key"):
        octets = base64.b64decode(shown[name])
        assert shown[f"{name}-sha256"] == ct.sha256(octets).hex()
        assert ct.serialization.load_der_public_key(octets).curve.name == "secp256r1"
    assert shown["key"] != shown["share-key"]
    assert token.result("show")["key"] == shown["key"]


def test_a_label_is_given_once_and_a_pin_has_a_length(alice, tmp_path):
    assert "already" in alice.refused(6, "create")
    assert "8 to 128" in Token(tmp_path / "t", "t").refused(3, "create", pin="1234567")


def test_the_keys_cannot_leave_the_token_and_each_does_one_thing(alice):
    told = subprocess.run(["pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "alice", "--login", "--pin", PIN,
                           "--list-objects", "--type", "privkey"], env=alice.env, capture_output=True, text=True, check=True).stdout
    objects = {o.split("label:")[1].split()[0]: o for o in told.split("Private Key Object")[1:]}
    usage = {name: next(line for line in o.splitlines() if "Usage" in line).split(":")[1].replace(",", " ").split() for name, o in objects.items()}
    assert usage == {"sign": ["sign"], "share": ["derive"]}
    for o in objects.values():
        access = next(line for line in o.splitlines() if "Access" in line)
        assert "sensitive" in access and "never extractable" in access


# ---- approving ----


def check_operation(path, proposal, *approvals):
    """The file holds this proposal and the approvals of these (person, role, token), each signed over the documented bytes."""
    text, found = ct.operation_of(path.read_text())
    assert text == proposal.read_text() and len(found) == len(approvals)
    for (person, role, token), (has_person, has_role, time, signature) in zip(approvals, found):
        assert (has_person, has_role) == (person, role)
        ct.verify(token.key, ct.approval_text(text, person, role, time), signature)


def test_a_person_reads_the_words_and_the_whole_text_before_the_pin(alice, proposal):
    person = Terminal(PROGRAM, "approve", "--token", "alice", "--proposal", proposal, "--person", "p4", "--role", "pki-operator", env=alice.env)
    person.wait_for("Activate the key group issuing: from then on its keys sign")
    person.wait_for("PKI Operator")
    person.wait_for("chancery approval 1\nperson: p4\nrole: pki-operator\n")
    person.wait_for(proposal.read_text())
    person.answer("PIN of token alice, to approve this: ", f"{PIN}\n")
    person.wait_for("approvals: 1")
    assert person.end() == 0 and PIN not in person.shown
    check_operation(pathlib.Path(f"{proposal}.operation"), proposal, ("p4", "pki-operator", alice))


def test_approvals_of_several_come_together_in_one_file(alice, bob, proposal, tmp_path):
    path = tmp_path / "operation"
    assert alice.result("approve", "--proposal", proposal, "--operation", path, "--person", "p4", "--role", "pki-operator")["approvals"] == "1"
    said = bob.result("approve", "--operation", path, "--person", "p5", "--role", "pki-manager")
    assert said["approvals"] == "2" and said["proposal-sha256"] == ct.sha256(proposal.read_text()).hex()
    check_operation(path, proposal, ("p4", "pki-operator", alice), ("p5", "pki-manager", bob))
    before = path.read_text()
    assert "already" in alice.refused(6, "approve", "--operation", path, "--person", "p4", "--role", "key-custodian")
    assert path.read_text() == before


def test_several_operations_are_all_shown_and_approved_with_one_pin_or_none_is(alice, register, tmp_path):
    files = [tmp_path / f"{name}.op" for name in ("issuing", "management", "other")]
    texts = [register.proposal("group.activate", ("group", file.stem), instance="keyd/ca") for file in files]
    for file, text in zip(files, texts):
        file.write_text(text)
    words = ["approve", "--token", "alice", "--person", "p4", "--role", "pki-operator"]
    each = [word for file in files for word in ("--operation", str(file))]
    files[2].write_text(texts[2].replace("group: other", "group: Other"))
    done = alice.run("approve", "--person", "p4", "--role", "pki-operator", *each)
    assert done.returncode == 3 and "nothing was approved" in done.stderr and str(files[2]) in done.stderr
    assert [file.read_text() for file in files[:2]] == texts[:2]
    files[2].write_text(texts[2])
    person = Terminal(PROGRAM, *words, *each, env=alice.env)
    for file in files:
        person.wait_for(f"Activate the key group {file.stem}: from then on its keys sign")
    person.answer("PIN of token alice, to approve these 3: ", f"{PIN}\n")
    assert person.end() == 0, person.shown
    for file, text in zip(files, texts):
        (tmp_path / "text").write_text(text)
        check_operation(file, tmp_path / "text", ("p4", "pki-operator", alice))
    assert "goes with one" in alice.refused(3, "approve", "--person", "p4", "--role", "pki-operator", "--proposal", files[0], *each)


def approve_words(proposal, person="p4", role="pki-operator"):
    return ["approve", "--proposal", proposal, "--person", person, "--role", role]


def test_who_gives_no_pin_or_a_wrong_one_has_approved_nothing(alice, proposal):
    assert "refused the PIN" in alice.refused(4, *approve_words(proposal), pin="wrong horse")
    assert alice.refused(3, *approve_words(proposal), pin="")
    person = Terminal(PROGRAM, *approve_words(proposal), "--token", "alice", env=alice.env)
    person.wait_for("to approve this: ")
    within(5, lambda: not person.echoes())
    os.kill(person.pid, signal.SIGINT)
    assert person.end() == 7 and "ended by you" in person.shown
    person = Terminal(PROGRAM, *approve_words(proposal), "--token", "alice", env=alice.env)
    person.answer("to approve this: ", "\n")
    assert person.end() == 7 and "nothing was done" in person.shown
    assert not os.path.exists(f"{proposal}.operation")


def test_roles_that_do_not_exist_or_do_not_count_are_named(alice, proposal):
    assert "pki-operator" in alice.refused(3, *approve_words(proposal, role="operator"))
    message = alice.refused(4, *approve_words(proposal, role="hr-manager"))
    assert "pki-manager" in message and "key-custodian" in message
    assert "lower-case" in alice.refused(3, *approve_words(proposal, person="P4"))
    assert not os.path.exists(f"{proposal}.operation")


def test_an_approval_stays_with_the_text_it_was_given_for(alice, bob, proposal):
    alice.result(*approve_words(proposal))
    before = pathlib.Path(f"{proposal}.operation").read_text()
    proposal.write_text(proposal.read_text().replace("group: issuing", "group: management"))
    assert "another proposal" in bob.refused(6, *approve_words(proposal, person="p5"))
    assert pathlib.Path(f"{proposal}.operation").read_text() == before


def test_what_is_no_proposal_of_now_is_refused_before_the_pin(alice, register, proposal):
    good = proposal.read_text()
    proposal.write_text(register.proposal("group.activate", ("group", "issuing"), instance="keyd/ca", proposed=-7200))
    assert "expired" in alice.refused(7, *approve_words(proposal))
    proposal.write_text(register.proposal("group.activate", ("group", "issuing"), instance="keyd/ca", proposed=900))
    assert "clock" in alice.refused(7, *approve_words(proposal))
    proposal.write_text(good.replace("issuing", "issu\u202eing"))
    assert "how the line is shown" in alice.refused(3, *approve_words(proposal))
    proposal.write_text(good + "more: 1\n")
    assert "do not belong there" in alice.refused(3, *approve_words(proposal))
    proposal.write_text(register.proposal("person.training", ("person", "p4"), ("trained", ct.moment(-60))))
    assert "p4, who approves nothing of it" in alice.refused(4, *approve_words(proposal, role="hr-manager"))
    proposal.unlink()
    assert str(proposal) in alice.refused(5, *approve_words(proposal))


def looked_at_while_it_approves(alice, proposal):
    """Arguments and environment of the process once it has the PIN; None when it had ended."""
    person = Terminal(PROGRAM, *approve_words(proposal), "--token", "alice", env=alice.env)
    person.wait_for("to approve this: ")
    within(5, lambda: not person.echoes())
    process = pathlib.Path(f"/proc/{person.pid}")
    status = (process / "status").read_text()
    assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status
    assert re.search(r"Max core file size +0 +0 ", (process / "limits").read_text())
    if "asan" not in BUILD.name:  # where mlock does nothing
        assert int(status.split("VmLck:")[1].split()[0]) > 0
    os.write(person.terminal, f"{PIN}\n".encode())
    try:
        said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except ProcessLookupError:
        said = None  # it was faster
    assert person.end() == 0
    return said


def test_the_pin_is_in_no_argument_and_no_environment_and_the_process_is_closed(alice, proposal):
    said = next(filter(None, (looked_at_while_it_approves(alice, proposal) for _ in range(20))))
    assert b"--token" in said and PIN.encode() not in said


# ---- founding ----


def test_founders_sign_the_text_that_names_them(alice, bob, tmp_path):
    path = tmp_path / "founding.txt"
    text = ct.founding_text({"p1": (alice.key, alice.share_key, ct.ZERO), "p2": (bob.key, bob.share_key, ct.ZERO)}, {"keyd/ca": ct.spki(ct.new_key())})
    path.write_text(text)
    for token, person in ((alice, "p1"), (bob, "p2")):
        done = token.run("found", "--text", path, "--person", person)
        assert done.returncode == 0 and done.stdout.startswith(f"signature: {person} ") and text in done.stderr
        assert ct.sha256(text).hex() in done.stderr and "2 founders, of whom 2 decide" in done.stderr
        ct.verify(token.key, text, base64.b64decode(done.stdout.split()[2], validate=True))
    assert "another key of p2" in alice.refused(4, "found", "--text", path, "--person", "p2")
    assert "no founder" in alice.refused(4, "found", "--text", path, "--person", "p3")
    path.write_text(text.replace(ct.b64(alice.share_key), ct.b64(ct.spki(ct.new_key()))))
    assert "another share-key of p1" in alice.refused(4, "found", "--text", path, "--person", "p1")
    path.write_text(text.replace("quorum: 2", "quorum: 1"))
    assert "two at least" in alice.refused(3, "found", "--text", path, "--person", "p1")


# ---- a custodian's share ----


class Activation:
    """A register with custodian p4 (this token), an opened activation of group issuing at keyd/ca, and p4's share; each part as a file."""

    def __init__(self, directory, token, trained=-3600):
        self.directory, self.token = directory, token
        self.identity, self.other, self.key = ct.new_key(), ct.new_key(), ct.new_key()
        self.register = cp.Provider([cp.Person("p1"), cp.Person("p2")], {"keyd/ca": self.identity, "keyd/other": self.other})
        self.register.enter("person.enrol", ("person", "p4"), ("key", ct.b64(token.key)), ("share-key", ct.b64(token.share_key)),
                            ("identity", ct.ZERO), ("screened", ct.moment(-7200)), ("trained", ct.moment(trained)))
        self.register.enter("decision.take", ("decision", "d1"), ("title", "Custodians"))
        if trained > -300 * 86400:
            self.register.enter("role.grant", ("person", "p4"), ("role", "key-custodian"), ("decision", "d1"))
        self.nonce = os.urandom(16).hex()
        self.proposal = self.register.proposal("group.activate", ("group", "issuing"), instance="keyd/ca", nonce=bytes.fromhex(self.nonce))
        self.share, self.octets = ct.sealed_share(token.share_key, "issuing", "p4", 1, 2, b"a secret share of thirty-two oct")
        self.statement = self.state()
        self.write()

    def state(self, key=None, instance="keyd/ca", group="issuing", nonce=None, proposal=None, life=1800):
        return ct.statement(key or self.identity, self.key, instance, nonce or self.nonce, proposal or self.proposal, group, life)

    def write(self):
        for name, text in (("operation", self.proposal), ("statement", self.statement), ("share", self.share),
                           ("founding", self.register.founding), ("register", self.register.file)):
            (self.directory / name).write_text(text)

    def words(self, without=(), person="p4"):
        named = [word for name in ("operation", "statement", "share", "founding", "register") if name not in without
                 for word in (f"--{name}", self.directory / name)]
        return ["share", *named, "--person", person, "--out", self.directory / "out"]

    def refused(self, code, **more):
        self.write()
        message = self.token.refused(code, *self.words(**more))
        assert not (self.directory / "out").exists()
        return message


@pytest.fixture
def activation(tmp_path, alice):
    return Activation(tmp_path, alice)


def test_a_custodian_gives_the_share_to_the_one_keyd_that_asked(activation, alice):
    person = Terminal(PROGRAM, *activation.words(), "--token", "alice", env=alice.env)
    person.wait_for("signed by keyd/ca")
    person.wait_for(f"SHA-256 of the founding document: {ct.sha256(activation.register.founding).hex()}")
    person.wait_for("Activate the key group issuing")
    person.wait_for(activation.proposal)
    person.answer("PIN of token alice, to approve this and give your share: ", f"{PIN}\n")
    person.wait_for("only keyd/ca can open it")
    assert person.end() == 0 and PIN not in person.shown
    fields, context, approval = ct.opened_share((activation.directory / "out").read_text())
    assert {name: fields[name] for name in ("instance", "group", "person", "index")} == {"instance": "keyd/ca", "group": "issuing",
                                                                                        "person": "p4", "index": "1"}
    assert fields["proposal"] == ct.sha256(activation.proposal).hex()
    assert ct.unseal(activation.key, context, base64.b64decode(fields["sealed"])) == activation.octets
    word, who, role, time, signature = approval.split()
    assert (word, who, role) == ("approval:", "p4", "key-custodian")
    ct.verify(alice.key, ct.approval_text(activation.proposal, "p4", "key-custodian", time), base64.b64decode(signature))
    with pytest.raises(ct.InvalidTag):
        ct.unseal(activation.key, context.replace("keyd/ca", "keyd/other"), base64.b64decode(fields["sealed"]))


def test_a_statement_that_the_instance_did_not_make_for_this_gets_no_share(activation):
    for statement, code, words in (
            (activation.state(key=activation.other), 12, "not signed with the identity key"),
            (activation.state(key=activation.other, instance="keyd/other"), 4, "the proposal is for keyd/ca"),
            (activation.state(instance="keyd/new"), 4, "knows no instance keyd/new"),
            (activation.state(group="management"), 4, "key group management"),
            (activation.state(nonce="00" * 16), 4, "another proposal"),
            (activation.state(proposal=activation.proposal + "x"), 4, "another proposal"),
            (activation.state(life=-1), 7, "expired"),
            (activation.state(life=86400), 7, "longer than 4 hours"),
            (activation.state().replace("expires: 2", "expires: 3"), 12, "not signed with the identity key")):
        activation.statement = statement
        assert words in activation.refused(code)


def test_a_share_is_given_once_and_to_an_activation_only(activation, alice):
    good = activation.proposal
    activation.proposal = good + "\n" + ct.approval_line(good, "p4", "pki-operator", ct.new_key())
    assert "p4 has approved this already" in activation.refused(6)
    activation.proposal = activation.register.proposal("group.deactivate", ("group", "issuing"), ("reason", "Move"), instance="keyd/ca",
                                                       nonce=bytes.fromhex(activation.nonce))
    activation.statement = activation.state()
    assert "group.deactivate is not approved by a key-custodian" in activation.refused(4)


def test_only_the_custodians_own_share_is_opened_and_only_as_it_was_made(activation, alice, bob):
    own = activation.share
    activation.share, _ = ct.sealed_share(bob.share_key, "issuing", "p5", 2, 2, os.urandom(32))
    assert "the share is p5's" in activation.refused(4)
    activation.share, _ = ct.sealed_share(alice.share_key, "management", "p4", 1, 2, os.urandom(32))
    assert "key group management" in activation.refused(4)
    activation.share, _ = ct.sealed_share(bob.share_key, "issuing", "p4", 1, 2, os.urandom(32))
    assert "sealed to another key" in activation.refused(12)
    activation.share = own.replace("index: 1", "index: 2")
    assert "for another purpose" in activation.refused(12)
    commitment = own.split("commitment: ")[1][:64]
    activation.share = own.replace(commitment, "00" * 32)
    assert "not the share that it names" in activation.refused(12)


def test_the_register_decides_and_not_who_brings_the_files(activation):
    assert "ends at 0" in activation.refused(7, without=("register",))
    assert "you are p5" in activation.refused(4, person="p5")
    good = activation.register.file
    activation.register.file = good.replace("person: p4\nrole: key-custodian", "person: p4\nrole: plant-manager")
    assert "entry 3" in activation.refused(12)
    activation.register.file = good
    activation.register.founding = cp.Provider([cp.Person("p1"), cp.Person("p2")], {"keyd/ca": activation.identity}).founding
    assert "entry 1" in activation.refused(7)


def test_a_custodian_whose_training_lapsed_gives_nothing(tmp_path, alice):
    lapsed = Activation(tmp_path, alice, trained=-400 * 86400)
    assert "no key-custodian at this time" in lapsed.refused(4)


def test_a_share_is_given_with_the_token_that_the_register_names(activation, alice, bob):
    activation.token = bob
    assert "other keys of p4" in activation.refused(4)
    activation.token = alice
    assert "refused the PIN" in alice.refused(4, *activation.words(), pin="wrong horse")


# ---- the command line ----


def test_every_command_explains_itself_and_failures_say_what_to_do(alice):
    run = lambda *words: subprocess.run([PROGRAM, *words], env=alice.env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
    for command in ("create", "show", "approve", "found", "share"):
        told = run(command, "--help")
        assert told.returncode == 0 and "Example:  chancery-token " + command in told.stdout and "--pin-fd" in told.stdout
    assert run().returncode == 0 and "share" in run().stdout
    for words, code, part in ((["approve"], 3, "--token LABEL is needed"), (["aprove"], 3, "there are create, show"), (["show", "--token", "nobody"], 5, '"alice"'),
                              (["show", "--token", "alice"], 3, "--pin-fd"), (["show", "--token"], 3, "needs a value"),
                              (["show", "--token", "alice", "--module", "/nowhere.so"], None, "/nowhere.so")):
        told = run(*words)
        assert told.returncode in ([code] if code else range(3, 16)) and part in told.stderr, (words, told)
    problem = json.loads(run("show", "--token", "nobody", "--json").stderr)
    assert problem["error"] == "NOTFOUND" and "create" in problem["message"]
