"""Calls of TestGen in a local stack: what they show, and what they leave. What every runtime promises is in
tests/compliance.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dqctl.clock import Deadline
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.runtime.homes import call_home
from dqctl.runtime.local import LocalRuntime
from dqctl.services.install import install
from dqctl.settings import Settings
from dqctl.stack.secrets import LENGTHS

pytestmark = pytest.mark.local


@pytest.fixture
def runtime(installed_stack: Settings) -> LocalRuntime:
    return open_runtime(installed_stack, silent)


def secrets_of(runtime: LocalRuntime) -> list[bytes]:
    return [(runtime.paths.secrets / name).read_bytes().strip() for name in LENGTHS]


def test_no_secret_is_in_the_arguments_or_environment_of_any_process(runtime: LocalRuntime) -> None:
    secrets = secrets_of(runtime)
    own = [b"planted-databricks-token", b"planted-dqctl"]
    seen = 0
    found: list[str] = []
    over = threading.Event()

    def watch() -> None:
        nonlocal seen
        while not over.is_set():
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit() or int(entry.name) == os.getpid():
                    continue
                for part in ("cmdline", "environ"):
                    try:
                        content = (entry / part).read_bytes()
                    except OSError:
                        continue
                    seen += b"exec-job" in content or b"list-projects" in content
                    found.extend(f"{entry.name} {part}" for secret in secrets + own if secret in content)

    os.environ["DATABRICKS_TOKEN"], os.environ["DQCTL_PLANTED"] = "planted-databricks-token", "planted-dqctl"
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert runtime.run(["list-projects"], deadline=Deadline(120)).exit_code == 0
        assert runtime.postgres.connect("postgres").close() is None
        runtime.down()
        runtime.up()
    finally:
        over.set()
        watcher.join()
        del os.environ["DATABRICKS_TOKEN"], os.environ["DQCTL_PLANTED"]
    assert seen > 3, "the call was watched"
    assert not found


def test_no_secret_is_left_anywhere_but_in_the_secrets(fresh_stack: Settings) -> None:
    runtime = open_runtime(fresh_stack, silent)
    runtime.run(["list-projects"], deadline=Deadline(120))
    secrets = secrets_of(runtime)
    runtime.down()
    for path in runtime.paths.root.rglob("*"):
        if path.is_file() and runtime.paths.secrets not in path.parents:
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path


def test_the_home_of_a_killed_dqctl_is_removed_by_the_next_command(runtime: LocalRuntime) -> None:
    left = runtime.paths.work / "call-killed"  # nobody holds its lock any more
    (left / "testgen").mkdir(parents=True)
    with call_home(runtime.paths.work) as mine:
        runtime.up()
        assert not left.exists()
        assert mine.exists()


def test_the_newest_version_is_not_asked_for(runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that answers nobody: asking would take 3 s and show up in its queue.
    import socket

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.1)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert runtime.run(["--help"], deadline=Deadline(120)).exit_code == 0
        with pytest.raises(TimeoutError):
            proxy.accept()


def test_a_stack_without_data_may_change_its_version(
    fresh_stack: Settings, install_version: Callable[[str], Path]
) -> None:
    install_version("5.92.2")
    report = install(fresh_stack, version="5.92.2", progress=silent)
    assert (report.testgen_version, report.schema_revision) == ("5.92.2", 213)
    assert open_runtime(fresh_stack, silent).health().is_good
