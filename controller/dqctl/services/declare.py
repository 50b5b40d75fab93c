"""Applying a systems file to an installed stack."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from dqctl.clock import Deadline
from dqctl.progress import Progress
from dqctl.runtime import open_runtime
from dqctl.services import state
from dqctl.services.access import find_access
from dqctl.services.apply import Adapt, Applied, apply
from dqctl.settings import Settings
from dqctl.testgen import jobs


def apply_file(
    settings: Settings,
    file: Path,
    *,
    environment: Mapping[str, str],
    timeout: float,
    progress: Progress,
    adapt: Adapt = lambda declared: declared,
    dry_run: bool = False,
) -> Applied:
    """``apply`` with the stack's own workspace at hand, while no other command works on the stack; then the state
    is saved.
    """
    runtime = open_runtime(settings, progress)
    access = find_access(settings)
    with (
        runtime.metadata() as held,
        jobs.exclusive(held, settings.lock_timeout, "dqctl apply"),
        contextlib.nullcontext() if dry_run else state.saved_after(settings, runtime, "apply", progress=progress),
    ):
        return apply(
            runtime,
            file,
            access=access.workspace(),
            scopes=access.secret,
            environment=environment,
            deadline=Deadline(timeout),
            adapt=adapt,
            dry_run=dry_run,
            progress=progress,
        )
