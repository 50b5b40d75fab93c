"""The stack's own Databricks workspace, as TestGen is to reach it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from dqctl.clock import Clock, Deadline
from dqctl.databricks.auth import INSTEAD, PersonalToken, ServicePrincipal
from dqctl.databricks.rest import RestApi
from dqctl.databricks.secret_scopes import read_secret
from dqctl.databricks.target import Target
from dqctl.databricks.warehouses import awake, locate
from dqctl.errors import DqctlError, MissingSetting, UsageError
from dqctl.progress import Progress
from dqctl.services.apply import WorkspaceAccess
from dqctl.services.target import find_endpoint, find_target
from dqctl.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """``target`` is None when no workspace is set; ``environment`` is what TestGen's processes need to get there.

    ``host`` is the workspace's name for TestGen, which goes through a local workspace's proxy.
    """

    target: Target | None = None
    host: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def workspace(self) -> WorkspaceAccess | None:
        """What a connection to the workspace is made of; a warehouse that is named is looked up."""
        if self.target is None:
            return None
        return as_workspace(self.target if self.target.http_path else locate(self._rest(), self.target), self.host)

    def secret(self, scope: str, key: str) -> SecretStr:
        """A secret of the workspace's scopes; ``UsageError`` when there is no workspace, or no such secret."""
        if self.target is None:
            raise UsageError(
                f"secret {key} of scope {scope} is in a Databricks workspace, and none is set",
                "set DATABRICKS_HOST or DQCTL_WORKSPACE, or use {env: NAME} or {file: PATH}",
            )
        return read_secret(self._rest(), scope, key)

    def wake(self, deadline: Deadline, progress: Progress, clock: Clock) -> None:
        """Have the warehouse running before jobs need it: TestGen would wait for it and say nothing.

        What goes wrong is no error here: those who need the warehouse will meet it, and a stack may have jobs that
        do not.
        """
        if self.target is None:
            return
        seconds = max(1.0, min(self.target.start_timeout, deadline.left))
        try:
            awake(replace(self.target, start_timeout=seconds), progress, clock)
        except DqctlError as error:
            log.info("the warehouse is not awake: %s", error.message)

    def _rest(self) -> RestApi:
        if self.target is None:
            raise ValueError("no workspace is set")
        return RestApi(self.target, timeout=10.0)


def find_access(settings: Settings) -> Access:
    """How TestGen gets to the workspace that ``settings`` name; nobody is asked yet.

    None at all is no error here: a stack can check PostgreSQL alone. A local workspace has to run.
    """
    if settings.workspace is not None:
        endpoint = find_endpoint(settings.workspace)
        target = find_target(settings)
        # databricks-sqlalchemy 2.0.10 ignores the port and always uses 443: the proxy knows what is meant.
        # The SDK trusts REQUESTS_CA_BUNDLE, the connector SSL_CERT_FILE. An empty NO_PROXY exempts nobody.
        environment = {
            "HTTPS_PROXY": endpoint.proxy_url,
            "https_proxy": endpoint.proxy_url,
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": str(endpoint.ca_file),
            "REQUESTS_CA_BUNDLE": str(endpoint.ca_file),
        }
        return Access(target, endpoint.host, environment)
    try:
        target = find_target(settings)
    except MissingSetting:
        return Access()
    return Access(target, target.host)


def as_workspace(target: Target, host: str) -> WorkspaceAccess:
    """What TestGen can be given of ``target``; see the table ``databricks.auth.FAMILIES``."""
    auth = target.auth
    if isinstance(auth, PersonalToken):
        return WorkspaceAccess(host, target.http_path, token=auth.token)
    if isinstance(auth, ServicePrincipal):
        return WorkspaceAccess(host, target.http_path, client_id=auth.client_id, client_secret=auth.secret)
    return WorkspaceAccess(host, target.http_path, otherwise=auth.auth_type, instead=INSTEAD)
