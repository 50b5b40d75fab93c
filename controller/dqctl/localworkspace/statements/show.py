"""SHOW and DESCRIBE."""

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Name, Table
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.information_schema import OWNER, columns_of
from dqctl.localworkspace.information_schema import rows as information_rows
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.statements.results import strings
from dqctl.localworkspace.types import columns_from_arrow, quoted_if_needed


def show(command: commands.Show, context: Context) -> Result:
    """Names of things."""
    return _SHOW[command.what](command, context)


def describe(command: commands.Describe, context: Context) -> Result:
    """What one thing is like."""
    if command.what == "CATALOG":
        entry = context.catalog.catalogs().get(command.parts[-1].lower())
        if entry is None:
            raise errors.catalog_not_found(command.parts[-1])
        return strings(
            ("info_name", "info_value"),
            [("Catalog Name", command.parts[-1].lower()), ("Comment", entry.comment), ("Owner", OWNER)],
        )
    if command.what == "SCHEMA":
        catalog, schema = context.namespace.schema_of(command.parts)
        content = context.catalog.schema(catalog, schema)
        return strings(
            ("database_description_item", "database_description_value"),
            [
                ("Catalog Name", catalog),
                ("Namespace Name", schema),
                ("Comment", content.comment),
                ("Owner", OWNER),
            ],
        )
    if command.what == "VOLUME":
        volume = context.catalog.volume(context.namespace.full(command.parts))
        return strings(
            ("name", "catalog", "database", "owner", "volumeType", "storageLocation", "comment"),
            [(volume.name.name, volume.name.catalog, volume.name.schema, OWNER, "MANAGED",
              str(context.catalog.path(volume)), volume.comment)],
        )  # fmt: skip
    return _describe_table(command, context)


def _describe_table(command: commands.Describe, context: Context) -> Result:
    name = context.namespace.full(command.parts)
    if name.schema == INFORMATION_SCHEMA:
        columns = columns_from_arrow(information_rows(context.catalog, name).schema)
        return strings(("col_name", "data_type", "comment"), [(c.name, c.type, None) for c in columns])
    table = context.catalog.table(name)
    if command.what == "HISTORY":
        return Result(delta.history(_place(table, context)))
    if command.what == "DETAIL":
        return _detail(table, context)
    rows: list[tuple[str, str, str | None]] = [
        (column.name, column.type, column.comment) for column in columns_of(context.catalog, table)
    ]
    if command.what == "EXTENDED":
        rows += _extended(table, context)
    return strings(("col_name", "data_type", "comment"), rows)


def _place(table: Table, context: Context) -> Path:
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    return context.catalog.path(table)


def _extended(table: Table, context: Context) -> list[tuple[str, str, str | None]]:
    facts = [
        ("Catalog", table.name.catalog),
        ("Database", table.name.schema),
        ("Table", table.name.name),
        ("Owner", OWNER),
        ("Type", table.kind),
        ("Comment", table.comment or ""),
    ]
    if table.is_view:
        facts.append(("View Text", table.query or ""))
    else:
        properties = ",".join(f"{key}={value}" for key, value in sorted(table.properties.items()))
        facts += [
            ("Provider", "delta"),
            ("Location", str(context.catalog.path(table))),
            ("Table Properties", f"[{properties}]"),
        ]
    return [("", "", ""), ("# Detailed Table Information", "", ""), *((key, value, "") for key, value in facts)]


def _detail(table: Table, context: Context) -> Result:
    path = _place(table, context)
    files, size = delta.size(path)
    return Result(
        pa.table(
            {
                "format": ["delta"],
                "name": [str(table.name).replace("`", "")],
                "description": pa.array([table.comment], pa.string()),
                "location": [str(path)],
                "createdAt": pa.array([int(table.created_at * 1000)], pa.timestamp("ms", "UTC")),
                "lastModified": pa.array([delta.newest_commit(path)["timestamp"]], pa.timestamp("ms", "UTC")),
                "partitionColumns": pa.array([delta.partition_columns(path)], pa.list_(pa.string())),
                "clusteringColumns": pa.array([list(table.clustering)], pa.list_(pa.string())),
                "numFiles": pa.array([files], pa.int64()),
                "sizeInBytes": pa.array([size], pa.int64()),
                "properties": pa.array([list(table.properties.items())], pa.map_(pa.string(), pa.string())),
            }
        )
    )


def _catalogs(command: commands.Show, context: Context) -> Result:
    return strings(("catalog",), [(name,) for name in context.catalog.catalogs() if _like(command.pattern, name)])


