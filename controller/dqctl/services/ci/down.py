"""Taking an ephemeral stack down: nothing of it is asked to end politely, and nothing is kept."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dqctl.clock import Deadline
from dqctl.errors import Busy, EnvironmentFault, UsageError
from dqctl.services.ci.record import CiPaths, Record, names, read
from dqctl.services.ci.remains import end_owner, end_processes
from dqctl.settings import Settings
from dqctl.stack import labels
from dqctl.stack.paths import StackPaths

_WAIT = 60.0  # seconds for somebody else who takes the same stack down
_FILES = 20.0
_POLL = 0.02


def down(settings: Settings, name: str) -> None:
    """Take the stack ``name`` down; ``UsageError`` when there is none. See ``take_down``.

    Who still makes it, or runs something in it, is ended before.
    """
    paths = CiPaths(settings.home, name)
    record = read(paths)
    if record is None:
        known = ", ".join(names(settings.home)) or "there are none"
        raise UsageError(f"there is no ephemeral stack {name!r}", f"those that there are: {known}")
    if record.owner:
        end_owner(record.owner)
    take_down(paths, settings, settle=record.owner is not None and record.owner.is_dead)


def take_down(
    paths: CiPaths,
    settings: Settings,
    *,
    wanted: Callable[[Record], bool] | None = None,
    settle: bool = False,
    wait: float = _WAIT,
) -> bool:
    """Remove processes, containers, networks, volumes, schemas and files of a stack; False when there is none.

    It is left alone when, now that nobody else works on it, it is not ``wanted``. ``settings`` are those of who
    takes it down: they lead to Databricks, if it has schemas there. With ``settle`` whoever made it was killed,
    and what he had under way is waited for. Raises ``Busy`` when somebody else takes it down and is not done
    within ``wait`` seconds; ``EnvironmentFault`` and what Databricks says when something cannot be removed: the
    record stays then, and the next one goes on.
    """
    with _alone(paths.root, wait) as there:
        record = read(paths) if there else None
        if record is None or (wanted and not wanted(record)):
            return False
        end_processes(paths, record, settle=settle)
        if record.runtime == "docker":
            _remove_from_engine(paths, settle=settle)
        _remove_others_from_engine(paths)
        if record.databricks and record.databricks.schemas:
            from dqctl.services.ci import schemas  # Databricks takes long to import

            schemas.drop(settings, record.databricks, record.name)
        _remove_files(paths)
        return True


def _remove_from_engine(paths: CiPaths, *, settle: bool) -> None:
    # Imported when it is needed: a local stack has no use for the engine's SDK.
    from dqctl.runtime import belongings

    label = f"{labels.ROOT}={paths.stack.root}"
    belongings.remove(label)
    # What the engine was asked for by somebody who was killed comes a moment later.
    deadline = Deadline(belongings.SETTLED if settle else 0.0)
    while not deadline.passed:
        time.sleep(_POLL)
        belongings.remove(label)


def _remove_others_from_engine(paths: CiPaths) -> None:
    """Stacks in containers that the command has installed for itself: they have no labels of ours."""
    for definition in paths.root.glob("stacks/*/compose.yaml"):
        if definition != paths.stack.compose:
            from dqctl.runtime import belongings, compose  # as above

            directory = definition.parent
            belongings.remove_project(compose.project(StackPaths(paths.root, directory.name)), directory)


def _remove_files(paths: CiPaths) -> None:
    """Everything but the record, then that, then the directory: who is killed here is followed by another one."""
    deadline = Deadline(_FILES)
    while True:
        try:
            for entry in paths.root.iterdir():
                if entry != paths.record:
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            paths.record.unlink(missing_ok=True)
            paths.root.rmdir()
        except FileNotFoundError:
            if not paths.root.exists():
                return
        except OSError as error:  # somebody has written a last line
            if deadline.passed:
                raise EnvironmentFault(
                    f"{error.filename or paths.root} cannot be removed: {error.strerror}",
                    f"see who owns it, then: dqctl ci down {paths.name}",
                ) from error
        else:
            return
        time.sleep(_POLL)


@contextlib.contextmanager
def _alone(directory: Path, wait: float) -> Iterator[bool]:
    """Hold a lock of the directory itself, which goes with it; False when there is none any more."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    except OSError as error:
        raise EnvironmentFault(f"{directory}: {error.strerror}", "see who owns it") from error
    deadline = Deadline(wait)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline.passed:
                    raise Busy(f"somebody else takes {directory.name} down", "wait until that is done") from None
                time.sleep(_POLL)
        yield directory.exists()
    finally:
        os.close(descriptor)
