"""The wheel: what is product but no code is in it, whole, and found there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tiers import unavailable

pytestmark = pytest.mark.local

_ROOT = Path(__file__).parents[2]
_PRODUCT = ("compose", "env-templates", "images", "examples/systems")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked as pip would."""
    out = tmp_path_factory.mktemp("wheel")
    uv = [sys.executable, "-m", "uv", "--quiet", "--directory", str(_ROOT)]
    build = [*uv, "build", "--wheel", "--python", sys.executable, "--out-dir", str(out)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=120)
    if done.returncode:
        unavailable("local", f"uv build: {done.stderr.strip()[-500:]}")
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site-packages")
    return out / "site-packages"


@pytest.mark.parametrize("directory", _PRODUCT)
def test_templates_dockerfiles_and_examples_are_in_the_wheel_as_in_the_checkout(
    installed: Path, directory: str
) -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    found = files(installed / "dqctl" / directory)
    assert found == files(_ROOT / directory)
    assert found


def test_an_installed_dqctl_finds_them_in_the_wheel_and_nowhere_else(installed: Path, tmp_path: Path) -> None:
    script = (
        "import json, sys\n"
        "from dqctl.resources import places\n"
        "print(json.dumps([str(place) for name in sys.argv[1:] for place in places(name) if place.exists()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *_PRODUCT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(installed / "dqctl" / name) for name in _PRODUCT]


def test_pytest_finds_the_plugin_of_an_installed_dqctl_and_is_warned_of_nothing(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_stranger.py").write_text(
        "def test_where_the_plugin_is(pytestconfig):\n"
        "    print(pytestconfig.pluginmanager.get_plugin('dqctl').__file__)\n"
        "    assert pytestconfig.getoption('dq_runtime') is None\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        # -P: like the command pytest, which does not look for packages where it is started.
        [sys.executable, "-P", "-W", "error", "-m", "pytest", "-p", "no:cacheprovider", "-s", "test_stranger.py"],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(installed / "dqctl" / "testing" / "plugin.py") in done.stdout
    assert "warning" not in done.stdout.lower()
