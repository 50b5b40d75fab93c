"""Stars that Sail 0.7.2 does not read become the columns that they mean.

``SELECT * EXCEPT (columns)`` is a set operation to it, and nothing can be grouped by a star, which ``GROUP BY
ALL`` can mean. The engine is asked which columns there are; so this is no rule, for rules see trees only.
"""

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.catalog import quoted
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.probes import scope_of


def expand(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """``tree`` without such stars, in place; ``StatementError`` when a column is not there to be left out."""
    # What is inside comes first: what is around it reads its columns.
    selects = [each for each in tree.find_all(exp.Select) if any(_counts(one, each) for one in each.expressions)]
    for select in reversed(selects):
        expressions: list[exp.Expr] = []
        grouped = list(select.args["group"].expressions) if _groups_by_star(select) else []
        for one in select.expressions:
            expressions += _columns(select, one, engine) if _counts(one, select) else [one]
        if grouped:
            meant = [_columns(select, one, engine) if one.is_star else [one] for one in grouped]
            select.args["group"].set("expressions", [column for columns in meant for column in columns])
        select.set("expressions", expressions)
    return tree


def _counts(projection: exp.Expr, select: exp.Select) -> bool:
    return bool(_left_out(projection)) or (projection.is_star and _groups_by_star(select))


def _groups_by_star(select: exp.Select) -> bool:
    group = select.args.get("group")
    return group is not None and any(one.is_star for one in group.expressions)


def _left_out(projection: exp.Expr) -> list[str]:
    star = projection.this if isinstance(projection, exp.Column) else projection
    return [each.name for each in star.args.get("except_") or ()] if isinstance(star, exp.Star) else []


def _columns(select: exp.Select, star: exp.Expr, engine: EngineSession) -> list[exp.Expr]:
    qualifier = star.args.get("table") if isinstance(star, exp.Column) else None
    bare: exp.Expr = exp.Column(this=exp.Star(), table=qualifier.copy()) if qualifier else exp.Star()
    names = engine.schema(to_sql(scope_of(select, bare))).names
    left_out = {name.lower() for name in _left_out(star)}
    for name in left_out - {each.lower() for each in names}:
        raise errors.unresolved_column(quoted(name))
    kept = [name for name in names if name.lower() not in left_out]
    if len({name.lower() for name in kept}) < len(kept):
        raise errors.unsupported("* EXCEPT, or * with GROUP BY ALL, where two columns have one name")
    return [
        exp.column(exp.to_identifier(name, quoted=True), table=qualifier.copy() if qualifier else None)
        for name in kept
    ]
