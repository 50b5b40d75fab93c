"""What the versions of TestGen do differently: the only place that looks at a version number.

Each difference is a named capability; code asks for the capability. Everything here was found by running the
version or in its source. A version that is not listed gets what the nearest older one has, with ``known`` False.
"""

from dataclasses import dataclass, replace

from dqctl.errors import UsageError

# Statuses of job_executions that every version has. A job in one of the first three has work ahead of it.
_BEFORE_THE_END = ("pending", "claimed", "running", "cancel_requested")
# 5.134 can also interrupt, pause, resume and queue a job (testgen.common.enums.JobStatus).
_BEFORE_THE_END_PAUSABLE = (*_BEFORE_THE_END, "interrupt_requested", "pause_requested")
_PARKED = ("interrupted", "paused", "resume_requested", "queued")


@dataclass(frozen=True)
class Capabilities:
    """What one version of TestGen has and does.

    A job's statuses are those of ``job_executions.status``: ``active_statuses`` are left some day,
    ``final_statuses`` never. Column names are those of the metadata database.
    """

    version: str
    known: bool
    """Whether exactly this version was tried."""

    schema_revision: int
    """``tg_revision.revision`` of the component ``metadata_db``."""

    run_id_is_job_id: bool
    """Whether a run has its job's id; otherwise ``job_execution_id`` of the run names the job."""

    run_has_status: bool
    """Whether runs have ``status`` (Running, Complete, Error, Cancelled), ``log_message`` and an end time of
    their own (``profiling_endtime``, ``test_endtime``); otherwise the job's row alone knows."""

    active_statuses: tuple[str, ...]
    final_statuses: tuple[str, ...]

    stale_statuses: tuple[str, ...]
    """Those active ones in which a job needs somebody to run it; in the others TestGen parked it."""

    job_has_active_seconds: bool
    """Whether a job counts the seconds that it worked (``job_executions.active_seconds``)."""

    follow_up_jobs: tuple[str, ...]
    """Keys of jobs that a run queues when it ends and that have to be drained after it."""

    several_generation_sets: bool
    """Whether a generation takes ``generation_sets`` (the suite has some of its own), or one
    ``generation_set``, which is Standard when nobody says otherwise."""

    monitor_column: str
    """Column of ``test_suites`` that tells a monitor suite: ``suite_type`` or ``is_monitor``."""

    monitor_value: str | bool
    """Its value in a monitor suite."""

    regular_suites: str
    """SQL condition on ``test_suites``: those that a person made, neither monitors nor contracts."""

    test_run_list_has_process_id: bool
    """Whether the CSV of ``list-test-runs`` has a last column ``process_id``."""

    metadata_over_tls: bool
    """Whether it can be told to verify the metadata server's certificate (``TG_METADATA_DB_SSLMODE``). libpq's own
    variables are no way out: they would count for the databases that it checks, too."""

    tests_suites_of_a_group_together: bool
    """Whether two suites of one table group may be tested at the same time: every test run refreshes the group's
    catalog, in 5.134 behind a lock. Before, two of them lock its rows in any order (5.92) or stage for the group,
    whoever staged (5.33)."""

    broken_commands: tuple[str, ...]
    """Commands of the command line that fail whatever they are asked."""

    @property
    def working_statuses(self) -> tuple[str, ...]:
        """Those of ``stale_statuses`` in which somebody has claimed the job."""
        return tuple(status for status in self.stale_statuses if status != "pending")

    @property
    def job_of_run(self) -> str:
        """Column of ``profiling_runs`` and ``test_runs`` that names the job."""
        return "id" if self.run_id_is_job_id else "job_execution_id"


_FINAL = ("completed", "error", "canceled")

_V5_134_0 = Capabilities(
    version="5.134.0",
    known=True,
    schema_revision=235,
    run_id_is_job_id=True,
    run_has_status=False,
    active_statuses=(*_BEFORE_THE_END_PAUSABLE, *_PARKED),
    final_statuses=_FINAL,
    stale_statuses=_BEFORE_THE_END_PAUSABLE,
    job_has_active_seconds=True,
    follow_up_jobs=("refresh-project-scores",),
    several_generation_sets=True,
    monitor_column="suite_type",
    monitor_value="monitor",
    regular_suites="suite_type = 'regular'",
    test_run_list_has_process_id=False,
    metadata_over_tls=True,
    tests_suites_of_a_group_together=True,
    broken_commands=(),
)

_V5_92_2 = replace(
    _V5_134_0,
    version="5.92.2",
    schema_revision=213,
    active_statuses=_BEFORE_THE_END,
    stale_statuses=_BEFORE_THE_END,
    job_has_active_seconds=False,
    metadata_over_tls=False,
    tests_suites_of_a_group_together=False,
    follow_up_jobs=("run-score-update",),
    monitor_column="is_monitor",
    monitor_value=True,
    regular_suites="is_monitor IS NOT TRUE",
)

_V5_33_3 = replace(
    _V5_92_2,
    version="5.33.3",
    schema_revision=187,
    run_id_is_job_id=False,
    run_has_status=True,
    several_generation_sets=False,
    test_run_list_has_process_id=True,
    # Its SQL aggregates without GROUP BY.
    broken_commands=("list-test-suites",),
)

KNOWN = (_V5_134_0, _V5_92_2, _V5_33_3)
"""Newest first. The first is what ``install`` takes by default."""


def capabilities(version: str) -> Capabilities:
    """What ``version`` of TestGen has; ``UsageError`` for one that is older than all we know."""
    wanted = _ordered(version)
    for entry in KNOWN:
        if wanted >= _ordered(entry.version):
            return entry if entry.version == version else replace(entry, version=version, known=False)
    raise UsageError(
        f"TestGen {version} is too old: its jobs cannot be run",
        f"use one of {', '.join(entry.version for entry in KNOWN)}",
    )


def is_older(version: str, than: str) -> bool:
    """Whether ``version`` comes before ``than``; ``UsageError`` for what is no version."""
    return _ordered(version) < _ordered(than)


def _ordered(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        raise UsageError(f"{version!r} is not a version of TestGen", f"write it as {KNOWN[0].version}") from None
