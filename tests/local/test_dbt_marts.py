"""TestGen's tests on the marts of examples/dbt, by the commands of its README as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dqctl.services.ci import record
from workspaces import DBT, connector_python, foreign_environment, running_workspace

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbt"
MARTS = {"carriers", "airports", "flights", "delays_by_day", "late_flights"}


@dataclass
class Project:
    """A copy of the example beside a running workspace."""

    folder: Path
    environment: Mapping[str, str]

    def sh(self, block: str, code: int) -> str:
        done = subprocess.run(
            ["/bin/sh", "-ec", block],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def artifact(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "dq" / name).read_text())
        return found


def _blocks() -> list[str]:
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", readme, flags=re.MULTILINE)[1]
    return re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)


@pytest.fixture(scope="module")
def project(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("dbt") / "project"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("target", "logs"))
    programs = [Path(connector_python(DBT)).parent, Path(sys.executable).parent]
    with running_workspace() as endpoint:
        home = folder.parent / "home"
        home.mkdir()
        (home / "lakehouse").symlink_to(endpoint.data_dir)
        yield Project(
            folder,
            foreign_environment(endpoint)
            | {
                "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
                "HOME": str(home),
                "DQCTL_HOME": str(module_home),
                "DATABRICKS_HOST": f"https://{endpoint.host}",
                "DATABRICKS_TOKEN": endpoint.token_file.read_text().strip(),
            },
        )
    assert record.names(module_home) == ()


@pytest.mark.thorough
def test_the_marts_of_a_dbt_project_are_tested_before_and_after_two_more_days(project: Project) -> None:
    now, later = _blocks()
    project.sh(now, 0)
    (first,) = project.artifact("results.json")["runs"]
    assert {each["table"] for each in first["results"]} == MARTS
    assert {each["status"] for each in first["results"]} == {"Passed"}

    shutil.rmtree(project.folder / "dq")
    project.sh(later, 1)
    (second,) = project.artifact("results.json")["runs"]
    changed = {each["table"] for each in second["results"] if each["status"] in ("Failed", "Warning")}
    assert "flights" in changed
