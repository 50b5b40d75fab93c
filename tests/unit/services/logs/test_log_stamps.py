from datetime import UTC, datetime, timedelta, timezone

import pytest

from dqctl.cli.logs import parse_since
from dqctl.errors import UsageError
from dqctl.services.logs.stamps import stamp


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-21 05:48:02.378 UTC [1] LOG:  ready", datetime(2026, 11, 21, 5, 48, 2, 378000, UTC)),
        ("--- 2026-11-21T05:48:02+00:00 testgen list", datetime(2026, 11, 21, 5, 48, 2, tzinfo=UTC)),
        ("2026-11-21T05:48:02.123456789Z said", datetime(2026, 11, 21, 5, 48, 2, 123456, UTC)),
        ("2026-11-21T05:48:02+02:00 said", datetime(2026, 11, 21, 3, 48, 2, tzinfo=UTC)),
        ("no time at all", None),
        ("2026-13-45 05:48:02 UTC", None),
        (f"{'x' * 60} 2026-11-21 05:48:02 UTC", None),
    ],
)
def test_the_time_at_the_beginning_of_a_line(line: str, at: datetime | None) -> None:
    assert stamp(line) == at


def test_a_time_without_a_zone_is_the_writers() -> None:
    line = "[PID: 3530] 2026-11-21 05:48:17,170    INFO Importing"
    east = timezone(timedelta(hours=2))
    assert stamp(line, east) == datetime(2026, 11, 21, 3, 48, 17, 170000, UTC)
    assert stamp(line) == datetime(2026, 11, 21, 5, 48, 17, 170000).astimezone(UTC)


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("1h", NOW - timedelta(hours=1)),
        ("2d", NOW - timedelta(days=2)),
        ("1w", NOW - timedelta(days=7)),
        ("2026-11-21T08:00+02:00", datetime(2026, 11, 21, 6, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 21).astimezone(UTC)),
    ],
)
def test_since_is_an_age_or_a_time(text: str, at: datetime) -> None:
    assert parse_since(text, NOW) == at


@pytest.mark.parametrize("text", ["yesterday", "", "1", "-1h", "1y", "99999999d", "1h30m"])
def test_since_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        parse_since(text, NOW)
