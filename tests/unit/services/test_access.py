"""What TestGen is given of the stack's credentials; what it cannot be given is an error that helps."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from doctoring import GOOD, fake_workspace
from dqctl.clock import Clock, Deadline
from dqctl.databricks.auth import FAMILIES, PersonalToken, SdkAuth, ServicePrincipal
from dqctl.databricks.target import Target, resolve_target
from dqctl.errors import UsageError
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.services.access import Access, as_workspace, find_access
from dqctl.settings import load
from dqctl.testgen.systems.document import parse
from dqctl.testgen.systems.flavors import PASSWORD, Columns
from dqctl.testgen.systems.references import Sources

_FILE = "version: 1\nsystems:\n  - name: s\n    connections:\n      - {name: c, catalog: main}\n"
AUTHS = {
    "pat": PersonalToken(SecretStr("dapi-x")),
    "oauth-m2m": ServicePrincipal("me", SecretStr("dose-x")),
}


def columns(auth: PersonalToken | ServicePrincipal | SdkAuth) -> Columns:
    target = Target("h.example.com", "/sql/1.0/warehouses/w", "main", "dq", auth)
    connection = parse(_FILE, "f").systems[0].connections[0]
    return connection.columns(Sources(environment={}, base=Path()), as_workspace(target, target.host))


def test_a_token_and_a_service_principal_are_what_the_table_says() -> None:
    token, principal = columns(AUTHS["pat"]), columns(AUTHS["oauth-m2m"])
    assert (token.plain["project_user"], token.plain["connect_by_key"]) == ("token", False)
    assert token.secret[PASSWORD].get_secret_value() == "dapi-x"
    assert (principal.plain["project_user"], principal.plain["connect_by_key"]) == ("me", True)
    assert principal.secret[PASSWORD].get_secret_value() == "dose-x"


@pytest.mark.parametrize("auth_type", [family.auth_type for family in FAMILIES])
def test_every_way_is_mapped_or_refused_as_the_table_says(auth_type: str) -> None:
    (family,) = (each for each in FAMILIES if each.auth_type == auth_type)
    if family.testgen:
        assert columns(AUTHS[auth_type]).plain["project_host"] == "h.example.com"
        return
    with pytest.raises(
        UsageError, match=rf"connection c uses the workspace's credentials \({auth_type}\)"
    ) as refused:
        columns(SdkAuth(auth_type))
    assert "{client_id: ID, client_secret: {env: NAME}}" in refused.value.hint
    assert "OAuth secret" in refused.value.hint


def test_without_a_workspace_there_is_nothing_to_give_and_no_scope_to_read(tmp_path: Path) -> None:
    access = find_access(load({"home": tmp_path}, {}))
    assert access == Access()
    assert access.workspace() is None
    with pytest.raises(UsageError, match="secret k of scope s is in a Databricks workspace, and none is set"):
        access.secret("s", "k")


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[tuple[Target, dict[str, tuple[int, Any]]]]:
    """A workspace whose warehouse is stopped, and the answers that it gives."""
    answers: dict[str, tuple[int, Any]] = {**GOOD, "/api/2.0/sql/warehouses/local/start": (200, {})}
    with contextlib.ExitStack() as opened:
        directory = opened.enter_context(fake_workspace(tmp_path / "fake", answers))
        yield resolve_target(load({"home": tmp_path}, {}), Endpoint.read(directory)), answers


def test_the_warehouse_is_awake_before_jobs_need_it(sleeping: Any) -> None:
    target, answers = sleeping
    told: list[str] = []

    def sleep(_: float) -> None:
        answers["/api/2.0/sql/warehouses/local"] = (200, {"id": "local", "name": "w", "state": "RUNNING"})

    clock = Clock(sleep=sleep)
    Access(target).wake(Deadline(60, clock), told.append, clock)
    assert told[0].startswith("the SQL warehouse w is stopped")
    assert told[-1].startswith("the SQL warehouse w runs")


@pytest.mark.parametrize("answer", [(403, {}), (500, {}), (200, {"name": "w", "state": "DELETED"})])
def test_a_warehouse_that_cannot_be_woken_is_met_by_those_who_need_it(
    sleeping: Any, answer: tuple[int, Any]
) -> None:
    target, answers = sleeping
    answers["/api/2.0/sql/warehouses/local"] = answer
    Access(target).wake(Deadline(60), lambda _: None, Clock())
    Access().wake(Deadline(60), lambda _: None, Clock())


def test_waiting_for_the_warehouse_ends_with_the_time_of_the_jobs(sleeping: Any) -> None:
    target, _ = sleeping
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = Clock(monotonic=lambda: now[0], sleep=sleep)
    Access(target).wake(Deadline(40, clock), lambda _: None, clock)
    assert 40 <= now[0] < 45
