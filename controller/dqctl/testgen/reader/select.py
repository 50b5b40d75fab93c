"""SQL out of a source and the columns that are really there: new and dropped columns need no code."""

# ruff: noqa: S608 - SQL text out of names that are written here; values travel as parameters

from collections.abc import Mapping

from dqctl.records import Column, Type
from dqctl.testgen.reader.sources import Source

# Table to column to data type, as information_schema has them.
Present = Mapping[str, Mapping[str, str]]

# Delta has no room for years before 1 or after 9999, nor for infinity, which PostgreSQL all have.
_FIRST, _LAST = "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"


def select(source: Source, present: Present, *, and_where: str = "", more: Mapping[str, str] | None = None) -> str:
    """The SELECT of all columns of the source's table, in order, and of ``more`` (name to SQL) after them."""
    values = [f"{_expression(source, column, present)} AS {column.name}" for column in source.table.columns]
    values += [f"{sql} AS {name}" for name, sql in (more or {}).items()]
    where = f"{source.where} AND {and_where}" if and_where else source.where
    return f"SELECT {', '.join(values)} FROM {source.joined} WHERE {where} ORDER BY {source.order_by}"


def copy(source: Source, present: Present) -> str:
    """The COPY of the same rows and columns as CSV, in no order; timestamps are microseconds since 1970."""
    values = [
        f"(EXTRACT(EPOCH FROM {value}) * 1000000)::bigint" if column.type is Type.TIMESTAMP else value
        for column in source.table.columns
        for value in [_expression(source, column, present)]
    ]
    return f"COPY (SELECT {', '.join(values)} FROM {source.joined} WHERE {source.where}) TO STDOUT (FORMAT csv)"


def places_of(source: Source, column: str) -> tuple[str, ...]:
    """Where ``column`` is looked for, best first."""
    first = next(iter(source.aliases))
    return source.places.get(column, (f"{first}.{column}",))


def _expression(source: Source, column: Column, present: Present) -> str:
    if column.name in source.computed:
        return source.computed[column.name]
    for place in places_of(source, column.name):
        alias, name = place.split(".")
        data_type = present.get(source.aliases[alias], {}).get(name)
        if data_type is not None:
            return _typed(place, data_type, column.type)
    return f"NULL::{_POSTGRES[column.type]}"


def _typed(place: str, data_type: str, wanted: Type) -> str:
    if wanted is Type.TIMESTAMP:
        # Without a zone they are UTC.
        value = place if data_type == "timestamp with time zone" else f"({place} AT TIME ZONE 'UTC')"
        return f"CASE WHEN {value} BETWEEN {_FIRST} AND {_LAST} THEN {value} END"
    if wanted in (Type.DECIMAL_38_0, Type.DECIMAL_38_6, Type.DECIMAL_38_8):
        return f"NULLIF({place}, 'NaN'::numeric)"
    return place if data_type == _POSTGRES[wanted] else f"{place}::{_POSTGRES[wanted]}"


_POSTGRES = {
    Type.STRING: "text",
    Type.BIGINT: "bigint",
    Type.DOUBLE: "double precision",
    Type.BOOLEAN: "boolean",
    Type.TIMESTAMP: "timestamp with time zone",
    Type.DECIMAL_38_0: "numeric",
    Type.DECIMAL_38_6: "numeric",
    Type.DECIMAL_38_8: "numeric",
}
