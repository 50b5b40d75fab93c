"""What the engine lacks, one named rule a gap. Each takes the tree of a statement and returns the one to send.

A rule that is no longer needed shows: its test has a part that proves the gap. What only the engine's answer can
call for (the trees here have no types) is in ``second_tries``.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp, transforms

from dqctl.localworkspace.sql.depth import kinds_in
from dqctl.localworkspace.sql.names import Namespace

Apply = Callable[[exp.Expr, Namespace], exp.Expr]


@dataclass(frozen=True)
class Rule:
    """A gap of the engine and how it is closed.

    ``found_in`` is the engine's version that has the gap; ``touches`` the kind of node without which the rule has
    nothing to do. ``strict`` is for one that is needed in sessions in ANSI mode only.
    """

    name: str
    gap: str
    found_in: str
    touches: type[exp.Expr]
    apply: Apply
    strict: bool = False


# The one user of a local workspace.
USER = "local"

RULES: list[Rule] = []


def rule(
    name: str, gap: str, found_in: str, touches: type[exp.Expr], *, strict: bool = False
) -> Callable[[Apply], Apply]:
    """Put a function into the registry, in the order of the source."""

    def register(apply: Apply) -> Apply:
        RULES.append(Rule(name, gap, found_in, touches, apply, strict))
        return apply

    return register


def rewrite(tree: exp.Expr, namespace: Namespace, *, ansi: bool = True) -> exp.Expr:
    """Apply all rules; ``StatementError`` for a tree that is too deep for the engine."""
    # A statement with thousands of literal rows is walked once, not once a rule.
    kinds = kinds_in(tree)
    for one in RULES:
        if any(issubclass(kind, one.touches) for kind in kinds) and (ansi or not one.strict):
            tree = one.apply(tree, namespace)
    return tree


def _swap(old: exp.Expr, new: exp.Expr, tree: exp.Expr) -> exp.Expr:
    if old is tree:
        return new
    old.replace(new)
    return tree


@rule("where_am_i", "the engine's catalog and user are not the session's", "Sail 0.7.2", exp.Func)
def where_am_i(tree: exp.Expr, namespace: Namespace) -> exp.Expr:
    """``current_catalog()``, ``current_schema()``, ``current_database()``, ``current_user()``."""
    answers = {
        "current_catalog": namespace.catalog,
        "current_schema": namespace.schema,
        "current_database": namespace.schema,
        "current_metastore": "local",
        "current_user": USER,
        "session_user": USER,
        "user": USER,
    }
    for call in list(tree.find_all(exp.Func)):
        name = call.name.lower() if isinstance(call, exp.Anonymous) else call.sql_name().lower()
        if name not in answers or call.args.get("expressions"):
            continue
        value: exp.Expr = exp.Literal.string(answers[name])
        if isinstance(call.parent, exp.Select) and call.arg_key == "expressions":
            value = exp.alias_(value, f"{name}()", quoted=True)
        tree = _swap(call, value, tree)
    return tree


@rule("qualify", "QUALIFY is a syntax error", "Sail 0.7.2", exp.Qualify)
def qualify_clause(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``QUALIFY`` becomes a filter around the query."""
    for select in list(tree.find_all(exp.Select)):
        if select.args.get("qualify"):
            tree = _swap(select, transforms.eliminate_qualify(select.copy()), tree)
    return tree


