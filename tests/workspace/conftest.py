"""A lakehouse over each engine that this machine has: what a warehouse does is asked of all of them alike."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.localworkspace.contract import Lakehouse, Session
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client
from spark_server import shared_server
from workspaces import running_workspace

_numbers = itertools.count()


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of an engine; a Spark of somebody else's by ``DQCTL_TEST_SPARK=sc://host:port``."""
    if request.param == "sail":
        return "sail"
    if url := os.environ.get("DQCTL_TEST_SPARK"):
        return url
    run = tmp_path_factory.getbasetemp()
    in_worker = "PYTEST_XDIST_WORKER" in os.environ
    return shared_server((run.parent if in_worker else run) / "spark", os.getppid() if in_worker else os.getpid())


@pytest.fixture(scope="module")
def lakehouse(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """One for all tests of a module, in a data directory of its own."""
    data_dir: Path = tmp_path_factory.mktemp("lakehouse") / "data"
    opened = open_lakehouse(data_dir, engine=engine)
    yield opened
    opened.close()


@pytest.fixture
def connect(lakehouse: Lakehouse) -> Iterator[Callable[..., Client]]:
    """Opens sessions of one test: in a schema of its own of the catalog ``main``, unless it names another."""
    sessions: list[Session] = []
    own = f"s{next(_numbers)}"

    def open_client(catalog: str | None = None, schema: str | None = None, **configuration: str) -> Client:
        if not sessions:
            first = lakehouse.open_session(None, None, {})
            first.execute(f"CREATE SCHEMA {own}", ())
            sessions.append(first)
        place = (catalog, schema) if catalog or schema else (None, own)
        sessions.append(lakehouse.open_session(*place, configuration))
        return Client(sessions[-1])

    yield open_client
    for session in sessions[1:]:
        session.close()
    if sessions:
        sessions[0].execute(f"DROP SCHEMA {own} CASCADE", ())
        sessions[0].close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """A session in an empty schema."""
    return connect()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """A workspace that all tests of a module reach over the wire."""
    with running_workspace() as running:
        yield running
