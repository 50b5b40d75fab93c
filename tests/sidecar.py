"""A sidecar for tests: the real process, and what it answers."""

import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from command_line import CommandLine, Process, Said

# Whatever is waited for takes seconds; on a machine with much to do, many.
PATIENCE = 120.0


def within(found: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What ``found`` finds, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, f"nothing after {seconds:g} s"
        time.sleep(0.1)
    return result


class Sidecar:
    """``dqctl controller run``, listening at a port of its own."""

    def __init__(self, command: CommandLine) -> None:
        self.process: Process = command.start("controller", "run", "--listen", "127.0.0.1:0")
        assert self.process.hear("listening at port"), self.process.end(10)
        said = "".join(self.process.spoken)
        found = re.search(r"listening at port (\d+)", said)
        assert found, said
        self.port = int(found[1])

    def get(self, path: str) -> tuple[int, str]:
        """Status and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError as broken:
            raise AssertionError("".join(self.process.spoken)) from broken

    def ready(self) -> dict[str, Any]:
        """What /readyz tells, ``status`` among it."""
        status, text = self.get("/readyz")
        found: dict[str, Any] = json.loads(text)
        return {**found, "status": status}

    def number(self, series: str) -> float | None:
        """A number of /metrics; None where there is no such series."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def rounds(self) -> float:
        """Rounds that have ended."""
        return self.number('dqctl_controller_rounds_total{stack="default"}') or 0.0

    def settled(self) -> "Sidecar":
        """The same, when it leads and the round that it begins with is over."""
        within(lambda: self.rounds() >= 1)
        return self

    def end(self) -> Said:
        """SIGTERM, and what it said."""
        self.process.signal(signal.SIGTERM)
        return self.process.end(PATIENCE)
