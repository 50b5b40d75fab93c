"""Kinds of connection, one class a flavor. Another flavor is another class in ``Connection``.

Facts about TestGen's ``databricks`` flavor (5.33 to 5.134, databricks_flavor_service.py): the URL is made of
``project_host``, ``project_port``, ``http_path`` and ``project_db`` as catalog. A personal access token stands in
``project_pw_encrypted``; with ``connect_by_key`` the user is the client id of a service principal and the
password its secret (OAuth M2M). databricks-sqlalchemy 2.0.10 ignores the port: it is always 443.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SecretStr, Tag, model_validator
from pydantic_core import PydanticCustomError

from dqctl.errors import UsageError
from dqctl.testgen.systems.references import SecretReference, Sources, storable
from dqctl.testgen.systems.strict import ConnectionName, Strict, text
from dqctl.testgen.systems.tables import TableGroup

PASSWORD = "project_pw_encrypted"  # noqa: S105 - the column's name


@dataclass(frozen=True)
class WorkspaceAccess:
    """The stack's own Databricks workspace, as TestGen is to reach it: a token, or a service principal.

    ``otherwise`` is how dqctl itself signs in where that is neither, and ``instead`` what to do then.
    """

    host: str
    http_path: str
    token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    otherwise: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Columns:
    """What a connection is in TestGen's table: plain columns, and those that are stored encrypted."""

    plain: Mapping[str, Any]
    secret: Mapping[str, SecretStr] = field(default_factory=dict)


class _Connection(Strict):
    """What every connection has. ``schema`` is the default of its table groups."""

    name: ConnectionName
    renamed_from: ConnectionName | None = None
    schema_name: Annotated[str, text(100)] | None = Field(default=None, alias="schema")
    max_threads: int = Field(default=4, ge=1, le=8)
    max_query_chars: int = Field(default=20_000, ge=500, le=50_000)
    table_groups: tuple[TableGroup, ...] = ()

    def _common(self) -> dict[str, Any]:
        return {"max_threads": self.max_threads, "max_query_chars": self.max_query_chars, "connect_by_url": False}


class Token(Strict):
    """A personal access token."""

    token: SecretReference


class ServicePrincipal(Strict):
    """A service principal (OAuth M2M)."""

    client_id: Annotated[str, text(50)]
    client_secret: SecretReference


def _form(value: Any) -> str | None:
    if value == "workspace":
        return "workspace"
    if isinstance(value, Mapping):
        return "service_principal" if {"client_id", "client_secret"} & set(value) else "token"
    return None


Credentials = Annotated[
    Annotated[Literal["workspace"], Tag("workspace")]
    | Annotated[Token, Tag("token")]
    | Annotated[ServicePrincipal, Tag("service_principal")],
    Discriminator(
        _form,
        custom_error_type="credentials",
        custom_error_message="credentials are workspace, {{token: {{env: NAME}}}}, {{token: {{file: PATH}}}} or "
        "{{client_id: ID, client_secret: {{env: NAME}}}}; a secret must not stand in the file",
    ),
]


class Databricks(_Connection):
    """A catalog behind a SQL warehouse; host, warehouse and credentials are the stack's own unless said."""

    flavor: Literal["databricks"] = "databricks"
    catalog: Annotated[str, text(100)]
    host: Annotated[str, text(250)] | None = None
    http_path: Annotated[str, text(200)] | None = None
    warehouse: Annotated[str, text(100)] | None = None
    credentials: Credentials = "workspace"

    @model_validator(mode="after")
    def _fits(self) -> "Databricks":
        if self.http_path and self.warehouse:
            raise PydanticCustomError("either", "http_path and warehouse say the same: write one of them")
        if self.host and not (self.http_path or self.warehouse):
            raise PydanticCustomError("needs", "a host of its own needs its warehouse or http_path too")
        return self

    def columns(self, sources: Sources, access: WorkspaceAccess | None) -> Columns:
        """The connection's row; ``UsageError`` when it relies on a workspace that the stack does not have."""
        whose = f"connection {self.name}"
        host = (self.host or "").removeprefix("https://").strip("/")
        path = self.http_path or (f"/sql/1.0/warehouses/{self.warehouse}" if self.warehouse else "")
        if (self.credentials == "workspace" or not host or not path) and access is None:
            raise UsageError(
                f"{whose} uses the stack's own workspace, and none is set",
                "set DATABRICKS_HOST or DQCTL_WORKSPACE, or give the connection host, warehouse and credentials",
            )
        if access and self.credentials == "workspace" and host not in ("", access.host):
            raise UsageError(
                f"{whose} would hand the stack's own credentials to another host, {host}",
                "give it credentials of its own: {token: {env: NAME}}",
            )
        user, password, by_key = self._sign_in(sources, access, whose)
        return Columns(
            {
                **self._common(),
                "sql_flavor": "databricks",
                "sql_flavor_code": "databricks",
                "project_host": host or (access.host if access else ""),
                "project_port": "443",
                "http_path": path or (access.http_path if access else ""),
                "project_db": self.catalog,
                "project_user": user,
                "connect_by_key": by_key,
            },
            {PASSWORD: password},
        )

    def _sign_in(
        self, sources: Sources, access: WorkspaceAccess | None, whose: str
    ) -> tuple[str, SecretStr, bool]:
        match self.credentials:
            case Token(token=reference):
                return "token", sources.resolve(reference, whose), False
            case ServicePrincipal(client_id=client_id, client_secret=reference):
                return client_id, sources.resolve(reference, whose), True
        if access and access.token:
            return "token", storable(access.token, whose), False
        if access and access.client_id and access.client_secret:
            return access.client_id, storable(access.client_secret, whose), True
        way = access.otherwise if access else ""
        raise UsageError(
            f"{whose} uses the workspace's credentials{way and f' ({way})'}, and TestGen takes personal access "
            "tokens and service principals of Databricks only",
            (access.instead if access else "")
            or "set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
        )


class PostgreSQL(_Connection):
    """A PostgreSQL database."""

    flavor: Literal["postgresql"]
    host: Annotated[str, text(250)]
    port: int = Field(default=5432, ge=1, le=65535)
    database: Annotated[str, text(100)]
    user: Annotated[str, text(50)]
    password: SecretReference

    def columns(self, sources: Sources, access: WorkspaceAccess | None) -> Columns:
        """The connection's row."""
        del access
        return Columns(
            {
                **self._common(),
                "sql_flavor": "postgresql",
                "sql_flavor_code": "postgresql",
                "project_host": self.host,
                "project_port": str(self.port),
                "http_path": None,
                "project_db": self.database,
                "project_user": self.user,
                "connect_by_key": False,
            },
            {PASSWORD: sources.resolve(self.password, f"connection {self.name}")},
        )


FLAVORS = ("databricks", "postgresql")


def _flavor(value: Any) -> str | None:
    flavor = value.get("flavor", "databricks") if isinstance(value, Mapping) else getattr(value, "flavor", None)
    return flavor if flavor in FLAVORS else None


Connection = Annotated[
    Annotated[Databricks, Tag("databricks")] | Annotated[PostgreSQL, Tag("postgresql")],
    Discriminator(
        _flavor, custom_error_type="flavor", custom_error_message=f"flavor must be one of {', '.join(FLAVORS)}"
    ),
]
