"""What calls of TestGen said and is still to be handed on: kept in ``calls/<id>/`` until it is published.

Whoever publishes a call holds it: what nobody holds was left by a command that failed, or was killed.
0600 in 0700: whatever stands in a CSV is nobody else's business.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from dqctl.errors import UsageError
from dqctl.files import PRIVATE_FILE, ensure_private_dir, write_private
from dqctl.redaction import redact
from dqctl.stack import lock
from dqctl.stack.paths import StackPaths

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call of TestGen: ``testgen ARGUMENTS``, of which ``command`` is the first that is no option."""

    call_id: str
    command: str
    arguments: tuple[str, ...]
    ran_at: datetime
    testgen_version: str


def directory(paths: StackPaths, call_id: str) -> Path:
    """Where a call is kept, whether it is or not."""
    return paths.root / "calls" / call_id


def keep(paths: StackPaths, call: Call, content: bytes) -> Path:
    """Keep a call with its CSV, which holds no secrets; the CSV's path."""
    path = _write(paths, call, content)
    # Last: a call that can be read is whole.
    said = asdict(call) | {"ran_at": call.ran_at.isoformat()}
    write_private(path.with_name("call.json"), json.dumps(said, indent=2) + "\n")
    return path


def keep_unreadable(paths: StackPaths, call: Call, content: bytes) -> Path:
    """Keep the bytes that nobody could read, known secrets masked; their path. They are never published."""
    text = content.decode("utf-8", "surrogateescape")
    return _write(paths, call, redact(text).encode("utf-8", "surrogateescape"))


def read_kept(paths: StackPaths, call_id: str) -> tuple[Call, bytes]:
    """A call that was kept, and its CSV; ``UsageError`` when there is none of that id."""
    try:
        found = directory(paths, str(UUID(call_id)))
        said = json.loads((found / "call.json").read_text(encoding="utf-8"))
        content = (found / "rows.csv").read_bytes()
    except (ValueError, FileNotFoundError):
        raise UsageError(
            f"no call {call_id} waits to be published", f"those that wait are named after {paths.root / 'calls'}/"
        ) from None
    said["arguments"] = tuple(said["arguments"])
    return Call(**said | {"ran_at": datetime.fromisoformat(said["ran_at"])}), content


def kept(paths: StackPaths) -> tuple[str, ...]:
    """The ids of the calls that are kept whole, the oldest first."""
    found = []
    for file in (paths.root / "calls").glob("*/call.json"):
        try:
            call, _ = read_kept(paths, file.parent.name)
        except UsageError:  # published meanwhile, or nothing that dqctl wrote
            log.warning("%s is no call that can be published", file.parent)
            continue
        found.append((call.ran_at, call.call_id))
    return tuple(call_id for _, call_id in sorted(found))


@contextlib.contextmanager
def held(paths: StackPaths, call_id: str) -> Iterator[None]:
    """Publish a call, as the only one that does; ``Busy`` when another command is at it."""
    ensure_private_dir(paths.root / "calls")
    lock_file = ensure_private_dir(directory(paths, call_id)) / "lock"
    with lock.hold(lock_file, f"testgen --publish, call {call_id}"):
        yield


def drop(paths: StackPaths, call_id: str) -> None:
    """Forget a call that was kept."""
    shutil.rmtree(directory(paths, call_id), ignore_errors=True)


def _write(paths: StackPaths, call: Call, content: bytes) -> Path:
    ensure_private_dir(paths.root / "calls")
    path = ensure_private_dir(directory(paths, call.call_id)) / "rows.csv"
    path.touch(PRIVATE_FILE)
    path.write_bytes(content)
    return path
