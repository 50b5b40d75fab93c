"""What every runtime promises: to the services by its Protocol, and to people by the command line."""

import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from both_runtimes import Stack, is_quiet, opened
from command_line import SUITE, SYSTEM, Process
from dqctl import records
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import find_runtime
from publishing import published
from stored_state import picture

pytestmark = pytest.mark.timeout(600)

# A process of its own, so that it can be killed.
_ENDLESS = """
import os, sys
from pathlib import Path
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.settings import load

runtime = open_runtime(load({"home": Path(sys.argv[1])}, os.environ), silent)
runtime.run(["-c", "import time; print('begun', flush=True); time.sleep(313)"], program="python",
            deadline=Deadline(300), on_line=lambda line: print(line, flush=True))
"""


def test_streams_exit_codes_and_signals_come_through(stack: Stack) -> None:
    lines: list[str] = []
    program = "import sys; print('ä out'); print('err', file=sys.stderr); print(sys.stdin.read()); sys.exit(7)"
    runtime = opened(stack)
    done = runtime.run(
        ["-c", program], program="python", stdin="x" * 200_000, deadline=Deadline(60), on_line=lines.append
    )
    assert (done.exit_code, done.stderr) == (7, "err\n")
    assert done.stdout == "ä out\n" + "x" * 200_000 + "\n"
    assert [len(line) for line in lines] == [5, 200_000]
    killed = runtime.run(["-c", "import os; os.kill(os.getpid(), 9)"], program="python", deadline=Deadline(60))
    assert killed.exit_code == -9
    assert stack.homes() == []


