import threading
import time
from collections.abc import Callable

import pytest

from dqctl.localworkspace.contract import Lakehouse, Parameter, StatementError
from lakehouse_client import Client

ENDLESS = "SELECT max(sha2(CAST(id AS STRING), 512)) FROM range(2000000000)"


def test_two_sessions_see_each_others_changes_at_once(connect: Callable[..., Client]) -> None:
    one, other = connect(), connect()
    one.execute("CREATE SCHEMA s")
    one.execute("CREATE TABLE s.t (a INT)")
    assert other.rows("SELECT * FROM s.t") == []
    one.execute("INSERT INTO s.t VALUES (1)")
    assert other.rows("SELECT * FROM s.t") == [(1,)]
    other.execute("ALTER TABLE s.t ADD COLUMNS (b STRING)")
    assert one.rows("SELECT * FROM s.t") == [(1, None)]
    other.execute("CREATE OR REPLACE TABLE s.t AS SELECT 'x' AS c")
    assert one.rows("SELECT * FROM s.t") == [("x",)]
    other.execute("DROP TABLE s.t")
    assert one.error("SELECT * FROM s.t").error_class == "TABLE_OR_VIEW_NOT_FOUND"


def test_a_session_stands_where_it_was_put(connect: Callable[..., Client]) -> None:
    client = connect()
    client.execute("CREATE CATALOG dev")
    client.execute("CREATE SCHEMA dev.s")
    client.execute("CREATE TABLE dev.s.t AS SELECT 1 AS a")
    client.execute("USE CATALOG dev")
    assert (client.session.catalog, client.session.schema) == ("dev", "default")
    client.execute("USE s")
    assert (client.session.catalog, client.session.schema) == ("dev", "s")
    assert client.value("SELECT a FROM t") == 1
    assert connect("DEV", "S").value("SELECT a FROM t") == 1
    assert connect().error("SELECT a FROM t").sqlstate == "42P01"
    assert client.error("USE nowhere").error_class == "SCHEMA_NOT_FOUND"
    assert (client.session.catalog, client.session.schema) == ("dev", "s")


def test_a_session_in_a_catalog_that_is_not_there_is_refused(lakehouse: Lakehouse) -> None:
    with pytest.raises(StatementError) as caught:
        lakehouse.open_session("nope", None, {})
    assert caught.value.sqlstate == "42704"


def test_a_session_may_stand_in_a_schema_that_is_yet_to_be_made(connect: Callable[..., Client]) -> None:
    early = connect(schema="later")
    assert early.value("SELECT current_schema()") == "later"
    assert early.error("CREATE TABLE t (a INT)").sqlstate == "42704"
    early.execute("CREATE SCHEMA later")
    early.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert early.value("SELECT a FROM later.t") == 1


def test_ansi_mode_is_on_by_default_and_switched_per_session(connect: Callable[..., Client]) -> None:
    strict, lenient = connect(), connect(ansi_mode="false", unknown_setting="ignored")
    assert strict.error("SELECT CAST('x' AS INT)").error_class == "CAST_INVALID_INPUT"
    assert strict.error("SELECT 1 / 0").error_class == "DIVIDE_BY_ZERO"
    assert strict.error("SELECT to_date('x', 'yyyy-MM-dd')").error_class == "CANNOT_PARSE_TIMESTAMP"
    assert lenient.rows("SELECT CAST('x' AS INT), 1 / 0, to_date('x', 'yyyy-MM-dd')") == [(None, None, None)]
    strict.execute("SET ANSI_MODE = FALSE")
    lenient.execute("SET spark.sql.ansi.enabled = true")
    assert strict.value("SELECT CAST('x' AS INT)") is None
    assert lenient.error("SELECT CAST('x' AS INT)").sqlstate == "22018"
    lenient.execute("RESET ansi_mode")
    assert lenient.error("SELECT 1 / 0").sqlstate == "22012"


def test_the_time_zone_is_the_sessions(connect: Callable[..., Client]) -> None:
    client = connect(timezone="Asia/Tokyo")
    assert client.value("SELECT CAST(TIMESTAMP'2024-01-01 00:00:00' AS STRING)") == "2024-01-01 00:00:00"
    assert client.value("SELECT unix_timestamp(TIMESTAMP'2024-01-01 09:00:00')") == 1704067200
    client.execute("SET TIME ZONE 'UTC'")
    assert client.value("SELECT unix_timestamp(TIMESTAMP'2024-01-01 00:00:00')") == 1704067200
    assert client.error("SET TIMEZONE = 'Atlantis/Capital'").error_class == "INVALID_TIMEZONE"
    assert client.rows("SET TIMEZONE") == [("TIMEZONE", "UTC")]


def test_a_parameter_that_a_warehouse_does_not_have_is_refused(client: Client) -> None:
    assert client.error("SET spark.databricks.delta.write.txnAppId = 'x'").sqlstate == "42K0I"
    assert client.error("SET ANSI_MODE = maybe").error_class == "INVALID_CONF_VALUE"
    assert client.error("SET LEGACY_TIME_PARSER_POLICY = modern").error_class == "INVALID_CONF_VALUE"
    client.execute("SET spark.sql.legacy.timeParserPolicy = corrected")
    assert client.rows("SET LEGACY_TIME_PARSER_POLICY") == [("LEGACY_TIME_PARSER_POLICY", "CORRECTED")]


