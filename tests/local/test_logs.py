"""What the parts of a stack wrote, read back as one."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from workspaces import running_workspace

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def stack(installed_stack: Settings) -> Settings:
    open_runtime(installed_stack, silent)
    return installed_stack


@pytest.fixture
def run(stack: Settings) -> CommandLine:
    return CommandLine(stack.home)


@pytest.fixture
def testgen_log(stack: Settings) -> Iterator[Path]:
    path = StackPaths(stack.home, stack.stack).logs / "testgen.log"
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def test_every_line_names_its_source(run: CommandLine) -> None:
    lines = run("logs").out.splitlines()
    assert {line.partition(" | ")[0].strip() for line in lines} == {"testgen", "postgres"}
    assert any("database system is ready to accept connections" in line for line in lines)
    # The first call of a stack: TestGen's set-up, or the hash that is put into what an earlier one left.
    assert any(
        re.search(r"testgen +\| .* (testgen setup-system-db|python -P -c import bcrypt)", line) for line in lines
    )


def test_json_is_one_document_with_its_lines_in_the_order_of_time(run: CommandLine) -> None:
    objects = run.document("logs")["lines"]
    assert all(set(each) == {"source", "at", "text"} for each in objects)
    times = [datetime.fromisoformat(each["at"]) for each in objects if each["at"]]
    assert times == sorted(times)
    assert all(at.tzinfo is not None for at in times)
    assert {each["source"] for each in objects} == {"testgen", "postgres"}


def test_one_service_and_its_last_lines(run: CommandLine, testgen_log: Path) -> None:
    with testgen_log.open("a") as file:
        file.write("--- 2026-11-21T08:00:00+00:00 testgen one\nsecond\nthird")
    out = run("logs", "--lines", "2", "testgen").out.splitlines()
    assert [line.partition(" | ")[2] for line in out] == ["second", "third"]
    assert run("logs", "-n", "0").out == ""


def test_what_is_older_is_left_out(run: CommandLine, testgen_log: Path) -> None:
    testgen_log.write_text(
        "--- 2020-01-01T00:00:00+00:00 testgen old\nof old\n--- 2026-06-01T10:00:00+00:00 testgen new\nof new\n"
    )
    out = run("logs", "--since", "2026-06-01T09:00:00+00:00", "testgen").out.splitlines()
    assert [line.partition(" | ")[2] for line in out] == ["--- 2026-06-01T10:00:00+00:00 testgen new", "of new"]
    os.utime(testgen_log, (0, 0))
    assert run("logs", "--since", "1h", "testgen").out == ""


def test_no_secret_is_shown(run: CommandLine, stack: Settings, testgen_log: Path) -> None:
    secret = (StackPaths(stack.home, stack.stack).secrets / "postgres_password").read_text().strip()
    with testgen_log.open("a") as file:
        file.write(f"said {secret}\nAuthorization: Bearer planted-bearer-4711\n")
    for form in ("table", "json"):
        said = run("--output", form, "logs", "testgen")
        assert "said ********" in said.out
        assert secret not in said.everything
        assert "planted-bearer-4711" not in said.everything


def test_a_service_that_there_is_not_is_a_usage_error(run: CommandLine) -> None:
    said = run("logs", "nonsense", code=2)
    assert "there is no service 'nonsense'" in said.err
    assert "testgen, install, postgres" in said.err
    assert "is no time" in run("logs", "--since", "yesterday", code=2).err


def test_a_stack_that_there_is_not_is_a_usage_error(run: CommandLine) -> None:
    said = run("--stack", "nowhere", "logs", code=2)
    assert "stack 'nowhere' is not installed" in said.err
    assert f"dqctl --home {run.home} --stack nowhere install" in said.err


def test_the_workspaces_log_is_among_them(stack: Settings) -> None:
    with running_workspace() as endpoint:
        run = CommandLine(stack.home, {"DQCTL_WORKSPACE": str(endpoint.data_dir)})
        assert "serving local.dqctl.invalid" in run("logs", "workspace").out


def test_follow_goes_on_with_what_comes_until_ctrl_c(run: CommandLine, testgen_log: Path) -> None:
    objects = run.start("--output", "json", "logs", "--lines", "1", "--follow", "testgen")
    process = run.start("logs", "--lines", "1", "--follow", "testgen")
    assert process.hear("testgen | ", 60, stdout=True)
    assert objects.hear('"source": "testgen"', 60, stdout=True)
    with testgen_log.open("a") as file:
        file.write("first of the new\nhalf ")
        file.flush()
        assert process.hear("first of the new", 20, stdout=True)
        file.write("of a line\n")
    assert process.hear("half of a line", 20, stdout=True)
    testgen_log.replace(testgen_log.with_suffix(".log.1"))  # as dqctl rotates it
    testgen_log.write_text("in the new file\n")
    assert process.hear("in the new file", 20, stdout=True)
    process.signal(signal.SIGINT)
    said = process.end(30)
    assert said.code == 130
    assert said.out.count("first of the new") == 1
    objects.signal(signal.SIGINT)
    followed = [json.loads(line) for line in objects.end(30).out.splitlines()]
    assert all(set(each) == {"source", "at", "text"} for each in followed)
    assert [each["text"] for each in followed].count("first of the new") == 1
    assert "Traceback" not in said.err
    testgen_log.with_suffix(".log.1").unlink()


def test_whoever_has_enough_may_leave(stack: Settings, testgen_log: Path) -> None:
    testgen_log.write_text("line\n" * 200_000)
    dqctl = shlex.join([sys.executable, "-m", "dqctl", "--home", str(stack.home)])
    script = f"{dqctl} logs --lines 200000 testgen | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "testgen | line\n", "")
