"""What a data test came to, as pytest is told: from the object that ``dqctl run-tests`` prints."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dqctl.testing.commands import LOGS, CommandFailed, failure, has_failed

# What fails, by --fail-on; as dqctl.report.verdict has it.
_FAILING = {
    "fail": ("Failed", "Error"),
    "warning": ("Failed", "Warning", "Error"),
    "error": ("Error",),
    "never": (),
}


class DataQualityWarning(UserWarning):
    """A data test ended with a warning, or failed where that is not to fail anything (``--dq-fail-on``)."""


@dataclass(frozen=True)
class Outcome:
    """One data test of a run. ``status`` is TestGen's word: Passed, Failed, Warning, Log or Error.

    ``fails``: it counts as failed, by ``--fail-on`` or by what the suite's declaration says. ``skipped``: TestGen
    does not judge it yet, as a monitor in training.
    """

    definition_id: str
    suite: str
    test_type: str
    table: str | None
    column: str | None
    name: str
    status: str
    fails: bool
    skipped: bool
    message: str | None
    checks: str | None
    measure: str | None
    unit: str | None
    threshold: str | None
    severity: str | None
    dimension: str | None
    result_id: str
    run_id: str

    @property
    def headline(self) -> str:
        """What there is to say, in one line."""
        return f"{self.status}: {self.message or self.name}"

    @property
    def text(self) -> str:
        """What there is to say."""
        place = ".".join(part for part in (self.table, self.column) if part)
        lines = [self.headline, f"  test       {self.name} ({self.test_type}) of {place or 'no single table'}"]
        measured = f"{self.measure} ({self.unit})" if self.unit else self.measure
        named = (
            ("measure", measured if self.measure is not None else None),
            ("threshold", self.threshold),
            ("severity", self.severity),
            ("dimension", self.dimension),
            ("checks", self.checks),
            ("run", self.run_id),
        )
        return "\n".join([*lines, *(f"  {name:<10} {value}" for name, value in named if value)])

    @property
    def properties(self) -> tuple[tuple[str, str], ...]:
        """What JUnit XML has of it, as properties of the test case."""
        named = {name: value for name, value in asdict(self).items() if name not in ("fails", "skipped", "checks")}
        return tuple((f"dq_{name}", str(value)) for name, value in named.items() if value is not None)


def outcomes_of(said: Mapping[str, Any]) -> dict[str, tuple[Outcome, ...]]:
    """The outcomes by ``system/suite``. ``CommandFailed`` when a suite's job did not end well."""
    replaced = {each["run_id"] for each in said["retries"]}
    found: dict[str, tuple[Outcome, ...]] = {}
    for report in said["runs"]:
        run = report["run"]
        if run["run_id"] in replaced:
            continue
        suite = f"{run['system']}/{run['test_suite']}"
        if has_failed(run):
            raise CommandFailed(failure(run), LOGS, 4)
        failing = _FAILING[said["fail_on"][run["run_id"]]]
        found[suite] = tuple(_outcome(each, suite, run["run_id"], failing) for each in report["results"])
    if not found:
        error = said.get("error") or {"message": "no suite was run", "hint": ""}
        raise CommandFailed(error["message"], error["hint"], said["exit_code"])
    return found


def _outcome(result: Mapping[str, Any], suite: str, run_id: str, failing: Iterable[str]) -> Outcome:
    taken = (
        "test_type", "table", "column", "name", "status", "skipped", "message", "checks", "measure", "unit",
        "threshold", "severity", "dimension",
    )  # fmt: skip
    return Outcome(
        definition_id=result["definition_id"] or "",
        suite=suite,
        result_id=result["id"],
        run_id=run_id,
        fails=result["status"] in failing and not result["skipped"],
        **{name: result[name] for name in taken},
    )
