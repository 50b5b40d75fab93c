"""A disk that fills up under a save, a restore, an upgrade or a rollback: said, nothing lost, and it goes on."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line import CommandLine, Said
from dqctl.localworkspace import control
from dqctl.progress import silent
from dqctl.runtime import databases, open_runtime
from dqctl.settings import Settings
from dqctl.stack import upgrading
from dqctl.testgen.contents import contents
from stored_state import add_history

pytestmark = [
    pytest.mark.local,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts"),
]

OLD, NEW = "5.92.2", "5.134.0"
_MEGABYTES = 700  # a stack takes 150, an upgrade wants twice its database and a margin of 100
# What is left for the moment is what the commands ask for, so that it is full before a quick command is through.
_LAST = 160 << 20
_LONG = ("migrates the copy",)  # its command has asked for more space before, and then takes seconds


@dataclass(frozen=True)
class Disk:
    """The small disk on which the stack lies."""

    place: Path

    def fill(self, leave: int = 0) -> None:
        """Take all of its space but ``leave`` bytes."""
        with (self.place / "filler").open("ab", buffering=0) as file:
            try:
                while self._free() > leave:
                    file.write(b"x" * (1 << 20))
            except OSError:
                return

    def _free(self) -> int:
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_frsize

    def free(self) -> None:
        (self.place / "filler").unlink()


@pytest.fixture(scope="module")
def on_disk(
    copied_stack: Callable[[str], Settings], install_version: Callable[[str], Path]
) -> Iterator[tuple[CommandLine, Disk]]:
    """A stack of an older TestGen with a history, its state saved in a workspace that has a disk of its own."""
    install_version(NEW)
    home = copied_stack(OLD).home
    stacks = home / "stacks"
    stacks.rename(home / "copied")
    stacks.mkdir()
    stacks.chmod(0o711)
    size = ["-o", f"size={_MEGABYTES}m,mode=711"]
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", *size, "tmpfs", str(stacks)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    run = CommandLine(home, {"DQCTL_STATE": "auto"})
    workspace = home / "workspaces" / "default"
    try:
        subprocess.run(["/bin/cp", "-a", f"{home}/copied/default", str(stacks)], check=True)
        run("workspace", "start")
        run("install", "--workspace", workspace)
        with open_runtime(run.settings, silent).metadata() as connection:
            assert add_history(connection, OLD) > 30
        run("state", "save", "--full")
        yield run, Disk(stacks)
    finally:
        control.stop(workspace)
        open_runtime(run.settings, silent).down()
        subprocess.run(["/bin/umount", "-l", str(stacks)], check=True)


def stored(run: CommandLine) -> dict[str, tuple[int, int]]:
    """Rows and checksum of each of TestGen's tables."""
    with open_runtime(run.settings, silent).metadata() as connection:
        return {name: of for name, of in contents(connection).tables.items() if name.startswith("testgen.")}


def filled_under(run: CommandLine, disk: Disk, moment: str, *arguments: str) -> Said:
    """The command, with a disk that is full from the ``moment`` of which it speaks; then there is space again."""
    if moment not in _LONG:
        disk.fill(leave=_LAST)
    process = run.start(*arguments)
    try:
        assert process.hear(moment), process.end(30)
        disk.fill()
        return process.end(300)
    finally:
        disk.free()


def assert_said(said: Said) -> None:
    """A service that fails, with a way on. A PostgreSQL that died of it could not always say what of."""
    assert said.code == 3, said
    words = ("disk is full", "no space", "No space left on device", "the metadata database does not answer")
    assert any(each in said.err for each in words), said.err
    assert "hint: " in said.err, said.err


def assert_whole(run: CommandLine, before: dict[str, tuple[int, int]]) -> None:
    """What was stored is, the saved state too, and nothing is left of what was tried."""
    runtime = open_runtime(run.settings, silent)
    assert stored(run) == before
    assert upgrading.pending(runtime.paths) is None
    assert databases.existing(runtime.postgres) <= {databases.BEFORE}
    assert run.document("state", "verify")["unsaved"] == 0
    assert not [path.name for path in runtime.paths.root.rglob(".making-*")]


@pytest.mark.thorough(but="saving the state-command0")
@pytest.mark.parametrize(
    ("moment", "command"),
    [
        ("saving the state", ("state", "save", "--full")),
        ("restoring commit", ("state", "restore", "--replace")),
        ("restoring backup", ("backup", "restore", "latest")),
    ],
)
def test_a_save_or_a_restore_says_so_and_works_when_there_is_space(
    on_disk: tuple[CommandLine, Disk], moment: str, command: tuple[str, ...]
) -> None:
    run, disk = on_disk
    run("backup", "create")
    before = stored(run)
    said = filled_under(run, disk, moment, *command)
    if said.code == 5:  # what came back is the stack's own, and the disk too full to tell the state
        assert "restore" in command, said
        assert "the state is not saved" in said.err
        run("state", "save", "--take-over")
    elif said.code:
        assert "restore" in command, said
        assert_said(said)
    assert_whole(run, before)
    run(*command)
    assert_whole(run, before)


@pytest.mark.thorough
def test_an_upgrade_and_a_rollback_say_so_and_work_when_there_is_space(on_disk: tuple[CommandLine, Disk]) -> None:
    run, disk = on_disk
    before = stored(run)
    assert_said(filled_under(run, disk, "migrates the copy", "upgrade"))
    assert_whole(run, before)
    assert run.document("upgrade")["version"] == NEW
    upgraded = stored(run)
    assert_said(filled_under(run, disk, "backing up", "rollback", "--discard-runs"))
    assert_whole(run, upgraded)
    assert run.document("rollback", "--discard-runs")["version"] == OLD
    assert_whole(run, before)
