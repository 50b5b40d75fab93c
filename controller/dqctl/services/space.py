"""Whether there is space for something, before it is begun."""

import shutil
from pathlib import Path

from dqctl.errors import EnvironmentFault

_MARGIN = 100_000_000  # bytes, for what others write meanwhile


def require_space(place: Path | int, size: int, purpose: str) -> None:
    """``EnvironmentFault`` unless ``size`` bytes and a margin are free at ``place``, or are the number it is."""
    needed = size + _MARGIN
    free = place if isinstance(place, int) else shutil.disk_usage(place).free
    if free >= needed:
        return
    where = "where PostgreSQL keeps its databases" if isinstance(place, int) else f"at {place}"
    raise EnvironmentFault(
        f"there is no space for {purpose}: {needed / 1e6:,.0f} MB are needed {where}, "
        f"{free / 1e6:,.0f} MB are free",
        f"nothing was changed; free {(needed - free) / 1e6:,.0f} MB there, then run the same command again",
    )
