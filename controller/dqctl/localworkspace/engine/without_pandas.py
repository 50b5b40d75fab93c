"""Imports without pandas: a quarter of the server's start and 33 MB, for rows that are Arrow's from end to end."""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pyarrow as pa

from dqctl.imports import hide


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
    vars(empty["pandas"]).update(__version__="2.2.0", DataFrame=_NobodysFrame)  # the least that it takes
    vars(empty["pandas.api.types"]).update(is_datetime64_dtype=None, is_timedelta64_dtype=None)
    sys.modules.update(empty)
    try:
        yield
    finally:
        for name in empty:
            del sys.modules[name]
    # Once in a process pyarrow (26.0) looks whether there is a pandas whose values it might be given, and to look
    # it imports it. It looks again when somebody wants something of pandas.
    with hide("pandas"):
        pa.scalar(None)
