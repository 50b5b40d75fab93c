"""CREATE TABLE, CREATE VIEW and ALTER.

Data first, then the catalog's entry: what a crash leaves behind is a folder that no entry names, and the next
start of the lakehouse sweeps it away.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import Name, Table, quoted, valid
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.names import named_relations, parts_of, qualify
from dqctl.localworkspace.statements.results import nothing
from dqctl.localworkspace.statements.schemas import comment_column
from dqctl.localworkspace.types import arrow_schema, columns_from_arrow, constraints_of, delta_field

# Informational only on Databricks, too: accepted and forgotten.
_INFORMATIONAL = (exp.PrimaryKey, exp.ForeignKey, exp.Constraint)


@dataclass(frozen=True)
class TableOptions:
    """The clauses of CREATE TABLE after the columns."""

    comment: str | None = None
    location: str | None = None
    clustering: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    like: exp.Table | None = None
    temporary: bool = False
    properties: Mapping[str, str] | None = None


def create_table(create: exp.Create, context: Context) -> Result:
    """CREATE TABLE, with columns, AS a query, LIKE another table, or CLONE of one."""
    target = create.this.this if isinstance(create.this, exp.Schema) else create.this
    name = context.namespace.full(parts_of(target))
    valid(name.name)
    old = context.catalog.find(name)
    context.catalog.schema(name.catalog, name.schema)
    if old is not None and not create.args.get("replace"):
        raise errors.already_exists("TABLE_OR_VIEW", str(name))
    options = _options(create)
    if options.temporary:
        raise errors.unsupported("CREATE TEMPORARY TABLE")
    query = _source(create, options)
    if options.location is not None and query is None and not isinstance(create.this, exp.Schema):
        return _register(name, options, context)
    in_place = old is not None and old.kind == "MANAGED"
    table = Table(
        name=name,
        kind="EXTERNAL" if options.location is not None else "MANAGED",
        location=options.location
        or (old.location if old is not None and in_place else context.catalog.new_location(name, "tables")),
        comment=options.comment,
        properties=dict(options.properties or {}),
        clustering=options.clustering,
        created_at=old.created_at if old else 0.0,
    )
    with context.writing(table):
        try:
            rows = _fill(create, table, query, options, context, overwrite=in_place)
            context.catalog.put(table, replace_existing=bool(create.args.get("replace")))
        except BaseException:
            if not in_place and table.kind == "MANAGED":
                shutil.rmtree(context.catalog.path(table), ignore_errors=True)
            raise
    if query is None:
        return nothing()
    # A warehouse answers CTAS with these columns and no row.
    empty = pa.array([], pa.int64())
    return Result(pa.table({"num_affected_rows": empty, "num_inserted_rows": empty}), affected_rows=rows)


def _fill(
    create: exp.Create,
    table: Table,
    query: exp.Expr | None,
    options: TableOptions,
    context: Context,
    *,
    overwrite: bool,
) -> int:
    """Write the table's first version, or the next one of a table that is replaced, in one commit."""

    def write(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        return delta.write(
            context.catalog.path(table),
            delta.Counted(schema, batches),
            mode="overwrite" if overwrite else "error",
            new_schema=overwrite,
            partition_by=list(options.partition_by),
            description=options.comment,
        )

    if isinstance(create.this, exp.Schema) and query is None:
        return write(arrow_schema(_fields(create.this.expressions)), ())
    if isinstance(create.this, exp.Schema):
        raise errors.unsupported("CREATE TABLE with both a list of columns and AS")
    if query is None:
        return write(pa.schema([]), ())
    with context.planned(query) as sql:
        schema = pa.schema([_stored(field) for field in context.engine.schema(sql)])
        duplicates = {field.name for field in schema if len(schema.get_all_field_indices(field.name)) > 1}
        if duplicates:
            raise StatementError(
                "COLUMN_ALREADY_EXISTS", f"The column {quoted(duplicates.pop())} already exists.", "42711"
            )
        return write(schema, context.engine.stream(sql))


def _stored(field: pa.Field) -> pa.Field:
    """A column of a query as a table keeps it: nullable, and an untyped NULL as text."""
    return pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type)


