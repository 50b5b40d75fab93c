"""What is known of an ephemeral stack, written before anything of it is made.

Each has a directory of its own below ``ci/`` of the home of all stacks, which is a home by itself:

    ci/<name>/ci.json        this record
    ci/<name>/environments   the programs of the home of all stacks (a link)
    ci/<name>/stacks/<name>  the stack
    ci/<name>/workspace      its local workspace

The directory comes with the record in it, and the record goes last.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.services.ci.owner import Owner, started_at
from dqctl.stack.paths import StackPaths

NAME = r"^[a-z][a-z0-9-]{0,30}$"

_FILE = "ci.json"
_MAKING = ".making-"
_PASS_THROUGH = 0o711  # for PostgreSQL's account; nobody sees the names of what is there


class Command(BaseModel):
    """What ``ci run`` runs. All its processes have ``cookie`` in their environment, as nobody else has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cookie: str


class Databricks(BaseModel):
    """The workspace that it has throw-away schemas in. Each has ``mark`` in its comment, as no other has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    catalog: str
    mark: str
    schemas: tuple[str, ...]


class Record(BaseModel):
    """An ephemeral stack. Without ``owner`` nobody has to live for it: it stays until it expires."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(pattern=NAME)
    runtime: Literal["local", "docker"]
    owner: Owner | None
    created: datetime
    expires: datetime
    command: Command | None = None
    databricks: Databricks | None = None


class CiPaths:
    """Where everything of the ephemeral stack ``name`` lies, below the home of all stacks."""

    def __init__(self, home: Path, name: str) -> None:
        # Processes are told by what stands in their arguments: one spelling.
        self.home = home.resolve()
        self.name = name
        self.root = self.home / "ci" / name
        self.record = self.root / _FILE
        self.workspace = self.root / "workspace"
        self.stack = StackPaths(self.root, name)


def create(paths: CiPaths, record: Record) -> None:
    """Make the directory with the record in it, in one step; ``UsageError`` when there is one of this name."""
    folder = paths.root.parent
    try:
        for directory in (paths.home, folder):
            if not directory.exists():
                directory.mkdir(parents=True, exist_ok=True)
                directory.chmod(_PASS_THROUGH)
        (paths.home / "environments").mkdir(exist_ok=True)
        owner = Owner.here()
        making = folder / f"{_MAKING}{owner.pid}-{owner.started}-{secrets.token_hex(4)}"
        making.mkdir()
        making.chmod(_PASS_THROUGH)
        write_atomically(making / _FILE, record.model_dump_json(indent=2) + "\n", PRIVATE_FILE)
        (making / "environments").symlink_to(paths.home / "environments")
        try:
            making.rename(paths.root)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise UsageError(
                f"there is an ephemeral stack {record.name!r} already",
                f"choose another --name, or end it: dqctl ci down {record.name}",
            ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or folder}: {error.strerror}", "free space or change its owner; see DQCTL_HOME"
        ) from error


def write(paths: CiPaths, record: Record) -> None:
    """Replace the record; ``EnvironmentFault`` when the stack was taken down meanwhile."""
    if not paths.record.exists():
        raise EnvironmentFault(f"somebody has taken {paths.name} down while it was made", "make it anew")
    _write(paths, record)


def put_back(paths: CiPaths, record: Record) -> None:
    """Have the record there: somebody may have taken the stack down before all of it had come about."""
    with contextlib.suppress(OSError):  # it is there; what else is wrong is said by the next line
        paths.root.mkdir()
    _write(paths, record)


def _write(paths: CiPaths, record: Record) -> None:
    try:
        write_atomically(paths.record, record.model_dump_json(indent=2) + "\n", PRIVATE_FILE)
    except OSError as error:
        raise EnvironmentFault(
            f"{paths.record} cannot be written: {error.strerror}", "free space or change its owner; see DQCTL_HOME"
        ) from error


def read(paths: CiPaths) -> Record | None:
    """The record; None when there is no such stack. ``EnvironmentFault`` when it is damaged."""
    try:
        return Record.model_validate_json(paths.record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EnvironmentFault(
            f"{paths.record} cannot be read: {str(error).splitlines()[0]}",
            f"what it names is left alone; if nothing of it runs any more, remove {paths.root}",
        ) from None


def names(home: Path) -> tuple[str, ...]:
    """The names of all ephemeral stacks."""
    with contextlib.suppress(FileNotFoundError):
        found = [each.parent.name for each in (home / "ci").glob(f"[a-z]*/{_FILE}")]
        return tuple(sorted(found))
    return ()


def half_made(home: Path) -> Iterator[Path]:
    """Directories that somebody began to make and was killed before anything of the stack was there."""
    for each in (home / "ci").glob(f"{_MAKING}*"):
        pid, started = each.name.removeprefix(_MAKING).split("-")[:2]
        if started_at(int(pid)) != int(started):
            yield each
    # Taken down by somebody who was killed between the record, which goes last, and its directory.
    for each in (home / "ci").glob("[a-z]*"):
        with contextlib.suppress(OSError):
            if not os.listdir(each):  # noqa: PTH208 - whether there is anything at all
                yield each
