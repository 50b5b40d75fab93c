"""What the newest runs came to, as far as rules ask for it: three statements, however many suites there are."""

# ruff: noqa: S608 - SQL text out of names that are written here; values travel as parameters

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dqctl.alerts.evaluation import Finding, Subject
from dqctl.alerts.rules import OF_TESTS, Rule, When
from dqctl.records import place_of
from dqctl.testgen.alerting import store
from dqctl.testgen.capabilities import Capabilities

Connection = psycopg.Connection[tuple[Any, ...]]
Quote = Callable[[str, str, str | None], str]
"""What of a result's message may be passed on, by type of test, status and message."""

_KINDS = {"run-tests": "test", "run-profile": "profile", "run-test-generation": "generate"}


@dataclass
class _Runs:
    """The runs of one kind of a suite or table group, the newest first."""

    newest: Mapping[str, Any]
    completed: list[Mapping[str, Any]] = field(default_factory=list)


def read(
    connection: Connection, version: Capabilities, rules: Sequence[Rule], quote: Quote
) -> tuple[Subject, ...]:
    """Every suite and table group that ever ran, and every suite that never did; in the transaction that is open.

    Monitors are TestGen's own business and left out.
    """
    asked = {when for rule in rules for when in rule.when}
    times = max((rule.times for rule in rules if When.REPEATED in rule.when), default=1)
    depth = max([times, *(rule.over + 1 for rule in rules if When.SCORE_DROP in rule.when)])
    with connection.cursor(row_factory=dict_row) as cursor:
        suites = cursor.execute(_suites(version).encode()).fetchall()
        seen = store.seen(connection) if When.RUN_LATE in asked else {}
        rows = cursor.execute(
            _runs(version).encode(),
            {"final": list(version.final_statuses), "job_keys": list(_KINDS), "depth": depth},
        ).fetchall()
        known = {row["suite_id"] for row in suites}
        runs = _by_subject(row for row in rows if row["suite_id"] is None or row["suite_id"] in known)
        judged = {
            each["own_id"]: (place, key)
            for key, of in runs.items()
            for place, each in enumerate(of.completed[:times])
            if each["own_id"] is not None
        }
        results: Sequence[Mapping[str, Any]] = ()
        if asked & OF_TESTS and judged:
            results = cursor.execute(_results().encode(), {"runs": list(judged)}).fetchall()
    findings = _findings(results, judged, quote)
    subjects = [
        replace(_subject(key, of, findings.get(key, ()), quote), since=seen.get(key[2]))
        for key, of in runs.items()
    ]
    tested = {key[2] for key in runs if key[0] == "test"}
    never = [
        Subject("test", row["system"], row["table_group"], row["suite"], since=seen.get(row["suite_id"]))
        for row in suites
        if row["suite_id"] not in tested
    ]
    return (*subjects, *never)


_Key = tuple[str, Any, Any]  # kind, table group, suite


def _by_subject(rows: Iterable[Mapping[str, Any]]) -> dict[_Key, _Runs]:
    found: dict[_Key, _Runs] = {}
    for row in rows:
        kind = _KINDS[row["job_key"]]
        if row["group_id"] is None or (kind != "profile" and row["suite_id"] is None):
            continue  # its suite or table group is gone
        runs = found.setdefault((kind, row["group_id"], row["suite_id"]), _Runs(row))
        if row["status"] == "completed":
            runs.completed.append(row)
    return found


def _subject(key: _Key, runs: _Runs, findings: Sequence[Finding], quote: Quote) -> Subject:
    newest, completed = runs.newest, runs.completed
    last = completed[0] if completed else None
    return Subject(
        kind=key[0],
        system=newest["system"],
        table_group=newest["table_group"] or "",
        suite=newest["suite"] or "",
        run_id=newest["run_id"],
        status=newest["status"],
        error=quote("", "Error", newest["error_message"]),
        ended_at=_utc(newest["completed_at"]),
        last_success=_utc(newest["last_success"]),
        completed_id=last["run_id"] if last else "",
        completed_at=_utc(last["completed_at"]) if last else None,
        scores=tuple(row["score"] for row in completed),
        findings=findings,
    )


