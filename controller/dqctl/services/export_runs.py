"""Which runs are handed over to other systems, and what came of it; after each publish, where that is wanted."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.errors import DqctlError, EnvironmentFault, ExitCode, NotPublished, worst
from dqctl.progress import Progress, silent
from dqctl.records import Row
from dqctl.report.words import counted
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import results, systems
from dqctl.services.export_observability import ObservabilityExporter
from dqctl.services.exporting import Doubtful, Exporter, Tally
from dqctl.settings import Settings
from dqctl.testgen import exclusive
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.exports import Doubt, Exports
from dqctl.testgen.reader import MetadataReader

OBSERVABILITY, OPENLINEAGE = "observability", "openlineage"
# For another one that exports, where nobody said how long.
_WAIT = 120.0


@dataclass(frozen=True)
class Selection:
    """Which of the runs that wait: of ``suites`` (names or patterns), ``runs`` (ids or beginnings), and those that
    ended at ``since`` or later. Nothing said, it is all of them.
    """

    suites: Sequence[str] = ()
    runs: Sequence[str] = ()
    since: datetime | None = None


EVERYTHING = Selection()


@dataclass(frozen=True)
class Destination:
    """Where to: ``observability`` or ``openlineage``, the latter also into a ``file``, and with values out of the
    data (``samples``) or without.
    """

    to: str
    file: Path | None = None
    samples: bool = False


@dataclass(frozen=True)
class ExportedRun:
    """What of one run was handed over, or would be: ``results`` in ``requests`` of together ``size`` bytes."""

    run_id: str
    kind: str
    name: str
    results: int
    requests: int
    size: int


@dataclass(frozen=True)
class ExportReport:
    """What an export did; with ``dry_run`` what it would do. ``doubts`` are requests that may have been taken.

    ``refused`` says of single results, by id, why the receiver does not take them. ``request`` is the body of the
    first request, where it was asked for.
    """

    to: str
    target: str
    dry_run: bool
    runs: tuple[ExportedRun, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[DqctlError, ...] = ()
    request: Any = None

    @property
    def exit_code(self) -> ExitCode:
        """The worst that happened."""
        return worst([error.exit_code for error in self.errors])


def hand_over(
    settings: Settings,
    runtime: Runtime,
    destination: Destination,
    selection: Selection = EVERYTHING,
    *,
    doubtful: Doubtful = Doubtful.LEAVE,
    wait: float,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> ExportReport:
    """Hand over what waits, the oldest run first; another export is waited for ``wait`` seconds.

    Raises ``Busy`` then, ``UsageError`` for what cannot be selected, ``MissingSetting`` where nothing says where
    to; what goes wrong later is in the report.
    """
    with (
        runtime.metadata() as connection,
        exclusive.alone(connection, exclusive.EXPORT, wait, clock),
    ):
        exports = Exports(connection, capabilities(runtime.version))
        exports.ensure()
        reader = MetadataReader(connection, exports.capabilities, settings.stack)
        exporter = _exporter(settings, destination, reader, exports, clock)
        exporter.prepare(doubtful, progress)
        return _deliver(exporter, destination, _chosen(runtime, reader, selection, exporter.waiting()), progress)


def hand_over_after(
    settings: Settings, runtime: Runtime, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> ExportReport | None:
    """After a publish: hand over everything that waits, where the settings say so (``export``); None where not.

    Raises no ``DqctlError``: what went wrong is in the report. As with publishing, something waits then, and the
    next command tries again.
    """
    if settings.export == "off":
        return None
    destination = Destination(settings.export)
    try:
        wait = max(settings.lock_timeout, _WAIT)
        return hand_over(settings, runtime, destination, wait=wait, progress=progress, clock=clock)
    except DqctlError as error:
        left = NotPublished(f"the results are not exported: {error.message}", f"{error.hint}; then: dqctl export")
    except psycopg.Error as error:
        left = NotPublished(
            f"the results are not exported: {error}".strip(), "see dqctl status; then: dqctl export"
        )
    return ExportReport(destination.to, "", dry_run=False, errors=(left,))


def preview(
    settings: Settings,
    destination: Destination,
    selection: Selection = EVERYTHING,
    *,
    show: bool = False,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> ExportReport:
    """What ``export`` would do; nothing is sent or changed. With ``show`` the first request is in the report."""
    runtime = open_runtime(settings, progress)
    with runtime.metadata() as connection:
        exports = Exports(connection, capabilities(runtime.version))
        reader = MetadataReader(connection, exports.capabilities, settings.stack)
        exporter = _exporter(settings, destination, reader, exports, clock, dry_run=True)
        runs, first = [], None
        for run in _chosen(runtime, reader, selection, exporter.waiting()):
            tally = Tally()
            for count, body in exporter.requests(run):
                tally.add(count, len(body))
                first = json.loads(body) if show and first is None else first
            runs.append(_exported(run, tally))
        return ExportReport(
            destination.to,
            exporter.target,
            dry_run=True,
            runs=tuple(runs),
            doubts=exporter.doubts(),
            request=first,
        )


def _exporter(
    settings: Settings,
    destination: Destination,
    reader: MetadataReader,
    exports: Exports,
    clock: Clock,
    *,
    dry_run: bool = False,
) -> Exporter:
    if destination.to == OPENLINEAGE:
        # Its library takes half a second to import, which an export to Observability need not wait for.
        from dqctl.services.export_lineage import LineageExporter

        return LineageExporter(settings, reader, exports, destination.file, samples=destination.samples)
    return ObservabilityExporter(settings, reader, exports, clock, dry_run=dry_run)


def _chosen(
    runtime: Runtime, reader: MetadataReader, selection: Selection, waiting: Collection[str]
) -> tuple[Row, ...]:
    wanted = {results.run_id(reader, run) for run in selection.runs} or set(waiting)
    suites = (
        {str(suite.id) for suite in systems.resolve_suites(runtime, selection.suites)}
        if selection.suites
        else None
    )
    with reader.stored(sorted(wanted & set(waiting))) as stored:
        found = [dict(each.run) for each in stored]
    return tuple(
        run
        for run in found
        if (suites is None or run["test_suite_id"] in suites)
        and (selection.since is None or (run["ended_at"] and _in_utc(run["ended_at"]) >= selection.since))
    )


def _deliver(
    exporter: Exporter, destination: Destination, chosen: Sequence[Row], progress: Progress
) -> ExportReport:
    done: list[ExportedRun] = []
    errors: list[DqctlError] = []
    for run in chosen:
        tally = Tally()
        try:
            exporter.deliver(run, tally, progress)
        except DqctlError as error:
            errors.append(_not_exported(error))
            break
        except psycopg.Error as error:
            errors.append(_broken(error))
            break
        finally:
            if tally.requests:
                done.append(_exported(run, tally))
    try:
        doubts = exporter.doubts()
    except psycopg.Error:  # said already
        doubts = ()
    if doubts:
        errors.append(_in_doubt(doubts))
    if exporter.refused:
        errors.append(_refused(exporter.refused))
    return ExportReport(
        destination.to,
        exporter.target,
        dry_run=False,
        runs=tuple(done),
        doubts=doubts,
        refused=dict(exporter.refused),
        errors=tuple(errors),
    )


def _exported(run: Row, tally: Tally) -> ExportedRun:
    name = f"{run['system']}/{run['test_suite'] or run['table_group']}"
    return ExportedRun(run["run_id"], run["kind"], name, tally.results, tally.requests, tally.size)


def _not_exported(error: DqctlError) -> DqctlError:
    """What is in the way of an export, where it is no wrong setting: the results wait, none of them is lost."""
    if not isinstance(error, EnvironmentFault):
        return error
    return NotPublished(
        f"the export has stopped: {error.message}",
        f"{error.hint}; what was not handed over waits in TestGen's database: run the same command again",
    )


def _broken(error: psycopg.Error) -> DqctlError:
    return EnvironmentFault(
        f"the metadata database broke the export off: {error}".strip(),
        "see dqctl status; what had left by then is known, so run the same command again",
    )


def _in_doubt(doubts: Sequence[Doubt]) -> DqctlError:
    count = counted(sum(len(doubt.results) for doubt in doubts), "result")
    runs = ", ".join(sorted({doubt.run_id[:8] for doubt in doubts}))
    return NotPublished(
        f"{count} in {counted(len(doubts), 'request')} may have been taken or not, of run {runs}: the answer was "
        f"lost, or dqctl was killed, {doubts[0].begun_at:%Y-%m-%d %H:%M:%S} UTC",
        "look for them in the receiver; then: dqctl export --assume-delivered, or --resend-doubtful",
    )


def _refused(refused: Mapping[str, str]) -> DqctlError:
    first, reason = next(iter(refused.items()))
    return NotPublished(
        f"the receiver does not take {counted(len(refused), 'result')}, the first {first}: {reason}",
        "everything else was handed over; dqctl --output json export has every reason, and tries them again",
    )


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
