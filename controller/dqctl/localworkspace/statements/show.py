"""SHOW."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Name, Table
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.information_schema import OWNER, columns_of, names_of
from dqctl.localworkspace.sql.inspection import Show
from dqctl.localworkspace.statements.describe import facts_of, plain
from dqctl.localworkspace.statements.permissions import show_grants
from dqctl.localworkspace.statements.results import strings
from dqctl.localworkspace.table_properties import check_key, checks_of, constraints_of, properties_of
from dqctl.localworkspace.types import Column, quoted_if_needed


def show(command: Show, context: Context) -> Result:
    """Names of things."""
    return _SHOW[command.what](command, context)


def _catalogs(command: Show, context: Context) -> Result:
    return strings(("catalog",), [(name,) for name in context.catalog.catalogs() if _like(command.pattern, name)])


def _schemas(command: Show, context: Context) -> Result:
    catalog = command.parts[-1].lower() if command.parts else context.namespace.catalog
    names = [*context.catalog.schemas(catalog), INFORMATION_SCHEMA]
    return strings(("databaseName",), [(name,) for name in sorted(names) if _like(command.pattern, name)])


def _place(command: Show, context: Context) -> tuple[str, str]:
    catalog, schema = context.namespace.schema_of(command.parts)
    if schema == INFORMATION_SCHEMA:
        context.catalog.schemas(catalog)
    else:
        context.catalog.schema(catalog, schema)
    return catalog, schema


def _content(command: Show, context: Context) -> list[Table]:
    catalog, schema = _place(command, context)
    found = context.catalog.tables(catalog, schema)
    if schema == INFORMATION_SCHEMA:
        found = [Table(Name(catalog, schema, name), "VIEW") for name in names_of()]
    # A session's temporary views are shown whichever schema is asked for.
    found += [view for _, view in sorted(context.temporary.items())]
    return [table for table in found if _like(command.pattern, table.name.name)]


def _tables(command: Show, context: Context) -> Result:
    return _named("database", "tableName", _content(command, context))


def _views(command: Show, context: Context) -> Result:
    found = [table for table in _content(command, context) if table.is_view]
    return _named("namespace", "viewName", found, "isMaterialized")


def _named(space: str, name: str, found: list[Table], *flags: str) -> Result:
    columns = {
        space: pa.array([table.name.schema for table in found], pa.string()),
        name: pa.array([table.name.name for table in found], pa.string()),
        "isTemporary": pa.array([not table.name.schema for table in found], pa.bool_()),
    }
    return Result(pa.table(columns | {flag: pa.array([False] * len(found), pa.bool_()) for flag in flags}))


def _extended(command: Show, context: Context) -> Result:
    found = _content(command, context)
    return Result(
        pa.table(
            {
                "database": pa.array([table.name.schema for table in found], pa.string()),
                "tableName": pa.array([table.name.name for table in found], pa.string()),
                "isTemporary": pa.array([not table.name.schema for table in found], pa.bool_()),
                "information": pa.array([_information(table, context) for table in found], pa.string()),
            }
        )
    )


def _information(table: Table, context: Context) -> str:
    """All that is known of a table, a fact a line, and its columns as a tree."""
    facts = [f"{key}: {value}" for key, value in facts_of(table, context)]
    columns = [
        f" |-- {column.name}: {_TREE.get(column.base_type, column.type)}"
        f" (nullable = {str(column.nullable).lower()})"
        for column in columns_of(context.catalog, table)
    ]
    return "\n".join([*facts, "Schema: root", *columns]) + "\n"


# What Spark calls types where it draws a schema as a tree.
_TREE = {"tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long"}


def _dropped(command: Show, context: Context) -> Result:
    place = _place(command, context)
    found = [
        (one, one.content)
        for one in reversed(context.catalog.dropped())
        if isinstance(one.content, Table) and one.name[:2] == place
    ][: command.limit]
    rows = [
        (
            *one.name, one.id, table.kind, _when(one.at), _when(table.created_at), _when(table.altered_at),
            OWNER, table.owner or OWNER, table.comment,
        )
        for one, table in found
    ]  # fmt: skip
    return strings(
        (
            "catalogName", "schemaName", "tableName", "tableId", "tableType", "deletedAt", "createdAt",
            "updatedAt", "createdBy", "owner", "comment",
        ),
        rows,
    )  # fmt: skip


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "milliseconds")


def _volumes(command: Show, context: Context) -> Result:
    catalog, schema = _place(command, context)
    names = sorted(one.name.name for one in context.catalog.volumes(catalog) if one.name.schema == schema)
    return strings(("database", "volume_name"), [(schema, name) for name in names if _like(command.pattern, name)])


def _functions(command: Show, context: Context) -> Result:
    catalog, schema = _place(command, context)
    own = [] if schema == INFORMATION_SCHEMA else list(context.catalog.schema(catalog, schema).functions)
    own = [f"{catalog}.{schema}.{name}" for name in sorted(own) if _like(command.pattern, name)]
    names = [] if command.kind == "SYSTEM" else own
    if command.kind != "USER":
        known: list[str] = context.engine.query("SHOW SYSTEM FUNCTIONS").column(0).to_pylist()
        names = [*(name for name in known if _like(command.pattern, name)), *names]
    return strings(("function",), [(name,) for name in names])


def _columns(command: Show, context: Context) -> Result:
    table = context.relation(command.parts)
    return strings(
        ("col_name",),
        [(one.name,) for one in columns_of(context.catalog, table) if _like(command.pattern, one.name)],
    )


def _properties(command: Show, context: Context) -> Result:
    table = context.relation(command.parts)
    checks = {check_key(one.name): one.expression or "" for one in checks_of(context.catalog, table)}
    properties = properties_of(context.catalog, table) | checks | _clustering(table)
    if command.key is None:
        return strings(("key", "value"), sorted(properties.items()))
    missing = f"Table {plain(table.name)} does not have property: {command.key}"
    return strings(("key", "value"), [(command.key, properties.get(command.key, missing))])


def _clustering(table: Table) -> dict[str, str]:
    """CLUSTER BY in the words in which clients look for it."""
    if table.clustering == ("AUTO",):
        return {"clusterByAuto": "true"}
    if not table.clustering:
        return {}
    columns = json.dumps([name.split(".") for name in table.clustering], separators=(",", ":"))
    return {"clusterByAuto": "false", "clusteringColumns": columns}


def _partitions(command: Show, context: Context) -> Result:
    table = context.relation(command.parts)
    names = [] if table.is_view else delta.partition_columns(context.catalog.path(table))
    if not names:
        raise StatementError(
            "INVALID_PARTITION_OPERATION.PARTITION_SCHEMA_IS_EMPTY",
            f"The partition command is invalid. Table {table.name} is not partitioned.",
            "42601",
        )
    columns = [exp.column(exp.to_identifier(name, quoted=True)) for name in names]
    relation = exp.to_table(str(table.name), dialect="databricks")
    return Result(context.query(exp.select(*columns).distinct().from_(relation).order_by(*columns)))


def _create_table(command: Show, context: Context) -> Result:
    table = context.relation(command.parts)
    parts = [_column_text(table, column) for column in columns_of(context.catalog, table)]
    parts += [
        f"CONSTRAINT {quoted_if_needed(one.name)} {one.sql}" for one in constraints_of(context.catalog, table)
    ]
    columns = " (\n  " + ",\n  ".join(parts) + ")" if parts else ""
    lines = [f"CREATE {'VIEW' if table.is_view else 'TABLE'} {plain(table.name)}{columns}"]
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
    if properties := properties_of(context.catalog, table):
        pairs = ",\n  ".join(f"{_text(key)} = {_text(value)}" for key, value in sorted(properties.items()))
        lines.append(f"TBLPROPERTIES (\n  {pairs})")
    if table.is_view:
        lines.append(f"AS {table.query}")
    return strings(("createtab_stmt",), [("\n".join(lines) + "\n",)])


def _column_text(table: Table, column: Column) -> str:
    text = quoted_if_needed(column.name)
    if not table.is_view:
        text += f" {column.type.upper()}{'' if column.nullable else ' NOT NULL'}"
        text += f" DEFAULT {column.default}" if column.default is not None else ""
        text += f" {column.generated}" if column.generated is not None else ""
    return text + (f" COMMENT {_text(column.comment)}" if column.comment else "")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _like(pattern: str | None, name: str) -> bool:
    """SHOW's own patterns: ``*`` for any characters, ``|`` between alternatives; case does not matter."""
    if pattern is None:
        return True
    alternatives = (".*".join(map(re.escape, one.strip().split("*"))) for one in pattern.split("|"))
    return any(re.fullmatch(one, name, re.IGNORECASE) for one in alternatives)


_SHOW: dict[str, Callable[[Show, Context], Result]] = {
    "CATALOGS": _catalogs,
    "SCHEMAS": _schemas,
    "TABLES": _tables,
    "VIEWS": _views,
    "VOLUMES": _volumes,
    "COLUMNS": _columns,
    "TBLPROPERTIES": _properties,
    "CREATE TABLE": _create_table,
    "TABLE EXTENDED": _extended,
    "TABLES DROPPED": _dropped,
    "FUNCTIONS": _functions,
    "PARTITIONS": _partitions,
    "GRANTS": show_grants,
}
