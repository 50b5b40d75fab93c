"""Our lines in the user's crontab, through the ``crontab`` command; every other byte of it stays as it is.

python-crontab, which reads the times, rewrites the lines of others (3.4.0): it moves comments, narrows blanks and
turns what it does not understand into comments. So the text is edited here.
"""

import os
import shlex
import shutil
from collections.abc import Sequence

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault

_SECONDS = 30.0
_MARK = "# dqctl schedule: "


def mark(home: str, stack: str, name: str) -> str:
    """The comment above a line of ours, by which it is found again."""
    return f"{_MARK}{stack}/{name} in {home}"


def line(at: str, argv: Sequence[str]) -> str:
    """A line of a crontab. Cron ends the command at a bare %, and runs it by a shell."""
    return f"{at} {shlex.join(argv)}".replace("%", "\\%")


def with_line(text: str, marked: str, entry: str) -> str:
    """``text`` with ``entry`` below ``marked``: where it was, or at the end."""
    lines = text.splitlines(keepends=True)
    for number, each in enumerate(lines):
        if each.rstrip("\r\n") == marked:
            return "".join([*lines[: number + 1], f"{entry}\n", *lines[number + 2 :]])
    ended = text if not text or text.endswith("\n") else text + "\n"
    return f"{ended}{marked}\n{entry}\n"


def without_line(text: str, marked: str) -> str:
    """``text`` without ``marked`` and the line below it."""
    lines = text.splitlines(keepends=True)
    for number, each in enumerate(lines):
        if each.rstrip("\r\n") == marked:
            return "".join([*lines[:number], *lines[number + 2 :]])
    return text


def line_of(text: str, marked: str) -> str | None:
    """The line below ``marked``."""
    lines = text.splitlines()
    return next((lines[number + 1] for number, each in enumerate(lines[:-1]) if each == marked), None)


def read() -> str:
    """The user's crontab; empty when there is none. ``EnvironmentFault`` where there is no cron, or not for us."""
    done = processes.run([_program(), "-l"], deadline=Deadline(_SECONDS), environment=_environment())
    if done.exit_code and "no crontab for" not in done.stderr:
        raise _refused(done.stderr)
    if "\ufffd" in done.stdout:  # it would be written back as something else
        raise EnvironmentFault(
            "the crontab has bytes that are not UTF-8, and changing it would change them",
            "put dqctl's line in yourself: --dry-run shows it",
        )
    return "" if done.exit_code else done.stdout


def write(text: str) -> None:
    """Replace the user's crontab; cron refuses one that it cannot read, and keeps the old one then."""
    done = processes.run([_program(), "-"], stdin=text, deadline=Deadline(_SECONDS), environment=_environment())
    if done.exit_code:
        raise _refused(done.stderr)


def _program() -> str:
    found = shutil.which("crontab")
    if found is None:
        raise EnvironmentFault(
            "there is no crontab command on this machine",
            "install cron (Debian: apt-get install cron), or use --by systemd",
        )
    return found


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _refused(said: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"crontab refused: {' '.join(said.split()) or 'it did not say why'}",
        "nothing was changed; see whether this user may use cron (/etc/cron.allow, /etc/cron.deny)",
    )
