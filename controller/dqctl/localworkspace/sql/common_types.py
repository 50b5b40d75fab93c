"""Values of two types that meet: Spark finds a type for both, where Sail 0.7.2 refuses them.

The trees have no types, so the engine is asked for those of what meets, when it has refused the whole.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import probes
from dqctl.localworkspace.sql.second_tries import second_try

_NO_ARITHMETIC = "Cannot coerce arithmetic expression"

# Calls of which all arguments become one type.
_ALIKE = ("array", "coalesce", "greatest", "least")


@second_try(
    "dates_beside_timestamps",
    "a DATE and a TIMESTAMP in one column of a UNION, in CASE, coalesce, greatest, ... become nanoseconds",
    "Sail 0.7.2",
    after="cast Timestamp(Nanosecond",
)
def dates_beside_timestamps(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """The DATE is cast to the TIMESTAMP that it meets: midnight of that day, in the session's time zone."""
    kinds = (exp.SetOperation, exp.Case, exp.If, exp.Anonymous)
    for node in reversed(list(tree.find_all(*kinds))):  # from the innermost
        if isinstance(node, exp.SetOperation):
            _cast_branches(node, engine)
            continue
        values = _alike(node)
        types = [probes.type_of(each, engine) for each in values] if len(values) > 1 else []
        if (target := _timestamp(types)) is not None:
            for value, kind in zip(values, types, strict=True):
                if kind is not None and pa.types.is_date(kind):
                    value.replace(exp.cast(value.copy(), target, dialect="databricks"))
    return tree


def _alike(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Case):
        return [*(one.args["true"] for one in node.args["ifs"]), *filter(None, [node.args.get("default")])]
    if isinstance(node, exp.If):  # those of a CASE stand in it
        values = (node.args.get("true"), node.args.get("false"))
        return [] if isinstance(node.parent, exp.Case) else [each for each in values if each is not None]
    return list(node.expressions) if node.name.lower() in _ALIKE else []


def _cast_branches(node: exp.SetOperation, engine: EngineSession) -> None:
    branches = {key: node.args[key] for key in ("this", "expression")}
    schemas = {key: probes.schema(probes.branch_of(branch), engine) for key, branch in branches.items()}
    left, right = schemas["this"], schemas["expression"]
    if left is None or right is None or len(left) != len(right):
        return
    targets = [_timestamp(pair) for pair in zip(left.types, right.types, strict=True)]
    for key, found in (("this", left), ("expression", right)):
        casts = {
            place: target
            for place, (kind, target) in enumerate(zip(found.types, targets, strict=True))
            if target is not None and pa.types.is_date(kind)
        }
        if casts:
            branches[key].replace(_cast_columns(branches[key], found.names, casts))


def _cast_columns(branch: exp.Expr, names: Sequence[str], targets: dict[int, str]) -> exp.Select:
    """``branch`` with the columns at some places cast; a name may be there twice."""
    inner = probes.subquery(branch.copy(), "_branch")
    places = [exp.to_identifier(f"_{place}", quoted=True) for place in range(len(names))]
    inner.args["alias"].set("columns", places)
    columns: list[exp.Expr] = []
    for place, name in enumerate(names):
        value: exp.Expr = exp.column(places[place].copy())
        if place in targets:
            value = exp.cast(value, targets[place], dialect="databricks")
        columns.append(exp.alias_(value, name, quoted=True))
    return exp.select(*columns).from_(inner)


def _timestamp(types: Sequence[pa.DataType | None]) -> str | None:
    """The type of timestamps that are there beside dates; of both types, the one with a time zone."""
    known = [kind for kind in types if kind is not None]
    stamps = [kind for kind in known if pa.types.is_timestamp(kind)]
    if not stamps or not any(pa.types.is_date(kind) for kind in known):
        return None
    return "TIMESTAMP" if any(kind.tz for kind in stamps) else "TIMESTAMP_NTZ"


@second_try(
    "numbers_beside_texts_without_ansi",
    "a number and a text cannot be added, subtracted, multiplied or taken modulo",
    "Sail 0.7.2",
    after=_NO_ARITHMETIC,
    lenient=True,
)
def numbers_beside_texts_without_ansi(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """The text becomes a DOUBLE, NULL where it is no number."""
    for text, _ in _texts_beside_numbers(tree, engine):
        text.replace(exp.TryCast(this=text.copy(), to=exp.DataType.build("DOUBLE"), safe=True))
    return tree


@second_try(
    "numbers_beside_texts",
    "a number and a text cannot be added, subtracted, multiplied or taken modulo",
    "Sail 0.7.2",
    after=_NO_ARITHMETIC,
)
def numbers_beside_texts(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """The text becomes a BIGINT beside a whole number, and a DOUBLE beside any other."""
    for text, number in _texts_beside_numbers(tree, engine):
        kind = "BIGINT" if pa.types.is_integer(number) else "DOUBLE"
        text.replace(exp.cast(text.copy(), kind, dialect="databricks"))
    return tree


def _texts_beside_numbers(tree: exp.Expr, engine: EngineSession) -> Iterator[tuple[exp.Expr, pa.DataType]]:
    for node in reversed(list(tree.find_all(exp.Add, exp.Sub, exp.Mul, exp.Mod))):  # from the innermost
        left, right = probes.type_of(node.left, engine), probes.type_of(node.right, engine)
        if _is_text(left) and _is_number(right):
            yield node.left, right
        elif _is_number(left) and _is_text(right):
            yield node.right, left


def _is_text(kind: pa.DataType | None) -> bool:
    return kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType | None) -> bool:
    return kind is not None and (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )
