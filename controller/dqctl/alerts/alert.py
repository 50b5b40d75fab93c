"""An alert: labels that stay the same as long as it is the same trouble, and what is to be said about it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from dqctl.alerts.rules import Severity, When

NAMES = {
    When.RUN_FAILED: "DataQualityRunFailed",
    When.PUBLISH_FAILING: "DataQualityPublishFailing",
    When.RUN_LATE: "DataQualityRunLate",
    When.REPEATED: "DataTestFailsRepeatedly",
    When.FAILED: "DataTestFailed",
    When.ERROR: "DataTestError",
    When.SCORE_DROP: "DataQualityScoreDropped",
    When.WARNING: "DataTestWarning",
}
"""Alertmanager's ``alertname``."""

TEST = "DqctlTestMessage"


@dataclass(frozen=True)
class Alert:
    """One alert. ``labels`` identify it, ``annotations`` may change from run to run; neither holds data.

    ``run_id`` is the run that shows it, empty where there is none; ``since`` is when that became known.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    since: datetime | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same labels, in whatever order, on every machine."""
        text = json.dumps(sorted(self.labels.items()), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def when(self) -> When | None:
        """What it is about."""
        name = self.labels.get("alertname")
        return next((when for when, known in NAMES.items() if known == name), None)

    @property
    def severity(self) -> Severity:
        """How urgent it is."""
        return Severity(self.labels.get("severity", Severity.INFO))

    @property
    def where(self) -> str:
        """What it is about, for people: ``shop/orders-suite``, a table group, or nothing for the whole stack."""
        of = self.labels
        return "/".join(part for part in (of.get("system"), of.get("suite") or of.get("table_group")) if part)

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts alerts: the worst first, then by name."""
        when = self.when
        return (self.severity.rank, when.rank if when else -1, sorted(self.labels.items()))
