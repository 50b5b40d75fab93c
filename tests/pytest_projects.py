"""Projects of somebody whose tests use the pytest plugin, with what docs/pytest.md shows."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dqctl.clock import Deadline

_PAGE = Path(__file__).parents[1] / "docs" / "pytest.md"


def block(heading: str, language: str) -> str:
    """The first block of a language below a heading of the page."""
    section = _PAGE.read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    return section.split(f"```{language}\n", 1)[1].split("```", 1)[0]


@dataclass(frozen=True)
class Project:
    """Somebody's project with tests, whose pytest is run with a home and a directory for temporary files."""

    root: Path
    home: Path
    temporary: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "DQCTL_HOME": str(self.home),
            "DQCTL_STATE": "off",
            "TMPDIR": str(self.temporary),
            **self.variables,
        }
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(self.root / "temp")]
        return subprocess.Popen(
            [*argv, *arguments],
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def pytest(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            said, _ = process.communicate(timeout=800)
        assert process.returncode == code, said
        return said


def project_in(root: Path, home: Path, **variables: str) -> Project:
    """One with the documentation's tests of a workspace."""
    (root / "tmp").mkdir()
    (root / "test_workspace.py").write_text(block("A workspace", "python"), encoding="utf-8")
    return Project(root, home, root / "tmp", variables)


def add_systems(project: Project) -> None:
    """The documentation's systems file, and what it checks as seeds."""
    (project.root / "systems.yaml").write_text(block("Data tests as items", "yaml"), encoding="utf-8")
    seeds = project.root / "seeds" / "shop"
    seeds.mkdir(parents=True)
    orders = [f"{number},{5 + number * 37 % 100},{number % 3}" for number in range(1, 201)]
    (seeds / "orders.csv").write_text("\n".join(["order_id,amount,kind", *orders]), encoding="utf-8")


def written(file: Path, process: "subprocess.Popen[str]") -> str:
    """What a test writes into a file, as soon as it does."""
    deadline = Deadline(800)
    while not file.exists() or not file.read_text():
        assert process.poll() is None, process.communicate()
        assert not deadline.passed
        time.sleep(0.05)
    return file.read_text()
