"""The projects of a local workspace: one branch, one endpoint and one PostgreSQL each, kept across restarts."""

import asyncio
import json
import re
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dqctl.localworkspace.lakebase.cluster import Cluster, Programs, new_password
from dqctl.localworkspace.lakebase.front import Front
from dqctl.localworkspace.tokens import private_text

BRANCH, ENDPOINT = "production", "primary"  # what Lakebase calls the first ones
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PASSING = 0o711  # PostgreSQL's account passes through, and sees nothing


class ProjectError(Exception):
    """A request that cannot be met: Databricks' error code, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Project:
    """What is kept of a project. ``spec`` is that of the request that made it, and of those that changed it."""

    id: str
    uid: str
    owner: str
    created: str
    spec: dict[str, Any]
    port: int = 0

    @property
    def native_login(self) -> bool:
        """Whether roles may sign in with passwords."""
        return bool(self.spec.get("enable_pg_native_login"))


@dataclass
class _Running:
    project: Project
    cluster: Cluster
    front: Front
    tokens: dict[str, tuple[str, datetime]] = field(default_factory=dict)


class Projects:
    """All projects below ``directory``; ``programs`` is None where there is no PostgreSQL to give out."""

    def __init__(
        self, directory: Path, programs: Programs | None, context: ssl.SSLContext, addresses: Sequence[str]
    ) -> None:
        self._directory = directory
        self._programs = programs
        self._context = context
        self._addresses = addresses
        self._found: dict[str, _Running] = {}
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        """Listen for all projects that there are; nothing is started before somebody comes."""
        if self._programs is None or not self._state.exists():
            return
        self._open_way()
        for kept in json.loads(self._state.read_text(encoding="utf-8")):
            project = Project(**kept)
            await self._listen(project, self._cluster(project.id))

    async def close(self) -> None:
        """Stop everything."""
        for running in self._found.values():
            running.front.close()
            await asyncio.to_thread(running.cluster.stop)

    def all(self) -> list[Project]:
        """The projects, by name."""
        return [self._found[name].project for name in sorted(self._found)]

    def get(self, project_id: str) -> Project:
        """One of them; ``ProjectError`` when there is none."""
        return self._get(project_id).project

    def is_awake(self, project_id: str) -> bool:
        """Whether the project's compute runs."""
        return self._get(project_id).cluster.is_running

    async def create(self, project_id: str, owner: str, spec: dict[str, Any]) -> Project:
        """Make a project; ``ProjectError`` when there is one of that name."""
        if self._programs is None:
            raise ProjectError(
                "FEATURE_DISABLED",
                "this local workspace has no Lakebase: stop it, then dqctl workspace start --lakebase",
            )
        if not _ID.fullmatch(project_id):
            raise ProjectError("INVALID_PARAMETER_VALUE", f"{project_id!r} is no name of a project")
        async with self._changing:
            if project_id in self._found:
                raise ProjectError("ALREADY_EXISTS", f"project {project_id} already exists")
            self._open_way()
            cluster = self._cluster(project_id)
            await asyncio.to_thread(cluster.create)
            created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            await self._listen(Project(project_id, str(uuid.uuid4()), owner, created, spec), cluster)
            self._write()
            return self.get(project_id)

    async def update(self, project_id: str, spec: dict[str, Any]) -> Project:
        """Change what ``spec`` has."""
        async with self._changing:
            running = self._get(project_id)
            running.project = replace(running.project, spec=running.project.spec | spec)
            self._write()
            return running.project

    async def delete(self, project_id: str) -> None:
        """Remove a project with all that is in it."""
        async with self._changing:
            running = self._get(project_id)
            running.front.close()
            await asyncio.to_thread(running.cluster.remove)
            del self._found[project_id]
            self._write()

    async def credential(self, project_id: str, user: str, seconds: float) -> tuple[str, datetime]:
        """A token with which ``user`` may sign in, and its end. It is checked at login only."""
        running = self._get(project_id)
        now = datetime.now(UTC)
        known = running.tokens.get(user)
        if known and known[1] - now > timedelta(seconds=seconds / 2):
            return known  # a role has one password at a time: another token would end this one
        token, until = new_password(), now + timedelta(seconds=seconds)
        await asyncio.to_thread(running.cluster.ensure_running)
        await asyncio.to_thread(running.cluster.let_in, user, token, until.isoformat())
        running.tokens[user] = token, until
        return token, until

    async def suspend(self, project_id: str) -> None:
        """Let the compute sleep: connections are cut, the next one wakes it."""
        running = self._get(project_id)
        running.front.cut()
        await asyncio.to_thread(running.cluster.stop)

    def _get(self, project_id: str) -> _Running:
        try:
            return self._found[project_id]
        except KeyError:
            raise ProjectError("NOT_FOUND", f"project {project_id} does not exist") from None

    async def _listen(self, project: Project, cluster: Cluster) -> None:
        def may_try(user: str) -> bool:
            running = self._found[project.id]
            return running.project.native_login or user in running.tokens

        front = Front(cluster, self._context, may_try)
        port = await front.listen(self._addresses, project.port)
        self._found[project.id] = _Running(replace(project, port=port), cluster, front)

    def _cluster(self, project_id: str) -> Cluster:
        assert self._programs  # noqa: S101 - without there is no project
        password = private_text(self._directory / "admin-password", new_password())
        return Cluster(self._programs, self._directory / "projects" / project_id, password)

    def _open_way(self) -> None:
        for directory in (self._directory, self._directory / "projects"):
            directory.mkdir(mode=0o700, exist_ok=True)
        if self._programs and self._programs.account:
            for directory in (self._directory.parent, self._directory, self._directory / "projects"):
                directory.chmod(_PASSING)

    @property
    def _state(self) -> Path:
        return self._directory / "projects.json"

    def _write(self) -> None:
        new = self._state.with_suffix(".new")
        new.write_text(json.dumps([asdict(each) for each in self.all()], indent=2), encoding="utf-8")
        new.chmod(0o600)
        new.replace(self._state)
