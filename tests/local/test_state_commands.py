"""Every command that changes TestGen's metadata saves it before it returns; docs/state.md's SQL answers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import SUITE, SYSTEM, CommandLine, load_shop, write_systems
from dqctl.databricks.warehouse import Warehouse
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import open_runtime
from dqctl.services.target import find_target
from dqctl.settings import Settings
from state_keeping import Saving

pytestmark = pytest.mark.local

DOCS = Path(__file__).parents[2] / "docs" / "state.md"


@pytest.fixture(scope="module")
def run(module_home: Path) -> Iterator[CommandLine]:
    """An installed stack with the shop in its workspace, its state on."""
    (module_home / "settings.toml").unlink()
    run = CommandLine(module_home, {"DQCTL_STATE": "auto"})
    workspace = module_home / "workspace"
    try:
        run("workspace", "start", "--data-dir", workspace, "--set", "ANSI_MODE=false")
        run("install", "--workspace", workspace)
        load_shop(run.settings)
        yield run
    finally:
        control.stop(workspace)


def commits(run: CommandLine) -> list[tuple[str, str]]:
    """What saved, and how, the first one first."""
    return [(each["reason"], each["kind"]) for each in saving(run).commits()]


def saving(run: CommandLine) -> Saving:
    return Saving(run.settings, open_runtime(run.settings, silent))


@pytest.mark.thorough
def test_every_command_that_changes_something_saves_before_it_returns(run: CommandLine) -> None:
    before = commits(run)
    assert before[0] == ("install", "base")
    run("install")  # changes nothing, and costs nothing
    run("apply", "-f", write_systems(run.home), "--dry-run")
    assert commits(run) == before
    run("apply", "-f", write_systems(run.home))
    saving(run).assert_whole()
    run("profile", SYSTEM)
    run("generate", SYSTEM)
    saving(run).assert_whole()
    run("run-tests", SUITE, "--fail-on", "never")
    run("testgen", "--", "list-projects")  # only reads
    run("credentials", "rotate", "testgen_password")
    run("credentials", "rotate", "decrypt_password")
    assert commits(run)[len(before) :] == [
        ("apply", "delta"),
        (f"profile {SYSTEM}", "delta"),
        (f"generate {SYSTEM}", "delta"),
        ("run-tests", "delta"),
        ("credentials rotate", "delta"),
        ("credentials rotate", "base"),  # what is sealed is sealed under other keys now
    ]
    saving(run).assert_whole()
    found = run.document("state", "status", "--remote")
    assert (found["seq"], found["unsaved"], found["in_step"], found["off"]) == (len(before) + 6, 0, True, None)
    _assert_docs_answer(run)


def _assert_docs_answer(run: CommandLine) -> None:
    """Somebody changes a threshold in TestGen: the SQL of the docs says what it was and what it became."""
    one = saving(run)
    with one.runtime.metadata() as connection:
        row = connection.execute(
            "UPDATE test_definitions SET threshold_value = '4711' WHERE id = (SELECT id FROM test_definitions"
            " WHERE threshold_value IS NOT NULL ORDER BY id LIMIT 1) RETURNING id::text"
        ).fetchone()
    assert row
    run("state", "save")
    changed, suites, whole = (
        re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)[n] for n in (1, 2, 0)
    )
    answer = _query(run.settings, changed.replace("'...'", f"'{row[0]}'"))
    before, after = answer[-2:]
    assert (before["change"], after["change"]) == (-1, 1)
    assert (before["reason"], after["reason"], after["threshold_value"]) == ("state save", "state save", "4711")
    assert before["threshold_value"] != "4711"
    assert {each["reason"] for each in _query(run.settings, suites)} >= {f"generate {SYSTEM}", "state save"}
    newest = one.newest
    as_of = _query(run.settings, whole.replace("n.seq = 7", f"n.seq = {newest}"))
    assert sum(each["copies"] for each in as_of) == sum(1 for _ in _rows(one))


def _query(settings: Settings, statement: str) -> list[dict[str, Any]]:
    with Warehouse(find_target(settings)) as warehouse:
        found: list[dict[str, Any]] = warehouse.query(statement).to_pylist()
    return found


def _rows(one: Saving) -> Iterator[str]:
    for rows in one.database().values():
        yield from rows.elements()


def test_a_workspace_that_is_away_makes_exit_code_5_and_what_was_done_is_done(run: CommandLine) -> None:
    workspace = run.home / "workspace"
    before = len(commits(run))
    run("workspace", "stop", "--data-dir", workspace)
    try:
        said = run("credentials", "rotate", "jwt_key", "testgen_password", code=5)
        assert "what was done is safe in TestGen's database" in said.err
        found = run.document("state", "status")
        assert found["unsaved"] >= 2
        assert run.document("doctor", code=None)
        failed = run.document("state", "save", code=5)
        assert failed["outcome"] == "not_published"
    finally:
        run("workspace", "start", "--data-dir", workspace, "--set", "ANSI_MODE=false")
    run("publish")  # nothing to publish; the state all the same
    assert len(commits(run)) == before + 1
    saving(run).assert_whole()
    assert run("state", "save").out.startswith("stack default: nothing changed since commit")


def test_state_that_is_off_says_so(run: CommandLine) -> None:
    off = CommandLine(run.home, {"DQCTL_STATE": "off"})
    assert "it is turned off (DQCTL_STATE=off)" in off("state", "status").out
    assert "it is turned off" in off("state", "save", code=2).err
