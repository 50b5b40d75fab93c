"""Lakehouses over one real embedded engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.localworkspace.contract import Lakehouse, Session
from dqctl.localworkspace.engine import Engine, EngineSession, open_engine
from dqctl.localworkspace.lakehouse import open_lakehouse
from lakehouse_client import Client


class _Borrowed:
    """An engine that outlives the lakehouse."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_session(self) -> EngineSession:
        return self._engine.open_session()

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """What the engine keeps of a test ends with its sessions, so that one is enough for all."""
    opened = open_engine("sail")
    yield opened
    opened.close()


@pytest.fixture
def lakehouse(tmp_path: Path, engine: Engine) -> Iterator[Lakehouse]:
    opened = open_lakehouse(tmp_path / "data", engine=_Borrowed(engine))
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
def engine_session(engine: Engine) -> Iterator[EngineSession]:
    """The bare engine, for what it does without us."""
    session = engine.open_session()
    session.configure({"spark.sql.ansi.enabled": "true", "spark.sql.session.timeZone": "UTC"})
    yield session
    session.close()
