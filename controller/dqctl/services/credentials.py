"""The secrets of a stack: which there are, and new ones for old ones.

A rotation is one transaction in the metadata database, which takes the new secrets all at once or not at all.
They are written down before (``stack.rotation``) and put into their files after it. Killed in between, nothing is
lost: the next command asks the database which secrets count, and ends what was begun (``runtime.recovery``).
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from dqctl.clock import Deadline
from dqctl.errors import Busy, DqctlError, UsageError
from dqctl.progress import Progress
from dqctl.redaction import MASK, reveal
from dqctl.runtime import Runtime, open_runtime, recovery
from dqctl.services import state
from dqctl.services.keys import keys_of
from dqctl.services.standstill import standstill
from dqctl.settings import Settings
from dqctl.stack import lock, rotation
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from dqctl.stack.secrets import BESIDE, LENGTHS, new_secret, read_secret
from dqctl.testgen import encrypted, exclusive, rotations
from dqctl.testgen.alerting import store
from dqctl.testgen.driver import ask
from dqctl.testgen.state.sealing import Keys

_TIMEOUT = 300.0  # seconds for TestGen's Python to encrypt everything anew; a thousand values take one
_SAVING = 60.0  # seconds for a save of the state, which goes by the keys it found
_KEYS = ("decrypt_salt", "decrypt_password")

PURPOSES = {
    "postgres_password": "the metadata database's role testgen",
    "testgen_password": "TestGen's first user, admin: web application and API",
    "decrypt_salt": "TestGen's encryption of what connections keep secret",
    "decrypt_password": "the same",
    "jwt_key": "signs the tokens of TestGen's API",
    "grafana_password": "Grafana's first user, admin, until it is changed there",
}


ROTATED = tuple(LENGTHS)
"""Those that ``rotate`` takes."""


@dataclass(frozen=True)
class Secret:
    """A secret of the stack. ``changed`` is when its file was written, None when there is none."""

    name: str
    purpose: str
    file: Path
    changed: datetime | None
    value: str = MASK


@dataclass(frozen=True)
class Rotated:
    """What a rotation did, or would do. ``values`` is how many stored values were encrypted anew."""

    stack: str
    secrets: tuple[str, ...]
    values: int
    roles: tuple[str, ...]
    dry_run: bool


@dataclass(frozen=True)
class _Prepared:
    """What the database is to take."""

    sealed: tuple[encrypted.Sealed, ...]
    values: tuple[str, ...]
    hashed: str | None


def secrets_of(settings: Settings) -> tuple[Secret, ...]:
    """The secrets of the stack, without their values; ``UsageError`` when there is no stack."""
    paths = _paths(settings)
    return tuple(
        Secret(name, purpose, paths.secrets / name, _changed(paths.secrets / name))
        for name, purpose in PURPOSES.items()
        if name in LENGTHS or (paths.secrets / name).exists()
    )


def read(settings: Settings, name: str, *, progress: Progress) -> SecretStr:
    """The value of one secret; ``UsageError`` when there is none of that name.

    After a rotation that was interrupted the stack is started: only its database knows which value counts.
    """
    paths = _paths(settings)
    if not (name in BESIDE and (paths.secrets / name).exists()):
        _check([name])
    if rotation.is_pending(paths):
        open_runtime(settings, progress)
    return read_secret(paths, name)


def rotate(settings: Settings, names: Sequence[str], *, progress: Progress, dry_run: bool = False) -> Rotated:
    """New values for the secrets ``names``, in the database, in their files and in TestGen's configuration.

    Everything that TestGen stores encrypted is encrypted anew. Raises ``Busy`` when another command works on the
    stack, ``UsageError`` for what cannot be rotated (then nothing was changed), ``EnvironmentFault`` when the
    database goes away; the next command ends what was begun.
    """
    _check(names, rotated=True)
    runtime = open_runtime(settings, progress)
    with (
        lock.hold(runtime.paths.lock, "credentials rotate", timeout=settings.lock_timeout, progress=progress),
        standstill(runtime, settings.lock_timeout, "dqctl credentials rotate"),
        # Whoever holds the stack is the only one to rotate; others hold this one for the moment of a look.
        lock.hold(rotation.lock_file(runtime.paths), "credentials rotate", timeout=recovery.TIMEOUT),
    ):
        rotated = _rotate(runtime, [name for name in LENGTHS if name in names], dry_run, progress)
        if not dry_run and (error := state.save_after(settings, runtime, "credentials rotate", progress=progress)):
            raise error
        return rotated


def _rotate(runtime: Runtime, names: Sequence[str], dry_run: bool, progress: Progress) -> Rotated:
    new = {name: new_secret(name) for name in names}
    roles: tuple[str, ...] = ()
    with runtime.metadata() as connection, exclusive.alone(connection, exclusive.STATE, _SAVING):
        if not dry_run:
            rotations.ensure(connection)
        prepared = _prepare(runtime, connection, new, progress)
        if dry_run:
            connection.rollback()
            return Rotated(runtime.paths.name, tuple(names), len(prepared.values), roles, dry_run)
        begun = rotation.begin(runtime.paths, new)
        with _settled(runtime, connection, progress):
            progress("the new secrets are written down")
            rotations.take(connection, begun.id, names)
            encrypted.write(connection, prepared.sealed, prepared.values)
            if any(name in new for name in _KEYS):
                before = keys_of(runtime.paths)
                after = Keys(new.get("decrypt_salt", before.salt), new.get("decrypt_password", before.password))
                store.reseal(connection, before, after)
            if prepared.hashed:
                rotations.change_administrator(connection, prepared.hashed)
            if "postgres_password" in new:
                roles = rotations.change_password(connection, reveal(new["postgres_password"]).encode())
            progress("the database takes them")
            connection.commit()
            progress("the database has taken them")
            recovery.complete(runtime, begun, progress)
    runtime.metadata().close()  # with what is in the files now
    return Rotated(runtime.paths.name, tuple(names), len(prepared.values), roles, dry_run)


@contextlib.contextmanager
def _settled(
    runtime: Runtime, connection: "psycopg.Connection[tuple[Any, ...]]", progress: Progress
) -> Iterator[None]:
    """Whatever interrupts the block, the rotation is ended here if it can be, else by the next command."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(DqctlError, psycopg.Error, OSError):
            connection.close()  # a transaction that is still open would keep everybody waiting for its decision
            recovery.settle(runtime, progress)
        raise


