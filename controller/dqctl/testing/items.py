"""Data tests as pytest items: ``systems.yaml::suite::test_type[table.column]``.

Which tests there are is known when a stack has the systems: it comes up while pytest collects, once for all
workers, and what it knows is told to all of them, so that they collect the same items in the same order. A suite
runs as a whole, so the suites of all selected items are run once, when the first of them is.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dqctl.errors import DqctlError, TestGenFailed, UsageError
from dqctl.testing.commands import CommandFailed
from dqctl.testing.outcomes import DataQualityWarning, Outcome
from dqctl.testing.plugin import run_of
from dqctl.testing.session import NotMade, TestRun
from dqctl.testing.stack import Stack

_LONGEST = 80
# What a place in a node's id cannot hold.
_SPOKEN = str.maketrans({"\n": " ", "\r": " ", "\t": " ", ":": "_"})


class DataTestFailed(Exception):  # noqa: N818 - named for what it is
    """A data test failed."""


class SystemsFile(pytest.File):
    """A systems file. Its items are of one run, whatever they were selected by."""

    def collect(self) -> Iterator["Suite"]:
        """The suites, with the tests that they have now."""
        from dqctl.testgen.systems import document

        try:
            declared = document.read(self.path)
            self._systems = [system.name for system in declared.systems]
            found = _written(self.run.options.definitions, self._systems) or self._tests()
        except (NotMade, DqctlError, CommandFailed) as error:
            raise self.CollectError(str(getattr(error, "message", error)) + _hint(error)) from None
        names = Counter(suite["name"] for suite in found)
        for suite in found:
            path = f"{suite['system']}/{suite['name']}"
            name = suite["name"] if names[suite["name"]] == 1 else path
            yield Suite.from_parent(self, name=_spoken(name), suite=path, tests=suite["tests"])

    @property
    def run(self) -> TestRun:
        """The run that this process is part of."""
        return run_of(self.config)

    @property
    def stack(self) -> Stack:
        """The stack that has the systems."""
        return self.run.stack(self.path)

    def outcomes(self, selected: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
        """What the tests of the suites came to, by their place (``_place``); run if nobody has yet."""
        suites = sorted(selected)

        def run() -> dict[str, Any]:
            if self.stack.is_own:
                self._tests()
            said = self.stack.run_tests(suites, self.run.options.fail_on)
            found = [vars(each) for outcomes in said.values() for each in outcomes]
            return _by_place(found, "definition_id")

        found: Mapping[str, Mapping[str, Any]] = self.run.once(f"outcomes of {self.path}", run)
        return found

    def _tests(self) -> list[dict[str, Any]]:
        """The tests that the suites have in the stack, which is there then."""
        found: list[dict[str, Any]] = self.run.once(
            f"tests of {self.path}", lambda: _tests(self.stack, self._systems)
        )
        return found


class Suite(pytest.Collector):
    """A test suite."""

    def __init__(self, *, suite: str, tests: Sequence[Mapping[str, Any]], **given: Any) -> None:
        super().__init__(**given)
        self.suite = suite
        self._tests = tests

    def collect(self) -> Iterator["DataTest"]:
        """Its tests, by table, column and type."""
        known: Counter[str] = Counter()
        for place, test in _by_place([{**each, "suite": self.suite} for each in self._tests], "id").items():
            about = ".".join(part for part in (test["table"], test["column"]) if part)
            name = f"{test['test_type']}[{_shortened(_spoken(about))}]"
            known[name] += 1
            if known[name] > 1:
                name = f"{name[:-1]} #{known[name]}]"
            yield DataTest.from_parent(self, name=name, test=test, place=place)


class DataTest(pytest.Item):
    """One data test."""

    parent: Suite

    def __init__(self, *, test: Mapping[str, Any], place: str, **given: Any) -> None:
        super().__init__(**given)
        self._place = place
        system, suite = self.parent.suite.split("/", 1)
        values = {"system": system, "suite": suite, **{name: test[name] for name in _MARKED}}
        self.add_marker(pytest.mark.dq(**{name: value.lower() for name, value in values.items() if value}))

    @property
    def file(self) -> SystemsFile:
        """The systems file that it is of."""
        found: SystemsFile = self.parent.parent  # type: ignore[assignment]  # as Suite.from_parent was told
        return found

    def runtest(self) -> None:
        """See what it came to."""
        try:
            found = self.file.outcomes(self._selected())
        except NotMade as error:
            if error.is_first:
                raise
            pytest.skip(f"not run: {error.message} (one test says more)")
        if self._place not in found:
            raise DataTestFailed("its suite has run without it: it was removed, deactivated, or is not generated")
        outcome = Outcome(**found[self._place])
        self.user_properties.extend(outcome.properties)
        if outcome.fails:
            raise DataTestFailed(outcome.text)
        if outcome.skipped:
            pytest.skip(outcome.headline)
        if outcome.status not in ("Passed", "Log"):
            warnings.warn(DataQualityWarning(f"{self.nodeid}: {outcome.headline}"), stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong with the data, without a traceback through this file."""
        if isinstance(excinfo.value, _SPEAKING):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """What reports call it."""
        return self.path, None, f"{self.parent.name}::{self.name}"

    def _selected(self) -> set[str]:
        """The suites of all items of the file that are to run, the same ones in every worker."""
        items = (item for item in self.session.items if isinstance(item, DataTest) and item.file is self.file)
        return {item.parent.suite for item in items}


