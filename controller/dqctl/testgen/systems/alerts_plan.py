"""What applying the ``alerts`` of a systems file changes. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from dqctl.alerts.rules import OPTIONS, Alerting
from dqctl.testgen.alerting import store
from dqctl.testgen.systems.described import Kind
from dqctl.testgen.systems.plan import HIDDEN, Action, Change, Difference


def plan(wanted: Alerting, stored: Alerting, lost: tuple[str, ...] = ()) -> tuple[Action, ...]:
    """What applying ``wanted`` changes; ``lost`` are stored routes whose secrets cannot be read any more."""
    return (
        *_plan(Kind.ALERT_ROUTE, _routes(wanted), _routes(stored), lost),
        *_plan(Kind.ALERT_RULE, _rules(wanted), _rules(stored), ()),
    )


# Of a rule about lateness, by whether it names a time.
_UNUSED = {True: ("every",), False: ("at", "timezone", "within")}
_DURATIONS = ("every", "within", "after", "keep", "quiet")
_UNITS = (("h", 3600), ("m", 60))

_Values = Mapping[str, Mapping[str, Any]]


def _plan(kind: Kind, wanted: _Values, stored: _Values, lost: tuple[str, ...]) -> Iterator[Action]:
    for name in sorted((stored.keys() | set(lost)) - wanted.keys()):
        yield Action(Change.REMOVE, kind, "", name)
    for name, values in wanted.items():
        before = stored.get(name)
        columns = sorted(values.keys() | (before or {}).keys())
        differences = tuple(
            _difference(column, (before or {}).get(column), values.get(column))
            for column in columns
            if (before or {}).get(column) != values.get(column)
        )
        change = Change.CREATE if before is None and name not in lost else Change.UPDATE
        yield Action(change if differences else Change.UNCHANGED, kind, "", name, differences=differences)


def _difference(column: str, before: Any, after: Any) -> Difference:
    if isinstance(before or after, SecretStr):
        return Difference(column, before and HIDDEN, after and HIDDEN)
    return Difference(column, before, after)


def _rules(alerting: Alerting) -> dict[str, dict[str, Any]]:
    return {
        rule.name: _said(
            {
                name: value
                for name, value in store.of_rule(rule).items()
                # Defaults of what this rule does not ask for say nothing.
                if OPTIONS.get(name, rule.when[0]) in rule.when and name not in _UNUSED[bool(rule.at)]
            }
        )
        for rule in alerting.rules
    }


def _routes(alerting: Alerting) -> dict[str, dict[str, Any]]:
    return {route.name: {**_said(store.of_route(route)), **route.secrets} for route in alerting.routes}


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they stand in the file, for people to read."""
    found = {name: value for name, value in values.items() if name != "name" and value not in (None, [], "")}
    for name, value in found.items():
        if name in _DURATIONS:
            found[name] = _duration(value)
        elif isinstance(value, float):
            found[name] = f"{value:g}"
        elif isinstance(value, list):
            found[name] = ", ".join(value)
    return found


def _duration(seconds: float) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds and seconds % size == 0), ("s", 1))
    return f"{seconds / size:g}{unit}"
