"""Saving the state beside a million results: what one more run costs, and what writing changes down costs it."""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from dqctl.progress import silent
from dqctl.runtime.connection import be_patient
from dqctl.services.install import install
from dqctl.settings import load
from local.conftest import environments_cache, install_version, remove_home  # noqa: F401 - fixtures of that tier
from many_results import VERSION, make_history
from publishing import running
from state_keeping import Saving

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

RUNS, RESULTS = 500, 2000
SECONDS, STATEMENTS, PEAK_MB = 2.0, 4, 900

# One more run, as TestGen stores it: its results in one statement, then what it computes about them.
ONE_MORE = (
    "INSERT INTO testgen.test_runs SELECT (x).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object("
    "'id', %(run)s::uuid)) AS x FROM testgen.test_runs r WHERE r.id = %(model)s::uuid OFFSET 0) s",
    "INSERT INTO testgen.test_results SELECT (x).* FROM (SELECT jsonb_populate_record(t, jsonb_build_object("
    "'id', gen_random_uuid(), 'test_run_id', %(run)s::uuid)) AS x"
    " FROM testgen.test_results t WHERE t.test_run_id = %(model)s::uuid OFFSET 0) s",
    "UPDATE testgen.test_results SET dq_prevalence = random() WHERE test_run_id = %(run)s::uuid",
)


@pytest.fixture(scope="module")
def saving(environments_cache: Path) -> Iterator[Saving]:  # noqa: F811 - the fixture
    """A stack whose database has a million results, and a workspace."""
    with (
        tempfile.TemporaryDirectory(prefix="dq-") as directory,
        running(Path(directory) / "workspace") as workspace,
    ):
        home = Path(directory) / "home"
        home.mkdir(mode=0o711)
        Path(directory).chmod(0o711)
        (home / "environments").symlink_to(environments_cache)
        settings = load({"home": home, "state": "off"}, {})
        install(settings, version=VERSION, progress=silent)
        try:
            one = Saving.of(settings, workspace, "state")
            one.execute("DROP SCHEMA testgen CASCADE")
            with one.runtime.metadata() as connection:
                be_patient(connection, 900)
                make_history(connection, RUNS, RESULTS)
            yield one
        finally:
            remove_home(home)


def test_one_run_beside_a_million_results(saving: Saving, record: Record) -> None:
    started = time.perf_counter()
    first = saving.save()
    record("state-first-save", time.perf_counter() - started, "s", rows=first.rows)
    assert first.rows > RUNS * RESULTS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record("state-first-save-peak", peak, "MB", limit=PEAK_MB)
    seconds, saved_rows = [], []
    for _ in range(3):
        _run_more(saving)
        started = time.perf_counter()
        saved_rows.append(saving.save().rows)
        seconds.append(time.perf_counter() - started)
        assert len(saving.statements) <= STATEMENTS, [text[:60] for text in saving.statements]
    assert min(saved_rows) >= RESULTS
    written, plain = _with_and_without(saving, 10)
    record("state-writing-down", written / plain, "ratio", seconds=round(written, 3), without=round(plain, 3))
    record("state-save-after-one-run", min(seconds), "s", limit=SECONDS, statements=len(saving.statements))
    assert peak < PEAK_MB
    assert min(seconds) <= SECONDS


def _with_and_without(saving: Saving, times: int) -> tuple[float, float]:
    """Seconds of one more run with its changes written down and without, the best of some, taking turns."""
    seconds: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    for _ in range(times):
        for switch, found in seconds.items():
            for table in ("test_results", "test_runs"):
                saving.execute(f"ALTER TABLE testgen.{table} {switch} TRIGGER USER")
            found.append(_run_more(saving))
    return min(seconds["ENABLE"]), min(seconds["DISABLE"])


def _run_more(saving: Saving) -> float:
    """Seconds that the database takes for the rows of one more test run."""
    with saving.runtime.metadata() as connection:
        model, new = connection.execute(
            "SELECT (SELECT test_run_id FROM test_results LIMIT 1)::text, gen_random_uuid()::text"
        ).fetchone() or ("", "")
        started = time.perf_counter()
        for statement in ONE_MORE:
            connection.execute(statement.encode(), {"run": new, "model": model})
        connection.commit()
        return time.perf_counter() - started
