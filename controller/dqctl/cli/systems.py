"""``apply`` and ``systems list|show``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import cell, emit, plain, table

if TYPE_CHECKING:
    from dqctl.services.apply import Applied
    from dqctl.services.systems import System

# TestGen's Python starts twice at most; a change itself takes well under a second.
_APPLY_TIMEOUT = 300.0


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: dqctl apply -f systems.yaml --dry-run")(apply)
    systems = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Show what is declared.")
    systems.command("list", epilog="Example: dqctl systems list")(list_systems)
    systems.command("show", epilog="Example: dqctl systems show flights")(show_system)
    app.add_typer(systems, name="systems")


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The systems file; - is stdin")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, change nothing")] = False,
    wait: Wait = None,
) -> None:
    """Make TestGen have the systems that a file declares; the second time there is nothing to do.

    Files that it names are looked for beside it; with stdin, where the command runs.
    """
    from dqctl.services import declare

    here = context()
    applied = declare.apply_file(
        here.settings_with(lock_timeout=wait),
        file,
        environment=os.environ,
        dry_run=dry_run,
        timeout=_APPLY_TIMEOUT,
        progress=here.progress,
    )
    content = {"changed": applied.changed, "actions": applied.plan.actions, "left_alone": applied.plan.left_alone}
    emit(content, lambda: _plan(applied))


def list_systems() -> None:
    """List all systems with their suites."""
    from dqctl.runtime import open_runtime
    from dqctl.services import systems

    here = context()
    found = systems.list_systems(open_runtime(here.settings, here.progress))
    columns = {"system": "system", "table_group": "table group", "suite": "suite", "tests": "tests"}
    empty = "no systems; declare some: dqctl apply -f systems.yaml"
    emit({"systems": found}, lambda: table([row for each in found for row in _rows(each)], columns, empty))


def show_system(name: Annotated[str, typer.Argument(help="The system")]) -> None:
    """Show one system: connections, table groups, suites."""
    from dqctl.runtime import open_runtime
    from dqctl.services import systems

    here = context()
    found = systems.resolve_system(open_runtime(here.settings, here.progress), name)
    emit(plain(found), lambda: _system(found))


def _rows(system: "System") -> list[dict[str, object]]:
    """A row a suite; a table group without suites, and a system without table groups, have one too."""
    rows: list[dict[str, object]] = []
    for group in system.table_groups:
        here: dict[str, object] = {"system": system.name, "table_group": group.name}
        rows += [here | {"suite": suite.name, "tests": suite.tests} for suite in group.suites] or [here]
    return rows or [{"system": system.name}]


def _plan(applied: "Applied") -> str:
    lines = []
    for action in applied.plan.changes:
        was = f" (was {action.renamed_from})" if action.renamed_from else ""
        system = f"{action.system}: " if action.system else ""
        lines.append(f"{action.change:<7} {action.kind.word} {system}{action.name}{was}")
        for each in action.differences:
            before = "" if action.change == "create" else f"{_value(each.before)} -> "
            lines.append(f"          {each.column}: {before}{_value(each.after)}")
    beyond = [f"left alone: {each}" for each in applied.plan.left_alone]
    if not lines:
        return "\n".join(["nothing to do", *beyond])
    end = "done" if applied.changed else "this is the plan; nothing was changed"
    return "\n".join([*lines, *beyond, end])


def _value(value: object) -> str:
    return "nothing" if value is None else cell(value)


def _system(found: "System") -> str:
    lines = [f"{found.name}  {found.title}"]
    lines += [
        f"  connection {each.name}: {each.flavor}, {each.host}, {each.database}" for each in found.connections
    ]
    for group in found.table_groups:
        lines.append(f"  table group {group.name}: schema {group.schema}, {group.profiles} profiles")
        lines += [f"    suite {each.name}: {each.tests} tests, {each.test_runs} runs" for each in group.suites]
    return "\n".join(lines)
