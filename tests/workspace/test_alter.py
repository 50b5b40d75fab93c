"""ALTER TABLE: what Delta does to columns and constraints, and what it refuses."""

import pytest

from lakehouse_client import Client

MAPPED = "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"


@pytest.mark.feature("SQL", "ALTER TABLE ADD COLUMN ... FIRST, AFTER")
def test_columns_are_added_where_they_are_wanted(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    client.execute(
        "ALTER TABLE t ADD COLUMNS (c ARRAY<INT> COMMENT 'third' AFTER a, d DECIMAL(4,1) FIRST, e DATE)"
    )
    assert client.rows("DESCRIBE t") == [
        ("d", "decimal(4,1)", None), ("a", "int", None), ("c", "array<int>", "third"), ("b", "string", None),
        ("e", "date", None),
    ]  # fmt: skip
    assert client.rows("SELECT * FROM t") == [(None, 1, None, "x", None)]
    client.execute("ALTER TABLE t ALTER COLUMN b FIRST")
    client.execute("ALTER TABLE t ALTER COLUMN d AFTER e")
    assert client.rows("SELECT * FROM t") == [("x", 1, None, None, None)]
    assert [row[0] for row in client.rows("DESCRIBE t")] == ["b", "a", "c", "e", "d"]
    assert client.error("ALTER TABLE t ADD COLUMN A INT").error_class == "FIELD_ALREADY_EXISTS"
    assert client.error("ALTER TABLE t ADD COLUMN z INT AFTER nope").sqlstate == "42703"


@pytest.mark.feature("SQL", "ALTER TABLE RENAME COLUMN, DROP COLUMN (column mapping)")
def test_columns_are_renamed_and_dropped_once_they_are_mapped(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT COMMENT 'one', `b c` STRING, d DATE) PARTITIONED BY (d)")
    client.execute("INSERT INTO t VALUES (1, 'x', DATE'2024-01-01'), (2, NULL, NULL)")
    for statement in ("ALTER TABLE t RENAME COLUMN a TO z", "ALTER TABLE t DROP COLUMN a"):
        assert client.error(statement).error_class.startswith("DELTA_UNSUPPORTED_")
        assert client.error(statement).sqlstate == "0AKDC"
    client.execute(f"ALTER TABLE t SET {MAPPED}")
    client.execute("ALTER TABLE t RENAME COLUMN a TO number")
    client.execute("ALTER TABLE t RENAME COLUMN d TO day")
    assert client.rows("SELECT number, day FROM t WHERE `b c` = 'x'") == client.rows("SELECT 1, DATE'2024-01-01'")
    assert client.rows("DESCRIBE t number") == [("col_name", "number"), ("data_type", "int"), ("comment", "one")]
    client.execute("ALTER TABLE t DROP COLUMNS (`b c`)")
    assert client.rows("SELECT * FROM t WHERE number = 1") == client.rows("SELECT 1, DATE'2024-01-01'")
    assert client.rows("SHOW PARTITIONS t") == client.rows("SELECT DISTINCT day FROM t ORDER BY 1")
    assert client.error("ALTER TABLE t DROP COLUMN day").sqlstate == "22023"
    assert client.error("ALTER TABLE t DROP COLUMN nope").sqlstate == "42703"
    client.execute("ALTER TABLE t DROP COLUMN IF EXISTS nope")
    assert client.error("ALTER TABLE t RENAME COLUMN day TO NUMBER").error_class == "COLUMN_ALREADY_EXISTS"
    client.execute("INSERT INTO t VALUES (3, NULL)")
    assert client.value("SELECT count(*) FROM t") == 3
    assert client.value("SELECT count(*) FROM t VERSION AS OF 1") == 2


@pytest.mark.feature("SQL", "ALTER COLUMN TYPE (type widening)")
def test_a_type_gets_wider_and_never_narrower(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT, v VARCHAR(3))")
    client.execute("INSERT INTO t VALUES (7, 'abc')")
    assert client.error("ALTER TABLE t ALTER COLUMN a TYPE BIGINT").sqlstate == "0AKDC"
    client.execute("ALTER TABLE t SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
    client.execute("ALTER TABLE t ALTER COLUMN a TYPE BIGINT")
    client.execute("INSERT INTO t VALUES (3000000000, 'd')")
    assert client.rows("SELECT a FROM t ORDER BY a") == [(7,), (3000000000,)]
    for narrower in ("INT", "STRING", "DECIMAL(18,0)"):
        assert client.error(f"ALTER TABLE t ALTER COLUMN a TYPE {narrower}").sqlstate == "0AKDC"
    client.execute("ALTER TABLE t ALTER COLUMN v TYPE VARCHAR(5)")
    client.execute("INSERT INTO t VALUES (1, 'abcde')")
    assert [row[1] for row in client.rows("DESCRIBE t")] == ["bigint", "varchar(5)"]


@pytest.mark.feature("SQL", "ALTER COLUMN SET and DROP NOT NULL")
def test_not_null_holds_for_what_is_there_and_what_comes(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT * FROM VALUES (1, 'x'), (2, NULL) AS v(a, b)")
    client.execute("ALTER TABLE t ALTER COLUMN a SET NOT NULL")
    assert client.error("ALTER TABLE t ALTER COLUMN b SET NOT NULL").sqlstate == "23512"
    for statement in (
        "INSERT INTO t VALUES (NULL, 'y')",
        "UPDATE t SET a = NULL WHERE b = 'x'",
        "MERGE INTO t USING (SELECT 1 AS k) AS s ON t.a = s.k WHEN MATCHED THEN UPDATE SET t.a = NULL",
    ):
        error = client.error(statement)
        assert (error.error_class, error.sqlstate) == ("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502")
    assert client.value("SELECT is_nullable FROM information_schema.columns WHERE column_name = 'a'"
                        " AND table_schema = current_schema()") == "NO"  # fmt: skip
    client.execute("ALTER TABLE t ALTER COLUMN a DROP NOT NULL")
    client.execute("INSERT INTO t VALUES (NULL, 'y')")
    assert client.value("SELECT count(*) FROM t WHERE a IS NULL") == 1


@pytest.mark.feature("SQL", "ADD CONSTRAINT ... CHECK")
def test_a_check_holds_for_what_is_there_and_what_comes(client: Client) -> None:
    client.execute("CREATE TABLE t AS SELECT * FROM VALUES (1, 10), (2, -1) AS v(id, n)")
    found = client.error("ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0)")
    assert (found.error_class, found.sqlstate) == ("DELTA_NEW_CHECK_CONSTRAINT_VIOLATION", "23512")
    client.execute("DELETE FROM t WHERE n < 0")
    client.execute("ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0 AND (id < 100 OR id > 1000))")
    assert client.error("ALTER TABLE t ADD CONSTRAINT POSITIVE CHECK (n > 1)").sqlstate == "42710"
    assert client.error("ALTER TABLE t ADD CONSTRAINT other CHECK (n + 1)").sqlstate == "42621"
    assert client.error("ALTER TABLE t ADD CONSTRAINT other CHECK (nope > 1)").sqlstate == "42703"
    for statement in (
        "INSERT INTO t VALUES (3, 0)",
        "INSERT INTO t (id) VALUES (3)",
        "UPDATE t SET n = -n",
        "MERGE INTO t USING (SELECT 1 AS k) AS s ON t.id = s.k WHEN MATCHED THEN UPDATE SET n = 0",
        "MERGE INTO t USING (SELECT 9 AS k) AS s ON t.id = s.k WHEN NOT MATCHED THEN INSERT (id, n) VALUES (k, 0)",
    ):
        found = client.error(statement)
        assert (found.error_class, found.sqlstate) == ("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001"), statement
        assert "positive" in str(found)
    assert client.rows("SELECT * FROM t") == [(1, 10)]
    assert ("delta.constraints.positive", "n > 0 AND (id < 100 OR id > 1000)") in client.rows(
        "SHOW TBLPROPERTIES t"
    )
    client.execute(f"ALTER TABLE t SET {MAPPED}")
    assert client.error("ALTER TABLE t DROP COLUMN n").error_class == "DELTA_CONSTRAINT_DEPENDENT_COLUMN_CHANGE"
    assert client.error("ALTER TABLE t DROP CONSTRAINT nope").sqlstate == "42704"
    client.execute("ALTER TABLE t DROP CONSTRAINT IF EXISTS nope")
    client.execute("ALTER TABLE t DROP CONSTRAINT Positive")
    client.execute("INSERT INTO t VALUES (3, 0)")


@pytest.mark.feature("SQL", "PRIMARY KEY and FOREIGN KEY (informative)")
def test_keys_inform_and_are_shown(client: Client) -> None:
    client.execute("CREATE TABLE parents (id INT PRIMARY KEY, other INT)")
    client.execute(
        "CREATE TABLE children (id INT NOT NULL, parent INT REFERENCES parents,"
        " CONSTRAINT child_key PRIMARY KEY (id))"
    )
    client.execute("INSERT INTO parents VALUES (1, 1), (1, 2)")
    assert client.error("INSERT INTO parents VALUES (NULL, 1)").sqlstate == "23502"
    keys = client.rows(
        "SELECT table_name, constraint_name, constraint_type, enforced FROM information_schema.table_constraints"
        " WHERE table_schema = current_schema() ORDER BY 1, 2"
    )
    assert keys == [
        ("children", "child_key", "PRIMARY KEY", "NO"),
        ("children", "children_parents_fk", "FOREIGN KEY", "NO"),
        ("parents", "parents_pk", "PRIMARY KEY", "NO"),
    ]
    usage = client.rows(
        "SELECT k.table_name, k.column_name, k.ordinal_position, k.position_in_unique_constraint,"
        " u.table_name AS p, u.column_name AS c, r.unique_constraint_name"
        " FROM information_schema.key_column_usage AS k"
        " JOIN information_schema.referential_constraints AS r USING (constraint_schema, constraint_name)"
        " JOIN information_schema.constraint_column_usage AS u USING (constraint_schema, constraint_name)"
        " WHERE constraint_schema = current_schema()"
    )
    assert usage == [("children", "parent", 1, 1, "parents", "id", "parents_pk")]
    assert client.error("ALTER TABLE parents DROP PRIMARY KEY").sqlstate == "22023"
    client.execute("ALTER TABLE parents DROP PRIMARY KEY CASCADE")
    assert client.value(
        "SELECT count(*) FROM information_schema.table_constraints WHERE table_schema = current_schema()"
    ) == 1  # fmt: skip
    assert client.error("ALTER TABLE parents ADD CONSTRAINT k PRIMARY KEY (other)").sqlstate == "22023"
    assert client.error("ALTER TABLE children ADD PRIMARY KEY (parent)").sqlstate in ("22023", "42710")
    wrong = "ALTER TABLE children ADD CONSTRAINT f FOREIGN KEY (parent) REFERENCES parents (other)"
    assert client.error(wrong).sqlstate == "22023"


@pytest.mark.feature("SQL", "Column defaults (delta.feature.allowColumnDefaults)")
def test_a_default_is_what_a_row_gets_that_says_nothing(client: Client) -> None:
    refused = client.error("CREATE TABLE t (a INT, b INT DEFAULT 3)")
    assert refused.error_class == "WRONG_COLUMN_DEFAULTS_FOR_DELTA_FEATURE_NOT_ENABLED"
    client.execute(
        "CREATE TABLE t (a INT, b INT DEFAULT 3, c STRING DEFAULT concat('x', 'y'))"
        " TBLPROPERTIES ('delta.feature.allowColumnDefaults' = 'supported')"
    )
    client.execute("INSERT INTO t (a) VALUES (1)")
    client.execute("ALTER TABLE t ALTER COLUMN b SET DEFAULT 4")
    client.execute("ALTER TABLE t ALTER COLUMN c DROP DEFAULT")
    client.execute("INSERT INTO t (a) VALUES (2)")
    client.execute("INSERT INTO t VALUES (5, DEFAULT, 'z')")
    assert client.rows("SELECT * FROM t ORDER BY a") == [(1, 3, "xy"), (2, 4, None), (5, 4, "z")]
    assert client.error("ALTER TABLE t ALTER COLUMN b SET DEFAULT nope").sqlstate == "42703"
    statement = client.value("SHOW CREATE TABLE t")
    assert "DEFAULT 4" in statement
    client.execute("DROP TABLE t")
    client.execute(statement)
    assert client.value("SHOW CREATE TABLE t") == statement


@pytest.mark.feature("SQL", "SET, UNSET TBLPROPERTIES; SET, UNSET TAGS; OWNER TO; CLUSTER BY")
def test_what_is_said_of_a_table_is_shown(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT, b INT) CLUSTER BY (a)")
    client.execute("ALTER TABLE t SET TBLPROPERTIES (quality.level = 3, 'x y' = true)")
    assert client.rows("SHOW TBLPROPERTIES t ('x y')") == [("x y", "true")]
    assert client.error("ALTER TABLE t UNSET TBLPROPERTIES ('nope')").sqlstate == "42K0J"
    client.execute("ALTER TABLE t UNSET TBLPROPERTIES IF EXISTS ('nope', quality.level)")
    clustering = [("clusterByAuto", "false"), ("clusteringColumns", '[["a"]]')]
    assert client.rows("SHOW TBLPROPERTIES t") == [*clustering, ("x y", "true")]
    client.execute("ALTER TABLE t SET TAGS ('pii' = 'no', 'flag')")
    client.execute("ALTER TABLE t UNSET TAGS ('flag')")
    client.execute("ALTER TABLE t ALTER COLUMN A SET TAGS ('mask' = 'yes')")
    tags = "WHERE schema_name = current_schema()"
    assert client.rows(f"SELECT tag_name, tag_value FROM information_schema.table_tags {tags}") == [("pii", "no")]
    assert client.rows(f"SELECT column_name, tag_name FROM information_schema.column_tags {tags}") == [
        ("a", "mask")
    ]
    client.execute("ALTER TABLE t OWNER TO `data team`")
    assert client.rows(
        "SELECT table_owner FROM information_schema.tables WHERE table_schema = current_schema()"
    ) == [("data team",)]
    assert client.execute("DESCRIBE DETAIL t").table.column("clusteringColumns").to_pylist() == [["a"]]
    client.execute("ALTER TABLE t CLUSTER BY NONE")
    assert client.execute("DESCRIBE DETAIL t").table.column("clusteringColumns").to_pylist() == [[]]
    assert client.error("ALTER TABLE t CLUSTER BY (nope)").sqlstate == "42703"
    assert client.error("ALTER TABLE t ALTER COLUMN a COMMENT 'x', nope COMMENT 'y'").sqlstate == "42703"
    assert client.rows("DESCRIBE t") == [("a", "int", None), ("b", "int", None)]
    operations = client.execute("DESCRIBE HISTORY t").table.column("operation").to_pylist()
    assert operations[:3] == ["CLUSTER BY", "UNSET TBLPROPERTIES", "SET TBLPROPERTIES"]


@pytest.mark.feature("SQL", "ALTER of what it cannot be done to")
def test_views_and_tables_are_told_apart(client: Client) -> None:
    client.execute("CREATE TABLE t (a INT)")
    client.execute("CREATE VIEW v AS SELECT 1 AS a")
    assert client.error("ALTER VIEW t RENAME TO u").sqlstate == "42809"
    assert client.error("ALTER TABLE v ADD COLUMN b INT").sqlstate == "42809"
    assert client.error("CREATE OR REPLACE TABLE v (a INT)").sqlstate == "42809"
    assert client.error("ALTER TABLE nope ADD COLUMN b INT").sqlstate == "42P01"
    for statement in ("ALTER TABLE t SET ROW FILTER f ON (a)", "ALTER TABLE t ADD PARTITION (a = 1)",
                      "ALTER TABLE t ALTER COLUMN a SET MASK f"):  # fmt: skip
        assert client.error(statement).sqlstate == "0A000"
    assert client.error("ALTER TABLE t RENAME COLUMN").sqlstate == "42601"
