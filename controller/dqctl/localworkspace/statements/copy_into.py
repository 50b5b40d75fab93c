"""COPY INTO: files of a volume into a table, each file once.

Which files a table has is in its commits: what a commit loads and that it did are there together or not at all.
"""

import fnmatch
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from dqctl.localworkspace import delta, errors
from dqctl.localworkspace.catalog import Table
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Result, StatementError
from dqctl.localworkspace.sql.files import FORMATS, data_files, reader_options
from dqctl.localworkspace.statements import committing, loading
from dqctl.localworkspace.statements.evolution import with_columns
from dqctl.localworkspace.statements.insert import Source, aligned, written
from dqctl.localworkspace.statements.results import counts
from dqctl.localworkspace.types import Column, columns_from_arrow

_WORDS = {"FILEFORMAT", "FORMAT_OPTIONS", "COPY_OPTIONS", "FILES", "PATTERN", "VALIDATE", "ROWS"}
_COPY_OPTIONS = {"force", "mergeschema"}


@dataclass(frozen=True)
class Request:
    """What a COPY INTO asks for."""

    path: str
    query: exp.Select | None
    file_format: str
    names: tuple[str, ...] | None
    pattern: str | None
    options: Mapping[str, str]
    force: bool
    merge_schema: bool
    validate: int | None


def copy_into(statement: exp.Copy, context: Context) -> Result:
    """COPY INTO."""
    relation = statement.this.this if isinstance(statement.this, exp.Schema) else statement.this
    named = [each.name for each in statement.this.expressions] if isinstance(statement.this, exp.Schema) else []
    table = loading.table_of(relation, context)
    request = _request(statement)
    # From beginning to end: which files were loaded before must be so when these are.
    with context.writing(table), ExitStack() as stack:
        wanted = _wanted(request, table, context)
        if request.validate is not None:
            return _validated(request, wanted, context, stack)
        rows = _load(request, wanted, named, table, context, stack) if wanted else 0
    return counts({"num_affected_rows": rows, "num_inserted_rows": rows, "num_skipped_corrupt_files": 0})


def _request(statement: exp.Copy) -> Request:
    source = statement.args["files"][0]
    parameters = {each.this.name.upper(): each for each in statement.args.get("params") or ()}
    following = parameters["ROWS"].expression if "ROWS" in parameters else None
    if isinstance(following, exp.Anonymous):
        # sqlglot 30.30 takes what comes after ``VALIDATE n ROWS`` for the value of ROWS.
        pairs = [exp.Property(this=each.left, value=each.right) for each in following.find_all(exp.EQ)]
        parameters[following.name.upper()] = exp.CopyParameter(this=exp.var(following.name), expressions=pairs)
    if unknown := set(parameters) - _WORDS:
        raise errors.unsupported(f"COPY INTO with {', '.join(sorted(unknown))}")
    if "FILEFORMAT" not in parameters:
        raise errors.syntax_error("Syntax error: COPY INTO needs FILEFORMAT.")
    if {"FILES", "PATTERN"} <= set(parameters):
        raise errors.syntax_error("Syntax error: COPY INTO takes FILES or PATTERN, not both.")
    file_format = parameters["FILEFORMAT"].expression.name.lower()
    if file_format not in FORMATS:
        raise errors.unsupported(f"COPY INTO of the format {file_format}")
    copy_options = _options(parameters.get("COPY_OPTIONS"))
    if other := set(copy_options) - _COPY_OPTIONS:
        raise errors.unsupported(f"The copy option {', '.join(sorted(other))}")
    path, query = _source(source)
    files = parameters.get("FILES")
    return Request(
        path=path,
        query=query,
        file_format=file_format,
        names=tuple(each.name for each in files.expression.unnest().expressions or [files.expression.unnest()])
        if files is not None
        else None,
        pattern=parameters["PATTERN"].expression.name if "PATTERN" in parameters else None,
        options=_options(parameters.get("FORMAT_OPTIONS")),
        force=copy_options.get("force") == "true",
        merge_schema=copy_options.get("mergeschema") == "true",
        validate=_validate(parameters["VALIDATE"].expression) if "VALIDATE" in parameters else None,
    )


def _source(source: exp.Expr) -> tuple[str, exp.Select | None]:
    if isinstance(source, exp.Literal) and source.is_string:
        return source.name, None
    query = source.unnest()
    from_ = query.args.get("from_") if isinstance(query, exp.Select) else None
    if (
        not isinstance(query, exp.Select)
        or from_ is None
        or not isinstance(from_.this, exp.Table)
        or len(query.args.get("joins") or ())
    ):
        raise errors.unsupported("COPY INTO from anything but a path or SELECT ... FROM a path")
    return from_.this.name, query


