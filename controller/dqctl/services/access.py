"""The stack's own Databricks workspace, as TestGen is to reach it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dqctl.databricks.target import PersonalToken, Target
from dqctl.errors import MissingSetting
from dqctl.services import tables
from dqctl.services.apply import WorkspaceAccess
from dqctl.settings import Settings


@dataclass(frozen=True)
class Access:
    """``workspace`` is None when none is set; ``environment`` is what TestGen's processes need to get there."""

    workspace: WorkspaceAccess | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def find_access(settings: Settings) -> Access:
    """How TestGen gets to the workspace that ``settings`` name.

    None at all is no error here: a stack can check PostgreSQL alone. A local workspace has to run.
    """
    if settings.workspace is not None:
        endpoint = tables.find_endpoint(settings.workspace)
        target = tables.find_target(settings)
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
        return Access(_as_workspace(target, endpoint.host), environment)
    try:
        target = tables.find_target(settings)
    except MissingSetting:
        return Access()
    return Access(_as_workspace(target, target.host))


def _as_workspace(target: Target, host: str) -> WorkspaceAccess:
    if isinstance(target.auth, PersonalToken):
        return WorkspaceAccess(host, target.http_path, token=target.auth.token)
    return WorkspaceAccess(
        host, target.http_path, client_id=target.auth.client_id, client_secret=target.auth.secret
    )
