"""What is wrong with a query that the engine refused, said as a warehouse says it.

The engine's own words name its inner columns, and are the same for mistakes that a warehouse tells apart; the tree
shows which one it is.
"""

import re
from collections.abc import Callable, Iterator

from sqlglot import exp

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import probes
from dqctl.localworkspace.sql.rules import aggregates
from dqctl.localworkspace.sql.statement import parse_tree

_SUGGESTED = 5


def diagnosed(sql: str, error: Exception, engine: EngineSession) -> StatementError | None:
    """The warehouse's error for what the engine said of ``sql``; None where its own words will do."""
    said = str(error)
    matching = [(found, diagnosis) for pattern, diagnosis in _DIAGNOSES if (found := re.search(pattern, said))]
    if not matching:
        return None
    try:
        tree = parse_tree(sql)
    except StatementError:  # EXPLAIN and its like
        return None
    for found, diagnosis in matching:
        if (told := diagnosis(tree, found, engine)) is not None:
            return told
    return None


def _unresolved_column(tree: exp.Expr, said: re.Match[str], engine: EngineSession) -> StatementError:
    parts = re.findall(r'Identifier\("((?:[^"\\]|\\.)*)"\)', said[1])
    name = ".".join(f"`{part}`" for part in parts)
    told = f"A column, variable, or function parameter with name {name} cannot be resolved."
    for column in tree.find_all(exp.Column):
        if [part.name.lower() for part in column.parts] != [part.lower() for part in parts]:
            continue
        select = column.find_ancestor(exp.Select)
        if select is None or select.args.get("from_") is None:
            continue
        known = probes.schema(probes.scope_of(select, exp.Star()), engine)
        if known is None:
            continue
        nearest = sorted(dict.fromkeys(known.names), key=lambda each: _distance(each.lower(), parts[-1].lower()))
        suggested = ", ".join(f"`{each}`" for each in nearest[:_SUGGESTED])
        return StatementError(
            "UNRESOLVED_COLUMN.WITH_SUGGESTION",
            f"{told} Did you mean one of the following? [{suggested}].",
            "42703",
        )
    return StatementError("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", told, "42703")


def _distance(left: str, right: str) -> int:
    """How many characters have to be changed, added or removed (Levenshtein)."""
    row = list(range(len(right) + 1))
    for number, one in enumerate(left, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(right, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (one != other))
    return row[-1]


def _not_grouped(tree: exp.Expr, _: re.Match[str], __: EngineSession) -> StatementError | None:
    selects = list(tree.find_all(exp.Select))
    if any(select.args.get("group") for select in selects):
        return StatementError(
            "MISSING_AGGREGATION",
            "A non-aggregating expression is based on columns which are not participating in the GROUP BY "
            "clause. Add the columns or the expression to the GROUP BY, aggregate the expression, or use "
            "any_value() if you do not care which of the values within a group is returned.",
            "42803",
        )
    if any(aggregates(one) for select in selects for one in select.expressions):
        return StatementError(
            "MISSING_GROUP_BY",
            "The query does not include a GROUP BY clause. Add GROUP BY or turn it into the window functions "
            "using OVER clauses.",
            "42803",
        )
    return None


def _condition(tree: exp.Expr, _: re.Match[str], __: EngineSession) -> StatementError | None:
    for where in tree.find_all(exp.Where):
        inside = list(_of_this_query(where.this))
        if any(node.find(exp.Window) for node in inside):
            return StatementError(
                "WINDOW_FUNCTION_NOT_ALLOWED_IN_CLAUSE",
                "It is not allowed to use window functions inside WHERE clause.",
                "42601",
            )
        if any(aggregates(node) for node in inside):
            return StatementError(
                "INVALID_WHERE_CONDITION",
                f'The WHERE condition "{where.this.sql("databricks")}" contains invalid expressions. Rewrite the '
                "query to avoid window functions, aggregate functions, and generator functions in the WHERE "
                "clause.",
                "42903",
            )
    return None


def _of_this_query(node: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions of ``node``, without what stands in queries of its own."""
    if isinstance(node, exp.Query):
        return
    if not any(True for _ in node.find_all(exp.Query)):
        yield node
        return
    for child in node.iter_expressions():
        yield from _of_this_query(child)


def _position(tree: exp.Expr, said: re.Match[str], _: EngineSession) -> StatementError | None:
    place, last = said[1], said[2]
    for select in tree.find_all(exp.Select):
        for key, clause in (("group", "GROUP BY"), ("order", "ORDER BY")):
            by = select.args.get(key)
            keys = [one.this if isinstance(one, exp.Ordered) else one for one in by.expressions] if by else []
            if any(isinstance(one, exp.Literal) and one.name == place for one in keys):
                return StatementError(
                    f"{clause.replace(' ', '_')}_POS_OUT_OF_RANGE",
                    f"{clause} position {place} is not in select list (valid range is [1, {last}]).",
                    "42805",
                )
    return None


def _correlated(_: exp.Expr, __: re.Match[str], ___: EngineSession) -> StatementError:
    return StatementError(
        "UNSUPPORTED_FEATURE",
        "A correlated scalar subquery whose condition is more than equality is not supported by the local "
        "workspace: write it as a join.",
        "0A000",
    )


_DIAGNOSES: tuple[tuple[str, Callable[[exp.Expr, re.Match[str], EngineSession], StatementError | None]], ...] = (
    (r"attribute ObjectName\(\[(.*?)\]\) is missing from the schema", _unresolved_column),
    (r'No field named (?:[\w`"]+\.)?"#\d+"', _not_grouped),
    (r'No field named [\w"]+\.\w+\.\s[\s\S]*Valid fields are [\w"]+\."#\d+"', _correlated),
    (r"does not support logical expression (?:Aggregate|Window)Function", _condition),
    (r"Cannot resolve column position (\d+)\. Valid positions are 1 to (\d+)", _position),
)
