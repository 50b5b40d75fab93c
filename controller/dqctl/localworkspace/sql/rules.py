"""What the engine lacks, one named rule a gap. Each takes the tree of a statement and returns the tree to send.

A rule that is no longer needed shows: its test has a part that proves the gap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from sqlglot import exp, transforms

from dqctl.localworkspace.sql.names import Namespace

Apply = Callable[[exp.Expression, Namespace], exp.Expression]


@dataclass(frozen=True)
class Rule:
    """A gap of the engine and how it is closed. ``found_in`` is the engine's version that has the gap."""

    name: str
    gap: str
    found_in: str
    apply: Apply


RULES: list[Rule] = []


def rule(name: str, gap: str, found_in: str) -> Callable[[Apply], Apply]:
    """Put a function into the registry, in the order of the source."""

    def register(apply: Apply) -> Apply:
        RULES.append(Rule(name, gap, found_in, apply))
        return apply

    return register


def rewrite(tree: exp.Expression, namespace: Namespace) -> exp.Expression:
    """Apply all rules."""
    for one in RULES:
        tree = one.apply(tree, namespace)
    return tree


def _swap(old: exp.Expression, new: exp.Expression, tree: exp.Expression) -> exp.Expression:
    if old is tree:
        return new
    old.replace(new)
    return tree


@rule("where_am_i", "the engine's catalog and user are not the session's", "Sail 0.7.2")
def where_am_i(tree: exp.Expression, namespace: Namespace) -> exp.Expression:
    """``current_catalog()``, ``current_schema()``, ``current_database()`` and ``current_user()``."""
    answers: tuple[tuple[type[exp.Expression], str, str], ...] = (
        (exp.CurrentCatalog, "current_catalog()", namespace.catalog),
        (exp.CurrentSchema, "current_schema()", namespace.schema),
        (exp.CurrentDatabase, "current_database()", namespace.schema),
        (exp.CurrentUser, "current_user()", "local"),
        (exp.SessionUser, "session_user()", "local"),
    )
    for kind, column, answer in answers:
        for call in list(tree.find_all(kind)):
            value: exp.Expression = exp.Literal.string(answer)
            if isinstance(call.parent, exp.Select) and call.arg_key == "expressions":
                value = exp.alias_(value, column, quoted=True)
            tree = _swap(call, value, tree)
    return tree


@rule("qualify", "QUALIFY is a syntax error", "Sail 0.7.2")
def qualify_clause(tree: exp.Expression, _: Namespace) -> exp.Expression:
    """``QUALIFY`` becomes a filter around the query."""
    for select in list(tree.find_all(exp.Select)):
        if select.args.get("qualify"):
            tree = _swap(select, transforms.eliminate_qualify(select.copy()), tree)
    return tree


@rule("days_between_dates", "DATE - DATE is a BIGINT, and EXTRACT(DAY FROM it) fails", "Sail 0.7.2")
def days_between_dates(tree: exp.Expression, _: Namespace) -> exp.Expression:
    """``EXTRACT(DAY FROM a - b)`` of dates is the number of days between them."""
    for extract in list(tree.find_all(exp.Extract)):
        span = extract.expression.unnest()
        if extract.name.upper() in ("DAY", "DAYS") and isinstance(span, exp.Sub):
            if _is_date(span.left) and _is_date(span.right):
                days = exp.DateDiff(this=span.left.copy(), expression=span.right.copy(), unit=exp.var("DAY"))
                tree = _swap(extract, days, tree)
    return tree


def _is_date(node: exp.Expression) -> bool:
    node = node.unnest()
    if isinstance(node, exp.Cast):
        return bool(node.to.this == exp.DType.DATE)
    return isinstance(node, (exp.Date, exp.TsOrDsToDate, exp.CurrentDate))


@rule("dates_before_1678", "DATE against TIMESTAMP is compared in nanoseconds, which end at 1677", "Sail 0.7.2")
def dates_before_1678(tree: exp.Expression, _: Namespace) -> exp.Expression:
    """A date literal out of that range becomes a timestamp without zone, which is compared in microseconds."""
    for cast in list(tree.find_all(exp.Cast)):
        if cast.to.this != exp.DType.DATE or not isinstance(cast.this, exp.Literal):
            continue
        try:
            value = date.fromisoformat(cast.this.name)
        except ValueError:
            continue
        if not date(1678, 1, 1) <= value < date(2262, 1, 1) and isinstance(
            cast.parent, (exp.Predicate, exp.Binary)
        ):
            cast.set("to", exp.DataType.build("TIMESTAMP_NTZ", dialect="databricks"))
    return tree
