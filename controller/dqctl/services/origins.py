"""Where settings come from: which variable, file or profile, never the value."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from dqctl.databricks.auth import FAMILIES, families_in
from dqctl.databricks.profile import Profile, read_profile
from dqctl.errors import UsageError
from dqctl.settings import Settings, settings_files, variable

_FILES = ("databricks_token", "databricks_client_secret")
_DATABRICKS = (
    "workspace", "databricks_config_profile", "databricks_host", "databricks_warehouse_id", "warehouse_name",
    "http_path", "databricks_auth_type", "databricks_token", "databricks_client_id", "databricks_client_secret",
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
    if settings.workspace is not None:
        found = [Origin(name, _origin(settings, name, environment)) for name in _DATABRICKS]
        token = f"file {settings.workspace / 'server' / 'token'}, the local workspace's own"
        return tuple(
            Origin(each.name, token if each.name == "databricks_token" else each.origin) for each in found
        )
    profile = _profile(settings, environment)
    return tuple(
        Origin(name, _origin(settings, name, environment) or _beyond(settings, name, profile, environment))
        for name in _DATABRICKS
    )


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


def _beyond(settings: Settings, name: str, profile: Profile | None, environment: Mapping[str, str]) -> str | None:
    """What is no setting of dqctl's: the profile, and variables of ways to sign in that are the SDK's business."""
    if profile and name.removeprefix("databricks_") in profile.values:
        named = settings.http_path or settings.warehouse_name
        return None if name == "databricks_warehouse_id" and named else str(profile)
    own = (settings.databricks_token, settings.databricks_client_secret, profile)
    if name == "databricks_auth_type" and not any(own) and (found := families_in(environment)):
        (family,) = (each for each in FAMILIES if each.auth_type == found[0])
        return f"{family.auth_type}, by {', '.join(family.variables)}"
    return None


def _profile(settings: Settings, environment: Mapping[str, str]) -> Profile | None:
    if settings.databricks_config_profile is None:
        return None
    try:
        return read_profile(settings.databricks_config_profile, environment)
    except UsageError:
        return None  # whoever needs it is told so
