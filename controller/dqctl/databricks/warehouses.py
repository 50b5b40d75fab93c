"""SQL warehouses by REST: found by name, looked at without waking them, started and waited for.

``w.warehouses.start_and_wait`` is not used: its waiter gives up at the first STOPPED that it sees, which a
warehouse still says for a moment after it was told to start (databricks-sdk 0.156), and it shows nothing.
"""

import logging
import re
from dataclasses import dataclass, replace
from typing import Any

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.databricks.rest import Answer, RestApi
from dqctl.databricks.target import Target, warehouse_path
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.progress import Progress, silent

log = logging.getLogger(__name__)

PATH = "/api/2.0/sql/warehouses"
_HTTP_PATH = re.compile(r"/?sql/1\.0/(?:warehouses|endpoints)/([\w-]+)/?")
_REST_SECONDS = 5.0
_ASLEEP = ("STOPPED", "STOPPING")
_POLL = 2.0  # seconds; a serverless warehouse takes 2 to 6 to start, others some 4 minutes
_TELL_EVERY = 15.0
# After a start was asked for, STOPPED is what it was before for so long.
_STILL_STOPPED = 30.0


@dataclass(frozen=True)
class WarehouseState:
    """A warehouse as it describes itself. ``state`` is Databricks' word; ``problem`` is what its health says."""

    id: str
    name: str
    state: str
    serverless: bool = False
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether it takes statements at once."""
        return self.state == "RUNNING"

    @property
    def is_gone(self) -> bool:
        """Whether it will never run again."""
        return self.state in ("DELETED", "DELETING")


def warehouse_id(http_path: str) -> str | None:
    """The id in a SQL warehouse's HTTP path; None for a cluster's."""
    found = _HTTP_PATH.fullmatch(http_path)
    return found[1] if found else None


def locate(rest: RestApi, target: Target) -> Target:
    """``target`` with the HTTP path of the warehouse that it knows by name.

    Raises ``UsageError`` for a name that no warehouse has, or several have; they are named.
    """
    if target.http_path:
        return target
    answer = rest.get(PATH)
    if not answer.is_good:
        raise _refusal(answer, target, "tell its warehouses")
    found = [_state(each) for each in answer.document.get("warehouses") or ()]
    # Names are unique on Databricks, in the spelling that people gave them.
    same = [each for each in found if each.name == target.warehouse_name]
    if len(same) != 1:
        names = ", ".join(sorted(each.name for each in found)) or "none that this principal may see"
        raise UsageError(
            f"{target.host} has {len(same) or 'no'} SQL warehouse{'s' if same else ''} {target.warehouse_name!r}",
            f"it has: {names}; change DQCTL_WAREHOUSE, or name one by DATABRICKS_WAREHOUSE_ID",
        )
    return replace(target, http_path=warehouse_path(same[0].id))


def look(rest: RestApi, identifier: str) -> WarehouseState | None:
    """The state of a warehouse, which stays as it is; None when it is not told."""
    answer = rest.get(f"{PATH}/{identifier}")
    return replace(_state(answer.document), id=identifier) if answer.is_good else None


def asleep(target: Target, clock: Clock = SYSTEM_CLOCK) -> WarehouseState | None:
    """The target's warehouse when it would have to be started; None when it runs, or nobody tells how it is."""
    rest = RestApi(target, _REST_SECONDS, clock)
    identifier = warehouse_id(locate(rest, target).http_path)
    state = look(rest, identifier) if identifier else None
    return state if state and state.state in _ASLEEP else None


def awake(target: Target, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK) -> Target:
    """``target`` with its warehouse found and running, so that statements may follow.

    Where REST does not tell how the warehouse is, the statements will: a warehouse starts by itself for them.
    Raises ``EnvironmentFault`` when it is stopped and must not be started, does not start, or is gone.
    """
    rest = RestApi(target, _REST_SECONDS, clock)
    target = locate(rest, target)
    identifier = warehouse_id(target.http_path)
    if identifier is None:
        return target
    try:
        state = look(rest, identifier)
    except (EnvironmentFault, DatabricksRefused) as error:
        log.info("the warehouse's state is not known: %s", error.message)
        return target
    if state is None or state.runs:
        return target
    if not target.start_warehouse and state.state in _ASLEEP:
        raise EnvironmentFault(
            f"the SQL warehouse {state.name} is {state.state.lower()}, and dqctl was told not to start it",
            "start it, or let dqctl do it: DQCTL_START_WAREHOUSE=true",
        )
    _Start(rest, target, progress, clock).wait(state)
    return target


