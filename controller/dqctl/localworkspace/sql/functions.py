"""Functions made with CREATE FUNCTION ... RETURN: a call becomes the body, with what it was called with."""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import Catalog, Function, Name
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.statement import parse_tree

_MAX_DEPTH = 50


def inline(tree: exp.Expr, catalog: Catalog, namespace: Namespace, depth: int = 0) -> exp.Expr:
    """``tree`` without a call of such a function, in place."""
    if depth > _MAX_DEPTH:
        raise errors.invalid_parameter("The functions call each other too deeply.")
    for call in list(tree.find_all(exp.Anonymous)):
        whole, parts = _named(call)
        if not isinstance(call.this, str) and len(parts) == 1:
            continue
        name = namespace.full(parts)
        function = catalog.function(name)
        if function is None:
            if len(parts) > 1:
                raise errors.function_not_found(str(name))
            continue
        value = _body(function, call.expressions)
        inline(value, catalog, namespace, depth + 1)
        if isinstance(whole.parent, exp.Select) and whole.arg_key == "expressions":
            value = exp.alias_(value, f"{name.catalog}.{name.schema}.{_text(call)}", quoted=True)
        whole.replace(value)
    return tree


def _text(call: exp.Anonymous) -> str:
    return call.sql("databricks", normalize_functions=False)


def _named(call: exp.Anonymous) -> tuple[exp.Expr, tuple[str, ...]]:
    """The call with what stands before its name, and the parts of the name."""
    above = call.parent
    if not isinstance(above, exp.Dot) or above.expression is not call:
        return call, (call.name,)
    parts = [part.name for part in above.parts[:-1]]
    if not all(parts) or len(parts) > 2:
        return call, (call.name,)
    return above, (*parts, call.name)


def _body(function: Function, arguments: Sequence[exp.Expr]) -> exp.Expr:
    if len(arguments) != len(function.parameters):
        raise StatementError(
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
            f"The {function.name} requires {len(function.parameters)} parameters but the actual number is "
            f"{len(arguments)}.",
            "42605",
        )
    given = {
        name.lower(): exp.cast(argument.copy(), kind, dialect="databricks")
        for (name, kind), argument in zip(function.parameters, _in_order(function, arguments), strict=True)
    }
    body: exp.Expr = parse_tree(f"SELECT {function.body}").expressions[0].unalias()
    holder = exp.Paren(this=body.copy())
    _replace(holder, given, function.name)
    return exp.cast(holder, function.returns, dialect="databricks") if function.returns else holder


def _in_order(function: Function, arguments: Sequence[exp.Expr]) -> list[exp.Expr]:
    """As many arguments as there are parameters, in their order; ``name => value`` goes where its name says."""
    names = [name.lower() for name, _ in function.parameters]
    placed: dict[str, exp.Expr] = {}
    for place, argument in enumerate(arguments):
        named = isinstance(argument, exp.Kwarg)
        key = argument.this.name.lower() if named else names[place]
        if key not in names:
            raise StatementError(
                "UNRECOGNIZED_PARAMETER_NAME",
                f"Cannot invoke routine {function.name} because the routine call included a named argument "
                f"reference for the argument named `{key}`, but this routine does not include any such one.",
                "4274K",
            )
        if key in placed:
            raise StatementError(
                "DUPLICATE_ROUTINE_PARAMETER_ASSIGNMENT.DOUBLE_NAMED_ARGUMENT_REFERENCE",
                f"Call to routine {function.name} is invalid because it includes multiple argument assignments to "
                f"the same parameter name `{key}`.",
                "4274K",
            )
        placed[key] = argument.expression if named else argument
    return [placed[name] for name in names]


def _replace(body: exp.Expr, given: Mapping[str, exp.Expr], name: Name) -> None:
    for column in list(body.find_all(exp.Column)):
        qualified = column.table.lower() == name.name and not column.args.get("db")
        value = given.get(column.name.lower())
        if value is not None and (not column.table or qualified):
            column.replace(value.copy())
