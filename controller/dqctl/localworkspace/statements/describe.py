"""DESCRIBE, and what is said of a table in more than one place."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta, errors, transaction_log
from dqctl.localworkspace.catalog import INFORMATION_SCHEMA, Name, Table
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result
from dqctl.localworkspace.information_schema import OWNER, columns_of
from dqctl.localworkspace.information_schema import rows as information_rows
from dqctl.localworkspace.sql.inspection import Describe, DescribeQuery
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.statements.describe_json import describe_json
from dqctl.localworkspace.statements.results import strings
from dqctl.localworkspace.table_properties import properties_of
from dqctl.localworkspace.types import Column, columns_from_arrow, quoted_if_needed

_COLUMNS = ("col_name", "data_type", "comment")
Facts = list[tuple[str, str]]


def describe(command: Describe, context: Context) -> Result:
    """What one thing is like."""
    return _DESCRIBE[command.what](command, context)


def describe_query(command: DescribeQuery, context: Context) -> Result:
    """The columns that a query would return."""
    tree = parse_tree(command.query)
    try:
        columns = _query_columns(tree.copy(), context)
    except Exception as error:
        # The embedded engine (Sail 0.7.2) reckons with constants already when it is asked for columns, a warehouse
        # does not: the JDBC driver asks with '?' in the place of a number that is to come.
        if errors.from_engine(error).error_class != "CAST_INVALID_INPUT" or not tree.args.get("where"):
            raise
        tree.set("where", None)
        columns = _query_columns(tree, context)
    return strings(_COLUMNS, [(column.name, column.type, None) for column in columns])


def _query_columns(tree: exp.Expr, context: Context) -> tuple[Column, ...]:
    with context.planned(tree) as sql:
        return columns_from_arrow(context.engine.schema(sql))


def _catalog(command: Describe, context: Context) -> Result:
    name = command.parts[-1].lower()
    entry = context.catalog.catalogs().get(name)
    if entry is None:
        raise errors.catalog_not_found(command.parts[-1])
    rows: list[tuple[str, str | None]] = [
        ("Catalog Name", name), ("Comment", entry.comment), ("Owner", entry.owner or OWNER),
    ]  # fmt: skip
    if command.extended:
        rows += [("Catalog Type", "Regular"), ("Created By", OWNER), ("Created At", _date(entry.created_at))]
    return strings(("info_name", "info_value"), rows)


def _schema(command: Describe, context: Context) -> Result:
    catalog, schema = context.namespace.schema_of(command.parts)
    content = context.catalog.schema(catalog, schema)
    rows: list[tuple[str, str | None]] = [
        ("Catalog Name", catalog), ("Namespace Name", schema), ("Comment", content.comment),
        ("Owner", content.owner or OWNER),
    ]  # fmt: skip
    if command.extended:
        pairs = ", ".join(f"({key},{value})" for key, value in sorted(content.properties.items()))
        rows.append(("Properties", f"({pairs})" if pairs else ""))
    return strings(("database_description_item", "database_description_value"), rows)


def _volume(command: Describe, context: Context) -> Result:
    volume = context.catalog.volume(context.namespace.full(command.parts))
    return strings(
        ("name", "catalog", "database", "owner", "volumeType", "storageLocation", "comment"),
        [(volume.name.name, volume.name.catalog, volume.name.schema, volume.owner or OWNER, "MANAGED",
          str(context.catalog.path(volume)), volume.comment)],
    )  # fmt: skip


def _function(command: Describe, context: Context) -> Result:
    name = context.namespace.full(command.parts)
    function = context.catalog.function(name)
    if function is None and len(command.parts) == 1 and command.parts[0].isidentifier():
        word = "EXTENDED " if command.extended else ""
        return Result(context.engine.query(f"DESCRIBE FUNCTION {word}{command.parts[0]}"))
    if function is None:
        raise errors.function_not_found(str(name))
    arguments = ", ".join(f"{quoted_if_needed(one)} {kind}" for one, kind in function.parameters)
    lines = [f"Function: {plain(name)}", "Type:     SCALAR", f"Input:    {arguments or '()'}"]
    lines.append(f"Returns:  {function.returns or 'the type of its body'}")
    if command.extended:
        lines += [f"Comment:  {function.comment or ''}", f"Body:     {function.body}"]
    return strings(("function_desc",), [(line,) for line in lines])


def _table(command: Describe, context: Context) -> Result:
    name = context.namespace.full(command.parts)
    if name.schema == INFORMATION_SCHEMA:
        columns = columns_from_arrow(information_rows(context.catalog, name).schema)
        return strings(_COLUMNS, [(column.name, column.type, None) for column in columns])
    table = context.relation(command.parts)
    if command.as_json:
        return strings(("json_metadata",), [(describe_json(table, context),)])
    if command.column is not None:
        return _column(command.column, table, context)
    rows: list[tuple[str, str, str | None]] = [
        (column.name, column.type, column.comment) for column in columns_of(context.catalog, table)
    ]
    if not table.is_view:
        rows += _sections(table, context)
    if command.extended:
        rows += [("", "", ""), ("# Detailed Table Information", "", "")]
        rows += [(key, value, "") for key, value in facts_of(table, context)]
        if table.constraints:
            rows += [("", "", ""), ("# Constraints", "", "")]
            keys = sorted((one for one in table.constraints if one.kind != "CHECK"), key=lambda one: one.name)
            rows += [(one.name, one.sql, "") for one in keys]
    return strings(_COLUMNS, rows)


def _sections(table: Table, context: Context) -> list[tuple[str, str, str | None]]:
    """The columns once more by which the table is partitioned or clustered."""
    columns = {one.name.lower(): one for one in columns_of(context.catalog, table)}
    clustering = [] if table.clustering == ("AUTO",) else [name.lower() for name in table.clustering]
    partitions = [name.lower() for name in delta.partition_columns(context.catalog.path(table))]
    rows: list[tuple[str, str, str | None]] = []
    for title, wanted in (("# Partition Information", partitions), ("# Clustering Information", clustering)):
        # A kill between the two leaves an entry that names a column which a commit has renamed.
        names = [name for name in wanted if name in columns]
        if names:
            rows += [(title, "", ""), ("# col_name", "data_type", "comment")]
            rows += [(columns[name].name, columns[name].type, columns[name].comment) for name in names]
    return rows


def _column(name: str, table: Table, context: Context) -> Result:
    found = next((one for one in columns_of(context.catalog, table) if one.name.lower() == name.lower()), None)
    if found is None:
        raise errors.unresolved_column(name)
    facts = [("col_name", found.name), ("data_type", found.type), ("comment", found.comment or "NULL")]
    return strings(("info_name", "info_value"), facts)


def facts_of(table: Table, context: Context) -> Facts:
    """What is known of a table, in the words of DESCRIBE EXTENDED."""
    if not table.name.schema:
        return [("Table", table.name.name), ("Type", "VIEW"), ("View Text", table.query or "")]
    facts = [
        ("Catalog", table.name.catalog),
        ("Database", table.name.schema),
        ("Table", table.name.name),
        ("Created Time", _date(table.created_at)),
        ("Last Access", "UNKNOWN"),
        ("Created By", OWNER),
        ("Owner", table.owner or OWNER),
        ("Type", table.kind),
    ]
    if table.comment:  # no line without one: clients take what follows "Comment: " for it
        facts.append(("Comment", table.comment))
    properties = ",".join(f"{key}={value}" for key, value in sorted(properties_of(context.catalog, table).items()))
    if table.is_view:
        columns = ", ".join(f"`{column.name}`" for column in table.columns)
        facts += [
            ("View Text", table.query or ""),
            ("View Original Text", table.query or ""),
            ("View Schema Mode", "COMPENSATION"),
            ("View Catalog and Namespace", f"{table.name.catalog}.{table.name.schema}"),
            ("View Query Output Columns", f"[{columns}]"),
        ]
    else:
        facts += [
            ("Provider", "delta"),
            ("Location", str(context.catalog.path(table))),
            ("Is_managed_location", str(table.kind == "MANAGED").lower()),
        ]
    return [*facts, ("Table Properties", f"[{properties}]")]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


def plain(name: Name) -> str:
    """A full name, quoted where it has to be."""
    return ".".join(quoted_if_needed(part) for part in (name.catalog, name.schema, name.name) if part)


def _place(command: Describe, context: Context) -> tuple[Table, Path]:
    table = context.relation(command.parts)
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    return table, context.catalog.path(table)


def _history(command: Describe, context: Context) -> Result:
    return Result(delta.history(_place(command, context)[1])[: command.limit])


def _detail(command: Describe, context: Context) -> Result:
    table, path = _place(command, context)
    log, newest = transaction_log.read(path), transaction_log.history(path)[0]
    features = sorted({*log.protocol.get("readerFeatures", ()), *log.protocol.get("writerFeatures", ())})
    texts, numbers = pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.int64())
    automatic = table.clustering == ("AUTO",)
    return Result(
        pa.table(
            {
                "format": ["delta"],
                "id": [log.metadata["id"]],
                "name": [str(table.name).replace("`", "")],
                "description": pa.array([table.comment], pa.string()),
                "location": [str(path)],
                "createdAt": pa.array([int(table.created_at * 1000)], pa.timestamp("ms", "UTC")),
                "lastModified": pa.array([newest["timestamp"]], pa.timestamp("ms", "UTC")),
                "partitionColumns": pa.array([log.partition_columns], pa.list_(pa.string())),
                "clusteringColumns": pa.array(
                    [[] if automatic else list(table.clustering)], pa.list_(pa.string())
                ),
                "numFiles": pa.array([len(log.files)], pa.int64()),
                "sizeInBytes": pa.array([log.size], pa.int64()),
                "properties": pa.array([list(properties_of(context.catalog, table).items())], texts),
                "minReaderVersion": pa.array([log.protocol["minReaderVersion"]], pa.int32()),
                "minWriterVersion": pa.array([log.protocol["minWriterVersion"]], pa.int32()),
                "tableFeatures": pa.array([features], pa.list_(pa.string())),
                "statistics": pa.array([[]], numbers),
                "clusterByAuto": pa.array([automatic], pa.bool_()),
            }
        )
    )


_DESCRIBE: dict[str, Callable[[Describe, Context], Result]] = {
    "TABLE": _table,
    "HISTORY": _history,
    "DETAIL": _detail,
    "SCHEMA": _schema,
    "CATALOG": _catalog,
    "VOLUME": _volume,
    "FUNCTION": _function,
}
