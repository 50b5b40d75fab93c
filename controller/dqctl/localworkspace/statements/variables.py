"""Session variables: declared, set, dropped, and put into the statements that name them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.context import Context
from dqctl.localworkspace.contract import Parameter, Result, StatementError
from dqctl.localworkspace.sql import probes
from dqctl.localworkspace.sql.names import parts_of
from dqctl.localworkspace.sql.statement import parse_tree
from dqctl.localworkspace.sql.variable_commands import (
    DeclareVariable,
    DropVariable,
    ExecuteImmediate,
    SetVariables,
)
from dqctl.localworkspace.sql.variables import Variable
from dqctl.localworkspace.statements.results import nothing
from dqctl.localworkspace.types import text_from_arrow

_PLACES = (("session",), ("system", "session"))
_KINDS = (
    "BIGINT", "BOOLEAN", "DATE", "DECIMAL", "DOUBLE", "FLOAT", "INT", "SMALLINT", "STRING", "TIMESTAMP",
    "TIMESTAMP_NTZ", "TINYINT", "VOID",
)  # fmt: skip


def declare(command: DeclareVariable, context: Context) -> Result:
    """DECLARE VARIABLE."""
    for name in command.names:
        if name in context.variables and not command.replace:
            raise StatementError(
                "VARIABLE_ALREADY_EXISTS",
                f"Cannot create the variable `system`.`session`.`{name}` because it already exists.",
                "42723",
            )
    (value,) = _values([command.default or "NULL"], [command.type], context)
    kind = command.type or value.type
    for name in command.names:
        context.variables[name] = Variable(kind, replace(value, name=name), command.default)
    return nothing()


def set_variables(command: SetVariables, context: Context) -> Result:
    """SET VAR: all of them, or none when one fails."""
    old = [_variable(name, context) for name in command.names]
    if len(set(command.names)) < len(command.names):
        raise StatementError("DUPLICATE_ASSIGNMENTS", "A variable is set twice in one SET VAR.", "42701")
    kinds = [variable.type for variable in old]
    if command.query is not None:
        rows = context.query(put_in(parse_tree(command.query), context))
        values = _row(rows, kinds, context)
    else:
        texts = [
            (variable.default or "NULL") if text.upper() == "DEFAULT" else text
            for variable, text in zip(old, command.values, strict=True)
        ]
        values = _values(texts, kinds, context)
    _assign(command.names, values, context)
    return nothing()


def drop_variable(command: DropVariable, context: Context) -> Result:
    """DROP TEMPORARY VARIABLE."""
    if context.variables.pop(command.name, None) is None and not command.if_exists:
        raise StatementError("VARIABLE_NOT_FOUND", _not_found(command.name), "42883")
    return nothing()


def prepared(command: ExecuteImmediate, context: Context) -> tuple[str, Sequence[Parameter]]:
    """The text of an EXECUTE IMMEDIATE, and its parameters."""
    for name in command.into:
        _variable(name, context)
    (text,) = _values([command.text], ["STRING"], context)
    if text.value is None:
        raise StatementError(
            "NULL_QUERY_STRING_EXECUTE_IMMEDIATE", "Execute immediate requires a non-null text.", "22004"
        )
    values = _values([value for value, _ in command.using], [None] * len(command.using), context)
    named = [replace(value, name=name) for value, (_, name) in zip(values, command.using, strict=True)]
    return text.value, named


def keep(names: Sequence[str], result: Result, context: Context) -> Result:
    """INTO: what came out of an EXECUTE IMMEDIATE, in variables; NULL where there was no row."""
    kinds = [_variable(name, context).type for name in names]
    _assign(names, _row(result.table, kinds, context), context)
    return nothing()


def _variable(name: str, context: Context) -> Variable:
    if name not in context.variables:
        raise StatementError("UNRESOLVED_VARIABLE", _not_found(name), "42883")
    return context.variables[name]


def _not_found(name: str) -> str:
    return f"The variable `system`.`session`.`{name}` cannot be found. Verify the spelling of the name."


def _assign(names: Sequence[str], values: Sequence[Parameter], context: Context) -> None:
    for name, value in zip(names, values, strict=True):
        context.variables[name] = replace(context.variables[name], value=replace(value, name=name))


def _values(texts: Sequence[str], kinds: Sequence[str | None], context: Context) -> list[Parameter]:
    """What expressions come to, each cast to its kind."""
    if not texts:
        return []
    columns: list[exp.Expr] = []
    for place, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        (value,) = parse_tree(f"SELECT ({text})").expressions
        cast = exp.cast(value.copy(), kind, dialect="databricks") if kind else value.copy()
        columns.append(exp.alias_(cast, f"_{place}"))
    rows = context.query(put_in(exp.select(*columns), context))
    return [_parameter(rows.column(place)[0]) for place in range(len(texts))]


def _row(rows: pa.Table, kinds: Sequence[str], context: Context) -> list[Parameter]:
    """The one row of a result, cast; NULLs where there is none."""
    if rows.num_columns != len(kinds):
        raise StatementError(
            "ASSIGNMENT_ARITY_MISMATCH",
            f"The number of columns or variables assigned or aliased: {len(kinds)} does not match the number of "
            f"source expressions: {rows.num_columns}.",
            "42802",
        )
    if rows.num_rows > 1:
        raise StatementError(
            "ROW_SUBQUERY_TOO_MANY_ROWS", "More than one row returned by a subquery used as a row.", "21000"
        )
    found = [_parameter(column[0]) if rows.num_rows else Parameter(None, "VOID", None) for column in rows.columns]
    holders = {f"_{place}": Variable(value.type, value, None) for place, value in enumerate(found)}
    columns = [
        exp.alias_(exp.cast(holder.tree(), kind, dialect="databricks"), name)
        for (name, holder), kind in zip(holders.items(), kinds, strict=True)
    ]
    cast = context.query(exp.select(*columns))
    return [_parameter(cast.column(place)[0]) for place in range(len(kinds))]


def _parameter(value: pa.Scalar) -> Parameter:
    kind = text_from_arrow(value.type).upper()
    if kind.partition("(")[0] not in _KINDS:
        raise errors.unsupported(f"A session variable of the type {kind}")
    found = value.as_py()
    if found is None:
        return Parameter(None, kind, None)
    if pa.types.is_decimal(value.type):
        return Parameter(None, kind, f"{found:f}")
    if pa.types.is_temporal(value.type):
        return Parameter(None, kind, found.isoformat())
    return Parameter(None, kind, str(found).lower() if isinstance(found, bool) else str(found))


def put_in(tree: exp.Expr, context: Context) -> exp.Expr:
    """``tree`` with the values of variables in the place of their names; a column of that name comes first."""
    if not context.variables:
        return tree
    for column in list(tree.find_all(exp.Column)):
        name, place = column.name.lower(), tuple(part.name.lower() for part in column.parts[:-1])
        if name not in context.variables or place not in ((), *_PLACES):
            continue
        if place or name not in _columns_around(column, context):
            value = context.variables[name].tree()
            if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
                value = exp.alias_(value, column.name, quoted=True)
            column.replace(value)
    return tree


def _columns_around(column: exp.Expr, context: Context) -> set[str]:
    """The columns, and aliases of columns, that can be meant where ``column`` stands."""
    found: set[str] = set()
    above = column.parent
    while above is not None:
        if isinstance(above, exp.Select):
            found.update(one.alias.lower() for one in above.expressions if one.alias)
            if above.args.get("from_") is not None:
                found.update(_columns_of(probes.scope_of(above, exp.Star()), context))
        elif isinstance(above, exp.Update | exp.Delete | exp.Merge):
            for relation in _written(above):
                found.update(_columns_of(exp.select("*").from_(relation.copy()), context))
        above = above.parent
    return found


def _written(statement: exp.Expr) -> Iterator[exp.Expr]:
    for key in ("this", "using"):
        relation = statement.args.get(key)
        if isinstance(relation, exp.Table) and not parts_of(relation):
            continue
        if isinstance(relation, exp.Table | exp.Subquery):
            yield relation


def _columns_of(query: exp.Expr, context: Context) -> list[str]:
    try:
        with context.planned(query) as sql:
            return [name.lower() for name in context.engine.schema(sql).names]
    except Exception:  # noqa: BLE001 - whatever it is: the statement fails with an error of its own
        return []
