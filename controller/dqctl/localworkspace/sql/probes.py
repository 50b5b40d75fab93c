"""What the engine says of a part of a statement: the columns and types that it has where it stands."""

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql.dialect import to_sql


def scope_of(select: exp.Select, *expressions: exp.Expr) -> exp.Select:
    """A query of ``expressions`` over what ``select`` reads, without a row."""
    probe = exp.Select(expressions=[each.copy() for each in expressions])
    probe.set("limit", exp.Limit(expression=exp.Literal.number(0)))
    for key in ("from_", "joins", "laterals"):
        value = select.args.get(key)
        if value:
            probe.set(key, value.copy() if isinstance(value, exp.Expr) else [each.copy() for each in value])
    _define(probe, select)
    return probe


def branch_of(query: exp.Expr) -> exp.Select:
    """A query of all that ``query``, a part of another one, gives."""
    inner = query.copy()
    inner.set("with_", None)
    probe = exp.select("*").from_(subquery(inner, "_branch"))
    _define(probe, query)
    return probe


def subquery(query: exp.Expr, alias: str) -> exp.Subquery:
    """``query`` under a name; one that stands in brackets keeps them."""
    bare = query.this if isinstance(query, exp.Subquery) and not _has_clauses(query) else query
    return exp.Subquery(this=bare, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _has_clauses(query: exp.Subquery) -> bool:
    return any(value for key, value in query.args.items() if key != "this")


def schema(probe: exp.Expr, engine: EngineSession) -> pa.Schema | None:
    """The columns of a probe; None where it cannot stand alone, such as one that names columns from around it."""
    try:
        return engine.schema(to_sql(probe))
    except Exception:  # noqa: BLE001 - whatever it is: the statement fails with an error of its own
        return None


def type_of(value: exp.Expr, engine: EngineSession) -> pa.DataType | None:
    """The type of an expression where it stands; None where it cannot be asked for."""
    select = value.find_ancestor(exp.Select)
    found = schema(scope_of(select, value), engine) if select is not None else None
    return found.types[0] if found is not None and len(found) == 1 else None


def _define(probe: exp.Expr, place: exp.Expr) -> None:
    if found := definitions(place):
        probe.set("with_", exp.With(expressions=found))


def definitions(query: exp.Expr) -> list[exp.Expr]:
    """The WITH definitions that are visible in a query, outer ones first."""
    found: list[exp.Expr] = []
    inside: exp.Expr = query
    above: exp.Expr | None = query
    while above is not None:
        with_ = above.args.get("with_")
        if with_ is not None and with_ is not inside:
            found = [*(each.copy() for each in with_.expressions), *found]
        elif isinstance(above, exp.With):
            before = above.expressions[: above.expressions.index(inside)]
            found = [*(each.copy() for each in before), *found]
        inside, above = above, above.parent
    return found
