"""``doctor``: what is wrong, and the command that mends it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dqctl.cli.context import context
from dqctl.cli.output import emit, note, plain, table
from dqctl.cli.stack import Runtime

if TYPE_CHECKING:
    from dqctl.services.doctor import Diagnosis


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dqctl doctor --bundle support.tar.gz")(doctor)


def doctor(
    runtime: Annotated[
        Runtime | None, typer.Option(help="Before install: where the stack is going to run (DQCTL_RUNTIME)")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Also write an archive for support, without secrets", metavar="FILE.tar.gz")
    ] = None,
) -> None:
    """Look at the stack and all around it: what is wrong, and the command that mends it.

    Nothing is started, woken or changed. Exit code 0 when nothing failed, 7 when Databricks refused, else 3.
    """
    from dqctl.services.doctor import examine

    here = context()
    settings = here.settings_with(runtime=runtime.value if runtime else None)
    if bundle is None:
        diagnosis = examine(settings)
        emit(plain(diagnosis), lambda: _show(diagnosis), diagnosis.exit_code)
        return
    from dqctl.services.doctor.bundle import write_bundle

    archive, diagnosis = write_bundle(settings, bundle, here.progress)
    note(
        f"{archive.path}: {archive.size / 1000:.0f} kB, for its owner alone, without the secrets that dqctl knows"
    )
    note(table([dict(vars(each)) for each in archive.members], {"name": "what is in it", "size": "bytes"}, ""))
    emit({**plain(diagnosis), "bundle": plain(archive)}, lambda: _show(diagnosis), diagnosis.exit_code)


def _show(diagnosis: "Diagnosis") -> str:
    rows = [
        {"verdict": each.verdict.value, "id": each.id, "evidence": each.evidence} for each in diagnosis.findings
    ]
    lines = [table(rows, {"verdict": "verdict", "id": "check", "evidence": "evidence"}, "")]
    to_do = [each for each in diagnosis.findings if each.fix and each.verdict.value in ("failed", "warning")]
    lines += [f"\n{each.id} ({each.verdict.value})\n  fix: {each.fix}" for each in to_do]
    counts = {
        verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("failed", "warning", "skipped")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "all is well"
    lines.append(f"\n{len(rows)} checks in {diagnosis.seconds:.1f} s: {told}")
    return "\n".join(lines)
