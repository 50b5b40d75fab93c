"""A Databricks workspace of somebody's, by DQCTL_LIVE_*: what a test needs beyond host and token, it says."""

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import PersonalToken, Target
from dqctl.databricks.warehouse import Warehouse
from tiers import unavailable


@pytest.fixture
def needed() -> Callable[..., list[str]]:
    """Values of further variables; the test is skipped, saying which one is missing and what it is for."""

    def values(purpose: str, *names: str) -> list[str]:
        for name in names:
            if not os.environ.get(f"DQCTL_LIVE_{name}"):
                unavailable("live", f"DQCTL_LIVE_{name} is not set: {purpose}")
        return [os.environ[f"DQCTL_LIVE_{name}"] for name in names]

    return values


@pytest.fixture
def target() -> Target:
    """The workspace, with a schema that is the test's own."""
    return Target(
        host=os.environ["DQCTL_LIVE_HOST"],
        http_path=os.environ["DQCTL_LIVE_HTTP_PATH"],
        catalog=os.environ.get("DQCTL_LIVE_CATALOG", "main"),
        schema=f"dqctl_live_{secrets.token_hex(4)}",
        auth=PersonalToken(SecretStr(os.environ["DQCTL_LIVE_TOKEN"])),
    )


@pytest.fixture
def rest(target: Target) -> RestApi:
    return RestApi(target, timeout=30)


@pytest.fixture
def warehouse(target: Target) -> Iterator[Warehouse]:
    """A session; the schema goes afterwards."""
    with Warehouse(target) as opened:
        yield opened
        opened.execute(f"DROP SCHEMA IF EXISTS `{target.catalog}`.`{target.schema}` CASCADE")
