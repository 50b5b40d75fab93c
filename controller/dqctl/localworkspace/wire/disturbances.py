"""Where the faults that were asked for happen: in front of everything else, to Thrift and REST alike."""

import asyncio
import contextlib
import math
import socket
import struct
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dqctl.localworkspace.client import FAULTS_PATH, UNDISTURBED
from dqctl.localworkspace.contract import StatementError
from dqctl.localworkspace.faults import Effect, Fault, FaultScript, faults_from
from dqctl.localworkspace.wire.failures import ApiError, answer_failure, invalid, json_object, not_found
from dqctl.localworkspace.wire.subjects import has_text, needs_warehouse, subject_of, warehouse_of
from dqctl.localworkspace.wire.warehouses import LOCAL, Warehouses

_RETRY_AFTER = 5  # seconds that clients of a starting warehouse are asked to wait at most
_REASONS = {
    429: ("RESOURCE_EXHAUSTED", "Too many requests. Please wait a moment and try again."),
    503: ("TEMPORARILY_UNAVAILABLE", "The service at /sql is temporarily unavailable. Please try again later."),
}


class Disturbances:
    """The fault script, the warehouses and the expired tokens of one server, and its open connections."""

    def __init__(self, warehouses: Warehouses) -> None:
        self.script = FaultScript()
        self.warehouses = warehouses
        self.expired: set[str] = set()
        # uvicorn's protocols, each with ``client`` and ``transport``: ASGI itself cannot break a connection off.
        self.connections: Collection[Any] = ()

    @property
    def is_calm(self) -> bool:
        """Whether nothing disturbs anybody: requests are not even looked at."""
        return self.script.is_empty and not self.expired and self.warehouses.all_run

    def routes(self) -> list[Route]:
        """The routes of ``dqctl workspace fault``, described in docs/faults.md."""
        return [
            Route(FAULTS_PATH, self._list),
            Route(FAULTS_PATH, self._add, methods=["POST"]),
            Route(FAULTS_PATH, self._replace, methods=["PUT"]),
            Route(FAULTS_PATH, self._clear, methods=["DELETE"]),
            Route(f"{FAULTS_PATH}/hits", self._hits),
            Route(f"{FAULTS_PATH}/{{id:int}}", self._remove, methods=["DELETE"]),
        ]

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"faults": [scripted.as_document() for scripted in self.script.all()]})

    async def _hits(self, _: Request) -> Response:
        return JSONResponse({"hits": [asdict(hit) for hit in self.script.hits()]})

    async def _add(self, request: Request) -> Response:
        document = await json_object(request)
        try:
            added = self.script.add(Fault.from_document(document))
        except ValueError as error:
            raise invalid(str(error)) from None
        return JSONResponse(added.as_document())

    async def _replace(self, request: Request) -> Response:
        document = await json_object(request)
        try:
            faults = faults_from(document)
        except ValueError as error:
            raise invalid(str(error)) from None
        self._calm()
        added = self.script.extend(faults)
        return JSONResponse({"faults": [scripted.as_document() for scripted in added]})

    async def _clear(self, _: Request) -> Response:
        return JSONResponse({"cleared": self._calm()})

    async def _remove(self, request: Request) -> Response:
        number = request.path_params["id"]
        if not self.script.remove(number):
            raise not_found(f"There is no fault {number}.")
        return JSONResponse({})

    def _calm(self) -> int:
        self.expired.clear()
        self.warehouses.run()
        return self.script.clear()


