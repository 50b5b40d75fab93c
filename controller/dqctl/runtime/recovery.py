"""Ending a rotation of secrets that was interrupted, or is just ending: the database decides which secrets count.

A runtime does this as soon as its PostgreSQL runs, before it connects for anything else.
"""

from typing import Any

import psycopg
from pydantic import SecretStr

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


class CurrentServer:
    """The server of the metadata with the password of the moment: others may rotate it between two connections.

    Implements ``dqctl.runtime.ports.MetadataServer``.
    """

    def __init__(self, runtime: Runtime, progress: Progress) -> None:
        self._runtime = runtime
        self._progress = progress

    def connect(self, database: str, *, autocommit: bool = False) -> "psycopg.Connection[tuple[Any, ...]]":
        """See ``dqctl.runtime.ports.MetadataServer``."""
        password = self._password()
        while True:
            try:
                return self._runtime.server(password).connect(database, autocommit=autocommit)
            except EnvironmentFault:
                recover(self._runtime, self._progress)
                # A password that was tried never counts again: each further turn takes a rotation of its own.
                tried, password = password, self._password()
                if password == tried:
                    raise

    def ran_out_of_space(self, said: str) -> bool:
        """See ``dqctl.runtime.ports.MetadataServer``."""
        return self._runtime.server(self._password()).ran_out_of_space(said)

    def _password(self) -> SecretStr:
        return read_secret(self._runtime.paths, _PASSWORD)


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
