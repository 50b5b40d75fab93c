"""A secret of a Databricks scope, and every way in which a workspace does not tell it."""

import base64
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from doctoring import fake_workspace
from dqctl.databricks.rest import RestApi
from dqctl.databricks.secret_scopes import read_secret
from dqctl.databricks.target import resolve_target
from dqctl.errors import DatabricksRefused, DqctlError, EnvironmentFault, UsageError
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.redaction import MASK, redact
from dqctl.settings import load


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with contextlib.ExitStack() as opened:

        def read(status: int, document: Any) -> str:
            answers = {"/api/2.0/secrets/get": (status, document)}
            directory = opened.enter_context(fake_workspace(tmp_path / "fake", answers))
            target = resolve_target(load({"home": tmp_path}, {}), Endpoint.read(directory))
            return read_secret(RestApi(target), "quality", "token").get_secret_value()

        yield read


def encoded(value: bytes) -> dict[str, str]:
    return {"key": "token", "value": base64.b64encode(value).decode()}


def test_a_secret_is_decoded_and_never_shown_afterwards(ask: Any) -> None:
    assert ask(200, encoded("dapi-planted-8151 ü\n".encode())) == "dapi-planted-8151 ü"
    assert redact("dapi-planted-8151 ü") == MASK


@pytest.mark.parametrize(
    ("status", "document", "error", "says"),
    [
        (404, {"message": "Scope quality does not exist!"}, UsageError, "list-secrets quality"),
        (403, {"message": "no READ"}, DatabricksRefused, "put-acl quality"),
        (400, {"message": "BAD_REQUEST"}, UsageError, "notebooks and jobs alone"),
        (500, {}, EnvironmentFault, "{env: NAME}"),
        (200, encoded(b""), UsageError, "store the secret"),
        (200, encoded(b"\xff\xfe"), UsageError, "store a text"),
        (200, {"key": "token", "value": "***"}, UsageError, "store a text"),
    ],
)
def test_one_that_is_not_told_says_where_and_what_to_do(
    ask: Any, status: int, document: Any, error: type[DqctlError], says: str
) -> None:
    with pytest.raises(error, match="secret token of scope quality in 127") as refused:
        ask(status, document)
    assert says in refused.value.hint
