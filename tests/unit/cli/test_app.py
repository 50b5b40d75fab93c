"""The command line without a stack: help, options, errors, and what it loads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

import dqctl
from command_line import CommandLine
from dqctl.cli.app import app

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands that do something."""
    children = getattr(command, "commands", {})
    if not children:
        yield path
    for name, child in children.items():
        yield from commands(child, (*path, name))


COMMANDS = tuple(commands(typer.main.get_command(app)))


def help_of(path: Sequence[str]) -> str:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    with command.make_context("dqctl", [], resilient_parsing=True) as made:
        return str(made.get_help())


def test_there_are_commands() -> None:
    assert {("install",), ("run-tests",), ("workspace", "sql"), ("tables", "init")} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does_and_gives_an_example_that_can_be_typed(path: tuple[str, ...]) -> None:
    said = help_of(path)
    _, _, example = said.partition("Example:")
    assert example.strip().startswith("dqctl ")
    # The example is of this command, and its options exist.
    words = example.split()
    assert any(tuple(words[start : start + len(path)]) == path for start in range(len(words)))
    own = said.partition("Example:")[0]
    for word in words:
        if word.startswith("--") and word not in ("--output", "--stack", "--home", "--quiet", "--debug"):
            assert word in own, word


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_stands_in_the_reference_and_in_the_readme(path: tuple[str, ...]) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert f"### `dqctl {' '.join(path)}`" in reference
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = [line.split("|", 2)[1].replace("\\", "") for line in _table(readme) if line.startswith("| `")]
    first, *rest = path
    named = [cell for cell in cells if f"`{first}" in cell]
    assert named, f"README's table has no {first}"
    assert all(word in named[0] for word in rest)


def _table(readme: str) -> list[str]:
    section = readme.partition("## Commands")[2].partition("\n## ")[0]
    # A | inside a cell is written \|
    return [line.replace("\\|", "/") for line in section.splitlines()]


def test_readme_names_no_command_that_does_not_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = {path[0] for path in COMMANDS}
    for block in readme.split("```sh")[1:]:
        for line in block.partition("```")[0].splitlines():
            words = line.split()
            if words[:1] == ["dqctl"]:
                assert words[1] in first, line


def test_version(run: CommandLine) -> None:
    for arguments in (["--version"], ["--quiet", "--version"], ["--version", "status"]):
        assert run(*arguments).out == f"dqctl {dqctl.__version__}\n"


MISREAD = (
    ["--nope"],
    ["nope"],
    ["status", "--nope"],
    ["tables", "nope"],
    ["profile"],
    ["runs", "--limit", "0"],
    ["run-tests", "--all", "--fail-on", "sometimes"],
    ["run-tests", "--all", "--timeout", "soon"],
    ["--stack", "Not A Name", "status"],
    ["run-tests"],
    ["run-tests", "a-suite", "--all"],
)


@pytest.mark.parametrize("arguments", MISREAD, ids=" ".join)
def test_what_cannot_be_meant_is_a_usage_error(run: CommandLine, arguments: list[str]) -> None:
    said = run(*arguments, code=2)
    assert said.out == ""
    complaint, hint = said.err.splitlines()
    assert complaint.startswith("error: ")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    ("before", "behind", "variables"),
    [
        (["--output", "json"], ["nope"], {}),
        ([], ["--nope", "--output=json"], {}),
        ([], ["tables", "nope"], {"DQCTL_OUTPUT": "json"}),
        (["--output=json"], ["status", "--nope"], {"DQCTL_OUTPUT": "table"}),
        ([], ["runs", "--limit", "0", "--output", "json"], {}),
        (["--output", "json"], ["run-tests"], {}),
        (["--output", "json"], ["workspace"], {}),
    ],
)
def test_a_usage_error_is_one_object_too(
    tmp_path: Path, before: list[str], behind: list[str], variables: dict[str, str]
) -> None:
    said = CommandLine(tmp_path, variables)(*before, *behind, code=2)
    found = said.document
    assert found["outcome"] == "usage"
    assert found["error"]["message"]
    assert found["error"]["hint"]
    assert said.err == ""


