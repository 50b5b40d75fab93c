"""What only a real workspace can settle about the tables.

DQCTL_LIVE_HOST, _HTTP_PATH, _TOKEN and _CATALOG say which.
"""

import pytest

from dqctl import records
from dqctl.databricks.warehouse import Warehouse
from dqctl.records import Column, Table, Type
from dqctl.services import tables
from dqctl.tables.loader import INLINE_BYTES, Loader
from dqctl.tables.sql import Place

pytestmark = [pytest.mark.live, pytest.mark.timeout(1500)]

_WIDE = Table(
    "dq_live",
    "Rows of a test.",
    (
        Column("stack", Type.STRING, "The test's.", required=True),
        Column("number", Type.BIGINT, "Its place."),
        Column("text", Type.STRING, "Something long."),
    ),
    ("stack", "number"),
    ("stack",),
)


def test_tables_are_made_once_and_found_again(warehouse: Warehouse) -> None:
    place = Place(warehouse.target.catalog, warehouse.target.schema)
    made = tables.ensure(warehouse, place)
    again = tables.ensure(warehouse, place)
    assert made == again
    assert {table.name for table in records.TABLES} <= set(again.columns)


@pytest.mark.parametrize("count", [10, 10_000], ids=["inside the statement", "staged in a volume"])
def test_what_is_loaded_again_is_there_once(warehouse: Warehouse, count: int) -> None:
    # REPLACE WHERE from read_files on a volume, end to end.
    place = Place(warehouse.target.catalog, warehouse.target.schema)
    ready = tables.ensure(warehouse, place, more=(_WIDE,))
    rows = [{"stack": "live", "number": number, "text": f"{number} é😀' " * 12} for number in range(count)]
    assert (sum(len(str(row["text"])) for row in rows) > INLINE_BYTES) == (count > 10)
    for _ in range(2):
        Loader(warehouse, place, ready.columns).replace(_WIDE, rows, {"stack": "live"})
    found = warehouse.query(f"SELECT count(*) AS n, count(DISTINCT number) AS d FROM {place.table(_WIDE.name)}")
    assert found.to_pylist() == [{"n": count, "d": count}]
