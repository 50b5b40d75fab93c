"""INSERT in its forms, COPY INTO, UPDATE, DELETE, MERGE, TRUNCATE: one Delta commit each.

The engine computes the rows of an INSERT and delta-rs commits them, because Sail 0.7.2 neither inserts by path nor
refuses rows outside of a REPLACE WHERE; the engine itself commits UPDATE, DELETE and MERGE.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import Table, quoted
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql import commands
from dqctl.localworkspace.sql.names import parts_of
from dqctl.localworkspace.sql.predicates import for_storage
from dqctl.localworkspace.statements.constraints import enforced, with_checks
from dqctl.localworkspace.statements.results import counts
from dqctl.localworkspace.types import Column, columns_from_arrow

_SOURCE = "_source"
# The type of a column that nobody asked the engine about: it is cast whatever it is.
_UNKNOWN = ""


def insert(statement: exp.Insert, context: Context) -> Result:
    """INSERT INTO, INSERT OVERWRITE, INSERT INTO ... REPLACE WHERE."""
    named = statement.this.expressions if isinstance(statement.this, exp.Schema) else []
    table = _target(statement.this.this if isinstance(statement.this, exp.Schema) else statement.this, context)
    for clause, words in (("using", "REPLACE USING"), ("partition", "PARTITION")):
        if statement.args.get(clause):
            raise errors.unsupported(f"INSERT with {words}")
    with context.writing(table):
        columns = delta.columns(context.catalog.path(table))
        condition = statement.args.get("where")
        predicate = for_storage(condition, columns) if condition is not None else None
        overwrite = bool(statement.args.get("overwrite")) or predicate is not None
        width = _width_of_values(statement.expression)
        with context.planned(_query_of(statement)) as sql:
            rows = _load(
                table,
                sql,
                context,
                found=[Column(f"col{index + 1}", _UNKNOWN) for index in range(width)] if width else None,
                only=[column.name for column in named] or None,
                by_name=bool(statement.args.get("by_name")),
                mode="overwrite" if overwrite else "append",
                predicate=predicate,
            )
    return counts({"num_affected_rows": rows, "num_inserted_rows": rows})


def _width_of_values(source: exp.Expr | None) -> int:
    """How many columns the rows of VALUES have; 0 for another source. It spares the engine a second reading."""
    rows = source.expressions if isinstance(source, exp.Values) else []
    widths = {len(row.expressions) if isinstance(row, exp.Tuple) else 1 for row in rows}
    return widths.pop() if len(widths) == 1 else 0


def _query_of(statement: exp.Insert) -> exp.Expr:
    """The rows to insert, with the WITH that stood before INSERT."""
    source = statement.args.get("source")
    query: exp.Expr = exp.select("*").from_(source.copy()) if source else statement.expression
    if statement.args.get("default") or query is None:
        raise errors.unsupported("INSERT DEFAULT VALUES")
    if isinstance(query, exp.Values):
        if any(node.name.upper() == "DEFAULT" for node in query.find_all(exp.Var)):
            raise errors.unsupported("DEFAULT in VALUES")
        query = exp.select("*").from_(query)
    with_ = statement.args.get("with_")
    if with_ is not None and not query.args.get("with_"):
        query.set("with_", with_.pop())
    return query


def _load(
    table: Table,
    sql: str,
    context: Context,
    *,
    found: Sequence[Column] | None = None,
    only: Sequence[str] | None = None,
    by_name: bool = False,
    mode: Literal["append", "overwrite"],
    predicate: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write the rows of ``sql`` into ``table``, cast to its columns; ``found`` are those of ``sql``, if known."""
    path = context.catalog.path(table)
    columns = delta.columns(path)
    found = found or columns_from_arrow(context.engine.schema(sql))
    given = [column.name for column in found] if by_name else list(only or [one.name for one in columns])
    _check_names(given, columns)
    if len(found) != len(given):
        few = len(found) < len(given)
        raise StatementError(
            f"INSERT_COLUMN_ARITY_MISMATCH.{'NOT_ENOUGH' if few else 'TOO_MANY'}_DATA_COLUMNS",
            f"Cannot write to {table.name}, the reason is that {len(given)} columns are wanted and the data has "
            f"{len(found)}.",
            "21S01",
        )
    aligned = with_checks(_aligned(sql, found, given, columns), table, context)
    batches = _checked(enforced(context.engine.stream(aligned), table), table, columns, context)
    rows = delta.Counted(delta.arrow_schema(path), batches)
    return delta.write(path, rows, mode=mode, predicate=predicate, metadata=metadata)


