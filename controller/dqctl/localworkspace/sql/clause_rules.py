"""Rules for the clauses of a query, as in ``rules``: what the engine does not read, or carries out otherwise."""

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.rules import rule

_SAIL = "Sail 0.7.2"


def _named(text: str) -> exp.Identifier:
    return exp.to_identifier(text, quoted=True)


@rule("unpivot", "UNPIVOT ignores the aliases of its columns, takes sets of them apart, and wants no alias before",
      _SAIL, exp.Pivot)  # fmt: skip
def unpivot(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``r UNPIVOT (v FOR n IN (a, b))`` is every row of ``r`` once a column, by ``stack``."""
    for pivot in list(tree.find_all(exp.Pivot)):
        relation = pivot.parent
        if not pivot.args.get("unpivot") or relation is None:
            continue
        (values,) = pivot.expressions
        (choice,) = pivot.args["fields"]
        outputs = [each.name for each in (values.expressions if isinstance(values, exp.Tuple) else [values])]
        name = choice.this.name
        alias = pivot.args.get("alias")
        source = relation.copy()
        source.set("pivots", None)
        left_out: list[exp.Expr] = []
        stacked: list[exp.Expr] = [exp.Literal.number(len(choice.expressions))]
        for one in choice.expressions:
            bare = one.this if isinstance(one, exp.PivotAlias) else one
            columns = bare.expressions if isinstance(bare, exp.Tuple) else [bare]
            if len(columns) != len(outputs):
                raise errors.syntax_error("UNPIVOT: as many columns are wanted in each set as there are values.")
            label = (
                one.args["alias"].name if isinstance(one, exp.PivotAlias) else "_".join(c.name for c in columns)
            )
            left_out += [_named(column.name) for column in columns]
            stacked += [exp.Literal.string(label), *(column.copy() for column in columns)]
        kept = exp.Column(this=exp.Star(except_=left_out), table=_named("_source"))
        made = [exp.column(_named(each), table=_named("_unpivoted")) for each in (name, *outputs)]
        query = exp.select(kept, *made).from_(
            exp.Subquery(this=exp.select("*").from_(source), alias=exp.TableAlias(this=_named("_source")))
        )
        columns_of_it = [_named(each) for each in (name, *outputs)]
        rows = exp.Anonymous(this="stack", expressions=stacked)
        query.append("laterals", exp.Lateral(
            this=rows, view=True, alias=exp.TableAlias(this=_named("_unpivoted"), columns=columns_of_it)
        ))  # fmt: skip
        if not pivot.args.get("include_nulls"):
            given = [exp.column(_named(each)).is_(exp.null()).not_() for each in outputs]
            query = exp.select("*").from_(exp.Subquery(this=query)).where(exp.or_(*given))
        relation.replace(exp.Subquery(this=query, alias=alias.copy() if alias else None))
    return tree


# Rows of arrays and maps, and what is called where one without entries has a row, too.
_OF_ENTRIES = {each: f"{each}_outer" for each in ("explode", "posexplode", "inline")}


@rule("lateral_generators", "WHERE knows no columns of a LATERAL VIEW; LATERAL explode makes a row of nothing",
      _SAIL, exp.Lateral)  # fmt: skip
def lateral_generators(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """A LATERAL VIEW is a join of ``LATERAL``; where that is no outer one, its rows are of what has entries."""
    for select in list(tree.find_all(exp.Select)):
        joins = [each.copy() for each in select.args.get("joins") or ()]
        joins += [_joined(view, number) for number, view in enumerate(select.args.get("laterals") or (), start=1)]
        laterals = [each for each in joins if _is_lateral_call(each)]
        conditions: list[exp.Expr] = []
        for place, join in enumerate(laterals):
            call = join.this.this
            outer = _OF_ENTRIES.get(call.name.lower())
            if outer is not None and join.side == "LEFT":
                call.set("this", outer)
            elif outer is not None:
                entries = _as_where_sees_it(call.expressions[0], select, laterals, place)
                if entries is None:
                    break
                conditions.append(exp.GT(this=_size(entries), expression=exp.Literal.number(0)))
            join.set("side", None)
            join.set("kind", "CROSS")
            join.set("on", None)
        else:
            if laterals and all(
                isinstance(view.this, exp.Anonymous) for view in select.args.get("laterals") or ()
            ):
                select.set("laterals", None)
                select.set("joins", joins)
                select.where(*conditions, copy=False)
    return tree


def _joined(view: exp.Expr, number: int) -> exp.Join:
    """The join that a LATERAL VIEW is; it has a name."""
    lateral = view.copy()
    outer = lateral.args.get("outer")
    alias = lateral.args.get("alias") or exp.TableAlias()
    if alias.this is None:
        alias.set("this", _named(f"_view_{number}"))
    for key, value in (("view", False), ("outer", False), ("alias", alias)):
        lateral.set(key, value)
    return exp.Join(this=lateral, kind="CROSS", side="LEFT" if outer else None)


def _is_lateral_call(join: exp.Expr) -> bool:
    condition = join.args.get("on")
    is_met = condition is None or (isinstance(condition, exp.Boolean) and bool(condition.this))
    return is_met and isinstance(join.this, exp.Lateral) and isinstance(join.this.this, exp.Anonymous)


def _as_where_sees_it(
    argument: exp.Expr, select: exp.Select, laterals: list[exp.Join], place: int
) -> exp.Expr | None:
    """What the call at ``place`` is of, for WHERE, which knows the names that it and later calls make, too.

    ``explode(a) AS a`` is of the ``a`` from before; None where it cannot be told whose that is.
    """
    made = [_columns_of(each) for each in laterals]
    argument = argument.copy()
    for column in list(argument.find_all(exp.Column)):
        name = column.name.lower()
        if column.table or not any(name in names for names in made[place:]):
            continue
        owners = [each.this for each, names in zip(laterals[:place], made, strict=False) if name in names]
        if not owners and len(laterals) == len(select.args.get("joins") or ()) + len(
            select.args.get("laterals") or ()
        ):
            owners = [select.args["from_"].this]
        if not owners or not owners[-1].alias_or_name:
            return None
        column.set("table", _named(owners[-1].alias_or_name))
    return argument


def _columns_of(join: exp.Join) -> set[str]:
    alias = join.this.args.get("alias")
    given = {each.name.lower() for each in alias.columns} if alias is not None else set()
    return given or {"pos", "col", "key", "value"}


def _size(entries: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="size", expressions=[entries])


@rule("rows_in_order", "DISTRIBUTE BY and CLUSTER BY are not supported", _SAIL, exp.Select)
def rows_in_order(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """All rows are in one partition here: SORT BY and CLUSTER BY order them, DISTRIBUTE BY changes nothing."""
    for select in tree.find_all(exp.Select):
        cluster, sort = select.args.get("cluster"), select.args.get("sort")
        select.set("distribute", None)
        if cluster is None and sort is None:
            continue
        keys = [key for clause in (cluster, sort) if clause is not None for key in clause.expressions]
        ordered = [key if isinstance(key, exp.Ordered) else exp.Ordered(this=key.copy()) for key in keys]
        select.set("cluster", None)
        select.set("sort", None)
        if select.args.get("order") is None:
            select.set("order", exp.Order(expressions=[key.copy() for key in ordered]))
    return tree


@rule("samples", "TABLESAMPLE takes a share, of what has no alias", _SAIL, exp.TableSample)
def samples(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``(n ROWS)`` is a LIMIT, ``(BUCKET x OUT OF y)`` a share."""
    for sample in list(tree.find_all(exp.TableSample)):
        relation = sample.parent
        if isinstance(relation, exp.Select):  # where sqlglot puts that of VALUES
            relation.set("sample", None)
            relation = relation.args["from_"].this
        if relation is None:
            continue
        alias = relation.args.get("alias")
        source = relation.copy()
        source.set("sample", None)
        inner = exp.select("*").from_(source)
        if (rows := sample.args.get("size")) is not None:
            relation.replace(exp.Subquery(this=inner.limit(rows.copy()), alias=alias.copy() if alias else None))
            continue
        share = sample.copy()
        if (bucket := sample.args.get("bucket_numerator")) is not None:
            of = sample.args["bucket_denominator"]
            share = exp.TableSample(percent=exp.Literal.number(f"{100 * float(bucket.name) / float(of.name):.6f}"))
        sampled = exp.select("*").from_(exp.Subquery(this=inner, sample=share))
        relation.replace(exp.Subquery(this=sampled, alias=alias.copy() if alias else None))
    return tree


@rule("windows_of_windows", "a window is named or defined, not both", _SAIL, exp.Window)
def windows_of_windows(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``OVER (w ROWS ...)`` takes over the partitions and the order of ``w``."""
    for window in tree.find_all(exp.Window):
        spec, name = window.args.get("spec"), window.args.get("alias")
        select = window.find_ancestor(exp.Select)
        if spec is None or name is None or select is None:
            continue
        definition = next(
            (each for each in select.args.get("windows") or () if each.name.lower() == name.name.lower()), None
        )
        if definition is None:
            raise errors.window_not_found(name.name)
        window.set("alias", None)
        for key in ("partition_by", "order"):
            value = definition.args.get(key)
            if isinstance(value, list):
                window.set(key, [each.copy() for each in value])
            elif value is not None:
                window.set(key, value.copy())
    return tree


@rule("ranges_of_dates", "RANGE BETWEEN INTERVAL ... over a DATE counts all rows before", _SAIL, exp.WindowSpec)
def ranges_of_dates(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """Where the frame of a window is an interval, its rows are in the order of timestamps."""
    for spec in tree.find_all(exp.WindowSpec):
        bounds = (spec.args.get("start"), spec.args.get("end"))
        window = spec.parent
        order = window.args.get("order") if window is not None else None
        if spec.text("kind").upper() != "RANGE" or order is None:
            continue
        if any(isinstance(bound, exp.Interval) for bound in bounds):
            for key in order.expressions:
                ordered = key.this if isinstance(key, exp.Ordered) else key
                if not (isinstance(ordered, exp.Cast) and ordered.is_type(*exp.DataType.TEMPORAL_TYPES)):
                    ordered.replace(exp.cast(ordered.copy(), "TIMESTAMP", dialect="databricks"))
    return tree