@rule("days_between_dates", "DATE - DATE is a BIGINT, and EXTRACT(DAY FROM it) fails", "Sail 0.7.2", exp.Extract)
def days_between_dates(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``EXTRACT(DAY FROM a - b)`` of dates is the number of days between them."""
    for extract in list(tree.find_all(exp.Extract)):
        span = extract.expression.unnest()
        if extract.name.upper() not in ("DAY", "DAYS") or not isinstance(span, exp.Sub):
            continue
        if _is_date(span.left) and _is_date(span.right):
            days = exp.Anonymous(this="datediff", expressions=[span.left.copy(), span.right.copy()])
            tree = _swap(extract, days, tree)
    return tree


def _is_date(node: exp.Expr) -> bool:
    node = node.unnest()
    if isinstance(node, exp.Cast):
        return bool(node.to.this == exp.DType.DATE)
    return isinstance(node, exp.CurrentDate) or _called(node, "date", "to_date", "current_date", "curdate")


def _called(node: exp.Expr, *functions: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() in functions


_AGGREGATES = (
    "count", "sum", "avg", "mean", "min", "max", "std", "stddev", "stddev_samp", "stddev_pop", "variance",
    "var_samp", "var_pop",
)  # fmt: skip
_OTHER_AGGREGATES = (
    "any", "any_value", "approx_count_distinct", "approx_percentile", "array_agg", "bit_and", "bit_or", "bit_xor",
    "bool_and", "bool_or", "collect_list", "collect_set", "corr", "count_if", "covar_pop", "covar_samp", "every",
    "first", "first_value", "kurtosis", "last", "last_value", "listagg", "max_by", "median", "min_by", "mode",
    "percentile", "percentile_approx", "percentile_cont", "percentile_disc", "skewness", "some", "string_agg",
    "try_avg", "try_sum",
)  # fmt: skip


@rule(
    "aggregates_of_a_cast",
    "COUNT(DISTINCT x) and COUNT(DISTINCT CAST(x AS DATE)) get one name",
    "Sail 0.7.2",
    exp.Cast,
)
def aggregates_of_a_cast(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """Where two aggregates of a statement differ in a cast only, the cast is wrapped: same value, another name."""
    forms: defaultdict[str, dict[str, int]] = defaultdict(dict)
    calls = [(node, *_forms(node)) for node in tree.find_all(exp.Anonymous) if _called(node, *_AGGREGATES)]
    for _call, form, bare in calls:
        forms[bare].setdefault(form, len(forms[bare]) + 1)
    for call, form, bare in calls:
        if len(forms[bare]) < 2:
            continue
        # As a name knows no casts, a third one of the same argument needs a wrap of its own.
        for holder in (call, *call.expressions):
            if holder is call or isinstance(holder, exp.Distinct):
                wrapped = [_wrapped(one, forms[bare][form]) for one in holder.expressions]
                holder.set("expressions", wrapped)
    return tree


def _forms(call: exp.Anonymous) -> tuple[str, str]:
    """The call's text, and what is left of it without its casts."""
    form = call.sql().lower()
    if call.find(exp.Cast) is None:
        return form, form
    bare = call.copy()
    for cast in list(bare.find_all(exp.Cast)):
        cast.replace(cast.this)
    return form, bare.sql().lower()


def _wrapped(argument: exp.Expr, nulls: int) -> exp.Expr:
    if not isinstance(argument, exp.Cast):
        return argument
    return exp.Anonymous(this="coalesce", expressions=[argument.copy(), *(exp.null() for _ in range(nulls))])


@rule("group_by_all", "GROUP BY ALL is read as the column ALL", "Sail 0.7.2", exp.Group)
def group_by_all(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``GROUP BY ALL`` names every projection that holds no aggregate."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group is not None and group.args.get("all"):
            keys = [one.unalias().copy() for one in select.expressions if not aggregates(one)]
            select.set("group", exp.Group(expressions=keys) if keys else None)
    return tree


def aggregates(projection: exp.Expr) -> bool:
    """Whether an aggregate function is called somewhere in an expression."""
    return any(_called(node, *_AGGREGATES, *_OTHER_AGGREGATES) for node in projection.find_all(exp.Anonymous)) or (
        projection.find(exp.AggFunc) is not None
    )


@rule("names_of_with", "the names that WITH defines are found in their own case only", "Sail 0.7.2", exp.CTE)
def names_of_with(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """A reference takes the spelling of the definition, and keeps its own as an alias; of several, lower case."""
    defined: dict[str, str] = {}
    for cte in tree.find_all(exp.CTE):
        name = cte.alias.lower()
        if defined.setdefault(name, cte.alias) != cte.alias:
            defined[name] = name
    for cte in tree.find_all(exp.CTE):
        cte.args["alias"].this.set("this", defined[cte.alias.lower()])
    for table in list(tree.find_all(exp.Table)):
        spelled = defined.get(table.name.lower())
        if table.db or spelled in (None, table.name) or not isinstance(table.this, exp.Identifier):
            continue
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("this", exp.to_identifier(spelled, quoted=True))
    return tree


@rule("sum_of_untyped_null", "SUM over a UNION is typed before its NULL branches are", "Sail 0.7.2", exp.Anonymous)
def sum_of_untyped_null(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """A bare NULL that is summed is a TINYINT, the type that gives way to every other number."""
    summed = {
        call.expressions[0].name.lower()
        for call in tree.find_all(exp.Anonymous)
        if _called(call, "sum", "avg") and call.expressions and isinstance(call.expressions[0], exp.Column)
    }
    for alias in list(tree.find_all(exp.Alias)):
        if isinstance(alias.this, exp.Null) and alias.alias.lower() in summed:
            alias.set("this", exp.cast(exp.null(), "TINYINT", dialect="databricks"))
    return tree


@rule("percentiles_over_a_window", "PERCENTILE_CONT is no window function", "Sail 0.7.2", exp.WithinGroup)
def percentiles_over_a_window(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``PERCENTILE_CONT(p) WITHIN GROUP (ORDER BY x) OVER w`` is ``PERCENTILE(x, p) OVER w``, which is one."""
    for window in tree.find_all(exp.Window):
        group = window.this
        if not isinstance(group, exp.WithinGroup) or not _called(group.this, "percentile_cont"):
            continue
        (ordered,) = group.expression.expressions
        share = group.this.expressions[0].copy()
        if ordered.args.get("desc"):
            share = exp.Sub(this=exp.Literal.number(1), expression=exp.paren(share, copy=False))
        window.set("this", exp.Anonymous(this="percentile", expressions=[ordered.this.copy(), share]))
    return tree
