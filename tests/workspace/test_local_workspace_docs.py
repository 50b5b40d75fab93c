"""What docs/local-workspace.md tells people to copy does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dqctl.localworkspace.endpoint import Endpoint
from remains import wait_until_nothing_is_left
from workspaces import foreign_environment

pytestmark = pytest.mark.local

_ROOT = Path(__file__).parents[2]
_PAGE = _ROOT / "docs" / "local-workspace.md"


def _block(heading: str) -> str:
    """The first block of Python below a heading."""
    section = _PAGE.read_text(encoding="utf-8").split(f" {heading}\n", 1)[1]
    return section.split("```python\n", 1)[1].split("```", 1)[0]


def _run(program: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.feature("Clients", "databricks-sql-connector and databricks-sdk by environment variables alone")
def test_the_clients_need_nothing_but_the_variables(endpoint: Endpoint) -> None:
    environment = foreign_environment(endpoint) | {
        "DATABRICKS_HOST": f"https://{endpoint.host}",
        "DATABRICKS_TOKEN": endpoint.token_file.read_text().strip(),
    }
    assert "Ada" in _run(_block("databricks-sql-connector"), environment)
    told = _run(_block("Databricks SDK"), environment)
    assert "main.default.people" in told
    assert "[['1']]" in told


@pytest.mark.feature("Clients", "A workspace for a pytest session")
def test_the_snippet_for_tests_starts_and_stops_a_workspace(tmp_path: Path) -> None:
    assert "(1 + 1)=2" in _run(_block("In tests"), {**os.environ, "TMPDIR": str(tmp_path)})
    wait_until_nothing_is_left(tmp_path)


def test_every_page_that_it_leads_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", _PAGE.read_text(encoding="utf-8")):
        # docs/compatibility.md is made from the tests.
        assert (_PAGE.parent / target).exists() or target == "compatibility.md", target
