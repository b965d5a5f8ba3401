"""docs/guide/auditor.md, typed as it stands: every command in order, against an export of a provider under quorum. What the guide shows behind a
command must come, in that order; "..." stands for anything."""
import base64
import json
import os
import re
import shutil
import subprocess

import pytest

from installation import ROOT, Installation, within
from test_audit_report import Page

GUIDE = ROOT / "docs" / "guide" / "auditor.md"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """What the guide says that one needs, and the programs on PATH; the provider is gone."""
    folder = tmp_path_factory.mktemp("auditor")
    provider = Installation(options=("--quorum",))
    try:
        provider.start()
        within(20, lambda: provider.call("audit", "verify").returncode == 0)
        shutil.copy(provider.home / "state" / "auditd" / "log" / "checkpoint", folder / "checkpoint-of-may")
        provider.check("audit", "export", folder / "export-of-november")
    finally:
        provider.close()
    return folder, dict(os.environ, PATH=f"{provider.build / 'src'}:{os.environ['PATH']}", HOME=str(folder), LC_ALL="C")


def steps():
    """(command, lines shown behind it), in order."""
    found = []
    for line in GUIDE.read_text().splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.strip())
    return found


def pattern(shown):
    """White space is as wide as it is; "..." is anything, on one line or, alone, on many."""
    parts = [r"[\s\S]*" if line == "..." else r".*".join(r"\s+".join(map(re.escape, piece.split())) for piece in line.split("...")) for line in shown]
    return r"\s*".join(parts)


def test_every_command_does_what_the_guide_shows(desk):
    folder, environment = desk
    assert len(steps()) > 14
    codes = {}
    for command, shown in steps():
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        codes[command] = done.returncode
        assert re.search(pattern(shown), done.stdout), f"$ {command}\n{done.stdout}{done.stderr}\nthe guide shows:\n" + "\n".join(shown)
        assert done.stderr == "", f"$ {command}\n{done.stderr}"
    assert {command: code for command, code in codes.items() if code != 0} == {
        "chancery audit verify export-of-november": 2, "chancery audit verify copy --anchor checkpoint-of-may": 1}


def test_the_numbers_to_compare_are_those_that_the_readme_has(desk):
    folder, environment = desk
    readme = (folder / "export-of-november" / "README.txt").read_text()
    for command in ("tr -d '\\n' < export-of-november/log.vkey | sha256sum", "sha256sum export-of-november/founding"):
        assert command in GUIDE.read_text()
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] in readme


def test_the_report_names_who_approved_each_operation(desk):
    folder, environment = desk
    run = lambda *words: subprocess.run(["chancery", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert run("audit", "report", "export-of-november", "--out", "whole.html").returncode == 2
    rows = Page((folder / "whole.html").read_text()).tables["Operations with quorum that were carried out"][1:]
    done = run("audit", "show", "export-of-november", "--from", "0", "--limit", "100000", "--json")
    operations = [leaf for leaf in json.loads(done.stdout) if leaf["record"]["event"] in ("register.changed", "operation.executed")]
    assert [row[0] for row in rows] == [str(leaf["seq"]) for leaf in operations] and len(rows) > 10
    for row, leaf in zip(rows, operations):
        file = base64.b64decode(leaf["record"]["file"]).decode()
        persons = re.findall(r"^approval: (\S+) ", file, re.M)
        assert row[3] == f"{leaf['record']['operation']} by {', '.join(persons)}" and len(persons) > 1
        assert row[4] == leaf["record"]["words"]
