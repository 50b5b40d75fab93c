"""``upgrade`` and ``rollback``: another version of TestGen, and the way back."""

from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import emit, plain, table
from dqctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dqctl.services.upgrade import Story


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: dqctl upgrade --dry-run")(upgrade)
    app.command(epilog="Example: dqctl rollback")(rollback)


def upgrade(
    to: Annotated[str | None, typer.Option(metavar="VERSION", help="Version [default: the newest known]")] = None,
    image: Annotated[
        str | None, typer.Option(help="Docker: TestGen's new image [default: the stack's, of that version]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only try it on a copy, and say what it would change")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Give up the way back from the last upgrade, and its space")
    ] = False,
    wait: Wait = None,
) -> None:
    """Bring the stack to a newer version of TestGen: tried on a copy first, or nothing happens.

    The metadata is backed up, the backup restored beside it, migrated there and looked at; only then the stack
    changes over. Whatever goes wrong, the stack is what it was. Exit codes: 4 TestGen cannot migrate the metadata,
    3 this machine is in the way, 6 a run is on (--wait).
    """
    from dqctl.services import rollback as going_back
    from dqctl.services import upgrade as upgrading

    here = context()
    settings = here.settings_with(lock_timeout=wait)
    if forget:
        if to or image or dry_run:
            raise UsageError("--forget is given together with an upgrade", "do one after the other")
        freed = going_back.forget(settings, progress=here.progress)
        emit({"forgotten": freed}, lambda: f"the way back is given up: {freed}" if freed else "there is none")
        return
    _show(upgrading.upgrade(settings, to=to, image=image, dry_run=dry_run, progress=here.progress))


def rollback(
    to_backup: Annotated[
        str | None, typer.Option(metavar="ID", help="To this backup, not to what was before the last upgrade")
    ] = None,
    discard_runs: Annotated[
        bool, typer.Option("--discard-runs", help="Also when runs were made since, which the stack forgets")
    ] = False,
    other_keys: Annotated[
        bool,
        typer.Option(
            "--other-keys", help="Even if what connections kept secret then cannot be decrypted any more"
        ),
    ] = False,
    wait: Wait = None,
) -> None:
    """Go back to the version and the metadata that the stack had before its last upgrade, or to a backup.

    What is there now is backed up first. What was published stays in Databricks.
    """
    from dqctl.services import rollback as going_back

    here = context()
    settings = here.settings_with(lock_timeout=wait)
    _show(
        going_back.rollback(
            settings,
            to_backup=to_backup,
            discard_runs=discard_runs,
            other_keys=other_keys,
            progress=here.progress,
        )
    )


def _show(story: "Story") -> None:
    errors = [story.error] if story.error else []
    content = {name: value for name, value in vars(story).items() if name != "error"}
    code = story.error.exit_code if story.error else ExitCode.DONE
    emit(plain(content), lambda: _said(story), code, errors)


def _said(story: "Story") -> str:
    if story.result == "unchanged":
        return f"the stack {story.stack} has TestGen {story.version} already"
    said = [_head(story)]
    if story.changes:
        said += [_changes(story)]
    steps = [{"step": each.name, "seconds": each.seconds, "failed": each.failed or ""} for each in story.steps]
    said += [table(steps, {"step": "step", "seconds": "seconds", "failed": "failed"}, "")]
    return "\n\n".join(part for part in said if part)


def _head(story: "Story") -> str:
    match story.result:
        case "tried":
            return f"TestGen {story.version_after} can have the stack {story.stack}: a copy of its metadata passed"
        case "undone":
            return f"the stack {story.stack} has TestGen {story.version}, as before: the {story.kind} was undone"
        case "interrupted":
            return f"the {story.kind} of the stack {story.stack} is not over: the next command ends it"
    way = "dqctl rollback goes back" if story.kept else ""
    return "; ".join(filter(None, [f"the stack {story.stack} has TestGen {story.version} now", way]))


def _changes(story: "Story") -> str:
    found = story.changes
    assert found is not None, "the caller looked"  # noqa: S101 - for the types
    lines = [f"schema revision {found.revision_before} -> {found.revision_after}"]
    lines += [
        f"{name}: {count} runs take the id of their job, which is the one in Databricks"
        for name, count in found.runs_renamed.items()
        if count
    ]
    lists = {
        "new tables": found.tables_added,
        "dropped tables": found.tables_dropped,
        "new columns": found.columns_added,
        "dropped columns": [
            f"{name} (now {found.moved[name]})" if name in found.moved else name for name in found.columns_dropped
        ],
        "columns of another type": found.columns_retyped,
        "new test types": found.test_types_added,
        "test types that are gone": found.test_types_removed,
        "tables with other rows": [
            f"{each.table} {each.before} -> {each.after}: {each.why or 'nobody knows why'}"
            for each in found.rows_changed
        ],
    }
    lines += [f"{what}: {', '.join(names)}" for what, names in lists.items() if names]
    return "\n".join(lines)
