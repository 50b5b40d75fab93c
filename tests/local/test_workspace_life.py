"""The life of the server: started once, killed, started again with everything still there."""

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from databricks import sql
from databricks.sql.client import Connection
from databricks.sql.exc import Error as ConnectorError
from databricks.sql.exc import ServerOperationError
from urllib3.exceptions import HTTPError

from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from workspaces import running_workspace

pytestmark = pytest.mark.local


def connect(endpoint: Endpoint) -> Connection:
    return sql.connect(
        server_hostname=endpoint.address,
        http_path=endpoint.http_path,
        access_token=endpoint.token_file.read_text().strip(),
        _port=endpoint.port,
        _tls_trusted_ca_file=str(endpoint.ca_file),
        enable_telemetry=False,
        _retry_stop_after_attempts_count=1,
    )


def query(endpoint: Endpoint, statement: str) -> list[tuple[object, ...]]:
    with connect(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_workspace() as running:
        yield running


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "workspace"
    control.stop(tmp_path / "workspace")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    for _ in range(200):
        try:
            os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return
        time.sleep(0.02)


def test_a_killed_server_starts_again_on_its_ports_with_its_data_and_token(endpoint: Endpoint) -> None:
    query(endpoint, "CREATE TABLE main.default.kept AS SELECT id FROM range(1000)")
    token = endpoint.token_file.read_text()
    kill(endpoint.pid)
    found = control.status(endpoint.data_dir)
    assert (found.running, found.answers) == (False, False)

    again = control.start(endpoint.data_dir)

    assert again.pid != endpoint.pid
    assert (again.port, again.proxy_url, again.ca_file) == (endpoint.port, endpoint.proxy_url, endpoint.ca_file)
    assert again.token_file.read_text() == token
    assert query(again, "SELECT count(*), sum(id) FROM main.default.kept") == [(1000, 499500)]


def test_one_that_dies_while_somebody_wants_it_to_answer_is_started_anew(endpoint: Endpoint) -> None:
    os.kill(endpoint.pid, signal.SIGSTOP)  # it runs, and does not answer
    found: list[Endpoint] = []
    starting = threading.Thread(target=lambda: found.append(control.start(endpoint.data_dir, timeout=120)))
    starting.start()
    with (endpoint.data_dir / "server" / "start.lock").open() as lock:
        while is_free(lock):
            time.sleep(0.01)
    os.kill(endpoint.pid, signal.SIGKILL)
    starting.join(150)
    assert [again.pid != endpoint.pid for again in found] == [True]
    assert query(found[0], "SELECT 1") == [(1,)]


def is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def test_killed_while_it_writes_it_keeps_every_finished_statement(endpoint: Endpoint) -> None:
    query(endpoint, "CREATE TABLE main.default.log (n BIGINT)")
    finished = []

    def write() -> None:
        with connect(endpoint) as connection, connection.cursor() as cursor:
            for n in range(10_000):
                cursor.execute(f"INSERT INTO main.default.log VALUES ({n})")
                finished.append(n)

    def until_it_breaks() -> None:
        with pytest.raises((ConnectorError, HTTPError)):
            write()

    writer = threading.Thread(target=until_it_breaks)
    writer.start()
    while len(finished) < 5:
        time.sleep(0.01)
    kill(endpoint.pid)
    writer.join(120)

    again = control.start(endpoint.data_dir)

    kept = [row[0] for row in query(again, "SELECT n FROM main.default.log ORDER BY n")]
    # The one that was under way may have made it or not; all others are there, once.
    assert kept in (finished, [*finished, len(finished)])


def test_starting_what_runs_changes_nothing(endpoint: Endpoint) -> None:
    assert control.start(endpoint.data_dir) == endpoint
    assert control.ensure(endpoint.data_dir) == endpoint


def test_two_starts_at_once_give_one_server(empty: Path) -> None:
    program = (
        "import pathlib, sys; from dqctl.localworkspace import control;"
        "print(control.start(pathlib.Path(sys.argv[1])).pid)"
    )
    starts = [
        subprocess.Popen([sys.executable, "-c", program, str(empty)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    pids = {start.communicate(timeout=120)[0].strip() for start in starts}
    assert all(start.returncode == 0 for start in starts)
    assert len(pids) == 1
    running = Endpoint.read(empty)
    assert running is not None
    assert pids == {str(running.pid)}


def test_terminating_ends_within_ten_seconds_even_under_load(endpoint: Endpoint) -> None:
    def endless() -> None:
        with pytest.raises((ConnectorError, HTTPError)):
            query(
                endpoint, "SELECT count(*) FROM range(100000000) a CROSS JOIN range(100000) b WHERE a.id*b.id%7=3"
            )

    client = threading.Thread(target=endless)
    client.start()
    time.sleep(1)
    began = time.monotonic()
    assert control.stop(endpoint.data_dir) is True
    assert time.monotonic() - began < 10
    assert Endpoint.read(endpoint.data_dir) is None
    client.join(60)
    assert not client.is_alive()


def test_stopping_what_does_not_run_says_so(empty: Path) -> None:
    assert control.stop(empty) is False


def test_a_reused_process_id_is_no_server(endpoint: Endpoint) -> None:
    kill(endpoint.pid)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        # As if the kernel had given the server's id to somebody else.
        (endpoint.data_dir / "server" / "lock").write_text(str(stranger.pid))
        assert control.stop(endpoint.data_dir) is False
        assert control.status(endpoint.data_dir).running is False
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_a_port_that_is_taken_is_named_with_the_servers_words(empty: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(control.WorkspaceError, match="ended while it started") as refused:
            control.start(empty, port=taken.getsockname()[1])
        assert "Address already in use" in refused.value.log_tail
    assert control.status(empty).running is False


def test_an_engine_that_is_not_there_fails_within_the_deadline(empty: Path) -> None:
    began = time.monotonic()
    with pytest.raises(control.WorkspaceError):
        control.start(empty, engine="sc://127.0.0.1:9", timeout=8)
    assert time.monotonic() - began < 40
    assert control.status(empty).running is False


def test_everything_private_is_for_the_owner_alone(endpoint: Endpoint) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(endpoint.data_dir) == 0o700
    server = endpoint.data_dir / "server"
    for name in ("token", "service-principal.json", "signing.key", "ca.key", "server.key"):
        assert mode(server / name) == 0o600, name
    assert mode(endpoint.data_dir / "logs" / "server.log") == 0o600


def test_it_listens_on_this_machine_alone(endpoint: Endpoint) -> None:
    ports = {f"{port:04X}" for port in (endpoint.port, int(endpoint.proxy_url.rpartition(":")[2]))}
    listening = [
        line.split()[1].split(":")
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert {address for address, port in listening if port in ports} == {"0100007F"}


def said_by_the_proxy(endpoint: Endpoint, address: str, target: str) -> bytes:
    port = int(endpoint.proxy_url.rpartition(":")[2])
    with socket.create_connection((address, port), timeout=10) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        return client.recv(100).split(b"\r\n")[0]


def test_the_proxy_listens_for_containers_too_where_it_is_told_to(empty: Path) -> None:
    bridge = "127.0.0.2"
    first = control.start(empty, proxy_addresses=(bridge,))
    assert first.proxy_addresses == (bridge,)
    assert said_by_the_proxy(first, bridge, f"{first.host}:443").startswith(b"HTTP/1.1 200")
    assert said_by_the_proxy(first, bridge, "example.com:443").startswith(b"HTTP/1.1 403")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((bridge, first.port), timeout=5)
    with pytest.raises(control.WorkspaceError, match=r"runs and its proxy does not listen at 127\.0\.0\.3$"):
        control.start(empty, proxy_addresses=(bridge, "127.0.0.3"))
    control.stop(empty)
    # Like the ports, remembered; until it is told otherwise.
    again = control.start(empty)
    assert (again.proxy_url, again.proxy_addresses) == (first.proxy_url, (bridge,))
    assert said_by_the_proxy(again, bridge, f"{again.host}:443").startswith(b"HTTP/1.1 200")
    control.stop(empty)
    alone = control.start(empty, proxy_addresses=("127.0.0.1",))
    assert (alone.proxy_url, alone.proxy_addresses) == (first.proxy_url, ())
    with pytest.raises(ConnectionRefusedError):
        said_by_the_proxy(alone, bridge, f"{alone.host}:443")


def test_an_address_that_is_not_of_this_machine_is_an_error_at_once(empty: Path) -> None:
    began = time.monotonic()
    with pytest.raises(control.WorkspaceError, match=r"203\.0\.113\.7 is no address of this machine"):
        control.start(empty, proxy_addresses=("203.0.113.7",))
    assert time.monotonic() - began < 30
    assert control.status(empty).running is False


def test_an_address_that_has_gone_does_not_keep_the_workspace_from_starting(endpoint: Endpoint) -> None:
    control.stop(endpoint.data_dir)
    ports = endpoint.data_dir / "server" / "ports.json"
    ports.write_text(json.dumps(json.loads(ports.read_text()) | {"proxy_addresses": ["203.0.113.7"]}))
    again = control.start(endpoint.data_dir)
    assert again.proxy_addresses == ()
    assert "203.0.113.7 is no address" in (endpoint.data_dir / "logs" / "server.log").read_text()
    # It comes back with Docker, say.
    assert json.loads(ports.read_text())["proxy_addresses"] == ["203.0.113.7"]


def test_the_log_holds_no_token(endpoint: Endpoint) -> None:
    query(endpoint, "SELECT 1")
    principal = json.loads((endpoint.data_dir / "server" / "service-principal.json").read_text())
    log = (endpoint.data_dir / "logs" / "server.log").read_text()
    assert endpoint.token_file.read_text().strip() not in log
    assert principal["client_secret"] not in log


def test_settings_of_the_warehouse_reach_every_session_and_outlive_the_server(endpoint: Endpoint) -> None:
    with pytest.raises(ServerOperationError, match="DIVIDE_BY_ZERO"):
        query(endpoint, "SELECT 1 / 0")
    control.start(endpoint.data_dir, settings={"ANSI_MODE": "false"})
    assert query(endpoint, "SELECT 1 / 0") == [(None,)]
    control.stop(endpoint.data_dir)
    assert query(control.start(endpoint.data_dir), "SELECT 1 / 0") == [(None,)]


def test_status_tells_how_it_is(endpoint: Endpoint) -> None:
    query(endpoint, "CREATE TABLE main.default.t AS SELECT 1 AS one")
    found = control.status(endpoint.data_dir)
    assert (found.running, found.answers, found.pid) == (True, True, endpoint.pid)
    assert (found.engine, found.tables) == ("sail", 1)
    assert found.disk_bytes > 1000
    assert found.uptime_seconds is not None
    assert found.uptime_seconds > 0


def test_eight_connections_work_at_once(endpoint: Endpoint) -> None:
    query(endpoint, "CREATE TABLE main.default.shared (worker INT, n INT)")
    failures: list[Exception] = []

    def work(worker: int) -> None:
        try:
            with connect(endpoint) as connection, connection.cursor() as cursor:
                for n in range(5):
                    cursor.execute(f"INSERT INTO main.default.shared VALUES ({worker}, {n})")
                    cursor.execute("SELECT count(*) FROM main.default.shared")
                    cursor.fetchall()
        except ConnectorError as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(200)
    assert failures == []
    counted = "SELECT count(*), count(DISTINCT worker, n) FROM main.default.shared"
    assert query(endpoint, counted) == [(40, 40)]


def test_answers_do_not_wait_for_the_network_stack(endpoint: Endpoint) -> None:
    # Without TCP_NODELAY every answer takes 40 ms; the quickest of many does not depend on the machine's load.
    seconds = []
    with connect(endpoint) as connection, connection.cursor() as cursor:
        for _ in range(40):
            began = time.monotonic()
            cursor.catalogs()
            seconds.append(time.monotonic() - began)
    assert min(seconds) < 0.035
