"""A workspace as a process of this machine: no Docker, no root, no account."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from dqctl.errors import EnvironmentFault
from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.testing import leash
from dqctl.testing.databricks import Databricks
from dqctl.testing.holding import Held


class LocalDatabricks(Databricks):
    """A local workspace (docs/local-workspace.md) that goes with whoever started it, however that ends.

    Takes 2 to 3 s and 400 MB; several may run at once, each on ports of its own. ``data_dir`` is kept, and
    used again the next time; without it the workspace is new, in a temporary directory that goes with it.
    ``settings`` are the warehouse's: ``{"ANSI_MODE": "false"}``. ``timeout`` is in seconds.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        engine: str = "sail",
        catalogs: Sequence[str] = ("main",),
        settings: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> None:
        self._given = Path(data_dir).expanduser().absolute() if data_dir else None
        self._engine = engine
        self._catalogs = tuple(catalogs)
        self._settings = settings
        self._timeout = timeout
        self._ending = contextlib.ExitStack()

    def start(self) -> Self:
        """Start it, unless it runs; see ``Databricks.start``."""
        if self._endpoint is not None:
            return self
        with contextlib.ExitStack() as made:
            held = Held()
            made.callback(leash.join, held.directory)
            made.callback(held.end)
            data_dir = self._given or held.directory / "data"
            made.callback(_stop, data_dir)
            self._endpoint = self.start_in(data_dir, held.directory)
            self._ending = made.pop_all()
        return self

    def start_in(self, data_dir: Path, directory: Path) -> Endpoint:
        """Start it in ``data_dir``, for as long as somebody holds ``directory`` (``holding.Held``)."""
        leash.watch(directory, leash.Kind.WORKSPACE, str(data_dir))
        try:
            return control.start(
                data_dir,
                engine=self._engine,
                catalogs=self._catalogs,
                settings=self._settings,
                timeout=self._timeout,
            )
        except control.WorkspaceError as error:
            said = f"the last lines of its log:\n{error.log_tail}" if error.log_tail else error.hint
            raise EnvironmentFault(error.message, said) from error

    def stop(self) -> None:
        """Stop it; what it had is removed, unless it was given a ``data_dir``."""
        self._endpoint = None
        self._ending.close()


def _stop(data_dir: Path) -> None:
    with contextlib.suppress(control.WorkspaceError):  # it is the watcher's turn
        control.stop(data_dir)


class Attached(Databricks):
    """A local workspace that somebody else starts and stops."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def start(self) -> Self:
        """It runs."""
        return self

    def stop(self) -> None:
        """It goes on."""
