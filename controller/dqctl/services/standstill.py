"""Keeping work off a stack while what it works with is taken away."""

import contextlib
from collections.abc import Iterator

from dqctl.errors import EnvironmentFault, UsageError
from dqctl.runtime import Runtime, metadata
from dqctl.testgen import jobs, scheduler
from dqctl.testgen.capabilities import capabilities, is_older


@contextlib.contextmanager
def standstill(runtime: Runtime, timeout: float, doing: str) -> Iterator[None]:
    """No command works on the stack while the block runs; ``doing`` is what they are told meanwhile.

    Nor does the stack's scheduler, if it has one: jobs that it runs are waited for, and it begins none.
    Work holds the lock in the metadata database, install and uninstall that of the stack's file: who stops or
    drops the database needs both. Where the database does not answer nobody works with it, and nothing is waited
    for. Raises ``Busy`` when a command or the scheduler works for longer than ``timeout`` seconds.
    """
    with contextlib.ExitStack() as held:
        try:
            connection = held.enter_context(runtime.metadata()) if runtime.health().postgres_running else None
        except EnvironmentFault:
            connection = None
        if connection is not None:
            held.enter_context(jobs.exclusive(connection, timeout, doing))
            held.enter_context(scheduler.at_rest(connection, capabilities(runtime.version), timeout))
        yield


def leave_version(runtime: Runtime, version: str, timeout: float) -> None:
    """Make room for another version of TestGen; ``UsageError`` when that would touch data."""
    if not runtime.has_database_server:
        return
    runtime.start_postgres()
    if not metadata.database_exists(runtime.postgres):
        return
    with standstill(runtime, timeout, "dqctl install"):
        if metadata.has_data(runtime.postgres):
            raise UsageError(
                f"stack {runtime.paths.name!r} has data of TestGen {runtime.version}, {version} was asked for",
                f"nothing was changed: {_way(runtime.version, version)}, or install it in another --stack",
            )
        metadata.drop_database(runtime.postgres, metadata.DATABASE)


def _way(version: str, wanted: str) -> str:
    if is_older(wanted, version):
        return "an older version cannot read it; dqctl rollback goes back to what it was before an upgrade"
    return f"dqctl upgrade --to {wanted} brings it there"
