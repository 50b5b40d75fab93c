"""The rows of information_schema, made from the catalog when a statement asks for them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Catalog, Name, Table
from dqctl.localworkspace.types import Column

# A catalog of its own whose information_schema covers all catalogs.
SYSTEM_CATALOG = "system"
OWNER = "local"

_TEXT = pa.string()
_WHEN = pa.timestamp("us", "UTC")
_NUMBER = pa.int32()


def rows(catalog: Catalog, name: Name) -> pa.Table:
    """The rows of ``<catalog>.information_schema.<name>``; ``StatementError`` when there is no such relation."""
    view = _VIEWS.get(name.name)
    if view is None:
        raise errors.table_not_found(str(name))
    only = None if name.catalog == SYSTEM_CATALOG else name.catalog
    if only is not None:
        catalog.schemas(only)
    fields, make = view
    found = make(catalog, only)
    return pa.table(
        {field: pa.array([row[index] for row in found], kind) for index, (field, kind) in enumerate(fields)}
    )


def columns_of(catalog: Catalog, table: Table) -> tuple[Column, ...]:
    """The columns of a table or view."""
    return table.columns if table.is_view else delta.columns(catalog.path(table))


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _catalogs(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    return [
        (name, OWNER, entry.comment, _when(entry.created_at), OWNER, _when(entry.created_at), OWNER)
        for name, entry in catalog.catalogs().items()
        if only in (None, name)
    ]


def _schemata(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for name in catalog.catalogs():
        if only not in (None, name):
            continue
        for schema, content in catalog.schemas(name).items():
            when = _when(content.created_at)
            found.append((name, schema, OWNER, content.comment, when, OWNER, when, OWNER))
        found.append((name, INFORMATION_SCHEMA, OWNER, None, None, OWNER, None, OWNER))
    return found


def _tables(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    return [
        (
            table.name.catalog,
            table.name.schema,
            table.name.name,
            table.kind,
            "NO" if table.is_view else "YES",
            "PRESERVE",
            OWNER,
            table.comment,
            _when(table.created_at),
            OWNER,
            _when(table.altered_at),
            OWNER,
            "UNKNOWN_DATA_SOURCE_FORMAT" if table.is_view else "DELTA",
            None if table.is_view else str(catalog.path(table)),
        )
        for table in catalog.tables(only)
    ]


def _columns(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    found: list[Sequence[Any]] = []
    for table in catalog.tables(only):
        for position, column in enumerate(columns_of(catalog, table)):
            precision, scale = column.precision_and_scale
            found.append(
                (
                    table.name.catalog,
                    table.name.schema,
                    table.name.name,
                    column.name,
                    position,
                    None,
                    "YES" if column.nullable else "NO",
                    column.type,
                    column.unity_type,
                    None,
                    None,
                    precision,
                    scale,
                    None,
                    column.comment,
                )
            )
    return found


def _views(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    return [
        (table.name.catalog, table.name.schema, table.name.name, table.query, "NONE", "NO", "NO")
        for table in catalog.tables(only)
        if table.is_view
    ]


def _volumes(catalog: Catalog, only: str | None) -> list[Sequence[Any]]:
    return [
        (
            volume.name.catalog,
            volume.name.schema,
            volume.name.name,
            "MANAGED",
            OWNER,
            volume.comment,
            str(catalog.path(volume)),
            _when(volume.created_at),
            OWNER,
            _when(volume.created_at),
            OWNER,
        )
        for volume in catalog.volumes(only)
    ]


def _none(_catalog: Catalog, _only: str | None) -> list[Sequence[Any]]:
    return []


_Fields = tuple[tuple[str, pa.DataType], ...]
_CHANGES: _Fields = (
    ("created", _WHEN),
    ("created_by", _TEXT),
    ("last_altered", _WHEN),
    ("last_altered_by", _TEXT),
)
_VIEWS: dict[str, tuple[_Fields, Callable[[Catalog, str | None], list[Sequence[Any]]]]] = {
    "catalogs": ((("catalog_name", _TEXT), ("catalog_owner", _TEXT), ("comment", _TEXT), *_CHANGES), _catalogs),
    "schemata": (
        (("catalog_name", _TEXT), ("schema_name", _TEXT), ("schema_owner", _TEXT), ("comment", _TEXT), *_CHANGES),
        _schemata,
    ),
    "tables": (
        (
            ("table_catalog", _TEXT),
            ("table_schema", _TEXT),
            ("table_name", _TEXT),
            ("table_type", _TEXT),
            ("is_insertable_into", _TEXT),
            ("commit_action", _TEXT),
            ("table_owner", _TEXT),
            ("comment", _TEXT),
            *_CHANGES,
            ("data_source_format", _TEXT),
            ("storage_path", _TEXT),
        ),
        _tables,
    ),
    "columns": (
        (
            ("table_catalog", _TEXT),
            ("table_schema", _TEXT),
            ("table_name", _TEXT),
            ("column_name", _TEXT),
            ("ordinal_position", _NUMBER),
            ("column_default", _TEXT),
            ("is_nullable", _TEXT),
            ("full_data_type", _TEXT),
            ("data_type", _TEXT),
            ("character_maximum_length", pa.int64()),
            ("character_octet_length", pa.int64()),
            ("numeric_precision", _NUMBER),
            ("numeric_scale", _NUMBER),
            ("datetime_precision", _NUMBER),
            ("comment", _TEXT),
        ),
        _columns,
    ),
    "views": (
        (
            ("table_catalog", _TEXT),
            ("table_schema", _TEXT),
            ("table_name", _TEXT),
            ("view_definition", _TEXT),
            ("check_option", _TEXT),
            ("is_updatable", _TEXT),
            ("is_insertable_into", _TEXT),
        ),
        _views,
    ),
    "volumes": (
        (
            ("volume_catalog", _TEXT),
            ("volume_schema", _TEXT),
            ("volume_name", _TEXT),
            ("volume_type", _TEXT),
            ("volume_owner", _TEXT),
            ("comment", _TEXT),
            ("storage_location", _TEXT),
            *_CHANGES,
        ),
        _volumes,
    ),
    # There are none: CREATE and ALTER refuse row filters and column masks. dbt looks before each run.
    "row_filters": (
        (
            ("table_catalog", _TEXT),
            ("table_schema", _TEXT),
            ("table_name", _TEXT),
            ("filter_name", _TEXT),
            ("target_columns", _TEXT),
        ),
        _none,
    ),
    "column_masks": (
        (
            ("table_catalog", _TEXT),
            ("table_schema", _TEXT),
            ("table_name", _TEXT),
            ("column_name", _TEXT),
            ("mask_name", _TEXT),
            ("using_columns", _TEXT),
        ),
        _none,
    ),
}
