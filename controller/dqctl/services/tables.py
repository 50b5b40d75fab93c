"""The published tables: made, brought up to date, shown."""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dqctl
from dqctl import records
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks import warehouses
from dqctl.databricks.failures import StatementFailed
from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target
from dqctl.databricks.unity_catalog import tables_of
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress, silent
from dqctl.records import Table
from dqctl.services import grants

# They came from here once, and whoever has the tables has the target.
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.tables import ddl, migrations
from dqctl.tables.migrations import Present
from dqctl.tables.ports import Statements
from dqctl.tables.sql import Place

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_REST_SECONDS = 10.0


@dataclass(frozen=True)
class TablesReport:
    """The tables at ``target``. ``statements`` is what was run to get there, empty when all was in place.

    ``asleep`` is the warehouse that was not started to look: then Unity Catalog told, which knows no ``home``.
    """

    target: str
    home: str | None
    statements: tuple[str, ...]
    tables: tuple["TableState", ...]
    asleep: str | None = None


@dataclass(frozen=True)
class TableState:
    """One table or view. ``missing`` are columns that this version of dqctl has and the table lacks."""

    name: str
    comment: str
    exists: bool
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """Tables that are up to date: their id, and each one's columns in its own order."""

    home: str
    columns: Mapping[str, tuple[str, ...]]
    volume_exists: bool


def init(settings: Settings, progress: Progress = silent) -> TablesReport:
    """Make the schema and the tables, or bring them up to date; up to date already, it runs no DDL.

    The commands ``tables init`` and ``tables migrate`` are this one thing under two names: both go from what is
    there to what should be.
    """
    target = find_target(settings)
    with Warehouse(target, progress=progress) as warehouse, grants.named(warehouse, target):
        place = Place(target.catalog, target.schema)
        before = look(warehouse, place)
        statements = migrations.plan(before, place)
        ensure(warehouse, place, progress)
        return _report(target, look(warehouse, place), statements)


def show(settings: Settings, *, start_warehouse: bool = False, clock: Clock = SYSTEM_CLOCK) -> TablesReport:
    """What is there, and what ``migrate`` would run. Changes nothing.

    A warehouse that sleeps is started with ``start_warehouse`` only: without it, Unity Catalog's REST tells.
    """
    target = find_target(settings)
    if not start_warehouse and (sleeper := warehouses.asleep(target, clock)):
        place = Place(target.catalog, target.schema)
        present = _listed(target, clock)
        report = _report(target, present, migrations.plan(present, place))
        return replace(report, asleep=sleeper.name)
    with Warehouse(target) as warehouse, grants.named(warehouse, target):
        place = Place(target.catalog, target.schema)
        present = look(warehouse, place)
        return _report(target, present, migrations.plan(present, place))


def _listed(target: Target, clock: Clock) -> Present:
    """What Unity Catalog lists. Which migrations are recorded is in a table: those of what is there count as."""
    found = tables_of(RestApi(target, _REST_SECONDS, clock), target)
    if found is None:
        return Present()
    done = frozenset(step.number for step in migrations.MIGRATIONS) if found else frozenset()
    return Present(schema=True, tables=found, applied=done)


def ensure(warehouse: Statements, place: Place, progress: Progress = silent, more: Sequence[Table] = ()) -> Ready:
    """Bring the tables up to date, in steps of their own: a load never changes a table.

    ``more`` are tables that are made when something is to be put into them.
    """
    present = look(warehouse, place)
    todo = _todo(present, place, more)
    failure: StatementFailed | None = None
    attempts = 0
    while todo and attempts < _ATTEMPTS:
        progress(f"preparing the tables in {place.catalog}.{place.schema}")
        failure = None
        try:
            for statement in todo:
                warehouse.execute(statement)
        except StatementFailed as error:
            # Most likely another command made the same table or column in between.
            log.info("prepared by another command as well? %s", error.message)
            failure = error
        present = look(warehouse, place)
        before, todo = todo, _todo(present, place, more)
        # Less to do is a step forward, whoever made it: two who run in step can lose a race at every table.
        attempts = 0 if len(todo) < len(before) else attempts + 1
    if todo and failure is not None:
        raise failure
    if present.home is None:
        raise EnvironmentFault(
            f"{place.catalog}.{place.schema} was prepared, but its tables cannot be seen",
            "see whether this principal has USE CATALOG, USE SCHEMA and SELECT there",
        )
    return Ready(present.home, present.tables, present.volume_exists)


def _todo(present: Present, place: Place, more: Sequence[Table]) -> tuple[str, ...]:
    record = migrations.record(present, place, present.home or str(uuid.uuid4()), dqctl.__version__)
    return (*migrations.plan(present, place, more), *([record] if record else []))


def look(warehouse: Statements, place: Place) -> Present:
    """What is there: in one statement when the tables are, which is nearly always."""
    try:
        return migrations.look(warehouse, place)
    except StatementFailed as failure:
        log.debug("no tables yet? %s", failure.message)
        return migrations.discover(warehouse, place)


def _report(target: Target, present: Present, statements: tuple[str, ...]) -> TablesReport:
    states = [
        TableState(
            table.name,
            table.comment,
            table.name in present.tables,
            tuple(name for name in table.column_names if name not in present.tables.get(table.name, ())),
        )
        for table in (*records.TABLES, ddl.MIGRATIONS)
    ]
    states += [TableState(view, "view", view in present.tables, ()) for view in ddl.VIEWS]
    return TablesReport(target.name, present.home, statements, tuple(states))
