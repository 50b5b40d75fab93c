"""Which warehouse the results go to, and as whom."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from dqctl.errors import UsageError
from dqctl.settings import Settings, missing, read_secret_file


@dataclass(frozen=True)
class PersonalToken:
    """A personal access token."""

    token: SecretStr


@dataclass(frozen=True)
class ServicePrincipal:
    """A service principal: OAuth, machine to machine."""

    client_id: str
    secret: SecretStr


@dataclass(frozen=True)
class Target:
    """A SQL warehouse with the schema in which results are kept.

    ``place`` names it for people and tells one target from another. ``patience`` is how many seconds a request
    is repeated while nobody answers. ``direct`` means that no proxy is to be asked.
    """

    host: str
    http_path: str
    catalog: str
    schema: str
    auth: PersonalToken | ServicePrincipal
    port: int = 443
    ca_file: Path | None = None
    place: str = ""
    patience: float = 60.0
    direct: bool = False
    statement_timeout: float = 900.0

    @property
    def name(self) -> str:
        """Place, catalog and schema in one word."""
        return target_name(self.place or self.host, self.catalog, self.schema)


def target_name(place: str, catalog: str, schema: str) -> str:
    """What ``Target.name`` is, also where there is no target because a local workspace does not run."""
    return f"{place}/{catalog}.{schema}"


class LocalEndpoint(Protocol):
    """What a running local workspace says about itself."""

    @property
    def address(self) -> str:
        """Address to connect to."""
        ...

    @property
    def port(self) -> int:
        """Port to connect to."""
        ...

    @property
    def http_path(self) -> str:
        """HTTP path of its warehouse."""
        ...

    @property
    def ca_file(self) -> Path:
        """Certificate authority of its own."""
        ...

    @property
    def token_file(self) -> Path:
        """File with a personal access token."""
        ...

    @property
    def data_dir(self) -> Path:
        """Where it keeps its data: what tells one local workspace from another."""
        ...


def resolve_target(settings: Settings, endpoint: LocalEndpoint | None = None) -> Target:
    """The target that ``settings`` describe; with ``endpoint`` that local workspace.

    Raises ``MissingSetting`` naming every place that was looked at, and ``UsageError`` when a token and a service
    principal are both set: Databricks' own tools refuse that too, and guessing would pick the wrong one.
    """
    if endpoint is not None:
        return Target(
            # Its certificate is valid for the address, and its host name need not resolve.
            host=endpoint.address,
            port=endpoint.port,
            http_path=endpoint.http_path,
            catalog=settings.catalog,
            schema=settings.schema_name,
            auth=PersonalToken(SecretStr(read_secret_file(endpoint.token_file, "the local workspace"))),
            ca_file=endpoint.ca_file,
            place=str(endpoint.data_dir),
            patience=5.0,
            direct=True,
            statement_timeout=settings.warehouse_timeout,
        )
    if not settings.databricks_host:
        raise missing(settings, "databricks_host", "workspace")
    return Target(
        host=settings.databricks_host,
        http_path=_http_path(settings),
        catalog=settings.catalog,
        schema=settings.schema_name,
        auth=_auth(settings),
        statement_timeout=settings.warehouse_timeout,
    )


def _http_path(settings: Settings) -> str:
    if settings.http_path:
        return settings.http_path
    if settings.databricks_warehouse_id:
        return f"/sql/1.0/warehouses/{settings.databricks_warehouse_id}"
    raise missing(settings, "databricks_warehouse_id", "http_path")


def _auth(settings: Settings) -> PersonalToken | ServicePrincipal:
    # An empty token is no token: the connector would open a browser to log in.
    token = settings.databricks_token if _has_value(settings.databricks_token) else None
    secret = settings.databricks_client_secret if _has_value(settings.databricks_client_secret) else None
    if token and (settings.databricks_client_id or secret):
        raise UsageError(
            "a personal access token and a service principal are both set",
            "unset DATABRICKS_TOKEN, or unset DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
        )
    if token:
        return PersonalToken(token)
    if settings.databricks_client_id and secret:
        return ServicePrincipal(settings.databricks_client_id, secret)
    if settings.databricks_client_id:
        raise missing(settings, "databricks_client_secret")
    if secret:
        raise missing(settings, "databricks_client_id")
    raise missing(settings, "databricks_token", "databricks_client_id")


def _has_value(secret: SecretStr | None) -> bool:
    return bool(secret and secret.get_secret_value().strip())
