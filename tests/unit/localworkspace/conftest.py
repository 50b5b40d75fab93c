"""A lakehouse over the real embedded engine, which starts in 0.03 s."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.localworkspace.contract import Lakehouse, Session
from dqctl.localworkspace.engine import EngineSession, open_engine
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    opened = open_lakehouse(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def connect(lakehouse: Lakehouse) -> Iterator[Callable[..., Client]]:
    sessions: list[Session] = []

    def open_client(catalog: str | None = None, schema: str | None = None, **configuration: str) -> Client:
        sessions.append(lakehouse.open_session(catalog, schema, configuration))
        return Client(sessions[-1])

    yield open_client
    for session in sessions:
        session.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()


@pytest.fixture(scope="module")
def engine_session() -> Iterator[EngineSession]:
    """The bare engine, for what it does without us."""
    engine = open_engine("sail")
    session = engine.open_session()
    session.configure({"spark.sql.ansi.enabled": "true", "spark.sql.session.timeZone": "UTC"})
    yield session
    session.close()
    engine.close()
