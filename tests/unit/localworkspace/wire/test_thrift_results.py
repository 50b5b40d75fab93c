import datetime
import decimal

import lz4.frame
import pyarrow as pa
import pytest
from databricks.sql.thrift_api.TCLIService import ttypes
from hypothesis import given
from hypothesis import strategies as st

from dqctl.localworkspace.wire.thrift_results import BATCH_BYTES, RowSets, thrift_schema

UTC = datetime.UTC
TABLE = pa.table(
    [
        pa.array([1, None], pa.int32()),
        pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)),
        pa.array([datetime.datetime(2024, 2, 29, 12, 30, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        pa.array([[1, None], None], pa.list_(pa.int32())),
        pa.array(["a", None], pa.large_string()),
        pa.array([datetime.timedelta(days=1, hours=2), None], pa.duration("us")),
        pa.array([{"k": datetime.date(2024, 1, 1)}, None], pa.struct([("k", pa.date32())])),
    ],
    names=["n", "d", "t", "l", "s", "s", "o"],
)


def read(rows: RowSets, max_rows: int | None = None, max_bytes: int | None = None) -> tuple[pa.Table, list[int]]:
    """Everything, fetched as a client fetches, and how many rows each fetch had."""
    schema = pa.ipc.read_schema(pa.py_buffer(rows.metadata(is_staging=False).arrowSchema))
    batches, counts, offset = [], [], 0
    while offset < rows.num_rows:
        row_set, count = rows.fetch(offset, max_rows, max_bytes)
        assert row_set.startRowOffset == offset
        for batch in row_set.arrowBatches:
            batches.append(pa.ipc.read_record_batch(pa.py_buffer(batch.batch), schema))
            assert batches[-1].num_rows == batch.rowCount
        counts.append(count)
        offset += count
    return pa.Table.from_batches(batches, schema), counts


def test_arrow_keeps_values_and_names_even_when_two_are_the_same() -> None:
    found, _ = read(RowSets(TABLE, arrow=True))
    assert found.column_names == ["n", "d", "t", "l", "s", "s", "o"]
    assert [column[0].as_py() for column in found.columns] == [
        1,
        decimal.Decimal("1.50"),
        datetime.datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        [1, None],
        "a",
        "1 02:00:00.000000000",
        {"k": datetime.date(2024, 1, 1)},
    ]
    assert all(column[1].as_py() is None for column in found.columns)


def test_a_client_without_arrow_types_gets_text_and_is_told_the_real_types() -> None:
    native = ttypes.TSparkArrowTypes(timestampAsArrow=False, decimalAsArrow=False, complexTypesAsArrow=False)
    rows = RowSets(TABLE, arrow=True, native=native)
    found, _ = read(rows)
    assert [column[0].as_py() for column in found.columns][1:4] == ["1.50", "2024-02-29 12:30:00", "[1,null]"]
    assert found.column(6)[0].as_py() == '{"k":"2024-01-01"}'
    types = [
        column.typeDesc.types[0].primitiveEntry.type for column in rows.metadata(is_staging=False).schema.columns
    ]
    kinds = ttypes.TTypeId
    assert types[1:4] == [kinds.DECIMAL_TYPE, kinds.TIMESTAMP_TYPE, kinds.ARRAY_TYPE]


def test_column_sets_mark_nulls() -> None:
    rows = RowSets(TABLE, arrow=False)
    metadata = rows.metadata(is_staging=False)
    assert metadata.resultFormat == ttypes.TSparkRowSetType.COLUMN_BASED_SET
    row_set, count = rows.fetch(0, None, None)
    assert count == 2
    assert row_set.columns[0].i32Val.values == [1, 0]
    assert all(next(filter(None, vars(column).values())).nulls == b"\x02" for column in row_set.columns), (
        "bit 1 is the second row"
    )
    assert row_set.columns[2].stringVal.values[0] == "2024-02-29 12:30:00"


@given(st.integers(1, 400), st.integers(1, 500), st.integers(1, 20_000))
def test_every_row_comes_once_however_small_the_portions(rows: int, max_rows: int, max_bytes: int) -> None:
    table = pa.table({"n": pa.array(range(rows)), "s": [f"row {n}" for n in range(rows)]})
    found, counts = read(RowSets(table, arrow=True), max_rows, max_bytes)
    assert found.column("n").to_pylist() == list(range(rows))
    assert all(1 <= count <= max_rows for count in counts)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 40)), min_size=1, max_size=12))
