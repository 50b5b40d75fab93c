"""REST of Lakebase: ``/api/2.0/postgres/...``, as ``w.postgres`` of the SDK uses it (databricks-sdk 0.156).

A project has the branch ``production`` and the endpoint ``primary``, and no others. A host may carry a port, which
that of a real endpoint never does: PostgreSQL's own may be taken here.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.lakebase.cluster import ClusterError
from dqctl.localworkspace.lakebase.projects import BRANCH, ENDPOINT, Project, ProjectError, Projects
from dqctl.localworkspace.listeners import ADDRESS
from dqctl.localworkspace.tokens import Identity
from dqctl.localworkspace.wire.failures import ApiError, invalid, not_found

_PATH = "/api/2.0/postgres"
_STATUS = {"NOT_FOUND": 404, "ALREADY_EXISTS": 409, "FEATURE_DISABLED": 403}
_LONGEST, _SHORTEST = 3600.0, 300.0  # seconds that a credential lasts

Given = dict[str, Any]


class PostgresApi:
    """The routes over ``projects``."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._operations: dict[str, Given] = {}

    def routes(self) -> list[Route]:
        """The routes."""
        project, branch = f"{_PATH}/projects/{{project}}", f"{_PATH}/projects/{{project}}/branches"
        endpoint = f"{branch}/{{branch}}/endpoints"
        return [
            _route(f"{_PATH}/projects", "GET", self._list),
            _route(f"{_PATH}/projects", "POST", self._create),
            _route(project, "GET", self._get),
            _route(project, "PATCH", self._update),
            _route(project, "DELETE", self._delete),
            _route(branch, "GET", self._branches),
            _route(f"{branch}/{{branch}}", "GET", self._branch),
            _route(endpoint, "GET", self._endpoints),
            _route(f"{endpoint}/{{endpoint}}", "GET", self._endpoint),
            _route(f"{project}/operations/{{operation}}", "GET", self._operation),
            _route(f"{_PATH}/credentials", "POST", self._credential),
            # The local workspace's own: what Lakebase does by itself after a while.
            _route("/api/dqctl/lakebase/{project}/suspend", "POST", self._suspend),
        ]

    async def _list(self, _: Request) -> Given:
        return {"projects": [_project(each) for each in self._projects.all()]}

    async def _get(self, request: Request) -> Given:
        return _project(self._asked(request))

    async def _create(self, request: Request) -> Given:
        body = await _body(request)
        spec = dict(body.get("spec") or {})
        if (first := body.get("initial_endpoint_spec")) is not None:
            spec["initial_endpoint_spec"] = first
        identity: Identity = request.state.identity
        made = await self._projects.create(
            request.query_params.get("project_id", ""), identity.user_name, _known(spec)
        )
        return self._done(made.id, _project(made))

    async def _update(self, request: Request) -> Given:
        self._asked(request)
        spec = dict((await _body(request)).get("spec") or {})
        named = {name.removeprefix("spec.") for name in request.query_params.get("update_mask", "").split(",")}
        changed = await self._projects.update(
            request.path_params["project"], {name: value for name, value in spec.items() if name in named}
        )
        return self._done(changed.id, _project(changed))

    async def _delete(self, request: Request) -> Given:
        project = self._asked(request)
        await self._projects.delete(project.id)
        return self._done(project.id, {})

    async def _branches(self, request: Request) -> Given:
        return {"branches": [_branch(self._asked(request))]}

    async def _branch(self, request: Request) -> Given:
        return _branch(self._asked(request))

    async def _endpoints(self, request: Request) -> Given:
        return {"endpoints": [self._described(self._asked(request))]}

    async def _endpoint(self, request: Request) -> Given:
        return self._described(self._asked(request))

    async def _operation(self, request: Request) -> Given:
        try:
            return self._operations[request.path_params["operation"]]
        except KeyError:
            raise not_found("there is no such operation") from None

    async def _credential(self, request: Request) -> Given:
        body = await _body(request)
        names = str(body.get("endpoint", "")).split("/")
        if len(names) != 6 or names[::2] != ["projects", "branches", "endpoints"]:
            raise invalid(f"{body.get('endpoint')!r} is no endpoint")
        _check(names[3], names[5])
        try:
            seconds = float(str(body.get("ttl") or f"{_LONGEST}s").removesuffix("s"))
        except ValueError:
            raise invalid("ttl is no duration") from None
        if not _SHORTEST <= seconds <= _LONGEST:
            raise invalid("ttl is between 300 and 3600 seconds")
        identity: Identity = request.state.identity
        token, until = await self._projects.credential(names[1], identity.user_name, seconds)
        return {"token": token, "expire_time": _stamp(until)}

    async def _suspend(self, request: Request) -> Given:
        await self._projects.suspend(request.path_params["project"])
        return {}

    def _asked(self, request: Request) -> Project:
        """The project of the request's path; its branch and endpoint have to be there too."""
        found = self._projects.get(request.path_params["project"])
        _check(request.path_params.get("branch", BRANCH), request.path_params.get("endpoint", ENDPOINT))
        return found

    def _described(self, project: Project) -> Given:
        name = f"projects/{project.id}/branches/{BRANCH}/endpoints/{ENDPOINT}"
        first = project.spec.get("initial_endpoint_spec") or {}
        host = f"{ADDRESS}:{project.port}"
        status = {
            "endpoint_type": "ENDPOINT_TYPE_READ_WRITE",
            "current_state": "ACTIVE" if self._projects.is_awake(project.id) else "IDLE",
            "hosts": {"host": host, "read_write_pooled_host": f"pooler.{host}"},
        }
        limits = ("autoscaling_limit_min_cu", "autoscaling_limit_max_cu", "suspend_timeout_duration")
        status |= {key: first[key] for key in limits if key in first}
        return {
            "name": name,
            "endpoint_id": ENDPOINT,
            "parent": f"projects/{project.id}/branches/{BRANCH}",
            "status": status,
        }

    def _done(self, project_id: str, response: Given) -> Given:
        """A long-running operation; who asked is told that it goes on, and finds it done."""
        number = uuid.uuid4().hex
        name = f"projects/{project_id}/operations/{number}"
        self._operations[number] = {"name": name, "done": True, "response": response}
        return {"name": name, "done": False}


