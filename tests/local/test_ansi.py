"""Profiles of texts on a warehouse in ANSI mode: complete in every version, and what a test means is left alone.

The workspace is in ANSI mode, as SQL warehouses are; real TestGen on all of it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from command_line import SYSTEM, execute, load_shop, write_systems
from dqctl.clock import Deadline
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.report.profiles import is_ansi
from dqctl.runtime import open_runtime
from dqctl.runtime.launch import scheduler_program
from dqctl.runtime.local import LocalRuntime
from dqctl.services.access import find_access
from dqctl.services.apply import apply
from dqctl.services.systems import TableGroup, resolve_system
from dqctl.settings import Settings, load
from dqctl.testgen import driver, jobs, sessions
from dqctl.testgen.capabilities import KNOWN
from dqctl.testgen.jobs import JobKind, JobOutcome, JobRequest
from dqctl.testgen.sessions import ProfileAnsi
from target_database import PASSWORD, Target
from workspaces import running_workspace

pytestmark = [pytest.mark.local, pytest.mark.timeout(400)]

# Texts that parsers of dates disagree about, beside those that are no dates, and numbers.
_WORDS = (
    "CREATE SCHEMA IF NOT EXISTS main.words",
    "CREATE OR REPLACE TABLE main.words.visits AS SELECT CASE id % 4 WHEN 0 THEN '2013-01-01 05:00:00'"
    " WHEN 1 THEN '1/2/2020' WHEN 2 THEN 'yesterday' ELSE '20200131' END AS told,"
    " CAST(id AS DOUBLE) / 4 AS minutes FROM range(1, 101)",
)
TEXTS = {"name", "country", "email", "status", "note"}
# No row has such a status: in ANSI mode an error, without it a test that passes.
_CAST = "SELECT order_id FROM `shop`.`orders` WHERE CAST(status AS INT) > 0"


@dataclass(frozen=True)
class Shop:
    """A stack that checks the shop in a workspace."""

    settings: Settings
    runtime: LocalRuntime

    @classmethod
    def make(cls, settings: Settings, workspace: Path, directory: Path, schema: str) -> "Shop":
        settings = settings.model_copy(update={"workspace": workspace})
        shop = cls(settings, open_runtime(settings, silent))
        file = write_systems(directory)
        file.write_text(file.read_text().replace("schema: shop", f"schema: {schema}"))
        shop.apply(file)
        return shop

    def apply(self, file: Path) -> None:
        access = find_access(self.settings).workspace()
        environment = {"PROBE_PASSWORD": PASSWORD}
        apply(self.runtime, file, access=access, environment=environment, deadline=Deadline(120))

    def group(self, system: str = SYSTEM) -> TableGroup:
        return resolve_system(self.runtime, system).table_groups[0]

    def run(self, *requests: JobRequest, profile_ansi: ProfileAnsi = "off") -> list[JobOutcome]:
        return list(
            jobs.run_all(
                self.runtime,
                requests,
                deadline=Deadline(200),
                environment=find_access(self.settings).environment,
                profile_ansi=profile_ansi,
            )
        )

    def profile(self, profile_ansi: ProfileAnsi = "off") -> UUID | None:
        return self.run(JobRequest(JobKind.PROFILE, self.group().id), profile_ansi=profile_ansi)[0].run_id

    def sessions(self) -> list[dict[str, str]]:
        """The parameters of sessions that TestGen opens: as for a profile, as for tests, as for a profile."""
        source = (resources.files(driver) / "prepare.py").read_text()
        done = self.runtime.run(
            ["-c", _SESSION],
            program="python",
            stdin=json.dumps([source, sessions.parameters("run-profile", "off")]),
            deadline=Deadline(60),
            environment=find_access(self.settings).environment,
        )
        assert done.exit_code == 0, done.stderr
        return [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("FOUND ")]

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        with self.runtime.metadata() as connection:
            found = connection.execute(statement.encode(), values)
            names = [column.name for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found]

    def columns(self, run_id: UUID | None) -> Mapping[tuple[str, str], dict[str, Any]]:
        """What the profile says, without whose it is."""
        rows = self.rows("SELECT * FROM profile_results WHERE profile_run_id = %s", run_id)
        assert rows
        return {
            (row["table_name"], row["column_name"]): {
                name: value for name, value in row.items() if name not in ("id", "profile_run_id", "run_date")
            }
            for row in rows
        }

    def unread(self, run_id: UUID | None) -> set[str]:
        """Columns that could not be profiled."""
        return {name for (_, name), row in self.columns(run_id).items() if row["query_error"]}


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    with running_workspace() as endpoint:
        yield endpoint.data_dir


@pytest.fixture(scope="module")
def shop(installed_stack: Settings, workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop.make(installed_stack, workspace, tmp_path_factory.mktemp("shop"), "shop")
    load_shop(made.settings)
    execute(made.settings, *_WORDS)
    return made


def test_a_profile_is_what_it_is_on_a_warehouse_without_ansi_mode(shop: Shop, workspace: Path) -> None:
    off, as_is = shop.profile(), shop.profile("as-is")
    assert shop.unread(off) == set()
    assert shop.unread(as_is) == TEXTS
    control.start(workspace, settings={"ANSI_MODE": "false"})
    try:
        without = shop.profile("as-is")
    finally:
        control.start(workspace, settings={"ANSI_MODE": "true"})
    assert shop.columns(off) == shop.columns(without)


@pytest.mark.thorough
def test_tests_keep_the_mode_of_the_warehouse_after_a_profile_in_the_same_process(shop: Shop) -> None:
    suite = shop.group().suites[0]
    with shop.runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name,"
            " skip_errors, custom_query, test_active, lock_refresh)"
            " VALUES (%s, %s, 'CUSTOM', 'shop', 'orders', 0, %s, 'Y', 'Y')",
            (shop.group().id, suite.id, _CAST),
        )
    profile, tests = shop.run(JobRequest(JobKind.PROFILE, shop.group().id), JobRequest(JobKind.TEST, suite.id))
    assert shop.unread(profile.run_id) == set()
    (result,) = shop.rows("SELECT * FROM test_results WHERE test_run_id = %s", tests.run_id)
    assert (result["test_type"], result["result_status"]) == ("CUSTOM", "Error")
    assert "delivered" in result["result_message"] or "returned" in result["result_message"], result


@pytest.mark.thorough
def test_the_schedulers_jobs_do_the_same(shop: Shop) -> None:
    (job,) = shop.rows(
        "INSERT INTO job_executions (job_key, kwargs, source, status, project_code, claimed_at) VALUES"
        " ('run-profile', jsonb_build_object('table_group_id', %s::text), 'scheduler', 'claimed', %s, now())"
        " RETURNING id",
        str(shop.group().id),
        SYSTEM,
    )
    done = shop.runtime.run(
        ["-P", "-c", scheduler_program(), "exec-job", str(job["id"])],
        program="python",
        deadline=Deadline(100),
        environment=find_access(shop.settings).environment,
    )
    assert done.exit_code == 0, done.stderr
    assert shop.unread(job["id"]) == set()


# What TestGen itself makes of its connection, after what the driver does before a job.
_SESSION = """
import json, sys
from testgen.common.database.database_service import get_flavor_service
from testgen.common.models import database_session
from testgen.common.models.connection import Connection
from sqlalchemy import select, text

