"""From what is there to what should be there: additive steps, in order, recorded in ``dq_migrations``."""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dqctl import records
from dqctl.records import Table
from dqctl.tables import ddl
from dqctl.tables.ports import Statements
from dqctl.tables.sql import STAGING_VOLUME, Place, identifier, literal

MANAGED = (ddl.MIGRATIONS, *records.TABLES)


@dataclass(frozen=True)
class Migration:
    """One step. Its tables and columns are those whose ``since`` is its number."""

    number: int
    name: str


MIGRATIONS = (
    Migration(1, "the tables and views of the first version"),
    Migration(2, "scores"),
)


@dataclass(frozen=True)
class Present:
    """What is in the schema: columns of each table in the table's own order, views, and migrations recorded.

    ``volume_exists`` tells whether rows can be staged already. ``home`` identifies this set of tables; ``None``
    before the first migration is recorded.
    """

    schema: bool = False
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    volume_exists: bool = False
    applied: frozenset[int] = frozenset()
    home: str | None = None

    @property
    def pending(self) -> tuple[Migration, ...]:
        """Migrations that are not recorded."""
        return tuple(step for step in MIGRATIONS if step.number not in self.applied)


def look(warehouse: Statements, place: Place) -> Present:
    """What is there, in one statement, which fails when the tables were never made: then ``discover`` tells."""
    recorded = (
        "UNION ALL SELECT 'migration', home, CAST(migration AS STRING), unix_micros(applied_at) "
        f"FROM {place.table(ddl.MIGRATIONS.name)}"
    )
    found = warehouse.query(f"{_inventory(place)} {recorded}", {"schema": place.schema.lower()}).to_pylist()
    # The oldest home counts, should two commands have made the tables at the same time.
    migrations = sorted(
        (row for row in found if row["kind"] == "migration"), key=lambda row: (row["at"], row["name"])
    )
    return replace(
        _present(found),
        applied=frozenset(int(row["part"]) for row in migrations),
        home=migrations[0]["name"] if migrations else None,
    )


def discover(warehouse: Statements, place: Place) -> Present:
    """What is there of tables that may be missing altogether, in up to three statements. Nothing is changed."""
    present = _present(warehouse.query(_inventory(place), {"schema": place.schema.lower()}).to_pylist())
    if ddl.MIGRATIONS.name in present.tables:
        return look(warehouse, place)
    if present.tables:
        return present
    schemas = warehouse.query(
        f"SELECT schema_name FROM {identifier(place.catalog)}.information_schema.schemata "
        "WHERE schema_name = :schema",
        {"schema": place.schema.lower()},
    )
    return replace(present, schema=schemas.num_rows > 0)


def _inventory(place: Place) -> str:
    information = f"{identifier(place.catalog)}.information_schema"
    return (
        "SELECT 'column' AS kind, table_name AS name, column_name AS part, CAST(ordinal_position AS BIGINT) AS at "
        f"FROM {information}.columns WHERE table_schema = :schema "
        "UNION ALL SELECT 'volume', volume_name, NULL, NULL "
        f"FROM {information}.volumes WHERE volume_schema = :schema"
    )


def _present(found: Sequence[Mapping[str, Any]]) -> Present:
    columns = sorted((row for row in found if row["kind"] == "column"), key=lambda row: (row["name"], row["at"]))
    tables: dict[str, tuple[str, ...]] = {}
    for row in columns:
        name = row["name"].lower()
        tables[name] = (*tables.get(name, ()), row["part"].lower())
    volumes = {row["name"].lower() for row in found if row["kind"] == "volume"}
    return Present(schema=bool(tables or volumes), tables=tables, volume_exists=STAGING_VOLUME in volumes)


def plan(present: Present, place: Place, more: Sequence[Table] = ()) -> tuple[str, ...]:
    """The statements that make what is missing; none when nothing is. ``more`` are tables that not all need."""
    statements = [] if present.schema else [ddl.create_schema(place)]
    for table in (*MANAGED, *more):
        columns = present.tables.get(table.name)
        if columns is None:
            statements.append(ddl.create_table(place, table))
        elif missing := _missing(table, columns):
            statements.append(ddl.add_columns(place, table, missing))
    if present.pending or any(view not in present.tables for view in ddl.VIEWS):
        statements.extend(ddl.create_views(place))
    return tuple(statements)


def record(present: Present, place: Place, home: str, version: str) -> str | None:
    """The statement that records what ``plan`` did, to run after it; ``None`` when there is nothing to record."""
    if not present.pending:
        return None
    rows = ", ".join(
        f"(CAST({step.number} AS BIGINT), {literal(step.name)}, {literal(home)}, {literal(version)}, "
        "current_timestamp())"
        for step in present.pending
    )
    return f"INSERT INTO {place.table(ddl.MIGRATIONS.name)} VALUES {rows}"


def _missing(table: Table, columns: tuple[str, ...]) -> tuple[records.Column, ...]:
    return tuple(column for column in table.columns if column.name not in columns)