def _check_names(given: Sequence[str], columns: Sequence[Column]) -> None:
    lowered = [name.lower() for name in given]
    known = {column.name.lower() for column in columns}
    for name in lowered:
        if name not in known:
            raise errors.unresolved_column(quoted(name))
        if lowered.count(name) > 1:
            raise StatementError("COLUMN_ALREADY_EXISTS", f"The column {quoted(name)} already exists.", "42711")


def _aligned(sql: str, found: Sequence[Column], given: Sequence[str], columns: Sequence[Column]) -> str:
    """The query's columns in the table's order and types; those that it does not have are NULL."""
    order = {name.lower(): index for index, name in enumerate(given)}
    selected = []
    for column in columns:
        index = order.get(column.name.lower())
        value = (column.default or "NULL") if index is None else f"`_{index}`"
        if index is None or found[index].type != column.storage_type:
            value = f"CAST({value} AS {column.storage_type})"
        selected.append(f"{value} AS {quoted(column.name)}")
    aliases = ", ".join(f"`_{index}`" for index in range(len(found)))
    # Every identifier is quoted here, and the query was written from its tree.
    return f"SELECT {', '.join(selected)} FROM ({sql}) AS `{_SOURCE}`({aliases})"  # noqa: S608 - quoted names


def _checked(
    batches: Iterator[pa.RecordBatch], table: Table, columns: Sequence[Column], context: Context
) -> Iterator[pa.RecordBatch]:
    """The batches, as far as the table's constraints and the client allow."""
    required = [(index, column) for index, column in enumerate(columns) if not column.nullable]
    for batch in batches:
        if context.stop.is_set():
            raise errors.cancelled()
        for index, column in required:
            if batch.column(index).null_count:
                raise StatementError(
                    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
                    f"NOT NULL constraint violated for column: {column.name} of {table.name}.",
                    "23502",
                )
        yield batch


def copy_into(statement: exp.Copy, context: Context) -> Result:
    """COPY INTO: each file once, unless the options say FORCE."""
    table = _target(statement.this, context)
    source = statement.args["files"][0]
    if not isinstance(source, exp.Literal):
        raise errors.unsupported("COPY INTO from a query")
    parameters = {one.this.name.upper(): one for one in statement.args.get("params") or ()}
    unknown = set(parameters) - {"FILEFORMAT", "FORMAT_OPTIONS", "COPY_OPTIONS", "FILES", "PATTERN"}
    if unknown or "FILEFORMAT" not in parameters or {"FILES", "PATTERN"} & set(parameters):
        raise errors.unsupported(f"COPY INTO with {', '.join(sorted(set(parameters)))}")
    file_format = parameters["FILEFORMAT"].expression.name.lower()
    force = _options(parameters.get("COPY_OPTIONS")).get("force", "false").lower() == "true"
    with context.writing(table):
        place = context.volumes.file(source.name)
        files = {str(file.relative_to(place.parent)): file for file in _data_files(place)}
        if not files:
            raise StatementError("CLOUD_FILE_SOURCE_FILE_NOT_FOUND", f"No such file: {source.name}", "42K03")
        root = source.name.rstrip("/").rpartition("/")[0]
        wanted = {f"{root}/{name}": file for name, file in files.items()}
        if not force:
            seen = delta.copied_files(context.catalog.path(table))
            wanted = {name: file for name, file in wanted.items() if name not in seen}
        rows = 0
        if wanted:
            rows = _copy(table, file_format, wanted, _options(parameters.get("FORMAT_OPTIONS")), context)
    return counts({"num_affected_rows": rows, "num_inserted_rows": rows, "num_skipped_corrupt_files": 0})


