"""The rows of information_schema, made from the catalog when a statement asks for them.

The columns are those that Databricks documents, in their order and types. Statements about a catalog see that
catalog; those about ``system`` see all.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Catalog, Constraint, Name, Table
from dqctl.localworkspace.table_properties import constraints_of
from dqctl.localworkspace.types import Column

# A catalog of its own whose information_schema covers all catalogs.
SYSTEM_CATALOG = "system"
OWNER = "local"

Rows = Iterator[Sequence[Any]]
_TYPES = {"": pa.string(), "when": pa.timestamp("us", "UTC"), "int": pa.int32(), "long": pa.int64()}


def rows(catalog: Catalog, name: Name) -> pa.Table:
    """The rows of ``<catalog>.information_schema.<name>``; ``StatementError`` when there is no such relation."""
    view = _VIEWS.get(name.name)
    if view is None:
        raise errors.table_not_found(str(name))
    only = None if name.catalog == SYSTEM_CATALOG else name.catalog
    if only is not None:
        catalog.schemas(only)
    fields, make = view
    found = list(make(catalog, only))
    arrays = {}
    for index, field in enumerate(fields.split()):
        column, _, kind = field.partition(":")
        arrays[column] = pa.array([row[index] for row in found], _TYPES[kind])
    return pa.table(arrays)


def names_of() -> list[str]:
    """The relations of information_schema."""
    return sorted(_VIEWS)


def columns_of(catalog: Catalog, table: Table) -> tuple[Column, ...]:
    """The columns of a table or view."""
    return table.columns if table.is_view else delta.columns(catalog.path(table))


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _changes(created: float, altered: float | None = None) -> tuple[Any, ...]:
    return _when(created), OWNER, _when(created if altered is None else altered), OWNER


def _of(name: Name) -> tuple[str, str, str]:
    return name.catalog, name.schema, name.name


def _catalogs(catalog: Catalog, only: str | None) -> Rows:
    for name, entry in catalog.catalogs().items():
        if only in (None, name):
            yield (name, entry.owner or OWNER, entry.comment, *_changes(entry.created_at))


def _schemata(catalog: Catalog, only: str | None) -> Rows:
    for name in catalog.catalogs():
        if only not in (None, name):
            continue
        for schema, content in catalog.schemas(name).items():
            yield (name, schema, content.owner or OWNER, content.comment, *_changes(content.created_at))
        yield (name, INFORMATION_SCHEMA, OWNER, None, None, OWNER, None, OWNER)


def _tables(catalog: Catalog, only: str | None) -> Rows:
    for table in catalog.tables(only):
        yield (
            *_of(table.name),
            table.kind,
            "NO" if table.is_view else "YES",
            "PRESERVE",
            table.owner or OWNER,
            table.comment,
            *_changes(table.created_at, table.altered_at),
            "UNKNOWN_DATA_SOURCE_FORMAT" if table.is_view else "DELTA",
            None,
            None if table.is_view else str(catalog.path(table)),
        )


def _columns(catalog: Catalog, only: str | None) -> Rows:
    for table in catalog.tables(only):
        partitions = [] if table.is_view else delta.partition_columns(catalog.path(table))
        for position, column in enumerate(columns_of(catalog, table)):
            precision, scale = column.precision_and_scale
            text = column.base_type in ("string", "varchar", "char")
            yield (
                *_of(table.name), column.name, position, column.default, "YES" if column.nullable else "NO",
                column.type, column.unity_type, 0 if text else None, 0 if text else None,
                precision, None if precision is None else 10, scale, None, None, None, None,
                *_made(column), "NO", "NO", None, "YES",
                partitions.index(column.name) if column.name in partitions else None, column.comment,
            )  # fmt: skip


def _made(column: Column) -> tuple[str | int | None, ...]:
    """What says of a column whether its values are made, and how."""
    if column.generated is not None and not column.generated.startswith("GENERATED ALWAYS AS ("):
        words = column.generated.replace("(", " ").replace(")", " ").split()
        how = "BY DEFAULT" if "DEFAULT" in words else "ALWAYS"
        return "YES", how, words[words.index("WITH") + 1], words[-1], None, None, "NO", "NO", None
    if column.generated is not None:
        expression = column.generated.removeprefix("GENERATED ALWAYS AS (").removesuffix(")")
        return "NO", None, None, None, None, None, None, "YES", expression
    return "NO", None, None, None, None, None, None, "NO", None


def _views(catalog: Catalog, only: str | None) -> Rows:
    for table in catalog.tables(only):
        if table.is_view:
            yield (*_of(table.name), table.query, "NONE", "NO", "NO", None, "false")


def _volumes(catalog: Catalog, only: str | None) -> Rows:
    for volume in catalog.volumes(only):
        place = str(catalog.path(volume))
        yield (
            *_of(volume.name), "MANAGED", volume.owner or OWNER, volume.comment, place,
            *_changes(volume.created_at),
        )  # fmt: skip


def _constraints(catalog: Catalog, only: str | None, *kinds: str) -> Iterator[tuple[Table, Constraint]]:
    for table in catalog.tables(only):
        for one in constraints_of(catalog, table):
            if not kinds or one.kind in kinds:
                yield table, one


def _table_constraints(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only):
        enforced = "YES" if one.kind == "CHECK" else "NO"
        yield (*_within(table, one), *_of(table.name), one.kind, "NO", "NO", enforced, None)


def _within(table: Table, one: Constraint) -> tuple[str, str, str]:
    return table.name.catalog, table.name.schema, one.name


def _check_constraints(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only, "CHECK"):
        yield (*_within(table, one), one.expression, None)


def _key_column_usage(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only, "PRIMARY KEY", "FOREIGN KEY"):
        parent = _primary_key(catalog, one)
        unique = [name.lower() for name in parent.columns] if parent else []
        for position, column in enumerate(one.columns):
            of_parent = None
            if unique and one.parent_columns[position].lower() in unique:
                of_parent = unique.index(one.parent_columns[position].lower()) + 1
            yield (*_within(table, one), *_of(table.name), column, position + 1, of_parent)


def _primary_key(catalog: Catalog, one: Constraint) -> Constraint | None:
    """The key that a foreign key refers to, if it is there."""
    parent = catalog.find(one.parent) if one.parent else None
    return next((key for key in parent.constraints if key.kind == "PRIMARY KEY"), None) if parent else None


def _constraint_column_usage(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only, "PRIMARY KEY", "FOREIGN KEY"):
        for column in one.parent_columns or one.columns:
            yield (*_of(one.parent or table.name), column, *_within(table, one))


def _constraint_table_usage(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only, "PRIMARY KEY", "FOREIGN KEY"):
        yield (*_within(table, one), *_of(one.parent or table.name))


def _referential_constraints(catalog: Catalog, only: str | None) -> Rows:
    for table, one in _constraints(catalog, only, "FOREIGN KEY"):
        key = _primary_key(catalog, one)
        if one.parent is not None and key is not None:
            unique = (one.parent.catalog, one.parent.schema, key.name)
            yield (*_within(table, one), *unique, "FULL", "NO ACTION", "NO ACTION")


def _table_tags(catalog: Catalog, only: str | None) -> Rows:
    for table in catalog.tables(only):
        for tag in sorted(table.tags.items()):
            yield (*_of(table.name), *tag)


def _column_tags(catalog: Catalog, only: str | None) -> Rows:
    for table in catalog.tables(only):
        for column, tags in sorted(table.column_tags.items()):
            for tag in sorted(tags.items()):
                yield (*_of(table.name), column, *tag)


def _volume_tags(catalog: Catalog, only: str | None) -> Rows:
    for volume in catalog.volumes(only):
        for tag in sorted(volume.tags.items()):
            yield (*_of(volume.name), *tag)


def _schema_tags(catalog: Catalog, only: str | None) -> Rows:
    for name in catalog.catalogs():
        if only in (None, name):
            for schema, content in catalog.schemas(name).items():
                for tag in sorted(content.tags.items()):
                    yield (name, schema, *tag)


def _catalog_tags(catalog: Catalog, only: str | None) -> Rows:
    for name, entry in catalog.catalogs().items():
        if only in (None, name):
            for tag in sorted(entry.tags.items()):
                yield (name, *tag)


def _privileges(kind: str) -> Callable[[Catalog, str | None], Rows]:
    def made(catalog: Catalog, only: str | None) -> Rows:
        for one in catalog.grants():
            if one.kind == kind and only in (None, one.name[0]):
                yield (OWNER, one.principal, *one.name, one.privilege, "NO", "NONE")

    return made


def _routines(catalog: Catalog, only: str | None) -> Rows:
    for name in catalog.catalogs():
        if only not in (None, name):
            continue
        for schema, content in catalog.schemas(name).items():
            for one in content.functions.values():
                place = (name, schema, one.name.name)
                yield (
                    *place, *place, OWNER, "FUNCTION", one.returns, "SQL", one.body, "YES", "CONTAINS_SQL",
                    one.comment, *_changes(one.created_at),
                )  # fmt: skip


def _catalog_name(_: Catalog, only: str | None) -> Rows:
    yield (only or SYSTEM_CATALOG,)


def _none(_: Catalog, __: str | None) -> Rows:
    yield from ()


_TABLE = "table_catalog table_schema table_name"
_CONSTRAINT = "constraint_catalog constraint_schema constraint_name"
_CHANGES = "created:when created_by last_altered:when last_altered_by"
_GRANT = "privilege_type is_grantable inherited_from"
_VIEWS: dict[str, tuple[str, Callable[[Catalog, str | None], Rows]]] = {
    "catalogs": (f"catalog_name catalog_owner comment {_CHANGES}", _catalogs),
    "schemata": (f"catalog_name schema_name schema_owner comment {_CHANGES}", _schemata),
    "tables": (
        f"{_TABLE} table_type is_insertable_into commit_action table_owner comment {_CHANGES} data_source_format "
        "storage_sub_directory storage_path",
        _tables,
    ),
    "columns": (
        f"{_TABLE} column_name ordinal_position:int column_default is_nullable full_data_type data_type "
        "character_maximum_length:long character_octet_length:long numeric_precision:int "
        "numeric_precision_radix:int numeric_scale:int datetime_precision:int interval_type "
        "interval_precision:int maximum_cardinality:long is_identity identity_generation identity_start "
        "identity_increment identity_maximum identity_minimum identity_cycle is_generated generation_expression "
        "is_system_time_period_start is_system_time_period_end system_time_period_timestamp_generation "
        "is_updatable partition_index:int comment",
        _columns,
    ),
    "views": (
        f"{_TABLE} view_definition check_option is_updatable is_insertable_into sql_path is_materialized",
        _views,
    ),
    "volumes": (
        "volume_catalog volume_schema volume_name volume_type volume_owner comment storage_location " + _CHANGES,
        _volumes,
    ),
    "table_constraints": (
        f"{_CONSTRAINT} {_TABLE} constraint_type is_deferrable initially_deferred enforced comment",
        _table_constraints,
    ),
    "check_constraints": (f"{_CONSTRAINT} check_clause sql_path", _check_constraints),
    "key_column_usage": (
        f"{_CONSTRAINT} {_TABLE} column_name ordinal_position:int position_in_unique_constraint:int",
        _key_column_usage,
    ),
    "constraint_column_usage": (f"{_TABLE} column_name {_CONSTRAINT}", _constraint_column_usage),
    "constraint_table_usage": (f"{_CONSTRAINT} {_TABLE}", _constraint_table_usage),
    "referential_constraints": (
        f"{_CONSTRAINT} unique_constraint_catalog unique_constraint_schema unique_constraint_name match_option "
        "update_rule delete_rule",
        _referential_constraints,
    ),
    "table_tags": ("catalog_name schema_name table_name tag_name tag_value", _table_tags),
    "column_tags": ("catalog_name schema_name table_name column_name tag_name tag_value", _column_tags),
    "volume_tags": ("catalog_name schema_name volume_name tag_name tag_value", _volume_tags),
    "schema_tags": ("catalog_name schema_name tag_name tag_value", _schema_tags),
    "catalog_tags": ("catalog_name tag_name tag_value", _catalog_tags),
    "table_privileges": (f"grantor grantee {_TABLE} {_GRANT}", _privileges("TABLE")),
    "schema_privileges": (f"grantor grantee catalog_name schema_name {_GRANT}", _privileges("SCHEMA")),
    "catalog_privileges": (f"grantor grantee catalog_name {_GRANT}", _privileges("CATALOG")),
    "volume_privileges": (
        f"grantor grantee volume_catalog volume_schema volume_name {_GRANT}",
        _privileges("VOLUME"),
    ),
    "routine_privileges": (
        f"grantor grantee routine_catalog routine_schema routine_name {_GRANT}",
        _privileges("FUNCTION"),
    ),
    "routines": (
        "specific_catalog specific_schema specific_name routine_catalog routine_schema routine_name routine_owner "
        "routine_type data_type routine_body routine_definition is_deterministic sql_data_access comment "
        + _CHANGES,
        _routines,
    ),
    # What a local workspace has none of; clients that look for it find nothing.
    "column_masks": (f"{_TABLE} column_name mask_name using_columns", _none),
    "row_filters": (f"{_TABLE} filter_name target_columns", _none),
    "information_schema_catalog_name": ("catalog_name", _catalog_name),
}
