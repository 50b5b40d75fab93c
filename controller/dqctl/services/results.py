"""Reading results back out of the stack: runs, and one run with everything that belongs to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dqctl.errors import UsageError
from dqctl.records import Row, RunContent
from dqctl.report.history import MOST, Past
from dqctl.testgen.capabilities import capabilities
from dqctl.testgen.ports import Runtime
from dqctl.testgen.reader import MetadataReader

LATEST = "latest"


@contextmanager
def open_reader(runtime: Runtime, stack: str) -> Iterator[MetadataReader]:
    """A reader of the stack's metadata, for as long as the block lasts."""
    with runtime.metadata() as connection:
        yield MetadataReader(connection, capabilities(runtime.version), stack)


def runs(reader: MetadataReader, kind: str = "", suite: str = "", limit: int = 50) -> tuple[Row, ...]:
    """Rows of ``dq_runs``, the newest first; ``suite`` is a name or the beginning of an id."""
    return reader.headers(test_suite_id=suite_id(reader, suite) if suite else "", kind=kind, limit=limit)


def run(reader: MetadataReader, wanted: str = LATEST, kind: str = "") -> RunContent:
    """One run with all its rows; see ``run_id``."""
    return reader.content(run_id(reader, wanted, kind))


def run_id(reader: MetadataReader, wanted: str = LATEST, kind: str = "") -> str:
    """The id of one run. ``wanted`` is an id, a beginning that only one run has, or ``latest``.

    Raises ``UsageError`` when there is no such run, or more than one.
    """
    by_id = "" if wanted == LATEST else wanted
    found = reader.headers(run_id=by_id, kind=kind, limit=2 if by_id else 1)
    what = f"{kind} run" if kind else "run"
    if not found:
        if by_id:
            raise UsageError(f"there is no finished {what} {wanted}", "see dqctl runs")
        raise UsageError(
            f"no {what} has finished yet", "start with: dqctl profile SYSTEM; then generate, run-tests"
        )
    if len(found) > 1:
        raise UsageError(f"more than one {what} begins with {wanted}", "write more of the id; see dqctl runs")
    return str(found[0]["run_id"])


# What the runs of a kind have to have in common to be one history: the column of dq_runs.
_HISTORY_OF = {"test": "test_suite_id", "profile": "table_groups_id"}


def history(reader: MetadataReader, content: RunContent, limit: int = 20) -> tuple[Row, ...]:
    """Headers of the test runs of the same suite (of the profiles of the same table group) up to this one.

    The newest first, this one included. A generation has no history.
    """
    run = content.run
    column = _HISTORY_OF.get(run["kind"], "")
    if not column or run[column] is None:
        return ()
    return reader.headers(**{column: run[column]}, kind=run["kind"], until=run["ended_at"], limit=limit)


def past(reader: MetadataReader, content: RunContent, history: Sequence[Row]) -> Past:
    """What the tests of a test run came to in the newest of the completed runs before it.

    ``history`` has those runs, the oldest first; see the function of that name.
    """
    run = content.run
    if run["kind"] != "test":
        return Past()
    completed = [row["run_id"] for row in history if row["status"] == "completed"]
    earlier = [run_id for run_id in completed if run_id != run["run_id"]][-MOST:]
    return Past(tuple(earlier), reader.outcomes(earlier))


def before(reader: MetadataReader, wanted: str) -> str:
    """The id of the completed run of a suite before a test run of it; ``UsageError`` when it is the first."""
    content = run(reader, wanted, "test")
    earlier = [row for row in history(reader, content) if row["run_id"] != content.run["run_id"]]
    found = next((row["run_id"] for row in earlier if row["status"] == "completed"), None)
    if found is None:
        here = content.run["run_id"]
        raise UsageError(f"no run of the suite completed before {here}", "see dqctl runs --suite SUITE")
    return str(found)


def definitions(reader: MetadataReader, suite: str) -> tuple[Row, ...]:
    """The test definitions of a suite as they are now, by name or beginning of its id."""
    return reader.definitions(suite_id(reader, suite))


def judgements(reader: MetadataReader, suite: str) -> dict[str, dict[str, str | None]]:
    """``severity`` and ``dimension`` of a suite's tests, by the definition's id."""
    return {
        row["id"]: {"severity": row["severity"], "dimension": row["dq_dimension"]}
        for row in reader.judgements(suite_id(reader, suite))
    }


def suite_id(reader: MetadataReader, suite: str) -> str:
    """The id of the suite called ``suite``, or whose id begins so; ``UsageError`` for none or several."""
    found = reader.suites(suite)
    if not found:
        raise UsageError(f"there is no test suite {suite!r}", "see dqctl systems list")
    if len(found) > 1:
        which = ", ".join(f"{row['system']}: {row['test_suite']} ({row['test_suite_id']})" for row in found)
        raise UsageError(f"more than one test suite is called {suite!r}: {which}", "name it by its id")
    return str(found[0]["test_suite_id"])
