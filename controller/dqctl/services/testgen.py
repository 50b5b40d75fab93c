"""Stock ``testgen`` commands inside the stack, the rows of their CSVs, and those rows in Databricks."""

import contextlib
import shlex
import textwrap
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import (
    Busy,
    DatabricksRefused,
    DqctlError,
    EnvironmentFault,
    NotPublished,
    OutputUnreadable,
    UsageError,
)
from dqctl.progress import Progress, silent
from dqctl.records import Row
from dqctl.redaction import holds_secret, redact, register
from dqctl.runtime import Runtime, open_runtime
from dqctl.services import state, tables
from dqctl.services.access import find_access
from dqctl.services.target import find_target
from dqctl.settings import Settings
from dqctl.stack import calls
from dqctl.stack.calls import Call
from dqctl.stack.paths import StackPaths
from dqctl.tables.loader import Loader
from dqctl.tables.sql import Place
from dqctl.testgen import contracts, jobs, stock
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.contracts import Contract, Field
from dqctl.testgen.ports import Completed, Line
from dqctl.testgen.stock import CommandLine
from dqctl.testgen.stored import stored_rows

# TestGen wraps what it prints in tables (--display) at so many characters, a key in the middle too.
_CELL = 80


@dataclass(frozen=True)
class Published:
    """Where the rows went, and how many there are."""

    target: str
    table: str
    rows: int


@dataclass(frozen=True)
class CallReport:
    """What one call of TestGen came to.

    ``exit_code`` is that of TestGen's process, 128+N when signal N ended it. ``rows`` are those of its CSV, by
    ``columns``, and ``csv`` is the file, all without secrets; None when it wrote none, or nobody asked for it.
    ``stored`` is how many of these rows TestGen has, where that can be told: some commands hide rows. ``error`` is
    what kept the rows from being published, or the state from being saved.
    """

    call: Call
    exit_code: int
    stdout: str = ""
    columns: tuple[Field, ...] | None = None
    rows: tuple[Row, ...] | None = None
    csv: bytes | None = field(default=None, repr=False)
    stored: int | None = None
    published: Published | None = None
    error: DqctlError | None = None


@dataclass(frozen=True)
class Wishes:
    """What is wanted of a call beside its own effect.

    ``rows`` are read where there are any; ``csv`` and ``publish`` want a command that has some. ``force`` runs a
    command that would hurt or wait for ever.
    """

    rows: bool = False
    csv: bool = False
    publish: bool = False
    force: bool = False


def call(
    settings: Settings,
    arguments: Sequence[str],
    wishes: Wishes,
    *,
    stdin: str = "",
    on_line: Line = silent,
    on_error_line: Line = silent,
    progress: Progress = silent,
    clock: Clock = SYSTEM_CLOCK,
) -> CallReport:
    """Run ``testgen ARGUMENTS``. ``on_line`` (``on_error_line``) gets each line of stdout (stderr) as it comes.

    Whatever TestGen's process ends with is reported, not raised. Raises ``UsageError`` for a command that would
    hurt or that has no rows to publish, ``OutputUnreadable`` when the CSV is not what this version writes,
    ``Busy`` when the command changes something and another one works, ``EnvironmentFault`` when ``job_timeout``
    passes.
    """
    line = stock.read(arguments)
    if not wishes.force:
        line.check(has_scheduler=settings.scheduler)
    if wishes.publish:
        _need_target(settings)
    deadline = Deadline(settings.job_timeout, clock)
    runtime = open_runtime(settings, progress)
    _register_keys(runtime)
    _refuse_secrets(arguments)
    expected = contracts.contract(line.command, capabilities(runtime.version))
    if (wishes.publish or wishes.csv) and expected is None:
        raise UsageError(
            f"testgen {line.command} of version {runtime.version} has no rows",
            f"these have: {', '.join(contracts.COMMANDS)}; what runs found is published by dqctl publish",
        )
    made = Call(str(uuid.uuid4()), line.command, tuple(map(redact, arguments)), clock.now(), runtime.version)
    with _held(runtime, line, settings, clock):
        completed = runtime.run(
            list(arguments),
            stdin=stdin,
            deadline=deadline,
            environment=find_access(settings).environment if line.needs_target else None,
            on_line=on_line,
            on_error_line=on_error_line,
            fetch=contracts.FILE_OUT if expected else None,
        )
        error = None
        if not (line.is_reading or line.hurts):
            error = state.save_after(settings, runtime, f"testgen {line.command}", progress=progress, clock=clock)
    code = completed.exit_code
    report = CallReport(made, code if code >= 0 else 128 - code, redact(completed.stdout), error=error)
    if expected is None or report.exit_code or not (wishes.rows or wishes.csv or wishes.publish):
        return report
    report = _with_rows(report, expected, completed, runtime.paths)
    with contextlib.ExitStack() as held:
        if wishes.publish and report.csv is not None:
            # TestGen has ended and what it wrote is gone: whatever kills dqctl from here on, this file has it.
            held.enter_context(calls.held(runtime.paths, made.call_id))
            calls.keep(runtime.paths, made, report.csv)
        with runtime.metadata() as connection:
            report = replace(report, stored=stored_rows(connection, line))
        return _with_published(report, settings, expected, progress, clock) if wishes.publish else report


