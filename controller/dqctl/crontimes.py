"""Cron's five fields: whether they are any, and when they come next."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dqctl.errors import UsageError

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FORM = (
    "minute, hour, day of the month, month, day of the week: '30 2 * * *', or @hourly, @daily, @weekly, @monthly"
)
# 29 February comes within 8 years, whatever the century.
_YEARS = 9


def checked_time(at: str) -> str:
    """Cron's five fields of ``at``; ``UsageError`` for what cron would not take."""
    from crontab import CronSlices  # hardly any command meets a time

    fields = " ".join(_WORDS.get(at.strip().lower(), at).split())
    if len(fields.split(" ")) != 5 or not CronSlices.is_valid(fields):
        raise UsageError(f"{at!r} is no time of cron's", _FORM)
    return fields


@dataclass(frozen=True)
class Times:
    """The five fields as values, Sunday being 0. With ``either`` a day fits by its date or by its weekday."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    @classmethod
    def of(cls, at: str) -> "Times":
        """Read ``at``, which was checked."""
        from crontab import CronSlices  # as above

        minute, hour, day, month, weekday = (frozenset(int(value) for value in part) for part in CronSlices(at))
        fields = at.split(" ")
        # As Debian's cron: beside a field that begins with a star, */2 included, both have to be met.
        either = not (fields[2].startswith("*") or fields[4].startswith("*"))
        return cls(minute, hour, day, month, frozenset(value % 7 for value in weekday), either)

    def has_day(self, day: datetime) -> bool:
        """Whether it is due on that day."""
        fits = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (any(fits) if self.either else all(fits))


def next_time(at: str, after: datetime) -> datetime | None:
    """The first minute later than ``after`` that fits ``at``; None when there is none for years."""
    times = Times.of(at)
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for offset in range(366 * _YEARS):
        day = moment if offset == 0 else (moment + timedelta(days=offset)).replace(hour=0, minute=0)
        if not times.has_day(day):
            continue
        for hour in sorted(times.hours):
            for minute in sorted(times.minutes):
                if (hour, minute) >= (day.hour, day.minute):
                    return day.replace(hour=hour, minute=minute)
    return None
