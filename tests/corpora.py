"""Metadata of real TestGen runs, one small file a version (made by ``tests/contract/dump_metadata.py``).

The scenario is the same in all: a table group is profiled, tests are generated, two tests of a person's own are
added (one of them broken), the suite is tested twice; a group and a suite whose connection does not work fail; a
test run is canceled before it starts.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

DIRECTORY = Path(__file__).parent / "contract" / "metadata"
VERSIONS = ("5.134.0", "5.92.2", "5.33.3")


@dataclass(frozen=True)
class Corpus:
    """Columns with their types, and rows with values as PostgreSQL's text, by table."""

    version: str
    columns: dict[str, list[tuple[str, str]]]
    rows: dict[str, list[dict[str, str | None]]]

    def by(self, table: str, key: str) -> dict[str | None, dict[str, str | None]]:
        """The rows of ``table`` by the value of ``key``."""
        return {row[key]: row for row in self.rows[table]}


def corpus(version: str) -> Corpus:
    """The corpus of ``version``."""
    found = json.loads((DIRECTORY / f"{version}.json").read_text(encoding="utf-8"))["tables"]
    names = {table: [name for name, _ in content["columns"]] for table, content in found.items()}
    return Corpus(
        version,
        {table: [(name, kind) for name, kind in content["columns"]] for table, content in found.items()},
        {
            table: [dict(zip(names[table], row, strict=True)) for row in content["rows"]]
            for table, content in found.items()
        },
    )


def restore(one: Corpus, connection: "psycopg.Connection[Any]") -> None:
    """Make the schema ``testgen`` with the corpus in it."""
    connection.execute("CREATE SCHEMA testgen")
    for table, columns in one.columns.items():
        typed = ", ".join(f'"{name}" {kind}' for name, kind in columns)
        connection.execute(f"CREATE TABLE testgen.{table} ({typed})".encode())
        marks = ", ".join(f"%s::{kind}" for _, kind in columns)
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO testgen.{table} VALUES ({marks})".encode(),
                [list(row.values()) for row in one.rows[table]],
            )
    connection.commit()
