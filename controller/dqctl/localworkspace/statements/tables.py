"""CREATE TABLE and CREATE VIEW.

Data first, then the catalog's entry: what a crash leaves behind is a folder that no entry names, and the next
start of the lakehouse sweeps it away. It is long because all that may stand in a CREATE (columns, constraints,
properties, a query) is carried out or refused here, in one place.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta, errors, generated, transaction_log
from dqctl.localworkspace.catalog import Constraint, Name, Table, quoted, valid
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql.alterations import AddConstraint, constraints_in
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.names import named_relations, parts_of, qualify
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.statements import constraints, loading
from dqctl.localworkspace.statements.results import nothing
from dqctl.localworkspace.table_properties import configuration_of, for_entry, is_check, protocol_for
from dqctl.localworkspace.types import (
    DEFAULT,
    Column,
    arrow_schema,
    column_of,
    columns_from_arrow,
    constraints_of,
    delta_field,
)

# What stands among the columns and is none.
_CONSTRAINTS = (exp.PrimaryKey, exp.ForeignKey, exp.Constraint, exp.CheckColumnConstraint)


@dataclass(frozen=True)
class TableOptions:
    """The clauses of CREATE TABLE after the columns."""

    comment: str | None = None
    location: str | None = None
    clustering: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    partition_columns: tuple[exp.ColumnDef, ...] = ()
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
    if old is not None and old.is_view:
        raise errors.wrong_object(str(name), "TABLE")
    options = _options(create)
    if options.temporary:
        raise errors.unsupported("CREATE TEMPORARY TABLE")
    if any(map(is_check, options.properties or {})):
        raise errors.invalid_parameter("A CHECK constraint is named among the columns, not among the properties.")
    query = _source(create)
    declared = _listed(create)
    if options.location is not None and query is None and options.like is None and not declared:
        return _register(name, options, context)
    fields, keys = _declared(declared, options, context)
    in_place = old is not None and old.kind == "MANAGED"
    table = Table(
        name=name,
        kind="EXTERNAL" if options.location is not None else "MANAGED",
        location=options.location
        or (old.location if old is not None and in_place else context.catalog.new_location(name, "tables")),
        comment=options.comment,
        properties=for_entry(options.properties or {}),
        clustering=options.clustering,
        created_at=old.created_at if old else 0.0,
        id=old.id if old else "",
        owner=old.owner if old else None,
        tags=dict(old.tags) if old else {},  # like grants: of the table, whatever it holds
    )
    for key in keys:
        constraint = constraints.named(key, table, table.constraints, [field["name"] for field in fields], context)
        table = replace(table, constraints=(*table.constraints, constraint))
    checks = [one for one in table.constraints if one.kind == "CHECK"]
    configuration = configuration_of(options.properties or {}, checks)
    table = replace(table, constraints=tuple(one for one in table.constraints if one not in checks))
    with context.writing(table):
        try:
            rows = _fill(table, query, fields, options, configuration, context, overwrite=in_place)
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


def _listed(create: exp.Create) -> list[exp.Expr]:
    if not isinstance(create.this, exp.Schema):
        return []
    if not create.this.expressions:
        raise errors.syntax_error("Syntax error at or near ')'.")
    return list(create.this.expressions)


def _declared(
    definitions: list[exp.Expr], options: TableOptions, context: Context
) -> tuple[list[dict[str, Any]], list[AddConstraint]]:
    """The fields and constraints that the statement names, or those of the table that this one is to be LIKE."""
    if options.like is not None:
        model = context.relation(parts_of(options.like))
        if not model.is_view:
            return [generated.begun_anew(field) for field in delta.fields(context.catalog.path(model))], []
        return fields_of(parse_tree(f"CREATE TABLE t ({_columns_text(model)})").this.expressions)
    fields, keys = fields_of([*definitions, *options.partition_columns])
    if any(DEFAULT in field["metadata"] for field in fields):
        allow_defaults(options.properties or {})
    return fields, keys


def _columns_text(view: Table) -> str:
    return ", ".join(f"{quoted(column.name)} {column.type}" for column in view.columns)


def _fill(
    table: Table,
    query: exp.Expr | None,
    fields: list[dict[str, Any]],
    options: TableOptions,
    configuration: Mapping[str, str],
    context: Context,
    *,
    overwrite: bool,
) -> int:
    """Write the table's first version, or the next one of a table that is replaced, in one commit."""
    path = context.catalog.path(table)
    if not overwrite and delta.is_table(path):
        raise StatementError(
            "LOCATION_ALREADY_EXISTS", f"Cannot create {table.name}: there is a Delta table at {path}.", "42710"
        )
    before = transaction_log.read(path) if overwrite else None
    with transaction_log.scratch(path, "staging") as place:
        rows = _stage(place, query, fields, options, context)
        new = transaction_log.read(place)
        transaction_log.settle(place, path, new.files.values())
        if fields:
            # Arrow, through which it came, has texts for what are numbers here.
            schema = json.dumps({"type": "struct", "fields": fields})
            new = replace(new, metadata={**new.metadata, "schemaString": schema})
        protocol = protocol_for(new.protocol, configuration, new.fields, before.protocol if before else None)
        transaction_log.commit(
            path,
            before,
            _created(table, query, options, configuration, new, replacing=overwrite),
            added=new.files.values(),
            removed=[transaction_log.removal(each) for each in before.files.values()] if before else (),
            metadata=new.metadata
            | {"description": options.comment, "configuration": dict(configuration)}
            | ({"id": before.metadata["id"]} if before else {}),
            protocol=None if before and before.protocol == protocol else protocol,
        )
    return rows


