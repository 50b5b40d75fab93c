import re

import pytest

from dqctl.records import TABLES, Column, Table, Type
from dqctl.tables import ddl
from dqctl.tables.sql import Place, identifier, literal

PLACE = Place("main", "data_quality")
SMALL = Table(
    "dq_small",
    "It's a \\ table.",
    (
        Column("id", Type.STRING, "Id.", required=True),
        Column("sum", Type.DECIMAL_38_8, "Sum's `worth`."),
    ),
    key=("id",),
    cluster_by=("id",),
)


def test_a_table_is_typed_commented_clustered_and_has_deletion_vectors() -> None:
    assert ddl.create_table(PLACE, SMALL) == (
        "CREATE TABLE IF NOT EXISTS `main`.`data_quality`.`dq_small` (\n"
        "  `id` STRING NOT NULL COMMENT 'Id.',\n"
        "  `sum` DECIMAL(38,8) COMMENT 'Sum\\'s `worth`.'\n"
        ")\n"
        "USING DELTA\n"
        "COMMENT 'It\\'s a \\\\ table.'\n"
        "CLUSTER BY (`id`)\n"
        "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
    )


def test_added_columns_are_nullable_even_where_a_new_table_says_not_null() -> None:
    assert ddl.add_columns(PLACE, SMALL, SMALL.columns) == (
        "ALTER TABLE `main`.`data_quality`.`dq_small` ADD COLUMNS "
        "(`id` STRING COMMENT 'Id.', `sum` DECIMAL(38,8) COMMENT 'Sum\\'s `worth`.')"
    )


@pytest.mark.parametrize("table", [*TABLES, ddl.MIGRATIONS], ids=lambda table: table.name)
def test_no_table_asks_for_what_breaks_concurrent_writers(table: Table) -> None:
    text = re.sub(r"COMMENT '(?:[^'\\]|\\.)*'", "", ddl.create_table(PLACE, table)).upper()
    for word in (" DEFAULT ", "IDENTITY", "PARTITIONED", "GENERATED"):
        assert word not in text
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))
    assert set(table.key) <= set(names)
    assert set(table.cluster_by) <= set(names)
    assert len(table.cluster_by) <= 4, "Databricks clusters by four columns at the most"


def test_views_name_everything_in_full() -> None:
    for statement in ddl.create_views(PLACE):
        assert "FROM dq_" not in statement
        assert "JOIN dq_" not in statement
        assert "`main`.`data_quality`.`dq_runs` u" in statement


@pytest.mark.parametrize(
    ("name", "quoted"), [("a", "`a`"), ("a-b c", "`a-b c`"), ("a`b", "`a``b`"), ("a.b", "`a.b`")]
)
def test_identifiers_are_quoted(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


@pytest.mark.parametrize(
    ("text", "quoted"), [("a", "'a'"), ("it's", "'it\\'s'"), ("\\", "'\\\\'"), ("\\'", "'\\\\\\''"), ("", "''")]
)
def test_literals_are_quoted(text: str, quoted: str) -> None:
    assert literal(text) == quoted