def test_calls_at_once_have_homes_of_their_own_and_bring_their_files_back(stack: Stack) -> None:
    program = (
        "import os, pathlib, sys, time; p = pathlib.Path.home() / 'out'; p.mkdir(); time.sleep(0.3)\n"
        "assert pathlib.Path.cwd() == pathlib.Path.home()\n"
        "assert [*p.iterdir()] == []; (p / 'a.csv').write_bytes(sys.argv[1].encode() * 100_000)"
    )
    runtime = opened(stack)
    found: dict[str, bytes] = {}

    def call(letter: str) -> None:
        done = runtime.run(["-c", program, letter], program="python", deadline=Deadline(60), fetch="out")
        assert done.exit_code == 0, done.stderr
        found[letter] = done.files["a.csv"]

    threads = [threading.Thread(target=call, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {letter: letter.encode() * 100_000 for letter in "abcd"}
    assert stack.homes() == []


def test_the_deadline_ends_a_call_with_all_that_it_started(stack: Stack) -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(312)'])"
    with pytest.raises(EnvironmentFault, match="did not finish within 2 s"):
        opened(stack).run(["-c", program], program="python", deadline=Deadline(2))
    assert is_quiet(stack, "sleep(312)", 1)
    assert stack.homes() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_goes_on_when_dqctl_is_stopped_or_killed(stack: Stack, number: signal.Signals) -> None:
    environment = {**os.environ, **stack.run.environment}
    process = Process([sys.executable, "-c", _ENDLESS, str(stack.run.home)], environment)
    assert process.hear("begun", 60, stdout=True)
    assert stack.has_process("sleep(313)")
    process.signal(number)
    process.end(60)
    assert is_quiet(stack, "sleep(313)", 12)


def test_a_call_sees_what_it_is_given_and_nothing_of_its_caller(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.env").write_text("TG_STANDALONE_MODE=yes\nTG_METADATA_DB_HOST=203.0.113.1\n")
    for name, value in {
        "HOME": str(tmp_path),
        "TG_TESTGEN_HOME": str(tmp_path),
        "TG_STANDALONE_MODE": "yes",
        "TG_METADATA_DB_HOST": "203.0.113.1",
        "PGHOSTADDR": "203.0.113.1",
        "PYTHONPATH": str(tmp_path),
        "DATABRICKS_TOKEN": "planted-databricks-token",
    }.items():
        monkeypatch.setenv(name, value)
    code = (
        "import json, os, testgen.settings as s, testgen.common.standalone_postgres as p\n"
        "print(json.dumps([p.is_standalone_mode(), s.DATABASE_HOST, dict(os.environ)]))"
    )
    runtime = opened(stack)
    done = runtime.run(["-c", code], program="python", deadline=Deadline(60), environment={"GIVEN": "yes"})
    assert done.exit_code == 0, done.stderr
    standalone, host, environment = json.loads(done.stdout.splitlines()[-1])
    assert (standalone, environment["GIVEN"]) == (False, "yes")
    assert host != "203.0.113.1"
    assert "planted-databricks-token" not in environment.values()
    password = (runtime.paths.secrets / "postgres_password").read_text().strip()
    assert password not in str(environment)


def test_what_was_stored_outlives_a_stop_and_a_death(stack: Stack) -> None:
    runtime = opened(stack)
    with runtime.metadata() as connection:
        shown = connection.execute("SELECT current_setting('search_path'), current_setting('TimeZone')").fetchone()
        assert shown == ("testgen", "UTC")
        connection.execute("CREATE TABLE public.kept AS SELECT 4711 AS id")
    assert runtime.down()
    assert not runtime.down()
    assert not find_runtime(stack.run.settings, silent).health().postgres_running
    assert opened(stack).health().is_good
    assert not opened(stack).up(), "there is nothing to do"
    stack.kill()
    assert stack.run.document("status")["healthy"] is False
    with opened(stack).metadata() as connection:
        assert connection.execute("SELECT id FROM public.kept").fetchone() == (4711,)
        connection.execute("DROP TABLE public.kept")


def test_another_password_is_refused(stack: Stack) -> None:
    with pytest.raises(EnvironmentFault, match="password authentication failed"):
        opened(stack).server(SecretStr("wrong")).connect("datakitchen")


def test_installed_again_there_is_nothing_to_do(stack: Stack) -> None:
    assert stack.run.document("install", "--dry-run")["steps"] == []
    assert stack.run.document("install")["changed"] == []


def test_status_says_how_it_is(stack: Stack) -> None:
    found = stack.run.document("status")
    assert (found["installed"], found["healthy"]) == (True, True)
    assert set(found["services"].values()) == {"running"}
    assert found["schema_revision"] == found["expected_revision"] == 235
    assert {job["status"] for job in found["last_jobs"]} == {"completed"}


def test_stock_commands_give_their_rows(stack: Stack) -> None:
    document = stack.run.document("testgen", "--", "list-projects")
    assert [row["project_key"] for row in document["rows"]].count(SYSTEM) == 1
    assert "Output written to" in document["stdout"]


@pytest.mark.thorough(but="local")
def test_rotated_credentials_are_taken_by_all_and_the_old_ones_are_refused(stack: Stack) -> None:
    runtime = opened(stack)
    before, old = runtime.postgres, secrets_of(stack)
    stack.run("credentials", "rotate", "--all")
    assert not set(old) & set(secrets_of(stack))
    with pytest.raises(EnvironmentFault, match="password authentication failed"):
        before.connect("datakitchen")
    report = stack.run.home / "shop.xml"
    document = stack.run.document("run-tests", f"{SYSTEM}/{SUITE}", "--junit", report)
    assert document["exit_code"] == 0, "the connection is still decrypted"
    assert report.read_text().count("<testcase ") == document["runs"][0]["counts"]["total"]


def test_uninstalled_and_installed_again_everything_is_there(stack: Stack) -> None:
    before = stack.run.document("runs")["runs"]
    assert stack.run.document("uninstall")["kept"]
    assert stack.run("runs", code=2).err
    stack.run("install")
    assert stack.run.document("runs")["runs"] == before


def test_every_run_is_published_once_with_all_of_its_results(stack: Stack) -> None:
    runs = {row["run_id"] for row in stack.run.document("runs")["runs"]}
    rows = [row for row in published(stack.run.settings, "dq_runs") if row["stack"] == stack.run.settings.stack]
    assert Counter(row["run_id"] for row in rows) == Counter(runs)
    with opened(stack).metadata() as connection:
        stored = connection.execute("SELECT count(*) FROM test_results").fetchone()
    assert stored == (sum(row["run_id"] in runs for row in published(stack.run.settings, "dq_test_results")),)
    assert stored > (30,)


@pytest.mark.thorough(but="local")
def test_a_stack_of_which_only_the_secrets_are_left_comes_back_from_its_state(stack: Stack) -> None:
    run = replace(stack.run, environment={**stack.run.environment, "DQCTL_STATE": "auto"})
    own = run.settings.stack
    run("state", "save")

    def runs() -> Counter[str]:
        return Counter(row["run_id"] for row in published(run.settings, "dq_runs") if row["stack"] == own)

    listed, there = run.document("runs")["runs"], runs()
    with opened(stack).metadata() as connection:
        before = picture(connection, without=("dqctl.state_", "dqctl.rotations", "dqctl.foreground"))
    stack.lose()
    assert any(step.startswith("state of commit") for step in run.document("install")["changed"])
    with opened(stack).metadata() as connection:
        after = picture(connection, without=("dqctl.state_", "dqctl.rotations", "dqctl.foreground"))
    assert {name for name in before if before[name] != after.get(name, [])} == set()
    assert run.document("runs")["runs"] == listed
    (new,) = run.document("run-tests", SUITE, "--fail-on", "never")["runs"]
    assert runs() == there + Counter([new["run"]["run_id"]])


@pytest.mark.local
@pytest.mark.docker
def test_both_runtimes_find_the_same(local_stack: Stack, docker_stack: Stack) -> None:
    here, there = found_first(local_stack), found_first(docker_stack)
    assert here == there
    assert {name for name, rows in here.items() if sum(rows.values()) > 0} == {table.name for table in _CONTENT}
    assert sum(here["dq_test_results"].values()) > 30


def secrets_of(stack: Stack) -> list[str]:
    folder = opened(stack).paths.secrets
    return [path.read_text().strip() for path in folder.iterdir() if path.name != "config.env"]


_CONTENT = (records.TEST_RESULTS, records.TEST_DEFINITIONS, records.PROFILE_COLUMNS, records.ANOMALIES)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def found_first(stack: Stack) -> dict[str, Counter[str]]:
    """What the first run of each kind published, by table; of ids and times only that there is one."""
    runs: dict[str, dict[str, Any]] = {}
    own = stack.run.settings.stack
    for row in sorted(published(stack.run.settings, "dq_runs"), key=lambda row: row["started_at"]):
        if row["stack"] == own:
            runs.setdefault(row["kind"], row)
    ids = {run["run_id"] for run in runs.values()}
    return {
        table.name: Counter(
            _ID.sub("id", json.dumps({**row, "stack": ""}, default=_as_text, sort_keys=True))
            for row in published(stack.run.settings, table.name)
            if row["run_id"] in ids
        )
        for table in _CONTENT
    }


def _as_text(value: object) -> str:
    return "time" if isinstance(value, datetime) else str(value)
