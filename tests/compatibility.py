"""docs/compatibility.md, made of what tests marked ``feature(area, name)`` came to in a run.

``scripts/test --compatibility write`` writes the page; with ``check`` a run of all tests fails when the page says
something else.
"""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dqctl.localworkspace.sql import (
    clause_rules,  # noqa: F401 - registers its rules
    function_rules,  # noqa: F401 - registers its rules
    overflows,  # noqa: F401 - registers its rule
    query_rules,  # noqa: F401 - registers its rules
    retrying,  # noqa: F401 - registers rules
)
from dqctl.localworkspace.sql.rules import RULES
from dqctl.localworkspace.sql.second_tries import SECOND_TRIES

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
AREAS = ("Clients", "SQL", "REST", "Faults", "Limits")
ENGINES = ("Sail", "Spark")
_PROPERTY = "feature"
_HEAD = """# What the local workspace can do

Made by the tests (`scripts/test --compatibility write`), which say what each line means: `grep -rn 'NAME' tests`.
A line is **yes** on an engine when all its tests passed there, **no** when one failed, and empty when none was run
with it: what goes over the wire is tried with the embedded engine (Sail) alone.
"""
_GAPS = """
## Gaps of the embedded engine that are closed

Each by one rule of `sql/*rules.py` or `sql/second_tries.py` in `controller/dqctl/localworkspace`. A test shows the
gap itself: with a version of the engine that has closed it, that test fails, and the rule goes.

| rule | gap | found in |
|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Feature:
    """What a user would look for."""

    area: str
    name: str


class Outcomes(dict[tuple[Feature, str], bool]):
    """Whether all tests of a feature passed on an engine."""

    def add(self, report: pytest.TestReport) -> None:
        """What a phase of a test came to."""
        if report.skipped or (report.when != "call" and report.passed):
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                area, feature, engine = str(value).split("\t")
                key = Feature(area, feature), engine
                self[key] = self.get(key, True) and report.passed


def mark(items: Iterable[pytest.Item]) -> None:
    """Let the reports of marked tests say which feature they are about."""
    for item in items:
        for found in item.iter_markers("feature"):
            area, name = found.args
            if area not in AREAS:
                raise pytest.UsageError(f"{item.nodeid}: an area is one of {', '.join(AREAS)}, not {area!r}")
            engine = "Spark" if item.get_closest_marker("spark") else "Sail"
            item.user_properties.append((_PROPERTY, f"{area}\t{name}\t{engine}"))


def render(cells: dict[tuple[Feature, str], str]) -> str:
    """The page."""
    by_area: defaultdict[str, set[Feature]] = defaultdict(set)
    for feature, _ in cells:
        by_area[feature.area].add(feature)
    parts = [_HEAD]
    for area in AREAS:
        if features := by_area.get(area):
            rows = [
                f"| {feature.name} | {' | '.join(cells.get((feature, engine), '') for engine in ENGINES)} |"
                for feature in sorted(features, key=lambda each: each.name.lower())
            ]
            parts.append("\n".join([f"\n## {area}\n", f"| | {' | '.join(ENGINES)} |", "|---|---|---|", *rows, ""]))
    gaps = "".join(f"| {each.name} | {each.gap} | {each.found_in} |\n" for each in (*RULES, *SECOND_TRIES))
    return "".join((*parts, _GAPS, gaps))


def _cells(page: str) -> dict[tuple[Feature, str], str]:
    found: dict[tuple[Feature, str], str] = {}
    area = ""
    for line in page.splitlines():
        if line.startswith("## "):
            area = line[3:]
        elif area in AREAS and line.startswith("| ") and not line.startswith("| |"):
            name, *values = (cell.strip() for cell in line.strip("|").split(" | "))
            found |= {(Feature(area, name), engine): value for engine, value in zip(ENGINES, values, strict=True)}
    return found


def settle(outcomes: Outcomes, what: str) -> Iterator[str]:
    """Write the page, or say how it differs from what was seen."""
    seen = {key: "yes" if good else "no" for key, good in outcomes.items()}
    if what == "write":
        PAGE.write_text(render(seen), encoding="utf-8")
        return
    page = PAGE.read_text(encoding="utf-8")
    if not any(engine == "Spark" for _, engine in seen):  # this machine has none: believed
        features = {feature for feature, _ in seen}
        seen |= {key: cell for key, cell in _cells(page).items() if key[1] == "Spark" and key[0] in features}
    new = render(seen)
    yield from difflib.unified_diff(
        page.splitlines(), new.splitlines(), "docs/compatibility.md", "seen", lineterm=""
    )
