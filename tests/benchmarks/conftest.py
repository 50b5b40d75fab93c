"""Measuring: run on purpose only, ``python -m pytest -m benchmark``; each number is one JSON line on stdout."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from dqctl.runtime.environments import environment
from dqctl.settings import default_home

TESTGEN = "5.134.0"


class Record(Protocol):
    def __call__(self, name: str, value: float, unit: str, **context: object) -> None: ...


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # A hook of this directory's conftest: no other tests pass here. Before fixtures, which are expensive.
    if "benchmark" not in str(item.config.option.markexpr):
        pytest.skip("measures: run it with -m benchmark")


@pytest.fixture
def record(capsys: pytest.CaptureFixture[str]) -> Record:
    """Print a number as one JSON line, past pytest's capturing."""

    def write(name: str, value: float, unit: str, **context: object) -> None:
        line = {"name": name, "value": round(value, 4), "unit": unit, "processors": os.cpu_count(), **context}
        with capsys.disabled():
            sys.stdout.write(f"\n{json.dumps(line)}")

    return write


@pytest.fixture(scope="session")
def wall_time() -> Callable[[Sequence[str], int], float]:
    """Seconds of ``argv`` from start to end: the best of some times, since other work only ever adds to it.

    One start before them fills the disk cache and leaves bytecode behind, as an installation does.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def measure(argv: Sequence[str], times: int) -> float:
        seconds = []
        for _ in range(times + 1):
            started = time.perf_counter()
            subprocess.run(list(argv), env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
            seconds.append(time.perf_counter() - started)
        return min(seconds[1:])

    return measure


@pytest.fixture(scope="session")
def testgen_program() -> Path:
    """TestGen's own ``testgen`` of an installed stack, or the one that ``DQCTL_TEST_TESTGEN`` names."""
    if own := os.environ.get("DQCTL_TEST_TESTGEN"):
        return Path(own)
    caches = (
        os.environ.get("DQCTL_TEST_CACHE"),
        "/var/cache/dqctl-tests",
        Path("~/.cache/dqctl-tests").expanduser(),
    )
    for home in (default_home(), *(Path(cache) for cache in caches if cache)):
        program = environment(home / "environments", TESTGEN).path / "bin" / "testgen"
        if program.exists():
            return program
    pytest.skip(f"TestGen {TESTGEN} is not installed: dqctl install --runtime local, or set DQCTL_TEST_TESTGEN")
