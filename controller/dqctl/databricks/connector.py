"""The connector, imported without pandas: half of its import, for rows that dqctl has as Arrow tables.

databricks-sql-connector 4.5 to 4.9 imports pandas at the top of two modules and uses it in ``fetchall`` alone.
They get a stand-in that imports it when something is asked of it; every other module gets the real one.

It also writes every answer out as text, rows and all, for a debug message that is nearly never wanted:
``keep_rows_out_of_text``.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def put_off(name: str) -> Iterator[None]:
    """``import name`` gives, while the block runs, a module that is imported when something is asked of it."""
    if name in sys.modules:
        yield
        return
    later = _Later(name)
    sys.modules[name] = later
    try:
        yield
    finally:
        if sys.modules.get(name) is later:
            del sys.modules[name]


class _Later(ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        # Python asks for these while it imports.
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.__name__), attribute)


def keep_rows_out_of_text() -> None:
    """Have an answer's text tell how many rows it has in place of their bytes.

    The connector formats the text before it asks whether anybody logs it (``thrift_backend``, ``unsafe_logger``,
    4.9.0): four fifths of the time that it takes to fetch a million rows.
    """
    # Takes a while to import: whoever connects does it anyway.
    from databricks.sql.thrift_api.TCLIService import ttypes

    generated: Any = ttypes
    generated.TSparkArrowBatch.__repr__ = lambda batch: f"TSparkArrowBatch(rowCount={batch.rowCount})"


with put_off("pandas"):
    from databricks import sql
    from databricks.sql.client import Connection, Cursor

__all__ = ["Connection", "Cursor", "keep_rows_out_of_text", "sql"]
