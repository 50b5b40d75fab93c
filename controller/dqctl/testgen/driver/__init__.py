"""The program that runs inside TestGen's own Python, and how it is asked.

One interpreter start serves several requests. The program travels on stdin together with
them: it works the same where no file of ours is at hand, and neither source nor request shows in a list of
processes.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed
from dqctl.redaction import redact
from dqctl.testgen.ports import Runtime

Event = Callable[[str, Mapping[str, Any]], None]

_log = logging.getLogger(__name__)

MARKER = "@@dqctl@@ "
BOOTSTRAP = (
    "import json, sys; package = json.load(sys.stdin); names = {'__name__': 'dqctl_driver'}; "
    "exec(compile(package['sources']['main'], '<dqctl driver: main>', 'exec'), names); "
    "sys.exit(names['main'](package))"
)
_TAIL = 12


def ask(
    runtime: Runtime,
    requests: Sequence[Mapping[str, Any]],
    *,
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    on_event: Event | None = None,
) -> list[dict[str, Any]]:
    """The answers to ``requests``, in their order, from one start of TestGen's Python.

    Each request has ``verb``, the name of a file of this package. ``on_event`` gets what a verb says while it
    works. Raises ``TestGenFailed`` when a request fails or the program ends without an answer to all.
    """
    answers: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []

    def hear(line: str) -> None:
        if not line.startswith(MARKER):
            return
        content = json.loads(line.removeprefix(MARKER))
        said = content.pop("said")
        if said == "answer":
            answers.append(content["answer"])
        elif said == "failure":
            failures.append((content["type"], content["message"]))
        elif on_event:
            on_event(said, content)

    package = {
        "marker": MARKER,
        "sources": {name: source(name) for name in {"main", "defer", *(each["verb"] for each in requests)}},
        "requests": list(requests),
    }
    done = runtime.run(
        ["-c", BOOTSTRAP],
        program="python",
        stdin=json.dumps(package),
        deadline=deadline,
        environment=environment,
        on_line=hear,
    )
    _log.debug("driver ended with %s after %.1f s; stderr: %s", done.exit_code, done.seconds, done.stderr)
    if len(answers) == len(requests):
        return answers
    verb = requests[len(answers)]["verb"]
    if failures:
        raise Failed(verb, failures[0][0], redact(failures[0][1]))
    raise Ended(verb, done.exit_code, done.stderr)


class Failed(TestGenFailed):
    """TestGen's code raised an error; ``kind`` is its type, ``reason`` type and text."""

    def __init__(self, verb: str, kind: str, message: str) -> None:
        self.kind = kind
        self.reason = f"{kind}: {message}"
        super().__init__(f"TestGen could not {verb}: {self.reason}", "dqctl doctor looks for the reason")


class Ended(TestGenFailed):
    """TestGen's Python ended before it had answered; ``code`` is its exit code."""

    def __init__(self, verb: str, exit_code: int, stderr: str) -> None:
        self.code = exit_code
        tail = redact("\n".join(stderr.strip().splitlines()[-_TAIL:]))
        self.reason = f"TestGen's process ended with code {exit_code}"
        super().__init__(
            f"{self.reason} in the middle of {verb}",
            f"the last it wrote:\n{tail}" if tail else "it wrote nothing; dqctl doctor looks for the reason",
        )


def source(name: str) -> str:
    """The text of a file of this package."""
    return (files(__package__) / f"{name}.py").read_text(encoding="utf-8")
