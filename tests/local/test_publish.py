"""Publishing the results of real runs into a real local workspace, also while things break."""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from corpora import VERSIONS, corpus, restore
from dqctl import records
from dqctl.databricks.failures import StatementFailed, Unreachable
from dqctl.databricks.target import PersonalToken, ServicePrincipal, Target
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import DatabricksRefused, NotPublished
from dqctl.localworkspace import client, control
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.postgres import Postgres
from dqctl.services import delivery, publish, tables
from dqctl.services.explain import explain
from dqctl.services.target import find_endpoint, find_target
from dqctl.services.waiting import ALL
from dqctl.settings import Settings
from dqctl.tables import ddl
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ledger import Ledger
from dqctl.testgen.reader import MetadataReader
from publishing import Stack, Watched, assert_exactly_once, everything, publish_to, published, running, versions

pytestmark = pytest.mark.local

_numbers = itertools.count()


@pytest.fixture(scope="module")
def postgres(installed_stack: Settings) -> Postgres:
    return open_runtime(installed_stack, silent).postgres


@pytest.fixture(scope="module")
def make_stack(postgres: Postgres) -> Callable[[str], Stack]:
    made: set[str] = set()

    def make(version: str) -> Stack:
        template = f"publish_{version.replace('.', '_')}"
        database = f"{template}_{next(_numbers)}"
        with postgres.connect("postgres", autocommit=True) as admin:
            if version not in made:
                admin.execute(f'CREATE DATABASE "{template}"'.encode())
                with postgres.connect(template) as connection:
                    restore(corpus(version), connection)
                made.add(version)
            admin.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"'.encode())
        return Stack(version, postgres, database)

    return make


@pytest.fixture
def stack(make_stack: Callable[[str], Stack]) -> Stack:
    return make_stack("5.134.0")


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running(tmp_path_factory.mktemp("workspace")) as data_dir:
        yield data_dir


@pytest.fixture
def own_workspace(tmp_path: Path) -> Iterator[Path]:
    """A workspace that the test may kill."""
    with running(tmp_path / "workspace") as data_dir:
        yield data_dir


def settings_for(workspace: Path, home: Path, **values: Any) -> Settings:
    return Settings(home=home, workspace=workspace, schema_name=f"dq_{next(_numbers)}", **values)


@pytest.fixture
def settings(shared_workspace: Path, tmp_path: Path) -> Settings:
    """A schema of the test's own."""
    return settings_for(shared_workspace, tmp_path)


