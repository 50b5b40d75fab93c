"""The ``alerts`` of a systems file: rules and routes.

The section is a whole: what leaves it is gone, a file without it leaves alerts alone. The key is ``when``, since
YAML 1.1 reads ``on`` as true.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from dqctl.alerts import chat, rules
from dqctl.alerts.rules import Alerting, Route, Rule, Severity, When
from dqctl.crontimes import checked_time, next_time
from dqctl.errors import UsageError
from dqctl.testgen.systems.references import SecretReference, Sources
from dqctl.testgen.systems.strict import Strict, text

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_LONGEST = 400 * 86400


def _seconds(value: Any) -> float:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) * _UNITS[found[2]] > _LONGEST:
        raise PydanticCustomError("duration", "a time is written as 90s, 10m, 26h or 7d, at most 400d")
    return float(found[1]) * _UNITS[found[2]]


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, good = urlsplit(""), False
    if not good or parts.query or parts.fragment:
        raise PydanticCustomError("url", "an Alertmanager's URL is http://HOST:PORT or https://HOST:PORT/PREFIX")
    if "@" in parts.netloc:
        raise PydanticCustomError("literal_secret", "no user and no secret in the URL: write user and password")
    return value.rstrip("/")


def _time_of_cron(value: str) -> str:
    try:
        checked = checked_time(value)
    except UsageError as error:
        raise PydanticCustomError(
            "cron", "{message}: {hint}", {"message": error.message, "hint": error.hint}
        ) from None
    if next_time(checked, datetime(2000, 1, 1)) is None:  # noqa: DTZ001 - cron's times have no zone
        raise PydanticCustomError("cron", "that time never comes")
    return checked


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("timezone", "a time zone is written as Europe/Berlin or UTC") from None
    return value


def _at_least_one(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # As in the declaration: min_length would count the valid ones only.
    if not values:
        raise PydanticCustomError("none", "name at least one")
    return values


def _without_on(value: Any) -> Any:
    if isinstance(value, Mapping) and True in value:
        raise PydanticCustomError("on", "write when in place of on, which YAML takes for true")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_seconds)]
Pattern = Annotated[str, text(200)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]
_TESTS = ("tables", "columns", "test_types")
_PLACES = ("systems", "table_groups", "suites")


class AlertRule(Strict):
    """What is worth an alert; see ``dqctl.alerts.rules.Rule`` for the meaning and the defaults."""

    name: Name
    when: Annotated[tuple[When, ...], BeforeValidator(_listed), AfterValidator(_at_least_one)]
    severity: Severity = Severity.WARNING
    systems: Patterns = ()
    table_groups: Patterns = ()
    suites: Patterns = ()
    tables: Patterns = ()
    columns: Patterns = ()
    test_types: Patterns = ()
    routes: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    times: int | None = Field(default=None, ge=2, le=20)
    drop: float | None = Field(default=None, gt=0, le=1)
    over: int | None = Field(default=None, ge=1, le=20)
    every: Duration | None = None
    at: Annotated[str, AfterValidator(_time_of_cron)] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    within: Duration | None = None
    after: Duration | None = None

    @model_validator(mode="after")
    def _fits(self) -> "AlertRule":
        for option, when in rules.OPTIONS.items():
            if getattr(self, option) is not None and when not in self.when:
                raise PydanticCustomError(
                    "option", "{option} is for rules with when: {when}", {"option": option, "when": when.value}
                )
        if self.at is not None and self.every is not None:
            raise PydanticCustomError("either", "every and at are two ways to say when: write one of them")
        if self.at is None and (self.timezone is not None or self.within is not None):
            raise PydanticCustomError("needs", "timezone and within belong to at")
        for names, allowed in (
            (_TESTS, rules.OF_TESTS),
            (_PLACES, frozenset(When) - {When.PUBLISH_FAILING}),
        ):
            given = next((name for name in names if getattr(self, name)), None)
            other = next((when for when in self.when if when not in allowed), None)
            if given and other:
                raise PydanticCustomError(
                    "selector",
                    "{given} says nothing about {when}: make two rules of it",
                    {"given": given, "when": other.value},
                )
        return self

    def rule(self) -> Rule:
        """The rule, with the defaults for what the file does not say."""
        return Rule(**{name: value for name, value in dict(self).items() if value is not None})


class AlertmanagerRoute(Strict):
    """Prometheus Alertmanagers; ``ca`` is a file with certificates, relative to the systems file."""

    urls: Annotated[
        tuple[Annotated[str, text(500), AfterValidator(_url)], ...],
        BeforeValidator(_listed),
        AfterValidator(_at_least_one),
    ]
    keep: Duration | None = None
    user: Annotated[str, text(200)] | None = None
    password: SecretReference | None = None
    token: SecretReference | None = None
    ca: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> "AlertmanagerRoute":
        if (self.user is None) != (self.password is None):
            raise PydanticCustomError("needs", "user and password belong together")
        if self.password and self.token:
            raise PydanticCustomError("either", "password and token are two ways to sign in: write one of them")
        if len(set(self.urls)) < len(self.urls):
            raise PydanticCustomError("name", "an Alertmanager stands here twice")
        return self


class AlertRoute(Strict):
    """Who is told: an Alertmanager, or whatever an Apprise URL leads to."""

    name: Name
    alertmanager: AlertmanagerRoute | None = None
    apprise: SecretReference | None = None
    quiet: Duration | None = None
    resolved: bool | None = None

    @model_validator(mode="after")
    def _fits(self) -> "AlertRoute":
        if (self.alertmanager is None) == (self.apprise is None):
            raise PydanticCustomError("either", "a route has alertmanager or apprise, one of the two")
        if self.alertmanager and (self.quiet is not None or self.resolved is not None):
            raise PydanticCustomError(
                "option", "quiet and resolved are for apprise: Alertmanager decides itself what it says when"
            )
        return self

    def route(self, sources: Sources) -> Route:
        """The route with its secrets; ``UsageError`` for one that is not there, or no URL of Apprise."""
        whose = f"route {self.name}"
        if self.apprise is not None:
            url = sources.find(self.apprise, whose)
            chat.check(url, whose)
            said = {"quiet": self.quiet, "resolved": self.resolved}
            told = {name: value for name, value in said.items() if value is not None}
            return Route(self.name, chat=rules.Chat(**told), secrets={rules.URL: url})  # type: ignore[arg-type]  # by name
        assert self.alertmanager  # noqa: S101 - one of the two
        wanted = self.alertmanager
        keep = {} if wanted.keep is None else {"keep": wanted.keep}
        ca = None if wanted.ca is None else _certificates(sources.base / wanted.ca.expanduser(), whose)
        secrets: dict[str, SecretStr] = {}
        for name, reference in ((rules.PASSWORD, wanted.password), (rules.TOKEN, wanted.token)):
            if reference is not None:
                secrets[name] = sources.find(reference, whose)
        return Route(self.name, rules.Alertmanager(wanted.urls, user=wanted.user, ca=ca, **keep), secrets=secrets)


class Alerts(Strict):
    """All rules and routes of a stack."""

    rules: tuple[Annotated[AlertRule, BeforeValidator(_without_on)], ...] = ()
    routes: tuple[AlertRoute, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Alerts":
        for kind, parts in (("rule", self.rules), ("route", self.routes)):
            names = [part.name for part in parts]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise PydanticCustomError("name", "{kind} {name} is declared twice", {"kind": kind, "name": twice})
        known = {route.name for route in self.routes}
        for rule in self.rules:
            if unknown := next((name for name in rule.routes if name not in known), None):
                about = {"rule": rule.name, "route": unknown, "known": ", ".join(sorted(known)) or "none"}
                raise PydanticCustomError("route", "rule {rule} names route {route}; routes: {known}", about)
        return self

    def alerting(self, sources: Sources) -> Alerting:
        """What is declared, with the secrets of its routes."""
        return Alerting(
            tuple(sorted((each.rule() for each in self.rules), key=lambda rule: rule.name)),
            tuple(sorted((each.route(sources) for each in self.routes), key=lambda route: route.name)),
        )


def _certificates(path: Path, whose: str) -> str:
    try:
        found = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{whose} names {path}, which cannot be read: {error}", "check the path") from None
    if "-----BEGIN CERTIFICATE-----" not in found:
        raise UsageError(f"{whose} names {path}, which holds no certificate", "it is to be PEM")
    return found