class _Start:
    """A warehouse on its way up."""

    def __init__(self, rest: RestApi, target: Target, progress: Progress, clock: Clock) -> None:
        self._rest = rest
        self._target = target
        self._progress = progress
        self._clock = clock
        self._deadline = Deadline(target.start_timeout, clock)
        self._began = clock.monotonic()
        self._asked: float | None = None

    def wait(self, state: WarehouseState) -> None:
        """Until it runs; it is told to start as often as it is found stopped."""
        told = self._began
        usual = "a few seconds" if state.serverless else "some 4 minutes unless it is serverless"
        self._progress(f"the SQL warehouse {state.name} is {state.state.lower()}; a start takes {usual}")
        while not state.runs:
            if state.is_gone:
                raise EnvironmentFault(
                    f"the SQL warehouse {state.name} is {state.state.lower()}",
                    "name another one: DATABRICKS_WAREHOUSE_ID",
                )
            if state.state == "STOPPED" and not self._start(state):
                return
            if self._deadline.passed:
                raise EnvironmentFault(
                    f"the SQL warehouse {state.name} did not start within {self._deadline.seconds:g} s: "
                    f"it is {state.state}{state.problem and f', {state.problem}'}",
                    "see it under SQL Warehouses; DQCTL_START_TIMEOUT is how long dqctl waits",
                )
            self._clock.sleep(min(_POLL, max(self._deadline.left, 0.01)))
            state = self._look_again(state)
            now = self._clock.monotonic()
            if not state.runs and now - told >= _TELL_EVERY:
                told = now
                self._progress(f"the SQL warehouse {state.name} is {state.state.lower()}, {self._passed} so far")
        self._progress(f"the SQL warehouse {state.name} runs, after {self._passed}")

    def _start(self, state: WarehouseState) -> bool:
        """Ask for it, unless that was just done; False when it may not be asked for."""
        now = self._clock.monotonic()
        if self._asked is not None and now - self._asked < _STILL_STOPPED:
            return True
        if self._asked is not None and state.problem:
            raise EnvironmentFault(
                f"the SQL warehouse {state.name} does not start: {state.problem}", "see it under SQL Warehouses"
            )
        answer = self._rest.post(f"{PATH}/{state.id}/start", {})
        if answer.status in (401, 403):
            # Whoever may send statements starts it by sending one.
            log.info("the warehouse may not be started by REST: %s", answer.reason)
            return False
        self._asked = now
        return True

    def _look_again(self, before: WarehouseState) -> WarehouseState:
        try:
            return look(self._rest, before.id) or before
        except EnvironmentFault as fault:  # the network may come back before the time is over
            log.info("not told how the warehouse is: %s", fault.message)
            return before

    @property
    def _passed(self) -> str:
        return f"{self._clock.monotonic() - self._began:.0f} s"


def _state(found: dict[str, Any]) -> WarehouseState:
    health = found.get("health") or {}
    bad = health.get("status") in ("FAILED", "DEGRADED")
    said = health.get("summary") or health.get("message") or ""
    return WarehouseState(
        id=str(found.get("id", "")),
        name=str(found.get("name", "")),
        state=str(found.get("state", "")),
        serverless=bool(found.get("enable_serverless_compute")),
        problem=f"{health.get('status')}: {said}".rstrip(": ") if bad else "",
    )


def _refusal(answer: Answer, target: Target, what: str) -> DatabricksRefused | EnvironmentFault:
    if answer.status in (401, 403):
        return DatabricksRefused(
            f"{target.host} does not {what}: {answer.reason}", "check the credentials, or name the warehouse by id"
        )
    return EnvironmentFault(f"{target.host} does not {what}: {answer.reason}", "try again")
