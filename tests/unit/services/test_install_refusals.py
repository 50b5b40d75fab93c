"""What an install refuses before it does anything."""

import os
from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.errors import EnvironmentFault, MissingSetting, UsageError
from dqctl.progress import silent
from dqctl.services.install import install
from dqctl.services.install_plan import plan_install
from dqctl.settings import load


def test_a_scheduler_is_for_containers_only_and_it_is_said_what_to_do_instead(tmp_path: Path) -> None:
    settings = load({"home": tmp_path / "home", "scheduler": True}, {})
    for refused in (
        lambda: install(settings, runtime="local", progress=silent),
        lambda: plan_install(settings, runtime="local"),
    ):
        with pytest.raises(UsageError, match="the runtime local has no scheduler") as raised:
            refused()
        assert "dqctl run-tests --all" in raised.value.hint
        assert "--runtime docker" in raised.value.hint
    assert not (tmp_path / "home").exists()


def test_a_controller_that_runs_all_the_time_is_for_containers_only(tmp_path: Path) -> None:
    settings = load({"home": tmp_path / "home", "controller": True, "controller_run": True}, {})
    with pytest.raises(UsageError, match="has no containers") as raised:
        install(settings, runtime="local", progress=silent)
    assert "dqctl controller unit" in raised.value.hint
    assert not (tmp_path / "home").exists()


def test_the_flag_and_the_variable_say_the_same(tmp_path: Path) -> None:
    for command in (
        CommandLine(tmp_path / "a")("install", "--scheduler", code=2),
        CommandLine(tmp_path / "b", {"DQCTL_SCHEDULER": "yes"})("install", code=2),
    ):
        assert "has no scheduler that runs all the time" in command.err


def test_a_workspace_without_a_way_to_sign_in_gets_no_stack_beside_its_saved_state(tmp_path: Path) -> None:
    named = {"DATABRICKS_HOST": "adb-1.azuredatabricks.net", "DATABRICKS_WAREHOUSE_ID": "abc"}
    for lacking in (named, {**named, "DATABRICKS_TOKEN": ""}, {"DATABRICKS_HOST": named["DATABRICKS_HOST"]}):
        settings = load({"home": tmp_path, "state": "auto"}, lacking)
        with pytest.raises(MissingSetting, match="is set") as raised:
            install(settings, runtime="local", progress=silent)
        assert "Nothing was made" in raised.value.hint
    assert not (tmp_path / "stacks" / "default" / "stack.json").exists()
    assert not (tmp_path / "stacks" / "default" / "secrets").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lets PostgreSQL run as another account")
def test_a_home_that_postgresql_cannot_reach_is_refused_before_programs_are_fetched(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = load({"home": closed / "home", "state": "off"}, {})
    with pytest.raises(EnvironmentFault, match="cannot pass through"):
        install(settings, runtime="local", progress=silent)
    assert not any((closed / "home" / "environments").iterdir())
