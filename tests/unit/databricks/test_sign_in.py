"""Signing in through the SDK: one way, in time, and in words that help."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from doctoring import GOOD, fake_workspace, mute
from dqctl.databricks import sign_in
from dqctl.databricks.auth import NoToken, PersonalToken, SdkAuth, ServicePrincipal
from dqctl.databricks.failures import understand
from dqctl.databricks.target import Target, resolve_target
from dqctl.errors import DatabricksRefused
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.settings import load


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as opened:
        directory = opened.enter_context(fake_workspace(tmp_path / "fake", dict(GOOD)))
        found = resolve_target(load({"home": tmp_path}, {}), Endpoint.read(directory))
        found = replace(found, patience=60.0)  # the SDK alone takes seconds to import on a busy machine
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(found.ca_file))
        yield found


def by(target: Target, auth_type: str) -> Target:
    return replace(target, auth=SdkAuth(auth_type))


def test_a_token_needs_no_sdk(target: Target) -> None:
    token = replace(target, auth=PersonalToken(SecretStr("dapi-x")))
    assert sign_in.connector_credentials(token) == {"access_token": "dapi-x"}
    program = (
        "import sys; from dqctl.databricks import warehouse, rest, sign_in; "
        "sys.exit('databricks.sdk' in sys.modules and 'the SDK is imported')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_nobody_is_asked_before_the_connector_asks(target: Target) -> None:
    unreachable = replace(by(target, "azure-cli"), host="127.0.0.1", port=1)
    assert callable(sign_in.connector_credentials(unreachable)["credentials_provider"])


@pytest.mark.parametrize(("auth_type", "program"), [("azure-cli", "az"), ("databricks-cli", "databricks")])
def test_a_program_that_is_not_there_is_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, auth_type: str, program: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoToken, match=f"^{auth_type} got no token: the program {program} is not there$") as failed:
        sign_in.sdk_headers(by(target, auth_type))
    refused = understand(failed.value, target)
    assert isinstance(refused, DatabricksRefused)
    assert f"the program {program} is not there" in refused.message
    assert "databricks auth describe" in refused.hint


def test_another_way_that_is_set_is_not_taken_in_place_of_the_pinned_one(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-of-somebody-else")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoToken, match="got no token"):
        sign_in.sdk_headers(by(target, "azure-cli"))
    principal = replace(target, auth=ServicePrincipal("me", SecretStr("dose-x")))
    with pytest.raises(NoToken, match=r"^the service principal got no token: "):
        sign_in.sdk_headers(principal)


def test_what_the_sdk_knows_is_not_in_the_message(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoToken) as failed:
        sign_in.sdk_headers(by(target, "file-oidc"))
    assert "Config:" not in str(failed.value)
    assert "what it needs is not set" in str(failed.value)


def test_who_never_answers_is_given_up_in_time(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    # The SDK would wait for 10 s here, and for az and its like for ever.
    with mute() as port:
        monkeypatch.setenv("DATABRICKS_METADATA_SERVICE_URL", f"http://127.0.0.1:{port}/")
        with pytest.raises(NoToken, match=r"metadata-service got no token: no answer within 1 s"):
            sign_in.sdk_headers(replace(by(target, "metadata-service"), patience=1.0))
    for thread in threading.enumerate():
        if thread.name == "databricks-sign-in":
            thread.join(30)
