"""Which warehouse the results go to, and as whom."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from dqctl.databricks.auth import Auth, PersonalToken, ServicePrincipal, choose_auth
from dqctl.databricks.profile import Profile, read_profile
from dqctl.errors import UsageError
from dqctl.settings import Settings, missing, read_secret_file

__all__ = ["LocalEndpoint", "PersonalToken", "ServicePrincipal", "Target", "resolve_target", "target_name"]


@dataclass(frozen=True)
class Target:
    """A SQL warehouse with the schema in which results are kept.

    ``place`` names it for people and tells one target from another. ``patience`` is how many seconds a request
    is repeated while nobody answers. ``direct`` means that no proxy is to be asked. Where only the warehouse's
    name is known, ``http_path`` is empty until ``warehouses.locate`` has asked for it. ``start_warehouse`` is
    whether a warehouse that is stopped may be started, which may take ``start_timeout`` seconds.
    """

    host: str
    http_path: str
    catalog: str
    schema: str
    auth: Auth
    port: int = 443
    ca_file: Path | None = None
    place: str = ""
    patience: float = 60.0
    direct: bool = False
    statement_timeout: float = 900.0
    warehouse_name: str = ""
    start_warehouse: bool = True
    start_timeout: float = 1200.0

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


def resolve_target(
    settings: Settings, endpoint: LocalEndpoint | None = None, environment: Mapping[str, str] | None = None
) -> Target:
    """The target that ``settings`` and their profile describe; with ``endpoint`` that local workspace.

    ``environment`` is the process's own unless given: the SDK will read the same one. Raises ``MissingSetting``
    naming every place that was looked at, and ``UsageError`` for a profile of another host, or when two ways to
    sign in are set.
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
            start_warehouse=settings.start_warehouse,
            start_timeout=settings.start_timeout,
        )
    environment = os.environ if environment is None else environment
    named = settings.databricks_config_profile
    profile = read_profile(named, environment) if named else None
    host = _host(settings, profile)
    http_path = _http_path(settings, profile)
    return Target(
        host=host,
        http_path=http_path,
        catalog=settings.catalog,
        schema=settings.schema_name,
        auth=choose_auth(settings, profile, environment),
        statement_timeout=settings.warehouse_timeout,
        warehouse_name="" if http_path else settings.warehouse_name or "",
        start_warehouse=settings.start_warehouse,
        start_timeout=settings.start_timeout,
    )


def _host(settings: Settings, profile: Profile | None) -> str:
    own, of_profile = settings.databricks_host, profile.host if profile else ""
    if own and of_profile and own.lower() != of_profile.lower():
        # The SDK would show this host the credentials of the other one.
        raise UsageError(
            f"{profile} is for {of_profile}, and the host is set to {own}",
            "unset DATABRICKS_HOST (or databricks_host in a settings file), or DATABRICKS_CONFIG_PROFILE",
        )
    if found := own or of_profile:
        return found
    if profile:
        raise UsageError(f"{profile} has no host", "add it to the profile, or set DATABRICKS_HOST")
    raise missing(settings, "databricks_host", "databricks_config_profile", "workspace")


def _http_path(settings: Settings, profile: Profile | None) -> str:
    if settings.http_path:
        return settings.http_path
    if settings.databricks_warehouse_id:
        return warehouse_path(settings.databricks_warehouse_id)
    if settings.warehouse_name:
        return ""
    if profile and (warehouse_id := profile.plain("warehouse_id")):
        return warehouse_path(warehouse_id)
    raise missing(settings, "databricks_warehouse_id", "warehouse_name", "http_path")


def warehouse_path(warehouse_id: str) -> str:
    """The HTTP path of a SQL warehouse, from its id."""
    return f"/sql/1.0/warehouses/{warehouse_id}"
