import datetime
import decimal
from typing import Any

import lz4.frame
import pyarrow as pa
import pytest

from dqctl.localworkspace.wire.arrow_values import lz4_frame, plain_type, text


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (True, pa.bool_(), "true"),
        (1.0, pa.float64(), "1.0"),
        (decimal.Decimal("1E+3"), pa.decimal128(10, 0), "1000"),
        (datetime.date(1, 1, 1), pa.date32(), "0001-01-01"),
        (
            datetime.datetime(2024, 1, 2, 3, 4, 5, 600_000, tzinfo=datetime.UTC),
            pa.timestamp("us", "UTC"),
            "2024-01-02 03:04:05.6",
        ),
        (
            datetime.datetime(2024, 1, 2, 3, 4, 0, tzinfo=datetime.UTC),
            pa.timestamp("us", "UTC"),
            "2024-01-02 03:04:00",
        ),
        (datetime.timedelta(days=-1, microseconds=-5), pa.duration("us"), "-1 00:00:00.000005000"),
        (pa.MonthDayNano([-14, 0, 0]), pa.month_day_nano_interval(), "-1-2"),
        (b"\x00\xff", pa.binary(), "AP8="),
        (["ü", None], pa.list_(pa.string()), '["ü",null]'),
        ([("k", 1), ("l", None)], pa.map_(pa.string(), pa.int32()), '{"k":1,"l":null}'),
        (
            {"a": [{"b": decimal.Decimal("1.5")}], "c": None},
            pa.struct([("a", pa.list_(pa.struct([("b", pa.decimal128(3, 1))]))), ("c", pa.int8())]),
            '{"a":[{"b":1.5}],"c":null}',
        ),
    ],
)
def test_values_are_written_as_databricks_writes_them(value: Any, kind: pa.DataType, written: str) -> None:
    assert text(value, kind) == written


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", "UTC"), pa.timestamp("us", "UTC")),
        (pa.uint64(), pa.decimal128(20, 0)),
        (pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.struct([("a", pa.string_view())]), pa.struct([("a", pa.string())])),
        (pa.map_(pa.string_view(), pa.uint8()), pa.map_(pa.string(), pa.int16())),
        (pa.int32(), pa.int32()),
    ],
)
def test_types_that_clients_do_not_know_become_plain(kind: pa.DataType, plain: pa.DataType) -> None:
    assert plain_type(kind) == plain


@pytest.mark.parametrize("content", [b"", b"a", b"text " * 2_000_000])
def test_blocks_of_a_compressed_result_stand_alone(content: bytes) -> None:
    # Java's library refuses others: "Dependent block stream is unsupported".
    frame = lz4_frame(pa.py_buffer(content))
    assert lz4.frame.get_frame_info(frame)["block_linked"] is False
    assert lz4.frame.decompress(frame) == content
