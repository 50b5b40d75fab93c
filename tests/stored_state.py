"""A metadata database full of things that are hard to carry, and eyes for it past all code that carries it."""

from typing import Any

import psycopg

from corpora import corpus

Connection = psycopg.Connection[tuple[Any, ...]]
Picture = dict[str, list[str]]

# Every type that TestGen's tables have (read from the catalogs of 5.33.3, 5.92.2 and 5.134.0), and some more.
KINDS = {
    "a_bigint": "bigint",
    "an_integer": "integer",
    "a_boolean": "boolean",
    "a_float": "double precision",
    "a_numeric": "numeric",
    "a_scaled": "numeric(38,10)",
    "a_text": "text",
    "a_varchar": "character varying(200)",
    "an_array": "character varying[]",
    "a_bytea": "bytea",
    "a_json": "json",
    "a_jsonb": "jsonb",
    "a_timestamp": "timestamp without time zone",
    "a_timestamptz": "timestamp with time zone",
    "a_date": "date",
    "an_interval": "interval",
    "a_uuid": "uuid",
    'a "quoted\\" name': "text",
}
_HISTORY = (
    "projects", "connections", "table_groups", "test_suites",
    "job_executions", "profiling_runs", "profile_results", "profile_anomaly_results", "test_runs", "test_results",
    "test_definitions",
)  # fmt: skip
NASTY = (
    ("9223372036854775807", "-2147483648", "t", "NaN", "NaN", "-1234567890123456789012345678.0000000001",
     "line\n\\.\nend\r\ttab \\ \"both' \u2028 \x01 \x7f", "", '{a,NULL,"b,\\"c"}', "\\x00ff5c0a",
     ' {"b": 1,  "a":null}',
     "null", "infinity", "-infinity", "0044-03-15 BC", "-1 year 2 mons -3 days 04:05:06.789",
     "00000000-0000-0000-0000-000000000000", "\\N"),
    ("-9223372036854775808", "0", "f", "-Infinity", "0.10", "0", "\\N", " ", "[5:6]={x,y}", "\\x", "null",
     '{"é": "😀", "n": 1.10, "m": 123456789012345678901234567890.5}', "4713-01-01 00:00:00 BC",
     "294276-12-31 23:59:59.999999+00", "infinity", "00:00:00.000001",
     "ffffffff-ffff-ffff-ffff-ffffffffffff", "{}"),
    ("0", "1", None, "-0", "1E+100", "1", "null", "NULL", "{}", None, "[1,  2]", "[]",
     "1582-10-10 00:00:00.000001",
     "0001-01-01 00:00:00+00 BC", "4713-01-01 BC", "178000000 years", None, None),
    ("0", "1", None, "5e-324", "1.000", "1.5", "a", "b", '{{1,2},{3,NULL}}', None, '"x"', '"null"', None, None,
     None, None, None, "x"),
    (None,) * len(KINDS),
    (None,) * len(KINDS),  # twice the same, in a table without a key
)  # fmt: skip


def make_odd_table(connection: Connection) -> None:
    """Make ``testgen.odd "things"`` with ``NASTY`` in it."""
    columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in KINDS.items())
    table = 'testgen."odd ""things"'
    connection.execute(
        f"CREATE TABLE {table} ({columns}, made bigint GENERATED ALWAYS AS (a_bigint / 2) STORED)".encode()
    )
    names = ", ".join(map(_quoted, KINDS))
    marks = ", ".join(f"%s::{kind}" for kind in KINDS.values())
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})".encode(), NASTY)


def add_history(connection: Connection, version: str) -> int:
    """Put systems, runs and definitions of the version's corpus into TestGen's own tables; how many rows."""
    one = corpus(version)
    connection.execute("SET session_replication_role = replica")  # parents come in any order
    count = 0
    for table in _HISTORY:
        kinds = dict(one.columns[table])
        found = connection.execute(_OWN, [f"testgen.{table}"]).fetchall()
        # What the corpus leaves out and TestGen demands.
        required = {str(name): _ANY[str(kind)] for name, kind, needed in found if needed and name not in kinds}
        columns = [(str(name), kinds[str(name)]) for name, _, _ in found if name in kinds]
        names = ", ".join(_quoted(name) for name in (*(name for name, _ in columns), *required))
        values = ", ".join((*(f"%s::{kind}" for _, kind in columns), *required.values()))
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO testgen.{table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values})"
                " ON CONFLICT DO NOTHING".encode(),
                [[row[name] for name, _ in columns] for row in one.rows[table]],
            )
        count += len(one.rows[table])
    connection.execute("SET session_replication_role = origin")
    return count


def multiply_results(connection: Connection, results: int) -> None:
    """Have so many more test results: those that are there, over and over, with ids and messages of their own."""
    columns = [
        str(name)
        for name, _, _ in connection.execute(_OWN, ["testgen.test_results"]).fetchall()
        if name not in ("id", "result_id", "result_message")
    ]
    names = ", ".join(map(_quoted, columns))
    connection.execute(
        f"INSERT INTO testgen.test_results (id, result_message, {names})"
        " SELECT gen_random_uuid(), md5(n::text) || E' \\n\\'\\\\ é' || n || coalesce(result_message, ''), "
        f"{names} FROM testgen.test_results,"
        " generate_series(1, (SELECT 1 + %s / count(*) FROM testgen.test_results)) n",
        [results],
    )


_OWN = """
    SELECT attname::text, format_type(atttypid, NULL), attnotnull AND NOT atthasdef AND attidentity = ''
    FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_ANY = {"character varying": "'any'", "uuid": "gen_random_uuid()", "bigint": "1", "boolean": "false"}


def picture(connection: Connection, *, without: tuple[str, ...] = ()) -> Picture:
    """Every row of every table as PostgreSQL's text of the whole row, sorted; and where the sequences are."""
    for name, value in (("TimeZone", "UTC"), ("extra_float_digits", "3"), ("DateStyle", "ISO")):
        connection.execute("SELECT set_config(%s, %s, false)", [name, value])
    found: Picture = {}
    for schema, table, kind in connection.execute(
        "SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('testgen', 'dqctl') AND c.relkind IN ('r', 'p', 'S') ORDER BY 1, 2"
    ).fetchall():
        name = f"{schema}.{table}"
        if any(name.startswith(each) for each in without):
            continue
        text = "t::text" if kind != "S" else "last_value::text || is_called"
        rows = connection.execute(f"SELECT {text} FROM {_quoted(schema)}.{_quoted(table)} t".encode()).fetchall()
        found[name] = sorted(str(row) for (row,) in rows)
    connection.rollback()
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
