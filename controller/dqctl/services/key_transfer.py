"""Carrying a stack's keys to another host: without them what its state keeps encrypted stays encrypted.

The password of the PostgreSQL is not among them: that of another host is another one.
"""

from dataclasses import dataclass
from pathlib import Path

from dqctl.errors import UsageError
from dqctl.progress import Progress
from dqctl.redaction import reveal
from dqctl.runtime import open_runtime
from dqctl.services.install import make_directories
from dqctl.settings import Settings
from dqctl.stack import key_file, lock, rotation
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from dqctl.stack.secrets import LENGTHS, adopt_secret, missing_secrets, read_secret

TRAVELLING = tuple(name for name in LENGTHS if name != "postgres_password")

_WAIT = 60.0  # seconds for a rotation to end


@dataclass(frozen=True)
class Transferred:
    """``secrets`` are those that were written: to the file, or into the stack."""

    stack: str
    file: str
    secrets: tuple[str, ...]


def export_keys(settings: Settings, file: Path, passphrase_file: Path, *, progress: Progress) -> Transferred:
    """Write the stack's keys to ``file``, sealed with the passphrase in ``passphrase_file``.

    Raises ``UsageError`` when there is no stack, the passphrase is short or ``file`` is there already. After a
    rotation that was interrupted the stack is started: only its database knows which keys count.
    """
    passphrase = key_file.read_passphrase(passphrase_file)
    paths = StackPaths(settings.home, settings.stack)
    if read_record(paths) is None:
        raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
    if rotation.is_pending(paths):
        open_runtime(settings, progress)
    with lock.hold(rotation.lock_file(paths), "credentials export", timeout=_WAIT, progress=progress):
        keys = {name: read_secret(paths, name) for name in TRAVELLING}
    key_file.write(file, settings.stack, keys, passphrase)
    return Transferred(settings.stack, str(file), TRAVELLING)


def import_keys(settings: Settings, file: Path, passphrase_file: Path, *, progress: Progress) -> Transferred:
    """Give the stack the keys in ``file``, before it is installed; those that it has already are left alone.

    Raises ``UsageError``, and changes nothing, when the passphrase does not open the file, the file is that of
    another stack, or the stack has other keys.
    """
    passphrase = key_file.read_passphrase(passphrase_file)
    stack, keys = key_file.read(file, passphrase)
    if stack != settings.stack:
        raise UsageError(
            f"the keys in {file} are those of stack {stack!r}, not of {settings.stack!r}",
            f"add --stack {stack}: the state in Databricks goes by the same name. Nothing was changed",
        )
    if set(keys) != set(TRAVELLING):
        raise UsageError(
            f"{file} holds {', '.join(sorted(keys))}, this dqctl expects {', '.join(sorted(TRAVELLING))}",
            "use the version of dqctl that wrote it. Nothing was changed",
        )
    paths = StackPaths(settings.home, settings.stack)
    make_directories(paths)
    with lock.hold(paths.lock, "credentials import", timeout=settings.lock_timeout, progress=progress):
        _refuse_others(paths, file, {name: reveal(value) for name, value in keys.items()})
        done = tuple(name for name, value in keys.items() if adopt_secret(paths, name, value))
    return Transferred(stack, str(file), done)


def _refuse_others(paths: StackPaths, file: Path, keys: dict[str, str]) -> None:
    missing = missing_secrets(paths)
    others = [
        name for name, value in keys.items() if name not in missing and reveal(read_secret(paths, name)) != value
    ]
    if others or rotation.is_pending(paths):
        what = ", ".join(others) or "a rotation that was interrupted"
        raise UsageError(
            f"stack {paths.name!r} has keys of its own already: {what} differs from {file}",
            "nothing was changed. If this stack holds nothing that is needed: dqctl uninstall --purge, then import"
            " again; else use another home (DQCTL_HOME)",
        )
