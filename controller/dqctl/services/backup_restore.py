"""Putting a stack's metadata back to a backup.

The database is made aside, out of a dump that is verified by it, and the two are swapped by renaming them in one
transaction: whatever is killed, the stack has the old metadata or the restored one, and each is whole.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, UsageError
from dqctl.progress import Progress, silent
from dqctl.runtime import Runtime, aside, find_runtime, metadata, upgrade
from dqctl.services import backup, backups, state
from dqctl.services.keys import keys_of
from dqctl.services.standstill import standstill
from dqctl.services.target import why_off
from dqctl.settings import Settings
from dqctl.stack import lock
from dqctl.stack.backups import Manifest
from dqctl.testgen.state import handover

# Not "datakitchen_replaced", in which a restore of the saved state keeps what was in no commit.
_RESTORED, _REPLACED = "datakitchen_restored", "datakitchen_superseded"


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``before`` is the backup of what was there, None when that held nothing.

    ``unsaved`` is why the restored metadata is not the saved state in Databricks yet, where there is one.
    """

    id: str
    tables: int
    rows: int
    before: str | None
    unsaved: DqctlError | None = None


def restore(
    settings: Settings,
    wanted: str,
    *,
    from_volume: bool = False,
    other_keys: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> Restored:
    """Make the stack's metadata what it was when the backup ``wanted`` was made.

    What is there is backed up first, unless it holds nothing. Raises ``Busy`` when a command or the scheduler
    works on the stack, ``UsageError`` when the backup is of another version of TestGen, or of other keys (but for
    ``other_keys``: what connections keep secret cannot be decrypted then); errors of ``services.backup``. After
    any error the metadata is as it was.
    """
    paths = find_runtime(settings, progress).paths
    doing = "dqctl backup restore"
    with ExitStack() as held:
        held.enter_context(
            lock.hold(paths.lock, "backup restore", timeout=settings.lock_timeout, progress=progress)
        )
        # Under the lock: while it was waited for, the stack may have got another version, or half of one. And not
        # open_runtime, which refuses a database that does not fit: that is when a backup is needed.
        upgrade.recover(settings, paths, progress)
        runtime = find_runtime(settings, progress)
        found = held.enter_context(backups.found(settings, paths, wanted, from_volume, progress))
        _require_fitting(runtime, found.manifest, other_keys=other_keys)
        runtime.start_postgres()
        names = (_RESTORED, backup.making_name(_RESTORED), _REPLACED)
        with (
            aside.throw_away(runtime, *names, doing=doing, timeout=settings.lock_timeout, progress=progress),
            _stillness(runtime, settings.lock_timeout, doing) as there,
        ):
            backup.restore_into(runtime, found, _RESTORED, progress=progress, clock=clock)
            before = None
            if there and metadata.has_data(runtime.postgres):
                before = backup.create(
                    runtime, f"before the restore of {found.id}", progress=progress, clock=clock
                )
            if there:  # else the next save would take the own ones since the backup for another controller's
                with runtime.metadata() as now, runtime.postgres.connect(_RESTORED) as then:
                    handover.hand_over(now, then)
            progress("the restored metadata takes its place")
            metadata.rename_databases(
                runtime.postgres, [(metadata.DATABASE, _REPLACED)] * there + [(_RESTORED, metadata.DATABASE)]
            )
        unsaved = _save_state(settings, runtime, progress, clock)
    manifest = found.manifest
    return Restored(found.id, len(manifest.tables), manifest.rows, before.id if before else None, unsaved)


def _save_state(settings: Settings, runtime: Runtime, progress: Progress, clock: Clock) -> DqctlError | None:
    """Make the restored metadata the newest saved state: what was saved since the backup stays before it."""
    if why_off(settings, runtime.record):
        return None
    try:
        state.save_of(settings, runtime, "backup restore", take_over=True, progress=progress, clock=clock)
    except DqctlError as error:
        error.hint = (
            f"the metadata is restored; once this is mended run: dqctl state save --take-over. {error.hint}"
        )
        return error
    return None


@contextmanager
def _stillness(runtime: Runtime, timeout: float, doing: str) -> Iterator[bool]:
    """Nobody works with the metadata while the block runs; whether there is any."""
    if not metadata.database_exists(runtime.postgres):
        yield False
        return
    with standstill(runtime, timeout, doing):
        yield True


def _require_fitting(runtime: Runtime, manifest: Manifest, *, other_keys: bool) -> None:
    expected = runtime.health().expected_revision
    if manifest.schema_revision != expected:
        older = manifest.schema_revision is None or manifest.schema_revision < expected
        raise UsageError(
            f"backup {manifest.id} is of TestGen {manifest.testgen_version} (schema revision "
            f"{manifest.schema_revision}), the stack has {runtime.version} ({expected})",
            "nothing was changed; "
            + (
                f"to go back to that version: dqctl rollback --to-backup {manifest.id}"
                if older
                else f"bring the stack to that version first: dqctl upgrade --to {manifest.testgen_version}"
            ),
        )
    if manifest.keys != keys_of(runtime.paths).fingerprint and not other_keys:
        raise UsageError(
            f"backup {manifest.id} was made under other keys than the stack has now: what its connections keep "
            "secret could not be decrypted",
            "nothing was changed; bring the keys of then (dqctl credentials import), or restore with --other-keys "
            "and have connections' secrets written anew: dqctl apply -f FILE",
        )
