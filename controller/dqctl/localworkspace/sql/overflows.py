"""Sums and products of constants that are too large for their type: the engine (Sail 0.7.2) wraps them in silence.

What columns come to is known to the engine alone, which wraps that, too.
"""

from sqlglot import exp

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.rules import rule

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_NAMES = {8: "byte", 16: "short", 32: "integer", 64: "long"}
_INSTEAD = {exp.Add: "try_add", exp.Sub: "try_subtract", exp.Mul: "try_multiply"}
# What may not be evaluated at all.
_BRANCHES = (exp.Case, exp.If, exp.Anonymous)


@rule("constants_that_overflow", "2147483647 + 1 is -2147483648, in ANSI mode too", "Sail 0.7.2", exp.Binary,
      strict=True)  # fmt: skip
def constants_that_overflow(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``ARITHMETIC_OVERFLOW`` for whole numbers that do not fit."""
    for node in tree.find_all(exp.Add, exp.Sub, exp.Mul):
        if node.find_ancestor(*_BRANCHES) is None:
            _value(node)
    return tree


def _value(node: exp.Expr) -> tuple[int, int] | None:
    """A constant whole number and the bits of its type; None for anything else."""
    if isinstance(node, exp.Paren):
        return _value(node.this)
    if isinstance(node, exp.Literal):
        return _literal(int(node.name)) if not node.is_string and node.name.isdecimal() else None
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        found = _value(node.this)
        return _literal(-found[0]) if found is not None else None
    if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
        found, bits = _value(node.this), _BITS.get(node.to.this.value)
        return (found[0], bits) if found is not None and bits is not None and _fits(found[0], bits) else None
    if not isinstance(node, (exp.Add, exp.Sub, exp.Mul)):
        return None
    left, right = _value(node.left), _value(node.right)
    if left is None or right is None:
        return None
    bits = max(left[1], right[1])
    value = {
        exp.Add: left[0] + right[0], exp.Sub: left[0] - right[0], exp.Mul: left[0] * right[0],
    }[type(node)]  # fmt: skip
    if not _fits(value, bits):
        raise StatementError(
            "ARITHMETIC_OVERFLOW",
            f"{_NAMES[bits]} overflow. Use '{_INSTEAD[type(node)]}' to tolerate overflow and return NULL instead. "
            'If necessary set "ANSI_MODE" to "false" to bypass this error.',
            "22003",
        )
    return value, bits


def _literal(value: int) -> tuple[int, int] | None:
    return next(((value, bits) for bits in (32, 64) if _fits(value, bits)), None)


def _fits(value: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)
