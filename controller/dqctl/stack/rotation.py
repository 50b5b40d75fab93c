"""The journal of a rotation: the new secrets, written down before anything takes them.

While the journal is there, nobody knows from the files alone which secrets count: the old ones in their files or
the new ones in the journal. The metadata database knows (``dqctl.testgen.rotations``), because one transaction
changes everything in it. A rotation ends by ``complete`` or ``forget``, whoever calls it, however often.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import SecretStr

from dqctl.errors import EnvironmentFault
from dqctl.files import write_private
from dqctl.redaction import register, reveal
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import LENGTHS

_JOURNAL = "rotation.json"


@dataclass(frozen=True)
class Rotation:
    """New values for some of the stack's secrets, under an id that is never used again."""

    id: UUID
    secrets: Mapping[str, SecretStr]


def lock_file(paths: StackPaths) -> Path:
    """The lock that is held while secrets change, and by whoever finishes what was interrupted."""
    return paths.root / "rotation.lock"


def is_pending(paths: StackPaths) -> bool:
    """Whether a rotation is under way, or was interrupted."""
    return (paths.secrets / _JOURNAL).exists()


def pending(paths: StackPaths) -> Rotation | None:
    """The rotation that is under way; ``EnvironmentFault`` when its journal cannot be read."""
    path = paths.secrets / _JOURNAL
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        values = {name: str(found["secrets"][name]) for name in LENGTHS if name in found["secrets"]}
        rotation = Rotation(UUID(found["id"]), {name: SecretStr(value) for name, value in values.items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(
            f"{path} cannot be read: {type(error).__name__}",
            "it holds new secrets that the database may have taken already: restore it, do not delete it",
        ) from None
    register(*rotation.secrets.values())
    return rotation


def begin(paths: StackPaths, secrets: Mapping[str, SecretStr]) -> Rotation:
    """Write the journal, so that it outlives this machine's next power cut."""
    rotation = Rotation(uuid4(), dict(secrets))
    content = {"id": str(rotation.id), "secrets": {name: reveal(value) for name, value in secrets.items()}}
    write_private(paths.secrets / _JOURNAL, json.dumps(content) + "\n")
    _flush(paths.secrets)
    return rotation


def replace(paths: StackPaths, rotation: Rotation, name: str) -> None:
    """Put the new value of one secret in the place of the old one."""
    write_private(paths.secrets / name, reveal(rotation.secrets[name]) + "\n")


def end(paths: StackPaths) -> None:
    """Remove the journal: from now on the files count. What killed writers left of other files goes too."""
    _flush(paths.secrets)
    for name in (*LENGTHS, "config.env", _JOURNAL):
        for left_over in paths.secrets.glob(f".{name}.*"):
            left_over.unlink(missing_ok=True)
    (paths.secrets / _JOURNAL).unlink(missing_ok=True)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
