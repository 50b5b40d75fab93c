"""Native parameters: markers in the tree become literals in the tree, so a value can never be read as SQL."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.contract import Parameter, StatementError
from dqctl.localworkspace.sql.dialect import POSITION

# What a warehouse takes in one statement, and how it says so.
MAX_MARKERS = 255

_INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
# What else SQL calls a type: the JDBC driver says SHORT.
_ALIASES = {
    "BYTE": "TINYINT", "SHORT": "SMALLINT", "INTEGER": "INT", "LONG": "BIGINT", "REAL": "FLOAT", "DEC": "DECIMAL",
    "NUMERIC": "DECIMAL", "TIMESTAMP_LTZ": "TIMESTAMP",
}  # fmt: skip


def bind(tree: exp.Expr, parameters: Sequence[Parameter]) -> exp.Expr:
    """Put ``parameters`` in the place of the markers; ``StatementError`` when a marker has no value."""
    markers = list(tree.find_all(exp.Placeholder))
    count = max(len(markers), len(parameters))
    if count > MAX_MARKERS:
        raise StatementError(
            "BAD_REQUEST",
            f"Parameterized query has too many parameters: {count} parameters were given but the limit is "
            f"{MAX_MARKERS}.",
            "54000",
        )
    by_name = {parameter.name.lower(): parameter for parameter in parameters if parameter.name}
    by_order = [parameter for parameter in parameters if not parameter.name]
    positional = sorted((m for m in markers if not m.this), key=lambda m: m.meta[POSITION])
    if positional and by_name:
        raise StatementError(
            "INVALID_QUERY_MIXED_QUERY_PARAMETERS", "A query mixes positional and named parameters.", "42613"
        )
    for index, marker in enumerate(positional):
        if index >= len(by_order):
            raise _unbound("?")
        tree = _replace(tree, marker, by_order[index])
    for marker in markers:
        if marker.this:
            parameter = by_name.get(marker.name.lower())
            if parameter is None:
                raise _unbound(marker.name)
            tree = _replace(tree, marker, parameter)
    return tree


def _replace(tree: exp.Expr, marker: exp.Expr, parameter: Parameter) -> exp.Expr:
    value = literal(parameter)
    if marker is tree:
        return value
    marker.replace(value)
    return tree


def _unbound(name: str) -> StatementError:
    return StatementError("UNBOUND_SQL_PARAMETER", f"Found the unbound parameter: {name}.", "42P02")


def literal(parameter: Parameter) -> exp.Expr:
    """The value as a node of the tree."""
    kind = _kind(parameter.type)
    text = parameter.value
    if kind == "ARRAY":
        return exp.Array(expressions=[literal(each) for each in parameter.arguments])
    if kind == "MAP":
        return _map(parameter.arguments)
    if kind == "VOID" or text is None:
        return exp.null()
    if kind == "STRING" or kind.startswith(("CHAR", "VARCHAR")):
        return exp.Literal.string(text)
    try:
        return _typed(kind, text)
    except (ValueError, InvalidOperation) as error:
        raise StatementError(
            "CAST_INVALID_INPUT",
            f"The value '{text}' of a parameter cannot be cast to {kind} because it is malformed.",
            "22018",
        ) from error


def _kind(given: str) -> str:
    """A type by the name under which it is known here, with its precision if it has one."""
    name, bracket, rest = given.strip().upper().partition("(")
    return f"{_ALIASES.get(name, name)}{bracket}{rest}"


def _map(arguments: Sequence[Parameter]) -> exp.Expr:
    if len(arguments) % 2:
        raise errors.invalid_parameter("A MAP parameter has a key without a value.")
    keys, values = ([literal(each) for each in arguments[start::2]] for start in (0, 1))
    return exp.VarMap(keys=exp.Array(expressions=keys), values=exp.Array(expressions=values))


def _typed(kind: str, text: str) -> exp.Expr:
    if kind in _INTEGERS:
        return _integer(kind, int(text))
    if kind == "BOOLEAN":
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return exp.Boolean(this=text.lower() == "true")
    if kind in ("FLOAT", "DOUBLE"):
        float(text)
        return _cast(text, kind)
    if kind == "DECIMAL" or re.fullmatch(r"DECIMAL\(\d+(,\s*\d+)?\)", kind):
        return _cast(text, kind if "(" in kind else _decimal_type(Decimal(text)))
    if kind == "DATE":
        date.fromisoformat(text)
        return _cast(text, kind)
    if kind in ("TIMESTAMP", "TIMESTAMP_NTZ"):
        datetime.fromisoformat(text)
        return _cast(text, kind)
    if kind.startswith("INTERVAL"):
        unit = kind.removeprefix("INTERVAL").strip()
        if not re.fullmatch(r"[A-Z]+( TO [A-Z]+)?", unit):
            raise ValueError(kind)
        return exp.Interval(this=exp.Literal.string(text), unit=exp.var(unit))
    raise errors.unsupported(f"A parameter of type {kind}")


def _integer(kind: str, value: int) -> exp.Expr:
    if not -(1 << (_INTEGERS[kind] - 1)) <= value < 1 << (_INTEGERS[kind] - 1):
        raise ValueError(value)
    number: exp.Expr = exp.Literal.number(abs(value))
    if value < 0:
        number = exp.Paren(this=exp.Neg(this=number))
    # A bare number is an INT, and a clause such as LIMIT wants it bare.
    return number if kind == "INT" and value != -(1 << 31) else exp.cast(number, kind, dialect="databricks")


def _cast(text: str, kind: str) -> exp.Expr:
    return exp.cast(exp.Literal.string(text), kind, dialect="databricks")


def _decimal_type(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(value)
    scale = max(-exponent, 0)
    return f"DECIMAL({max(len(digits) + max(exponent, 0), scale, 1)},{scale})"
