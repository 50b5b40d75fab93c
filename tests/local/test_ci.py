"""Ephemeral stacks on this machine: real TestGen, PostgreSQL and workspaces, and nothing of them afterwards."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import write_deltalake

from ci_processes import left_of, watchers
from command_line import CommandLine, Process, write_systems
from dqctl.databricks.warehouse import Warehouse
from dqctl.services.ci import record, schemas, throw_away
from dqctl.services.ci.record import CiPaths
from dqctl.services.target import find_target
from dqctl.settings import load
from workspaces import running_workspace

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run(module_home: Path) -> CommandLine:
    # A machine without Docker: what an engine has belongs to the tests of the docker tier, which run meanwhile.
    return CommandLine(module_home, {"DOCKER_HOST": "unix:///nonexistent/docker.sock"})


@pytest.fixture(autouse=True)
def nothing_is_left(run: CommandLine) -> Iterator[None]:
    yield
    left = left_of(run.home)
    for name in record.names(run.home):
        run("ci", "down", name, code=None)
    assert left == []


def eventually(what: str, condition: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "seeds"
    shop = folder / "shop"
    shop.mkdir(parents=True)
    (shop / "customers.csv").write_text(
        'customer_id,name,since,note\n1,Ann,2020-01-31,""\n2,"Bob, jr.",2021-02-28,\n3,,2022-03-31,x\n'
    )
    orders = {"order_id": list(range(100)), "amount": [each / 4 for each in range(100)]}
    pyarrow.parquet.write_table(pa.table(orders), shop / "orders.parquet")
    write_deltalake(str(shop / "returns"), pa.table({"order_id": [1, 2]}))
    write_deltalake(str(shop / "returns"), pa.table({"order_id": [3]}), mode="append")
    (shop / "views.sql").write_text(
        "-- not; here\nCREATE VIEW dear AS SELECT * FROM orders WHERE amount > 20;\n"
        "INSERT INTO returns VALUES (4);\n"
    )
    return folder


COUNTS = """SELECT (SELECT count(*) FROM {0}.orders), (SELECT count(*) FROM {0}.dear),
    (SELECT count(*) FROM {0}.returns), (SELECT count(name) FROM {0}.customers),
    (SELECT concat_ws('|', collect_list(note)) FROM {0}.customers), (SELECT max(since) FROM {0}.customers)"""
LOADED = ["100", "19", "4", "2", "|x", "2022-03-31"]


def test_all_tests_run_in_a_stack_that_is_gone_afterwards_and_reports_stay(
    run: CommandLine, seeds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    systems = write_systems(tmp_path)
    said = run.document("ci", "run", "-f", systems, "--seed", seeds, "--artifacts", out)
    (tests,) = said["runs"]
    assert tests["run"]["status"] == "completed"
    assert len(tests["results"]) > 4
    assert said["command"] is None
    for ending in ("junit.xml", "html", "md", "json"):
        assert str(out / f"shop-shop-standard.{ending}") in said["files"]
        assert "shop-standard" in (out / f"shop-shop-standard.{ending}").read_text()
    for log in ("testgen", "workspace-server", "start"):
        assert (out / "logs" / f"{log}.log").exists()
    assert len(starts_of_python(out)) == 1, "who stood by did all of it"


def starts_of_python(artifacts: Path) -> list[str]:
    """How often TestGen's Python was started, by the log of all calls."""
    lines = (artifacts / "logs" / "testgen.log").read_text().splitlines()
    return [line for line in lines if line.startswith("--- ") and " python -c " in line]


def test_a_command_runs_inside_with_its_exit_code_and_leaves_nothing_running(
    run: CommandLine, seeds: Path, tmp_path: Path
) -> None:
    script = tmp_path / "inside.sh"
    script.write_text(
        f"""set -e
        [ "$DATABRICKS_TOKEN" = "$(cat "$DATABRICKS_TOKEN_FILE")" ]
        [ -z "$DATABRICKS_CLIENT_ID" ]
        {sys.executable} -m dqctl --output json workspace sql "{COUNTS.format("main.shop")}" > {tmp_path}/rows.json
        {sys.executable} -m dqctl --output json systems list > {tmp_path}/systems.json
        env > {tmp_path}/env
        setsid sleep 1000 < /dev/null > /dev/null 2>&1 &
        sleep 1000 &
        echo said by the command
        exit 7
        """
    )
    inside = CommandLine(run.home, {"DATABRICKS_CLIENT_ID": "of-somebody", "DQCTL_HOME": "/nowhere"})
    out = tmp_path / "out"
    said = inside(
        "ci", "run", "--name", "ci-command", "-f", write_systems(tmp_path), "--seed", seeds, "--artifacts", out,
        "--", "sh", script, code=7,
    )  # fmt: skip
    assert "said by the command" in said.out
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [str(value) for value in row] == LOADED
    assert json.loads((tmp_path / "systems.json").read_text())["systems"][0]["name"] == "shop"
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert variables["DQCTL_STACK"] == "ci-command"
    token = variables["DATABRICKS_TOKEN"]
    for path in (*out.rglob("*.*"), *run.home.glob("*.*")):
        assert token not in path.read_text(errors="replace"), path
    assert token not in said.everything


