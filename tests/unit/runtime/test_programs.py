import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dqctl.errors import EnvironmentFault
from dqctl.progress import silent
from dqctl.runtime.programs import ensure_directory, require_space, uv_run


def build(path: Path) -> None:
    path.mkdir()
    (path / "program").write_text("whole")


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    final = tmp_path / "environments" / "testgen-1"
    assert ensure_directory(final, megabytes=1, build=build, progress=silent)
    assert not ensure_directory(final, megabytes=1, build=pytest.fail, progress=silent)
    assert (final / "program").read_text() == "whole"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        build(path)
        raise EnvironmentFault("no network")

    with pytest.raises(EnvironmentFault, match="no network"):
        ensure_directory(tmp_path / "testgen-1", megabytes=1, build=fail, progress=silent)
    assert [path.name for path in tmp_path.iterdir()] == [".testgen-1.lock"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from dqctl.runtime.programs import ensure_directory
def build(path):
    path.mkdir(); (path / "program").write_text("half"); os.kill(os.getpid(), signal.SIGKILL)
ensure_directory(Path(sys.argv[1]), megabytes=1, build=build, progress=print)
"""


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    final = tmp_path / "testgen-1"
    subprocess.run([sys.executable, "-c", _KILLED, str(final)], check=False)
    assert not final.exists()
    assert len(list(tmp_path.glob(".testgen-1.building-*"))) == 1
    assert ensure_directory(final, megabytes=1, build=build, progress=silent)
    assert (final / "program").read_text() == "whole"
    assert not list(tmp_path.glob(".testgen-1.building-*"))


def test_two_installs_at_once_build_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def count(path: Path) -> None:
        build(path)
        built.append(path)

    def ensure() -> None:
        ensure_directory(tmp_path / "testgen-1", megabytes=1, build=count, progress=silent)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_too_little_space_says_how_much_to_free_and_where(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="not enough disk space") as raised:
        require_space(tmp_path, 10**9)
    assert str(tmp_path) in raised.value.hint
    assert "MB" in raised.value.hint


def refuse(tmp_path: Path, *arguments: str) -> EnvironmentFault:
    with pytest.raises(EnvironmentFault) as raised:
        uv_run(
            [
                "pip",
                "install",
                "--no-cache",
                "--python",
                sys.executable,
                "--target",
                str(tmp_path / "x"),
                *arguments,
            ],
            home=tmp_path,
            log=tmp_path / "install.log",
        )
    return raised.value


def test_an_index_that_does_not_answer_names_the_mirror_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    fault = refuse(tmp_path, "six==1.17.0")
    assert "cannot be reached" in fault.message
    assert "UV_DEFAULT_INDEX" in fault.hint
    assert "uv pip install" in (tmp_path / "install.log").read_text()


def test_a_version_that_the_index_lacks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "links").mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    fault = refuse(tmp_path, "--find-links", str(tmp_path / "links"), "dataops-testgen==99.0.0")
    assert "does not have what is wanted" in fault.message
    assert "99.0.0" in fault.message
