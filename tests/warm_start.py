"""Commands of ``dqctl`` that begin where its imports have ended.

Half of the processor time of a command goes to imports (0.9 s), the same ones a thousand times in a run of all
tests. So one process a worker imports all of dqctl, and forks: each command is a process, with a session, an
environment, a directory and an output of its own, that runs ``python -m dqctl`` from there, or a program of a
test's that works with dqctl's modules. How dqctl starts is left to those that ``CommandLine.start`` starts.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

# Whoever runs the tests may have set these; what a process prints must not depend on it.
NOT_INHERITED = ("COLUMNS", "LINES", "CI", "FORCE_COLOR", "NO_COLOR", "PYTHONWARNINGS", "PYTHONSTARTUP")
_NUMBER = 20  # bytes of a process id, of an exit code


class Warm:
    """A command that was begun by the process that has everything imported; as much of ``Popen`` as is needed."""

    stdin = None

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], program: str | None = None
    ) -> None:
        """``program`` is the text of another one than dqctl, as ``python -c`` takes it."""
        request = {
            "arguments": [*arguments],
            "environment": dict(environment),
            "directory": str(Path.cwd()),
            "program": program,
        }
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        self._ended, its_end = os.pipe()
        with tempfile.TemporaryFile() as file:  # an environment may be longer than a message
            file.write(json.dumps(request).encode())
            file.seek(0)
            socket.send_fds(_server(), [b"!"], [file.fileno(), its_out, its_err, its_end])
        for descriptor in (its_out, its_err, its_end):
            os.close(descriptor)
        self.stdout: IO[str] = os.fdopen(out, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(err, encoding="utf-8")
        self._code: int | None = None
        self.pid = self._read()

    def __del__(self) -> None:
        os.close(self._ended)

    def _read(self) -> int:
        said = os.read(self._ended, _NUMBER)
        assert said, "the process that starts commands is gone"
        return int(said)

    def poll(self) -> int | None:
        """Its exit code, negative when a signal ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float) -> int:
        """Its exit code; ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""
        if self._code is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("dqctl", timeout)
            self._code = self._read()
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> socket.socket:
    ours, its = socket.socketpair()
    with its:
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        # Not waited for: it ends with the last holder of the other end, which is this process.
        subprocess.Popen(
            [sys.executable, __file__, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            env=kept,
            start_new_session=True,
        ).returncode = 0  # as far as Popen knows, or it complains that the process still runs
    return ours


def _serve(requests: socket.socket) -> str | None:
    """Fork at each request; returns in the new process, as the command that was asked for: a program, or dqctl."""
    import importlib
    import pkgutil
    import threading

    import dqctl.cli
    import dqctl.services

    for package in (dqctl.cli, dqctl.services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    # Those of numpy and of pyarrow's allocator know what a fork is.
    assert threading.active_count() == 1, "a process with threads is not forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait for the commands are not waited for
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            break
        for descriptor in descriptors:
            os.close(descriptor)
    requests.close()
    file, out, err, end = descriptors
    if command := os.fork():
        for descriptor in (file, out, err):
            os.close(descriptor)
        os.write(end, f"{command:{_NUMBER}}".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
            os.write(end, f"{code:{_NUMBER}}".encode())
        os._exit(0)
    os.close(end)
    with os.fdopen(file) as text:
        request = json.load(text)
    os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    program: str | None = request["program"]
    sys.argv = ["-c" if program else "dqctl", *request["arguments"]]
    for stream, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    return program


if __name__ == "__main__":
    import gc
    import runpy

    sys.path.pop(0)  # the tests' own modules
    gc.disable()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    gc.freeze()
    gc.enable()
    if asked:
        exec(compile(asked, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own
    else:
        runpy.run_module("dqctl", run_name="__main__", alter_sys=True)
