"""The reader on the metadata of real runs of every version, in a real PostgreSQL."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from corpora import VERSIONS, assert_rows, corpus, own_id, restore
from dqctl import records
from dqctl.alerts.evaluation import Facts, evaluate
from dqctl.alerts.rules import Rule, When
from dqctl.errors import UsageError
from dqctl.progress import silent
from dqctl.records import RunContent
from dqctl.report.comparison import Change
from dqctl.runtime import open_runtime
from dqctl.services import results
from dqctl.services.reports import comparison_of, report_of
from dqctl.settings import Settings
from dqctl.tables import encode
from dqctl.testgen.alerting import facts
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.reader import MetadataReader

pytestmark = pytest.mark.local

Connect = Callable[[str], "psycopg.Connection[Any]"]


@pytest.fixture
def connect(installed_stack: Settings) -> Iterator[Connect]:
    """Connects to the corpus of a version, restored when first asked for."""
    postgres = open_runtime(installed_stack, silent).postgres
    opened: list[psycopg.Connection[Any]] = []

    def to(version: str) -> "psycopg.Connection[Any]":
        name = f"corpus_{version.replace('.', '_')}"
        with postgres.connect("postgres", autocommit=True) as admin:
            made = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if not made:
                admin.execute(f'CREATE DATABASE "{name}"'.encode())
        connection = postgres.connect(name)
        opened.append(connection)
        if not made:
            restore(corpus(version), connection)
        return connection

    yield to
    for connection in opened:
        connection.close()


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reader(connect: Connect, version: str) -> MetadataReader:
    return MetadataReader(connect(version), capabilities(version), "lab")


def by_kind(reader: MetadataReader) -> dict[tuple[str, str], list[RunContent]]:
    found: dict[tuple[str, str], list[RunContent]] = {}
    for run in reader.finished_runs():
        found.setdefault((run.kind, run.status), []).append(reader.content(run.run_id))
    return found


def test_all_versions_tell_the_same_story(reader: MetadataReader) -> None:
    assert [(run.kind, run.status) for run in reader.finished_runs()] == [
        ("profile", "completed"),
        ("generate", "completed"),
        ("test", "completed"),
        ("test", "completed"),
        ("profile", "error"),
        ("test", "error"),
        ("test", "canceled"),
    ]


def test_the_newest_runs_of_each_suite_and_table_group_are_found(reader: MetadataReader) -> None:
    headers = reader.headers(limit=1000)
    expected = {(run["kind"], run["test_suite_id"], run["table_groups_id"]): run for run in reversed(headers)}
    found = reader.newest(100)
    assert [each.run["run_id"] for each in found] == [
        run["run_id"] for run in headers if run in list(expected.values())
    ]
    for each in found:
        same = [
            run
            for run in headers
            if all(run[key] == each.run[key] for key in ("kind", "test_suite_id", "table_groups_id"))
        ]
        good = [run["ended_at"] for run in same if run["status"] == "completed"]
        last = each.last_success.replace(tzinfo=UTC) if each.last_success else None
        assert last == max(good, default=None)
    assert {each.last_success is None for each in found} == {True, False}
    assert reader.newest(1) == found[:1]
    assert reader.underway() == {}


def test_results_are_whole_errored_tests_included(reader: MetadataReader, version: str) -> None:
    one = corpus(version)
    types = one.by("test_types", "test_type")
    for content in by_kind(reader)["test", "completed"]:
        rows = content.rows["dq_test_results"]
        run = own_id(one, "test_runs", content.run["run_id"])
        assert assert_rows(one, rows, records.TEST_RESULTS, "test_results", {"test_run_id": run}) >= 15
        (errored,) = [row for row in rows if row["result_status"] == "Error"]
        assert errored["result_code"] is None
        assert "nowhere" in errored["result_message"]
        for row in rows:
            assert (row["stack"], row["run_id"], row["system"]) == ("lab", content.run["run_id"], "SHOP")
            assert (row["test_suite"], row["table_group"]) == ("shop suite", "shop")
            for name in ("test_name_short", "dq_dimension", "measure_uom"):
                assert row[name] == types[row["test_type"]][name]
        assert rows == tuple(
            sorted(rows, key=lambda row: [(row[name] is None, (row[name] or "").encode()) for name in ORDER])
        )


ORDER = ("schema_name", "table_name", "column_names", "test_type", "id")


def test_definitions_are_whole_whatever_a_person_wrote(reader: MetadataReader, version: str) -> None:
    one = corpus(version)
    suite = one.by("test_suites", "test_suite")["shop suite"]["id"]
    profile = next(run.run_id for run in reader.finished_runs() if run.kind == "profile")
    for kind in (("generate", "completed"), ("test", "completed"), ("test", "canceled")):
        for content in by_kind(reader)[kind]:
            rows = content.rows["dq_test_definitions"]
            assert (
                assert_rows(one, rows, records.TEST_DEFINITIONS, "test_definitions", {"test_suite_id": suite}) > 15
            )
            assert {row["profile_run_id"] for row in rows} == {None, profile}
            assert any(row["test_description"] == 'it\'s "odd"\nline two é 😀' for row in rows)


def test_profiles_and_anomalies_are_whole(reader: MetadataReader, version: str) -> None:
    one = corpus(version)
    types = one.by("profile_anomaly_types", "id")
    (content,) = by_kind(reader)["profile", "completed"]
    run = own_id(one, "profiling_runs", content.run["run_id"])
    columns = content.rows["dq_profile_columns"]
    assert assert_rows(one, columns, records.PROFILE_COLUMNS, "profile_results", {"profile_run_id": run}) == 17
    anomalies = content.rows["dq_anomalies"]
    assert assert_rows(one, anomalies, records.ANOMALIES, "profile_anomaly_results", {"profile_run_id": run}) >= 4
    for row in anomalies:
        for name in ("anomaly_type", "anomaly_name", "issue_likelihood", "suggested_action", "dq_dimension"):
            assert row[name] == types[row["anomaly_id"]][name]
    texts = [row for row in columns if row["general_type"] == "A" and row["record_ct"]]
    assert texts
    assert all(
        row["frequent_patterns"] or row["frequent_values"] for row in texts if row["distinct_value_ct"] < 50
    )


def test_headers_count_what_is_there(reader: MetadataReader, version: str) -> None:
    for contents in by_kind(reader).values():
        for content in contents:
            run = content.run
            assert tuple(run) == records.RUNS.column_names
            statuses = Counter(row["result_status"] for row in content.rows["dq_test_results"])
            if run["kind"] == "test":
                assert run["test_ct"] == statuses.total()
                assert (run["passed_ct"], run["error_ct"]) == (statuses["Passed"], statuses["Error"])
            else:
                assert run["test_ct"] is None
            assert run["anomaly_ct"] == (len(content.rows["dq_anomalies"]) if run["kind"] == "profile" else None)
            assert run["testgen_version"] == version
            assert run["connection"] in ("shop", "broken")
            assert run["ended_at"].utcoffset().total_seconds() == 0
            assert (run["started_at"] is None) == (run["status"] == "canceled")


def test_a_failed_run_says_why_and_to_whom_it_belongs(reader: MetadataReader) -> None:
    for kind in ("profile", "test"):
        (content,) = by_kind(reader)[kind, "error"]
        assert "connection" in content.run["error_message"]
        assert content.run["table_group"] == "broken"


def test_system_has_every_suite_and_the_group_without_one(reader: MetadataReader) -> None:
    for contents in by_kind(reader).values():
        for content in contents:
            rows = content.rows["dq_systems"]
            assert [(row["table_group"], row["test_suite"]) for row in rows] == [
                ("broken", "broken suite"),
                ("no suite", None),
                ("shop", "shop suite"),
            ]
            assert len({row["id"] for row in rows}) == 3
            assert {row["system_name"] for row in rows} == {"Tom's shop"}
            assert not any("pw" in name or "password" in name or "key" in name for row in rows for name in row)


def test_content_is_one_snapshot(connect: Connect, version: str) -> None:
    """What another session commits while a run is read does not get in."""
    writer, watcher = connect(version), connect(version)
    reader = MetadataReader(watcher, capabilities(version), "lab")
    run_id = next(run.run_id for run in reader.finished_runs() if (run.kind, run.status) == ("test", "completed"))
    before = reader.content(run_id)

    class Meddling:
        """Adds a result as soon as the run's header was read."""

        def __init__(self, connection: "psycopg.Connection[Any]") -> None:
            self.connection = connection
            self.cursors = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

        def cursor(self, **arguments: Any) -> Any:
            self.cursors += 1
            if self.cursors == 3:
                writer.execute("UPDATE test_results SET disposition = 'Dismissed'")
                writer.commit()
            return self.connection.cursor(**arguments)

    try:
        meddling = Meddling(watcher)
        found = MetadataReader(meddling, capabilities(version), "lab").content(run_id)  # type: ignore[arg-type]
        assert meddling.cursors > 3
        assert found == before
        assert reader.content(run_id) != before
    finally:
        writer.execute("UPDATE test_results SET disposition = NULL")
        writer.commit()


