"""WITH SCHEMA EVOLUTION: columns that a statement adds to the table that it writes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from dqctl.localworkspace.statements.loading import Target
from dqctl.localworkspace.types import Column, delta_field


def with_columns(target: Target, new: Sequence[Column]) -> Target:
    """``target`` as it will be with ``new`` columns behind its own; their rows so far have NULL there."""
    if not new:
        return target
    fields = [*target.before.fields, *(_field(each) for each in new)]
    metadata = {**target.before.metadata, "schemaString": json.dumps({"type": "struct", "fields": fields})}
    return replace(
        target,
        columns=(*target.columns, *(replace(each, nullable=True) for each in new)),
        before=replace(target.before, metadata=metadata),
        new=frozenset(each.name for each in new),
    )


def _field(column: Column) -> dict[str, Any]:
    # An untyped NULL is kept as text, as in a table that is made from a query.
    kind = "string" if column.type == "void" else column.type
    return delta_field(column.name, exp.DataType.build(kind, dialect="databricks"))
