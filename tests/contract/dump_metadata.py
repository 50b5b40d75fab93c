"""Makes a corpus out of a metadata database: ``python dump_metadata.py DSN VERSION FILE``.

Run it against a database in which the new version of TestGen has profiled, generated and tested something small.
The tables come as they are, columns with their types, values as PostgreSQL's text; encrypted secrets are left out,
and of TestGen's static tables all that nobody reads.
"""

import json
import sys
from pathlib import Path
from typing import Any

import psycopg

# Table to condition: the rows that a corpus keeps. NULL in FEW: every column but these is emptied.
TABLES = {
    "tg_revision": "TRUE",
    "projects": "project_code <> 'DEFAULT'",
    "connections": "project_code <> 'DEFAULT'",
    "table_groups": "project_code <> 'DEFAULT'",
    "test_suites": "project_code <> 'DEFAULT'",
    "job_executions": "TRUE",
    "profiling_runs": "TRUE",
    "profile_results": "TRUE",
    "profile_anomaly_results": "TRUE",
    "test_runs": "TRUE",
    "test_definitions": "id IN (SELECT id FROM kept)",
    "test_results": "test_definition_id IN (SELECT id FROM kept)",
    "test_types": "test_type IN (SELECT test_type FROM test_results)",
    "profile_anomaly_types": "id IN (SELECT anomaly_id FROM profile_anomaly_results)",
}
FEW = {
    "test_types": ("test_type", "test_name_short", "dq_dimension", "measure_uom"),
    "profile_anomaly_types": (
        "id",
        "anomaly_type",
        "anomaly_name",
        "anomaly_description",
        "issue_likelihood",
        "suggested_action",
        "dq_dimension",
        "impact_dimension",
    ),
}
# One test of each type, and all that are not from generation or did not pass.
KEPT = (
    "CREATE TEMPORARY TABLE kept AS SELECT id FROM (SELECT id, last_auto_gen_date, row_number() OVER"
    " (PARTITION BY test_type ORDER BY table_name, column_name, id) AS n FROM test_definitions) d"
    " WHERE n = 1 OR last_auto_gen_date IS NULL"
    " OR id IN (SELECT test_definition_id FROM test_results WHERE result_status <> 'Passed')"
)


def dump(dsn: str, version: str) -> dict[str, Any]:
    """The corpus as data."""
    with psycopg.connect(dsn, options="-c search_path=testgen,pg_temp -c TimeZone=UTC") as connection:
        connection.execute(KEPT.encode())
        return {"version": version, "tables": {name: _table(connection, name) for name in TABLES}}


def _table(connection: "psycopg.Connection[Any]", name: str) -> dict[str, Any]:
    columns = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (name,),
    ).fetchall()
    few = FEW.get(name, tuple(column for column, _ in columns))
    values = ", ".join(
        f'"{column}"::text' if kind != "bytea" and column in few and "api_key" not in column else "NULL"
        for column, kind in columns
    )
    rows = connection.execute(
        f"SELECT {values} FROM {name} WHERE {TABLES[name]} ORDER BY 1, 2".encode()
    ).fetchall()
    return {"columns": columns, "rows": rows}


def main() -> None:
    """Write the corpus, a line a row, so that two versions can be compared."""
    dsn, version, path = sys.argv[1:]
    corpus = dump(dsn, version)
    lines = [f'{{"version": {json.dumps(version)}, "tables": {{']
    for number, (name, table) in enumerate(corpus["tables"].items()):
        rows = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in table["rows"])
        comma = "," if number < len(TABLES) - 1 else ""
        columns = json.dumps(table["columns"], separators=(",", ":"))
        lines.append(f'"{name}": {{"columns": {columns}, "rows": [\n{rows}\n]}}{comma}')
    lines.append("}}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
