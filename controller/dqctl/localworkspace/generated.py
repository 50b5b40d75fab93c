"""Columns whose values the table makes: GENERATED ALWAYS AS (an expression), and IDENTITY.

What they are is in the fields of the Delta log. A row that says nothing of such a column has NULL there until it
is written, and gets its value then. An identity's last value is in the log, too, so that of two who insert at the
same time one fails, as documented.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dqctl.localworkspace.contract import StatementError

Field = Mapping[str, Any]

_EXPRESSION = "delta.generationExpression"
_START, _STEP = "delta.identity.start", "delta.identity.step"
_EXPLICIT, _HIGHEST = "delta.identity.allowExplicitInsert", "delta.identity.highWaterMark"


@dataclass(frozen=True)
class Identity:
    """An identity column. ``explicit``: BY DEFAULT, a statement may give values; ``last``: what was made last."""

    name: str
    start: int
    step: int
    explicit: bool
    last: int | None

    @property
    def next(self) -> int:
        """The value that comes next."""
        return self.start if self.last is None else self.last + self.step


def metadata_of(kind: exp.Expr) -> dict[str, Any]:
    """What a field's metadata has of ``GENERATED ...``."""
    if isinstance(kind, exp.ComputedColumnConstraint):
        return {_EXPRESSION: kind.this.sql("databricks")}
    step = _number(kind.args.get("increment"), 1)
    if step == 0:
        raise StatementError("DELTA_IDENTITY_COLUMNS_ILLEGAL_STEP", "IDENTITY column step cannot be 0.", "42611")
    return {_START: _number(kind.args.get("start"), 1), _STEP: step, _EXPLICIT: not kind.this}


def _number(value: exp.Expr | None, otherwise: int) -> int:
    return otherwise if value is None else int(value.sql("databricks"))


def expression_of(field: Field) -> str | None:
    """The expression of a generated column."""
    text = field["metadata"].get(_EXPRESSION)
    return None if text is None else str(text)


def identity_of(field: Field) -> Identity | None:
    """The identity column that a field is."""
    found = field["metadata"]
    if _STEP not in found:
        return None
    last = found.get(_HIGHEST)
    explicit = str(found.get(_EXPLICIT, False)).lower() == "true"
    return Identity(
        field["name"], int(found[_START]), int(found[_STEP]), explicit, None if last is None else int(last)
    )


def clause_of(field: Field) -> str | None:
    """What stands behind the type of such a column in CREATE TABLE."""
    if (text := expression_of(field)) is not None:
        return f"GENERATED ALWAYS AS ({text})"
    if (one := identity_of(field)) is not None:
        how = "BY DEFAULT" if one.explicit else "ALWAYS"
        return f"GENERATED {how} AS IDENTITY (START WITH {one.start} INCREMENT BY {one.step})"
    return None


def features_of(fields: Iterable[Field]) -> list[str]:
    """The features of Delta that writers of such columns have to know."""
    fields = list(fields)
    found = ["generatedColumns"] if any(map(expression_of, fields)) else []
    return [*found, "identityColumns"] if any(map(identity_of, fields)) else found


def counted_on(schema: str, identities: Iterable[Identity], rows: int) -> str:
    """Delta's JSON schema after ``rows`` values of each identity were made."""
    document = json.loads(schema)
    last = {one.name: one.next + one.step * (rows - 1) for one in identities}
    for field in document["fields"]:
        if field["name"] in last and rows:
            field["metadata"][_HIGHEST] = last[field["name"]]
    return json.dumps(document)


def reached(field: dict[str, Any], identity: Identity, last: int) -> dict[str, Any]:
    """The field, as it is after its identity has come to ``last``."""
    if field["name"] != identity.name:
        return field
    return {**field, "metadata": {**field["metadata"], _HIGHEST: last}}


def begun_anew(field: Field) -> dict[str, Any]:
    """The field for a table of its own: its identity counts from the start."""
    return {**field, "metadata": {key: value for key, value in field["metadata"].items() if key != _HIGHEST}}


def check(fields: Iterable[Field], partition_by: Iterable[str]) -> None:
    """``StatementError`` when Delta has no such identity or generated column."""
    fields, partitions = list(fields), {name.lower() for name in partition_by}
    made = {field["name"].lower() for field in fields if expression_of(field) or identity_of(field)}
    for field in fields:
        name = field["name"]
        if identity_of(field) is not None:
            if field["type"] != "long":
                raise StatementError(
                    "DELTA_IDENTITY_COLUMNS_UNSUPPORTED_DATA_TYPE",
                    f"DataType {field['type']} is not supported for IDENTITY columns.",
                    "428H8",
                )
            if name.lower() in partitions:
                raise StatementError(
                    "DELTA_IDENTITY_COLUMNS_PARTITION_NOT_SUPPORTED",
                    f"PARTITIONED BY IDENTITY column {name} is not supported.",
                    "42601",
                )
        if (text := expression_of(field)) is not None and named_in(text) & made:
            raise StatementError(
                "DELTA_INVALID_GENERATED_COLUMN_REFERENCES",
                "A generated column cannot use a non-existent column or another generated column.",
                "42621",
            )


def named_in(text: str) -> set[str]:
    """The columns that an expression names, in lower case."""
    tree: exp.Expr = exp.maybe_parse(f"SELECT {text}", dialect="databricks")
    return {column.name.lower() for column in tree.find_all(exp.Column)}
