# mypy: disable-error-code="import-not-found"
"""The program that TestGen's own Python runs for dqctl: reads requests on stdin, answers on stdout.

It imports nothing of dqctl (other interpreter, other place) and is started by ``BOOTSTRAP`` of this package,
which hands it the whole of stdin: the sources of the verbs, and the requests. Each request is an object with
``verb``; verbs are the files of this directory that have ``serve(request, say)``. Everything that is said
is one line of JSON after ``marker``: events while a verb works, then its answer. TestGen's own output goes to
stderr. A request that fails ends the program with 1; those after it are not served.
"""

import gc
import json
import os
import sys
import threading
import types
from typing import Any


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


def load(name: str, source: str) -> types.ModuleType:
    """The verb ``name`` as a module."""
    module = types.ModuleType(f"dqctl_driver_{name}")
    module.__file__ = f"<dqctl driver: {name}>"
    exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 - our own source, from stdin
    return module


def main(package: dict[str, Any]) -> int:
    """Serve all requests of ``package``; the exit code."""
    say = Said(package["marker"])
    sources = dict(package["sources"])
    load("defer", sources.pop("defer")).defer()
    # What imports make stays: looking for garbage in it is a sixth of their time (5.33.3 to 5.134.0).
    gc.disable()
    from testgen.common import models

    # The parameters of a failed statement may be secrets; SQLAlchemy would put them into the message.
    models.engine.hide_parameters = True
    verbs = {name: load(name, source) for name, source in sources.items() if name != "main"}
    gc.freeze()
    gc.enable()
    for request in package["requests"]:
        try:
            say("answer", answer=verbs[request["verb"]].serve(request, say))
        except Exception as error:  # noqa: BLE001 - whatever it is, dqctl has to hear of it
            say("failure", type=type(error).__name__, message=str(error))
            return 1
    return 0