def _created(
    table: Table,
    query: exp.Expr | None,
    options: TableOptions,
    configuration: Mapping[str, str],
    new: transaction_log.Snapshot,
    *,
    replacing: bool,
) -> transaction_log.Commit:
    metrics = {"numFiles": len(new.files), "numOutputBytes": new.size} if query is not None else {}
    return transaction_log.Commit(
        f"CREATE {'OR REPLACE ' if replacing else ''}TABLE{' AS SELECT' if query is not None else ''}",
        {
            "partitionBy": new.partition_columns,
            "clusterBy": list(options.clustering),
            "description": options.comment,
            "isManaged": table.kind == "MANAGED",
            "properties": dict(configuration),
        },
        metrics,
        blind=not replacing,
    )


def _stage(
    place: Path, query: exp.Expr | None, fields: list[dict[str, Any]], options: TableOptions, context: Context
) -> int:
    """Write the rows as a table of their own, with the columns that the new one is to have."""
    if query is None:
        by = _known([field["name"] for field in fields], options)
        if not fields:  # COPY INTO or INSERT WITH SCHEMA EVOLUTION bring them
            transaction_log.stage_nothing(place)
            return 0
        generated.check(fields, by)
        _check_expressions(fields, context)
        plain = pa.schema([field.remove_metadata() for field in arrow_schema(fields)])
        return delta.write(place, delta.Counted(plain, ()), by)
    if fields:
        raise errors.unsupported("CREATE TABLE with both a list of columns and AS")
    with context.planned(query) as sql:
        schema = pa.schema([_stored(field) for field in context.engine.schema(sql)])
        duplicates = {field.name for field in schema if len(schema.get_all_field_indices(field.name)) > 1}
        if duplicates:
            raise errors.column_exists(quoted(duplicates.pop()))
        by = _known(schema.names, options)
        # Closed here, not when the collector finds it: the engine's answer is read to its end or given up.
        with closing(context.engine.stream(sql)) as rows:
            return delta.write(place, delta.Counted(schema, rows), by)


def _check_expressions(fields: list[dict[str, Any]], context: Context) -> None:
    """``StatementError`` when the engine does not make the columns' values out of the others."""
    for field in fields:
        text = generated.expression_of(field)
        if text is None:
            continue
        tree = loading.expression(text)
        if tree.find(exp.Query, exp.Window) or loading.random_call(tree, _OF_NOW):
            raise StatementError(
                "DELTA_NON_DETERMINISTIC_EXPRESSION_IN_GENERATED_COLUMN",
                f"Found {text}. A generated column cannot use a non deterministic or aggregate expression.",
                "42621",
            )
        nulls = [
            exp.alias_(
                exp.cast(exp.null(), column_of(one).storage_type, dialect="databricks"), one["name"], quoted=True
            )
            for one in fields
        ]
        made = exp.cast(tree, column_of(field).storage_type, dialect="databricks")
        with context.planned(exp.select("*", made).from_(exp.select(*nulls).subquery("t"))) as sql:
            context.engine.schema(sql)


# Calls whose value depends on when, by whom and where they are made.
_OF_NOW = frozenset(
    {"current_catalog", "current_database", "current_date", "current_schema", "current_timestamp", "current_user",
     "curdate", "localtimestamp", "now", "session_user", "user"}
)  # fmt: skip


