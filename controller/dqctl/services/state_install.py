"""What an install does about saved state: a stack that has no metadata yet gets what was saved under its name.

It is looked for before anything is made, so that keys that are missing are asked for while nothing stands in
their way.
"""

from dataclasses import dataclass

from dqctl.clock import Clock
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import Runtime, metadata
from dqctl.services import state_restore
from dqctl.services.keys import keys_of
from dqctl.services.state_restore import Source, require_fit
from dqctl.services.target import why_off
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord
from dqctl.stack.secrets import missing_secrets
from dqctl.tables.state_reading import SavedState
from dqctl.testgen.state import book, capture
from dqctl.testgen.state.sealing import Keys

_NOT_SEEN = (
    "nothing was made: a stack that begins anew beside its own saved state is what nobody wants. Once Databricks "
    "answers run dqctl install again; DQCTL_STATE=off installs without a look, and saves no state"
)

_NOT_RESTORED = (
    "the stack has no metadata yet, and its state is as it was: once the reason is gone run dqctl install again, "
    "which goes on with it"
)


@dataclass(frozen=True)
class Found:
    """What a look for saved state came to: ``state`` is None when there is none."""

    state: SavedState | None


def look_before(
    settings: Settings,
    paths: StackPaths,
    before: StackRecord | None,
    version: str | None,
    progress: Progress,
    clock: Clock,
) -> Found | None:
    """Look for saved state of a stack that was never installed here; None when there is no need to.

    Raises ``UsageError`` when there is one that needs other keys than those that are here, or another version
    of TestGen than the one that is asked for; ``EnvironmentFault`` when Databricks does not answer.
    """
    if before is not None or settings.metadata == "lakebase" or why_off(settings, None):
        return None
    progress("looking for saved state of this stack")
    found = Found(_find(settings, progress, clock))
    if found.state:
        require_fit(found.state, _keys(paths), version or found.state.testgen_version)
    return found


def restore_if_blank(
    settings: Settings, runtime: Runtime, found: Found | None, progress: Progress, clock: Clock
) -> str | None:
    """Restore saved state, if the stack's metadata is not there or as fresh as after a set-up; what was done.

    Where ``found`` has the outcome of a look nobody looks again.
    """
    if why_off(settings, runtime.record) or (found and found.state is None):
        return None
    runtime.start_server()
    if metadata.database_exists(runtime.postgres) and not _is_blank(runtime):
        return None
    with state_restore.reading(settings, progress, clock) as source:
        state = found.state if found else _answered(source)
        if state is None:
            return None
        require_fit(state, keys_of(runtime.paths), runtime.version)
        try:
            state_restore.make(settings, runtime, source, state, progress=progress, clock=clock)
        except EnvironmentFault as fault:
            raise EnvironmentFault(
                f"the saved state is there and is not restored: {fault.message}",
                f"{fault.hint}; {_NOT_RESTORED}".removeprefix("; "),
            ) from fault
    return f"state of commit {state.seq}"


def _find(settings: Settings, progress: Progress, clock: Clock) -> SavedState | None:
    try:
        with state_restore.reading(settings, progress, clock) as source:
            return source.find()
    except EnvironmentFault as fault:
        raise _not_seen(fault) from fault


def _answered(source: Source) -> SavedState | None:
    try:
        return source.find()
    except EnvironmentFault as fault:
        raise _not_seen(fault) from fault


def _not_seen(fault: EnvironmentFault) -> EnvironmentFault:
    hint = f"{fault.hint}; {_NOT_SEEN}".removeprefix("; ")
    return EnvironmentFault(f"whether this stack has saved state cannot be seen: {fault.message}", hint)


def _keys(paths: StackPaths) -> Keys | None:
    return None if {"decrypt_salt", "decrypt_password"} & set(missing_secrets(paths)) else keys_of(paths)


def _is_blank(runtime: Runtime) -> bool:
    if metadata.has_data(runtime.postgres):
        return False
    with runtime.metadata() as connection:
        return not capture.is_made(connection) or book.read_head(connection) is None
