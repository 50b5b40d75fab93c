"""Rules, routes and alerts in the metadata database: schema ``dqctl``, beside TestGen's.

Rules are kept there because the systems file is not where cron is; routes with their secrets, sealed under the
stack's keys as TestGen encrypts those of connections, because the variables of the one who applied it are not
either. All is saved with the state but for how receivers answered last, so that after a restore nobody is told
again what he knows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from pydantic import SecretStr, TypeAdapter, ValidationError

from dqctl.alerts.alert import Alert
from dqctl.alerts.rules import Alerting, Route, Rule
from dqctl.alerts.telling import Known, Told
from dqctl.errors import UsageError
from dqctl.redaction import register, reveal
from dqctl.testgen.state.sealing import Keys

Connection = psycopg.Connection[tuple[Any, ...]]

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    "CREATE TABLE IF NOT EXISTS dqctl.alert_rules"
    " (name text PRIMARY KEY, rule jsonb NOT NULL, since timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE IF NOT EXISTS dqctl.alert_routes"
    " (name text PRIMARY KEY, route jsonb NOT NULL, secrets jsonb NOT NULL)",
    "CREATE TABLE IF NOT EXISTS dqctl.alerts (fingerprint text PRIMARY KEY, labels jsonb NOT NULL,"
    " annotations jsonb NOT NULL, run_id text NOT NULL, since timestamptz NOT NULL, resolved_at timestamptz)",
    "CREATE TABLE IF NOT EXISTS dqctl.alert_told (receiver text NOT NULL, fingerprint text NOT NULL,"
    " told text NOT NULL, PRIMARY KEY (receiver, fingerprint))",
    "CREATE TABLE IF NOT EXISTS dqctl.alert_receivers (receiver text PRIMARY KEY, answered_at timestamptz,"
    " failing_since timestamptz, error text)",
)
# Made when a rule first asks for suites that are late.
_CREATE_SUITES = (
    "CREATE TABLE IF NOT EXISTS dqctl.alert_suites (suite_id uuid PRIMARY KEY, since timestamptz NOT NULL)"
)
_KEPT = "30 days"  # after it was resolved, an alert that nobody waits for
_RULE, _ROUTE = TypeAdapter(Rule), TypeAdapter(Route)


@dataclass(frozen=True)
class Declared:
    """What is in force. ``since`` is when each rule came; ``lost`` are routes whose secrets cannot be opened.

    ``unknown`` are rules and routes that another version of dqctl declared and this one cannot read.
    """

    alerting: Alerting = field(default_factory=Alerting)
    since: Mapping[str, datetime] | None = None
    lost: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receiver:
    """How one receiver answered last; ``error`` is why it does not since ``failing_since``. Times are UTC."""

    name: str
    answered_at: datetime | None
    failing_since: datetime | None
    error: str | None


def is_made(connection: Connection) -> bool:
    """Whether alerts were ever declared; one cheap look."""
    return connection.execute("SELECT to_regclass('dqctl.alert_receivers') IS NOT NULL").fetchone() == (True,)


def of_rule(rule: Rule) -> dict[str, Any]:
    """The rule as it is kept."""
    kept: dict[str, Any] = _RULE.dump_python(rule, mode="json")
    return kept


def of_route(route: Route) -> dict[str, Any]:
    """The route as it is kept, without its secrets."""
    kept: dict[str, Any] = _ROUTE.dump_python(replace(route, secrets={}), mode="json")
    of = kept.get("alertmanager") or kept.get("chat") or {}
    return {"name": route.name, "kind": "alertmanager" if route.alertmanager else "apprise", **of}


def read(connection: Connection, keys: Keys) -> Declared:
    """What is declared, routes with their secrets."""
    if not is_made(connection):
        return Declared()
    rules, since, unknown = [], {}, []
    for name, rule, came in connection.execute(
        "SELECT name, rule, since FROM dqctl.alert_rules ORDER BY name"
    ).fetchall():
        try:
            rules.append(_RULE.validate_python(rule))
        except ValidationError:
            unknown.append(f"rule {name}")
            continue
        since[name] = came
    routes, lost = [], []
    for name, route, sealed in connection.execute(
        "SELECT name, route, secrets FROM dqctl.alert_routes ORDER BY name"
    ).fetchall():
        try:
            secrets = {each: SecretStr(keys.show(_place(name, each), text)) for each, text in sealed.items()}
        except UsageError:
            lost.append(name)
            continue
        register(*secrets.values())
        try:
            routes.append(replace(_ROUTE.validate_python(route), secrets=secrets))
        except ValidationError:
            unknown.append(f"route {name}")
    return Declared(Alerting(tuple(rules), tuple(routes)), since, tuple(lost), tuple(unknown))


def write(connection: Connection, keys: Keys, wanted: Alerting) -> None:
    """Have ``wanted`` in force, and nothing else. A rule that stays keeps its age."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in _CREATE:
            connection.execute(statement.encode())
        for table, kept in (("alert_rules", wanted.rules), ("alert_routes", wanted.routes)):
            names = [each.name for each in kept]
            connection.execute(f"DELETE FROM dqctl.{table} WHERE NOT name = ANY(%s)".encode(), [names])  # noqa: S608 - our own names
        for rule in wanted.rules:
            connection.execute(
                "INSERT INTO dqctl.alert_rules (name, rule) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET rule = EXCLUDED.rule",
                [rule.name, Jsonb(of_rule(rule))],
            )
        for route in wanted.routes:
            whole = _ROUTE.dump_python(replace(route, secrets={}), mode="json")
            sealed = {each: keys.hide(_place(route.name, each), reveal(s)) for each, s in route.secrets.items()}
            connection.execute(
                "INSERT INTO dqctl.alert_routes (name, route, secrets) VALUES (%s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET route = EXCLUDED.route, secrets = EXCLUDED.secrets",
                [route.name, Jsonb(whole), Jsonb(sealed)],
            )
        # Who is no receiver any more is told nothing, also not the end of what he knows.
        receivers = [each for route in wanted.routes for each in route.receivers]
        connection.execute("DELETE FROM dqctl.alert_told WHERE NOT receiver = ANY(%s)", [receivers])
        connection.execute("DELETE FROM dqctl.alert_receivers WHERE NOT receiver = ANY(%s)", [receivers])


