"""Workspaces for somebody's tests: clients that are connected, and nothing left however the process ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.clock import SYSTEM_CLOCK
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.localworkspace import client
from dqctl.localworkspace.faults import Effect, Fault
from dqctl.services.ci import schemas
from dqctl.services.target import find_target
from dqctl.settings import load
from dqctl.testing import LocalDatabricks
from dqctl.testing.remote import RemoteDatabricks
from dqctl.testing.schema import throw_away_schema
from remains import processes_of, wait_until_nothing_is_left

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def databricks() -> Iterator[LocalDatabricks]:
    with LocalDatabricks() as started:
        yield started


def test_the_connector_is_connected(databricks: LocalDatabricks) -> None:
    with databricks.connect(catalog="main", schema="default") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), 1 + 1")
        assert tuple(cursor.fetchone() or ()) == ("default", 2)


def test_the_sdk_is_connected_whatever_the_environment_says(
    databricks: LocalDatabricks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As on a machine behind a company's proxy.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    workspace = databricks.workspace_client()
    assert workspace.current_user.me().user_name == "owner@dqctl.invalid"
    workspace.statement_execution.execute_statement("CREATE VOLUME main.default.files", databricks.warehouse_id)
    path = "/Volumes/main/default/files/greeting.txt"
    with (tmp_path / "greeting").open("wb+") as content:
        content.write(b"hello")
        content.seek(0)
        workspace.files.upload(path, content)
    contents = workspace.files.download(path).contents
    assert contents is not None
    assert contents.read() == b"hello"


def test_programs_that_know_databricks_only_reach_it_by_the_environment(databricks: LocalDatabricks) -> None:
    program = (
        "import os\n"
        "from databricks import sql\n"
        "from databricks.sdk import WorkspaceClient\n"
        "print(WorkspaceClient().current_user.me().user_name)\n"
        "host = os.environ['DATABRICKS_HOST'].removeprefix('https://')\n"
        "path, token = os.environ['DATABRICKS_HTTP_PATH'], os.environ['DATABRICKS_TOKEN']\n"
        "with sql.connect(server_hostname=host, http_path=path, access_token=token) as connection:\n"
        "    cursor = connection.cursor()\n"
        "    cursor.execute('SELECT 6 * 7')\n"
        "    print(cursor.fetchone()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=240,
        env=databricks.whole_environment() | {"NO_COLOR": "1"},
    )
    assert done.stdout.split() == ["owner@dqctl.invalid", "42"], done.stderr


def test_the_token_does_not_show(databricks: LocalDatabricks) -> None:
    plain = databricks.token.get_secret_value()
    assert plain
    assert plain not in f"{databricks!r} {vars(databricks)} {databricks.token} {databricks.endpoint}"


def test_faults_are_made_by_its_endpoint(databricks: LocalDatabricks) -> None:
    client.add_fault(databricks.endpoint, Fault(Effect.DELAY, matching="fault_probe", seconds=0.01))
    with databricks.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'fault_probe'")
    (hit,) = client.list_hits(databricks.endpoint)
    assert "fault_probe" in hit["subject"]


def test_a_real_workspace_is_found_by_its_variables_and_schemas_there_have_an_end(
    databricks: LocalDatabricks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in databricks.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    remote = RemoteDatabricks()
    assert remote.host == "local.dqctl.invalid"
    with throw_away_schema(remote) as schema:
        schema.cursor.execute("CREATE TABLE t AS SELECT 1 AS a")
        settings = load({}, dict(os.environ))
        with Warehouse(find_target(settings)) as warehouse:
            (found,) = schemas.find(warehouse, "main")
        assert (found.schema, found.expires > SYSTEM_CLOCK.now()) == (schema.schema, True)
    with databricks.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SCHEMAS IN main")
        assert schema.schema not in {row[0] for row in cursor.fetchall()}
    with pytest.raises(UsageError, match="no faults"):
        client.list_hits(remote.endpoint)


def test_one_that_does_not_run_says_so() -> None:
    with pytest.raises(EnvironmentFault, match="does not run"):
        LocalDatabricks().connect()
    LocalDatabricks().stop()


def test_what_cannot_start_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EnvironmentFault) as caught, LocalDatabricks(engine="sc://127.0.0.1:9", timeout=60):
        pytest.fail("it has an engine that is not there")
    assert caught.value.hint
    wait_until_nothing_is_left(tmp_path)


@pytest.mark.parametrize("how", ["killed", "forgotten"])
def test_whoever_starts_one_leaves_nothing_however_he_ends(how: str, tmp_path: Path) -> None:
    end = "os.kill(os.getpid(), signal.SIGKILL)" if how == "killed" else "sys.exit(3)"
    program = (
        "import os, signal, sys\n"
        "from dqctl.testing import LocalDatabricks\n"
        "print(LocalDatabricks().start().endpoint.data_dir, flush=True)\n"
        f"{end}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == (-signal.SIGKILL if how == "killed" else 3), done.stderr
    assert str(tmp_path) in done.stdout
    wait_until_nothing_is_left(tmp_path)


def test_a_data_directory_that_was_given_is_kept_and_used_again(tmp_path: Path) -> None:
    for statement in ("CREATE TABLE main.default.kept AS SELECT 1 AS a", "SELECT a FROM main.default.kept"):
        with LocalDatabricks(tmp_path / "lake") as started, started.connect() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            cursor.close()
    assert processes_of(tmp_path) == []
