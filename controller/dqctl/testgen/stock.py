"""Stock ``testgen`` command lines: which command is meant, what it does to a stack, and which would hurt it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dqctl.errors import UsageError

_QUEUEING = {
    "run-profile": "dqctl profile SYSTEM",
    "run-test-generation": "dqctl generate SYSTEM",
    "run-tests": "dqctl run-tests SUITE",
    "run-monitors": "",
}
# They read or write the target's data in this process; the others only TestGen's own metadata.
_ON_TARGET = ("exec-job", "run-monitor-generation")

_HURTING = {
    "quick-start": ("drops the metadata database with everything in it", "dqctl demo"),
    "setup-system-db": ("makes the metadata database anew, over the one that is there", "dqctl install"),
    "upgrade-system-version": ("changes the metadata database without a way back", "dqctl install"),
    "standalone-setup": ("makes a second database beside the stack's, and patches its programs", "dqctl install"),
    "run-app": (
        "starts services that do not end: a user interface, or a scheduler that cancels other jobs",
        "dqctl run-tests, which needs no scheduler",
    ),
    "ui": ("starts a user interface that does not end", "dqctl report latest --format html"),
}


@dataclass(frozen=True)
class CommandLine:
    """The arguments of one ``testgen``; ``command`` is empty when they name none."""

    command: str
    rest: tuple[str, ...]

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing, so that it may run beside other work."""
        reading = not self.command or self.command.startswith(("list-", "get-"))
        return reading or self._asks_for_help or self._lists_plugins

    @property
    def needs_target(self) -> bool:
        """Whether it goes to the data that is checked."""
        return self.command in _ON_TARGET

    @property
    def hurts(self) -> bool:
        """Whether it takes the stack itself apart."""
        return self.command in _HURTING and not self._asks_for_help and not self._lists_plugins

    @property
    def waits(self) -> bool:
        """Whether it waits until a scheduler has run the job that it queues."""
        return self.command in _QUEUEING and "--no-wait" not in self.rest and not self._asks_for_help

    def check(self, *, has_scheduler: bool = False) -> None:
        """Raise ``UsageError`` when the command would hurt, or wait for ever."""
        how = "if you know better, give --force before the --"
        if self.hurts:
            what, instead = _HURTING[self.command]
            raise UsageError(f"testgen {self.command} {what}", f"use {instead}; {how}")
        if self.waits and not has_scheduler:
            instead = _QUEUEING[self.command]
            raise UsageError(
                f"testgen {self.command} waits for a scheduler, and the stack has none",
                f"{f'use {instead}, or ' if instead else ''}add --no-wait to leave the job in the queue; {how}",
            )

    @property
    def _asks_for_help(self) -> bool:
        # Nothing else: an option in front of it could swallow it as its value.
        return self.rest == ("--help",)

    @property
    def _lists_plugins(self) -> bool:
        return self.command == "ui" and self.rest[:1] == ("plugins",)


def read(arguments: Sequence[str]) -> CommandLine:
    """The command of ``arguments``: TestGen's own options in front of it are flags (5.33.3 to 5.134.0)."""
    for position, argument in enumerate(arguments):
        if not argument.startswith("-"):
            return CommandLine(argument, tuple(arguments[position + 1 :]))
    return CommandLine("", tuple(arguments))
