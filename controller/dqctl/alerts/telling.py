"""Who has to be told what: the life of an alert, and what each receiver knows of it. Pure.

An alert fires and is resolved as the facts have it, and Alertmanager is told just that. For people it begins when
they are told, and is over only when it has been good for a while: what fails, passes and fails again is said once,
and the last that was said is never wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from dqctl.alerts.alert import Alert
from dqctl.alerts.rules import Chat


class Told(StrEnum):
    """What a receiver knows of an alert: that it fires, or nothing yet because it could not be reached."""

    FIRING = "firing"
    PENDING = "pending"


@dataclass(frozen=True)
class Known:
    """An alert that fired at some time, and since when it does not."""

    alert: Alert
    resolved_at: datetime | None = None

    @property
    def is_firing(self) -> bool:
        """Whether it fires now."""
        return self.resolved_at is None


KnownAlerts = Mapping[str, Known]
"""By fingerprint."""
ToldAlerts = Mapping[str, Told]
"""What one receiver knows, by fingerprint."""


@dataclass(frozen=True)
class News:
    """What a message is about. ``passed`` fired and was resolved while the receiver could not be reached.

    ``still`` fire and were said before. ``after`` is what the receiver knows once the message has arrived, None
    for nothing any more; ``pending`` what it has to be told another time if it has not.
    """

    began: tuple[Known, ...] = ()
    ended: tuple[Known, ...] = ()
    passed: tuple[Known, ...] = ()
    still: int = 0
    after: Mapping[str, Told | None] = field(default_factory=dict)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.began or self.ended or self.passed)

    @property
    def pending(self) -> tuple[str, ...]:
        """Fingerprints of what must not be forgotten though it could not be said."""
        return tuple(each.alert.fingerprint for each in (*self.began, *self.passed))


def changes(stored: KnownAlerts, wanted: Mapping[str, Alert], now: datetime) -> dict[str, Known]:
    """What becomes of the alerts: those that begin, end, begin again or have something else to say."""
    changed = {}
    for fingerprint, alert in wanted.items():
        before = stored.get(fingerprint)
        if before and before.is_firing:
            after = Known(replace(alert, since=before.alert.since))
            if after != before:
                changed[fingerprint] = after
            continue
        since = min(alert.since or now, now)
        # A test that was switched off and on again has no newer run.
        again = before is not None and before.resolved_at is not None and since < before.resolved_at
        changed[fingerprint] = Known(replace(alert, since=now if again else since))
    for fingerprint, before in stored.items():
        if before.is_firing and fingerprint not in wanted:
            changed[fingerprint] = replace(before, resolved_at=now)
    return changed


def forgotten(
    chat: Chat, stored: KnownAlerts, wanted: Mapping[str, Alert], told: ToldAlerts, now: datetime
) -> tuple[str, ...]:
    """What begins again after it had been good for long enough to be news: the receiver knows nothing of it."""
    return tuple(
        fingerprint
        for fingerprint in wanted
        if told.get(fingerprint) is Told.FIRING
        and fingerprint in stored
        and _is_over(stored[fingerprint], chat, now)
    )


def for_people(
    chat: Chat,
    known: KnownAlerts,
    mine: Mapping[str, Alert],
    told: ToldAlerts,
    now: datetime,
    is_judged: Callable[[Alert], bool] = lambda _: True,
) -> News:
    """The one message that a chat, a mailbox or a webhook is to get now; ``mine`` fire and are for it.

    The end of what is not judged any more, because a rule or a suite is another one now, is not said: it may not
    be good at all.
    """
    began = [known[fingerprint] for fingerprint in mine if told.get(fingerprint) is not Told.FIRING]
    still = sum(told.get(fingerprint) is Told.FIRING for fingerprint in mine)
    after: dict[str, Told | None] = {each.alert.fingerprint: Told.FIRING for each in began}
    ended, passed = [], []
    for fingerprint, state in told.items():
        each = known.get(fingerprint)
        if each is None:
            after[fingerprint] = None
        elif each.is_firing:
            continue
        elif state is Told.PENDING:
            passed.append(each)
            after[fingerprint] = None
        elif _is_over(each, chat, now):
            after[fingerprint] = None
            if chat.resolved and is_judged(each.alert):
                ended.append(each)
    return News(_sorted(began), _sorted(ended), _sorted(passed), still, after)


def for_alertmanager(known: KnownAlerts, mine: Mapping[str, Alert], told: ToldAlerts, now: datetime) -> News:
    """Everything that one Alertmanager has to hear: all that fires, new or not, and the end of what it knows."""
    ended, after = [], {fingerprint: Told.FIRING for fingerprint in mine if fingerprint not in told}
    gone: dict[str, Told | None] = {}
    for fingerprint, state in told.items():
        each = known.get(fingerprint)
        if fingerprint in mine:
            if state is not Told.FIRING:
                after[fingerprint] = Told.FIRING
            continue
        gone[fingerprint] = None
        if each is not None:  # the rule may send it elsewhere now: here it ends all the same
            ended.append(each if each.resolved_at else replace(each, resolved_at=now))
    return News(_sorted([known[fingerprint] for fingerprint in mine]), _sorted(ended), after={**after, **gone})


def _is_over(known: Known, chat: Chat, now: datetime) -> bool:
    return known.resolved_at is not None and (now - known.resolved_at).total_seconds() >= chat.quiet


def _sorted(found: list[Known]) -> tuple[Known, ...]:
    return tuple(sorted(found, key=lambda each: each.alert.order))
