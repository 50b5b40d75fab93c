"""What a change did to the tests: newly broken, mended, still broken, new, gone; against the base, suite by suite.

Without a base nothing was broken before, so that all that fails is newly broken.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from dqctl.errors import ExitCode, worst
from dqctl.report.comparison import Change, Pair, compare
from dqctl.report.model import Kind, Run, RunReport
from dqctl.report.options import FailOn
from dqctl.report.results import Status
from dqctl.report.verdict import failing

SuiteName = tuple[str, str]
"""A system and its suite: what a suite is known by in every stack."""


def suite_name(report: RunReport) -> SuiteName:
    """What the suite of a test run is known by."""
    return report.run.system or "", report.run.test_suite or ""


@dataclass(frozen=True)
class Baseline:
    """The newest test run of each suite of the base, and the file that it was read from."""

    path: Path
    runs: Mapping[SuiteName, RunReport]


class Effect(StrEnum):
    """What a change did to a test, what needs a look first."""

    BROKEN = "Newly broken"
    MENDED = "Mended"
    GONE = "Gone"
    WARNS = "Newly warns"
    STILL = "Still broken"
    NEW = "New"
    ELSE = "As before"


@dataclass(frozen=True)
class SuiteReview:
    """One suite's run, and what became of its tests since the base's run, if there is one."""

    report: RunReport
    fail_on: FailOn
    base: Run | None
    pairs: tuple[Pair, ...]

    @property
    def name(self) -> str:
        """``system/suite``."""
        return "/".join(suite_name(self.report))

    def of(self, effect: Effect) -> tuple[Pair, ...]:
        """The tests to which that happened, the worst first."""
        return self._by_effect.get(effect, ())

    @cached_property
    def _by_effect(self) -> dict[Effect, tuple[Pair, ...]]:
        found: dict[Effect, list[Pair]] = {}
        for pair in self.pairs:
            found.setdefault(_effect(pair, self.fail_on), []).append(pair)
        return {effect: tuple(sorted(pairs, key=_rank)) for effect, pairs in found.items()}

    @property
    def exit_code(self) -> ExitCode:
        """What the run earns: by ``fail_on``, for what is newly broken alone."""
        codes = [] if self.report.run.completed else [ExitCode.TESTGEN]
        for pair in self.of(Effect.BROKEN):
            if pair.test.status is Status.ERROR:
                codes += [] if self.fail_on is FailOn.NEVER else [ExitCode.TESTGEN]
            elif pair.test.status in failing(self.fail_on):
                codes.append(ExitCode.DATA_TESTS_FAILED)
        return worst(codes)


@dataclass(frozen=True)
class Review:
    """All suites. ``not_run`` was asked for and has no run, ``left_out`` are suites that only the base has."""

    suites: tuple[SuiteReview, ...]
    has_base: bool
    not_run: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def of(self, effect: Effect) -> Iterator[tuple[SuiteReview, Pair]]:
        """The tests to which that happened, with their suites."""
        return ((suite, pair) for suite in self.suites for pair in suite.of(effect))

    def count(self, effect: Effect) -> int:
        """How many tests that happened to."""
        return sum(len(suite.of(effect)) for suite in self.suites)

    @property
    def incomplete(self) -> tuple[SuiteReview, ...]:
        """Suites whose run did not finish."""
        return tuple(suite for suite in self.suites if not suite.report.run.completed)

    @property
    def exit_code(self) -> ExitCode:
        """The worst of all suites."""
        return worst([suite.exit_code for suite in self.suites])


def review(
    reports: Sequence[RunReport],
    fails_on: Callable[[RunReport], FailOn],
    baseline: Baseline | None,
    not_run: Sequence[str] = (),
) -> Review:
    """Set the test runs of suites beside those of the base. Of several runs of a suite the last one counts."""
    newest = {suite_name(report): report for report in reports if report.run.kind is Kind.TEST}
    suites = tuple(_suite(report, fails_on(report), baseline) for report in newest.values())
    only_base: list[SuiteName] = [name for name in baseline.runs if name not in newest] if baseline else []
    left_out = tuple(name for name in map("/".join, only_base) if name not in not_run)
    return Review(suites, baseline is not None, tuple(not_run), left_out)


def _suite(report: RunReport, fail_on: FailOn, baseline: Baseline | None) -> SuiteReview:
    base = baseline.runs.get(suite_name(report)) if baseline else None
    if base is None:
        pairs = tuple(Pair(Change.NEW, result, None, result) for result in report.results)
        return SuiteReview(report, fail_on, None, pairs)
    return SuiteReview(report, fail_on, base.run, compare(base, report).pairs)


def _effect(pair: Pair, fail_on: FailOn) -> Effect:
    before, after = pair.before and pair.before.status, pair.after and pair.after.status
    if after is None:
        return Effect.GONE
    bad = failing(FailOn.WARNING if fail_on is FailOn.WARNING else FailOn.FAIL) | {Status.ERROR}
    if after in bad:
        # What could not be evaluated has not passed: that it fails now is no news. The other way round it is.
        was_bad = before is Status.ERROR if after is Status.ERROR else before in bad and not _worse(before, after)
        return Effect.STILL if was_bad else Effect.BROKEN
    if before in bad:
        return Effect.MENDED
    if before is None:
        return Effect.NEW
    return Effect.WARNS if after is Status.WARNING and before is not Status.WARNING else Effect.ELSE


def _worse(before: Status | None, after: Status) -> bool:
    return before is Status.WARNING and after is Status.FAILED


def _rank(pair: Pair) -> tuple[int, str, str, str, str]:
    test = pair.test
    return test.status.rank, test.table or "", test.column or "", test.test_type, test.id
