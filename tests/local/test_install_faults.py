"""Installing a stack in adverse conditions."""

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uv

import dqctl
from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services.install import install
from dqctl.services.status import status
from dqctl.settings import Settings, load

pytestmark = pytest.mark.local
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, or becomes another account")

# A process of its own, which kills itself, at once or some seconds after it says what it is told.
_INSTALL = """
import os, re, signal, sys, threading
from dqctl.settings import load
from dqctl.services.install import install

home, stack, moment, seconds = sys.argv[1:]

def progress(message):
    print(message, file=sys.stderr, flush=True)
    if re.search(moment, message):
        if float(seconds) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL)).start()

install(load({"home": home, "stack": stack}, {}), progress=progress)
"""
MAKING, STARTED = "making the database cluster", "PostgreSQL is up"
SET_UP, RESTORED = "setting up TestGen's metadata", "as an earlier set-up left it"
# Changes when a process is killed; printed, so that a failure can be repeated.
SEED = int(os.environ.get("DQCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))


def start_install(
    settings: Settings, moment: str = "no such moment", seconds: float = 0
) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", _INSTALL, str(settings.home), settings.stack, moment, str(seconds)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def kill_installs(settings: Settings, *moments: tuple[str, float]) -> None:
    """Start an install for each moment, in which it is killed: for certain where no second passes after it."""
    for moment, seconds in moments:
        with start_install(settings, moment, seconds) as process:
            _, said = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL or (seconds and process.returncode == 0), (moment, said)


def processes_of(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(home) in line:
                found.append(line)
    return found


def assert_nothing_goes_on(home: Path) -> None:
    """No set-up is at work: those of a killed install are killed by the kernel, which takes a moment."""
    end = time.monotonic() + 30
    while left := [line for line in processes_of(home) if "setup-system-db" in line or "initdb" in line]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def assert_completed_by_the_next(settings: Settings) -> None:
    install(settings, progress=silent)
    assert install(settings, progress=silent).changed == ()
    runtime = open_runtime(settings, silent)
    assert runtime.health().is_good
    with runtime.metadata() as connection:
        assert connection.execute("SELECT count(*) FROM test_types").fetchone() == (89,)
        databases = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    assert [name for (name,) in databases] == ["datakitchen", "postgres", "template0", "template1"]
    left = {path.name for path in runtime.paths.root.iterdir()}
    assert not [name for name in left if "making" in name or "password" in name]


def test_an_install_killed_at_any_moment_is_completed_by_the_next(settings: Settings, fresh_stack: object) -> None:
    del fresh_stack  # whose set-up is kept: this one takes what it left
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    settings = settings.model_copy(update={"stack": "killed"})
    kill_installs(
        settings,
        (MAKING, 0),
        (MAKING, chance.uniform(0.05, 0.3)),
        (f"{STARTED}|{RESTORED}", 0),
        (RESTORED, 0),
        (RESTORED, chance.uniform(0.05, 0.6)),
    )
    assert_nothing_goes_on(settings.home)
    assert_completed_by_the_next(settings)


@pytest.mark.thorough
def test_a_set_up_killed_or_interrupted_at_any_moment_is_done_anew_by_the_next(unprepared_home: Path) -> None:
    print(f"DQCTL_TEST_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    settings = load({"home": unprepared_home}, {})
    kill_installs(settings, (SET_UP, 0), (SET_UP, chance.uniform(0.5, 2)))
    assert_nothing_goes_on(unprepared_home)
    with start_install(settings) as process:
        assert process.stderr
        assert any(SET_UP in line for line in process.stderr)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert not [line for line in processes_of(unprepared_home) if "setup-system-db" in line]
    kill_installs(settings, (SET_UP, chance.uniform(2, 3)))
    assert_nothing_goes_on(unprepared_home)
    assert_completed_by_the_next(settings)


@pytest.fixture
def small_disk(home: Path) -> Iterator[Callable[[int], None]]:
    stacks = home / "stacks"
    stacks.mkdir(mode=0o711)

    def mount(megabytes: int) -> None:
        done = subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=711", "tmpfs", str(stacks)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    yield mount
    subprocess.run(["/bin/umount", "-l", str(stacks)], capture_output=True)


@needs_root
@pytest.mark.parametrize("megabytes", [10, 25, 42])
def test_a_full_disk_is_said_and_recovered_from(
    settings: Settings, small_disk: Callable[[int], None], megabytes: int
) -> None:
    assert_a_full_disk_is_said_and_recovered_from(settings, small_disk, megabytes)


@pytest.mark.thorough
@needs_root
def test_a_disk_that_is_full_in_the_middle_of_a_set_up_is_said_and_recovered_from(
    unprepared_home: Path, small_disk: Callable[[int], None]
) -> None:
    assert_a_full_disk_is_said_and_recovered_from(load({"home": unprepared_home}, {}), small_disk, 42)


def assert_a_full_disk_is_said_and_recovered_from(
    settings: Settings, small_disk: Callable[[int], None], megabytes: int
) -> None:
    small_disk(megabytes)
    with pytest.raises(EnvironmentFault, match=r"disk is full|No space left") as raised:
        install(settings, progress=silent)
    assert "free" in raised.value.hint
    assert not status(settings).installed
    stacks = settings.home / "stacks"
    subprocess.run(["/bin/mount", "-o", "remount,size=400m", str(stacks)], check=True)
    install(settings, progress=silent)
    assert status(settings).healthy


@needs_root
def test_a_disk_too_small_for_testgen_is_found_before_the_download() -> None:
    place = Path(tempfile.mkdtemp(prefix="dq-"))
    place.chmod(0o711)  # and so is what is above it: PostgreSQL's account has to reach its data
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=200m,mode=711", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        with pytest.raises(EnvironmentFault, match=r"not enough disk space: \d+ MB are free") as raised:
            install(load({"home": place}, {}), progress=silent)
        assert str(place) in raised.value.hint
    finally:
        subprocess.run(["/bin/umount", str(place)], check=True)
        place.rmdir()


_PREPARE = """
import sys
from pathlib import Path
from dqctl.runtime.environments import ensure_environment
ensure_environment(Path(sys.argv[1]), "5.134.0", log=Path(sys.argv[1]) / "install.log", progress=print)
"""

_AS_NOBODY = """
import json, os, sys
from dataclasses import asdict
from dqctl.clock import Deadline
from dqctl.settings import load
from dqctl.runtime import open_runtime
from dqctl.services.install import install
from dqctl.services.uninstall import uninstall
settings = load({"home": sys.argv[1]}, {})
first = install(settings, progress=lambda line: None)
again = install(settings, progress=lambda line: None)
runtime = open_runtime(settings, lambda line: None)
done = runtime.run(["list-projects"], deadline=Deadline(120))
pid = runtime.postgres.postmaster().pid
owner = os.stat(f"/proc/{pid}").st_uid
os.kill(pid, 9)
recovered = open_runtime(settings, lambda line: None).health().is_good
uninstall(settings, purge=False, progress=lambda line: None)
print(json.dumps([first.postgres_account, list(again.changed), done.exit_code, owner, recovered]))
"""


@needs_root
def test_a_plain_user_installs_and_works_without_root(environments_cache: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    if not python:
        pytest.skip(f"no Python {version} that a plain user can run")
    nobody = pwd.getpwnam("nobody")
    environment = _inherited() | {
        "PYTHONPATH": f"{Path(dqctl.__file__).parents[1]}:{Path(uv.__file__).parents[1]}"
    }
    # TestGen on a Python that the account can run; its own install brings PostgreSQL.
    programs = environments_cache.parent / "plain"
    prepare = [python, "-c", _PREPARE, str(programs)]
    subprocess.run(prepare, env=environment | {"HOME": str(Path.home())}, check=True, timeout=280)
    with tempfile.TemporaryDirectory(prefix="dq-") as name:
        home = Path(name)
        (home / "environments").mkdir()
        (home / "environments" / "testgen-5.134.0").symlink_to(programs / "testgen-5.134.0")
        for directory in (home, home / "environments"):
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        done = subprocess.run(
            [python, "-c", _AS_NOBODY, str(home)],
            env=environment,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [None, [], 0, nobody.pw_uid, True]


def _inherited() -> dict[str, str]:
    """What a machine needs to reach its package index, and no HOME: a system account has none."""
    wanted = ("PATH", "UV_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy")
    return {name: value for name, value in os.environ.items() if name.startswith(wanted)}
