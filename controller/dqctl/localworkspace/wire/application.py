"""The one ASGI application: Thrift and REST, behind one authentication."""

import functools
from collections.abc import Callable
from typing import Any

import anyio
from databricks.sql.thrift_api.TCLIService import TCLIService
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TException
from thrift.transport.TTransport import TMemoryBuffer

from dqctl.localworkspace.catalog import Catalog
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.lakebase.projects import Projects
from dqctl.localworkspace.secret_scopes import SecretScopes
from dqctl.localworkspace.tokens import OWNER, Tokens
from dqctl.localworkspace.wire import oauth, secrets_api, tokens_api, warehouses_api, workspace_api
from dqctl.localworkspace.wire.authentication import Authentication
from dqctl.localworkspace.wire.bodies import Bodies
from dqctl.localworkspace.wire.catalog_api import CatalogApi
from dqctl.localworkspace.wire.catalog_changes_api import CatalogChangesApi
from dqctl.localworkspace.wire.disturbances import Disturbances, Disturber
from dqctl.localworkspace.wire.failures import ApiError, answer_failure
from dqctl.localworkspace.wire.permissions_api import PermissionsApi
from dqctl.localworkspace.wire.postgres_api import PostgresApi
from dqctl.localworkspace.wire.sessions import Sessions, UnknownHandle
from dqctl.localworkspace.wire.staging import Staging
from dqctl.localworkspace.wire.statements_api import StatementsApi
from dqctl.localworkspace.wire.thrift_service import ThriftService
from dqctl.localworkspace.wire.uploads import Uploads
from dqctl.localworkspace.wire.uploads_api import UploadsApi
from dqctl.localworkspace.wire.volumes_api import VolumesApi
from dqctl.localworkspace.wire.warehouse_settings import WarehouseSettings
from dqctl.localworkspace.wire.warehouses import Warehouses
from dqctl.localworkspace.wire.workspace_api import base_url

# A request holds a thread while it waits for its statement; far more than any client on one machine opens.
THRIFT_THREADS = 128

_Processor: Any = TCLIService.Processor  # generated code, untyped
_CONTENT_TYPE = "application/x-thrift"


def build_application(
    sessions: Sessions,
    tokens: Tokens,
    settings: WarehouseSettings,
    disturbances: Disturbances,
    projects: Projects,
    uploads: Uploads,
    catalog: Catalog,
    *,
    description: Callable[[], dict[str, Any]],
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """The application over ``sessions``; see ``workspace_api.routes`` for ``description``."""
    warehouses, looks = disturbances.warehouses, CatalogApi(catalog)
    changes = CatalogChangesApi(sessions.lakehouse, looks)
    routes = [
        Route("/sql/1.0/warehouses/{id}", _Thrift(sessions, warehouses, tokens).answer, methods=["POST"]),
        *workspace_api.routes(description),
        *tokens_api.routes(tokens),
        *warehouses_api.routes(warehouses),
        *disturbances.routes(),
        *oauth.routes(tokens),
        *settings.routes(),
        *secrets_api.routes(SecretScopes(tokens.secrets_file, OWNER.user_name)),
        *PostgresApi(projects).routes(),
        *StatementsApi(sessions, warehouses, tokens.signer).routes(),
        *looks.routes(),
        *changes.routes(),
        *PermissionsApi(changes).routes(),
        *VolumesApi(sessions.lakehouse, uploads.folder).routes(),
        *UploadsApi(sessions.lakehouse, uploads, tokens.signer).routes(),
    ]
    failures = (ApiError, StatementError, UnknownHandle, HTTPException, ClientDisconnect, Exception)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Bodies),
            Middleware(Disturber, disturbances=disturbances),
            Middleware(Authentication, tokens=tokens),
        ],
        exception_handlers=dict.fromkeys(failures, answer_failure),
        lifespan=lifespan,
    )


class _Thrift:
    """Thrift's binary protocol in the body of a POST."""

    def __init__(self, sessions: Sessions, warehouses: Warehouses, tokens: Tokens) -> None:
        self._sessions = sessions
        self._warehouses = warehouses
        self._tokens = tokens

    @functools.cached_property
    def _threads(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(THRIFT_THREADS)

    async def answer(self, request: Request) -> Response:
        """Carry out one call."""
        warehouse = self._warehouses.find(request.path_params["id"])
        warehouse.state.used()
        body = await request.body()
        staging = Staging(self._tokens.signer, base_url(request))
        service = ThriftService(self._sessions, warehouse.id, staging, getattr(request.state, "failure", None))
        answer = await anyio.to_thread.run_sync(_process, service, body, limiter=self._threads)
        return Response(answer, media_type=_CONTENT_TYPE)


def _process(service: ThriftService, body: bytes) -> bytes:
    answer = TMemoryBuffer()
    # Thrift 0.25's own bound (15.6 MiB a string) is below the longest statement. Nothing is longer than the body:
    # a list that says it is would have Thrift count to two thousand millions.
    bounded = {"string_length_limit": len(body), "container_length_limit": len(body)}
    unbounded = {"string_length_limit": None, "container_length_limit": None}
    try:
        _Processor(service).process(
            TBinaryProtocol(TMemoryBuffer(body), **bounded), TBinaryProtocol(answer, **unbounded)
        )
    except (EOFError, ValueError, TypeError, TException, RecursionError) as error:
        raise ApiError(400, "MALFORMED_REQUEST", f"the body is no Thrift call: {error}") from error
    written: bytes = answer.getvalue()
    return written