def _route(path: str, method: str, answer: Callable[[Request], Awaitable[Given]]) -> Route:
    async def respond(request: Request) -> Response:
        try:
            return JSONResponse(await answer(request))
        except ProjectError as error:
            raise ApiError(_STATUS.get(error.code, 400), error.code, str(error)) from error
        except ClusterError as error:
            raise ApiError(500, "INTERNAL_ERROR", str(error)) from error

    return Route(path, respond, methods=[method])


async def _body(request: Request) -> Given:
    try:
        found = json.loads(await request.body())
    except ValueError:
        raise invalid("the body is no JSON") from None
    if not isinstance(found, dict):
        raise invalid("the body is no object")
    return found


_FIELDS = frozenset(
    {
        "budget_policy_id", "custom_tags", "default_branch", "default_endpoint_settings", "display_name",
        "enable_pg_native_login", "history_retention_duration", "pg_version", "initial_endpoint_spec",
    }
)  # fmt: skip


def _known(spec: Given) -> Given:
    if unknown := spec.keys() - _FIELDS:
        raise invalid(f"a project has no {', '.join(sorted(unknown))}")
    if spec.get("pg_version", 16) not in (16, 17):
        raise invalid("pg_version is 16 or 17")
    return spec


def _check(branch: str, endpoint: str) -> None:
    if branch != BRANCH:
        raise not_found(f"branch {branch} does not exist")
    if endpoint != ENDPOINT:
        raise not_found(f"endpoint {endpoint} does not exist")


def _project(project: Project) -> Given:
    return {
        "name": f"projects/{project.id}",
        "project_id": project.id,
        "uid": project.uid,
        "create_time": project.created,
        "status": {
            "project_id": project.id,
            "owner": project.owner,
            "default_branch": f"projects/{project.id}/branches/{BRANCH}",
            "pg_version": 16,
            "enable_pg_native_login": project.native_login,
            "display_name": project.spec.get("display_name", project.id),
            "custom_tags": project.spec.get("custom_tags", []),
        },
    }


def _branch(project: Project) -> Given:
    return {
        "name": f"projects/{project.id}/branches/{BRANCH}",
        "branch_id": BRANCH,
        "parent": f"projects/{project.id}",
        "status": {"branch_id": BRANCH, "current_state": "READY", "default": True},
    }


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
