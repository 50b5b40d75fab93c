"""Which files of a table may hold rows that a condition means, by the statistics in its log.

A file is left alone only where the statistics rule it out; what is not understood may match.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlglot import exp

# Types whose statistics compare in Python as their values do in SQL.
_INTEGERS = ("byte", "short", "integer", "long")
_TEXTS = ("string", "date")


def may_match(condition: exp.Expr, added: Mapping[str, Any], types: Mapping[str, Any]) -> bool:
    """Whether a file may hold a row for which ``condition`` is true; ``types`` are Delta's, by lower-case name."""
    return _may(condition, _Bounds(added, types))


class _Bounds:
    """The smallest and the greatest value of each column of a file, as far as they are known."""

    def __init__(self, added: Mapping[str, Any], types: Mapping[str, Any]) -> None:
        found = json.loads(added.get("stats") or "{}")
        self._least = {key.lower(): value for key, value in (found.get("minValues") or {}).items()}
        self._most = {key.lower(): value for key, value in (found.get("maxValues") or {}).items()}
        self._types = types
        for key, value in (added.get("partitionValues") or {}).items():
            whole = value is not None and types.get(key.lower()) in _INTEGERS
            self._least[key.lower()] = self._most[key.lower()] = int(value) if whole else value

    def of(self, column: exp.Expr, literal: exp.Expr) -> tuple[Any, Any, Any] | None:
        """Least, greatest and the literal to compare with; None where they do not compare."""
        if not isinstance(column, exp.Column) or not isinstance(literal, exp.Literal):
            return None
        name = column.name.lower()
        kind = self._types.get(name)
        least, most = self._least.get(name), self._most.get(name)
        if kind in _TEXTS and literal.is_string and isinstance(least, str) and isinstance(most, str):
            # A date is compared as one: '2024-1-5' is no text of the statistics' form.
            return None if kind == "date" and len(literal.name) != 10 else (least, most, literal.name)
        whole = kind in _INTEGERS and not literal.is_string and literal.name.isdecimal()
        if whole and isinstance(least, int) and isinstance(most, int):
            return least, most, int(literal.name)
        return None


def _may(node: exp.Expr, bounds: _Bounds) -> bool:
    node = node.unnest()
    if isinstance(node, exp.And):
        return _may(node.left, bounds) and _may(node.right, bounds)
    if isinstance(node, exp.Or):
        return _may(node.left, bounds) or _may(node.right, bounds)
    if isinstance(node, exp.In) and node.expressions:
        return any(_equal(node.this, each, bounds) for each in node.expressions)
    if isinstance(node, (exp.EQ, exp.NullSafeEQ)):
        return _equal(node.left, node.right, bounds) and _equal(node.right, node.left, bounds)
    return not (isinstance(node, exp.Boolean) and not node.this)


def _equal(column: exp.Expr, literal: exp.Expr, bounds: _Bounds) -> bool:
    found = bounds.of(column.unnest(), literal.unnest())
    return found is None or found[0] <= found[2] <= found[1]
