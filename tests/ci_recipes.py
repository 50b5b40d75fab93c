"""A CI system's part in a recipe: steps in their order, with the variables that the system sets.

Of GitHub's expressions and of GitLab's and Jenkins' keys this knows what the recipes use, and refuses the rest.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "ci"
ACTION = ROOT / ".github" / "actions" / "ci" / "action.yml"
_SECONDS = 900


@dataclass
class Outcome:
    """How a job ended: the exit code of each of its scripts, by name, and what they printed."""

    codes: dict[str, int] = field(default_factory=dict)
    said: str = ""

    def run(self, name: str, script: list[str], folder: Path, environment: Mapping[str, str]) -> int:
        """Run one script."""
        completed = subprocess.run(
            script,
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        self.said += completed.stdout
        self.codes[name] = completed.returncode
        return completed.returncode

    @property
    def code(self) -> int:
        """That of the first script that failed."""
        return next((code for code in self.codes.values() if code), 0)


@dataclass
class GitHub:
    """A runner of GitHub for the one composite action, in ``folder`` with the repository, ``temp`` being its own.

    Actions of others are not run: what they do to files, the cache that a pull request gets from its base's last
    run, is for the test to do.
    """

    folder: Path
    temp: Path
    environment: Mapping[str, str]
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, inputs: Mapping[str, str], token: str) -> Outcome:
        """The action's own steps, as GitHub runs them."""
        action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
        unknown = set(inputs) - set(action["inputs"])
        assert not unknown, unknown
        self._values = {f"inputs.{name}": str(each.get("default", "")) for name, each in action["inputs"].items()}
        self._values |= {f"inputs.{name}": value for name, value in inputs.items()}
        self._values |= {"github.token": token, "github.action_path": str(ACTION.parent)}
        self._values["inputs.token"] = self._filled(self._values["inputs.token"])
        outcome = Outcome()
        for step in action["runs"]["steps"]:
            if "run" not in step or (outcome.code and not str(step.get("if", "")).startswith("always()")):
                continue
            outcome.run(step["name"], self._script(step), self.folder, self._environment(step))
            if "id" in step:
                written = self._file("output").read_text(encoding="utf-8").splitlines()
                found = dict(line.split("=", 1) for line in written)
                self.outputs[step["id"]] = found
                self._values |= {f"steps.{step['id']}.outputs.{name}": value for name, value in found.items()}
        return outcome

    @property
    def summary(self) -> str:
        """What stands on the page of the workflow's run."""
        return self._file("summary").read_text(encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.temp / f"{name}.txt"

    def _script(self, step: Mapping[str, Any]) -> list[str]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input would become code"
        script = self.temp / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        return ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]

    def _environment(self, step: Mapping[str, Any]) -> dict[str, str]:
        self._file("output").write_text("", encoding="utf-8")
        for name in ("path", "summary"):
            self._file(name).touch()
        given = {name: self._filled(str(value)) for name, value in step.get("env", {}).items()}
        paths = self._file("path").read_text(encoding="utf-8").splitlines()
        return {
            **self.environment,
            "PATH": ":".join([*reversed(paths), self.environment["PATH"]]),
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
            "GITHUB_OUTPUT": str(self._file("output")),
            "GITHUB_PATH": str(self._file("path")),
            "GITHUB_STEP_SUMMARY": str(self._file("summary")),
            **given,
        }

    def _filled(self, text: str) -> str:
        # An output that no step has written is empty.
        def value(found: re.Match[str]) -> str:
            name = found[1].strip()
            return self._values.get(name, "") if name.startswith("steps.") else self._values[name]

        return re.sub(r"\$\{\{(.+?)\}\}", value, text)


def run_gitlab(folder: Path, environment: Mapping[str, str]) -> Outcome:
    """The scripts of GitLab's job, as one shell script, which its runner makes of them."""
    job = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text(encoding="utf-8"))["data-quality"]
    lines = "\n".join([*job["before_script"], *job["script"]])
    variables = {name: str(value) for name, value in job["variables"].items()}
    given = {"CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(folder), "CI_JOB_NAME": "data-quality"}
    outcome = Outcome()
    outcome.run("script", ["bash", "-eo", "pipefail", "-c", lines], folder, {**environment, **variables, **given})
    return outcome


def run_jenkins(folder: Path, environment: Mapping[str, str]) -> Outcome:
    """The shell steps of the Jenkinsfile in their order; those of ``post`` whatever came before."""
    pipeline = (EXAMPLES / "Jenkinsfile").read_text(encoding="utf-8")
    before = pipeline.index("post {")
    outcome = Outcome()
    for number, found in enumerate(re.finditer(r"sh '''\n(.*?)'''", pipeline, re.DOTALL)):
        if found.start() > before or not outcome.code:
            # Groovy reads a backslash at the end of a line as the shell does: the line goes on.
            outcome.run(str(number), ["sh", "-xe", "-c", found[1]], folder, environment)
    return outcome


def clean_environment(path: str) -> dict[str, str]:
    """What a job finds before its CI system adds to it: nothing of a CI system that may run these tests."""
    foreign = ("GITHUB_", "GITLAB_", "CI", "RUNNER_", "JENKINS_", "CHANGE_", "DQCTL_", "DATABRICKS_", "BUILD_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PATH": f"{path}:{kept['PATH']}"}
