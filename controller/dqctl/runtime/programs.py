"""The programs that all stacks of a home share, one directory a version: how they get there.

A directory is built beside its final place and renamed when it is complete: what is there is whole. What an
interrupted build left is removed by the next one; what it had downloaded is in uv's cache.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import uv

from dqctl import processes
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.files import PRIVATE_FILE
from dqctl.progress import Progress
from dqctl.redaction import redact
from dqctl.stack import lock

_TIMEOUT = 1800.0  # seconds for one download and installation
_BUILDING = ".building-"


def ensure_directory(
    final: Path, *, megabytes: int, build: Callable[[Path], None], progress: Progress, timeout: float = _TIMEOUT
) -> bool:
    """Make ``final`` by ``build``, which gets a directory beside it; False when it is there already.

    Raises ``EnvironmentFault`` when less than ``megabytes`` are free, and what ``build`` raises.
    """
    if final.is_dir():
        return False
    final.parent.mkdir(parents=True, exist_ok=True)
    lock_file = final.parent / f".{final.name}.lock"
    with lock.hold(lock_file, f"install of {final.name}", timeout=timeout, progress=progress):
        for left_over in final.parent.glob(f".{final.name}{_BUILDING}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if final.is_dir():
            return False
        require_space(final.parent, megabytes)
        building = final.parent / f".{final.name}{_BUILDING}{secrets.token_hex(4)}"
        try:
            build(building)
            building.rename(final)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return True


def require_space(directory: Path, megabytes: int) -> None:
    """``EnvironmentFault`` when ``directory`` has less than ``megabytes`` (10^6 bytes) to spare."""
    free = shutil.disk_usage(directory).free // 1_000_000
    if free < megabytes:
        raise EnvironmentFault(
            f"not enough disk space: {free} MB are free at {directory}, {megabytes} MB are needed",
            f"free {megabytes - free} MB at {directory}, or choose another place with DQCTL_HOME",
        )


def uv_run(arguments: Sequence[str], *, home: Path, log: Path) -> None:
    """Run uv; its output goes to ``log``. Raises ``EnvironmentFault`` with its last words and the fix."""
    completed = processes.run(
        [uv.find_uv_bin(), *arguments],
        deadline=Deadline(_TIMEOUT),
        environment=_uv_environment(home),
        cwd=home,
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(PRIVATE_FILE)
    with log.open("a", encoding="utf-8") as file:
        file.write(redact(f"$ uv {' '.join(arguments)}\n{completed.stdout}{completed.stderr}"))
    if completed.exit_code:
        raise _fault(redact(completed.stderr), home, log)


def _uv_environment(home: Path) -> dict[str, str]:
    """The caller's own (mirrors, proxies, certificates), with what has to hold here on top."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DQCTL_", "DATABRICKS_", "TG_", "TESTGEN_", "PYTHON", "VIRTUAL_ENV", "CONDA_"))
    }
    # uv writes its cache below HOME; a system account may have none.
    cache = inherited.get("UV_CACHE_DIR") or inherited.get("XDG_CACHE_HOME")
    if not cache and not os.access(inherited.get("HOME") or "/nonexistent", os.W_OK):
        inherited["UV_CACHE_DIR"] = str(home / "cache")
    return inherited | {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
    }


_NO_NETWORK = re.compile(
    r"failed to fetch|error sending request|dns error|connection refused|timed out|failed to download"
    r"|client error|status server error|status client error|certificate",
    re.IGNORECASE,
)


def _fault(said: str, home: Path, log: Path) -> EnvironmentFault:
    last = " | ".join(line.strip() for line in said.strip().splitlines()[-6:])
    if "No space left on device" in said or "os error 28" in said or "File too large" in said:
        return EnvironmentFault(
            f"the disk is full: {last}",
            f"free 2 GB at {home} and at uv's cache (UV_CACHE_DIR moves it), then run the same command again",
        )
    if "No solution found" in said or "was not found in the package registry" in said:
        return EnvironmentFault(
            f"the package index does not have what is wanted: {last}",
            "check the version, or name another index: UV_DEFAULT_INDEX=URL (or UV_INDEX_URL)",
        )
    if _NO_NETWORK.search(said):
        return EnvironmentFault(
            f"the package index cannot be reached: {last}",
            "check the network (HTTPS_PROXY, SSL_CERT_FILE), or name a mirror: UV_DEFAULT_INDEX=URL "
            "(or UV_INDEX_URL); then run the same command again",
        )
    return EnvironmentFault(f"uv failed: {last}", f"the whole of it is in {log}; then run the same command again")