def _findings(
    rows: Iterable[Mapping[str, Any]], judged: Mapping[Any, tuple[int, _Key]], quote: Quote
) -> dict[_Key, list[Finding]]:
    """Of each suite what did not pass in its newest run, and for how many runs in a row."""

    def test(row: Mapping[str, Any]) -> tuple[Any, ...]:
        # TestGen makes generated tests anew, with other ids, but never two of one type in one place.
        own = "" if row["auto_gen"] else str(row["test_definition_id"] or "")
        return (str(judged[row["test_run_id"]][1]), *place_of(row), own, row["result_status"])

    found: dict[_Key, list[Finding]] = {}
    for (_, table, column, test_type, own, status), same in groupby(sorted(rows, key=test), test):
        by_place = {judged[row["test_run_id"]][0]: row for row in same}
        newest = by_place.get(0)
        if newest is None or not newest["is_active"]:
            continue
        times = next(place for place in range(len(by_place) + 1) if place not in by_place)
        message = quote(test_type, status, newest["result_message"])
        found.setdefault(judged[newest["test_run_id"]][1], []).append(
            Finding(table, column, test_type, own, status, times, message, newest["test_description"] or "")
        )
    return found


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def _suites(version: Capabilities) -> str:
    return (
        "SELECT x.id AS suite_id, x.project_code AS system, g.table_groups_name AS table_group,"
        " x.test_suite AS suite"
        f" FROM (SELECT * FROM test_suites WHERE {version.regular_suites}) x"
        " JOIN table_groups g ON g.id = x.table_groups_id"
    )


def _runs(version: Capabilities) -> str:
    """SQL: of each kind of run and what it is about the newest one, and the newest completed ones."""
    own = "id" if version.run_id_is_job_id else "job_execution_id"
    about = "PARTITION BY j.job_key, s.id, g.id"
    newest_first = "ORDER BY j.completed_at DESC NULLS LAST, j.created_at DESC, j.id"
    return (
        "SELECT * FROM (SELECT j.job_key, j.id::text AS run_id, tr.id AS own_id, j.status, j.completed_at,"
        " j.error_message, j.project_code AS system, g.id AS group_id, g.table_groups_name AS table_group,"
        " s.id AS suite_id, s.test_suite AS suite, tr.dq_score_test_run::float8 AS score,"
        f" MAX(j.completed_at) FILTER (WHERE j.status = 'completed') OVER ({about}) AS last_success,"
        f" ROW_NUMBER() OVER ({about} {newest_first}) AS place,"
        f" ROW_NUMBER() OVER ({about}, j.status {newest_first}) AS place_of_status"
        f" FROM job_executions j LEFT JOIN test_runs tr ON tr.{own} = j.id"
        f" LEFT JOIN profiling_runs pr ON pr.{own} = j.id"
        " LEFT JOIN test_suites s ON s.id::text = COALESCE(tr.test_suite_id::text, j.kwargs ->> 'test_suite_id')"
        " LEFT JOIN table_groups g ON g.id::text ="
        " COALESCE(pr.table_groups_id::text, s.table_groups_id::text, j.kwargs ->> 'table_group_id')"
        " WHERE j.status = ANY(%(final)s) AND j.job_key = ANY(%(job_keys)s)) x"
        " WHERE place = 1 OR (status = 'completed' AND place_of_status <= %(depth)s) ORDER BY place"
    )


def _results() -> str:
    """SQL: what did not pass in ``runs`` and was not waved through, and whether the test is still there."""
    return (
        "SELECT r.test_run_id, r.test_definition_id, r.table_name, r.column_names, r.test_type, r.result_status,"
        " r.result_message, r.test_description, r.auto_gen,"
        # Made anew since then: another one stands in its place.
        " COALESCE(d.test_active = 'Y', EXISTS (SELECT FROM test_definitions n WHERE r.auto_gen"
        " AND n.test_suite_id = r.test_suite_id AND n.test_type = r.test_type AND n.test_active = 'Y'"
        " AND n.table_name IS NOT DISTINCT FROM r.table_name"
        " AND n.column_name IS NOT DISTINCT FROM r.column_names)) AS is_active"
        " FROM test_results r LEFT JOIN test_definitions d ON d.id = r.test_definition_id"
        " WHERE r.test_run_id = ANY(%(runs)s) AND r.result_status IN ('Failed', 'Warning', 'Error')"
        " AND COALESCE(r.disposition, '') NOT IN ('Dismissed', 'Inactive')"
    )
