"""When a line was written, by what stands at its beginning."""

import re
from datetime import UTC, datetime, tzinfo

# PostgreSQL, TestGen, the local workspace, the headings of testgen.log, Docker's own: all write it so, or nearly.
_STAMP = re.compile(
    r".{0,24}?(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?P<zone> ?UTC|Z|[+-]\d\d:?\d\d)?"
)


def stamp(line: str, zone_of_writer: tzinfo | None = None) -> datetime | None:
    """The time at the beginning of a line, in UTC, if there is one.

    One without a zone is the writer's, ``None`` this machine's.
    """
    found = _STAMP.match(line)
    if not found:
        return None
    zone = (found["zone"] or "").strip()
    fraction = (found["fraction"] or "0")[:6].ljust(6, "0")
    try:
        at = datetime.fromisoformat(
            f"{found['date']}T{found['time']}.{fraction}{'' if zone in ('UTC', 'Z') else zone}"
        )
    except ValueError:  # 2026-13-45
        return None
    if zone in ("UTC", "Z"):
        return at.replace(tzinfo=UTC)
    return (at if at.tzinfo else at.replace(tzinfo=zone_of_writer)).astimezone(UTC)
