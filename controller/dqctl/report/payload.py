"""The tables of the HTML page as data for its script: column by column, every text once, compressed when big.

``texts`` has the texts; 0 is the empty one. Of each table, by its key: ``badges`` and ``cells`` (a list a column)
have a number a row. ``shape`` names one of ``shapes``, the labels of the row's facts, whose values stand one row
after the other in ``facts``. ``past`` names the row's letters, and the measures stand one row after the other in
``measures``, as many a row as there are ``runs``.
"""

import base64
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from dqctl.report.grid import Grid

# Smaller pages stay something that people can look into.
PACKED = 250_000


def data(found: Iterable[Grid]) -> str:
    """The tables as JSON; see the module."""
    texts: dict[str, int] = {"": 0}

    def number(text: str | None) -> int:
        return texts.setdefault(text or "", len(texts))

    tables = {grid.key: _columns(grid, number) for grid in found}
    return json.dumps({"tables": tables, "texts": list(texts)}, ensure_ascii=False, separators=(",", ":"))


def _columns(grid: Grid, number: Callable[[str | None], int]) -> dict[str, Any]:
    shapes: dict[tuple[str, ...], int] = {}
    shape = [shapes.setdefault(tuple(label for label, _ in row.facts), len(shapes)) for row in grid.rows]
    columns = {
        "badges": [row.badge for row in grid.rows],
        "cells": [[number(row.cells[at]) for row in grid.rows] for at in range(len(grid.heads))],
        "shapes": [list(labels) for labels in shapes],
        "shape": shape,
        "facts": [number(value) for row in grid.rows for _, value in row.facts],
    }
    if grid.runs:
        nothing = (None,) * len(grid.runs)
        columns |= {
            "runs": list(grid.runs),
            "past": [number(row.past) for row in grid.rows],
            "measures": [number(measure) for row in grid.rows for measure in row.measures or nothing],
        }
    return columns


def embedded(text: str) -> tuple[str, str]:
    """``data`` as it may stand inside a script element, which it cannot end, and the name of its encoding."""
    if len(text) >= PACKED:
        # Not gzip, whose header has a time: equal reports are equal files.
        return base64.b64encode(zlib.compress(text.encode(), 6)).decode(), "deflate"
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text, "plain"