def _copy(
    table: Table, file_format: str, wanted: Mapping[str, Path], options: Mapping[str, str], context: Context
) -> int:
    with context.engine.files(file_format, [str(file) for file in wanted.values()], options) as relation:
        return _load(
            table,
            f"TABLE {quoted(relation)}",
            context,
            by_name=True,
            mode="append",
            metadata={delta.COPIED_FILES: json.dumps(sorted(wanted))},
        )


def _options(parameter: exp.Expr | None) -> dict[str, str]:
    return {one.this.name.lower(): one.args["value"].name for one in (parameter.expressions if parameter else ())}


def _data_files(place: Path) -> list[Path]:
    """The files at a path, as Databricks sees them: names that begin with ``_`` or ``.`` are hidden."""
    if place.is_file():
        return [place]
    return sorted(
        file
        for file in place.rglob("*")
        if file.is_file() and not any(part[0] in "_." for part in file.relative_to(place).parts)
    )


def update(statement: exp.Update, context: Context) -> Result:
    """UPDATE."""
    metrics = _run(statement.this, statement, context)
    return counts({"num_affected_rows": metrics.get("numUpdatedRows", 0)})


def delete(statement: exp.Delete, context: Context) -> Result:
    """DELETE FROM."""
    condition = statement.args.get("where")
    if condition is not None and condition.find(exp.Query):
        return counts({"num_affected_rows": _keep_others(statement, condition.this, context)})
    metrics = _run(statement.this, statement, context)
    return counts({"num_affected_rows": metrics.get("numDeletedRows", 0)})


def _keep_others(statement: exp.Delete, condition: exp.Expr, context: Context) -> int:
    """Delete by rewriting the table with the rows that stay: Sail 0.7.2 has no DELETE with a subquery."""
    table = _target(statement.this, context)
    path = context.catalog.path(table)
    stays = exp.Not(
        this=exp.Anonymous(this="coalesce", expressions=[exp.Paren(this=condition.copy()), exp.false()])
    )
    rest = exp.select("*").from_(statement.this.copy()).where(stays)
    with context.writing(table):
        before = delta.row_count(path)
        with context.planned(rest) as sql:
            kept = _load(table, sql, context, mode="overwrite")
    return before - kept


def merge(statement: exp.Merge, context: Context) -> Result:
    """MERGE INTO."""
    metrics = _run(statement.this, statement, context)
    updated, deleted, inserted = (
        metrics.get(f"numTargetRows{what}", 0) for what in ("Updated", "Deleted", "Inserted")
    )
    return counts(
        {
            "num_affected_rows": updated + deleted + inserted,
            "num_updated_rows": updated,
            "num_deleted_rows": deleted,
            "num_inserted_rows": inserted,
        }
    )


def truncate(command: commands.Truncate, context: Context) -> Result:
    """TRUNCATE TABLE."""
    name = context.namespace.full(command.parts)
    target = exp.Table(
        this=exp.to_identifier(name.name, quoted=True),
        db=exp.to_identifier(name.schema, quoted=True),
        catalog=exp.to_identifier(name.catalog, quoted=True),
    )
    _run(target, exp.Delete(this=target), context)
    return Result(pa.table({}))


def _run(target: exp.Expr, statement: exp.Expr, context: Context) -> Mapping[str, int]:
    """Let the engine change a table, and say what its commit says about it.

    The number that Sail 0.7.2 returns counts the rows of rewritten files, not those that changed.
    """
    table = _target(target, context)
    path = context.catalog.path(table)
    with context.writing(table):
        before = delta.version(path)
        context.query(statement)
        if delta.version(path) == before:
            return {}
        metrics = delta.newest_commit(path).get("operationMetrics") or {}
    return {
        key: int(value) for key, value in metrics.items() if isinstance(value, (int, str)) and str(value).isdigit()
    }


def _target(target: exp.Expr, context: Context) -> Table:
    if not isinstance(target, exp.Table):
        raise errors.unsupported(f"Writing to {target.sql('databricks')}")
    table = context.catalog.table(context.namespace.full(parts_of(target)))
    if table.is_view:
        raise errors.wrong_object(str(table.name), "TABLE")
    return table
