"""Throw-away schemas in a Databricks workspace: made, marked with their end, found again, dropped."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from dqctl.databricks.target import Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.services.ci.record import Databricks
from dqctl.services.ci.throw_away import PREFIX, results
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.tables.sql import Place, identifier, literal

__all__ = ["ThrowAwaySchema", "create", "drop", "drop_all", "find", "marked", "place", "results"]

_KEY = "dqctl.ci"
_EXPIRES = "dqctl.expires"
_MARK = "dqctl.mark"


@dataclass(frozen=True)
class ThrowAwaySchema:
    """A schema that an ephemeral stack was given, as its comment says."""

    catalog: str
    schema: str
    name: str
    expires: datetime
    mark: str


def place(target: Target) -> str:
    """What tells the workspace from others."""
    return target.place or target.host


def marked(name: str, expires: datetime, mark: str) -> str:
    """The comment by which ``find`` knows a schema, if its name begins with ``PREFIX``."""
    return json.dumps({_KEY: name, _EXPIRES: expires.isoformat(), _MARK: mark})


def create(warehouse: Warehouse, where: Databricks, name: str, expires: datetime) -> None:
    """Make the schemas of the stack ``name``, which may be dropped after ``expires``.

    Raises ``UsageError`` when one is there already and is not this stack's.
    """
    comment = marked(name, expires, where.mark)
    for schema in where.schemas:
        there = Place(where.catalog, schema).quoted
        # Two may have chosen one name at the same time: whose it is stands in its comment.
        warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {there} COMMENT {literal(comment)}")
    own = {each.schema for each in find(warehouse, where.catalog) if each.mark == where.mark}
    if others := set(where.schemas) - own:
        raise UsageError(
            f"there is a schema {where.catalog}.{min(others)} already, and it is not this stack's",
            "choose another --name",
        )


def drop(settings: Settings, where: Databricks, name: str) -> None:
    """Drop the stack's schemas, with all that is in them; those that are not there are gone already.

    Raises ``EnvironmentFault`` when ``settings`` lead to another workspace, and what Databricks says.
    """
    target = find_target(settings)
    if place(target) != where.place:
        raise EnvironmentFault(
            f"schemas of {name} are in {where.place}, and the settings lead to {place(target)}",
            f"set DATABRICKS_HOST and what belongs to it, then: dqctl ci down {name}",
        )
    with Warehouse(target) as warehouse:
        found = find(warehouse, where.catalog)
        drop_all(warehouse, [each for each in found if each.mark == where.mark])


def drop_all(warehouse: Warehouse, schemas: Iterable[ThrowAwaySchema]) -> None:
    """Drop schemas with all that is in them."""
    for each in schemas:
        warehouse.execute(f"DROP SCHEMA IF EXISTS {Place(each.catalog, each.schema).quoted} CASCADE")


def find(warehouse: Warehouse, catalog: str) -> tuple[ThrowAwaySchema, ...]:
    """All schemas of a catalog that are an ephemeral stack's: by their comment, whatever they are called."""
    rows = warehouse.query(
        f"SELECT schema_name, comment FROM {identifier(catalog)}.information_schema.schemata "  # noqa: S608 - quoted
        f"WHERE startswith(schema_name, {literal(PREFIX)})"
    )
    found = (_read(catalog, row["schema_name"], row["comment"]) for row in rows.to_pylist())
    return tuple(each for each in found if each is not None)


def _read(catalog: str, schema: str, comment: str | None) -> ThrowAwaySchema | None:
    try:
        said = json.loads(comment or "")
        expires = datetime.fromisoformat(said[_EXPIRES])
        return ThrowAwaySchema(catalog, schema, str(said[_KEY]), expires, str(said[_MARK]))
    except (ValueError, KeyError, TypeError):
        return None
