"""Lakebase: projects of PostgreSQL that Databricks looks after, found, made and removed.

The SDK's ``w.postgres`` knows the calls and what they answer (0.156); they are sent as all of ours are, with short
timeouts and by whatever way of signing in: a ``WorkspaceClient`` asks the host when it is made, and repeats what
fails for minutes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from dqctl.clock import SYSTEM_CLOCK, Clock, Deadline
from dqctl.databricks.rest import Answer, RestApi
from dqctl.databricks.target import Target
from dqctl.errors import DatabricksRefused, EnvironmentFault, UsageError
from dqctl.progress import Progress
from dqctl.redaction import register

if TYPE_CHECKING:
    from databricks.sdk.service.postgres import PostgresAPI

MARK, STACK = "dqctl-mark", "dqctl-stack"  # tags of projects that dqctl made
DATABASE = "databricks_postgres"  # the one that every project has

# The least that Lakebase has: 1 GB and 104 connections, of which TestGen keeps 15. Twice that in need.
_SMALLEST, _LARGEST = 0.5, 1.0
# A compute that sleeps cuts connections. TestGen says nothing to its metadata while one statement runs on the
# warehouse, 900 s at most (warehouse_timeout): twice that.
_SLEEPS_AFTER = 1800
_PORT = 5432
_CREATION = 600.0
_TIMEOUT = 30.0
_PATIENCE = 60.0  # seconds in which a request is repeated that nobody could answer
_POLL = 1.0
_BUSY = (429, 502, 503, 504)
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class LakebaseProject:
    """A project. ``mark`` tells the ones that dqctl made apart, None when somebody else made it."""

    name: str
    default_branch: str
    native_login: bool
    mark: str | None


@dataclass(frozen=True)
class LakebaseEndpoint:
    """The compute of a branch that reads and writes: its direct host, never that of the pooler.

    PgBouncer, in transaction mode, forgets the search path and the time zone that TestGen begins with.
    """

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class DatabaseCredential:
    """The role of whoever calls, and a token that is its password for an hour; looked at when it signs in only."""

    user: str
    token: SecretStr = field(repr=False)


class Lakebase:
    """Lakebase of the workspace behind ``target``."""

    def __init__(self, target: Target, clock: Clock = SYSTEM_CLOCK) -> None:
        self._target = target
        self._clock = clock
        self._rest = RestApi(target, timeout=_TIMEOUT, clock=clock)

    def project(self, project_id: str) -> LakebaseProject | None:
        """The project of that name, None when there is none."""
        try:
            found = self._ask("see projects", lambda: self._api.get_project(f"projects/{project_id}"))
        except _NotThere:
            return None
        status = found.status
        tags = {tag.key: tag.value for tag in (status.custom_tags or [])} if status else {}
        return LakebaseProject(
            name=f"projects/{project_id}",
            default_branch=str(status.default_branch or "") if status else "",
            native_login=bool(status and status.enable_pg_native_login),
            mark=tags.get(MARK),
        )

    def create_project(self, project_id: str, stack: str, mark: str, progress: Progress) -> LakebaseProject:
        """Make the project, with passwords for roles allowed, and tagged; waits for it."""
        from databricks.sdk.service import postgres

        wanted = postgres.Project(
            spec=postgres.ProjectSpec(
                display_name=project_id,
                enable_pg_native_login=True,
                custom_tags=[
                    postgres.ProjectCustomTag(key=MARK, value=mark),
                    postgres.ProjectCustomTag(key=STACK, value=stack),
                ],
            ),
            initial_endpoint_spec=postgres.InitialEndpointSpec.from_dict(
                {
                    "autoscaling_limit_min_cu": _SMALLEST,
                    "autoscaling_limit_max_cu": _LARGEST,
                    # Said aloud: the default depends on the cloud and on how the project was made.
                    "suspend_timeout_duration": f"{_SLEEPS_AFTER}s",
                }
            ),
        )
        progress(f"making the Lakebase project {project_id}")
        begun = self._ask("make projects", lambda: self._api.create_project(wanted, project_id))
        self._wait(begun.name(), f"making the Lakebase project {project_id}", progress)
        found = self.project(project_id)
        if found is None:
            raise EnvironmentFault(f"the Lakebase project {project_id} is gone", "run dqctl install again")
        return found

    def endpoint(self, project: LakebaseProject, branch: str | None, progress: Progress) -> LakebaseEndpoint:
        """The endpoint of a branch (by default that of the project) that reads and writes.

        Raises ``UsageError`` when there is none: dqctl makes no branches, which would be copies of others' data.
        """
        parent = f"{project.name}/branches/{branch}" if branch else project.default_branch
        deadline = Deadline(_CREATION, self._clock)
        while True:
            try:
                found = self._ask("see endpoints", lambda: list(self._api.list_endpoints(parent)))
            except _NotThere:
                raise UsageError(
                    f"there is no branch {parent} in Lakebase", "make it, or leave DQCTL_LAKEBASE_BRANCH away"
                ) from None
            writing = [each for each in found if _reads_and_writes(each)]
            if not writing:
                raise UsageError(
                    f"the branch {parent} has no endpoint that writes",
                    "make one in Lakebase, then run the same command again",
                )
            status = writing[0].status
            hosts = status.hosts if status else None
            if hosts and hosts.host:
                host, _, port = hosts.host.partition(":")  # only that of a local workspace has a port
                return LakebaseEndpoint(writing[0].name or "", host, int(port or _PORT))
            if deadline.passed:
                raise EnvironmentFault(f"{writing[0].name} has no host yet", "run the same command again later")
            progress(f"waiting for the endpoint of {parent}")
            self._clock.sleep(_POLL)

    def credential(self, endpoint: str) -> DatabaseCredential:
        """A credential of whoever calls."""
        made = self._ask("get a credential", lambda: self._api.generate_database_credential(endpoint))
        me = self._rest.get("/api/2.0/preview/scim/v2/Me").document.get("userName")
        if not made.token or not isinstance(me, str):
            raise EnvironmentFault("Lakebase gave no credential", "run the same command again")
        register(made.token)
        return DatabaseCredential(me, SecretStr(made.token))

    def delete_project(self, project_id: str) -> bool:
        """Remove the project, for good; whether it was there."""
        try:
            self._ask("remove projects", lambda: self._api.delete_project(f"projects/{project_id}", purge=True))
        except _NotThere:
            return False
        return True

    @cached_property
    def _api(self) -> "PostgresAPI":
        from databricks.sdk.service.postgres import PostgresAPI

        return PostgresAPI(_Transport(self._rest))  # type: ignore[no-untyped-call]  # the SDK's, which has no types there

    def _ask(self, what: str, ask: Callable[[], _Found]) -> _Found:
        deadline = Deadline(min(_PATIENCE, self._target.patience), self._clock)
        while True:
            try:
                return ask()
            except _Refused as refused:
                answer = refused.answer
            if answer.status == 404:
                raise _NotThere
            if answer.status in _BUSY and not deadline.passed:
                self._clock.sleep(_POLL)
                continue
            if answer.status in (401, 403):
                raise DatabricksRefused(
                    f"{self._target.host} does not let you {what} in Lakebase: {answer.reason}",
                    "check the credentials, and that they may use Lakebase (CAN CREATE for a new project, CAN "
                    "MANAGE for one that is there); or use --metadata disposable",
                )
            raise EnvironmentFault(
                f"Lakebase cannot {what}: {answer.reason}", "run the same command again; nothing is lost"
            )

    def _wait(self, operation: str, doing: str, progress: Progress) -> None:
        deadline = Deadline(_CREATION, self._clock)
        told = self._clock.monotonic()
        while True:
            found = self._ask("see operations", lambda: self._api.get_operation(operation))
            if found.done:
                break
            if deadline.passed:
                raise EnvironmentFault(
                    f"{doing} takes longer than {_CREATION:.0f} s",
                    "run the same command again: it goes on from there",
                )
            if self._clock.monotonic() - told > 10.0:
                told = self._clock.monotonic()
                progress(f"still {doing}")
            self._clock.sleep(_POLL)
        if found.error:
            raise EnvironmentFault(f"{doing} failed: {found.error.message}", "run the same command again")


def state_of(rest: RestApi, endpoint: str) -> str:
    """What Databricks says of an endpoint, which stays as it is: ACTIVE, IDLE (it sleeps), INIT, DEGRADED.

    Raises ``EnvironmentFault`` when nobody tells, ``DatabricksRefused`` when there is no token to be had.
    """
    answer = rest.get(f"/api/2.0/postgres/{endpoint}")
    status = answer.document.get("status")
    state = status.get("current_state") if isinstance(status, dict) else None
    if not answer.is_good or not isinstance(state, str):
        raise EnvironmentFault(f"{endpoint}: {answer.reason}", "check that the principal may use the project")
    return state


class _NotThere(Exception):  # noqa: N818 - named for what it is
    """What was asked for does not exist."""


class _Refused(Exception):  # noqa: N818 - named for what it is
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class _Transport:
    """What ``PostgresAPI`` needs of the SDK's own client."""

    workspace_id = None  # a header for hosts of several workspaces, of which the SDK knows by its configuration

    def __init__(self, rest: RestApi) -> None:
        self._rest = rest
        self._cfg = self

    def do(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send one request; the document of its answer."""
        del headers  # that bodies are JSON
        texts = {
            name: str(value).lower() if value is True else str(value) for name, value in (query or {}).items()
        }
        answer = self._rest.call(method, path, texts, body)
        if not answer.is_good:
            raise _Refused(answer)
        return answer.document


def _reads_and_writes(endpoint: Any) -> bool:
    kind = endpoint.status.endpoint_type if endpoint.status else None
    return kind is not None and kind.value == "ENDPOINT_TYPE_READ_WRITE"
