"""Values of every type that TestGen's tables have: what goes through a saved row comes out the very same."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqctl.progress import silent
from dqctl.runtime import metadata, open_runtime
from dqctl.settings import Settings
from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.state import rows
from dqctl.testgen.state.restoring import Restoring
from stored_state import KINDS, NASTY

pytestmark = pytest.mark.local

Connection = psycopg.Connection[tuple[Any, ...]]

_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
).map(lambda value: json.dumps(value, ensure_ascii=False))
_BCE = st.builds(lambda year, rest: f"{year:04}-{rest} BC", st.integers(1, 4713), st.just("06-15"))
_WHEN = st.datetimes().map(str) | st.sampled_from(["infinity", "-infinity"])
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "integer": st.integers(-(2**31), 2**31 - 1).map(str),
    "boolean": st.sampled_from(["t", "f"]),
    "double precision": st.floats().map(repr),
    "numeric": st.decimals(allow_infinity=False).map(lambda each: str(each).replace("sNaN", "NaN").lstrip("-")),
    "numeric(38,10)": st.decimals(min_value=-(10**27), max_value=10**27, places=10).map(str),
    "text": _TEXT,
    "character varying(200)": _TEXT,
    "character varying[]": st.lists(st.none() | _TEXT, max_size=4),
    "bytea": st.binary(max_size=40),
    "json": _JSON,
    "jsonb": _JSON.filter(lambda text: "\\u0000" not in text),
    "timestamp without time zone": _WHEN | _BCE,
    "timestamp with time zone": _WHEN.map(lambda text: text if "inf" in text else f"{text}+05:30") | _BCE,
    "date": st.dates().map(str) | _BCE | st.just("infinity"),
    "interval": st.timedeltas().map(lambda delta: f"{delta.days} days {delta.seconds}.{delta.microseconds:06} s"),
    "uuid": st.uuids().map(str),
}
_ROW = st.tuples(*(st.none() | _BY_TYPE[kind] for kind in KINDS.values()))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_COLUMNS = ", ".join(f"{_quoted(name)} {kind}" for name, kind in KINDS.items())
_TABLE = f"CREATE TABLE testgen.many_kinds ({_COLUMNS}, id bigint GENERATED ALWAYS AS IDENTITY)"


@pytest.fixture(scope="module")
def there_and_back(copied_stack: Callable[[str], Settings]) -> Iterator[tuple[Connection, Connection, Restoring]]:
    """A connection to a database with the table, one to another with a copy of it, and what fills that."""
    runtime = open_runtime(copied_stack(KNOWN[0].version), silent)
    for name in ("there", "back"):
        metadata.create_database(runtime.postgres, name)
    with runtime.postgres.connect("there") as there, runtime.postgres.connect("back") as back:
        there.execute("CREATE SCHEMA testgen")
        there.execute(_TABLE.encode())
        there.commit()
        restoring = Restoring(
            back, {"before": f"CREATE SCHEMA testgen; {_TABLE}", "after": ""}, lambda _, row: row
        )
        restoring.begin()
        back.commit()  # other than a restore: each test begins with the empty table, whatever the one before did
        _empty(back)
        yield there, back, restoring


def _texts(connection: Connection) -> list[str]:
    rows.settle(connection)
    # Beside the texts that are saved: what PostgreSQL itself keeps of the values, bit by bit.
    bits = f"ROW({', '.join(f'{_send(kind)}({_quoted(name)})' for name, kind in KINDS.items() if _send(kind))})"
    found = connection.execute(f"SELECT t::text || {bits}::text FROM testgen.many_kinds t ORDER BY id".encode())
    return [str(text) for (text,) in found.fetchall()]


def _send(kind: str) -> str | None:
    """The function that gives a value's binary form."""
    return {
        "double precision": "float8send", "numeric": "numeric_send", "numeric(38,10)": "numeric_send",
        "jsonb": "jsonb_send", "json": "json_send", "character varying[]": "array_send",
        "interval": "interval_send",
        "timestamp with time zone": "timestamptz_send", "timestamp without time zone": "timestamp_send",
        "date": "date_send",
    }.get(kind)  # fmt: skip


def _empty(back: Connection) -> None:
    # In the transaction that is open: rows are put into tables that it has made or emptied.
    back.rollback()
    back.execute("TRUNCATE testgen.many_kinds")


def _carry(there: Connection, back: Connection, restoring: Restoring, values: list[tuple[Any, ...]]) -> None:
    marks = ", ".join(f"%s::{kind}" for kind in KINDS.values())
    names = ", ".join(map(_quoted, KINDS))
    with there.cursor() as cursor:
        cursor.executemany(f"INSERT INTO testgen.many_kinds ({names}) VALUES ({marks})".encode(), values)
    rows.settle(there)
    document = rows.document([*KINDS, "id"], "t")
    documents = [
        text for (text,) in there.execute(f"SELECT {document} FROM testgen.many_kinds t ORDER BY id".encode())
    ]
    portion = pa.table(
        {
            "relation": pa.array(["testgen.many_kinds"] * len(documents)),
            "row": pa.array(documents),
            "n": pa.array([1] * len(documents), pa.int64()),
        }
    )
    try:
        assert restoring.put(restoring.prepare(portion)) == len(values)
        assert _texts(back) == _texts(there)
    finally:
        there.rollback()
        _empty(back)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values=st.lists(_ROW, min_size=1, max_size=8))
def test_any_value_of_any_type_comes_back(
    there_and_back: tuple[Connection, Connection, Restoring], values: list[tuple[Any, ...]]
) -> None:
    _carry(*there_and_back, values)


def test_the_oddest_values_come_back(there_and_back: tuple[Connection, Connection, Restoring]) -> None:
    _carry(*there_and_back, [tuple(row) for row in NASTY])


def test_a_row_that_is_longer_than_what_is_parsed_at_once_comes_back(
    there_and_back: tuple[Connection, Connection, Restoring],
) -> None:
    place = list(KINDS).index("a_text")
    long = tuple('\\"é\n' * 1_200_000 if index == place else None for index in range(len(KINDS)))
    short = tuple("x" if index == place else None for index in range(len(KINDS)))
    _carry(*there_and_back, [short, long, short, long, short])


def test_rows_that_fit_no_table_are_refused(
    there_and_back: tuple[Connection, Connection, Restoring],
) -> None:
    _, back, restoring = there_and_back

    def portion(relation: str, row: str, count: int = 1) -> pa.Table:
        return pa.table({"relation": [relation], "row": [row], "n": pa.array([count], pa.int64())})

    with pytest.raises(LookupError, match="no table of the schema"):
        restoring.prepare(portion("testgen.none", "{}"))
    with pytest.raises(LookupError, match="went that never came"):
        restoring.prepare(portion("testgen.many_kinds", "{}", -1))
    with pytest.raises(pa.ArrowInvalid, match="unexpected field"):
        restoring.prepare(portion("testgen.many_kinds", '{"another_column": "1"}'))
    with pytest.raises(pa.ArrowInvalid):
        restoring.prepare(portion("testgen.many_kinds", '{"a_bigint": "1"'))
    with pytest.raises(psycopg.DataError):
        restoring.put(restoring.prepare(portion("testgen.many_kinds", '{"a_bigint": "one"}')))
    _empty(back)
