"""Rows on their way to Databricks and back: JSON inside a statement, Parquet in a volume, text to compare.

In JSON a row is an array of strings, one a column: strings lose nothing, where a JSON number would pass through a
double, and an array costs no keys. The statement casts them.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dqctl.records import Column, Row, RunContent, Table, Type
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


def to_parquet(table: Table, rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file, typed as the table is."""
    schema = pa.schema([pa.field(column.name, _ARROW[column.type]) for column in table.columns])
    columns = [
        pa.array([row.get(column.name) for row in rows], type=_ARROW[column.type]) for column in table.columns
    ]
    out = io.BytesIO()
    # Statistics leave NaN out; an engine that trusts them (Sail 0.7.2) reads 0.1 beside NaN as 0.1 twice.
    pq.write_table(pa.table(columns, schema=schema), out, compression="zstd", write_statistics=False)
    return out.getvalue()


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


def checksum(content: RunContent) -> str:
    """SHA-256 of everything that TestGen stored about a run."""
    digest = hashlib.sha256()
    for name in sorted(content.rows):
        for row in content.rows[name]:
            digest.update(json.dumps([name, *sorted(row.items())], default=repr).encode())
    digest.update(json.dumps(sorted(content.run.items()), default=repr).encode())
    return digest.hexdigest()


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
