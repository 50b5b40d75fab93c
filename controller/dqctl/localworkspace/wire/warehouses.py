"""The SQL warehouses: doors to the one engine, each with settings, a state and sessions of its own.

One is always there and never stops by itself. Others are made, edited and removed by REST; one with
``auto_stop_mins`` stops when nobody used it for so long, and the next statement starts it.
"""

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dqctl.localworkspace.wire.failures import ApiError, invalid
from dqctl.localworkspace.wire.sessions import Sessions
from dqctl.localworkspace.wire.warehouse_state import WarehouseState

logger = logging.getLogger(__name__)

LOCAL = "local"
_AUTO_STOP = 120  # minutes; what the API takes when none are given
_DEFAULTS: Mapping[str, Any] = {
    "cluster_size": "2X-Small",
    "warehouse_type": "PRO",
    "enable_serverless_compute": True,
    "auto_stop_mins": _AUTO_STOP,
    "min_num_clusters": 1,
    "max_num_clusters": 1,
}
_OTHERS = ("enable_photon", "tags", "spot_instance_policy", "channel", "instance_profile_arn", "creator_name")


@dataclass
class Warehouse:
    """One of them. ``settings`` are those of the request that made it, and of those that changed it."""

    id: str
    settings: dict[str, Any]
    state: WarehouseState = field(default_factory=WarehouseState)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.settings["name"])


class Warehouses:
    """All of them, kept in ``path``; safe to use from many threads. Stopping one ends its sessions."""

    def __init__(self, path: Path, sessions: Sessions, new_state: Callable[[], WarehouseState] = WarehouseState):
        self._path = path
        self._sessions = sessions
        self._new_state = new_state
        self._lock = threading.Lock()
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        first = {LOCAL: {**_DEFAULTS, "name": LOCAL, "auto_stop_mins": 0}}
        self._all = {each: Warehouse(each, settings, new_state()) for each, settings in (first | kept).items()}

    def all(self) -> list[Warehouse]:
        """Every warehouse, by name."""
        return sorted(self._all.values(), key=lambda each: each.name)

    def find(self, identifier: str) -> Warehouse:
        """One of them; ``ApiError`` when there is none."""
        found = self._all.get(identifier)
        if found is None:
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {identifier} does not exist.")
        return found

    @property
    def all_run(self) -> bool:
        """Whether a statement for any of them is taken at once."""
        return all(each.state.name == "RUNNING" for each in self._all.values())

    def create(self, given: Mapping[str, Any]) -> Warehouse:
        """Make one, which runs at once; ``ApiError`` for settings that make no sense."""
        with self._lock:
            settings = {**_DEFAULTS, **self._checked(given, None)}
            made = Warehouse(secrets.token_hex(8), settings, self._new_state())
            self._all[made.id] = made
            self._write()
            return made

    def edit(self, identifier: str, given: Mapping[str, Any]) -> None:
        """Change what ``given`` has."""
        with self._lock:
            found = self.find(identifier)
            found.settings = found.settings | self._checked({"name": found.name, **given}, found)
            self._write()

    def delete(self, identifier: str) -> None:
        """Remove one for good, and end its sessions."""
        with self._lock:
            self.find(identifier)
            if identifier == LOCAL:
                raise ApiError(400, "BAD_REQUEST", "The local workspace's own warehouse cannot be deleted.")
            del self._all[identifier]
            self._write()
        self._sessions.close_all(identifier)

    def stop(self, identifier: str, starting_takes: float | None = None) -> None:
        """Stop one; the next start takes so many seconds, by default as many as were asked for before."""
        self.find(identifier).state.stop(starting_takes)
        self._sessions.close_all(identifier)

    def run(self) -> None:
        """Have all of them running at once."""
        for each in self.all():
            each.state.run()

    def expire(self) -> None:
        """Stop those that nobody has used for as long as their ``auto_stop_mins``."""
        for each in self.all():
            minutes = each.settings["auto_stop_mins"]
            if minutes and each.state.idle >= minutes * 60 and not self._sessions.is_busy(each.id):
                logger.info("nobody used the warehouse %s for %s minutes: it stops", each.name, minutes)
                self.stop(each.id)

    def _checked(self, given: Mapping[str, Any], own: Warehouse | None) -> dict[str, Any]:
        name = given.get("name")
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise invalid("name is required, and has fewer than 100 characters")
        if any(each.name == name and each is not own for each in self._all.values()):
            raise invalid(f"SQL warehouse with name `{name}` already exists")
        minutes = given.get("auto_stop_mins", 0)
        if isinstance(minutes, str) and minutes.isdecimal():  # the SDK sends a number, older tools a text
            minutes = int(minutes)
        if not isinstance(minutes, int) or isinstance(minutes, bool) or minutes < 0:
            raise invalid("auto_stop_mins is 0 (never), or a number of minutes")
        known = {key: value for key, value in given.items() if key in (*_DEFAULTS, *_OTHERS, "name")}
        return known | ({"auto_stop_mins": minutes} if "auto_stop_mins" in given else {})

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({each.id: each.settings for each in self._all.values()}, file)
        new.replace(self._path)
