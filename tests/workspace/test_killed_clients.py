"""Clients that are killed while their statement runs."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from workspaces import connected

# For longer than any test waits, in no memory.
ENDLESS = "SELECT max(id % 7) FROM range(10000000000000)"
CLIENT = f"""
import sys
from databricks import sql
host, port, path, token, ca = sys.argv[1:]
connection = sql.connect(server_hostname=host, _port=int(port), http_path=path, access_token=token,
                         _tls_trusted_ca_file=ca, enable_telemetry=False)
cursor = connection.cursor()
print("begins", flush=True)
cursor.execute({ENDLESS!r})
"""


def operations(endpoint: Endpoint) -> int:
    found: int = client.request(endpoint, "GET", "/api/dqctl/status", None, 20)["operations"]
    return found


@pytest.fixture
def busy_client(endpoint: Endpoint) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a statement without end."""
    token = endpoint.token_file.read_text().strip()
    arguments = [endpoint.address, str(endpoint.port), endpoint.http_path, token, str(endpoint.ca_file)]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CLIENT, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_the_statement_of_a_client_that_was_killed_ends_in_seconds(
    endpoint: Endpoint, busy_client: subprocess.Popen[str]
) -> None:
    before = operations(endpoint)
    assert busy_client.stdout is not None
    assert busy_client.stdout.readline() == "begins\n"
    until(lambda: operations(endpoint) > before)
    time.sleep(2)  # past the first answer: it asks again and again now
    assert operations(endpoint) > before
    busy_client.kill()
    until(lambda: operations(endpoint) <= before)  # 10 s of patience, 5 s between two looks
    with connected(endpoint) as connection:
        assert connection.cursor().execute("SELECT 1").fetchall()[0][0] == 1


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
