"""``schedule`` with the machine's real ``crontab``: whose crontab it is gets it back as it was."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.settings import Settings
from dqctl.stack import crontab, lock
from dqctl.stack.paths import StackPaths

CRONTAB = shutil.which("crontab")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(CRONTAB is None, reason="there is no crontab on this machine: apt-get install cron"),
]

OTHERS = '# of somebody else\nMAILTO=""\n0 3 * * 1-5\t/bin/true  # tabs\tand  blanks\n\n'


@pytest.fixture
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A crontab with lines of others."""
    before = crontab.read()
    crontab.write(OTHERS)
    try:
        yield OTHERS
    finally:
        crontab.write(before)
        if not before:
            subprocess.run([str(CRONTAB), "-r"], check=True, timeout=30)


@pytest.fixture
def command(installed_stack: Settings) -> CommandLine:
    environment = {
        "DQCTL_PARALLEL": "3",
        "DATABRICKS_TOKEN": "dapi-very-secret-4711",
        "DQCTL_METRICS_FILE": str(installed_stack.home / "dqctl.prom"),
    }
    return CommandLine(installed_stack.home, environment)


def as_cron_does(line: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line as cron does: by /bin/sh, elsewhere, with next to no environment."""
    command = line.split(None, 5)[5].replace("\\%", "%")
    environment = {"HOME": str(directory), "LOGNAME": "somebody", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd=directory, capture_output=True, text=True, timeout=120
    )


def test_a_schedule_comes_runs_and_goes_and_other_lines_stay(
    command: CommandLine, others: str, tmp_path: Path
) -> None:
    planned = command.document("schedule", "add", "night", "--at", "30 2 * * *", "--dry-run", "--", "run-tests")
    assert planned["change"] == "added"
    assert crontab.read() == others
    assert command.document("schedule", "list")["schedules"] == []

    added = command.document("schedule", "add", "night", "--at", "30 2 * * *", "--", "run-tests")
    assert (added["change"], added["left_out"]) == ("added", ["DATABRICKS_TOKEN"])
    text = crontab.read()
    assert text == others + added["writes"]["crontab"] == others + planned["writes"]["crontab"]
    paths = StackPaths(command.home, "default")
    kept = (paths.schedules / "night.json").read_text()
    assert "very-secret" not in text + kept
    assert json.loads(kept)["environment"]["DQCTL_PARALLEL"] == "3"

    again = command.document("schedule", "add", "night", "--at", "30 2 * * *", "--", "run-tests")
    assert (again["change"], crontab.read()) == ("unchanged", text)
    changed = command.document("schedule", "add", "night", "--at", "@hourly", "--", "run-tests")
    assert (changed["change"], crontab.read()) == ("changed", text.replace("30 2 * * *", "0 * * * *"))

    # What it says when it fails is for cron's mail, and all of it in the log.
    done = as_cron_does(crontab.read().splitlines()[-1], tmp_path)
    assert done.returncode == 2, done
    assert "which suites?" in done.stderr
    log = paths.logs / "schedule-night.log"
    assert "which suites?" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    (listed,) = command.document("schedule", "list")["schedules"]
    assert (listed["installed"], listed["last"]["exit_code"]) == (True, 2)
    assert listed["due"].endswith(":00:00")
    measured = (command.home / "dqctl.prom").read_text()
    assert 'dqctl_schedule_exit_code{schedule="night",stack="default"} 2.0' in measured

    assert command.document("schedule", "remove", "night")["change"] == "removed"
    assert crontab.read() == others
    assert command.document("schedule", "remove", "night")["change"] == "not there"


def test_a_run_that_is_good_says_nothing_and_two_do_not_run_at_once(
    command: CommandLine, others: str, tmp_path: Path
) -> None:
    command("schedule", "add", "tables", "--at", "0 0 29 2 *", "--", "systems", "list")
    line = crontab.read().splitlines()[-1]
    done = as_cron_does(line, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    paths = StackPaths(command.home, "default")
    log = (paths.logs / "schedule-tables.log").read_text()
    assert "no systems" in log
    with lock.hold(paths.schedules / "tables.lock", "schedule run tables"):
        busy = as_cron_does(line, tmp_path)
    assert busy.returncode == 6
    assert "schedule run tables" in busy.stderr
    # A line that somebody took out is told, and comes back when it is added again.
    crontab.write(others)
    (listed,) = command.document("schedule", "list")["schedules"]
    assert listed["installed"] is False
    assert command.document("schedule", "add", "tables", "--at", "0 0 29 2 *", "--", "systems", "list")["writes"]
    assert crontab.read().splitlines()[-1] == line
    command("schedule", "remove", "tables")


def test_what_a_stack_that_is_gone_left_in_the_crontab_can_be_removed(home: Path, others: str) -> None:
    crontab.write(crontab.with_line(others, crontab.mark(str(home), "default", "night"), "0 2 * * * /bin/true"))
    assert CommandLine(home).document("schedule", "remove", "night")["change"] == "removed"
    assert crontab.read() == others


def test_uninstall_takes_schedules_out_and_the_next_install_puts_them_back(
    fresh_stack: Settings, others: str
) -> None:
    run = CommandLine(fresh_stack.home)
    run("schedule", "add", "night", "--at", "@daily", "--", "systems", "list")
    run("schedule", "add", "mine", "--at", "@daily", "--by", "controller", "--", "systems", "list")
    scheduled = crontab.read()
    assert scheduled != others
    report = run.document("uninstall")
    assert (report["schedules"], crontab.read()) == (["night"], others)
    assert "schedules" in report["changed"]
    assert run.document("uninstall")["schedules"] == []
    listed = {
        each["schedule"]["name"]: each["installed"] for each in run.document("schedule", "list")["schedules"]
    }
    assert listed == {"night": False, "mine": True}
    assert "schedules" in run.document("install")["changed"]
    assert crontab.read() == scheduled
    crontab.write(others)  # somebody takes it out, and that stays so
    assert run.document("install")["changed"] == []
    assert crontab.read() == others

    # One whose file is damaged can be added anew, or removed; and goes with its stack.
    file = StackPaths(run.home, "default").schedules / "night.json"
    file.write_text("{")
    assert run.document("schedule", "add", "night", "--at", "@daily", "--", "systems", "list")["change"] == "added"
    assert crontab.read() == scheduled
    file.write_text("{")
    assert run.document("schedule", "remove", "night")["change"] == "removed"
    assert (crontab.read(), file.exists()) == (others, False)
    run("schedule", "add", "night", "--at", "@daily", "--", "systems", "list")
    file.write_text("{")
    assert "taken out of crontab or systemd: night" in run("uninstall", "--purge").out
    assert crontab.read() == others


def test_without_a_stack_nothing_is_scheduled(home: Path) -> None:
    said = CommandLine(home)("schedule", "add", "night", "--at", "@daily", code=2)
    assert "there is no stack 'default'" in said.err
