"""What can be said about starting and stopping without a server."""

from pathlib import Path

import pytest

from dqctl.localworkspace import control
from dqctl.localworkspace.control import WorkspaceError
from dqctl.localworkspace.layout import Layout


def test_a_lock_that_cannot_be_taken_is_an_error_of_the_workspace(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "workspace")
    layout.make()
    layout.lock.touch()
    layout.start_lock.mkdir()
    with pytest.raises(WorkspaceError, match=r"cannot be stopped: .*Is a directory"):
        control.stop(layout.data_dir)
    with pytest.raises(WorkspaceError, match=r"cannot start: .*Is a directory"):
        control.start(layout.data_dir)


def test_what_never_ran_is_stopped_already(tmp_path: Path) -> None:
    assert not control.stop(tmp_path / "workspace")
    assert not control.status(tmp_path / "workspace").running
