"""What README.md says, word by word, as somebody does it who has set nothing: defaults, a home with a space."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from command_line import load_shop
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.services import demo
from dqctl.settings import Settings, load

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SYSTEMS = """\
version: 1
systems:
  - name: sales
    connections:
      - name: lakehouse
        catalog: main
        schema: shop
        table_groups:
          - name: shop-tables
            suites:
              - name: sales-standard
"""
# What reads: each is to answer with one object, whatever was done before.
LOOKS = (
    "status", "logs", "systems list", "systems show sales", "runs", "results", "anomalies",
    "definitions sales-standard", "report", "publish --pending", "publish --explain", "tables show",
    "state status --remote", "backup list", "credentials show", "workspace status --data-dir ~/workspace",
)  # fmt: skip


def commands(after: str) -> list[str]:
    """The command lines of dqctl in README's next block of shell behind the words ``after``."""
    block = README.partition(after)[2].partition("```sh\n")[2].partition("```")[0]
    lines = [line.partition(" #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("dqctl ")]


@dataclass(frozen=True)
class Person:
    """Somebody with a shell, whose environment says nothing of dqctl but where its home is."""

    home: Path

    @property
    def directory(self) -> Path:
        return self.home / "Jörg Müller"

    @property
    def settings(self) -> Settings:
        """Those of the stack, read past the command line."""
        return load({"home": self.home, "workspace": self.directory / "workspace"}, {})

    def types(self, line: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DQCTL_")}
        path = f"{Path(sys.executable).parent}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", line],  # noqa: S607 - whichever bash the user has
            env=environment | {"PATH": path, "HOME": str(self.directory), "DQCTL_HOME": str(self.home)},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, (line, done)
        return done

    def asks(self, line: str) -> dict[str, Any]:
        found = json.loads(self.types(f"dqctl --output json {line}").stdout)
        assert (found["format"], found["exit_code"], found["outcome"]) == (1, 0, "done")
        return dict(found)


@pytest.fixture(scope="module")
def person(module_home: Path) -> Iterator[Person]:
    """Somebody who has a workspace and a stack from README's own commands, and the data of a shop."""
    (module_home / "settings.toml").unlink()  # what the other tests turn off
    person = Person(module_home)
    person.directory.mkdir(mode=0o711)
    (person.directory / "systems.yaml").write_text(SYSTEMS, encoding="utf-8")
    start, install, sql = commands("Without Databricks, the same on this machine")
    try:
        person.types(start)
        assert "looking for saved state" in person.types(install).stderr
        assert "main" in person.types(sql).stdout
        load_shop(person.settings)
        yield person
    finally:
        control.stop(person.directory / "workspace")


@pytest.mark.thorough
def test_readme_leads_from_nothing_to_results_and_on_from_every_error(person: Person) -> None:
    installed, *work = commands("## On your own data")
    assert installed.startswith("dqctl install --host")
    assert [line.split()[1] for line in work] == ["tables", "apply", "profile", "generate", "run-tests"]
    for line in work:
        person.types(line)
    assert (person.directory / "results.xml").stat().st_size
    assert (person.directory / "report.html").stat().st_size
    answers = {line: person.asks(line) for line in LOOKS}
    assert answers["state status --remote"]["in_step"] is True
    assert answers["publish --explain"]["runs"] == 0
    assert {each["status"] for each in answers["runs"]["runs"]} == {"completed"}
    _goes_on_from_a_workspace_that_is_stopped(person)
    _begins_anew_after_a_purge(person)


def _goes_on_from_a_workspace_that_is_stopped(person: Person) -> None:
    person.types("dqctl workspace stop --data-dir ~/workspace")
    refused = person.types("dqctl run-tests --all", code=3)
    (way_on,) = re.findall(r"^hint: .*?(dqctl .*)$", refused.stderr, re.MULTILINE)
    person.types(way_on)
    person.types("dqctl run-tests sales-standard")


def _begins_anew_after_a_purge(person: Person) -> None:
    # Its keys are gone with it: a stack of this name is not made beside a state that it cannot read.
    (install,) = [line for line in commands("Without Databricks") if line.startswith("dqctl install")]
    person.types("dqctl uninstall --purge")
    assert not (person.home / "stacks" / "default").exists()
    assert "needs the keys" in person.types(install, code=2).stderr
    # The demo does not end there: the workspace is its own.
    demo.forget_lost_state(person.settings, silent)
    person.types(install)
    demo.forget_lost_state(person.settings, silent)  # a stack that is there loses nothing
    assert person.asks("state status --remote")["remote"]["seq"] == 1
