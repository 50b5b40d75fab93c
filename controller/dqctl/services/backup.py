"""A backup of the metadata: made of one snapshot, and trusted when a copy that was restored from it is equal.

Row counts, checksums and the dump are of the same snapshot, while others go on writing. Nothing here needs the
stack to stand still; ``services.backups`` and ``services.backup_restore`` have the commands.
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import dqctl
from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress, silent
from dqctl.redaction import redact, reveal
from dqctl.report.words import counted
from dqctl.runtime import Runtime, aside, metadata
from dqctl.runtime.connection import be_patient
from dqctl.services.keys import keys_of
from dqctl.services.space import require_space
from dqctl.stack import backups
from dqctl.stack.backups import Backup, Manifest
from dqctl.stack.secrets import read_secret
from dqctl.testgen import contents as stored
from dqctl.testgen.contents import Contents
from dqctl.testgen.state import ddl
from dqctl.testgen.state.saved import Connection

LOCK_TIMEOUT = 600.0  # seconds for another backup of the same stack to end

_VERIFYING = "datakitchen_verifying"
_SLOWEST = 1_000_000  # bytes of a database that are dumped or restored in a second, at the very least
_AT_LEAST = 300.0  # seconds
_LONGEST = 400  # characters of what a program said


@dataclass(frozen=True)
class Verification:
    """A backup that was restored and found equal: how much was compared, and in how many seconds."""

    backup: Backup
    tables: int
    rows: int
    seconds: float


def create(runtime: Runtime, reason: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK) -> Backup:
    """Make a backup of the stack's metadata; ``reason`` is the command that wanted it.

    It is whole and not verified yet. Raises ``EnvironmentFault`` when there is no space or the database goes away,
    ``Busy`` when another command makes or restores one; then nothing is left of it.
    """
    with backups.held(runtime.paths, reason, LOCK_TIMEOUT):
        return make(runtime, reason, progress=progress, clock=clock)


def make(runtime: Runtime, reason: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK) -> Backup:
    """``create`` for whoever holds the lock of the backups (``stack.backups.held``)."""
    paths = runtime.paths
    size = metadata.database_size(runtime.postgres, metadata.DATABASE)
    paths.root.mkdir(parents=True, exist_ok=True)
    require_space(paths.root, size, "a backup of the metadata")
    now = clock.now()
    backup_id = f"{now:%Y%m%dt%H%M%S}-{secrets.token_hex(2)}"
    progress(f"backing up the metadata ({size / 1e6:,.0f} MB)")
    try:
        with backups.making(paths, backup_id) as directory:
            with runtime.metadata() as connection:
                # Kept open while pg_dump reads: the snapshot lives as long as the transaction.
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                row = connection.execute(
                    "SELECT pg_export_snapshot(), current_setting('server_version')"
                ).fetchone()
                assert row  # noqa: S101 - it has one
                snapshot, server = str(row[0]), str(row[1])
                revision = _revision(connection)
                before = stored.sequences(connection)
                _program(runtime, _dump(snapshot), size, stdout=directory / backups.DUMP)
                found = stored.contents(connection)
                roles = stored.granted(connection)
            manifest = Manifest(
                id=backup_id,
                stack=paths.name,
                created=now,
                reason=reason,
                dqctl_version=dqctl.__version__,
                testgen_version=runtime.version,
                schema_revision=revision,
                postgres_version=server.split()[0],
                keys=keys_of(runtime.paths).fingerprint,
                bytes=(directory / backups.DUMP).stat().st_size,
                sha256=backups.sha256(directory / backups.DUMP),
                database_bytes=size,
                tables=dict(found.tables),
                # Of one that others have used meanwhile nobody knows what the dump has.
                sequences={name: last for name, last in found.sequences.items() if before.get(name) == last},
                objects=dict(found.objects),
                roles=roles,
            )
            return backups.complete(paths, directory, manifest)
    except OSError as error:
        raise EnvironmentFault(
            f"the backup cannot be written to {paths.backups}: {error.strerror or error}",
            "nothing is left of it; free some space there, or remove old backups: dqctl backup delete",
        ) from error


def restore_into(
    runtime: Runtime, backup: Backup, database: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> Backup:
    """Make the database ``database`` out of a backup, in place of one of that name; the backup, verified by it.

    It is there, whole and equal to what was backed up, or it is not there. What is on the way is called
    ``making_name(database)``. Raises ``EnvironmentFault`` when the dump was tampered with or damaged, when what
    comes out of it differs, or when there is no space.
    """
    server, making = runtime.postgres, making_name(database)
    metadata.drop_database(server, database)
    try:
        verified = _fill(runtime, backup, making, progress, clock)
        with server.connect(making, autocommit=True) as connection:
            be_patient(connection, _AT_LEAST)
            connection.execute("ANALYZE")
        metadata.rename_databases(server, [(making, database)])
    except BaseException:
        _drop_quietly(runtime, making)
        raise
    return verified


def making_name(database: str) -> str:
    """What a database is called while ``restore_into`` makes it."""
    return f"{database}_making"


def verify(
    runtime: Runtime,
    backup: Backup,
    *,
    progress: Progress = silent,
    timeout: float = LOCK_TIMEOUT,
    clock: Clock = SYSTEM_CLOCK,
) -> Verification:
    """Restore the backup into a database that is thrown away, and compare; errors as ``restore_into``."""
    started = time.monotonic()
    doing = f"verification of backup {backup.id}"
    with aside.throw_away(runtime, _VERIFYING, doing=doing, timeout=timeout, progress=progress):
        verified = _fill(runtime, backup, _VERIFYING, progress, clock)
    manifest = verified.manifest
    return Verification(verified, len(manifest.tables), manifest.rows, time.monotonic() - started)


def _fill(runtime: Runtime, backup: Backup, database: str, progress: Progress, clock: Clock) -> Backup:
    """Make ``database`` out of the backup, and compare it with what was backed up."""
    manifest, server = backup.manifest, runtime.postgres
    _check_dump(backup)
    free = metadata.free_space(server)
    if free is not None:
        require_space(free, manifest.database_bytes, f"a copy of the metadata, {database}, beside it")
    progress(f"restoring backup {backup.id} into {database}: {counted(manifest.rows, 'row')}")
    metadata.create_database(server, database)
    with server.connect(database) as connection:
        _ensure_roles(runtime, connection, frozenset(manifest.roles))
    options = ("--exit-on-error", "--no-owner", f"--dbname={database}")
    _program(runtime, ["pg_restore", *options], manifest.database_bytes, stdin=backup.dump)
    progress(f"comparing {counted(len(manifest.tables), 'table')} with the backup")
    with server.connect(database) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = stored.contents(connection)
    expected = Contents(manifest.tables, manifest.sequences, manifest.objects)
    if differing := expected.differences(found):
        raise EnvironmentFault(
            f"what comes out of backup {backup.id} is not what was backed up: {'; '.join(differing[:5])}",
            "nothing was changed; use another backup (dqctl backup list), and report this: the dump is whole",
        )
    return backups.change(backup, verified=clock.now())


def _ensure_roles(runtime: Runtime, connection: Connection, wanted: frozenset[str]) -> None:
    """Roles belong to the server: those that somebody else gave rights to, somebody else has to make."""
    found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(wanted)]).fetchall()
    if foreign := wanted - ddl.ROLES - {str(role) for (role,) in found}:
        raise EnvironmentFault(
            f"the backup gives rights to roles that this server does not have: {', '.join(sorted(foreign))}",
            "nothing was changed; make them in the stack's PostgreSQL (CREATE ROLE), then run the command again",
        )
    password = reveal(read_secret(runtime.paths, "postgres_password"))
    ddl.ensure_roles(connection, wanted & ddl.ROLES, password.encode())


def _check_dump(backup: Backup) -> None:
    try:
        found = backups.sha256(backup.dump)
    except OSError as error:
        raise EnvironmentFault(
            f"the dump of backup {backup.id} cannot be read: {error.strerror or error}",
            "nothing was changed; use another backup (dqctl backup list)",
        ) from error
    if found != backup.manifest.sha256:
        raise EnvironmentFault(
            f"the dump of backup {backup.id} is not the one that was made: its checksum differs",
            "nothing was changed; use another backup (dqctl backup list), and look for what damaged this one",
        )


def _program(
    runtime: Runtime, argv: list[str], size: int, *, stdin: Path | None = None, stdout: Path | None = None
) -> None:
    deadline = Deadline(_AT_LEAST + size / _SLOWEST)
    completed = runtime.database_program(argv, stdin=stdin or "", stdout=stdout, deadline=deadline)
    if completed.exit_code == 0:
        return
    said = redact(completed.stderr).strip()
    if runtime.postgres.ran_out_of_space(said):
        raise EnvironmentFault(
            f"the disk is full: {said[-_LONGEST:]}",
            "nothing was changed; free some space, then run the same command again",
        )
    raise EnvironmentFault(
        f"{argv[0]} ended with {completed.exit_code}: {said[-_LONGEST:]}",
        "nothing was changed; run the same command again, dqctl doctor looks for the reason",
    )


def _dump(snapshot: str) -> list[str]:
    return [
        "pg_dump",
        "--format=custom",
        f"--snapshot={snapshot}",
        "--lock-wait-timeout=60s",
        f"--dbname={metadata.DATABASE}",
    ]


def _revision(connection: Connection) -> int | None:
    if connection.execute("SELECT to_regclass('testgen.tg_revision')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT revision FROM tg_revision WHERE component = 'metadata_db'").fetchone()
    return int(row[0]) if row else None


def _drop_quietly(runtime: Runtime, database: str) -> None:
    try:
        metadata.drop_database(runtime.postgres, database)
    except EnvironmentFault:
        return  # the server is gone: what ends the command says more; it is made anew the next time
