"""Multipart uploads and presigned downloads, as the SDK does them with files of 50 MiB and more."""

import datetime
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.contract import Staging as StagingResult
from dqctl.localworkspace.tokens import Signer
from dqctl.localworkspace.wire import presigned
from dqctl.localworkspace.wire.failures import ApiError, invalid, json_object, not_found, not_implemented
from dqctl.localworkspace.wire.presigned import Presigner
from dqctl.localworkspace.wire.staging import Staging
from dqctl.localworkspace.wire.uploads import MOST_PARTS, Upload, Uploads, checksum
from dqctl.localworkspace.wire.volumes_api import NewFile, place_of, stream_to
from dqctl.localworkspace.wire.workspace_api import base_url

_BASE = "/api/2.0/fs"
_LONGEST = 60 * 60  # seconds that a URL of a part is good for


class UploadsApi:
    """The routes of multipart uploads: begun and completed with a token, parts are sent to presigned URLs."""

    def __init__(self, lakehouse: Lakehouse, uploads: Uploads, signer: Signer) -> None:
        self._lakehouse = lakehouse
        self._uploads = uploads
        self._signer = signer

    def routes(self) -> list[Route]:
        """The routes."""
        presigned_part = f"{presigned.PATH}/parts/{{token}}/{{number:int}}/{{path:path}}"
        presigned_upload = f"{presigned.PATH}/uploads/{{token}}/{{path:path}}"
        return [
            Route(f"{_BASE}/files/{{path:path}}", self._begin_or_complete, methods=["POST"]),
            Route(f"{_BASE}/create-upload-part-urls", self._part_urls, methods=["POST"]),
            Route(f"{_BASE}/create-abort-upload-url", self._abort_url, methods=["POST"]),
            Route(f"{_BASE}/create-download-url", self._download_url, methods=["POST"]),
            Route(f"{_BASE}/create-resumable-upload-url", self._resumable, methods=["POST"]),
            Route(presigned_part, self._part, methods=["PUT"]),
            Route(presigned_upload, self._abort, methods=["DELETE"]),
        ]

    async def _begin_or_complete(self, request: Request) -> Response:
        path, query = _path(request), request.query_params
        if query.get("action") == "initiate-upload":
            overwrite = query.get("overwrite") == "true"
            place = place_of(self._lakehouse, path)
            if place.is_dir():
                raise invalid("The path is a directory, not a file.")
            if place.exists() and not overwrite:
                raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
            upload = await run_in_threadpool(lambda: self._uploads.begin(path, overwrite=overwrite))
            return JSONResponse({"multipart_upload": {"session_token": upload.token}})
        if query.get("action") == "complete-upload":
            upload = self._uploads.find(query.get("session_token", ""), path)
            parts = [_part(each) for each in _parts(await json_object(request))]
            await run_in_threadpool(self._complete, upload, parts)
            return JSONResponse({})
        raise invalid("action is one of initiate-upload, complete-upload")

    def _complete(self, upload: Upload, parts: list[tuple[int, str]]) -> None:
        new = NewFile(self._lakehouse.volume_file(upload.volume_path), self._uploads.folder)
        try:
            self._uploads.complete(upload, parts, new.file)
            new.place(overwrite=upload.overwrite)
        finally:
            new.close()
        self._uploads.end(upload)

    async def _part_urls(self, request: Request) -> Response:
        body = await json_object(request)
        upload = self._upload(body)
        first, count = _number(body, "start_part_number"), _number(body, "count")
        if first + count - 1 > MOST_PARTS:
            raise invalid(f"an upload has {MOST_PARTS} parts at most")
        signer, lifetime = Presigner(self._signer, base_url(request)), _lifetime(body)
        urls = [
            {
                "url": signer.url("PUT", f"/parts/{upload.token}/{number}{upload.volume_path}", lifetime),
                "part_number": number,
                "headers": [],
            }
            for number in range(first, first + count)
        ]
        return JSONResponse({"upload_part_urls": urls})

    async def _part(self, request: Request) -> Response:
        if refused := presigned.refusal(self._signer, request):
            return refused
        upload = self._uploads.find(request.path_params["token"], _path(request))
        descriptor, name = tempfile.mkstemp(dir=upload.folder)
        seen = checksum()

        class Watched:
            @staticmethod
            def write(chunk: bytes) -> None:
                seen.update(chunk)
                file.write(chunk)

        try:
            with os.fdopen(descriptor, "wb") as file:
                await stream_to(Watched, request.stream())
            self._uploads.put(upload, request.path_params["number"], Path(name), seen.hexdigest())
        finally:
            Path(name).unlink(missing_ok=True)
        return Response(headers={"ETag": f'"{seen.hexdigest()}"'})

    async def _abort_url(self, request: Request) -> Response:
        body = await json_object(request)
        upload = self._upload(body)
        signer = Presigner(self._signer, base_url(request))
        url = signer.url("DELETE", f"/uploads/{upload.token}{upload.volume_path}", _lifetime(body))
        return JSONResponse({"abort_upload_url": {"url": url, "headers": []}})

    async def _abort(self, request: Request) -> Response:
        if refused := presigned.refusal(self._signer, request):
            return refused
        upload = self._uploads.find(request.path_params["token"], _path(request))
        await run_in_threadpool(self._uploads.end, upload)
        return Response()

    async def _download_url(self, request: Request) -> Response:
        path = "/" + request.query_params.get("path", "").strip("/")
        place = place_of(self._lakehouse, path)
        if not place.is_file():
            raise not_found(f"The file {path} being accessed is not found.")
        url = Staging(self._signer, base_url(request)).url(StagingResult("GET", None, path))
        return JSONResponse({"url": url, "headers": []})

    async def _resumable(self, _: Request) -> Response:
        raise not_implemented("Resumable upload, which is Google Cloud's,")

    def _upload(self, body: dict[str, Any]) -> Upload:
        return self._uploads.find(str(body.get("session_token", "")), "/" + str(body.get("path", "")).strip("/"))


def _path(request: Request) -> str:
    return "/" + str(request.path_params["path"]).strip("/")


def _number(given: dict[str, Any], name: str) -> int:
    number = given.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise invalid(f"{name} is a positive number")
    return number


def _lifetime(body: dict[str, Any]) -> int:
    """Seconds until ``expire_time``, which is bounded as the signatures of clouds are."""
    given = body.get("expire_time")
    if given is None:
        return presigned.LIFETIME
    try:
        expires = datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", str(given)))
        left = (expires - datetime.datetime.now(datetime.UTC)).total_seconds()
    except (ValueError, TypeError):
        raise invalid("expire_time is a time like 2026-01-31T12:00:00Z") from None
    return max(-1, min(int(left), _LONGEST))


def _parts(body: dict[str, Any]) -> list[Any]:
    parts = body.get("parts")
    if not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise invalid(f"parts is a list of {MOST_PARTS} at most")
    return parts


def _part(given: Any) -> tuple[int, str]:
    if not isinstance(given, dict):
        raise invalid("a part has part_number and etag")
    return _number(given, "part_number"), str(given.get("etag", ""))
