"""The recipes for CI systems, as they stand: a branch, a pull request that breaks something, one that does not.

One story, since each run takes a stack: GitLab's job leaves the base's results, GitHub's action compares with
them, Jenkins' pipeline with what that one left.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ci_recipes import EXAMPLES, GitHub, Outcome, clean_environment, run_gitlab, run_jenkins
from code_hosts import TOKEN, CodeHost, running
from dqctl.codehost.request import marker

pytestmark = [pytest.mark.local, pytest.mark.thorough, pytest.mark.timeout(1200)]


@dataclass
class Story:
    """The jobs' outcomes, and what each left in its folder ``dq``."""

    folder: Path
    host: CodeHost
    github: GitHub
    outcomes: dict[str, Outcome]
    comments: dict[str, list[str]]

    def left(self, job: str) -> Path:
        return self.folder / f"dq-{job}"

    def keep(self, job: str, outcome: Outcome) -> None:
        self.outcomes[job] = outcome
        self.comments[job] = [each["body"] for each in self.host.comments]
        if (self.folder / "dq").exists():
            (self.folder / "dq").rename(self.left(job))


@pytest.fixture(scope="module")
def story(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("repository")
    temp = tmp_path_factory.mktemp("runner")
    shutil.copytree(EXAMPLES, folder / "examples" / "ci")
    event = temp / "event.json"
    event.write_text(json.dumps({"action": "opened", "number": 12, "pull_request": {"number": 12}}))
    ours = clean_environment(str(Path(sys.executable).parent)) | {"DQCTL_HOME": str(module_home)}
    with running() as host:
        pull = {**host.environment(str(event)), "GITHUB_BASE_REF": "main"}
        pull.pop("GITHUB_TOKEN")  # the action hands it to the step that needs it
        github = GitHub(folder, temp, {**ours, **pull})
        told = Story(folder, host, github, {}, {})
        told.keep("branch", run_gitlab(folder, {**ours, "CI_COMMIT_BRANCH": "main"}))

        _restored(told.left("branch"), folder)
        breaking = folder / "examples" / "ci" / "changes" / "002_lost.sql"
        breaking.write_text("UPDATE main.shop.orders SET status = 'lost' WHERE order_id = 1001")
        inputs = {
            "install": "false",
            "systems": "examples/ci/systems.yaml",
            "seed": "examples/ci/seed",
            "command": "examples/ci/check.sh",
        }
        told.keep("breaking", github.run(inputs, TOKEN))

        _restored(told.left("breaking"), folder)
        jenkins = {
            "GITHUB_API_URL": host.url,
            "GITHUB_REPOSITORY": "o/r",
            "CHANGE_ID": "12",
            "GITHUB_TOKEN": TOKEN,
        }
        told.keep("harmless", run_jenkins(folder, {**ours, **jenkins}))
        yield told


def _restored(left: Path, folder: Path) -> None:
    """What a cache or a plugin does before a pull request's job: the base's results are in place."""
    (folder / ".dqctl-base").mkdir(exist_ok=True)
    shutil.copy(left / "results.json", folder / ".dqctl-base" / "results.json")


def _runs(left: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((left / "results.json").read_text())["runs"]
    return found


def test_a_branch_leaves_the_results_that_others_are_compared_with(story: Story) -> None:
    assert story.outcomes["branch"].codes == {"script": 0}, story.outcomes["branch"].said
    (run,) = _runs(story.left("branch"))
    assert run["counts"]["total"] > 20
    assert run["counts"]["failed"] == run["counts"]["error"] == 0
    assert story.comments["branch"] == []


def test_a_pull_request_that_breaks_a_test_fails_and_says_which_one(story: Story) -> None:
    outcome = story.outcomes["breaking"]
    assert outcome.codes["Run"] == 1, outcome.said
    assert story.github.outputs["run"] == {"exit-code": "1", "summary": "dq/summary.md"}
    assert story.github.summary.startswith("## ❌ 1 test is newly broken.")
    (row,) = [line for line in story.github.summary.splitlines() if "❌ Failed" in line]
    assert "`orders`" in row
    assert "`status`" in row
    assert "✅ Passed" in row


def test_the_pull_request_has_one_comment_that_says_the_same(story: Story) -> None:
    assert story.comments["breaking"] == [f"{marker('dqctl')}\n{story.github.summary}"]


def test_the_other_steps_run_all_the_same(story: Story) -> None:
    codes = story.outcomes["breaking"].codes
    assert {name: code for name, code in codes.items() if name != "Run"} == {
        "Install dqctl": 0,
        "Summary": 0,
        "Comment on the pull request": 0,
        "Have the results for pull requests": 0,
    }


def test_results_of_a_pull_request_are_nobodys_base(story: Story) -> None:
    assert "keep" not in story.github.outputs["base"]


def test_what_was_broken_before_makes_no_pull_request_fail(story: Story) -> None:
    outcome = story.outcomes["harmless"]
    assert set(outcome.codes.values()) == {0}, outcome.said
    summary = (story.left("harmless") / "summary.md").read_text()
    assert summary.startswith("## ✅ No test is newly broken, and none mended.")
    assert "<summary>Still broken: 1</summary>" in summary


def test_every_job_leaves_junit_reports_and_logs(story: Story) -> None:
    for job, failures in (("branch", 0), ("breaking", 1), ("harmless", 1)):
        (junit,) = story.left(job).glob("*.junit.xml")
        suites = ElementTree.parse(junit).getroot()  # noqa: S314 - we wrote it
        assert int(suites.get("failures", "")) == failures
        assert int(suites.get("tests", "")) == _runs(story.left(job))[0]["counts"]["total"]
        assert list(story.left(job).glob("*.html"))
        assert list((story.left(job) / "logs").iterdir())


def test_no_token_is_in_what_was_said_or_left(story: Story) -> None:
    for job, outcome in story.outcomes.items():
        assert TOKEN not in outcome.said
        for path in story.left(job).rglob("*"):
            assert not path.is_file() or TOKEN not in path.read_text(errors="replace"), path


def test_nothing_of_a_stack_is_left(story: Story, module_home: Path) -> None:
    assert story.outcomes
    assert not list((module_home / "ci").iterdir())


def test_the_action_says_when_nothing_was_tested(story: Story, tmp_path: Path) -> None:
    """A systems file that is not there: exit code 2, no summary of dqctl's, no comment."""
    before = list(story.host.comments)
    github = GitHub(story.folder, tmp_path, story.github.environment)
    outcome = github.run({"install": "false", "systems": "none.yaml", "artifacts": "nothing"}, TOKEN)
    assert outcome.codes["Run"] == 2, outcome.said
    assert outcome.codes["Comment on the pull request"] == 0
    assert "not tested (exit code 2)" in github.summary
    assert story.host.comments == before


def test_a_comment_that_is_refused_changes_nothing_about_the_outcome(story: Story, tmp_path: Path) -> None:
    """As for the pull request of a fork, whose token may only read."""
    shutil.copytree(story.left("harmless"), story.folder / "refused")
    github = GitHub(story.folder, tmp_path, story.github.environment)
    story.host.faults = [(403, {})]
    given = {"install": "false", "systems": "none.yaml", "artifacts": "refused"}
    outcome = github.run(given, TOKEN)
    assert outcome.codes["Comment on the pull request"] == 0
    assert "::warning title=dqctl::the pull request has no comment" in outcome.said
    assert "permissions: pull-requests: write" in outcome.said


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not installed")
def test_actionlint_has_nothing_to_say_about_the_workflow(tmp_path: Path) -> None:
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    shutil.copy(EXAMPLES / "github-workflow.yml", workflows)
    shutil.copytree(EXAMPLES.parents[1] / ".github" / "actions", tmp_path / ".github" / "actions")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)  # noqa: S607
    done = subprocess.run(["actionlint"], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.returncode, done.stdout) == (0, "")
