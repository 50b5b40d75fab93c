"""Reading published rows for a report: whatever a row holds, the model gets clean values of one type.

Text loses registered secrets and what no file can hold (lone surrogates); an empty text is no text. Numbers that
are no numbers (NaN, infinity) are absent, since JSON has no word for them. Times are aware and in UTC.
"""

import math
from datetime import UTC, datetime

from dqctl.records import Row
from dqctl.redaction import redact
from dqctl.report.samples import without_values


class Reader:
    """Reads values out of rows. Equal texts are cleaned once and kept once: most repeat in every row.

    ``samples`` tells whether values out of the data may be read, see ``dqctl.report.samples``.
    """

    def __init__(self, *, samples: bool = False) -> None:
        self.samples = samples
        self._cleaned: dict[str, str | None] = {"": None}

    def text(self, row: Row, name: str) -> str | None:
        """The text, or ``None`` when there is none."""
        value = row.get(name)
        if value.__class__ is not str:
            if value is None:
                return None
            value = str(value)
        try:
            return self._cleaned[value]
        except KeyError:
            cleaned = redact(value)
            if not cleaned.isascii():
                cleaned = cleaned.encode("utf-8", "replace").decode("utf-8")
            self._cleaned[value] = cleaned
            return cleaned

    def error(self, row: Row, name: str) -> str | None:
        """The text of an error, in which values out of the data may be quoted."""
        text = self.text(row, name)
        return text if self.samples else without_values(text)

    def number(self, row: Row, name: str) -> float | None:
        """The number, or ``None`` when there is none or it is not finite."""
        value = row.get(name)
        if value is None:
            return None
        number = float(value)
        return number if math.isfinite(number) else None

    def count(self, row: Row, name: str) -> int | None:
        """The whole number, or ``None`` when there is none."""
        value = self.number(row, name)
        return None if value is None else int(value)

    def flag(self, row: Row, name: str) -> bool | None:
        """True, false, or ``None`` when nobody knows."""
        value = row.get(name)
        return None if value is None else bool(value)

    def time(self, row: Row, name: str) -> datetime | None:
        """The time in UTC; one without a zone is taken to be in UTC, as published times are."""
        value = row.get(name)
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
