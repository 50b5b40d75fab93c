"""Arrow values in the forms that clients ask for: native, or as the text that Databricks writes."""

import base64
import datetime
import decimal
import json
from collections.abc import Callable, Mapping
from typing import Any

import lz4.frame
import pyarrow as pa

_DAY = datetime.timedelta(days=1)


def plain_table(table: pa.Table, as_text: Callable[[pa.DataType], bool]) -> pa.Table:
    """``table`` with Arrow types that every client reads, and as text those that ``as_text`` picks.

    Views, dictionaries and large types come out of engines and mean nothing to a client; intervals of months have
    no Arrow form that pyarrow can read back from the wire, so they are always text.
    """
    fields, columns = [], []
    for field, given in zip(table.schema, table.columns, strict=True):
        column = given
        if pa.types.is_interval(field.type) or as_text(field.type):
            values = [None if value is None else text(value, field.type) for value in given.to_pylist()]
            column = pa.chunked_array([pa.array(values, pa.string())])
        elif (plain := plain_type(field.type)) != field.type:
            column = given.cast(plain)
        fields.append(pa.field(field.name, column.type))
        columns.append(column)
    # From columns, not from a mapping: SQL permits two columns of one name. A table without columns has no
    # rows either, whatever it says.
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """``kind`` as the connectors know it."""
    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}[kind.bit_width]
    return _plain_nested(kind)


def _plain_nested(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return kind


def is_complex(kind: pa.DataType) -> bool:
    """Array, map or struct."""
    return bool(pa.types.is_nested(kind))


def text(value: Any, kind: pa.DataType) -> str:
    """A value that is not None as Databricks casts it to a string; complex ones as JSON."""
    if is_complex(kind):
        return json.dumps(_jsonable(value, kind), ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    for types, write in _WRITERS.items():
        if isinstance(value, types):
            return write(value)
    return str(value)


def _timestamp(value: datetime.datetime) -> str:
    written = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return written.rstrip("0").rstrip(".")


def _day_time(value: datetime.timedelta) -> str:
    sign, value = ("-", -value) if value < datetime.timedelta() else ("", value)
    rest = value % _DAY
    hours, seconds = divmod(rest.seconds, 3600)
    return f"{sign}{value.days} {hours:02}:{seconds // 60:02}:{seconds % 60:02}.{rest.microseconds:06}000"


def _year_month(value: Any) -> str:
    months = value.months
    return f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12}"


# The order matters: a datetime is a date too.
_WRITERS: Mapping[Any, Callable[[Any], str]] = {
    datetime.datetime: _timestamp,
    datetime.timedelta: _day_time,
    pa.MonthDayNano: _year_month,
    decimal.Decimal: lambda value: format(value, "f"),
    bytes: lambda value: base64.b64encode(value).decode(),
}


def _jsonable(value: Any, kind: pa.DataType) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if pa.types.is_map(kind):
        return {
            text(key, kind.key_type): _jsonable(item, kind.item_type)
            for key, item in (value.items() if isinstance(value, dict) else value)
        }
    if pa.types.is_struct(kind):
        return {field.name: _jsonable(value[field.name], field.type) for field in kind}
    if is_complex(kind):
        return [_jsonable(item, kind.value_type) for item in value]
    if isinstance(value, decimal.Decimal):
        return float(value) if value % 1 else int(value)
    return text(value, kind)


def lz4_frame(content: pa.Buffer) -> bytes:
    """``content`` as one LZ4 frame whose blocks stand alone.

    Arrow's own codec links them, which the JDBC driver's lz4-java cannot read. The library is one that the SQL
    connector needs.
    """
    written: bytes = lz4.frame.compress(
        memoryview(content), block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX4MB, store_size=False
    )
    return written
