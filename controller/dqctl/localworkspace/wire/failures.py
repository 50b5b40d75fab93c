"""REST failures in Databricks' shape: ``{"error_code": ..., "message": ..., "details": [...]}``."""

import json
import logging
import re
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.wire.sessions import UnknownHandle

logger = logging.getLogger(__name__)

# What people call the parts of Databricks' API that are not here, by the path below which they are.
_FEATURES = (
    (r"/api/[\d.]+/jobs/", "Jobs"),
    (r"/api/[\d.]+/clusters/", "Clusters"),
    (r"/api/[\d.]+/dbfs/", "DBFS (use volumes)"),
    (r"/api/[\d.]+/(workspace|repos|git-credentials|workspace-files)", "Notebooks and workspace files"),
    (r"/api/[\d.]+/unity-catalog/entity-tag-assignments/", "Tags"),
    (r"/api/[\d.]+/unity-catalog/functions", "Functions by REST"),
    (r"/api/[\d.]+/unity-catalog/", "This part of Unity Catalog"),
    (r"/api/[\d.]+/sql/history/", "Query history"),
    (r"/api/[\d.]+/(preview/)?sql/(queries|alerts|dashboards)", "Saved queries, alerts and dashboards"),
    (r"/api/[\d.]+/pipelines", "Pipelines"),
    (r"/api/[\d.]+/(serving-endpoints|mlflow|feature-store|vector-search)", "Machine learning"),
    (r"/api/[\d.]+/(preview/)?scim/|/api/[\d.]+/account", "Users, groups and accounts"),
    (r"/api/[\d.]+/(token-management|permissions|ip-access-lists)", "Administration of access"),
    (r"/api/[\d.]+/sql/", "This part of SQL warehouses"),
)
_MISSING = ("NO_SUCH_CATALOG_EXCEPTION", "SCHEMA_NOT_FOUND", "TABLE_OR_VIEW_NOT_FOUND", "VOLUME_NOT_FOUND")


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, error_code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message


def not_found(what: str) -> ApiError:
    """What was asked for is not there."""
    return ApiError(404, "NOT_FOUND", what)


def invalid(message: str) -> ApiError:
    """The request makes no sense."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def not_implemented(feature: str) -> ApiError:
    """A part of Databricks' API that the local workspace does not have."""
    return ApiError(501, "NOT_IMPLEMENTED", f"{feature} is not implemented by the local workspace")


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body of ``request``; ``ApiError`` when there is none."""
    try:
        # Not request.json(): JSON has no NaN, and what is nested too deeply is a RecursionError.
        body = json.loads(await request.body(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ApiError(400, "MALFORMED_REQUEST", "the body is no JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "MALFORMED_REQUEST", "the body is no JSON object")
    return body


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _answer(status: int, error_code: str, message: str) -> JSONResponse:
    # Clients show the reason where they do not read the body: the Thrift connectors, HEAD requests.
    # A header holds no control characters, and a message that quotes what was sent may have any.
    reason = "".join(char if char.isascii() and char.isprintable() else "?" for char in " ".join(message.split()))
    return JSONResponse(
        {"error_code": error_code, "message": message, "details": _details(error_code)},
        status,
        headers={"x-databricks-reason-phrase": reason[:500]},
    )


def _details(error_code: str) -> list[dict[str, Any]]:
    """What clients of Databricks look into, beside the code: a reason by name, and an id to tell the support."""
    kinds = "type.googleapis.com/google.rpc"
    return [
        {"@type": f"{kinds}.ErrorInfo", "reason": error_code, "domain": "dqctl.localworkspace", "metadata": {}},
        {"@type": f"{kinds}.RequestInfo", "request_id": str(uuid.uuid4()), "serving_data": ""},
    ]


async def answer_failure(request: Request, error: Exception) -> Response:
    """Starlette's handler for every exception that a route raises."""
    if isinstance(error, ApiError):
        return _answer(error.status, error.error_code, error.message)
    if isinstance(error, StatementError):
        if error.error_class == "UNSUPPORTED_FEATURE":
            return _answer(501, "NOT_IMPLEMENTED", str(error))
        if error.error_class in _MISSING:
            return _answer(404, "NOT_FOUND", str(error))
        return _answer(400, "INVALID_PARAMETER_VALUE", str(error))
    if isinstance(error, UnknownHandle):
        return _answer(404, "NOT_FOUND", str(error))
    if isinstance(error, HTTPException):
        if error.status_code in (404, 405):
            called = f"{request.method} {request.scope['path'][:200]}"
            feature = next((word for path, word in _FEATURES if re.match(path, request.scope["path"])), None)
            missing = not_implemented(f"{feature}: {called}" if feature else called)
            return _answer(missing.status, missing.error_code, missing.message)
        return _answer(error.status_code, "BAD_REQUEST", error.detail)
    if isinstance(error, ClientDisconnect):  # nobody is there to read this
        return _answer(499, "CANCELLED", "The client went away.")
    logger.error("%s %s failed inside the server", request.method, request.url.path, exc_info=error)
    return _answer(500, "INTERNAL_ERROR", f"{type(error).__name__}: {error}")