def reseal(connection: Connection, before: Keys, after: Keys) -> None:
    """Seal the secrets of routes under other keys, in the transaction that is open; what is lost stays so."""
    if not is_made(connection):
        return
    for name, sealed in connection.execute("SELECT name, secrets FROM dqctl.alert_routes FOR UPDATE").fetchall():
        try:
            plain = {each: before.show(_place(name, each), text) for each, text in sealed.items()}
        except UsageError:
            continue
        anew = {each: after.hide(_place(name, each), text) for each, text in plain.items()}
        connection.execute("UPDATE dqctl.alert_routes SET secrets = %s WHERE name = %s", [Jsonb(anew), name])


def see_suites(connection: Connection, now: datetime) -> None:
    """Write down when suites were seen first: TestGen does not say when one was made, and a new one is not late.

    Nothing is written where nothing is new: what is would have to be saved with the state.
    """
    with connection.transaction():
        if not _knows_suites(connection):
            connection.execute(_CREATE_SUITES)
        unseen = connection.execute(
            "SELECT s.id FROM test_suites s"
            " WHERE NOT EXISTS (SELECT FROM dqctl.alert_suites d WHERE d.suite_id = s.id)"
        ).fetchall()
        found = [suite for (suite,) in unseen]
        if found:
            connection.execute(
                "DELETE FROM dqctl.alert_suites d"
                " WHERE NOT EXISTS (SELECT FROM test_suites s WHERE s.id = d.suite_id)"
            )
            connection.execute(
                "INSERT INTO dqctl.alert_suites (suite_id, since) SELECT unnest(%s::uuid[]), %s", [found, now]
            )


def seen(connection: Connection) -> dict[UUID, datetime]:
    """When each suite was seen first, where that was ever asked for."""
    if not _knows_suites(connection):
        return {}
    return dict(connection.execute("SELECT suite_id, since FROM dqctl.alert_suites").fetchall())


