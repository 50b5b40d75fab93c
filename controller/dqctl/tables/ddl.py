"""The tables and views as statements."""

# ruff: noqa: S608 - SQL text is what this module is for; names and literals pass through tables.sql

from dqctl import records
from dqctl.records import Column, Table, Type
from dqctl.tables.sql import MIGRATIONS_TABLE, STAGING_VOLUME, Place, identifier, literal

# What dqctl keeps about the schema itself. ``home`` is drawn when the tables are made: it tells these tables from
# others that once had the same name.
MIGRATIONS = Table(
    MIGRATIONS_TABLE,
    "One row a migration of these tables that was applied.",
    (
        Column("migration", Type.BIGINT, "Number of the migration.", required=True),
        Column("name", Type.STRING, "What it does."),
        Column("home", Type.STRING, "Id of this set of tables, drawn when they were made (UUID)."),
        Column("dqctl_version", Type.STRING, "Version of dqctl that applied it."),
        Column("applied_at", Type.TIMESTAMP, "When it was applied."),
    ),
    key=("migration",),
    cluster_by=("migration",),
)

VIEWS = ("dq_latest_results", "dq_failures_over_time")


def create_schema(place: Place) -> str:
    """The schema itself."""
    return f"CREATE SCHEMA IF NOT EXISTS {place.quoted}"


def create_table(place: Place, table: Table) -> str:
    """A table as it is today: typed, commented, clustered, unpartitioned, without defaults or identities.

    Deletion vectors are asked for by name, because whether they are on by default is a setting of the workspace,
    and two publishers only get along when they are on.
    """
    columns = ",\n  ".join(_definition(column) for column in table.columns)
    cluster = ", ".join(identifier(name) for name in table.cluster_by)
    properties = (("delta.enableDeletionVectors", "true"), *table.properties)
    set_to = ", ".join(f"{literal(name)} = {literal(value)}" for name, value in properties)
    return (
        f"CREATE TABLE IF NOT EXISTS {place.table(table.name)} (\n  {columns}\n)\nUSING DELTA\n"
        f"COMMENT {literal(table.comment)}\nCLUSTER BY ({cluster})\n"
        f"TBLPROPERTIES ({set_to})"
    )


def add_columns(place: Place, table: Table, columns: tuple[Column, ...]) -> str:
    """Columns that a table lacks. They come nullable: rows that are there have no value for them."""
    added = ", ".join(
        f"{identifier(column.name)} {column.type} COMMENT {literal(column.comment)}" for column in columns
    )
    return f"ALTER TABLE {place.table(table.name)} ADD COLUMNS ({added})"


def create_volume(place: Place) -> str:
    """The volume that many rows are staged in."""
    return f"CREATE VOLUME IF NOT EXISTS {place.quoted}.{identifier(STAGING_VOLUME)}"


def create_views(place: Place) -> tuple[str, ...]:
    """The two questions that people ask first. A run that is not in ``dq_runs`` is not complete, so not shown."""
    results, runs = place.table(records.TEST_RESULTS.name), place.table(records.RUNS.name)
    own = ", ".join(f"r.{identifier(name)}" for name in records.TEST_RESULTS.column_names)
    outer = ", ".join(identifier(name) for name in records.TEST_RESULTS.column_names)
    grouped = "r.stack, r.run_id, u.started_at, r.system, r.table_group, r.test_suite, r.schema_name, r.table_name"
    latest, failures = (place.table(name) for name in VIEWS)
    return (
        f"CREATE OR REPLACE VIEW {latest} COMMENT 'The latest result of every test.' AS\n"
        f"SELECT {outer} FROM (\n"
        f"  SELECT {own},\n"
        "    ROW_NUMBER() OVER (PARTITION BY r.stack, r.test_suite_id, r.test_definition_id\n"
        "      ORDER BY r.test_time DESC, r.run_id DESC) AS recency\n"
        f"  FROM {results} r JOIN {runs} u ON u.stack = r.stack AND u.run_id = r.run_id\n"
        ") AS ranked WHERE recency = 1",
        f"CREATE OR REPLACE VIEW {failures} COMMENT 'Tests by outcome, a row a run and table.' AS\n"
        f"SELECT {grouped},\n  COUNT(*) AS test_ct,\n"
        + ",\n".join(
            f"  SUM(CASE WHEN r.result_status = '{status}' THEN 1 ELSE 0 END) AS {column}"
            for status, column in (
                ("Passed", "passed_ct"),
                ("Failed", "failed_ct"),
                ("Warning", "warning_ct"),
                ("Error", "error_ct"),
                ("Log", "log_ct"),
            )
        )
        + f"\nFROM {results} r JOIN {runs} u ON u.stack = r.stack AND u.run_id = r.run_id\n"
        f"GROUP BY {grouped}",
    )


def _definition(column: Column) -> str:
    required = " NOT NULL" if column.required else ""
    return f"{identifier(column.name)} {column.type}{required} COMMENT {literal(column.comment)}"
