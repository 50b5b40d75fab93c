"""What people declare: rules that say what is worth an alert, and routes that say who is told."""

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import SecretStr

HOUR = 3600.0
DAY = 24 * HOUR


class When(StrEnum):
    """What a rule is about. The worst is first: messages are in this order."""

    RUN_FAILED = "run_failed"
    PUBLISH_FAILING = "publish_failing"
    RUN_LATE = "run_late"
    REPEATED = "repeated"
    FAILED = "failed"
    ERROR = "error"
    SCORE_DROP = "score_drop"
    WARNING = "warning"

    @property
    def rank(self) -> int:
        """0 for what needs a look first."""
        return list(When).index(self)


OF_TESTS = frozenset({When.REPEATED, When.FAILED, When.ERROR, When.WARNING})
"""Those that are about single tests, and may be narrowed down to tables, columns and test types."""


class Severity(StrEnum):
    """How urgent an alert is, the worst first; what follows from it is for the receiver to say."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


OPTIONS = {
    "times": When.REPEATED, "drop": When.SCORE_DROP, "over": When.SCORE_DROP, "every": When.RUN_LATE,
    "at": When.RUN_LATE, "timezone": When.RUN_LATE, "within": When.RUN_LATE, "after": When.PUBLISH_FAILING,
}  # fmt: skip
"""What of a rule only one kind of it asks for."""


@dataclass(frozen=True)
class Rule:
    """One rule. Selectors are patterns (``*``, ``?``, ``[]``, case does not matter); none is all, and so is no
    route.

    ``times`` is how many runs in a row a test has to fail (repeated). ``drop`` is how much lower a score is, 0 to
    1, than the median of the ``over`` runs before (score_drop). ``every`` are seconds within which a suite has to
    be tested (run_late); or it has to be ``within`` seconds of each time ``at`` (cron's five fields) in
    ``timezone``. ``after`` are seconds that results may wait to be published (publish_failing).
    """

    name: str
    when: tuple[When, ...]
    severity: Severity = Severity.WARNING
    systems: tuple[str, ...] = ()
    table_groups: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    test_types: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    times: int = 3
    drop: float = 0.05
    over: int = 1
    every: float = 26 * HOUR
    at: str = ""
    timezone: str = "UTC"
    within: float = 2 * HOUR
    after: float = 600.0

    def covers(self, system: str, table_group: str, suite: str) -> bool:
        """Whether the rule is about this suite; a profile has no suite."""
        return fits(self.systems, system) and fits(self.table_groups, table_group) and fits(self.suites, suite)

    def covers_test(self, table: str, column: str, test_type: str) -> bool:
        """Whether it is about this test of a suite that it covers."""
        return fits(self.tables, table) and fits(self.columns, column) and fits(self.test_types, test_type)


def fits(patterns: tuple[str, ...], name: str) -> bool:
    """Whether ``name`` fits one of the patterns; anything fits none at all."""
    return not patterns or any(fnmatchcase(name.casefold(), each.casefold()) for each in patterns)


@dataclass(frozen=True)
class Alertmanager:
    """Prometheus Alertmanagers, all of which are told everything; several are one in high availability.

    An alert that is not refreshed ends by itself after ``keep`` seconds. ``ca`` has certificates (PEM) in place
    of the system's.
    """

    urls: tuple[str, ...]
    keep: float = 26 * HOUR
    user: str | None = None
    ca: str | None = None


@dataclass(frozen=True)
class Chat:
    """Anything that Apprise can reach: chat, mail, a webhook.

    A test that failed, and fails again less than ``quiet`` seconds after it had passed, is not said again.
    ``resolved`` is whether it is said when something has been good for that long.
    """

    quiet: float = 36 * HOUR
    resolved: bool = False


TOKEN, PASSWORD, URL = "token", "password", "url"


@dataclass(frozen=True)
class Route:
    """Who is told, one of the two. ``secrets`` are by the names above; an Apprise URL is one as a whole."""

    name: str
    alertmanager: Alertmanager | None = None
    chat: Chat | None = None
    secrets: dict[str, SecretStr] = field(default_factory=dict)

    @property
    def receivers(self) -> tuple[str, ...]:
        """Who takes a message apart from the others, or does not: each Alertmanager by its URL, else the route."""
        if self.alertmanager is None:
            return (self.name,)
        return tuple(f"{self.name} {url}" for url in self.alertmanager.urls)


@dataclass(frozen=True)
class Alerting:
    """Everything that is declared about alerts."""

    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def effective(self) -> tuple[Rule, ...]:
        """The rules that count: with a route and no rule, failed tests and broken runs of everything."""
        return self.rules or (DEFAULT,)

    def routes_of(self, rule: str) -> tuple[Route, ...]:
        """Where alerts of a rule go."""
        named = next((each.routes for each in self.effective if each.name == rule), ())
        return tuple(each for each in self.routes if not named or each.name in named)


DEFAULT = Rule("default", (When.RUN_FAILED, When.FAILED, When.ERROR))