def start_waiting(run: CommandLine, tmp_path: Path, *options: object) -> Process:
    """A ``ci run`` whose command waits, with a child of its own, and says so on stdout."""
    script = tmp_path / "wait.sh"
    script.write_text(
        f"trap 'echo told > {tmp_path}/told; exit 0' TERM INT\n"
        "setsid sleep 1000 &\nsleep 1000 &\necho waiting\nwait\n"
    )
    return run.start("ci", "run", *options, "--", "sh", script)


@pytest.mark.thorough(but="2-130")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_command_and_all_is_taken_down(
    run: CommandLine, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start_waiting(run, tmp_path)
    assert process.hear("waiting", stdout=True)
    process.signal(number)
    assert process.end().code == code
    assert (tmp_path / "told").read_text() == "told\n"


def test_killed_while_the_command_runs_its_watcher_takes_it_down(run: CommandLine, tmp_path: Path) -> None:
    process = start_waiting(run, tmp_path)
    assert process.hear("waiting", stdout=True)
    process.signal(signal.SIGKILL)
    eventually("the watcher takes it down", lambda: not left_of(run.home))
    assert process.end().code == -signal.SIGKILL


@pytest.mark.thorough(but="1")
@pytest.mark.parametrize("part", range(3))
def test_killed_with_its_watcher_at_any_moment_gc_leaves_nothing_and_no_neighbour_is_touched(
    run: CommandLine, seeds: Path, tmp_path: Path, part: int
) -> None:
    process = start_waiting(run, tmp_path, "-f", write_systems(tmp_path), "--seed", seeds)
    # Somewhere in the beginning, while it is made, or when all is up.
    heard = ("", "making the database cluster", "is up: sh")[part]
    eventually("its directory is there", lambda: record.names(run.home))
    (name,) = record.names(run.home)
    if heard:
        assert process.hear(heard)
    time.sleep(random.uniform(0, 1.5))  # noqa: S311 - any moment will do
    reader = Process(["tail", "-f", str(CiPaths(run.home, name).record)], {"PATH": "/usr/bin:/bin"})
    try:
        for each in [*watchers(name), process.pid]:
            os.kill(each, signal.SIGKILL)
        over = [{"kind": "stack", "name": name, "why": "its owner is dead"}]
        assert run.document("ci", "gc", "--dry-run")["removed"] == over
        assert run.document("ci", "gc")["removed"] == over
        assert reader.is_running, "who reads a file of the stack is none of its processes"
    finally:
        reader.signal(signal.SIGKILL)
        reader.end()
        process.end()
    assert run.document("ci", "gc")["removed"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account for PostgreSQL")
def test_root_without_the_right_to_trace_others_as_in_a_container_sees_its_postgresql(run: CommandLine) -> None:
    contained = CommandLine(run.home, prefix=("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"))
    contained("ci", "up", "--name", "contained")
    inside = CommandLine(CiPaths(run.home, "contained").root, {"DQCTL_STACK": "contained"}, contained.prefix)
    assert inside.document("status")["healthy"]
    contained("ci", "down", "contained")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account for PostgreSQL")
def test_root_without_the_right_to_become_another_account_is_told_so(run: CommandLine) -> None:
    contained = CommandLine(run.home, prefix=("setpriv", "--bounding-set=-chown", "--inh-caps=-chown"))
    said = contained("ci", "run", "--", "true", code=3)
    assert "the database cluster cannot be made" in said.err
    assert "CAP_CHOWN" in said.err


def test_stacks_stand_side_by_side_and_gc_takes_only_what_expired(
    run: CommandLine, seeds: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ci.env"
    first = run.start("ci", "up", "--name", "first", "--seed", seeds, "--env-file", file)
    second = run.start("--output", "json", "ci", "up", "--name", "second", "--ttl", "1d")
    assert first.end().code == 0
    described = second.end().document
    assert file.stat().st_mode & 0o777 == 0o600
    token = next(line for line in file.read_text().splitlines() if line.startswith("DATABRICKS_TOKEN="))
    assert "TOKEN" not in {name for name in described["environment"] if not name.endswith("_FILE")}
    assert token.split("=", 1)[1].strip("'") not in json.dumps(described)
    assert run("ci", "up", "--name", "second", code=2).err.startswith(
        "error: there is an ephemeral stack 'second'"
    )
    assert run.document("ci", "gc")["removed"] == []

    paths = CiPaths(run.home, "first")
    found = record.read(paths)
    assert found
    record.write(paths, found.model_copy(update={"expires": datetime.now(UTC) - timedelta(seconds=1)}))
    assert run.document("ci", "gc")["removed"] == [{"kind": "stack", "name": "first", "why": "expired"}]
    second_home = CommandLine(CiPaths(run.home, "second").root, {"DQCTL_STACK": "second"})
    assert second_home.document("systems", "list")["systems"] == []
    assert second_home.document("workspace", "status", "--data-dir", CiPaths(run.home, "second").workspace)[
        "answers"
    ]
    run("ci", "down", "second")
    assert "there is no ephemeral stack 'second'" in run("ci", "down", "second", code=2).err


def test_what_cannot_be_made_leaves_nothing_but_its_reason(run: CommandLine, seeds: Path, tmp_path: Path) -> None:
    bad = tmp_path / "seeds"
    shutil.copytree(seeds, bad)
    (bad / "shop" / "views.sql").write_text("SELECT 1;\n\nSELECT nothing\nFROM nowhere;\n")
    said = run("ci", "run", "--seed", bad, "--artifacts", tmp_path / "out", code=2)
    assert "error: seeds/shop/views.sql:3: " in said.err
    assert (tmp_path / "out" / "logs" / "workspace-server.log").exists()
    (tmp_path / "file").touch()
    said = run("ci", "run", "--seed", bad, "--artifacts", tmp_path / "file" / "out", code=2)
    assert "error: seeds/shop/views.sql:3: " in said.err, "what came first is the error, also without its logs"
    assert f"{tmp_path}/file/out/logs: Not a directory" in said.err
    assert "there is no program 'no-such-program'" in run("ci", "run", "--", "no-such-program", code=2).err


def test_with_its_terminal_closed_a_run_leaves_nothing(run: CommandLine, seeds: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    not_under_nohup = ("env", "--default-signal=HUP", sys.executable, "-m", "dqctl")
    with subprocess.Popen(
        [*not_under_nohup, "--home", run.home, "ci", "run", "-f", write_systems(tmp_path), "--seed", seeds],
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        env={**os.environ, **run.environment, "TERM": "dumb"},  # where each step is a line, and none is left out
        start_new_session=True,
    ) as process:
        os.close(theirs)
        said = b""
        while b"is up on" not in said:
            said += os.read(ours, 65536)  # an error when it has ended
        os.close(ours)  # whatever it says from now on is an error
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 128 + signal.SIGHUP
    assert not record.names(run.home)


def test_in_a_databricks_workspace_schemas_are_thrown_away_and_no_others(
    run: CommandLine, seeds: Path, tmp_path: Path
) -> None:
    """A local workspace stands in for a real one: it is somebody else's, and stays."""
    with running_workspace() as endpoint:
        real = CommandLine(run.home, {**run.environment, "DQCTL_WORKSPACE": str(endpoint.data_dir)})
        settings = load({"home": run.home}, real.environment)
        with Warehouse(find_target(settings)) as warehouse:
            soon, past = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
            for name, expires in (("old", past), ("young", soon)):
                where = record.Databricks(place="", catalog="main", mark=name, schemas=(throw_away.results(name),))
                schemas.create(warehouse, where, name, expires)
            warehouse.execute("CREATE SCHEMA main.dqctl_ci_of_somebody COMMENT 'not thrown away'")
            warehouse.execute("CREATE SCHEMA main.shop")

            said = real.document(
                "ci", "run", "--databricks", "--name", "pr-7", "-f", write_systems(tmp_path), "--seed", seeds
            )
            assert {each["table"] for each in said["runs"][0]["results"]} >= {"orders", "customers"}
            assert _names(warehouse) == {"dqctl_ci_of_somebody", "dqctl_ci_old", "dqctl_ci_young", "shop"}
            assert said["runs"][0]["run"]["status"] == "completed"

            up = real.document("ci", "up", "--databricks", "--name", "pr-8", "--seed", seeds)
            assert up["environment"]["DQCTL_SCHEMA"] == "dqctl_ci_pr_8"
            assert {"dqctl_ci_pr_8", "dqctl_ci_pr_8__shop"} <= _names(warehouse)
            taken = real("ci", "up", "--databricks", "--name", "young", code=2)
            assert "there is a schema main.dqctl_ci_young already" in taken.err

            removed = real.document("ci", "gc", "--databricks")["removed"]
            assert removed == [{"kind": "schema", "name": "main.dqctl_ci_old", "why": "expired"}]
            elsewhere = run("ci", "down", "pr-8", code=None)
            assert elsewhere.code, "whoever has no way into the workspace cannot drop what is there"
            real("ci", "down", "pr-8")
            assert _names(warehouse) == {"dqctl_ci_of_somebody", "dqctl_ci_young", "shop"}


def _names(warehouse: Warehouse) -> set[str]:
    rows = warehouse.query("SELECT schema_name FROM main.information_schema.schemata").to_pylist()
    return {row["schema_name"] for row in rows} - {"default", "information_schema"}


@pytest.mark.thorough(but="making the database cluster")
@pytest.mark.parametrize("moment", ["", "making the database cluster", "PostgreSQL is up"])
def test_taken_down_while_it_is_made_nothing_of_it_comes_about_later(
    run: CommandLine, seeds: Path, tmp_path: Path, moment: str
) -> None:
    making = run.start("ci", "up", "--name", "early", "-f", write_systems(tmp_path), "--seed", seeds)
    eventually("its directory is there", lambda: record.names(run.home))
    assert not moment or making.hear(moment)
    run("ci", "down", "early")
    assert not making.is_running, "who makes it has ended before"
    assert making.end().code == 128 + signal.SIGTERM
