"""`chancery init` for a provider that is no test: nine persons with tokens of their own found it, PINs of the daemons' tokens are typed or
sealed, and it may be interrupted at any moment. Every wrong turn says what to do."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile

import pytest
from ceremony_people import Hands, People, put, waiting
from installation import BUILD, free_ports, within
from terminal import Terminal

TOOL = BUILD / "src" / "chancery"
IDENTITIES = [("identity", zone) for zone in ("log", "root", "ca", "status", "time")]
TOKENS = [("log", "log"), ("tsu", "time"), ("ocsp-issuing", "status"), *IDENTITIES]  # in the order in which they are made, and asked for again:
AGAIN = [("log", "log"), ("identity", "log"), ("identity", "root"), ("identity", "ca"), ("ocsp-issuing", "status"), ("identity", "status"),
         ("tsu", "time"), ("identity", "time")]


class Person(Terminal):
    def __init__(self, *words):
        super().__init__(TOOL, *words)


def pin(token, zone):
    return f"pin of {token} in {zone}\n"


def give_token(person, token, zone):
    for what, text in (("PIN", pin(token, zone)), ("officer's PIN", f"officer {token} {zone}\n")):
        person.answer(f"New {what} of token {token}, zone {zone}: ", text)
        person.answer(f"The same {what} again: ", text)


def open_tokens(person, tokens, wrong=None):
    for token, zone in tokens:
        person.answer(f"PIN of token {token}, zone {zone}", "not this one\n" if token == wrong else pin(token, zone))


@pytest.fixture(scope="module")
def place():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="chancery-"))
    yield directory
    subprocess.run([TOOL, "--home", directory / "home", "run", "--stop"], capture_output=True)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def people(place):
    return People(place / "people")


@pytest.fixture(scope="module")
def words(place, people):
    return ["--home", f"{place}/home", "init", "--people", str(people.file), "--name", "Example NV", "--organisation-identifier",
            "NTRBE-0123456789", "--tsa-policy", "1.3.6.1.4.1.99999.1", "--pins", "typed", "--port-base", str(free_ports(7))]


def without(words, name):
    at = words.index(name)
    return words[:at] + words[at + 2:]


def with_value(words, name, value):
    return [value if i > 0 and words[i - 1] == name else word for i, word in enumerate(words)]


# ---- before anything is made ----


def test_what_would_fail_later_is_refused_before_anything_is_made(place, words):
    occupied = place / "occupied"
    occupied.mkdir()
    (occupied / "thesis.txt").touch()
    refusals = [
        (without(words, "--people"), "--people FILE is needed"), (without(words, "--name"), "--name NAME is needed"),
        (without(words, "--tsa-policy"), "--tsa-policy"), (with_value(words, "--tsa-policy", "1.3.x"), "--tsa-policy 1.3.x"),
        (with_value(words, "--people", f"{place}/nobody.conf"), "--people"), (with_value(words, "--pins", "pocket"), "write sealed or typed"),
        (words + ["--country", "Belgium"], "two capital letters"), (words + ["--clock", "sundial"], "--clock sundial"),
        (words + ["--clock", "test"], "test installations"), (words + ["--module", "/nowhere.so"], "--module FILE"),
        (words + ["--address", "here"], "no IPv4 address"), (words + ["--address", "192.0.2.1"], "cannot be listened on"),
        (words + ["--public-url", "example.org"], "begins with http"), (with_value(words, "--home", str(occupied)), "thesis.txt"),
        (["--home", f"{place}/home", "init", "--continue"], "no founding is under way"),
    ]
    for command, says in refusals:
        person = Person(*command)
        assert person.end() not in (0, 1) and says in person.shown, (says, person.shown)
        assert not (place / "home").exists()


def own_role(person, role):
    return lambda text: re.sub(rf"(\[person {person}\]\nname = .*\nrole = )\S+", rf"\g<1>{role}", text)


@pytest.mark.parametrize("change, says", [
    (own_role("p5", "pki-operator\nrole = system-auditor"), "p5: .*kept apart|p5: .*group"),
    (own_role("p5", "pki-operater"), "pki-operater"),
    (own_role("p2", "authority-member\nrole = hr-manager"), "p2 is a founder"),
    (own_role("p9", "spokesperson"), None),
    (own_role("p6", "registration-officer"), r"group.create.*security-and-quality-manager: there are too few"),
    (own_role("p5", "hr-manager"), r"group.activate.*2 distinct persons"),
    (lambda text: text.replace("threshold = 2", "threshold = 4"), r"4 distinct persons as key-custodian"),
    (lambda text: text.replace("quorum = 2", "quorum = 4"), r"decision.take.*4 distinct"),
    (lambda text: text.replace("quorum = 2", "quorum = 1"), "quorum"),
    (lambda text: re.sub("trained = .*", "trained = 2024-01-31", text), "older than 12 months"),
    (lambda text: re.sub("trained = .*", "trained = soon", text), "'soon', is no day"),
    (lambda text: re.sub("screened = .*", "", text), "needs the day"),
    (lambda text: text.replace("/p4.keys", "/p5.keys").replace("/p4/", "/p5/"), "p4 and p5 have the same key"),
    (lambda text: text.replace("[person p4]", "[person Anna]"), "Anna"),
    (lambda text: text.replace("p7.keys", "softhsm2.conf"), "chancery-token create"),
])
def test_a_file_of_persons_that_could_not_found_is_refused_with_the_reason(place, people, words, change, says):
    people.write(change)
    try:
        person = Person(*words, "--address", "192.0.2.1")  # the next thing that is looked at
        assert person.end() not in (0, 1)
        assert re.search(says or "cannot be listened on", person.shown), person.shown
        assert not (place / "home").exists()
    finally:
        people.write()


def test_the_file_that_is_printed_is_one_to_fill_in(place, people):
    printed = subprocess.run([TOOL, "founding", "people"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"\[person (p\d)\]", printed)) == set(people.person)
    for name, person in people.person.items():
        assert re.search(rf"\[person {name}\]\nname = .*\nrole = {person.role}\n", printed)
        shutil.copy(person.keys, place / f"{name}.keys")
    today = subprocess.run(["date", "+%Y-%m-%d"], capture_output=True, text=True, check=True).stdout.strip()
    (place / "printed.conf").write_text(re.sub(r"20\d\d-\d\d-\d\d", today, printed))
    person = Person("--home", f"{place}/home", "init", "--people", f"{place}/printed.conf", "--name", "Example NV",
                    "--organisation-identifier", "NTRBE-0123456789", "--tsa-policy", "1.3.6.1.4.1.99999.1", "--pins", "typed", "--address",
                    "192.0.2.1")
    assert person.end() not in (0, 1) and "cannot be listened on" in person.shown, person.shown


def test_without_a_terminal_it_says_so_and_makes_nothing(place, words):
    done = subprocess.run([TOOL, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
    assert done.returncode == 3 and "terminal" in done.stderr and "nothing was made" in done.stderr, done.stderr
    assert not (place / "home").exists()


def test_what_was_typed_is_in_no_core_dump(tmp_path, words):
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if most == 0:
        pytest.skip("no process may dump here, so that this would prove nothing")
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    person = Person(*with_value(words, "--home", f"{tmp_path}/home"))
    person.answer("New PIN of token log, zone log: ", pin("log", "log"))
    person.wait_for("The same PIN again: ")
    os.kill(person.pid, signal.SIGABRT)
    _, status = os.waitpid(person.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT and not os.WCOREDUMP(status)


# ---- the founding, interrupted three times ----


def test_one_that_is_interrupted_leaves_the_terminal_as_it_was_and_says_how_to_go_on(place, words):
    person = Person(*words)
    person.wait_for("8 to 128 characters")
    person.answer("New PIN of token log, zone log: ", "short\n")
    person.wait_for("this one has 5")
    person.answer("New PIN of token log, zone log: ", "x" * 200 + "\n")
    person.wait_for("this one has 200")
    person.answer("New PIN of token log, zone log: ", pin("log", "log"))
    person.answer("The same PIN again: ", "another one\n")
    person.wait_for("The two entries differ")
    give_token(person, "log", "log")
    person.answer("New PIN of token tsu, zone time: ", "\x03")
    assert person.end() == 7 and "ended by you" in person.shown and "init --continue" in person.shown, person.shown
    assert person.echoes()
    again = Person(*words)
    assert again.end() == 7 and "--continue` goes on" in again.shown and "--start-over" in again.shown, again.shown


def test_it_goes_on_where_it_was_and_waits_for_the_founders(place, people):
    home = place / "home"
    person = Person("--home", home, "init", "--continue")
    open_tokens(person, TOKENS[:1])
    for token, zone in TOKENS[1:]:
        give_token(person, token, zone)
    person.wait_for("Waiting for the signatures")
    text = home / "ceremony" / "founding.text"
    other = place / "other.text"
    other.write_text(text.read_text().replace("Example NV", "Another NV"))
    signature = place / "p1.signature"
    for content, says in ((people.person["p1"].sign_founding(other), "founder p1"), ("Dear colleagues,\n", "no founder's signature")):
        signature.write_text(content)
        put(home, [signature])
        person.wait_for("REFUSED p1.signature")
        person.wait_for(says)
    signature.write_text(people.person["p1"].sign_founding(text))
    put(home, [signature])
    person.wait_for("p1 has signed")
    os.kill(person.pid, signal.SIGINT)
    assert person.end() == 7 and "init --continue" in person.shown, person.shown
    assert not (home / "founding").exists()


def test_nobody_else_can_slip_an_approval_in(place, people):
    """A third time it is killed, behind the enrolment: what was carried out stays, what was not is proposed anew."""
    home = place / "home"
    person = Person("--home", home, "init", "--continue")
    hands = Hands(people, home, only=lambda operation: "group.create" not in operation.name)
    try:
        open_tokens(person, AGAIN)
        person.wait_for("Approvals are needed for 3 operations")
    finally:
        hands.stop()
    create = waiting(home)[0]
    forged, mixed, late = place / "forged.op", place / "mixed.op", place / "late.op"
    line = [l for l in people.person["p6"].approve([create])[0].read_text().splitlines() if l.startswith("approval: p6")][0]
    forged.write_text(create.read_text().rstrip() + "\n\n" + line.replace("approval: p6 security-and-quality-manager", "approval: p5 pki-operator") + "\n")
    mixed.write_text(waiting(home)[1].read_text().rstrip() + "\n\n" + line + "\n")
    late.write_text(sorted((home / "ceremony" / "done").glob("*.op"))[0].read_text())
    for file, says in ((forged, "no say|not "), (mixed, "does not fit"), (late, "none of the operations")):
        put(home, [file])
        person.wait_for(f"REFUSED {file.name}: ")
        person.wait_for("\n")
        assert re.search(says, person.shown.splitlines()[-1]), person.shown
    os.kill(person.pid, signal.SIGKILL)
    os.waitpid(person.pid, 0)
    assert len(list((home / "ceremony" / "done").glob("*.op"))) == 13 and "REFUSED" in person.shown


def test_a_provider_comes_out_whose_keys_nobody_has_alone(place, people, words):
    home = place / "home"
    person = Person("--home", home, "init", "--continue")
    hands = Hands(people, home)
    try:
        open_tokens(person, AGAIN)
        assert person.end(120) == 0, person.shown
    finally:
        hands.stop()
    assert "pin of" not in person.shown and "TEST" not in person.shown and f"chancery --home {home} run" in person.shown
    assert not (home / "test-secrets").exists()
    left = sorted(path.name for path in (home / "ceremony" / "left").glob("*.op"))
    assert len(left) == 3 and all("group.create" in name for name in left)
    assert waiting(home) == [] and list((home / "ceremony").glob("*.share")) == []
    found = subprocess.run(["grep", "-rlE", "pin of |officer (log|root)", home], capture_output=True, text=True).stdout
    assert found == "", "no PIN lies in the installation"
    assert Person(*words).end() == 6, "there is one now"


# ---- and it works ----


def json_of(*words):
    done = subprocess.run([TOOL, "--json", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def status(place):
    return subprocess.run([TOOL, "--home", place / "home", "status"], capture_output=True, text=True).stdout


def test_it_runs_with_the_pins_and_a_wrong_one_is_told_at_once(place):
    home = ["--home", f"{place}/home"]
    started = [("log", "log"), ("identity", "log"), ("identity", "ca"), ("ocsp-issuing", "status"), ("identity", "status"), ("tsu", "time"),
               ("identity", "time")]
    for wrong in ("ocsp-issuing", None):
        person = Person(*home, "run", "--detach")
        open_tokens(person, started, wrong)
        assert person.end() == (1 if wrong else 0), person.shown
        assert ("not usable" in status(place)) == bool(wrong)
        if wrong:
            assert "ocsp-issuing" in person.shown[person.read_to:]
            assert subprocess.run([TOOL, *home, "run", "--stop"], capture_output=True).returncode == 0
    assert "key group issuing of zone ca is locked" in status(place)


def test_people_activate_its_groups_and_it_issues(place, people):
    home = place / "home"
    refused = subprocess.run([TOOL, "--home", home, "op", "activate"], capture_output=True, text=True)
    assert refused.returncode == 3 and "--by PERSON" in refused.stderr, refused.stderr
    hands = Hands(people, home)
    try:
        done = json_of("--home", home, "op", "activate", "--by", "p4")
    finally:
        hands.stop()
    assert sorted(done["activated"]) == ["issuing", "management"] and "locked" not in status(place)
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", place / "key.pem", "-out",
                    place / "request.pem", "-subj", "/CN=www.example.org/O=Example/C=BE"], capture_output=True, check=True)
    json_of("--home", home, "cert", "issue", "--profile", "tls-server", "--ca", "management", "--csr", place / "request.pem", "--role", "va",
            "--dns-name", "www.example.org", "--out", place / "issued.pem")
    chain = ["openssl", "verify", "-CAfile", home / "certificates" / "management.pem", place / "issued.pem"]
    assert subprocess.run(chain, capture_output=True, text=True).returncode == 0


def test_the_root_works_only_when_people_activate_it(place, people):
    home = place / "home"
    hands = Hands(people, home)
    try:
        person = Person("--home", home, "--json", "crl", "issue", "--ca", "root", "--by", "p4")
        person.answer("PIN of token identity, zone root", pin("identity", "root"))
        assert person.end() == 0, person.shown
    finally:
        hands.stop()
    assert re.search(r'"number": \d+', person.shown)


def test_an_auditor_judges_the_founding_again(place):
    home = place / "home"
    done = json_of("op", "verify", "--log", home / "state" / "auditd" / "log", "--founding", home / "founding")
    assert done["verdict"] == "every operation had its quorum" and done["refused"] == 0, done


# ---- PINs that are sealed to the host ----


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/bin/systemd-creds"), reason="the host's secret is root's")
def test_sealed_pins_are_in_no_file_and_daemons_come_up_by_themselves(people, words, place):
    home = place / "sealed"
    own = without(with_value(with_value(words, "--home", str(home)), "--port-base", str(free_ports(7))), "--pins")
    begun = subprocess.Popen([TOOL, *own], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    within(30, lambda: (home / "ceremony" / "founding.text").exists())
    begun.kill()
    begun.communicate()
    text = (home / "ceremony" / "founding.text").read_text()
    sealed = sorted(str(path.relative_to(home / "sealed")) for path in (home / "sealed").glob("*/*"))
    assert sealed == sorted(f"{zone}/{token}" for token, zone in TOKENS)
    opened = subprocess.run(["systemd-creds", "decrypt", "--name=log", home / "sealed" / "log" / "log", "-"], capture_output=True, text=True)
    assert re.fullmatch(r"[0-9a-f]{32}", opened.stdout), opened.stderr
    assert subprocess.run(["grep", "-rl", opened.stdout, home], capture_output=True).stdout == b""
    assert subprocess.run(["systemd-creds", "decrypt", "--name=log", home / "sealed" / "time" / "tsu", "-"], capture_output=True).returncode != 0
    goes_on = subprocess.Popen([TOOL, "--home", home, "init", "--continue"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    signature = place / "p2.signature"
    signature.write_text(people.person["p2"].sign_founding(home / "ceremony" / "founding.text"))
    put(home, [signature])
    within(30, lambda: (home / "ceremony" / "in" / "taken" / "p2.signature").exists() or goes_on.poll() is not None)
    assert goes_on.poll() is None, goes_on.stderr.read()
    goes_on.send_signal(signal.SIGTERM)
    assert goes_on.wait(30) == 7 and "p2 has signed" in goes_on.stderr.read()
    assert (home / "ceremony" / "founding.text").read_text() == text, "what was signed stays what it is"