def _prepare(
    runtime: Runtime,
    connection: "psycopg.Connection[tuple[Any, ...]]",
    new: Mapping[str, SecretStr],
    progress: Progress,
) -> _Prepared:
    """What TestGen's own code makes of the new secrets; what is stored encrypted stays locked."""
    if "testgen_password" in new and not rotations.has_administrator(connection):
        raise UsageError(
            f"TestGen has no user {rotations.ADMINISTRATOR} any more: testgen_password cannot be rotated",
            "name the other secrets one by one; nothing was changed",
        )
    sealed: tuple[encrypted.Sealed, ...] = ()
    if any(name in new for name in _KEYS):
        try:
            sealed = encrypted.read(connection)
        except psycopg.errors.LockNotAvailable:
            raise Busy(
                "another program changes TestGen's connections", "nothing was changed; try again when it is done"
            ) from None
    if not sealed and "testgen_password" not in new:
        return _Prepared((), (), None)
    progress(
        f"encrypting {len(sealed)} stored values anew" if sealed else "hashing the password of TestGen's user"
    )
    salt, password = (reveal(new.get(name) or read_secret(runtime.paths, name)) for name in _KEYS)
    request = {
        "verb": "seal",
        "values": [each.value for each in sealed],
        "salt": salt,
        "password": password,
        "ui_password": reveal(new["testgen_password"]) if "testgen_password" in new else None,
    }
    (answer,) = ask(runtime, [request], deadline=Deadline(_TIMEOUT))
    if lost := [each for each, value in zip(sealed, answer["values"], strict=True) if value is None]:
        raise UsageError(
            f"the stack's keys do not decrypt {', '.join(f'{each.column} of {each.owner}' for each in lost)}",
            "nothing was changed: give these their secrets again first (dqctl apply), or remove them",
        )
    return _Prepared(sealed, tuple(answer["values"]), answer["hash"])


def _check(names: Sequence[str], *, rotated: bool = False) -> None:
    if beside := [name for name in names if name in BESIDE and rotated]:
        raise UsageError(f"dqctl does not rotate {beside[0]}", "change it where it is used; nothing was changed")
    if unknown := [name for name in names if name not in LENGTHS]:
        raise UsageError(f"the stack has no secret {unknown[0]!r}", f"it has: {', '.join(LENGTHS)}")
    if not names:
        raise UsageError("no secret is named", f"name some of {', '.join(LENGTHS)}, or all with --all")


def _paths(settings: Settings) -> StackPaths:
    paths = StackPaths(settings.home, settings.stack)
    if read_record(paths) is None:
        raise UsageError(f"stack {settings.stack!r} is not installed in {settings.home}", "run: dqctl install")
    return paths


def _changed(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
