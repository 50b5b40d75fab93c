"""Progress on stderr: one line that changes on a terminal, one line a step elsewhere."""

import contextlib
import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.status import Status


class Display:
    """Shows the newest step; what was shown is redacted like everything that is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status: Status | None = None
        self._lively = stream.isatty() and os.environ.get("TERM") != "dumb" and "CI" not in os.environ

    def show(self, message: str) -> None:
        """Say what goes on now."""
        from dqctl.redaction import redact

        message = redact(message)
        # Whoever listened went away (`2>&1 | head`, a closed terminal), or a disk is full: the work goes on, and
        # what is called off is called off to its end.
        with contextlib.suppress(OSError):
            if self._lively:
                self._update(message)
            else:
                print(message, file=self._stream, flush=True)

    def _update(self, message: str) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.status import Status

        if self._status is None:
            self._status = Status("", console=Console(file=self._stream))
            self._status.start()
        self._status.update(escape(message))

    def close(self) -> None:
        """Take the changing line away; before anything else is printed."""
        status, self._status = self._status, None
        if status is not None:
            with contextlib.suppress(OSError):
                status.stop()
