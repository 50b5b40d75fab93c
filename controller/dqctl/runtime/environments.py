"""TestGen in a virtual environment of its own, made with uv from a lock with hashes."""

import hashlib
import importlib.resources
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.runtime import programs
from dqctl.testgen.capabilities import capabilities

_MEGABYTES = 1600  # 1.2 GB of the environment of 5.134.0 with bytecode, and what the build needs beside it
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


@dataclass(frozen=True)
class TestGenEnvironment:
    """One version of TestGen on disk."""

    __test__ = False

    version: str
    path: Path

    @property
    def python(self) -> Path:
        """The interpreter that TestGen lives in."""
        return self.path / "bin" / "python"

    @property
    def is_complete(self) -> bool:
        """Whether it is there; what is there is whole (see ``programs``)."""
        return self.python.exists()

    @property
    def schema_revision(self) -> int:
        """Revision of the metadata that this version works with: its last upgrade script's number."""
        scripts = self.path.glob("lib/python3.*/site-packages/testgen/template/dbupgrade/[0-9]*.sql")
        return max((int(script.name.split("_")[0]) for script in scripts), default=0)

    @property
    def fingerprint(self) -> str:
        """What tells this build of the package from others: a checksum of all of its files' checksums."""
        (record,) = self.path.glob("lib/python3.*/site-packages/dataops_testgen-*.dist-info/RECORD")
        return hashlib.sha256(record.read_bytes()).hexdigest()


def environment(environments: Path, version: str) -> TestGenEnvironment:
    """Where ``version`` of TestGen is, or would be."""
    return TestGenEnvironment(version, environments / f"testgen-{version}")


def lock_file(name: str) -> Path | None:
    """The lock that ships for ``name`` (a version of TestGen, or of PostgreSQL); None when there is none."""
    # dqctl is installed as files, never zipped: uv needs a path.
    path = Path(str(importlib.resources.files("dqctl.testgen"))) / "locks" / f"{name}.txt"
    return path if path.is_file() else None


def check_version(version: str) -> None:
    """Raise ``UsageError`` for what is no version of TestGen, or one that dqctl cannot run."""
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{version!r} is not a version of TestGen", "give one like 5.134.0")
    capabilities(version)


def ensure_environment(environments: Path, version: str, *, log: Path, progress: Progress) -> bool:
    """Install ``version`` of TestGen unless it is there; whether anything was done.

    Raises ``UsageError`` for what is no version that dqctl can run, ``EnvironmentFault`` when disk, network or
    package index are in the way.
    """
    check_version(version)
    wanted = environment(environments, version)

    def build(building: Path) -> None:
        progress(f"installing TestGen {version} (about a minute the first time)")
        lock = lock_file(version)
        if lock is None:
            progress(f"TestGen {version} is not a version that dqctl knows: its dependencies are resolved freshly")
        python = str(building / "bin" / "python")
        # Relocatable, so that the finished environment can be renamed into place.
        programs.uv_run(
            ["venv", "--relocatable", "--no-project", "--python", sys.executable, str(building)],
            home=environments,
            log=log,
        )
        what = ["--require-hashes", "-r", str(lock)] if lock else [f"dataops-testgen=={version}"]
        # Without bytecode every start takes 8 s rather than 2 wherever PYTHONDONTWRITEBYTECODE is set.
        install = ["pip", "install", "--python", python, "--compile-bytecode", *what]
        programs.uv_run(install, home=environments, log=log)
        _prove(TestGenEnvironment(version, building), log)

    return programs.ensure_directory(wanted.path, megabytes=_MEGABYTES, build=build, progress=progress)


def _prove(built: TestGenEnvironment, log: Path) -> None:
    """That it starts, and is the version that was asked for."""
    code = "import importlib.metadata as m, testgen.settings; print(m.version('dataops-testgen'))"
    completed = processes.run(
        [str(built.python), "-I", "-c", code],
        deadline=Deadline(120),
        environment={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "TG_TESTGEN_HOME": "/nonexistent"},
        cwd=built.path,
    )
    if completed.exit_code or completed.stdout.strip() != built.version or not built.schema_revision:
        raise EnvironmentFault(
            f"TestGen {built.version} was installed but does not start: {completed.stderr.strip()[-300:]}",
            f"see {log}; then run the same command again",
        )
