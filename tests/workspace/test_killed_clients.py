"""Clients that are killed while their statement runs."""

import signal
import subprocess
import sys
import time

from dqctl.localworkspace import client
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.faults import Effect, Fault, Kind
from workspaces import connected

# For longer than any test waits, in no memory.
ENDLESS = "SELECT max(id % 7) FROM range(10000000000000)"
# It is killed when it has asked for the third time how its statement is, and waits for the answer.
CLIENT = f"""
import os, signal, sys
import urllib3.connection
from databricks import sql
host, port, path, token, ca = sys.argv[1:]
connection = sql.connect(server_hostname=host, _port=int(port), http_path=path, access_token=token,
                         _tls_trusted_ca_file=ca, enable_telemetry=False)
cursor = connection.cursor()
answers = urllib3.connection.HTTPConnection.getresponse
asked = 0

def wait_for_answer(self):
    global asked
    asked += 1
    if asked > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers(self)

urllib3.connection.HTTPConnection.getresponse = wait_for_answer
cursor.execute({ENDLESS!r})
"""


def test_the_statement_of_a_client_that_was_killed_ends_in_seconds(endpoint: Endpoint) -> None:
    before = operations(endpoint)
    # However long it takes a busy machine to end the client, it is gone before its third question is answered.
    client.add_fault(endpoint, Fault(Effect.DELAY, Kind.RESULT, "GetOperationStatus", skip=2, seconds=5))
    token = endpoint.token_file.read_text().strip()
    arguments = [endpoint.address, str(endpoint.port), endpoint.http_path, token, str(endpoint.ca_file)]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CLIENT, *arguments], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert operations(endpoint) > before
    assert [found["hit"] for found in client.list_faults(endpoint)] == [1]
    deadline = time.monotonic() + 60  # 10 s of patience, 5 s between two looks; those of others take two minutes
    while operations(endpoint) > before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with connected(endpoint) as connection:
        assert connection.cursor().execute("SELECT 1").fetchall()[0][0] == 1


def operations(endpoint: Endpoint) -> int:
    found: int = client.request(endpoint, "GET", "/api/dqctl/status", None, 20)["operations"]
    return found
