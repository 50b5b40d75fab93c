"""Two test runs side by side: what began to fail, what passes again, what is new, what is gone.

A test is the same in both when its definition is; where TestGen made definitions anew, or in another stack, when
it stands in the same place (table, columns, type). Of several in one place those are the same that check the same;
what is alike in that, too, is paired in the order in which the reports have it.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dqctl.errors import UsageError
from dqctl.records import Place
from dqctl.report.model import Kind, Run, RunReport
from dqctl.report.results import Result, Status, Tally
from dqctl.report.summary import Level, Summary
from dqctl.report.words import counted, enumeration, moment

_FAILING = frozenset({Status.FAILED, Status.ERROR})


class Change(StrEnum):
    """What became of a test from one run to the other, what needs a look first."""

    BEGAN = "Began to fail"
    STILL = "Still fails"
    PASSES = "Passes again"
    NEW = "New"
    GONE = "Gone"
    CHANGED = "Changed"
    SAME = "Same"

    @property
    def rank(self) -> int:
        """0 for what needs a look first."""
        return _RANKS[self]


_RANKS = {change: rank for rank, change in enumerate(Change)}


@dataclass(frozen=True)
class Pair:
    """One test in both runs: ``test`` as the later run has it, else the earlier one.

    ``before`` or ``after`` is missing where only one run had it.

    Failing means failed or not evaluated; a warning that comes or goes is a change, also in place of a failure. A
    test whose outcome is the same is ``CHANGED`` when its measure, threshold or message is another.
    """

    change: Change
    test: Result
    before: Result | None
    after: Result | None


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison says. ``pairs`` has what needs a look first."""

    name: str
    before: Run
    after: Run
    before_tally: Tally
    after_tally: Tally
    generated_at: datetime
    samples: bool
    pairs: tuple[Pair, ...]

    @property
    def run(self) -> Run:
        """The run that the comparison is about: the later one."""
        return self.after

    def of(self, change: Change) -> tuple[Pair, ...]:
        """The tests with which that happened."""
        return tuple(pair for pair in self.pairs if pair.change is change)

    @property
    def counts(self) -> dict[Change, int]:
        """How many tests of each change, none left out."""
        found = Counter(pair.change for pair in self.pairs)
        return {change: found[change] for change in Change}


def compare(before: RunReport, after: RunReport) -> Comparison:
    """The comparison of two test runs. Raises ``UsageError`` when one of them is none."""
    for report in (before, after):
        if report.run.kind is not Kind.TEST:
            raise UsageError(
                f"run {report.run.run_id} is a {report.run.kind.value} run: only test runs are compared",
                "name two test runs; see dqctl runs --kind test",
            )
    pairs = _pairs(before, after)
    return Comparison(
        after.name,
        before.run,
        after.run,
        before.tally,
        after.tally,
        after.generated_at,
        after.samples,
        tuple(sorted(pairs, key=lambda p: (p.change.rank, p.test.status.rank, _place(p.test), p.test.id))),
    )


def _pairs(before: RunReport, after: RunReport) -> Iterator[Pair]:
    earlier, later = list(before.results), list(after.results)
    for key in _KEYS:
        standing: dict[Hashable, deque[Result]] = {}
        for result in earlier:
            if (known := key(result)) is not None:
                standing.setdefault(known, deque()).append(result)
        paired, left = set(), []
        for result in later:
            if queue := standing.get(key(result)):
                match = queue.popleft()
                paired.add(id(match))
                yield Pair(_change(match, result), result, match, result)
            else:
                left.append(result)
        earlier, later = [each for each in earlier if id(each) not in paired], left
    yield from (Pair(Change.NEW, new, None, new) for new in later)
    yield from (Pair(Change.GONE, gone, gone, None) for gone in earlier)


def _place(result: Result) -> Place:
    return Place(result.table or "", result.column or "", result.test_type)


# What a test is known by in another run, the surest first. A person may have made several of one type in one
# place: they are told apart by what they check.
_KEYS: tuple[Callable[[Result], Hashable], ...] = (
    lambda result: result.definition_id,
    lambda result: (_place(result), result.checks, result.query, result.parameters),
    lambda result: (_place(result), result.checks, result.query),
    lambda result: (_place(result), result.checks),
    _place,
)


def _change(before: Result, after: Result) -> Change:
    failed, fails = before.status in _FAILING, after.status in _FAILING
    if fails:
        return Change.STILL if failed else Change.BEGAN
    if failed and after.status is not Status.WARNING:
        return Change.PASSES
    return Change.SAME if _said(before) == _said(after) else Change.CHANGED


def _said(result: Result) -> tuple[str | None, ...]:
    return result.status.value, result.measure, result.threshold, result.message


def summarize_comparison(comparison: Comparison) -> Summary:
    """What to tell somebody who was not there."""
    counts = comparison.counts
    began, passes, still = counts[Change.BEGAN], counts[Change.PASSES], counts[Change.STILL]
    new_failing = sum(1 for pair in comparison.of(Change.NEW) if pair.test.status in _FAILING)
    parts = [f"{counted(began, 'test')} began to fail"] if began else []
    parts += [f"{counted(passes, 'test passes', 'tests pass')} again"] if passes else []
    headline = f"{enumeration(parts)}." if parts else "No test began to fail, and none passes again."
    said = [f"{counted(still, 'test still fails', 'tests still fail')}."] if still else []
    if counts[Change.NEW]:
        failing = f", {new_failing:,} of them failing" if new_failing else ""
        said.append(f"{counted(counts[Change.NEW], 'test is', 'tests are')} new{failing}.")
    if counts[Change.GONE]:
        said.append(f"{counted(counts[Change.GONE], 'test is', 'tests are')} gone.")
    said += [_unlike(comparison)] if _unlike(comparison) else []
    if not (comparison.before.completed and comparison.after.completed):
        level = Level.BROKEN
        said.append("A run that did not finish lacks tests: what is new or gone may be so for that reason alone.")
    elif began or new_failing:
        level = Level.FAILED
    elif still:
        level = Level.WARNING
    else:
        level = Level.GOOD
    return Summary(level, headline, tuple(said))


def _unlike(comparison: Comparison) -> str:
    before, after = comparison.before, comparison.after
    if before.started_at and after.started_at and before.started_at > after.started_at:
        return "The run that is compared with is the later one."
    if (before.system, before.test_suite) != (after.system, after.test_suite):
        return f"The other run is of another suite: {before.system} / {before.test_suite}."
    return ""


def run_in_words(run: Run) -> str:
    """Which run it is: when it began, and its id."""
    return f"{moment(run.started_at)}, run {run.run_id}"
