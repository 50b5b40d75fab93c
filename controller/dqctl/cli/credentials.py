"""``credentials show|rotate|export|import``: the secrets of a stack."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.options import Wait
from dqctl.cli.output import emit, table

if TYPE_CHECKING:
    from dqctl.services.credentials import Rotated


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    credentials = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The secrets of a stack.")
    credentials.command(epilog="Example: dqctl credentials show --reveal testgen_password")(show)
    credentials.command(epilog="Example: dqctl credentials rotate --all")(rotate)
    credentials.command(
        "export",
        epilog="Example: dqctl credentials export --file keys.json --passphrase-file ~/.dqctl-passphrase",
    )(export_keys)
    credentials.command(
        "import",
        epilog="Example: dqctl credentials import --file keys.json --passphrase-file ~/.dqctl-passphrase",
    )(import_keys)
    app.add_typer(credentials, name="credentials")


def show(
    reveal: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print the value of this secret, and nothing else")
    ] = None,
) -> None:
    """Show which secrets there are, where they lie and how old they are; and where Databricks' come from."""
    from datetime import UTC, datetime

    from dqctl import redaction
    from dqctl.services import credentials, origins

    here = context()
    if reveal is not None:
        value = credentials.read(here.settings, reveal, progress=here.progress)
        here.display.close()
        # Past everything that takes secrets out: it is what was asked for.
        sys.stdout.write(redaction.reveal(value) + "\n")
        return
    secrets = credentials.secrets_of(here.settings)
    databricks = origins.databricks_origins(here.settings, os.environ)
    now = datetime.now(UTC)

    def text() -> str:
        columns = {"name": "secret", "purpose": "for", "age": "age", "file": "file", "value": "value"}
        rows = [
            vars(each) | {"age": f"{(now - each.changed).days} days" if each.changed else "missing"}
            for each in secrets
        ]
        beyond = [{"name": each.name, "origin": each.origin or "not set"} for each in databricks]
        return "\n\n".join(
            [table(rows, columns, ""), table(beyond, {"name": "Databricks", "origin": "comes from"}, "")]
        )

    emit({"secrets": secrets, "databricks": databricks}, text)


def rotate(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Secrets to rotate")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Rotate all of them")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try everything, change nothing")] = False,
    wait: Wait = None,
) -> None:
    """Replace secrets of the stack by new ones, wherever they are used; connections keep theirs."""
    from dqctl.errors import UsageError
    from dqctl.services import credentials

    if names and everything:
        raise UsageError("secrets are named, and --all is given", "give one of them")
    here = context()
    wanted = list(credentials.ROTATED) if everything else names or []
    done = credentials.rotate(
        here.settings_with(lock_timeout=wait), wanted, dry_run=dry_run, progress=here.progress
    )
    emit(vars(done), lambda: _said(done))


_KeyFile = Annotated[Path, typer.Option("--file", metavar="FILE", help="The sealed file", dir_okay=False)]
_PassphraseFile = Annotated[
    Path,
    typer.Option("--passphrase-file", metavar="FILE", help="A file with the passphrase, 12 characters or more"),
]


def export_keys(file: _KeyFile, passphrase_file: _PassphraseFile) -> None:
    """Write the stack's keys to a file, sealed, so that its state can be restored on another host."""
    from dqctl.services import key_transfer

    here = context()
    done = key_transfer.export_keys(here.settings, file, passphrase_file, progress=here.progress)
    emit(vars(done), lambda: f"stack {done.stack}: {', '.join(done.secrets)} sealed in {done.file}")


def import_keys(file: _KeyFile, passphrase_file: _PassphraseFile) -> None:
    """Give a stack that is not installed yet the keys that another host exported."""
    from dqctl.services import key_transfer

    here = context()
    done = key_transfer.import_keys(here.settings, file, passphrase_file, progress=here.progress)
    what = f"{', '.join(done.secrets)} imported" if done.secrets else "has these keys already"
    emit(vars(done), lambda: f"stack {done.stack}: {what}")


def _said(done: "Rotated") -> str:
    what = f"stack {done.stack}: {', '.join(done.secrets)}"
    anew = f"; {done.values} stored values encrypted anew" if done.values else ""
    if done.dry_run:
        return f"{what} can be rotated{anew.replace('encrypted', 'would be encrypted')}; nothing was changed"
    return f"{what} rotated{anew}"
