"""Telling how far a job is while it runs, from what TestGen writes about it into the metadata database."""

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from dqctl.errors import EnvironmentFault
from dqctl.progress import Progress
from dqctl.testgen.ports import Runtime

_log = logging.getLogger(__name__)

_EVERY = 1.0


class Watch:
    """Watches the job ``job_id`` in a thread of its own until it is closed.

    ``runs`` is the table with the progress of its kind. What cannot be watched is not told: the job matters, not
    its progress.
    """

    def __init__(
        self, runtime: Runtime, runs: str, job_of_run: str, job_id: UUID, doing: str, progress: Progress
    ) -> None:
        self._runtime = runtime
        self._progress = progress
        self._doing = doing
        self._job_id = job_id
        self._ended = threading.Event()
        self._query = sql.SQL("SELECT progress FROM {} WHERE {} = %s").format(
            sql.Identifier(runs), sql.Identifier(job_of_run)
        )
        self._thread = threading.Thread(target=self._watch, name="job-progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell no more."""
        self._ended.set()
        self._thread.join(timeout=_EVERY * 5)

    def _watch(self) -> None:
        with contextlib.suppress(psycopg.Error, EnvironmentFault), self._runtime.metadata() as connection:
            connection.autocommit = True
            told = ""
            while not self._ended.wait(_EVERY):
                row = connection.execute(self._query, [self._job_id]).fetchone()
                line = describe(self._doing, row[0]) if row and row[0] else ""
                if line and line != told and not self._ended.is_set():
                    told = line
                    self._progress(line)


def describe(doing: str, steps: list[Mapping[str, Any]]) -> str:
    """One line from TestGen's list of steps: ``profiling flights: profiling columns, 3 of 53``.

    A step has ``label``, ``status`` (Pending, Running, Completed, Warning) and perhaps ``detail``.
    """
    for step in steps:
        if step.get("status") == "Running":
            label = str(step.get("label", "")).strip()
            label = label[:1].lower() + label[1:]
            return ", ".join(part for part in (f"{doing}: {label}", str(step.get("detail") or "")) if part)
    return ""
