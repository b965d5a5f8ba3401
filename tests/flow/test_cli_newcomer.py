"""What the tool says to somebody who does not know it yet: each wrong turn ends with what to do next."""
import subprocess

import pytest
from installation import BUILD, Installation, within

TOOL = BUILD / "src" / "chancery"


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    made.start()
    within(10, lambda: made.call("status").returncode == 0)  # the va has its first snapshot
    for name, text in (("junk", "junk"), ("empty", "")):
        (made.work / name).write_text(text)
    made.request("alice")
    yield made
    made.close()


def bare(*words):
    """Without an installation and without an environment."""
    return subprocess.run([TOOL, *words], capture_output=True, text=True, env={})


def test_help_and_version_are_found_whatever_is_tried():
    whole = bare().stdout
    assert "Start:" in whole and "--version" in whole
    for words in (["--help"], ["-h"], ["help"], ["--help", "--json"]):
        assert bare(*words).stdout == whole, words
    nouns = [line.split()[0] for line in whole.splitlines() if line.startswith("  ") and line[2] != " " and "--" not in line and "[" not in line]
    assert len(nouns) >= 15
    for noun in nouns:
        done = bare(noun, "--help")
        assert done.returncode == 0 and "Example:" in done.stdout and done.stdout == bare("help", noun).stdout, noun
    assert bare("--version").stdout.startswith("chancery 0.") and bare("version").stdout == bare("--version").stdout


def test_without_an_installation_it_says_how_to_name_or_make_one():
    for words in (["status"], ["cert", "list"], ["--home", "/nowhere", "run"]):
        done = bare(*words)
        assert done.returncode == 13 and "--home DIR" in done.stderr and "CHANCERY_HOME" in done.stderr and "init" in done.stderr


@pytest.mark.parametrize("words,code,says", [
    (["cert", "issue", "--profile", "ncp", "--csr", "{w}/alice.csr"], 5, ["did you mean ncp-plus-n?", "chancery profile list"]),
    (["cert", "issue", "--profile", "ncp-plus-n", "--csr", "{w}/none.csr"], 5, ["none.csr: No such file"]),
    (["cert", "issue", "--profile", "ncp-plus-n", "--csr", "{w}/junk"], 3, ["junk", "CERTIFICATE REQUEST"]),
    (["cert", "issue", "--profile", "ncp-plus-n", "--csr", "{w}/empty"], 3, ["empty", "CERTIFICATE REQUEST"]),
    (["cert", "issue", "--profile", "ncp-plus-n", "--csr", "{w}/alice.csr", "--ca", "nix"], 5, ["chancery ca list"]),
    (["cert", "issue", "--profile", "ncp-plus-n", "--csr", "{w}/alice.csr", "--out", "/nowhere/x"], 14, ["nothing was done"]),
    (["cert", "show", "--serial", "1234"], 5, ["1234", "chancery cert find"]),
    (["cert", "show", "--serial", "xyz"], 3, ["--serial", "hexadecimal"]),
    (["cert", "show"], 3, ["--serial HEX or --cert FILE"]),
    (["cert", "find", "nobody"], 3, ["one word too many", "chancery cert find --help"]),
    (["cert", "revoke", "--serial", "1234", "--reason", "lost"], 3, ["keyCompromise"]),
    (["ca", "create", "issuing", "--subject", "C=BE, O=X, CN=Y"], 6, ["chancery ca show issuing"]),
    (["ca", "create", "other", "--subject", "hello"], 3, ["--subject", "C=BE, O=Example NV"]),
    (["ca", "create", "other", "--subject", "C=BE, O=X, CN=Y", "--type", "rsa"], 3, ["--type rsa", "ec-p256"]),
    (["key", "list", "--zone", "nix"], 5, ["ca, status, time"]),
    (["hsm", "probe", "--zone", "nix"], 5, ["ca, status, time"]),
    (["audit", "show", "--event", "certificate.isued"], 3, ["did you mean certificate.issued?", "audit catalogue"]),
    (["ts", "verify", "{w}/junk"], 5, ["--token FILE"]),
    (["ts", "request", "{w}/junk", "--out", "/nowhere/x"], 14, ["nothing was done"]),
    (["crl", "show", "{w}/junk"], 3, ["junk", "CRL"]),
    (["backup", "{w}"], 6, ["name a directory that does not"]),
    (["restore", "/nowhere"], 7, ["chancery run --stop"]),
    (["run"], 7, ["running already", "chancery status"]),
    (["run", "--detach"], 7, ["running already", "chancery run --stop"]),
])
def test_a_wrong_turn_says_what_to_do_next(provider, words, code, says):
    before = provider.json("status")["certificates"]["issued"]
    done = provider.call(*[word.format(w=provider.work) for word in words])
    assert done.returncode == code and done.stdout == "", (done.returncode, done.stdout, done.stderr)
    assert all(text in done.stderr for text in says), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, "one sentence"
    assert provider.json("status")["certificates"]["issued"] == before
    tokens = {row["key"] for row in provider.json("key", "list")}
    assert "other" not in tokens


def test_what_is_not_running_is_named(provider):
    """Last: it stops the daemons."""
    provider.stop()
    (provider.work / "x").write_text("x")
    for words in (["cert", "list"], ["crl", "show"], ["ts", "request", provider.work / "x"], ["key", "list"], ["key", "list", "--zone", "ca"],
                  ["audit", "show"], ["backup", provider.work / "b"], ["ca", "create", "x", "--subject", "C=BE, O=X, CN=Y"]):
        done = provider.call(*words)
        assert done.returncode == 10 and "No daemon of this installation runs: `chancery run` starts them" in done.stderr, (words, done.stderr)
    assert not (provider.work / "b").exists(), "the same command can be given again"
    error = provider.call("--json", "cert", "list").stderr
    assert '"error": "UNAVAILABLE"' in error and "chancery run" in error
