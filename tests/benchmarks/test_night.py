"""What a night of many small suites costs beside TestGen's own time: everything that dqctl does is to be a tenth.

``DQCTL_TEST_SUITES=200`` for the whole night; 20 suites by default.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services import work
from dqctl.services.apply import apply
from dqctl.services.work import Limits
from dqctl.settings import Settings
from local.conftest import _homes, copied_stack, environments_cache, install_version, seed  # noqa: F401 - fixtures
from publishing import running
from target_database import PASSWORD, Target

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

SUITES = int(os.environ.get("DQCTL_TEST_SUITES", "20"))
DEFINE = """
    INSERT INTO test_definitions (table_groups_id, test_suite_id, test_type, schema_name, table_name, skip_errors,
                                  custom_query, test_active, lock_refresh)
    SELECT s.table_groups_id, s.id, 'CUSTOM', 'sales', 'orders', 0,
           'SELECT 1 FROM sales.orders WHERE order_id < 0', 'Y', 'Y'
    FROM test_suites s, generate_series(1, 5)
"""


class TestGensTime(logging.Handler):
    """Adds up what calls of TestGen's Python took, which the driver logs."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seconds = 0.0
        self.calls = 0

    def emit(self, entry: logging.LogRecord) -> None:
        if str(entry.msg).startswith("driver ended") and isinstance(entry.args, tuple):
            self.seconds += float(str(entry.args[1]))
            self.calls += 1


def test_a_night_beside_testgens_own_time(
    copied_stack: Callable[[str], Settings],  # noqa: F811 - pytest's way
    tmp_path: Path,
    record: Record,
) -> None:
    settings = copied_stack("5.134.0")
    target = Target.make(open_runtime(settings, silent))
    more = "".join(f"              - name: suite-{number}\n" for number in range(1, SUITES))
    file = target.write_systems(tmp_path, "sales", more=more)
    apply(target.runtime, file, access=None, environment={"PROBE_PASSWORD": PASSWORD}, deadline=Deadline(300))
    with target.runtime.metadata() as connection:
        connection.execute(DEFINE)
    with running(tmp_path / "workspace") as workspace:
        used = settings.model_copy(update={"workspace": workspace, "state": "auto"})
        work.run_tests(used, ("sales-suite",), progress=silent)  # the tables, the first state
        for at_once in (1, 2):
            _night(used, at_once, record)


def _night(settings: Settings, at_once: int, record: Record) -> None:
    heard = TestGensTime()
    log = logging.getLogger("dqctl.testgen.driver")
    log.addHandler(heard)
    log.setLevel(logging.DEBUG)
    started = time.monotonic()
    try:
        done = work.run_tests(settings, everything=True, limits=Limits(at_once), progress=silent)
    finally:
        log.removeHandler(heard)
        log.setLevel(logging.NOTSET)
    seconds = time.monotonic() - started
    assert done.errors == ()
    assert len(done.reports) == SUITES
    # Side by side TestGen's own time passes more than once at a time.
    own = heard.seconds / at_once
    name = f"night of {SUITES} suites, {at_once} at once"
    context = {"testgen": round(own, 2), "starts": heard.calls, "share": round((seconds - own) / own, 3)}
    record(name, seconds, "s", **context)
    # Publishing and saving cost about the same however many suites there were.
    assert (seconds - own) / own < (0.1 if SUITES >= 200 else 0.5)
