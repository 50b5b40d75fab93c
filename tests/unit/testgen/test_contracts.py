"""Reading CSVs: whatever TestGen's writer can write comes back, and nothing else is taken for it."""

import csv
import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqctl.errors import OutputUnreadable
from dqctl.records import Type
from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.contracts import CALL, COMMANDS, Contract, Field, Kind, contract, parse, without_secrets

ONE = Contract(
    "list-things",
    (
        Field("id", Kind.UUID),
        Field("text"),
        Field("number", Kind.INTEGER),
        Field("at", Kind.TIMESTAMP),
        Field("key", Kind.WITHHELD),
    ),
)
HEADER = ["id", "text", "number", "at", "key"]
ID = "3f7ca81d-5e06-447e-8808-15f081d17073"


def written(rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER) -> bytes:
    """What TestGen writes: ``csv.writer`` with its defaults (common/display_service.py, 5.33.3 to 5.134.0)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


# PostgreSQL knows no NUL in text, and UTF-8 no surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROWS = st.lists(
    st.tuples(
        st.none() | st.uuids(),
        st.none() | TEXT | st.text("\",\r\n' ;\\"),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.datetimes(),
        st.none() | TEXT,
    )
)


@settings(deadline=None)
@given(ROWS)
def test_what_the_writer_writes_is_read_back(rows: list[tuple[Any, ...]]) -> None:
    content = written(rows)
    assert parse(ONE, content) == tuple(
        {
            "id": str(row[0]) if row[0] else None,
            "text": row[1] or None,
            "number": row[2],
            "at": row[3].replace(tzinfo=UTC) if row[3] else None,
        }
        for row in rows
    )
    clean = without_secrets(ONE, content)
    assert clean == written([(*row[:4], None) for row in rows])


@settings(deadline=None)
@given(ROWS.filter(bool), st.data())
def test_a_prefix_is_never_taken_for_more_than_its_whole_rows(rows: list[Any], data: st.DataObject) -> None:
    content = written(rows)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    try:
        found = parse(ONE, cut)
    except OutputUnreadable:
        return
    assert found == parse(ONE, content)[: len(found)]


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_rows_or_unreadable(content: bytes) -> None:
    with pytest.raises(OutputUnreadable, match="testgen list-things"):
        parse(ONE, content)


def test_a_zone_is_understood_should_one_be_written() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678900, timezone(timedelta(hours=2)))
    (row,) = parse(ONE, written([(None, None, None, at, None)]))
    assert row["at"] == at
    assert row["at"].tzinfo is UTC


def test_a_field_may_be_longer_than_pythons_limit() -> None:
    text = "x" * 200_000
    (row,) = parse(ONE, written([(None, text, None, None, None)]))
    assert row["text"] == text
    assert csv.field_size_limit() < sys.maxsize


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["no-uuid", "", "", "", ""], "id of row 1 is no uuid"),
        ([ID.upper(), "", "", "", ""], "id of row 1 is no uuid"),
        (["", "", "1.5", "", ""], "number of row 1 is no integer"),
        (["", "", "1_000", "", ""], "number of row 1 is no integer"),
        (["", "", " 1", "", ""], "number of row 1 is no integer"),
        (["", "", str(2**63), "", ""], "number of row 1 is no integer"),
        (["", "", "", "2026-11-21", ""], "at of row 1 is no timestamp"),
        (["", "", "", "2026-13-21 05:54:44", ""], "at of row 1 is no timestamp"),
        (["", "", "", "infinity", ""], "at of row 1 is no timestamp"),
        (["", "", "", ""], "row 1 has 4 of 5 columns"),
        (["", "", "", "", "", ""], "row 1 has 6 of 5 columns"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_not_quoted(row: list[str], message: str) -> None:
    with pytest.raises(OutputUnreadable, match=message) as caught:
        parse(ONE, written([row]))
    assert "2026-13" not in caught.value.message
    assert "no-uuid" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"id,text,number,at,key", "the last line is cut off"),
        (b"id,text,number,at,key\n", "the last line is cut off"),
        (b'id,text,number,at,key\r\n,"a\r\n', "unexpected end of data"),
        (b'id,text,number,at,key\r\n,"a"b,,,\r\n', "expected after"),
        (b"id,text,number,at,key\r\n\r\n", "row 1 has 0 of 5 columns"),
        (b"\xff\r\n", "byte 0 is no UTF-8"),
        (written([], ["id", "text", "number", "at"]), r"lacks \['key'\]"),
        (written([], [*HEADER, "new"]), r"has \['new'\] too much"),
        (written([], HEADER[::-1]), "is mixed"),
    ],
)
def test_a_file_that_is_not_what_was_promised_is_unreadable(content: bytes, message: str) -> None:
    with pytest.raises(OutputUnreadable, match=message):
        parse(ONE, content)


def test_the_table_says_which_call_a_row_is_from_and_holds_no_secret() -> None:
    table = ONE.table
    assert table.name == "dq_cli_list_things"
    assert table.column_names == (*(column.name for column in CALL), "id", "text", "number", "at")
    assert [column.type for column in table.columns[len(CALL) :]] == [
        Type.STRING,
        Type.STRING,
        Type.BIGINT,
        Type.TIMESTAMP,
    ]


def test_no_column_of_testgen_is_called_like_one_of_ours() -> None:
    for known in KNOWN:
        for command in COMMANDS:
            if one := contract(command, known):
                names = one.table.column_names
                assert len(set(names)) == len(names), command


def test_commands_that_write_no_csv_have_no_contract() -> None:
    assert [contract(command, KNOWN[0]) for command in ("run-tests", "", "list-nothing")] == [None] * 3
