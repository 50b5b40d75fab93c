# mypy: disable-error-code="import-not-found"
"""The program that TestGen's own Python runs for dqctl: reads requests on stdin, answers on stdout.

It imports nothing of dqctl (other interpreter, other place) and is started by ``BOOTSTRAP`` of this package,
which reads the first line of stdin: this text. The second one has the sources of the verbs, and what is expected
to be asked. Each further line has ``requests`` and the ``environment`` that they need; a line with nothing in it,
or the end of stdin, is the end. Each request is an object with ``verb``; verbs are the files of this directory
that have ``serve(request, say)``. Everything that is said is one line of JSON after ``marker``: that a line was
``read``, events while a verb works, then its answer. TestGen's own output goes to stderr. A request that fails
ends the program with 1; those after it are not served.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import sys
import threading
import types
from typing import Any

STDIN = 0


class Said:
    """The real stdout, one whole line at a time."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._lock = threading.Lock()
        self._descriptor = os.dup(1)
        sys.stdout.flush()
        os.dup2(2, 1)

    def __call__(self, what: str, **content: Any) -> None:
        """Say ``what``, an event of the verb at work or of this program."""
        line = f"{self._marker}{json.dumps({'said': what, **content}, default=str)}\n"
        with self._lock:
            os.write(self._descriptor, line.encode())


class Lines:
    """The lines of stdin, read past Python's own buffer, which would hide what is there."""

    def __init__(self) -> None:
        self._read = b""

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to read now."""
        return not self._read and not select.select([STDIN], [], [], 0)[0]

    def next(self) -> bytes:
        """The next one, waited for; nothing at the end."""
        while b"\n" not in self._read and (piece := os.read(STDIN, 1 << 16)):
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line


def load(name: str, source: str) -> types.ModuleType:
    """The verb ``name`` as a module."""
    module = types.ModuleType(f"dqctl_driver_{name}")
    module.__file__ = f"<dqctl driver: {name}>"
    exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 - our own source, from stdin
    return module


class Verbs:
    """The verbs by name, each loaded when it is needed, or before that while there is nothing to do."""

    def __init__(self, package: dict[str, Any]) -> None:
        self._sources = package["sources"]
        self._loaded: dict[str, types.ModuleType] = {}
        self._expected: list[str] = list(package["verbs"])
        self._modules: list[str] = list(package["modules"])

    def __getitem__(self, name: str) -> types.ModuleType:
        """The verb ``name``."""
        if name not in self._loaded:
            with garbage_left():
                self._loaded[name] = load(name, self._sources[name])
        return self._loaded[name]

    def prepare(self) -> bool:
        """Load one of those that are expected, or import a module that they will; False when there is none."""
        if self._expected:
            _ = self[self._expected.pop(0)]
            return True
        if self._modules:
            with contextlib.suppress(ImportError), garbage_left():
                importlib.import_module(self._modules.pop(0))
            return True
        return False


@contextlib.contextmanager
def garbage_left() -> Any:
    """What imports make stays: looking for garbage in it is a sixth of their time (5.33.3 to 5.134.0)."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> int:
    """Serve what stdin asks, but for its first line, which is read already; the exit code."""
    lines = Lines()
    package = json.loads(lines.next())
    say = Said(package["marker"])
    load("defer", package["sources"]["defer"]).defer()
    with garbage_left():
        from testgen.common import models

    # The parameters of a failed statement may be secrets; SQLAlchemy would put them into the message.
    models.engine.hide_parameters = True
    verbs = Verbs(package)
    while True:
        if lines.is_silent and verbs.prepare():
            continue
        line = lines.next()
        if not line:
            return 0
        say("read")
        asked = json.loads(line)
        os.environ.update(asked["environment"])
        for request in asked["requests"]:
            try:
                say("answer", answer=verbs[request["verb"]].serve(request, say))
            except Exception as error:  # noqa: BLE001 - whatever it is, dqctl has to hear of it
                say("failure", type=type(error).__name__, message=str(error))
                return 1
