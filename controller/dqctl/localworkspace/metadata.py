"""The rows of Thrift's GetCatalogs, GetSchemas, GetTables and GetColumns, columns as Databricks names them."""

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Catalog, Table
from dqctl.localworkspace.information_schema import columns_of
from dqctl.localworkspace.types import Column

_TEXT = pa.string()
_NUMBER = pa.int32()


def catalogs(catalog: Catalog) -> pa.Table:
    """One row a catalog."""
    return pa.table({"TABLE_CAT": pa.array(list(catalog.catalogs()), _TEXT)})


def schemas(catalog: Catalog, in_catalog: str | None, schema: str | None) -> pa.Table:
    """One row a schema."""
    found = [
        (name, catalog_name)
        for catalog_name in filter(matching(in_catalog), catalog.catalogs())
        for name in filter(matching(schema), [*catalog.schemas(catalog_name), INFORMATION_SCHEMA])
    ]
    return pa.table(
        {
            "TABLE_SCHEM": pa.array([row[0] for row in found], _TEXT),
            "TABLE_CATALOG": pa.array([row[1] for row in found], _TEXT),
        }
    )


def tables(
    catalog: Catalog, in_catalog: str | None, schema: str | None, table: str | None, types: Sequence[str] | None
) -> pa.Table:
    """One row a table or view."""
    found = [one for one in _matching(catalog, in_catalog, schema, table) if not types or _kind(one) in types]
    nothing = pa.nulls(len(found), _TEXT)
    return pa.table(
        {
            "TABLE_CAT": pa.array([one.name.catalog for one in found], _TEXT),
            "TABLE_SCHEM": pa.array([one.name.schema for one in found], _TEXT),
            "TABLE_NAME": pa.array([one.name.name for one in found], _TEXT),
            "TABLE_TYPE": pa.array([_kind(one) for one in found], _TEXT),
            "REMARKS": pa.array([one.comment or "" for one in found], _TEXT),
            "TYPE_CAT": nothing,
            "TYPE_SCHEM": nothing,
            "TYPE_NAME": nothing,
            "SELF_REFERENCING_COL_NAME": nothing,
            "REF_GENERATION": nothing,
        }
    )


def columns(
    catalog: Catalog, in_catalog: str | None, schema: str | None, table: str | None, column: str | None
) -> pa.Table:
    """One row a column."""
    wanted = matching(column)
    found: list[tuple[Table, int, Column]] = [
        (one, position, field)
        for one in _matching(catalog, in_catalog, schema, table)
        for position, field in enumerate(columns_of(catalog, one))
        if wanted(field.name)
    ]
    no_number, no_text = pa.nulls(len(found), _NUMBER), pa.nulls(len(found), _TEXT)
    fields = [field for _, _, field in found]
    return pa.table(
        {
            "TABLE_CAT": pa.array([one.name.catalog for one, _, _ in found], _TEXT),
            "TABLE_SCHEM": pa.array([one.name.schema for one, _, _ in found], _TEXT),
            "TABLE_NAME": pa.array([one.name.name for one, _, _ in found], _TEXT),
            "COLUMN_NAME": pa.array([field.name for field in fields], _TEXT),
            "DATA_TYPE": pa.array([field.jdbc_type for field in fields], _NUMBER),
            "TYPE_NAME": pa.array([field.type_name for field in fields], _TEXT),
            "COLUMN_SIZE": pa.array([field.precision_and_scale[0] for field in fields], _NUMBER),
            "BUFFER_LENGTH": pa.nulls(len(found), pa.int8()),
            "DECIMAL_DIGITS": pa.array([field.precision_and_scale[1] for field in fields], _NUMBER),
            "NUM_PREC_RADIX": pa.array(
                [10 if field.precision_and_scale[0] else None for field in fields], _NUMBER
            ),
            "NULLABLE": pa.array([int(field.nullable) for field in fields], _NUMBER),
            "REMARKS": pa.array([field.comment or "" for field in fields], _TEXT),
            "COLUMN_DEF": no_text,
            "SQL_DATA_TYPE": no_number,
            "SQL_DATETIME_SUB": no_number,
            "CHAR_OCTET_LENGTH": no_number,
            "ORDINAL_POSITION": pa.array([position for _, position, _ in found], _NUMBER),
            "IS_NULLABLE": pa.array(["YES" if field.nullable else "NO" for field in fields], _TEXT),
            "SCOPE_CATALOG": no_text,
            "SCOPE_SCHEMA": no_text,
            "SCOPE_TABLE": no_text,
            "SOURCE_DATA_TYPE": pa.nulls(len(found), pa.int16()),
            "IS_AUTO_INCREMENT": pa.array(["NO"] * len(found), _TEXT),
        }
    )


def matching(pattern: str | None) -> Callable[[str], bool]:
    """Whether a name fits a LIKE pattern with ``\\`` as escape, in any case; None and "" fit everything."""
    if pattern in (None, "", "%", "*"):
        return lambda _: True
    parts = re.findall(r"\\.|.", pattern or "", re.DOTALL)
    wild = {"%": ".*", "_": "."}
    compiled = re.compile(
        "".join(re.escape(part[1]) if len(part) == 2 else wild.get(part, re.escape(part)) for part in parts),
        re.IGNORECASE | re.DOTALL,
    )
    return lambda name: compiled.fullmatch(name) is not None


def _kind(table: Table) -> str:
    return "VIEW" if table.is_view else "TABLE"


def _matching(catalog: Catalog, in_catalog: str | None, schema: str | None, table: str | None) -> list[Table]:
    in_catalogs, in_schemas, named = matching(in_catalog), matching(schema), matching(table)
    return [
        one
        for one in catalog.tables()
        if in_catalogs(one.name.catalog) and in_schemas(one.name.schema) and named(one.name.name)
    ]
