from dataclasses import replace

from dqctl import records
from dqctl.tables import ddl, migrations
from dqctl.tables.migrations import MANAGED, MIGRATIONS, Present
from dqctl.tables.sql import Place

PLACE = Place("main", "data_quality")
COMPLETE = Present(
    schema=True,
    tables={**{table.name: table.column_names for table in MANAGED}, **dict.fromkeys(ddl.VIEWS, ("stack",))},
    applied=frozenset(step.number for step in MIGRATIONS),
    home="5e1b",
)


def test_nothing_there_makes_schema_tables_and_views() -> None:
    statements = migrations.plan(Present(), PLACE)
    assert statements[0] == "CREATE SCHEMA IF NOT EXISTS `main`.`data_quality`"
    made = [
        statement.split("(")[0].split()[-1] for statement in statements if statement.startswith("CREATE TABLE")
    ]
    assert made == [f"`main`.`data_quality`.`{table.name}`" for table in MANAGED]
    assert sum(statement.startswith("CREATE OR REPLACE VIEW") for statement in statements) == len(ddl.VIEWS)


def test_all_there_makes_nothing_and_records_nothing() -> None:
    assert migrations.plan(COMPLETE, PLACE) == ()
    assert migrations.record(COMPLETE, PLACE, "5e1b", "1.0") is None


def test_schema_that_is_there_is_not_asked_for_because_that_needs_a_privilege() -> None:
    assert not any("SCHEMA" in statement for statement in migrations.plan(Present(schema=True), PLACE))


def test_column_that_is_missing_is_added_and_what_others_added_is_left_alone() -> None:
    old = [name for name in records.TEST_RESULTS.column_names if name not in ("impact_dimension", "dq_record_ct")]
    present = replace(COMPLETE, tables={**COMPLETE.tables, "dq_test_results": (*old, "team")})
    assert migrations.plan(present, PLACE) == (
        "ALTER TABLE `main`.`data_quality`.`dq_test_results` ADD COLUMNS "
        "(`dq_record_ct` BIGINT COMMENT 'Records that the test is over.', "
        "`impact_dimension` STRING COMMENT 'Dimension of impact.')",
    )


def test_table_that_someone_dropped_is_made_again() -> None:
    present = replace(COMPLETE, tables={k: v for k, v in COMPLETE.tables.items() if k != "dq_anomalies"})
    (statement,) = migrations.plan(present, PLACE)
    assert statement == ddl.create_table(PLACE, records.ANOMALIES)


def test_half_an_init_is_completed() -> None:
    present = Present(schema=True, tables={"dq_runs": records.RUNS.column_names})
    statements = migrations.plan(present, PLACE)
    assert not any("`dq_runs` (" in statement for statement in statements)
    assert sum(statement.startswith("CREATE TABLE") for statement in statements) == len(MANAGED) - 1
    assert migrations.record(present, PLACE, "5e1b", "1.0") is not None


def test_what_is_recorded_names_the_home_and_the_version() -> None:
    assert migrations.record(Present(), PLACE, "5e'1b", "1.0") == (
        "INSERT INTO `main`.`data_quality`.`dq_migrations` VALUES "
        "(CAST(1 AS BIGINT), 'the tables and views of the first version', '5e\\'1b', '1.0', current_timestamp()), "
        "(CAST(2 AS BIGINT), 'scores', '5e\\'1b', '1.0', current_timestamp())"
    )


def test_every_column_belongs_to_a_migration_that_exists() -> None:
    numbers = [step.number for step in MIGRATIONS]
    assert numbers == list(range(1, len(numbers) + 1))
    for table in MANAGED:
        assert table.since in numbers
        for column in table.columns:
            assert column.since in numbers
            assert column.since == 1 or not column.required, "rows that are there would have no value"
