"""The Files API on volumes, and the presigned URLs of PUT, GET and REMOVE: the same files by two doors."""

import contextlib
import email.utils
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dqctl.localworkspace.contract import Lakehouse
from dqctl.localworkspace.wire import staging
from dqctl.localworkspace.wire.failures import ApiError, invalid, not_found
from dqctl.localworkspace.wire.pages import page

_PAGE = 1000  # entries; Databricks' default, and the most
_EXISTS = ApiError(409, "ALREADY_EXISTS", "The file being created already exists.")


class VolumesApi:
    """The routes below ``/api/2.0/fs`` and the one of staging; those of multipart uploads are in uploads_api."""

    def __init__(self, lakehouse: Lakehouse, uploads: Path) -> None:
        self._lakehouse = lakehouse
        self._uploads = uploads

    def routes(self) -> list[Route]:
        """The routes."""
        files, directories = "/api/2.0/fs/files/{path:path}", "/api/2.0/fs/directories/{path:path}"
        return [
            Route(files, self._upload, methods=["PUT"]),
            Route(files, self._download, methods=["GET", "HEAD"]),
            Route(files, self._delete, methods=["DELETE"]),
            Route(directories, self._make_directory, methods=["PUT"]),
            Route(directories, self._list_directory, methods=["GET", "HEAD"]),
            Route(directories, self._delete_directory, methods=["DELETE"]),
            Route(f"{staging.PATH}/{{path:path}}", self._staged_upload, methods=["PUT"]),
            Route(f"{staging.PATH}/{{path:path}}", self._download, methods=["GET", "HEAD"]),
            Route(f"{staging.PATH}/{{path:path}}", self._delete, methods=["DELETE"]),
        ]

    def _path(self, request: Request) -> Path:
        return place_of(self._lakehouse, "/" + request.path_params["path"].strip("/"))

    async def _upload(self, request: Request) -> Response:
        path, overwrite = self._path(request), request.query_params.get("overwrite") == "true"
        if not overwrite and path.is_file():
            raise _EXISTS
        return await _store(request, path, self._uploads, overwrite=overwrite)

    async def _staged_upload(self, request: Request) -> Response:
        # Whether it may overwrite was decided when the statement ran.
        return await _store(request, self._path(request), self._uploads, overwrite=True)

    async def _download(self, request: Request) -> Response:
        path = _existing(self._path(request), request)
        since = email.utils.parsedate_tz(request.headers.get("if-unmodified-since", ""))
        if since is not None and int(path.stat().st_mtime) > email.utils.mktime_tz(since):
            raise ApiError(412, "PRECONDITION_FAILED", "The file was changed since then.")
        return FileResponse(path, media_type="application/octet-stream")

    async def _delete(self, request: Request) -> Response:
        with _told():
            _existing(self._path(request), request).unlink()
        return Response(status_code=204)

    async def _make_directory(self, request: Request) -> Response:
        path = self._path(request)
        if path.is_file():
            raise ApiError(409, "ALREADY_EXISTS", "There is a file of this name.")
        with _told():
            path.mkdir(parents=True, exist_ok=True)
        return Response(status_code=204)

    async def _list_directory(self, request: Request) -> Response:
        path = self._path(request)
        if not path.is_dir():
            raise not_found("The directory being accessed is not found.")
        base = "/" + request.path_params["path"].strip("/")

        def contents() -> dict[str, Any]:
            found, token = page(request, "page_size", list(path.iterdir()), lambda each: each.name, _PAGE)
            entries = [entry for each in found if (entry := _entry(base, each)) is not None]
            return {"contents": entries} | ({"next_page_token": token} if token else {})

        return JSONResponse(await run_in_threadpool(contents))

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


def place_of(lakehouse: Lakehouse, path: str) -> Path:
    """Where a path of a volume is on disk; ``StatementError`` or ``ApiError`` when it cannot be anywhere."""
    place: Path = lakehouse.volume_file(path)
    with _told():
        place.exists()
    return place


class NewFile:
    """A file that appears as a whole, or not at all, also when the client goes away or the machine dies.

    Until it is placed it is in ``folder``, on the same file system, where a server that starts leaves nothing.
    ``ApiError`` when there can be none.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        if path.is_dir():
            raise invalid("The path is a directory, not a file.")
        self._path = path
        with _told():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=folder)
        self._name = Path(name)
        self.file = os.fdopen(descriptor, "wb")

    def place(self, *, overwrite: bool) -> None:
        """Have it at its place, safe on the disk."""
        with _told():
            self.file.flush()
            os.fsync(self.file.fileno())
            if overwrite:
                self._name.replace(self._path)
                return
            try:
                self._path.hardlink_to(self._name)  # unlike a rename it never replaces what another made meanwhile
            except FileExistsError:
                raise _EXISTS from None

    def close(self) -> None:
        """Let go of it; nothing is left when it was not placed."""
        with contextlib.suppress(OSError):  # a disk that is full was told of already
            self.file.close()
        self._name.unlink(missing_ok=True)


async def stream_to(file: Any, body: AsyncIterator[bytes]) -> None:
    """Write a body as it comes; ``ApiError`` when the disk does not take it."""
    with _told():
        async for chunk in body:
            await run_in_threadpool(file.write, chunk)


async def _store(request: Request, path: Path, folder: Path, *, overwrite: bool) -> Response:
    new = await run_in_threadpool(NewFile, path, folder)
    try:
        await stream_to(new.file, request.stream())
        await run_in_threadpool(lambda: new.place(overwrite=overwrite))
    finally:
        new.close()
    return Response(status_code=204)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a file system refuses, in the words of the API."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise invalid("The path has a name that is too long, or that cannot be.") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise ApiError(409, "ALREADY_EXISTS", "A part of the path is a file, not a directory.") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ApiError(507, "RESOURCE_EXHAUSTED", "No space is left on the disk of the workspace.") from error
        raise


def _existing(path: Path, request: Request) -> Path:
    with _told():
        if path.is_dir():
            raise invalid("The path is a directory, not a file.")
        if not path.is_file():
            raise not_found(f"The file /{request.path_params['path']} being accessed is not found.")
    return path


def _entry(base: str, path: Path) -> dict[str, str | int | bool] | None:
    try:
        found = path.stat(follow_symlinks=False)
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
