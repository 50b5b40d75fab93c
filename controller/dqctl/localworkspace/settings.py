"""What a session can set: the parameters of a SQL warehouse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dqctl.localworkspace.contract import StatementError

# The configuration parameters of Databricks SQL, with the defaults of a warehouse.
DEFAULTS: Mapping[str, str] = {
    "ANSI_MODE": "true",
    "LEGACY_TIME_PARSER_POLICY": "EXCEPTION",
    "MAX_FILE_PARTITION_BYTES": "128m",
    "READ_ONLY_EXTERNAL_METASTORE": "false",
    "STATEMENT_TIMEOUT": "172800",
    "TIMEZONE": "UTC",
    "USE_CACHED_RESULT": "true",
}
# Spark's own names of those that an engine acts on; a warehouse takes them too.
_SPARK = {
    "spark.sql.ansi.enabled": "ANSI_MODE",
    "spark.sql.session.timezone": "TIMEZONE",
    "spark.sql.legacy.timeparserpolicy": "LEGACY_TIME_PARSER_POLICY",
}
_TRUTHS = ("ANSI_MODE", "USE_CACHED_RESULT", "READ_ONLY_EXTERNAL_METASTORE")
_TIME_PARSER_POLICIES = ("EXCEPTION", "LEGACY", "CORRECTED")


@dataclass(frozen=True)
class Setting:
    """A parameter and its value."""

    key: str
    value: str


class Settings:
    """The parameters of one session."""

    def __init__(self) -> None:
        self._values = dict(DEFAULTS)

    def set(self, key: str, value: str) -> Setting:
        """Set a parameter; ``StatementError`` for one that a warehouse does not have, or a value out of place."""
        name = known(key)
        if name is None:
            raise StatementError("CONFIG_NOT_AVAILABLE", f"Configuration {key} is not available.", "42K0I")
        plain = value.strip()
        # A truth value is shown as it was written, which may be Python's True.
        if name in _TRUTHS and plain.lower() not in ("true", "false"):
            raise _refused(key, value, "true or false")
        if name == "LEGACY_TIME_PARSER_POLICY":
            plain = plain.upper()
            if plain not in _TIME_PARSER_POLICIES:
                raise _refused(key, value, "one of " + ", ".join(_TIME_PARSER_POLICIES))
        if name == "STATEMENT_TIMEOUT" and not plain.isdecimal():
            raise _refused(key, value, "a number of seconds")
        if name == "TIMEZONE":
            plain = DEFAULTS["TIMEZONE"] if plain.upper() == "LOCAL" else plain
            if not _is_time_zone(plain):
                raise StatementError("INVALID_TIMEZONE", f"The timezone: {value} is invalid.", "22009")
        self._values[name] = plain
        return Setting(name, plain)

    def reset(self, key: str | None) -> None:
        """Give one parameter, or all, the default again."""
        for name, value in DEFAULTS.items():
            if key is None or known(key) == name:
                self._values[name] = value

    def get(self, key: str) -> str | None:
        """The value of a parameter; None for an unknown one."""
        name = known(key)
        return None if name is None else self._values[name]

    def items(self) -> list[Setting]:
        """All parameters."""
        return [Setting(key, value) for key, value in sorted(self._values.items())]

    @property
    def timeout(self) -> float:
        """How long a statement may run, in seconds; 0 is for ever."""
        return float(self._values["STATEMENT_TIMEOUT"])

    @property
    def arrow_time_zone(self) -> str:
        """The session's time zone as Arrow knows it; a warehouse calls its default ``Etc/UTC``."""
        name = self._values["TIMEZONE"]
        offset = re.fullmatch(r"(?:UTC|GMT|Z)?(?:([+-])(\d{1,2})(?::?(\d\d))?)?", name)
        if offset is None:
            return name
        sign, hours, minutes = offset.groups()
        return f"{sign}{int(hours):02}:{minutes or '00'}" if sign else "Etc/UTC"

    @property
    def is_ansi(self) -> bool:
        """Whether what is malformed is an error, not NULL."""
        return self._values["ANSI_MODE"].lower() == "true"

    def for_engine(self) -> dict[str, str]:
        """What the engine has to know, in Spark's names."""
        return {
            "spark.sql.ansi.enabled": self._values["ANSI_MODE"].lower(),
            # Sail 0.7.2 knows no GMT+2, both know +02:00.
            "spark.sql.session.timeZone": self._values["TIMEZONE"]
            if self.arrow_time_zone == "Etc/UTC"
            else self.arrow_time_zone,
            # Spark acts on it, Sail 0.7.2 does not.
            "spark.sql.legacy.timeParserPolicy": self._values["LEGACY_TIME_PARSER_POLICY"],
        }


def known(key: str) -> str | None:
    """The parameter's own name from how a client writes it."""
    name = _SPARK.get(key.lower(), key.upper())
    return name if name in DEFAULTS else None


def _is_time_zone(name: str) -> bool:
    if re.fullmatch(r"(UTC|GMT|Z)?([+-]\d{1,2}(:?\d{2})?)?", name) and name:
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _refused(key: str, value: str, wanted: str) -> StatementError:
    return StatementError(
        "INVALID_CONF_VALUE", f"The value '{value}' in {key} is invalid: it is {wanted}.", "22022"
    )
