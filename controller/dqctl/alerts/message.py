"""A message for people: what matters in the subject, at most some thirty lines below, the worst first."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dqctl.alerts.alert import Alert
from dqctl.alerts.rules import Severity, When
from dqctl.alerts.telling import Known, News

LINES = 30
_LONGEST = 160
_WORDS = {
    When.RUN_FAILED: ("run broke", "runs broke"),
    When.PUBLISH_FAILING: ("results are not published", "results are not published"),
    When.RUN_LATE: ("suite is late", "suites are late"),
    When.REPEATED: ("test fails again and again", "tests fail again and again"),
    When.FAILED: ("test failed", "tests failed"),
    When.ERROR: ("test could not be evaluated", "tests could not be evaluated"),
    When.SCORE_DROP: ("score dropped", "scores dropped"),
    When.WARNING: ("test warns", "tests warn"),
}


@dataclass(frozen=True)
class Message:
    """What is sent. No line holds a value out of the data."""

    subject: str
    body: str
    severity: Severity


def compose(news: News, stack: str, link: str = "", size: int | None = None) -> Message:
    """The message about ``news``, which has something to say; ``link`` leads to the results.

    Subject and body together have at most ``size`` characters: fewer lines say how many more there are.
    """
    shown = LINES
    message = _compose(news, stack, link, shown)
    while size is not None and len(message.subject) + len(message.body) > size and shown:
        shown -= 1
        message = _compose(news, stack, link, shown)
    if size is None or len(message.subject) + len(message.body) <= size:
        return message
    subject = message.subject[:size]
    return Message(subject, message.body[: size - len(subject)], message.severity)


def _compose(news: News, stack: str, link: str, lines: int) -> Message:
    alerts = [each.alert for each in news.began]
    subject = f"dqctl {stack}: {_essence(news, alerts)}"
    first = [f"{news.still:,} more that were said before still stand"] if news.still else []
    last = [*_next_steps(alerts), *([link] if link else [])]
    body = [*_blocks(news)]
    room = max(0, lines - len(first) - len(last) - 2)
    shown = body[:room]
    if left := sum(line.startswith("  ") for line in body[room:]):
        shown.append(f"and {left:,} more")
    text = "\n".join(_cut(line) for line in [*shown, *first])
    worst = min((each.severity for each in alerts), key=lambda each: each.rank, default=Severity.INFO)
    return Message(_cut(subject), "\n\n".join(part for part in (text, "\n".join(last)) if part), worst)


def test_message(stack: str, route: str) -> Message:
    """What ``dqctl alerts test`` sends."""
    return Message(
        f"dqctl {stack}: this is a test",
        f"Nothing is wrong. Somebody tried the route {route} with: dqctl alerts test",
        Severity.INFO,
    )


def _essence(news: News, alerts: Sequence[Alert]) -> str:
    if not alerts:
        found = news.ended or news.passed
        word = "good again" if news.ended else "failed and passed again"
        return f"{_places([each.alert for each in found])}: {len(found):,} {word}"
    ordered = sorted((alert.when for alert in alerts if alert.when), key=lambda when: when.rank)
    counts = [(when, len(list(each))) for when, each in groupby(ordered)]
    said = ", ".join(f"{_number(when, count)}{_WORDS[when][count > 1]}" for when, count in counts)
    places = _places(alerts)
    return f"{places}: {said}" if places else said


def _number(when: When, count: int) -> str:
    return "" if when is When.PUBLISH_FAILING else f"{count:,} "


def _places(alerts: Sequence[Alert]) -> str:
    found = sorted({alert.where for alert in alerts if alert.where})
    return f"{len(found):,} suites" if len(found) > 2 else " and ".join(found)


def _blocks(news: News) -> Iterator[str]:
    yield from _block(news.began)
    if news.passed:
        yield "Failed and passed again while this could not be sent:"
        yield from (f"  {each.alert.where}  {_summary(each.alert)}" for each in news.passed)
    if news.ended:
        yield "Good again:"
        yield from (f"  {each.alert.where}  {_summary(each.alert)}" for each in news.ended)


def _block(began: Iterable[Known]) -> Iterator[str]:
    of: dict[tuple[str, str], list[Alert]] = {}
    for each in began:  # sorted: the worst suite is first
        of.setdefault((each.alert.where, each.alert.run_id), []).append(each.alert)
    for (where, run_id), alerts in of.items():
        yield " ".join(part for part in (where or "the stack", f"(run {run_id})" if run_id else "") if part)
        yield from (f"  {alert.severity.value}: {_said(alert)}" for alert in alerts)


def _said(alert: Alert) -> str:
    message = alert.annotations.get("message", "")
    return f"{_summary(alert)}: {message}" if message else _summary(alert)


def _summary(alert: Alert) -> str:
    return alert.annotations.get("summary", "")


def _next_steps(alerts: Sequence[Alert]) -> list[str]:
    runs = list(dict.fromkeys(alert.run_id for alert in alerts if alert.run_id))
    steps = [f"dqctl results {run_id}" for run_id in runs[:3]]
    if any(alert.when is When.PUBLISH_FAILING for alert in alerts):
        steps.append("dqctl publish --pending")
    return steps


def _cut(line: str) -> str:
    whole = " ".join(line.split()) if not line.startswith("  ") else "  " + " ".join(line.split())
    return whole if len(whole) <= _LONGEST else whole[: _LONGEST - 1] + "…"
