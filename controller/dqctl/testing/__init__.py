"""Databricks, and data quality, in somebody's tests: workspaces to start, and a pytest plugin (docs/pytest.md).

    from dqctl.testing import DatabricksContainer, LocalDatabricks

pytest loads this package wherever dqctl is installed, so it imports nothing until a name is used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqctl.testing.container import DatabricksContainer
    from dqctl.testing.databricks import Databricks
    from dqctl.testing.local import LocalDatabricks

__all__ = ["Databricks", "DatabricksContainer", "LocalDatabricks"]

_PLACES = {"Databricks": "databricks", "DatabricksContainer": "container", "LocalDatabricks": "local"}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
