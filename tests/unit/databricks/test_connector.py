"""The connector without pandas: quicker, and the same for whoever needs it."""

import subprocess
import sys

import pytest
from databricks.sql.thrift_api.TCLIService import ttypes

from dqctl.databricks.connector import keep_rows_out_of_text

_LIGHT = """
import sys
from dqctl.databricks.connector import sql
assert "pandas" not in sys.modules, "it is imported"

import pyarrow as pa
import pyarrow.compute as pc
assert pc.fill_null(pa.array(["a", None]), "b").to_pylist() == ["a", "b"]
assert "pandas" not in sys.modules, "pyarrow has imported it"
found = pa.table({"x": [1.0, None]}).to_pandas()
import pandas
assert isinstance(found, pandas.DataFrame)
assert pa.array(found["x"]).null_count == 1, "pyarrow does not know pandas' values"

from databricks.sql import client, result_set
assert client.pandas is not pandas
assert client.pandas.DataFrame is result_set.pandas.DataFrame is pandas.DataFrame
assert sys.modules["pandas"] is pandas
"""
_THERE = """
import pandas
from dqctl.databricks.connector import sql
from databricks.sql import client
assert client.pandas is pandas
"""


@pytest.mark.parametrize("program", [_LIGHT, _THERE], ids=["put off", "imported before"])
def test_pandas_is_imported_by_whoever_asks_for_it_and_not_by_us(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_answer_that_is_written_out_has_no_rows_in_it() -> None:
    keep_rows_out_of_text()
    batches = [ttypes.TSparkArrowBatch(batch=b"hush" * 1_000_000, rowCount=17)]
    text = repr(ttypes.TFetchResultsResp(results=ttypes.TRowSet(arrowBatches=batches)))
    assert "rowCount=17" in text
    assert "hush" not in text
    assert len(text) < 1000
