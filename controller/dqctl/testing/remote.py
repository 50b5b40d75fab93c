"""A real workspace, for tests that are to run there: found as dqctl finds it, neither started nor stopped."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from dqctl.clock import SYSTEM_CLOCK
from dqctl.databricks.auth import PersonalToken
from dqctl.databricks.sign_in import connector_credentials
from dqctl.databricks.warehouses import awake
from dqctl.errors import UsageError
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.services.target import find_target
from dqctl.settings import load
from dqctl.testing.databricks import Databricks

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sql.client import Connection


class RemoteDatabricks(Databricks):
    """The workspace of ``DATABRICKS_HOST`` and its like, beside them ``environment``."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})
        self._target = find_target(load(None, {**os.environ, **self._environment}))

    def start(self) -> Self:
        """It is there."""
        return self

    def stop(self) -> None:
        """It stays."""

    @property
    def endpoint(self) -> Endpoint:
        """Only a local workspace has one: ``UsageError``."""
        raise UsageError("a real workspace meets no faults on request", "leave out --dq-databricks for this test")

    @property
    def host(self) -> str:
        """Its host."""
        return self._target.host

    @property
    def port(self) -> int:
        """The port there."""
        return self._target.port

    @property
    def http_path(self) -> str:
        """HTTP path of its SQL warehouse, which is started if it sleeps."""
        self._target = awake(self._target, silent, SYSTEM_CLOCK)
        return self._target.http_path

    @property
    def token(self) -> SecretStr:
        """The personal access token, where that is how it is signed in to; else ``UsageError``."""
        if isinstance(self._target.auth, PersonalToken):
            return self._target.auth.token
        raise UsageError("this workspace is not signed in to with a token", "use connect() or workspace_client()")

    def connect(self, **options: Any) -> "Connection":
        """A connection of databricks-sql-connector; ``options`` are its own."""
        from databricks import sql

        given = {
            "server_hostname": self.host,
            "http_path": self.http_path,
            "enable_telemetry": False,
            **connector_credentials(self._target),
        }
        return sql.connect(**given | options)

    def workspace_client(self) -> "WorkspaceClient":
        """A client of databricks-sdk, as the environment says."""
        from databricks.sdk import WorkspaceClient

        return WorkspaceClient()

    def environment(self) -> dict[str, str]:
        """What leads to it beside the variables that are set already."""
        return {**self._environment, "DATABRICKS_HTTP_PATH": self.http_path}

    def whole_environment(self) -> dict[str, str]:
        """This process's environment, with ``environment()``."""
        return {**os.environ, **self.environment()}
