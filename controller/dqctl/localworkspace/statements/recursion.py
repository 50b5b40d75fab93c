"""WITH RECURSIVE: a definition that names itself is carried out level by level; its rows stand in its place."""

from contextlib import ExitStack

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql import probes
from dqctl.localworkspace.sql.recursion_words import level_of
from dqctl.localworkspace.sql.relations import held

# A warehouse's bounds, as long as the statement does not name others.
MAX_LEVEL = 100
MAX_ROWS = 1_000_000


def put_in(tree: exp.Expr, context: Context, stack: ExitStack) -> None:
    """Have the rows of each such definition in ``tree`` in its place, as long as ``stack`` is open."""
    level = level_of(tree) or MAX_LEVEL
    for with_ in list(tree.find_all(exp.With)):
        if not with_.args.get("recursive"):
            continue
        for definition in with_.expressions:
            if not _itself(definition.this, definition.alias):
                continue
            if isinstance(tree, exp.Create) and tree.kind == "VIEW":
                raise errors.unsupported("WITH RECURSIVE in the query of a view")
            rows = _all_levels(definition, level, context)
            view = stack.enter_context(context.engine.relation(rows))
            definition.set("this", exp.select("*").from_(held(view)))


def _itself(query: exp.Expr, name: str) -> list[exp.Table]:
    tables = query.find_all(exp.Table)
    return [table for table in tables if table.name.lower() == name.lower() and not table.db]


def _all_levels(definition: exp.CTE, level: int, context: Context) -> pa.Table:
    union = definition.this
    name = definition.alias
    if not isinstance(union, exp.Union) or _itself(union.this, name):
        raise _invalid("INVALID_RECURSIVE_CTE", "it has to be an anchor UNION ALL the step that names it.")
    if union.args.get("distinct"):
        raise _invalid("UNION_NOT_SUPPORTED_IN_RECURSIVE_CTE", "UNION is not supported, use UNION ALL.")
    if len(_itself(union.expression, name)) > 1:
        raise _invalid("INVALID_RECURSIVE_REFERENCE.NUMBER", "the step names it more than once.")
    before = probes.definitions(union)
    anchor = _rows(union.this, before, context)
    declared = [column.name for column in definition.args["alias"].columns]
    if declared and len(declared) != anchor.num_columns:
        raise StatementError("NUM_COLUMNS_MISMATCH", f"{name} has {anchor.num_columns} columns.", "42826")
    names = declared or anchor.column_names
    schema = pa.schema([pa.field(*each) for each in zip(names, anchor.schema.types, strict=True)])
    levels = [_as(anchor, schema)]
    count = anchor.num_rows
    while levels[-1].num_rows:
        if context.stop.is_set():
            raise errors.cancelled()
        if len(levels) > level:
            raise _invalid(
                "RECURSION_LEVEL_LIMIT_EXCEEDED", f"the level limit {level} is reached, and it has not ended."
            )
        with context.engine.relation(levels[-1]) as view:
            step = union.expression.copy()
            for table in _itself(step, name):
                last = held(view)
                last.set("alias", exp.TableAlias(this=exp.to_identifier(table.alias or name, quoted=True)))
                table.replace(last)
            levels.append(_as(_rows(step, before, context), schema))
        count += levels[-1].num_rows
        if count > MAX_ROWS:
            raise _invalid("RECURSION_ROW_LIMIT_EXCEEDED", f"it has more than {MAX_ROWS} rows.")
    return pa.concat_tables(levels)


def _rows(query: exp.Expr, before: list[exp.Expr], context: Context) -> pa.Table:
    part = query.copy()
    if before and part.args.get("with_") is None:
        part.set("with_", exp.With(expressions=[each.copy() for each in before]))
    return context.query(part)


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """``rows`` with the names and types of the anchor."""
    if rows.num_columns != len(schema):
        raise StatementError(
            "NUM_COLUMNS_MISMATCH", "The anchor and the step have different numbers of columns.", "42826"
        )
    try:
        return rows.rename_columns(schema.names).cast(schema)
    except pa.ArrowInvalid as error:
        raise StatementError(
            "CAST_OVERFLOW", f"The step does not fit into the anchor: {error}", "22003"
        ) from error
    except pa.ArrowNotImplementedError as error:
        raise StatementError(
            "DATATYPE_MISMATCH", f"The types of the step are not those of the anchor: {error}", "42K09"
        ) from error


def _invalid(error_class: str, why: str) -> StatementError:
    return StatementError(error_class, f"The recursive definition is invalid: {why}", "42836")