def test_a_client_that_goes_back_or_skips_gets_what_it_asks_for(asked: list[tuple[int, int]]) -> None:
    rows = RowSets(pa.table({"n": range(100)}), arrow=True)
    schema = pa.ipc.read_schema(pa.py_buffer(rows.metadata(is_staging=False).arrowSchema))
    for offset, most in asked:
        row_set, count = rows.fetch(offset, most, None)
        found = [
            number
            for batch in row_set.arrowBatches
            for number in pa.ipc.read_record_batch(pa.py_buffer(batch.batch), schema).column(0).to_pylist()
        ]
        assert (row_set.startRowOffset, count) == (offset, len(found))
        assert found == list(range(offset, min(100, offset + most)))


def test_no_batch_is_longer_than_old_clients_read() -> None:
    table = pa.table({"s": ["x" * 1_000_000] * 40})
    rows, offset = RowSets(table, arrow=True), 0
    while offset < 40:
        row_set, count = rows.fetch(offset, None, None)
        assert max(len(batch.batch) for batch in row_set.arrowBatches) < BATCH_BYTES * 1.1
        offset += count


def test_an_empty_result_has_its_columns() -> None:
    rows = RowSets(TABLE.slice(0, 0), arrow=True)
    row_set, count = rows.fetch(0, 100, 100)
    assert count == 0
    assert len(rows.metadata(is_staging=False).schema.columns) == 7
    assert row_set.startRowOffset == 0


@pytest.mark.parametrize("precision", [1, 38])
def test_a_decimal_tells_its_precision(precision: int) -> None:
    schema = thrift_schema(pa.schema([("d", pa.decimal128(precision, 1))]))
    qualifiers = schema.columns[0].typeDesc.types[0].primitiveEntry.typeQualifiers.qualifiers
    assert (qualifiers["precision"].i32Value, qualifiers["scale"].i32Value) == (precision, 1)


def test_a_client_that_asks_for_lz4_gets_frames_of_it() -> None:
    rows = RowSets(TABLE, arrow=True, lz4=True)
    metadata = rows.metadata(is_staging=False)
    assert metadata.lz4Compressed
    schema = pa.ipc.read_schema(pa.py_buffer(metadata.arrowSchema))
    (batch,) = rows.fetch(0, None, None)[0].arrowBatches
    content = lz4.frame.decompress(batch.batch)
    assert pa.ipc.read_record_batch(pa.py_buffer(content), schema).column(0).to_pylist() == [1, None]


def test_column_sets_are_never_compressed() -> None:
    assert not RowSets(TABLE, arrow=False, lz4=True).metadata(is_staging=False).lz4Compressed


def test_a_client_that_wants_intervals_as_arrow_gets_durations() -> None:
    found, _ = read(RowSets(TABLE, arrow=True, native=ttypes.TSparkArrowTypes(intervalTypesAsArrow=True)))
    assert found.column(5).to_pylist() == [datetime.timedelta(days=1, hours=2), None]


def test_intervals_are_text_of_their_own_types_and_void_is_a_string() -> None:
    table = pa.table({"i": pa.array([datetime.timedelta(days=1)], pa.duration("us")), "v": pa.nulls(1)})
    rows = RowSets(table, arrow=True)
    types = [
        column.typeDesc.types[0].primitiveEntry.type for column in rows.metadata(is_staging=False).schema.columns
    ]
    assert types == [ttypes.TTypeId.INTERVAL_DAY_TIME_TYPE, ttypes.TTypeId.STRING_TYPE]
    assert read(rows)[0].to_pylist() == [{"i": "1 00:00:00.000000000", "v": None}]
