"""A Databricks workspace that a test has, whatever it runs in: how it is reached, and clients that are."""

import abc
import os
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from dqctl.errors import EnvironmentFault
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.redaction import reveal
from dqctl.settings import read_secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from databricks.sdk import WorkspaceClient
    from databricks.sql.client import Connection

# What would lead a client past the workspace, or to somebody else's.
_PROXIES = ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Databricks(abc.ABC):
    """A local workspace for as long as a ``with`` block lasts, or from ``start`` to ``stop``."""

    _endpoint: Endpoint | None = None

    @abc.abstractmethod
    def start(self) -> Self:
        """Start it; it has answered a statement when this returns. ``EnvironmentFault`` when it does not."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop it and remove what it had; nothing to do when it does not run."""

    def __enter__(self) -> Self:
        """Started."""
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.stop()

    @property
    def endpoint(self) -> Endpoint:
        """How it is reached, as ``dqctl.localworkspace.client`` takes it, which makes faults."""
        if self._endpoint is None:
            raise EnvironmentFault(
                f"this {type(self).__name__} does not run", "start it, or use it in a with statement"
            )
        return self._endpoint

    @property
    def host(self) -> str:
        """The address at which it answers; its certificate is valid for it."""
        return self.endpoint.address

    @property
    def port(self) -> int:
        """The port there."""
        return self.endpoint.port

    @property
    def url(self) -> str:
        """Both, as the base of REST calls."""
        return f"https://{self.host}:{self.port}"

    @property
    def http_path(self) -> str:
        """HTTP path of its SQL warehouse."""
        return self.endpoint.http_path

    @property
    def warehouse_id(self) -> str:
        """Id of its SQL warehouse."""
        return self.http_path.rsplit("/", 1)[1]

    @property
    def token(self) -> SecretStr:
        """A personal access token."""
        return SecretStr(read_secret_file(self.endpoint.token_file, "the local workspace"))

    @property
    def ca_file(self) -> "Path":
        """The certificate authority (PEM) to trust."""
        return self.endpoint.ca_file

    def connect(self, **options: Any) -> "Connection":
        """A connection of databricks-sql-connector; ``options`` are its own: ``catalog``, ``schema``, ..."""
        from databricks import sql

        bypass_proxies(self.host)
        given = {
            "server_hostname": self.host,
            "http_path": self.http_path,
            "access_token": reveal(self.token),
            "_port": self.port,
            "_tls_trusted_ca_file": str(self.ca_file),
            # Otherwise it asks port 443 for feature flags, whatever the port is (4.9.0).
            "enable_telemetry": False,
        }
        return sql.connect(**given | options)

    def workspace_client(self) -> "WorkspaceClient":
        """A client of databricks-sdk; files go in one request each, however large."""
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        class Direct(Config):
            """Does not look for the host's metadata, with trust of its own, while it is made (0.156)."""

            _attributes = Config.attributes()  # collected by class, not inherited

            def _resolve_host_metadata(self) -> None:
                pass

        config = Direct(
            host=self.url,
            token=reveal(self.token),
            auth_type="pat",
            retry_timeout_seconds=60,
            # Sends files to signed URLs by sessions that nobody else can reach.
            disable_experimental_files_api_client=True,
        )
        client = WorkspaceClient(config=config)
        # It has no setting for certificates but the process's variables, which are for everybody.
        session = client.api_client._api_client._session
        session.trust_env, session.verify = False, str(self.ca_file)
        return client

    def environment(self) -> dict[str, str]:
        """Variables with which a process that knows Databricks only reaches it: dbt, SQLAlchemy, any client.

        They hold the token, and lead everything that the process asks of the network to this workspace.
        """
        ca_file = str(self.ca_file)
        return {
            "DATABRICKS_HOST": f"https://{self.endpoint.host}",
            "DATABRICKS_TOKEN": reveal(self.token),
            "DATABRICKS_HTTP_PATH": self.http_path,
            "DATABRICKS_WAREHOUSE_ID": self.warehouse_id,
            "HTTPS_PROXY": self.endpoint.proxy_url,
            "SSL_CERT_FILE": ca_file,
            "REQUESTS_CA_BUNDLE": ca_file,
        }

    def whole_environment(self) -> dict[str, str]:
        """This process's environment, ``environment()`` in place of what leads elsewhere: for ``subprocess``."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _PROXIES and not name.startswith("DATABRICKS_")
        }
        return kept | self.environment()


def bypass_proxies(host: str) -> None:
    """Have clients of this process ask ``host`` directly: the connector has no parameter for it."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [one for one in os.environ.get(name, "").split(",") if one]
        if host not in hosts:
            os.environ[name] = ",".join([*hosts, host])
