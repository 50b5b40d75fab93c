"""A dqctl without its extra says what is missing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from dqctl.localworkspace.requirements import EMBEDDED_ENGINE, SERVER, missing

_ROOT = Path(__file__).parents[3]

_START = """
import sys
from pathlib import Path
from dqctl.localworkspace import control

try:
    control.start(Path(sys.argv[1]), engine=sys.argv[2])
except control.WorkspaceError as error:
    print(type(error).__name__, error.message, error.hint, sep="\\n")
"""


def test_every_package_of_the_extra_is_looked_for() -> None:
    extra = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["workspace"]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in extra}
    assert {name.removesuffix("-client") for name in names} == {*SERVER, *EMBEDDED_ENGINE}


def test_nothing_is_missing_where_the_extra_is_installed() -> None:
    assert missing("sail") == []


def test_a_start_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    # Without site-packages this interpreter has the standard library and the sources only.
    said = {}
    for engine in ("sail", "sc://127.0.0.1:15002"):
        done = subprocess.run(
            [sys.executable, "-S", "-c", _START, str(tmp_path / "data"), engine],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PYTHONPATH": str(_ROOT / "controller")},
        )
        assert done.returncode == 0, done.stderr
        said[engine] = done.stdout.splitlines()
    kind, message, hint = said["sail"]
    assert kind == "NotInstalledError"
    assert message.endswith(": deltalake, pyspark, sqlglot, starlette, thrift, uvicorn, pysail")
    assert hint == "install them beside dqctl: pip install 'dqctl[workspace]'"
    assert "pysail" not in said["sc://127.0.0.1:15002"][1]
