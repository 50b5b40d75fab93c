"""The Docker engine's client, where there is no engine."""

import gc
import socket
from functools import cache
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.runtime import engine


@pytest.fixture(autouse=True)
def _a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests asked is not remembered here, nor what is asked here by them."""
    monkeypatch.setattr(engine, "client", cache(engine.client.__wrapped__))


@pytest.fixture
def left_by_a_dead_engine(tmp_path: Path) -> Path:
    """A socket that nobody listens at any more."""
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    return path


def test_without_an_engine_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    assert not engine.is_there()
    with pytest.raises(EnvironmentFault, match=f"No such file or directory: '{tmp_path}/none'"):
        engine.client()


def test_without_an_engine_no_socket_is_left_open(
    left_by_a_dead_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{left_by_a_dead_engine}")
    assert not engine.is_there()
    gc.collect()  # finds an open socket, which is an error
