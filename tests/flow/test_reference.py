"""The printed reference pages are what the programs of this build print."""
import subprocess

import pytest
from installation import BUILD, ROOT


@pytest.mark.parametrize("page", ["configuration", "events", "operations", "commands"])
def test_the_page_is_current(page):
    printed = subprocess.run([BUILD / "src" / "chancery", "reference", page], capture_output=True, text=True, check=True).stdout
    kept = (ROOT / "docs" / "reference" / f"{page}.md").read_text()
    assert printed == kept, f"run: build/src/chancery reference {page} > docs/reference/{page}.md"
