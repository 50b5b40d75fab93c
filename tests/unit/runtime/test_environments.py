import re
from pathlib import Path

import pytest

from dqctl.errors import UsageError
from dqctl.progress import silent
from dqctl.runtime.environments import ensure_environment, lock_file
from dqctl.testgen.capabilities import KNOWN


@pytest.mark.parametrize("name", [*(entry.version for entry in KNOWN), "postgresql-16.14"])
def test_what_is_known_ships_a_whole_lock_that_names_no_index(name: str) -> None:
    path = lock_file(name)
    assert path
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+", line) for line in pinned)
    assert all(line.endswith("\\") for line in pinned), "every pin goes on with hashes"
    assert len(pinned) <= text.count("--hash=sha256:")


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.version)
def test_a_lock_pins_the_version_that_it_is_called_after(entry: object) -> None:
    version = entry.version  # type: ignore[attr-defined]
    path = lock_file(version)
    assert path
    assert f"dataops-testgen=={version} \\\n" in path.read_text()


def test_another_version_has_no_lock() -> None:
    assert lock_file("5.100.0") is None


@pytest.mark.parametrize("version", ["", "latest", "5.134", "../5.134.0", "5.134.0 --index x", "2.24.8"])
def test_what_cannot_be_run_is_refused_before_anything_is_made(tmp_path: Path, version: str) -> None:
    with pytest.raises(UsageError):
        ensure_environment(tmp_path, version, log=tmp_path / "log", progress=silent)
    assert not list(tmp_path.iterdir())
