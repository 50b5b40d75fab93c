"""Rows on their way to Databricks and back: JSON inside a statement, Parquet in a volume, text to compare.

In JSON a row is an array of strings, one a column: strings lose nothing, where a JSON number would pass through a
double, and an array costs no keys. The statement casts them.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from dqctl.records import Column, Row, Table, Type
from dqctl.tables.sql import identifier

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ARROW = {
    Type.STRING: pa.string(),
    Type.BIGINT: pa.int64(),
    Type.DOUBLE: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Type.DECIMAL_38_0: pa.decimal128(38, 0),
    Type.DECIMAL_38_6: pa.decimal128(38, 6),
    Type.DECIMAL_38_8: pa.decimal128(38, 8),
}


def to_json(table: Table, rows: Iterable[Row]) -> str:
    """The rows as a JSON array of arrays of strings, columns in the order of ``table``."""
    encoded = [[_text(column, row.get(column.name)) for column in table.columns] for row in rows]
    return json.dumps(encoded, ensure_ascii=False, separators=(",", ":"))


def schema(table: Table) -> pa.Schema:
    """The columns of ``table`` as Arrow has them."""
    return pa.schema([pa.field(column.name, _ARROW[column.type]) for column in table.columns])


def to_arrow(table: Table, rows: Sequence[Row]) -> pa.RecordBatch:
    """The rows, typed as the table is."""
    columns = [
        pa.array([row.get(column.name) for row in rows], type=_ARROW[column.type]) for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema(table))


def from_csv(table: Table, block: bytes) -> pa.RecordBatch:
    """Rows of PostgreSQL's CSV: columns in the order of ``table``, NULL as nothing, timestamps as microseconds.

    ``pyarrow.ArrowInvalid`` when a value is none of its type: a decimal with more digits than there is room for.
    """
    kinds = {
        column.name: pa.int64() if column.type is Type.TIMESTAMP else _ARROW[column.type]
        for column in table.columns
    }
    found = csv.read_csv(
        pa.BufferReader(block),
        csv.ReadOptions(column_names=list(kinds), use_threads=False, block_size=len(block) + 1),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    (batch,) = found.cast(schema(table)).combine_chunks().to_batches()
    return batch


def parquet_writer(table: Table, out: IO[bytes]) -> pq.ParquetWriter:
    """Writes batches of ``to_arrow`` as one Parquet file, each a row group."""
    # Statistics leave NaN out; an engine that trusts them (Sail 0.7.2) reads 0.1 beside NaN as 0.1 twice.
    return pq.ParquetWriter(out, schema(table), compression="zstd", write_statistics=False)


def from_text(column: Column, position: int, source: str) -> str:
    """SQL: the value of ``column`` out of element ``position`` of the array of strings ``source``."""
    element = f"{source}[{position}]"
    if column.type is Type.STRING:
        return element
    if column.type is Type.TIMESTAMP:
        return f"timestamp_micros(CAST({element} AS BIGINT))"
    return f"CAST({element} AS {column.type})"


def as_text(column: Column) -> str:
    """SQL: the value of ``column`` as text that ``value_of`` reads."""
    name = identifier(column.name)
    if column.type is Type.STRING:
        return name
    if column.type is Type.TIMESTAMP:
        return f"CAST(unix_micros({name}) AS STRING)"
    return f"CAST({name} AS STRING)"


def value_of(column: Column, text: str | None) -> Any:
    """The value that ``as_text`` made into ``text``, comparable with another ``value_of``."""
    if text is None:
        return None
    return _COMPARABLE.get(column.type, str)(text)


def sent_value(column: Column, value: Any) -> Any:
    """``value`` as ``value_of`` gives it back when it arrived whole."""
    return value_of(column, _text(column, value))


def _text(column: Column, value: Any) -> str | None:
    if value is None:
        return None
    if column.type is Type.BOOLEAN:
        return "true" if value else "false"
    if column.type is Type.TIMESTAMP:
        # Integer arithmetic: a float of seconds has no room for microseconds in the year 9999.
        return str((value - _EPOCH) // timedelta(microseconds=1))
    if column.type is Type.DOUBLE:
        return _double(float(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _double(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if math.isnan(value) else repr(value)


def _comparable_double(text: str) -> Any:
    value = float(text)
    return "NaN" if math.isnan(value) else value  # NaN equals nothing, not even itself


_COMPARABLE: dict[Type, Callable[[str], Any]] = {
    Type.BIGINT: int,
    Type.TIMESTAMP: int,
    Type.DOUBLE: _comparable_double,
    Type.DECIMAL_38_0: Decimal,
    Type.DECIMAL_38_6: Decimal,
    Type.DECIMAL_38_8: Decimal,
}
