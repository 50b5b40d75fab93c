"""What dbt-databricks' own functional tests send beyond what a plain project does, and what they expect back."""

from datetime import date

import pytest

from lakehouse_client import Client

pytestmark = pytest.mark.local


@pytest.mark.feature("SQL", "WITH inside of WITH, views among it")
def test_a_view_s_with_and_another_of_the_same_name_do_not_meet(client: Client) -> None:
    client.execute("CREATE TABLE base AS SELECT * FROM VALUES (1, 'a'), (2, 'b') AS v(id, name)")
    client.execute("CREATE VIEW v AS WITH __dbt__cte__e AS (SELECT * FROM base) SELECT * FROM __dbt__cte__e")
    difference = (
        "WITH d AS (SELECT count(*) AS n FROM ((SELECT id FROM base EXCEPT SELECT id FROM v)"
        " UNION ALL (SELECT id FROM v EXCEPT SELECT id FROM base)) AS a),"
        " __dbt__cte__e AS (SELECT count(*) AS m FROM v)"
        " SELECT n, m FROM d, __dbt__cte__e"
    )
    assert client.rows(difference) == [(0, 2)]


@pytest.mark.feature("SQL", "UNION of a DATE and a TIMESTAMP")
def test_a_snapshot_by_a_date_takes_hard_deletes(client: Client) -> None:
    client.execute(
        "CREATE TABLE snap AS SELECT 1 AS id, DATE'2024-01-01' AS valid_from, CAST(NULL AS DATE) AS valid_to"
    )
    client.execute(
        "CREATE TEMPORARY VIEW changes AS"
        " WITH updates AS (SELECT 'update' AS kind, id, valid_from FROM snap WHERE false),"
        " deletes AS (SELECT 'delete' AS kind, id, TIMESTAMP'2024-02-01 10:00:00' AS valid_from FROM snap)"
        " SELECT * FROM updates UNION ALL SELECT * FROM deletes"
    )
    client.execute(
        "MERGE INTO snap AS t USING changes AS s ON s.id = t.id"
        " WHEN MATCHED AND s.kind = 'delete' THEN UPDATE SET valid_to = s.valid_from"
    )
    assert client.rows("SELECT * FROM snap") == [(1, date(2024, 1, 1), date(2024, 2, 1))]


@pytest.mark.feature("SQL", "SHOW TABLE EXTENDED")
def test_only_what_has_a_comment_has_a_line_for_it(client: Client) -> None:
    client.execute("CREATE TABLE plain (id INT)")
    client.execute("CREATE TABLE said (id INT) COMMENT 'what for'")
    told = {row[1]: row[3] for row in client.rows(f"SHOW TABLE EXTENDED IN {client.session.schema} LIKE '*'")}
    assert "Comment" not in told["plain"]
    assert "\nComment: what for\n" in told["said"]
    assert [row for row in client.rows("DESCRIBE EXTENDED plain") if row[0] == "Comment"] == []
    assert [row for row in client.rows("DESCRIBE EXTENDED said") if row[0] == "Comment"] == [
        ("Comment", "what for", "")
    ]


@pytest.mark.feature("SQL", "SELECT ... FROM (DESCRIBE ...)")
def test_what_describe_says_is_a_relation(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, name STRING) CLUSTER BY (id)")
    client.execute("INSERT INTO t VALUES (1, 'a')")
    client.execute("DELETE FROM t WHERE id = 1")
    newest = "SELECT operation FROM (DESCRIBE HISTORY t) WHERE version > 0 ORDER BY version"
    assert client.rows(newest) == [("WRITE",), ("DELETE",)]
    assert client.rows("SELECT d.clusteringColumns FROM (DESCRIBE DETAIL t) AS d") == [(["id"],)]
    assert client.rows("WITH h AS (DESCRIBE HISTORY t) SELECT max(version) FROM h") == [(2,)]
    assert client.rows("SELECT comment FROM (DESCRIBE EXTENDED t) WHERE col_name = 'Type'") == [("",)]
    client.execute("CREATE TABLE kept AS SELECT version FROM (DESCRIBE HISTORY t)")
    assert client.value("SELECT count(*) FROM kept") == 3
    assert client.error("SELECT * FROM (DESCRIBE HISTORY nope)").sqlstate == "42P01"
    assert client.error("CREATE VIEW v AS SELECT * FROM (DESCRIBE HISTORY t)").sqlstate == "0A000"


