"""What shows only when the engine refuses a query: each rule names the answer that calls for it.

The engine only reads, and the text that it gets stands for itself, views and all. So a query is changed and sent
again wherever it comes from: a client, a view, CREATE TABLE AS, INSERT, MERGE.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import probes
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.rules import aggregates
from dqctl.localworkspace.sql.statement import parse_tree

Apply = Callable[[exp.Expr, EngineSession], exp.Expr]


@dataclass(frozen=True)
class SecondTry:
    """A gap of the engine and how it is closed: as ``rules.Rule``, but ``after`` the engine has said something.

    ``lenient`` is for one that is needed in sessions without ANSI mode only.
    """

    name: str
    gap: str
    found_in: str
    after: str
    apply: Apply
    lenient: bool = False


SECOND_TRIES: list[SecondTry] = []


def second_try(
    name: str, gap: str, found_in: str, after: str, *, lenient: bool = False
) -> Callable[[Apply], Apply]:
    """Put a function into the registry, in the order of the source."""

    def register(apply: Apply) -> Apply:
        SECOND_TRIES.append(SecondTry(name, gap, found_in, after, apply, lenient))
        return apply

    return register


def changed(sql: str, error: Exception, engine: EngineSession, *, ansi: bool) -> str | None:
    """The text to try after the engine failed with ``error``; None when no rule knows it."""
    said = str(error)
    wanted = [one for one in SECOND_TRIES if one.after in said and not (ansi and one.lenient)]
    if not wanted:
        return None
    try:
        tree = parse_tree(sql)
    except StatementError:  # EXPLAIN and its like
        return None
    before = to_sql(tree.copy())  # spelled otherwise, it is still the same query
    for one in wanted:
        tree = one.apply(tree, engine)
    text = to_sql(tree)
    return text if text != before else None


@second_try(
    "dates_before_1678",
    "a DATE that meets a TIMESTAMP is converted to nanoseconds, which begin in 1677",
    "Sail 0.7.2",
    after="exceeds the representable i64 range",
)
def dates_before_1678(tree: exp.Expr, _: EngineSession) -> exp.Expr:
    """A date literal out of that range becomes a timestamp without zone, which stays in microseconds."""
    for cast in list(tree.find_all(exp.Cast)):
        if cast.to.this != exp.DType.DATE or not isinstance(cast.this, exp.Literal):
            continue
        try:
            value = date.fromisoformat(cast.this.name)
        except ValueError:
            continue
        if not date(1678, 1, 1) <= value < date(2262, 1, 1):
            cast.set("to", exp.DataType.build("TIMESTAMP_NTZ", dialect="databricks"))
    return tree


@second_try(
    "columns_of_using",
    "a column of USING has no qualified name",
    "Sail 0.7.2",
    after="is missing from the schema: cannot resolve attribute",
)
def columns_of_using(tree: exp.Expr, _: EngineSession) -> exp.Expr:
    """``a.k`` of ``a JOIN b USING (k)`` is the bare ``k``, where that is the same value."""
    for select in tree.find_all(exp.Select):
        from_ = select.args.get("from_")
        joins = select.args.get("joins") or []
        if from_ is None or not any(join.args.get("using") for join in joins):
            continue
        keys = {one.name.lower() for join in joins for one in join.args.get("using") or ()}
        same = {from_.this.alias_or_name.lower()} if all(join.side in ("", "LEFT") for join in joins) else set()
        same |= {join.this.alias_or_name.lower() for join in joins if join.args.get("using") and not join.side}
        for column in select.find_all(exp.Column):
            if column.name.lower() in keys and column.table.lower() in same and not column.args.get("db"):
                column.set("table", None)
    return tree


# Of which Sail makes no NULL by itself.
_MAY_BE_MALFORMED = ("bigint", "smallint", "tinyint", "float", "double", "decimal", "boolean")


@second_try(
    "malformed_texts",
    "CAST('x' AS BIGINT) fails without ANSI mode",
    "Sail 0.7.2",
    after="Cannot cast ",
    lenient=True,
)
def malformed_texts(tree: exp.Expr, _: EngineSession) -> exp.Expr:
    """Casts become ``TRY_CAST``, the same but for whole numbers that are too large: those wrap on Spark."""
    for cast in reversed(list(tree.find_all(exp.Cast))):  # from the innermost
        if not isinstance(cast, exp.TryCast) and cast.to.is_type(*_MAY_BE_MALFORMED):
            cast.replace(exp.TryCast(this=cast.this.copy(), to=cast.to.copy(), safe=True))
    return tree


@second_try(
    "aliases_beside_their_use",
    "an alias is not known to the other columns of its own SELECT",
    "Sail 0.7.2",
    after="is missing from the schema: cannot resolve attribute",
)
def aliases_beside_their_use(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """What uses an alias of the same SELECT moves into one around it. Columns come before aliases."""
    for select in reversed(list(tree.find_all(exp.Select))):  # from the innermost
        if _around(select, frozenset()) is None:
            continue
        columns = probes.schema(probes.scope_of(select, exp.Star()), engine) if select.args.get("from_") else None
        taken = frozenset(name.lower() for name in columns.names) if columns is not None else frozenset()
        if (outer := _around(select, taken)) is None:
            continue
        if select is tree:
            tree = outer
        else:
            select.replace(outer)
    return tree


def _around(select: exp.Select, taken: frozenset[str]) -> exp.Select | None:
    """The SELECT around ``select`` that has what uses its aliases; None when there is nothing that could move.

    Names that are ``taken`` are columns.
    """
    known: set[str] = set()
    late: set[str] = set()
    users: set[int] = set()
    for place, one in enumerate(select.expressions):
        if _uses(one, known):
            users.add(place)
            late.add(one.alias.lower())
        if one.alias and one.alias.lower() not in taken:
            known.add(one.alias.lower())
    order = select.args.get("order")
    if not users or select.args.get("distinct") or (order is not None and _uses(order, late)):
        return None
    inner: list[exp.Expr] = []
    outer: list[exp.Expr] = []
    for place, one in enumerate(select.expressions):
        if place in users:
            outer.append(_moved(one.copy(), known, inner))
            continue
        named = one.copy() if one.output_name else exp.alias_(one.copy(), f"_column_{place}")
        inner.append(named)
        outer.append(exp.column(exp.to_identifier(named.output_name, quoted=True)))
    within = select.copy()
    within.set("expressions", inner)
    made = exp.select(*outer, copy=False).from_(exp.Subquery(this=within))
    return _around(made, frozenset()) or made


def _moved(user: exp.Expr, known: set[str], inner: list[exp.Expr]) -> exp.Expr:
    """``user`` for outside: what is no alias, or of none, becomes a column of ``inner``."""
    if not _uses(user, known):
        if user.find(exp.Column, exp.Anonymous, exp.AggFunc) is None:
            return user
        name = f"_beside_{len(inner)}"
        inner.append(exp.alias_(user.copy(), name))
        return exp.column(name)
    if isinstance(user, exp.Column):
        return user
    for key, value in list(user.args.items()):
        if isinstance(value, exp.Expr) and not isinstance(value, exp.Identifier):
            user.set(key, _moved(value, known, inner))
        elif isinstance(value, list):
            user.set(key, [_moved(each, known, inner) if isinstance(each, exp.Expr) else each for each in value])
    return user


def _uses(node: exp.Expr, aliases: set[str]) -> bool:
    return any(not each.table and each.name.lower() in aliases for each in node.find_all(exp.Column))


@second_try(
    "order_by_aggregates",
    "ORDER BY takes an aggregate only that is among the columns of the result",
    "Sail 0.7.2",
    after="does not support logical expression AggregateFunction",
)
@second_try(
    "order_by_aggregates_without_groups",
    "ORDER BY takes an aggregate only that is among the columns of the result",
    "Sail 0.7.2",
    after="No field named",
)
def order_by_aggregates(tree: exp.Expr, _: EngineSession) -> exp.Expr:
    """The keys become columns of a query inside, which the one around it orders by, and does not show."""
    for select in list(tree.find_all(exp.Select)):
        order = select.args.get("order")
        if order is None or select.args.get("distinct") or any(one.is_star for one in select.expressions):
            continue
        if not any(aggregates(one) for one in order.expressions):
            continue
        outer = _ordering(select, order)
        if select is tree:
            tree = outer
        else:
            select.replace(outer)
    return tree


def _ordering(select: exp.Select, order: exp.Order) -> exp.Select:
    inner = select.copy()
    shown: list[exp.Expr] = []
    for place, one in enumerate(inner.expressions):
        name = f"_column_{place}"
        shown.append(exp.alias_(exp.column(name), one.output_name or one.sql("databricks"), quoted=True))
        if one.alias:  # its own keys may name it
            inner.expressions[place].set("alias", exp.to_identifier(name))
        else:
            inner.expressions[place] = exp.alias_(one, name)
    aliases = {one.alias.lower(): f"_column_{place}" for place, one in enumerate(select.expressions) if one.alias}
    keys: list[exp.Expr] = []
    for number, key in enumerate(order.expressions):
        ordered = key.copy()
        value = ordered.this if isinstance(ordered, exp.Ordered) else ordered
        if isinstance(value, exp.Column) and not value.table and value.name.lower() in aliases:
            value.replace(exp.column(aliases[value.name.lower()]))
        elif not isinstance(value, exp.Literal):
            inner.expressions.append(exp.alias_(value.copy(), f"_key_{number}"))
            value.replace(exp.column(f"_key_{number}"))
        keys.append(ordered)
    inner.set("expressions", list(inner.expressions))
    outer = exp.select(*shown, copy=False)
    for key in ("order", "limit", "offset"):
        outer.set(key, inner.args.get(key))
        inner.set(key, None)
    outer.set("order", exp.Order(expressions=keys))
    return outer.from_(exp.Subquery(this=inner), copy=False)


@second_try(
    "averages_of_texts",
    "avg of a text is an error",
    "Sail 0.7.2",
    after="Function 'avg' failed to match any signature",
)
def averages_of_texts(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """The text is a DOUBLE, as it is for ``sum``."""
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() in ("avg", "mean") and len(call.expressions) == 1:
            (value,) = call.expressions
            kind = probes.type_of(value, engine)
            if kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                value.replace(exp.cast(value.copy(), "DOUBLE", dialect="databricks"))
    return tree


@second_try(
    "computed_places",
    "an array is subscripted by a literal only",
    "Sail 0.7.2",
    after="extraction must be a literal",
)
@second_try(
    "places_by_columns",
    "the subscript of an array is the name of a field, when it is a column",
    "Sail 0.7.2",
    after="Cannot cast string '",
)
def computed_places(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """``a[i]`` is ``element_at(a, i + 1)``; a negative ``i`` is out of bounds."""
    for bracket in reversed(list(tree.find_all(exp.Bracket))):  # from the innermost
        if len(bracket.expressions) != 1 or isinstance(bracket.expressions[0], exp.Literal):
            continue
        if not _is_list(probes.type_of(bracket.this, engine)):
            continue
        (place,) = bracket.expressions
        wanted = exp.Add(this=exp.Paren(this=place.copy()), expression=exp.Literal.number(1))
        nowhere = exp.Add(
            this=exp.Anonymous(this="size", expressions=[bracket.this.copy()]), expression=exp.Literal.number(1)
        )
        negative = exp.LT(this=exp.Paren(this=place.copy()), expression=exp.Literal.number(0))
        found = exp.Anonymous(this="if", expressions=[negative, nowhere, wanted])
        new: exp.Expr = exp.Anonymous(this="element_at", expressions=[bracket.this.copy(), found])
        if isinstance(bracket.parent, exp.Select) and bracket.arg_key == "expressions":
            new = exp.alias_(new, bracket.sql("databricks"), quoted=True)
        bracket.replace(new)
    return tree


@second_try(
    "fields_of_lists",
    "a field of an array of structs is a cast of its name to a number",
    "Sail 0.7.2",
    after="Cannot cast string '",
)
def fields_of_lists(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """``a.k`` of an array of structs is the array of their ``k``."""
    for node in reversed(list(tree.find_all(exp.Dot, exp.Column))):  # from the innermost
        if isinstance(node, exp.Column):
            if len(node.parts) != 2 or isinstance(node.this, exp.Star):
                continue
            of: exp.Expr = exp.Column(this=node.args["table"].copy())
            of.parent = node.parent
            kind = probes.type_of(of, engine)
        else:
            of = node.this
            kind = probes.type_of(of, engine)
        if not _is_list(kind):
            continue
        one = exp.to_identifier("_one")
        field = exp.Dot(this=one.copy(), expression=exp.to_identifier(node.name, quoted=True))
        body = exp.Lambda(this=field, expressions=[one])
        of = of.copy()
        of.parent = None
        new: exp.Expr = exp.Anonymous(this="transform", expressions=[of, body])
        if isinstance(node.parent, exp.Select) and node.arg_key == "expressions":
            new = exp.alias_(new, node.name, quoted=True)
        node.replace(new)
    return tree


def _is_list(kind: pa.DataType | None) -> bool:
    return kind is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind))