def test_nothing_asked_is_answered_by_help(run: CommandLine) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dqctl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Commands:" in out + err
    assert "error:" not in out + err


def test_a_missing_setting_names_every_place_where_it_could_be(run: CommandLine) -> None:
    said = run("tables", "show", code=2)
    files = [run.home / "stacks" / "default" / "settings.toml", run.home / "settings.toml"]
    for place in ("DATABRICKS_HOST", "DQCTL_WORKSPACE", *map(str, files)):
        assert place in said.err
    found = run.document("tables", "show", code=2)
    assert found["error"]["hint"] in said.err


def test_a_stack_that_is_not_there_is_said_with_the_way_to_get_one(run: CommandLine) -> None:
    for command in (["runs"], ["run-tests", "--all"], ["publish"], ["systems", "list"], ["report"]):
        said = run(*command, code=2)
        assert "is not installed" in said.err
        assert f"hint: run: dqctl --home {run.home} install" in said.err
    assert f"dqctl --home {run.home} install" in run("status").out


def test_flag_before_variable_before_stack_file_before_user_file(tmp_path: Path) -> None:
    stack = tmp_path / "stacks" / "default"
    stack.mkdir(parents=True)

    def missing_warehouse(*flags: str, **variables: str) -> str:
        """The workspace that the command looks for, which nobody has started."""
        said = CommandLine(tmp_path, variables)("workspace", "status", *flags, code=3)
        return said.err.partition("local workspace in ")[2].partition(" does not run")[0]

    assert missing_warehouse() == str(tmp_path / "workspaces" / "default")
    (tmp_path / "settings.toml").write_text('workspace = "/nowhere/user"\n')
    assert missing_warehouse() == "/nowhere/user"
    (stack / "settings.toml").write_text('workspace = "/nowhere/stack"\n')
    assert missing_warehouse() == "/nowhere/stack"
    assert missing_warehouse(DQCTL_WORKSPACE="/nowhere/variable") == "/nowhere/variable"
    assert missing_warehouse("--data-dir", "/nowhere/flag", DQCTL_WORKSPACE="/nowhere/variable") == "/nowhere/flag"


def test_a_secret_in_a_settings_file_is_refused_and_not_repeated(run: CommandLine) -> None:
    (run.home / "settings.toml").write_text('databricks_token = "dapi-4711-plain-to-see"\n')
    said = run("--debug", "tables", "show", code=2)
    assert "holds a secret" in said.err
    assert "dapi-4711-plain-to-see" not in said.everything


@pytest.fixture
def damaged(tmp_path: Path) -> CommandLine:
    """A stack whose record no dqctl wrote."""
    stack = tmp_path / "stacks" / "default"
    stack.mkdir(parents=True)
    (stack / "stack.json").write_text('{"format": 1, "testgen_version"')
    return CommandLine(tmp_path)


def test_a_damaged_record_is_an_error_without_a_traceback(damaged: CommandLine) -> None:
    for command in (["status"], ["runs"], ["uninstall"]):
        said = damaged(*command, code=3)
        assert "Traceback" not in said.everything
        assert "stack.json" in said.err
        assert "hint: " in said.err
    assert "Traceback" in damaged("--debug", "status", code=3).err
    found = damaged.document("status", code=3)
    assert found["outcome"] == "environment"
    assert "stack.json" in found["error"]["message"]


