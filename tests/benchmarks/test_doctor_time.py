"""How long ``doctor`` takes without a network: a person waits for it, and a monitor starts it every minute."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.conftest import Record

pytestmark = pytest.mark.benchmark

CEILING = 3.0
WallTime = Callable[[Sequence[str], int], float]
DQCTL = [sys.executable, "-m", "dqctl", "--home"]


def test_doctor_without_a_network(record: Record, wall_time: WallTime, tmp_path: Path) -> None:
    nowhere = {
        "DATABRICKS_HOST": "192.0.2.1",  # TEST-NET: nobody ever answers there
        "DATABRICKS_TOKEN": "dapi-of-a-benchmark",
        "DATABRICKS_WAREHOUSE_ID": "abc",
        "DQCTL_RUNTIME": "docker",
        "HTTPS_PROXY": "",
        "https_proxy": "",
    }
    variables = [f"{name}={value}" for name, value in nowhere.items()]
    doctor = [*DQCTL, str(tmp_path), "doctor"]
    failing = ["/bin/sh", "-c", 'env "$@"; test $? -eq 3', "sh", *variables, *doctor]
    seconds = wall_time(failing, 5)
    record("dqctl doctor, host away", seconds, "s", ceiling=CEILING)
    assert seconds < CEILING


def test_doctor_of_an_installed_stack(record: Record, wall_time: WallTime) -> None:
    home = os.environ.get("DQCTL_TEST_HOME")
    if not home:
        pytest.skip("DQCTL_TEST_HOME names no home with an installed stack that is up")
    seconds = wall_time([*DQCTL, home, "doctor"], 5)
    record("dqctl doctor, stack up", seconds, "s", ceiling=CEILING)
    assert seconds < CEILING
