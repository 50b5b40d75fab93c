"""``state save|status``, and what ``state_restore`` adds: TestGen's metadata in Databricks."""

from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli import state_restore
from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import cell, emit, plain
from dqctl.report.words import counted

if TYPE_CHECKING:
    from dqctl.services.state import StateStatus
    from dqctl.services.state_commits import Saved


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    state = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="TestGen's metadata in Databricks.")
    state.command(epilog="Example: dqctl state save")(save)
    state.command(epilog="Example: dqctl state status --remote")(status)
    state_restore.add_to(state)
    app.add_typer(state, name="state")


def save(
    full: Annotated[bool, typer.Option("--full", help="Save everything, not only what changed")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Save everything, over what another controller has saved meanwhile")
    ] = False,
    wait: Wait = None,
) -> None:
    """Save what changed since the last save; every command that changes something does so by itself.

    Exit code 6 when another controller has saved meanwhile: nothing is overwritten.
    """
    from dqctl.services import state

    here = context()
    saved = state.save(
        here.settings_with(lock_timeout=wait), full=full, take_over=take_over, progress=here.progress
    )
    emit(plain(saved), lambda: _saved(saved))


def status(
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Ask Databricks for the newest commit too, which may start a warehouse"),
    ] = False,
) -> None:
    """Show what is saved, and what is not yet. Asks no warehouse unless told to."""
    from dqctl.services import state

    here = context()
    found = state.status(here.settings, remote=remote, progress=here.progress)
    emit(plain(found), lambda: _status(found))


def _saved(saved: "Saved") -> str:
    if saved.kind is None:
        return f"stack {saved.stack}: nothing changed since commit {saved.seq}"
    what = f"stack {saved.stack}: commit {saved.seq}, {counted(saved.rows, 'row')}"
    return f"{what} changed" if saved.kind == "delta" else f"{what}, everything, because {saved.because}"


def _status(found: "StateStatus") -> str:
    if found.off:
        return f"stack {found.stack}: no state is saved: {found.off}"
    facts = {"stack": found.stack, "target": found.target}
    if found.seq is None:
        facts["commit"] = "none yet"
    else:
        facts["commit"] = f"{found.seq} ({found.kind}, {counted(found.rows or 0, 'row')}), base {found.base_seq}"
        facts["saved"] = cell(found.saved_at)
        facts["unsaved"] = f"{counted(found.unsaved or 0, 'row')} that came or went since"
        facts["changes"] = "written down" if found.is_captured else "of some tables are not written down"
    if found.interrupted:
        facts["interrupted"] = "a save was begun and not ended; the next one finds out what became of it"
    if found.next_is_base:
        facts["next save"] = f"holds everything: {found.next_is_base}"
    if found.in_step is not None:
        there = found.remote
        facts["Databricks"] = (
            f"commit {there.seq}, {cell(there.saved_at)}, {there.host}, {there.reason}" if there else "nothing"
        ) + ("" if found.in_step else ": not this stack's")
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items())
