"""How long an ephemeral stack takes: to its first test result, down, four at once; what fifty leave behind."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.conftest import Record
from ci_processes import left_of
from command_line import CommandLine, Process, write_systems
from container_stacks import POSTGRES, TESTGEN
from dqctl.runtime import accounts
from tiers import cache

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

FIRST_RESULT = {"local": 6.0, "docker": 8.0}
DOWN = 1.5
TIMES = 3
CYCLES = 50
IMAGES = {"DQCTL_IMAGE": TESTGEN, "DQCTL_POSTGRES_IMAGE": POSTGRES}
PROGRAMS = {"local": "environments", "docker": "containers"}


@contextmanager
def home_with_programs(runtime: str) -> Iterator[CommandLine]:
    home = Path(tempfile.mkdtemp(prefix="dq-"))
    programs = cache() / PROGRAMS[runtime]
    programs.mkdir(parents=True, exist_ok=True)
    (home / "environments").symlink_to(programs)
    accounts.open_way(home, home / "environments" / "bin")
    home.chmod(0o711)
    # As installed: with bytecode, which users have.
    environment = {"DQCTL_RUNTIME": runtime, "PYTHONDONTWRITEBYTECODE": "", **IMAGES}
    try:
        yield CommandLine(home, environment)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def shop(tmp_path: Path) -> list[object]:
    folder = tmp_path / "seeds" / "shop"
    folder.mkdir(parents=True)
    rows = "".join(f"{n},{n % 7},{n / 4},2024-01-{1 + n % 28:02}\n" for n in range(1000))
    (folder / "orders.csv").write_text(f"order_id,customer_id,amount,ordered_on\n{rows}")
    return ["-f", write_systems(tmp_path), "--seed", tmp_path / "seeds"]


def until(process: Process, text: str) -> float:
    started = time.monotonic()
    assert process.hear(text, 300), process.end()
    return time.monotonic() - started


@pytest.mark.parametrize("runtime", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_up_to_the_first_result_and_down(runtime: str, shop: list[object], record: Record) -> None:
    with home_with_programs(runtime) as run:
        run("ci", "run", *shop, timeout=900)  # the first one fills what is kept
        firsts, downs, wholes = [], [], []
        for _ in range(TIMES):
            started = time.monotonic()
            process = run.start("ci", "run", *shop)
            until(process, "publishing 3 finished runs")  # which there are from then on
            firsts.append(time.monotonic() - started)
            assert process.end().code == 0
            wholes.append(time.monotonic() - started)
            name = run.document("ci", "up")["name"]
            started = time.monotonic()
            assert run.start("ci", "down", name).end().code == 0
            downs.append(time.monotonic() - started)
        assert left_of(run.home) == []
    record(f"ci run, {runtime}: up to the first test result", min(firsts), "s", ceiling=FIRST_RESULT[runtime])
    record(f"ci run, {runtime}: the whole", min(wholes), "s")
    record(f"ci down, {runtime}", min(downs), "s", ceiling=DOWN)
    assert min(firsts) < FIRST_RESULT[runtime]
    assert min(downs) < DOWN


def test_four_at_once_all_succeed(shop: list[object], record: Record) -> None:
    with home_with_programs("local") as run:
        run("ci", "run", *shop, timeout=900)
        started = time.monotonic()
        together = [run.start("ci", "run", *shop) for _ in range(4)]
        said = [each.end(900) for each in together]
        record("ci run, local: four at once", time.monotonic() - started, "s")
        assert [each.code for each in said] == [0] * 4, said
        assert left_of(run.home) == []


@pytest.mark.parametrize("runtime", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_fifty_cycles_leave_nothing(runtime: str, record: Record) -> None:
    cycles = CYCLES if runtime == "local" else CYCLES // 5
    with home_with_programs(runtime) as run:
        run("ci", "run", "--", "true", timeout=900)
        before = counted()
        started = time.monotonic()
        for _ in range(cycles):
            run("ci", "run", "--", "true", timeout=900)
        record(f"ci run, {runtime}: one of {cycles} empty cycles", (time.monotonic() - started) / cycles, "s")
        assert left_of(run.home) == []
        after = counted()
        more = {kind: found - before[kind] for kind, found in after.items()}
        record(f"ci run, {runtime}: left after {cycles} cycles", sum(map(len, more.values())), "things")
        assert more == dict.fromkeys(after, frozenset())


def counted() -> dict[str, frozenset[str]]:
    """What the engine has of ephemeral stacks, by kind, whoever made it."""
    if not shutil.which("docker"):
        return {}
    questions = {"container": ["ps", "--all"], "network": ["network", "ls"], "volume": ["volume", "ls"]}
    return {kind: _listed(*question) for kind, question in questions.items()}


def _listed(*question: str) -> frozenset[str]:
    command = ["docker", *question, "--quiet", "--filter", "label=dqctl.ci"]
    return frozenset(
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    )
