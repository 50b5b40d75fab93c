"""Rules for single functions, as in ``rules``: unknown to the engine, or answered otherwise by it."""

from collections.abc import Mapping

from sqlglot import exp

from dqctl.localworkspace import errors
from dqctl.localworkspace.sql.names import Namespace
from dqctl.localworkspace.sql.rules import rule

_SAIL = "Sail 0.7.2"


def _name(call: exp.Expr) -> str:
    return call.name.lower() if isinstance(call, exp.Anonymous) else ""


def _call(function: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=function, expressions=[each.copy() for each in arguments])


def _put(old: exp.Expr, new: exp.Expr, tree: exp.Expr) -> exp.Expr:
    """``new`` in the place of ``old``; a column of a result keeps the name that it had."""
    if isinstance(old.parent, exp.Select) and old.arg_key == "expressions":
        new = exp.alias_(new, old.sql("databricks", normalize_functions=False), quoted=True)
    if old is tree:
        return new
    old.replace(new)
    return tree


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)


# Parts of a date, by all their names, that the engine does not know or counts otherwise.
_DAY_OF_WEEK = ("dow", "dayofweek")
_ISO_DAY_OF_WEEK = ("dow_iso", "dayofweek_iso")
_ISO_YEAR = ("yearofweek",)


@rule("days_of_the_week", "weekday of a Sunday is -1, date_part('DOW') 0; DOW_ISO, YEAROFWEEK are unknown",
      _SAIL, exp.Func)  # fmt: skip
