"""Lakebase by REST, against a server that answers as Databricks documents it; the clock is ours."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from doctoring import GOOD, fake_workspace
from dqctl.clock import Clock
from dqctl.databricks.lakebase import Lakebase, LakebaseProject
from dqctl.databricks.target import resolve_target
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.settings import load

API = "/api/2.0/postgres"
ONE = f"{API}/projects/one"
ENDPOINTS = f"{ONE}/branches/production/endpoints"
OPERATION = "projects/one/operations/7"
PROJECT = {
    "name": "projects/one",
    "status": {
        "default_branch": "projects/one/branches/production",
        "enable_pg_native_login": True,
        "custom_tags": [{"key": "dqctl-mark", "value": "m"}, {"key": "team", "value": "data"}],
    },
}
FOUND = LakebaseProject("projects/one", "projects/one/branches/production", native_login=True, mark="m")


@dataclass
class Life:
    """What the server answers, which changes while others sleep, and what was told."""

    answers: dict[str, tuple[int, Any]]
    script: list[tuple[float, str, tuple[int, Any]]]
    now: float = 0.0
    pace: float = 1.0  # how much longer a sleep takes than was meant
    told: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self.pace
        for at, path, answer in self.script:
            if self.now >= at:
                self.answers[path] = answer

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


Open = Callable[..., tuple[Life, Lakebase]]


@pytest.fixture
def open_life(tmp_path: Path) -> Iterator[Open]:
    with contextlib.ExitStack() as opened:

        def make(*script: tuple[float, str, tuple[int, Any]]) -> tuple[Life, Lakebase]:
            life = Life({**GOOD}, list(script))
            life.sleep(0)
            directory = opened.enter_context(fake_workspace(tmp_path / "fake", life.answers))
            target = resolve_target(load({"home": tmp_path}, {}), Endpoint.read(directory))
            return life, Lakebase(target, life.clock)

        yield make


def endpoint(kind: str, **status: Any) -> dict[str, Any]:
    return {"name": f"{kind}-1", "status": {"endpoint_type": f"ENDPOINT_TYPE_{kind}", **status}}


def test_a_project_tells_whether_dqctl_made_it(open_life: Open) -> None:
    _, lakebase = open_life((0, ONE, (200, PROJECT)))
    assert lakebase.project("one") == FOUND


def test_one_that_is_not_there_is_none(open_life: Open) -> None:
    _, lakebase = open_life((0, ONE, (404, {"error_code": "NOT_FOUND", "message": "no"})))
    assert lakebase.project("one") is None


def test_who_may_not_is_told_what_right_is_missing(open_life: Open) -> None:
    _, lakebase = open_life((0, ONE, (403, {"message": "you lack CAN USE"})))
    with pytest.raises(DatabricksRefused, match="you lack CAN USE") as refused:
        lakebase.project("one")
    assert "CAN MANAGE" in refused.value.hint


def test_a_busy_server_is_asked_again_and_not_for_ever(open_life: Open) -> None:
    life, lakebase = open_life((0, ONE, (429, {})), (3, ONE, (200, PROJECT)))
    assert lakebase.project("one") == FOUND
    assert life.now == 3
    life.script = [(life.now, ONE, (503, {"message": "later"}))]
    life.sleep(0)
    with pytest.raises(EnvironmentFault, match="later"):
        lakebase.project("one")
    assert life.now < 60


def test_a_creation_is_waited_for_with_progress(open_life: Open) -> None:
    going = {"name": OPERATION, "done": False}
    life, lakebase = open_life(
        (0, f"{API}/projects", (200, going)),
        (0, f"{API}/{OPERATION}", (200, going)),
        (25, f"{API}/{OPERATION}", (200, {"name": OPERATION, "done": True, "response": PROJECT})),
        (25, ONE, (200, PROJECT)),
    )
    assert lakebase.create_project("one", "default", "m", life.told.append) == FOUND
    assert life.told == ["making the Lakebase project one", *["still making the Lakebase project one"] * 2]


def test_a_creation_that_fails_or_does_not_end_says_so(open_life: Open) -> None:
    going = {"name": OPERATION, "done": False}
    life, lakebase = open_life((0, f"{API}/projects", (200, going)), (0, f"{API}/{OPERATION}", (200, going)))
    life.pace = 50.0
    with pytest.raises(EnvironmentFault, match="longer than 600 s"):
        lakebase.create_project("one", "default", "m", life.told.append)
    assert 600 <= life.now < 700
    broken = {"name": OPERATION, "done": True, "error": {"message": "no capacity"}}
    life.script = [(0, f"{API}/{OPERATION}", (200, broken))]
    life.sleep(0)
    with pytest.raises(EnvironmentFault, match="no capacity"):
        lakebase.create_project("one", "default", "m", life.told.append)


def test_the_direct_host_of_the_endpoint_that_writes_is_taken(open_life: Open) -> None:
    hosts = {"host": "ep-1.example.com", "read_write_pooled_host": "ep-1-pooler.example.com"}
    reading = endpoint("READ_ONLY", hosts={"host": "ro-1.example.com"})
    life, lakebase = open_life(
        (0, ENDPOINTS, (200, {"endpoints": [reading, endpoint("READ_WRITE")]})),
        (4, ENDPOINTS, (200, {"endpoints": [reading, endpoint("READ_WRITE", hosts=hosts)]})),
    )
    found = lakebase.endpoint(FOUND, None, life.told.append)
    assert (found.name, found.host, found.port) == ("READ_WRITE-1", "ep-1.example.com", 5432)
    assert life.told


def test_a_branch_that_is_not_there_is_not_made(open_life: Open) -> None:
    life, lakebase = open_life(
        (0, f"{ONE}/branches/nowhere/endpoints", (404, {"message": "no"})),
        (0, ENDPOINTS, (200, {"endpoints": []})),
    )
    with pytest.raises(UsageError, match="no branch"):
        lakebase.endpoint(FOUND, "nowhere", life.told.append)
    with pytest.raises(UsageError, match="no endpoint that writes"):
        lakebase.endpoint(FOUND, None, life.told.append)


def test_a_credential_is_that_of_whoever_calls_and_does_not_show(open_life: Open) -> None:
    _, lakebase = open_life((0, f"{API}/credentials", (200, {"token": "secret-token-of-an-hour"})))
    found = lakebase.credential("projects/one/branches/production/endpoints/primary")
    assert found.token.get_secret_value() == "secret-token-of-an-hour"
    assert "secret-token" not in repr(found)
    assert found.user
