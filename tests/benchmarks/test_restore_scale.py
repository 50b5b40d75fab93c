"""A million results come back from Databricks; beside it, what pg_restore takes for the same database."""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import metadata, open_runtime
from dqctl.runtime.connection import be_patient
from dqctl.services import state, state_restore
from dqctl.settings import Settings, load
from local.conftest import _homes, copied_stack, environments_cache, install_version, seed  # noqa: F401 - fixtures
from stored_state import add_history, multiply_results
from workspaces import running_workspace

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

VERSION = "5.134.0"
RESULTS = 1_000_000
CEILING = 60.0
TIMES_PG_RESTORE = 3.0


def test_restore_of_a_million_results(
    copied_stack: Callable[[str], Settings],  # noqa: F811 - pytest's way
    tmp_path: Path,
    record: Record,
) -> None:
    stack = copied_stack(VERSION)
    with running_workspace() as endpoint:
        settings = load({"home": stack.home, "workspace": endpoint.data_dir, "state": "auto"}, {})
        runtime = open_runtime(settings, silent)
        with runtime.metadata() as connection:
            be_patient(connection, 900)
            add_history(connection, VERSION)
            multiply_results(connection, RESULTS)
        started = time.perf_counter()
        saved = state.save(settings)
        record("state_save_base", time.perf_counter() - started, "s", rows=saved.rows)
        assert saved.rows > RESULTS

        dump, deadline = tmp_path / "dump", Deadline(600)
        argv = ["pg_dump", "--format=custom", f"--dbname={metadata.DATABASE}"]
        assert runtime.database_program(argv, stdout=dump, deadline=deadline).exit_code == 0
        metadata.create_database(runtime.postgres, "rival")
        started = time.perf_counter()
        argv = ["pg_restore", "--exit-on-error", "--no-owner", "--dbname=rival"]
        assert runtime.database_program(argv, stdin=dump, deadline=deadline).exit_code == 0
        rival = time.perf_counter() - started
        metadata.drop_database(runtime.postgres, "rival")

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        done = state_restore.restore(settings)
        seconds = time.perf_counter() - started
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
        record(
            "state_restore", seconds, "s", limit=CEILING, rows=done.rows, pg_restore=round(rival, 2),
            times=round(seconds / rival, 2), times_limit=TIMES_PG_RESTORE, more_mb=round(grown),
        )  # fmt: skip
        assert done.rows == saved.rows
        assert seconds <= max(CEILING, TIMES_PG_RESTORE * rival)
