"""What an upgrade of TestGen does to the metadata: marks, a picture of it before and after, and what differs.

The mark is a row of ``dqctl.upgrades`` in the database that is to become the stack's own: it is written before the
databases change names, so that whoever comes later sees by it which one has the name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

# As in the ledger: two commands that make the schema at the same time would fail on each other's.
_LOCK = 0x647163746C
_CREATE = (
    "CREATE SCHEMA IF NOT EXISTS dqctl",
    """CREATE TABLE IF NOT EXISTS dqctl.upgrades (
        id uuid PRIMARY KEY,
        kind text NOT NULL,
        version_before text NOT NULL,
        version_after text NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    )""",
)

PACKAGED = dict.fromkeys(
    (
        "cat_test_conditions",
        "dq_score_weight_defaults",
        "generation_sets",
        "profile_anomaly_types",
        "target_data_lookups",
        "test_templates",
        "test_types",
        "variant_codings",
    ),
    "comes with TestGen and is written anew by every upgrade",
)

_GIVEN_UP = "TestGen does without the table, and drops it"
_TWICE = "rows that stand twice, or whose column or table was dropped and came back"
# Upgrade script to the tables that it takes rows from, and which. Read in the scripts of 5.92.2 and 5.134.0
# (template/dbupgrade), those from 0188 on; tests/local/test_upgrade_scripts.py reads them, too.
_REMOVED: Mapping[int, Mapping[str, str]] = {
    195: dict.fromkeys(
        ("test_results", "profile_results", "profile_anomaly_results"), "rows whose run was deleted before"
    ),
    201: {"stg_secondary_profile_updates": _GIVEN_UP},
    202: {"profile_results": "columns that a run has twice"},
    208: dict.fromkeys(("profile_pair_rules", "functional_test_results"), _GIVEN_UP),
    213: {"stg_functional_table_updates": "what a profile that was interrupted left on its way"},
    219: {"notification_settings": "notifications that nobody receives"},
    230: {"data_table_chars": _TWICE, "data_column_chars": _TWICE},
    233: {
        "score_definition_results": "scores that stand twice, or of no scorecard",
        "score_definition_results_breakdown": "scores that stand twice",
    },
}
# The script in which a run takes the id of its job.
_RUNS_TAKE_JOB_IDS = 195
_MOVED: Mapping[int, Mapping[str, str]] = {
    195: {
        "profiling_runs.status": "job_executions.status",
        "profiling_runs.profiling_endtime": "job_executions.completed_at",
        "profiling_runs.log_message": "job_executions.error_message",
        "profiling_runs.job_execution_id": "profiling_runs.id",
        "test_runs.status": "job_executions.status",
        "test_runs.test_endtime": "job_executions.completed_at",
        "test_runs.log_message": "job_executions.error_message",
        "test_runs.job_execution_id": "test_runs.id",
    },
    203: {
        "profile_results.top_freq_values": "profile_results.frequent_values",
        "profile_results.top_patterns": "profile_results.frequent_patterns",
    },
    216: {"test_suites.is_monitor": "test_suites.suite_type"},
}
_NEW_ROWS = {"suite_versions": "a row that stands for definitions without a version"}

_COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'testgen'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
      AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
# A sum does not depend on the order, and needs no memory.
_JOBS = """
    SELECT count(*) || ':' || coalesce(sum(hashtextextended(id::text, 0)::numeric), 0) FROM testgen.job_executions
"""


@dataclass(frozen=True)
class Picture:
    """TestGen's tables at one moment: columns and their types, rows, runs whose id is not their job's.

    ``jobs`` is a checksum of the ids of all jobs, by which published runs go.
    """

    revision: int
    columns: Mapping[str, Mapping[str, str]]
    rows: Mapping[str, int]
    test_types: frozenset[str]
    own_run_ids: Mapping[str, int]
    jobs: str


@dataclass(frozen=True)
class RowsChanged:
    """A table that has more or fewer rows than before; ``why`` is None when nothing explains it."""

    table: str
    before: int
    after: int
    why: str | None


@dataclass(frozen=True)
class Changes:
    """What an upgrade changed. ``moved`` tells of a column that is gone where its content is now.

    ``runs_renamed`` counts runs that take the id of their job, which is what they are published under in every
    version; ``runs_kept``: the jobs have the ids that they had.
    """

    revision_before: int
    revision_after: int
    runs_renamed: Mapping[str, int] = field(default_factory=dict)
    tables_added: tuple[str, ...] = ()
    tables_dropped: tuple[str, ...] = ()
    columns_added: tuple[str, ...] = ()
    columns_dropped: tuple[str, ...] = ()
    columns_retyped: tuple[str, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    test_types_added: tuple[str, ...] = ()
    test_types_removed: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    rows_changed: tuple[RowsChanged, ...] = ()
    runs_kept: bool = True

    @property
    def unexplained(self) -> tuple[RowsChanged, ...]:
        """Rows that came or went, and nobody knows why."""
        return tuple(each for each in self.rows_changed if each.why is None)


def mark(connection: Connection, upgrade: UUID, kind: str, before: str, after: str) -> None:
    """Say in the candidate database that it is the one of this upgrade; again is no error. Commits."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for statement in _CREATE:
            connection.execute(statement.encode())
        connection.execute(
            "INSERT INTO dqctl.upgrades (id, kind, version_before, version_after) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            [upgrade, kind, before, after],
        )


