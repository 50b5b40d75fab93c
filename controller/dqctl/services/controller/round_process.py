"""The process that goes a round: got ready while a run is under way, and told to go when there is something to do.

Of the seconds between a run's end and its row in Databricks, a third went to the imports of this process. They
take no time while the run still does; and nobody waits ready, with the memory that this takes, while nothing runs.
"""

import contextlib
import json
import os
import subprocess
import tempfile
from typing import IO, Any

from dqctl import processes
from dqctl.services.schedule import dqctl_command
from dqctl.settings import Settings


class RoundProcess:
    """One process at a time, ``dqctl controller once --told``: it is ready, or goes a round, or is not there."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self.is_going = False
        """Whether it goes a round, or has gone it and was not asked for what it came to."""

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The process, whatever it does."""
        return self._process

    @property
    def is_ready(self) -> bool:
        """Whether it waits to be told."""
        return self._process is not None and not self.is_going and self._process.poll() is None

    def get_ready(self, settings: Settings) -> None:
        """Start it, so that its imports are over when it is needed; ``EnvironmentFault`` when that cannot be."""
        self.forget()
        # A file, since nobody reads a pipe while the loop turns.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
        argv = [*dqctl_command(settings), "--output", "json", "--quiet", "controller", "once", "--told"]
        self._process = processes.start(argv, environment=os.environ, stdout=self._output, told=True)

    def go(self, settings: Settings) -> None:
        """Have it go, ready or not. Raises ``EnvironmentFault`` when it cannot be started."""
        if not self.is_ready:
            self.get_ready(settings)
        self.is_going = True
        if self._process and self._process.stdin:
            # Should it have died in this moment, its exit code will tell.
            with contextlib.suppress(BrokenPipeError), self._process.stdin as word:
                word.write(b"go\n")

    def ended(self) -> tuple[int, dict[str, Any]] | None:
        """Exit code and what was said by one that went and has ended; it is asked once."""
        if not self.is_going or self._process is None or (code := self._process.poll()) is None:
            return None
        said: Any = None
        if self._output:
            self._output.seek(0)
            with contextlib.suppress(ValueError):
                said = json.loads(self._output.read())
        self.forget()
        return code, said if isinstance(said, dict) else {}

    def forget(self) -> None:
        """Have none any more. One that is ready is ended: it has done nothing yet."""
        if self.is_ready and self._process:
            processes.stop_groups([self._process], 0.0)
        if self._process and self._process.stdin:
            self._process.stdin.close()
        if self._output:
            self._output.close()
        self._process, self._output, self.is_going = None, None, False
