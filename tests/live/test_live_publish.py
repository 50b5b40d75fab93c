"""What only a real workspace can settle about the tables.

DQCTL_LIVE_HOST, _HTTP_PATH, _TOKEN and _CATALOG say which.
"""

import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from contents import as_content
from dqctl import records
from dqctl.databricks.warehouse import Warehouse
from dqctl.records import Column, RunContent, Table, Type
from dqctl.services import tables
from dqctl.tables import shipment
from dqctl.tables.loader import Loader
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
    assert (sum(len(str(row["text"])) for row in rows) > shipment.INLINE_BYTES) == (count > 10)
    for _ in range(2):
        Loader(warehouse, place, ready.columns).replace(_WIDE, rows, {"stack": "live"})
    found = warehouse.query(f"SELECT count(*) AS n, count(DISTINCT number) AS d FROM {place.table(_WIDE.name)}")
    assert found.to_pylist() == [{"n": count, "d": count}]


ODD = (
    {"avg_value": -0.0, "sum_value": Decimal(0), "min_text": ""},
    {"avg_value": math.nan, "sum_value": Decimal("1E-8"), "min_text": "é\u0301😀\\'"},
    {"avg_value": 5e-324, "sum_value": Decimal("-99999999999999999999999999999.12345678"), "min_text": None},
    {"avg_value": math.inf, "sum_value": Decimal("0.000001"), "min_date": datetime.max.replace(tzinfo=UTC)},
    {"avg_value": 0.1, "multiset_hash": Decimal(10**38 - 1), "min_date": datetime(1, 1, 1, tzinfo=UTC)},
)  # fmt: skip


@pytest.mark.parametrize("ansi", ["true", "false"])
def test_rows_go_by_a_file_and_the_warehouse_computes_the_same_digest(
    warehouse: Warehouse, ansi: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shipment, "INLINE_BYTES", -1)
    place = Place(warehouse.target.catalog, warehouse.target.schema)
    ready = tables.ensure(warehouse, place)
    warehouse.execute(f"SET ANSI_MODE = {ansi}")
    base = {"stack": "live", "run_id": f"digest-{ansi}"}
    rows = tuple({**base, "id": str(number), **row} for number, row in enumerate(ODD))
    content = RunContent(
        {**base, "kind": "profile", "status": "completed"},
        {**{table.name: () for table in records.RUN_CONTENT}, "dq_profile_columns": rows},
    )
    Loader(warehouse, place, ready.columns, volume_exists=ready.volume_exists).load([as_content(content)])
    assert "computes another digest" not in caplog.text
