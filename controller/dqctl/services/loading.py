"""Loading a table as a whole: one file in a volume, one statement, however many rows."""

import secrets
from typing import IO

from dqctl.databricks.warehouse import Warehouse
from dqctl.tables.sql import Place, identifier

VOLUME = "landing"


def load_parquet(warehouse: Warehouse, place: Place, table: str, content: bytes | IO[bytes]) -> None:
    """Make ``table`` of a Parquet file, in place of one that is there; the schema has to be.

    Raises what the warehouse says.
    """
    warehouse.execute(f"CREATE VOLUME IF NOT EXISTS {place.quoted}.{VOLUME}")
    # A table's name may have characters that a path must not.
    path = f"/Volumes/{place.catalog}/{place.schema}/{VOLUME}/{secrets.token_hex(8)}.parquet"
    warehouse.put(content, path)
    try:
        # Not read_files: on a SQL warehouse that adds a column for what does not fit.
        warehouse.execute(
            f"CREATE OR REPLACE TABLE {place.table(table)} AS SELECT * FROM parquet.{identifier(path)}"  # noqa: S608 - quoted
        )
    finally:
        warehouse.remove(path)
