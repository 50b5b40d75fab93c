"""The stack's PostgreSQL, and what can happen to it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import silent
from dqctl.runtime import metadata, open_runtime
from dqctl.runtime.connection import be_patient
from dqctl.runtime.local import LocalRuntime
from dqctl.runtime.postgres import HOST
from dqctl.services.install import install
from dqctl.services.status import status
from dqctl.settings import Settings, load

pytestmark = pytest.mark.local
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")


def note(runtime: LocalRuntime, text: str) -> None:
    with runtime.metadata() as connection:
        connection.execute(
            "INSERT INTO projects (id, project_code, project_name) VALUES (gen_random_uuid(), %s, 'x')", [text]
        )


def notes(runtime: LocalRuntime) -> set[str]:
    with runtime.metadata() as connection:
        return {row[0] for row in connection.execute("SELECT project_code FROM projects")} - {"DEFAULT"}


def postmaster(runtime: LocalRuntime) -> int:
    running = runtime.postgres.postmaster()
    assert running
    return running.pid


def test_metadata_connections_are_utc_and_see_testgens_tables(installed_stack: Settings) -> None:
    with open_runtime(installed_stack, silent).metadata() as connection:
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
        assert connection.execute("SHOW search_path").fetchone() == ("testgen",)
        assert connection.execute("SELECT count(*) > 80 FROM test_types").fetchone() == (True,)
        assert connection.execute("SELECT lower('ÄÉ')").fetchone() == ("äé",)
        assert not connection.autocommit


def test_opening_a_stack_that_runs_is_quick(installed_stack: Settings) -> None:
    open_runtime(installed_stack, silent)
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        assert not open_runtime(installed_stack, silent).up()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0  # the quickest does not depend on the machine's load


def test_a_server_that_says_nothing_is_given_up_and_then_not_waited_for_as_long_again(
    installed_stack: Settings,
) -> None:
    runtime = open_runtime(installed_stack, silent)
    first, second = runtime.metadata(), runtime.metadata()
    be_patient(first, 1.0)
    stopped = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cwd") if is_in(path, runtime)]
    assert postmaster(runtime) in stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError, match="anything for 1 s"):
            first.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="anything for 5 s"):
            second.execute("SELECT 1")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    with runtime.metadata() as third:
        third.execute("SELECT 1")
        third.execute("SELECT pg_sleep(6)")  # it has spoken: it may think


def is_in(working_directory: Path, runtime: LocalRuntime) -> bool:
    try:
        return working_directory.readlink() == runtime.paths.postgres.resolve()
    except OSError:
        return False


def test_it_listens_on_the_loopback_alone_and_asks_for_the_password(installed_stack: Settings) -> None:
    runtime = open_runtime(installed_stack, silent)
    port = runtime.record.postgres_port
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match=r"password authentication failed|no password supplied"):
            psycopg.connect(host=HOST, port=port, user="testgen", dbname="postgres", password=password)


def test_after_kill_9_the_next_command_works_and_nothing_is_lost(fresh_stack: Settings) -> None:
    for number in range(3):
        runtime = open_runtime(fresh_stack, silent)
        note(runtime, f"P{number}")
        os.kill(postmaster(runtime), signal.SIGKILL)
    assert notes(open_runtime(fresh_stack, silent)) == {"P0", "P1", "P2"}


def test_kill_9_in_the_middle_of_a_transaction_loses_that_alone(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    note(runtime, "KEPT")

    def insert_and_be_killed() -> None:
        with runtime.metadata() as connection:
            connection.execute(
                "INSERT INTO projects (id, project_code, project_name)"
                " SELECT gen_random_uuid(), 'P' || n, 'x' FROM generate_series(1, 50000) n"
            )
            os.kill(postmaster(runtime), signal.SIGKILL)
            connection.execute("SELECT pg_sleep(5)")

    with pytest.raises(EnvironmentFault, match="went away"):
        insert_and_be_killed()
    assert notes(open_runtime(fresh_stack, silent)) == {"KEPT"}


def test_after_kill_9_of_a_backend_the_next_command_waits_for_the_recovery(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    note(runtime, "KEPT")

    def lose_the_backend() -> None:
        with runtime.metadata() as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            connection.execute("SELECT 1")

    with pytest.raises(EnvironmentFault, match="went away"):
        lose_the_backend()
    assert notes(open_runtime(fresh_stack, silent)) == {"KEPT"}


def test_a_foreign_process_with_the_old_number_is_not_taken_for_it(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    pid_file = runtime.postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(postmaster(runtime), signal.SIGKILL)
    account = runtime.postgres.account
    with subprocess.Popen(["/usr/bin/sleep", "60"], user=account) as sleeper:
        # As after a reboot: the number now belongs to another process of the same account.
        pid_file.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        if account:
            shutil.chown(pid_file, account)
        assert runtime.postgres.postmaster() is None
        assert not status(fresh_stack).postgres_running
        again = open_runtime(fresh_stack, silent)
        assert postmaster(again) != sleeper.pid
        assert sleeper.poll() is None
        sleeper.kill()


@pytest.mark.thorough(but=r"garbage\n")
@pytest.mark.parametrize("rest", ["", "\n", "garbage\n", "999999\n"])
def test_a_damaged_pid_file_is_no_obstacle(fresh_stack: Settings, rest: str) -> None:
    runtime = open_runtime(fresh_stack, silent)
    runtime.down()
    (runtime.postgres.data / "postmaster.pid").write_text(rest)
    assert open_runtime(fresh_stack, silent).health().is_good


@contextlib.contextmanager
def listener(port: int) -> Iterator[None]:
    with socket.create_server((HOST, port)):
        yield


def test_when_its_port_is_taken_it_moves_and_testgen_follows(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    note(runtime, "KEPT")
    runtime.down()
    port = runtime.record.postgres_port
    said: list[str] = []
    with listener(port):
        moved = open_runtime(fresh_stack, said.append)
        assert moved.record.postgres_port != port
        assert notes(moved) == {"KEPT"}
        assert (
            f"TG_METADATA_DB_PORT={moved.record.postgres_port}\n"
            in (moved.paths.secrets / "config.env").read_text()
        )
    assert any(f"port {port} is taken" in line for line in said)
    assert open_runtime(fresh_stack, silent).record.postgres_port == moved.record.postgres_port


def test_what_listens_in_its_place_never_sees_the_password(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    runtime.down()
    heard = bytearray()
    with socket.create_server((HOST, 0)) as server:

        def ask_for_the_password() -> None:
            client, _ = server.accept()
            with client:
                heard.extend(client.recv(1000))
                client.sendall(b"R\0\0\0\x08\0\0\0\x03")  # AuthenticationCleartextPassword
                client.settimeout(5)
                with contextlib.suppress(OSError):
                    heard.extend(client.recv(1000))

        thread = threading.Thread(target=ask_for_the_password)
        thread.start()
        with pytest.raises(EnvironmentFault, match="does not answer"):
            replace(runtime.postgres, port=server.getsockname()[1]).connect("postgres")
        thread.join(10)
    assert b"testgen" in heard
    assert (runtime.paths.secrets / "postgres_password").read_bytes().strip() not in heard


def test_ten_commands_at_once_start_one_server(fresh_stack: Settings) -> None:
    code = (
        "import sys; from dqctl.settings import load; from dqctl.runtime import open_runtime\n"
        "r = open_runtime(load({'home': sys.argv[1]}, {}), lambda _: None)\n"
        "print(r.postgres.postmaster().pid)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(fresh_stack.home)], stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    pids = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 10
    assert len(set(pids)) == 1


def test_a_server_that_goes_away_before_the_commit_is_a_fault_of_the_machine(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)

    def lose_the_backend() -> None:
        with runtime.metadata() as connection:
            connection.execute("SELECT 1")
            os.kill(connection.info.backend_pid, signal.SIGKILL)

    with pytest.raises(EnvironmentFault, match="went away"):
        lose_the_backend()


def test_a_statement_that_is_wrong_is_no_fault_of_the_machine(installed_stack: Settings) -> None:
    with (
        pytest.raises(psycopg.errors.UndefinedTable),
        open_runtime(installed_stack, silent).metadata() as connection,
    ):
        connection.execute("SELECT * FROM nothing_of_the_kind")


def test_stop_ends_open_sessions_and_says_whether_it_ran(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    connection = runtime.metadata()
    connection.execute("SELECT 1")
    assert runtime.down()
    assert not runtime.down()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()
    with pytest.raises(EnvironmentFault, match="does not answer"):
        runtime.metadata()


def test_variables_of_libpq_do_not_lead_elsewhere(
    installed_stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {"PGHOST": "203.0.113.1", "PGHOSTADDR": "203.0.113.1", "PGPORT": "1", "PGUSER": "x"}
    for name, value in (elsewhere | {"PGSSLMODE": "require", "PGOPTIONS": "-c search_path=x"}).items():
        monkeypatch.setenv(name, value)
    with open_runtime(installed_stack, silent).metadata() as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("testgen",)


@needs_root
def test_as_root_it_runs_as_the_account_that_the_setting_names(home: Path) -> None:
    settings = load({"home": home, "postgres_account": "nobody"}, {})
    report = install(settings, progress=silent)
    assert report.postgres_account == "nobody"
    pid = status(settings).postgres_pid
    assert pid
    assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    data = home / "stacks" / "default" / "postgres"
    assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (pwd.getpwnam("nobody").pw_uid, 0o700)
    # Later commands need no setting.
    assert open_runtime(load({"home": home}, {}), silent).health().is_good


@needs_root
def test_a_home_that_the_account_cannot_reach_is_refused_with_the_fix(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    inner = closed / "dqctl"
    inner.mkdir()
    (inner / "environments").symlink_to((home / "environments").resolve())
    with pytest.raises(EnvironmentFault, match=f"cannot pass through {closed}$") as raised:
        install(load({"home": inner}, {}), progress=silent)
    assert "DQCTL_HOME" in raised.value.hint
    assert closed.stat().st_mode & 0o777 == 0o700, "a directory that is not ours is left alone"


def test_a_database_of_another_revision_is_never_migrated(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    note(runtime, "KEPT")
    with runtime.metadata() as connection:
        connection.execute("UPDATE tg_revision SET revision = 213 WHERE component = 'metadata_db'")
    for attempt in (lambda: open_runtime(fresh_stack, silent), lambda: install(fresh_stack, progress=silent)):
        with pytest.raises(UsageError, match="revision 213") as raised:
            attempt()
        assert "nothing was changed" in raised.value.hint
    assert metadata.schema_revision(runtime.postgres) == 213
    assert notes(runtime) == {"KEPT"}


def test_a_stack_with_data_does_not_change_its_version(fresh_stack: Settings) -> None:
    note(open_runtime(fresh_stack, silent), "KEPT")
    with pytest.raises(UsageError, match=r"5\.92\.2 was asked for") as raised:
        install(fresh_stack, version="5.92.2", progress=silent)
    assert "another --stack" in raised.value.hint
    runtime = open_runtime(fresh_stack, silent)
    assert (runtime.version, notes(runtime)) == ("5.134.0", {"KEPT"})
