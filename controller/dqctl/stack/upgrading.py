"""The journal of an upgrade or a rollback: what is to become of the stack, written down before it is touched.

Two databases are there meanwhile, the stack's own and a candidate. Which of them counts, files cannot tell: the
one that has the stack's name does, and what has that name says by a row of its own whether it is the candidate
(``dqctl.testgen.upgrades``). Whoever finds the journal and nobody at work ends what was begun.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.stack.images import Images
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord


class Phase(StrEnum):
    """How far it is. Until SWITCH nothing of the stack itself is touched, and others may work with it.

    From DONE on there is no going back: the stack has passed the checks, only what is left over has to go.
    """

    TRIAL = "trial"
    SWITCH = "switch"
    BACK = "back"
    DONE = "done"


class Side(BaseModel):
    """A version of the stack: its record and, in docker, its images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: StackRecord
    images: Images | None = None


class Journal(BaseModel):
    """One upgrade or rollback.

    ``candidate`` is the database that is to become the stack's, ``aside`` the name that the stack's own gets
    then; it is kept after an upgrade, and dropped after a rollback. ``rows`` has the candidate's rows by table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    id: UUID
    kind: Literal["upgrade", "rollback"]
    phase: Phase
    begun: datetime
    before: Side
    after: Side
    candidate: str
    aside: str
    rows: dict[str, int] = {}
    backup: str | None = None


class Kept(BaseModel):
    """What a rollback goes back to: ``side`` is what the stack was before the ``upgrade``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: Side
    upgrade: UUID
    backup: str | None = None


def lock_file(paths: StackPaths) -> Path:
    """The lock of whoever carries the upgrade out, or ends one that was interrupted."""
    return paths.root / "upgrade.lock"


def pending(paths: StackPaths) -> Journal | None:
    """The journal that is there; ``EnvironmentFault`` when it cannot be read."""
    try:
        return Journal.model_validate_json(_path(paths).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EnvironmentFault(
            f"{_path(paths)} cannot be read: {str(error).splitlines()[0]}",
            "a newer dqctl may have written it: update dqctl. Do not delete it: it says which version of the "
            "metadata is the stack's",
        ) from None


def write(paths: StackPaths, journal: Journal) -> None:
    """Write the journal down, or how far it is now."""
    write_atomically(_path(paths), journal.model_dump_json(indent=2) + "\n", PRIVATE_FILE)


def end(paths: StackPaths) -> None:
    """Remove the journal: it is over, one way or the other."""
    _path(paths).unlink(missing_ok=True)
    for left_over in paths.root.glob(f".{_path(paths).name}.*"):
        left_over.unlink(missing_ok=True)


def kept(paths: StackPaths) -> Kept | None:
    """What was kept of the last upgrade; None when it was none, or is forgotten."""
    try:
        return Kept.model_validate_json(_kept_path(paths).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EnvironmentFault(
            f"{_kept_path(paths)} cannot be read: {str(error).splitlines()[0]}",
            "the way back is a backup now: dqctl rollback --to-backup ID",
        ) from None


def keep(paths: StackPaths, kept: Kept) -> None:
    """Remember what the stack was before an upgrade."""
    write_atomically(_kept_path(paths), kept.model_dump_json(indent=2) + "\n", PRIVATE_FILE)


def forget(paths: StackPaths) -> None:
    """There is no way back any more, but for backups."""
    _kept_path(paths).unlink(missing_ok=True)


def _kept_path(paths: StackPaths) -> Path:
    return paths.root / "before.json"


def _path(paths: StackPaths) -> Path:
    return paths.root / "upgrade.json"
