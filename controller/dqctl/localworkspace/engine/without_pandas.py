"""Imports without pandas: a quarter of the server's start and 33 MB, for rows that are Arrow's from end to end."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType

import pyarrow as pa


class _NobodysFrame:
    """What pyspark compares the rows with that it is given: they are none."""


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Have what is imported in the block see a pandas with nothing in it, unless the real one is there already.

    pyspark 4.2 imports it at the top of two modules, where it looks at the version and takes three names.
    """
    if "pandas" in sys.modules:
        yield
        return
    empty = {name: ModuleType(name) for name in ("pandas", "pandas.api", "pandas.api.types")}
    for package in empty.values():
        package.__path__ = []  # what has one may have modules
    pandas = vars(empty["pandas"])
    pandas.update(__version__=metadata.version("pandas"), DataFrame=_NobodysFrame)
    vars(empty["pandas.api.types"]).update(is_datetime64_dtype=None, is_timedelta64_dtype=None)
    sys.modules.update(empty)
    try:
        yield
        # Once in a process pyarrow looks whether there is a pandas whose values it might be given, and to look it
        # imports it (26.0, pandas-shim.pxi). One that is too old is nothing to it until a DataFrame is wanted.
        pandas["__version__"] = "0"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pa.scalar(None)
    finally:
        for name in empty:
            del sys.modules[name]
