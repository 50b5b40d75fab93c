"""The rows of Thrift's GetPrimaryKeys, GetCrossReference and GetFunctions, columns as JDBC names them."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from dqctl.localworkspace.catalog import Catalog, Constraint, Name, Table
from dqctl.localworkspace.metadata import matching

# Catalog, schema and name; None leaves a part open.
Place = tuple[str | None, str | None, str | None]

_NO_ACTION, _NOT_DEFERRABLE, _FUNCTION_WITHOUT_TABLE = 3, 7, 1
# Hive misspelt the fifth, and all that came of it did so too.
_PRIMARY = ("TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "COLUMN_NAME", "KEQ_SEQ", "PK_NAME")
_CROSS = (
    "PKTABLE_CAT", "PKTABLE_SCHEM", "PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_CAT", "FKTABLE_SCHEM",
    "FKTABLE_NAME", "FKCOLUMN_NAME", "KEQ_SEQ",
    "UPDATE_RULE", "DELETE_RULE", "FK_NAME", "PK_NAME", "DEFERRABILITY",
)  # fmt: skip
_FUNCTIONS = ("FUNCTION_CAT", "FUNCTION_SCHEM", "FUNCTION_NAME", "REMARKS", "FUNCTION_TYPE", "SPECIFIC_NAME")
_NUMBERS = ("KEQ_SEQ", "UPDATE_RULE", "DELETE_RULE", "DEFERRABILITY", "FUNCTION_TYPE")


def primary_keys(catalog: Catalog, place: Place) -> pa.Table:
    """One row a column of a primary key."""
    return _rows(
        _PRIMARY,
        (
            (*_parts(table.name), column, position, one.name)
            for table, one in _constraints(catalog, place, "PRIMARY KEY")
            for position, column in enumerate(one.columns, start=1)
        ),
    )


def cross_reference(catalog: Catalog, parent: Place, foreign: Place) -> pa.Table:
    """One row a column of a foreign key of ``foreign`` that refers to ``parent``."""
    found = []
    for table, one in _constraints(catalog, foreign, "FOREIGN KEY"):
        if one.parent is None or not _fits(one.parent, parent):
            continue
        referred = catalog.find(one.parent)
        key = (
            next((each for each in referred.constraints if each.kind == "PRIMARY KEY"), None) if referred else None
        )
        columns = one.parent_columns or (key.columns if key else ())
        found += [
            (*_parts(one.parent), theirs, *_parts(table.name), ours, position, _NO_ACTION, _NO_ACTION, one.name,
             key.name if key else None, _NOT_DEFERRABLE)
            for position, (theirs, ours) in enumerate(zip(columns, one.columns, strict=False), start=1)
        ]  # fmt: skip
    return _rows(_CROSS, found)


def functions(catalog: Catalog, in_catalog: str | None, schema: str | None, name: str | None) -> pa.Table:
    """One row a function that somebody made; patterns as for tables."""
    in_catalogs, in_schemas, named = matching(in_catalog), matching(schema), matching(name)
    return _rows(
        _FUNCTIONS,
        (
            (catalog_name, schema_name, function, one.comment or "", _FUNCTION_WITHOUT_TABLE, str(one.name))
            for catalog_name in filter(in_catalogs, catalog.catalogs())
            for schema_name, content in catalog.schemas(catalog_name).items()
            if in_schemas(schema_name)
            for function, one in content.functions.items()
            if named(function)
        ),
    )


def _constraints(catalog: Catalog, place: Place, kind: str) -> Iterable[tuple[Table, Constraint]]:
    for table in catalog.tables():
        if _fits(table.name, place):
            yield from ((table, one) for one in table.constraints if one.kind == kind)


def _parts(name: Name) -> tuple[str, str, str]:
    return name.catalog, name.schema, name.name


def _fits(name: Name, place: Place) -> bool:
    both = zip(_parts(name), place, strict=True)
    return all(not wanted or wanted.lower() == part.lower() for part, wanted in both)


def _rows(names: Sequence[str], rows: Iterable[Sequence[object]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kinds = [pa.int32() if name in _NUMBERS else pa.string() for name in names]
    return pa.table(
        {name: pa.array(values, kind) for name, values, kind in zip(names, columns, kinds, strict=True)}
    )
