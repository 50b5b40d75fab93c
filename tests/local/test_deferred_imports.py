"""What TestGen does not use is not imported; what it does use is the real thing, in every known version."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.runtime.environments import environment
from dqctl.testgen import driver
from dqctl.testgen.capabilities import KNOWN

pytestmark = pytest.mark.local

HEAVY = (
    "numpy", "pandas", "pybars", "statsmodels.tsa.statespace.sarimax", "scipy.stats", "streamlit_authenticator",
)  # fmt: skip

USE = """
import json, sys
import testgen.__main__
heavy = json.loads(sys.argv[1])
imported = [name for name in heavy if name in sys.modules]

import pandas
from testgen.commands import test_thresholds_prediction
from testgen.common import encrypt, freshness_service
from testgen.common.notifications.test_run import TestRunEmailTemplate
from testgen.common.time_series_service import get_sarimax_forecast
days = pandas.date_range("2026-01-01", periods=60, freq="D")
history = pandas.DataFrame({"value": [day % 7 + day / 10 for day in range(60)]}, index=days)
loads = pandas.DataFrame({"result_signal": [0] * 60}, index=days)
forecast = get_sarimax_forecast(history, 3, False)
print(json.dumps({
    "imported": imported,
    "forecast": [round(value, 6) for value in forecast["mean"]],
    "schedule": str(freshness_service.infer_schedule(loads, "Europe/Berlin")),
    "quantile": round(test_thresholds_prediction.stats.norm.cdf(1.5), 9),
    "template": "{{" not in str(TestRunEmailTemplate().compiled_subject({"project_name": "shop"})),
    "hash": len(encrypt.encrypt_ui_password("a password")),
    "used": [name for name in heavy if name in sys.modules],
}))
"""


def use(python: Path, home: Path, prelude: str = "", program: str = USE) -> dict[str, object]:
    done = subprocess.run(
        [python, "-c", prelude + program, json.dumps(HEAVY)],
        env={"HOME": str(home), "TG_TESTGEN_HOME": str(home), "PATH": os.defpath, "TG_ANALYTICS": "no"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


# As a job starts: without TestGen's command, which sets Streamlit's log up.
SESSION = """
import json, logging, sys
logging.disable()  # Streamlit warns that it runs without a UI
import testgen.common.models
from testgen.common import version_service
from testgen.commands import exec_job
imported = "streamlit" in sys.modules
version_service._get_latest_version = lambda: "9.9.9"
found = version_service.get_version()
from testgen.ui.session import session
print(json.dumps({"imported": imported, "current": found.current, "kept": session.version is found}))
"""


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", ["5.134.0", "5.92.2"])
def test_a_job_does_without_the_uis_session_until_somebody_asks_for_it(
    version: str, install_version: Callable[[str], Path], tmp_path: Path
) -> None:
    python = environment(install_version(version), version).python
    stock = use(python, tmp_path, program=SESSION)
    deferred = use(python, tmp_path, driver.source("defer") + "\ndefer()\n", SESSION)
    assert stock.pop("imported"), "TestGen does not import it any more: nothing is to be put off"
    assert not deferred.pop("imported")
    assert deferred == stock
    assert stock["kept"]


@pytest.mark.thorough(but="5.134.0")
@pytest.mark.parametrize("version", [known.version for known in KNOWN])
def test_what_is_put_off_does_the_same_when_it_is_used(
    version: str, install_version: Callable[[str], Path], tmp_path: Path
) -> None:
    python = environment(install_version(version), version).python
    stock = use(python, tmp_path)
    deferred = use(python, tmp_path, driver.source("defer") + "\ndefer()\n")
    assert stock.pop("imported") == list(HEAVY), "TestGen does not import them any more: nothing is to be put off"
    assert deferred.pop("imported") == []
    assert deferred == stock
