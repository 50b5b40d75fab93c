"""Real TestGen and PostgreSQL, installed once a machine; a stack, set up once a run and copied from then on."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime import accounts, environments, postgres_programs
from dqctl.runtime.local import LocalRuntime
from dqctl.services.install import install
from dqctl.settings import Settings, load
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import read_record
from tiers import cache as machine_cache
from tiers import unavailable

DEFAULT_VERSION = "5.134.0"


@pytest.fixture(scope="session")
def install_version() -> Callable[[str], Path]:
    """Put a version of TestGen into the cache that all test runs of this machine share; its ``environments``."""

    def ensure(version: str) -> Path:
        cache = machine_cache()
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
        (home / "settings.toml").write_text('state = "off"\n', encoding="utf-8")  # see tests/conftest.py
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
def unprepared_home(home: Path, environments_cache: Path) -> Path:
    """A fresh home in which nothing is kept of any set-up: TestGen makes the first database of each version."""
    (home / "environments").unlink()
    (home / "environments").mkdir(mode=0o711)
    for programs in environments_cache.iterdir():
        if programs.name.startswith(("testgen-", "postgresql-")):
            (home / "environments" / programs.name).symlink_to(programs)
    return home


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of a stack that is not installed yet."""
    return load({"home": home}, {})


@pytest.fixture(scope="session")
def seed(
    install_version: Callable[[str], Path],
    _homes: Callable[[], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """A directory with a stopped stack of a version, fresh as after install: once a run, for all workers."""
    run = tmp_path_factory.getbasetemp()
    shared = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "seeds"

    def make(version: str) -> Path:
        place = shared / version
        shared.mkdir(exist_ok=True)
        with FileLock(shared / f"{version}.lock", timeout=300):
            if not place.exists():
                install_version(version)
                # The first on a machine is set up by TestGen, all others are made of what that left, where views
                # read otherwise. The seed is one of those.
                for _ in range(2):
                    home = _homes()
                    seeded = load({"home": home}, {})
                    install(seeded, version=version, progress=silent)
                paths = StackPaths(home, seeded.stack)
                record = read_record(paths)
                assert record
                LocalRuntime(paths, record, silent).down()
                making = shared / f"{version}.making"  # other workers make other versions meanwhile
                _copy(home, making)
                making.rename(place)
        return place

    return make


def _copy(seed: Path, home: Path) -> Settings:
    shutil.copytree(seed / "stacks", home / "stacks", symlinks=True)
    if os.geteuid() == 0:  # copytree does not keep owners
        for original in (seed / "stacks").rglob("*"):
            status = original.lstat()
            os.chown(home / original.relative_to(seed), status.st_uid, status.st_gid, follow_symlinks=False)
    return load({"home": home}, {})


@pytest.fixture(scope="module")
def installed_stack(seed: Callable[[str], Path], _homes: Callable[[], Path]) -> Settings:
    """Settings of an installed stack that the tests of one module share, its database as fresh as after install.

    PostgreSQL is down until the first ``open_runtime``.
    """
    return _copy(seed(DEFAULT_VERSION), _homes())


@pytest.fixture
def fresh_stack(seed: Callable[[str], Path], home: Path) -> Settings:
    """Settings of an installed stack that one test has for itself, and may break."""
    return _copy(seed(DEFAULT_VERSION), home)


@pytest.fixture
def older_stack(seed: Callable[[str], Path], home: Path, version: str) -> Settings:
    """The same of the ``version`` that the test is parametrised with."""
    return _copy(seed(version), home)


@pytest.fixture(scope="module")
def copied_stack(seed: Callable[[str], Path], _homes: Callable[[], Path]) -> Callable[[str], Settings]:
    """Settings of an installed stack of a version, that the tests of one module share."""
    return lambda version: _copy(seed(version), _homes())
