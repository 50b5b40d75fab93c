"""The numbers of a real stack: while it works, while it is down, and as a file."""

from pathlib import Path

import pytest

from command_line import CommandLine
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services.metrics import measure, write
from dqctl.settings import Settings

pytestmark = pytest.mark.local


def test_a_stack_is_up_and_down_and_looking_starts_nothing(fresh_stack: Settings, tmp_path: Path) -> None:
    down = measure(fresh_stack)
    assert (down.up, down.unsaved, down.newest) == (False, None, ())
    runtime = open_runtime(fresh_stack, silent)
    found = measure(fresh_stack)
    assert (found.up, found.newest, found.unpublished) == (True, (), None)
    with runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO job_executions (id, project_code, job_key, kwargs, source, status, started_at)"
            " VALUES (gen_random_uuid(), 'DEFAULT', 'run-tests', '{}', 'cli', 'running', now() AT TIME ZONE 'utc')"
        )
    assert measure(fresh_stack).underway == {"test": 1}
    said = CommandLine(fresh_stack.home, {})("metrics").out
    assert 'dqctl_runs_in_progress{kind="test",stack="default"} 1.0' in said
    file = tmp_path / "dqctl.prom"
    CommandLine(fresh_stack.home, {})("--quiet", "metrics", "--file", file)
    assert "dqctl_up" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [file]
    runtime.down()
    assert not measure(fresh_stack).up


def test_a_file_that_nobody_would_read_or_that_cannot_be_written_is_refused(
    fresh_stack: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"end in \.prom"):
        write(fresh_stack, tmp_path / "dqctl.txt")
    with pytest.raises(EnvironmentFault, match="could not be written") as refused:
        write(fresh_stack, tmp_path / "none" / "dqctl.prom")
    assert "DQCTL_METRICS_FILE" in refused.value.hint
    with pytest.raises(UsageError, match="is not installed"):
        measure(Settings(home=tmp_path))


def test_where_nothing_was_ever_published_everything_waits(fresh_stack: Settings, tmp_path: Path) -> None:
    runtime = open_runtime(fresh_stack, silent)
    with runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO job_executions (project_code, job_key, kwargs, source, status, completed_at)"
            " VALUES ('DEFAULT', 'run-tests', '{}', 'cli', 'completed', now())"
        )
    found = measure(fresh_stack.model_copy(update={"workspace": tmp_path}))
    assert (found.up, found.unpublished) == (True, 1)
    assert found.unpublished_since is not None
