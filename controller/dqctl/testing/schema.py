"""A schema that one test has to itself."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dqctl.clock import SYSTEM_CLOCK
from dqctl.services.ci import schemas
from dqctl.tables.sql import literal
from dqctl.testing.databricks import Databricks

if TYPE_CHECKING:
    from databricks.sql.client import Connection, Cursor


_TTL = timedelta(hours=6)


@dataclass(frozen=True)
class Schema:
    """A schema: its full ``name``, its parts, and a connection of databricks-sql-connector that is in it."""

    catalog: str
    schema: str
    connection: "Connection"
    cursor: "Cursor"

    @property
    def name(self) -> str:
        """``catalog.schema``; no part of it needs quoting."""
        return f"{self.catalog}.{self.schema}"

    def __str__(self) -> str:
        """Its name, for statements."""
        return self.name


@contextmanager
def throw_away_schema(workspace: Databricks) -> Iterator[Schema]:
    """Make a schema in the session's catalog, and drop it with all that is in it.

    Where a killed test leaves it in a real workspace, ``dqctl ci gc`` finds it when it has expired.
    """
    with workspace.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_catalog()")
        catalog = str(cursor.fetchall()[0][0])
        name = f"test-{secrets.token_hex(6)}"
        schema = Schema(catalog, schemas.results(name), connection, cursor)
        mark = schemas.marked(name, SYSTEM_CLOCK.now() + _TTL, secrets.token_hex(8))
        cursor.execute(f"CREATE SCHEMA {schema} COMMENT {literal(mark)}")
        try:
            cursor.execute(f"USE {schema}")
            yield schema
        finally:
            # The test may have closed its own.
            with workspace.connect() as last, last.cursor() as dropping:
                dropping.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
