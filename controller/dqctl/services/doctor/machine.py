"""The machine: space, memory, the clock."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from dqctl.services.doctor.findings import Finding, check, failed, ok, skipped, warning
from dqctl.services.doctor.subject import Subject

_MEGA, _GIGA = 10**6, 10**9
DISK_NEEDED = 500 * _MEGA  # what a run writes, with a margin: PostgreSQL's log of changes, homes of jobs
DISK_WANTED = 2 * _GIGA  # what an installation of TestGen and PostgreSQL takes
MEMORY_NEEDED = 300 * _MEGA  # one job of TestGen 5.134: 250 MB
MEMORY_WANTED = 1 * _GIGA
SKEW = 60.0  # seconds; OAuth and certificates stop working beyond minutes


@check("machine.disk", late="a file system does not answer (NFS?): df -h")
def disk(subject: Subject) -> Finding:
    """Space where the stack, its programs and temporary files lie."""
    paths = subject.paths
    places = (paths.root, paths.postgres, paths.environments, Path(tempfile.gettempdir()))
    return judge_space(places, installed=subject.record is not None)


def judge_space(places: Iterable[Path], *, installed: bool) -> Finding:
    """The tightest of the file systems that hold ``places``, each of them looked at once."""
    free: dict[int, tuple[int, Path]] = {}
    for place in places:
        there = _existing(place)
        free.setdefault(there.stat().st_dev, (shutil.disk_usage(there).free, there))
    least, where = min(free.values())
    needed = DISK_NEEDED if installed else DISK_WANTED
    evidence = "; ".join(f"{size / _GIGA:.1f} GB free at {place}" for size, place in sorted(free.values()))
    if least < needed:
        missing = -(-(needed - least) // _MEGA)
        return failed(evidence, f"free {missing} MB at {where} (du -xh {where} | sort -h | tail)")
    if any(os.statvfs(place).f_files and not os.statvfs(place).f_favail for _, place in free.values()):
        return failed(f"{evidence}; but no inodes", f"remove files at {where} (df -i)")
    if least < DISK_WANTED:
        return warning(evidence, f"free some space at {where} before you install another version")
    return ok(evidence)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


@check("machine.memory")
def memory(subject: Subject) -> Finding:
    """Memory that a job of TestGen could have."""
    del subject
    available = available_memory()
    if available is None:
        return skipped("this system does not say how much memory is available")
    evidence = f"{available / _GIGA:.1f} GB of memory are available"
    if available < MEMORY_NEEDED:
        return failed(evidence, "end what needs memory (ps aux --sort=-rss | head), or give the machine more")
    if available < MEMORY_WANTED:
        return warning(evidence, "run one job at a time; a profile of wide tables may need more")
    return ok(evidence)


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes, by the kernel and by the control group's limit (version 2, then 1)."""
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        found = [sizes["MemAvailable"]]
    except (OSError, KeyError, ValueError, IndexError):
        return None
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int((groups / limit).read_text()) - int((groups / usage).read_text()))
        except (OSError, ValueError):  # not this version, or "max"
            continue
    return max(0, min(found))


@check("machine.clock", seconds=4.0, needs=("databricks.host",))
def clock(subject: Subject) -> Finding:
    """This machine's clock against the workspace's."""
    before = datetime.now(UTC)
    answer = subject.rest.anonymously("/.well-known/databricks-config")
    if answer.date is None:
        return skipped(f"{subject.target.host} does not say what time it is")
    after = datetime.now(UTC)
    skew = (before + (after - before) / 2 - answer.date).total_seconds()
    evidence = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {subject.target.host}"
    if abs(skew) > SKEW:
        return failed(evidence, "set the clock: timedatectl set-ntp true (or: chronyc makestep)")
    return ok(evidence)


CHECKS = (disk, memory, clock)
