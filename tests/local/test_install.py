"""Installing a stack for real."""

import shutil
import socket
import stat
import time
from pathlib import Path

import pytest

from dqctl.clock import Deadline
from dqctl.errors import UsageError
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.postgres import HOST
from dqctl.services.install import install
from dqctl.services.status import status
from dqctl.services.uninstall import uninstall
from dqctl.settings import Settings, load

pytestmark = pytest.mark.local


def test_install_again_has_nothing_to_do_and_is_quick(fresh_stack: Settings) -> None:
    install(fresh_stack, progress=silent)
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        assert install(fresh_stack, progress=silent).changed == ()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.5  # the quickest does not depend on the machine's load


def test_install_from_nothing_makes_a_stack_that_answers(settings: Settings) -> None:
    said: list[str] = []
    report = install(settings, remember={"catalog": "lake", "schema_name": "quality"}, progress=said.append)
    assert report.changed == ("secrets", "database cluster", "metadata database", "settings", "record")
    assert (report.testgen_version, report.schema_revision) == ("5.134.0", 235)
    assert any("account postgres" in line for line in said) or report.postgres_account is None
    runtime = open_runtime(settings, silent)
    done = runtime.run(["list-projects"], deadline=Deadline(120))
    assert done.exit_code == 0
    assert "Output written to" in done.stdout
    later = load({"home": settings.home}, {})
    assert (later.catalog, later.schema_name) == ("lake", "quality")


def test_a_command_on_a_stack_that_is_not_installed_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(UsageError, match="not installed") as raised:
        open_runtime(settings, silent)
    assert "dqctl install" in raised.value.hint
    assert not status(settings).installed


def test_secrets_are_private_and_everything_else_is_closed(fresh_stack: Settings) -> None:
    open_runtime(fresh_stack, silent)
    root = fresh_stack.home / "stacks" / fresh_stack.stack
    assert stat.S_IMODE((root / "secrets").stat().st_mode) == 0o700
    for path in (root / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in root.iterdir():
        closed = 0o077 if path.is_file() or path.name != "stacks" else 0o066
        assert not stat.S_IMODE(path.stat().st_mode) & closed, path


def test_purge_removes_the_stack_and_nothing_else(fresh_stack: Settings, environments_cache: Path) -> None:
    open_runtime(fresh_stack, silent)
    beside = fresh_stack.home / "stacks" / "other"
    beside.mkdir()
    report = uninstall(fresh_stack, purge=True, progress=silent)
    assert report.kept is None
    assert beside.is_dir()
    assert not (fresh_stack.home / "stacks" / fresh_stack.stack).exists()
    assert (environments_cache / "testgen-5.134.0").is_dir()
    assert uninstall(fresh_stack, purge=True, progress=silent).changed == ()


def test_a_purge_needs_no_secrets(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    server = (HOST, runtime.record.postgres_port)
    socket.create_connection(server, 5).close()
    shutil.rmtree(runtime.paths.secrets)
    assert status(fresh_stack).postgres_running
    report = uninstall(fresh_stack, purge=True, progress=silent)
    assert (report.kept, "PostgreSQL" in report.changed) == (None, True)
    assert not runtime.paths.root.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server, 5)


def test_a_dry_run_says_what_an_install_would_do_and_does_nothing(fresh_stack: Settings, home: Path) -> None:
    from dqctl.services.install_plan import plan_install

    assert plan_install(fresh_stack, runtime="local").steps == ()
    other = load({"home": home, "stack": "other"}, {})
    steps = plan_install(other, runtime="local", remember={"catalog": "lake"}).steps
    assert steps[0].startswith("make secrets: postgres_password")
    assert steps[-1] == "remember settings: catalog"
    assert not (home / "stacks" / "other").exists()
    with pytest.raises(UsageError, match="is of the runtime local"):
        plan_install(fresh_stack, runtime="docker")
