"""Paths of requests, as some clients write them."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Paths:
    """ASGI middleware: ``//sql/1.0/warehouses/...`` is ``/sql/1.0/warehouses/...``.

    So the JDBC driver (3.4) asks when its ``httpPath`` begins with a slash, as everybody writes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, with one slash where its path begins."""
        if scope["type"] == "http" and scope["path"].startswith("//"):
            scope = {**scope, "path": f"/{scope['path'].lstrip('/')}"}
        await self._app(scope, receive, send)
