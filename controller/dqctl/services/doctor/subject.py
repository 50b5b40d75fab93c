"""What is examined: a stack, installed or not, and what its settings lead to."""

import shlex
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from dqctl.databricks.rest import RestApi
from dqctl.databricks.target import Target, resolve_target
from dqctl.errors import DqctlError, EnvironmentFault
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.progress import silent
from dqctl.runtime import Runtime, runtime_of
from dqctl.settings import Settings, default_home
from dqctl.stack.paths import StackPaths
from dqctl.stack.record import StackRecord, read_record

RuntimeKind = Literal["local", "docker"]


@dataclass(frozen=True)
class Subject:
    """The stack that ``settings`` name; ``settings.runtime`` is where it is going to run when there is none yet.

    What several checks need is found once and kept; each of them may be the first to ask.
    """

    settings: Settings
    _kept: dict[str, Any] = field(default_factory=dict)
    _locks: dict[str, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    @cached_property
    def paths(self) -> StackPaths:
        """Where the stack lies, or would."""
        return StackPaths(self.settings.home, self.settings.stack)

    @property
    def record(self) -> StackRecord | None:
        """What is installed; None when nothing is, or when the record cannot be read (a check says so)."""
        try:
            return self.read_record()
        except DqctlError:
            return None

    def read_record(self) -> StackRecord | None:
        """What is installed; ``EnvironmentFault`` when that cannot be told."""
        found: StackRecord | None = self._once("record", lambda: read_record(self.paths))
        return found

    @property
    def kind(self) -> RuntimeKind:
        """Where the stack runs, or is going to."""
        return self.record.runtime if self.record else self.settings.runtime or "local"

    @property
    def runtime(self) -> Runtime:
        """The stack's runtime, as it is."""
        found: Runtime = self._once("runtime", self._open)
        return found

    def _open(self) -> Runtime:
        record = self.read_record()
        if record is None:
            raise EnvironmentFault(f"stack {self.settings.stack!r} is not installed", self.command("install"))
        return runtime_of(self.paths, record, silent)

    def command(self, *words: str) -> str:
        """A command line of dqctl's about this stack, as a person has to type it."""
        home = [] if self.settings.home == default_home() else ["--home", str(self.settings.home)]
        stack = [] if self.settings.stack == "default" else ["--stack", self.settings.stack]
        runtime = ["--runtime", self.kind] if words == ("install",) and self.kind != "local" else []
        return shlex.join(["dqctl", *home, *stack, *words, *runtime])

    @property
    def endpoint(self) -> Endpoint | None:
        """The local workspace that is configured; None when none is, or when it does not run."""
        return Endpoint.read(self.settings.workspace) if self.settings.workspace else None

    @property
    def target(self) -> Target:
        """Where results go; ``UsageError`` or ``EnvironmentFault`` when that is not said, or cannot be told."""
        found: Target = self._once("target", self._find_target)
        return found

    def _find_target(self) -> Target:
        workspace = self.settings.workspace
        if workspace and self.endpoint is None:
            raise EnvironmentFault(
                f"the local workspace in {workspace} does not run",
                f"start it: dqctl workspace start --data-dir {shlex.quote(str(workspace))}",
            )
        return resolve_target(self.settings, self.endpoint)

    @property
    def rest(self) -> RestApi:
        """REST of the workspace."""
        found: RestApi = self._once("rest", lambda: RestApi(self.target))
        return found

    def _once(self, name: str, find: Callable[[], Any]) -> Any:
        # One lock a name: whoever hangs in one question holds up those who ask the same one only.
        with self._locks[name]:
            if name not in self._kept:
                self._kept[name] = find()
            return self._kept[name]
