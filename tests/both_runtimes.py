"""A stack in either runtime, and eyes for what the runtimes' Protocol does not show: processes, homes, deaths."""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from command_line import CommandLine
from container_stacks import containers, remove_project
from dqctl.progress import silent
from dqctl.runtime import Runtime, open_runtime
from dqctl.stack.paths import StackPaths


class Stack(Protocol):
    """An installed stack, wherever it runs."""

    run: CommandLine

    def homes(self) -> list[str]:
        """Homes of calls that are there now."""
        ...

    def has_process(self, text: str) -> bool:
        """Whether a process of TestGen runs with ``text`` in its command line."""
        ...

    def kill(self) -> None:
        """SIGKILL for all that lasts between commands."""
        ...

    def lose(self) -> None:
        """Take away all that there is of the stack, its database first of all, and leave its secrets."""
        ...


@dataclass(frozen=True)
class LocalStack:
    run: CommandLine

    def homes(self) -> list[str]:
        return [path.name for path in opened(self).paths.work.iterdir()]

    def has_process(self, text: str) -> bool:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                found = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            # The process of the tests that starts it has the text in its arguments, too.
            if text.encode() in found[0] and b"TG_TESTGEN_HOME=" + bytes(self.run.home) in found[1]:
                return True
        return False

    def kill(self) -> None:
        pid = opened(self).health().postgres_pid
        assert pid
        os.kill(pid, signal.SIGKILL)

    def lose(self) -> None:
        runtime = opened(self)
        runtime.down()
        _remove_all_but_secrets(runtime.paths)


@dataclass(frozen=True)
class ContainerStack:
    run: CommandLine
    name: str

    def homes(self) -> list[str]:
        said = containers(self.name)["engine"].exec_run(["sh", "-c", "ls /tmp/dqctl 2>/dev/null"])
        return str(said.output.decode()).split()

    def has_process(self, text: str) -> bool:
        return any(text in row[-1] for row in containers(self.name)["engine"].top()["Processes"])

    def kill(self) -> None:
        for container in containers(self.name).values():
            container.kill()

    def lose(self) -> None:
        paths = opened(self).paths
        remove_project(self.name)
        _remove_all_but_secrets(paths)


def _remove_all_but_secrets(paths: StackPaths) -> None:
    for path in paths.root.iterdir():
        if path.is_dir() and path != paths.secrets:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def opened(stack: Stack) -> Runtime:
    """The stack's runtime, up."""
    return open_runtime(stack.run.settings, silent)


def is_quiet(stack: Stack, text: str, seconds: float) -> bool:
    """Whether no process with ``text`` in its command line is left within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not stack.has_process(text):
            return True
        time.sleep(0.1)
    return False
