"""Bodies of requests, bounded in size and in time: what is too large, or does not come, costs little."""

import asyncio
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dqctl.localworkspace.wire import presigned, staging
from dqctl.localworkspace.wire.failures import ApiError, answer_failure

MEBIBYTE = 1024 * 1024
# A statement is at most 16 MiB and its parameters 1 MB; JSON writes most of that in two bytes for one at worst.
_LARGE = {"/sql/1.0/warehouses/": 32 * MEBIBYTE, "/api/2.0/sql/statements": 40 * MEBIBYTE}
_USUAL = 2 * MEBIBYTE
# Files stream to disk: their size is the disk's business.
_FILES = ("/api/2.0/fs/files/", f"{staging.PATH}/", f"{presigned.PATH}/")

IDLE_SECONDS = 60.0  # that no byte comes
WHOLE_SECONDS = 300.0  # from first to last, where it is no file


def most_bytes(path: str) -> int | None:
    """The largest body that a request for ``path`` may have; None where only the disk bounds it."""
    if path.startswith(_FILES):
        return None
    return next((most for start, most in _LARGE.items() if path.startswith(start)), _USUAL)


class Bodies:
    """ASGI middleware: 413 for a body that is too large, 408 for one that does not come."""

    def __init__(self, app: ASGIApp, idle: float = IDLE_SECONDS, whole: float = WHOLE_SECONDS) -> None:
        self._app = app
        self._idle = idle
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with a body that is watched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, request = most_bytes(scope["path"]), Request(scope)
        try:
            if most is not None and int(request.headers.get("content-length") or 0) > most:
                raise _too_large(most)
        except ApiError as error:
            await (await answer_failure(request, error))(scope, receive, send)
            return
        end = time.monotonic() + self._whole
        size, complete = 0, False

        async def watched() -> Message:
            nonlocal size, complete
            if complete:  # what comes now is that the client goes: that may take as long as its statement
                return await receive()
            left = self._idle if most is None else min(self._idle, end - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                raise ApiError(408, "REQUEST_TIMEOUT", "The body of the request did not come in time.") from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if most is not None and size > most:
                raise _too_large(most)
            return message

        await self._app(scope, watched, send)


def _too_large(most: int) -> ApiError:
    return ApiError(413, "RESOURCE_EXHAUSTED", f"The body of this request is limited to {most} bytes.")
