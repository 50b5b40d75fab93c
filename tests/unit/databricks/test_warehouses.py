"""Warehouses by REST, against a server that answers as Databricks documents it; the clock is ours."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from doctoring import GOOD, fake_workspace
from dqctl.clock import Clock
from dqctl.databricks import warehouses
from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target, resolve_target
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.settings import load

PATH = "/api/2.0/sql/warehouses"
ONE, START = f"{PATH}/local", f"{PATH}/local/start"


@dataclass
class Life:
    """A warehouse whose state changes while others sleep: after so many seconds, what it answers then."""

    answers: dict[str, tuple[int, Any]]
    script: list[tuple[float, Any]]
    now: float = 0.0
    told: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at, answer in self.script:
            if self.now >= at:
                self.answers[ONE] = answer if isinstance(answer, tuple) else (200, described(answer))

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


def described(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "local", "name": "Nightly", "state": state, **more}


@pytest.fixture
def open_life(tmp_path: Path) -> Iterator[Callable[..., tuple[Life, Target]]]:
    with contextlib.ExitStack() as opened:

        def make(first: Any, *script: tuple[float, Any], start: int = 200) -> tuple[Life, Target]:
            answers: dict[str, tuple[int, Any]] = {**GOOD, START: (start, {"message": "no"})}
            life = Life(answers, [(0.0, first), *script])
            life.sleep(0)
            directory = opened.enter_context(fake_workspace(tmp_path / "fake", answers))
            return life, resolve_target(load({"home": tmp_path}, {}), Endpoint.read(directory))

        yield make


def test_one_that_sleeps_is_started_and_waited_for_with_progress(open_life: Any) -> None:
    # For a while it still says STOPPED: the SDK's own waiter would give up there.
    life, target = open_life("STOPPED", (5, "STARTING"), (65, "RUNNING"))
    assert warehouses.awake(target, life.told.append, life.clock).http_path == target.http_path
    assert (
        life.told[0]
        == "the SQL warehouse Nightly is stopped; a start takes some 4 minutes unless it is serverless"
    )
    assert "the SQL warehouse Nightly is starting, 16 s so far" in life.told
    assert life.told[-1] == "the SQL warehouse Nightly runs, after 66 s"
    assert 4 <= len(life.told) <= 7


def test_one_that_runs_is_told_nothing(open_life: Any) -> None:
    life, target = open_life("RUNNING", start=500)
    warehouses.awake(target, life.told.append, life.clock)
    assert (life.told, life.now) == ([], 0)


def test_one_that_is_stopping_is_started_when_it_has_stopped(open_life: Any) -> None:
    life, target = open_life("STOPPING", (10, "STOPPED"), (20, "RUNNING"))
    warehouses.awake(target, life.told.append, life.clock)
    assert life.now == 20


def test_one_that_must_not_be_started_is_left_asleep(open_life: Any) -> None:
    life, target = open_life("STOPPED", start=500)
    with pytest.raises(EnvironmentFault, match="Nightly is stopped, and dqctl was told not to start it") as asleep:
        warehouses.awake(replace(target, start_warehouse=False), life.told.append, life.clock)
    assert "DQCTL_START_WAREHOUSE" in asleep.value.hint
    assert life.now == 0


def test_a_start_that_takes_too_long_ends_at_its_deadline(open_life: Any) -> None:
    life, target = open_life("STOPPED", (4, "STARTING"))
    with pytest.raises(EnvironmentFault, match="did not start within 100 s: it is STARTING"):
        warehouses.awake(replace(target, start_timeout=100.0), life.told.append, life.clock)
    assert 100 <= life.now < 103


def test_one_that_cannot_start_says_why(open_life: Any) -> None:
    sick = (200, described("STOPPED", health={"status": "FAILED", "summary": "no quota for virtual machines"}))
    life, target = open_life("STOPPED", (4, "STARTING"), (8, sick))
    with pytest.raises(EnvironmentFault, match="does not start: FAILED: no quota for virtual machines"):
        warehouses.awake(target, life.told.append, life.clock)
    assert life.now < 60


def test_one_that_is_gone_is_not_waited_for(open_life: Any) -> None:
    life, target = open_life("DELETED")
    with pytest.raises(EnvironmentFault, match="is deleted"):
        warehouses.awake(target, life.told.append, life.clock)
    assert life.now == 0


@pytest.mark.parametrize("status", [403, 404, 500, 501])
def test_where_nobody_tells_its_state_the_statements_find_out(open_life: Any, status: int) -> None:
    life, target = open_life((status, {"message": "no"}))
    assert warehouses.awake(target, life.told.append, life.clock) == target
    assert (life.told, life.now) == ([], 0)


def test_who_may_not_start_it_by_rest_starts_it_by_a_statement(open_life: Any) -> None:
    life, target = open_life("STOPPED", start=403)
    assert warehouses.awake(target, life.told.append, life.clock) == target
    assert life.now == 0


def test_a_look_that_fails_in_between_is_repeated(open_life: Any) -> None:
    life, target = open_life("STOPPED", (4, "STARTING"), (10, (503, {})), (20, "RUNNING"))
    warehouses.awake(target, life.told.append, life.clock)
    assert life.now == 20


def test_a_cluster_has_no_state_here(open_life: Any) -> None:
    life, target = open_life("STOPPED")
    cluster = replace(target, http_path="/sql/protocolv1/o/1/2")
    assert warehouses.awake(cluster, life.told.append, life.clock) == cluster


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("/sql/1.0/warehouses/abc123", "abc123"),
        ("sql/1.0/endpoints/abc123/", "abc123"),
        ("/sql/protocolv1/o/1/2", None),
        ("/sql/1.0/warehouses/../x", None),
    ],
)
def test_the_id_in_a_path(path: str, identifier: str | None) -> None:
    assert warehouses.warehouse_id(path) == identifier


def test_a_name_leads_to_one_warehouse_or_to_an_error_that_names_them_all(open_life: Any) -> None:
    life, target = open_life("RUNNING")
    named = replace(target, http_path="", warehouse_name="Nightly")
    life.answers[PATH] = (200, {"warehouses": [described("STOPPED"), {"id": "2", "name": "nightly"}]})
    assert warehouses.locate(RestApi(named), named).http_path == "/sql/1.0/warehouses/local"
    life.answers[PATH] = (200, {"warehouses": [{"id": "2", "name": "B"}, {"id": "3", "name": "A"}]})
    with pytest.raises(UsageError, match="has no SQL warehouse 'Nightly'") as unknown:
        warehouses.locate(RestApi(named), named)
    assert unknown.value.hint.startswith("it has: A, B;")
    life.answers[PATH] = (200, {})
    with pytest.raises(UsageError) as none:
        warehouses.locate(RestApi(named), named)
    assert "none that this principal may see" in none.value.hint
    life.answers[PATH] = (403, {"message": "Invalid access token."})
    with pytest.raises(DatabricksRefused, match="Invalid access token"):
        warehouses.locate(RestApi(named), named)