def test_values_that_delta_has_no_room_for_are_null_and_the_rest_survives(connect: Connect) -> None:
    connection = connect("5.134.0")
    reader = MetadataReader(connection, capabilities("5.134.0"), "lab")
    run_id = next(run.run_id for run in reader.finished_runs() if run.kind == "profile")
    victim = reader.content(run_id).rows["dq_profile_columns"][0]
    for date, number, expected in (
        ("infinity", "NaN", (None, None)),
        ("0044-03-15 BC", "0", (None, Decimal(0))),
        ("10000-01-01", "1e37", (None, Decimal(10) ** 37)),
        ("9999-12-31 23:59:59.999999", "-99999999999999999999999999999999999999",
         (datetime.fromisoformat("9999-12-31T23:59:59.999999+00:00"), Decimal("-" + "9" * 38))),
    ):  # fmt: skip
        connection.execute(
            "UPDATE profile_results SET max_date = %s::timestamp, multiset_hash = %s::numeric WHERE id = %s::uuid",
            (date, number, victim["id"]),
        )
        connection.commit()
        row = next(row for row in reader.content(run_id).rows["dq_profile_columns"] if row["id"] == victim["id"])
        assert (row["max_date"], row["multiset_hash"]) == expected
    connection.execute(
        "UPDATE profile_results SET max_date = %s, multiset_hash = %s WHERE id = %s::uuid",
        (victim["max_date"] and victim["max_date"].replace(tzinfo=None), victim["multiset_hash"], victim["id"]),
    )
    connection.commit()


