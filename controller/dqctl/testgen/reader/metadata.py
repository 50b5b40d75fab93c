"""The reader itself: finished runs, their content in one snapshot, and the history that reports show."""

# ruff: noqa: S608 - SQL text out of names that are written here; values travel as parameters

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dqctl import records
from dqctl.records import Row, RunContent, Table
from dqctl.testgen.capabilities import Capabilities
from dqctl.testgen.reader import sources
from dqctl.testgen.reader.select import Present, copy, select
from dqctl.testgen.reader.sources import Source

# Of CSV that is handed on at once: some thousand results.
_BLOCK_BYTES = 2_000_000


@dataclass(frozen=True)
class StoredRun:
    """A run as TestGen stored it: its row of ``dq_runs``, and the rows of its other tables as they are asked for.

    ``csv(table)`` gives blocks of whole lines: columns in the order of ``table`` without a header, NULL as nothing
    and the empty string as two quotes, timestamps as microseconds since 1970, booleans as t and f.
    """

    run: Row
    csv: Callable[[Table], Iterator[bytes]]


@dataclass(frozen=True)
class FinishedRun:
    """A run whose job is over, whatever came of it. ``kind`` is profile, generate or test."""

    run_id: str
    kind: str
    status: str
    ended_at: datetime | None


@dataclass(frozen=True)
class NewestRun:
    """The newest finished run of one kind of a suite or table group: its row of ``dq_runs``, and when one of them
    completed last (UTC), None when none ever did."""

    run: Row
    last_success: datetime | None


