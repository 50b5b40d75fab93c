"""What a change did to the tests, as Markdown for a pull request and a job's summary, and as plain text."""

from collections.abc import Iterator

from dqctl.report.comparison import Pair
from dqctl.report.markdown import SIGNS, Section, code, fitted, table, text
from dqctl.report.results import Result
from dqctl.report.review import Effect, Review, SuiteReview
from dqctl.report.words import NOTHING, count, counted, enumeration, moment

_HEAD = ["Suite", "Table", "Column", "Test", "Before", "Now", "Measure", "Threshold", "Finding"]
# Effects that have a table of their own; the others are counted.
_LISTED = (Effect.BROKEN, Effect.MENDED, Effect.GONE, Effect.WARNS, Effect.STILL)
_FOLDED = frozenset({Effect.WARNS.value, Effect.STILL.value, "Suites"})
_COUNTED = tuple(Effect)
# Lines of plain text about single tests; the files have all.
_ROWS = 30


def headline(review: Review) -> str:
    """The review in one sentence."""
    if not (review.suites or review.not_run):
        return "No suite was tested."
    broken, mended = review.count(Effect.BROKEN), review.count(Effect.MENDED)
    if not review.has_base:
        parts = [f"{counted(broken, 'test')} failed or could not be evaluated"] if broken else []
    else:
        parts = [f"{counted(broken, 'test is', 'tests are')} newly broken"] if broken else []
        parts += [f"{counted(mended, 'test is', 'tests are')} mended"] if mended else []
    if review.incomplete:
        parts.append(f"{counted(len(review.incomplete), 'test run')} did not finish")
    if review.not_run:
        parts.append(f"{counted(len(review.not_run), 'suite')} did not run")
    if parts:
        return f"{enumeration(parts)}."
    return "No test is newly broken, and none mended." if review.has_base else "No test failed."


def render_markdown_review(review: Review) -> str:
    """The review as Markdown that fits into a comment; hostile names and messages stay text."""
    is_bad = review.count(Effect.BROKEN) or review.incomplete or review.not_run
    sign = "❌" if is_bad else "✅" if review.suites else "⚪"
    counts = [[count(review.count(effect)) for effect in _COUNTED]]
    parts = [
        f"## {sign} {text(headline(review))}",
        "  \n".join(text(sentence) for sentence in _sentences(review)),
        "\n".join(table([effect.value for effect in _COUNTED], counts)) if review.suites else "",
    ]
    sections = [_section(review, effect) for effect in _LISTED if review.count(effect)]
    if len(review.suites) > 1:
        sections.append(_suites(review))
    return fitted("\n\n".join(part for part in parts if part), sections, _FOLDED)


def _sentences(review: Review) -> Iterator[str]:
    if not review.has_base:
        yield "There is nothing to compare with yet: all that fails counts as newly broken."
    for suite in review.incomplete[:_ROWS]:
        yield f"The test run of {suite.name} did not finish: {suite.report.run.error_message or 'no reason given'}"
    if review.not_run:
        yield f"Not run: {_some(review.not_run)}."
    if review.left_out:
        yield f"Only the base has run: {_some(review.left_out)}."
    if new := [suite.name for suite in review.suites if suite.base is None] if review.has_base else []:
        yield f"The base does not know: {_some(new)}. Each of their tests is new."
    if broken := [suite.name for suite in review.suites if suite.base and not suite.base.completed]:
        yield f"The base's own run did not finish, so that tests may seem new: {_some(broken)}."


def _some(names: list[str] | tuple[str, ...]) -> str:
    return enumeration([*names[:5], f"{len(names) - 5:,} more"]) if len(names) > 6 else enumeration(list(names))


def _section(review: Review, effect: Effect) -> Section:
    return effect.value, _HEAD, [_row(suite, pair) for suite, pair in review.of(effect)]


def _row(suite: SuiteReview, pair: Pair) -> list[str]:
    test = pair.test
    return [
        *(code(suite.report.name), code(test.table), code(test.about), text(test.name)),
        *(_outcome(pair.before), _outcome(pair.after)),
        *(_measured(test), text(test.threshold), text(test.message)),
    ]


def _outcome(result: Result | None) -> str:
    return SIGNS[result.status] if result else NOTHING


def _measured(test: Result) -> str:
    return text(f"{test.measure} ({test.unit})" if test.measure and test.unit else test.measure)


def _suites(review: Review) -> Section:
    rows = [
        [
            code(suite.name),
            *(count(len(suite.of(effect))) for effect in _COUNTED),
            code(suite.report.run.run_id),
            moment(suite.base.started_at) if suite.base else NOTHING,
        ]
        for suite in review.suites
    ]
    return "Suites", ["Suite", *(effect.value for effect in _COUNTED), "Run", "Base's run"], rows


def render_text_review(review: Review) -> str:
    """The review as plain text: what is newly broken, mended and gone in a line each, the rest in figures."""
    lines = [headline(review), *_sentences(review)]
    for effect in (Effect.BROKEN, Effect.MENDED, Effect.GONE):
        found = list(review.of(effect))
        lines += [_line(effect, suite, pair) for suite, pair in found[:_ROWS]]
        if len(found) > _ROWS:
            lines.append(f"... and {len(found) - _ROWS:,} more {effect.value.lower()}")
    lines.append(" · ".join(f"{effect.value.lower()} {review.count(effect):,}" for effect in _COUNTED))
    return "\n".join(lines)


def _line(effect: Effect, suite: SuiteReview, pair: Pair) -> str:
    test = pair.test
    place = ".".join(part for part in (test.table, test.about) if part)
    was = pair.before.status.value if pair.before else "new"
    became = pair.after.status.value if pair.after else "gone"
    said = " ".join((test.message or "").split())
    said = said if len(said) <= 200 else f"{said[:199]}…"
    about = f"{suite.name}: {place}: {test.name}" if place else f"{suite.name}: {test.name}"
    return f"{effect.value.upper()}  {about}: {was} -> {became}" + (f": {said}" if said else "")
