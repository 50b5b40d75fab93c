"""Ending a rotation of secrets that was interrupted, or is just ending: the database decides which secrets count.

A runtime does this as soon as its PostgreSQL runs, before it connects for anything else.
"""

from typing import Any

import psycopg

from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import metadata
from dqctl.runtime.ports import Runtime
from dqctl.stack import lock, rotation
from dqctl.stack.rotation import Rotation
from dqctl.stack.secrets import read_secret
from dqctl.testgen import rotations

_PASSWORD = "postgres_password"  # noqa: S105 - the name of the secret
TIMEOUT = 60.0  # seconds for a rotation in another process to end; what others see of it takes less than one


def recover(runtime: Runtime, progress: Progress) -> bool:
    """End the rotation that another command left, if one did; whether there was one.

    A rotation that is under way is waited for. Raises ``EnvironmentFault`` when the database does not answer.
    """
    if not rotation.is_pending(runtime.paths):
        return False
    lock_file = rotation.lock_file(runtime.paths)
    with lock.hold(lock_file, "recovery of secrets", timeout=TIMEOUT, progress=progress):
        return settle(runtime, progress)


def connected(runtime: Runtime, progress: Progress) -> "psycopg.Connection[tuple[Any, ...]]":
    """``Runtime.metadata``, also in the moment in which another command rotates the password."""
    password = read_secret(runtime.paths, _PASSWORD)
    try:
        return runtime.server(password).connect(metadata.DATABASE)
    except EnvironmentFault:
        recover(runtime, progress)
        if (changed := read_secret(runtime.paths, _PASSWORD)) == password:
            raise
        return runtime.server(changed).connect(metadata.DATABASE)


def settle(runtime: Runtime, progress: Progress) -> bool:
    """``recover`` for whoever holds the lock already."""
    found = rotation.pending(runtime.paths)
    if found is None:
        return False
    if _was_taken(runtime, found):
        complete(runtime, found, progress)
    else:
        rotation.end(runtime.paths)
        progress("a rotation of secrets was interrupted before it changed anything: the old ones stay")
    return True


def complete(runtime: Runtime, found: Rotation, progress: Progress) -> None:
    """Put the new secrets where they are looked for; the database has taken them."""
    for name in found.secrets:
        rotation.replace(runtime.paths, found, name)
        progress(f"{name} is replaced")
    runtime.apply_secrets()
    progress("the configuration is written")
    rotation.end(runtime.paths)


def _was_taken(runtime: Runtime, found: Rotation) -> bool:
    candidates = [read_secret(runtime.paths, _PASSWORD)]
    if _PASSWORD in found.secrets:
        candidates.append(found.secrets[_PASSWORD])
    faults = []
    for password in candidates:
        try:
            if not metadata.database_exists(runtime.server(password)):
                # Nothing but the password can have been taken, and this is the one that counts.
                return password == found.secrets.get(_PASSWORD)
            with runtime.server(password).connect(metadata.DATABASE) as connection:
                return rotations.was_taken(connection, found.id)
        except EnvironmentFault as fault:
            faults.append(fault)
    raise faults[0]
