"""Running all checks: at once, each with its own deadline, none able to hold up the others."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from dqctl.clock import Deadline
from dqctl.errors import DatabricksRefused, DqctlError
from dqctl.services.doctor.findings import Check, Finding, Verdict, failed, skipped
from dqctl.services.doctor.subject import Subject

_USELESS = (Verdict.FAILED, Verdict.SKIPPED)


def run_all(checks: Sequence[Check], subject: Subject) -> tuple[Finding, ...]:
    """The findings of all ``checks``, in their order; a check that hangs or breaks is a finding too.

    A check starts when those that it needs have ended well. Threads that hang are left behind: they are daemons
    and die with the process.
    """
    return _Round(checks, subject).run()


class _Round:
    def __init__(self, checks: Sequence[Check], subject: Subject) -> None:
        self._checks = checks
        self._subject = subject
        self._ids = {check.id for check in checks}
        self._waiting = list(checks)
        self._running: dict[str, tuple[Check, Deadline]] = {}
        self._ended: dict[str, Finding] = {}
        self._answers: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def run(self) -> tuple[Finding, ...]:
        while len(self._ended) < len(self._checks):
            self._start_what_can()
            if self._running:
                self._hear()
        return tuple(self._ended[check.id] for check in self._checks)

    def _start_what_can(self) -> None:
        for check in tuple(self._waiting):
            needs = [need for need in check.needs if need in self._ids]
            if any(need not in self._ended for need in needs):
                continue
            self._waiting.remove(check)
            useless = [need for need in needs if self._ended[need].verdict in _USELESS]
            if useless:
                self._ended[check.id] = replace(skipped(f"not looked at, because of {useless[0]}"), id=check.id)
                continue
            self._running[check.id] = (check, Deadline(check.seconds))
            threading.Thread(target=self._look, args=(check,), name=check.id, daemon=True).start()

    def _hear(self) -> None:
        try:
            finding = self._answers.get(timeout=min(deadline.left for _, deadline in self._running.values()))
        except queue.Empty:
            for check, deadline in tuple(self._running.values()):
                if deadline.passed:
                    evidence = f"no answer within {check.seconds:g} s"
                    self._end(replace(failed(evidence, check.late), id=check.id, seconds=check.seconds))
        else:
            self._end(finding)

    def _end(self, finding: Finding) -> None:
        # One that was given up may answer all the same.
        if self._running.pop(finding.id, None):
            self._ended[finding.id] = finding

    def _look(self, check: Check) -> None:
        started = time.monotonic()
        try:
            finding = check.look(self._subject)
        except DqctlError as error:
            finding = failed(error.message, error.hint, refused=isinstance(error, DatabricksRefused))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            finding = failed(f"{where}{error.strerror or error}", "see who owns it, and whether it is there")
        except Exception as error:  # noqa: BLE001 - one broken check must not hide what the others found
            finding = failed(f"the check broke: {type(error).__name__}: {error}", "report this: a defect of dqctl")
        self._answers.put(replace(finding, id=check.id, seconds=round(time.monotonic() - started, 3)))