def publish_kept(
    settings: Settings, call_id: str, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> CallReport:
    """Publish the rows of an earlier call that could not be; what was kept of it goes when it is done.

    Raises ``UsageError`` when nothing is kept under that id, ``Busy`` when another command publishes it; what kept
    it from being published is reported.
    """
    paths = StackPaths(settings.home, settings.stack)
    made, _ = calls.read_kept(paths, call_id)
    with calls.held(paths, made.call_id):
        return _publish_held(settings, paths, made.call_id, progress, clock)


def publish_waiting(
    settings: Settings, *, progress: Progress = silent, clock: Clock = SYSTEM_CLOCK
) -> tuple[CallReport, ...]:
    """``publish_kept`` of all calls that wait, the oldest first; what another command is at is left to it."""
    paths = StackPaths(settings.home, settings.stack)
    reports = []
    for call_id in calls.kept(paths):
        with contextlib.suppress(Busy), calls.held(paths, call_id):
            if call_id not in calls.kept(paths):
                calls.drop(paths, call_id)  # published meanwhile
                continue
            reports.append(_publish_held(settings, paths, call_id, progress, clock))
    return tuple(reports)


def _publish_held(
    settings: Settings, paths: StackPaths, call_id: str, progress: Progress, clock: Clock
) -> CallReport:
    made, content = calls.read_kept(paths, call_id)
    expected = contracts.contract(made.command, capabilities(made.testgen_version))
    if expected is None:
        raise UsageError(f"testgen {made.command} has no rows", f"remove {paths.root / 'calls'}")
    report = CallReport(made, 0, "", expected.shown, contracts.parse(expected, content), content)
    return _with_published(report, settings, expected, progress, clock)


def _refuse_secrets(arguments: Sequence[str]) -> None:
    for position, argument in enumerate(arguments, 1):
        if holds_secret(argument):
            raise UsageError(
                f"argument {position} of testgen holds a secret, and arguments can be read by every account",
                "leave it out; connections take their secrets from a systems file: dqctl apply -f FILE",
            )


def _need_target(settings: Settings) -> None:
    """Refuse before anything is run where nothing says where to publish; what is down may be up in a moment."""
    with contextlib.suppress(EnvironmentFault):
        find_target(settings)


def _register_keys(runtime: Runtime) -> None:
    """Have the projects' observability keys taken out of all output: ``list-projects`` prints them."""
    with runtime.metadata() as connection:
        found = connection.execute("SELECT to_jsonb(p) ->> 'observability_api_key' FROM projects p").fetchall()
    for key in (row[0] for row in found if row[0]):
        register(key, key.replace('"', '""'))
        register(*textwrap.wrap(key, _CELL), *textwrap.wrap(key, _CELL, break_on_hyphens=False))


@contextlib.contextmanager
def _held(runtime: Runtime, line: CommandLine, settings: Settings, clock: Clock) -> Iterator[None]:
    """Keep other work off the stack, unless the command only reads."""
    if line.is_reading:
        yield
        return
    with contextlib.ExitStack() as held:
        connection = held.enter_context(runtime.metadata())
        held.enter_context(
            jobs.exclusive(connection, settings.lock_timeout, f"dqctl testgen {line.command}", clock)
        )
        if line.hurts:
            held.close()  # nobody works, and what drops the database must not find it in use
        yield


def _with_rows(report: CallReport, expected: Contract, completed: Completed, paths: StackPaths) -> CallReport:
    content = completed.files.get(expected.file)
    if content is None:
        if "--help" in report.call.arguments:
            return report
        raise OutputUnreadable(
            f"testgen {expected.command} ended well and left no {expected.file}",
            "see what it said above, and in the stack's logs",
        )
    try:
        rows = contracts.parse(expected, content)
    except OutputUnreadable as unreadable:
        saved = calls.keep_unreadable(paths, report.call, content)
        raise OutputUnreadable(
            f"{unreadable.message} (TestGen {report.call.testgen_version})",
            f"its bytes are in {saved}: look for secrets in it, and report it",
            saved,
        ) from None
    clean = contracts.without_secrets(expected, content)
    return replace(report, columns=expected.shown, rows=rows, csv=clean)


def _with_published(
    report: CallReport, settings: Settings, expected: Contract, progress: Progress, clock: Clock
) -> CallReport:
    """Publish the rows, which are kept; where that cannot be they stay so, and the report has the reason."""
    if report.rows is None or report.csv is None:
        return report
    paths = StackPaths(settings.home, settings.stack)
    try:
        published = _publish(settings, report.call, expected, report.rows, progress, clock)
    except DqctlError as error:
        kept = calls.directory(paths, report.call.call_id) / "rows.csv"
        hint = f"the rows are safe in {kept}; then run: dqctl testgen --publish-kept {report.call.call_id}"
        if not isinstance(error, NotPublished):  # its hint is about runs
            hint = f"{error.hint}; {hint}".removeprefix("; ")
        if isinstance(error, DatabricksRefused):
            return replace(report, error=DatabricksRefused(error.message, hint))
        what = f"the rows of testgen {expected.command} could not be published: {error.message}"
        return replace(report, error=NotPublished(what, hint))
    calls.drop(paths, report.call.call_id)
    return replace(report, published=published)


def _publish(
    settings: Settings, made: Call, expected: Contract, rows: Sequence[Row], progress: Progress, clock: Clock
) -> Published:
    target = find_target(settings)
    table = expected.table
    key = {"stack": settings.stack, "call_id": made.call_id}
    of_call = {
        **key,
        "arguments": shlex.join(("testgen", *made.arguments)),
        "ran_at": made.ran_at,
        "testgen_version": made.testgen_version,
    }
    content = [{**row, **of_call, "row_number": number} for number, row in enumerate(rows, 1)]
    with Warehouse(target, clock, progress) as warehouse:
        place = Place(target.catalog, target.schema)
        ready = tables.ensure(warehouse, place, progress, (table,))
        progress(f"publishing {len(content)} rows to {table.name}")
        Loader(warehouse, place, ready.columns, volume_exists=ready.volume_exists).replace(table, content, key)
    return Published(target.name, table.name, len(content))
