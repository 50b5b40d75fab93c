"""What goes wrong around containers: nothing of a job is left, nothing stored is lost, errors say what to do."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from command_line import CommandLine
from container_stacks import POSTGRES, TESTGEN, container_stack, containers, left_over
from dqctl.clock import Deadline
from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import Runtime, open_runtime
from dqctl.stack.images import read_images, write_images
from dqctl.stack.paths import StackPaths
from dqctl.stack.secrets import ensure_secrets

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

STACK = "faults"
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))


@pytest.fixture(scope="module")
def run(images: object) -> Iterator[CommandLine]:
    with container_stack(STACK) as run:
        run("install", timeout=400)
        yield run


@pytest.fixture
def runtime(run: CommandLine) -> Runtime:
    return open_runtime(run.settings, silent)


def processes_inside() -> list[str]:
    """Command lines of what runs in the engine's container besides its shell."""
    return [row[-1] for row in containers(STACK)["engine"].top()["Processes"]]


def is_quiet(seconds: float) -> bool:
    """Whether nothing of a call is left within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any("sleep(313)" in line for line in processes_inside()):
            return True
        time.sleep(0.2)
    return False


def test_a_program_that_ignores_sigterm_is_killed(runtime: Runtime) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(313)"
    started = time.monotonic()
    with pytest.raises(EnvironmentFault):
        runtime.run(["-c", program], program="python", deadline=Deadline(3))
    assert time.monotonic() - started < 100
    assert is_quiet(1)


def test_what_is_killed_under_a_call_ends_it(run: CommandLine, runtime: Runtime) -> None:
    program = "import time; print('begun', flush=True); time.sleep(313)"
    engine = containers(STACK)["engine"]
    started = time.monotonic()
    done = runtime.run(["-c", program], program="python", deadline=Deadline(120), on_line=lambda _: engine.kill())
    assert done.exit_code != 0
    assert time.monotonic() - started < 100
    assert run.document("status")["services"]["engine"] != "running"
    run("systems", "list")
    assert run.document("status")["healthy"]


def test_containers_that_somebody_removed_come_back(run: CommandLine) -> None:
    for container in containers(STACK).values():
        container.remove(force=True, v=True)
    assert "missing" in run.document("status")["services"].values()
    assert run.document("install")["changed"]
    assert run.document("status")["healthy"]


def test_a_pinned_image_that_changed_is_refused(run: CommandLine) -> None:
    paths = StackPaths(run.home, STACK)
    images = read_images(paths)
    assert images is not None
    write_images(
        paths, images.model_copy(update={"engine": images.engine.model_copy(update={"id": "sha256:" + "0" * 64})})
    )
    try:
        said = run("install", "--pull", "never", code=3)
        assert f"image {TESTGEN} is not here" in said.err
    finally:
        write_images(paths, images)
    assert run.document("install")["changed"] == []


def test_an_image_that_is_nowhere_is_said_with_what_to_do(images: object) -> None:
    with container_stack("nowhere") as run:
        said = run("install", "--image", "example.invalid/none:1", code=3)
        assert "image example.invalid/none:1 is not here, and cannot be pulled" in said.err
        assert "docker load" in said.err
        said = run("install", "--image", POSTGRES, code=2)
        assert f"{POSTGRES} is no image of TestGen" in said.err
        assert containers("nowhere") == {}


def test_a_port_that_is_taken_is_said_and_a_free_one_is_published_on_loopback_only(run: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = run("install", "--publish-port", port, code=3)
        assert str(port) in said.err
    assert run.document("install", "--publish-port", port)["postgres_port"] == port
    bound = containers(STACK)["postgres"].attrs["NetworkSettings"]["Ports"]["5432/tcp"]
    assert [each["HostIp"] for each in bound] == ["127.0.0.1"]


@pytest.mark.thorough
def test_an_install_killed_at_any_moment_is_completed_by_the_next_and_purged_it_leaves_nothing(
    run: CommandLine,
) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - so that a failure can be repeated
    moment = random.Random(SEED)  # noqa: S311 - when to kill, no secret
    with container_stack("killed") as second:
        for seconds in (0.6, moment.uniform(1, 4), moment.uniform(3, 9)):
            process = second.start("install")
            time.sleep(seconds)
            process.signal(signal.SIGKILL)
            process.end(60)
        second("install", timeout=400)
        assert second.document("status")["healthy"]
        assert second.document("install")["changed"] == []
        # Two stacks on one host know nothing of each other.
        theirs, ours = containers("killed"), containers(STACK)
        assert not {each.id for each in theirs.values()} & {each.id for each in ours.values()}
        networks = {each.name for each in docker.from_env(version="auto").networks.list()}
        assert {"dqctl-killed_default", f"dqctl-{STACK}_default"} <= networks
        shutil.rmtree(StackPaths(second.home, "killed").secrets)  # what is lost keeps nobody from a purge
        second("uninstall", "--purge")
        assert left_over("killed") == []
        assert not StackPaths(second.home, "killed").root.exists()
        assert second.document("uninstall", "--purge")["changed"] == []
        assert run.document("status")["healthy"]
        assert Path(run.home / "stacks" / STACK).exists()


def test_data_without_its_secrets_is_left_alone_and_comes_back_with_them(run: CommandLine) -> None:
    paths = StackPaths(run.home, STACK)
    backup = paths.root.with_name("backup")
    paths.root.rename(backup)
    try:
        for arguments in (["install"], ["install", "--dry-run"], ["install"]):
            said = run(*arguments, code=3)
            assert f"the engine has the data of stack '{STACK}'" in said.err
            assert "postgres_password" in said.err
            assert f"docker compose -p dqctl-{STACK} down --volumes" in said.err
    finally:
        shutil.rmtree(paths.root, ignore_errors=True)
        backup.rename(paths.root)
    assert run.document("install")["changed"] == []
    assert run.document("status")["healthy"]


def test_a_stack_of_the_same_name_in_another_home_is_left_alone(run: CommandLine, tmp_path: Path) -> None:
    before = {service: each.id for service, each in containers(STACK).items()}
    other = CommandLine(tmp_path, run.environment)
    assert f"has a stack '{STACK}' already: that of {run.home}" in other("install", code=2).err
    assert {service: each.id for service, each in containers(STACK).items()} == before
    other("uninstall", "--purge")
    assert {service: each.id for service, each in containers(STACK).items()} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory of 42 MB; ``resize`` it as you like."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=42m,mode=1777", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["/bin/umount", "-l", str(disk)], capture_output=True)


def resize(disk: Path, megabytes: int) -> None:
    subprocess.run(["/bin/mount", "-o", f"remount,size={megabytes}m", str(disk)], check=True)


def test_a_full_disk_under_postgresql_is_said_and_nothing_stored_is_lost(images: object, small_disk: Path) -> None:
    with container_stack("full") as run:
        paths = StackPaths(run.home, "full")
        ensure_secrets(paths)  # they belong to the volume
        docker.from_env(version="auto").volumes.create(
            "dqctl-full_metadata",
            driver_opts={"type": "none", "o": "bind", "device": str(small_disk)},
            labels={
                "com.docker.compose.project": "dqctl-full",
                "com.docker.compose.volume": "metadata",
                "dqctl.root": str(paths.root),
            },
        )
        assert re.search("disk is full|no space", run("install", code=3, timeout=400).err)
        resize(small_disk, 600)
        run("install", timeout=400)
        with open_runtime(run.settings, silent).metadata() as connection:
            connection.execute("CREATE TABLE public.kept AS SELECT 4711 AS id")
        resize(small_disk, (shutil.disk_usage(small_disk).used >> 20) + 25)
        filler = "SELECT repeat(md5(g::text), 50) FROM generate_series(1, 100000) g"
        with (
            pytest.raises(EnvironmentFault, match=r"has no space|disk is full|went away"),
            open_runtime(run.settings, silent).metadata() as connection,
        ):
            connection.execute(f"CREATE TABLE public.filler AS {filler}")
        resize(small_disk, 600)
        with open_runtime(run.settings, silent).metadata() as connection:
            assert connection.execute("SELECT id FROM public.kept").fetchone() == (4711,)
        assert run.document("status")["healthy"]
