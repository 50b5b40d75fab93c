"""The pytest plugin (docs/pytest.md): options, fixtures, and data tests as pytest items.

pytest loads it wherever dqctl is installed: it imports what it needs when a fixture or a file is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dqctl.testing.databricks import Databricks
    from dqctl.testing.holding import Held
    from dqctl.testing.items import SystemsFile
    from dqctl.testing.schema import Schema
    from dqctl.testing.session import TestRun
    from dqctl.testing.stack import Stack, System

_STACK_FIXTURES = frozenset({"dq_stack", "dq_system"})
# What is taken for a systems file where it is named as an argument: pytest systems.yaml
_NAMED = ("systems.yaml", "systems.yml", "dq_*.yaml", "dq_*.yml")
_MARKER = (
    "dq(system, suite, test_type, table, column, severity, dimension): a data test; the values are small letters, "
    'as in -m \'dq(severity="fail", dimension="completeness")\''
)
_CHECKED = ("runtime", "system", "seed", "stack", "definitions", "fail_on", "timeout")
_DIRECTORY = "dqctl_directory"  # what pytest-xdist's workers are told
_RUN: "pytest.StashKey[TestRun]" = pytest.StashKey()
_HELD: "pytest.StashKey[Held]" = pytest.StashKey()
_WITH_STACK: "pytest.StashKey[bool]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options, and ini values of the same names."""
    group = parser.getgroup("dqctl", "data quality (dqctl)")
    group.addoption("--dq-runtime", choices=("local", "docker"), help="where workspace and stack run [local]")
    group.addoption(
        "--dq-system", metavar="FILE", help="systems file: applied to dq_stack, its data tests collected"
    )
    group.addoption("--dq-seed", metavar="FOLDER", help="seed data for the stack: Parquet, CSV, Delta tables, SQL")
    group.addoption(
        "--dq-stack", metavar="NAME", help="use this installed stack as it is, in place of one of the run's own"
    )
    group.addoption(
        "--dq-definitions",
        metavar="FILE",
        action="append",
        help="what dqctl --output json definitions printed: tests are collected without a stack; may be repeated",
    )
    group.addoption(
        "--dq-fail-on",
        choices=("fail", "warning", "error", "never"),
        help="what fails a data test [what its suite's declaration says, else fail]",
    )
    group.addoption(
        "--dq-databricks",
        action="store_true",
        help="in throw-away schemas of the workspace of DATABRICKS_HOST, in place of a local workspace",
    )
    group.addoption("--dq-keep", action="store_true", help="leave the stack there, and say how it is reached")
    group.addoption("--dq-timeout", metavar="SECONDS", help="longest time for each step of the stack [900]")
    for name in ("runtime", "system", "seed", "stack", "fail_on", "timeout"):
        parser.addini(f"dq_{name}", f"as --dq-{name.replace('_', '-')}; paths are relative to rootdir")
    parser.addini("dq_definitions", "as --dq-definitions, several", type="paths", default=[])
    parser.addini("dq_files", "systems files to collect data tests from, as patterns", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and have the systems file collected wherever the arguments lead."""
    config.addinivalue_line("markers", _MARKER)
    if any(config.getoption(f"dq_{name}") or config.getini(f"dq_{name}") for name in _CHECKED):
        from dqctl.testing.options import options_of

        options_of(config)
    if config.getoption("dq_system"):
        file = str(Path(config.invocation_params.dir, config.getoption("dq_system")))
        if file not in config.args:
            config.args.append(file)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what the run has made."""
    if held := config.stash.get(_HELD, None):
        del config.stash[_HELD]
        held.end()
        if _RUN in config.stash:
            from dqctl.testing import leash

            leash.join(held.directory)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: tell a worker where the run's things are."""
    node.workerinput[_DIRECTORY] = str(_directory(node.config))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "SystemsFile | None":
    """Collect the data tests of a systems file that was asked for."""
    if file_path.suffix not in (".yaml", ".yml") or not _is_asked_for(file_path, parent):
        return None
    from dqctl.testing.items import SystemsFile

    return SystemsFile.from_parent(parent, path=file_path)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Whether the workspace has to be a stack's is known before the first test asks for it."""
    session.config.stash[_WITH_STACK] = any(
        item.get_closest_marker("dq") or _STACK_FIXTURES & set(getattr(item, "fixturenames", ()))
        for item in session.items
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where the stacks are that were kept."""
    held = config.stash.get(_HELD, None)
    if held and (kept := held.directory / "kept").exists():
        terminalreporter.section("stacks that are kept")
        terminalreporter.write(kept.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def dq_workspace(pytestconfig: pytest.Config) -> "Databricks":
    """A Databricks workspace, one for all tests of the run: clients, and what other clients need to reach it.

    That of the stack, if any test of the run needs one.
    """
    return run_of(pytestconfig).workspace(with_stack=pytestconfig.stash.get(_WITH_STACK, False))


@pytest.fixture(scope="session")
def dq_stack(pytestconfig: pytest.Config) -> "Stack":
    """A stack of TestGen, one for all tests of the run, with the systems of --dq-system."""
    run = run_of(pytestconfig)
    return run.stack(run.options.system)


@pytest.fixture
def dq_schema(dq_workspace: "Databricks") -> "Iterator[Schema]":
    """A schema of the test's own, empty, where its connection is; dropped afterwards."""
    from dqctl.testing.schema import throw_away_schema

    with throw_away_schema(dq_workspace) as schema:
        yield schema


@pytest.fixture
def dq_system(dq_stack: "Stack") -> "Iterator[Callable[[Path | str | Mapping[str, Any] | Schema], System]]":
    """Declare a system for this test: a systems file, what would stand in one, or a schema, all of its tables."""
    from dqctl.testing.declaring import Declaring

    declaring = Declaring(dq_stack)
    yield declaring
    declaring.remove()


def _directory(config: pytest.Config) -> Path:
    """What all processes of the run share: the controller's, who holds it until the end."""
    if worker := getattr(config, "workerinput", None):
        return Path(worker[_DIRECTORY])
    if _HELD not in config.stash:
        from dqctl.testing.holding import Held

        config.stash[_HELD] = Held()
    return config.stash[_HELD].directory


def run_of(config: pytest.Config) -> "TestRun":
    """The run that this process is part of."""
    if _RUN not in config.stash:
        from dqctl.testing.options import options_of
        from dqctl.testing.session import TestRun

        config.stash[_RUN] = TestRun(options_of(config), _directory(config))
    return config.stash[_RUN]


def _is_asked_for(file: Path, parent: pytest.Collector) -> bool:
    config = parent.config
    asked = config.getoption("dq_system")
    if asked and file == Path(config.invocation_params.dir, asked).resolve():
        return True
    if (written := config.getini("dq_system")) and file == (config.rootpath / written).resolve():
        return True
    if any(fnmatch(file.name, pattern) or file.match(pattern) for pattern in config.getini("dq_files")):
        return True
    return parent.session.isinitpath(file) and any(fnmatch(file.name, pattern) for pattern in _NAMED)