def days_of_the_week(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``weekday`` begins with Monday as 0, DOW with Sunday as 1, DOW_ISO with Monday as 1."""
    for call in list(tree.find_all(exp.Anonymous, exp.Extract)):
        if isinstance(call, exp.Extract):
            part, value = call.name.lower(), call.expression
        elif _name(call) in ("date_part", "datepart") and len(call.expressions) == 2:
            part, value = call.expressions[0].name.lower(), call.expressions[1]
        elif _name(call) == "weekday" and len(call.expressions) == 1:
            part, value = "weekday", call.expressions[0]
        else:
            continue
        from_monday = exp.Mod(
            this=exp.Paren(this=exp.Add(this=_call("dayofweek", value), expression=_number(5))),
            expression=_number(7),
        )
        if part == "weekday":
            tree = _put(call, exp.Paren(this=from_monday), tree)
        elif part in _DAY_OF_WEEK:
            tree = _put(call, _call("dayofweek", value), tree)
        elif part in _ISO_DAY_OF_WEEK:
            tree = _put(call, exp.Paren(this=exp.Add(this=from_monday, expression=_number(1))), tree)
        elif part in _ISO_YEAR:
            # Of the year that its Thursday is in.
            day = exp.cast(value.copy(), "DATE", dialect="databricks")
            thursday = _call("date_add", _call("trunc", day, exp.Literal.string("WEEK")), _number(3))
            tree = _put(call, _call("year", thursday), tree)
    return tree


@rule("timestamps_of_date_trunc", "date_trunc of a DATE or a text is a TIMESTAMP_NTZ", _SAIL, exp.Anonymous)
def timestamps_of_date_trunc(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``date_trunc(unit, x)`` is a TIMESTAMP, whatever ``x`` is."""
    for call in tree.find_all(exp.Anonymous):
        if _name(call) != "date_trunc" or len(call.expressions) != 2:
            continue
        unit, value = call.expressions
        if not (isinstance(value, exp.Cast) and value.is_type("timestamp")):
            call.set("expressions", [unit, exp.cast(value.copy(), "TIMESTAMP", dialect="databricks")])
    return tree


@rule("no_characters", "left and right with a negative number leave that many out", _SAIL, exp.Anonymous)
def no_characters(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """``left(s, n)`` and ``right(s, n)`` are empty where ``n`` is negative."""
    for call in tree.find_all(exp.Anonymous):
        if _name(call) not in ("left", "right") or len(call.expressions) != 2:
            continue
        text, count = call.expressions
        if not isinstance(count, exp.Literal):
            call.set(
                "expressions",
                [text, _call("if", exp.LT(this=count.copy(), expression=_number(0)), _number(0), count)],
            )
    return tree


def _log(call: exp.Anonymous) -> exp.Expr | None:
    return _call("ln", *call.expressions) if len(call.expressions) == 1 else None


def _rint(call: exp.Anonymous) -> exp.Expr | None:
    if len(call.expressions) != 1:
        return None
    value = exp.cast(call.expressions[0].copy(), "DOUBLE", dialect="databricks")
    rest = exp.Paren(this=exp.Mod(this=value.copy(), expression=_number(1)))
    half = exp.EQ(this=_call("abs", rest), expression=exp.cast(exp.Literal.number("0.5"), "DOUBLE"))
    even = exp.Mul(this=_number(2), expression=_call("round", exp.Div(this=value.copy(), expression=_number(2))))
    return _call("if", half, even, _call("round", value))


def _try_to_date(call: exp.Anonymous) -> exp.Expr | None:
    if len(call.expressions) == 1:
        kind = exp.DataType.build("DATE", dialect="databricks")
        return exp.TryCast(this=call.expressions[0].copy(), to=kind, safe=True)
    return exp.cast(_call("try_to_timestamp", *call.expressions), "DATE", dialect="databricks")


def _raise_error(call: exp.Anonymous) -> exp.Expr | None:
    marked = f"[{errors.USER_RAISED}] "
    if len(call.expressions) != 1 or any(each.name == marked for each in call.find_all(exp.Literal)):
        return None
    return _call("raise_error", _call("concat", exp.Literal.string(marked), *call.expressions))


def _regexp_replace(call: exp.Anonymous) -> exp.Expr | None:
    if len(call.expressions) != 4:
        return None
    *known, position = call.expressions
    if position.name != "1":
        raise errors.unsupported("regexp_replace from a position other than 1")
    return _call("regexp_replace", *known)


def _is_member(call: exp.Anonymous) -> exp.Expr | None:
    group = exp.Literal.string("admins" if _name(call) == "is_member" else "account users")
    return exp.EQ(this=call.expressions[0].copy(), expression=group) if len(call.expressions) == 1 else None


_REPLACED = {
    "log": _log, "rint": _rint, "try_to_date": _try_to_date, "raise_error": _raise_error,
    "regexp_replace": _regexp_replace, "is_member": _is_member, "is_account_group_member": _is_member,
}  # fmt: skip


@rule("other_functions", "log(x), try_to_date, is_member are unknown; rint rounds halves up",
      _SAIL, exp.Anonymous)  # fmt: skip
def other_functions(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """Functions that are written by others."""
    for call in reversed(list(tree.find_all(exp.Anonymous))):  # from the innermost
        written = _REPLACED.get(_name(call))
        if written is not None and (value := written(call)) is not None:
            tree = _put(call, value, tree)
    return tree


def _zip_with(left: exp.Expr, right: exp.Expr, function: exp.Lambda) -> exp.Expr:
    longest = _call("greatest", _call("size", left), _call("size", right))
    counted = _call("sequence", _number(0), longest)
    places = _call("slice", counted, _number(2), exp.Add(this=longest, expression=_number(1)))
    place = exp.to_identifier("_place")
    values = (_call("try_element_at", left, place), _call("try_element_at", right, place))
    body = _with(function, *values)
    zipped = _call("transform", places, exp.Lambda(this=body, expressions=[place]))
    unknown = exp.or_(left.copy().is_(exp.null()), right.copy().is_(exp.null()))
    return _call("if", unknown, exp.null(), zipped)


def _entries(of: exp.Expr, key: exp.Expr, value: exp.Expr, entry: exp.Identifier) -> exp.Expr:
    pair = _call("named_struct", exp.Literal.string("key"), key, exp.Literal.string("value"), value)
    return _call("map_from_entries", _call("transform", of, exp.Lambda(this=pair, expressions=[entry])))


def _transform_map(which: str, of: exp.Expr, function: exp.Lambda) -> exp.Expr:
    entry = exp.to_identifier("_entry")
    parts = {each: exp.Dot(this=entry.copy(), expression=exp.to_identifier(each)) for each in ("key", "value")}
    changed: exp.Expr = _with(function, *parts.values())
    key, value = (changed, parts["value"]) if which == "transform_keys" else (parts["key"], changed)
    return _entries(_call("map_entries", of), key, value, entry)


def _map_zip_with(left: exp.Expr, right: exp.Expr, function: exp.Lambda) -> exp.Expr:
    key = exp.to_identifier("_key")
    values = (_call("try_element_at", left, key), _call("try_element_at", right, key))
    keys = _call("array_union", _call("map_keys", left), _call("map_keys", right))
    return _entries(keys, key, _with(function, key, *values), key)


@rule("functions_of_functions", "zip_with, map_zip_with, transform_keys and transform_values are unknown", _SAIL,
      exp.Lambda)  # fmt: skip
def functions_of_functions(tree: exp.Expr, _: Namespace) -> exp.Expr:
    """They are written by ``transform``, over places, entries or keys."""
    for call in reversed(list(tree.find_all(exp.Anonymous))):  # from the innermost
        function = call.expressions[-1] if call.expressions else None
        if not isinstance(function, exp.Lambda):
            continue
        shape = (_name(call), len(call.expressions), len(function.expressions))
        if shape == ("zip_with", 3, 2):
            tree = _put(call, _zip_with(*call.expressions), tree)
        elif shape in (("transform_keys", 2, 2), ("transform_values", 2, 2)):
            tree = _put(call, _transform_map(shape[0], *call.expressions), tree)
        elif shape == ("map_zip_with", 3, 3):
            tree = _put(call, _map_zip_with(*call.expressions), tree)
    return tree


def _with(function: exp.Lambda, *values: exp.Expr) -> exp.Expr:
    """The body of a lambda function with ``values`` for its parameters."""
    given = {name.name.lower(): value for name, value in zip(function.expressions, values, strict=True)}
    holder = exp.Paren(this=function.this.copy())
    _substitute(holder, given)
    return holder


def _substitute(node: exp.Expr, given: Mapping[str, exp.Expr]) -> None:
    if isinstance(node, exp.Lambda):
        given = {k: v for k, v in given.items() if k not in {each.name.lower() for each in node.expressions}}
        _substitute(node.this, given)
        return
    for child in list(node.iter_expressions()):
        is_value = not isinstance(node, (exp.Column, exp.Alias)) and not (
            isinstance(node, exp.Dot) and child.arg_key == "expression"
        )
        if isinstance(child, exp.Identifier) and is_value and child.name.lower() in given:
            child.replace(given[child.name.lower()].copy())
        else:
            _substitute(child, given)
