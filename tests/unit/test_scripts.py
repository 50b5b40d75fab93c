"""``scripts/_environment``, which every script begins with."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DQCTL_VENV"}


def project(directory: Path) -> Path:
    """A project without requirements, whose ``.venv`` is as the script leaves it, but without packages."""
    (directory / "scripts").mkdir()
    shutil.copy(SCRIPTS / "_environment", directory / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        (directory / name).touch()
    venv.create(directory / ".venv", symlinks=True)
    python = Path(sys.executable).resolve()
    (directory / ".venv" / ".made-from").write_text(f"{hashlib.sha256().hexdigest()} {python}\n")
    return directory


def enter(directory: Path, path: str) -> subprocess.CompletedProcess[str]:
    script = directory / "scripts" / "probe"
    script.write_text('set -euo pipefail\n. "$(dirname "$0")/_environment"\ncommand -v python\n')
    return subprocess.run(
        [str(shutil.which("bash")), str(script)],
        env=_ENVIRONMENT | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_that_is_entered_already_is_not_made_again(tmp_path: Path) -> None:
    where = project(tmp_path)
    entered = enter(where, f"{where / '.venv' / 'bin'}:{os.environ['PATH']}")
    assert (entered.returncode, entered.stderr) == (0, "")
    assert entered.stdout.strip() == str(where / ".venv" / "bin" / "python")


def test_a_machine_without_python_is_told_what_is_needed(tmp_path: Path) -> None:
    where = project(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    entered = enter(where, str(tools))
    assert entered.returncode == 3
    assert "Python 3.11 or newer is needed" in entered.stderr