def is_marked(connection: Connection, upgrade: UUID) -> bool:
    """Whether the connection's database is the candidate of this upgrade."""
    with connection.transaction():
        if connection.execute("SELECT to_regclass('dqctl.upgrades')").fetchone() == (None,):
            return False
        found = connection.execute("SELECT 1 FROM dqctl.upgrades WHERE id = %s", [upgrade]).fetchone()
    return found is not None


def picture(connection: Connection) -> Picture:
    """The database as it is, in one snapshot."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        columns: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.execute(_COLUMNS).fetchall():
            columns.setdefault(table, {})[column] = kind
        rows = {table: _count(connection, sql.Identifier("testgen", table)) for table in columns}
        revision = connection.execute(
            "SELECT revision FROM testgen.tg_revision WHERE component = 'metadata_db'"
        ).fetchone()
        types = connection.execute("SELECT test_type FROM testgen.test_types").fetchall()
        own = {
            table: _count(
                connection, sql.SQL("testgen.{} WHERE id <> job_execution_id").format(sql.Identifier(table))
            )
            for table in ("profiling_runs", "test_runs")
            if "job_execution_id" in columns.get(table, {})
        }
        jobs = connection.execute(_JOBS).fetchone()
    return Picture(
        int(revision[0]) if revision else 0,
        columns,
        rows,
        frozenset(str(name) for (name,) in types),
        own,
        str(jobs[0]) if jobs else "",
    )


def compare(before: Picture, after: Picture) -> Changes:
    """What is different ``after`` an upgrade, and why."""
    scripts = range(before.revision + 1, after.revision + 1)
    why = _explanations(scripts)
    common = sorted(before.columns.keys() & after.columns.keys())
    counts = {
        table: (before.rows.get(table, 0), after.rows.get(table, 0))
        for table in sorted(before.columns.keys() | after.columns.keys())
    }
    changed = tuple(
        RowsChanged(table, was, now, _reason(table, was, now, why))
        for table, (was, now) in counts.items()
        if was != now
    )
    dropped = _names((table, before.columns[table].keys() - after.columns[table].keys()) for table in common)
    moved = {old: new for number in scripts for old, new in _MOVED.get(number, {}).items() if old in dropped}
    return Changes(
        revision_before=before.revision,
        revision_after=after.revision,
        runs_renamed=dict(before.own_run_ids) if _RUNS_TAKE_JOB_IDS in scripts else {},
        tables_added=tuple(sorted(after.columns.keys() - before.columns.keys())),
        tables_dropped=tuple(sorted(before.columns.keys() - after.columns.keys())),
        columns_added=_names(
            (table, after.columns[table].keys() - before.columns[table].keys()) for table in common
        ),
        columns_dropped=dropped,
        columns_retyped=tuple(
            f"{table}.{column}: {was} -> {now}"
            for table in common
            for column, was in before.columns[table].items()
            if (now := after.columns[table].get(column, was)) != was
        ),
        moved=moved,
        test_types_added=tuple(sorted(after.test_types - before.test_types)),
        test_types_removed=tuple(sorted(before.test_types - after.test_types)),
        rows=dict(after.rows),
        rows_changed=changed,
        runs_kept=before.jobs == after.jobs,
    )


def _explanations(scripts: Iterable[int]) -> Mapping[str, str]:
    """Why a table may have lost rows."""
    found: dict[str, str] = {}
    for number in scripts:
        for table, reason in _REMOVED.get(number, {}).items():
            found[table] = f"{found[table]}; {reason}" if table in found else reason
    return found


def _reason(table: str, was: int, now: int, removed: Mapping[str, str]) -> str | None:
    if table in PACKAGED:
        return PACKAGED[table]
    if now > was:
        return _NEW_ROWS.get(table)
    return removed.get(table)


def _names(columns: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    return tuple(f"{table}.{column}" for table, names in columns for column in sorted(names))


def _count(connection: Connection, what: sql.Composable) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(what)).fetchone()
    return int(row[0]) if row else 0
