"""What a backup costs beside PostgreSQL's own programs: counts, checksums, and a copy restored and compared."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import Runtime, metadata, open_runtime
from dqctl.runtime.connection import be_patient
from dqctl.services import backup
from dqctl.settings import Settings
from local.conftest import _homes, copied_stack, environments_cache, install_version, seed  # noqa: F401 - fixtures
from stored_state import add_history, multiply_results

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

VERSION = "5.134.0"
RESULTS = 1_000_000


def test_a_verified_backup_beside_pg_dump_and_pg_restore(
    copied_stack: Callable[[str], Settings],  # noqa: F811 - pytest's way
    tmp_path: Path,
    record: Record,
) -> None:
    runtime = open_runtime(copied_stack(VERSION), silent)
    with runtime.metadata() as connection:
        be_patient(connection, 900)
        add_history(connection, VERSION)
        multiply_results(connection, RESULTS)
    plain = tmp_path / "plain.dump"
    started = time.monotonic()
    assert _run(runtime, ["pg_dump", "-Fc", "--dbname=datakitchen"], stdout=plain) == 0
    dumped = time.monotonic()
    metadata.create_database(runtime.postgres, "plain")
    assert _run(runtime, ["pg_restore", "--exit-on-error", "--no-owner", "--dbname=plain"], stdin=plain) == 0
    restored = time.monotonic()
    metadata.drop_database(runtime.postgres, "plain")
    before = time.monotonic()
    made = backup.create(runtime, "benchmark")
    created = time.monotonic()
    verification = backup.verify(runtime, made)
    verified = time.monotonic()
    assert verification.rows > RESULTS
    context = {"rows": verification.rows, "bytes": made.manifest.bytes, "plain_bytes": plain.stat().st_size}
    record("pg_dump -Fc", dumped - started, "s", **context)
    record("pg_restore", restored - dumped, "s")
    ours, theirs = verified - before, restored - started
    record("backup create", created - before, "s")
    record("backup verify", verified - created, "s")
    record("create and verify", ours, "s", times_pg_dump_and_pg_restore=round(ours / theirs, 2))


def _run(runtime: Runtime, argv: list[str], stdin: Path | None = None, stdout: Path | None = None) -> int:
    completed = runtime.database_program(argv, stdin=stdin or "", stdout=stdout, deadline=Deadline(600))
    assert not completed.exit_code, completed.stderr
    return int(completed.exit_code)
