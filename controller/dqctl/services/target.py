"""Where results and the state go, as the settings say; asks nobody.

Light to import, since what only looks (metrics, the sidecar) has no use for connectors.
"""

from pathlib import Path
from shlex import quote

from dqctl.databricks.target import Target, resolve_target, target_name
from dqctl.errors import EnvironmentFault, MissingSetting
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.settings import Settings
from dqctl.stack.record import StackRecord


def find_endpoint(workspace: Path) -> Endpoint:
    """The local workspace in the directory ``workspace``; ``EnvironmentFault`` when it does not run."""
    endpoint = Endpoint.read(workspace)
    if endpoint is None:
        raise EnvironmentFault(
            f"the local workspace in {workspace} does not run",
            f"start it: dqctl workspace start --data-dir {quote(str(workspace))}",
        )
    return endpoint


def find_target(settings: Settings) -> Target:
    """Where results go. A local workspace that is configured has to run: ``EnvironmentFault`` when it does not."""
    if settings.workspace is None:
        return resolve_target(settings)
    return resolve_target(settings, find_endpoint(settings.workspace))


def name_of_target(settings: Settings) -> str:
    """The name that the ledger knows the target by, also of a local workspace that does not run."""
    if settings.workspace is None:
        return find_target(settings).name
    return target_name(str(settings.workspace.resolve()), settings.catalog, settings.schema_name)


def why_off(settings: Settings, record: StackRecord | None) -> str | None:
    """Why no state is saved; None when it is. No warehouse is asked."""
    if settings.state == "off":
        return "it is turned off (DQCTL_STATE=off)"
    if record and record.lakebase:
        return "TestGen's metadata is in Databricks already: in Lakebase, which keeps it itself"
    try:
        name_of_target(settings)
    except MissingSetting:
        return "nothing says which Databricks it should go to: see dqctl install --host, or --workspace"
    return None
