"""Programs that a local workspace has no way to get by itself: it stands on its own."""

from pathlib import Path

from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import accounts, postgres_programs
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths


def ensure_postgres(settings: Settings, progress: Progress) -> Path:
    """PostgreSQL's programs, the same ones that local stacks have; the directory that has ``bin``."""
    paths = StackPaths(settings.home, settings.stack)
    try:
        paths.environments.mkdir(parents=True, exist_ok=True)
        # The server's account passes through (root's PostgreSQL is nobody's).
        accounts.open_way(paths.home, paths.environments / "bin")
        log = paths.environments / "postgresql.log"
        postgres_programs.ensure_programs(paths.environments, log=log, progress=progress)
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename or paths.environments}: {error.strerror}", "free space or change its owner"
        ) from error
    return postgres_programs.location(paths.environments)
