"""Real TestGen and PostgreSQL, installed once a machine; a stack, set up once a run and copied from then on."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import accounts, environments, postgres_programs
from dqctl.runtime.local import LocalRuntime
from dqctl.services.install import install
from dqctl.settings import Settings, load
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from tiers import unavailable

DEFAULT_VERSION = "5.134.0"


def _cache() -> Path:
    if own := os.environ.get("DQCTL_TEST_CACHE"):
        return Path(own).absolute()
    # The account that PostgreSQL runs as cannot look into root's home.
    return Path("/var/cache/dqctl-tests") if os.geteuid() == 0 else Path("~/.cache/dqctl-tests").expanduser()


@pytest.fixture(scope="session")
def install_version() -> Callable[[str], Path]:
    """Put a version of TestGen into the cache that all test runs of this machine share; its ``environments``."""

    def ensure(version: str) -> Path:
        cache = _cache()
        programs = cache / "environments"
        programs.mkdir(parents=True, exist_ok=True)
        accounts.open_way(cache, programs / "bin")
        log = cache / "install.log"
        try:
            postgres_programs.ensure_programs(programs, log=log, progress=silent)
            environments.ensure_environment(programs, version, log=log, progress=silent)
        except EnvironmentFault as fault:
            unavailable("local", f"{fault.message} ({fault.hint})")
        return programs

    return ensure


@pytest.fixture(scope="session")
def environments_cache(install_version: Callable[[str], Path]) -> Path:
    """Directory with the programs that stacks need; a home links to it."""
    return install_version(DEFAULT_VERSION)


@pytest.fixture(scope="session")
def _homes(environments_cache: Path) -> Iterator[Callable[[], Path]]:
    made: list[Path] = []

    def make() -> Path:
        # Not below pytest's own directory, which is closed to the account that PostgreSQL runs as.
        home = Path(tempfile.mkdtemp(prefix="dq-"))
        home.chmod(0o711)
        (home / "environments").symlink_to(environments_cache)
        made.append(home)
        return home

    yield make
    for home in made:
        if home.exists():
            remove_home(home)


def remove_home(home: Path) -> None:
    for stack in (home / "stacks").glob("*"):
        paths = StackPaths(home, stack.name)
        if record := read_record(paths):
            LocalRuntime(paths, record, silent).down()
    shutil.rmtree(home)


@pytest.fixture
def home(_homes: Callable[[], Path]) -> Iterator[Path]:
    """A fresh home without a stack, its programs at hand; stopped and removed afterwards."""
    home = _homes()
    yield home
    remove_home(home)


@pytest.fixture(scope="module")
def module_home(_homes: Callable[[], Path]) -> Iterator[Path]:
    """A fresh home without a stack, for all tests of one module."""
    home = _homes()
    yield home
    remove_home(home)


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of a stack that is not installed yet."""
    return load({"home": home}, {})


@pytest.fixture(scope="session")
def _seed(_homes: Callable[[], Path]) -> Path:
    home = _homes()
    seeded = load({"home": home}, {})
    install(seeded, progress=silent)
    paths = StackPaths(home, seeded.stack)
    record = read_record(paths)
    assert record
    LocalRuntime(paths, record, silent).down()
    return home


def _copy(seed: Path, home: Path) -> Settings:
    shutil.copytree(seed / "stacks", home / "stacks", symlinks=True)
    if os.geteuid() == 0:  # copytree does not keep owners
        for original in (seed / "stacks").rglob("*"):
            status = original.lstat()
            os.chown(home / original.relative_to(seed), status.st_uid, status.st_gid, follow_symlinks=False)
    return load({"home": home}, {})


@pytest.fixture(scope="module")
def installed_stack(_seed: Path, _homes: Callable[[], Path]) -> Settings:
    """Settings of an installed stack that the tests of one module share, its database as fresh as after install.

    PostgreSQL is down until the first ``open_runtime``.
    """
    return _copy(_seed, _homes())


@pytest.fixture
def fresh_stack(_seed: Path, home: Path) -> Settings:
    """Settings of an installed stack that one test has for itself, and may break."""
    return _copy(_seed, home)
