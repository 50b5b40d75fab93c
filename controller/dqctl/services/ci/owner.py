"""Who an ephemeral stack belongs to: a process, told from whoever has its number later."""

import os
import socket
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

_STARTED = 19  # of the fields of /proc/<pid>/stat behind the command's name: ticks since the machine started


class Owner(BaseModel):
    """A process of a machine since its last start. ``namespace`` is where its number counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has the number ``pid`` now; None when none has."""
        started = started_at(pid)
        if started is None:
            return None
        return cls(host=socket.gethostname(), boot=_boot(), namespace=_namespace(), pid=pid, started=started)

    @classmethod
    def here(cls) -> Self:
        """This process."""
        found = cls.of(os.getpid())
        if found is None:
            raise ProcessLookupError("/proc does not show this process")
        return found

    @classmethod
    def read(cls, label: str) -> Self | None:
        """The process that ``label`` names; None when it names none."""
        parts = label.split("/")
        if len(parts) != 5 or not (parts[3].isdecimal() and parts[4].isdecimal()):
            return None
        host, boot, namespace, pid, started = parts
        return cls(host=host, boot=boot, namespace=namespace, pid=int(pid), started=int(started))

    @property
    def label(self) -> str:
        """It as the label ``dqctl.owner`` of what a container engine has."""
        return f"{self.host}/{self.boot}/{self.namespace}/{self.pid}/{self.started}"

    @property
    def is_dead(self) -> bool:
        """Whether it surely runs no more; of a process that cannot be seen from here nobody knows."""
        if self.boot != _boot():
            # The machine was started anew since; or it is another one, which shares this directory or engine.
            return self.host == socket.gethostname()
        return self.namespace == _namespace() and started_at(self.pid) != self.started


def started_at(pid: int) -> int | None:
    """When the process ``pid`` began, in ticks since the machine did; None for none, and one that has ended."""
    try:
        # The name may hold anything, spaces and brackets too.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[_STARTED])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace() -> str:
    return Path("/proc/self/ns/pid").readlink().name