def _schemas(command: commands.Show, context: Context) -> Result:
    catalog = command.parts[-1].lower() if command.parts else context.namespace.catalog
    names = [*context.catalog.schemas(catalog), INFORMATION_SCHEMA]
    return strings(("databaseName",), [(name,) for name in sorted(names) if _like(command.pattern, name)])


def _content(command: commands.Show, context: Context) -> list[Table]:
    catalog, schema = context.namespace.schema_of(command.parts)
    context.catalog.schema(catalog, schema)
    return [table for table in context.catalog.tables(catalog, schema) if _like(command.pattern, table.name.name)]


def _tables(command: commands.Show, context: Context) -> Result:
    found = _content(command, context)
    return _named("database", "tableName", found, ("isTemporary",))


def _views(command: commands.Show, context: Context) -> Result:
    found = [table for table in _content(command, context) if table.is_view]
    return _named("namespace", "viewName", found, ("isTemporary", "isMaterialized"))


def _named(space: str, name: str, found: list[Table], flags: tuple[str, ...]) -> Result:
    texts = {
        space: pa.array([table.name.schema for table in found], pa.string()),
        name: pa.array([table.name.name for table in found], pa.string()),
    }
    return Result(pa.table(texts | {flag: pa.array([False] * len(found), pa.bool_()) for flag in flags}))


def _volumes(command: commands.Show, context: Context) -> Result:
    catalog, schema = context.namespace.schema_of(command.parts)
    names = sorted(context.catalog.schema(catalog, schema).volumes)
    return strings(("database", "volume_name"), [(schema, name) for name in names if _like(command.pattern, name)])


def _columns(command: commands.Show, context: Context) -> Result:
    table = context.catalog.table(context.namespace.full(command.parts))
    return strings(("col_name",), [(column.name,) for column in columns_of(context.catalog, table)])


def _properties(command: commands.Show, context: Context) -> Result:
    table = context.catalog.table(context.namespace.full(command.parts))
    return strings(("key", "value"), sorted(table.properties.items()))


def _create_table(command: commands.Show, context: Context) -> Result:
    table = context.catalog.table(context.namespace.full(command.parts))
    columns = ",\n  ".join(
        f"{quoted_if_needed(column.name)}"
        + ("" if table.is_view else f" {column.type.upper()}{'' if column.nullable else ' NOT NULL'}")
        + (f" COMMENT {_text(column.comment)}" if column.comment else "")
        for column in columns_of(context.catalog, table)
    )
    lines = [f"CREATE {'VIEW' if table.is_view else 'TABLE'} {_plain(table.name)} (\n  {columns})"]
    if not table.is_view:
        lines.append("USING delta")
        partitions = delta.partition_columns(context.catalog.path(table))
        if partitions:
            lines.append(f"PARTITIONED BY ({', '.join(map(quoted_if_needed, partitions))})")
    if table.clustering:
        auto = table.clustering == ("AUTO",)
        lines.append(f"CLUSTER BY {'AUTO' if auto else '(' + ', '.join(table.clustering) + ')'}")
    if table.comment:
        lines.append(f"COMMENT {_text(table.comment)}")
    if table.kind == "EXTERNAL":
        lines.append(f"LOCATION {_text(str(context.catalog.path(table)))}")
    if table.properties:
        pairs = ",\n  ".join(f"{_text(key)} = {_text(value)}" for key, value in sorted(table.properties.items()))
        lines.append(f"TBLPROPERTIES (\n  {pairs})")
    if table.is_view:
        lines.append(f"AS {table.query}")
    return strings(("createtab_stmt",), [("\n".join(lines) + "\n",)])


def _plain(name: Name) -> str:
    return ".".join(quoted_if_needed(part) for part in (name.catalog, name.schema, name.name))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _like(pattern: str | None, name: str) -> bool:
    """SHOW's own patterns: ``*`` for any characters, ``|`` between alternatives; case does not matter."""
    if pattern is None:
        return True
    alternatives = (".*".join(map(re.escape, one.strip().split("*"))) for one in pattern.split("|"))
    return any(re.fullmatch(one, name, re.IGNORECASE) for one in alternatives)


_SHOW: dict[str, Callable[[commands.Show, Context], Result]] = {
    "CATALOGS": _catalogs,
    "SCHEMAS": _schemas,
    "TABLES": _tables,
    "VIEWS": _views,
    "VOLUMES": _volumes,
    "COLUMNS": _columns,
    "TBLPROPERTIES": _properties,
    "CREATE TABLE": _create_table,
}
