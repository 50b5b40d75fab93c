"""Rules for queries, as in ``rules``: what Databricks SQL has, and the engine lacks or answers otherwise."""

import contextlib
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.rules import rule

_SAIL = "Sail 0.7.2"


def _name(call: exp.Expr) -> str:
    return call.name.lower() if isinstance(call, exp.Anonymous) else ""


def _put(old: exp.Expr, new: exp.Expr) -> None:
    """``new`` in the place of ``old``; a column of a result keeps the name that it had."""
    if isinstance(old.parent, exp.Select) and old.arg_key == "expressions":
        new = exp.alias_(new, old.sql("databricks", normalize_functions=False), quoted=True)
    old.replace(new)


# Names of types that are functions as well.
_TYPES = (
    "bigint", "binary", "boolean", "date", "decimal", "double", "float", "int", "smallint", "string", "timestamp",
    "tinyint",
)  # fmt: skip


@rule("functions_of_types", "string(timestamp) is 2024-05-06T10:00:00Z, int('x') fails without ANSI mode", _SAIL,
      exp.Anonymous)  # fmt: skip
def functions_of_types(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``int(x)`` is ``CAST(x AS INT)``, by its name too; likewise all types without parts."""
    for call in reversed(list(tree.find_all(exp.Anonymous))):  # from the innermost
        if _name(call) in _TYPES and len(call.expressions) == 1:
            call.replace(exp.cast(call.expressions[0].copy(), _name(call), dialect="databricks"))
    return tree


@rule("decimals_with_exponent", "5E3BD, a text with an exponent, is no DECIMAL", _SAIL, exp.Cast)
def decimals_with_exponent(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``CAST('5E3' AS DECIMAL(4,0))``, which is what ``5E3BD`` is read as, is that of ``'5000'``."""
    for cast in tree.find_all(exp.Cast):
        if cast.to.is_type("decimal") and cast.this.is_string and "e" in cast.this.name.lower():
            with contextlib.suppress(InvalidOperation):  # no number: the engine says so
                cast.set("this", exp.Literal.string(f"{Decimal(cast.this.name):f}"))
    return tree


@rule("range_of_decimals", "range wants whole numbers", _SAIL, exp.Table)
def range_of_decimals(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``range(10.0)`` is ``range(10)``: arguments are cast to BIGINT."""
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Anonymous) and _name(table.this) == "range":
            for number in table.this.find_all(exp.Literal):
                if not number.is_string and not number.is_int:
                    number.replace(exp.Literal.number(int(Decimal(number.name))))
    return tree


@rule("rows_as_values", "structs of other names for their fields cannot be compared", _SAIL, exp.Predicate)
def rows_as_values(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``(a, b) IN ((1, 2), (3, 4))`` and ``struct(a, b) = (1, 2)`` compare rows by the places of their values."""
    for comparison in list(
        tree.find_all(exp.In, exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
    ):
        sides = [comparison.this, *(comparison.expressions or [comparison.args.get("expression")])]
        if not all(isinstance(side, exp.Tuple) or _name(side) == "struct" for side in sides):
            continue
        for side in sides:
            fields = [
                part
                for number, value in enumerate(side.expressions, start=1)
                for part in (exp.Literal.string(f"col{number}"), value.unalias().copy())
            ]
            side.replace(exp.Anonymous(this="named_struct", expressions=fields))
    return tree


_SYNONYMS = {"charindex": "locate", "ifnull": "coalesce", "iff": "if", "nvl": "coalesce"}


@rule("synonyms", "other names of functions are unknown, nvl(DATE, TIMESTAMP) is text", _SAIL, exp.Anonymous)
def synonyms(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``charindex`` is ``locate``, ``iff`` is ``if``, ``nvl`` and ``ifnull`` are ``coalesce``."""
    for call in list(tree.find_all(exp.Anonymous)):
        if _name(call) in _SYNONYMS:
            _put(
                call, exp.Anonymous(this=_SYNONYMS[_name(call)], expressions=[e.copy() for e in call.expressions])
            )
    return tree


@rule("like_any_and_all", "ANY and ALL after LIKE are read as functions", _SAIL, exp.SubqueryPredicate)
def like_any_and_all(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``x LIKE ALL (a, b)`` is ``x LIKE a AND x LIKE b``, ANY an OR; likewise ILIKE, and NOT before them."""
    for like in list(tree.find_all(exp.Like, exp.ILike)):
        if not isinstance(like.expression, (exp.All, exp.Any)):
            continue
        patterns = like.expression.this
        each_of = patterns.expressions if isinstance(patterns, exp.Tuple) else [patterns.unnest()]
        parts: list[exp.Expr] = [type(like)(this=like.this.copy(), expression=one.copy()) for one in each_of]
        if like.args.get("negate"):
            parts = [exp.Not(this=exp.Paren(this=one)) for one in parts]
        joined = exp.and_(*parts) if isinstance(like.expression, exp.All) else exp.or_(*parts)
        _put(like, exp.Paren(this=joined))
    return tree


@rule("decode_as_case", "decode knows two arguments, a binary and its character set", _SAIL, exp.DecodeCase)
def decode_as_case(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``decode(x, key, value, ..., default)`` is a CASE, in which NULL equals NULL."""
    for call in list(tree.find_all(exp.DecodeCase)):
        if len(call.expressions) < 3:
            continue
        subject, *rest = call.expressions
        case = exp.Case(default=rest[-1].copy() if len(rest) % 2 else None)
        for key, value in zip(rest[0::2], rest[1::2], strict=False):
            condition = exp.NullSafeEQ(this=subject.copy(), expression=key.copy())
            case.append("ifs", exp.If(this=condition, true=value.copy()))
        _put(call, case)
    return tree


@rule("json_paths", "a colon after a column is a syntax error", _SAIL, exp.JSONExtract)
def json_paths(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``column:a.b[0]`` of a JSON text is ``get_json_object(column, '$.a.b[0]')``. There is no VARIANT here."""
    for extract in list(tree.find_all(exp.JSONExtract)):
        if not extract.args.get("variant_extract"):
            continue
        path = "$"
        steps = extract.expression.expressions
        if isinstance(steps[-1].this, exp.JSONPathWildcard):  # all of an array is the array
            steps = steps[:-1]
        for step in steps:
            if isinstance(step, exp.JSONPathKey) and isinstance(step.this, str):
                path += f".{step.this}" if step.this.isidentifier() else f"['{step.this}']"
            elif isinstance(step, exp.JSONPathSubscript) and not isinstance(step.this, exp.JSONPathWildcard):
                path += f"[{step.this}]"
            elif not isinstance(step, exp.JSONPathRoot):
                raise errors.unsupported(f"The JSON path {extract.sql('databricks')}")
        new = exp.Anonymous(this="get_json_object", expressions=[extract.this.copy(), exp.Literal.string(path)])
        if extract is tree:
            return new
        _put(extract, new)
    return tree


# The parameters of functions with names for them, and what is meant where one is left out.
_PARAMETERS: dict[str, tuple[tuple[str, str | None], ...]] = {
    "mask": (
        ("str", None),
        ("upperchar", "'X'"),
        ("lowerchar", "'x'"),
        ("digitchar", "'n'"),
        ("otherchar", "NULL"),
    ),
}


@rule("named_arguments", "the name of an argument is ignored, its place counts", _SAIL, exp.Kwarg)
def named_arguments(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """Arguments go to the place that their names say; a function whose names are not known here is refused."""
    for call in list(tree.find_all(exp.Anonymous)):
        if not any(isinstance(one, exp.Kwarg) for one in call.expressions) or _name(call) == "read_files":
            continue
        parameters = _PARAMETERS.get(_name(call))
        if parameters is None:
            raise errors.unsupported(f"A named argument of {_name(call)}")
        given: dict[str, exp.Expr] = {}
        for place, one in enumerate(call.expressions):
            key = one.this.name.lower() if isinstance(one, exp.Kwarg) else parameters[place][0]
            given[key] = one.expression if isinstance(one, exp.Kwarg) else one
        if unknown := set(given) - {key for key, _ in parameters}:
            raise errors.invalid_parameter(f"{_name(call)} has no parameter {unknown.pop()}.")
        places = [
            given[key].copy() if key in given else exp.maybe_parse(default or "NULL", dialect="databricks")
            for key, default in parameters
        ]
        call.set("expressions", places)
    return tree


@rule("pivot_of_a_table", "PIVOT is not read after an alias, nor FOR without brackets", _SAIL, exp.Pivot)
def pivot_of_a_table(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """A table is pivoted inside of a subquery, and the columns of FOR stand in brackets."""
    for pivot in list(tree.find_all(exp.Pivot)):
        if pivot.args.get("unpivot"):
            continue
        for one in pivot.args.get("fields") or ():
            if isinstance(one, exp.In) and isinstance(one.this, exp.Column):
                one.set("this", exp.Paren(this=one.this.copy()))
        relation = pivot.parent
        if isinstance(relation, exp.Table) and relation.alias:
            bare = relation.copy()
            bare.set("pivots", None)
            pivots = [one.copy() for one in relation.args["pivots"]]
            relation.replace(exp.Subquery(this=exp.select("*").from_(bare), pivots=pivots))
    return tree


@rule("order_by_all", "ORDER BY ALL is read as the column ALL", _SAIL, exp.Order)
def order_by_all(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``ORDER BY ALL`` names every column of the result by its place; beside a ``*`` their number is not known."""
    for select in tree.find_all(exp.Select):
        order = select.args.get("order")
        if order is None or len(order.expressions) != 1:
            continue
        (only,) = order.expressions
        wanted = only.this if isinstance(only, exp.Ordered) else only
        quoted = isinstance(wanted, exp.Column) and wanted.this.args.get("quoted")
        if not isinstance(wanted, (exp.Column, exp.Var)) or wanted.name.upper() != "ALL" or quoted:
            continue
        if any(one.is_star for one in select.expressions):
            raise errors.unsupported("ORDER BY ALL beside SELECT *")
        places = []
        for number in range(1, len(select.expressions) + 1):
            one = only.copy()
            one.set("this", exp.Literal.number(number))
            places.append(one)
        order.set("expressions", places)
    return tree


_REFUSED = {
    "bround": "The function bround, which the engine rounds otherwise,",
    "parse_json": "VARIANT (parse_json)", "try_parse_json": "VARIANT (try_parse_json)",
    "variant_get": "VARIANT (variant_get)", "try_variant_get": "VARIANT (try_variant_get)",
    "to_variant_object": "VARIANT (to_variant_object)", "variant_explode": "VARIANT (variant_explode)",
    "table_changes": "The change data feed (table_changes)", "collate": "Collation",
}  # fmt: skip


# Artificial intelligence, geography, other systems.
_REFUSED_FAMILIES = (
    "ai_", "h3_", "st_", "http_request", "read_kafka", "read_kinesis", "read_pubsub", "read_pulsar",
    "remote_query", "secret", "try_secret", "vector_search", "current_version", "current_recipient", "input_file_",
)  # fmt: skip


@rule("refused_functions", "values would differ from a warehouse's, or say little of why there are none", _SAIL,
      exp.Anonymous)  # fmt: skip
def refused_functions(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """What cannot be answered rightly is refused by its name."""
    for call in tree.find_all(exp.Anonymous):
        if _name(call) in _REFUSED:
            raise errors.unsupported(_REFUSED[_name(call)])
        if _name(call).startswith(_REFUSED_FAMILIES):
            raise errors.unsupported(f"The function {_name(call)}")
        if _name(call) == "get_json_object" and "[*]" in call.expressions[-1].name:
            raise errors.unsupported(f"The JSON path {call.expressions[-1].name}")
    return tree


@rule("refused_types", "a VARIANT is a struct of its bytes", _SAIL, exp.DataType)
def refused_types(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """A type that tables cannot keep is none for casts either."""
    for kind in tree.find_all(exp.DataType):
        if kind.is_type(exp.DType.VARIANT):
            raise errors.unsupported("VARIANT")
    return tree


@rule("collations", "COLLATE is a syntax error", _SAIL, exp.Collate)
def collations(_: exp.Expr, __: Namespace) -> exp.Expr:
    """Text compares by its bytes here."""
    raise errors.unsupported("COLLATE")


@rule("recursion", "a WITH RECURSIVE does not find itself", _SAIL, exp.With)
def recursion(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """One inside of another, or of a view, is refused: of others there are the rows already (``recursion``)."""
    for with_ in tree.find_all(exp.With):
        if not with_.args.get("recursive"):
            continue
        for cte in with_.expressions:
            names = {table.name.lower() for table in cte.this.find_all(exp.Table) if not table.db}
            if cte.alias.lower() in names:
                raise errors.unsupported("WITH RECURSIVE inside of another one")
    return tree
