"""What every command shares: the global options, the settings they lead to, and where to say what."""

import logging
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dqctl.cli.progress import Display
from dqctl.progress import Progress, silent

if TYPE_CHECKING:
    from dqctl.settings import Settings


class Output(StrEnum):
    """What stdout gets: a table for people, or one JSON object for programs."""

    TABLE = "table"
    JSON = "json"


@dataclass
class Context:
    """The options in front of the command. ``flags`` are settings given there, None where not given."""

    flags: dict[str, Any] = field(default_factory=dict)
    output: Output = Output.TABLE
    quiet: bool = False
    debug: bool = False

    @cached_property
    def settings(self) -> "Settings":
        """All settings, flags first; ``UsageError`` when one does not fit."""
        return self.settings_with()

    def settings_with(self, **flags: Any) -> "Settings":
        """Settings with more flags: those that a command has itself."""
        from dqctl.settings import load

        return load({**self.flags, **flags})

    @cached_property
    def display(self) -> Display:
        """What shows progress on stderr."""
        return Display(sys.stderr)

    @property
    def progress(self) -> Progress:
        """Where services say what goes on."""
        return silent if self.quiet else self.display.show


current = Context()


def enter(context: Context) -> None:
    """Make ``context`` the one of this process, and set logging up as it asks."""
    global current  # noqa: PLW0603 - one process runs one command, and main's error handler needs its options
    current = context
    if context.debug:
        from dqctl.redaction import RedactingFormatter

        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(RedactingFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
    else:
        # Libraries warn about things that errors of ours say better.
        logging.basicConfig(level=logging.CRITICAL)


def context() -> Context:
    """The context of this process."""
    return current
