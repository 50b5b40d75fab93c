"""The server's imports without pandas: quicker, smaller, and no worse for whoever needs it in the same process."""

import subprocess
import sys

import pytest

_ALONE = """
import sys
import dqctl.localworkspace.server
assert not [name for name in sys.modules if name.split(".")[0] == "pandas"], "it is there, or its stand-in"

import pyarrow as pa
import pyarrow.compute as pc
assert pc.fill_null(pa.array(["a", None]), "b").to_pylist() == ["a", "b"]
assert "pandas" not in sys.modules, "pyarrow has imported it"
found = pa.table({"x": [1.0, None]}).to_pandas()
import pandas
assert isinstance(found, pandas.DataFrame)
assert pa.array(found["x"]).null_count == 1, "pyarrow does not know pandas' values"
"""
_THERE = """
import pandas
import dqctl.localworkspace.server
from pyspark.sql.connect import session
assert session.pd is pandas
"""


@pytest.mark.parametrize("program", [_ALONE, _THERE], ids=["not there", "imported before"])
def test_the_real_pandas_or_none(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
