"""Backups of a stack in containers: PostgreSQL's programs run beside the server, files go through an exec."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CommandLine
from container_stacks import container_stack, containers
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import backup
from stored_state import Picture, add_history, make_odd_table, picture

pytestmark = [pytest.mark.docker, pytest.mark.thorough, pytest.mark.timeout(600)]

STACK = "backups"
_ENDLESS = 300_000_000  # bytes of input that nobody reads


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    del images  # built or there
    with container_stack(STACK) as run:
        run("install", timeout=400)
        with open_runtime(run.settings, silent).metadata() as connection:
            make_odd_table(connection)
            add_history(connection, "5.134.0")
        yield run


def seen(run: CommandLine) -> Picture:
    with open_runtime(run.settings, silent).metadata() as connection:
        return picture(connection)


def programs(run: CommandLine) -> list[str]:
    """What runs in PostgreSQL's container beside the server, and the homes of calls."""
    container = containers(STACK)["postgres"]
    rows = [str(row[-1]) for row in container.top()["Processes"]]
    found = [row for row in rows if row.startswith(("pg_", "psql", "cat", "head", "sh -c", "timeout"))]
    homes = str(container.exec_run(["sh", "-c", "ls /tmp/dqctl 2>/dev/null"]).output.decode()).split()
    return found + homes


def wait_quiet(run: CommandLine, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while left := programs(run):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def test_a_backup_comes_back_row_by_row(run: CommandLine) -> None:
    before = seen(run)
    made = run.document("backup", "create")["backup"]
    assert made["verified"]
    assert made["postgres_version"].startswith("15.")
    with open_runtime(run.settings, silent).metadata() as connection:
        connection.execute("DELETE FROM test_results")
    assert seen(run) != before
    assert run.document("backup", "restore", made["id"])["before"]
    assert seen(run) == before
    wait_quiet(run)


def test_files_of_any_size_and_all_bytes_pass_through_both_ways(run: CommandLine, tmp_path: Path) -> None:
    runtime = open_runtime(run.settings, silent)
    out = tmp_path / "out"
    query = "COPY (SELECT repeat(E'\\x01\\xc3\\xa9', 500) FROM generate_series(1, 40000)) TO STDOUT"
    done = runtime.database_program(["psql", "--dbname=postgres", "-c", query], stdout=out, deadline=Deadline(120))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert out.stat().st_mode & 0o777 == 0o600
    assert out.read_bytes() == (b"\x01\xc3\xa9" * 500 + b"\n") * 40000
    back = "CREATE TEMP TABLE t (x text); COPY t FROM STDIN;\n"
    script = tmp_path / "script"
    script.write_bytes(back.encode() + out.read_bytes() + b"\\.\nSELECT count(*), sum(length(x)) FROM t;\n")
    done = runtime.database_program(["psql", "--dbname=postgres", "-At"], stdin=script, deadline=Deadline(120))
    assert done.stdout.split()[-1] == "40000|40000000", done


def test_input_that_nobody_reads_holds_nothing_up(run: CommandLine, tmp_path: Path) -> None:
    runtime = open_runtime(run.settings, silent)
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(_ENDLESS)
    started = time.monotonic()
    done = runtime.database_program(
        ["psql", "--dbname=postgres", "-Atc", "SELECT 7"], stdin=endless, deadline=Deadline(60)
    )
    assert (done.exit_code, done.stdout) == (0, "7\n")
    with pytest.raises(EnvironmentFault, match="did not finish within 2 s"):
        runtime.database_program(
            ["psql", "--dbname=postgres", "-Atc", "SELECT pg_sleep(60)"], stdin=endless, deadline=Deadline(2)
        )
    assert time.monotonic() - started < 30
    wait_quiet(run)


_RESTORE = """
import os, signal, sys, threading
from dqctl.runtime import engine
from dqctl.services import backup_restore
from dqctl.settings import load

def progress(message):
    if "restoring" in message and sys.argv[1] == "before its input":
        engine.feeding = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        return
    if "restoring" in message:
        threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()

backup_restore.restore(load(), "latest", progress=progress)
"""


def test_a_restore_that_is_killed_leaves_the_metadata_and_nothing_else(run: CommandLine) -> None:
    runtime = open_runtime(run.settings, silent)
    before, made = seen(run), backup.create(runtime, "test")
    environment = {**os.environ, **run.environment, "DQCTL_HOME": str(run.home)}
    for moment in ("before its input", "0.2", "0.5"):
        done = subprocess.run([sys.executable, "-c", _RESTORE, moment], env=environment, timeout=120)
        assert done.returncode == -signal.SIGKILL
        assert seen(run) == before
        wait_quiet(run)
        with runtime.postgres.connect("postgres") as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'data%'").fetchall()
        assert found == [("datakitchen",)]
    assert backup.verify(runtime, made).rows == made.manifest.rows
