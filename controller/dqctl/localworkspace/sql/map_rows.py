"""``explode`` and ``posexplode`` of a map, in which Sail 0.7.2 breaks off.

Whether it is a map, the engine is asked; so this is no rule, for rules see trees only.
"""

from collections.abc import Callable

import pyarrow as pa
from sqlglot import exp

from dqctl.localworkspace.engine import EngineSession
from dqctl.localworkspace.sql import probes


def by_entries(tree: exp.Expr, engine: EngineSession) -> exp.Expr:
    """``tree`` with ``inline`` of a map's entries where there are such calls, in place."""
    for call in reversed(list(tree.find_all(exp.Anonymous))):  # from the innermost
        made = _GENERATORS.get(call.name.lower())
        if made is None or len(call.expressions) != 1:
            continue
        function, columns, entries_of = made
        (argument,) = call.expressions
        if len(_names(call)) == columns or _is_map(argument, engine):
            call.replace(_call(function, entries_of(argument.copy())))
    return tree


def _names(call: exp.Expr) -> list[exp.Expr]:
    """What the columns are called that the call makes, as far as it is said."""
    above = call.parent
    if isinstance(above, exp.Aliases):
        return list(above.expressions)
    alias = above.args.get("alias") if isinstance(above, (exp.Lateral, exp.Table)) else None
    return list(alias.columns) if alias else []


def _is_map(argument: exp.Expr, engine: EngineSession) -> bool:
    kind = probes.type_of(argument, engine)
    return kind is not None and bool(pa.types.is_map(kind))


def _call(function: str, *arguments: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=function, expressions=list(arguments))


def _entries(of: exp.Expr) -> exp.Expr:
    return _call("map_entries", of)


def _entries_with_places(of: exp.Expr) -> exp.Expr:
    entry, place = exp.to_identifier("_entry"), exp.to_identifier("_place")
    parts = {"pos": exp.column(place), "key": exp.column("key", entry), "value": exp.column("value", entry)}
    struct = _call(
        "named_struct", *(each for name, part in parts.items() for each in (exp.Literal.string(name), part))
    )
    return _call("transform", _entries(of), exp.Lambda(this=struct, expressions=[entry.copy(), place.copy()]))


# What is called instead, how many columns there are when it is of a map, and what it is called with.
_GENERATORS: dict[str, tuple[str, int, Callable[[exp.Expr], exp.Expr]]] = {
    "explode": ("inline", 2, _entries),
    "explode_outer": ("inline_outer", 2, _entries),
    "posexplode": ("inline", 3, _entries_with_places),
    "posexplode_outer": ("inline_outer", 3, _entries_with_places),
}
