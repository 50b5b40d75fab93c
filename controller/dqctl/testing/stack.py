"""A stack of TestGen that tests work with, by dqctl's own commands."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dqctl.errors import UsageError
from dqctl.testing.commands import dqctl
from dqctl.testing.outcomes import Outcome, outcomes_of

# What run-tests may end with when it has results to tell: all good, tests failed, errored, not published yet.
_TOLD = (0, 1, 4, 5)


@dataclass(frozen=True)
class Stack:
    """A stack. ``environment`` leads dqctl, and every client of Databricks, to it; ``timeout`` is in seconds."""

    name: str
    environment: Mapping[str, str] = field(repr=False)
    timeout: float = 900
    is_own: bool = False

    def dqctl(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """The object that a command prints; ``CommandFailed`` for an exit code that is not among ``codes``."""
        wait = {"DQCTL_LOCK_TIMEOUT": str(self.timeout)}  # other workers use the stack, too
        return dqctl({**wait, **self.environment}, *arguments, timeout=self.timeout, codes=codes)

    def apply(self, declaration: Path | str | Mapping[str, Any]) -> tuple[str, ...]:
        """Declare systems: a systems file, or what would stand in one. Their names."""
        from dqctl.testgen.systems import document

        with tempfile.TemporaryDirectory(prefix="dqctl-testing-") as directory:
            file = Path(declaration) if isinstance(declaration, Path | str) else Path(directory, "systems.yaml")
            if not isinstance(declaration, Path | str):
                file.write_text(json.dumps(declaration), encoding="utf-8")  # which YAML is, too
            declared = document.read(file)
            if declared.alerts is not None:
                raise UsageError(f"{file} has alerts, and tests are not to tell anybody", "leave them out here")
            self.dqctl("apply", "--file", str(file))
        return tuple(system.name for system in declared.systems)

    def suites(self, systems: Iterable[str]) -> tuple[dict[str, Any], ...]:
        """The suites of systems: ``system``, ``name``, ``id``, ``tests`` (how many)."""
        shown = (self.dqctl("systems", "show", system) for system in systems)
        return tuple(suite for each in shown for group in each["table_groups"] for suite in group["suites"])

    def generate(self, system: str) -> None:
        """Profile the tables of a system and generate the tests of its suites."""
        self.dqctl("profile", system)
        self.dqctl("generate", system)

    def run_tests(self, suites: Iterable[str], fail_on: str | None = None) -> dict[str, tuple[Outcome, ...]]:
        """Run suites, each ``system/suite``; the outcomes of those that ran to their end.

        Raises ``CommandFailed`` when there is nothing to tell.
        """
        asked = ("--fail-on", fail_on) if fail_on else ()
        said = self.dqctl("run-tests", *suites, *asked, codes=_TOLD)
        return outcomes_of(said)


@dataclass(frozen=True)
class System:
    """A system that a test has declared."""

    name: str
    stack: Stack

    def generate(self) -> None:
        """Profile its tables and generate the tests of its suites."""
        self.stack.generate(self.name)

    def run_tests(self, fail_on: str | None = None) -> tuple[Outcome, ...]:
        """Run the tests of all its suites; every test's outcome, the worst first."""
        found = self.stack.run_tests([f"{self.name}/*"], fail_on)
        return tuple(outcome for each in found.values() for outcome in each)
