"""What the sidecar takes of a machine while nothing happens, how soon a run is published, and a week in a minute.

``DQCTL_TEST_SECONDS`` is how long it is watched idle (60).
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.conftest import Record
from command_line import CommandLine
from dqctl.clock import SYSTEM_CLOCK
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import tables
from dqctl.services.controller.loop import Controller
from dqctl.settings import Settings, load
from local.conftest import _homes, copied_stack, environments_cache, install_version, seed  # noqa: F401 - fixtures
from publishing import running
from sidecar import Sidecar, within

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

IDLE_SECONDS = float(os.environ.get("DQCTL_TEST_SECONDS", "60"))
BEGIN = """
    INSERT INTO job_executions (id, job_key, kwargs, source, status, project_code, claimed_at, started_at)
    VALUES (%s, 'run-tests', '{}', 'cli', 'running', 'DEFAULT', now(), now())
"""
FINISH = "UPDATE job_executions SET status = 'completed', completed_at = now() WHERE id = %s"
# The shortest that a run of TestGen takes, its start included, and nothing at all.
_LASTS, _NOT_AT_ALL = 4.0, 0.0
_TICKS = os.sysconf("SC_CLK_TCK")
_WEEK, _STEP = 7 * 86400, 10


@pytest.fixture(scope="module")
def settings(
    copied_stack: Callable[[str], Settings],  # noqa: F811 - pytest's way
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    found = copied_stack("5.134.0")
    open_runtime(found, silent)
    with running(tmp_path_factory.mktemp("sidecar") / "workspace") as workspace:
        found = found.model_copy(update={"workspace": workspace})
        tables.init(found)
        yield found


def resident(pid: int) -> float:
    """Megabytes of memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def test_idle_it_takes_next_to_nothing_and_a_run_is_published_soon(settings: Settings, record: Record) -> None:
    one = Sidecar(CommandLine(settings.home, {"DQCTL_WORKSPACE": str(settings.workspace)})).settled()
    pid = one.process.pid
    try:
        time.sleep(5)
        before = processor_seconds(pid)
        end = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < end:  # scraped as Prometheus does by default
            time.sleep(min(15.0, max(0.0, end - time.monotonic())))
            one.get("/metrics")
        share = (processor_seconds(pid) - before) / IDLE_SECONDS
        memory = resident(pid)
        record("sidecar idle, scraped every 15 s: share of a core", share * 100, "%")
        record("sidecar idle: resident memory", memory, "MB")
        assert share < 0.02
        assert memory < 120
        for lasts, what in ((_LASTS, "a run's end"), (_NOT_AT_ALL, "the end of a run that was over at once")):
            seconds = sorted(_published_after(settings, lasts) for _ in range(5))
            record(
                f"{what} to its row in Databricks, the middle of 5",
                seconds[2],
                "s",
                slowest=round(seconds[-1], 2),
                load=round(os.getloadavg()[0], 1),
            )
            assert seconds[2] < 30
        started = time.monotonic()
        assert one.end().code == 0
        record("SIGTERM to its end", time.monotonic() - started, "s")
    finally:
        if one.process.is_running:
            one.end()


def _published_after(settings: Settings, lasts: float) -> float:
    """Seconds from the end of a run that somebody else has run for ``lasts`` seconds."""
    run = uuid4()
    runtime = open_runtime(settings, silent)
    with runtime.metadata() as connection:
        connection.execute(BEGIN, [run])
        if lasts:
            connection.commit()
            time.sleep(lasts)
        connection.execute(FINISH, [run])
    started = time.monotonic()

    def is_there() -> bool:
        with runtime.metadata() as connection:
            return bool(connection.execute("SELECT 1 FROM dqctl.published WHERE run_id = %s", [run]).fetchone())

    within(is_there)
    return time.monotonic() - started


def test_a_week_takes_no_more_memory_than_an_hour(
    settings: Settings, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQCTL_WORKSPACE", str(settings.workspace))
    passed = 0.0
    clock = replace(
        SYSTEM_CLOCK,
        now=lambda: SYSTEM_CLOCK.now() + timedelta(seconds=passed),
        monotonic=lambda: time.monotonic() + passed,
    )
    command = CommandLine(settings.home)
    # Each day one that ends well, and is told so.
    command("schedule", "add", "daily", "--at", "@daily", "--by", "controller", "--", "systems", "list")
    controller = Controller(lambda: load({"home": settings.home}), clock=clock)
    sizes = {}
    started = time.process_time()
    try:
        for turn in range(_WEEK // _STEP):
            controller.turn()
            assert controller.standing.is_leading
            passed += _STEP
            if turn in (360, _WEEK // _STEP - 1):
                gc.collect()
                sizes[turn] = resident(os.getpid())
    finally:
        controller.end()
        command("schedule", "remove", "daily")
    first, last = sizes.values()
    turning = controller.standing.turning()
    record("memory after a simulated week, beside that after an hour", last - first, "MB", first=first, last=last)
    record("turns of a simulated week", _WEEK / _STEP, "turns", rounds=turning.rounds, errors=dict(turning.errors))
    record("processor time of a turn", (time.process_time() - started) / (_WEEK // _STEP) * 1000, "ms")
    assert turning.rounds >= 6  # one when it begins, and one a day after the last one
    assert last - first < 8
