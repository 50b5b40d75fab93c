"""Results of the Statement Execution API: their shape, their chunks, and the forms in which they are sent."""

import csv
import datetime
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dqctl.localworkspace.types import quoted_if_needed, text_from_arrow
from dqctl.localworkspace.wire.arrow_values import lz4_frame, plain_table, plain_type, text

INLINE_BYTES = 25 * 1024 * 1024
CHUNK_BYTES = 8 * 1024 * 1024  # of a chunk's values in memory

MEDIA_TYPES: Mapping[str, str] = {
    "JSON_ARRAY": "application/json",
    "ARROW_STREAM": "application/vnd.apache.arrow.stream",
    "CSV": "text/csv",
}

# Of files behind links. The connector and the JDBC driver ask for it; the API's reference does not name it.
COMPRESSIONS = ("NONE", "LZ4_FRAME")

_TYPE_NAMES = (
    (pa.types.is_boolean, "BOOLEAN"), (pa.types.is_int8, "BYTE"), (pa.types.is_int16, "SHORT"),
    (pa.types.is_int32, "INT"), (pa.types.is_integer, "LONG"), (pa.types.is_float32, "FLOAT"),
    (pa.types.is_floating, "DOUBLE"), (pa.types.is_decimal, "DECIMAL"), (pa.types.is_date, "DATE"),
    (pa.types.is_timestamp, "TIMESTAMP"), (pa.types.is_binary, "BINARY"), (pa.types.is_map, "MAP"),
    (pa.types.is_list, "ARRAY"), (pa.types.is_struct, "STRUCT"), (pa.types.is_null, "NULL"),
    (pa.types.is_duration, "INTERVAL"), (pa.types.is_interval, "INTERVAL"),
)  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """So many rows of a result, from ``offset`` on."""

    index: int
    offset: int
    rows: int


def limited(table: pa.Table, rows: int | None, size: int | None) -> pa.Table:
    """The first rows of ``table``: at most ``rows``, of at most ``size`` bytes together."""
    if rows is not None:
        table = table.slice(0, rows)
    if size is None or table.nbytes <= size:
        return table
    least, most = 0, int(table.num_rows)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if table.slice(0, middle).nbytes <= size else (least, middle - 1)
    return table.slice(0, least)


def chunks_of(table: pa.Table) -> list[Chunk]:
    """How a result is cut: into pieces of about ``CHUNK_BYTES``, and one that is empty when there are no rows."""
    rows = max(1, table.num_rows * CHUNK_BYTES // max(1, table.nbytes))
    starts = range(0, max(1, table.num_rows), rows)
    return [Chunk(index, start, min(rows, table.num_rows - start)) for index, start in enumerate(starts)]


def manifest(table: pa.Table, form: str, *, truncated: bool, compression: str = "NONE") -> dict[str, Any]:
    """What a client is told of a result before it has any row. ``compression`` is one of ``COMPRESSIONS``."""
    chunks = chunks_of(table)
    columns = [_column(field.name, place, field.type) for place, field in enumerate(table.schema)]
    compressed = {} if compression == "NONE" else {"result_compression": compression}
    return {
        **compressed,
        "format": form,
        "schema": {"column_count": table.num_columns, "columns": columns},
        "total_chunk_count": len(chunks),
        "chunks": [
            {"chunk_index": chunk.index, "row_offset": chunk.offset, "row_count": chunk.rows} for chunk in chunks
        ],
        "total_row_count": table.num_rows,
        "total_byte_count": table.nbytes,
        "truncated": truncated,
    }


def rows_of(table: pa.Table, chunk: Chunk) -> list[list[str | None]]:
    """The values of a chunk as text, row by row."""
    part = table.slice(chunk.offset, chunk.rows)
    columns = [
        [None if value is None else _text(value, kind) for value in column.to_pylist()]
        for column, kind in zip(part.columns, map(plain_type, part.schema.types), strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def written(table: pa.Table, chunk: Chunk, form: str, compression: str = "NONE") -> bytes:
    """A chunk as the file behind an external link."""
    content = _uncompressed(table, chunk, form)
    return lz4_frame(pa.py_buffer(content)) if compression == "LZ4_FRAME" else content


def _uncompressed(table: pa.Table, chunk: Chunk, form: str) -> bytes:
    if form == "ARROW_STREAM":
        return _arrow(table.slice(chunk.offset, chunk.rows))
    rows = rows_of(table, chunk)
    if form == "JSON_ARRAY":
        return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    if chunk.index == 0:
        writer.writerow(table.column_names)
    writer.writerows([["null" if value is None else value for value in row] for row in rows])
    return file.getvalue().encode()


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    plain = plain_table(table, pa.types.is_duration)
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return bytes(sink.getvalue().to_pybytes())


def _text(value: Any, kind: pa.DataType) -> str:
    """A value as this API writes it: timestamps in ISO 8601, which the SQL connectors do not see."""
    if not isinstance(value, datetime.datetime):
        return text(value, kind)
    zone = "Z" if value.tzinfo else ""
    if value.tzinfo:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return f"{value.isoformat(timespec=precision)}{zone}"


def _column(name: str, position: int, given: pa.DataType) -> dict[str, Any]:
    kind = plain_type(given)
    type_name = next((found for fits, found in _TYPE_NAMES if fits(kind)), "STRING")
    described: dict[str, Any] = {
        "name": name, "position": position, "type_name": type_name, "type_text": _type_text(kind),
    }  # fmt: skip
    if type_name == "DECIMAL":
        described |= {"type_precision": kind.precision, "type_scale": kind.scale}
    if type_name == "INTERVAL":
        described["type_interval_type"] = described["type_text"].removeprefix("INTERVAL ")
    return described


def _type_text(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return f"MAP<{_type_text(kind.key_type)}, {_type_text(kind.item_type)}>"
    if pa.types.is_list(kind):
        return f"ARRAY<{_type_text(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return (
            f"STRUCT<{', '.join(f'{quoted_if_needed(field.name)}: {_type_text(field.type)}' for field in kind)}>"
        )
    if pa.types.is_duration(kind):
        return "INTERVAL DAY TO SECOND"
    if pa.types.is_interval(kind):
        return "INTERVAL YEAR TO MONTH"
    return str(text_from_arrow(kind)).upper()
