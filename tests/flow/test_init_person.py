"""`chancery init` for a provider that is no test, as a person meets it: PINs typed at a terminal, with every wrong turn."""
import os
import re
import shutil
import subprocess
import tempfile

import pytest
from installation import BUILD, free_ports
from terminal import Terminal

TOOL = BUILD / "src" / "chancery"
TOKENS = ["log", "root", "issuing", "management", "tsu", "ocsp-issuing"]
STARTED = ["log", "issuing", "management", "ocsp-issuing", "tsu"]


class Person(Terminal):
    def __init__(self, *words):
        super().__init__(TOOL, *words)


def pin(token):
    return f"pin of {token}\n"


def give_token(person, token):
    for what, text in (("PIN", pin(token)), ("officer's PIN", f"officer {token}\n")):
        person.answer(f"New {what} of token {token}: ", text)
        person.answer(f"The same {what} again: ", text)


@pytest.fixture(scope="module")
def place():
    directory = tempfile.mkdtemp(prefix="chancery-")
    yield directory
    subprocess.run([TOOL, "--home", f"{directory}/home", "run", "--stop"], capture_output=True)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def words(place):
    return ["--home", f"{place}/home", "init", "--name", "Example NV", "--organisation-identifier", "NTRBE-0123456789",
            "--tsa-policy", "1.3.6.1.4.1.99999.1", "--port-base", str(free_ports(6))]


def test_what_would_fail_later_is_refused_before_anything_is_made(place, words):
    occupied = f"{place}/occupied"
    os.mkdir(occupied)
    open(f"{occupied}/thesis.txt", "w").close()
    def without(name):
        at = words.index(name)
        return words[:at] + words[at + 2:]
    def with_value(name, value):
        return [value if i > 0 and words[i - 1] == name else word for i, word in enumerate(words)]
    refusals = [
        (without("--name"), "--name NAME is needed"),
        (without("--tsa-policy"), "--tsa-policy"),
        (with_value("--tsa-policy", "1.3.x"), "--tsa-policy 1.3.x"),
        (words + ["--country", "Belgium"], "two capital letters"),
        (words + ["--clock", "test"], "only"), (words + ["--clock", "sundial"], "--clock sundial"),
        (words + ["--module", "/nowhere.so"], "--module FILE"),
        (words + ["--address", "here"], "no IPv4 address"),
        (words + ["--address", "192.0.2.1"], "cannot be listened on"),
        (words + ["--public-url", "example.org"], "begins with http"),
        (with_value("--home", occupied), "thesis.txt"),
    ]
    for command, says in refusals[:4] + refusals[5:]:
        person = Person(*command)
        assert person.end() not in (0, 1) and says in person.shown, (says, person.shown)
        assert not os.path.exists(f"{place}/home")
    person = Person(*words, "--clock", "test")
    assert person.end() == 3 and "test installations" in person.shown


def test_without_a_terminal_it_says_so_and_makes_nothing(place, words):
    done = subprocess.run([TOOL, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
    assert done.returncode == 3 and "terminal" in done.stderr and "nothing was made" in done.stderr, done.stderr
    assert not os.path.exists(f"{place}/home")


def test_an_interrupted_one_leaves_the_terminal_as_it_was_and_says_how_to_go_on(place, words):
    person = Person(*words)
    give_token(person, "log")
    person.answer("New PIN of token root: ", "\x03")
    assert person.end() == 7, person.shown
    assert "ended by you" in person.shown and "--start-over" in person.shown
    assert person.echoes()
    again = Person(*words)
    assert again.end() == 7 and "interrupted at 'Keys of the CAs'" in again.shown and "--start-over" in again.shown, again.shown


def test_slips_are_forgiven_nothing_typed_is_shown_and_a_provider_comes_out(place, words):
    person = Person(*words, "--start-over")
    person.wait_for("Moved the interrupted installation")
    person.wait_for("8 to 128 characters")
    person.answer("New PIN of token log: ", "short\n")
    person.wait_for("this one has 5")
    person.answer("New PIN of token log: ", "x" * 200 + "\n")
    person.wait_for("this one has 200")
    person.answer("New PIN of token log: ", pin("log"))
    person.answer("The same PIN again: ", "another one\n")
    person.wait_for("The two entries differ")
    for token in TOKENS:
        give_token(person, token)
    assert person.end() == 0, person.shown
    assert "pin of" not in person.shown and "officer log" not in person.shown
    assert "TEST" not in person.shown and f"chancery --home {place}/home run" in person.shown
    assert not os.path.exists(f"{place}/home/test-secrets")
    found = subprocess.run(["grep", "-rlE", "pin of |officer (log|root)", f"{place}/home"], capture_output=True, text=True).stdout
    assert found == "", "no PIN lies in the installation"
    assert Person(*words).end() == 6, "there is one now"


def status(place):
    done = subprocess.run([TOOL, "--home", f"{place}/home", "status"], capture_output=True, text=True)
    return done.stdout


def test_it_runs_with_the_pins_and_a_wrong_one_is_told_at_once(place, words):
    home = ["--home", f"{place}/home"]
    for wrong in (True, False):
        person = Person(*home, "run", "--detach")
        for token in STARTED:
            person.answer(f"PIN of token {token}, zone ", "not this one\n" if wrong and token == "issuing" else pin(token))
        assert person.end() == (1 if wrong else 0), person.shown
        assert ("issuing" in person.shown[person.read_to:] and "PIN" in person.shown[person.read_to:]) == wrong, person.shown
        if wrong:
            assert "key issuing of zone ca is not usable" in status(place)
            assert subprocess.run([TOOL, *home, "run", "--stop"], capture_output=True).returncode == 0
    assert "not usable" not in status(place)


def test_the_roots_pin_is_asked_for_when_the_root_works(place, words):
    person = Person("--home", f"{place}/home", "--json", "crl", "issue", "--ca", "root")
    person.answer("PIN of token root, zone root", pin("root"))
    assert person.end() == 0, person.shown
    assert re.search(r'"number": \d+', person.shown)
    person = Person("--home", f"{place}/home", "crl", "issue", "--ca", "root")
    person.answer("PIN of token root, zone root", "\x04")
    assert person.end() == 7 and "ended by you" in person.shown, person.shown
