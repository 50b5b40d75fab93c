"""The environment that leads to an ephemeral stack: for dqctl, and for every tool that knows Databricks."""

from collections.abc import Mapping
from pathlib import Path

from dqctl.databricks.target import PersonalToken
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.redaction import reveal
from dqctl.services.ci.record import CiPaths, Record
from dqctl.services.target import find_endpoint, find_target
from dqctl.settings import Settings, variable

# What would lead past a local workspace, or sign in to it in a second way, which the SDK refuses.
NOT_INHERITED = (
    "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_CLIENT_SECRET_FILE", "DATABRICKS_AUTH_TYPE",
    "DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CONFIG_FILE", "DATABRICKS_TOKEN_FILE", "DQCTL_CONFIG",
    "DQCTL_HTTP_PATH", "DQCTL_WAREHOUSE", "DQCTL_METRICS_FILE", "DQCTL_EXPORT", "DQCTL_METADATA",
    "DQCTL_MONITORING", "DQCTL_CONTROLLER", "DQCTL_CONTROLLER_RUN", "DQCTL_SCHEDULER", "ARM_CLIENT_ID",
    "ARM_CLIENT_SECRET", "ARM_TENANT_ID", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY",
)  # fmt: skip

# Settings that commands in the stack find in its file: where results go, without what is secret.
_KEPT = (
    "workspace", "catalog", "schema_name", "state", "databricks_host", "databricks_warehouse_id", "http_path",
    "warehouse_name", "databricks_config_profile",
)  # fmt: skip


def remembered(settings: Settings, made: Record) -> dict[str, str]:
    """What the stack's own settings file has."""
    found = {name: str(value) for name in _KEPT if (value := getattr(settings, name)) is not None}
    if found.get("http_path"):
        found.pop("databricks_warehouse_id", None)
        found.pop("warehouse_name", None)
    if made.databricks and found.get("workspace"):
        found.pop("databricks_host", None)
        found.pop("databricks_config_profile", None)
    return found


def environment_of(settings: Settings, paths: CiPaths, made: Record) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that are no secrets, and those that are."""
    plain = {
        "DQCTL_HOME": str(paths.root),
        "DQCTL_STACK": made.name,
        "DQCTL_RUNTIME": made.runtime,
        **{variable(name): value for name, value in remembered(settings, made).items()},
    }
    if settings.workspace is None:
        # Real credentials are where they were: in the environment that this is added to.
        return plain, {}
    endpoint = find_endpoint(settings.workspace)
    target = find_target(settings)
    plain |= {
        **endpoint.environment,
        "DATABRICKS_WAREHOUSE_ID": endpoint.http_path.rsplit("/", 1)[1],
        "DATABRICKS_HTTP_PATH": endpoint.http_path,
        # Some tools prefer the small letters; an empty list of exceptions exempts nobody.
        "https_proxy": endpoint.proxy_url,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    if not isinstance(target.auth, PersonalToken):
        return plain, {}
    return plain, {"DATABRICKS_TOKEN": reveal(target.auth.token)}


def write_env_file(file: Path, variables: Mapping[str, str]) -> None:
    """Write the variables as dotenv and shells read them, for the owner alone."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            file, "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items()), PRIVATE_FILE
        )
    except OSError as error:
        raise EnvironmentFault(f"{file} cannot be written: {error.strerror}", "name another --env-file") from error


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'" if value else ""
