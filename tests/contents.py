"""Runs whose rows are at hand, as the loader takes them."""

from collections.abc import Iterator

import pyarrow as pa

from dqctl.records import RunContent, Table
from dqctl.tables import encode
from dqctl.tables.loader import Content


def as_content(stored: RunContent, rows_at_once: int = 1000) -> Content:
    """``stored`` in batches."""

    def batches(table: Table) -> Iterator[pa.RecordBatch]:
        rows = stored.rows[table.name]
        for start in range(0, len(rows), rows_at_once):
            yield encode.to_arrow(table, rows[start : start + rows_at_once])

    return Content(stored.run, batches)
