"""Settings: by flag, by variable, by file, in that order.

Variables are called ``DQCTL_*``; Databricks' own keep Databricks' names. A secret may come by file instead:
``DATABRICKS_TOKEN_FILE`` names one. The files are the stack's own (written by ``install``) and the user's,
both TOML, both without secrets. A setting that is missing names every place that was looked at.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dqctl.errors import MissingSetting, UsageError

_SECRETS = ("databricks_token", "databricks_client_secret", "observability_key")

# Several ways to say one thing: what is said higher up replaces the others lower down.
_REPLACES = {
    "workspace": ("databricks_host", "databricks_config_profile"),
    "databricks_host": ("workspace",),
    "databricks_config_profile": ("workspace",),
    "http_path": ("databricks_warehouse_id", "warehouse_name"),
    "databricks_warehouse_id": ("http_path", "warehouse_name"),
    "warehouse_name": ("http_path", "databricks_warehouse_id"),
}

# Names that other tools share with us keep their spelling; everything else is DQCTL_<NAME>.
_DATABRICKS = (
    "databricks_host",
    "databricks_token",
    "databricks_client_id",
    "databricks_client_secret",
    "databricks_warehouse_id",
    "databricks_config_profile",
    "databricks_auth_type",
)


def variable(name: str) -> str:
    """The environment variable of the setting ``name``."""
    return name.upper() if name in _DATABRICKS else f"DQCTL_{name.removesuffix('_name').upper()}"


def default_home() -> Path:
    """Where stacks live: ``/var/lib/dqctl`` for root, else below the user's data directory.

    Root has no use for its home: PostgreSQL refuses to run as root, and no other account can look into it.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/dqctl")
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "dqctl"


