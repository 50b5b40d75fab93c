"""REST against a server of our own, over real TLS."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from doctoring import GOOD, ME, black_hole, fake_workspace, write_endpoint
from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import ServicePrincipal, Target, resolve_target
from dqctl.errors import DatabricksRefused, EnvironmentFault
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.redaction import MASK, redact
from dqctl.settings import load

Answers = dict[str, tuple[int, Any]]
Serve = Callable[[Answers], Target]
WHO = "/api/2.0/preview/scim/v2/Me"


def target_in(directory: Path) -> Target:
    return resolve_target(load({"home": directory}, {}), Endpoint.read(directory))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as opened:
        yield lambda answers: target_in(
            opened.enter_context(fake_workspace(tmp_path / "fake", {**GOOD, **answers}))
        )


def test_an_answer_has_its_status_its_date_and_its_document(serve: Serve) -> None:
    answer = RestApi(serve({})).get(WHO)
    assert (answer.status, answer.is_good, answer.document) == (200, True, ME)
    assert answer.date is not None
    assert answer.date.tzinfo is not None


def test_a_question_is_quoted(serve: Serve) -> None:
    assert RestApi(serve({"/api/a": (200, {"n": 1})})).get("/api/a", token="a&b=c d").document == {"n": 1}


def test_a_refusal_has_the_servers_reason(serve: Serve) -> None:
    answer = RestApi(serve({WHO: (403, {"message": "Invalid access token."})})).get(WHO)
    assert (answer.is_good, answer.reason) == (False, "HTTP 403: Invalid access token.")


def test_a_redirect_does_not_get_the_token(serve: Serve) -> None:
    # Followed, the token would go wherever the Location says.
    answer = RestApi(serve({WHO: (302, {"message": "elsewhere"}), "/elsewhere": (200, ME)})).get(WHO)
    assert answer.reason == "HTTP 302: elsewhere"


def test_nobody_who_answers_is_a_fault_of_the_environment(serve: Serve, tmp_path: Path) -> None:
    target = serve({})
    assert target.ca_file
    with black_hole() as port:
        write_endpoint(tmp_path, port, target.ca_file)
        with pytest.raises(EnvironmentFault, match=r"does not answer: .*timed out"):
            RestApi(target_in(tmp_path), timeout=0.3).get(WHO)


def test_an_answer_that_is_no_object_is_an_empty_one(serve: Serve) -> None:
    target = serve({"/api/list": (200, [ME])})
    assert RestApi(target).get("/api/list").document == {}


def test_a_service_principal_signs_in_once(serve: Serve) -> None:
    target = serve({"/oidc/v1/token": (200, {"access_token": "planted-access-token-4711"})})
    principal = replace(target, auth=ServicePrincipal("me", SecretStr("planted-secret-4711")))
    rest = RestApi(principal)
    assert [rest.get(WHO).is_good for _ in range(2)] == [True, True]
    assert redact("planted-access-token-4711") == MASK


def test_a_service_principal_that_is_refused_is_told_so(serve: Serve) -> None:
    target = serve({"/oidc/v1/token": (401, {"error_description": "Client authentication failed"})})
    principal = replace(target, auth=ServicePrincipal("me", SecretStr("planted-secret-4711")))
    with pytest.raises(DatabricksRefused, match="no token: HTTP 401: Client authentication failed"):
        RestApi(principal).get(WHO)
