"""Manual pages and completions are printed from the tables: they name every command, and the readers of such pages find nothing wrong."""
import os
import re
import shutil
import subprocess

import pytest
from installation import BUILD, ROOT

TOOL = BUILD / "src" / "chancery"


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("man")
    run(TOOL, "reference", "man", "--out", directory, check=True)
    return directory


def commands():
    """(noun, verb) of every command, from the reference page."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    return re.findall(r"^### `chancery (\S+)(?: ([a-z][a-z-]*))?[ `]", text, re.M)


def test_every_command_has_its_place_on_a_page(pages):
    assert len(commands()) > 30
    for noun, verb in commands():
        page = (pages / "man1" / f"chancery-{noun}.1").read_text()
        assert f'.SS "{noun} {verb}"'.replace("-", r"\-") in page, (noun, verb)


def test_every_configuration_name_is_on_a_page(pages):
    daemons = "".join(page.read_text() for page in (pages / "man8").iterdir())
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    names = set(re.findall(r"^\| `([a-z_-]+)` \|", text.split("# Configuration of keyd")[1], re.M))
    assert len(names) > 50
    for name in names:
        assert '.B "' + name.replace("-", r"\-") + '"' in daemons, name


def lint(page):
    return [line for line in run("mandoc", "-T", "lint", "-W", "warning", page).stdout.splitlines() if "missing date" not in line]


def test_mandoc_finds_nothing_to_complain_of(pages):
    for page in sorted(pages.rglob("*.[18]")):
        assert lint(page) == []


def test_the_lint_would_find_something(tmp_path):
    (tmp_path / "bad.1").write_text('.TH BAD 1 ""\n.SH NAME\nbad \\- worse\n.NOSUCHMACRO x\n.SH\n')
    assert lint(tmp_path / "bad.1")


def test_text_that_looks_like_a_request_is_shown_as_it_is(pages):
    shown = run("mandoc", "-T", "ascii", pages / "man8" / "chancery-keyd.8").stdout
    assert "hsm-address" in re.sub(r".\x08", "", shown)


def completed(script, *words):
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    out = run("bash", "-c", f'. "{script}"; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _chancery; printf "%s\\n" "${{COMPREPLY[@]}}"', check=True)
    return out.stdout.split()


def test_bash_completes_nouns_verbs_options_profiles_and_files(tmp_path):
    script = tmp_path / "chancery.bash"
    script.write_text(run(TOOL, "completion", "bash", check=True).stdout)
    (tmp_path / "request.pem").write_text("")
    assert completed(script, "chancery", "ce") == ["cert"]
    assert completed(script, "chancery", "--home", "/x", "cert", "iss") == ["issue"]
    assert "--profile" in completed(script, "chancery", "cert", "issue", "--")
    assert "--reason" in completed(script, "chancery", "cert", "revoke", "--serial", "1", "--r")
    assert completed(script, "chancery", "cert", "issue", "--profile", "ncp") == ["ncp-plus-n"]
    assert completed(script, "chancery", "cert", "issue", "--csr", f"{tmp_path}/req") == [f"{tmp_path}/request.pem"]


@pytest.mark.parametrize("shell, check", [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])])
def test_zsh_and_fish_read_their_scripts(tmp_path, shell, check):
    script = tmp_path / shell
    script.write_text(run(TOOL, "completion", shell, check=True).stdout)
    read = run(*check, script)
    assert (read.returncode, read.stderr) == (0, "")
    script.write_text(script.read_text() + "\nif\n(")
    assert run(*check, script).returncode != 0


def test_meson_installs_programs_pages_completions_and_units(tmp_path):
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", tmp_path, check=True, env=dict(os.environ, PATH=os.environ["PATH"]))
    installed = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    for wanted in ("usr/bin/chancery", "usr/bin/chancery-keyd", "usr/bin/chancery-token", "usr/share/man/man1/chancery-token.1", "usr/share/man/man1/chancery-cert.1", "usr/share/man/man8/chancery-ca.8",
                   "usr/share/bash-completion/completions/chancery", "usr/lib/systemd/system/chancery-ca.service",
                   "usr/lib/sysusers.d/chancery.conf"):
        assert wanted in installed
    assert not [name for name in installed if name.endswith(".a")]
    assert shutil.which("chancery", path=str(tmp_path / "usr/bin"))