@pytest.mark.feature("SQL", "SET, UNSET TBLPROPERTIES; SET, UNSET TAGS; OWNER TO; CLUSTER BY")
def test_properties_say_how_a_table_is_clustered(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT, s STRUCT<a: INT>)")
    assert client.rows("SHOW TBLPROPERTIES t") == []
    client.execute("ALTER TABLE t CLUSTER BY (id)")
    assert ("clusteringColumns", '[["id"]]') in client.rows("SHOW TBLPROPERTIES t")
    client.execute("ALTER TABLE t CLUSTER BY AUTO")
    assert ("clusterByAuto", "true") in client.rows("SHOW TBLPROPERTIES t")


@pytest.mark.feature("SQL", "OPTIMIZE")
def test_optimize_sorts_a_clustered_table_once(client: Client) -> None:
    client.execute("CREATE TABLE t CLUSTER BY (id) AS SELECT id FROM VALUES (3), (1), (2) AS v(id)")
    client.execute("OPTIMIZE t")
    client.execute("OPTIMIZE t")
    operations = [row[0] for row in client.rows("SELECT operation FROM (DESCRIBE HISTORY t)")]
    assert operations.count("OPTIMIZE") == 1
    assert sorted(client.rows("SELECT id FROM t")) == [(1,), (2,), (3,)]
    client.execute("INSERT INTO t VALUES (0)")
    client.execute("OPTIMIZE t")
    assert client.value("SELECT numFiles FROM (DESCRIBE DETAIL t)") == 1
    assert sorted(client.rows("SELECT id FROM t")) == [(0,), (1,), (2,), (3,)]
    client.execute("CREATE TABLE u AS SELECT 1 AS id")
    client.execute("OPTIMIZE u")
    assert client.value("SELECT count(*) FROM (DESCRIBE HISTORY u)") == 1


@pytest.mark.feature("SQL", "SET, UNSET TBLPROPERTIES; SET, UNSET TAGS; OWNER TO; CLUSTER BY")
def test_tags_outlive_a_replacement_and_are_for_columns_of_views_too(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a")
    client.execute("ALTER TABLE t SET TAGS ('k' = 'v')")
    client.execute("CREATE OR REPLACE TABLE t AS SELECT 2 AS b")
    client.execute("ALTER TABLE t SET TAGS ('e' = '')")
    here = "WHERE schema_name = current_schema()"
    found = client.rows(f"SELECT tag_name, tag_value FROM system.information_schema.table_tags {here} ORDER BY 1")
    assert found == [("e", ""), ("k", "v")]
    client.execute("CREATE VIEW v AS SELECT 1 AS a")
    client.execute("ALTER TABLE v ALTER COLUMN a SET TAGS ('pii' = 'yes')")
    columns = f"SELECT table_name, column_name, tag_name FROM system.information_schema.column_tags {here}"
    assert client.rows(columns) == [("v", "a", "pii")]
    client.execute("ALTER TABLE v ALTER COLUMN a UNSET TAGS ('pii')")
    assert client.rows(columns) == []
    assert client.error("ALTER TABLE v SET TAGS ('k' = 'v')").sqlstate == "42809"
    assert client.error("CREATE GOVERNED TAG t VALUES ('x')").sqlstate == "0A000"


@pytest.mark.feature("SQL", "ADD CONSTRAINT ... CHECK")
def test_a_null_that_breaks_a_check_too_is_reported_as_that(client: Client) -> None:
    client.execute("CREATE TABLE t (id INT NOT NULL, name STRING)")
    client.execute("ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)")
    refused = client.error("INSERT INTO t VALUES (NULL, 'a')")
    assert refused.error_class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES"
    assert "(id > 0) violated by row with values:" in str(refused)
    client.execute("ALTER TABLE t DROP CONSTRAINT positive")
    assert client.error("INSERT INTO t VALUES (NULL, 'a')").error_class == "DELTA_NOT_NULL_CONSTRAINT_VIOLATED"
