"""``dqctl`` as a process of its own, as users and CI run it.

In the test's process it would share warning filters, patched modules and variables with the tests.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from dqctl import processes, signals
from dqctl.errors import EnvironmentFault

LOGS = "dqctl logs says more"
_INTERRUPTED = 30.0  # seconds for a command to end what it has begun


class CommandFailed(Exception):  # noqa: N818 - named for what it is
    """A command of dqctl ended with an error; ``code`` is its exit code (``dqctl.errors.ExitCode``)."""

    def __init__(self, message: str, hint: str = "", code: int = 3) -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.code = code


def dqctl(
    environment: Mapping[str, str], *arguments: str, timeout: float, codes: tuple[int, ...] = (0,)
) -> dict[str, Any]:
    """The object that a command prints. ``environment`` goes over this process's own.

    Raises ``CommandFailed`` for an exit code that is not among ``codes``, ``EnvironmentFault`` when it takes
    longer than ``timeout`` seconds or says nothing that can be read.
    """
    argv = [sys.executable, "-P", "-m", "dqctl", "--quiet", "--output", "json", *arguments]
    # Killed tests want nothing any more: a stack that came up behind them would be nobody's.
    dies_with_us = processes.dies_with(os.getpid(), signal.SIGTERM)
    with signals.held():
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            preexec_fn=dies_with_us,  # noqa: PLW1509 - two system calls and no more
        )
    with process:
        try:
            said, complaint = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise EnvironmentFault(
                f"dqctl {arguments[0]} is not done after {timeout:g} s", "give it more with --dq-timeout"
            ) from None
        except BaseException:
            _end(process)
            raise
    try:
        document: dict[str, Any] = json.loads(said)
    except ValueError:
        raise EnvironmentFault(
            f"dqctl {arguments[0]} ended with exit code {process.returncode} and says nothing that can be read",
            complaint.strip()[-1000:],
        ) from None
    if process.returncode not in codes:
        wrong = _error(document)
        raise CommandFailed(wrong["message"], wrong["hint"], process.returncode)
    return document


def _error(document: Mapping[str, Any]) -> Mapping[str, str]:
    found = document.get("error") or next(iter(document.get("errors", ())), None)
    if found is None and (run := next(filter(has_failed, _runs(document)), None)):
        found = {"message": failure(run), "hint": LOGS}
    return found or {"message": f"dqctl ended as {document.get('outcome')}", "hint": ""}


def has_failed(run: Mapping[str, Any]) -> bool:
    """Whether a job of TestGen, as ``profile`` and ``run-tests`` tell of it, did not end well."""
    return bool(run["status"] != "completed")


def failure(run: Mapping[str, Any]) -> str:
    """What such a job has to say."""
    about = f"{run['system']}/{run['test_suite'] or run['table_group']}"
    return f"the {run['kind']} run of {about} ended as {run['status']}: {run['error_message']}"


def _runs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (report["run"] for report in document.get("runs", ()) if "run" in report)


def _end(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C reached it, too, if that is what happened; it ends what it has begun, or is ended."""
    process.terminate()
    try:
        process.wait(_INTERRUPTED)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