def test_unknown_run_is_a_key_error(reader: MetadataReader) -> None:
    with pytest.raises(KeyError):
        reader.content("00000000-0000-4000-8000-000000000000")


def test_latest_run_prefixes_and_suites_are_found(reader: MetadataReader) -> None:
    assert results.run(reader).run["status"] == "canceled"
    profile = results.run(reader, kind="profile")
    assert (profile.run["kind"], profile.run["status"]) == ("profile", "error")
    assert results.run(reader, profile.run["run_id"][:8].upper()).run == profile.run
    assert len(results.runs(reader)) == 7
    assert len(results.runs(reader, suite="shop suite", kind="test")) == 3
    assert [row["status"] for row in results.runs(reader, limit=2)] == ["canceled", "error"]
    assert len(results.definitions(reader, "shop suite")) > 15


@pytest.mark.parametrize("wanted", ["ffffffff-ffff", "'; DROP TABLE test_runs; --", "%"])
def test_a_run_that_is_not_there_is_a_usage_error(reader: MetadataReader, wanted: str) -> None:
    with pytest.raises(UsageError, match="there is no finished run"):
        results.run(reader, wanted)


def test_a_suite_that_is_not_there_is_a_usage_error(reader: MetadataReader) -> None:
    with pytest.raises(UsageError, match="there is no test suite 'nope'"):
        results.definitions(reader, "nope")


def test_history_ends_with_the_run_that_is_looked_at(reader: MetadataReader) -> None:
    tests = [run for run in reader.finished_runs() if (run.kind, run.status) == ("test", "completed")]
    second = reader.content(tests[1].run_id)
    assert [row["run_id"] for row in results.history(reader, second)] == [tests[1].run_id, tests[0].run_id]
    assert [row["run_id"] for row in results.history(reader, second, limit=1)] == [tests[1].run_id]
    profile = results.run(reader, kind="profile")
    profiles = results.history(reader, profile)
    assert profiles[0] == {**profile.run}
    assert {(row["kind"], row["table_groups_id"]) for row in profiles} == {
        ("profile", profile.run["table_groups_id"])
    }
    assert results.history(reader, results.run(reader, kind="generate")) == ()


def test_outcomes_of_runs_are_those_of_their_results(reader: MetadataReader) -> None:
    ids = [run.run_id for run in reader.finished_runs() if (run.kind, run.status) == ("test", "completed")]
    wanted = Counter(
        (row["test_definition_id"], row["test_type"], place, row["result_status"], row["result_measure"])
        for place, run_id in enumerate(ids, 1)
        for row in reader.content(run_id).rows["dq_test_results"]
    )
    found = Counter(
        (row["test_definition_id"], row["test_type"], *outcome)
        for row in reader.outcomes(ids)
        for outcome in zip(row["places"], row["statuses"], row["measures"], strict=True)
    )
    assert len(ids) == 2
    assert found == wanted
    assert reader.outcomes([]) == ()


