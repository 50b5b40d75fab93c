"""Numbers and times in words, the same in every form."""

from datetime import datetime

NOTHING = "–"  # noqa: RUF001 - a dash, not a minus


def count(number: int | None) -> str:
    """``336,776``; a dash when nobody knows."""
    return NOTHING if number is None else f"{number:,}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 test``, ``1,200 tests``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def share(value: float | None) -> str:
    """A share of 0 to 1 as ``12.3 %``. Only all is 100 % and only nothing is 0 %, however close the rest comes."""
    if value is None:
        return NOTHING
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    return f"{min(99.9, max(0.1, round(value * 100, 1)))} %"


def duration(seconds: float | None) -> str:
    """``8.9 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds is None:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def moment(time: datetime | None) -> str:
    """``2026-11-21 02:10 UTC``."""
    return NOTHING if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


def enumeration(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
