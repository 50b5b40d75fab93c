"""``backup create|list|verify|restore|delete``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import emit, plain, table
from dqctl.errors import ExitCode
from dqctl.report.words import counted, duration, moment

if TYPE_CHECKING:
    from dqctl.services.backup_restore import Restored
    from dqctl.services.backups import Created, Entry, Listing

_Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the backup, or latest")]
_FromVolume = Annotated[bool, typer.Option("--from-volume", help="Take the copy in the volume dq_backups")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    backup = typer.Typer(
        rich_markup_mode=None,
        no_args_is_help=True,
        help="Backups of TestGen's metadata: runs, results, definitions.",
    )
    backup.command("create", epilog="Example: dqctl backup create --to-volume")(create)
    backup.command("list", epilog="Example: dqctl backup list --volume")(list_backups)
    backup.command("verify", epilog="Example: dqctl backup verify latest")(verify)
    backup.command("restore", epilog="Example: dqctl backup restore 20261121t021000-3f2a")(restore)
    backup.command("delete", epilog="Example: dqctl backup delete 20261121t021000-3f2a")(delete)
    app.add_typer(backup, name="backup")


def create(
    to_volume: Annotated[
        bool, typer.Option("--to-volume", help="Copy it to the volume dq_backups beside the published tables")
    ] = False,
    verify: Annotated[
        bool, typer.Option(help="Restore it into a database that is thrown away, and compare")
    ] = True,
) -> None:
    """Back the metadata up: a dump of one moment, with row counts and checksums."""
    from dqctl.services import backups

    here = context()
    done = backups.create(here.settings, to_volume=to_volume, verified=verify, progress=here.progress)
    emit(plain(done), lambda: _created(done))


def list_backups(
    volume: Annotated[bool, typer.Option("--volume", help="Look into the volume dq_backups too")] = False,
) -> None:
    """List the backups, the newest first."""
    from dqctl.services import backups

    here = context()
    found = backups.listing(here.settings, volume=volume, progress=here.progress)
    emit(plain(found), lambda: _listed(found))


def verify(wanted: _Id = "latest", from_volume: _FromVolume = False) -> None:
    """Restore a backup into a database that is thrown away, and compare every table with what was backed up."""
    from dqctl.services import backups

    here = context()
    done = backups.verify(here.settings, wanted, from_volume=from_volume, progress=here.progress)
    answer = {
        "id": done.backup.id,
        "verified": done.backup.manifest.verified,
        "tables": done.tables,
        "rows": done.rows,
        "seconds": round(done.seconds, 3),
    }
    compared = f"{counted(done.tables, 'table')}, {counted(done.rows, 'row')}, {duration(done.seconds)}"
    emit(plain(answer), lambda: f"backup {done.backup.id} is good: restored and compared, {compared}")


def restore(
    wanted: _Id,
    from_volume: _FromVolume = False,
    other_keys: Annotated[
        bool, typer.Option("--other-keys", help="Even if what connections keep secret cannot be decrypted then")
    ] = False,
    wait: Wait = None,
) -> None:
    """Put the metadata back to a backup; what is there now is backed up first."""
    from dqctl.services import backup_restore

    here = context()
    settings = here.settings_with(lock_timeout=wait)
    done = backup_restore.restore(
        settings, wanted, from_volume=from_volume, other_keys=other_keys, progress=here.progress
    )
    answer = plain(done)
    del answer["unsaved"]  # it is the answer's error, where there is one
    errors = [done.unsaved] if done.unsaved else []
    emit(answer, lambda: _restored(done), errors[0].exit_code if errors else ExitCode.DONE, errors)


def delete(wanted: _Id, from_volume: _FromVolume = False) -> None:
    """Remove one backup, or its copy in the volume."""
    from dqctl.services import backups

    here = context()
    found, place = backups.delete(here.settings, wanted, from_volume=from_volume, progress=here.progress)
    emit({"id": found, "place": place}, lambda: f"backup {found} is deleted: {place}")


def _created(done: "Created") -> str:
    made = done.backup
    lines = [
        f"backup {made.id}: {counted(made.rows, 'row')}, {_size(made.bytes)}, "
        + ("verified" if made.verified else "not verified"),
        f"in {done.directory}",
    ]
    if done.copy:
        lines.append(f"copied to {done.copy}")
    if done.removed:
        lines.append(f"removed, as backup_keep and backup_keep_days say: {', '.join(done.removed)}")
    return "\n".join(lines)


def _listed(found: "Listing") -> str:
    columns = {name: name for name in ("id", "made", "reason", "testgen", "rows", "size", "verified", "where")}
    text = table([_row(each) for each in found.backups], columns, f"no backup in {found.directory}")
    damaged = [f"damaged, its manifest cannot be read: {name}" for name in found.damaged]
    return "\n".join([text, *damaged])


def _row(each: "Entry") -> dict[str, object]:
    return {
        "id": each.id,
        "made": moment(each.created),
        "reason": f"{each.reason}; needed for {each.held_for}" if each.held_for else each.reason,
        "testgen": each.testgen_version,
        "rows": each.rows,
        "size": _size(each.bytes),
        "verified": moment(each.verified),
        "where": ", ".join(each.places),
    }


def _restored(done: "Restored") -> str:
    before = f"what was there before is backup {done.before}" if done.before else "there was nothing before"
    compared = f"{counted(done.tables, 'table')}, {counted(done.rows, 'row')}, all equal"
    return f"backup {done.id} is restored: {compared}; {before}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