def test_report_has_the_past_of_its_tests_and_finds_the_run_before(reader: MetadataReader) -> None:
    first, second = (run for run in reader.finished_runs() if (run.kind, run.status) == ("test", "completed"))
    report = report_of(reader, second.run_id)
    assert report.past_runs == (first.run_id,)
    before = {row["test_definition_id"]: row for row in reader.content(first.run_id).rows["dq_test_results"]}
    for result in report.results:
        known = before.get(result.definition_id)
        assert result.past == (known["result_status"][0] if known else "-")
    assert report_of(reader, first.run_id).past_runs == ()
    found = comparison_of(reader, second.run_id, "previous")
    assert (found.before.run_id, found.after.run_id) == (first.run_id, second.run_id)
    assert found.before_tally.total + found.counts[Change.NEW] == len(found.pairs)
    with pytest.raises(UsageError, match="no run of the suite completed before"):
        comparison_of(reader, first.run_id, "previous")
    profile = next(run for run in reader.finished_runs() if (run.kind, run.status) == ("profile", "completed"))
    with pytest.raises(UsageError, match="only test runs"):
        comparison_of(reader, second.run_id, profile.run_id)


ODD_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["", '"', '""', "\\N", "\\.", "\n", "\r\n", ",", "NULL", "t", " ", 'a,b\nc"d', "'", "é😀\u2028"]
)


@pytest.fixture(scope="module")
def own_copy(installed_stack: Settings) -> Iterator["psycopg.Connection[Any]"]:
    """A corpus that may be changed."""
    postgres = open_runtime(installed_stack, silent).postgres
    with postgres.connect("postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE corpus_to_change")
    with postgres.connect("corpus_to_change") as connection:
        restore(corpus("5.134.0"), connection)
        yield connection


@hypothesis_settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    text=st.none() | ODD_TEXT,
    number=st.none() | st.floats(),
    count=st.none() | st.integers(-(2**63), 2**63 - 1),
    total=st.none() | st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-8")),
    date=st.none() | st.datetimes(),
)
def test_whatever_is_stored_is_read_by_the_stream_as_it_is(
    own_copy: "psycopg.Connection[Any]",
    text: str | None,
    number: float | None,
    count: int | None,
    total: Decimal | None,
    date: datetime | None,
) -> None:
    """The way of a publish from PostgreSQL to Arrow."""
    connection = own_copy
    reader = MetadataReader(connection, capabilities("5.134.0"), "lab")
    run_id = next(
        run.run_id for run in reader.finished_runs() if (run.kind, run.status) == ("profile", "completed")
    )
    connection.execute(
        "UPDATE profile_results SET min_text = %s, avg_value = %s, value_ct = %s, sum_value = %s, min_date = %s"
        " WHERE profile_run_id = %s",
        (text, number, count, total, date, run_id),
    )
    connection.commit()
    with reader.stored([run_id]) as (stored,):
        batches = [
            encode.from_csv(records.PROFILE_COLUMNS, block) for block in stored.csv(records.PROFILE_COLUMNS)
        ]
    (row, *others) = [row for batch in batches for row in batch.to_pylist()]
    assert len(others) == 16
    assert (row["min_text"], row["value_ct"], row["sum_value"]) == (text, count, total)
    assert row["avg_value"] == number or (
        number is not None and math.isnan(number) and math.isnan(row["avg_value"])
    )
    assert row["min_date"] == (date and date.replace(tzinfo=UTC))


def test_alerts_are_about_the_same_in_every_version_and_about_what_is_stored(
    reader: MetadataReader, connect: Connect, version: str
) -> None:
    rule = Rule("all", tuple(set(When) - {When.PUBLISH_FAILING}), times=2, every=3600.0)
    connection = connect(version)
    subjects = facts.read(connection, capabilities(version), (rule,), lambda _, __, message: message or "")
    ended = max(each.ended_at for each in subjects if each.ended_at)
    now = ended + timedelta(days=1)
    found = evaluate((rule,), Facts("lab", now, subjects, declared={"all": ended})).values()
    places = Counter((each.labels["alertname"], each.labels.get("suite", "")) for each in found)
    # Two runs with the same outcome, one that was canceled, and a connection that does not work.
    expected = {
        ("DataQualityRunFailed", ""), ("DataQualityRunFailed", "broken suite"),
        ("DataQualityRunFailed", "shop suite"),
        ("DataQualityRunLate", "broken suite"), ("DataQualityRunLate", "shop suite"),
        ("DataTestError", "shop suite"), ("DataTestWarning", "shop suite"),
    }  # fmt: skip
    if version == "5.33.3":  # its LOV_Match fails on the data that the others pass
        expected |= {("DataTestFailed", "shop suite"), ("DataTestFailsRepeatedly", "shop suite")}
    assert dict(places) == dict.fromkeys(expected, 1)

    runs = by_kind(reader)
    newest = runs["test", "completed"][-1]
    stored = {row["test_definition_id"]: row for row in newest.rows["dq_test_results"]}
    own = {each.labels["test"]: each for each in found if "test" in each.labels}
    assert own
    for test, alert in own.items():
        assert stored[test]["result_message"] == alert.annotations.get("message")
        assert alert.run_id == newest.run["run_id"]
