"""One test run, with pytest-xdist's workers: what it needs is made once, by whoever needs it first."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dqctl.errors import DqctlError
from dqctl.files import PRIVATE_FILE, write_atomically
from dqctl.localworkspace.endpoint import Endpoint
from dqctl.testing import leash
from dqctl.testing.commands import CommandFailed
from dqctl.testing.databricks import Databricks
from dqctl.testing.local import Attached, LocalDatabricks
from dqctl.testing.options import Options
from dqctl.testing.stack import Stack

KEPT = "kept"  # names the stacks that were kept

_TTL = "6h"
_STEPS = 4  # of a stack that comes up: made, profiled, its tests generated and listed


class NotMade(Exception):  # noqa: N818 - named for what it is
    """Something that several tests need could not be made. ``is_first``: nobody else was told yet."""

    def __init__(self, message: str, hint: str, *, is_first: bool) -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.is_first = is_first


class TestRun:
    """One run of pytest. All that its processes share is in ``directory``, which is the controller's."""

    __test__ = False

    def __init__(self, options: Options, directory: Path) -> None:
        self.options = options
        self._directory = directory
        self._known: dict[str, Any] = {}

    def once(self, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, something that JSON can hold, made once for all processes of the run.

        Raises ``NotMade`` when that failed, for whoever asks.
        """
        if what not in self._known:
            self._known[what] = self._once(what, make)
        return self._known[what]

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        file = self._directory / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"
        is_first = False
        try:
            with FileLock(file.with_suffix(".lock"), timeout=self.options.timeout * _STEPS):
                if not file.exists():
                    is_first = True
                    try:
                        said = {"made": make()}
                    except (DqctlError, CommandFailed) as error:
                        said = {"message": error.message, "hint": error.hint}
                    write_atomically(file, json.dumps(said), PRIVATE_FILE)
        except Timeout:
            raise NotMade(
                f"another worker is not done with it after {self.options.timeout * _STEPS:g} s: {what}",
                "give it more with --dq-timeout",
                is_first=True,
            ) from None
        found = json.loads(file.read_text(encoding="utf-8"))
        if "made" in found:
            return found["made"]
        raise NotMade(found["message"], found["hint"], is_first=is_first)

    def stack(self, systems: Path | None = None) -> Stack:
        """The stack with what ``systems`` declares: the one that was named, else one of the run's own."""
        if self.options.stack:
            return Stack(self.options.stack, {"DQCTL_STACK": self.options.stack}, self.options.timeout)
        found = self.once(f"stack of {systems}", lambda: self._bring_up(systems))
        return Stack(found["name"], found["environment"], self.options.timeout, is_own=True)

    def _bring_up(self, systems: Path | None) -> dict[str, Any]:
        name = f"pytest-{secrets.token_hex(4)}"
        if not self.options.keep:
            leash.watch(self._directory, leash.Kind.STACK, name)
        arguments = ["ci", "up", "--name", name, "--runtime", self.options.runtime, "--ttl", _TTL]
        arguments += ["--file", str(systems)] if systems else []
        arguments += ["--seed", str(self.options.seed)] if self.options.seed else []
        arguments += ["--databricks"] if self.options.databricks else []
        made = Stack(name, {}, self.options.timeout).dqctl(*arguments)
        if self.options.keep:
            with (self._directory / KEPT).open("a", encoding="utf-8") as file:
                file.write(f"{name}, in {made['files']['directory']}: dqctl ci down {name}\n")
        return {"name": name, "environment": made["environment"]}

    def workspace(self, *, with_stack: bool) -> Databricks:
        """The workspace: that of the stack where tests need one, else one without a stack."""
        if with_stack:
            return self._of_stack(self.stack(self.options.system))
        if self.options.databricks:
            return self._of_stack(None)
        started = self.once("workspace", self._start_container if self._in_docker else self._start_locally)
        return Attached(_endpoint(started))

    @property
    def _in_docker(self) -> bool:
        return self.options.runtime == "docker"

    def _of_stack(self, stack: Stack | None) -> Databricks:
        data_dir = (stack.environment if stack else {}).get("DQCTL_WORKSPACE") or os.environ.get("DQCTL_WORKSPACE")
        endpoint = Endpoint.read(Path(data_dir)) if data_dir else None
        if endpoint is not None:
            return Attached(endpoint)
        from dqctl.testing.remote import RemoteDatabricks  # the SDK, which takes a second

        return RemoteDatabricks(stack.environment if stack else {})

    def _start_locally(self) -> dict[str, Any]:
        workspace = LocalDatabricks(timeout=self.options.timeout)
        return _said(workspace.start_in(self._directory / "workspace", self._directory))

    def _start_container(self) -> dict[str, Any]:
        from dqctl.testing.container import DatabricksContainer  # no Docker where it is not asked for

        container = DatabricksContainer(timeout=self.options.timeout, is_owned=False)
        leash.watch(self._directory, leash.Kind.CONTAINER, container.label)
        return _said(container.start_in(self._directory))


def _said(endpoint: Endpoint) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(endpoint.as_json())
    return said


def _endpoint(found: dict[str, Any]) -> Endpoint:
    paths = {name: Path(found[name]) for name in ("ca_file", "token_file", "data_dir")}
    return Endpoint(**{**found, **paths, "proxy_addresses": tuple(found["proxy_addresses"])})
