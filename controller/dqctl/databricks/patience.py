"""What is done again after a failure of Databricks, or of the way there, how often, and after which pause.

The connector repeats single requests by itself (4.9.0): after 429 and 503, heeding Retry-After, and after a
connection was refused, reset or silent, as long as ``Target.patience`` lasts. What it does not repeat is repeated
here, as a whole statement in a session of its own: answers that ended half-way, files on their way into a volume,
sessions that the server forgot because its warehouse was stopped, conflicts, tokens that ended before their time.
"""

import random
import re
from collections.abc import Callable

from dqctl.clock import Clock, Deadline
from dqctl.databricks.failures import Conflict, CredentialsRefused, NobodyThere, SessionGone, Unreachable
from dqctl.databricks.target import PersonalToken, Target
from dqctl.errors import DqctlError

_CONFLICTS = 5  # attempts; others write their few rows and are done
_SESSIONS = 5  # that a server may lose while one statement is tried: a warehouse that stops and starts again
_LONGEST_PAUSE = 5.0
_LONGEST_CONFLICT = 10.0
# WITH and FROM may begin what writes, too; comments and brackets may stand before any of them.
_READS = re.compile(
    r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:SELECT|VALUES|TABLE|SHOW|DESCRIBE|DESC|EXPLAIN|LIST)\b", re.I | re.S
)


def only_reads(statement: str) -> bool:
    """Whether ``statement`` surely changes nothing, so that it may be sent twice."""
    return _READS.match(statement) is not None


class Patience:
    """How much of it one statement has left. Only for what may be done twice."""

    def __init__(self, target: Target, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._target = target
        self._clock = clock
        self._chance = chance
        self._conflicts = 0
        self._lost = 0
        self._gone = 0
        self._refused = 0
        self._deadline: Deadline | None = None

    def needs_new_session(self, error: DqctlError) -> bool:
        """Whether the session is to be given up after ``error``.

        Not for the first answer that is lost: a statement that goes on for all that is waited for by its twin in
        the same session, and meets it as another writer from a second one.
        """
        if isinstance(error, SessionGone | CredentialsRefused):
            return True
        return isinstance(error, Unreachable) and self._lost > 1

    def pause_after(self, error: DqctlError) -> float | None:
        """Seconds to wait before the statement is sent again; None when ``error`` is final."""
        match error:
            case Conflict():
                self._conflicts += 1
                # Random, so that two who met do not meet again.
                longest = min(_LONGEST_CONFLICT, 0.5 * 2**self._conflicts)
                return None if self._conflicts == _CONFLICTS else float(self._chance() * longest)
            case NobodyThere():
                return None
            case SessionGone():
                # The server is there: how long the statement took until it lost its session is no matter.
                self._gone += 1
                return None if self._gone == _SESSIONS else 0.25
            case Unreachable():
                self._lost += 1
                if self._deadline is None:
                    self._deadline = Deadline(self._target.patience, self._clock)
                # Once in any case: the connector may have used up the time.
                if self._lost > 1 and self._deadline.passed:
                    return None
                return float(min(_LONGEST_PAUSE, 0.25 * 2 ** (self._lost - 1)))
            case CredentialsRefused() if not isinstance(self._target.auth, PersonalToken):
                # A token that should have been good for longer; a new session asks for a new one.
                self._refused += 1
                return None if self._refused > 1 else 0.0
            case _:
                return None