class Settings(BaseSettings):
    """Everything that can be set, with its default."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home, description="Directory of all stacks.")
    stack: str = Field("default", description="Name of the stack.", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    workspace: Path | None = Field(
        None, description="Data directory of a local workspace, used in place of a Databricks host."
    )
    catalog: str = Field("main", description="Catalog that results are published to.", min_length=1)
    schema_name: str = Field("data_quality", description="Schema that results are published to.", min_length=1)
    databricks_host: str | None = Field(None, description="Host of the Databricks workspace.")
    databricks_token: SecretStr | None = Field(None, description="Personal access token.")
    databricks_client_id: str | None = Field(None, description="Client id of a service principal (OAuth M2M).")
    databricks_client_secret: SecretStr | None = Field(None, description="Its secret.")
    databricks_warehouse_id: str | None = Field(None, description="SQL warehouse, by id.")
    http_path: str | None = Field(None, description="SQL warehouse, by HTTP path.")
    warehouse_name: str | None = Field(None, description="SQL warehouse, by name.")
    databricks_config_profile: str | None = Field(
        None, description="Profile of ~/.databrickscfg: host, credentials, warehouse."
    )
    databricks_auth_type: str | None = Field(
        None, description="How to sign in, by Databricks' name of it, where several ways are set."
    )
    start_warehouse: bool = Field(
        True,
        description="Whether a SQL warehouse that is stopped is started when there is something to run on it.",
    )
    start_timeout: float = Field(1200.0, gt=0, description="Seconds that a SQL warehouse may take to start.")
    postgres_account: str | None = Field(
        None, description="Account that PostgreSQL runs as when dqctl runs as root."
    )
    runtime: Literal["docker", "local"] | None = Field(None, description="Where TestGen runs, for a new stack.")
    metadata: Literal["disposable", "lakebase"] | None = Field(
        None, description="Where the metadata of a new stack lives: in a PostgreSQL of its own, or in Lakebase."
    )
    lakebase_project: str | None = Field(
        None,
        description="Lakebase: id of the project, made if it is not there; dqctl-<stack> by default.",
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
    )
    lakebase_branch: str | None = Field(
        None,
        description="Lakebase: id of the branch, which has to be there; the project's default one by default.",
        pattern=r"^[a-z][a-z0-9-]{0,62}$",
    )
    lakebase_ca: Path | None = Field(
        None, description="Lakebase: certificates (PEM) that its own is checked with; the system's by default."
    )
    image: str | None = Field(None, description="Docker: TestGen's image, in place of the stock one.")
    postgres_image: str | None = Field(None, description="Docker: image of the metadata's PostgreSQL.")
    registry: str | None = Field(None, description="Docker: registry or mirror that both images come from.")
    pull: Literal["missing", "always", "never"] = Field("missing", description="Docker: when images are pulled.")
    memory: str = Field("2g", description="Docker: memory limit of TestGen's container.", pattern=r"^\d+[kmg]$")
    network: str | None = Field(
        None, description="Docker: an existing network to join as well.", pattern=r"^[A-Za-z0-9][\w.-]*$"
    )
    scheduler: bool = Field(
        False, description="Docker: whether TestGen's scheduler runs all the time, for its own schedules."
    )
    ca_bundle: Path | None = Field(
        None,
        description="Docker: certificates (PEM) that TestGen trusts, and no others. "
        "Exports trust them beside the system's.",
    )
    publish_port: int | None = Field(
        None,
        gt=0,
        lt=65536,
        description="Docker: port on 127.0.0.1 for the metadata's PostgreSQL; none by default.",
    )
    controller: bool = Field(False, description="Docker: whether the stack has a container of dqctl itself.")
    controller_image: str | None = Field(None, description="Docker: that container's image.")
    controller_socket: bool = Field(
        False, description="Docker: whether it gets the engine's socket, which is root on this machine."
    )
    controller_credential: Path | None = Field(
        None,
        description="Docker: file with the token (or the client id's secret) that it signs in with.",
    )
    controller_run: bool = Field(
        False, description="Docker: whether that container runs all the time, as the stack's sidecar."
    )
    controller_listen: str = Field(
        "127.0.0.1:19187", description="Address at which the sidecar answers /metrics, /healthz and /readyz."
    )
    monitoring: bool = Field(
        False, description="Docker: whether Prometheus, Alertmanager and Grafana run beside the stack."
    )
    prometheus_image: str | None = Field(None, description="Monitoring: Prometheus' image.")
    alertmanager_image: str | None = Field(None, description="Monitoring: Alertmanager's image.")
    grafana_image: str | None = Field(None, description="Monitoring: Grafana's image; none leaves Grafana out.")
    prometheus_port: int = Field(
        9090, ge=0, lt=65536, description="Monitoring: Prometheus' port on 127.0.0.1; 0 lets the engine choose."
    )
    alertmanager_port: int = Field(
        9093, ge=0, lt=65536, description="Monitoring: Alertmanager's port on 127.0.0.1; 0 lets the engine choose."
    )
    grafana_port: int = Field(
        3000, ge=0, lt=65536, description="Monitoring: Grafana's port on 127.0.0.1; 0 lets the engine choose."
    )
    alertmanager_config: Path | None = Field(
        None, description="Monitoring: Alertmanager's configuration, in place of one that notifies nobody."
    )
    profile_ansi: Literal["off", "as-is"] = Field(
        "off",
        description="Whether profiles run with ANSI mode off, or as the SQL warehouse has it: as-is.",
    )
    state: Literal["auto", "off"] = Field(
        "auto",
        description="Whether TestGen's metadata is saved in Databricks after every command that changes it: "
        "wherever results go (auto), or not at all (off).",
    )
    backup_keep: int = Field(10, ge=1, description="How many backups of the metadata a stack keeps.")
    backup_keep_days: float | None = Field(
        None, gt=0, description="Days after which a backup is removed, however many there are; never by default."
    )
    metrics_file: Path | None = Field(
        None,
        description="Where commands that work write the stack's numbers for node-exporter's textfile collector, "
        "which takes files that end in .prom.",
    )
    observability_url: str | None = Field(
        None, description="URL of DataOps Observability's API; by default what TestGen's project has."
    )
    observability_key: SecretStr | None = Field(
        None, description="Key of a service account there; by default what TestGen's project has."
    )
    export: Literal["off", "observability", "openlineage"] = Field(
        "off",
        description="Where commands that publish, and the controller, hand results over to afterwards, as "
        "dqctl export does; what could not be waits, exit code 5.",
    )
    export_timeout: float = Field(
        60.0, gt=0, description="Seconds that a receiver of exports may take to answer, or refuse for a while."
    )
    warehouse_timeout: float = Field(900.0, gt=0, description="Seconds that one statement may take.")
    job_timeout: float = Field(7200.0, gt=0, description="Seconds that one TestGen job may take.")
    suite_timeout: float | None = Field(
        None, gt=0, description="Seconds that the tests of one suite may take; the whole command's by default."
    )
    parallel: int = Field(
        1, ge=1, le=64, description="Suites that run-tests runs side by side; each takes a TestGen of 250 MB."
    )
    baseline: Path | None = Field(
        None,
        description="JSON that a run of the base wrote: run-tests fails only on what is newly broken since then.",
    )
    baseline_optional: bool = Field(
        False, description="Whether that file may be missing, as on a first run: then all that fails is new."
    )
    lock_timeout: float = Field(0.0, ge=0, description="Seconds to wait for a stack that is busy.")

    @field_validator("databricks_host")
    @classmethod
    def _bare_host(cls, value: str | None) -> str | None:
        return value.removeprefix("https://").split("/")[0] if value else None

    @field_validator(
        "home", "workspace", "ca_bundle", "controller_credential", "lakebase_ca", "metrics_file",
        "alertmanager_config", "baseline",
    )  # fmt: skip
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """``load`` merges the sources itself: what it passes in is all there is."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def missing(settings: Settings, *names: str) -> MissingSetting:
    """The error for a setting, or for one of several alternatives, that is nowhere."""
    places = []
    for name in names:
        places.append(f"variable {variable(name)}")
        if name in _SECRETS:
            places.append(f"a file named by {variable(name)}_FILE")
        else:
            places += [f'"{name}" in {path}' for path in settings_files(settings.home, settings.stack)]
    wanted = " or ".join(name.replace("_", " ") for name in names)
    return MissingSetting(f"no {wanted} is set", "looked for: " + "; ".join(places))


