"""``state restore|verify``: the way back."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import emit, plain
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.services.state_restore import Restored
    from dqctl.services.state_verify import Verified


def add_to(state: typer.Typer) -> None:
    """Add the commands to those of ``state``."""
    state.command(epilog="Example: dqctl state restore --as-of 2026-08-01T06:00")(restore)
    state.command(epilog="Example: dqctl state verify --deep")(verify)


def restore(
    commit: Annotated[int | None, typer.Option(help="Number of the commit [default: the newest]", min=1)] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            help="The last commit at this time (UTC)",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"],
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also when the database has what was never saved: it is put aside")
    ] = False,
    wait: Wait = None,
) -> None:
    """Make TestGen's metadata what it was as of a commit; compared with what was saved before it counts."""
    from datetime import UTC

    from dqctl.errors import UsageError
    from dqctl.services import state_restore

    if commit is not None and as_of is not None:
        raise UsageError("--commit and --as-of are both given", "give one of them")
    here = context()
    done = state_restore.restore(
        here.settings_with(lock_timeout=wait),
        commit=commit,
        as_of=as_of.replace(tzinfo=UTC) if as_of else None,
        replace=replace,
        progress=here.progress,
    )
    emit(plain(done), lambda: _restored(done))


def verify(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also restore the newest commit into a throw-away database")
    ] = False,
    wait: Wait = None,
) -> None:
    """Compare TestGen's metadata with what was saved of it, table by table. Changes nothing."""
    from dqctl.services import state_verify

    here = context()
    done = state_verify.verify(here.settings_with(lock_timeout=wait), deep=deep, progress=here.progress)
    emit(plain(done), lambda: _verified(done))


def _restored(done: "Restored") -> str:
    lines = [
        f"stack {done.stack}: commit {done.seq} of {done.saved_at:%Y-%m-%d %H:%M:%S} UTC restored: "
        f"{counted(done.rows, 'row')} of {counted(done.tables, 'table')}, all as they were saved"
    ]
    if not done.is_newest:
        lines.append("it is not the newest: the next save puts it on top of those after it, which stay")
    if done.aside:
        lines.append(f"what was there before is kept until the next restore: database {done.aside}")
    return "\n".join(lines)


def _verified(done: "Verified") -> str:
    waiting = f", {counted(done.unsaved, 'change')} since then not saved yet" if done.unsaved else ""
    trial = f"; commit {done.restored} was restored on trial, and is equal" if done.restored else ""
    return (
        f"stack {done.stack}: {counted(done.tables, 'table')} with {counted(done.rows, 'row')} are what commit "
        f"{done.seq} has{waiting}{trial}"
    )
