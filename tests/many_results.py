"""A lot of history: the completed test run of a corpus, over and over, with ids of its own."""

from typing import Any

import psycopg

from corpora import corpus, restore

VERSION = "5.134.0"

# As TestGen has them.
_INDEXES = (
    "CREATE UNIQUE INDEX ON testgen.job_executions (id)",
    "CREATE UNIQUE INDEX ON testgen.test_runs (id)",
    "CREATE UNIQUE INDEX ON testgen.test_definitions (id)",
    "CREATE INDEX ON testgen.test_definitions (test_suite_id, table_name)",
    "CREATE INDEX ON testgen.test_results (test_run_id)",
)
_MODEL = (
    "SELECT r.id FROM testgen.test_runs r JOIN testgen.job_executions j ON j.id = r.id"
    " WHERE j.status = 'completed' ORDER BY j.created_at LIMIT 1"
)


def make_history(connection: "psycopg.Connection[Any]", runs: int, results: int) -> None:
    """The corpus without its own runs, and ``runs`` test runs of ``results`` results each, an hour apart."""
    one = corpus(VERSION)
    restore(one, connection)
    for statement in _INDEXES:
        connection.execute(statement.encode())
    found = connection.execute(_MODEL.encode()).fetchone()
    assert found
    model = found[0]
    connection.execute(
        "CREATE TEMPORARY TABLE made AS SELECT n, gen_random_uuid() AS id,"
        " timestamptz '2026-01-01 00:00+00' + n * interval '1 hour' AS at FROM generate_series(1, %s) n",
        (runs,),
    )
    _clone(connection, "job_executions", model, {"id": "m.id", "completed_at": "m.at", "created_at": "m.at"})
    _clone(connection, "test_runs", model, {"id": "m.id"})
    _clone(
        connection,
        "test_results",
        model,
        {
            "id": "gen_random_uuid()",
            "test_run_id": "m.id",
            "test_time": "m.at AT TIME ZONE 'UTC'",
            "table_name": "o.table_name || '_' || mod(row_number() OVER (), 997)",
            "result_message": "o.result_message || E' \\n\\'é😀' || m.n",
            "dq_prevalence": "random()",
        },
        results,
    )
    for table, key in (("test_results", "test_run_id"), ("test_runs", "id"), ("job_executions", "id")):
        connection.execute(f"DELETE FROM testgen.{table} WHERE {key} NOT IN (SELECT id FROM made)".encode())
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM ANALYZE")


def _clone(
    connection: "psycopg.Connection[Any]", table: str, model: object, values: dict[str, str], rows: int = 1
) -> None:
    """For every new run ``rows`` rows of the model's in ``table``, with ``values`` (SQL) of their own."""
    columns = [name for name, _ in corpus(VERSION).columns[table]]
    taken = ", ".join(f"{values[name]} AS {name}" if name in values else f"o.{name}" for name in columns)
    key = "test_run_id" if table == "test_results" else "id"
    model_rows = f"SELECT t.* FROM testgen.{table} t, generate_series(1, %(rows)s) WHERE t.{key} = %(model)s"
    lateral = f"CROSS JOIN LATERAL ({model_rows} LIMIT %(rows)s) o"
    statement = f"INSERT INTO testgen.{table} SELECT {taken} FROM made m {lateral}"
    connection.execute(statement.encode(), {"rows": rows, "model": model})