def settings_files(home: Path, stack: str) -> tuple[Path, ...]:
    """The files that are read, the first that has a setting wins."""
    own = os.environ.get("DQCTL_CONFIG")
    user = Path(own) if own else home / "settings.toml"
    return (home / "stacks" / stack / "settings.toml", user)


def load(flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings.

    ``flags`` holds what was given on the command line (``None`` means not given). Raises ``UsageError`` for a
    value that does not fit, an unknown key in a file, a secret in a file, or a file that cannot be read.
    """
    environment = os.environ if environment is None else environment
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    merged = _over(given, _from_environment(environment))
    home = Path(merged.get("home") or default_home()).expanduser().absolute()
    for path in settings_files(home, str(merged.get("stack") or "default")):
        merged = _over(merged, _from_file(path))
    try:
        found = Settings(**merged)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise UsageError(
            f"{name.replace('_', ' ')} does not fit: {problem['msg'].lower()}",
            f"change it where it is set: flag, {variable(name)}, or a settings file",
        ) from None
    # Prometheus has nothing to read where no controller serves it.
    return found.model_copy(update={"controller": True, "controller_run": True}) if found.monitoring else found


def _over(higher: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Both, ``higher`` first: what it says also replaces the lower one's other ways to say the same."""
    replaced = {other for name in higher for other in _REPLACES.get(name, ())}
    return {name: value for name, value in lower.items() if name not in replaced} | dict(higher)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = environment.get(variable(name))
        if not value and name in _SECRETS and (path := environment.get(f"{variable(name)}_FILE")):
            value = read_secret_file(Path(path), f"{variable(name)}_FILE")
        if value:
            found[name] = value
    return found


def read_secret_file(path: Path, named_by: str) -> str:
    """The secret in a file, without the line end; ``UsageError`` when it is empty or cannot be read."""
    try:
        value = path.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{named_by} names {path}, which cannot be read: {error}", "check the path") from None
    if not value:
        raise UsageError(f"{named_by} names {path}, which is empty", "write the secret into it")
    return value


def _from_file(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if str(path) == os.environ.get("DQCTL_CONFIG"):
            raise UsageError(f"DQCTL_CONFIG names {path}, which is not there", "check the path") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"settings file {path} cannot be read: {error}", "mend or remove it") from None
    for name in found:
        if name not in Settings.model_fields:
            raise UsageError(f"settings file {path} has an unknown key {name!r}", "remove it or mend its name")
        if name in _SECRETS:
            raise UsageError(
                f"settings file {path} holds a secret, {name!r}",
                f"set {variable(name)} or {variable(name)}_FILE instead, and change the secret",
            )
    return found
