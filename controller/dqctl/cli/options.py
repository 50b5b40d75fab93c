"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Timeout = Annotated[
    float | None, typer.Option("--timeout", help="Seconds for all jobs of this command (DQCTL_JOB_TIMEOUT)", min=1)
]
Wait = Annotated[
    float | None, typer.Option("--wait", help="Seconds to wait for a busy stack (DQCTL_LOCK_TIMEOUT)", min=0)
]
Workspace = Annotated[
    Path | None, typer.Option(help="Data directory of a local workspace to use (DQCTL_WORKSPACE)")
]
Catalog = Annotated[str | None, typer.Option(help="Catalog of the published tables (DQCTL_CATALOG)")]
Schema = Annotated[str | None, typer.Option(help="Schema of the published tables (DQCTL_SCHEMA)")]
Baseline = Annotated[
    Path | None,
    typer.Option(help="Fail only on what is newly broken since the run that wrote this JSON (DQCTL_BASELINE)"),
]
BaselineOptional = Annotated[
    bool | None, typer.Option("--baseline-optional", help="The baseline may be missing, as on a first run")
]
