"""What tells a throw-away stack from any other: its settings, its labels, its schemas, its systems."""

from collections.abc import Mapping
from typing import Any

from dqctl.services.ci.record import CiPaths, Record
from dqctl.settings import Settings
from dqctl.stack import labels as names
from dqctl.testgen.systems import flavors
from dqctl.testgen.systems.declaration import Declaration

PREFIX = "dqctl_ci_"


def results(name: str) -> str:
    """The schema of the stack's published tables in somebody's workspace."""
    return f"{PREFIX}{name.replace('-', '_')}"


def of_seeds(name: str, schema: str) -> str:
    """The schema there that stands in for ``schema`` of the seeds."""
    return f"{results(name)}__{schema}"


def settings_of(user: Settings, paths: CiPaths, made: Record) -> Settings:
    """The settings that lead to the stack, made of the ``user``'s own.

    What speaks to others in the name of the user's stacks is off: alerts, exports, metrics, saved states.
    """
    own: dict[str, Any] = {
        "home": paths.root,
        "stack": made.name,
        "runtime": made.runtime,
        "metadata": "disposable",
        "state": "off",
        "export": "off",
        "metrics_file": None,
        "scheduler": False,
        "controller": False,
        "controller_run": False,
        "controller_socket": False,
        "monitoring": False,
        "publish_port": None,
    }
    if made.databricks:
        own |= {"catalog": made.databricks.catalog, "schema_name": results(made.name)}
    else:
        own |= {"workspace": paths.workspace, "catalog": "main", "schema_name": "data_quality"}
        own |= dict.fromkeys(
            (
                "databricks_host",
                "databricks_token",
                "databricks_client_id",
                "databricks_client_secret",
                "databricks_warehouse_id",
                "http_path",
                "warehouse_name",
                "databricks_config_profile",
                "databricks_auth_type",
                "ca_bundle",
            )
        )
    return user.model_copy(update=own)


def labels(made: Record, paths: CiPaths, *, owned: bool) -> dict[str, str]:
    """What everything that a container engine has of the stack is labelled with."""
    found = {
        names.STACK: made.name,
        names.EXPIRES: made.expires.isoformat(),
        names.ROOT: str(paths.stack.root),
    }
    return found | ({names.OWNER: made.owner.label} if owned and made.owner else {})


def elsewhere(declared: Declaration, catalog: str, moved: Mapping[str, str]) -> Declaration:
    """``declared``, its connections to the stack's own workspace looking for schemas that were ``moved``."""
    if not moved:
        return declared
    systems = []
    for system in declared.systems:
        connections = [
            _moved_connection(each, catalog, moved)
            if isinstance(each, flavors.Databricks) and each.host is None
            else each
            for each in system.connections
        ]
        systems.append(system.model_copy(update={"connections": tuple(connections)}))
    return declared.model_copy(update={"systems": tuple(systems)})


def _moved_connection(
    connection: flavors.Databricks, catalog: str, moved: Mapping[str, str]
) -> flavors.Databricks:
    groups = [
        each.model_copy(update={"schema_name": moved.get(each.schema_name or "", each.schema_name)})
        for each in connection.table_groups
    ]
    looks_there = {each.schema_name or connection.schema_name for each in connection.table_groups} <= set(moved)
    return connection.model_copy(
        update={
            "catalog": catalog if looks_there else connection.catalog,
            "schema_name": moved.get(connection.schema_name or "", connection.schema_name),
            "table_groups": tuple(groups),
        }
    )
