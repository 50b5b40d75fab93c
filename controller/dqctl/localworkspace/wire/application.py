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
from starlette.types import Lifespan, Receive, Scope, Send
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
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
from dqctl.localworkspace.wire.paths import Paths
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
# Elements of a list: far more than parameters and settings of a statement, far less than keep a thread busy.
MAX_CONTAINER = 10_000
_PIECE_BYTES = 256 * 1024
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
            Middleware(Paths),
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
        if service.waited_for is not None and await request.is_disconnected():
            self._sessions.left(service.waited_for)
        return _Pieces(answer, media_type=_CONTENT_TYPE)


class _Pieces(Response):
    """A long answer as the connection takes it: asyncio moves all that is left of one write with each packet."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        content = memoryview(self.body)
        for start in range(0, len(content), _PIECE_BYTES):
            piece = bytes(content[start : start + _PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _process(service: ThriftService, body: bytes) -> bytes:
    answer = TMemoryBuffer()
    # Thrift 0.25's own bound (15.6 MiB a string) is below the longest statement. Nothing is longer than the body.
    unbounded = {"string_length_limit": None, "container_length_limit": None}
    asked = TBinaryProtocol(
        TMemoryBuffer(body), string_length_limit=len(body), container_length_limit=MAX_CONTAINER
    )
    try:
        _Processor(service).process(asked, TBinaryProtocol(answer, **unbounded))
    except Exception as error:  # the service answers for itself: what comes out here was read, or could not be
        raise ApiError(400, "MALFORMED_REQUEST", f"the body is no Thrift call: {error}") from error
    written: bytes = answer.getvalue()
    return written