def _fields(definitions: Iterable[exp.Expr]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    for definition in definitions:
        if isinstance(definition, _INFORMATIONAL) and not definition.find(exp.CheckColumnConstraint):
            continue
        if not isinstance(definition, exp.ColumnDef) or not isinstance(definition.kind, exp.DataType):
            raise errors.unsupported(f"The clause {definition.sql('databricks')}")
        if definition.name.lower() in {field["name"].lower() for field in fields}:
            raise StatementError(
                "COLUMN_ALREADY_EXISTS", f"The column {quoted(definition.name)} already exists.", "42711"
            )
        fields.append(delta_field(definition.name, definition.kind, **constraints_of(definition)))
    return fields


def _source(create: exp.Create, options: TableOptions) -> exp.Expr | None:
    """The query whose rows the table begins with."""
    clone = create.args.get("clone")
    if clone is not None:
        return exp.select("*").from_(clone.this.copy())
    if options.like is not None:
        return exp.select("*").from_(options.like.copy()).limit(0)
    query: exp.Expr | None = create.expression
    return query if isinstance(query, exp.Expr) else None


def _register(name: Name, options: TableOptions, context: Context) -> Result:
    """CREATE TABLE over a Delta table that is already at its LOCATION."""
    path = Path(options.location or "")
    if not delta.is_table(path):
        raise StatementError("DELTA_TABLE_NOT_FOUND", f"There is no Delta table at {path}.", "42P01")
    context.catalog.put(Table(name, "EXTERNAL", location=str(path), comment=options.comment))
    return nothing()


def _options(create: exp.Create) -> TableOptions:
    options = TableOptions(properties={})
    properties: dict[str, str] = {}
    for one in create.args["properties"].expressions if create.args.get("properties") else ():
        if type(one) is exp.Property:
            properties |= _property(one)
        elif isinstance(one, exp.FileFormatProperty) and one.this.name.lower() == "delta":
            continue
        elif type(one) in _CLAUSES:
            options = replace(options, **_CLAUSES[type(one)](one))
        else:
            raise errors.unsupported(f"The clause {one.sql('databricks')}")
    return replace(options, properties=properties)


def _property(one: exp.Expr) -> dict[str, str]:
    key = one.this.name if isinstance(one.this, exp.Literal) else one.this.sql("databricks").replace("`", "")
    value = one.args["value"]
    return {key: value.name if isinstance(value, exp.Literal) else value.sql("databricks").lower()}


def _clustering(one: exp.ClusterProperty) -> tuple[str, ...]:
    if one.expressions:
        return tuple(column.name for column in one.expressions)
    return ("AUTO",) if str(one.this).upper() == "AUTO" else ()


def _local_path(location: str) -> str:
    parts = urlsplit(location)
    path = unquote(parts.path) if parts.scheme in ("file", "dbfs") else location
    if not path.startswith("/") or path.startswith("/Volumes/"):
        raise errors.unsupported(f"LOCATION '{location}': only an absolute path on this machine")
    return path


_CLAUSES: dict[type[exp.Expr], Callable[[Any], dict[str, Any]]] = {
    exp.SchemaCommentProperty: lambda one: {"comment": one.name},
    exp.LocationProperty: lambda one: {"location": _local_path(one.name)},
    exp.ClusterProperty: lambda one: {"clustering": _clustering(one)},
    exp.PartitionedByProperty: lambda one: {"partition_by": tuple(part.name for part in one.this.expressions)},
    exp.LikeProperty: lambda one: {"like": one.this},
    exp.TemporaryProperty: lambda _: {"temporary": True},
}


def create_view(create: exp.Create, context: Context) -> Result:
    """CREATE VIEW. The query is kept with full names: it means the same wherever the view is read from."""
    target = create.this.this if isinstance(create.this, exp.Schema) else create.this
    name = context.namespace.full(parts_of(target))
    old = context.catalog.find(name)
    options = _options(create)
    if options.temporary:
        raise errors.unsupported("CREATE TEMPORARY VIEW")
    if old is not None and not create.args.get("replace"):
        raise errors.already_exists("TABLE_OR_VIEW", str(name))
    if old is not None and not old.is_view:
        raise errors.wrong_object(str(name), "VIEW")
    declared = create.this.expressions if isinstance(create.this, exp.Schema) else []
    view = _view(name, create.expression, declared, context)
    view = replace(view, comment=options.comment, properties=dict(options.properties or {}))
    # Not whether there was one: another session may have made it in between.
    context.catalog.put(view, replace_existing=bool(create.args.get("replace")))
    return nothing()


def _view(name: Name, query: exp.Expr, declared: list[exp.Expr], context: Context) -> Table:
    body = qualify(query, context.namespace)
    if any(context.namespace.full(parts_of(table)) == name for table in named_relations(body)):
        raise StatementError("RECURSIVE_VIEW", f"Recursive view {name} detected.", "42K0H")
    text = to_sql(body.copy())
    with context.planned(body) as sql:
        columns = columns_from_arrow(context.engine.schema(sql))
    if declared:
        if len(declared) != len(columns):
            raise StatementError(
                "CREATE_VIEW_COLUMN_ARITY_MISMATCH",
                f"Cannot create view {name}: it declares {len(declared)} columns, its query has {len(columns)}.",
                "21S01",
            )
        columns = tuple(
            replace(column, name=one.name, comment=constraints_of(one)["comment"])
            for column, one in zip(columns, declared, strict=True)
        )
    return Table(name, "VIEW", query=text, columns=columns)


def alter(statement: exp.Alter, context: Context) -> Result:
    """ALTER TABLE and ALTER VIEW."""
    table = context.catalog.table(context.namespace.full(parts_of(statement.this)))
    actions: list[exp.Expr] = statement.args["actions"]
    definitions = [
        definition
        for action in actions
        for definition in (action.expressions if isinstance(action, exp.Schema) else [action])
        if isinstance(definition, exp.ColumnDef)
    ]
    if definitions:
        _add_columns(table, definitions, context)
        return nothing()
    for action in actions:
        _alter(table, action, context)
    return nothing()


def _alter(table: Table, action: exp.Expr, context: Context) -> None:
    if isinstance(action, exp.AlterRename):
        context.catalog.rename(table, context.namespace.full(parts_of(action.this)))
    elif isinstance(action, exp.ClusterProperty):
        context.catalog.put(replace(table, clustering=_clustering(action)), replace_existing=True)
    elif isinstance(action, exp.AlterSet):
        added = {
            key: value
            for properties in action.find_all(exp.Properties)
            for one in properties.expressions
            for key, value in _property(one).items()
        }
        context.catalog.put(replace(table, properties={**table.properties, **added}), replace_existing=True)
    elif isinstance(action, exp.AlterColumn) and action.args.get("comment"):
        comment_column(table, action.name, action.args["comment"].name, context)
    elif isinstance(action, exp.AlterColumn) and action.args.get("drop") and action.args.get("allow_null"):
        with context.writing(table):
            delta.allow_nulls(context.catalog.path(table), action.name)
    elif isinstance(action, exp.Query) and table.is_view:
        view = replace(_view(table.name, action, [], context), created_at=table.created_at, comment=table.comment)
        context.catalog.put(view, replace_existing=True)
    else:
        raise errors.unsupported(f"ALTER {table.kind} ... {action.sql('databricks')}")


def _add_columns(table: Table, definitions: list[exp.ColumnDef], context: Context) -> None:
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    if any(definition.args.get("position") for definition in definitions):
        raise errors.unsupported("ADD COLUMNS with FIRST or AFTER")
    fields = _fields(definitions)
    path = context.catalog.path(table)
    with context.writing(table):
        there = {column.name.lower() for column in delta.columns(path)}
        for field in fields:
            if field["name"].lower() in there:
                raise StatementError(
                    "FIELD_ALREADY_EXISTS",
                    f"Cannot add column, because {quoted(field['name'])} already exists in {table.name}.",
                    "42710",
                )
            if not field["nullable"]:
                raise StatementError(
                    "DELTA_ADD_COLUMN_NOT_NULL",
                    "NOT NULL is not supported in ALTER TABLE ADD COLUMNS.",
                    "0AKDC",
                )
        delta.add_columns(path, fields)
        context.catalog.put(table, replace_existing=True)
