"""The Files API on volumes, and the presigned URLs of PUT, GET and REMOVE: the same files by two doors."""

import os
import tempfile
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.wire import staging
from dqctl.localworkspace.wire.failures import ApiError, invalid, not_found, not_implemented


class VolumesApi:
    """The routes below ``/api/2.0/fs`` and the one of staging."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse

    def routes(self) -> list[Route]:
        """The routes."""
        files, directories = "/api/2.0/fs/files/{path:path}", "/api/2.0/fs/directories/{path:path}"
        return [
            Route(files, self._upload, methods=["PUT"]),
            Route(files, self._download, methods=["GET", "HEAD"]),
            Route(files, self._delete, methods=["DELETE"]),
            Route(files, self._multipart, methods=["POST"]),
            Route(directories, self._make_directory, methods=["PUT"]),
            Route(directories, self._list_directory, methods=["GET", "HEAD"]),
            Route(directories, self._delete_directory, methods=["DELETE"]),
            Route(f"{staging.PATH}/{{path:path}}", self._staged_upload, methods=["PUT"]),
            Route(f"{staging.PATH}/{{path:path}}", self._download, methods=["GET", "HEAD"]),
            Route(f"{staging.PATH}/{{path:path}}", self._delete, methods=["DELETE"]),
        ]

    def _path(self, request: Request) -> Path:
        path: Path = self._lakehouse.volume_file("/" + request.path_params["path"].strip("/"))
        return path

    async def _upload(self, request: Request) -> Response:
        path = self._path(request)
        if path.exists() and request.query_params.get("overwrite") != "true":
            raise ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")
        return await _store(request, path)

    async def _staged_upload(self, request: Request) -> Response:
        # Whether it may overwrite was decided when the statement ran.
        return await _store(request, self._path(request))

    async def _multipart(self, _: Request) -> Response:
        raise not_implemented("Multipart upload")

    async def _download(self, request: Request) -> Response:
        return FileResponse(_existing(self._path(request), request), media_type="application/octet-stream")

    async def _delete(self, request: Request) -> Response:
        _existing(self._path(request), request).unlink()
        return Response(status_code=204)

    async def _make_directory(self, request: Request) -> Response:
        path = self._path(request)
        if path.is_file():
            raise ApiError(409, "ALREADY_EXISTS", "There is a file of this name.")
        path.mkdir(parents=True, exist_ok=True)
        return Response(status_code=204)

    async def _list_directory(self, request: Request) -> Response:
        path = self._path(request)
        if not path.is_dir():
            raise not_found("The directory being accessed is not found.")
        base = "/" + request.path_params["path"].strip("/")
        entries = await run_in_threadpool(lambda: [_entry(base, each) for each in sorted(path.iterdir())])
        return JSONResponse({"contents": [entry for entry in entries if entry is not None]})

    async def _delete_directory(self, request: Request) -> Response:
        path = self._path(request)
        if not path.is_dir():
            raise not_found("The directory being accessed is not found.")
        if path == self._volume(request):
            raise invalid("A volume is removed by DROP VOLUME.")
        try:
            path.rmdir()
        except OSError:
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", "The directory being deleted is not empty.") from None
        return Response(status_code=204)

    def _volume(self, request: Request) -> Path:
        parts = request.path_params["path"].strip("/").split("/")[:4]
        path: Path = self._lakehouse.volume_file("/" + "/".join(parts))
        return path


def _existing(path: Path, request: Request) -> Path:
    if path.is_dir():
        raise invalid("The path is a directory, not a file.")
    if not path.is_file():
        raise not_found(f"The file /{request.path_params['path']} being accessed is not found.")
    return path


async def _store(request: Request, path: Path) -> Response:
    """Write the body to ``path``: whole, or not at all, also when the client goes away or the machine dies."""
    if path.is_dir():
        raise invalid("The path is a directory, not a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # The dot keeps a half-written file out of read_files and COPY INTO, which skip such names.
    descriptor, name = tempfile.mkstemp(prefix=".upload-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
            file.flush()
            await run_in_threadpool(os.fsync, file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Response(status_code=204)


def _entry(base: str, path: Path) -> dict[str, str | int | bool] | None:
    if path.name.startswith(".upload-"):
        return None
    try:
        found = path.stat()
    except FileNotFoundError:  # gone in between
        return None
    entry: dict[str, str | int | bool] = {
        "path": f"{base}/{path.name}",
        "name": path.name,
        "is_directory": path.is_dir(),
        "last_modified": int(found.st_mtime * 1000),
    }
    if not path.is_dir():
        entry["file_size"] = found.st_size
    return entry
