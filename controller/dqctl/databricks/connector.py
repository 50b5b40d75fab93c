"""The connector, imported without pandas: half of its import, for rows that dqctl has as Arrow tables.

databricks-sql-connector 4.5 to 4.9 imports pandas at the top of two modules and uses it in ``fetchall`` alone.
They get a stand-in that imports it when something is asked of it; every other module gets the real one. pyarrow
imports it, too, when it first converts a value: ``hide``.

It also writes every answer out as text, rows and all, for a debug message that is nearly never wanted:
``keep_rows_out_of_text``.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

import pyarrow as pa


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


@contextlib.contextmanager
def hide(name: str) -> Iterator[None]:
    """``import name`` fails while the block runs, unless it was imported before."""
    hiding = _Hiding(name)
    sys.meta_path.insert(0, hiding)
    try:
        yield
    finally:
        sys.meta_path.remove(hiding)


class _Hiding(MetaPathFinder):
    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Somebody imports ``fullname``, which is not there yet."""
        del path, target
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


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

# Once in a process pyarrow looks whether there is a pandas whose values it might be given (26.0, pandas-shim.pxi),
# and to look it imports it: 0.8 s. It looks again when somebody wants something of pandas (to_pandas).
with hide("pandas"):
    pa.scalar(None)

__all__ = ["Connection", "Cursor", "keep_rows_out_of_text", "sql"]
