"""Checks of the workspace against a server that answers as Databricks documents it, over real TLS."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from doctoring import GOOD, ME, fake_workspace
from dqctl.services.doctor import databricks, grants
from dqctl.services.doctor.findings import Finding, Verdict
from dqctl.services.doctor.subject import Subject
from dqctl.settings import load

UNITY = "/api/2.1/unity-catalog"
CATALOG, SCHEMA = f"{UNITY}/catalogs/main", f"{UNITY}/schemas/main.data_quality"
PERMISSIONS = f"{UNITY}/effective-permissions/schema/main.data_quality"
Answers = dict[str, tuple[int, Any]]
Ask = Callable[[Answers], Subject]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    with contextlib.ExitStack() as opened:

        def open_subject(answers: Answers) -> Subject:
            workspace = opened.enter_context(fake_workspace(tmp_path / "fake", {**GOOD, **answers}))
            return Subject(load({"home": tmp_path, "workspace": workspace}, {}))

        yield open_subject


def assignment(principal: str, *privileges: str) -> dict[str, Any]:
    return {"principal": principal, "privileges": [{"privilege": each} for each in privileges]}


def granted(*assignments: dict[str, Any]) -> Answers:
    found = {CATALOG: (200, {"owner": "boss"}), SCHEMA: (200, {"owner": "boss"})}
    return {**found, PERMISSIONS: (200, {"privilege_assignments": list(assignments)})}


ALL = ("USE_CATALOG", *grants.ON_SCHEMA)


@pytest.mark.parametrize(
    "answers",
    [
        granted(assignment("me@example.com", *ALL)),
        granted(assignment("engineers", *ALL[:4]), assignment("account users", *ALL[4:])),
        granted(assignment("me@example.com", "ALL_PRIVILEGES")),
        {CATALOG: (200, {"owner": "boss"}), SCHEMA: (200, {"owner": "engineers"})},
    ],
)
def test_grants_to_oneself_to_a_group_and_as_owner_count(ask: Ask, answers: Answers) -> None:
    assert grants.grants.look(ask(answers)).verdict is Verdict.OK


def test_what_is_not_granted_comes_with_the_statement_that_grants_it(ask: Ask) -> None:
    everybody_else = assignment("strangers", *ALL)
    found = grants.grants.look(ask(granted(assignment("engineers", *ALL[:-3]), everybody_else)))
    assert found.verdict is Verdict.WARNING
    assert found.fix == (
        "GRANT CREATE VOLUME, READ VOLUME, WRITE VOLUME ON SCHEMA main.data_quality TO `me@example.com`"
    )


def test_a_schema_that_is_not_there_yet_has_to_be_made(ask: Ask) -> None:
    on_catalog = f"{UNITY}/effective-permissions/catalog/main"
    answers: Answers = {CATALOG: (200, {"owner": "boss"}), SCHEMA: (404, {"message": "no such schema"})}
    allowed = (200, {"privilege_assignments": [assignment("engineers", "USE_CATALOG", "CREATE_SCHEMA")]})
    assert grants.grants.look(ask({**answers, on_catalog: allowed})).verdict is Verdict.OK


def test_a_catalog_that_is_not_to_be_seen_is_a_failure(ask: Ask) -> None:
    found = grants.grants.look(ask({CATALOG: (403, {"message": "no USE CATALOG"})}))
    assert (found.verdict, found.refused) == (Verdict.FAILED, True)
    assert found.fix == "GRANT USE CATALOG ON CATALOG `main` TO `me@example.com`"


@pytest.mark.parametrize("status", [403, 500, 501])
def test_grants_that_nobody_tells_are_unknown(ask: Ask, status: int) -> None:
    found = grants.grants.look(ask({**granted(), PERMISSIONS: (status, {"message": "not for you"})}))
    assert found.verdict is Verdict.SKIPPED


WAREHOUSE = "/api/2.0/sql/warehouses/local"


@pytest.mark.parametrize(
    ("status", "verdict", "refused"),
    [(403, Verdict.FAILED, True), (404, Verdict.FAILED, False), (501, Verdict.SKIPPED, False)],
)
def test_a_warehouse_that_is_not_ours(ask: Ask, status: int, verdict: Verdict, refused: bool) -> None:
    found = databricks.warehouse.look(ask({WAREHOUSE: (status, {"message": "no"})}))
    assert (found.verdict, found.refused) == (verdict, refused)


@pytest.mark.parametrize(
    ("described", "verdict"),
    [
        ({"state": "STOPPED", "auto_stop_mins": 10}, Verdict.OK),
        ({"state": "RUNNING", "auto_stop_mins": 0}, Verdict.WARNING),
        ({"state": "RUNNING", "auto_stop_mins": 120}, Verdict.WARNING),
        ({"state": "DELETED", "auto_stop_mins": 10}, Verdict.FAILED),
        ({"state": "RUNNING", "auto_stop_mins": 5, "health": {"status": "DEGRADED"}}, Verdict.WARNING),
    ],
)
def test_a_warehouse_that_sleeps_is_well_and_one_that_never_does_is_not(
    described: dict[str, Any], verdict: Verdict
) -> None:
    assert databricks.judge_warehouse(described, local=False).verdict is verdict


def configured(key: str, value: str) -> dict[str, Any]:
    return {"sql_configuration_parameters": {"configuration_pairs": [{"key": key, "value": value}]}}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((200, configured("ANSI_MODE", "false")), Verdict.OK),
        ((200, configured("ansi_mode", "TRUE")), Verdict.WARNING),
        ((200, {}), Verdict.WARNING),
        ((403, {"message": "admins only"}), Verdict.SKIPPED),
    ],
)
def test_ansi_mode_matters_where_profiles_do_not_switch_it_off(
    ask: Ask, answer: tuple[int, Any], verdict: Verdict
) -> None:
    subject = ask({"/api/2.0/sql/config/warehouses": answer})
    assert databricks.ansi_mode.look(subject).verdict is Verdict.OK
    as_is = Subject(subject.settings.model_copy(update={"profile_ansi": "as-is"}))
    found = databricks.ansi_mode.look(as_is)
    assert found.verdict is verdict
    assert verdict is Verdict.OK or "ANSI" in found.fix


NOW = datetime(2026, 11, 21, tzinfo=UTC)


def tokens(*days: float) -> dict[str, Any]:
    ends = [int((NOW + timedelta(days=each)).timestamp() * 1000) if each else -1 for each in days]
    return {"token_infos": [{"token_id": str(number), "expiry_time": end} for number, end in enumerate(ends)]}


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        (tokens(3, 400), Verdict.WARNING),
        (tokens(90, 400), Verdict.OK),
        (tokens(0), Verdict.OK),
        (tokens(-5, 90), Verdict.OK),
        ({}, Verdict.OK),
        ({"token_infos": [{"expiry_time": "soon"}, {}]}, Verdict.OK),
    ],
)
def test_a_token_that_ends_soon_is_told_in_time(document: dict[str, Any], verdict: Verdict) -> None:
    found = databricks.judge_tokens(document, NOW)
    assert found.verdict is verdict
    assert verdict is Verdict.OK or "ends 2026-11-24, in 3 days" in found.evidence


def test_a_redirect_does_not_get_the_token(ask: Ask) -> None:
    # Followed, the token would go wherever the Location says.
    subject = ask({"/api/2.0/preview/scim/v2/Me": (302, {"message": "elsewhere"}), "/elsewhere": (200, ME)})
    found: Finding = databricks.credentials.look(subject)
    assert found.verdict is Verdict.FAILED
    assert "HTTP 302: elsewhere" in found.evidence


def test_a_warehouse_that_sleeps_and_must_not_be_started_holds_up_results() -> None:
    found = databricks.judge_warehouse({"state": "STOPPED", "auto_stop_mins": 10}, local=False, may_start=False)
    assert found.verdict is Verdict.WARNING
    assert "DQCTL_START_WAREHOUSE=true" in found.fix
    running = databricks.judge_warehouse({"state": "RUNNING", "auto_stop_mins": 10}, local=False, may_start=False)
    assert running.verdict is Verdict.OK


def test_a_way_to_sign_in_that_testgen_cannot_use_is_told_before_apply_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"DATABRICKS_HOST": "ws.example.com", "DATABRICKS_WAREHOUSE_ID": "w"}

    def look(**variables: str) -> Finding:
        return databricks.auth.look(Subject(load({"home": tmp_path}, where | variables)))

    found = look(DATABRICKS_AUTH_TYPE="azure-cli")
    assert (found.verdict, found.evidence) == (Verdict.WARNING, "azure-cli, az login; TestGen cannot use it")
    assert "OAuth secret" in found.fix
    found = look(DATABRICKS_CLIENT_ID="me", DATABRICKS_CLIENT_SECRET="dose-x")
    assert found.verdict is Verdict.OK
    assert found.evidence.startswith("oauth-m2m, service principal of Databricks;")
    monkeypatch.setenv("ARM_CLIENT_ID", "a")
    monkeypatch.setenv("ARM_CLIENT_SECRET", "b")
    assert look().evidence.startswith("azure-client-secret, ")


def test_a_warehouse_is_found_by_its_name_without_being_woken(ask: Ask) -> None:
    subject = ask({"/api/2.0/sql/warehouses": (200, {"warehouses": [{"id": "local", "name": "Nightly"}]})})
    subject._kept["target"] = replace(subject.target, http_path="", warehouse_name="Nightly")
    assert databricks.warehouse.look(subject).evidence.startswith("w is STOPPED")
