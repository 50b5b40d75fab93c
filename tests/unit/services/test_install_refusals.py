"""What an install refuses before it does anything."""

from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.errors import UsageError
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


def test_the_flag_and_the_variable_say_the_same(tmp_path: Path) -> None:
    for command in (
        CommandLine(tmp_path / "a")("install", "--scheduler", code=2),
        CommandLine(tmp_path / "b", {"DQCTL_SCHEDULER": "yes"})("install", code=2),
    ):
        assert "has no scheduler that runs all the time" in command.err