def test_cancel_frees_the_client_and_the_session_goes_on(client: Client) -> None:
    found: list[StatementError] = []
    running = threading.Thread(target=lambda: found.append(client.error(ENDLESS)))
    running.start()
    time.sleep(0.5)
    began = time.monotonic()
    client.session.cancel()
    running.join(60)
    assert time.monotonic() - began < 60
    assert [error.error_class for error in found] == ["OPERATION_CANCELED"]
    assert client.value("SELECT 1") == 1


def test_cancel_of_nothing_does_nothing(client: Client) -> None:
    client.session.cancel()
    assert client.value("SELECT 1") == 1


def test_a_cancelled_insert_leaves_no_row(client: Client) -> None:
    client.execute("CREATE TABLE t (a STRING)")
    found: list[StatementError] = []
    insert = "INSERT INTO t SELECT sha2(CAST(id AS STRING), 512) FROM range(200000000)"
    running = threading.Thread(target=lambda: found.append(client.error(insert)))
    running.start()
    time.sleep(0.5)
    client.session.cancel()
    running.join(20)
    assert [error.error_class for error in found] == ["OPERATION_CANCELED"]
    assert client.value("SELECT count(*) FROM t") == 0


def test_a_statement_ends_at_its_timeout(client: Client) -> None:
    client.execute("SET STATEMENT_TIMEOUT = 1")
    assert client.error(ENDLESS).error_class == "STATEMENT_TIMEOUT"
    assert client.value("SELECT 1") == 1


@pytest.mark.parametrize(
    ("statement", "error_class", "sqlstate"),
    [
        ("SELECT * FROM nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("SELECT * FROM nope.nope.nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
        ("USE CATALOG nope", "NO_SUCH_CATALOG_EXCEPTION", "42704"),
        ("SHOW TABLES IN nope", "SCHEMA_NOT_FOUND", "42704"),
        ("CREATE TABLE nope.t (a INT)", "SCHEMA_NOT_FOUND", "42704"),
        ("CREATE SCHEMA default", "SCHEMA_ALREADY_EXISTS", "42P06"),
        ("SELECT nope FROM VALUES (1) AS t(a)", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703"),
        ("SELECT nope(1)", "UNRESOLVED_ROUTINE", "42883"),
        ("SELECT CAST('2020-99-99' AS DATE)", "CAST_INVALID_INPUT", "22018"),
        ("SELECT FROM WHERE", "PARSE_SYNTAX_ERROR", "42601"),
        ("SELECT * FROM delta.`/etc`", "UNSUPPORTED_FEATURE", "0A000"),
        ("PUT 'x' INTO '/Volumes/main/default/nope/x'", "VOLUME_NOT_FOUND", "42704"),
    ],
)
def test_errors_are_those_that_databricks_documents(
    client: Client, statement: str, error_class: str, sqlstate: str
) -> None:
    error = client.error(statement)
    assert (error.error_class, error.sqlstate) == (error_class, sqlstate)
    assert str(error).startswith(f"[{error_class}] ")
    assert str(error).endswith(f"SQLSTATE: {sqlstate}")


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE t; --", "\\", "\\' OR 1=1 --", "`", "/*", "é😀\n\t", "${x}", "a''b", "?"]
)
def test_a_value_stays_a_value(client: Client, text: str) -> None:
    client.execute("CREATE TABLE t (a STRING)")
    client.execute("INSERT INTO t VALUES (?)", Parameter(None, "STRING", text))
    assert client.rows("SELECT a, a = :x FROM t", Parameter("x", "STRING", text)) == [(text, True)]


def test_a_session_runs_one_statement_at_a_time(client: Client) -> None:
    answers: list[int] = []

    def work() -> None:
        for _ in range(5):
            answers.append(client.value("SELECT 1"))  # noqa: PERF401  (each as it comes)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [1] * 20


def test_metadata_calls_take_like_patterns(client: Client) -> None:
    client.execute("CREATE SCHEMA a_b")
    client.execute("CREATE SCHEMA axb")
    client.execute("CREATE TABLE a_b.t (a INT NOT NULL COMMENT 'one', b DECIMAL(10,2))")
    client.execute("CREATE VIEW a_b.v AS SELECT a FROM a_b.t")
    session = client.session
    assert session.get_catalogs().to_pylist() == [{"TABLE_CAT": "main"}]
    assert session.get_schemas("main", "a\\_b").column("TABLE_SCHEM").to_pylist() == ["a_b"]
    assert session.get_schemas(None, "a_b").num_rows == 2
    tables = session.get_tables(None, "a%", "%", ["VIEW"]).to_pylist()
    assert [(row["TABLE_NAME"], row["TABLE_TYPE"]) for row in tables] == [("v", "VIEW")]
    columns = session.get_columns("main", "a\\_b", "t", None).to_pylist()
    assert [(row["COLUMN_NAME"], row["TYPE_NAME"], row["DATA_TYPE"], row["NULLABLE"]) for row in columns] == [
        ("a", "INT", 4, 0),
        ("b", "DECIMAL(10,2)", 3, 1),
    ]
