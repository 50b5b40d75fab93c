"""The processes of ephemeral stacks, found in another way than the one that is tested."""

from collections.abc import Iterator
from pathlib import Path


def left_of(home: Path) -> list[str]:
    """Command lines of all processes that have to do with an ephemeral stack of ``home``, and its directories."""
    inside = f"{home}/ci/"
    found = [
        " ".join(arguments)
        for entry, arguments in _processes()
        if any(inside in each for each in arguments) or _is_inside(entry, inside)
    ]
    return found + sorted(path.name for path in (home / "ci").glob("*"))


def watchers(name: str) -> list[int]:
    """Those that wait for the end of the stack's ``ci run``."""
    return [
        int(entry.name)
        for entry, arguments in _processes()
        if "dqctl.services.ci.watcher" in arguments and name in arguments
    ]


def _processes() -> Iterator[tuple[Path, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield entry, (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has just ended
                continue


def _is_inside(entry: Path, inside: str) -> bool:
    try:
        return (
            str((entry / "cwd").readlink()).startswith(inside)
            or f"DQCTL_HOME={inside}".encode() in (entry / "environ").read_bytes()
        )
    except OSError:
        return False