class MetadataReader:
    """Reads through ``connection`` (search path on TestGen's schema, not autocommit), each method in a transaction
    of its own that writes nothing.

    A run is known by the id of its job in every version: where TestGen gives runs ids of their own (5.33), its
    upgrade turns them into the jobs' ids.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", capabilities: Capabilities, stack: str) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._stack = stack

    def finished_runs(self) -> tuple[FinishedRun, ...]:
        """All runs that are over, the oldest first."""
        found = self._rows(
            f"SELECT j.id::text AS run_id, j.job_key, j.status, j.completed_at FROM job_executions j"
            f" WHERE {sources.FINISHED} ORDER BY j.completed_at NULLS FIRST, j.created_at, j.id",
            {},
        )
        return tuple(
            FinishedRun(row["run_id"], sources.KINDS[row["job_key"]], row["status"], row["completed_at"])
            for row in found
        )

    def headers(
        self,
        run_id: str = "",
        test_suite_id: str = "",
        table_groups_id: str = "",
        kind: str = "",
        until: datetime | None = None,
        limit: int = 50,
    ) -> tuple[Row, ...]:
        """Rows of ``dq_runs`` for finished runs, the newest first.

        A beginning of an id will do for ``run_id``; ``until`` leaves out runs that ended later. What only a
        publish knows (``published_at``, ``dqctl_version``, ``row_counts``) is NULL.
        """
        conditions = []
        if run_id:
            conditions.append("starts_with(j.id::text, %(run_id)s)")
        if test_suite_id:
            conditions.append("s.id::text = %(test_suite_id)s")
        if table_groups_id:
            conditions.append("g.id::text = %(table_groups_id)s")
        if kind:
            conditions.append("j.job_key = ANY(%(kind_keys)s)")
        if until:
            conditions.append("j.completed_at <= %(until)s")
        keys = [key for key, of_kind in sources.KINDS.items() if of_kind == kind]
        statement = select(self._run_source, self._present, and_where=" AND ".join(conditions))
        return self._rows(
            f"{statement} LIMIT %(limit)s",
            {
                "run_id": run_id.lower(),
                "test_suite_id": test_suite_id,
                "table_groups_id": table_groups_id,
                "kind_keys": keys,
                "until": until,
                "limit": limit,
            },
        )

    def newest(self, limit: int) -> tuple[NewestRun, ...]:
        """The newest finished run of each kind of every suite and table group, the newest of them first."""
        with self._snapshot():
            found = self._fetch(sources.newest(self._capabilities), {"limit": limit})
            successes = {row["run_id"]: row["last_success"] for row in found}
            runs = self._headers_with_parameters(list(successes))
        return tuple(NewestRun(run, successes[run["run_id"]]) for run, _ in reversed(runs))

    def underway(self) -> Mapping[str, int]:
        """How many jobs have begun and not ended, by kind; kinds that are unknown here are left out."""
        found = self._rows(
            "SELECT j.job_key, COUNT(*) AS jobs FROM job_executions j WHERE j.status <> ALL(%(final)s)"
            " AND j.started_at IS NOT NULL AND j.job_key = ANY(%(job_keys)s) GROUP BY j.job_key",
            {},
        )
        counts: Counter[str] = Counter()
        for row in found:
            counts[sources.KINDS[row["job_key"]]] += row["jobs"]
        return counts

    def content(self, run_id: str) -> RunContent:
        """Everything that TestGen has about a finished run, in one snapshot; ``KeyError`` when it has no such run.

        Results, profiles and anomalies are the run's. Definitions, scores and the system are what they are now.
        """
        with self._snapshot():
            found = self._headers_with_parameters([run_id])
            if not found:
                raise KeyError(run_id)
            ((run, parameters),) = found
            wanted = records.CONTENT_OF[run["kind"]]
            rows = {
                source.table.name: self._fetch(select(source, self._present), parameters)
                if source.table in wanted
                else ()
                for source in sources.content_sources(self._capabilities)
            }
        return RunContent(run, rows)

    @contextmanager
    def stored(self, run_ids: Sequence[str]) -> "Iterator[tuple[StoredRun, ...]]":
        """Some finished runs, to be read row by row while the context lasts, all in one snapshot.

        However many rows they have, they take no memory. Runs that are gone are left out.
        """
        with self._snapshot():
            yield tuple(
                StoredRun(run, partial(self._copy, parameters))
                for run, parameters in self._headers_with_parameters(run_ids)
            )

    def sizes(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """How many rows the runs have in the tables that can be big, by run and table; counted, not read."""
        statement = sources.sizes(self._capabilities)
        found = self._rows(statement, {"jobs": list(run_ids)})
        return {row["run_id"]: {name: row[name] for name in row if name != "run_id"} for row in found}

    def outcomes(self, run_ids: Sequence[str]) -> tuple[Row, ...]:
        """What each test came to in some test runs: ``test_definition_id``, ``table_name``, ``column_names``,
        ``test_type``, and lists of one length and in no order: ``places`` (1 for the first of ``run_ids``),
        ``statuses``, ``measures``.
        """
        return self._rows(sources.outcomes(self._capabilities), {"jobs": list(run_ids)}) if run_ids else ()

    def queued(
        self, run_id: str, limit: int, *, offset: int = 0, without: Collection[str] = ()
    ) -> tuple[Row, ...]:
        """Results of a test run that wait for an export: rows of ``dq_test_results`` with ``sources.EXPORTED``.

        They have an order, by which ``offset`` and ``limit`` go; ``without`` are ids of some to leave out.
        """
        source = next(
            source
            for source in sources.content_sources(self._capabilities)
            if source.table is records.TEST_RESULTS
        )
        statement = select(source, self._present, and_where=sources.QUEUED, more=sources.EXPORTED)
        with self._snapshot():
            for _, parameters in self._headers_with_parameters([run_id]):
                return self._fetch(
                    f"{statement} LIMIT %(limit)s OFFSET %(offset)s",
                    {**parameters, "without": list(without), "limit": limit, "offset": offset},
                )
        return ()

    def queued_counts(self) -> Mapping[str, int]:
        """How many results of finished test runs wait for an export, by run."""
        found = self._rows(sources.queued(self._capabilities), {})
        return {row["run_id"]: row["results"] for row in found}

    def export_subjects(self) -> tuple[Row, ...]:
        """What an export says about table groups, one row a suite: see ``sources.EXPORT_SUBJECTS``."""
        return self._rows(sources.EXPORT_SUBJECTS, {})

    def observability(self) -> tuple[tuple[str, str | None, str | None], ...]:
        """What TestGen's projects say about DataOps Observability: project, URL, and key, a secret in clear."""
        found = self._rows(
            "SELECT project_code::text, NULLIF(observability_api_url, '') AS url,"
            " NULLIF(observability_api_key, '')::text AS key FROM projects ORDER BY 1",
            {},
        )
        return tuple((row["project_code"], row["url"], row["key"]) for row in found)

    def _headers_with_parameters(self, run_ids: Sequence[str]) -> tuple[tuple[Row, Mapping[str, Any]], ...]:
        """Rows of ``dq_runs``, the oldest first, each with the parameters of its content's sources."""
        more = {
            "own_run_": f"{sources.own_run_id(self._capabilities)}::text",
            "suite_": "s.id::text",
        }
        statement = select(self._run_source, self._present, and_where="j.id = ANY(%(jobs)s::uuid[])", more=more)
        headers = []
        for found in reversed(self._fetch(statement, {"jobs": list(run_ids)})):
            run = dict(found)
            parameters = {
                "job": run["run_id"],
                "own_run": run.pop("own_run_"),
                "test_suite_id": run.pop("suite_"),
                "project_code": run["system"],
                "table_groups_id": run["table_groups_id"],
            }
            headers.append((run, parameters))
        return tuple(headers)

    def _copy(self, parameters: Mapping[str, Any], table: Table) -> Iterator[bytes]:
        source = next(source for source in sources.content_sources(self._capabilities) if source.table is table)
        # COPY takes no parameters: this cursor puts them into the text, quoted.
        with psycopg.ClientCursor(self._connection) as cursor:
            statement = copy(source, self._present).encode()
            block = bytearray()
            with cursor.copy(statement, {"stack": self._stack, **parameters}) as rows:
                for row in rows:
                    block += row
                    if len(block) >= _BLOCK_BYTES:
                        yield bytes(block)
                        block.clear()
            if block:
                yield bytes(block)

    def definitions(self, test_suite_id: str) -> tuple[Row, ...]:
        """The test definitions of a suite as they are now; ``run_id`` is NULL."""
        source = next(
            source
            for source in sources.content_sources(self._capabilities)
            if source.table is records.TEST_DEFINITIONS
        )
        return self._rows(select(source, self._present), {"job": None, "test_suite_id": test_suite_id})

    def judgements(self, test_suite_id: str) -> tuple[Row, ...]:
        """How the tests of a suite are judged: ``id``, ``severity`` (their own or inherited), ``dq_dimension``."""
        return self._rows(
            # As TestGen decides when it judges results (5.134, update_test_results.sql).
            "SELECT d.id::text AS id, t.dq_dimension,"
            " COALESCE(d.severity, s.severity, t.default_severity) AS severity"
            " FROM test_definitions d JOIN test_suites s ON s.id = d.test_suite_id"
            " LEFT JOIN test_types t ON t.test_type = d.test_type"
            " WHERE d.test_suite_id = %(suite)s::uuid",
            {"suite": test_suite_id},
        )

    def suites(self, name: str) -> tuple[Row, ...]:
        """Test suites by name or by the beginning of their id: ``system``, ``test_suite``, ``test_suite_id``."""
        return self._rows(
            "SELECT project_code AS system, test_suite, id::text AS test_suite_id FROM test_suites"
            " WHERE test_suite = %(name)s OR starts_with(id::text, %(id)s)"
            ' ORDER BY project_code COLLATE "C", test_suite COLLATE "C", id',
            {"name": name, "id": name.lower()},
        )

    @cached_property
    def _run_source(self) -> Source:
        return sources.run_source(self._capabilities)

    @cached_property
    def _present(self) -> Present:
        """Columns of the metadata tables. The schema is the one that the search path finds first."""
        present: dict[str, dict[str, str]] = {}
        for row in self._fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema()",
            {},
        ):
            present.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
        return present

    def _rows(self, statement: str, parameters: Mapping[str, Any]) -> tuple[Row, ...]:
        with self._snapshot():
            return self._fetch(statement, parameters)

    def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> tuple[Row, ...]:
        common = {
            "stack": self._stack,
            "version": self._capabilities.version,
            "final": list(self._capabilities.final_statuses),
            "job_keys": list(sources.KINDS),
        }
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return tuple(cursor.execute(statement.encode(), {**common, **parameters}).fetchall())

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._connection.rollback()
        self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield
        finally:
            self._connection.rollback()