def _knows_suites(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('dqctl.alert_suites') IS NOT NULL").fetchone() == (True,)


def alerts(connection: Connection) -> dict[str, Known]:
    """All alerts that are remembered, by fingerprint."""
    return {
        fingerprint: Known(Alert(labels, annotations, run_id, since), resolved_at)
        for fingerprint, labels, annotations, run_id, since, resolved_at in connection.execute(
            "SELECT fingerprint, labels, annotations, run_id, since, resolved_at FROM dqctl.alerts"
        ).fetchall()
    }


def change(connection: Connection, changed: Mapping[str, Known]) -> None:
    """Remember what became of alerts, and forget those that were resolved long ago."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dqctl.alerts (fingerprint, labels, annotations, run_id, since, resolved_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (fingerprint) DO UPDATE SET labels = EXCLUDED.labels,"
            " annotations = EXCLUDED.annotations, run_id = EXCLUDED.run_id, since = EXCLUDED.since,"
            " resolved_at = EXCLUDED.resolved_at",
            [
                (
                    fingerprint,
                    Jsonb(dict(each.alert.labels)),
                    Jsonb(dict(each.alert.annotations)),
                    each.alert.run_id,
                    each.alert.since,
                    each.resolved_at,
                )
                for fingerprint, each in changed.items()
            ],
        )
    if changed:
        connection.execute(
            f"DELETE FROM dqctl.alerts a WHERE resolved_at < now() - interval '{_KEPT}' AND NOT EXISTS"  # noqa: S608 - our own text
            " (SELECT FROM dqctl.alert_told t WHERE t.fingerprint = a.fingerprint)"
        )


def told(connection: Connection) -> dict[str, dict[str, Told]]:
    """What each receiver knows: by receiver, then by fingerprint."""
    found: dict[str, dict[str, Told]] = {}
    for receiver, fingerprint, state in connection.execute(
        "SELECT receiver, fingerprint, told FROM dqctl.alert_told"
    ).fetchall():
        found.setdefault(receiver, {})[fingerprint] = Told(state)
    return found


def tell(connection: Connection, receiver: str, after: Mapping[str, Told | None]) -> None:
    """Remember what a receiver knows now; None forgets it."""
    gone = [fingerprint for fingerprint, state in after.items() if state is None]
    if gone:
        connection.execute(
            "DELETE FROM dqctl.alert_told WHERE receiver = %s AND fingerprint = ANY(%s)", [receiver, gone]
        )
    known = [(receiver, fingerprint, state.value) for fingerprint, state in after.items() if state]
    if known:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO dqctl.alert_told (receiver, fingerprint, told) VALUES (%s, %s, %s)"
                " ON CONFLICT (receiver, fingerprint) DO UPDATE SET told = EXCLUDED.told"
                " WHERE alert_told.told <> EXCLUDED.told",
                known,
            )


def answered(connection: Connection, receiver: str, now: datetime, error: str | None) -> None:
    """Remember how a receiver answered: None is well."""
    connection.execute(
        "INSERT INTO dqctl.alert_receivers AS r (receiver, answered_at, failing_since, error)"
        " VALUES (%(receiver)s, CASE WHEN %(error)s::text IS NULL THEN %(now)s::timestamptz END,"
        " CASE WHEN %(error)s::text IS NOT NULL THEN %(now)s::timestamptz END, %(error)s)"
        " ON CONFLICT (receiver) DO UPDATE SET answered_at = coalesce(EXCLUDED.answered_at, r.answered_at),"
        " failing_since = CASE WHEN EXCLUDED.error IS NOT NULL"
        " THEN coalesce(r.failing_since, EXCLUDED.failing_since) END, error = EXCLUDED.error",
        {"receiver": receiver, "error": error, "now": now},
    )


def receivers(connection: Connection) -> tuple[Receiver, ...]:
    """How all of them answered last, those that were ever asked."""
    rows: Sequence[tuple[Any, ...]] = connection.execute(
        "SELECT receiver, answered_at, failing_since, error FROM dqctl.alert_receivers ORDER BY receiver"
    ).fetchall()
    return tuple(Receiver(*row) for row in rows)


def _place(route: str, secret: str) -> str:
    """A sealed value is good in its own place only."""
    return json.dumps(["dqctl.alert_routes", route, secret])