def _known(names: Sequence[str], options: TableOptions) -> list[str]:
    """The columns by which the table is partitioned, as it spells them; ``StatementError`` for others."""
    if options.partition_by and options.clustering:
        raise StatementError(
            "SPECIFY_CLUSTER_BY_WITH_PARTITIONED_BY_IS_NOT_ALLOWED",
            "Cannot specify both CLUSTER BY and PARTITIONED BY.",
            "42908",
        )
    there = {name.lower(): name for name in names}
    for name in (*options.partition_by, *options.clustering):
        if name.lower() not in there and options.clustering != ("AUTO",):
            raise StatementError(
                "COLUMN_NOT_DEFINED_IN_TABLE",
                f"The column {quoted(name)} is not defined in the table: "
                f"the columns are ({', '.join(map(quoted, names))}).",
                "42703",
            )
    return [there[name.lower()] for name in options.partition_by]


def _stored(field: pa.Field) -> pa.Field:
    """A column of a query as a table keeps it: nullable, and an untyped NULL as text."""
    return pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type)


def fields_of(definitions: Iterable[exp.Expr]) -> tuple[list[dict[str, Any]], list[AddConstraint]]:
    """The columns, in Delta's JSON, and the constraints of a list of definitions."""
    fields: list[dict[str, Any]] = []
    keys: list[AddConstraint] = []
    for definition in definitions:
        if isinstance(definition, _CONSTRAINTS):
            keys.append(constraints_in(definition))
            continue
        if not isinstance(definition, exp.ColumnDef) or not isinstance(definition.kind, exp.DataType):
            raise errors.unsupported(f"The clause {definition.sql('databricks')}")
        if definition.name.lower() in {field["name"].lower() for field in fields}:
            raise errors.column_exists(quoted(definition.name))
        fields.append(delta_field(definition.name, definition.kind, **constraints_of(definition)))
        keys += _keys_of(definition)
    required = {
        name.lower() for key in keys if key.constraint.kind == "PRIMARY KEY" for name in key.constraint.columns
    }
    for field in fields:
        field["nullable"] = field["nullable"] and field["name"].lower() not in required
    return fields, keys


def _keys_of(definition: exp.ColumnDef) -> list[AddConstraint]:
    """The keys that stand behind a column."""
    keys = []
    for one in definition.args.get("constraints") or ():
        kind, own = one.args.get("kind"), (definition.name,)
        if isinstance(kind, exp.PrimaryKeyColumnConstraint):
            keys.append(AddConstraint(Constraint(one.name, "PRIMARY KEY", own)))
        elif isinstance(kind, exp.Reference):
            target = kind.this.this if isinstance(kind.this, exp.Schema) else kind.this
            columns = [each.name for each in kind.this.expressions] if isinstance(kind.this, exp.Schema) else []
            parent = Constraint(
                one.name, "FOREIGN KEY", own, parent=Name("", "", ""), parent_columns=tuple(columns)
            )
            keys.append(AddConstraint(parent, parts_of(target)))
    return keys


def allow_defaults(properties: Mapping[str, str]) -> None:
    """``StatementError`` unless the table has the feature of Delta that column defaults are."""
    if properties.get("delta.feature.allowColumnDefaults", "").lower() not in ("supported", "enabled"):
        raise StatementError(
            "WRONG_COLUMN_DEFAULTS_FOR_DELTA_FEATURE_NOT_ENABLED",
            "Failed to execute the command because it assigned a column DEFAULT value, but the table feature is "
            "not enabled: set the table property 'delta.feature.allowColumnDefaults' = 'supported'.",
            "0AKDE",
        )


def _source(create: exp.Create) -> exp.Expr | None:
    """The query whose rows the table begins with."""
    clone = create.args.get("clone")
    if clone is not None:
        return exp.select("*").from_(clone.this.copy())
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
        elif type(one) in _REFUSED:
            raise errors.unsupported(_REFUSED[type(one)])
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


# Tables that a pipeline of a warehouse keeps up to date, and what only its clusters have.
_REFUSED = {
    exp.MaterializedProperty: "CREATE MATERIALIZED VIEW",
    exp.StreamingTableProperty: "CREATE STREAMING TABLE",
    exp.GlobalProperty: "CREATE GLOBAL TEMPORARY VIEW",
}
_CLAUSES: dict[type[exp.Expr], Callable[[Any], dict[str, Any]]] = {
    exp.SchemaCommentProperty: lambda one: {"comment": one.name},
    exp.LocationProperty: lambda one: {"location": _local_path(one.name)},
    exp.ClusterProperty: lambda one: {"clustering": _clustering(one)},
    exp.PartitionedByProperty: lambda one: {
        "partition_by": tuple(part.name for part in one.this.expressions),
        "partition_columns": tuple(part for part in one.this.expressions if isinstance(part, exp.ColumnDef)),
    },
    exp.LikeProperty: lambda one: {"like": one.this},
    exp.TemporaryProperty: lambda _: {"temporary": True},
    # How a view takes to changes of its tables: its columns are those that it was made with.
    exp.WithSchemaBindingProperty: lambda _: {},
}


