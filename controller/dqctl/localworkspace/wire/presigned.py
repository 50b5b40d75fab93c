"""URLs that are good for one request, for a while, and without a token: chunks of results, parts of uploads."""

import time
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from dqctl.localworkspace.tokens import Signer
from dqctl.localworkspace.wire.failures import ApiError

PATH = "/presigned"
LIFETIME = 15 * 60  # seconds; the longest that Databricks gives a link to a result


class Presigner:
    """Makes such URLs below ``base_url``, the server as one client reaches it."""

    def __init__(self, signer: Signer, base_url: str) -> None:
        self._signer = signer
        self._base_url = base_url

    def url(self, method: str, path: str, lifetime: int = LIFETIME) -> str:
        """The URL of ``path`` (which does not have ``PATH`` before it), for ``method`` alone."""
        expires = str(int(time.time()) + lifetime)
        signature = self._signer.sign("presigned", method, path, expires)
        return f"{self._base_url}{PATH}{quote(path)}?expires={expires}&signature={signature}"


def refusal(signer: Signer, request: Request) -> Response | None:
    """How a request to such a URL is refused; None when it is genuine and in time.

    An URL that is too old is answered as Amazon S3 does it, in XML: clients of Databricks look for just that, and
    ask for a new one.
    """
    query = request.query_params
    expires, path = query.get("expires", ""), request.scope["path"].removeprefix(PATH)
    if not signer.is_signed(query.get("signature", ""), "presigned", request.method, path, expires):
        raise ApiError(403, "PERMISSION_DENIED", "The presigned URL is not valid.")
    if int(expires) >= time.time():
        return None
    error = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{error}', 403, media_type="application/xml")