def test_a_service_principal_that_gets_no_token_is_refused(
    shared_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = find_endpoint(shared_workspace)
    monkeypatch.setenv("HTTPS_PROXY", endpoint.proxy_url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(endpoint.ca_file))
    target = Target(
        endpoint.host,
        endpoint.http_path,
        "main",
        "dq",
        ServicePrincipal("nobody-we-know", SecretStr("a-secret-that-is-wrong")),
        ca_file=endpoint.ca_file,
        patience=5.0,
    )
    with (
        Warehouse(target) as warehouse,
        pytest.raises(DatabricksRefused, match="no token: invalid_client") as said,
    ):
        warehouse.query("SELECT 1")
    assert "DATABRICKS_CLIENT_SECRET" in said.value.hint
    assert "a-secret-that-is-wrong" not in str(said.value)


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_testgen_stored_arrives_equal(
    version: str, make_stack: Callable[[str], Stack], settings: Settings
) -> None:
    stack = make_stack(version)
    report = publish.publish(settings, stack)
    assert [run.status for run in report.runs].count("completed") == 4
    assert_exactly_once(settings, stack)
    assert report.rows == {table.name: len(published(settings, table.name)) for table in records.TABLES}
    errored = [row for row in published(settings, "dq_test_results") if row["result_status"] == "Error"]
    assert len(errored) == 2
    assert {run["testgen_version"] for run in published(settings, "dq_runs")} == {version}


def test_publishing_again_writes_nothing_and_wakes_nobody(stack: Stack, settings: Settings) -> None:
    publish.publish(settings, stack)
    before = versions(settings)
    assert publish.publish(settings, stack).runs == ()
    assert versions(settings) == before

    def nobody() -> Warehouse:
        raise AssertionError("the warehouse was asked for")

    target = find_target(settings)
    with stack.metadata() as connection:
        reader = MetadataReader(connection, capabilities(stack.version), settings.stack)
        assert publish.publish_pending(nobody, target, reader, Ledger(connection)).runs == ()


def test_publishing_all_runs_once_more_leaves_the_same_rows(stack: Stack, settings: Settings) -> None:
    first = publish.publish(settings, stack)
    before = everything(settings)
    again = publish.publish(settings, stack, again=[run.run_id for run in first.runs])
    assert len(again.runs) == 7
    assert everything(settings) == before


def test_a_decision_that_a_person_took_later_is_published_when_asked_for(stack: Stack, settings: Settings) -> None:
    first = publish.publish(settings, stack)
    test_run = next(run.run_id for run in first.runs if (run.kind, run.status) == ("test", "completed"))
    stack.execute("UPDATE test_results SET disposition = 'Dismissed'")
    assert publish.publish(settings, stack).runs == ()
    publish.publish(settings, stack, again=[test_run])
    found = {row["run_id"]: row["disposition"] for row in published(settings, "dq_test_results")}
    assert found[test_run] == "Dismissed"
    assert set(found.values()) == {"Dismissed", None}


def test_runs_since_a_day_are_published_and_the_older_ones_wait(stack: Stack, settings: Settings) -> None:
    stack.execute("UPDATE job_executions SET completed_at = '2020-02-03 04:05' WHERE job_key <> 'run-tests'")
    noon = datetime(2020, 2, 3, 12, tzinfo=UTC)
    recent = publish.publish(settings, stack, since=noon)
    assert {run.kind for run in recent.runs} == {"test"}
    assert publish.publish(settings, stack, since=noon).runs == ()
    early = publish.publish(settings, stack, since=noon - timedelta(hours=8))
    assert {run.kind for run in early.runs} == {"profile", "generate"}
    everything_again = publish.publish(settings, stack, again=ALL, since=noon)
    assert [run.run_id for run in everything_again.runs] == [run.run_id for run in recent.runs]
    assert publish.publish(settings, stack).runs == ()


def test_explain_says_what_a_publish_then_runs_and_runs_nothing(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = explain(settings, stack)
    assert (first.runs, first.wakes, first.batches) == (7, 1, 1)
    assert sum(step.kind == "create table" for step in first.steps) == len(records.TABLES) + 1
    assert not tables.show(settings).home
    fresh = Watched(Warehouse(find_target(settings)))
    report = publish_to(stack, settings, lambda: fresh)
    assert first.rows == sum(report.rows.values())
    assert len(fresh.statements) == len(first.steps)
    stack.execute("DELETE FROM dqctl.published WHERE run_id IN (SELECT id FROM test_runs)")
    monkeypatch.setattr("dqctl.tables.shipment.INLINE_BYTES", 20_000)
    with Warehouse(find_target(settings)) as warehouse:
        warehouse.execute(f"CREATE VOLUME main.{settings.schema_name}.dqctl_staging")
    expected = explain(settings, stack)
    watched = Watched(Warehouse(find_target(settings)))
    publish_to(stack, settings, lambda: watched)
    # Tables are sent side by side: all that is told happens, the look first and the runs after the comparison.
    kinds = [kind_of(text) for text in watched.statements]
    assert sorted(kinds) == sorted(step.kind for step in expected.steps)
    assert kinds[0] == "look"
    assert [kind for kind in kinds if kind in ("insert", "compare")][-2:] == ["compare", "insert"]
    assert {"put", "insert", "remove", "look", "compare"} == {step.kind for step in expected.steps}
    inserts = [len(text.encode()) for text in watched.statements if text.startswith("INSERT")]
    assert expected.bytes > sum(inserts)
    nothing = explain(settings, stack)
    assert (nothing.wakes, nothing.steps) == (0, ())


def kind_of(statement: str) -> str:
    if statement.startswith("SELECT"):
        return "look" if "information_schema" in statement else "compare"
    return statement.split()[0].lower()


def test_init_again_runs_no_ddl(settings: Settings) -> None:
    made = tables.init(settings)
    assert len(made.statements) == 1 + len(records.TABLES) + 1 + len(ddl.VIEWS)
    before = versions(settings)
    again = tables.init(settings)
    assert again.statements == ()
    assert again.home == made.home
    assert all(table.exists and not table.missing for table in again.tables)
    assert versions(settings) == before


def test_show_of_a_workspace_without_any_table_says_what_would_be_made(
    own_workspace: Path, tmp_path: Path
) -> None:
    assert len(tables.show(settings_for(own_workspace, tmp_path)).statements) > 8


def test_show_starts_no_warehouse_and_says_what_unity_catalog_lists(settings: Settings) -> None:
    endpoint = find_endpoint(settings.workspace)  # type: ignore[arg-type]

    def state() -> str:
        return str(client.request(endpoint, "GET", "/api/2.0/sql/warehouses/local", None, 10)["state"])

    tables.init(settings)
    with Warehouse(find_target(settings)) as warehouse:
        place = f"main.{settings.schema_name}"
        warehouse.execute(f"CREATE OR REPLACE TABLE {place}.dq_scores (stack STRING, run_id STRING)")
        warehouse.execute(f"DROP TABLE {place}.dq_systems")
    awake = tables.show(settings)
    nothing = replace(awake, target="", home=None, tables=())
    for values in ({}, {"schema_name": "dq_nowhere"}):
        client.request(endpoint, "POST", "/api/2.0/sql/warehouses/local/stop", {}, 10)
        seen = tables.show(settings.model_copy(update=values))
        assert (seen.asleep, state()) == ("local", "STOPPED")
        if not values:
            assert replace(seen, asleep=None, home=awake.home) == awake
            assert [each.name for each in seen.tables if each.missing or not each.exists] == [
                "dq_scores",
                "dq_systems",
            ]
        else:
            assert not any(each.exists for each in seen.tables)
            assert seen.statements[0].startswith("CREATE SCHEMA")
    assert replace(tables.show(settings, start_warehouse=True), tables=(), target="", home=None) == nothing
    assert state() == "RUNNING"


def test_show_changes_nothing(settings: Settings) -> None:
    shown = tables.show(settings)
    assert shown.home is None
    assert not any(table.exists for table in shown.tables)
    assert len(shown.statements) > 8
    assert settings.workspace
    assert not (settings.workspace / "tables" / "main" / settings.schema_name).exists()


def test_tables_of_an_older_version_are_migrated_and_foreign_columns_kept(
    stack: Stack, settings: Settings
) -> None:
    with Warehouse(find_target(settings)) as warehouse:
        place = f"main.{settings.schema_name}"
        older = replace(
            records.TEST_RESULTS,
            columns=tuple(c for c in records.TEST_RESULTS.columns if c.name not in ("severity", "dq_record_ct")),
        )
        warehouse.execute(f"CREATE SCHEMA {place}")
        warehouse.execute(ddl.create_table(tables.Place("main", settings.schema_name), older))
        warehouse.execute(f"ALTER TABLE {place}.dq_test_results ADD COLUMNS (team STRING)")
    publish.publish(settings, stack)
    rows = published(settings, "dq_test_results")
    assert {row["team"] for row in rows} == {None}
    assert {row["severity"] for row in rows} >= {"Fail", "Warning"}
    assert_exactly_once(settings, stack)


@pytest.mark.thorough
def test_tables_that_were_dropped_are_filled_again_with_all_runs(stack: Stack, settings: Settings) -> None:
    publish.publish(settings, stack)
    before = everything(settings)
    with Warehouse(find_target(settings)) as warehouse:
        warehouse.execute(f"DROP SCHEMA main.{settings.schema_name} CASCADE")
    stack.execute(
        "INSERT INTO job_executions (id, job_key, kwargs, source, status, project_code, created_at, completed_at)"
        " SELECT gen_random_uuid(), job_key, kwargs, source, status, project_code, now(), now()"
        " FROM job_executions WHERE status = 'canceled'"
    )
    assert len(publish.publish(settings, stack).runs) == 8
    assert all(not rows - everything(settings)[name] for name, rows in before.items())


def test_the_two_views_answer(stack: Stack, settings: Settings) -> None:
    publish.publish(settings, stack)
    with Warehouse(find_target(settings)) as warehouse:
        latest = warehouse.query(f"SELECT * FROM main.{settings.schema_name}.dq_latest_results").to_pylist()
        failures = warehouse.query(f"SELECT * FROM main.{settings.schema_name}.dq_failures_over_time").to_pylist()
    last = max(
        (run for run in published(settings, "dq_runs") if run["test_ct"]), key=lambda run: run["started_at"]
    )
    assert {row["run_id"] for row in latest} == {last["run_id"]}
    assert len(latest) == last["test_ct"]
    assert sum(row["test_ct"] for row in failures) == len(published(settings, "dq_test_results"))
    assert sum(row["error_ct"] for row in failures) == 2


def test_columns_that_could_not_be_profiled_are_reported_with_the_remedy(stack: Stack, settings: Settings) -> None:
    stack.execute(
        "UPDATE profile_results SET query_error = %s WHERE general_type = 'A'",
        '[CAST_INVALID_INPUT] The value \'x\' of the type "STRING" cannot be cast to "DATE"',
    )
    report = publish.publish(settings, stack)
    (warning,) = report.warnings
    failed = [row for row in published(settings, "dq_profile_columns") if row["query_error"]]
    assert f"{len(failed)} of 17 columns" in warning
    assert "ANSI_MODE=false" in warning
    profiles = [run for run in published(settings, "dq_runs") if run["kind"] == "profile"]
    assert {run["status"]: run["column_error_ct"] for run in profiles} == {"completed": len(failed), "error": 0}


def test_a_bad_token_is_refused_and_the_results_are_said_to_be_safe(stack: Stack, settings: Settings) -> None:
    target = replace(find_target(settings), auth=PersonalToken(SecretStr("dapi-nobody-knows-me")))
    with pytest.raises(DatabricksRefused) as caught:
        publish_to(stack, settings, lambda: Warehouse(target))
    assert "results are safe" in caught.value.hint
    assert "dapi-nobody" not in caught.value.message


@pytest.mark.parametrize(
    ("said", "grant"),
    [
        (
            "Insufficient privileges:\nUser does not have USE SCHEMA on Schema 'main.data_quality'.",
            "GRANT USE SCHEMA ON SCHEMA main.data_quality TO `local`",
        ),
        (
            "PERMISSION_DENIED: you may not do that",
            "GRANT USE CATALOG ON CATALOG `main` TO `local`; GRANT USE SCHEMA, CREATE TABLE, CREATE VOLUME, "
            "SELECT, MODIFY, READ VOLUME, WRITE VOLUME ON SCHEMA `main`.`",
        ),
    ],
)
def test_a_missing_grant_is_named_with_whom_it_is_for(
    stack: Stack, settings: Settings, shared_workspace: Path, said: str, grant: str
) -> None:
    endpoint = find_endpoint(shared_workspace)
    fault = Fault(
        Effect.ERROR,
        matching="CREATE TABLE",
        error_class="INSUFFICIENT_PERMISSIONS",
        message=said,
        sqlstate="42501",
    )
    client.add_fault(endpoint, fault)
    client.add_fault(endpoint, fault)
    with pytest.raises(DatabricksRefused) as caught:
        publish.publish(settings, stack)
    assert grant in caught.value.hint
    assert "dqctl publish --pending" in caught.value.hint
    with pytest.raises(DatabricksRefused) as caught:
        tables.init(settings)
    assert grant in caught.value.hint
    client.clear_faults(endpoint)


def test_a_workspace_that_does_not_run_leaves_all_runs_waiting(stack: Stack, tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "nowhere", tmp_path)
    with pytest.raises(NotPublished, match=r"^7 finished runs wait to be published") as caught:
        publish.publish(settings, stack)
    assert "dqctl publish --pending" in caught.value.hint
    assert int(caught.value.exit_code) == 5


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_a_workspace_killed_again_and_again_ends_with_every_run_published_once(
    stack: Stack, own_workspace: Path, tmp_path: Path
) -> None:
    settings = settings_for(own_workspace, tmp_path)
    said: list[str] = []
    # Before the first statement, while tables are made, between and within loads, before and after the check.
    for moment, delay in ((1, 0.0), (8, 0.05), (15, 0.0), (4, 0.05), (7, 0.1), (8, 0.0)):
        pid = control.start(own_workspace).pid

        def kill_at(number: int, text: str, pid: int = pid, moment: int = moment, delay: float = delay) -> None:
            if number == moment and delay:
                threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()
            elif number == moment:
                os.kill(pid, signal.SIGKILL)

        watched = Watched(Warehouse(find_target(settings)), kill_at)
        try:
            publish_to(stack, settings, lambda one=watched: one)
        except NotPublished as error:
            said.append(f"{error.message} {error.hint}")
        time.sleep(2 * delay)
    assert len(said) >= 3
    assert all("to be published" in one and "dqctl publish --pending" in one for one in said)
    control.start(own_workspace)
    publish.publish(settings, stack)
    assert_exactly_once(settings, stack)
    with stack.metadata() as connection:
        (recorded,) = connection.execute("SELECT count(*) FROM dqctl.published").fetchone() or (None,)
    assert recorded == 7


def test_a_crash_between_databricks_and_the_ledger_does_no_harm(stack: Stack, settings: Settings) -> None:
    publish.publish(settings, stack)
    before = everything(settings)
    stack.execute("DELETE FROM dqctl.published WHERE run_id IN (SELECT id FROM test_runs)")
    assert len(publish.publish(settings, stack).runs) == 3
    assert everything(settings) == before


def test_a_run_that_cannot_be_published_does_not_hold_up_the_others(stack: Stack, settings: Settings) -> None:
    with stack.metadata() as connection:
        (victim,) = connection.execute(
            "SELECT id::text FROM job_executions WHERE job_key = 'run-tests' ORDER BY created_at LIMIT 1"
        ).fetchone() or ("",)

    def refuse(number: int, text: str) -> None:
        if victim in text and "`dq_test_results`" in text:
            raise StatementFailed("a statement failed: no luck")

    with pytest.raises(NotPublished, match=f"1 of 7 finished runs could not be published: {victim}: .*no luck"):
        publish_to(stack, settings, lambda: Watched(Warehouse(find_target(settings)), refuse))
    assert len(published(settings, "dq_runs")) == 6
    assert [run.run_id for run in publish.publish(settings, stack).runs] == [victim]
    assert_exactly_once(settings, stack)


def test_a_lost_connection_stops_there_and_says_how_many_runs_wait(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visible: list[str] = []

    def lose(number: int, text: str) -> None:
        if text.startswith("INSERT INTO") and ".`dq_runs` " in text:
            visible.append(text)
            if len(visible) == 3:
                raise Unreachable("nobody answers", "check the network")

    monkeypatch.setattr(delivery, "BATCH_RUNS", 2)
    with pytest.raises(NotPublished, match=r"^3 finished runs wait to be published: nobody answers"):
        publish_to(stack, settings, lambda: Watched(Warehouse(find_target(settings)), lose))
    assert len(published(settings, "dq_runs")) == 4
    assert len(publish.publish(settings, stack).runs) == 3
    assert_exactly_once(settings, stack)


@pytest.mark.thorough
def test_two_stacks_publish_at_once_into_tables_that_are_not_there_yet(
    make_stack: Callable[[str], Stack], settings: Settings
) -> None:
    stacks = {"one": make_stack("5.134.0"), "two": make_stack("5.92.2"), "three": make_stack("5.33.3")}
    failures: list[BaseException] = []

    def go(name: str, stack: Stack) -> None:
        try:
            publish.publish(settings.model_copy(update={"stack": name}), stack)
        except BaseException as error:  # noqa: BLE001 - of another thread, raised below
            failures.append(error)

    threads = [threading.Thread(target=go, args=pair) for pair in stacks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    if failures:
        raise failures[0]
    runs = Counter((run["stack"], run["run_id"]) for run in published(settings, "dq_runs"))
    assert len(runs) == 21
    assert set(runs.values()) == {1}
    for table in records.RUN_CONTENT:
        keys = Counter(tuple(row[name] for name in table.key) for row in published(settings, table.name))
        assert set(keys.values()) == {1}
    for name, stack in stacks.items():
        assert publish.publish(settings.model_copy(update={"stack": name}), stack).runs == ()


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_20000_results_take_no_more_statements_than_20(stack: Stack, settings: Settings) -> None:
    few = Watched(Warehouse(find_target(settings)))
    publish_to(stack, settings, lambda: few)
    stack.execute(
        "INSERT INTO test_results SELECT t.* FROM test_results t, generate_series(1, 1250)"
        " WHERE t.test_run_id = (SELECT id FROM test_runs JOIN job_executions j USING (id)"
        " WHERE j.status = 'completed' ORDER BY j.created_at DESC LIMIT 1) LIMIT 20000"
    )
    stack.execute(
        "UPDATE test_results SET id = gen_random_uuid(), result_message = result_message || E'\\n\\'é😀'"
    )
    stack.execute("DELETE FROM dqctl.published WHERE run_id IN (SELECT test_run_id FROM test_results)")
    many = Watched(Warehouse(find_target(settings)))
    started = time.monotonic()
    report = publish_to(stack, settings, lambda: many)
    seconds = time.monotonic() - started
    assert max(run.rows.get("dq_test_results", 0) for run in report.runs) >= 20_000
    assert len(many.statements) <= len(few.statements)
    assert len([text for text in many.statements if text.startswith("PUT")]) == 1
    with stack.metadata() as connection, connection.cursor() as cursor:
        expected = cursor.execute("SELECT id::text, result_message, test_time FROM test_results").fetchall()
    found = [
        (row["id"], row["result_message"], row["test_time"].replace(tzinfo=None))
        for row in published(settings, "dq_test_results")
    ]
    assert Counter(found) == Counter(expected)
    assert seconds < 60


def test_nothing_is_left_in_the_volume(stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqctl.tables.shipment.INLINE_BYTES", 0)
    publish.publish(settings, stack)
    assert_exactly_once(settings, stack)
    assert settings.workspace
    left = [path for path in settings.workspace.rglob("*.parquet") if "tables" not in path.parts]
    assert left == []
