"""Where settings come from: which variable or file, never the value."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from dqctl.settings import Settings, settings_files, variable

_FILES = ("databricks_token", "databricks_client_secret")
_DATABRICKS = (
    "workspace", "databricks_host", "databricks_warehouse_id", "http_path",
    "databricks_token", "databricks_client_id", "databricks_client_secret",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """A setting, and where it was found; None when it is not set."""

    name: str
    origin: str | None


def databricks_origins(settings: Settings, environment: Mapping[str, str]) -> tuple[Origin, ...]:
    """Where everything comes from that leads to the stack's Databricks workspace.

    ``settings`` are those that ``environment`` led to. A local workspace brings its own token.
    """
    found = [Origin(name, _origin(settings, name, environment)) for name in _DATABRICKS]
    if settings.workspace is None:
        return tuple(found)
    token = f"file {settings.workspace / 'server' / 'token'}, the local workspace's own"
    return tuple(Origin(each.name, token if each.name == "databricks_token" else each.origin) for each in found)


def _origin(settings: Settings, name: str, environment: Mapping[str, str]) -> str | None:
    if getattr(settings, name) is None:
        return None
    own = variable(name)
    if environment.get(own):
        return f"variable {own}"
    if name in _FILES and (named := environment.get(f"{own}_FILE")):
        return f"file {named}, named by variable {own}_FILE"
    for path in settings_files(settings.home, settings.stack):
        try:
            if name in tomllib.loads(path.read_text(encoding="utf-8")):
                return f"file {path}"
        except FileNotFoundError:
            continue
    return "flag"
