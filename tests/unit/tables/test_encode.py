import io
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.records import Column, Table, Type
from dqctl.tables import encode

EVERY = Table(
    "dq_every",
    "One column of every type.",
    tuple(Column(kind.name.lower(), kind, "") for kind in Type),
    key=("string",),
    cluster_by=("string",),
)
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


def decimals(scale: int) -> st.SearchStrategy[Decimal]:
    # Not scaleb: that rounds to the 28 digits of the context.
    return st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-{scale}"))


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    with encode.parquet_writer(EVERY, out) as writer:
        writer.write_batch(encode.to_arrow(EVERY, rows))
    return out.getvalue()


ROWS = st.fixed_dictionaries(
    {
        "string": st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        "bigint": st.none() | st.integers(-(2**63), 2**63 - 1),
        "double": st.none() | st.floats(),
        "boolean": st.none() | st.booleans(),
        "timestamp": st.none() | st.datetimes(timezones=st.just(UTC)),
        "decimal_38_0": st.none() | decimals(0),
        "decimal_38_6": st.none() | decimals(6),
        "decimal_38_8": st.none() | decimals(8),
    }
)


@given(st.lists(ROWS, max_size=5))
def test_json_loses_nothing(rows: list[dict[str, Any]]) -> None:
    back = json.loads(encode.to_json(EVERY, rows))
    for row, texts in zip(rows, back, strict=True):
        for column, text in zip(EVERY.columns, texts, strict=True):
            assert encode.value_of(column, text) == encode.sent_value(column, row[column.name])


@given(st.lists(ROWS, max_size=5))
def test_parquet_loses_nothing(rows: list[dict[str, Any]]) -> None:
    table = pq.read_table(io.BytesIO(parquet(rows)))
    for row, back in zip(rows, table.to_pylist(), strict=True):
        for column in EVERY.columns:
            sent, found = row[column.name], back[column.name]
            if isinstance(sent, float) and math.isnan(sent):
                assert math.isnan(found)
            else:
                assert found == sent


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Type.TIMESTAMP, EARLIEST, "-62135596800000000"),
        (Type.TIMESTAMP, LATEST, "253402300799999999"),
        (Type.TIMESTAMP, datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "0"),
        (Type.DOUBLE, 5e-324, "5e-324"),
        (Type.DOUBLE, 3, "3.0"),
        (Type.DOUBLE, math.inf, "Infinity"),
        (Type.DOUBLE, math.nan, "NaN"),
        (Type.DECIMAL_38_8, Decimal("1E-8"), "0.00000001"),
        (Type.DECIMAL_38_0, Decimal("1E+20"), "100000000000000000000"),
        (Type.BOOLEAN, False, "false"),
        (Type.STRING, "", ""),
        (Type.STRING, None, None),
    ],
)
def test_text_of_a_value(kind: Type, value: object, text: str | None) -> None:
    column = Column("x", kind, "")
    table = Table("t", "", (column,), key=(), cluster_by=())
    assert json.loads(encode.to_json(table, [{"x": value}])) == [[text]]


def test_null_and_the_empty_string_and_the_word_null_differ() -> None:
    column = Column("x", Type.STRING, "")
    assert len({encode.value_of(column, text) for text in (None, "", "null", "NULL")}) == 4


def test_parquet_of_no_rows_still_has_its_types() -> None:
    schema = pq.read_schema(io.BytesIO(parquet([])))
    assert str(schema.field("timestamp").type) == "timestamp[us, tz=UTC]"
    assert str(schema.field("decimal_38_8").type) == "decimal128(38, 8)"
