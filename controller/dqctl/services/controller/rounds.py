"""When a round is due, and the process that goes it: one at a time, again and again with pauses while it fails."""

import logging
import subprocess

from dqctl.clock import Clock
from dqctl.errors import EnvironmentFault, ExitCode
from dqctl.report.words import counted
from dqctl.services.controller.round_process import RoundProcess
from dqctl.services.controller.standing import Standing
from dqctl.settings import Settings
from dqctl.testgen.noticing import Noticed

log = logging.getLogger(__name__)

# Seconds between two tries, doubled each time, and the most of it: what ends a pause is mended by people.
_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
# A job that nobody runs any more may have been left a moment ago, by somebody who is about to settle it.
_LEFT_BEHIND = 20.0
# Changes that come without a run (somebody edits a test) are saved a while after, and not all the time.
_SAVE_AFTER, _SAVE_EVERY = 60.0, 600.0
# What commands that were killed leave on the disk.
_CLEAN_EVERY = 86400.0


class Rounds:
    """Starts ``dqctl controller once`` where there is something to do, and hears what came of it."""

    def __init__(self, standing: Standing, clock: Clock) -> None:
        self._standing = standing
        self._clock = clock
        self._process = RoundProcess()
        self._ready_since: float | None = None
        self._seen = Noticed()
        self._failures = 0
        self._not_before = 0.0
        self._clean_at = clock.monotonic()  # the first time now
        self._save_at: float | None = None
        self._left_since: float | None = None

    @property
    def running(self) -> "subprocess.Popen[bytes] | None":
        """The process of a round that is under way, or that is ready for the next one."""
        return self._process.process

    def tend(self, seen: Noticed, settings: Settings) -> bool:
        """Do what is to be done by what was ``seen``; whether a round has just ended."""
        if self.reap():
            return True
        now = self._clock.monotonic()
        self._left_since = (self._left_since or now) if seen.left_behind else None
        if not seen.unsaved or settings.state == "off":
            self._save_at = None
        elif self._save_at is None:
            self._save_at = now + _SAVE_AFTER
        if self._process.is_going:
            return False
        if now >= self._not_before and self._is_due(seen, now):
            self._seen = seen
            self._begin(settings)
        else:
            self._get_ready(seen, settings, now)
        return False

    def reap(self) -> bool:
        """Hear what a round came to, if it has ended; whether it has."""
        if (ended := self._process.ended()) is None:
            return False
        code, said = ended
        self._ready_since = None
        self._standing.count_round()
        now = self._clock.monotonic()
        if code:
            error = said.get("error", {})
            why = str(error.get("message") or f"the round ended with {code}")
            self._failures += 1
            self._clean_at = now  # gone again whatever it was: an export waits without a run that would
            if self._standing.fail("round", why):
                log.warning("%s: %s; %s", _word(code), why, error.get("hint", ""))
        else:
            published = said.get("runs", [])
            if self._standing.succeed("round"):
                log.info("publishing and saving work again")
            if published:
                log.info("published %s to %s", counted(len(published), "run"), said.get("target"))
            # What waits and is not published is of nowhere to go, or somebody's who is faster.
            self._failures = self._failures + 1 if self._seen.waiting and not published else 0
            self._clean_at = now + _CLEAN_EVERY
        if self._save_at is not None:
            self._save_at = now + _SAVE_EVERY
        self._not_before = now + min(_LONGEST_PAUSE, _PAUSE * 2**self._failures) * bool(self._failures)
        return True

    def rest(self) -> None:
        """Nothing can be seen: have nobody ready for what may come."""
        if self._process.is_ready:
            self._process.forget()
            self._ready_since = None

    def end(self) -> None:
        """Forget the process, which was ended."""
        self._process.forget()
        self._ready_since = None

    def _is_due(self, seen: Noticed, now: float) -> bool:
        return (
            seen.waiting
            or now >= self._clean_at
            or (self._left_since is not None and now - self._left_since >= _LEFT_BEHIND)
            or (self._save_at is not None and now >= self._save_at)
        )

    def _begin(self, settings: Settings) -> None:
        try:
            self._process.go(settings)
        except EnvironmentFault as fault:
            self._process.forget()
            self._standing.fail("round", fault.message)
            self._not_before = self._clock.monotonic() + _LONGEST_PAUSE

    def _get_ready(self, seen: Noticed, settings: Settings, now: float) -> None:
        """Have a process ready while a run is under way that will have to be published: once for each round.

        Not for longer than a job may take: one that nobody runs any more would keep it for ever.
        """
        if not seen.coming or self._failures or (self._ready_since or now) + settings.job_timeout < now:
            if self._process.process:
                self._process.forget()
            self._ready_since = self._ready_since if seen.coming else None
        elif self._ready_since is None:
            self._ready_since = now
            try:
                self._process.get_ready(settings)
            except EnvironmentFault as fault:  # the round will say so, if it cannot be started either
                log.info("no process is ready for the next round: %s", fault.message)


def _word(code: int) -> str:
    try:
        return ExitCode(code).word
    except ValueError:
        return f"signal {-code}" if code < 0 else f"exit code {code}"
