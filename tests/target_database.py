"""A real PostgreSQL database with tables to check: a web shop, and a view that takes its time."""

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from dqctl.runtime.local import LocalRuntime

PASSWORD = "probe-password-4711"

TABLES = """
CREATE SCHEMA sales;
CREATE TABLE sales.customers AS
  SELECT i AS customer_id, 'name ' || i AS name, (ARRAY['DE', 'FR', 'US'])[1 + i % 3] AS country,
         CASE WHEN i % 7 = 0 THEN NULL ELSE 'u' || i || '@example.com' END AS email
  FROM generate_series(1, 200) i;
CREATE TABLE sales.orders AS
  SELECT i AS order_id, 1 + i % 200 AS customer_id, (i * 37 % 1000) / 10.0 AS amount,
         timestamp '2023-01-01' + i * interval '1 hour' AS ordered_at
  FROM generate_series(1, 1000) i;
CREATE SCHEMA slow;
CREATE VIEW slow.endless AS SELECT i AS id FROM generate_series(1, 100) i WHERE pg_sleep(1) IS NOT NULL;
GRANT USAGE ON SCHEMA sales, slow TO probe;
GRANT SELECT ON ALL TABLES IN SCHEMA sales, slow TO probe;
"""


@dataclass(frozen=True)
class Target:
    """A database beside the stack's own, in the same server, for a user who may only read."""

    runtime: LocalRuntime

    @classmethod
    def make(cls, runtime: LocalRuntime) -> "Target":
        with runtime.postgres.connect("postgres", autocommit=True) as connection:
            connection.execute(f"CREATE ROLE probe LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE target")
        with runtime.postgres.connect("target") as connection:
            connection.execute(TABLES)
        return cls(runtime)

    def running(self) -> list[str]:
        """The statements that run on the target right now."""
        with self.runtime.postgres.connect("postgres", autocommit=True) as connection:
            rows = connection.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = 'target' AND state = 'active'"
            ).fetchall()
        return [row[0] for row in rows]

    def wait_for_statement(self, running: bool, seconds: float = 60) -> bool:
        """Whether, within ``seconds``, a statement runs (or none does)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if bool(self.running()) == running:
                return True
            time.sleep(0.1)
        return False

    def write_systems(self, directory: Path, name: str, schema: str = "sales", more: str = "") -> Path:
        """A systems file for this target."""
        file = directory / f"{name}.yaml"
        file.write_text(
            f"""\
version: 1
systems:
  - name: {name}
    connections:
      - name: pg
        flavor: postgresql
        host: 127.0.0.1
        port: {self.runtime.record.postgres_port}
        database: target
        user: probe
        password: {{env: PROBE_PASSWORD}}
        schema: {schema}
        table_groups:
          - name: {name}-tables
            suites:
              - name: {name}-suite
{more}"""
        )
        return file


def count(connection: "psycopg.Connection", query: str, *parameters: object) -> int:
    """The one number that ``query`` returns."""
    row = connection.execute(query, parameters).fetchone()
    assert row
    return int(row[0])
