"""What the rules make of the newest runs. Pure: the same facts lead to the same alerts, however often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from dqctl.alerts.alert import NAMES, Alert
from dqctl.alerts.rules import OF_TESTS, Rule, When
from dqctl.crontimes import next_time

_STATUSES = {When.FAILED: "Failed", When.REPEATED: "Failed", When.ERROR: "Error", When.WARNING: "Warning"}
# A test that could not be evaluated has not passed, and one that fails again has not either: what fired goes on.
_UNCLEAR = {When.FAILED: ("Error",), When.WARNING: ("Error",), When.REPEATED: ("Error", "Failed")}


@dataclass(frozen=True)
class Finding:
    """A test that did not pass in its suite's newest completed run.

    ``test`` tells it from others in the same place, and is empty where there can be none. ``status`` is TestGen's
    word, ``times`` how many runs in a row, the newest included, had it. ``message`` holds no value of the data.
    """

    table: str
    column: str
    test_type: str
    test: str
    status: str
    times: int = 1
    message: str = ""
    description: str = ""


@dataclass(frozen=True)
class Subject:
    """What runs are about: a suite, or a table group (then ``suite`` is empty), and how its newest run ended.

    Times are UTC. ``run_id`` and ``status`` are of the newest run that ended, None when none ever did.
    ``findings`` and ``scores`` (the newest first) are of completed test runs, ``completed_id`` is the newest one.
    ``since`` is when a suite was seen first.
    """

    kind: str
    system: str
    table_group: str
    suite: str = ""
    run_id: str = ""
    status: str | None = None
    error: str | None = None
    ended_at: datetime | None = None
    last_success: datetime | None = None
    completed_id: str = ""
    completed_at: datetime | None = None
    scores: Sequence[float | None] = ()
    findings: Sequence[Finding] = ()
    since: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """A stack at one moment. ``unpublished`` finished runs wait, the oldest of which ended ``unpublished_since``.

    ``declared`` is since when a rule is in force, by its name: before that nothing can be late.
    """

    stack: str
    now: datetime
    subjects: Sequence[Subject] = ()
    unpublished: int = 0
    unpublished_since: datetime | None = None
    declared: Mapping[str, datetime] | None = None


def evaluate(rules: Sequence[Rule], facts: Facts) -> dict[str, Alert]:
    """The alerts that should be firing, by fingerprint."""
    return {alert.fingerprint: alert for rule in rules for alert in _of_rule(rule, facts)}


def unclear(rules: Sequence[Rule], facts: Facts) -> frozenset[str]:
    """Fingerprints of alerts that would not fire now, but go on if they do: nothing says that it is good again."""
    return frozenset(
        alert.fingerprint
        for rule in rules
        for when in rule.when
        for subject in facts.subjects
        if rule.covers(subject.system, subject.table_group, subject.suite)
        for alert, _ in _found(rule, when, facts, subject, _UNCLEAR.get(when, ()))
    )


def is_judged(alert: Alert, rules: Sequence[Rule], facts: Facts) -> bool:
    """Whether the rule of an alert still looks at what it is about; else nobody knows whether it is good."""
    of = alert.labels
    system, group, suite = (of.get(name, "") for name in ("system", "table_group", "suite"))
    rule = next((each for each in rules if each.name == of.get("rule")), None)
    if rule is None or alert.when not in rule.when or rule.severity is not alert.severity:
        return False
    if alert.when is When.PUBLISH_FAILING:
        return True
    if alert.when in OF_TESTS and not rule.covers_test(*(of.get(x, "") for x in ("table", "column", "test_type"))):
        return False
    places = {(each.system, each.table_group, each.suite) for each in facts.subjects}
    return rule.covers(system, group, suite) and (system, group, suite) in places


def _of_rule(rule: Rule, facts: Facts) -> Iterator[Alert]:
    for when in rule.when:
        if when is When.PUBLISH_FAILING:
            yield from _unpublished(rule, facts)
            continue
        for subject in facts.subjects:
            if not rule.covers(subject.system, subject.table_group, subject.suite):
                continue
            if when in OF_TESTS:
                yield from _tests(rule, when, facts, subject)
            elif when is When.RUN_FAILED:
                yield from _broken(rule, facts, subject)
            elif when is When.RUN_LATE:
                yield from _late(rule, facts, subject)
            else:
                yield from _dropped(rule, facts, subject)


def _tests(rule: Rule, when: When, facts: Facts, subject: Subject) -> Iterator[Alert]:
    for alert, times in _found(rule, when, facts, subject, (_STATUSES[when],)):
        if when is not When.REPEATED or times >= rule.times:
            yield alert


def _found(
    rule: Rule, when: When, facts: Facts, subject: Subject, statuses: Sequence[str]
) -> Iterator[tuple[Alert, int]]:
    """The alerts about tests of these statuses, and for how many runs in a row they have had it."""
    for each in subject.findings:
        if each.status not in statuses or not rule.covers_test(each.table, each.column, each.test_type):
            continue
        place = ".".join(part for part in (each.table, each.column) if part)
        summary = f"{place or subject.suite}: {each.test_type.replace('_', ' ')}"
        if when is When.REPEATED:
            summary += f" failed {each.times} times in a row"
        elif when is When.ERROR:
            summary += " could not be evaluated"
        alert = _alert(
            rule, when, facts, subject, summary, subject.completed_id, subject.completed_at,
            labels={"table": each.table, "column": each.column, "test_type": each.test_type, "test": each.test},
            annotations={"message": each.message, "test_description": each.description},
        )  # fmt: skip
        yield alert, each.times


def _broken(rule: Rule, facts: Facts, subject: Subject) -> Iterator[Alert]:
    if subject.status in (None, "completed"):
        return
    what = {"test": "tests", "profile": "profile", "generate": "test generation"}[subject.kind]
    ended = "was canceled" if subject.status == "canceled" else "broke"
    yield _alert(
        rule, When.RUN_FAILED, facts, subject, f"{subject.suite or subject.table_group}: the {what} {ended}",
        subject.run_id, subject.ended_at,
        labels={"kind": subject.kind}, annotations={"message": subject.error or ""},
    )  # fmt: skip


def _late(rule: Rule, facts: Facts, subject: Subject) -> Iterator[Alert]:
    if subject.kind != "test":
        return
    declared = (facts.declared or {}).get(rule.name, facts.now)
    # Of a suite that was never tested: since there is one, and the rule has been asking for it.
    last = subject.last_success or max(declared, subject.since or declared)
    until = _expected(rule, last)
    if until is None or facts.now <= until:
        return
    said = f"last tested {last:%Y-%m-%d %H:%M} UTC" if subject.last_success else "never tested"
    due = f"at {rule.at} ({rule.timezone})" if rule.at else f"every {rule.every / 3600:g} h"
    yield _alert(rule, When.RUN_LATE, facts, subject, f"{subject.suite}: {said}, expected {due}", "", None)


def _expected(rule: Rule, last: datetime) -> datetime | None:
    """By when a suite that was tested ``last`` has to be tested again."""
    if not rule.at:
        return last + timedelta(seconds=rule.every)
    zone = ZoneInfo(rule.timezone)
    due = next_time(rule.at, last.astimezone(zone).replace(tzinfo=None))
    return due and due.replace(tzinfo=zone).astimezone(UTC) + timedelta(seconds=rule.within)


def _dropped(rule: Rule, facts: Facts, subject: Subject) -> Iterator[Alert]:
    newest, *earlier = subject.scores or (None,)
    known = [score for score in earlier[: rule.over] if score is not None]
    if newest is None or not known:
        return
    before = median(known)
    if round(before - newest, 9) < rule.drop:  # 0.95 - 0.9 is a little less than 0.05
        return
    summary = f"{subject.suite}: the score fell from {_score(before)} to {_score(newest)}"
    yield _alert(rule, When.SCORE_DROP, facts, subject, summary, subject.completed_id, subject.completed_at)


def _unpublished(rule: Rule, facts: Facts) -> Iterator[Alert]:
    since = facts.unpublished_since
    if not facts.unpublished or since is None or (facts.now - since).total_seconds() <= rule.after:
        return
    runs = "1 finished run is" if facts.unpublished == 1 else f"{facts.unpublished:,} finished runs are"
    summary = f"{runs} not published, the oldest since {since:%Y-%m-%d %H:%M} UTC"
    yield _alert(rule, When.PUBLISH_FAILING, facts, None, summary, "", since)


def _score(value: float) -> str:
    return f"{round(value * 100, 1):g} %"


def _alert(
    rule: Rule,
    when: When,
    facts: Facts,
    subject: Subject | None,
    summary: str,
    run_id: str,
    since: datetime | None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Alert:
    of = {"system": subject.system, "table_group": subject.table_group, "suite": subject.suite} if subject else {}
    every = {
        "alertname": NAMES[when],
        "severity": rule.severity.value,
        "rule": rule.name,
        "stack": facts.stack,
        **of,
        **(labels or {}),
    }
    said = {"summary": summary, **(annotations or {}), "run": run_id}
    # To Alertmanager an empty label is none at all: it must not tell two alerts apart here either.
    return Alert(
        {name: value for name, value in every.items() if value},
        {name: value for name, value in said.items() if value},
        run_id,
        since or facts.now,
    )