class Disturber:
    """ASGI middleware; what fails a statement goes on in the request's state, as ``failure``."""

    def __init__(self, app: ASGIApp, disturbances: Disturbances) -> None:
        self._app = app
        self._disturbances = disturbances

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or let it have what was asked for."""
        if scope["type"] != "http" or self._disturbances.is_calm or _is_undisturbed(scope):
            await self._app(scope, receive, send)
            return
        try:
            await self._disturbed(scope, receive, send)
        except ApiError as error:
            await (await answer_failure(Request(scope), error))(scope, receive, send)

    async def _disturbed(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if has_text(scope["method"], scope["path"]):
            body = await Request(scope, receive).body()
            receive = _again(body, receive)
        kind, subject = subject_of(scope["method"], scope["path"], body)
        warehouse = warehouse_of(scope["method"], scope["path"], body) or LOCAL
        effect = None
        for fault in self._disturbances.script.meet(kind, subject):
            if fault.effect is Effect.DELAY:
                await asyncio.sleep(fault.seconds)
                continue
            effect = await self._strike(fault, scope, receive, warehouse)
            if effect is None:
                return
            if isinstance(effect, Response):
                await effect(scope, receive, send)
                return
        self._check_token(scope)
        if needs_warehouse(kind) and (seconds := self._disturbances.warehouses.find(warehouse).state.start()) > 0:
            wait = min(_RETRY_AFTER, math.ceil(seconds))
            await (await _answer(Request(scope), 503, wait))(scope, receive, send)
            return
        if effect in (Effect.LOST, Effect.CUT):
            await self._without_end(scope, receive, send, cut=effect is Effect.CUT)
        else:
            await self._app(scope, receive, send)

    async def _strike(
        self, fault: Fault, scope: Scope, receive: Receive, warehouse: str
    ) -> Effect | Response | None:
        """What has to happen before the request is carried out; None when that is all that happens to it."""
        match fault.effect:
            case Effect.STATUS:
                return await _answer(Request(scope), fault.status, fault.retry_after)
            case Effect.RESET:
                await self._reset(scope, receive)
                return None
            case Effect.HANG:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_disconnected(receive), fault.seconds or None)
                    return None
                await self._reset(scope, receive)
                return None
            case Effect.ERROR:
                message, sqlstate = fault.wording
                failure = StatementError(fault.error_class, message, sqlstate)
                scope.setdefault("state", {})["failure"] = failure
            case Effect.EXPIRE:
                self._disturbances.expired.add(_bearer(scope))
            case Effect.STOP:
                await asyncio.to_thread(self._disturbances.warehouses.stop, warehouse, fault.seconds)
        return fault.effect

    def _check_token(self, scope: Scope) -> None:
        bearer = _bearer(scope)
        if bearer and bearer in self._disturbances.expired:
            # An OAuth token says when it ends; of a personal one nobody says more than of a wrong one.
            if bearer.startswith("dapi"):
                raise ApiError(403, "PERMISSION_DENIED", "Invalid access token.")
            raise ApiError(401, "UNAUTHENTICATED", "Access token has expired.")

    async def _without_end(self, scope: Scope, receive: Receive, send: Send, *, cut: bool) -> None:
        left = 0  # bytes that still arrive

        async def half(message: Message) -> None:
            nonlocal left
            if not cut:
                return
            if message["type"] == "http.response.start":
                left = int(dict(message["headers"]).get(b"content-length", 0)) // 2
                await send(message)
            elif part := message.get("body", b"")[:left]:
                left -= len(part)
                await send({"type": "http.response.body", "body": part, "more_body": True})

        await self._app(scope, receive, half)
        transport = self._transport(scope)
        if not cut or transport is None:
            await self._reset(scope, receive)
            return
        transport.close()  # in good order, or what is on its way would be lost; asyncio gives it 30 s
        await _disconnected(receive)

    async def _reset(self, scope: Scope, receive: Receive) -> None:
        if (transport := self._transport(scope)) is not None:
            # With this, closing sends RST; otherwise an orderly end, which clients of TLS take for something else.
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        await _disconnected(receive)

    def _transport(self, scope: Scope) -> Any:
        """That of the request's connection; None when the client has gone."""
        client = tuple(scope["client"])
        found = (each.transport for each in self._disturbances.connections if each.client == client)
        return next(found, None)


def _is_undisturbed(scope: Scope) -> bool:
    return scope["path"].startswith(FAULTS_PATH) or any(
        name == UNDISTURBED.encode() for name, _ in scope["headers"]
    )


def _bearer(scope: Scope) -> str:
    kind, _, credential = Request(scope).headers.get("authorization", "").partition(" ")
    return credential.strip() if kind.lower() == "bearer" else ""


async def _answer(request: Request, status: int, retry_after: int | None) -> Response:
    code, message = _REASONS.get(status, ("INTERNAL_ERROR", f"Answered with {status} on request."))
    response = await answer_failure(request, ApiError(status, code, message))
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
