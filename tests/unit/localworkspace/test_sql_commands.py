import pytest
from sqlglot import exp

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.sql import commands, grants, inspection, maintenance
from dqctl.localworkspace.sql.dialect import to_sql
from dqctl.localworkspace.sql.statement import parse
from lakehouse_client import Client


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("USE CATALOG main", commands.UseCatalog("main")),
        ("set catalog `we ird`", commands.UseCatalog("we ird")),
        ("use dev", commands.UseSchema(("dev",))),
        ("USE SCHEMA main.dev;", commands.UseSchema(("main", "dev"))),
        ("SET ANSI_MODE = false", commands.SetParameter("ANSI_MODE", "false")),
        ("SET spark.sql.ansi.enabled=true", commands.SetParameter("spark.sql.ansi.enabled", "true")),
        ("SET TIME ZONE 'Europe/Berlin'", commands.SetParameter("TIMEZONE", "Europe/Berlin")),
        ("SET TIMEZONE = America/New_York", commands.SetParameter("TIMEZONE", "America/New_York")),
        ("SET", commands.SetParameter(None, None)),
        ("SHOW CATALOGS", inspection.Show("CATALOGS", (), None)),
        ("SHOW DATABASES IN main LIKE 'a*'", inspection.Show("SCHEMAS", ("main",), "a*")),
        ("SHOW TABLES FROM a.b 'x|y'", inspection.Show("TABLES", ("a", "b"), "x|y")),
        ("SHOW COLUMNS IN t IN a.b", inspection.Show("COLUMNS", ("a", "b", "t"), None)),
        ("SHOW CREATE TABLE `a`.`b`.`c``d`", inspection.Show("CREATE TABLE", ("a", "b", "c`d"), None)),
        ("DESC t", inspection.Describe("TABLE", ("t",))),
        ("DESCRIBE TABLE EXTENDED a.t", inspection.Describe("TABLE", ("a", "t"), extended=True)),
        ("describe history a.b.t", inspection.Describe("HISTORY", ("a", "b", "t"))),
        ("DESCRIBE SCHEMA EXTENDED a.b", inspection.Describe("SCHEMA", ("a", "b"), extended=True)),
        ("CREATE VOLUME IF NOT EXISTS a.b.c COMMENT 'x'", commands.CreateVolume(("a", "b", "c"), True, "x")),
        ("CREATE SCHEMA s", commands.CreateSchema(("s",), False, None)),
        ("DROP SCHEMA IF EXISTS a.b CASCADE", commands.Drop("SCHEMA", ("a", "b"), True, True)),
        ("DROP VIEW v", commands.Drop("VIEW", ("v",), False, False)),
        ("COMMENT ON TABLE a.t IS 'it\\'s; -- x'", commands.Comment("TABLE", ("a", "t"), "it's; -- x")),
        ("COMMENT ON COLUMN a.b.t.c IS NULL", commands.Comment("COLUMN", ("a", "b", "t", "c"), None)),
        ("PUT 'x' INTO '/Volumes/a/b/c/x' OVERWRITE", commands.Stage("PUT", "/Volumes/a/b/c/x", "x", True)),
        ("GET '/Volumes/a/b/c/x' TO 'y'", commands.Stage("GET", "/Volumes/a/b/c/x", "y", True)),
        ("REMOVE '/Volumes/a/b/c/x'", commands.Stage("REMOVE", "/Volumes/a/b/c/x", None, False)),
        ("LIST '/Volumes/a/b/c'", commands.ListFiles("/Volumes/a/b/c")),
        ("TRUNCATE TABLE a.t", commands.Truncate(("a", "t"))),
        ("OPTIMIZE t ZORDER BY (a)", maintenance.Optimize(("t",), ("a",))),
        ("GRANT SELECT ON TABLE t TO `a@b.c`", grants.Permit(False, ("SELECT",), "TABLE", ("t",), "a@b.c")),
        ("/* SELECT 1; */ -- DROP TABLE t\nUSE x -- y", commands.UseSchema(("x",))),
    ],
)  # fmt: skip
def test_commands_are_read_token_by_token(statement: str, command: object) -> None:
    assert parse(statement) == command


@pytest.mark.parametrize(
    "statement",
    ["", "  ;;", "-- nothing", "SELECT 1; SELECT 2", "USE", "USE a b", "SHOW TABLES IN", "PUT x INTO 'y'",
     "SELECT * FROM", "SELECT (1", "SELECT 'open", "USE a.b.c.d", "DROP TABLE", "TRUNCATE TABLE t t", "selec 1",
     "hello world"],
)  # fmt: skip
def test_what_cannot_be_read_is_a_syntax_error(statement: str) -> None:
    with pytest.raises(StatementError) as caught:
        parse(statement)
    assert (caught.value.error_class, caught.value.sqlstate) == ("PARSE_SYNTAX_ERROR", "42601")


@pytest.mark.parametrize(
    "statement",
    ["CREATE FUNCTION f() RETURNS INT LANGUAGE PYTHON AS $$ return 1 $$", "SHOW ROLES", "BEGIN",
     "ALTER TABLE t SET ROW FILTER f ON (a)", "CREATE SCHEMA s MANAGED LOCATION 's3://x'",
     "CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE STREAMING TABLE v AS SELECT 1",
     "CREATE GLOBAL TEMPORARY VIEW v AS SELECT 1",
     "CREATE TABLE t (a VARIANT)", "CREATE TABLE t (a INT) USING csv"],
)  # fmt: skip
def test_what_is_read_but_not_supported_says_so(statement: str, client: Client) -> None:
    error = client.error(statement)
    assert error.sqlstate == "0A000"
    assert "not supported by the local workspace" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT to_date(x, 'yyyy-MM-dd'), len(a), nvl(a, b), unix_date(c) FROM t",
        "SELECT a RLIKE '^\\\\s*[0-9]+\\\\.?$' FROM t",
        "SELECT count(DISTINCT a), count(*) FROM t",
        "SELECT 'USE x; SELECT -- /* ' AS keywords",
        "SELECT filter(a, x -> x > 1), named_struct('a', 1), map('k', 1)['k'] FROM t",
        "SELECT c:a.b, array_agg(a ORDER BY b), percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t",
        "SELECT * FROM t VERSION AS OF 3",
    ],
)
def test_a_query_keeps_the_clients_words(text: str) -> None:
    tree = parse(text)
    assert isinstance(tree, exp.Query)
    assert to_sql(tree) == text
