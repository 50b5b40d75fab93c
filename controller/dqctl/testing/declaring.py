"""Systems that a test declares, and that go with it."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dqctl.testing.schema import Schema
from dqctl.testing.stack import Stack, System


class Declaring:
    """Declares systems, and removes them at the end: what the fixture ``dq_system`` gives."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._declared: list[str] = []

    def __call__(self, declaration: Path | str | Mapping[str, Any] | Schema) -> System:
        """Declare one system; that system.

        ``declaration`` is a systems file, what would stand in one, one system of those (its name may be left out),
        or a schema: then it is a system with one suite for all tables there.
        """
        wanted = declaration if isinstance(declaration, Path | str) else _whole(declaration)
        names = self._stack.apply(wanted)
        self._declared += names
        if len(names) != 1:
            raise ValueError(f"one system is declared at a time, not {len(names)}: {', '.join(names)}")
        return System(names[0], self._stack)

    def remove(self) -> None:
        """Remove the systems; their data stays."""
        if self._declared:
            self._stack.apply({"version": 1, "remove": {"systems": self._declared}})


def _whole(declaration: Mapping[str, Any] | Schema) -> Mapping[str, Any]:
    name = f"t-{secrets.token_hex(6)}"
    if isinstance(declaration, Schema):
        tables = {"name": f"{name}-tables", "suites": [{"name": f"{name}-suite"}]}
        connection = {"catalog": declaration.catalog, "schema": declaration.schema, "table_groups": [tables]}
        declaration = {"connections": [{"name": f"{name}-lakehouse", **connection}]}
    if "systems" in declaration:
        return declaration
    return {"version": 1, "systems": [{"name": name, **declaration}]}