def _validate(value: exp.Expr) -> int:
    # ALL is read to the end, but a client is shown 50 rows as on Databricks.
    return int(value.name) if isinstance(value, exp.Literal) else 50


def _options(parameter: exp.Expr | None) -> dict[str, str]:
    return {
        each.this.name.lower(): each.args["value"].name.lower()
        if each.args["value"].name.lower() in ("true", "false")
        else each.args["value"].name
        for each in (parameter.expressions if parameter else ())
        if isinstance(each, exp.Property)
    }


def _wanted(request: Request, table: Table, context: Context) -> dict[str, Path]:
    """The files to load, by the path of the volume."""
    files = data_files(request.path, context.volumes)
    if request.names is not None:
        root = request.path.rstrip("/")
        missing = [name for name in request.names if f"{root}/{name}" not in files]
        if missing:
            raise StatementError("CLOUD_FILE_SOURCE_FILE_NOT_FOUND", f"No such file: {root}/{missing[0]}", "42K03")
        files = {f"{root}/{name}": files[f"{root}/{name}"] for name in request.names}
    if request.pattern is not None:
        files = {name: file for name, file in files.items() if _matches(request, name)}
    if not files and request.pattern is None:
        raise StatementError("CLOUD_FILE_SOURCE_FILE_NOT_FOUND", f"No such file: {request.path}", "42K03")
    if request.force or request.validate is not None:
        return files
    seen = delta.copied_files(context.catalog.path(table))
    return {name: file for name, file in files.items() if name not in seen}


def _matches(request: Request, name: str) -> bool:
    relative = name.removeprefix(request.path.rstrip("/")).lstrip("/")
    return fnmatch.fnmatchcase(relative, request.pattern or "*")


def _read(
    request: Request, wanted: Mapping[str, Path], context: Context, stack: ExitStack
) -> tuple[str, tuple[Column, ...]]:
    """The query of the files' rows, and its columns."""
    options = reader_options(request.file_format, {"inferschema": "false", **request.options})
    files = [str(file) for file in wanted.values()]
    name = stack.enter_context(context.engine.files(request.file_format, files, options))
    relation = exp.to_table(name)
    if request.query is None:
        sql = f"TABLE `{name}`"
    else:
        query = request.query.copy()
        if any(column.parts[0].name.lower() == "_metadata" for column in query.find_all(exp.Column)):
            raise errors.unsupported("_metadata in COPY INTO")
        relation.meta["resolved"] = True
        query.args["from_"].set("this", relation)
        sql = loading.planned(query, context, stack)
    return sql, columns_from_arrow(context.engine.schema(sql))


def _validated(request: Request, wanted: Mapping[str, Path], context: Context, stack: ExitStack) -> Result:
    sql, _ = _read(request, wanted, context, stack)
    return Result(context.engine.query(f"SELECT * FROM ({sql}) LIMIT {request.validate}"))  # noqa: S608 - a tree's


def _load(
    request: Request,
    wanted: Mapping[str, Path],
    named: list[str],
    table: Table,
    context: Context,
    stack: ExitStack,
) -> int:
    target = stack.enter_context(loading.transaction(table, context))
    sql, found = _read(request, wanted, context, stack)
    there = {column.name.lower() for column in target.columns}
    if named:
        given = tuple(loading.known(name, target) for name in named)
    else:
        new = [column for column in found if column.name.lower() not in there]
        if new and not request.merge_schema:
            raise StatementError(
                "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE",
                "A schema mismatch was detected while copying into the Delta table "
                f"({table.name}): {', '.join(column.name for column in new)}. This may indicate an issue with the "
                "incoming data, or the Delta table schema can be evolved automatically by setting: "
                "COPY_OPTIONS ('mergeSchema' = 'true').",
                "42KDG",
            )
        target = with_columns(target, new)
        given = tuple(column.name for column in found)
    if len(given) != len(found):
        raise StatementError(
            "COPY_INTO_COLUMN_ARITY_MISMATCH",
            f"Cannot write to {table.name}: {len(given)} columns are named, the files have {len(found)}.",
            "21S01",
        )
    target = loading.giving(target, given)
    rows = aligned(Source(sql, found, given), target)
    added = loading.write(rows, target, context)
    what = written("Append", target, added, blind=True)
    committing.commit(
        target,
        what.renamed("COPY INTO", {delta.COPIED_FILES: sorted(wanted)}),
        context,
        added=added,
        inserted=loading.rows_in(added),
    )
    return loading.rows_in(added)
