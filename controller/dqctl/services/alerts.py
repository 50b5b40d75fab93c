"""Alerts: what the newest runs are worth saying, said once to everybody who is to know, by whoever works.

Kept in the metadata database is what fires and what each receiver knows of it; a message is the difference. So who
could not be reached is told the next time, and a look that finds nothing new says nothing. What a receiver was
told is written down when it has answered: killed in between, dqctl says it twice rather than never.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from dqctl.alerts import alertmanager, chat, telling
from dqctl.alerts.alert import Alert
from dqctl.alerts.evaluation import Facts, evaluate, is_judged, unclear
from dqctl.alerts.message import compose, test_message
from dqctl.alerts.rules import Alerting, Route, When
from dqctl.alerts.telling import KnownAlerts, News, Told, ToldAlerts
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent
from dqctl.report.samples import NOT_SHOWN, VALUED_TESTS, without_values
from dqctl.report.words import counted
from dqctl.runtime import Runtime, open_runtime
from dqctl.services.keys import keys_of
from dqctl.services.pages import seen_from_here
from dqctl.services.target import name_of_target
from dqctl.services.waiting import in_utc, known, waiting
from dqctl.settings import Settings
from dqctl.testgen import exclusive
from dqctl.testgen.alerting import facts, store
from dqctl.testgen.alerting.store import Declared, Receiver
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import MetadataReader

log = logging.getLogger(__name__)

# For another that is just telling: as long as several receivers that do not answer may take.
_WAIT = 120.0
_APPLY_AGAIN = "give it again: dqctl apply -f the systems file"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Sent:
    """What one receiver was told: how many alerts began, ended, or came and went while it was out of reach."""

    receiver: str
    began: int
    ended: int
    passed: int = 0


@dataclass(frozen=True)
class AlertReport:
    """What a look came to. ``errors`` are receivers that could not be reached, and what else kept them from being
    told: none of it is lost.
    """

    firing: int = 0
    began: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    sent: tuple[Sent, ...] = ()
    errors: tuple[DqctlError, ...] = ()


@dataclass(frozen=True)
class Listed:
    """An alert that fires, and the receivers that know it."""

    fingerprint: str
    since: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    told: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """Everything about a stack's alerts: what fires, what is declared, how receivers answered last."""

    firing: tuple[Listed, ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()
    routes: tuple[Mapping[str, Any], ...] = ()
    receivers: tuple[Receiver, ...] = ()


@dataclass(frozen=True)
class Tried:
    """A test message: ``error`` is what the receiver answered when it did not take it."""

    receiver: str
    error: DqctlError | None = None


@dataclass
class _Look:
    """One look, while it lasts."""

    settings: Settings
    runtime: Runtime
    connection: Connection
    alerting: Alerting
    facts: Facts
    wanted: Mapping[str, Alert]
    known: KnownAlerts
    now: datetime
    progress: Progress
    link: str
    sent: list[Sent] = field(default_factory=list)
    errors: list[DqctlError] = field(default_factory=list)

    def mine(self, route: Route) -> dict[str, Alert]:
        """The alerts that fire and go this way."""
        return {
            fingerprint: alert
            for fingerprint, alert in self.wanted.items()
            if route in self.alerting.routes_of(alert.labels["rule"])
        }

    def tell(self, route: Route, told: Mapping[str, ToldAlerts]) -> None:
        """Tell a route what is new to it."""
        mine = self.mine(route)
        for receiver in route.receivers:
            knows = told.get(receiver, {})
            if route.chat is not None:
                news = telling.for_people(route.chat, self.known, mine, knows, self.now, self._is_judged)
            else:
                news = telling.for_alertmanager(self.known, mine, knows, self.now)
            # Some of it may have arrived: the end of that has to be told, too.
            waiting: dict[str, Told | None] = {
                each: Told.PENDING for each in news.pending if knows.get(each) is not Told.FIRING
            }
            error = None if news.is_silent else self._send(route, receiver, news)
            with self.connection.transaction():
                if not news.is_silent:
                    store.answered(self.connection, receiver, self.now, error.message if error else None)
                store.tell(self.connection, receiver, waiting if error else news.after)
            if error:
                log.warning("%s", error.message)
                self.errors.append(error)
            elif not news.is_silent:
                self._told(receiver, news, knows)

    def _is_judged(self, alert: Alert) -> bool:
        return is_judged(alert, self.alerting.effective, self.facts)

    def _send(self, route: Route, receiver: str, news: News) -> DqctlError | None:
        try:
            if route.chat is not None:
                sender = chat.Sender(route)
                sender.send(compose(news, self.settings.stack, self.link, sender.size))
            else:
                sending = _manager(route, receiver, self.runtime)
                sending.send((*news.began, *news.ended), self.now, self.link)
        except DqctlError as error:
            return error
        return None

    def _told(self, receiver: str, news: News, knew: ToldAlerts) -> None:
        # Alertmanager hears all that fires; new to it is only a part.
        began = sum(knew.get(each.alert.fingerprint) is not Told.FIRING for each in news.began)
        if began or news.ended or news.passed:
            self.progress(f"told {receiver}: {counted(began, 'new alert')}, {len(news.ended)} ended")
            self.sent.append(Sent(receiver, began, len(news.ended), len(news.passed)))


def raise_alerts(
    settings: Settings, runtime: Runtime, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> AlertReport:
    """Look what is worth an alert now, and tell every receiver what is new to it; to Alertmanager all that fires.

    Nothing declared, it is one cheap look. Raises no ``DqctlError``: what went wrong is in the report, since the
    results are there all the same, and what could not be said is said the next time.
    """
    try:
        with runtime.metadata() as connection:
            if not store.is_made(connection):
                return AlertReport()
            with exclusive.alone(connection, exclusive.ALERTS, _WAIT, clock):
                return _look(settings, runtime, connection, progress, clock)
    except DqctlError as error:
        return AlertReport(errors=(error,))
    except psycopg.Error as error:  # a metadata schema that we do not know: no reason to lose results
        fault = EnvironmentFault(f"alerts could not be raised: {error}", "see dqctl doctor; the results are there")
        return AlertReport(errors=(fault,))


def overview(settings: Settings, *, progress: Progress = silent) -> Overview:
    """What fires and what is declared, without secrets; nothing is evaluated or sent."""
    runtime = open_runtime(settings, progress)
    with runtime.metadata() as connection:
        if not store.is_made(connection):
            return Overview()
        declared = store.read(connection, keys_of(runtime.paths))
        told = store.told(connection)
        known = store.alerts(connection)
        return Overview(
            tuple(
                Listed(
                    fingerprint,
                    each.alert.since,
                    each.alert.labels,
                    each.alert.annotations,
                    tuple(sorted(who for who, knows in told.items() if knows.get(fingerprint) is Told.FIRING)),
                )
                for fingerprint, each in sorted(known.items(), key=lambda item: item[1].alert.order)
                if each.is_firing
            ),
            tuple(store.of_rule(rule) for rule in (declared.alerting.effective if _counts(declared) else ())),
            tuple(store.of_route(route) for route in declared.alerting.routes),
            store.receivers(connection),
        )


def try_routes(
    settings: Settings, name: str | None = None, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> tuple[Tried, ...]:
    """Send a message that says it is a test to every receiver (of one route); what they answered.

    ``UsageError`` when there is no such route, or none.
    """
    runtime = open_runtime(settings, progress)
    with runtime.metadata() as connection:
        declared = store.read(connection, keys_of(runtime.paths))
    routes = declared.alerting.routes
    names = [*(route.name for route in routes), *declared.lost]
    if not names:
        raise UsageError("no route is declared", "declare one below alerts in the systems file: docs/alerts.md")
    if name is not None and name not in names:
        raise UsageError(f"there is no route {name}", f"there are: {', '.join(sorted(names))}")
    tried = [
        Tried(receiver, _try(route, receiver, settings, runtime, clock))
        for route in routes
        if name in (None, route.name)
        for receiver in route.receivers
    ]
    return (*tried, *(Tried(each, _lost(each)) for each in declared.lost if name in (None, each)))


def _manager(route: Route, receiver: str, runtime: Runtime) -> alertmanager.Sender:
    url = receiver.removeprefix(f"{route.name} ")
    return alertmanager.Sender(route, seen_from_here(url, runtime.paths, runtime.record))


def _try(route: Route, receiver: str, settings: Settings, runtime: Runtime, clock: Clock) -> DqctlError | None:
    try:
        if route.chat is not None:
            chat.Sender(route).send(test_message(settings.stack, route.name))
        else:
            _manager(route, receiver, runtime).test(settings.stack, clock.now())
    except DqctlError as error:
        return error
    return None


def _look(
    settings: Settings, runtime: Runtime, connection: Connection, progress: Progress, clock: Clock
) -> AlertReport:
    declared = store.read(connection, keys_of(runtime.paths))
    connection.rollback()
    now = clock.now()
    rules = declared.alerting.effective
    found = _facts(settings, runtime, connection, declared, now)
    wanted = evaluate(rules, found)
    with connection.transaction():
        stored, told = store.alerts(connection), store.told(connection)
        for fingerprint in unclear(rules, found):
            if fingerprint in stored and stored[fingerprint].is_firing:
                wanted.setdefault(fingerprint, stored[fingerprint].alert)
        changed = telling.changes(stored, wanted, now)
        store.change(connection, changed)
        for route in declared.alerting.routes:
            if route.chat is not None:
                knows = told.setdefault(route.name, {})
                anew = telling.forgotten(route.chat, stored, wanted, knows, now)
                store.tell(connection, route.name, dict.fromkeys(anew))
                for fingerprint in anew:
                    del knows[fingerprint]
    look = _Look(
        settings,
        runtime,
        connection,
        declared.alerting,
        found,
        wanted,
        {**stored, **changed},
        now,
        progress,
        _link(settings),
    )
    for route in declared.alerting.routes:
        look.tell(route, told)
    look.errors.extend(_lost(name) for name in declared.lost)
    look.errors.extend(_unknown(what) for what in declared.unknown)
    return AlertReport(
        len(wanted),
        tuple(each.alert for each in changed.values() if each.is_firing and _is_new(each.alert, stored)),
        tuple(each.alert for each in changed.values() if not each.is_firing),
        tuple(look.sent),
        tuple(look.errors),
    )


def _is_new(alert: Alert, stored: KnownAlerts) -> bool:
    return alert.fingerprint not in stored or not stored[alert.fingerprint].is_firing


def _counts(declared: Declared) -> bool:
    return bool(declared.alerting.rules or declared.alerting.routes or declared.lost)


def _facts(
    settings: Settings, runtime: Runtime, connection: Connection, declared: Declared, now: datetime
) -> Facts:
    if not _counts(declared):
        return Facts(settings.stack, now)
    version = capabilities(runtime.version)
    rules = declared.alerting.effective
    if any(When.RUN_LATE in rule.when for rule in rules):
        store.see_suites(connection, now)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        subjects = facts.read(connection, version, rules, _quoted)
    unpublished, since = 0, None
    if any(When.PUBLISH_FAILING in rule.when for rule in rules):
        unpublished, since = _unpublished(
            settings, MetadataReader(connection, version, settings.stack), connection
        )
    return Facts(settings.stack, now, subjects, unpublished, since, declared.since)


def _unpublished(
    settings: Settings, reader: MetadataReader, connection: Connection
) -> tuple[int, datetime | None]:
    """How many finished runs wait, and since when the oldest does."""
    try:
        target = name_of_target(settings)
    except DqctlError:  # there is nowhere to publish to
        return 0, None
    ledger = Ledger(connection)
    ledger.ensure()
    found = waiting(reader.finished_runs(), known(ledger, target), (), None)
    connection.rollback()
    return len(found), min((in_utc(run.ended_at) for run in found if run.ended_at), default=None)


def _quoted(test_type: str, status: str, message: str | None) -> str:
    """What of a message leaves the house: no value out of the data, as in a report."""
    if not message:
        return ""
    if status == "Error":
        return without_values(message) or ""
    return NOT_SHOWN if test_type in VALUED_TESTS else message


def _lost(name: str) -> DqctlError:
    return EnvironmentFault(
        f"the secret of route {name} is sealed under other keys than those of this stack", _APPLY_AGAIN
    )


def _unknown(what: str) -> DqctlError:
    return EnvironmentFault(
        f"another version of dqctl declared the {what} for alerts, and this one cannot read it", _APPLY_AGAIN
    )


def _link(settings: Settings) -> str:
    """The results in Databricks' catalog explorer, where a host is set."""
    host = None if settings.workspace else settings.databricks_host
    place = f"{settings.catalog}/{settings.schema_name}/dq_test_results"
    return f"https://{host}/explore/data/{place}" if host else ""
