"""The program that runs inside TestGen's own Python, and how it is asked.

One interpreter start serves several requests, and several calls of ``ask`` where somebody is ``standby``. The
program travels on stdin together with them: it works the same where no file of ours is at hand, and neither source
nor request shows in a list of processes.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from typing import Any

from dqctl.clock import Deadline
from dqctl.errors import TestGenFailed
from dqctl.redaction import redact
from dqctl.testgen import standby
from dqctl.testgen.ports import Completed, Runtime

Event = Callable[[str, Mapping[str, Any]], None]

_log = logging.getLogger(__name__)

MARKER = "@@dqctl@@ "
# Reads the first line and not a byte more: what comes behind it is for the program.
BOOTSTRAP = (
    "import json, sys; names = {'__name__': 'dqctl_driver'}; "
    "source = json.loads(sys.stdin.buffer.raw.readline()); "
    "exec(compile(source, '<dqctl driver: main>', 'exec'), names); sys.exit(names['main']())"
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
    heard = _Heard(len(requests), on_event)
    done: Completed | None = None
    if waiting := standby.found(runtime):
        asked = _line({"environment": dict(runtime.variables(environment or {})), "requests": list(requests)})
        done = waiting.serve(asked, deadline, heard)
    if not heard.anything:  # nobody waits, or who did had ended before
        names = {each["verb"] for each in requests}
        done = runtime.run(
            ["-c", BOOTSTRAP],
            program="python",
            stdin=_opening(names) + _line({"environment": {}, "requests": list(requests)}),
            deadline=deadline,
            environment=environment,
            on_line=heard,
        )
    if done:
        _log.debug("driver ended with %s after %.1f s; stderr: %s", done.exit_code, done.seconds, done.stderr)
    if heard.is_complete:
        return heard.answers
    verb = requests[len(heard.answers)]["verb"]
    if heard.failures:
        raise Failed(verb, heard.failures[0][0], redact(heard.failures[0][1]))
    raise Ended(verb, done.exit_code if done else 0, done.stderr if done else "")


class _Heard:
    """What the program says in answer to one call of ``ask``."""

    def __init__(self, wanted: int, on_event: Event | None) -> None:
        self.answers: list[dict[str, Any]] = []
        self.failures: list[tuple[str, str]] = []
        self.anything = False
        self._wanted = wanted
        self._on_event = on_event

    @property
    def is_complete(self) -> bool:
        """Whether all is answered."""
        return len(self.answers) == self._wanted

    def __call__(self, line: str) -> None:
        """Take note of a line; what is not the program's is TestGen's own chatter."""
        if not line.startswith(MARKER):
            return
        self.anything = True
        content = json.loads(line.removeprefix(MARKER))
        said = content.pop("said")
        if said == "answer":
            self.answers.append(content["answer"])
        elif said == "failure":
            self.failures.append((content["type"], content["message"]))
        elif self._on_event and said != "read":
            self._on_event(said, content)


def stand_by(runtime: Runtime) -> None:
    """Start TestGen's Python for what ``ask`` is going to ask, where somebody expects that (``standby.expected``).

    Returns at once. Its programs and its configuration have to be there; its database need not answer yet.
    """
    standby.begin(runtime, ["-c", BOOTSTRAP], _opening(_VERBS, _VERBS, _MODULES))


# In the order in which they are needed; then what a profile imports where the target is Databricks.
_VERBS = ("provision", "prepare", "run")
_MODULES = ("databricks.sql.client", "databricks.sqlalchemy")


def _opening(names: Collection[str], verbs: Sequence[str] = (), modules: Sequence[str] = ()) -> str:
    """The lines that come first: the program, and what it needs to serve the verbs ``names``.

    Of these ``verbs``, and then ``modules``, are loaded before somebody asks for them.
    """
    sources = {name: source(name) for name in ("defer", *names)}
    package = {"marker": MARKER, "sources": sources, "verbs": list(verbs), "modules": list(modules)}
    return _line(source("main")) + _line(package)


def _line(content: object) -> str:
    return json.dumps(content) + "\n"


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