_SPEAKING = (DataTestFailed, DataQualityWarning, NotMade, DqctlError, CommandFailed)
_MARKED = ("test_type", "table", "column", "severity", "dimension")


def _tests(stack: Stack, systems: Sequence[str]) -> list[dict[str, Any]]:
    """The suites with their tests; a stack of the run's own generates those of suites that have none."""
    suites = stack.suites(systems)
    if stack.is_own:
        empty = {suite["system"] for suite in suites if not suite["tests"]}
        for system in sorted(empty):
            stack.generate(system)
    found = [
        {"system": each["system"], "name": each["name"], "tests": _definitions(stack, each["id"])}
        for each in sorted(suites, key=lambda suite: (suite["system"], suite["name"]))
    ]
    for each in found:
        # A file without items would pass, whatever the data is.
        if stack.is_own and not each["tests"]:
            raise TestGenFailed(
                f"suite {each['system']}/{each['name']} has no tests: its tables are not there, or none were made",
                "see that its schema is the one that is seeded, and what its table group includes",
            )
    return found


def _definitions(stack: Stack, suite_id: str) -> list[dict[str, Any]]:
    return _read(stack.dqctl("definitions", suite_id))


def _written(files: Iterable[Path], systems: Sequence[str]) -> list[dict[str, Any]]:
    """The suites of ``systems`` with their tests, of files with what ``dqctl definitions`` printed."""
    suites: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in files:
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            for system, suite in {(row["system"], row["test_suite"]) for row in said["definitions"]}:
                if system in systems:
                    suites[system, suite] = _read(said)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{file} has no definitions: {error!r}", f"dqctl --output json definitions SUITE > {file.name}"
            ) from None
    return [{"system": system, "name": suite, "tests": tests} for (system, suite), tests in sorted(suites.items())]


def _by_place(tests: Iterable[Mapping[str, Any]], id_name: str) -> dict[str, Mapping[str, Any]]:
    """Tests by what they are about: a test that is generated anew, in another stack, has another id.

    Those of one place are numbered.
    """
    known: Counter[str] = Counter()
    found = {}
    for test in sorted(tests, key=lambda each: str(each[id_name])):
        place = json.dumps([test[name] or "" for name in ("suite", "table", "column", "test_type")])
        known[place] += 1
        found[f"{place} {known[place]}"] = test
    return dict(sorted(found.items()))


def _read(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": row["id"],
            "test_type": row["test_type"],
            "table": row["table_name"],
            "column": row["column_name"],
            **said["judged"].get(row["id"], {"severity": None, "dimension": None}),
        }
        for row in said["definitions"]
        if row["test_active"] == "Y"
    ]


def _hint(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"\nhint: {hint}" if hint else ""


def _spoken(text: str) -> str:
    return text.translate(_SPOKEN)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
