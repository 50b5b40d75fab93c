"""Results as Databricks shapes them."""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from dqctl.localworkspace.contract import Result


def nothing() -> Result:
    """The result of a statement that returns no rows."""
    return Result(pa.table({}))


def strings(fields: Sequence[str], rows: Iterable[Sequence[str | None]]) -> Result:
    """Rows of text."""
    found = list(rows)
    return Result(
        pa.table(
            {field: pa.array([row[index] for row in found], pa.string()) for index, field in enumerate(fields)}
        )
    )


def counts(numbers: Mapping[str, int], affected: int | None = None) -> Result:
    """The one row of DML: ``num_affected_rows`` first."""
    table = pa.table({name: pa.array([number], pa.int64()) for name, number in numbers.items()})
    return Result(table, affected_rows=next(iter(numbers.values())) if affected is None else affected)