source, parameters = json.load(sys.stdin)
prepare = {"__name__": "prepare"}
exec(compile(source, "prepare", "exec"), prepare)
with database_session() as session:
    connection = session.scalars(select(Connection).where(Connection.sql_flavor == "databricks")).one()
    engine = get_flavor_service("databricks").create_engine(connection.__dict__)
    for wanted in (parameters, {}, parameters):
        prepare["ask_for"](wanted)
        with engine.connect() as target:
            found = dict(tuple(row)[:2] for row in target.execute(text("SET")))
            print("FOUND", json.dumps(found))
        engine.dispose()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["5.92.2", "5.33.3"])
def test_older_versions_too_and_each_job_reads_its_own_target(
    older_stack: Settings, shop: Shop, workspace: Path, tmp_path: Path, version: str
) -> None:
    older = Shop.make(older_stack, workspace, tmp_path, "words")
    older.apply(Target.make(older.runtime).write_systems(tmp_path, "sales"))
    requests = [JobRequest(JobKind.PROFILE, older.group(system).id) for system in ("sales", SYSTEM, "sales")]
    ran = older.run(*requests)
    read = [{table for table, _ in older.columns(each.run_id)} for each in ran]
    assert read == [{"customers", "orders"}, {"visits"}, {"customers", "orders"}]
    assert older.unread(ran[0].run_id) == older.unread(ran[2].run_id) == set()
    assert older.unread(ran[1].run_id) == set()
    found = older.columns(ran[1].run_id)
    assert found["visits", "told"]["date_ct"] == 50
    patterns = found["visits", "told"]["top_patterns" if version == "5.33.3" else "frequent_patterns"]
    assert "25" in str(patterns)
    assert "aaaaaaaaa" in str(patterns)
    percentiles = [found["visits", "minutes"][f"percentile_{share}"] for share in (25, 50, 75)]
    assert percentiles == pytest.approx([6.4375, 12.625, 18.8125])
    assert [found["ANSI_MODE"] for found in older.sessions()] == ["false", "true", "false"]


@pytest.fixture(scope="module")
def spark_workspace() -> Iterator[Path]:
    """The shop and its visits in a workspace whose engine is a Spark Connect server (docs/operations.md)."""
    if not (url := os.environ.get("DQCTL_TEST_SPARK")):
        pytest.skip("DQCTL_TEST_SPARK names no Spark Connect server, for example sc://127.0.0.1:15002")
    with running_workspace(engine=url) as endpoint:
        settings = load({"home": endpoint.data_dir, "workspace": endpoint.data_dir}, {})
        load_shop(settings)
        execute(settings, *(statement.replace(".words", ".shop") for statement in _WORDS))
        yield endpoint.data_dir


@pytest.mark.parametrize("version", [each.version for each in KNOWN])
def test_on_spark_every_version_needs_and_gets_both_parameters(
    spark_workspace: Path, older_stack: Settings, tmp_path: Path, version: str
) -> None:
    shop = Shop.make(older_stack, spark_workspace, tmp_path, "shop")
    off = shop.profile()
    assert shop.unread(off) == set()
    assert shop.columns(off)["visits", "told"]["date_ct"] == 50
    assert shop.unread(shop.profile("as-is")) == TEXTS | {"told"}
    control.start(spark_workspace, settings={"ANSI_MODE": "false"})
    try:
        lenient = shop.columns(shop.profile("as-is"))
    finally:
        control.start(spark_workspace, settings={"ANSI_MODE": "true"})
    errors = {column: row["query_error"] for (_, column), row in lenient.items() if row["query_error"]}
    assert set(errors) == {"told"}
    assert "different result due to the upgrading" in errors["told"]
    assert is_ansi(errors["told"])