@pytest.fixture
def unforeseen(tmp_path: Path) -> CommandLine:
    """A workspace whose description is no object: nobody expects that, so it comes up as a defect."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "workspace.json").write_text('["not", "an", "endpoint"]')
    return CommandLine(tmp_path, {"DQCTL_WORKSPACE": str(workspace)})


def test_the_unforeseen_ends_with_3_and_shows_its_traceback_on_request_only(unforeseen: CommandLine) -> None:
    said = unforeseen("tables", "show", code=3)
    assert "Traceback" not in said.everything
    assert "hint: " in said.err
    debugged = unforeseen("--debug", "tables", "show", code=3)
    assert "Traceback (most recent call last)" in debugged.err
    found = unforeseen.document("tables", "show", code=3)
    assert found["outcome"] == "environment"


def test_a_file_that_cannot_be_read_is_the_machines_fault_and_no_defect(tmp_path: Path) -> None:
    in_the_way = tmp_path / "workspace" / "workspace.json"
    in_the_way.mkdir(parents=True)
    said = CommandLine(tmp_path, {"DQCTL_WORKSPACE": str(in_the_way.parent)})("tables", "show", code=3)
    assert said.err.startswith(f"error: {in_the_way}: Is a directory\n")
    assert "defect" not in said.err


def test_debug_shows_one_object_on_stdout_all_the_same(unforeseen: CommandLine) -> None:
    said = unforeseen("--debug", "--output", "json", "tables", "show", code=3)
    assert said.document["error"]["message"]
    assert "Traceback" in said.err


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", [["status"], ["--output", "json", "status"]], ids=" ".join)
def test_a_reader_that_has_enough_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    pipe = closed_pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dqctl", "--home", str(tmp_path), *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(pipe)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_keeps_its_exit_code_when_nobody_reads_it(tmp_path: Path) -> None:
    for arguments, code in ((["runs"], 2), (["--output", "json", "runs"], 2), (["workspace", "status"], 3)):
        pipe = closed_pipe()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "dqctl", "--home", str(tmp_path), *arguments],
                stdout=pipe,
                stderr=pipe,
                timeout=60,
            )
        finally:
            os.close(pipe)
        assert done.returncode == code


_WHAT_IS_LOADED = """
import json, sys
from dqctl.cli import app
sys.argv = ["dqctl", *sys.argv[1:]]
try:
    app.main()
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"pydantic", "pydantic_settings", "databricks", "rich", "pyarrow", "psycopg", "jinja2", "yaml", "tenacity"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run-tests", "--help"]], ids=" ".join)
def test_help_loads_nothing_that_takes_long(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WHAT_IS_LOADED, *arguments], capture_output=True, text=True, timeout=60
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "typer" in loaded
    # Typer itself (0.29) asks pydantic to read the value of an option that is not a plain one.
    allowed = {"pydantic"} if arguments[0] == "run-tests" else set()
    assert loaded & HEAVY <= allowed


def test_quiet_leaves_the_data(tmp_path: Path) -> None:
    loud = CommandLine(tmp_path)("workspace", "stop")
    quiet = CommandLine(tmp_path)("--quiet", "workspace", "stop")
    assert loud.out == quiet.out != ""
    assert quiet.err == ""


@pytest.mark.parametrize("option", ["--stack", "--home", "--output"])
def test_global_options_may_stand_behind_the_command(tmp_path: Path, option: str) -> None:
    value = {"--stack": "other", "--home": str(tmp_path / "elsewhere"), "--output": "json"}[option]
    before = CommandLine(tmp_path)(option, value, "status")
    behind = CommandLine(tmp_path)("status", option, value)
    joined = CommandLine(tmp_path)("status", f"{option}={value}")
    assert before == behind == joined
    assert value in before.out or json.loads(before.out)


def test_what_stands_behind_a_double_dash_is_no_option(run: CommandLine) -> None:
    said = run("run-tests", "--", "--output", "json", code=2)
    assert said.err.startswith("error: ")


def test_a_closed_stdout_is_no_defect(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m dqctl --home "$1" status >&-', sys.executable, str(tmp_path)],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("version", ["abc", "5.134", "1_0.2.3", "v5.134.0", ""])
def test_install_refuses_what_is_no_version_before_it_does_anything(run: CommandLine, version: str) -> None:
    said = run("install", "--version", version, code=2)
    assert "is not a version of TestGen" in said.err