def create_view(create: exp.Create, context: Context) -> Result:
    """CREATE VIEW. The query is kept with full names: it means the same wherever the view is read from."""
    target = create.this.this if isinstance(create.this, exp.Schema) else create.this
    options = _options(create)
    declared = _listed(create)
    replacing = bool(create.args.get("replace"))
    if options.temporary:
        return _temporary_view(target, create.expression, declared, context, replacing=replacing)
    name = context.namespace.full(parts_of(target))
    old = context.catalog.find(name)
    if old is not None and not replacing:
        raise errors.already_exists("TABLE_OR_VIEW", str(name))
    if old is not None and not old.is_view:
        raise errors.wrong_object(str(name), "VIEW")
    view = view_of(name, create.expression, declared, context)
    view = replace(
        view,
        comment=options.comment,
        properties=dict(options.properties or {}),
        created_at=old.created_at if old else 0.0,
        id=old.id if old else "",
        owner=old.owner if old else None,
    )
    # Not whether there was one: another session may have made it in between.
    context.catalog.put(view, replace_existing=replacing)
    return nothing()


def _temporary_view(
    target: exp.Table, query: exp.Expr, declared: list[exp.Expr], context: Context, *, replacing: bool
) -> Result:
    """A view that the session alone sees, and that goes with it."""
    if target.db:
        raise StatementError(
            "TEMP_VIEW_NAME_TOO_MANY_NAME_PARTS",
            f"CREATE TEMPORARY VIEW does not allow a name of several parts: {target.sql('databricks')}.",
            "428EK",
        )
    name = target.name.lower()
    if name in context.temporary and not replacing:
        raise errors.already_exists("TEMP_TABLE_OR_VIEW", quoted(name))
    context.temporary[name] = view_of(Name("", "", name), query, declared, context)
    return nothing()


def view_of(name: Name, query: exp.Expr, declared: list[exp.Expr], context: Context) -> Table:
    """A view as the catalog keeps it: its query with full names, and its columns."""
    for table in named_relations(query):
        if table.db or table.name.lower() not in context.temporary:
            continue
        if name.schema:
            raise StatementError(
                "INVALID_TEMP_OBJ_REFERENCE",
                f"Cannot create the persistent object {name} of the type VIEW because it references to the "
                f"temporary object {quoted(table.name)} of the type VIEW.",
                "42K0F",
            )
        if table.name.lower() == name.name:
            raise _recursive(name)
    body = qualify(query, context.namespace, context.temporary)
    if name.schema and any(context.namespace.full(parts_of(table)) == name for table in named_relations(body)):
        raise _recursive(name)
    with context.planned(body.copy()) as sql:
        columns = columns_from_arrow(context.engine.schema(sql))
    if declared:
        body, columns = _declare(name, body, columns, declared)
    names = [column.name.lower() for column in columns]
    for column in columns:
        if names.count(column.name.lower()) > 1:
            raise errors.column_exists(quoted(column.name))
    return Table(name, "VIEW", query=to_sql(body), columns=columns)


def _declare(
    name: Name, body: exp.Expr, columns: tuple[Column, ...], declared: list[exp.Expr]
) -> tuple[exp.Expr, tuple[Column, ...]]:
    """The query and the columns of a view that says what its columns are called."""
    if len(declared) != len(columns):
        raise StatementError(
            "CREATE_VIEW_COLUMN_ARITY_MISMATCH",
            f"Cannot create view {name}: it declares {len(declared)} columns, its query has {len(columns)}.",
            "21S01",
        )
    if isinstance(body, exp.Query) and any(one.is_star for one in body.selects):
        body = _renaming(body, [column.name for column in columns], [one.name for one in declared])
    return body, tuple(
        replace(column, name=one.name, comment=constraints_of(one)["comment"])
        for column, one in zip(columns, declared, strict=True)
    )


def _renaming(body: exp.Expr, old: list[str], new: list[str]) -> exp.Expr:
    """A query around one with a star, which says what each of its columns is called."""
    selected = [
        exp.alias_(exp.column(exp.to_identifier(before, quoted=True)), after, quoted=True)
        for before, after in zip(old, new, strict=True)
    ]
    return exp.select(*selected).from_(exp.Subquery(this=body, alias=exp.to_identifier("_view")))


def _recursive(name: Name) -> StatementError:
    return StatementError("RECURSIVE_VIEW", f"Recursive view {name} detected.", "42K0H")
